//! The only place that reads a clock, so that tests can turn it. (Deadlines of requests are
//! tokio's.)

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;

/// What both clocks of this machine said at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Since the clock was made; never steps back, may stand still while the machine sleeps.
    pub monotonic: Duration,
    /// What time it is; may step either way.
    pub wall: Timestamp,
}

impl Reading {
    /// Whether no more than `bound` has passed from here to `now` by the monotonic **and** by the
    /// wall clock. A wall clock that has stepped back proves nothing, and so counts as too late.
    #[must_use]
    pub fn is_within(&self, bound: Duration, now: Self) -> bool {
        let wall = u64::try_from(now.wall.0.saturating_sub(self.wall.0));
        let by_wall = wall.is_ok_and(|passed| Duration::from_millis(passed) <= bound);
        by_wall && self.age(now) <= bound
    }

    /// How much time has passed from here to `now`, by the monotonic clock.
    #[must_use]
    pub fn age(&self, now: Self) -> Duration {
        now.monotonic.saturating_sub(self.monotonic)
    }
}

/// The machine's clocks, or hands that a test turns. Clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { origin: Instant },
    Manual(Arc<Mutex<Reading>>),
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn system() -> Self {
        Self(Source::System { origin: Instant::now() })
    }

    /// Clocks that stand still until they are turned.
    #[must_use]
    pub fn manual(wall: Timestamp) -> Self {
        let reading = Reading { monotonic: Duration::ZERO, wall };
        Self(Source::Manual(Arc::new(Mutex::new(reading))))
    }

    /// Reads both clocks.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn read(&self) -> Reading {
        match &self.0 {
            Source::System { origin } => {
                Reading { monotonic: origin.elapsed(), wall: wall(SystemTime::now()) }
            }
            Source::Manual(hands) => *lock(hands),
        }
    }

    /// Reads the monotonic clock alone: since the clock was made.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { origin } => origin.elapsed(),
            Source::Manual(hands) => lock(hands).monotonic,
        }
    }

    /// Lets time pass by both clocks. Does nothing to the machine's.
    pub fn advance(&self, by: Duration) {
        self.turn(|hands| {
            hands.monotonic = hands.monotonic.saturating_add(by);
            hands.wall = Timestamp(hands.wall.0.saturating_add(millis(by)));
        });
    }

    /// Steps the wall clock alone, as an operator or a sleep does. Does nothing to the machine's.
    pub fn skew_wall(&self, milliseconds: i64) {
        self.turn(|hands| hands.wall = Timestamp(hands.wall.0.saturating_add(milliseconds)));
    }

    fn turn(&self, turn: impl FnOnce(&mut Reading)) {
        if let Source::Manual(hands) = &self.0 {
            turn(&mut lock(hands));
        }
    }
}

fn lock(hands: &Mutex<Reading>) -> MutexGuard<'_, Reading> {
    hands.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wall(now: SystemTime) -> Timestamp {
    let since = now.duration_since(UNIX_EPOCH);
    Timestamp(since.map_or_else(|before| -millis(before.duration()), millis))
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(2);

    #[test]
    fn rev_3_freshness_ends_by_whichever_clock_says_so_first() {
        let clock = Clock::manual(Timestamp(1_000_000));
        let then = clock.read();
        clock.advance(BOUND);
        assert!(then.is_within(BOUND, clock.read()), "the bound itself is within");
        clock.advance(Duration::from_millis(1));
        assert!(!then.is_within(BOUND, clock.read()));

        // The machine slept: the monotonic clock stood still.
        let then = clock.read();
        clock.skew_wall(2_001);
        assert!(!then.is_within(BOUND, clock.read()));

        // Somebody set the wall clock back.
        let then = clock.read();
        clock.skew_wall(-1);
        assert!(!then.is_within(BOUND, clock.read()));

        // The wall clock stands still.
        let then = clock.read();
        clock.advance(Duration::from_secs(3));
        clock.skew_wall(-3_000);
        assert!(!then.is_within(BOUND, clock.read()));
    }

    #[test]
    fn the_machines_clocks_go_forward_and_cannot_be_turned() {
        let clock = Clock::system();
        let first = clock.read();
        clock.advance(Duration::from_secs(1_000_000));
        let second = clock.read();
        assert!(second.monotonic >= first.monotonic);
        assert!(first.age(second) < Duration::from_secs(1_000));
    }
}
