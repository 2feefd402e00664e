//! Histories that fork, logs that are pruned, primaries that are demoted.

use std::time::Duration;

use portcullis::cache::{ColdCause, Requirement};

use super::site::{ACME, Site, Step, execute, log_change, shard_of, site};

const NOW: &Requirement = &Requirement::MinimizeLatency;

/// A site on which Ann may view the portfolio, loaded.
async fn granted() -> (Site, i16) {
    let site = site().await;
    site.load(ACME).await;
    site.write(&[Step::User("bob", ACME), Step::Grant(ACME, "secret", "user:ann")]).await;
    assert!(site.cache.round_now().await);
    assert!(site.may_view("ann", "secret").await);
    (site, shard_of(ACME))
}

/// After a round everything is thrown away; loaded again, it is right.
async fn assert_flushed(site: &Site) {
    assert!(site.cache.round_now().await);
    let world = site.warm(NOW).await;
    assert!(world.organization(ACME).is_none(), "of another history");
    assert!(world.organization_of("secret").is_none());
    assert!(world.global().is_deactivated("bob"), "the global facts too");
    site.load(ACME).await;
    assert!(!site.may_view("ann", "secret").await, "no old yes");
}

/// What the other history has otherwise, and no log tells: Ann's grant is gone, and so is Bob.
const UNDO: &str = "UPDATE grants SET revoke_time = now();
                    UPDATE users SET deactivated = true WHERE id = 'bob';";

/// **It requires the commit that it remembers**: a restore to just before the grant, and another
/// write since, which took its place.
#[tokio::test]
async fn a_fork_at_the_same_height_is_noticed() {
    let (site, shard) = granted().await;
    site.sql(&format!(
        "{UNDO} UPDATE feed_heads SET commit_id = gen_random_uuid() WHERE shard = {shard};
         UPDATE change_log SET commit_id = h.commit_id FROM feed_heads AS h
         WHERE h.shard = change_log.shard AND h.sequence = change_log.sequence;"
    ))
    .await;
    assert_flushed(&site).await;
}

#[tokio::test]
async fn a_shard_that_steps_back_is_noticed() {
    let (site, shard) = granted().await;
    site.sql(&format!(
        "{UNDO} DELETE FROM change_log AS c USING feed_heads AS h
         WHERE h.shard = {shard} AND c.shard = h.shard AND c.sequence = h.sequence;
         UPDATE feed_heads AS h SET sequence = c.sequence, commit_id = c.commit_id
         FROM change_log AS c
         WHERE h.shard = {shard} AND c.shard = h.shard AND c.sequence = h.sequence - 1;"
    ))
    .await;
    assert_flushed(&site).await;
}

/// Another history that has overtaken ours: only the row at the cursor gives it away.
#[tokio::test]
async fn a_fork_that_has_grown_beyond_us_is_noticed() {
    let (site, shard) = granted().await;
    site.sql(&format!(
        "{UNDO} UPDATE change_log AS c SET commit_id = gen_random_uuid() FROM feed_heads AS h
         WHERE h.shard = {shard} AND c.shard = h.shard AND c.sequence = h.sequence;"
    ))
    .await;
    site.write(&[Step::Portfolio("other", ACME)]).await;
    assert_flushed(&site).await;
}

/// **A missing row means pruning**: what happened in between is not known.
#[tokio::test]
async fn a_log_that_was_pruned_beyond_us_is_noticed() {
    let (site, shard) = granted().await;
    site.sql(UNDO).await;
    site.write(&[Step::Portfolio("other", ACME)]).await;
    site.sql(&format!(
        "DELETE FROM change_log AS c USING feed_heads AS h
         WHERE h.shard = {shard} AND c.shard = h.shard AND c.sequence < h.sequence;"
    ))
    .await;
    assert_flushed(&site).await;
}

/// **Without gaps**: the row at the cursor and the last one are right, one between is missing.
#[tokio::test]
async fn a_log_with_a_hole_is_noticed() {
    let (site, shard) = granted().await;
    site.sql(UNDO).await;
    site.write(&[Step::Portfolio("other", ACME)]).await;
    site.write(&[Step::Portfolio("another", ACME)]).await;
    site.sql(&format!(
        "DELETE FROM change_log AS c USING feed_heads AS h
         WHERE h.shard = {shard} AND c.shard = h.shard AND c.sequence = h.sequence - 1;"
    ))
    .await;
    assert_flushed(&site).await;
}

/// **Flush everything, new epoch**: tokens of the old one are answered from the primary (REV-4).
#[tokio::test]
async fn rev_4_a_new_epoch_flushes_and_makes_old_tokens_foreign() {
    let (site, _) = granted().await;
    let token = site.write(&[Step::Portfolio("other", ACME)]).await;
    site.warm(&Requirement::AtLeast(token.clone())).await;
    site.sql(&format!("{UNDO} UPDATE cluster SET epoch = gen_random_uuid()")).await;
    assert_flushed(&site).await;
    let old = Requirement::AtLeast(token);
    assert_eq!(site.cold(&old).await, ColdCause::ForeignEpoch);
    let token = site.write(&[Step::Portfolio("third", ACME)]).await;
    site.warm(&Requirement::AtLeast(token)).await;
}

/// **A reset drops what is being loaded**: it may be of the history that has ended.
#[tokio::test]
async fn a_load_of_a_history_that_has_ended_is_dropped() {
    let site = site().await;
    site.write(&[Step::Grant(ACME, "secret", "user:ann")]).await;
    assert!(site.cache.round_now().await);
    let hold = site.hold("grants").await;
    site.cache.want(ACME.parse().unwrap());
    site.until_blocked().await;
    site.sql("UPDATE cluster SET epoch = gen_random_uuid()").await;
    assert!(site.cache.round_now().await, "a reset");
    drop(hold);
    site.sql(UNDO).await;
    site.load(ACME).await;
    assert!(!site.may_view("ann", "secret").await);
}

/// A load that has read a history which forked beyond the feed's cursor, and so behind its back.
#[tokio::test]
async fn a_load_of_a_fork_that_the_feed_never_followed_is_dropped() {
    let site = site().await;
    let shard = shard_of(ACME);
    site.write(&[Step::Grant(ACME, "secret", "user:ann")]).await;
    let mut hold = site.hold("grants").await;
    site.cache.want(ACME.parse().unwrap());
    site.until_blocked().await;
    // The grant is lost in a failover; other writes take its place in the log.
    let forged = log_change(shard, r#"[{"role":"viewer"}]"#);
    let failover = format!(
        "{UNDO} UPDATE change_log AS c SET commit_id = gen_random_uuid(), keys = '[]'
         FROM feed_heads AS h
         WHERE h.shard = {shard} AND c.shard = h.shard AND c.sequence = h.sequence;
         {forged} COMMIT;"
    );
    execute(&mut hold, &failover).await;
    site.load_again(ACME).await;
    assert!(!site.may_view("ann", "secret").await);
}

/// **A demoted primary counts as unreachable.**
#[tokio::test]
async fn rev_3_a_read_only_database_is_not_heard() {
    let (site, _) = granted().await;
    let ready = site.cache.watch_ready();
    let set = |value: &str| {
        format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I {value}', current_database()); END $$;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid();"
        )
    };
    site.sql(&set("SET default_transaction_read_only = on")).await;
    for _ in 0..6 {
        assert!(!site.cache.round_now().await);
    }
    assert!(site.may_view("ann", "secret").await, "within the bound");
    site.clock.advance(Duration::from_secs(3));
    assert_eq!(site.cold(NOW).await, ColdCause::Stale);
    assert!(!site.cache.round_now().await);
    assert!(!*ready.borrow(), "and the health service is told");

    let mut back = site.connect().await;
    execute(&mut back, "SET transaction_read_only = off").await;
    execute(&mut back, "SET default_transaction_read_only = off").await;
    execute(&mut back, &set("RESET default_transaction_read_only")).await;
    while !site.cache.round_now().await {}
    assert!(site.may_view("ann", "secret").await);
    assert!(*ready.borrow());
}

/// **`min_reader` is read with every poll**: a replica below it stops being ready.
#[tokio::test]
async fn a_replica_that_does_not_understand_the_log_is_not_ready() {
    let (site, _) = granted().await;
    let ready = site.cache.watch_ready();
    assert!(*ready.borrow());
    site.sql("UPDATE cluster SET min_reader = min_reader + 1").await;
    assert!(site.cache.round_now().await);
    assert!(!*ready.borrow());
    site.sql("UPDATE cluster SET min_reader = min_reader - 1").await;
    assert!(site.cache.round_now().await);
    assert!(*ready.borrow());
}
