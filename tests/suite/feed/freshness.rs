//! How old an answer may be, and who waits for what (REV).

use std::collections::BTreeSet;
use std::time::Duration;

use futures::poll;
use portcullis::cache::{ColdCause, Freshness, Options, Requirement};
use tokio::time::Instant;

use super::site::{ACME, Step, blocked, by_hand, execute, may_view, site, site_with};

const NOW: &Requirement = &Requirement::MinimizeLatency;
const PAST_THE_BOUND: Duration = Duration::from_millis(2_001);

/// **Bounded staleness**, for a poll that hangs: nothing is published, so what is known grows old.
#[tokio::test]
async fn rev_3_a_poll_that_hangs_ends_the_answers_from_memory() {
    let options = Options { poll_timeout: Duration::from_millis(500), ..by_hand() };
    let site = site_with(options).await;
    site.load(ACME).await;
    let token = site.write(&[Step::Portfolio("other", ACME)]).await;
    let token = Requirement::AtLeast(token);
    site.warm(&token).await;
    let mut hold = site.hold("feed_heads").await;
    assert!(!site.cache.round_now().await, "the poll is given up");
    site.warm(NOW).await;
    site.clock.advance(PAST_THE_BOUND);
    for requirement in [NOW, &token, &Requirement::FullyConsistent] {
        assert_eq!(site.cold(requirement).await, ColdCause::Stale, "{requirement:?}");
    }
    execute(&mut hold, "COMMIT").await;
    while !site.cache.round_now().await {}
    site.warm(NOW).await;
}

/// A poll that is given up leaves its statement running; the next must not wait behind it.
#[tokio::test]
async fn a_poll_that_is_given_up_does_not_hold_up_the_next() {
    let options = Options { poll_timeout: Duration::from_millis(500), ..by_hand() };
    let site = site_with(options).await;
    let mut watch = site.connect().await;
    let hold = site.hold("feed_heads").await;
    let mut polls = BTreeSet::new();
    for _ in 0..5 {
        let mut round = Box::pin(site.cache.round_now());
        while poll!(&mut round).is_pending() {
            polls.extend(blocked(&mut watch).await);
        }
    }
    assert!(polls.len() > 3, "on more connections than the pool has: {polls:?}");
    drop(hold);
}

/// **Freshness is about what was applied**: the *start* of the poll that is published.
#[tokio::test]
async fn rev_3_a_slow_round_is_as_old_as_its_start() {
    let site = site().await;
    site.load(ACME).await;
    let token = site.write(&[Step::Grant(ACME, "secret", "user:ann")]).await;
    let hold = site.hold("grants").await;
    let slow = async {
        site.until_blocked().await;
        site.clock.advance(PAST_THE_BOUND);
        drop(hold);
    };
    let (published, ()) = tokio::join!(site.cache.round_now(), slow);
    assert!(published);
    assert_eq!(site.cold(NOW).await, ColdCause::Stale, "just published, and already too old");
    assert!(site.cache.round_now().await);
    let world = site.warm(NOW).await;
    assert!(world.position().covers(&token));
}

/// The same for an organization that is slow to load: what it is published with counts.
#[tokio::test]
async fn rev_3_a_slow_load_is_as_old_as_the_round_that_installs_it() {
    let site = site().await;
    site.write(&[Step::Grant(ACME, "secret", "group:crew")]).await;
    let hold = site.hold("grants").await;
    let slow = async {
        site.until_blocked().await;
        let token = site.write(&[Step::Leave("crew", ACME, "user:ann")]).await;
        site.clock.advance(PAST_THE_BOUND);
        drop(hold);
        token
    };
    let ((), token) = tokio::join!(site.load(ACME), slow);
    let world = site.warm(NOW).await;
    assert!(world.position().covers(&token), "one position for all of it");
    assert!(!may_view(&world, "ann", "secret"), "true at that position");
}

/// **By the monotonic and the wall clock**: a machine that slept, a clock that was set.
#[tokio::test]
async fn rev_3_a_stale_clock_ends_the_answers_from_memory() {
    let site = site().await;
    let stale_after = |skew: i64| {
        let site = &site;
        async move {
            assert!(site.cache.round_now().await);
            site.warm(NOW).await;
            site.clock.skew_wall(skew);
            site.cold(NOW).await
        }
    };
    assert_eq!(stale_after(2_001).await, ColdCause::Stale, "the monotonic clock stood still");
    assert_eq!(stale_after(-1).await, ColdCause::Stale, "the wall clock was set back");
    assert!(site.cache.round_now().await);
    site.clock.advance(PAST_THE_BOUND);
    site.clock.skew_wall(-2_001);
    assert_eq!(site.cold(NOW).await, ColdCause::Stale, "the wall clock stood still");
}

/// **Wait for one poll that started after arrival; waiters share it.**
#[tokio::test]
async fn rev_1_waiters_share_one_poll_that_began_after_they_arrived() {
    let site = site().await;
    site.load(ACME).await;
    site.write(&[Step::Grant(ACME, "secret", "user:ann")]).await;
    // A round is under way: its poll has been answered.
    let hold = site.hold("grants").await;
    let mut under_way = Box::pin(site.cache.round_now());
    assert!(poll!(&mut under_way).is_pending());
    site.until_blocked().await;

    let token = Requirement::AtLeast(site.write(&[Step::Group("choir", ACME)]).await);
    let mut waiters = Vec::new();
    for requirement in [&token, &token, &Requirement::FullyConsistent] {
        let mut waiter = Box::pin(site.ask(requirement));
        assert!(poll!(&mut waiter).is_pending());
        waiters.push(waiter);
    }
    drop(hold);
    assert!(under_way.await);
    let before = site.warm(NOW).await.round();
    for waiter in waiters {
        match waiter.await {
            Freshness::Warm(world) => assert_eq!(world.round(), before + 1),
            Freshness::Cold(cause) => panic!("cold: {cause:?}"),
        }
    }
    assert_eq!(site.warm(NOW).await.round(), before + 1, "one round for all of them");
}

/// A token that memory has reached does not wait; one still ahead after one poll goes cold.
#[tokio::test]
async fn rev_1_a_token_still_ahead_after_one_poll_is_for_the_database() {
    let site = site().await;
    let mut token = site.write(&[Step::Group("choir", ACME)]).await;
    let world = site.warm(&Requirement::AtLeast(token.clone())).await;
    let round = world.round();
    site.warm(&Requirement::AtLeast(token.clone())).await;
    assert_eq!(site.warm(NOW).await.round(), round, "no poll for what is there");
    token.entries[0].1 += 1;
    assert_eq!(site.cold(&Requirement::AtLeast(token.clone())).await, ColdCause::Behind);
    assert_eq!(site.warm(NOW).await.round(), round + 1, "exactly one poll");
    token.epoch.0 = uuid::Uuid::now_v7();
    assert_eq!(site.cold(&Requirement::AtLeast(token)).await, ColdCause::ForeignEpoch);
    assert_eq!(site.warm(NOW).await.round(), round + 1, "no poll for another history");
}

/// **Waiting never outlasts the deadline** (REV-4).
#[tokio::test]
async fn rev_4_waiting_ends_with_the_deadline() {
    let site = site().await;
    let mut hold = site.hold("feed_heads").await;
    let deadline = Instant::now() + Duration::from_millis(20);
    match site.cache.at_least(&Requirement::FullyConsistent, deadline).await {
        Freshness::Cold(cause) => assert_eq!(cause, ColdCause::DeadlinePassed),
        Freshness::Warm(_) => panic!("warm"),
    }
    execute(&mut hold, "COMMIT").await;
}

/// A failed poll is told at once to those who wait for it.
#[tokio::test]
async fn rev_2_a_failed_poll_sends_its_waiters_to_the_database() {
    let options = Options { poll_timeout: Duration::from_millis(500), ..by_hand() };
    let site = site_with(options).await;
    let mut hold = site.hold("feed_heads").await;
    assert_eq!(site.cold(&Requirement::FullyConsistent).await, ColdCause::Behind);
    execute(&mut hold, "COMMIT").await;
}

/// **The decision's "now" never steps back**, whatever a poll says of the database's clock.
#[tokio::test]
async fn acc_2_now_is_the_databases_and_never_steps_back() {
    let site = site().await;
    let now = site.cache.now(&*site.warm(NOW).await);
    assert!(now.0 > 1_700_000_000_000, "the database's clock, not the wall clock of this machine");
    site.clock.advance(Duration::from_secs(1));
    let later = site.cache.now(&*site.warm(NOW).await);
    assert_eq!(later.0, now.0 + 1_000, "between polls the monotonic clock goes on");
    // Our monotonic clock was fast: the next poll puts the offset right.
    site.clock.advance(Duration::from_secs(600));
    let ahead = site.cache.now(&*{
        site.cache.round_now().await;
        site.warm(NOW).await
    });
    assert!(ahead >= later);
    let told: Vec<_> = {
        let world = site.warm(NOW).await;
        (0..3).map(|_| site.cache.now(&world)).collect()
    };
    assert!(told.is_sorted() && told[0] >= ahead);
}

/// A cache that nobody runs any more answers nothing.
#[tokio::test]
async fn a_cache_that_has_ended_is_not_ready() {
    let site = site().await;
    let (other, ends) = site.replica();
    other.ready().await;
    let mut ready = other.watch_ready();
    drop(ends);
    assert!(ready.wait_for(|ready| !ready).await.is_ok());
    assert!(!other.round_now().await);
    match other.at_least(&Requirement::FullyConsistent, Instant::now() + super::site::HOUR).await {
        Freshness::Cold(cause) => assert_eq!(cause, ColdCause::Behind),
        Freshness::Warm(_) => panic!("warm"),
    }
}
