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
use crate::app::{Batches, Place, overload_refusals};

/// Decides which calls begin.
pub(super) struct Admission {
    most: usize,
    /// Each connection and each call has a task, from when it is read on. The runtime counts them.
    runtime: RuntimeMetrics,
    batches: Batches,
    refusals: Counter,
    /// Made once: refusing has to be cheaper than answering.
    refusal: Status,
}

impl Admission {
    pub(super) fn new(most: usize, runtime: RuntimeMetrics, batches: Batches) -> Self {
        let (refusals, refusal) = (overload_refusals("calls"), status::overloaded());
        Self { most, runtime, batches, refusals, refusal }
    }

    /// Whether a call begins, before anything of it is looked at.
    pub(super) fn admit(&self) -> Result<(), Status> {
        if self.runtime.num_alive_tasks() <= self.most {
            return Ok(());
        }
        self.refusals.increment(1);
        Err(self.refusal.clone())
    }

    /// Whether a batch does, which has a place in the line until it is answered.
    pub(super) fn admit_batch(&self) -> Result<Place, Status> {
        self.batches.enter().map_err(|_overloaded| self.refusal.clone())
    }
}
