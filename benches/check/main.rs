//! What a warm check costs the server beyond an empty call, in one run.
//!
//! A child process runs the whole server, on a PostgreSQL of its own, plus a service whose one
//! method takes nothing and gives nothing. This process calls both by turns, over the same
//! connections, and reads the CPU time of the child's threads around each turn. Neighbouring turns
//! see the same machine, so the median of the differences is what the check adds.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unused_self,
    clippy::wildcard_imports,
    reason = "it measures real time, rounds, prints, and may fail like a test"
)]

mod empty;
mod world;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use tonic::transport::{Channel, Endpoint};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const CONNECTIONS: usize = 4;
const STREAMS: usize = 16;
/// Calls of one turn, over all streams.
const CALLS: usize = 20_480;
const PAIRS: usize = 15;

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match std::env::args().nth(1).as_deref() {
        Some("--serve") => {
            let directory = std::env::args().nth(2).ok_or("the data directory is missing")?;
            runtime.block_on(world::serve(directory.into()))
        }
        _ => runtime.block_on(measure()),
    }
}

/// The server, in a process of its own.
struct Server {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Outcome<Self> {
        // Under a directory that PostgreSQL's own user may pass through.
        let directory = tempfile::Builder::new().prefix("portcullis-bench").tempdir_in("/tmp")?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .arg(directory.path().join("data"))
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        let address = format!("http://{}", address.trim());
        Ok(Self { child, address, _directory: directory })
    }

    /// CPU time that the threads of the server have used, in nanoseconds.
    fn cpu(&self) -> Outcome<u64> {
        let mut total = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            total += text.split_whitespace().next().ok_or("no schedstat")?.parse::<u64>()?;
        }
        Ok(total)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its standard input closes: it stops, and its PostgreSQL with it.
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

/// One turn: server CPU and wall time a call, in microseconds.
#[derive(Clone, Copy)]
struct Turn {
    cpu: f64,
    wall: f64,
}

async fn measure() -> Outcome<()> {
    let server = Server::start()?;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(Endpoint::from_shared(server.address.clone())?.connect().await?);
    }
    let world = world::World::write(&channels[0]).await?;
    // The first check has the organization loaded; this one sees everything, from memory.
    world.warm(&channels[0]).await?;
    let (mut empty, mut check) = (Vec::new(), Vec::new());
    for pair in 0..=PAIRS {
        let first = turn(&server, &channels, Call::Empty, &world).await?;
        let second = turn(&server, &channels, Call::Check, &world).await?;
        // The first pair warms up.
        if pair > 0 {
            empty.push(first);
            check.push(second);
        }
    }
    report(&empty, &check)
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Empty,
    Check,
}

async fn turn(
    server: &Server,
    channels: &[Channel],
    call: Call,
    world: &world::World,
) -> Outcome<Turn> {
    let (cpu, began) = (server.cpu()?, Instant::now());
    let each = CALLS / (CONNECTIONS * STREAMS);
    let mut streams = tokio::task::JoinSet::new();
    for stream in 0..CONNECTIONS * STREAMS {
        let channel = channels[stream % CONNECTIONS].clone();
        let questions = world.questions(stream, each);
        streams.spawn(async move {
            match call {
                Call::Empty => empty::call(channel, each).await,
                Call::Check => {
                    let mut client = PolicyServiceClient::new(channel);
                    for question in questions {
                        client.check_permission(question).await?;
                    }
                    Ok(())
                }
            }
        });
    }
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    let calls = (each * CONNECTIONS * STREAMS) as f64;
    let wall = began.elapsed().as_nanos() as f64 / 1_000.0 / calls;
    Ok(Turn { cpu: (server.cpu()? - cpu) as f64 / 1_000.0 / calls, wall })
}

/// The quartiles of some numbers.
fn quartiles(mut numbers: Vec<f64>) -> [f64; 3] {
    numbers.sort_by(f64::total_cmp);
    let at = |share: f64| numbers[((numbers.len() - 1) as f64 * share).round() as usize];
    [at(0.25), at(0.5), at(0.75)]
}

fn report(empty: &[Turn], check: &[Turn]) -> Outcome<()> {
    let pairs = || empty.iter().zip(check);
    let rows = [
        ("empty_cpu_us", quartiles(empty.iter().map(|turn| turn.cpu).collect())),
        ("check_cpu_us", quartiles(check.iter().map(|turn| turn.cpu).collect())),
        ("check_added_cpu_us", quartiles(pairs().map(|(e, c)| c.cpu - e.cpu).collect())),
        ("check_cpu_over_empty", quartiles(pairs().map(|(e, c)| c.cpu / e.cpu).collect())),
        ("check_throughput_over_empty", quartiles(pairs().map(|(e, c)| e.wall / c.wall).collect())),
    ];
    println!(
        "{PAIRS} pairs of {CALLS} calls, {CONNECTIONS} connections x {STREAMS} streams, {} cores; \
         {} users, {} portfolios",
        std::thread::available_parallelism()?,
        world::USERS,
        world::PORTFOLIOS,
    );
    println!("{:<30} {:>9} {:>9} {:>9}", "figure", "quartile", "median", "quartile");
    let mut figures = BTreeMap::new();
    for (name, [low, median, high]) in rows {
        println!("{name:<30} {low:>9.2} {median:>9.2} {high:>9.2}");
        figures.insert(name, median);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench.json");
    std::fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    Ok(())
}
