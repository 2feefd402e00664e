//! How many decisions a batch makes of a second of the server's CPU, from decoding to encoding.
//!
//! A child runs the whole server with an organization of 100 thousand grants in memory. Batches of
//! two kinds take turns: one subject and permission over 1,000 portfolios, stated once; and 1,000
//! items of which each names a subject, a permission and a portfolio of its own.

use futures::FutureExt as _;
use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use portcullis::proto::v1::*;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use super::Outcome;
use super::child::Child;
use super::report::{Goal, Report};
use super::stored::Stored;

const GRANTS: usize = 100_000;
const ITEMS: usize = 1_000;
const STREAMS: usize = 4;
/// Batches of one stream in a turn.
const BATCHES: usize = 24;
const ROUNDS: usize = 21;
const PERMISSIONS: [&str; 4] =
    ["portfolio.view", "initiative.edit", "comment.create", "assessment.complete"];

pub async fn measure(report: &mut Report) -> Outcome<()> {
    // Under a directory that PostgreSQL's own user may pass through.
    let directory = tempfile::Builder::new().prefix("portcullis-bench").tempdir_in("/tmp")?;
    let child = Child::start("batch", &[directory.path().to_str().ok_or("no text")?])?;
    let (address, url) = child.line.split_once(' ').ok_or("no address")?;
    let world = Stored::write(url, "acme", GRANTS).await?;
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let (mut of_one, mut distinct) = (Vec::new(), Vec::new());
    let mut allowed = 0.0;
    for round in 0..=ROUNDS {
        let one = turn(&child, &channel, |number| about_one(&world, number)).await?;
        let each = turn(&child, &channel, |number| all_distinct(&world, number)).await?;
        // The first loads the organization, and warms up.
        if round > 0 {
            of_one.push(one.per_second);
            distinct.push(each.per_second);
            allowed = each.allowed;
        }
    }
    report.note(&format!(
        "{ROUNDS} rounds of {} batches of {ITEMS} items of each kind, {STREAMS} streams; {GRANTS} \
         grants, {} users, {} portfolios; {:.0} % of the distinct ones allowed",
        STREAMS * BATCHES,
        world.users,
        world.portfolios,
        allowed * 100.0,
    ));
    report.samples("batch_decisions_per_cpu_second", of_one, Goal::AtLeast(1_500_000.0));
    report.samples("batch_decisions_per_cpu_second_distinct", distinct, Goal::AtLeast(600_000.0));
    Ok(())
}

/// Decisions for a second of server CPU, and the share of them that allow.
struct Turn {
    per_second: f64,
    allowed: f64,
}

async fn turn(
    child: &Child,
    channel: &Channel,
    batch: impl Fn(usize) -> BatchCheckPermissionsRequest,
) -> Outcome<Turn> {
    let mut streams = Vec::new();
    for stream in 0..STREAMS {
        let batches = (0..BATCHES).map(|number| batch(stream * BATCHES + number)).collect();
        streams.push(ask(channel.clone(), batches).boxed());
    }
    let cpu = child.cpu()?;
    let mut streams: JoinSet<Outcome<usize>> = streams.into_iter().collect();
    let mut allowed = 0;
    while let Some(ended) = streams.join_next().await {
        allowed += ended??;
    }
    let seconds = child.cpu()?.since(&cpu) as f64 / 1e9;
    let decisions = (STREAMS * BATCHES * ITEMS) as f64;
    Ok(Turn { per_second: decisions / seconds, allowed: allowed as f64 / decisions })
}

/// How many of the answers allow.
async fn ask(channel: Channel, batches: Vec<BatchCheckPermissionsRequest>) -> Outcome<usize> {
    let mut client = PolicyServiceClient::new(channel);
    let mut allowed = 0;
    for batch in batches {
        let answer = client.batch_check_permissions(batch).await?.into_inner();
        if answer.outcomes.len() != ITEMS || answer.outcomes.iter().any(|it| it.refusal.is_some()) {
            return Err("a question was refused, or not answered".into());
        }
        allowed += answer.outcomes.iter().filter(|it| it.allowed).count();
    }
    Ok(allowed)
}

fn user(world: &Stored, number: usize) -> Subject {
    let number = number.wrapping_mul(7_919) % world.users;
    Subject { kind: Some(subject::Kind::User(world.user(number))) }
}

fn about_one(world: &Stored, number: usize) -> BatchCheckPermissionsRequest {
    let item = |item: usize| BatchCheckItem {
        portfolio: world.portfolio(item % world.portfolios),
        ..BatchCheckItem::default()
    };
    BatchCheckPermissionsRequest {
        subject: Some(user(world, number)),
        permission: PERMISSIONS[number % PERMISSIONS.len()].to_owned(),
        items: (0..ITEMS).map(item).collect(),
        ..BatchCheckPermissionsRequest::default()
    }
}

fn all_distinct(world: &Stored, number: usize) -> BatchCheckPermissionsRequest {
    let item = |item: usize| BatchCheckItem {
        subject: Some(user(world, number * ITEMS + item)),
        permission: PERMISSIONS[item % PERMISSIONS.len()].to_owned(),
        portfolio: world.portfolio((item * 7 + number) % world.portfolios),
        ..BatchCheckItem::default()
    };
    BatchCheckPermissionsRequest {
        items: (0..ITEMS).map(item).collect(),
        ..BatchCheckPermissionsRequest::default()
    }
}
