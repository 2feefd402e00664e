//! `portcullis bench`: asks one server as much as it is told to, and measures how it answers.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::generator::{Plan, Stop};
use super::questions::{self, Line};
use super::{ClientArguments, Failure, Outcome, output, text};
use crate::config::{duration_text, parse_duration};
use crate::domain::{PortfolioId, Subject};
use crate::grpc::client::Client;
use crate::proto::v1;

pub mod generator;
mod report;

/// More calls a second are no load but an attack, or a typing error.
const MAX_RATE: u64 = 100_000;
const MAX_DURATION: Duration = Duration::from_secs(600);

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Who would act: `user:ann`, `group:sig-release` or `service_account:ci`
    #[arg(required_unless_present = "questions", conflicts_with = "questions")]
    subject: Option<Subject>,

    /// What they would do, such as `initiative.edit`
    #[arg(required_unless_present = "questions")]
    permission: Option<String>,

    /// The id of the portfolio
    #[arg(required_unless_present = "questions")]
    portfolio: Option<PortfolioId>,

    /// Questions to ask in turn instead: a file as `verify` reads it, `allowed` being ignored
    // The one flag without a variable: where it was set, no other question could be asked.
    #[arg(long, value_name = "FILE")]
    questions: Option<PathBuf>,

    /// Calls a second, whatever the answers; at most 100000
    #[arg(long, env = "PORTCULLIS_RATE", value_name = "NUMBER")]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..=MAX_RATE))]
    rate: u32,

    /// For how long, at most `10m`
    #[arg(long, env = "PORTCULLIS_DURATION", value_name = "DURATION")]
    #[arg(default_value = "10s", value_parser = parse_run_time)]
    duration: Duration,

    /// For how long before that, without being counted, at most `10m`
    #[arg(long, env = "PORTCULLIS_WARM_UP", value_name = "DURATION")]
    #[arg(default_value = "1s", value_parser = parse_run_time)]
    warm_up: Duration,

    /// Calls without an answer at once; while there are so many, those that are due do not leave
    #[arg(long, env = "PORTCULLIS_MAX_IN_FLIGHT", value_name = "NUMBER", default_value = "1000")]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..=100_000))]
    max_in_flight: u32,

    /// Connections, which take the calls in turn
    #[arg(long, env = "PORTCULLIS_CONNECTIONS", value_name = "NUMBER", default_value = "4")]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..=64))]
    connections: u32,

    /// Ask so many questions in each call
    #[arg(long, env = "PORTCULLIS_BATCH", value_name = "NUMBER")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    batch: Option<usize>,

    /// How fresh: `minimize-latency`, `fully-consistent` or a consistency token
    #[arg(long, env = "PORTCULLIS_CONSISTENCY", value_name = "HOW")]
    #[arg(default_value = "minimize-latency", value_parser = text::parse_consistency)]
    consistency: v1::Consistency,

    #[command(flatten)]
    client: ClientArguments,
}

/// What a call asks.
#[derive(Clone)]
enum Call {
    Check(v1::CheckPermissionRequest),
    Batch(v1::BatchCheckPermissionsRequest),
}

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis bench user:ann initiative.edit apollo --rate 1000
  portcullis bench --questions expectations.jsonl --rate 200 --batch 100 --duration 1m
  portcullis bench --questions expectations.jsonl --rate 5000 --json > measured.json

Calls leave on a schedule, also while the server is slow, and each latency is counted from when its
call was due. Ask servers of your own, and rather not the one that others rely on: this is a load.
Ctrl-C ends it, and tells what was measured until then; once more, and it does not wait for answers.

Status 0: done, whatever was answered. 2: error.";

/// Connects, tells the plan, carries it out, and tells what came of it.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let plan = plan(arguments)?;
    let lines = lines(arguments)?;
    let calls = calls(arguments, &lines)?;
    // From here on Ctrl-C does not end the program by itself; whoever waits has to hear it.
    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|error| Failure::Text(format!("cannot watch signals: {error}")))?;
    let clients = tokio::select! {
        connected = connect(arguments) => connected?,
        _ = interrupts.recv() => return Err(Failure::Text("interrupted while connecting".into())),
    };
    let json = arguments.client.json;
    let told = sentence(arguments, lines.len());
    // Standard output is for what a program reads.
    if json {
        output::remark(told);
    } else {
        output::line(told);
    }
    let stop = Stop::default();
    let interrupting = tokio::spawn(interrupt(interrupts, stop.clone()));
    let ask = move |index| ask(pick(&clients, index), pick(&calls, index));
    let measured = generator::run(plan, stop, ask).await;
    let measured = measured.map_err(|defect| Failure::Text(defect.to_string()))?;
    interrupting.abort();
    report::print(&measured, json, object(arguments, lines.len()));
    Ok(Outcome::Yes)
}

fn plan(arguments: &Arguments) -> Result<Plan, Failure> {
    let Arguments { rate, warm_up, duration, max_in_flight, .. } = *arguments;
    let plan = Plan { rate, warm_up, duration, max_in_flight };
    if plan.is_empty() {
        let duration = duration_text(duration);
        return Err(Failure::Arguments(format!(
            "no call is due within {duration} at {rate} a second; give a longer `--duration`, or a \
             higher `--rate`"
        )));
    }
    Ok(plan)
}

async fn connect(arguments: &Arguments) -> Result<Vec<Client>, Failure> {
    let mut clients = Vec::new();
    for _ in 0..arguments.connections {
        clients.push(arguments.client.connect().await?);
    }
    Ok(clients)
}

/// The first Ctrl-C ends the schedule, the second also what is waited for.
async fn interrupt(mut interrupts: Signal, stop: Stop) {
    interrupts.recv().await;
    output::remark("interrupted: waiting for answers, unless interrupted again");
    stop.sending.cancel();
    interrupts.recv().await;
    stop.waiting.cancel();
}

fn lines(arguments: &Arguments) -> Result<Vec<Line<Option<bool>>>, Failure> {
    if let Some(path) = &arguments.questions {
        let name = path.display().to_string();
        return Ok(questions::parse(&name, &text::read_file(path)?)?);
    }
    let Arguments { subject, permission, portfolio, .. } = arguments.clone();
    let (Some(subject), Some(permission), Some(portfolio)) = (subject, permission, portfolio)
    else {
        let message = "name subject, permission and portfolio, or `--questions FILE`";
        return Err(Failure::Arguments(message.to_owned()));
    };
    let (item, item_author, at, allowed) = (None, None, None, None);
    Ok(vec![Line { subject, permission, portfolio, allowed, item, item_author, at, line: 1 }])
}

/// The different calls, to be made in turn.
fn calls(arguments: &Arguments, lines: &[Line<Option<bool>>]) -> Result<Vec<Call>, Failure> {
    let consistency = &arguments.consistency;
    let Some(batch) = arguments.batch else {
        let check = |line: &Line<_>| Call::Check(line.question().request(consistency));
        return Ok(lines.iter().map(check).collect());
    };
    if let Some(line) = lines.iter().find(|line| line.at.is_some()) {
        let message = "questions of a batch are about one moment; leave `at` out, or `--batch`";
        return Err(Failure::Text(format!("line {}: {message}", line.line)));
    }
    // As many batches as ask every question at least once, round and round.
    let item = |line: &Line<_>| {
        let v1::CheckPermissionRequest { subject, permission, portfolio, item, .. } =
            line.question().request(consistency);
        v1::BatchCheckItem { subject, permission, portfolio, item }
    };
    let mut items = lines.iter().map(item).cycle();
    let mut next = || {
        Call::Batch(v1::BatchCheckPermissionsRequest {
            items: items.by_ref().take(batch).collect(),
            consistency: Some(consistency.clone()),
            ..v1::BatchCheckPermissionsRequest::default()
        })
    };
    Ok((0..lines.len().div_ceil(batch)).map(|_| next()).collect())
}

fn pick<T: Clone>(items: &[T], index: u64) -> Option<T> {
    let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
    let index = usize::try_from(index.checked_rem(count)?).ok()?;
    items.get(index).cloned()
}

async fn ask(client: Option<Client>, call: Option<Call>) -> &'static str {
    match (client, call) {
        (Some(client), Some(Call::Check(request))) => client.check_permission_once(request).await,
        (Some(client), Some(Call::Batch(request))) => {
            client.batch_check_permissions_once(request).await
        }
        // There is at least one of each.
        _ => generator::UNANSWERED,
    }
}

/// What will be done, and to whom.
fn sentence(arguments: &Arguments, questions: usize) -> String {
    let Arguments { rate, connections, max_in_flight, .. } = arguments;
    let each = match arguments.batch {
        Some(batch) => format!("batches of {batch} checks"),
        None => "single checks".to_owned(),
    };
    format!(
        "target {}\nplan   {rate} calls/s, {each}, {questions} different; {} after {} of warm-up; \
         {connections} connections, at most {max_in_flight} calls in flight",
        arguments.client.server,
        duration_text(arguments.duration),
        duration_text(arguments.warm_up),
    )
}

fn object(arguments: &Arguments, questions: usize) -> Value {
    let Arguments { rate, connections, max_in_flight, batch, .. } = arguments;
    json!({
        "server": arguments.client.server,
        "rate": rate,
        "batch": batch,
        "questions": questions,
        "duration_seconds": arguments.duration.as_secs_f64(),
        "warm_up_seconds": arguments.warm_up.as_secs_f64(),
        "connections": connections,
        "max_in_flight": max_in_flight,
    })
}

fn parse_run_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        duration if duration > MAX_DURATION => {
            Err(format!("must be at most `{}`", duration_text(MAX_DURATION)))
        }
        duration => Ok(duration),
    }
}
