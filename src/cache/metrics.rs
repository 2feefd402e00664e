//! What an operator sees of the cache.

use std::sync::LazyLock;

use metrics::{Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use super::rest::{Cause, Rest};
use super::world::World;
use crate::clock::Reading;

const LAG_CHANGES: &str = "portcullis_feed_lag_changes";
const LAG_SECONDS: &str = "portcullis_feed_lag_seconds";
const DECISIONS: &str = "portcullis_decisions_total";
const RELOADS: &str = "portcullis_reloads_total";
const SNAPSHOT_BYTES: &str = "portcullis_snapshot_bytes";
const ORGANIZATIONS_LOADED: &str = "portcullis_organizations_loaded";
const EVICTIONS: &str = "portcullis_evictions_total";
const MEMORY_BUDGET: &str = "portcullis_memory_budget_bytes";
const OVER_BUDGET: &str = "portcullis_organizations_over_budget";
const SHADOW_CHECKS: &str = "portcullis_shadow_checks_total";
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

/// Why an organization was taken out of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    /// To make room for another, or because what is in memory has grown.
    Budget,
    /// A shadow check has found memory and database to differ.
    Diverged,
    /// A change of a kind that this program does not know.
    UnknownChange,
    /// More changes than are read one by one.
    Oversized,
}

/// What became of a warm decision that was to be decided again cold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shadow {
    /// Both decided the same.
    Agreed,
    /// They did not, at one position.
    Diverged,
    /// Something was written in between: nothing can be said.
    Moved,
    /// There was no time: another one was under way, or the database was busy.
    Skipped,
    /// The database could not be asked.
    Failed,
}

/// Says what the metrics mean. Once, when the recorder is installed.
pub fn describe() {
    describe_gauge!(LAG_CHANGES, "changes that the last poll found the replica behind");
    describe_gauge!(LAG_SECONDS, "seconds since the start of the last poll that was published");
    describe_counter!(DECISIONS, "decisions by path: warm, cold, consistent or foreign_epoch");
    describe_counter!(RELOADS, "reloads by cause: load, reset, unknown_change or oversized");
    describe_gauge!(SNAPSHOT_BYTES, "estimated bytes of all compiled facts in memory");
    describe_gauge!(ORGANIZATIONS_LOADED, "organizations in memory");
    describe_counter!(
        EVICTIONS,
        "organizations taken out of memory by cause: budget, diverged, unknown_change or oversized"
    );
    describe_gauge!(MEMORY_BUDGET, "the most bytes that organizations may take");
    describe_gauge!(OVER_BUDGET, "organizations that the memory budget had no room for");
    describe_counter!(
        SHADOW_CHECKS,
        "warm decisions decided again cold by outcome: agreed, diverged, moved, skipped or failed"
    );
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

pub(super) fn count_eviction(cause: Eviction) {
    let cause = match cause {
        Eviction::Budget => "budget",
        Eviction::Diverged => "diverged",
        Eviction::UnknownChange => "unknown_change",
        Eviction::Oversized => "oversized",
    };
    counter!(EVICTIONS, "cause" => cause).increment(1);
}

/// Counts what became of a shadow check.
pub fn count_shadow(outcome: Shadow) {
    let outcome = match outcome {
        Shadow::Agreed => "agreed",
        Shadow::Diverged => "diverged",
        Shadow::Moved => "moved",
        Shadow::Skipped => "skipped",
        Shadow::Failed => "failed",
    };
    counter!(SHADOW_CHECKS, "outcome" => outcome).increment(1);
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) fn set_budget(bytes: usize) {
    gauge!(MEMORY_BUDGET).set(bytes as f64);
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) fn set_over_budget(world: &World) {
    let over = |rest: &&Rest| rest.cause == Cause::OverBudget;
    gauge!(OVER_BUDGET).set(world.resting.values().filter(over).count() as f64);
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(super) fn set_content(world: &World) {
    gauge!(SNAPSHOT_BYTES).set((world.bytes() + world.global_bytes()) as f64);
    gauge!(ORGANIZATIONS_LOADED).set(world.organizations.len() as f64);
}
