//! Our own client: the one place of the command line that knows tonic.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use super::code;
use crate::domain::Subject;
use crate::proto::v1;
use crate::proto::v1::access_settings_service_client::AccessSettingsServiceClient;
use crate::proto::v1::directory_service_client::DirectoryServiceClient;
use crate::proto::v1::membership_service_client::MembershipServiceClient;
use crate::proto::v1::policy_service_client::PolicyServiceClient;
use crate::proto::v1::portfolio_service_client::PortfolioServiceClient;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a call is tried that the server asks to try again. Writes carry a request id, so that
/// none is done twice (BAD-3).
const ATTEMPTS: u32 = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A connection to a server, on behalf of an actor. Cheap to clone; calls run side by side.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    server: String,
    actor: Option<AsciiMetadataValue>,
    /// `Bearer ...`, marked as sensitive.
    authorization: Option<AsciiMetadataValue>,
}

/// A call that did not succeed, told as a person would want it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallError {
    /// The gRPC code, for example `NOT_FOUND`.
    pub code: &'static str,
    /// The reason from the public list (`ErrorReason` without its prefix), if the server gave one.
    pub reason: Option<String>,
    /// What was wrong.
    pub message: String,
    /// The malformed fields: path, and what is accepted.
    pub violations: Vec<(String, String)>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Client {
    /// Connects to `http://host:port`; the scheme may be left out. No actor: the system.
    ///
    /// # Errors
    /// The address is none, or nobody answers there within five seconds.
    pub async fn connect(server: &str, actor: Option<&Subject>) -> Result<Self, CallError> {
        let server = match server.split_once("://") {
            None => format!("http://{server}"),
            Some(("http", _)) => server.to_owned(),
            Some(_) => return Err(CallError::address(server, "only `http` is supported")),
        };
        // An id has no character that a header could not carry, so this never fails.
        let actor = actor.and_then(|actor| actor.to_string().parse().ok());
        let endpoint = Endpoint::from_shared(server.clone())
            .map_err(|error| CallError::address(&server, &error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true);
        match endpoint.connect().await {
            Ok(channel) => Ok(Self { channel, server, actor, authorization: None }),
            Err(error) => Err(CallError::unreachable(&server, &error)),
        }
    }

    /// The same client, which sends this bearer token with each call.
    ///
    /// # Errors
    /// The token has characters that metadata cannot carry.
    pub fn with_token(mut self, token: &str) -> Result<Self, CallError> {
        let value = format!("Bearer {token}").parse::<AsciiMetadataValue>();
        let mut value = value.map_err(|_| CallError {
            code: "INVALID_ARGUMENT",
            // The token is not repeated, even if it is none.
            message: "`--token` is no token: it has characters that cannot be sent".to_owned(),
            ..CallError::default()
        })?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// Whether the server says that it can answer.
    ///
    /// # Errors
    /// It could not be asked.
    pub async fn is_serving(&self) -> Result<bool, CallError> {
        let request = self.request(HealthCheckRequest { service: String::new() });
        let response = HealthClient::new(self.channel.clone()).check(request).await;
        let status = response.map_err(|status| self.error(&status))?.into_inner().status;
        Ok(status == ServingStatus::Serving as i32)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        if let Some(actor) = &self.actor {
            request.metadata_mut().insert("portcullis-actor", actor.clone());
        }
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }

    fn error(&self, status: &Status) -> CallError {
        let lost = status.get_error_details().error_info().is_none() && status.source().is_some();
        match (status.code(), status.source()) {
            (Code::Unavailable | Code::Unknown, Some(error)) if lost => {
                CallError::unreachable(&self.server, error)
            }
            _ => CallError::from_status(status),
        }
    }
}

macro_rules! calls {
    ($($service:ident: $name:ident($request:ident) -> $response:ident;)*) => {
        /// The calls, each as its RPC is documented in `proto/`.
        impl Client {
            $(
                #[doc = concat!("Calls the RPC of ", stringify!($request), ".")]
                ///
                /// # Errors
                /// As the RPC says, or nobody answered.
                pub async fn $name(
                    &self,
                    request: v1::$request,
                ) -> Result<v1::$response, CallError> {
                    let mut service = $service::new(self.channel.clone());
                    for _ in 1..ATTEMPTS {
                        match service.$name(self.request(request.clone())).await {
                            Ok(response) => return Ok(response.into_inner()),
                            Err(status) => match status.get_error_details().retry_info() {
                                Some(info) => wait(info.retry_delay).await,
                                None => return Err(self.error(&status)),
                            },
                        }
                    }
                    let response = service.$name(self.request(request)).await;
                    response.map(Response::into_inner).map_err(|status| self.error(&status))
                }
            )*
        }
    };
}

calls! {
    PolicyServiceClient: check_permission(CheckPermissionRequest) -> CheckPermissionResponse;
    PortfolioServiceClient: create_portfolio(CreatePortfolioRequest) -> CreatePortfolioResponse;
    PortfolioServiceClient: get_portfolio(GetPortfolioRequest) -> GetPortfolioResponse;
    AccessSettingsServiceClient:
        get_access_settings(GetAccessSettingsRequest) -> GetAccessSettingsResponse;
    AccessSettingsServiceClient:
        update_access_settings(UpdateAccessSettingsRequest) -> UpdateAccessSettingsResponse;
    MembershipServiceClient: add_members(AddMembersRequest) -> AddMembersResponse;
    MembershipServiceClient: get_member(GetMemberRequest) -> GetMemberResponse;
    MembershipServiceClient: update_member(UpdateMemberRequest) -> UpdateMemberResponse;
    DirectoryServiceClient:
        create_organization(CreateOrganizationRequest) -> CreateOrganizationResponse;
    DirectoryServiceClient: get_organization(GetOrganizationRequest) -> GetOrganizationResponse;
    DirectoryServiceClient: upsert_users(UpsertUsersRequest) -> UpsertUsersResponse;
    DirectoryServiceClient: get_user(GetUserRequest) -> GetUserResponse;
    DirectoryServiceClient: upsert_group(UpsertGroupRequest) -> UpsertGroupResponse;
    DirectoryServiceClient: get_group(GetGroupRequest) -> GetGroupResponse;
    DirectoryServiceClient: add_group_members(AddGroupMembersRequest) -> AddGroupMembersResponse;
}

impl CallError {
    /// Whether the server gave this reason.
    #[must_use]
    pub fn is(&self, reason: v1::ErrorReason) -> bool {
        self.reason.as_deref() == reason_name(reason)
    }

    /// Whether a consistency token is to blame, which is nothing about the question itself.
    #[must_use]
    pub fn is_about_token(&self) -> bool {
        self.is(v1::ErrorReason::TokenMalformed)
    }

    fn address(server: &str, why: &str) -> Self {
        Self {
            code: "INVALID_ARGUMENT",
            message: format!("`--server {server}` is no address of a server: {why}"),
            hint: Some("write `http://127.0.0.1:50051`".to_owned()),
            ..Self::default()
        }
    }

    fn unreachable(server: &str, error: &(dyn Error + 'static)) -> Self {
        let refused = causes(error).any(|cause| {
            let io = cause.downcast_ref::<std::io::Error>();
            io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
        });
        let why = causes(error).last().map(ToString::to_string).unwrap_or_default();
        Self {
            code: "UNAVAILABLE",
            message: match refused {
                true => format!("no server answers at `{server}`"),
                false => format!("the server at `{server}` cannot be reached: {why}"),
            },
            hint: Some(
                "start one with `portcullis serve`, or name another with `--server`".to_owned(),
            ),
            ..Self::default()
        }
    }

    fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let violations = details.bad_request().map(|request| &request.field_violations);
        let violations = violations.into_iter().flatten();
        let retry = details.retry_info().and_then(|info| info.retry_delay);
        Self {
            code: code::name(status.code()),
            reason: info.map(|info| info.reason.clone()),
            message: status.message().to_owned(),
            violations: violations.map(|v| (v.field.clone(), v.description.clone())).collect(),
            hint: hint(info.map(|info| info.reason.as_str()), retry),
        }
    }
}

/// Waits as long as the server asks, within reason.
#[allow(clippy::disallowed_methods, reason = "the server said for how long")]
async fn wait(delay: Option<Duration>) {
    tokio::time::sleep(delay.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)).await;
}

fn hint(reason: Option<&str>, retry: Option<Duration>) -> Option<String> {
    let retry = || retry.map(|delay| format!("try again in {} ms", delay.as_millis()));
    match reason {
        Some("PORTFOLIO_NOT_FOUND") => Some(
            "it may also be one that the actor may not list; without `--actor` you see all"
                .to_owned(),
        ),
        Some("CREDENTIAL_MISSING") => {
            Some("give a token with `--token-file FILE` or in PORTCULLIS_TOKEN".to_owned())
        }
        Some("ACTOR_UNKNOWN") => {
            Some("name somebody of the directory, or leave `--actor` out".to_owned())
        }
        _ => retry(),
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_deref().unwrap_or(self.code), self.message)?;
        let said = |text: &str| self.message.contains(text);
        for (field, description) in self.violations.iter().filter(|(_, text)| !said(text)) {
            write!(f, "\n  `{field}`: {description}")?;
        }
        self.hint.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl Error for CallError {}

/// The name of a reason as clients see it; none for the unspecified one.
#[must_use]
pub fn reason_name(reason: v1::ErrorReason) -> Option<&'static str> {
    reason.as_str_name().strip_prefix("ERROR_REASON_").filter(|name| *name != "UNSPECIFIED")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn an_error_reads_as_reason_message_fields_and_hint() {
        let mut details = ErrorDetails::with_error_info("INVALID_FIELD", "portcullis", []);
        details.add_bad_request_violation("users[3].id", "must not be empty");
        let status = Status::with_error_details(Code::InvalidArgument, "one bad field", details);
        let error = CallError::from_status(&status);
        assert!(error.is(v1::ErrorReason::InvalidField));
        assert_eq!(
            error.to_string(),
            "INVALID_FIELD: one bad field\n  `users[3].id`: must not be empty"
        );
    }

    #[test]
    fn an_error_without_details_shows_its_code() {
        let error = CallError::from_status(&Status::new(Code::Unimplemented, "no such call"));
        assert_eq!(error.to_string(), "UNIMPLEMENTED: no such call");
    }

    #[test]
    fn a_portfolio_that_is_not_found_may_be_an_invisible_one() {
        let info = ErrorDetails::with_error_info("PORTFOLIO_NOT_FOUND", "portcullis", []);
        let status = Status::with_error_details(Code::NotFound, "no `apollo`", info);
        let error = CallError::from_status(&status);
        assert!(error.to_string().contains("\nhint: it may also be"), "{error}");
    }

    #[tokio::test]
    async fn where_nobody_listens_it_says_how_to_start_a_server() {
        // Bound and dropped: nobody listens on this port any more.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Client::connect(&port.to_string(), None).await.unwrap_err();
        assert!(error.message.starts_with("no server answers at"), "{error}");
        assert!(error.to_string().contains("`portcullis serve`"), "{error}");
        let error = Client::connect("https://localhost:1", None).await.unwrap_err();
        assert!(error.to_string().contains("only `http`"), "{error}");
    }
}
