//! The database killed under a server, and a server killed at its COMMIT.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use portcullis::clock::Clock;
use portcullis::config::Config;
use portcullis::embedded_postgres::{self, Durability, EmbeddedPostgres, Phase};
use portcullis::proto::v1;
use portcullis::proto::v1::AddMemberStatus;
use portcullis::server::{Running, Server};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::calls::{adding, connect, execute, member, number, texts, until};
use crate::cluster::{TestDatabase, database, fresh_directory};
use crate::given::Given;
use crate::harness::{Client, TestServer, reason, subject};
use crate::process::Process;
use crate::proxy::Proxy;

/// A server on a PostgreSQL of its own, which nobody else is disturbed by.
struct Alone {
    running: Running,
    client: Client,
    postgres: EmbeddedPostgres,
    _directory: TempDir,
}

impl Alone {
    async fn start() -> Self {
        let directory = fresh_directory();
        let options = embedded_postgres::Options {
            data_dir: directory.path().to_path_buf(),
            // As in production: what is acknowledged is on disk.
            durability: Durability::Full,
            settings: vec![("shared_buffers".to_owned(), "16MB".to_owned())],
        };
        let postgres = embedded_postgres::start(options).await.expect("PostgreSQL starts");
        let config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            database_url: Some(postgres.url("portcullis").parse().expect("a URL")),
            ..Config::default()
        };
        let running = Server::start(&config, Clock::system()).await.expect("the server starts");
        let uri = format!("http://{}", running.address());
        let channel = Endpoint::from_shared(uri).expect("a URI").connect().await.expect("accepts");
        let client = Client::over(channel);
        Self { running, client, postgres, _directory: directory }
    }

    /// Kills PostgreSQL, as running out of memory would; it is started again by its supervisor.
    async fn kill_postgres(&self) {
        let before = *self.postgres.watch_state().borrow();
        let pid = before.pid.expect("it is ready").to_string();
        let killed = Command::new("kill").args(["-KILL", &pid]).status();
        assert!(killed.expect("kill runs").success());
        let mut state = self.postgres.watch_state();
        let back = |state: &embedded_postgres::State| {
            state.crashes > before.crashes && state.phase == Phase::Ready
        };
        let back = tokio::time::timeout(Duration::from_secs(120), state.wait_for(back)).await;
        back.expect("is started again").expect("is supervised");
    }
}

fn addition(number: usize) -> v1::AddMembersRequest {
    let request_id = format!("request-{number}");
    let who = format!("user:u{number}");
    v1::AddMembersRequest { request_id, ..adding("roadmap", &[&who], "viewer") }
}

/// What a client may see of a database that is away: try again.
fn passes(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(reason(status), "DATABASE_UNAVAILABLE");
    let retry = status.get_error_details().retry_info().and_then(|retry| retry.retry_delay);
    assert!(retry.is_some_and(|delay| delay > Duration::ZERO), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_3_no_acknowledged_write_is_lost_when_the_database_is_killed() {
    const WRITES: usize = 120;
    let alone = Alone::start().await;
    let mut given = Given::new(alone.client.clone()).organization("acme");
    for number in 0..WRITES {
        given = given.user(&format!("u{number}"));
    }
    given.portfolio("roadmap").await;
    let mut writes = JoinSet::new();
    for lane in 0..4 {
        let client = alone.client.clone();
        writes.spawn(async move {
            let mut answers = BTreeMap::new();
            for number in (lane..WRITES).step_by(4) {
                let answer = client.members().add_members(addition(number)).await;
                answers.insert(number, answer.map(tonic::Response::into_inner));
            }
            answers
        });
    }
    for _ in 0..3 {
        alone.kill_postgres().await;
    }
    let mut answers = BTreeMap::new();
    while let Some(lane) = writes.join_next().await {
        answers.extend(lane.expect("no panic"));
    }
    assert_eq!(answers.len(), WRITES);
    let acknowledged: BTreeMap<_, _> = answers
        .iter()
        .filter_map(|(number, answer)| Some((number, answer.as_ref().ok()?)))
        .collect();
    assert!(!acknowledged.is_empty(), "nothing was written at all");
    answers.values().filter_map(|answer| answer.as_ref().err()).for_each(passes);
    // Every acknowledged write is there, and its retry says what was said.
    for (number, answer) in &acknowledged {
        assert_eq!(answer.outcomes[0].status(), AddMemberStatus::Added, "{number}");
        let again = alone.client.members().add_members(addition(**number)).await;
        assert_eq!(&again.expect("an answer").into_inner(), *answer, "{number}");
    }
    // What was not acknowledged is done by its retry, if it was not done already: once.
    for number in answers.keys().filter(|number| !acknowledged.contains_key(number)) {
        let retried = alone.client.members().add_members(addition(*number)).await;
        let outcome = retried.expect("an answer").into_inner().outcomes.remove(0);
        assert_eq!(outcome.status(), AddMemberStatus::Added, "{number}");
    }
    let url = alone.postgres.url("portcullis");
    let grants = "SELECT count(*) FROM grants WHERE subject_id LIKE 'u%' AND role = 'viewer'";
    assert_eq!(number(&url, grants).await, i64::try_from(WRITES).unwrap());
    let last = format!("user:u{}", WRITES - 1);
    let answer = alone.client.check(&last, "portfolio.view", "roadmap").await.unwrap();
    assert!(answer.allowed, "checks go on");
    alone.running.stop().await;
    alone.postgres.stop().await;
}

/// Reads, writes and checks that memory cannot answer say that it passes; and it does.
#[tokio::test]
async fn rev_3_while_the_database_is_away_clients_are_told_to_try_again() {
    let database = std::sync::Arc::new(database().await);
    let proxy = Proxy::to(&database.url).await;
    let url = proxy.url.parse().expect("a URL");
    let server = TestServer::on(database, Clock::system(), |config| {
        config.database_url = Some(url);
        config.pool_wait = Duration::from_millis(300);
    })
    .await;
    let given = server.given().organization("acme").user("ann").user("u0");
    given.portfolio("roadmap").owned_by("ann").await;
    let ann = server.acting("user:ann");
    proxy.cut();
    passes(&ann.get_portfolio("roadmap").await.unwrap_err());
    passes(&ann.members().add_members(addition(0)).await.unwrap_err());
    passes(&ann.check("user:ann", "portfolio.view", "roadmap").await.unwrap_err());
    let update =
        v1::UpdateMemberRequest { role: "viewer".to_owned(), ..member("roadmap", "user:ann") };
    passes(&ann.update_member(update).await.unwrap_err());
    proxy.mend();
    let added = loop {
        match ann.members().add_members(addition(0)).await {
            Ok(added) => break added.into_inner(),
            Err(status) => passes(&status),
        }
    };
    assert_eq!(added.outcomes[0].status(), AddMemberStatus::Added);
    let health = async { while !server.is_healthy("").await {} };
    tokio::time::timeout(Duration::from_secs(60), health).await.expect("is healthy again");
}

/// Makes every commit that logs a change wait for the row lock of a gate table, for as long as it
/// takes.
const GATE: &str = "
    CREATE TABLE gate (open boolean);
    INSERT INTO gate VALUES (true);
    CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql
        SET lock_timeout = 0 AS $$ BEGIN PERFORM 1 FROM gate FOR SHARE; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON change_log
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pass_gate();";

const WAITING: &str = "FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// What becomes of the transaction whose client was killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Zombie {
    Commits,
    IsTerminated,
    /// PostgreSQL itself looks whether the client is there still.
    IsNoticed,
}

/// The first process, killed while it waits for its COMMIT, and the gate that it waits at.
struct Killed {
    url: String,
    second: Process,
    gate: AsyncPgConnection,
    /// The transaction of the first attempt.
    transaction: String,
    _wire: (Proxy, TestDatabase),
}

async fn kill_at_commit(zombie: Zombie) -> Killed {
    let database = database().await;
    let url = database.url.clone();
    let proxy = Proxy::to(&url).await;
    if zombie != Zombie::IsNoticed {
        // The test decides what becomes of it, not how fast PostgreSQL notices.
        proxy.orphan();
    }
    let mut first = Process::start(&proxy.url).await;
    let second = Process::start(&url).await;
    let channel = format!("http://{}", second.address);
    let channel = Endpoint::from_shared(channel).unwrap().connect().await.unwrap();
    let given = Given::new(Client::over(channel)).organization("acme").user("u0");
    given.portfolio("roadmap").await;
    execute(&url, GATE).await;
    let mut gate = connect(&url).await;
    gate.batch_execute("BEGIN; SELECT * FROM gate FOR UPDATE").await.unwrap();
    let mut members = first.members.clone();
    let attempt = tokio::spawn(async move { members.add_members(addition(0)).await });
    until(&url, &format!("(SELECT count(*) {WAITING} AND query ILIKE 'commit%') = 1")).await;
    let transaction = texts(&url, &format!("SELECT backend_xid {WAITING}")).await.remove(0);
    first.child.kill().await.expect("killed");
    let lost = attempt.await.expect("no panic").expect_err("nobody answers");
    assert_ne!(lost.code(), Code::Ok);
    Killed { url, second, gate, transaction, _wire: (proxy, database) }
}

/// The retry of a request whose first attempt was at its COMMIT when the process died: from another
/// process, while it is not settled what becomes of the first.
async fn retried_once(zombie: Zombie) {
    let Killed { url, mut second, mut gate, transaction, _wire } = kill_at_commit(zombie).await;
    let retry = second.members.add_members(addition(0));
    let settle = async {
        match zombie {
            Zombie::Commits => {
                until(&url, &format!("(SELECT count(*) {WAITING}) = 2")).await;
            }
            Zombie::IsTerminated => {
                until(&url, &format!("(SELECT count(*) {WAITING}) = 2")).await;
                let terminate = format!(
                    "SELECT pg_terminate_backend(pid) {WAITING} AND backend_xid = '{transaction}'"
                );
                execute(&url, &terminate).await;
                let gone = format!(
                    "NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_xid = '{transaction}')"
                );
                until(&url, &gone).await;
            }
            Zombie::IsNoticed => {
                let gone = format!(
                    "NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_xid = '{transaction}')"
                );
                until(&url, &gone).await;
            }
        }
        gate.batch_execute("COMMIT").await.unwrap();
    };
    let (answer, ()) = tokio::join!(retry, settle);
    let answer = answer.expect("an answer").into_inner();
    assert_eq!(answer.outcomes[0].status(), AddMemberStatus::Added);
    assert_eq!(answer.outcomes[0].subject, Some(subject("user:u0")));
    // Once, by the one that committed.
    let written = "SELECT xmin FROM grants WHERE subject_id = 'u0'";
    let by_zombie = texts(&url, written).await == [transaction];
    assert_eq!(by_zombie, zombie == Zombie::Commits);
    for (rows, what) in [
        ("grants WHERE subject_id = 'u0'", "the grant"),
        ("change_log WHERE request_id = 'request-0'", "its event"),
        ("request_outcomes WHERE request_id = 'request-0'", "its outcome"),
    ] {
        assert_eq!(number(&url, &format!("SELECT count(*) FROM {rows}")).await, 1, "{what}");
    }
    let again = second.members.add_members(addition(0)).await.expect("an answer").into_inner();
    assert_eq!(again, answer);
}

#[tokio::test]
async fn bad_3_a_process_killed_at_commit_whose_transaction_commits() {
    retried_once(Zombie::Commits).await;
}

#[tokio::test]
async fn bad_3_a_process_killed_at_commit_whose_transaction_is_terminated() {
    retried_once(Zombie::IsTerminated).await;
}

#[tokio::test]
async fn bad_3_a_process_killed_at_commit_holds_its_locks_no_longer_than_it_takes_to_notice() {
    retried_once(Zombie::IsNoticed).await;
}
