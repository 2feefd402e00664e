//! Overload: which calls are not begun, because the processors have too much to do already.
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
//!
//! *Heavy* calls are different: a batch is long, so it begins before all of it is there, and waits
//! for its rest behind those before it, where nobody measures. So when no worker of the runtime has
//! had a moment of rest for a while, only a few may be under way at once; and one more with each
//! moment in which a worker rests, so that what waits for other things than a processor is not
//! refused for long.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use metrics::Counter;
use tokio::runtime::RuntimeMetrics;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::Status;

use super::status;
use crate::app::overload_refusals;

/// How long, in bounds, calls are late before it is an overload, and may be until then; and for how
/// long none is when it has ended. A long queue comes to its connections in turns, and calls are
/// late in bursts as far apart as it is long: a shorter pause would take that for its end.
const PATIENCE: u32 = 20;

/// How many heavy calls are under way at once while the workers do not rest, for each of them:
/// enough that none waits for work, and few enough that a call waits no longer than it is worth.
const HEAVY_PER_WORKER: usize = 4;
/// How often it is looked whether a worker has rested in the meantime.
const LOOK: Duration = Duration::from_millis(10);
/// How long no worker may have rested before heavy calls are to be few.
const RESTLESS: Duration = Duration::from_millis(100);

/// Decides which calls begin.
///
/// The two instants are read and written only by calls that are late, each by itself. Calls that
/// see halves of each other's change may be refused a moment too early; nothing else depends on it.
pub(super) struct Admission {
    /// How long a call may wait for its beginning during an overload.
    bound: Duration,
    /// What the instants below are counted from.
    origin: Instant,
    /// Since when calls have been late without a pause, in microseconds.
    since: AtomicU64,
    /// When the last of them was.
    last: AtomicU64,
    /// The heavy calls under way, how many may be, and the least that this ever is.
    heavy: AtomicUsize,
    most_heavy: AtomicUsize,
    least_heavy: usize,
    refusals: Counter,
    /// Made once: refusing has to be cheaper than answering.
    refusal: Status,
}

/// A heavy call under way, for as long as it is held.
pub(super) struct Heavy<'a>(&'a AtomicUsize);

impl Admission {
    /// Nobody is late yet at `origin`; the runtime has so many workers.
    pub(super) fn new(bound: Duration, origin: Instant, workers: usize) -> Self {
        Self {
            bound,
            origin,
            since: AtomicU64::new(0),
            last: AtomicU64::new(0),
            heavy: AtomicUsize::new(0),
            most_heavy: AtomicUsize::new(usize::MAX),
            least_heavy: HEAVY_PER_WORKER * workers,
            refusals: overload_refusals("queue"),
            refusal: status::overloaded(),
        }
    }

    /// Whether a call that arrived then begins now, before anything of it is looked at.
    pub(super) fn admit(&self, arrived: Instant, now: Instant) -> Result<(), Status> {
        let waited = now.saturating_duration_since(arrived);
        if waited <= self.bound || waited <= self.bound_of_late(now) {
            return Ok(());
        }
        Err(self.refuse())
    }

    /// Whether a heavy call begins now.
    pub(super) fn admit_heavy(&self) -> Result<Heavy<'_>, Status> {
        let before = self.heavy.fetch_add(1, Ordering::Relaxed);
        let begun = Heavy(&self.heavy);
        if before >= self.most_heavy.load(Ordering::Relaxed) {
            return Err(self.refuse());
        }
        Ok(begun)
    }

    fn refuse(&self) -> Status {
        self.refusals.increment(1);
        self.refusal.clone()
    }

    /// Follows whether the runtime's workers rest. Never ends.
    pub(super) async fn watch(&self, runtime: &RuntimeMetrics) {
        let rests = || (0..runtime.num_workers()).map(|worker| runtime.worker_park_count(worker));
        let (mut due, mut last) = (interval(LOOK), Instant::now());
        let mut before = rests().sum::<u64>();
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let (now, rested) = (Instant::now(), rests().sum::<u64>());
            if rested != before {
                last = now;
            }
            before = rested;
            self.note_rest(now.saturating_duration_since(last));
        }
    }

    /// Notes how long ago it was last seen that a worker had rested.
    fn note_rest(&self, ago: Duration) {
        // Only this task writes it.
        let most = self.most_heavy.load(Ordering::Relaxed);
        let most = match ago {
            Duration::ZERO => most.saturating_add(1),
            ago if ago >= RESTLESS => self.least_heavy,
            _ => most,
        };
        self.most_heavy.store(most, Ordering::Relaxed);
    }

    /// A call is late: how long may it have waited?
    #[cold]
    fn bound_of_late(&self, now: Instant) -> Duration {
        let now = micros(now.saturating_duration_since(self.origin));
        let last = self.last.fetch_max(now, Ordering::Relaxed);
        let patience = self.bound * PATIENCE;
        if now.saturating_sub(last) > micros(patience) {
            self.since.store(now, Ordering::Relaxed);
            return patience;
        }
        let late_for = now.saturating_sub(self.since.load(Ordering::Relaxed));
        if late_for < micros(patience) { patience } else { self.bound }
    }
}

impl Drop for Heavy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
            Self { admission: Admission::new(BOUND, origin, 1), origin, now }
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
        assert!(queue.pass(101).admits(100));
        queue.pass(101).overload();
    }

    #[test]
    fn late_now_and_then_is_no_overload() {
        let mut queue = Queue::new();
        for _ in 0..100 {
            assert!(queue.pass(101).admits(20));
        }
    }

    #[test]
    fn heavy_calls_are_few_when_no_worker_rests_and_one_more_with_each_rest() {
        let admission = Queue::new().admission;
        let held = |most: usize| -> Vec<_> {
            let begun: Vec<_> = (0..most).map(|_| admission.admit_heavy()).collect();
            begun.into_iter().filter_map(Result::ok).collect()
        };
        assert_eq!(held(100).len(), 100, "a burst");
        admission.note_rest(RESTLESS / 2);
        assert_eq!(held(100).len(), 100, "busy, but not for long");
        admission.note_rest(RESTLESS);
        assert_eq!(held(100).len(), HEAVY_PER_WORKER);
        assert_eq!(held(100).len(), HEAVY_PER_WORKER, "nothing is left of those that are over");
        admission.note_rest(LOOK);
        assert_eq!(held(100).len(), HEAVY_PER_WORKER);
        // Those under way wait for something else: the workers rest, and others may begin.
        let _waiting = held(HEAVY_PER_WORKER);
        for others in 1..10 {
            admission.note_rest(Duration::ZERO);
            assert_eq!(held(100).len(), others);
        }
        admission.note_rest(RESTLESS);
        assert_eq!(held(100).len(), 0);
    }

    #[test]
    fn a_refusal_says_that_it_is_overloaded_and_when_to_try_again() {
        use tonic_types::StatusExt as _;
        let now = Instant::now();
        let arrived = now - Duration::from_secs(1);
        let refused = Admission::new(Duration::ZERO, now, 1).admit(arrived, now).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let details = refused.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
        assert!(details.retry_info().unwrap().retry_delay.is_some());
    }
}
