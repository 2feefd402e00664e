//! The task that follows the change log, and publishes what it makes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::budget::Room;
use super::load::{self, Loads, News};
use super::metrics::{self, Eviction, Reload};
use super::rest::{Rest, victims};
use super::round::{self, Fork, Found, Plan, follows};
use super::whole::{Ask, Failed as LoadFailed};
use super::{Options, Shared, Wish, World, changes};
use crate::clock::Reading;
use crate::domain::OrganizationId;
use crate::domain::fact::GlobalFacts;
use crate::policy::Global;
use crate::storage::{Error, FeedHeads, Read, Storage};

/// How long the read after a poll may take. It may be large; while it takes longer than the
/// staleness bound, the database is asked.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause between two attempts while the database is away.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What the feed tells and is told.
pub(super) struct Signals {
    pub ended: watch::Sender<u64>,
    pub ready: watch::Sender<bool>,
    pub wished: mpsc::Receiver<Wish>,
}

pub(super) struct Feed {
    shared: Arc<Shared>,
    storage: Storage,
    options: Options,
    signals: Signals,
    loads: Loads,
    /// How many rounds have failed since the last that did not.
    failures: u32,
}

/// Why a round published nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Storage(#[from] Error),
    #[error("the database is read-only: a standby, or a primary that was demoted")]
    ReadOnly,
    #[error("applying the changes stopped: {0}")]
    Apply(#[from] JoinError),
}

/// A poll, and the clocks around it.
struct Poll {
    heads: FeedHeads,
    before: Reading,
    after: Reading,
    round: u64,
}

impl Feed {
    pub fn new(shared: Arc<Shared>, storage: Storage, options: Options, signals: Signals) -> Self {
        let (clock, budget) = (shared.clock.clone(), shared.budget.clone());
        metrics::set_budget(budget.limit());
        let loads = Loads::new(storage.clone(), clock, budget, options.max_keys_per_round);
        Self { shared, storage, options, signals, loads, failures: 0 }
    }

    pub async fn run(mut self) {
        loop {
            let number = self.shared.begun.load(Ordering::SeqCst) + 1;
            // Before anything is asked: whoever still sees the number before has arrived before
            // the poll is sent.
            self.shared.begun.store(number, Ordering::SeqCst);
            self.grant_waiting().await;
            let outcome = self.round(number).await;
            let pause = self.conclude(outcome);
            self.signals.ended.send_replace(number);
            self.wait(pause).await;
        }
    }

    /// One round: polls, reads what changed, publishes all of it at once.
    ///
    /// A round that fails publishes nothing: what is known stays, and grows old.
    async fn round(&mut self, round: u64) -> Result<(), Failed> {
        let before = self.shared.clock.read();
        let deadline = Instant::now() + self.options.poll_timeout;
        let heads = self.storage.poll(deadline).await?;
        let after = self.shared.clock.read();
        if heads.read_only {
            return Err(Failed::ReadOnly);
        }
        let poll = Poll { heads, before, after, round };
        let world = self.shared.world.load_full();
        let Some(cursor) = world.heads else {
            return self.begin(&poll).await;
        };
        if let Err(fork) = follows(&cursor, &heads) {
            return self.reset(&poll, fork).await;
        }
        metrics::set_lag_changes(behind(&cursor, &heads));
        if heads.position() == *world.position() && self.loads.arrived().is_empty() {
            let mut next = World::clone(&world);
            next.heads = Some(heads);
            self.publish(next, &poll);
            return Ok(());
        }
        self.catch_up(&world, cursor, &poll).await
    }

    /// Reads and publishes what changed, and installs what was loaded.
    async fn catch_up(
        &mut self,
        world: &Arc<World>,
        cursor: FeedHeads,
        poll: &Poll,
    ) -> Result<(), Failed> {
        let limit = self.options.max_keys_per_round;
        let polled = poll.heads;
        let plan = &Plan { world, cursor, polled, arrived: self.loads.arrived(), limit };
        let deadline = Instant::now() + READ_TIMEOUT;
        let read = async |read: &mut Read| round::read(read, plan).await;
        let changes = match self.storage.read_for_feed(deadline, read).await? {
            Found::Forked(fork) => return self.reset(poll, fork).await,
            Found::Changes(changes) => *changes,
        };
        self.loads.note_changes(&changes.tails);
        let (arrived, mut rooms) = self.loads.take_arrived();
        let (before, now) = (Arc::clone(world), self.shared.clock.read().monotonic);
        let apply = move || changes::apply(&before, changes, arrived, limit, now);
        let (mut next, reloads) = tokio::task::spawn_blocking(apply).await?;
        reloads.into_iter().for_each(metrics::count_reload);
        self.fit(&mut next, &mut rooms);
        self.publish(next, poll);
        Self::let_go(Arc::clone(world));
        Ok(())
    }

    /// Evicts from a world that is about to be published what the budget has no room for: what was
    /// used least recently. What `rooms` hold is in the world.
    fn fit(&self, next: &mut World, rooms: &mut [Room]) {
        while let Err(over) = self.shared.budget.publish(next.bytes(), rooms) {
            let everything = || next.organizations.keys().cloned().collect();
            let victims: Vec<_> = victims(next, over, None).unwrap_or_else(everything);
            if victims.is_empty() {
                return;
            }
            evict(next, &victims, Eviction::Budget);
        }
    }

    /// Throws away everything that was known of a history that has ended.
    async fn reset(&mut self, poll: &Poll, fork: Fork) -> Result<(), Failed> {
        warn!(cause = ?fork, "the database's history is another: everything is loaded again");
        metrics::count_reload(Reload::Reset);
        self.loads.reset();
        // Published even if what follows fails: nothing of it may be answered from any more.
        let mut next = World::unknown();
        self.fit(&mut next, &mut []);
        let ended = self.shared.world.swap(Arc::new(next));
        Self::let_go(ended);
        self.begin(poll).await
    }

    /// Starts to follow a history, from where it stands now.
    async fn begin(&mut self, poll: &Poll) -> Result<(), Failed> {
        let deadline = Instant::now() + READ_TIMEOUT;
        let read = async |read: &mut Read| global_facts(read).await;
        let (heads, facts) = self.storage.read_for_feed(deadline, read).await?;
        if follows(&poll.heads, &heads).is_err() {
            let message = "the database's history changed between two statements";
            return Err(Error::Unavailable(message.to_owned()).into());
        }
        let mut next = World::unknown();
        next.set_global(Arc::new(Global::compile(facts)));
        changes::move_to(&mut next, heads);
        self.publish(next, poll);
        Ok(())
    }

    /// Publishes a world that is true as of the **start** of the poll.
    fn publish(&self, mut next: World, poll: &Poll) {
        next.set_clock(poll.heads.now, poll.before, poll.after);
        next.fresh_as_of = Some(poll.before);
        next.round = poll.round;
        metrics::set_content(&next);
        self.shared.world.store(Arc::new(next));
        metrics::record_round(poll.before, self.shared.clock.read());
    }

    /// Says how a round went; returns how long to wait for the next.
    fn conclude(&mut self, outcome: Result<(), Failed>) -> Duration {
        let world = self.shared.world.load();
        let now = self.shared.clock.read();
        let ready = world.is_fresh(self.options.staleness_bound, now) && world.is_understood();
        let changed = |before: &mut bool| std::mem::replace(before, ready) != ready;
        if self.signals.ready.send_if_modified(changed) && !ready {
            warn!(understood = world.is_understood(), "no longer ready to answer from memory");
        }
        metrics::set_age(&world, now);
        match outcome {
            Ok(()) => {
                if self.failures > 0 {
                    info!(failed_rounds = self.failures, "the database answers again");
                }
                self.failures = 0;
                self.options.poll_interval
            }
            Err(error) => {
                metrics::count_failed_round();
                // Once an outage, not once a poll.
                if self.failures == 0 {
                    warn!(%error, "the change feed cannot follow the database; trying again");
                }
                self.failures = self.failures.saturating_add(1);
                let pause = self.options.poll_interval.saturating_mul(1 << self.failures.min(8));
                pause.min(LONGEST_PAUSE)
            }
        }
    }

    /// Waits until the next round is due: by time, because somebody waits for it, or because a load
    /// has ended.
    async fn wait(&mut self, pause: Duration) {
        let due = Instant::now() + pause;
        let shared = Arc::clone(&self.shared);
        loop {
            self.loads.start(&shared.world.load());
            tokio::select! {
                () = sleep_until(due) => return,
                () = shared.wake.notified() => return,
                news = self.loads.next() => match news {
                    News::Asks(ask) => self.make_room(ask).await,
                    News::Arrived => return,
                    // Who waits for it is told by a round.
                    News::Rest(id, failed) => return self.rest(id, &failed),
                    News::Nothing => {}
                },
                Some(wish) = self.signals.wished.recv() => self.grant(wish).await,
            }
        }
    }

    // --- between rounds: the same position, with less in memory ---

    /// Grants what is asked for already: a load that was asked for before a round is under way in
    /// it. Who asks meanwhile comes later, so this ends.
    async fn grant_waiting(&mut self) {
        for _ in 0..self.signals.wished.len() {
            let Ok(wish) = self.signals.wished.try_recv() else { return };
            self.grant(wish).await;
        }
    }

    async fn grant(&mut self, wish: Wish) {
        let (Wish::Load(id) | Wish::Reload(id)) = &wish;
        let id = id.clone();
        if matches!(wish, Wish::Reload(_)) {
            let world = self.shared.world.load_full();
            let tenure_end = world.organizations.get(&id).map(|loaded| loaded.stay.tenure_end);
            self.evict(vec![id.clone()], Eviction::Diverged).await;
            // Memory that is wrong each time is not loaded at each question that finds it so.
            if let Some(until) = tenure_end {
                self.put_rest(id.clone(), Rest::until(until));
            }
        }
        self.loads.want(id, &self.shared.world.load());
    }

    /// Notes that an organization is not to be loaded again before a while.
    fn rest(&self, id: OrganizationId, failed: &LoadFailed) {
        let now = self.shared.clock.read().monotonic;
        let rest = Rest::after(failed, self.shared.world.load().resting.get(&id), now);
        load::tell(&id, failed, &rest);
        self.put_rest(id, rest);
    }

    fn put_rest(&self, id: OrganizationId, rest: Rest) {
        let mut next = World::clone(&self.shared.world.load());
        next.resting.insert(id, rest);
        metrics::set_over_budget(&next);
        self.shared.world.store(Arc::new(next));
    }

    /// Makes room for a load, at the cost of those that were used least recently; not of those in
    /// their tenure.
    async fn make_room(&mut self, ask: Ask) {
        // The load was thrown away meanwhile: nobody is evicted for it.
        if ask.answer.is_closed() {
            return;
        }
        let now = self.shared.clock.read().monotonic;
        let missing = ask.bytes.saturating_sub(self.shared.budget.free());
        let found = victims(&self.shared.world.load(), missing, Some(now));
        let made = match found {
            Some(victims) => self.evict(victims, Eviction::Budget).await,
            None => false,
        };
        if ask.answer.send(made).is_ok() && !made {
            self.loads.note_refusal();
        }
    }

    /// Publishes the same world without these organizations; false if that did not work out.
    async fn evict(&self, victims: Vec<OrganizationId>, cause: Eviction) -> bool {
        let world = self.shared.world.load_full();
        let mut next = World::clone(&world);
        let work = move || {
            evict(&mut next, &victims, cause);
            next
        };
        let Ok(next) = tokio::task::spawn_blocking(work).await else { return false };
        metrics::set_content(&next);
        // In this order: what is told to be free is free.
        let bytes = next.bytes();
        self.shared.world.store(Arc::new(next));
        let made = self.shared.budget.publish(bytes, &mut []).is_ok();
        Self::let_go(world);
        made
    }

    /// Lets go of a former world where it holds up nobody: an organization may be large.
    fn let_go(world: Arc<World>) {
        drop(tokio::task::spawn_blocking(move || drop(world)));
    }
}

fn evict(world: &mut World, victims: &[OrganizationId], cause: Eviction) {
    for id in victims {
        if world.evict(id) {
            info!(organization = id.as_str(), ?cause, "evicted; loaded again when asked for");
            metrics::count_eviction(cause);
        }
    }
}

impl Drop for Feed {
    /// A feed that has ended, however, will never be fresh again.
    fn drop(&mut self) {
        self.signals.ready.send_replace(false);
    }
}

async fn global_facts(read: &mut Read) -> Result<(FeedHeads, GlobalFacts), Error> {
    let facts = read.global_facts().await?;
    Ok((*read.heads(), facts))
}

/// By how many changes one state is behind another.
fn behind(older: &FeedHeads, newer: &FeedHeads) -> i64 {
    let of_shard = |shard| newer.head(shard).sequence - older.head(shard).sequence;
    round::shards().map(of_shard).sum()
}
