//! Overload: which calls are not begun.
//!
//! Refusing a check costs nearly what answering it does, since nearly all of both is HTTP/2. So
//! checks are not refused to save work: those that come too fast wait in their connections, at most
//! [`super::MAX_CONCURRENT_STREAMS`] in each, and the others with the client. What has to be
//! bounded is how many there are in all, and the batches, which are long (`app/overload.rs`).
//! Everything else waits in lines of its own: those of the pools, and of the work aside.

use std::error::Error;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use metrics::Counter;
use tokio::runtime::RuntimeMetrics;
use tonic::Status;
use tonic::body::Body;

use super::status;
use crate::app::{Batches, for_a_moment, overload_refusals};

/// How long a batch keeps its place while it arrives. One that is sent at once is here much sooner;
/// one that never comes whole holds a place no longer than an honest one that is decided.
const MOST_TO_ARRIVE: Duration = Duration::from_millis(10);
/// What stands before the message of a call: whether it is compressed, and how long it is.
const FRAME_BYTES: usize = 5;

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

    /// Gives a batch its place in the line, and waits for the rest of it. What is too much is
    /// refused before it has come; and from where its questions are decoded on, all of it takes a
    /// processor.
    pub(super) async fn line_up(
        &self,
        request: Request<Body>,
        max_message_bytes: usize,
    ) -> Result<Request<Body>, Status> {
        let join = || self.batches.join().map_err(|_overloaded| self.refusal.clone());
        let place = join()?;
        let (mut parts, body) = request.into_parts();
        let body = Limited::new(body, max_message_bytes.saturating_add(FRAME_BYTES)).collect();
        let (place, body) = for_a_moment(place, MOST_TO_ARRIVE, body).await;
        let body = body.map_err(incomplete)?.to_bytes();
        parts.extensions.insert(place.map_or_else(join, Ok)?);
        Ok(Request::from_parts(parts, Body::new(Full::new(body))))
    }
}

/// Why the rest of a request did not come, as tonic would say it.
fn incomplete(error: Box<dyn Error + Send + Sync>) -> Status {
    if error.is::<LengthLimitError>() {
        return Status::out_of_range("the body is too large");
    }
    Status::from_error(error)
}
