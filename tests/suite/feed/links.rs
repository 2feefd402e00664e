//! Links: one key for a change, however many portfolios are below it.

use super::site::{ACME, Site, Step, log_change, shard_of, site};

/// `root`, on which the crew are viewers, `other`, and `mid`, to which ten thousand are linked; of
/// these `below-7` has suspended grants of its own.
async fn forest() -> Site {
    let site = site().await;
    site.write(&[
        Step::User("bob", ACME),
        Step::Portfolio("root", ACME),
        Step::Portfolio("other", ACME),
        Step::Portfolio("mid", ACME),
        Step::Portfolio("below-7", ACME),
        Step::Grant(ACME, "root", "group:crew"),
        Step::Grant(ACME, "other", "user:bob"),
        Step::Grant(ACME, "mid", "user:bob"),
        Step::Grant(ACME, "below-7", "user:bob"),
    ])
    .await;
    site.sql(&format!(
        "UPDATE portfolios SET parent = 'root', linked = true WHERE id = 'mid';
         UPDATE portfolios SET parent = 'mid', linked = true WHERE id = 'below-7';
         INSERT INTO portfolios (id, organization, display_name, portfolio_type, visibility,
                                 organization_access_role, parent, linked, create_time,
                                 update_time, version)
         SELECT 'below-' || n, '{ACME}', '', '', 'private', 'viewer', 'mid', true, now(), now(), 1
         FROM generate_series(0, 9999) AS n WHERE n <> 7;"
    ))
    .await;
    site.load(ACME).await;
    site
}

/// Changes rows, and says so by these keys.
async fn change(site: &Site, sql: &str, portfolio: &str) {
    let keys = format!(r#"[{{"portfolio":"{portfolio}"}}]"#);
    site.sql(&format!("BEGIN; {sql}; {}; COMMIT", log_change(shard_of(ACME), &keys))).await;
    assert!(site.cache.round_now().await);
}

#[tokio::test]
async fn inh_1_a_link_that_changes_in_the_middle_takes_ten_thousand_along_by_one_key() {
    let site = forest().await;
    for portfolio in ["mid", "below-0", "below-7", "below-9999"] {
        assert!(site.may_view("ann", portfolio).await, "{portfolio}");
        assert!(!site.may_view("bob", portfolio).await, "suspended on {portfolio}");
    }
    change(&site, "UPDATE portfolios SET parent = 'other' WHERE id = 'mid'", "mid").await;
    for portfolio in ["mid", "below-0", "below-7", "below-9999"] {
        assert!(!site.may_view("ann", portfolio).await, "{portfolio}");
        assert!(site.may_view("bob", portfolio).await, "{portfolio}");
    }
    // Its own again.
    change(&site, "UPDATE portfolios SET linked = false WHERE id = 'mid'", "mid").await;
    assert!(site.may_view("bob", "below-9999").await);
    change(&site, "UPDATE grants SET revoke_time = now() WHERE portfolio = 'mid'", "mid").await;
    assert!(!site.may_view("bob", "below-9999").await);
    // And linked once more.
    let linked = "UPDATE portfolios SET parent = 'root', linked = true WHERE id = 'mid'";
    change(&site, linked, "mid").await;
    assert!(site.may_view("ann", "below-9999").await);
    site.write(&[Step::DeletePortfolio("root")]).await;
    assert!(site.cache.round_now().await);
    assert!(!site.may_view("ann", "below-9999").await);
}

/// Read again by its key, a linked portfolio has no more than when all was loaded.
#[tokio::test]
async fn inh_1_what_is_suspended_is_so_however_it_is_read() {
    let site = forest().await;
    let suspended = "UPDATE portfolios SET visibility = 'open' WHERE id = 'below-7'";
    change(&site, suspended, "below-7").await;
    assert!(!site.may_view("bob", "below-7").await);
    let owned = "UPDATE grants SET ownership = true, role = 'manager' WHERE portfolio = 'below-7'";
    change(&site, owned, "below-7").await;
    assert!(site.may_view("bob", "below-7").await && !site.may_view("bob", "below-6").await);
    let unlinked = "UPDATE grants SET ownership = false WHERE portfolio = 'below-7';
                    UPDATE portfolios SET linked = false WHERE id = 'below-7'";
    change(&site, unlinked, "below-7").await;
    assert!(site.may_view("bob", "below-7").await);
    assert!(site.may_view("ann", "below-7").await, "at home, and it is open");
}
