//! How long after its answer a write is seen by another process that is asked without a token.
//!
//! Two children are servers on one database. A grant is given and taken away through one; the other
//! is asked in the default mode, once a millisecond, until it knows. The pauses between are random,
//! so that writes fall anywhere between two polls. The second time another organization, of a
//! million grants and in the memory of the second server, takes 100 writes a second meanwhile; the
//! section fails if it takes much less.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis::clock::Clock;
use portcullis::config::Config;
use portcullis::proto::v1::membership_service_client::MembershipServiceClient;
use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use portcullis::proto::v1::*;
use portcullis::server::Server;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tonic::transport::{Channel, Endpoint};

use super::Outcome;
use super::child::{self, Child};
use super::database::Database;
use super::report::{Goal, Report, quantile};
use super::stored::Stored;

/// For each of both times.
const WRITES: usize = 300;
/// Between two writes of the busy organization.
const BUSY: Duration = Duration::from_millis(10);
/// Writes a second that it has to take at least, to be called busy.
const BUSY_AT_LEAST: f64 = 90.0;
/// Two polls at their default.
const GOAL: Goal = Goal::AtMost(100.0);

pub async fn measure(report: &mut Report) -> Outcome<()> {
    let database = Database::start().await?;
    let small = Stored::write(&database.url, "small", 10_000).await?;
    let large = Stored::write(&database.url, "large", 1_000_000).await?;
    let servers =
        [Child::start("follow", &[&database.url])?, Child::start("follow", &[&database.url])?];
    let mut channels = Vec::new();
    for server in &servers {
        channels.push(Endpoint::from_shared(format!("http://{}", server.line))?.connect().await?);
    }
    let (writer, reader) = (&channels[0], &channels[1]);
    for organization in [&small, &large] {
        hold(reader, organization).await?;
    }
    told(report, "", &delays(writer, reader, &small).await?);
    let written = Arc::new(AtomicUsize::new(0));
    let busy = tokio::spawn(keep_busy(writer.clone(), large, Arc::clone(&written)));
    let began = Instant::now();
    let delays = delays(writer, reader, &small).await?;
    let rate = written.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    busy.abort();
    report.note(&format!("busy: {rate:.0} writes a second to an organization of 1 million grants"));
    if rate < BUSY_AT_LEAST {
        return Err(format!("busy is at least {BUSY_AT_LEAST} writes a second").into());
    }
    told(report, "_busy", &delays);
    drop(servers);
    database.stop().await;
    Ok(())
}

fn told(report: &mut Report, when: &str, delays: &[f64]) {
    for (name, share, goal) in [("p50", 0.5, Goal::None), ("p99", 0.99, GOAL)] {
        let delay = quantile(delays, share);
        report.value(&format!("visible_after_write_ms{when}_{name}"), delay, goal);
    }
}

/// A server on a database; until standard input closes.
pub async fn follow(url: &str) -> Outcome<()> {
    let config = Config {
        listen: "127.0.0.1:0".parse()?,
        database_url: Some(url.parse()?),
        ..Config::default()
    };
    let running = Server::start(&config, Clock::system()).await?;
    child::ready(running.address()).await?;
    running.stop().await;
    Ok(())
}

fn user(organization: &Stored, number: usize) -> Subject {
    Subject { kind: Some(subject::Kind::User(organization.user(number))) }
}

/// Waits until a server has an organization in memory: lists are made of memory alone.
async fn hold(server: &Channel, organization: &Stored) -> Outcome<()> {
    let mut policy = PolicyServiceClient::new(server.clone());
    let request = ListEffectivePermissionsRequest {
        subject: Some(user(organization, 0)),
        portfolio: organization.portfolio(0),
        ..Default::default()
    };
    policy.list_effective_permissions(request).await?;
    Ok(())
}

/// Milliseconds from the answers to writes until another server tells of them.
async fn delays(writer: &Channel, reader: &Channel, world: &Stored) -> Outcome<Vec<f64>> {
    let mut delays = Vec::new();
    for number in 0..WRITES {
        sleep(Duration::from_micros(rand::random_range(0..50_000))).await;
        // Given, taken away, given...
        let given = number % 2 == 0;
        change(writer, world, given).await?;
        let answered = Instant::now();
        while may(reader, world).await? != given {
            sleep(Duration::from_millis(1)).await;
        }
        delays.push(answered.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(delays)
}

/// Only managers may, which the user is by this grant alone.
async fn may(reader: &Channel, world: &Stored) -> Outcome<bool> {
    let request = CheckPermissionRequest {
        subject: Some(user(world, 0)),
        permission: "access.manage".to_owned(),
        portfolio: target(world),
        ..Default::default()
    };
    Ok(PolicyServiceClient::new(reader.clone())
        .check_permission(request)
        .await?
        .into_inner()
        .allowed)
}

/// A portfolio on which the first user has no grant.
fn target(world: &Stored) -> String {
    world.portfolio(world.portfolios / 2 + 1)
}

async fn change(server: &Channel, world: &Stored, given: bool) -> Outcome<()> {
    let mut members = MembershipServiceClient::new(server.clone());
    let portfolio = target(world);
    if given {
        let member = MemberSpec { kind: Some(member_spec::Kind::User(world.user(0))) };
        let request = AddMembersRequest {
            portfolio,
            members: vec![member],
            role: "manager".to_owned(),
            ..Default::default()
        };
        let answer = members.add_members(request).await?.into_inner();
        let status = answer.outcomes.first().map(AddMemberOutcome::status);
        if status != Some(AddMemberStatus::Added) {
            return Err(format!("not added: {status:?}").into());
        }
    } else {
        let request =
            RemoveMemberRequest { portfolio, subject: Some(user(world, 0)), ..Default::default() };
        members.remove_member(request).await?;
    }
    Ok(())
}

/// Writes at a steady rate, whatever the answers take.
async fn keep_busy(server: Channel, world: Stored, written: Arc<AtomicUsize>) {
    let mut due = interval(BUSY);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut writes = tokio::task::JoinSet::new();
    for number in 0_usize.. {
        due.tick().await;
        let (server, world, written) = (server.clone(), world.clone(), Arc::clone(&written));
        writes.spawn(async move {
            let member = MemberSpec { kind: Some(member_spec::Kind::User(world.user(number))) };
            let request = AddMembersRequest {
                portfolio: world.portfolio(number * 7 % world.portfolios),
                members: vec![member],
                role: "viewer".to_owned(),
                ..Default::default()
            };
            let answer = MembershipServiceClient::new(server).add_members(request).await;
            let outcomes = answer.map(|answer| answer.into_inner().outcomes).unwrap_or_default();
            let added = outcomes.iter().filter(|it| it.status() == AddMemberStatus::Added).count();
            written.fetch_add(added, Ordering::Relaxed);
        });
        while writes.try_join_next().is_some() {}
    }
}
