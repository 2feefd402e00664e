//! What an actor may not see does not exist for them (VIS-4).

use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::domain::revision::Token;
use portcullis::proto::v1;
use prost::Message as _;
use tonic::{Code, Status};

use crate::authorization::{about_a_portfolio, message};
use crate::calls::{HOUR, instant, now, portfolio};
use crate::cluster::database;
use crate::harness::{TestServer, reason, refusal, subject};
use crate::proxy::Proxy;
use crate::raw;

/// A server whose statements are taken down; its feed polls once, so that they are the calls' own.
pub async fn overheard() -> (TestServer, Proxy) {
    let database = Arc::new(database().await);
    let proxy = Proxy::to(&database.url).await;
    let url = proxy.url.parse().expect("a URL");
    let server = TestServer::on(database, Clock::system(), |config| {
        config.database_url = Some(url);
        config.poll_interval = Duration::from_secs(3_600);
        config.staleness_bound = Duration::from_secs(36_000);
    })
    .await;
    (server, proxy)
}

async fn world(server: &TestServer) {
    let given = server.given().organization("acme").user("ann").user("ben").user("idle");
    let given = given.external("eve").portfolio("hidden").owned_by("ann");
    let given = given.with("user:idle", "manager").deactivated("idle");
    given.organization("other").portfolio("theirs").open().await;
}

/// The names of a status that tell one answer from another, the portfolio's id apart.
fn seen(status: &Status, id: &str) -> (Code, String, Vec<u8>) {
    let details = String::from_utf8_lossy(status.details()).replace(id, "ID").into_bytes();
    (status.code(), status.message().replace(id, "ID"), details)
}

/// The ids have one length: nothing but themselves may differ.
#[tokio::test]
async fn vis_4_an_invisible_portfolio_answers_as_an_unknown_one_by_the_same_statements() {
    let (server, proxy) = overheard().await;
    world(&server).await;
    let methods = about_a_portfolio();
    assert!(methods.len() >= 8, "{methods:?}");
    for actor in ["user:ben", "user:eve", "user:nobody", "service_account:nobody"] {
        for method in &methods {
            let mut answers = Vec::new();
            // Once before: what a connection prepares it prepares once.
            for id in ["nowhat", "hidden", "nowhat", "theirs", "nobody"] {
                let message = message(method, id, "user:ann");
                proxy.statements();
                let answer = raw::call(&server.channel, method, message, Some(actor)).await;
                let status = answer.expect_err("a refusal");
                assert_eq!(reason(&status), "PORTFOLIO_NOT_FOUND", "{method} {actor} {id}");
                answers.push((seen(&status, id), proxy.statements()));
            }
            assert!(!answers[1].1.is_empty(), "{method}: no statement was overheard");
            for other in &answers[1..] {
                assert_eq!(answers[0], *other, "{method} {actor}");
            }
        }
    }
    assert!(server.allows("user:ann", "portfolio.delete", "hidden").await, "nothing was done");
}

/// The deactivated are told that they are, about whatever they ask.
#[tokio::test]
async fn vis_4_the_deactivated_cannot_tell_what_exists() {
    let (server, proxy) = overheard().await;
    world(&server).await;
    for method in about_a_portfolio() {
        let mut answers = Vec::new();
        for id in ["nowhat", "hidden", "nobody"] {
            let message = message(&method, id, "user:ann");
            proxy.statements();
            let answer = raw::call(&server.channel, &method, message, Some("user:idle")).await;
            let status = answer.expect_err("a refusal");
            assert_eq!(reason(&status), "ACTOR_DEACTIVATED", "{method}");
            answers.push((seen(&status, id), proxy.statements()));
        }
        assert_eq!(answers[0], answers[1], "{method}");
        assert_eq!(answers[1], answers[2], "{method}");
    }
}

/// A check answers whoever asks, and still tells nothing (ACC-1): not by the time until which the
/// answer holds, nor by the shape of its token.
#[tokio::test]
async fn vis_4_a_check_tells_nothing_of_an_invisible_portfolio() {
    let server = TestServer::start().await;
    let later = now(&server.database.url).await + HOUR;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .user("cid")
        .portfolio("hidden")
        .owned_by("ann")
        .granting("user:cid", "viewer", Some(instant(later)), Some(instant(later + HOUR)))
        .await;
    server.system().warm_up("user:ann", "portfolio.view", "hidden").await;
    let ben = server.acting("user:ben");
    for who in ["user:ann", "user:ben", "user:cid", "user:nobody"] {
        let hidden = ben.check(who, "portfolio.view", "hidden").await.unwrap();
        let unknown = ben.check(who, "portfolio.view", "nowhat").await.unwrap();
        let shape = |answer: &v1::CheckPermissionResponse| {
            let token = Token::decode(&answer.consistency_token).expect("a token");
            let shards: Vec<_> = token.entries.iter().map(|(shard, _)| *shard).collect();
            (answer.allowed, answer.reason(), answer.hold_until, shards)
        };
        assert_eq!(shape(&hidden), shape(&unknown), "{who}");
    }
    // What concerns the actor is theirs to know: when they will see it.
    let soon = server.acting("user:cid").check("user:cid", "portfolio.view", "hidden").await;
    assert_eq!(soon.unwrap().hold_until, Some(instant(later)));
}

#[tokio::test]
async fn vis_4_a_taken_id_is_taken_and_nothing_more() {
    let server = TestServer::start().await;
    world(&server).await;
    let mut told = Vec::new();
    server.acting("user:ben").create(portfolio("of-ben", "")).await.unwrap();
    server.acting("user:ben").create(portfolio("erased", "")).await.unwrap();
    server.acting("user:ben").delete("erased").await.unwrap();
    // Invisible, another organization's, one's own, deleted.
    for id in ["hidden", "theirs", "of-ben", "erased"] {
        let status = server.acting("user:ben").create(portfolio(id, "")).await.unwrap_err();
        assert_eq!(refusal(Err::<(), _>(status.clone())).1, "ID_TAKEN");
        told.push(seen(&status, id));
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
    assert_eq!(told[0].0, Code::AlreadyExists);
}

/// A retry after which the actor sees the portfolio no more is answered all the same (BAD-3), and
/// only that very request is.
#[tokio::test]
async fn vis_4_bad_3_a_replay_shows_no_more_than_was_shown() {
    let server = TestServer::start().await;
    world(&server).await;
    let system = server.system();
    system.add_member("hidden", "user:ben", "manager").await.unwrap();
    let request = v1::RemoveMemberRequest {
        request_id: "once".to_owned(),
        portfolio: "hidden".to_owned(),
        subject: Some(subject("user:ben")),
        ..Default::default()
    };
    let path = "/portcullis.v1.MembershipService/RemoveMember";
    let call = |request: &v1::RemoveMemberRequest, actor: &'static str| {
        let (channel, bytes) = (server.channel.clone(), request.encode_to_vec());
        async move { raw::call(&channel, path, bytes, Some(actor)).await }
    };
    let first = call(&request, "user:ben").await.unwrap();
    assert_eq!(call(&request, "user:ben").await.unwrap(), first);
    let fresh = v1::RemoveMemberRequest { request_id: "twice".to_owned(), ..request };
    let hidden = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    assert_eq!(refusal(call(&fresh, "user:ben").await), hidden);
}
