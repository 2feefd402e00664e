//! What a server does that is asked for twice as much as it can do.
//!
//! The server is a child that has one core, and this section has another: its client has a runtime
//! of its own, on the first. Calls are batches, prepared and sent as bytes, so that the server is
//! what limits. What it can do is found first, by a few calls at a time without a pause; then come
//! half as many and twice as many, by the generator of `portcullis bench`.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use portcullis::cli::bench::generator::{self, Measured, Plan, Stop};
use portcullis::proto::v1::{BatchCheckItem, BatchCheckPermissionsRequest, CheckPermissionRequest};
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Bytes;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::Outcome;
use super::child::Child;
use super::front_door::{self, World};
use super::report::{Goal, Report};

const METHOD: &str = "/portcullis.v1.PolicyService/BatchCheckPermissions";
/// Checks of a call.
const BATCH: usize = 500;
const CONNECTIONS: usize = 4;
/// Calls at a time while the most that the server can do is measured: it always has one to do, and
/// none is refused, since its line is longer.
const AT_A_TIME: usize = 4;
const CAPACITY_FOR: Duration = Duration::from_secs(6);
const LOAD_FOR: Duration = Duration::from_secs(20);
/// The server may take this long to see that it is overloaded.
const WARM_UP: Duration = Duration::from_secs(2);
const ADMITTED: &str = "OK";
const REFUSED: &str = "RESOURCE_EXHAUSTED";

/// Serves with a single worker, on the last core.
pub async fn serve(data_dir: PathBuf) -> Outcome<()> {
    let cores = thread::available_parallelism()?.get();
    on_core(cores - 1, move || async move { front_door::serve(data_dir).await }).await
}

/// Runs on a runtime of one worker, on one core. What is started from there stays there.
async fn on_core<T, F>(core: usize, work: impl FnOnce() -> F + Send + 'static) -> Outcome<T>
where
    T: Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let work = move || {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores)?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build()?;
        runtime.block_on(async { tokio::spawn(work()).await? })
    };
    let (tell, told) = oneshot::channel();
    thread::spawn(move || tell.send(work()));
    told.await?
}

pub async fn measure(report: &mut Report) -> Outcome<()> {
    let directory = tempfile::Builder::new().prefix("portcullis-bench").tempdir_in("/tmp")?;
    let data = directory.path().join("data");
    let server = Child::start("serve-one-core", &[data.to_str().ok_or("no text")?])?;
    let (address, pid) = (format!("http://{}", server.line), server.pid());
    let (capacity, half, twice, growth) = on_core(0, move || load(address, pid)).await?;
    report.note(&format!(
        "batches of {BATCH} checks, {CONNECTIONS} connections; one core serves {capacity:.0} a \
         second",
    ));
    let refused = |measured: &Measured| measured.count(REFUSED);
    for (name, measured) in [("half", &half), ("twice", &twice)] {
        report.note(&format!(
            "{name} of that for {} s: {:.0} a second offered, {} admitted, {} refused, {} not \
             sent, {}; the client was late by {} ms (p99)",
            LOAD_FOR.as_secs(),
            measured.offered(),
            measured.count(ADMITTED),
            refused(measured),
            measured.not_sent,
            others(measured),
            measured.lag.value_at_quantile(0.99) as f64 / 1_000.0,
        ));
    }
    let (calm, admitted) = (p99(&half, ADMITTED)?, p99(&twice, ADMITTED)?);
    report.value("overload_half_load_p99_ms", calm, Goal::None);
    report.value("overload_admitted_p99_ms", admitted, Goal::None);
    report.value("overload_admitted_p99_over_half_load", admitted / calm, Goal::AtMost(3.0));
    report.value("overload_refused_p99_ms", p99(&twice, REFUSED)?, Goal::None);
    let goodput = twice.rate(ADMITTED) / capacity;
    report.value("overload_goodput_over_capacity", goodput, Goal::AtLeast(0.5));
    report.value("overload_rss_growth_mb", growth, Goal::AtMost(64.0));
    Ok(())
}

/// What came of the calls that were neither admitted nor refused.
fn others(measured: &Measured) -> String {
    let known = [ADMITTED, REFUSED];
    let others = measured.outcomes.iter().filter(|(code, _)| !known.contains(*code));
    let others: Vec<_> = others.map(|(code, calls)| format!("{code} {}", calls.len())).collect();
    if others.is_empty() { "nothing else".to_owned() } else { others.join(", ") }
}

fn p99(measured: &Measured, outcome: &str) -> Outcome<f64> {
    let latencies =
        measured.outcomes.get(outcome).ok_or_else(|| format!("no call was {outcome}"))?;
    Ok(latencies.value_at_quantile(0.99) as f64 / 1_000.0)
}

/// What the server can do, how it does at half and at twice that, and by how many megabytes its
/// memory grew in the meantime at the most.
async fn load(address: String, pid: u32) -> Outcome<(f64, Measured, Measured, f64)> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(Endpoint::from_shared(address.clone())?.connect().await?);
    }
    let world = World::write(&channels[0]).await?;
    world.warm(&channels[0]).await?;
    let caller = Caller { channels: channels.into(), messages: messages(&world).into() };
    let capacity = capacity(&caller).await?;
    let half = at_rate(&caller, capacity / 2.0).await?;
    let before = memory(pid, "VmRSS")?;
    // From here on the kernel remembers the most that it was.
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    let twice = at_rate(&caller, capacity * 2.0).await?;
    let growth = (memory(pid, "VmHWM")? - before).max(0.0);
    // It is over when it is over.
    match caller.call(0).await {
        ADMITTED => Ok((capacity, half, twice, growth)),
        outcome => Err(format!("after the overload a call is answered with {outcome}").into()),
    }
}

/// Megabytes of a process, by what the kernel calls them.
fn memory(pid: u32, kind: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no such memory")?;
    Ok(kilobytes.parse::<f64>()? / 1_024.0)
}

/// Different batches, as bytes.
fn messages(world: &World) -> Vec<Bytes> {
    let message = |stream| {
        let item = |question: CheckPermissionRequest| BatchCheckItem {
            subject: question.subject,
            permission: question.permission,
            portfolio: question.portfolio,
            item: None,
        };
        let items = world.questions(stream, BATCH).into_iter().map(item).collect();
        BatchCheckPermissionsRequest { items, ..Default::default() }.encode_to_vec().into()
    };
    (0..16).map(message).collect()
}

/// Calls a second that are answered when there is always one to answer. One that was not would
/// make the server look weaker than it is, and the load that follows too light.
async fn capacity(caller: &Caller) -> Outcome<f64> {
    let (began, mut callers) = (Instant::now(), JoinSet::new());
    for first in 0..AT_A_TIME {
        let caller = caller.clone();
        callers.spawn(async move {
            let mut admitted: u32 = 0;
            for index in (first..).step_by(AT_A_TIME) {
                if began.elapsed() > CAPACITY_FOR {
                    break;
                }
                match caller.call(index).await {
                    ADMITTED => admitted += 1,
                    outcome => {
                        return Err(format!(
                            "of {AT_A_TIME} calls at a time one was answered with {outcome}, \
                             so what the server can do is not known"
                        ));
                    }
                }
            }
            Ok(admitted)
        });
    }
    let admitted: Vec<u32> = callers.join_all().await.into_iter().collect::<Result<_, _>>()?;
    Ok(f64::from(admitted.iter().sum::<u32>()) / began.elapsed().as_secs_f64())
}

async fn at_rate(caller: &Caller, rate: f64) -> Outcome<Measured> {
    let plan =
        Plan { rate: rate as u32, warm_up: WARM_UP, duration: LOAD_FOR, max_in_flight: 10_000 };
    let caller = caller.clone();
    let call = move |index| {
        let caller = caller.clone();
        async move { caller.call(index as usize).await }
    };
    Ok(generator::run(plan, Stop::default(), call).await?)
}

/// Calls with what was prepared.
#[derive(Clone)]
struct Caller {
    channels: Arc<[Channel]>,
    messages: Arc<[Bytes]>,
}

impl Caller {
    async fn call(&self, index: usize) -> &'static str {
        let message = self.messages[index % self.messages.len()].clone();
        let mut client = Grpc::new(self.channels[index % self.channels.len()].clone());
        if client.ready().await.is_err() {
            return "no connection";
        }
        let path = PathAndQuery::from_static(METHOD);
        match client.unary(Request::new(message), path, Prepared).await {
            Ok(_) => ADMITTED,
            Err(status) => match status.code() {
                Code::ResourceExhausted => REFUSED,
                code => code.description(),
            },
        }
    }
}

/// Sends bytes that are a message, and does not look at the answer.
struct Prepared;

impl Codec for Prepared {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Prepared {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Prepared {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, answer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        answer.advance(answer.remaining());
        Ok(Some(()))
    }
}
