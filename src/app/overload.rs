//! The line of batches, which are long for a processor, and which of them do not begin.
//!
//! A batch is decided in one go, as is everything that memory answers. If batches were decided as
//! they come, what has arrived meanwhile would be read only after all of them: it would wait unseen
//! in its connection, and could not even be refused. So they take turns, one for each worker of the
//! runtime, and before each the worker does whatever else there is to do. How many wait then tells
//! how much too much there is, and one too many is refused before its questions are read.
//!
//! A burst is served a little later, which is better than refusing it. An overload is a line that
//! does not go away (Nichols and Jacobson, "Controlling Queue Delay", 2012): when none who came
//! within a tenth of a second has found a turn free, only a few may be in the line, so that those
//! few are answered in time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, counter, describe_counter};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::Error;

const OVERLOADS: &str = "portcullis_overload_refusals_total";

/// For how long the line is watched before it is judged.
const WINDOW: Duration = Duration::from_millis(100);
/// The most batches in the line, for each worker.
const BURST: usize = 32;
/// And in an overload: enough that no worker waits for work.
const FEW: usize = 4;

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
    refusals: Counter,
}

/// How many are in the line, and what has become of those who came.
#[derive(Debug)]
struct Line {
    inside: usize,
    most: usize,
    /// Since when those below are counted.
    since: Instant,
    admitted: usize,
    refused: usize,
    /// Whether one of them found a turn free.
    found_free: bool,
}

/// A place in the line, for as long as it is held.
#[derive(Debug)]
pub struct Place(Arc<Shared>);

impl Batches {
    /// One turn for each worker of this runtime.
    #[must_use]
    pub fn for_this_runtime() -> Self {
        let workers = Handle::try_current().map_or(1, |handle| handle.metrics().num_workers());
        Self::of(workers, Instant::now())
    }

    fn of(workers: usize, now: Instant) -> Self {
        Self(Arc::new(Shared {
            line: Mutex::new(Line {
                inside: 0,
                most: BURST * workers,
                since: now,
                admitted: 0,
                refused: 0,
                found_free: false,
            }),
            turns: Semaphore::new(workers),
            workers,
            refusals: overload_refusals("batches"),
        }))
    }

    /// Lets a batch into the line, of which nothing has been read yet.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: too many are in it.
    pub fn enter(&self) -> Result<Place, Error> {
        self.enter_at(Instant::now())
    }

    fn enter_at(&self, now: Instant) -> Result<Place, Error> {
        let free = self.0.turns.available_permits() > 0;
        if self.0.line().enter(now, free, self.0.workers) {
            return Ok(Place(Arc::clone(&self.0)));
        }
        self.0.refusals.increment(1);
        Err(Error::Overloaded)
    }

    /// Waits for a turn: who has it is to decide, and to wait for nothing else meanwhile.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        let turn = self.0.turns.acquire().await.ok();
        // Whatever else there is to do comes first, such as to read what has arrived.
        yield_now().await;
        turn
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Whether one more is let in, who found a turn free or not.
    fn enter(&mut self, now: Instant, free: bool, workers: usize) -> bool {
        if now.saturating_duration_since(self.since) >= WINDOW {
            self.judge(workers);
            self.since = now;
        }
        self.found_free |= free;
        let admitted = self.inside < self.most;
        self.inside += usize::from(admitted);
        self.admitted += usize::from(admitted);
        self.refused += usize::from(!admitted);
        admitted
    }

    /// Few are let in while the line does not go away; and until only few of those who come have
    /// to be refused for that, or a line would build up again at once.
    fn judge(&mut self, workers: usize) {
        if !self.found_free && self.admitted + self.refused > 0 {
            self.most = FEW * workers;
        } else if self.refused * 3 <= self.admitted {
            self.most = BURST * workers;
        }
        (self.admitted, self.refused, self.found_free) = (0, 0, false);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.line().inside -= 1;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// As many as come at once and are let in.
    fn enter(batches: &Batches, now: Instant, count: usize) -> Vec<Place> {
        (0..count).filter_map(|_| batches.enter_at(now).ok()).collect()
    }

    #[tokio::test]
    async fn a_burst_is_let_in_and_leaving_makes_place() {
        let now = Instant::now();
        let batches = Batches::of(2, now);
        let inside = enter(&batches, now, 100);
        assert_eq!(inside.len(), 2 * BURST);
        drop(inside);
        assert_eq!(enter(&batches, now, 100).len(), 2 * BURST);
    }

    #[tokio::test]
    async fn few_are_let_in_while_the_line_does_not_go_away() {
        let now = Instant::now();
        let batches = Batches::of(1, now);
        let turn = batches.turn().await;
        assert_eq!(enter(&batches, now, 100).len(), BURST);
        assert_eq!(enter(&batches, now + WINDOW / 2, 100).len(), BURST, "not for long yet");
        assert_eq!(enter(&batches, now + WINDOW, 100).len(), FEW);
        // A free turn now and then is no end of it, as long as most are refused.
        drop(turn);
        assert_eq!(enter(&batches, now + WINDOW * 3 / 2, 100).len(), FEW);
        assert_eq!(enter(&batches, now + WINDOW * 2, 4).len(), FEW);
        assert_eq!(enter(&batches, now + WINDOW * 3, 100).len(), BURST, "nobody was refused");
    }

    #[tokio::test]
    async fn who_comes_after_a_while_without_any_finds_it_as_at_first() {
        let now = Instant::now();
        let batches = Batches::of(1, now);
        assert_eq!(enter(&batches, now + WINDOW * 50, 100).len(), BURST);
    }

    #[tokio::test]
    async fn one_has_the_turn_and_others_wait_for_it() {
        let batches = Batches::of(1, Instant::now());
        let turn = batches.turn().await;
        let mut next = Box::pin(batches.turn());
        assert!(next.as_mut().now_or_never().is_none());
        drop(turn);
        assert!(next.await.is_some());
    }

    #[tokio::test]
    async fn whatever_else_is_to_be_done_comes_before_a_turn() {
        let batches = Batches::of(1, Instant::now());
        let (begins, mut begun) = tokio::sync::oneshot::channel();
        tokio::spawn(async move { begins.send(()) });
        let _turn = batches.turn().await;
        assert!(begun.try_recv().is_ok());
    }
}
