//! More calls than a server can answer: what is refused, what is not, and that it passes.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use portcullis::clock::Clock;
use portcullis::proto::v1;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{TestServer, reason, refusal, subject};

/// How many batches may wait where one thread does all the work.
const LINE: usize = 32;

fn overloaded() -> (Code, String) {
    (Code::ResourceExhausted, "OVERLOADED".to_owned())
}

#[tokio::test]
async fn what_is_refused_for_overload_was_not_begun_and_health_is_never_refused() {
    let calm = TestServer::start().await;
    calm.given().organization("acme").user("ann").user("ben").portfolio("roadmap").await;
    // Every call is one too many, and so is its connection: this server refuses all of them.
    let database = Arc::clone(&calm.database);
    let busy = TestServer::on(database, Clock::system(), |config| {
        config.max_open_calls = 0;
    })
    .await;
    let client = busy.system();
    let written = client.add_member("roadmap", "user:ben", "viewer").await;
    let status = written.expect_err("a refusal");
    assert_eq!((status.code(), reason(&status)), overloaded());
    let delay = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| !delay.is_zero()), "{delay:?}");
    assert_eq!(refusal(client.check("user:ann", "portfolio.view", "roadmap").await), overloaded());
    assert_eq!(refusal(client.get_portfolio("roadmap").await), overloaded());
    assert!(busy.is_healthy("").await);

    let missing = calm.system().get_member("roadmap", "user:ben").await;
    assert_eq!(refusal(missing), (Code::NotFound, "MEMBER_NOT_FOUND".to_owned()));
    let added = calm.system().add_member("roadmap", "user:ben", "viewer").await;
    assert!(added.is_ok_and(|outcome| outcome.refusal.is_none()));
}

#[tokio::test]
async fn a_flood_of_batches_is_answered_or_refused_and_leaves_nothing() {
    let server = TestServer::start_with(|config| {
        config.request_timeout = Duration::from_secs(60);
        // However long the feed waits behind the calls: memory answers.
        config.staleness_bound = Duration::from_secs(3_600);
    })
    .await;
    server.given().organization("acme").user("ann").portfolio("roadmap").owned_by("ann").await;
    assert!(server.allows("user:ann", "portfolio.view", "roadmap").await);
    let request = v1::BatchCheckPermissionsRequest {
        subject: Some(subject("user:ann")),
        permission: "portfolio.view".to_owned(),
        portfolio: "roadmap".to_owned(),
        items: vec![v1::BatchCheckItem::default(); 1_000],
        ..v1::BatchCheckPermissionsRequest::default()
    };
    // A batch waits until memory has what it is about.
    server.system().policy().batch_check_permissions(request.clone()).await.expect("answers");
    let calls = (0..500).map(|_| {
        let (mut policy, request) = (server.system().policy(), request.clone());
        async move { policy.batch_check_permissions(request).await }
    });
    let answers = join_all(calls).await;
    let (answered, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(answered.len() >= LINE, "as many as may wait are answered: {}", answered.len());
    assert!(refused.len() > 250, "what has arrived is refused first: {}", refused.len());
    for refused in refused {
        assert_eq!(refusal(refused), overloaded());
    }
    for _ in 0..10 {
        assert!(server.allows("user:ann", "portfolio.view", "roadmap").await);
    }
}
