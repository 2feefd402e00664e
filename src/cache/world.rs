//! What a replica knows: one immutable value, true at one position.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::rest::{Cause, Rest, tenure};
use crate::clock::{Reading, millis};
use crate::domain::revision::{Epoch, Position, Shard};
use crate::domain::{OrganizationId, PortfolioId, Timestamp};
use crate::policy::{Global, Snapshot};
use crate::storage::{FeedHeads, READER_VERSION};

/// The global facts and every loaded organization, compiled.
///
/// INVARIANT (one position): everything in a world is true at exactly one [`Position`], because
/// each round reads heads, log and facts in one REPEATABLE READ transaction, and what it makes of
/// them is published whole.
///
/// Persistent: the next world shares with this one whatever has not changed.
#[derive(Clone, Debug)]
pub struct World {
    /// Where the feed stands; none before the first round.
    pub(super) heads: Option<FeedHeads>,
    pub(super) position: Position,
    global: Arc<Global>,
    /// What the global facts take.
    global_bytes: usize,
    pub(super) organizations: ById<OrganizationId, Loaded>,
    /// Whose each portfolio of a loaded organization is.
    pub(super) routes: ById<PortfolioId, OrganizationId>,
    /// What the snapshots of all organizations take, kept in step.
    snapshot_bytes: usize,
    /// The organizations whose last load failed, or found no room.
    pub(super) resting: imbl::HashMap<OrganizationId, Rest>,
    /// The clocks before the poll was sent that found what is in here; none before the first.
    pub(super) fresh_as_of: Option<Reading>,
    /// The database's clock minus our monotonic one, in milliseconds.
    pub(super) clock_offset: i64,
    /// The number of the round that published it.
    pub(super) round: u64,
}

/// A persistent map, with a hash that every look-up can afford. It is seeded: clients choose ids,
/// and must not choose which of them collide.
pub(super) type ById<K, V> =
    imbl::GenericHashMap<K, V, foldhash::fast::RandomState, imbl::shared_ptr::DefaultSharedPtr>;

/// An organization in memory.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub snapshot: Arc<Snapshot>,
    pub shard: Shard,
    pub stay: Arc<Stay>,
}

/// An organization's stay in memory.
#[derive(Debug)]
pub(super) struct Stay {
    /// The round whose world last told of it.
    used: AtomicU64,
    /// Until when no other organization displaces it, by the monotonic clock.
    pub tenure_end: Duration,
}

/// What portfolios take beside their snapshot: whose each is.
pub(super) fn route_bytes(portfolios: usize) -> usize {
    const ROUTE: usize = 80;
    ROUTE * portfolios
}

impl World {
    /// What is known before the first round: nothing, and nobody is answered from it.
    pub(super) fn unknown() -> Self {
        Self {
            heads: None,
            position: Position::default(),
            global: Arc::default(),
            global_bytes: 0,
            organizations: ById::default(),
            routes: ById::default(),
            snapshot_bytes: 0,
            resting: imbl::HashMap::new(),
            fresh_as_of: None,
            clock_offset: 0,
            round: 0,
        }
    }

    /// The database history it belongs to; none before the first round.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.heads.map(|heads| heads.epoch)
    }

    /// Where all of it is true.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The catalogue and the deactivated users.
    #[must_use]
    pub fn global(&self) -> &Global {
        &self.global
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared_global(&self) -> &Arc<Global> {
        &self.global
    }

    /// The organization of a portfolio, and its shard; none if no loaded organization has it.
    #[must_use]
    pub fn organization_of(&self, portfolio: &str) -> Option<(&Arc<Snapshot>, Shard)> {
        self.organization(self.routes.get(portfolio)?.as_str())
    }

    /// A loaded organization, and its shard.
    #[must_use]
    pub fn organization(&self, id: &str) -> Option<(&Arc<Snapshot>, Shard)> {
        let loaded = self.organizations.get(id)?;
        loaded.stay.touch(self.round);
        Some((&loaded.snapshot, loaded.shard))
    }

    /// The loaded organizations, in no order. To name one is not to use it.
    pub fn loaded(&self) -> impl Iterator<Item = &OrganizationId> {
        self.organizations.keys()
    }

    /// The number of the round that published it; grows with every round.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Whether this program understands the change log.
    #[must_use]
    pub fn is_understood(&self) -> bool {
        self.heads.is_some_and(|heads| heads.min_reader <= READER_VERSION)
    }

    /// Whether the database was heard of within `bound` before `now` (REV-3).
    #[must_use]
    pub fn is_fresh(&self, bound: Duration, now: Reading) -> bool {
        self.fresh_as_of.is_some_and(|then| then.is_within(bound, now))
    }

    /// The database's clock when our monotonic one says this, as far as this world knows.
    pub(super) fn time_at(&self, monotonic: Duration) -> Timestamp {
        Timestamp(millis(monotonic).saturating_add(self.clock_offset))
    }

    /// Corrects the offset by a poll that was sent at `before` and answered at `after`.
    ///
    /// The database read its clock somewhere in between, so the offset is known up to the length
    /// of the poll. As long as the old one is possible it stays: a slow poll says little.
    pub(super) fn set_clock(&mut self, database: Timestamp, before: Reading, after: Reading) {
        let latest = database.0.saturating_sub(millis(before.monotonic));
        let earliest = database.0.saturating_sub(millis(after.monotonic));
        let known = if self.fresh_as_of.is_some() { self.clock_offset } else { latest };
        self.clock_offset = known.max(earliest).min(latest);
    }

    // --- content ---

    /// Puts the next state of the global facts in place.
    pub(super) fn set_global(&mut self, global: Arc<Global>) {
        if !Arc::ptr_eq(&global, &self.global) {
            self.global_bytes = global.bytes();
            self.global = global;
        }
    }

    pub(super) fn global_bytes(&self) -> usize {
        self.global_bytes
    }

    pub(super) fn insert(&mut self, snapshot: Arc<Snapshot>, shard: Shard, stay: Stay) {
        let id = snapshot.organization().clone();
        self.evict(&id);
        for portfolio in snapshot.portfolio_ids() {
            self.routes.insert(portfolio.clone(), id.clone());
        }
        self.snapshot_bytes += snapshot.bytes();
        self.resting.remove(&id);
        self.organizations.insert(id, Loaded { snapshot, shard, stay: Arc::new(stay) });
    }

    /// Puts the next state of a loaded organization in place; `portfolios` names those that came,
    /// went or changed.
    pub(super) fn replace<'a>(
        &mut self,
        snapshot: Arc<Snapshot>,
        portfolios: impl Iterator<Item = &'a PortfolioId>,
    ) {
        let id = snapshot.organization().clone();
        for portfolio in portfolios {
            if snapshot.contains_portfolio(portfolio.as_str()) {
                self.routes.insert(portfolio.clone(), id.clone());
            } else if self.routes.get(portfolio) == Some(&id) {
                self.routes.remove(portfolio);
            }
        }
        if let Some(loaded) = self.organizations.get_mut(&id) {
            self.snapshot_bytes -= loaded.snapshot.bytes();
            self.snapshot_bytes += snapshot.bytes();
            loaded.snapshot = snapshot;
        }
    }

    pub(super) fn evict(&mut self, id: &OrganizationId) -> bool {
        let Some(loaded) = self.organizations.remove(id) else {
            return false;
        };
        self.snapshot_bytes -= loaded.snapshot.bytes();
        for portfolio in loaded.snapshot.portfolio_ids() {
            self.routes.remove(portfolio);
        }
        true
    }

    /// What all loaded organizations take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.snapshot_bytes + route_bytes(self.routes.len())
    }

    /// Why an organization is not loaded for now, if it is not.
    pub(super) fn rest(&self, id: &OrganizationId, now: Duration) -> Option<Cause> {
        self.resting.get(id).filter(|rest| now < rest.until).map(|rest| rest.cause)
    }

    /// The organizations whose changes are logged on a shard.
    pub(super) fn organizations_on(&self, shard: Shard) -> Vec<OrganizationId> {
        let on_shard = self.organizations.iter().filter(|(_, loaded)| loaded.shard == shard);
        on_shard.map(|(id, _)| id.clone()).collect()
    }
}

// === impl Loaded ===

impl Loaded {
    pub fn bytes(&self) -> usize {
        self.snapshot.bytes() + route_bytes(self.snapshot.portfolio_count())
    }
}

// === impl Stay ===

impl Stay {
    /// A stay that begins now, after a load of this length.
    pub fn beginning(round: u64, now: Duration, load: Duration) -> Self {
        Self { used: AtomicU64::new(round), tenure_end: now.saturating_add(tenure(load)) }
    }

    /// The round whose world last told of it: among several, the smallest was used least recently.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn touch(&self, round: u64) {
        // Reading first keeps the line shared between the cores except once a round.
        if self.used() < round {
            self.used.store(round, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Reading {
        Reading { monotonic: Duration::from_millis(milliseconds), wall: Timestamp(0) }
    }

    #[test]
    fn acc_2_the_offset_stays_within_what_a_poll_proves() {
        let mut world = World::unknown();
        world.set_clock(Timestamp(1_000), at(100), at(110));
        assert_eq!(world.clock_offset, 900, "the latest that is possible: no access ends late");
        world.clock_offset = 895;
        world.fresh_as_of = Some(at(100));
        world.set_clock(Timestamp(1_500), at(600), at(1_600));
        assert_eq!(world.clock_offset, 895, "a slow poll changes nothing");
        world.set_clock(Timestamp(9_000), at(2_000), at(2_001));
        assert_eq!(world.clock_offset, 6_999, "a step of the database's clock is followed");
    }
}
