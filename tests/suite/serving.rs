//! The server as a whole: that it starts, answers, says how it is, and stops.

use std::time::Duration;

use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use portcullis::clock::Clock;
use portcullis::config::Config;
use portcullis::proto::v1;
use portcullis::proto::v1::consistency::Requirement;
use portcullis::server::Server;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1 as reflection;
use tonic_reflection::pb::v1alpha as reflection_alpha;
use tonic_types::StatusExt as _;

use crate::harness::{TestServer, reason, refusal};

#[tokio::test]
async fn a_world_is_built_and_decided_over_the_wire() {
    let server = TestServer::start().await;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .user("cid")
        .external("eve")
        .group("core", &["user:ben"])
        .group("all", &["group:core"])
        .portfolio("roadmap")
        .owned_by("ann")
        .with("group:all", "contributor")
        .portfolio("plaza")
        .open()
        .deactivated("cid")
        .await;
    assert!(server.allows("user:ann", "members.invite", "roadmap").await);
    assert!(server.allows("user:ben", "initiative.edit", "roadmap").await);
    assert!(!server.allows("user:ben", "members.invite", "roadmap").await);
    assert!(server.allows("user:ben", "portfolio.view", "plaza").await);
    let deactivated = server.decides("user:cid", "portfolio.view", "plaza").await;
    assert_eq!(deactivated, v1::DecisionReason::SubjectDeactivated);
    let external = server.acting("user:eve").get_portfolio("plaza").await;
    assert_eq!(refusal(external), (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn rev_1_a_second_server_sees_what_a_token_names() {
    let server = TestServer::start().await;
    let twin = server.twin().await;
    let token = server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .site_role("ben", v1::SiteRole::Guest)
        .portfolio("plaza")
        .with_manager("ann")
        .open()
        .openly_giving("contributor")
        .portfolio("notes")
        .restricted()
        .await;
    let at_least = || Some(Requirement::AtLeastAsFresh(token.clone()));
    for (subject, permission, portfolio, allowed) in [
        ("user:ann", "members.invite", "plaza", true),
        ("user:acme-owner", "initiative.edit", "plaza", true),
        ("user:ben", "portfolio.view", "plaza", false),
        ("user:ann", "portfolio.view", "notes", false),
    ] {
        for server in [&server, &twin] {
            let client = server.system();
            let answer = client.check_with(subject, permission, portfolio, at_least()).await;
            assert_eq!(answer.unwrap().allowed, allowed, "{subject} {permission} {portfolio}");
        }
    }
    assert!(twin.acting("user:ann").get_portfolio("notes").await.is_ok());
    let hidden = twin.acting("user:ben").get_portfolio("notes").await;
    assert_eq!(refusal(hidden), (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn every_service_and_the_whole_are_healthy() {
    let server = TestServer::start().await;
    for service in ["", "portcullis.v1.PolicyService", "portcullis.v1.DirectoryService"] {
        assert!(server.is_healthy(service).await, "{service}");
    }
}

#[tokio::test]
async fn reflection_names_the_services_in_both_versions() {
    let server = TestServer::start().await;
    let request = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(reflection::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client =
        reflection::server_reflection_client::ServerReflectionClient::new(server.channel.clone());
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let named = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(named.contains("portcullis.v1.PolicyService"), "{named}");
    assert!(named.contains("grpc.health.v1.Health"), "{named}");

    let request = reflection_alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            reflection_alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                "portcullis.v1.CheckPermissionRequest".to_owned(),
            ),
        ),
    };
    let mut client = reflection_alpha::server_reflection_client::ServerReflectionClient::new(
        server.channel.clone(),
    );
    let mut answers =
        client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let described = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(described.contains("FileDescriptorResponse"), "{described}");
}

#[tokio::test]
async fn stopping_ends_open_streams_with_a_status() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(server.channel.clone());
    let request = HealthCheckRequest { service: String::new() };
    let mut watched = health.watch(request).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    let (stopped, ended) = tokio::join!(server.running.stop(), async {
        loop {
            match watched.message().await {
                // What the service has to say until then.
                Ok(Some(_)) => {}
                ended => break ended,
            }
        }
    });
    let () = stopped;
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused_without_insecure() {
    let config = Config { listen: "0.0.0.0:0".parse().unwrap(), ..Config::default() };
    let refused = Server::start(&config, Clock::system()).await.unwrap_err().to_string();
    assert!(refused.contains("--insecure"), "{refused}");
}

#[tokio::test]
async fn a_port_or_a_database_that_is_not_there_is_told() {
    let server = TestServer::start().await;
    let url = server.database.url.parse().unwrap();
    let taken =
        Config { listen: server.running.address(), database_url: Some(url), ..Config::default() };
    let refused = Server::start(&taken, Clock::system()).await.unwrap_err().to_string();
    assert!(refused.contains("cannot listen on 127.0.0.1:"), "{refused}");
    let nowhere = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        database_url: Some("postgres://ann:secret@127.0.0.1:1/none".parse().unwrap()),
        ..Config::default()
    };
    let refused = Server::start(&nowhere, Clock::system()).await.unwrap_err().to_string();
    assert!(refused.contains("cannot use the database"), "{refused}");
    assert!(!refused.contains("secret"), "{refused}");
}

/// Runs statements in another database of the same PostgreSQL.
async fn administer(url: &str, sql: &str) {
    let (cluster, _) = url.rsplit_once('/').expect("a URL ends in the database");
    let mut connection = AsyncPgConnection::establish(&format!("{cluster}/portcullis")).await;
    let connection = connection.as_mut().expect("the cluster is there");
    connection.batch_execute(sql).await.expect("the statements are right");
}

#[tokio::test]
async fn the_database_away_is_unavailable_and_recovers_by_itself() {
    let server = TestServer::start_with(|config| {
        config.pool_wait = Duration::from_millis(200);
        config.staleness_bound = Duration::from_millis(500);
    })
    .await;
    server.given().organization("acme").user("ann").portfolio("roadmap").owned_by("ann").await;
    assert!(server.allows("user:ann", "portfolio.view", "roadmap").await);
    let request = HealthCheckRequest { service: "portcullis.v1.PolicyService".to_owned() };
    let mut health = HealthClient::new(server.channel.clone());
    let mut health = health.watch(request).await.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let (_, name) = server.database.url.rsplit_once('/').unwrap();
    let url = &server.database.url;
    administer(
        url,
        &format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS false;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ),
    )
    .await;
    // Memory is trusted for the staleness bound; then the health service says so.
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let client = server.system();
    let minimal = client.check_with("user:ann", "portfolio.view", "roadmap", None).await;
    let read = client.get_portfolio("roadmap").await;
    let write = client.remove_member("roadmap", "user:ann").await;
    for status in [minimal.unwrap_err(), read.unwrap_err(), write.unwrap_err()] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(reason(&status), "DATABASE_UNAVAILABLE");
        assert!(status.get_error_details().retry_info().is_some());
    }

    administer(url, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert!(server.allows("user:ann", "portfolio.view", "roadmap").await);
    assert!(client.get_portfolio("roadmap").await.is_ok());
}
