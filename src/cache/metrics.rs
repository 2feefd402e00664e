//! What an operator sees of the cache.

use std::sync::LazyLock;

use metrics::{Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use super::world::World;
use crate::clock::Reading;

const LAG_CHANGES: &str = "portcullis_feed_lag_changes";
const LAG_SECONDS: &str = "portcullis_feed_lag_seconds";
const DECISIONS: &str = "portcullis_decisions_total";
const RELOADS: &str = "portcullis_reloads_total";
const SNAPSHOT_BYTES: &str = "portcullis_snapshot_bytes";
const ORGANIZATIONS_LOADED: &str = "portcullis_organizations_loaded";
const ROUNDS_FAILED: &str = "portcullis_feed_rounds_failed_total";
const ROUND_SECONDS: &str = "portcullis_feed_round_seconds";

/// Which way a decision was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// From memory.
    Warm,
    /// From the database, for want of what the question needs in memory or of freshness.
    Cold,
    /// From memory, fully consistent.
    Consistent,
    /// From the database, because the token belongs to another history.
    ForeignEpoch,
}

/// Why facts are, or will be, loaded as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    /// Somebody asked for an organization that was not in memory.
    Load,
    /// The database's history is not the one that was followed: everything was thrown away.
    Reset,
    /// A change of a kind that this program does not know.
    UnknownChange,
    /// More changes than are read one by one.
    Oversized,
}

/// Says what the metrics mean. Once, when the recorder is installed.
pub fn describe() {
    describe_gauge!(LAG_CHANGES, "changes that the last poll found the replica behind");
    describe_gauge!(LAG_SECONDS, "seconds since the start of the last poll that was published");
    describe_counter!(DECISIONS, "decisions by path: warm, cold, consistent or foreign_epoch");
    describe_counter!(RELOADS, "reloads by cause: load, reset, unknown_change or oversized");
    describe_gauge!(SNAPSHOT_BYTES, "estimated bytes of all compiled facts in memory");
    describe_gauge!(ORGANIZATIONS_LOADED, "organizations in memory");
    describe_counter!(ROUNDS_FAILED, "rounds of the feed that failed or ran out of time");
    describe_histogram!(ROUND_SECONDS, "seconds from the start of a poll until its publication");
}

/// The counters of decisions, looked up once: the first decision comes after the recorder.
static BY_PATH: LazyLock<[Counter; 4]> = LazyLock::new(|| {
    ["warm", "cold", "consistent", "foreign_epoch"].map(|path| counter!(DECISIONS, "path" => path))
});

/// Counts a decision.
pub fn count_decision(path: Path) {
    count_decisions(path, 1);
}

/// Counts decisions that were made together. What a list decides about each row is one.
pub fn count_decisions(path: Path, decisions: usize) {
    let [warm, cold, consistent, foreign_epoch] = &*BY_PATH;
    let counter = match path {
        Path::Warm => warm,
        Path::Cold => cold,
        Path::Consistent => consistent,
        Path::ForeignEpoch => foreign_epoch,
    };
    counter.increment(decisions as u64);
}

pub(super) fn count_reload(cause: Reload) {
    let cause = match cause {
        Reload::Load => "load",
        Reload::Reset => "reset",
        Reload::UnknownChange => "unknown_change",
        Reload::Oversized => "oversized",
    };
    counter!(RELOADS, "cause" => cause).increment(1);
}

pub(super) fn count_failed_round() {
    counter!(ROUNDS_FAILED).increment(1);
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) fn set_lag_changes(behind: i64) {
    gauge!(LAG_CHANGES).set(behind as f64);
}

pub(super) fn set_age(world: &World, now: Reading) {
    if let Some(then) = world.fresh_as_of {
        gauge!(LAG_SECONDS).set(then.age(now).as_secs_f64());
    }
}

pub(super) fn record_round(began: Reading, now: Reading) {
    metrics::histogram!(ROUND_SECONDS).record(began.age(now).as_secs_f64());
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) fn set_content(world: &World) {
    let snapshots = world.organizations.values().map(|loaded| loaded.snapshot.bytes());
    let bytes = snapshots.sum::<usize>() + world.global.bytes();
    gauge!(SNAPSHOT_BYTES).set(bytes as f64);
    gauge!(ORGANIZATIONS_LOADED).set(world.organizations.len() as f64);
}
