//! When a source is in force, and until when an answer holds.

use crate::domain::Timestamp;
use crate::domain::fact::GrantFact;

/// From `start` until just before `end` (ACC-2). The ends of `i64` stand for *always been* and
/// *for good*: no client can name those instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub start: Timestamp,
    pub end: Timestamp,
}

impl Period {
    pub const ALWAYS: Self = Self { start: Timestamp(i64::MIN), end: Timestamp(i64::MAX) };

    pub fn of(grant: &GrantFact) -> Self {
        Self {
            start: grant.start_time.unwrap_or(Self::ALWAYS.start),
            end: grant.expire_time.unwrap_or(Self::ALWAYS.end),
        }
    }

    /// In force at this instant. A period that ends before it begins never is.
    pub fn contains(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// In force at this instant, or at a later one.
    pub fn has_future(self, at: Timestamp) -> bool {
        at < self.end && self.start < self.end
    }

    /// When it begins or ends next after this instant.
    pub fn next_change(self, at: Timestamp) -> Option<Timestamp> {
        let bounds = [self.start, self.end].into_iter();
        bounds.filter(|bound| at < *bound && *bound != Self::ALWAYS.end).min()
    }

    pub fn is_unending(self) -> bool {
        self.end == Self::ALWAYS.end
    }
}

/// The end of the unbroken stretch of these periods that contains `at`; none if it never ends.
/// Sorts the periods.
pub(super) fn end_of_stretch(periods: &mut [Period], at: Timestamp) -> Option<Timestamp> {
    periods.sort_unstable_by_key(|period| period.start);
    let mut end = at;
    for period in periods {
        if period.start > end {
            break;
        }
        // One that ends where the next begins leaves no gap.
        end = end.max(period.end);
    }
    (end != Period::ALWAYS.end).then_some(end)
}

/// When the first of these periods begins that has not begun at `at`; none if there is no such.
pub(super) fn next_begin(periods: &[Period], at: Timestamp) -> Option<Timestamp> {
    let coming = |period: &&Period| at < period.start && period.start < period.end;
    periods.iter().filter(coming).map(|period| period.start).min()
}
