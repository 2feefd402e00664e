//! Overload: which calls are not begun.
//!
//! Refusing a check costs nearly what answering it does, since nearly all of both is HTTP/2. So
//! checks are not refused to save work: those that come too fast wait in their connections, at most
//! [`super::MAX_CONCURRENT_STREAMS`] in each, and the others with the client. What has to be
//! bounded is how many there are in all, and the batches, which are long (`app/overload.rs`).
//! Everything else waits in lines of its own: those of the pools, and of the work aside.

use metrics::Counter;
use tokio::runtime::RuntimeMetrics;
use tonic::Status;

use super::status;
use crate::app::{Batches, overload_refusals};

/// Decides which calls begin.
pub(super) struct Admission {
    /// The most tasks, those of the server itself among them. Each connection and each call has
    /// one, from when it is read on, and the runtime counts them.
    most_tasks: usize,
    runtime: RuntimeMetrics,
    batches: Batches,
    refusals: Counter,
    /// Made once: refusing has to be cheaper than answering.
    refusal: Status,
}

impl Admission {
    /// Lets so many calls and connections be open beside what runs already.
    pub(super) fn new(most: usize, runtime: RuntimeMetrics, batches: Batches) -> Self {
        let most_tasks = runtime.num_alive_tasks().saturating_add(most);
        let (refusals, refusal) = (overload_refusals("calls"), status::overloaded());
        Self { most_tasks, runtime, batches, refusals, refusal }
    }

    /// Whether a call begins, before anything of it is looked at.
    pub(super) fn admit(&self) -> Result<(), Status> {
        if self.runtime.num_alive_tasks() <= self.most_tasks {
            return Ok(());
        }
        self.refusals.increment(1);
        Err(self.refusal.clone())
    }

    /// Whether a batch does.
    pub(super) fn admit_batch(&self) -> Result<(), Status> {
        self.batches.admit().map_err(|_overloaded| self.refusal.clone())
    }
}
