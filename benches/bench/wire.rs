//! What our layers cost beyond a bare server of tonic, and a warm check beyond an empty call.
//!
//! One child runs three servers on ports of their own: ours, ours with tokens demanded, and tonic
//! with nothing of ours. All three have a service whose one method takes nothing and gives nothing.
//! This process calls them by turns, over as many connections each, and reads the CPU time of the
//! child's threads around each turn. Neighbouring turns see the same machine, so the medians of
//! their differences and ratios are what is to be known.

use std::time::Instant;

use futures::FutureExt as _;
use portcullis::proto::v1::CheckPermissionRequest;
use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use tokio::task::JoinSet;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};

use super::child::Child;
use super::front_door::{self, World};
use super::report::{Goal, Report};
use super::{Outcome, empty};

const CONNECTIONS: usize = 4;
const STREAMS: usize = 16;
/// Calls of one turn, over all streams.
const CALLS: usize = 20_480;
/// Calls of one stream in a turn.
const CALLS_EACH: usize = CALLS / (CONNECTIONS * STREAMS);
/// How often each kind of call has its turn.
const ROUNDS: usize = 21;

/// A server of the child, and how it is called.
struct Server {
    channels: Vec<Channel>,
    token: Option<AsciiMetadataValue>,
}

/// One turn: server CPU and wall time a call, in microseconds. In the latter is also what the
/// client does, on the same cores.
#[derive(Clone, Copy)]
struct Turn {
    cpu: f64,
    wall: f64,
}

/// The kinds of calls of one round, a turn each.
#[derive(Clone, Copy)]
struct Round {
    bare: Turn,
    empty: Turn,
    check: Turn,
    /// On portfolios at the end of a chain of links.
    linked: Turn,
    /// On items with access of their own.
    item: Turn,
    bare_jwt: Turn,
    empty_jwt: Turn,
}

pub async fn measure(report: &mut Report) -> Outcome<()> {
    // Under a directory that PostgreSQL's own user may pass through.
    let directory = tempfile::Builder::new().prefix("portcullis-bench").tempdir_in("/tmp")?;
    let child = Child::start("wire", &[directory.path().to_str().ok_or("no text")?])?;
    let [ours, demanding, bare, token] = child.line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("the child printed `{}`", child.line).into());
    };
    let token: AsciiMetadataValue = format!("Bearer {token}").parse()?;
    let token_bytes = token.as_bytes().len();
    let ours = Server::connect(ours, None).await?;
    let demanding = Server::connect(demanding, Some(token.clone())).await?;
    let (bare, bare_jwt) =
        (Server::connect(bare, None).await?, Server::connect(bare, Some(token)).await?);
    let mut world = World::write(&ours.channels[0]).await?;
    world.write_chains_and_items(&ours.channels[0]).await?;
    // The first check has the organization loaded; this one sees everything, from memory.
    world.warm(&ours.channels[0]).await?;
    let each = |ask: fn(&World, usize, usize) -> Vec<CheckPermissionRequest>| -> Vec<_> {
        (0..CONNECTIONS * STREAMS).map(|stream| ask(&world, stream, CALLS_EACH)).collect()
    };
    let questions = each(World::questions);
    let (on_linked, on_items) = (each(World::questions_on_linked), each(World::questions_on_items));
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        rounds.push(Round {
            bare: bare.turn(&child, None).await?,
            empty: ours.turn(&child, None).await?,
            check: ours.turn(&child, Some(&questions[..])).await?,
            linked: ours.turn(&child, Some(&on_linked[..])).await?,
            item: ours.turn(&child, Some(&on_items[..])).await?,
            bare_jwt: bare_jwt.turn(&child, None).await?,
            empty_jwt: demanding.turn(&child, None).await?,
        });
    }
    // The first warms up.
    rounds.remove(0);
    report.note(&format!(
        "{ROUNDS} rounds of {CALLS} calls of each kind, {CONNECTIONS} connections x {STREAMS} \
         streams; {} users, {} portfolios with an item each, chains of {} linked ones; a token of \
         {token_bytes} bytes",
        front_door::USERS,
        front_door::PORTFOLIOS,
        front_door::DEPTH,
    ));
    tell(report, &rounds);
    Ok(())
}

fn tell(report: &mut Report, rounds: &[Round]) {
    let each = |figure: fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<f64>>();
    report.samples("bare_cpu_us", each(|it| it.bare.cpu), Goal::None);
    report.samples("empty_cpu_us", each(|it| it.empty.cpu), Goal::None);
    report.samples("check_cpu_us", each(|it| it.check.cpu), Goal::None);
    report.samples("bare_jwt_cpu_us", each(|it| it.bare_jwt.cpu), Goal::None);
    report.samples("empty_jwt_cpu_us", each(|it| it.empty_jwt.cpu), Goal::None);
    let added = each(|it| it.check.cpu - it.empty.cpu);
    report.samples("check_added_cpu_us", added, Goal::AtMost(3.0));
    let added = each(|it| it.linked.cpu - it.empty.cpu);
    report.samples("check_added_cpu_us_linked_16", added, Goal::AtMost(3.0));
    let added = each(|it| it.item.cpu - it.empty.cpu);
    report.samples("check_added_cpu_us_item", added, Goal::AtMost(3.0));
    let stack = each(|it| it.empty.cpu / it.bare.cpu);
    report.samples("stack_over_bare_tonic", stack, Goal::AtMost(1.25));
    let stack = each(|it| it.empty_jwt.cpu / it.bare_jwt.cpu);
    report.samples("stack_over_bare_tonic_jwt", stack, Goal::AtMost(1.35));
    let throughput = each(|it| it.empty.wall / it.check.wall);
    report.samples("check_throughput_over_empty", throughput, Goal::AtLeast(0.85));
}

impl Server {
    async fn connect(address: &str, token: Option<AsciiMetadataValue>) -> Outcome<Self> {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            channels.push(Endpoint::from_shared(format!("http://{address}"))?.connect().await?);
        }
        Ok(Self { channels, token })
    }

    /// Empty calls; checks, if the questions of each stream are given.
    async fn turn(
        &self,
        child: &Child,
        questions: Option<&[Vec<CheckPermissionRequest>]>,
    ) -> Outcome<Turn> {
        let mut streams = Vec::new();
        for stream in 0..CONNECTIONS * STREAMS {
            let channel = self.channels[stream % CONNECTIONS].clone();
            let token = self.token.clone();
            streams.push(match questions {
                None => empty::call(channel, token, CALLS_EACH).boxed(),
                Some(questions) => ask(channel, questions[stream].clone()).boxed(),
            });
        }
        let (cpu, began) = (child.cpu()?, Instant::now());
        let mut streams: JoinSet<Outcome<()>> = streams.into_iter().collect();
        while let Some(ended) = streams.join_next().await {
            ended??;
        }
        let wall = began.elapsed().as_nanos() as f64 / 1_000.0 / CALLS as f64;
        let cpu = child.cpu()?.since(&cpu) as f64 / 1_000.0 / CALLS as f64;
        Ok(Turn { cpu, wall })
    }
}

async fn ask(channel: Channel, questions: Vec<CheckPermissionRequest>) -> Outcome<()> {
    let mut client = PolicyServiceClient::new(channel);
    for question in questions {
        client.check_permission(question).await?;
    }
    Ok(())
}
