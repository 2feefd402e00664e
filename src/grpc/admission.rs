//! Overload: which calls are not begun, because those before them have waited too long.
//!
//! hyper hands a call to [`super::layer`] in the task of its connection, and lets a task of its own
//! do it. So the time from the one to the first moment of the other is how long the call has stood
//! in the runtime's queue, for nothing but want of processors: the delay of the queue, measured on
//! every call, and without anything shared. Nobody is counted in or out, so a call that is dropped
//! leaves nothing behind.
//!
//! A short queue is no overload: a burst is served a little later, and that is better than refusing
//! it. An overload is a queue that does not go away. So the bound holds once calls have been late
//! for a while without a pause; until then they may wait as long as that while. What stands in the
//! socket of a connection, unread, is not seen; but a connection is read again when the queue
//! before it is done with, so it waits there no longer than the queue is long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, counter, describe_counter};
use tokio::time::Instant;
use tonic::Status;

use super::status;

const OVERLOADS: &str = "portcullis_overload_refusals_total";
/// How long, in bounds, calls are late before it is an overload, and may be until then.
const PATIENCE: u32 = 20;
/// For how long, in bounds, no call is late when an overload has ended.
const PAUSE: u32 = 4;

/// Decides which calls begin.
///
/// The two instants are read and written only by calls that are late, each by itself: two of them
/// that see halves of each other's change may be refused or admitted one call too early, no more.
pub(super) struct Admission {
    /// How long a call may wait for its beginning during an overload.
    bound: Duration,
    /// What the instants below are counted from.
    origin: Instant,
    /// Since when calls have been late without a pause, in microseconds.
    since: AtomicU64,
    /// When the last of them was.
    last: AtomicU64,
    refusals: Counter,
    /// Made once: refusing has to be cheaper than answering.
    refusal: Status,
}

impl Admission {
    /// Nobody is late yet at `origin`.
    pub(super) fn new(bound: Duration, origin: Instant) -> Self {
        describe_counter!(OVERLOADS, "Calls that were not begun because too many waited, by place");
        Self {
            bound,
            origin,
            since: AtomicU64::new(0),
            last: AtomicU64::new(0),
            refusals: counter!(OVERLOADS, "place" => "queue"),
            refusal: status::overloaded(),
        }
    }

    /// Whether a call that arrived then begins now, before anything of it is looked at.
    pub(super) fn admit(&self, arrived: Instant, now: Instant) -> Result<(), Status> {
        let waited = now.saturating_duration_since(arrived);
        if waited <= self.bound || waited <= self.bound_of_late(now) {
            return Ok(());
        }
        self.refusals.increment(1);
        Err(self.refusal.clone())
    }

    /// A call is late: how long may it have waited?
    #[cold]
    fn bound_of_late(&self, now: Instant) -> Duration {
        let now = micros(now.saturating_duration_since(self.origin));
        let last = self.last.fetch_max(now, Ordering::Relaxed);
        let patience = self.bound * PATIENCE;
        if now.saturating_sub(last) > micros(self.bound * PAUSE) {
            self.since.store(now, Ordering::Relaxed);
            return patience;
        }
        let late_for = now.saturating_sub(self.since.load(Ordering::Relaxed));
        if late_for < micros(patience) { patience } else { self.bound }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    const BOUND: Duration = Duration::from_millis(5);

    /// An admission, and a clock that the test turns.
    struct Queue {
        admission: Admission,
        origin: Instant,
        now: Duration,
    }

    impl Queue {
        fn new() -> Self {
            let origin = Instant::now();
            // Not at the beginning: the instants begin there.
            let now = Duration::from_secs(60);
            Self { admission: Admission::new(BOUND, origin), origin, now }
        }

        fn pass(&mut self, millis: u64) -> &mut Self {
            self.now += Duration::from_millis(millis);
            self
        }

        /// Whether a call begins that has waited for so long.
        fn admits(&self, waited: u64) -> bool {
            let (now, waited) = (self.origin + self.now, Duration::from_millis(waited));
            self.admission.admit(now - waited, now).is_ok()
        }

        /// Calls are late for a tenth of a second, without a pause.
        fn overload(&mut self) {
            for _ in 0..10 {
                assert!(self.pass(10).admits(20), "at {:?}", self.now);
            }
            assert!(!self.pass(10).admits(20));
        }
    }

    #[test]
    fn a_burst_is_served_up_to_the_patience() {
        let queue = Queue::new();
        assert!(queue.admits(0) && queue.admits(5));
        assert!(queue.admits(6) && queue.admits(100));
        assert!(!queue.admits(101));
    }

    #[test]
    fn calls_that_stay_late_are_refused_and_those_in_time_are_not() {
        let mut queue = Queue::new();
        queue.overload();
        for waited in [6, 7, 100, 10_000] {
            assert!(!queue.admits(waited), "{waited}");
        }
        assert!(queue.admits(5) && queue.admits(0));
        assert!(!queue.pass(20).admits(6), "it lasts as long as calls are late");
    }

    #[test]
    fn a_pause_ends_an_overload_and_nothing_is_left_of_it() {
        let mut queue = Queue::new();
        queue.overload();
        // Those in time neither prolong it nor end it.
        assert!(queue.pass(20).admits(5));
        assert!(!queue.admits(6));
        assert!(queue.pass(21).admits(100));
        queue.pass(21).overload();
    }

    #[test]
    fn late_now_and_then_is_no_overload() {
        let mut queue = Queue::new();
        for _ in 0..100 {
            assert!(queue.pass(21).admits(20));
        }
    }

    #[test]
    fn a_refusal_says_that_it_is_overloaded_and_when_to_try_again() {
        use tonic_types::StatusExt as _;
        let now = Instant::now();
        let arrived = now - Duration::from_secs(1);
        let refused = Admission::new(Duration::ZERO, now).admit(arrived, now).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let details = refused.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
        assert!(details.retry_info().unwrap().retry_delay.is_some());
    }
}
