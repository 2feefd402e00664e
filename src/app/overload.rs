//! The line of batches, which are long for a processor, and which of them do not begin.
//!
//! A batch is decided in one go, as is everything that memory answers. If batches were decided as
//! they come, what has arrived meanwhile would be read only after all of them: it would wait unseen
//! in its connection, and could not even be refused. So they take turns, one for each worker of the
//! runtime, and before each the worker does whatever else there is to do. How many wait then tells
//! how much too much there is, and one too many is refused before its questions are read. Who
//! waits for something else than a processor, such as the database, is not in the line.
//!
//! A burst is served a little later, which is better than refusing it. An overload is a full line
//! while the workers hardly ever rest: when it has been so for a tenth of a second, only a few may
//! be in the line, so that those few are answered in time. The line alone would not tell, since
//! much of what is too much waits in the connections, where nobody sees it.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use metrics::{Counter, counter, describe_counter};
use tokio::runtime::{Handle, RuntimeMetrics};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::Error;

const OVERLOADS: &str = "portcullis_overload_refusals_total";

/// For how long the workers are watched before it is judged how many may be in the line.
const WINDOW: Duration = Duration::from_millis(100);
/// The part of that for which they are busy when there is too much. The rest of the time goes into
/// asking the kernel what has arrived.
const SATURATED: f64 = 0.8;
/// How long an overload has to be over before it is taken for that: a client that paused, or a
/// moment in which somebody else had the processor, is no end of it.
const CALM: Duration = Duration::from_secs(1);
/// The most batches in the line, for each worker.
const BURST: usize = 32;
/// And in an overload: while one is decided the next is there, and no worker waits for work.
const FEW: usize = 2;

/// The count of calls that an overload refused in a place.
pub fn overload_refusals(place: &'static str) -> Counter {
    describe_counter!(OVERLOADS, "Calls that were not begun because too many waited, by place");
    counter!(OVERLOADS, "place" => place)
}

/// The line of batches.
#[derive(Clone, Debug)]
pub struct Batches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    line: Mutex<Line>,
    /// Of those who are decided now.
    turns: Semaphore,
    workers: usize,
    runtime: RuntimeMetrics,
    refusals: Counter,
}

/// How many are in the line, and what has become of those who came.
#[derive(Debug)]
struct Line {
    inside: usize,
    /// Since when it is watched, and how long the workers had been busy by then, all together.
    since: Instant,
    busy: Duration,
    /// Who came meanwhile.
    joined: usize,
    refused: usize,
    /// Until when only few are let in, if they are.
    overloaded_until: Option<Instant>,
}

/// A place in the line, for as long as any clone of it is held.
#[derive(Clone, Debug)]
pub struct Place(Arc<Held>);

#[derive(Debug)]
struct Held(Arc<Shared>);

impl Batches {
    /// One turn for each worker of this runtime.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn for_this_runtime() -> Self {
        let runtime = Handle::current().metrics();
        let workers = runtime.num_workers();
        let line = Line {
            inside: 0,
            since: Instant::now(),
            busy: busy(&runtime),
            joined: 0,
            refused: 0,
            overloaded_until: None,
        };
        let (line, turns) = (Mutex::new(line), Semaphore::new(workers));
        let refusals = overload_refusals("batches");
        Self(Arc::new(Shared { line, turns, workers, runtime, refusals }))
    }

    /// A place in the line, for a batch that has just come, or waits for nothing but a processor
    /// any more.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: the line is full.
    pub fn join(&self) -> Result<Place, Error> {
        self.join_at(Instant::now(), || busy(&self.0.runtime))
    }

    fn join_at(&self, now: Instant, busy: impl FnOnce() -> Duration) -> Result<Place, Error> {
        let mut line = self.0.line();
        if now.saturating_duration_since(line.since) >= WINDOW {
            line.judge(now, busy(), self.0.workers);
        }
        if line.inside >= line.most() * self.0.workers {
            line.refused += 1;
            self.0.refusals.increment(1);
            return Err(Error::Overloaded);
        }
        line.inside += 1;
        line.joined += 1;
        Ok(Place(Arc::new(Held(Arc::clone(&self.0)))))
    }
}

/// How long the workers have been busy, all together.
fn busy(runtime: &RuntimeMetrics) -> Duration {
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker)).sum()
}

impl Place {
    /// Waits for a turn: who has it is to decide, and to wait for nothing else meanwhile.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        let turn = self.0.0.turns.acquire().await.ok();
        whatever_else_there_is().await;
        turn
    }
}

/// Lets the worker do whatever else there is to do, such as to read what has arrived.
///
/// To yield ends with the next poll of the task, whoever asked for it, and a connection asks for it
/// when it writes. A backlog of batches would then be decided in one go, with nothing read
/// meanwhile. In a set of its own only the runtime wakes it, when it has looked for what arrived.
async fn whatever_else_there_is() {
    let mut rest = FuturesUnordered::from_iter([yield_now()]);
    rest.next().await;
}

/// Does something else than to wait for a turn. Who has to wait for it longer than `patience` gives
/// up the place, and keeps nobody out of the line: a request that never comes whole, for instance.
pub async fn for_a_moment<T>(
    place: Place,
    patience: Duration,
    work: impl Future<Output = T>,
) -> (Option<Place>, T) {
    let mut work = pin!(work);
    match timeout(patience, work.as_mut()).await {
        Ok(done) => (Some(place), done),
        Err(_) => {
            drop(place);
            (None, work.await)
        }
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// The most that may be in it, for each worker.
    fn most(&self) -> usize {
        if self.overloaded_until.is_some() { FEW } else { BURST }
    }

    /// Few are let in when the line was full and the workers had no rest; and until for a while
    /// only few of those who come have to be refused for that, or there would be too much again at
    /// once.
    fn judge(&mut self, now: Instant, busy: Duration, workers: usize) {
        let watched =
            now.saturating_duration_since(self.since) * u32::try_from(workers).unwrap_or(1);
        let too_much = match self.overloaded_until {
            Some(_) => self.refused * 3 > self.joined,
            None => {
                let saturated = busy.saturating_sub(self.busy) >= watched.mul_f64(SATURATED);
                saturated && self.refused > 0
            }
        };
        if too_much {
            self.overloaded_until = Some(now + CALM);
        } else if self.overloaded_until.is_some_and(|until| now >= until) {
            self.overloaded_until = None;
        }
        (self.since, self.busy, self.joined, self.refused) = (now, busy, 0, 0);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.line().inside -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::FutureExt as _;

    use super::*;

    /// Since when the line is watched, and how long the workers had been busy by then.
    fn beginning(batches: &Batches) -> (Instant, Duration) {
        let line = batches.0.line();
        (line.since, line.busy)
    }

    /// As many as come at once and are let in.
    fn enter(batches: &Batches, now: Instant, busy: Duration, count: usize) -> Vec<Place> {
        (0..count).filter_map(|_| batches.join_at(now, || busy).ok()).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_burst_is_let_in_and_leaving_makes_place() {
        let (batches, now) = (Batches::for_this_runtime(), Instant::now());
        let inside = enter(&batches, now, Duration::ZERO, 100);
        assert_eq!(inside.len(), 2 * BURST);
        drop(inside);
        assert_eq!(enter(&batches, now, Duration::ZERO, 100).len(), 2 * BURST);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_long_for_something_else_gives_up_its_place() {
        let batches = Batches::for_this_runtime();
        let inside = || batches.0.line().inside;
        let patience = Duration::from_millis(10);
        for (work, stays) in [(patience / 2, true), (patience * 2, false)] {
            let place = batches.join().expect("a place");
            let work = async {
                let _ended = timeout(work, pending::<()>()).await;
                inside()
            };
            let (place, inside_at_the_end) = for_a_moment(place, patience, work).await;
            assert_eq!((place.is_some(), inside_at_the_end == 1), (stays, stays));
        }
        assert_eq!(inside(), 0);
    }

    #[tokio::test]
    async fn few_are_let_in_while_the_line_is_full_and_the_workers_have_no_rest() {
        let batches = Batches::for_this_runtime();
        let (begin, busy) = beginning(&batches);
        let enter = |windows: f64, busy_windows: f64| {
            let (now, busy) = (WINDOW.mul_f64(windows), WINDOW.mul_f64(busy_windows) + busy);
            enter(&batches, begin + now, busy, 100).len()
        };
        assert_eq!(enter(0.5, 0.5), BURST, "not for long yet");
        assert_eq!(enter(1.0, 0.5), BURST, "they had time to rest");
        assert_eq!(enter(2.0, 1.5), FEW);
        // A moment of rest is no end of it, as long as most are refused.
        assert_eq!(enter(3.0, 2.0), FEW);
        assert_eq!(enter(3.5, 2.0), FEW);
    }

    #[tokio::test]
    async fn it_is_over_when_hardly_anybody_is_refused() {
        let batches = Batches::for_this_runtime();
        let (begin, busy) = beginning(&batches);
        let enter = |windows, busy_windows, count| {
            enter(&batches, begin + WINDOW * windows, busy + WINDOW * busy_windows, count).len()
        };
        assert_eq!(enter(0, 0, 100), BURST);
        assert_eq!(enter(1, 1, FEW), FEW);
        assert_eq!(enter(2, 2, 100), FEW, "not for long yet");
        assert_eq!(enter(5, 5, FEW), FEW, "it had come back");
        assert_eq!(enter(14, 14, FEW), FEW);
        assert_eq!(enter(15, 15, 100), BURST, "busy, but nobody was refused");
    }

    #[tokio::test]
    async fn who_comes_after_a_while_without_any_finds_it_as_at_first() {
        let batches = Batches::for_this_runtime();
        let (begin, busy) = beginning(&batches);
        assert_eq!(enter(&batches, begin + WINDOW * 50, busy + WINDOW * 40, 100).len(), BURST);
    }

    #[tokio::test]
    async fn one_has_the_turn_and_others_wait_for_it() {
        let batches = Batches::for_this_runtime();
        let (first, second) = (batches.join().expect("a place"), batches.join().expect("a place"));
        let turn = first.turn().await;
        let mut next = Box::pin(second.turn());
        assert!(next.as_mut().now_or_never().is_none());
        drop(turn);
        assert!(next.await.is_some());
    }

    #[tokio::test]
    async fn whatever_else_is_to_be_done_comes_before_a_turn() {
        let place = Batches::for_this_runtime().join().expect("a place");
        let (begins, mut begun) = tokio::sync::oneshot::channel();
        tokio::spawn(async move { begins.send(()) });
        let mut turn = Box::pin(place.turn());
        // Its task is polled for another reason, as by a connection that writes.
        for _ in 0..3 {
            assert!(turn.as_mut().now_or_never().is_none());
        }
        let _turn = turn.await;
        assert!(begun.try_recv().is_ok());
    }
}
