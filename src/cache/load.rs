//! Which organizations are being loaded as a whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{debug, warn};

use super::World;
use super::budget::{Budget, Room};
use super::rest::{Cause, Rest};
use super::round::{Tail, follows};
use super::whole::{Ask, Failed, Tools, Whole, load};
use crate::clock::Clock;
use crate::domain::OrganizationId;
use crate::domain::fact::FactKey;
use crate::domain::revision::Shard;
use crate::policy::Snapshot;
use crate::storage::{FeedHead, FeedHeads, LoggedChange, Storage};

/// Each load takes a connection of the feed's pool, which has as many to spare.
const AT_ONCE: usize = 2;
/// How many organizations may wait for their turn.
const WAITING: usize = 1_024;

/// The loads under way: one per organization, two at once.
///
/// INVARIANT (nothing is missed): an organization is registered here, with where the feed stands,
/// before its transaction begins, and from then on every round notes its changes. What is loaded
/// is true somewhere at or after the registration; what came after it is read again when it is
/// installed.
pub(super) struct Loads {
    tasks: JoinSet<Result<Option<Whole>, Failed>>,
    tools: Tools,
    asked: mpsc::Receiver<Ask>,
    loading: Vec<Loading>,
    waiting: VecDeque<OrganizationId>,
    arrived: Vec<Arrived>,
    /// A load was refused the room that it asked for, and has not yet ended.
    refused: bool,
    limit: usize,
}

struct Loading {
    organization: OrganizationId,
    task: Id,
    registered: FeedHeads,
    missed: Missed,
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
    /// What it takes in the budget.
    pub room: Room,
    /// How long its load took.
    pub took: Duration,
}

/// What a load has to say.
pub(super) enum News {
    /// It asks for room.
    Asks(Ask),
    /// What was loaded is to be installed.
    Arrived,
    /// It is not tried again before a while.
    Rest(OrganizationId, Failed),
    /// There is nothing to be done.
    Nothing,
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
    pub fn new(storage: Storage, clock: Clock, budget: Budget, limit: usize) -> Self {
        let (asks, asked) = mpsc::channel(AT_ONCE);
        Self {
            tasks: JoinSet::new(),
            tools: Tools { storage, clock, budget, asks },
            asked,
            loading: Vec::new(),
            waiting: VecDeque::new(),
            arrived: Vec::new(),
            refused: false,
            limit,
        }
    }

    /// Has an organization loaded, unless it already is or will be, or rests.
    pub fn want(&mut self, organization: OrganizationId, world: &World) {
        let known = world.organizations.contains_key(&organization)
            || self.is_under_way(&organization)
            || self.waiting.contains(&organization)
            || world.rest(&organization, self.tools.clock.read().monotonic).is_some();
        if !known && self.waiting.len() < WAITING {
            self.waiting.push_back(organization);
            self.start(world);
        }
    }

    fn is_under_way(&self, id: &OrganizationId) -> bool {
        self.loading.iter().any(|loading| loading.organization == *id)
            || self.arrived.iter().any(|done| done.snapshot.organization() == id)
    }

    /// Starts as many loads as may run.
    pub fn start(&mut self, world: &World) {
        // Before the first round there is no place to note changes from.
        let Some(registered) = world.heads else {
            return;
        };
        while self.tasks.len() < AT_ONCE
            && let Some(organization) = self.waiting.pop_front()
        {
            let missed = Missed::new(self.limit);
            // Nobody else touches `loading` before this returns: the task is registered in time.
            let task = self.tasks.spawn(load(self.tools.clone(), organization.clone())).id();
            self.loading.push(Loading { organization, task, registered, missed });
        }
    }

    /// Waits for news of a load. Never ends while none runs.
    pub async fn next(&mut self) -> News {
        tokio::select! {
            Some(ended) = self.tasks.join_next_with_id() => self.note_end(ended),
            // What the refused one leaves may be what the next asks for: they must not both fail.
            Some(ask) = self.asked.recv(), if !self.refused => News::Asks(ask),
            else => std::future::pending().await,
        }
    }

    fn note_end(&mut self, ended: Result<(Id, Result<Option<Whole>, Failed>), JoinError>) -> News {
        self.refused = false;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(place) = self.loading.iter().position(|loading| loading.task == id) else {
            // Thrown away by a reset while it ran.
            return News::Nothing;
        };
        let Loading { organization, registered, missed, .. } = self.loading.swap_remove(place);
        let failed = match ended.map(|(_, outcome)| outcome) {
            Ok(Ok(Some(whole))) if follows(&registered, &whole.heads).is_ok() => {
                let Whole { snapshot, shard, heads, room, took } = whole;
                let head = heads.head(shard);
                self.arrived.push(Arrived { snapshot, shard, heads, head, missed, room, took });
                return News::Arrived;
            }
            Ok(Ok(Some(_))) => {
                let organization = organization.as_str();
                warn!(organization, "loaded from another history; dropped");
                return News::Nothing;
            }
            Ok(Ok(None)) => {
                debug!(organization = organization.as_str(), "no such organization to load");
                return News::Nothing;
            }
            Ok(Err(failed)) => failed,
            Err(error) => Failed::Compile(error),
        };
        News::Rest(organization, failed)
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

    /// Notes that a load was refused room, which ends it.
    pub fn note_refusal(&mut self) {
        self.refused = true;
    }

    pub fn arrived(&self) -> &[Arrived] {
        &self.arrived
    }

    /// What has arrived, and the room that it takes.
    pub fn take_arrived(&mut self) -> (Vec<Arrived>, Vec<Room>) {
        let mut arrived = std::mem::take(&mut self.arrived);
        let rooms = arrived.iter_mut().map(|arrived| arrived.room.take()).collect();
        (arrived, rooms)
    }

    /// Throws away everything under way: it may be of another history.
    pub fn reset(&mut self) {
        self.tasks.abort_all();
        self.loading.clear();
        self.arrived.clear();
    }
}

/// Says why an organization was not loaded: once, not each time that it is tried.
pub(super) fn tell(organization: &OrganizationId, failed: &Failed, rest: &Rest) {
    let organization = organization.as_str();
    match rest {
        Rest { times: 2.., .. } => debug!(organization, %failed, "not loaded again"),
        Rest { cause: Cause::Failed, .. } => warn!(organization, %failed, "loading failed"),
        Rest { cause: Cause::OverBudget, .. } => {
            warn!(organization, %failed, "not loaded; answered from the database, and not listed");
        }
    }
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
