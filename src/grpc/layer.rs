//! What surrounds every call: who calls, panics, requests that tonic could not read, counting, and
//! the end of streams when the server stops.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use foldhash::fast::RandomState;
use futures::{FutureExt as _, poll};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use metrics::{Counter, counter, describe_counter};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::time::timeout_at;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::access::{self, Access};
use super::admission::Admission;
use super::code::name;
use super::context::{ACTOR, Admitted, Arrival};
use super::{authenticate, status};
use crate::authn::Authenticator;
use crate::domain::caller::Caller;
use crate::domain::refusal::{Reason, Refusal};
use crate::proto::FILE_DESCRIPTOR_SET;

/// The batches, which are admitted one by one.
const BATCH: &str = "/portcullis.v1.PolicyService/BatchCheckPermissions";
const REQUESTS: &str = "portcullis_requests_total";
/// The most that the metadata of a call may have, names and values together (BAD-2).
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The longest that it may take to find out who calls, whatever the client's deadline.
const MAX_ADMISSION: Duration = Duration::from_secs(10);

/// Wraps the services of the server.
#[derive(Clone)]
pub(super) struct CallLayer {
    calls: Arc<Calls>,
}

/// What all calls share.
struct Calls {
    /// Our methods by path.
    methods: HashMap<String, Arc<Method>, RandomState>,
    /// The count of all others.
    others: Counter,
    max_message_bytes: usize,
    request_timeout: Duration,
    authenticator: Authenticator,
    admission: Arc<Admission>,
    /// Cancelled when open streams have to end.
    stopping: CancellationToken,
}

struct Method {
    path: String,
    access: &'static Access,
    is_batch: bool,
    successes: Counter,
}

/// What is called, as far as its path says.
enum Called {
    /// A method of ours.
    Ours(Arc<Method>),
    /// Health and reflection, which answer to anybody; all that stream are among them.
    Open,
    /// A method that nobody has, or of the services that are served beside ours.
    Other,
}

/// A service with [`CallLayer`] around it.
#[derive(Clone)]
pub(super) struct Call<S> {
    inner: S,
    calls: Arc<Calls>,
}

impl CallLayer {
    pub(super) fn new(
        max_message_bytes: usize,
        request_timeout: Duration,
        authenticator: Authenticator,
        admission: Arc<Admission>,
        stopping: CancellationToken,
    ) -> Self {
        describe_counter!(REQUESTS, "Calls by method and gRPC status code");
        let success = |path: String| {
            let successes = counter!(REQUESTS, "method" => path.clone(), "code" => name(Code::Ok));
            let access = access::of(&path);
            let is_batch = path == BATCH;
            (path.clone(), Arc::new(Method { path, access, is_batch, successes }))
        };
        let methods = methods().into_iter().map(success).collect();
        let others = counter!(REQUESTS, "method" => "other", "code" => "");
        let calls = Calls {
            methods,
            others,
            max_message_bytes,
            request_timeout,
            authenticator,
            admission,
            stopping,
        };
        Self { calls: Arc::new(calls) }
    }
}

/// The paths of the methods in our contract.
fn methods() -> Vec<String> {
    // The descriptor is made by the build; a test sees to it that it can be read.
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut paths = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let path = |method| format!("/{}.{}/{method}", file.package(), service.name());
            paths.extend(service.method.iter().map(|method| path(method.name())));
        }
    }
    paths
}

impl<S> Layer<S> for CallLayer {
    type Service = Call<S>;

    fn layer(&self, inner: S) -> Call<S> {
        Call { inner, calls: Arc::clone(&self.calls) }
    }
}

impl<S> Service<Request<Body>> for Call<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let arrival = Arrival::now(request.headers());
        let calls = Arc::clone(&self.calls);
        let called = calls.called(request.uri().path());
        // Who calls may take a moment to find out. The one that was found ready is used.
        let other = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, other);
        Box::pin(async move {
            if let Err(overloaded) = calls.begin(&called) {
                return Ok(calls.finish(&called, overloaded.into_http()));
            }
            // Nothing of a call survives its panic but what it shares with others: the pools,
            // which discard a connection inside a transaction, and what no call leaves half
            // changed.
            let answer = AssertUnwindSafe(async {
                if let Err(refused) = calls.admit(&mut request, arrival, &called).await {
                    return Ok(refused.into_http());
                }
                match calls.line_up(request, &called).await {
                    Ok(request) => inner.call(request).await,
                    Err(refused) => Ok(refused.into_http()),
                }
            });
            let mut answer = pin!(answer.catch_unwind());
            let answered = match poll!(answer.as_mut()) {
                // Nearly every check is answered at once, and needs no timer.
                Poll::Ready(answered) => Ok(answered),
                // The rest of the request may never come.
                Poll::Pending => timeout_at(arrival.abandoned(calls.request_timeout), answer).await,
            };
            let response = match answered {
                Ok(Ok(response)) => response?,
                Ok(Err(panic)) => status::internal(&Panic(panic.as_ref())).into_http(),
                Err(_) => status::deadline_exceeded().into_http(),
            };
            Ok(calls.finish(&called, response))
        })
    }
}

/// Refuses metadata that is too large for what we expect in it (BAD-2).
fn within_limit(metadata: &HeaderMap) -> Result<(), Refusal> {
    let entry = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let bytes: usize = metadata.iter().map(entry).sum();
    if bytes <= MAX_METADATA_BYTES {
        return Ok(());
    }
    let message = format!("the metadata has {bytes} bytes; at most {MAX_METADATA_BYTES}");
    Err(Refusal::new(Reason::LimitExceeded, message).with("limit", MAX_METADATA_BYTES))
}

impl Calls {
    fn called(&self, path: &str) -> Called {
        match self.methods.get(path) {
            Some(method) => Called::Ours(Arc::clone(method)),
            None if authenticate::is_open(path) => Called::Open,
            None => Called::Other,
        }
    }

    /// Whether the call begins at all. Health and reflection always do: who asks how the server is
    /// has to be told when it is bad.
    fn begin(&self, called: &Called) -> Result<(), Status> {
        if matches!(called, Called::Open) {
            return Ok(());
        }
        self.admission.admit()
    }

    /// Finds out who calls, and whether they may call this at all. Nothing of the request's body
    /// has been looked at.
    async fn admit(
        &self,
        request: &mut Request<Body>,
        arrival: Arrival,
        called: &Called,
    ) -> Result<(), Status> {
        within_limit(request.headers())?;
        if matches!(called, Called::Open) {
            return Ok(());
        }
        let caller = self.caller(request.headers(), request.extensions(), arrival).await?;
        if let Called::Ours(method) = called {
            method.access.admit(&caller, request.headers().contains_key(&ACTOR))?;
        }
        request.extensions_mut().insert(Admitted { caller, arrival });
        Ok(())
    }

    /// A batch gets its place in the line, and has arrived whole.
    async fn line_up(
        &self,
        request: Request<Body>,
        called: &Called,
    ) -> Result<Request<Body>, Status> {
        match called {
            Called::Ours(method) if method.is_batch => {
                self.admission.line_up(request, self.max_message_bytes).await
            }
            _ => Ok(request),
        }
    }

    async fn caller(
        &self,
        headers: &HeaderMap,
        connection: &Extensions,
        arrival: Arrival,
    ) -> Result<Caller, Status> {
        let mut caller = pin!(authenticate::caller(&self.authenticator, headers, connection));
        let known = match poll!(caller.as_mut()) {
            // Nearly everybody is known at once, and needs no timer.
            Poll::Ready(known) => known,
            // Keys may have to be fetched, for which a client need not have the time.
            Poll::Pending => timeout_at(arrival.deadline(MAX_ADMISSION), caller)
                .await
                .map_err(|_| status::deadline_exceeded())?,
        };
        Ok(known?)
    }

    /// Counts the call, and puts what the client gets into our terms.
    fn finish(&self, called: &Called, response: Response<Body>) -> Response<Body> {
        let Called::Ours(method) = called else {
            return self.other(called, response);
        };
        let Method { path, successes, .. } = &**method;
        // No status in the headers: a message follows, and success after it.
        let Some(status) = response.extensions().get::<Status>() else {
            successes.increment(1);
            return response;
        };
        // All of ours have details; a status without is tonic's own.
        let ours = if status.details().is_empty() {
            status::unreadable(status, self.max_message_bytes)
        } else {
            None
        };
        let code = ours.as_ref().map_or(status.code(), Status::code);
        tracing::debug!(rpc.method = path, rpc.code = name(code), "a call failed");
        counter!(REQUESTS, "method" => path.clone(), "code" => name(code)).increment(1);
        match ours {
            Some(status) => status.into_http(),
            None => response,
        }
    }

    /// Health, reflection, and methods that nobody has. Their paths are the clients' to invent, so
    /// they are not counted one by one.
    fn other(&self, called: &Called, response: Response<Body>) -> Response<Body> {
        self.others.increment(1);
        if !matches!(called, Called::Open) {
            return response;
        }
        let stopping = self.stopping.clone().cancelled_owned();
        response.map(|body| {
            Body::new(EndingBody { inner: body, stopping: Box::pin(stopping), ended: false })
        })
    }
}

/// A body that ends, with a status, when the server stops: clients hold streams open for ever, and
/// a graceful shutdown waits for them.
struct EndingBody {
    inner: Body,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl http_body::Body for EndingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.stopping.as_mut().poll(context).is_ready() {
            self.ended = true;
            let mut trailers = HeaderMap::new();
            let written = status::stopping().add_header(&mut trailers);
            return Poll::Ready(Some(written.map(|()| Frame::trailers(trailers))));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        // A stream may end early: nothing is promised.
        http_body::SizeHint::default()
    }
}

/// What a panic said.
struct Panic<'p>(&'p (dyn Any + Send));

impl fmt::Display for Panic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.downcast_ref::<&str>().copied();
        let text = text.or_else(|| self.0.downcast_ref::<String>().map(String::as_str));
        write!(f, "a panic: {}", text.unwrap_or("no text"))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::Instant;
    use tonic_types::StatusExt as _;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::app::Batches;

    const CHECK: &str = "/portcullis.v1.PolicyService/CheckPermission";
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn admission(most: usize) -> Arc<Admission> {
        let runtime = tokio::runtime::Handle::current().metrics();
        Arc::new(Admission::new(most, runtime, Batches::for_this_runtime()))
    }

    fn layer(most: usize) -> CallLayer {
        let authenticator = Authenticator::trusting();
        CallLayer::new(1_000, TIMEOUT, authenticator, admission(most), CancellationToken::new())
    }

    async fn call(path: &str, answer: fn() -> Response<Body>) -> Response<Body> {
        let layer = layer(1_000);
        let service = layer.layer(service_fn(move |_: Request<Body>| async move {
            Ok::<_, Infallible>(answer())
        }));
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        service.oneshot(request).await.unwrap()
    }

    fn reason(response: &Response<Body>) -> (Code, Option<String>) {
        let status = Status::from_header_map(response.headers()).unwrap();
        let details = status.get_error_details();
        (status.code(), details.error_info().map(|info| info.reason.clone()))
    }

    #[tokio::test]
    async fn a_panic_fails_its_call_alone() {
        let response = call(CHECK, || panic!("on purpose")).await;
        assert_eq!(reason(&response), (Code::Internal, Some("INTERNAL".to_owned())));
    }

    #[tokio::test]
    async fn aut_2_nothing_but_health_and_reflection_is_reached_without_a_credential() {
        let demanding = Authenticator::demanding(None, None, None);
        let (admission, stopping) = (admission(1_000), CancellationToken::new());
        let layer = CallLayer::new(1_000, TIMEOUT, demanding, admission, stopping);
        for (path, reached) in
            [("/grpc.health.v1.Health/Check", true), (CHECK, false), ("/x", false)]
        {
            let service = layer.layer(service_fn(async |request: Request<Body>| {
                assert!(request.extensions().get::<Admitted>().is_none(), "nobody calls");
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }));
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let response = service.oneshot(request).await.unwrap();
            let code = Status::from_header_map(response.headers()).map(|status| status.code());
            assert_eq!(code, (!reached).then_some(Code::Unauthenticated), "{path}");
        }
    }

    #[tokio::test]
    async fn bad_1_what_tonic_cannot_read_is_the_clients_mistake() {
        let undecodable = call(CHECK, || Status::internal("no message").into_http()).await;
        assert_eq!(reason(&undecodable).0, Code::InvalidArgument);
        let too_large = call(CHECK, || Status::out_of_range("too large").into_http()).await;
        let expected = (Code::InvalidArgument, Some("LIMIT_EXCEEDED".to_owned()));
        assert_eq!(reason(&too_large), expected);
        let ours = call(CHECK, || status::internal(&"a defect").into_http()).await;
        assert_eq!(reason(&ours).0, Code::Internal);
        let foreign = call("/other/Method", || Status::unimplemented("").into_http()).await;
        assert_eq!(reason(&foreign), (Code::Unimplemented, None));
    }

    #[tokio::test]
    async fn what_a_call_reaches_knows_who_calls_and_when_it_came() {
        let answer = || Response::new(Body::empty());
        let layer = layer(1_000);
        let service = layer.layer(service_fn(move |request: Request<Body>| async move {
            assert!(request.extensions().get::<Admitted>().is_some());
            Ok::<_, Infallible>(answer())
        }));
        let request = Request::builder().uri(CHECK).body(Body::empty()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert!(Status::from_header_map(response.headers()).is_none(), "no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_comes_whole_ends() {
        let service = layer(1_000).layer(service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, Infallible>>()
        }));
        let (began, request) = (Instant::now(), Request::builder().uri(CHECK));
        let response = service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(reason(&response).0, Code::DeadlineExceeded);
        assert!(began.elapsed() >= TIMEOUT, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn one_call_too_many_is_not_begun() {
        let begun = Arc::new(AtomicUsize::new(0));
        for (most, begins) in [(0, 0), (1, 1)] {
            let layer = layer(most);
            // Another that is open meanwhile.
            let _other = tokio::spawn(std::future::pending::<()>());
            let counted = Arc::clone(&begun);
            let service = layer.layer(service_fn(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                async { Ok::<_, Infallible>(Response::new(Body::empty())) }
            }));
            let request = Request::builder().uri(CHECK).body(Body::empty()).unwrap();
            let response = service.oneshot(request).await.unwrap();
            assert_eq!(begun.load(Ordering::Relaxed), begins);
            if begins == 0 {
                let expected = (Code::ResourceExhausted, Some("OVERLOADED".to_owned()));
                assert_eq!(reason(&response), expected);
            }
        }
    }

    #[test]
    fn every_method_of_the_contract_is_counted() {
        assert!(methods().contains(&CHECK.to_owned()));
        assert!(methods().len() >= 20);
    }
}
