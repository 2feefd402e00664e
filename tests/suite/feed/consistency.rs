//! Nothing is lost, nothing is torn, nothing is seen in another order than it was committed.

use portcullis::cache::{Options, Requirement};
use portcullis::domain::revision::Shard;

use super::site::{
    ACME, Gate, Step, by_hand, execute, log_change, neighbour, shard_of, site, site_with,
};

const NOW: &Requirement = &Requirement::MinimizeLatency;

#[tokio::test]
async fn the_feed_keeps_a_loaded_organization_up_to_date() {
    let site = site().await;
    site.load(ACME).await;
    assert!(!site.may_view("ann", "secret").await);
    let token = site.write(&[Step::Grant(ACME, "secret", "group:crew")]).await;
    assert!(!site.may_view("ann", "secret").await, "a write does not touch the cache");
    let world = site.warm(&Requirement::AtLeast(token)).await;
    assert!(super::site::may_view(&world, "ann", "secret"));

    site.write(&[Step::Portfolio("plan", ACME), Step::Grant(ACME, "plan", "user:ann")]).await;
    assert!(site.cache.round_now().await);
    assert!(site.may_view("ann", "plan").await);
    site.write(&[Step::DeletePortfolio("plan")]).await;
    assert!(site.cache.round_now().await);
    assert!(site.warm(NOW).await.organization_of("plan").is_none());
}

#[tokio::test]
async fn dir_1_deactivation_reaches_every_replica_with_its_token() {
    let site = site().await;
    let (other, _other_ends) = site.replica();
    other.ready().await;
    for cache in [&site.cache, &other] {
        cache.want(ACME.parse().unwrap());
        cache.until(|world| world.organization(ACME).is_some()).await;
    }
    site.write(&[Step::Grant(ACME, "secret", "user:ann")]).await;
    assert!(other.round_now().await && site.cache.round_now().await);
    assert!(site.may_view("ann", "secret").await);
    let token = site.write(&[Step::Deactivate("ann")]).await;
    let requirement = Requirement::AtLeast(token);
    for cache in [&site.cache, &other] {
        let deadline = tokio::time::Instant::now() + super::site::HOUR;
        match cache.at_least(&requirement, deadline).await {
            portcullis::cache::Freshness::Warm(world) => {
                assert!(!super::site::may_view(&world, "ann", "secret"));
            }
            portcullis::cache::Freshness::Cold(cause) => panic!("cold: {cause:?}"),
        }
    }
}

/// **Sequence order is commit order, without gaps**: the bump is the last statement of a write, so
/// what began earlier and commits later comes later in the log.
#[tokio::test]
async fn a_transaction_that_commits_late_is_not_lost() {
    let site = site().await;
    let other = neighbour(ACME);
    site.write(&[Step::Organization(&other), Step::Portfolio("far", &other)]).await;
    site.load(ACME).await;
    site.load(&other).await;
    let gate = Gate::default();
    let slow_steps = [Step::Grant(ACME, "secret", "user:ann"), Step::Pause(&gate)];
    let slow = site.write(&slow_steps);
    let quick = async {
        gate.reached.notified().await;
        let token = site.write(&[Step::Grant(&other, "far", "user:ann")]).await;
        assert!(site.cache.round_now().await);
        assert!(site.may_view("ann", "far").await && !site.may_view("ann", "secret").await);
        gate.open.notify_one();
        token
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(slow.entries[0].0, quick.entries[0].0, "both are on one shard");
    assert!(slow.entries[0].1 > quick.entries[0].1, "in the order in which they committed");
    assert!(site.cache.round_now().await);
    assert!(site.may_view("ann", "secret").await);
}

/// **The row lock lasts until the commit**: whoever has bumped a shard and not yet committed holds
/// up those behind, so that no reader can see a later change without an earlier one.
#[tokio::test]
async fn a_later_sequence_never_commits_before_an_earlier_one() {
    let site = site().await;
    site.load(ACME).await;
    let shard = shard_of(ACME);
    let mut first = site.connect().await;
    execute(&mut first, &format!("BEGIN; {}", log_change(shard, r#"[{"subject":"user:ann"}]"#)))
        .await;
    execute(&mut first, "DELETE FROM group_members").await;
    let (token, ()) = tokio::join!(
        async { site.write(&[Step::Grant(ACME, "secret", "group:crew")]).await },
        async {
            site.until_blocked().await;
            assert!(site.cache.round_now().await);
            assert!(!site.may_view("ann", "secret").await, "neither is committed");
            execute(&mut first, "COMMIT").await;
        }
    );
    let world = site.warm(&Requirement::AtLeast(token)).await;
    assert!(!super::site::may_view(&world, "ann", "secret"), "Ann left before");
}

/// **One REPEATABLE READ transaction**: Ann leaves the group, then the group is given the
/// portfolio. The round has read Ann's groups before, and reads the grants after both.
#[tokio::test]
async fn a_round_never_tears() {
    let site = site().await;
    site.load(ACME).await;
    // What makes the round read Ann and the portfolio.
    site.write(&[
        Step::Group("chorus", ACME),
        Step::Join("chorus", ACME, "user:ann"),
        Step::Grant(ACME, "secret", "group:chorus"),
        Step::Leave("chorus", ACME, "user:ann"),
    ])
    .await;
    let mut hold = site.hold("grants").await;
    let leave_then_grant = async {
        site.until_blocked().await;
        site.write(&[Step::Leave("crew", ACME, "user:ann")]).await;
        execute(&mut hold, &grant_crew()).await;
        execute(&mut hold, "COMMIT").await;
    };
    let (published, ()) = tokio::join!(site.cache.round_now(), leave_then_grant);
    assert!(published);
    assert!(!site.may_view("ann", "secret").await, "at no instant was Ann allowed in");
    assert!(site.cache.round_now().await);
    assert!(!site.may_view("ann", "secret").await);
}

/// The same, while the organization is loaded.
#[tokio::test]
async fn a_load_never_tears() {
    let site = site().await;
    let mut hold = site.hold("grants").await;
    let leave_then_grant = async {
        site.until_blocked().await;
        site.write(&[Step::Leave("crew", ACME, "user:ann")]).await;
        execute(&mut hold, &grant_crew()).await;
        execute(&mut hold, "COMMIT").await;
    };
    tokio::join!(site.load(ACME), leave_then_grant);
    assert!(!site.may_view("ann", "secret").await);
}

/// **Registered as loading before its transaction begins**: what is committed while an
/// organization loads is seen by the rounds meanwhile, and not lost.
#[tokio::test]
async fn what_changes_while_an_organization_loads_is_not_lost() {
    let site = site().await;
    site.write(&[Step::Grant(ACME, "secret", "group:crew")]).await;
    let hold = site.hold("grants").await;
    let leave_while_loading = async {
        site.until_blocked().await;
        let token = site.write(&[Step::Leave("crew", ACME, "user:ann")]).await;
        // The feed has passed this change before the load arrives.
        let world = site.warm(&Requirement::AtLeast(token)).await;
        assert!(world.organization(ACME).is_none());
        drop(hold);
    };
    tokio::join!(site.load(ACME), leave_while_loading);
    assert!(!site.may_view("ann", "secret").await);
}

#[tokio::test]
async fn an_organization_that_changes_too_much_while_it_loads_is_not_installed() {
    let site = site_with(Options { max_keys_per_round: 3, ..by_hand() }).await;
    site.write(&[Step::Grant(ACME, "secret", "group:crew")]).await;
    let hold = site.hold("grants").await;
    site.cache.want(ACME.parse().unwrap());
    site.until_blocked().await;
    for user in ["bob", "cid", "dan"] {
        let subject = format!("user:{user}");
        site.write(&[Step::User(user, ACME), Step::Join("crew", ACME, &subject)]).await;
        assert!(site.cache.round_now().await);
    }
    drop(hold);
    // It arrives, and is dropped; wished for again, it comes.
    site.load_again(ACME).await;
    for user in ["ann", "bob", "cid", "dan"] {
        assert!(site.may_view(user, "secret").await, "{user}");
    }
}

/// **An unknown kind of change evicts that organization**, and no other.
#[tokio::test]
async fn an_unknown_change_evicts_its_organization() {
    let site = site().await;
    let other = neighbour(ACME);
    site.write(&[Step::Organization(&other)]).await;
    site.load(ACME).await;
    site.load(&other).await;
    site.sql(&log_change(shard_of(ACME), r#"[{"constellation":"orion"}]"#)).await;
    assert!(site.cache.round_now().await);
    let world = site.warm(NOW).await;
    assert!(world.organization(ACME).is_none() && world.organization_of("secret").is_none());
    assert!(world.organization(&other).is_some());
    site.load(ACME).await;
    assert!(!site.may_view("ann", "secret").await);
}

#[tokio::test]
async fn more_changes_than_are_read_one_by_one_evict_the_shard() {
    let site = site_with(Options { max_keys_per_round: 3, ..by_hand() }).await;
    let world = site.warm(NOW).await;
    assert!(world.global().permission("portfolio.view").is_some());
    site.load(ACME).await;
    let names: Vec<String> = (0..5).map(|n| format!("u{n}")).collect();
    let users: Vec<Step<'_>> = names.iter().map(|name| Step::User(name, ACME)).collect();
    let token = site.write(&users).await;
    let world = site.warm(&Requirement::AtLeast(token)).await;
    assert!(world.organization(ACME).is_none());

    // Deactivations are global, and never thrown away: all are read again.
    let users: Vec<Step<'_>> = names.iter().map(|name| Step::Deactivate(name)).collect();
    let token = site.write(&users).await;
    assert_eq!(token.entries[0].0, Shard::GLOBAL);
    let world = site.warm(&Requirement::AtLeast(token)).await;
    assert!(names.iter().all(|name| world.global().is_deactivated(name)));
}

#[tokio::test]
async fn an_organization_that_does_not_exist_is_not_loaded() {
    let site = site().await;
    for _ in 0..1_000 {
        site.cache.want("ghost".parse().unwrap());
        site.cache.want(ACME.parse().unwrap());
    }
    site.load(ACME).await;
    assert!(site.warm(NOW).await.organization("ghost").is_none());
}

/// Gives Crew the portfolio, as a write does.
fn grant_crew() -> String {
    format!(
        "INSERT INTO grants (id, portfolio, organization, subject_kind, subject_id, role, source,
                             ownership, create_time)
         VALUES (gen_random_uuid(), 'secret', '{ACME}', 'group', 'crew', 'viewer', 'hand', false,
                 now()); {}",
        log_change(shard_of(ACME), r#"[{"portfolio":"secret"}]"#)
    )
}
