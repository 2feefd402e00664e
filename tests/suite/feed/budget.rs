//! The memory budget: who is in memory, who makes room, and what is not loaded for now.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use portcullis::cache::{Cache, Freshness, NotHeld, Options, Requirement, Usage};
use tokio::time::{Instant, timeout};

use super::site::{
    ACME, HOUR, PATIENCE, Site, Step, blocked, by_hand, execute, may_view, site, site_with,
};

const NOW: &Requirement = &Requirement::MinimizeLatency;
/// Longer than the shortest tenure of an organization.
const TENURE: Duration = Duration::from_secs(11);

/// Organizations as large as one another: each has a user in a group that may see its portfolio.
async fn settle(site: &Site, count: usize) -> Vec<String> {
    let organizations: Vec<String> = (0..count).map(|n| format!("org-{n}")).collect();
    for id in &organizations {
        let (user, group, portfolio) = names(id);
        site.write(&[
            Step::Organization(id),
            Step::User(&user, id),
            Step::Group(&group, id),
            Step::Portfolio(&portfolio, id),
            Step::Grant(id, &portfolio, &format!("group:{group}")),
        ])
        .await;
    }
    organizations
}

fn names(organization: &str) -> (String, String, String) {
    let name = |what: &str| format!("{organization}-{what}");
    (name("user"), name("group"), name("portfolio"))
}

fn total(usage: Usage) -> usize {
    usage.published + usage.loading
}

/// Has an organization loaded, once those that were loaded before may be displaced.
async fn load(site: &Site, cache: &Cache, organization: &str) {
    site.clock.advance(TENURE);
    cache.want(organization.parse().unwrap());
    // Time stands still meanwhile: how long a load takes says how long what it brings may stay.
    let loaded = async {
        while !holds(cache, organization).await {
            assert!(cache.round_now().await);
        }
    };
    timeout(PATIENCE, loaded).await.expect("it is loaded");
}

async fn holds(cache: &Cache, organization: &str) -> bool {
    match cache.at_least(NOW, Instant::now() + HOUR).await {
        // Looking does not count as use: that would change who is evicted next.
        Freshness::Warm(world) => world.loaded().any(|id| id.as_str() == organization),
        Freshness::Cold(cause) => panic!("cold: {cause:?}"),
    }
}

/// What one of them takes when it is loaded, and the most that it took while it was.
async fn measure(site: &Site, organization: &str) -> (usize, usize) {
    let (cache, _ends) = site.replica_with(patient(usize::MAX));
    cache.ready().await;
    load(site, &cache, organization).await;
    let usage = cache.usage();
    (usage.published, usage.peak)
}

/// By hand, and never stale: time is the tests' to turn.
fn patient(memory_budget: usize) -> Options {
    Options { memory_budget, staleness_bound: HOUR * 10_000, ..by_hand() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_holds_and_the_least_recently_used_make_room() {
    let site = site().await;
    let organizations = settle(&site, 6).await;
    let (size, peak) = measure(&site, "org-0").await;
    let budget = size + peak;
    assert!(budget < 5 * size, "else nothing need be evicted: {size}, {peak}");
    let (cache, _ends) = site.replica_with(patient(budget));
    cache.ready().await;
    for organization in &organizations {
        load(&site, &cache, organization).await;
        assert!(total(cache.usage()) <= budget, "{:?}", cache.usage());
    }
    assert!(!holds(&cache, "org-0").await && holds(&cache, "org-5").await);

    // Of two, the one that was used stays.
    let (cache, _ends) = site.replica_with(patient(size + peak));
    cache.ready().await;
    load(&site, &cache, "org-0").await;
    load(&site, &cache, "org-1").await;
    assert!(holds(&cache, "org-0").await, "both fit");
    assert!(cache.round_now().await);
    if let Freshness::Warm(world) = cache.at_least(NOW, Instant::now() + HOUR).await {
        assert!(world.organization("org-0").is_some(), "used");
    }
    load(&site, &cache, "org-2").await;
    assert!(holds(&cache, "org-0").await && !holds(&cache, "org-1").await);
    let usage = cache.usage();
    assert!(usage.peak <= budget && usage.peak > usage.published, "{usage:?}");
}

/// **What is loading counts**: loaded and not yet published, it has its room already.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_loaded_and_not_yet_published_counts() {
    let site = site().await;
    site.load(ACME).await;
    let before = site.cache.usage();
    assert!(before.published > 0 && before.loading == 0);
    settle(&site, 1).await;
    assert!(site.cache.round_now().await);
    let grants = site.hold("grants").await;
    site.cache.want("org-0".parse().unwrap());
    site.until_blocked().await;
    // What the round reads that would publish it, and the load does not.
    let mut log = site.hold("change_log").await;
    drop(grants);
    let loaded = async {
        while site.cache.usage().loading == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, loaded).await.expect("what is loading counts");
    let during = site.cache.usage();
    assert_eq!(during.published, before.published);
    execute(&mut log, "COMMIT").await;
    site.load("org-0").await;
    let after = site.cache.usage();
    assert_eq!((after.loading, after.published > before.published), (0, true));
}

/// **No thrashing**: what was just loaded is not displaced by another that is asked about.
#[tokio::test(flavor = "multi_thread")]
async fn organizations_that_do_not_fit_together_do_not_evict_each_other_at_every_question() {
    let site = site().await;
    settle(&site, 2).await;
    let (_, peak) = measure(&site, "org-0").await;
    let (cache, _ends) = site.replica_with(patient(peak + 64));
    cache.ready().await;
    load(&site, &cache, "org-0").await;
    let other = ["org-1".parse().unwrap()];
    let refused = cache.holding(NOW, &other, Instant::now() + PATIENCE).await.err();
    assert_eq!(refused, Some(NotHeld::OverBudget(other[0].clone())));
    for _ in 0..20 {
        cache.want("org-1".parse().unwrap());
        cache.want("org-0".parse().unwrap());
        assert!(cache.round_now().await);
    }
    assert!(holds(&cache, "org-0").await && !holds(&cache, "org-1").await);
    load(&site, &cache, "org-1").await;
    assert!(!holds(&cache, "org-0").await);
    assert!(cache.usage().peak <= peak + 64);
}

/// **Eviction is always safe**: five writers, a budget for fewer, and each asks with the token of
/// what was just written.
#[tokio::test(flavor = "multi_thread")]
async fn rev_1_every_token_is_honoured_while_organizations_come_and_go() {
    let site = site().await;
    let organizations = settle(&site, 5).await;
    let (size, peak) = measure(&site, "org-0").await;
    let budget = peak + size / 2;
    let options = Options { poll_interval: Duration::from_millis(5), ..patient(budget) };
    let (cache, _ends) = site.replica_with(options);
    cache.ready().await;
    let seen = Seen::default();
    let live = organizations.iter().map(|organization| live(&site, &cache, organization, &seen));
    let lives = timeout(2 * PATIENCE, join_all(live)).await;
    lives.unwrap_or_else(|_| panic!("not yet enough of either: {seen:?}"));
    let usage = cache.usage();
    assert!(usage.peak <= usage.budget, "{usage:?}");
}

/// How many answers came from memory, and how often one found its organization evicted.
#[derive(Debug, Default)]
struct Seen {
    warm: AtomicUsize,
    evicted: AtomicUsize,
}

impl Seen {
    fn is_enough(&self) -> bool {
        self.warm.load(Ordering::Relaxed) > 50 && self.evicted.load(Ordering::Relaxed) > 0
    }
}

/// Joins and leaves, until all together have seen enough.
async fn live(site: &Site, cache: &Cache, organization: &str, seen: &Seen) {
    let (user, group, portfolio) = names(organization);
    let member = format!("user:{user}");
    let mut was_loaded = false;
    for turn in 0.. {
        if turn >= 30 && seen.is_enough() {
            return;
        }
        let step = match turn % 2 {
            0 => Step::Join(&group, organization, &member),
            _ => Step::Leave(&group, organization, &member),
        };
        let token = site.write(&[step]).await;
        for requirement in [Requirement::AtLeast(token), Requirement::MinimizeLatency] {
            match cache.at_least(&requirement, Instant::now() + PATIENCE).await {
                Freshness::Warm(world) if world.organization_of(&portfolio).is_some() => {
                    assert_eq!(may_view(&world, &user, &portfolio), turn % 2 == 0, "{turn}");
                    seen.warm.fetch_add(1, Ordering::Relaxed);
                    was_loaded = true;
                }
                Freshness::Warm(_) if std::mem::take(&mut was_loaded) => {
                    seen.evicted.fetch_add(1, Ordering::Relaxed);
                }
                Freshness::Warm(_) => {}
                Freshness::Cold(cause) => panic!("cold: {cause:?}"),
            }
        }
        site.clock.advance(TENURE);
        cache.want(organization.parse().unwrap());
        cache.round_now().await;
    }
}

/// **What was found to be wrong** is thrown away at once, and loaded no sooner than if it had been
/// displaced.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_distrusted_is_not_answered_from_and_not_loaded_again_at_once() {
    let site = site_with(patient(usize::MAX)).await;
    site.load(ACME).await;
    site.cache.distrust(ACME.parse().unwrap()).await;
    for _ in 0..20 {
        assert!(site.cache.round_now().await);
        assert!(!holds(&site.cache, ACME).await, "gone, and not loaded again");
        site.cache.want(ACME.parse().unwrap());
    }
    site.clock.advance(TENURE);
    site.load_again(ACME).await;
}

/// **A load that failed rests**, for longer each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_failed_is_not_tried_again_at_once() {
    let site = site_with(Options { staleness_bound: HOUR, ..by_hand() }).await;
    for pause in [1, 2] {
        let round = site.warm(NOW).await.round();
        let hold = site.hold("grants").await;
        site.cache.want(ACME.parse().unwrap());
        site.until_blocked().await;
        let mut killer = site.connect().await;
        for pid in blocked(&mut killer).await {
            execute(&mut killer, &format!("SELECT pg_terminate_backend({pid})")).await;
        }
        // Nobody asked for this round: the end of the load did.
        let ended = site.cache.until(|world| world.round() > round);
        timeout(PATIENCE, ended).await.expect("the load has ended");
        drop(hold);
        site.clock.advance(Duration::from_millis(pause * 1_000 - 1));
        for _ in 0..100 {
            site.cache.want(ACME.parse().unwrap());
            assert!(site.cache.round_now().await);
            assert!(site.warm(NOW).await.organization(ACME).is_none(), "tried again too soon");
        }
        site.clock.advance(Duration::from_millis(1));
    }
    site.load_again(ACME).await;
}
