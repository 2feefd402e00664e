//! Random forests of portfolios through the front door: what becomes of links while portfolios are
//! unlinked, moved, archived and deleted.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::harness::{Client, TestServer};
use crate::linked::{Access, EVERYBODY, access, server};
use crate::rules_links_compared::{Granted, granted, shuffle};

const TREES: [&str; 6] = ["f0", "f1", "f2", "f3", "f4", "f5"];

/// What everybody may do now on each portfolio, and what of it begins and ends when.
async fn everything(
    server: &TestServer,
    portfolios: &[&str],
) -> (Access, BTreeMap<String, BTreeMap<String, Granted>>) {
    let mut timed = BTreeMap::new();
    for id in portfolios {
        timed.insert((*id).to_owned(), granted(server, id).await);
    }
    (access(server, portfolios, EVERYBODY).await, timed)
}

/// Each portfolio below one before it, or at the top, and mostly linked; with members, settings
/// and ends of its own, and some archived.
async fn grow(server: &TestServer, rng: &mut StdRng) {
    let owners = ["ann", "ben", "max", "sam", "lea"];
    for (n, id) in TREES.iter().enumerate() {
        let given = server.given().in_organization("acme").portfolio(id);
        let mut given = given.owned_by(owners.choose(rng).unwrap());
        if let Some(parent) = TREES[..n].choose(rng).filter(|_| n < 2 || rng.random_ratio(5, 6)) {
            given = given.below(parent);
        }
        given.await;
        shuffle(server, rng, id).await;
    }
    let system = server.system();
    for id in TREES {
        let below = !system.get_portfolio(id).await.unwrap().parent.is_empty();
        if below && rng.random_ratio(4, 5) {
            system.link(id).await.unwrap();
        }
    }
    for id in TREES {
        if rng.random_ratio(1, 6) {
            system.archive(id).await.unwrap();
        }
    }
}

/// Unlinks or moves the portfolio, or deletes the one that it is below; what was done, and what was
/// deleted by it.
async fn uproot(system: &Client, rng: &mut StdRng, id: &str) -> (String, Option<String>) {
    let found = system.get_portfolio(id).await.unwrap();
    match rng.random_range(0..4) {
        0 if found.linked => {
            let unlinked = system.unlink(id, false).await;
            (format!("unlink {id}: {}", unlinked.is_ok()), None)
        }
        1 if !found.parent.is_empty() => {
            system.delete(&found.parent).await.unwrap();
            (format!("delete {}", found.parent), Some(found.parent))
        }
        2 => {
            let moved = system.place(id, "", false).await;
            (format!("{id} to the top: {}", moved.is_ok()), None)
        }
        _ => {
            // Refused where it closes a cycle, is deleted or archived: then nothing changes either.
            let parent = TREES.choose(rng).unwrap();
            let moved = system.place(id, parent, false).await;
            (format!("{id} below {parent}: {}", moved.is_ok()), None)
        }
    }
}

#[tokio::test]
async fn inh_4_inh_6_vis_9_nobody_gains_or_loses_by_unlinking_moving_or_deleting() {
    let mut copied = 0;
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let server = server().await;
        grow(&server, &mut rng).await;
        let system = server.system();
        let mut left = TREES.to_vec();
        let mut before = everything(&server, &left).await;
        for _ in 0..8 {
            let id = *left.choose(&mut rng).unwrap();
            let was_linked = system.get_portfolio(id).await.unwrap().linked;
            let (what, deleted) = uproot(&system, &mut rng, id).await;
            if let Some(deleted) = deleted {
                left.retain(|known| *known != deleted);
                before.0.retain(|(portfolio, _), _| *portfolio != deleted);
                before.1.remove(&deleted);
            }
            let after = everything(&server, &left).await;
            assert_eq!(after, before, "{seed}: {what}");
            copied += i32::from(was_linked && !system.get_portfolio(id).await.unwrap().linked);
        }
    }
    assert!(copied >= 6, "only {copied} copies");
}
