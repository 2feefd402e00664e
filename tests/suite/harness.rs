//! A server in this process, on a database of its own, and clients of it.
//!
//! ```ignore
//! let server = TestServer::start().await;
//! server
//!     .given()
//!     .organization("acme")
//!     .user("ann")
//!     .user("ben")
//!     .group("core", &["user:ben"])
//!     .portfolio("roadmap")
//!     .owned_by("ann")
//!     .open()
//!     .with("group:core", "contributor")
//!     .await;
//! assert!(server.allows("user:ben", "initiative.edit", "roadmap").await);
//! let refused = server.acting("user:ben").get_member("roadmap", "user:ann").await;
//! ```

use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::config::Config;
use portcullis::domain;
use portcullis::proto::v1;
use portcullis::proto::v1::access_settings_service_client::AccessSettingsServiceClient;
use portcullis::proto::v1::consistency::Requirement;
use portcullis::proto::v1::directory_service_client::DirectoryServiceClient;
use portcullis::proto::v1::event_service_client::EventServiceClient;
use portcullis::proto::v1::item_service_client::ItemServiceClient;
use portcullis::proto::v1::membership_service_client::MembershipServiceClient;
use portcullis::proto::v1::policy_service_client::PolicyServiceClient;
use portcullis::proto::v1::portfolio_service_client::PortfolioServiceClient;
use portcullis::proto::v1::role_service_client::RoleServiceClient;
use portcullis::server::{Running, Server};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::cluster::{TestDatabase, database};
use crate::given::Given;

/// A running server. Dropping it stops it.
pub struct TestServer {
    pub running: Running,
    pub database: Arc<TestDatabase>,
    pub channel: Channel,
}

impl TestServer {
    /// A server with the default settings on a new database.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A server whose settings a test changes, on a new database.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let database = Arc::new(database().await);
        Self::on(database, Clock::system(), change).await
    }

    /// A second server on the database of this one, as another machine would run it.
    pub async fn twin(&self) -> Self {
        Self::on(Arc::clone(&self.database), Clock::system(), |_| {}).await
    }

    /// A server on this database, by this clock.
    pub async fn on(
        database: Arc<TestDatabase>,
        clock: Clock,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            database_url: Some(database.url.parse().expect("a database URL")),
            pool_size_writes: 4,
            pool_size_reads: 4,
            pool_wait: Duration::from_secs(5),
            ..Config::default()
        };
        change(&mut config);
        let running = Server::start(&config, clock).await.expect("the server starts");
        let channel = connect(&running).await;
        Self { running, database, channel }
    }

    /// Builds the world that a test starts from, through the API, as the system.
    pub fn given(&self) -> Given {
        Given::new(self.system())
    }

    /// A client without an actor.
    pub fn system(&self) -> Client {
        Client { channel: self.channel.clone(), actor: None }
    }

    /// A client that acts for a subject: `user:ann`.
    pub fn acting(&self, actor: &str) -> Client {
        let actor = actor.parse().expect("an actor is ASCII");
        Client { channel: self.channel.clone(), actor: Some(actor) }
    }

    /// Whether a check, after every write that was answered, is allowed.
    pub async fn allows(&self, subject: &str, permission: &str, portfolio: &str) -> bool {
        self.system().check(subject, permission, portfolio).await.expect("an answer").allowed
    }

    /// The reason of a check, after every write that was answered.
    pub async fn decides(
        &self,
        subject: &str,
        permission: &str,
        portfolio: &str,
    ) -> v1::DecisionReason {
        let answer = self.system().check(subject, permission, portfolio).await;
        answer.expect("an answer").reason()
    }

    /// Whether the health service reports a service as serving.
    pub async fn is_healthy(&self, service: &str) -> bool {
        use tonic_health::pb::health_check_response::ServingStatus;
        let mut health = tonic_health::pb::health_client::HealthClient::new(self.channel.clone());
        let service = service.to_owned();
        let request = tonic_health::pb::HealthCheckRequest { service };
        let answer = health.check(request).await.expect("health answers").into_inner();
        answer.status() == ServingStatus::Serving
    }
}

async fn connect(running: &Running) -> Channel {
    let uri = format!("http://{}", running.address());
    Endpoint::from_shared(uri).expect("a URI").connect().await.expect("the server accepts")
}

/// Puts the actor into the metadata of every call.
#[derive(Clone)]
pub struct ActFor(Option<AsciiMetadataValue>);

impl Interceptor for ActFor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(actor) = &self.0 {
            request.metadata_mut().insert("portcullis-actor", actor.clone());
        }
        Ok(request)
    }
}

type Acting = InterceptedService<Channel, ActFor>;

/// What calls the server, for one actor. The generated clients are all there; the methods beside
/// them are for the calls that many tests make.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    actor: Option<AsciiMetadataValue>,
}

impl Client {
    /// A client without an actor, of a server that the harness did not start.
    pub fn over(channel: Channel) -> Self {
        Self { channel, actor: None }
    }

    pub fn policy(&self) -> PolicyServiceClient<Acting> {
        PolicyServiceClient::with_interceptor(self.channel.clone(), ActFor(self.actor.clone()))
    }

    pub fn portfolios(&self) -> PortfolioServiceClient<Acting> {
        PortfolioServiceClient::with_interceptor(self.channel.clone(), ActFor(self.actor.clone()))
    }

    pub fn settings(&self) -> AccessSettingsServiceClient<Acting> {
        let act = ActFor(self.actor.clone());
        AccessSettingsServiceClient::with_interceptor(self.channel.clone(), act)
    }

    pub fn members(&self) -> MembershipServiceClient<Acting> {
        MembershipServiceClient::with_interceptor(self.channel.clone(), ActFor(self.actor.clone()))
    }

    pub fn items(&self) -> ItemServiceClient<Acting> {
        ItemServiceClient::with_interceptor(self.channel.clone(), ActFor(self.actor.clone()))
    }

    pub fn directory(&self) -> DirectoryServiceClient<Acting> {
        DirectoryServiceClient::with_interceptor(self.channel.clone(), ActFor(self.actor.clone()))
    }

    pub fn roles(&self) -> RoleServiceClient<Acting> {
        RoleServiceClient::with_interceptor(self.channel.clone(), ActFor(self.actor.clone()))
    }

    pub fn events(&self) -> EventServiceClient<Acting> {
        EventServiceClient::with_interceptor(self.channel.clone(), ActFor(self.actor.clone()))
    }

    /// A check that sees every write that was answered before it.
    pub async fn check(
        &self,
        subject: &str,
        permission: &str,
        portfolio: &str,
    ) -> Result<v1::CheckPermissionResponse, Status> {
        let consistent = Requirement::FullyConsistent(true);
        self.check_with(subject, permission, portfolio, Some(consistent)).await
    }

    /// A check with a consistency of the test's choice.
    pub async fn check_with(
        &self,
        who: &str,
        permission: &str,
        portfolio: &str,
        requirement: Option<Requirement>,
    ) -> Result<v1::CheckPermissionResponse, Status> {
        let request = v1::CheckPermissionRequest {
            subject: Some(subject(who)),
            permission: permission.to_owned(),
            portfolio: portfolio.to_owned(),
            consistency: requirement.map(|it| v1::Consistency { requirement: Some(it) }),
            ..v1::CheckPermissionRequest::default()
        };
        Ok(self.policy().check_permission(request).await?.into_inner())
    }

    pub async fn get_portfolio(&self, id: &str) -> Result<v1::Portfolio, Status> {
        let request = v1::GetPortfolioRequest { portfolio: id.to_owned() };
        let found = self.portfolios().get_portfolio(request).await?.into_inner();
        Ok(found.portfolio.expect("a portfolio"))
    }

    pub async fn get_member(&self, portfolio: &str, who: &str) -> Result<v1::Member, Status> {
        let request =
            v1::GetMemberRequest { portfolio: portfolio.to_owned(), subject: Some(subject(who)) };
        let found = self.members().get_member(request).await?.into_inner();
        Ok(found.member.expect("a member"))
    }

    /// Adds one member; the outcome of this one entry.
    pub async fn add_member(
        &self,
        portfolio: &str,
        who: &str,
        role: &str,
    ) -> Result<v1::AddMemberOutcome, Status> {
        let request = v1::AddMembersRequest {
            portfolio: portfolio.to_owned(),
            members: vec![member_spec(who)],
            role: role.to_owned(),
            ..v1::AddMembersRequest::default()
        };
        let mut added = self.members().add_members(request).await?.into_inner();
        assert_eq!(added.outcomes.len(), 1, "one entry, one outcome");
        Ok(added.outcomes.remove(0))
    }

    pub async fn remove_member(
        &self,
        portfolio: &str,
        who: &str,
    ) -> Result<v1::RemoveMemberResponse, Status> {
        let request = v1::RemoveMemberRequest {
            portfolio: portfolio.to_owned(),
            subject: Some(subject(who)),
            ..v1::RemoveMemberRequest::default()
        };
        Ok(self.members().remove_member(request).await?.into_inner())
    }
}

/// `user:ann`, `group:core` or `service_account:ci` on the wire.
pub fn subject(text: &str) -> v1::Subject {
    use v1::subject::Kind;
    let kind = match text.parse().expect("a subject") {
        domain::Subject::User(id) => Kind::User(id.to_string()),
        domain::Subject::Group(id) => Kind::Group(id.to_string()),
        domain::Subject::ServiceAccount(id) => Kind::ServiceAccount(id.to_string()),
    };
    v1::Subject { kind: Some(kind) }
}

/// The same for whom to add; what has an `@` is an e-mail address.
pub fn member_spec(text: &str) -> v1::MemberSpec {
    use v1::member_spec::Kind;
    if text.contains('@') {
        return v1::MemberSpec { kind: Some(Kind::Email(text.to_owned())) };
    }
    let kind = match subject(text).kind.expect("a kind") {
        v1::subject::Kind::User(id) => Kind::User(id),
        v1::subject::Kind::Group(id) => Kind::Group(id),
        v1::subject::Kind::ServiceAccount(id) => Kind::ServiceAccount(id),
    };
    v1::MemberSpec { kind: Some(kind) }
}

/// The code and the reason of a refusal.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("a refusal");
    (status.code(), reason(&status))
}

/// `ErrorInfo.reason`; every error has one.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("{status:?} has an ErrorInfo"));
    assert_eq!(info.domain, "portcullis");
    info.reason.clone()
}

/// The paths of the fields at fault.
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|request| request.field_violations.clone());
    violations.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}
