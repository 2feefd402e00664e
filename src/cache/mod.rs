//! Keeps what decisions look at in memory, and never older than it says.
//!
//! ```text
//!   want ──> load ─┐
//!                  ├─> feed: poll, read ─> changes ─> World ─> readers
//!   change log ────┘
//! ```
//!
//! One task, the *feed*, owns everything and publishes one immutable [`World`] at a time; readers
//! only take the current one, so there is no lock that a writer could hold. A write never touches
//! the cache, not even its own process's: whoever needs it asks for at least its token.
//!
//! Where things are: what is known in `world`, who may be answered from it in `freshness`, waiting
//! for what is not known yet in `holding`, the loop in `feed`, what one round reads in `round`, and
//! makes of it in `changes`, which loads run in `load`, one of them in `whole`, what is not loaded
//! for now, and who makes room for others, in `rest`, how much memory all that takes in `budget`.

mod budget;
mod changes;
mod feed;
mod freshness;
mod holding;
mod load;
pub mod metrics;
mod rest;
mod round;
mod whole;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use budget::Budget;
pub use budget::Usage;
pub use freshness::{ColdCause, Freshness, Requirement};
pub use holding::NotHeld;
pub use world::World;

use crate::clock::Clock;
use crate::domain::{OrganizationId, Timestamp};
use crate::storage::Storage;

/// The current world, for as long as a decision takes. Not to be kept: take a new one.
pub type Current = Guard<Arc<World>>;

/// How the cache follows the database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// From the end of one poll to the next.
    pub poll_interval: Duration,
    /// How long memory is trusted without hearing from the database (REV-3).
    pub staleness_bound: Duration,
    /// How long one poll may take; more counts as unreachable.
    pub poll_timeout: Duration,
    /// How many changes of a shard, and keys of an organization, one round reads one by one; what
    /// has more is loaded again as a whole.
    pub max_keys_per_round: usize,
    /// How many bytes the organizations in memory, and those that are being loaded, may take.
    pub memory_budget: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_millis(50),
            staleness_bound: Duration::from_secs(2),
            poll_timeout: Duration::from_secs(1),
            max_keys_per_round: 10_000,
            memory_budget: 1 << 30,
        }
    }
}

/// What the readers ask of the feed.
#[derive(Debug)]
enum Wish {
    /// Load it, unless it is loaded.
    Load(OrganizationId),
    /// What memory has of it is wrong: load it anew, but not again at once.
    Reload(OrganizationId),
}

/// How many wishes for organizations may wait; one too many is dropped, and wished for again by
/// the next cold decision.
const WISHES: usize = 256;

/// A handle on the cache; clones are the same cache.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Shared>);

/// What the readers and the feed have in common.
#[derive(Debug)]
struct Shared {
    world: ArcSwap<World>,
    clock: Clock,
    staleness_bound: Duration,
    /// The number of the last round that began.
    begun: AtomicU64,
    /// The number of the last round that ended, well or not.
    ended: watch::Receiver<u64>,
    /// Wakes the feed before its next poll is due.
    wake: Notify,
    /// Whether this replica can answer.
    ready: watch::Receiver<bool>,
    wishes: mpsc::Sender<Wish>,
    budget: Budget,
    /// The latest instant ever told, in milliseconds.
    latest: AtomicI64,
}

impl Cache {
    /// Starts to follow the database; returns at once, with nothing known yet. Ends with `cancel`.
    #[must_use]
    pub fn start(
        storage: Storage,
        clock: Clock,
        options: Options,
        cancel: CancellationToken,
    ) -> Self {
        let (ended_sender, ended) = watch::channel(0);
        let (ready_sender, ready) = watch::channel(false);
        let (wishes, wished) = mpsc::channel(WISHES);
        let shared = Arc::new(Shared {
            world: ArcSwap::from_pointee(World::unknown()),
            clock,
            staleness_bound: options.staleness_bound,
            begun: AtomicU64::new(0),
            ended,
            wake: Notify::new(),
            ready,
            wishes,
            budget: Budget::new(options.memory_budget),
            latest: AtomicI64::new(i64::MIN),
        });
        let signals = feed::Signals { ended: ended_sender, ready: ready_sender, wished };
        let feed = feed::Feed::new(Arc::clone(&shared), storage, options, signals);
        tokio::spawn(async move { cancel.run_until_cancelled(Box::pin(feed.run())).await });
        Self(shared)
    }

    /// Waits until this replica can answer: it has heard from the database within the bound, and
    /// understands the change log. Returns also when the cache has ended.
    pub async fn ready(&self) {
        let mut ready = self.watch_ready();
        let _ended = ready.wait_for(|ready| *ready).await;
    }

    /// Whether this replica can answer, told with every change.
    #[must_use]
    pub fn watch_ready(&self) -> watch::Receiver<bool> {
        self.0.ready.clone()
    }

    /// The decision's *now*: the database's clock, as far as `world` knows. Never earlier than any
    /// instant it has told before.
    #[must_use]
    pub fn now(&self, world: &World) -> Timestamp {
        let now = world.time_at(self.0.clock.monotonic()).0;
        let latest = &self.0.latest;
        // Reading first keeps the line shared between the cores except once a millisecond.
        let told = latest.load(Ordering::Relaxed);
        if told >= now {
            return Timestamp(told);
        }
        Timestamp(latest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    /// Asks for an organization to be loaded. Cheap, and idempotent.
    pub fn want(&self, organization: OrganizationId) {
        // A full queue is not an error: the next cold decision asks again.
        let _full = self.0.wishes.try_send(Wish::Load(organization));
    }

    /// Says that what memory has of an organization is not what the database has: it is evicted at
    /// once, and loaded anew when its tenure is over.
    pub async fn distrust(&self, organization: OrganizationId) {
        // Without a feed nothing is answered from memory for long.
        let _ended = self.0.wishes.send(Wish::Reload(organization)).await;
    }

    /// How the memory budget stands.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.0.budget.usage()
    }

    /// Runs one whole round that begins after this call; false if it failed.
    pub async fn round_now(&self) -> bool {
        let arrival = self.0.begun.load(Ordering::SeqCst);
        self.0.wake.notify_one();
        let mut ended = self.0.ended.clone();
        let waited = ended.wait_for(|ended| *ended > arrival).await.is_ok();
        waited && self.0.world.load().round > arrival
    }

    /// Waits until a published world fulfils the condition. Returns also when the cache has ended.
    pub async fn until(&self, condition: impl Fn(&World) -> bool) {
        let mut ended = self.0.ended.clone();
        let _ended = ended.wait_for(|_| condition(&self.0.world.load())).await;
    }
}
