//! What a round makes of what it has read: the next world.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::World;
use super::load::Arrived;
use super::metrics::{self, Eviction, Reload};
use super::round::{Changes, GlobalNews, Keys, Tail, keys_by_organization};
use super::world::Stay;
use crate::domain::OrganizationId;
use crate::domain::fact::{GlobalChanges, OrganizationChanges};
use crate::policy::{Global, Snapshot};
use crate::storage::FeedHeads;

/// The next world, and what was reloaded, or will have to be, on the way to it.
pub(super) fn apply(
    world: &World,
    changes: Changes,
    arrived: Vec<Arrived>,
    limit: usize,
    now: Duration,
) -> (World, Vec<Reload>) {
    let mut next = world.clone();
    let mut reloads = Vec::new();
    move_to(&mut next, changes.heads);
    // The catalogue first: roles are compiled against it.
    next.set_global(global(world.shared_global(), changes.global, &mut reloads));
    for (id, changes) in changes.organizations {
        apply_to_organization(&mut next, &id, changes);
    }
    let mut evict = |id: &OrganizationId, cause| {
        if next.evict(id) {
            warn!(organization = id.as_str(), ?cause, "evicted; loaded again when asked for");
            metrics::count_eviction(match cause {
                Reload::UnknownChange => Eviction::UnknownChange,
                Reload::Load | Reload::Reset | Reload::Oversized => Eviction::Oversized,
            });
            reloads.push(cause);
        }
    };
    for (shard, tail) in &changes.tails {
        if matches!(tail, Tail::Oversized) {
            let organizations = world.organizations_on(*shard);
            for id in &organizations {
                evict(id, Reload::Oversized);
            }
        }
    }
    for (id, keys) in keys_by_organization(&changes.tails, limit) {
        match keys {
            Keys::Known(_) => {}
            Keys::Unknown => evict(id, Reload::UnknownChange),
            Keys::TooMany => evict(id, Reload::Oversized),
        }
    }
    for (arrived, missed) in arrived.into_iter().zip(changes.missed) {
        match missed {
            Some(missed) => {
                let snapshot = changed(&arrived.snapshot, missed, next.global());
                let stay = Stay::beginning(world.round, now, arrived.took);
                next.insert(snapshot, arrived.shard, stay);
                reloads.push(Reload::Load);
            }
            None => {
                let organization = arrived.snapshot.organization().as_str();
                warn!(organization, "loaded too late to be brought up to date; dropped");
            }
        }
    }
    (next, reloads)
}

/// Notes where the feed stands.
pub(super) fn move_to(world: &mut World, heads: FeedHeads) {
    world.heads = Some(heads);
    world.position = heads.position();
}

fn global(old: &Arc<Global>, news: GlobalNews, reloads: &mut Vec<Reload>) -> Arc<Global> {
    match news {
        GlobalNews::Whole(facts) => {
            reloads.push(Reload::Oversized);
            Arc::new(Global::compile(facts))
        }
        GlobalNews::Changes(changes) if changes == GlobalChanges::default() => Arc::clone(old),
        GlobalNews::Changes(changes) => Arc::new(old.apply(changes)),
    }
}

fn apply_to_organization(world: &mut World, id: &OrganizationId, changes: OrganizationChanges) {
    let Some(loaded) = world.organizations.get(id) else {
        return;
    };
    let portfolios: Vec<_> = changes.portfolios.iter().map(|(id, _)| id.clone()).collect();
    let snapshot = changed(&loaded.snapshot, changes, world.global());
    world.replace(snapshot, portfolios.iter());
}

fn changed(
    snapshot: &Arc<Snapshot>,
    changes: OrganizationChanges,
    global: &Global,
) -> Arc<Snapshot> {
    if changes == OrganizationChanges::default() {
        return Arc::clone(snapshot);
    }
    Arc::new(snapshot.apply(changes, global))
}
