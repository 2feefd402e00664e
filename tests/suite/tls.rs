//! Encrypted connections, clients that are known by certificate, and files that change.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::config::Config;
use portcullis::grpc::client::{Client as OurClient, ClientTls};
use portcullis::proto::v1;
use portcullis::proto::v1::directory_service_client::DirectoryServiceClient;
use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use portcullis::server::{Running, Server};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::certificates::{Authority, Folder};
use crate::cluster::{TestDatabase, database};
use crate::harness::{Client, TestServer, reason, refusal};
use crate::program::{portcullis, run};

const PATIENCE: Duration = Duration::from_secs(30);
const CLIENTS: &str = "clients:
  - san: spiffe://acme.example/planner
    scopes: [policy.read]
    organizations: [acme]
  - san: admin.acme.example
    scopes: [operator]
    organizations: ['*']
";

async fn start(change: impl FnOnce(&mut Config)) -> (Running, TestDatabase) {
    let database = database().await;
    let mut config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        database_url: Some(database.url.parse().unwrap()),
        pool_size_writes: 2,
        pool_size_reads: 2,
        ..Config::default()
    };
    change(&mut config);
    (Server::start(&config, Clock::system()).await.unwrap(), database)
}

fn https(server: &Running) -> String {
    format!("https://localhost:{}", server.address().port())
}

async fn health(channel: &Channel) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest { service: String::new() };
    Ok(HealthClient::new(channel.clone()).check(request).await?.into_inner().status())
}

#[tokio::test]
async fn an_encrypted_server_answers_who_trusts_it_and_tells_others_what_is_wrong() {
    let authority = Authority::new();
    let folder = Folder::of(&authority.issue(&["localhost"]));
    let (server, _database) = start(|config| folder.encrypt(config)).await;
    let client = OurClient::connect(&https(&server), None, &authority.trusted()).await.unwrap();
    assert!(client.is_serving().await.unwrap());

    let stranger = Authority::new().trusted();
    let error = OurClient::connect(&https(&server), None, &stranger).await.unwrap_err();
    assert!(error.to_string().contains("not trusted\nhint: name the authority"), "{error}");
    let by_number = format!("https://{}", server.address());
    let error = OurClient::connect(&by_number, None, &authority.trusted()).await.unwrap_err();
    assert!(error.to_string().contains("for another name"), "{error}");

    // It speaks first, and so may learn only with the first call that nobody understands it.
    let plain = server.address().to_string();
    let asked =
        async { OurClient::connect(&plain, None, &ClientTls::default()).await?.is_serving().await };
    let error = asked.await.unwrap_err();
    assert!(error.to_string().contains("hint: write `https://`"), "{error}");
    let certificates = authority.trusted();
    let error = OurClient::connect(&plain, None, &certificates).await.unwrap_err();
    assert!(error.to_string().contains("certificates are for encrypted"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_encrypted_is_called_that() {
    let server = TestServer::start().await;
    let trusted = Authority::new().trusted();
    let error = OurClient::connect(&https(&server.running), None, &trusted).await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS\nhint: write `http://`"), "{error}");
}

#[tokio::test]
async fn aut_2_a_client_certificate_tells_who_calls_and_what_they_may() {
    let authority = Authority::new();
    let folder = Folder::of(&authority.issue(&["localhost"]));
    let (server, _database) = start(|config| folder.admit(config, &authority, CLIENTS)).await;
    let channel = async |names: &[&str]| {
        let shown = authority.issue(names);
        authority.channel(server.address(), Some(&shown)).await.unwrap()
    };
    let operator = channel(&["other.example", "admin.acme.example"]).await;
    let create = |id: &str| v1::CreateOrganizationRequest {
        organization: Some(v1::Organization {
            id: id.to_owned(),
            display_name: id.to_owned(),
            preset: "initiative_planning".to_owned(),
            ..v1::Organization::default()
        }),
        ..v1::CreateOrganizationRequest::default()
    };
    for id in ["acme", "zeta"] {
        let mut directory = DirectoryServiceClient::new(operator.clone());
        directory.create_organization(create(id)).await.unwrap();
    }

    let planner = channel(&["spiffe://acme.example/planner"]).await;
    let mut directory = DirectoryServiceClient::new(planner.clone());
    let refused = directory.create_organization(create("nova")).await;
    assert_eq!(refusal(refused), (Code::PermissionDenied, "SCOPE_MISSING".to_owned()));
    let get = |id: &str| v1::GetOrganizationRequest { organization: id.to_owned() };
    assert!(directory.get_organization(get("acme")).await.is_ok());
    let answer = Client::over(planner).check("user:ann", "portfolio.view", "roadmap").await;
    assert_eq!(answer.unwrap().reason(), v1::DecisionReason::PortfolioUnknown);

    let unlisted = channel(&["eve.acme.example"]).await;
    let refused = Client::over(unlisted).get_portfolio("roadmap").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(reason(&refused), "CREDENTIAL_REJECTED");
    assert!(refused.message().contains("`eve.acme.example`"), "{refused:?}");
}

#[tokio::test]
async fn aut_2_without_a_certificate_only_health_and_reflection_answer() {
    let authority = Authority::new();
    let folder = Folder::of(&authority.issue(&["localhost"]));
    let (server, _database) = start(|config| folder.admit(config, &authority, CLIENTS)).await;
    let nobody = authority.channel(server.address(), None).await.unwrap();
    assert_eq!(health(&nobody).await.unwrap(), ServingStatus::Serving);
    let refused = Client::over(nobody).get_portfolio("roadmap").await;
    assert_eq!(refusal(refused), (Code::Unauthenticated, "CREDENTIAL_MISSING".to_owned()));

    // One of another authority is not even shaken hands with.
    let forged = Authority::new().issue(&["admin.acme.example"]);
    let asked = async {
        let channel = authority.channel(server.address(), Some(&forged)).await;
        health(&channel.map_err(|error| Status::from_error(error.into()))?).await
    };
    assert!(asked.await.is_err());
    let shown = authority.trusted().showing(forged.certificate.as_bytes(), forged.key.as_bytes());
    let shown = shown.unwrap();
    let asked =
        async { OurClient::connect(&https(&server), None, &shown).await?.is_serving().await };
    let error = asked.await.unwrap_err().to_string();
    assert!(error.contains("does not accept the client certificate"), "{error}");
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_open_ones_live_on() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(&["localhost"]), authority.issue(&["localhost"]));
    let folder = Folder::of(&old);
    let (server, _database) = start(|config| {
        folder.encrypt(config);
        config.tls.tls_reload_interval = Duration::from_millis(10);
    })
    .await;
    let channel = authority.channel(server.address(), None).await.unwrap();
    assert_eq!(authority.shown_by(server.address()).await, old.der());
    let mut watched = HealthClient::new(channel.clone());
    let request = HealthCheckRequest { service: String::new() };
    let mut watched = watched.watch(request).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());

    folder.renew(&new);
    let renewed = async { while authority.shown_by(server.address()).await != new.der() {} };
    timeout(PATIENCE, renewed).await.unwrap();
    // The stream that was opened before is there, on its connection, until the server stops.
    assert_eq!(health(&channel).await.unwrap(), ServingStatus::Serving);
    let ((), ended) = tokio::join!(server.stop(), watched.message());
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_client_that_never_finishes_a_handshake_holds_up_neither_others_nor_the_end() {
    let authority = Authority::new();
    let folder = Folder::of(&authority.issue(&["localhost"]));
    let (server, _database) = start(|config| folder.encrypt(config)).await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    let channel = authority.channel(server.address(), None).await.unwrap();
    assert_eq!(health(&channel).await.unwrap(), ServingStatus::Serving);
    // Less than open calls would be given.
    timeout(Duration::from_secs(8), server.stop()).await.unwrap();
    let read = silent.read(&mut [0; 16]).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert!(health(&channel).await.is_err());
}

#[tokio::test]
async fn bad_2_headers_that_are_too_large_are_refused() {
    let authority = Authority::new();
    let folder = Folder::of(&authority.issue(&["localhost"]));
    let (server, _database) = start(|config| folder.encrypt(config)).await;
    let channel = authority.channel(server.address(), None).await.unwrap();
    let check = async |bytes: usize| {
        let mut request = Request::new(v1::CheckPermissionRequest::default());
        request.metadata_mut().insert("x-padding", "a".repeat(bytes).parse().unwrap());
        PolicyServiceClient::new(channel.clone()).check_permission(request).await
    };
    let refused = refusal(check(15 * 1024).await);
    assert_eq!(refused, (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    let refused = refusal(check(17 * 1024).await);
    assert_eq!(refused, (Code::InvalidArgument, "LIMIT_EXCEEDED".to_owned()));
    // The protocol's own refusal, before there is a call.
    let refused = check(70 * 1024).await.unwrap_err();
    assert!(refused.details().is_empty(), "{refused:?}");
    assert_eq!(health(&channel).await.unwrap(), ServingStatus::Serving);
}

#[tokio::test]
async fn files_that_make_no_sense_are_told_before_anything_is_started() {
    let authority = Authority::new();
    let folder = Folder::of(&authority.issue(&["localhost"]));
    folder.write("key.pem", &authority.issue(&["localhost"]).key);
    let mut config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    folder.admit(&mut config, &authority, "clients:\n  - san: a\n    scope: []\n");
    let refused = Server::start(&config, Clock::system()).await.unwrap_err().to_string();
    assert!(refused.contains("key.pem` is not the key of the certificate in `"), "{refused}");
    folder.renew(&authority.issue(&["localhost"]));
    let refused = Server::start(&config, Clock::system()).await.unwrap_err().to_string();
    assert!(refused.contains("clients.yaml` is no list of clients: "), "{refused}");
    assert!(refused.contains("unknown field `scope`") && refused.contains("line 3"), "{refused}");
}

/// Runs the program itself, since its log is what is looked at.
#[tokio::test]
async fn a_broken_certificate_changes_nothing_and_is_said_once() {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let folder = Folder::of(&issued);
    let database = database().await;
    let path = |name: &str| folder.path(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let serve = ["serve", "--listen", "127.0.0.1:0", "--database-url", &database.url];
    let tls = ["--tls-cert", &certificate, "--tls-key", &key, "--tls-reload-interval", "10ms"];
    let mut server =
        portcullis(&serve).args(tls).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let listens =
        said.find_map(|line| line.strip_prefix("portcullis listens on ").map(str::to_owned));
    let address: std::net::SocketAddr = listens.unwrap().parse().unwrap();

    folder.write("cert.pem", "nonsense");
    let reading = tokio::task::spawn_blocking(move || {
        (log.find(|line| line.contains("ERROR")).unwrap(), log)
    });
    let (refused, mut log) = timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert_eq!(authority.shown_by(address).await, issued.der());
    folder.write("cert.pem", &issued.certificate);
    // All that is said until the good one is back in force.
    let reading = tokio::task::spawn_blocking(move || {
        log.by_ref().take_while(|line| !line.contains("are in force")).collect::<Vec<_>>()
    });
    let between = timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert!(refused.contains("stays in force"), "{refused}");
    assert!(refused.contains("cert.pem` holds no certificate"), "{refused}");
    assert!(!between.iter().any(|line| line.contains("ERROR")), "{between:?}");
    assert_eq!(authority.shown_by(address).await, issued.der());

    let server_uri = format!("https://localhost:{}", address.port());
    let ca = folder.write("trusted.pem", &authority.pem()).display().to_string();
    let asked = ["health", "--server", &server_uri, "--ca-cert", &ca];
    let (status, output, error) = run(&asked);
    assert_eq!((status, output.as_str()), (0, "serving\n"), "{error}");
    let (status, _, error) = run(&["health", "--server", &server_uri, "--ca-cert", &key]);
    assert_eq!(status, 1, "{error}");
    assert!(error.contains("key.pem` holds no certificate in PEM"), "{error}");
    server.kill().unwrap();
    server.wait().unwrap();
}
