//! The line of batches, which are long for a processor, and which of them do not begin.
//!
//! A batch is decided in one go, as is everything that memory answers. If batches were decided as
//! they come, what has arrived meanwhile would be read only after all of them: it would wait unseen
//! in its connection, and could not even be refused. So they take turns, one for each worker of the
//! runtime, and before each the worker does whatever else there is to do. How many wait then tells
//! how much too much there is, and one too many is refused before its questions are read. Who
//! waits for something else than a processor, such as the database, is not in the line.
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
    joined: usize,
    refused: usize,
    /// Whether one of them found a turn free.
    found_free: bool,
}

/// A place in the line, for as long as it is held.
#[derive(Debug)]
pub(super) struct Place(Arc<Shared>);

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
                joined: 0,
                refused: 0,
                found_free: false,
            }),
            turns: Semaphore::new(workers),
            workers,
            refusals: overload_refusals("batches"),
        }))
    }

    /// Whether a batch that has just come begins: not if the line is full. It takes no place yet,
    /// since all of it has to arrive first, and that is up to its client.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub fn admit(&self) -> Result<(), Error> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Result<(), Error> {
        let free = self.0.turns.available_permits() > 0;
        let mut line = self.0.line();
        if now.saturating_duration_since(line.since) >= WINDOW {
            line.judge(self.0.workers);
            line.since = now;
        }
        line.found_free |= free;
        self.unless_full(&mut line)
    }

    /// A place in the line, for a batch that waits for nothing but its turns.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: it has filled meanwhile.
    pub(super) fn join(&self) -> Result<Place, Error> {
        let mut line = self.0.line();
        self.unless_full(&mut line)?;
        line.inside += 1;
        line.joined += 1;
        Ok(Place(Arc::clone(&self.0)))
    }

    fn unless_full(&self, line: &mut Line) -> Result<(), Error> {
        if line.inside < line.most {
            return Ok(());
        }
        line.refused += 1;
        self.0.refusals.increment(1);
        Err(Error::Overloaded)
    }
}

impl Place {
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
    /// Few are let in while the line does not go away; and until only few of those who come have
    /// to be refused for that, or a line would build up again at once.
    fn judge(&mut self, workers: usize) {
        if !self.found_free && self.joined + self.refused > 0 {
            self.most = FEW * workers;
        } else if self.refused * 3 <= self.joined {
            self.most = BURST * workers;
        }
        (self.joined, self.refused, self.found_free) = (0, 0, false);
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
        let enter = |_| {
            batches.admit_at(now).ok()?;
            batches.join().ok()
        };
        (0..count).filter_map(enter).collect()
    }

    #[tokio::test]
    async fn a_burst_is_let_in_and_leaving_makes_place() {
        let now = Instant::now();
        let batches = Batches::of(2, now);
        let inside = enter(&batches, now, 100);
        assert_eq!(inside.len(), 2 * BURST);
        assert!(batches.join().is_err(), "all came before the line was full");
        drop(inside);
        assert_eq!(enter(&batches, now, 100).len(), 2 * BURST);
    }

    #[tokio::test]
    async fn who_has_not_arrived_whole_takes_no_place() {
        let now = Instant::now();
        let batches = Batches::of(1, now);
        assert!((0..1_000).all(|_| batches.admit_at(now).is_ok()));
        assert_eq!(enter(&batches, now, 100).len(), BURST);
    }

    #[tokio::test]
    async fn few_are_let_in_while_the_line_does_not_go_away() {
        let now = Instant::now();
        let batches = Batches::of(1, now);
        let first = batches.join().expect("a place");
        let turn = first.turn().await;
        assert_eq!(enter(&batches, now, 100).len(), BURST - 1);
        assert_eq!(enter(&batches, now + WINDOW / 2, 100).len(), BURST - 1, "not for long yet");
        assert_eq!(enter(&batches, now + WINDOW, 100).len(), FEW - 1);
        // A free turn now and then is no end of it, as long as most are refused.
        drop(turn);
        drop(first);
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
        let (first, second) = (batches.join().expect("a place"), batches.join().expect("a place"));
        let turn = first.turn().await;
        let mut next = Box::pin(second.turn());
        assert!(next.as_mut().now_or_never().is_none());
        drop(turn);
        assert!(next.await.is_some());
    }

    #[tokio::test]
    async fn whatever_else_is_to_be_done_comes_before_a_turn() {
        let place = Batches::of(1, Instant::now()).join().expect("a place");
        let (begins, mut begun) = tokio::sync::oneshot::channel();
        tokio::spawn(async move { begins.send(()) });
        let _turn = place.turn().await;
        assert!(begun.try_recv().is_ok());
    }
}
