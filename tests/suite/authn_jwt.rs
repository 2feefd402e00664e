//! Calls with and without tokens, to a server that authenticates.

use std::sync::Arc;
use std::time::Duration;

use portcullis::authn;
use portcullis::clock::Clock;
use portcullis::config::Config;
use portcullis::domain::Timestamp;
use portcullis::proto::v1;
use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use portcullis::server::{Options, Running, Server};
use serde_json::json;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::cluster::{TestDatabase, database};
use crate::harness::{reason, refusal, subject};
use crate::issuer::{AUDIENCE, ISSUER, KeyServer, TestKey, operator};

const NOW: i64 = 1_800_000_000;

struct Authenticating {
    running: Running,
    channel: Channel,
    clock: Clock,
    _database: Arc<TestDatabase>,
}

impl Authenticating {
    async fn start(keys: &KeyServer) -> Self {
        let database = Arc::new(database().await);
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            database_url: Some(database.url.parse().unwrap()),
            ..Config::default()
        };
        config.jwt.jwt_issuer = Some(ISSUER.to_owned());
        config.jwt.jwt_audience = Some(AUDIENCE.to_owned());
        config.jwt.jwt_keys = Some(keys.url().parse().unwrap());
        let clock = Clock::manual(Timestamp(NOW * 1_000));
        let hour = Duration::from_secs(3_600);
        let keys = authn::Options { address_interval: hour, ..authn::Options::default() };
        let options = Options { keys, ..Options::default() };
        let running = Server::start_with(&config, clock.clone(), options).await.unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", running.address())).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self { running, channel, clock, _database: database }
    }

    /// A check with these `authorization` headers.
    async fn check(&self, headers: &[&str]) -> Result<v1::CheckPermissionResponse, Status> {
        let mut request = Request::new(v1::CheckPermissionRequest {
            subject: Some(subject("user:ann")),
            permission: "portfolio.view".to_owned(),
            portfolio: "apollo".to_owned(),
            ..v1::CheckPermissionRequest::default()
        });
        for header in headers {
            let value: AsciiMetadataValue = header.parse().unwrap();
            request.metadata_mut().append("authorization", value);
        }
        let mut client = PolicyServiceClient::new(self.channel.clone());
        Ok(client.check_permission(request).await?.into_inner())
    }

    async fn refusal(&self, token: &str) -> (Code, String) {
        refusal(self.check(&[&format!("Bearer {token}")]).await)
    }
}

fn unauthenticated(reason: &str) -> (Code, String) {
    (Code::Unauthenticated, reason.to_owned())
}

#[tokio::test]
async fn aut_2_a_call_needs_one_good_token() {
    let (key, ed) = (TestKey::rs256("r"), TestKey::eddsa("e"));
    let keys = KeyServer::of(&[&key, &ed]);
    let server = Authenticating::start(&keys).await;
    let good = key.token(&operator(NOW));
    for header in [format!("Bearer {good}"), format!("bearer {good}")] {
        assert!(!server.check(&[&header]).await.unwrap().allowed);
    }
    assert!(server.check(&[&format!("Bearer {}", ed.token(&operator(NOW)))]).await.is_ok());
    let bearer = format!("Bearer {good}");
    for headers in [&[&*bearer, &*bearer][..], &["Basic YTpi"], &["Bearer"], &[&good]] {
        let refused = refusal(server.check(headers).await);
        assert_eq!(refused, unauthenticated("CREDENTIAL_MALFORMED"), "{headers:?}");
    }
    assert_eq!(refusal(server.check(&[]).await), unauthenticated("CREDENTIAL_MISSING"));

    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = operator(NOW);
        claims[name] = value;
        key.token(&claims)
    };
    let garbage = "x".repeat(9 * 1024);
    let none = key.signed(&json!({ "alg": "none" }), &operator(NOW));
    let unfit = ed.signed(&json!({ "alg": "RS256", "kid": "e" }), &operator(NOW));
    let stranger = TestKey::rs256("r").token(&operator(NOW));
    let unknown = TestKey::eddsa("unknown").token(&operator(NOW));
    for (token, expected) in [
        (none, "CREDENTIAL_MALFORMED"),
        (garbage, "CREDENTIAL_MALFORMED"),
        (changed("sub", json!(null)), "CREDENTIAL_MALFORMED"),
        (changed("exp", json!(NOW)), "CREDENTIAL_EXPIRED"),
        (changed("nbf", json!(NOW + 31)), "CREDENTIAL_EXPIRED"),
        (changed("iss", json!("other")), "CREDENTIAL_REJECTED"),
        (changed("aud", json!("other")), "CREDENTIAL_REJECTED"),
        (unfit, "CREDENTIAL_REJECTED"),
        (stranger, "CREDENTIAL_REJECTED"),
        (unknown, "CREDENTIAL_REJECTED"),
    ] {
        assert_eq!(server.refusal(&token).await, unauthenticated(expected), "{token}");
    }
    server.clock.advance(Duration::from_secs(3_600));
    assert_eq!(server.refusal(&good).await, unauthenticated("CREDENTIAL_EXPIRED"));
    server.running.stop().await;
}

#[tokio::test]
async fn aut_2_every_method_of_ours_needs_a_credential_and_health_needs_none() {
    let keys = KeyServer::of(&[&TestKey::eddsa("e")]);
    let server = Authenticating::start(&keys).await;
    let methods = crate::raw::Contract::load().methods();
    assert!(methods.len() >= 14, "only {} methods found", methods.len());
    for method in methods {
        let refused = crate::raw::call(&server.channel, &method.path, Vec::new(), None).await;
        let expected = unauthenticated("CREDENTIAL_MISSING");
        assert_eq!(refusal(refused), expected, "{}", method.path);
    }
    let unknown = crate::raw::call(&server.channel, "/unknown.Service/Call", Vec::new(), None);
    assert_eq!(refusal(unknown.await), unauthenticated("CREDENTIAL_MISSING"));
    let health =
        crate::raw::call(&server.channel, "/grpc.health.v1.Health/Check", Vec::new(), None);
    assert!(health.await.is_ok());
}

#[tokio::test]
async fn aut_2_before_the_keys_are_there_a_call_is_to_be_tried_again() {
    let key = TestKey::es256("e");
    let mut keys = KeyServer::down();
    keys.answer(&[&key]);
    let server = Authenticating::start(&keys).await;
    let token = format!("Bearer {}", key.token(&operator(NOW)));
    let status = server.check(&[&token]).await.unwrap_err();
    let told = (status.code(), reason(&status));
    assert_eq!(told, (Code::Unavailable, "KEYS_UNAVAILABLE".to_owned()));
    assert!(status.get_error_details().retry_info().is_some());
    keys.up();
    server.clock.advance(Duration::from_secs(10));
    assert!(server.check(&[&token]).await.is_ok());
}
