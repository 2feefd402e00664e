//! What a server does whose memory is small, or wrong.

use std::sync::LazyLock;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use portcullis::proto::v1;
use tokio::time::Instant;
use tonic::Code;

use crate::harness::{TestServer, refusal, subject};

const PATIENCE: Duration = Duration::from_secs(60);

/// The metrics of all servers in this process.
static METRICS: LazyLock<PrometheusHandle> =
    LazyLock::new(|| PrometheusBuilder::new().install_recorder().expect("the first recorder"));

/// How many shadow checks have ended so, in this process.
fn shadow_checks(outcome: &str) -> u64 {
    let line = format!("portcullis_shadow_checks_total{{outcome=\"{outcome}\"}} ");
    let text = METRICS.render();
    let count = text.lines().find_map(|it| it.strip_prefix(&line)?.parse().ok());
    count.unwrap_or_default()
}

async fn server(change: impl FnOnce(&mut portcullis::config::Config)) -> TestServer {
    let server = TestServer::start_with(change).await;
    let given = server.given().organization("acme").user("ann").user("ben").portfolio("plan");
    given.owned_by("ben").with("user:ann", "viewer").await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_over_the_budget_is_answered_cold_and_not_listed() {
    let server = server(|config| config.memory.memory_budget = Some(1)).await;
    for _ in 0..3 {
        assert!(server.allows("user:ann", "portfolio.view", "plan").await);
        assert!(!server.allows("user:ann", "portfolio.update", "plan").await);
    }
    let request = v1::ListAccessiblePortfoliosRequest {
        subject: Some(subject("user:ann")),
        permission: "portfolio.view".to_owned(),
        ..Default::default()
    };
    let began = Instant::now();
    let listed = server.system().policy().list_accessible_portfolios(request).await;
    let expected = (Code::ResourceExhausted, "MEMORY_BUDGET_EXCEEDED".to_owned());
    assert_eq!(refusal(listed), expected);
    assert!(began.elapsed() < Duration::from_secs(8), "not by the deadline");
    assert!(server.system().add_member("plan", "user:ben", "viewer").await.is_ok(), "writes work");
}

#[tokio::test(flavor = "multi_thread")]
async fn vis_4_what_does_not_fit_into_memory_is_no_more_there_for_who_does_not_see_it() {
    let server = server(|config| config.memory.memory_budget = Some(1)).await;
    server.given().in_organization("acme").portfolio("secret").owned_by("ben").await;
    let ask = async |portfolio: &str| {
        let request = v1::BatchCheckPermissionsRequest {
            subject: Some(subject("user:ann")),
            permission: "portfolio.view".to_owned(),
            items: vec![v1::BatchCheckItem {
                portfolio: portfolio.to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = server.acting("user:ann").policy().batch_check_permissions(request).await;
        answer.map(|answer| answer.into_inner().outcomes)
    };
    // Ann sees this one, and is told that there is no room for it: from here on it is known.
    let expected = (Code::ResourceExhausted, "MEMORY_BUDGET_EXCEEDED".to_owned());
    assert_eq!(refusal(ask("plan").await), expected);
    let unknown = ask("unknown").await.expect("an answer");
    assert_eq!(ask("secret").await.expect("the same answer"), unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shadow_check_finds_memory_that_is_wrong() {
    let before = shadow_checks("diverged");
    let found = || shadow_checks("diverged") > before;
    let server = server(|config| config.memory.shadow_check_rate = 1).await;
    // Explanations are made from memory, once it holds the organization.
    let request = v1::ListEffectivePermissionsRequest {
        subject: Some(subject("user:ann")),
        portfolio: "plan".to_owned(),
        ..Default::default()
    };
    server.system().policy().list_effective_permissions(request).await.expect("loaded");
    let mut database = AsyncPgConnection::establish(&server.database.url).await.expect("connects");
    let behind_its_back = "UPDATE grants SET revoke_time = now() WHERE subject_id = 'ann'";
    database.batch_execute(behind_its_back).await.expect("it is changed");

    let ask = || async {
        let answer = server.system().check_with("user:ann", "portfolio.view", "plan", None).await;
        answer.expect("an answer").allowed
    };
    assert!(ask().await, "memory does not know");
    let began = Instant::now();
    while ask().await || !found() {
        assert!(began.elapsed() < PATIENCE, "nobody noticed");
        tokio::task::yield_now().await;
    }
    // Loaded anew, memory is right, and both agree.
    let before = shadow_checks("agreed");
    let agreed = || shadow_checks("agreed") > before;
    while !agreed() {
        assert!(!ask().await);
        assert!(began.elapsed() < PATIENCE, "never warm again");
    }
}
