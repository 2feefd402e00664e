//! Tokens, modes and staleness, over the wire (REV).

use std::sync::Arc;
use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use portcullis::clock::Clock;
use portcullis::domain::Timestamp;
use portcullis::domain::revision::{Epoch, Token};
use portcullis::proto::v1;
use portcullis::proto::v1::DecisionReason;
use portcullis::proto::v1::consistency::Requirement;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::calls::{adding, connect, execute};
use crate::cluster::database;
use crate::harness::{Client, TestServer, reason, refusal, subject};
use crate::proxy::Proxy;

async fn furnish(server: &TestServer) -> String {
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .group("core", &["user:ben"])
        .group("makers", &[])
        .portfolio("roadmap")
        .owned_by("ann")
        .with("group:core", "viewer")
        .with("group:makers", "contributor")
        .await
}

async fn add(client: &Client, who: &str, role: &str) -> String {
    let added = client.members().add_members(adding("roadmap", &[who], role)).await;
    added.expect("added").into_inner().consistency_token
}

async fn remove(client: &Client, who: &str) -> String {
    client.remove_member("roadmap", who).await.expect("removed").consistency_token
}

/// Grants and revocations of every sort, one after the other: no answer that carries a write's
/// token is older than the write, on the server that wrote and on the other.
#[tokio::test]
async fn rev_1_a_token_sees_its_write_on_every_server() {
    let server = TestServer::start().await;
    let twin = server.twin().await;
    furnish(&server).await;
    for each in [&server, &twin] {
        each.system().warm_up("user:ben", "portfolio.view", "roadmap").await;
    }
    let allowed = async |token: &str, expected: bool, what: &str| {
        for (each, name) in [(&server, "server"), (&twin, "twin")] {
            let client = each.system();
            let answer = client.check_after(token, "user:ben", "initiative.edit", "roadmap").await;
            assert_eq!(answer.allowed, expected, "{what} on the {name}");
            // Its own token is at least as fresh.
            let again = client.check_after(
                &answer.consistency_token,
                "user:ben",
                "initiative.edit",
                "roadmap",
            );
            assert_eq!(again.await.allowed, expected, "{what} again on the {name}");
        }
    };
    for round in 0..5 {
        let writer = if round % 2 == 0 { server.system() } else { twin.system() };
        let client = if round % 2 == 0 { twin.system() } else { server.system() };
        allowed(&add(&writer, "user:ben", "contributor").await, true, "added").await;
        allowed(&writer.deactivate("ben").await, false, "deactivated").await;
        allowed(&client.reactivate("ben").await, true, "reactivated").await;
        allowed(&remove(&client, "user:ben").await, false, "removed").await;
        let request = v1::AddGroupMembersRequest {
            group: "makers".to_owned(),
            members: vec![subject("user:ben")],
            ..Default::default()
        };
        let joined = client.directory().add_group_members(request).await.unwrap();
        allowed(&joined.into_inner().consistency_token, true, "joined").await;
        allowed(&writer.leave("makers", "user:ben").await, false, "left").await;
    }
}

/// One write that touches two organizations and the global scope: its token covers all of it.
#[tokio::test]
async fn rev_1_a_token_covers_every_organization_that_the_write_touched() {
    let server = TestServer::start().await;
    let twin = server.twin().await;
    let given = server.given().organization("acme").portfolio("roadmap").open();
    given.organization("other").portfolio("plaza").open().await;
    for each in [&server, &twin] {
        for at in ["roadmap", "plaza"] {
            each.system().warm_up("user:acme-owner", "portfolio.view", at).await;
        }
    }
    let user = |id: &str, home: &str| v1::User {
        id: id.to_owned(),
        email: format!("{id}@{home}.example"),
        home_organization: home.to_owned(),
        ..Default::default()
    };
    let users = vec![user("new-a", "acme"), user("new-o", "other")];
    let request = v1::UpsertUsersRequest { users, ..Default::default() };
    let written = server.system().directory().upsert_users(request).await.unwrap().into_inner();
    for each in [&server, &twin] {
        for (who, at) in [("user:new-a", "roadmap"), ("user:new-o", "plaza")] {
            let token = &written.consistency_token;
            let answer = each.system().check_after(token, who, "portfolio.view", at).await;
            assert!(answer.allowed, "{who} {at}");
        }
    }
}

#[tokio::test]
async fn rev_2_fully_consistent_sees_what_was_written_elsewhere_without_a_token() {
    let server = TestServer::start().await;
    let twin = server.twin().await;
    furnish(&server).await;
    twin.system().warm_up("user:ben", "portfolio.view", "roadmap").await;
    for _ in 0..10 {
        add(&server.system(), "user:ben", "contributor").await;
        assert!(twin.allows("user:ben", "initiative.edit", "roadmap").await);
        remove(&server.system(), "user:ben").await;
        assert!(!twin.allows("user:ben", "initiative.edit", "roadmap").await);
    }
}

#[tokio::test]
async fn rev_2_every_mode_is_accepted_and_a_read_gives_a_token_too() {
    let server = TestServer::start().await;
    furnish(&server).await;
    let request = v1::GetPortfolioRequest { portfolio: "roadmap".into() };
    let read = server.system().portfolios().get_portfolio(request).await.unwrap().into_inner();
    let modes = [
        None,
        Some(Requirement::MinimizeLatency(true)),
        Some(Requirement::AtLeastAsFresh(read.consistency_token)),
        Some(Requirement::FullyConsistent(true)),
    ];
    for mode in modes {
        let client = server.system();
        let answer = client.check_with("user:ben", "portfolio.view", "roadmap", mode).await;
        assert!(answer.unwrap().allowed);
    }
}

/// A server behind a wire that can be cut; its feed polls when asked, its clock is the test's.
async fn by_hand() -> (TestServer, Proxy, Clock) {
    let database = Arc::new(database().await);
    let proxy = Proxy::to(&database.url).await;
    let url = proxy.url.parse().expect("a URL");
    let clock = Clock::manual(Timestamp(1_700_000_000_000));
    let server = TestServer::on(database, clock.clone(), |config| {
        config.database_url = Some(url);
        config.poll_interval = Duration::from_secs(3_600);
        config.staleness_bound = Duration::from_secs(7_200);
        config.pool_wait = Duration::from_millis(300);
    })
    .await;
    furnish(&server).await;
    server.system().warm_up("user:ben", "portfolio.view", "roadmap").await;
    (server, proxy, clock)
}

const PAST_THE_BOUND: Duration = Duration::from_secs(7_201);

/// Takes `ben` out of the group behind the back of the feed: memory goes on saying yes.
const UNSEEN: &str = "DELETE FROM group_members";

async fn by_default(server: &TestServer) -> Result<DecisionReason, Status> {
    let answer = server.system().check_with("user:ben", "portfolio.view", "roadmap", None).await;
    answer.map(|answer| answer.reason())
}

#[tokio::test]
async fn rev_3_a_stale_server_asks_the_database() {
    let (server, _proxy, clock) = by_hand().await;
    execute(&server.database.url, UNSEEN).await;
    clock.advance(Duration::from_secs(7_000));
    assert_eq!(by_default(&server).await.unwrap(), DecisionReason::GroupGrant, "from memory");
    clock.advance(PAST_THE_BOUND);
    assert_eq!(by_default(&server).await.unwrap(), DecisionReason::NoAccess, "from the database");
}

#[tokio::test]
async fn rev_3_without_the_database_there_is_no_old_yes() {
    let (server, proxy, clock) = by_hand().await;
    proxy.cut();
    assert_eq!(by_default(&server).await.unwrap(), DecisionReason::GroupGrant, "not stale yet");
    clock.advance(PAST_THE_BOUND);
    let told = by_default(&server).await.unwrap_err();
    assert_eq!((told.code(), reason(&told)), (Code::Unavailable, "DATABASE_UNAVAILABLE".into()));
    let delay = told.get_error_details().retry_info().and_then(|retry| retry.retry_delay);
    assert!(delay.is_some_and(|delay| delay > Duration::ZERO), "{told:?}");
    // It recovers by itself, and what was true meanwhile counts.
    execute(&server.database.url, UNSEEN).await;
    proxy.mend();
    let first = loop {
        match by_default(&server).await {
            Ok(reason) => break reason,
            Err(status) => assert_eq!(status.code(), Code::Unavailable),
        }
    };
    assert_eq!(first, DecisionReason::NoAccess);
}

/// The modes that ask for more than memory has are no way around the database either.
#[tokio::test]
async fn rev_3_whatever_the_mode() {
    let (server, proxy, clock) = by_hand().await;
    let answer = server.system().check("user:ben", "portfolio.view", "roadmap").await.unwrap();
    proxy.cut();
    let token = Requirement::AtLeastAsFresh(answer.consistency_token);
    let ask = async |mode: &Requirement| {
        let client = server.system();
        let answer = client.check_with("user:ben", "portfolio.view", "roadmap", Some(mode.clone()));
        answer.await.map(|answer| answer.allowed).map_err(|status| status.code())
    };
    assert_eq!(ask(&token).await, Ok(true), "memory is as fresh as that");
    let consistent = Requirement::FullyConsistent(true);
    assert_eq!(ask(&consistent).await, Err(Code::Unavailable), "nobody knows what is true now");
    clock.advance(PAST_THE_BOUND);
    assert_eq!(ask(&token).await, Err(Code::Unavailable));
}

#[tokio::test]
async fn rev_4_a_token_of_another_history_is_answered_from_the_primary() {
    let server = TestServer::start().await;
    let token = furnish(&server).await;
    server.system().warm_up("user:ben", "portfolio.view", "roadmap").await;
    let mut token = Token::decode(&token).unwrap();
    token.epoch = Epoch(uuid::Uuid::from_u128(7));
    // Behind the back of the feed: the primary alone knows.
    execute(&server.database.url, UNSEEN).await;
    let memory = by_default(&server).await.unwrap();
    assert_eq!(memory, DecisionReason::GroupGrant);
    let client = server.system();
    let answer = client.check_after(&token.encode(), "user:ben", "portfolio.view", "roadmap").await;
    assert_eq!(answer.reason(), DecisionReason::NoAccess);
    // The same for one that is ahead of everything.
    token.epoch = Token::decode(&answer.consistency_token).unwrap().epoch;
    token.entries.iter_mut().for_each(|(_, sequence)| *sequence += 1_000_000);
    let answer = client.check_after(&token.encode(), "user:ben", "portfolio.view", "roadmap").await;
    assert_eq!(answer.reason(), DecisionReason::NoAccess);
}

#[tokio::test]
async fn rev_4_a_damaged_token_is_refused_whichever_byte_it_is() {
    let server = TestServer::start().await;
    let token = furnish(&server).await;
    for at in 0..token.len() {
        let mut damaged = token.clone().into_bytes();
        damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
        let damaged = Requirement::AtLeastAsFresh(String::from_utf8(damaged).unwrap());
        let client = server.system();
        let answer = client.check_with("user:ben", "portfolio.view", "roadmap", Some(damaged));
        let malformed = (Code::InvalidArgument, "TOKEN_MALFORMED".to_owned());
        assert_eq!(refusal(answer.await), malformed, "byte {at}");
    }
}

#[tokio::test]
async fn rev_4_waiting_never_outlasts_the_deadline() {
    let server =
        TestServer::start_with(|config| config.request_timeout = Duration::from_millis(400)).await;
    furnish(&server).await;
    let url = &server.database.url;
    let mut hold = connect(url).await;
    hold.batch_execute("BEGIN; LOCK TABLE feed_heads IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let client = server.system();
    let answer = client.check("user:ben", "portfolio.view", "roadmap");
    let answer = tokio::time::timeout(Duration::from_secs(60), answer).await.expect("an answer");
    let expected = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned());
    assert_eq!(refusal(answer), expected);
    hold.batch_execute("COMMIT").await.unwrap();
    // The statement that was given up may still be answered first.
    while server.system().check("user:ben", "portfolio.view", "roadmap").await.is_err() {}
}
