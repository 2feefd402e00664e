//! Loading organizations as a whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::World;
use super::round::{Tail, follows};
use crate::domain::OrganizationId;
use crate::domain::fact::{FactKey, GlobalFacts, OrganizationFacts};
use crate::domain::revision::Shard;
use crate::policy::{Global, Snapshot};
use crate::storage::{Error, FeedHead, FeedHeads, LoggedChange, Read, Storage};

/// Each load takes a connection of the feed's pool, which has as many to spare.
const AT_ONCE: usize = 2;
/// A load that takes longer is given up; the largest organizations take seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How many organizations may wait for their turn.
const WAITING: usize = 1_024;

/// The loads under way: one per organization, two at once.
///
/// INVARIANT (nothing is missed): an organization is registered here, with where the feed stands,
/// before its transaction begins, and from then on every round notes its changes. What is loaded
/// is true somewhere at or after the registration; what came after it is read again when it is
/// installed.
pub(super) struct Loads {
    tasks: JoinSet<Result<Option<Whole>, Error>>,
    loading: Vec<Loading>,
    waiting: VecDeque<OrganizationId>,
    arrived: Vec<Arrived>,
    limit: usize,
}

struct Loading {
    organization: OrganizationId,
    task: Id,
    registered: FeedHeads,
    missed: Missed,
}

/// All of an organization, true at `heads`.
struct Whole {
    snapshot: Arc<Snapshot>,
    shard: Shard,
    heads: FeedHeads,
}

/// A loaded organization that waits for the next round to be installed.
pub(super) struct Arrived {
    pub snapshot: Arc<Snapshot>,
    pub shard: Shard,
    /// Where all shards stood when it was loaded.
    pub heads: FeedHeads,
    /// Where its own did.
    pub head: FeedHead,
    pub missed: Missed,
}

/// What changed of an organization while it was loading.
#[derive(Clone)]
pub(super) struct Missed {
    keys: Vec<(i64, FactKey)>,
    /// The last change that cannot be read again key by key.
    unknown_at: i64,
    limit: usize,
}

// === impl Loads ===

impl Loads {
    pub fn new(limit: usize) -> Self {
        Self {
            tasks: JoinSet::new(),
            loading: Vec::new(),
            waiting: VecDeque::new(),
            arrived: Vec::new(),
            limit,
        }
    }

    /// Has an organization loaded, unless it already is or will be.
    pub fn want(&mut self, organization: OrganizationId, world: &World, storage: &Storage) {
        let known = world.organizations.contains_key(&organization)
            || self.loading.iter().any(|loading| loading.organization == organization)
            || self.arrived.iter().any(|done| *done.snapshot.organization() == organization)
            || self.waiting.contains(&organization);
        if !known && self.waiting.len() < WAITING {
            self.waiting.push_back(organization);
            self.start(world, storage);
        }
    }

    /// Starts as many loads as may run.
    pub fn start(&mut self, world: &World, storage: &Storage) {
        // Before the first round there is no place to note changes from.
        let Some(registered) = world.heads else {
            return;
        };
        while self.tasks.len() < AT_ONCE
            && let Some(organization) = self.waiting.pop_front()
        {
            let work = load(storage.clone(), organization.clone());
            let missed = Missed::new(self.limit);
            // Nobody else touches `loading` before this returns: the task is registered in time.
            let task = self.tasks.spawn(work).id();
            self.loading.push(Loading { organization, task, registered, missed });
        }
    }

    /// Waits for the end of a load; true if it is to be installed. Never ends while none runs.
    pub async fn next(&mut self) -> bool {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.note_end(ended),
            None => std::future::pending().await,
        }
    }

    fn note_end(&mut self, ended: Result<(Id, Result<Option<Whole>, Error>), JoinError>) -> bool {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(place) = self.loading.iter().position(|loading| loading.task == id) else {
            // Thrown away by a reset while it ran.
            return false;
        };
        let Loading { organization, registered, missed, .. } = self.loading.swap_remove(place);
        let organization = organization.as_str();
        match ended.map(|(_, outcome)| outcome) {
            Ok(Ok(Some(whole))) if follows(&registered, &whole.heads).is_ok() => {
                let Whole { snapshot, shard, heads } = whole;
                let head = heads.head(shard);
                self.arrived.push(Arrived { snapshot, shard, heads, head, missed });
                return true;
            }
            Ok(Ok(Some(_))) => warn!(organization, "loaded from another history; dropped"),
            Ok(Ok(None)) => debug!(organization, "no such organization to load"),
            Ok(Err(error)) => warn!(organization, %error, "loading failed"),
            Err(error) => warn!(organization, %error, "loading stopped"),
        }
        false
    }

    /// Notes what a round has found of the organizations that are loading.
    pub fn note_changes(&mut self, tails: &[(Shard, Tail)]) {
        for loading in &mut self.loading {
            for (shard, tail) in tails {
                // Its shard is known only when it is loaded.
                if matches!(tail, Tail::Oversized) && *shard != Shard::GLOBAL {
                    loading.missed.unknown_at = i64::MAX;
                }
                let of_it = |change: &&LoggedChange| {
                    change.organization.as_ref() == Some(&loading.organization)
                };
                tail.changes().iter().filter(of_it).for_each(|change| loading.missed.push(change));
            }
        }
    }

    pub fn arrived(&self) -> &[Arrived] {
        &self.arrived
    }

    pub fn take_arrived(&mut self) -> Vec<Arrived> {
        std::mem::take(&mut self.arrived)
    }

    /// Throws away everything under way: it may be of another history.
    pub fn reset(&mut self) {
        self.tasks.abort_all();
        self.loading.clear();
        self.arrived.clear();
    }
}

async fn load(storage: Storage, organization: OrganizationId) -> Result<Option<Whole>, Error> {
    let id = &organization;
    let deadline = Instant::now() + TIMEOUT;
    let found = storage.read_for_feed(deadline, async |read: &mut Read| read_whole(read, id).await);
    let Some((shard, heads, facts, catalogue)) = found.await? else {
        return Ok(None);
    };
    let compile = move || Snapshot::compile(facts, &Global::compile(catalogue));
    let snapshot = tokio::task::spawn_blocking(compile).await;
    let snapshot = snapshot.map_err(|error| Error::Unavailable(error.to_string()))?;
    Ok(Some(Whole { snapshot: Arc::new(snapshot), shard, heads }))
}

type Facts = (Shard, FeedHeads, OrganizationFacts, GlobalFacts);

/// Reads all of an organization, and the catalogue that its roles are compiled against, in one
/// REPEATABLE READ transaction.
async fn read_whole(
    read: &mut Read,
    organization: &OrganizationId,
) -> Result<Option<Facts>, Error> {
    let Some(shard) = read.organization_shard(organization).await? else {
        return Ok(None);
    };
    let facts = read.organization_facts(organization).await?;
    let catalogue = read.global_facts().await?;
    Ok(Some((shard, *read.heads(), facts, catalogue)))
}

// === impl Missed ===

impl Missed {
    fn new(limit: usize) -> Self {
        Self { keys: Vec::new(), unknown_at: 0, limit }
    }

    pub fn push(&mut self, change: &LoggedChange) {
        match &change.keys {
            Some(keys) if self.keys.len() + keys.len() <= self.limit => {
                self.keys.extend(keys.iter().map(|key| (change.sequence, key.clone())));
            }
            _ => self.unknown_at = self.unknown_at.max(change.sequence),
        }
    }

    /// The keys that changed after a sequence; none if one of the changes cannot be read again.
    pub fn after(&self, sequence: i64) -> Option<Vec<FactKey>> {
        let later = self.keys.iter().filter(|(at, _)| *at > sequence);
        (self.unknown_at <= sequence).then(|| later.map(|(_, key)| key.clone()).collect())
    }
}
