//! What a warm check costs the server beyond an empty call.
//!
//! A child runs the whole server, on a PostgreSQL of its own, plus a service whose one method takes
//! nothing and gives nothing. This process calls both by turns, over the same connections, and reads
//! the CPU time of the child's threads around each turn. Neighbouring turns see the same machine, so
//! the median of the differences is what the check adds.

use std::time::Instant;

use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use tonic::transport::{Channel, Endpoint};

use super::child::Child;
use super::front_door::{self, World};
use super::report::{Goal, Report};
use super::{Outcome, empty};

const CONNECTIONS: usize = 4;
const STREAMS: usize = 16;
/// Calls of one turn, over all streams.
const CALLS: usize = 20_480;
const PAIRS: usize = 15;

/// One turn: server CPU and wall time a call, in microseconds.
#[derive(Clone, Copy)]
struct Turn {
    cpu: f64,
    wall: f64,
}

pub async fn measure(report: &mut Report) -> Outcome<()> {
    // Under a directory that PostgreSQL's own user may pass through.
    let directory = tempfile::Builder::new().prefix("portcullis-bench").tempdir_in("/tmp")?;
    let data = directory.path().join("data");
    let server = Child::start("serve", &[data.to_str().ok_or("no text")?])?;
    let address = format!("http://{}", server.line);
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(Endpoint::from_shared(address.clone())?.connect().await?);
    }
    let world = World::write(&channels[0]).await?;
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
    let pairs = || empty.iter().zip(&check);
    report.note(&format!(
        "{PAIRS} pairs of {CALLS} calls, {CONNECTIONS} connections x {STREAMS} streams; {} users, {} \
         portfolios",
        front_door::USERS,
        front_door::PORTFOLIOS,
    ));
    report.samples("empty_cpu_us", empty.iter().map(|turn| turn.cpu).collect(), Goal::None);
    report.samples("check_cpu_us", check.iter().map(|turn| turn.cpu).collect(), Goal::None);
    let added = pairs().map(|(e, c)| c.cpu - e.cpu).collect();
    report.samples("check_added_cpu_us", added, Goal::AtMost(3.0));
    let throughput = pairs().map(|(e, c)| e.wall / c.wall).collect();
    report.samples("check_throughput_over_empty", throughput, Goal::AtLeast(0.85));
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Empty,
    Check,
}

async fn turn(server: &Child, channels: &[Channel], call: Call, world: &World) -> Outcome<Turn> {
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
