//! An open loop: calls leave on a schedule that no answer changes, as those of many clients who do
//! not know of one another would.
//!
//! A loop that waits for an answer before it asks again asks less while the server is slow, and so
//! measures slowness as one slow call where a hundred were to come ("coordinated omission"). Here
//! the latency of each call is counted from the instant at which it was due, whatever kept it from
//! leaving then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// The outcome of calls that were not answered in time to be waited for.
pub const UNANSWERED: &str = "UNANSWERED";
/// How long answers are waited for after the last call has left.
const DRAIN: Duration = Duration::from_secs(5);
/// How soon the schedule notices that it has to stop.
const NAP: Duration = Duration::from_millis(20);
/// The longest latency that is told from longer ones, in microseconds: a minute.
const LONGEST: u64 = 60_000_000;
/// Two values of a histogram that differ by less than one in a thousand may be taken for one.
const DIGITS: u8 = 3;

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Calls a second.
    pub rate: u32,
    /// How long calls leave that are not counted, before the others.
    pub warm_up: Duration,
    /// How long the calls leave that are counted.
    pub duration: Duration,
    /// Calls that may be without an answer at once. A call that is due meanwhile does not leave.
    pub max_in_flight: u32,
}

/// How a run is told to end early.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled when no further call is to leave.
    pub sending: CancellationToken,
    /// Cancelled, after the other, when answers are no longer waited for.
    pub waiting: CancellationToken,
}

/// What became of the calls that were due after the warm-up. Latencies are in microseconds.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The latencies by outcome, each from the instant at which its call was due.
    pub outcomes: BTreeMap<&'static str, Histogram<u64>>,
    /// How much later than due the calls left, or were found not to be able to: what this process
    /// adds to each latency.
    pub lag: Histogram<u64>,
    /// Calls that were due.
    pub due: u64,
    /// Of those, the calls that did not leave, because too many were in flight.
    pub not_sent: u64,
    /// How long calls were due: as planned, or longer if the schedule ran late.
    pub elapsed: Duration,
    /// From the first call that was due to the last answer. What was not answered had none, and
    /// must not make the others look slower.
    pub answered_after: Duration,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

impl Plan {
    /// Whether it is so short that no call would be counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let (calls, warm_up) = self.calls();
        calls == warm_up
    }

    /// How many calls there are, and how many of them warm up.
    fn calls(&self) -> (u64, u64) {
        (self.due_by(self.warm_up + self.duration), self.due_by(self.warm_up))
    }

    fn due_by(&self, time: Duration) -> u64 {
        let calls = time.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(calls).unwrap_or(u64::MAX)
    }

    /// When a call is due, from the first.
    fn due(&self, index: u64) -> Duration {
        let nanos = u128::from(index) * 1_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Measured {
    fn nothing(lag: Histogram<u64>) -> Self {
        Self {
            outcomes: BTreeMap::new(),
            lag,
            due: 0,
            not_sent: 0,
            elapsed: Duration::ZERO,
            answered_after: Duration::ZERO,
            interrupted: false,
        }
    }

    /// How many calls had this outcome.
    #[must_use]
    pub fn count(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).map_or(0, Histogram::len)
    }

    /// How many calls a second had this outcome.
    #[must_use]
    pub fn rate(&self, outcome: &str) -> f64 {
        per_second(self.count(outcome), self.elapsed.max(self.answered_after))
    }

    /// How many calls a second were due.
    #[must_use]
    pub fn offered(&self) -> f64 {
        per_second(self.due, self.elapsed)
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people, and far below 2^52")]
fn per_second(calls: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { calls as f64 / time.as_secs_f64() }
}

/// What the calls share.
struct Run {
    plan: Plan,
    origin: Instant,
    warm_up: u64,
    room: Arc<Semaphore>,
    stop: Stop,
    measured: Mutex<Measured>,
    /// To be cloned.
    empty: Histogram<u64>,
}

impl Run {
    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instant that latencies of the whole are counted from.
    fn counting_from(&self) -> Instant {
        self.origin + self.plan.due(self.warm_up)
    }

    fn record(&self, due: Instant, left: Instant, outcome: &'static str) {
        let now = Instant::now();
        let mut measured = self.measured();
        let latency = micros(now.saturating_duration_since(due));
        let latencies = measured.outcomes.entry(outcome).or_insert_with(|| self.empty.clone());
        latencies.saturating_record(latency);
        measured.lag.saturating_record(micros(left.saturating_duration_since(due)));
        if outcome != UNANSWERED {
            let answered = now.saturating_duration_since(self.counting_from());
            measured.answered_after = measured.answered_after.max(answered);
        }
    }

    /// Counts a call that is due; its lag too if it cannot leave, since nothing else will.
    fn count_due(&self, due: Instant, leaves: bool) {
        let lag = micros(due.elapsed());
        let mut measured = self.measured();
        measured.due += 1;
        if !leaves {
            measured.not_sent += 1;
            measured.lag.saturating_record(lag);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Makes the calls of a plan, until its end or until it is to stop, and waits a few seconds for the
/// last answers. `call` gets the number of the call, and tells its outcome.
///
/// # Errors
/// A histogram does not take the bounds that it is given here: a defect.
pub async fn run<F>(
    plan: Plan,
    stop: Stop,
    call: impl Fn(u64) -> F + Send + 'static,
) -> Result<Measured, CreationError>
where
    F: Future<Output = &'static str> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(plan.max_in_flight as usize));
    let (_, warm_up) = plan.calls();
    let empty = Histogram::new_with_bounds(1, LONGEST, DIGITS)?;
    let run = Arc::new(Run {
        plan,
        origin: Instant::now(),
        warm_up,
        room: Arc::clone(&room),
        stop,
        measured: Mutex::new(Measured::nothing(empty.clone())),
        empty,
    });
    let (runtime, pacing) = (Handle::current(), Arc::clone(&run));
    let paced = tokio::task::spawn_blocking(move || pace(&pacing, &runtime, call));
    // Nothing in there panics; and if it did, what was measured until then would be all.
    let _paced = paced.await;
    let all_answered = timeout(DRAIN, room.acquire_many(plan.max_in_flight)).await;
    run.measured().interrupted |= run.stop.waiting.is_cancelled();
    if all_answered.is_err() {
        run.stop.waiting.cancel();
        let _all_told = room.acquire_many(plan.max_in_flight).await;
    }
    let measured = run.measured().clone();
    Ok(measured)
}

/// Sends each call when it is due. On a thread of its own: a schedule is finer than the timers of
/// the runtime, which count milliseconds.
fn pace<F>(run: &Arc<Run>, runtime: &Handle, call: impl Fn(u64) -> F + Send + 'static)
where
    F: Future<Output = &'static str> + Send + 'static,
{
    let (calls, warm_up) = run.plan.calls();
    for index in 0..calls {
        let due = run.origin + run.plan.due(index);
        if !wait_until(due, &run.stop.sending) {
            run.measured().interrupted = true;
            break;
        }
        let counts = index >= warm_up;
        let permit = Arc::clone(&run.room).try_acquire_owned();
        if counts {
            run.count_due(due, permit.is_ok());
        }
        let Ok(permit) = permit else { continue };
        let (run, answer) = (Arc::clone(run), call(index));
        runtime.spawn(async move {
            let left = Instant::now();
            let waiting = &run.stop.waiting;
            let outcome = waiting.run_until_cancelled(answer).await.unwrap_or(UNANSWERED);
            if counts {
                run.record(due, left, outcome);
            }
            drop(permit);
        });
    }
    let elapsed = run.counting_from().elapsed();
    let mut measured = run.measured();
    let planned = if measured.interrupted { Duration::ZERO } else { run.plan.duration };
    measured.elapsed = elapsed.max(planned);
}

/// Whether the time has come; not so if it is to stop.
#[allow(clippy::disallowed_methods, reason = "a schedule waits for nothing but the time")]
fn wait_until(due: Instant, stop: &CancellationToken) -> bool {
    while !stop.is_cancelled() {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(NAP));
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::Notify;

    use super::*;

    const PLAN: Plan = Plan {
        rate: 1_000,
        warm_up: Duration::from_millis(20),
        duration: Duration::from_millis(100),
        max_in_flight: 500,
    };

    #[test]
    fn calls_are_due_at_even_distances() {
        let plan = Plan { rate: 3, ..PLAN };
        assert_eq!(plan.due(0), Duration::ZERO);
        assert_eq!(plan.due(1), Duration::from_nanos(333_333_333));
        assert_eq!(plan.due(300), Duration::from_secs(100));
        assert_eq!(PLAN.calls(), (120, 20));
    }

    #[test]
    fn a_plan_may_be_too_short_for_a_call() {
        assert!(!PLAN.is_empty());
        let (warm_up, duration) = (Duration::ZERO, Duration::from_millis(1));
        assert!(!Plan { warm_up, duration, ..PLAN }.is_empty());
        assert!(Plan { rate: 999, warm_up, duration, ..PLAN }.is_empty());
        // A call is due in it, and warms up.
        let (warm_up, duration) = (Duration::from_millis(1_500), Duration::from_millis(200));
        assert!(Plan { rate: 1, warm_up, duration, ..PLAN }.is_empty());
    }

    #[tokio::test]
    async fn every_call_leaves_and_those_of_the_warm_up_do_not_count() {
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        let call = move |index| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(if index % 2 == 0 { "OK" } else { "UNAVAILABLE" })
        };
        let measured = run(PLAN, Stop::default(), call).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 120);
        assert_eq!((measured.due, measured.not_sent, measured.interrupted), (100, 0, false));
        assert_eq!((measured.count("OK"), measured.count("UNAVAILABLE")), (50, 50));
        assert_eq!(measured.lag.len(), 100);
        // Less if the machine was late.
        assert!(measured.elapsed >= PLAN.duration && measured.offered() < 1_000.1);
    }

    #[tokio::test]
    async fn a_schedule_that_runs_late_does_not_claim_the_rate_that_was_planned() {
        let (late, last) = (PLAN.warm_up + PLAN.duration * 2, PLAN.calls().0 - 1);
        let began = OnceLock::new();
        let call = move |index| {
            let began = began.get_or_init(Instant::now);
            while index == last && began.elapsed() < late {
                std::hint::spin_loop();
            }
            std::future::ready("OK")
        };
        let measured = run(PLAN, Stop::default(), call).await.unwrap();
        assert_eq!((measured.due, measured.lag.len()), (100, 100));
        assert!(measured.elapsed >= PLAN.duration * 2, "{:?}", measured.elapsed);
        assert!(measured.offered() <= 500.0 && measured.rate("OK") <= 500.0);
    }

    /// The stall lets go only when the last call has left: a loop that waited for answers would
    /// never end here, and one that counted from the sending would see latencies of nothing.
    #[tokio::test]
    async fn a_stall_delays_no_call_and_counts_for_each_from_when_it_was_due() {
        let (stalled, last) = (Arc::new(Notify::new()), PLAN.calls().0 - 1);
        let call = move |index| {
            let stalled = Arc::clone(&stalled);
            async move {
                if index == last {
                    stalled.notify_waiters();
                } else {
                    stalled.notified().await;
                }
                "OK"
            }
        };
        let measured = run(PLAN, Stop::default(), call).await.unwrap();
        assert_eq!((measured.due, measured.count("OK")), (100, 100));
        let latencies = &measured.outcomes["OK"];
        // The first was due 99 ms before the last; half of them 50 ms before it, or more.
        assert!(latencies.max() >= 99_000, "{}", latencies.max());
        assert!(latencies.value_at_quantile(0.5) >= 49_000);
    }

    #[tokio::test]
    async fn what_could_not_leave_is_counted_and_what_is_not_answered_too() {
        let plan = Plan { max_in_flight: 3, warm_up: Duration::ZERO, ..PLAN };
        let call = |_| std::future::pending();
        let measured = run(plan, Stop::default(), call).await.unwrap();
        assert_eq!((measured.due, measured.not_sent), (100, 97));
        assert_eq!((measured.count(UNANSWERED), measured.lag.len()), (3, 100));
        // They were waited for, and the time is theirs.
        assert!(measured.outcomes[UNANSWERED].min() >= micros(DRAIN));
    }

    #[tokio::test]
    async fn waiting_for_one_answer_in_vain_does_not_lower_the_rate_of_the_others() {
        let call =
            |index| async move { if index == 50 { std::future::pending().await } else { "OK" } };
        let measured = run(PLAN, Stop::default(), call).await.unwrap();
        assert_eq!((measured.count("OK"), measured.count(UNANSWERED)), (99, 1));
        assert!(measured.answered_after < DRAIN, "{:?}", measured.answered_after);
    }

    #[tokio::test]
    async fn stopped_it_tells_what_it_has_measured() {
        let plan = Plan { duration: Duration::from_secs(600), ..PLAN };
        let stop = Stop::default();
        let (stopping, counted) = (stop.clone(), PLAN.calls().1 + 10);
        let call = move |index| {
            if index == counted {
                stopping.sending.cancel();
            }
            std::future::ready("OK")
        };
        let measured = run(plan, stop, call).await.unwrap();
        assert!(measured.interrupted);
        assert_eq!((measured.due, measured.count("OK")), (11, 11));
        assert!(measured.elapsed < Duration::from_secs(600));
    }

    #[tokio::test]
    async fn stopped_altogether_it_does_not_wait_for_answers_either() {
        let plan = Plan { warm_up: Duration::ZERO, ..PLAN };
        // In the middle, and when all have left.
        for last in [10, 99] {
            let stop = Stop::default();
            let stopping = stop.clone();
            let call = move |index| {
                if index == last {
                    stopping.sending.cancel();
                    stopping.waiting.cancel();
                }
                std::future::pending()
            };
            let measured = run(plan, stop, call).await.unwrap();
            assert!(measured.interrupted);
            assert_eq!((measured.due, measured.count(UNANSWERED)), (last + 1, last + 1));
            assert!(measured.outcomes[UNANSWERED].max() < micros(DRAIN));
        }
    }
}
