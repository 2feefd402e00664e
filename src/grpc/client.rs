//! Our own client: the one place of the command line that knows tonic.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

pub use super::client_tls::ClientTls;
use super::{client_tls, code};
use crate::domain::Subject;
use crate::proto::v1;
use crate::proto::v1::access_settings_service_client::AccessSettingsServiceClient;
use crate::proto::v1::directory_service_client::DirectoryServiceClient;
use crate::proto::v1::event_service_client::EventServiceClient;
use crate::proto::v1::item_service_client::ItemServiceClient;
use crate::proto::v1::membership_service_client::MembershipServiceClient;
use crate::proto::v1::policy_service_client::PolicyServiceClient;
use crate::proto::v1::portfolio_service_client::PortfolioServiceClient;
use crate::proto::v1::role_service_client::RoleServiceClient;

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

/// Whether nobody can read along on the way to a server, as [`Client::connect`] takes its address:
/// the connection is encrypted, or does not leave this machine. Of an address that is none, no.
#[must_use]
pub fn is_private(server: &str) -> bool {
    let plain = match server.split_once("://") {
        Some(("https", _)) => return true,
        Some(("http", rest)) => rest,
        Some(_) => return false,
        None => server,
    };
    let Ok(uri) = format!("http://{plain}").parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
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
    /// What the reason is about, by name, as the reason's documentation says.
    pub metadata: BTreeMap<String, String>,
    /// The malformed fields: path, and what is accepted.
    pub violations: Vec<(String, String)>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Client {
    /// Connects to `http://host:port` or `https://host:port`; without a scheme it is not encrypted.
    /// No actor: the system.
    ///
    /// # Errors
    /// The address is none, nobody answers there within five seconds, or one of the two does not
    /// trust the other.
    pub async fn connect(
        server: &str,
        actor: Option<&Subject>,
        tls: &ClientTls,
    ) -> Result<Self, CallError> {
        let (server, encrypted) = match server.split_once("://") {
            None => (format!("http://{server}"), false),
            Some(("http", _)) => (server.to_owned(), false),
            Some(("https", _)) => (server.to_owned(), true),
            Some(_) => return Err(CallError::address(server, "neither `http` nor `https`")),
        };
        if tls.is_set() && !encrypted {
            let why = "certificates are for encrypted connections, `https://`";
            return Err(CallError::address(&server, why));
        }
        // An id has no character that a header could not carry, so this never fails.
        let actor = actor.and_then(|actor| actor.to_string().parse().ok());
        let mut endpoint = Endpoint::from_shared(server.clone())
            .map_err(|error| CallError::address(&server, &error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true);
        if encrypted {
            let configured = endpoint.tls_config(tls.config());
            endpoint = configured.map_err(|error| CallError::unreachable(&server, &error))?;
        }
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

    /// Asks once, without trying again, and tells the gRPC code: for who measures answers.
    pub async fn check_permission_once(&self, request: v1::CheckPermissionRequest) -> &'static str {
        let mut service = PolicyServiceClient::new(self.channel.clone());
        outcome(&service.check_permission(self.request(request)).await)
    }

    /// The same for many questions; that some of them were refused is no failure of the call.
    pub async fn batch_check_permissions_once(
        &self,
        request: v1::BatchCheckPermissionsRequest,
    ) -> &'static str {
        let mut service = PolicyServiceClient::new(self.channel.clone());
        outcome(&service.batch_check_permissions(self.request(request)).await)
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
    PolicyServiceClient: explain_permission(ExplainPermissionRequest) -> ExplainPermissionResponse;
    PolicyServiceClient:
        list_accessible_portfolios(ListAccessiblePortfoliosRequest)
            -> ListAccessiblePortfoliosResponse;
    PortfolioServiceClient: create_portfolio(CreatePortfolioRequest) -> CreatePortfolioResponse;
    PortfolioServiceClient: get_portfolio(GetPortfolioRequest) -> GetPortfolioResponse;
    PortfolioServiceClient: list_portfolios(ListPortfoliosRequest) -> ListPortfoliosResponse;
    PortfolioServiceClient: update_portfolio(UpdatePortfolioRequest) -> UpdatePortfolioResponse;
    PortfolioServiceClient: move_portfolio(MovePortfolioRequest) -> MovePortfolioResponse;
    PortfolioServiceClient: delete_portfolio(DeletePortfolioRequest) -> DeletePortfolioResponse;
    AccessSettingsServiceClient:
        get_access_settings(GetAccessSettingsRequest) -> GetAccessSettingsResponse;
    AccessSettingsServiceClient:
        update_access_settings(UpdateAccessSettingsRequest) -> UpdateAccessSettingsResponse;
    AccessSettingsServiceClient:
        link_access_settings(LinkAccessSettingsRequest) -> LinkAccessSettingsResponse;
    AccessSettingsServiceClient:
        unlink_access_settings(UnlinkAccessSettingsRequest) -> UnlinkAccessSettingsResponse;
    AccessSettingsServiceClient:
        compare_access_settings(CompareAccessSettingsRequest) -> CompareAccessSettingsResponse;
    MembershipServiceClient: add_members(AddMembersRequest) -> AddMembersResponse;
    MembershipServiceClient: get_member(GetMemberRequest) -> GetMemberResponse;
    MembershipServiceClient: list_members(ListMembersRequest) -> ListMembersResponse;
    MembershipServiceClient: update_member(UpdateMemberRequest) -> UpdateMemberResponse;
    MembershipServiceClient: remove_member(RemoveMemberRequest) -> RemoveMemberResponse;
    DirectoryServiceClient:
        create_organization(CreateOrganizationRequest) -> CreateOrganizationResponse;
    DirectoryServiceClient: get_organization(GetOrganizationRequest) -> GetOrganizationResponse;
    DirectoryServiceClient:
        update_organization(UpdateOrganizationRequest) -> UpdateOrganizationResponse;
    DirectoryServiceClient: upsert_users(UpsertUsersRequest) -> UpsertUsersResponse;
    DirectoryServiceClient: get_user(GetUserRequest) -> GetUserResponse;
    DirectoryServiceClient: list_users(ListUsersRequest) -> ListUsersResponse;
    DirectoryServiceClient: deactivate_user(DeactivateUserRequest) -> DeactivateUserResponse;
    DirectoryServiceClient: reactivate_user(ReactivateUserRequest) -> ReactivateUserResponse;
    DirectoryServiceClient: set_site_role(SetSiteRoleRequest) -> SetSiteRoleResponse;
    DirectoryServiceClient: set_affiliation(SetAffiliationRequest) -> SetAffiliationResponse;
    DirectoryServiceClient:
        remove_affiliation(RemoveAffiliationRequest) -> RemoveAffiliationResponse;
    DirectoryServiceClient:
        set_function_ceiling(SetFunctionCeilingRequest) -> SetFunctionCeilingResponse;
    DirectoryServiceClient:
        list_function_ceilings(ListFunctionCeilingsRequest) -> ListFunctionCeilingsResponse;
    DirectoryServiceClient:
        delete_function_ceiling(DeleteFunctionCeilingRequest) -> DeleteFunctionCeilingResponse;
    DirectoryServiceClient:
        upsert_service_accounts(UpsertServiceAccountsRequest) -> UpsertServiceAccountsResponse;
    DirectoryServiceClient:
        list_service_accounts(ListServiceAccountsRequest) -> ListServiceAccountsResponse;
    DirectoryServiceClient:
        deactivate_service_account(DeactivateServiceAccountRequest)
            -> DeactivateServiceAccountResponse;
    DirectoryServiceClient: upsert_group(UpsertGroupRequest) -> UpsertGroupResponse;
    DirectoryServiceClient: get_group(GetGroupRequest) -> GetGroupResponse;
    DirectoryServiceClient: list_groups(ListGroupsRequest) -> ListGroupsResponse;
    DirectoryServiceClient: delete_group(DeleteGroupRequest) -> DeleteGroupResponse;
    DirectoryServiceClient: add_group_members(AddGroupMembersRequest) -> AddGroupMembersResponse;
    DirectoryServiceClient:
        remove_group_members(RemoveGroupMembersRequest) -> RemoveGroupMembersResponse;
    RoleServiceClient: list_roles(ListRolesRequest) -> ListRolesResponse;
    RoleServiceClient: create_role(CreateRoleRequest) -> CreateRoleResponse;
    RoleServiceClient: update_role(UpdateRoleRequest) -> UpdateRoleResponse;
    RoleServiceClient: delete_role(DeleteRoleRequest) -> DeleteRoleResponse;
    ItemServiceClient: register_item(RegisterItemRequest) -> RegisterItemResponse;
    ItemServiceClient: get_item(GetItemRequest) -> GetItemResponse;
    ItemServiceClient: list_items(ListItemsRequest) -> ListItemsResponse;
    ItemServiceClient: update_item(UpdateItemRequest) -> UpdateItemResponse;
    ItemServiceClient: delete_item(DeleteItemRequest) -> DeleteItemResponse;
    EventServiceClient: list_audit_events(ListAuditEventsRequest) -> ListAuditEventsResponse;
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
            hint: Some("write `http://127.0.0.1:50051` or `https://host:port`".to_owned()),
            ..Self::default()
        }
    }

    fn unreachable(server: &str, error: &(dyn Error + 'static)) -> Self {
        let refused = causes(error).any(|cause| {
            let io = cause.downcast_ref::<std::io::Error>();
            io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
        });
        let (message, hint) = match client_tls::explain(error) {
            Some((what, hint)) => (format!("the server at `{server}`: {what}"), hint),
            None if refused => (
                format!("no server answers at `{server}`"),
                "start one with `portcullis serve`, or name another with `--server`",
            ),
            None => {
                let why = causes(error).last().map(ToString::to_string).unwrap_or_default();
                let hint = match server.starts_with("http:") {
                    true => "write `https://` if it encrypts its connections",
                    false => "name another server with `--server`",
                };
                (format!("the server at `{server}` cannot be reached: {why}"), hint)
            }
        };
        Self { code: "UNAVAILABLE", message, hint: Some(hint.to_owned()), ..Self::default() }
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
            metadata: info
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            violations: violations.map(|v| (v.field.clone(), v.description.clone())).collect(),
            hint: hint(info.map(|info| info.reason.as_str()), retry),
        }
    }
}

fn outcome<T>(answer: &Result<Response<T>, Status>) -> &'static str {
    code::name(answer.as_ref().map_or_else(Status::code, |_| Code::Ok))
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

    #[test]
    fn a_connection_is_private_if_it_is_encrypted_or_stays_here() {
        for private in [
            "https://portcullis.example:50051",
            "http://127.0.0.1:50051",
            "http://127.9.9.9",
            "http://[::1]:50051",
            "http://LocalHost:50051",
            "localhost:50051",
            "127.0.0.1:50051",
        ] {
            assert!(is_private(private), "{private}");
        }
        for open in [
            "http://portcullis.example:50051",
            "portcullis.example:50051",
            "http://10.0.0.1",
            "http://0.0.0.0:50051",
            "http://[2001:db8::1]:50051",
            "http://localhost.example",
            "http://localhost@portcullis.example",
            "http://127.0.0.1.example",
            "ftp://localhost",
            "",
        ] {
            assert!(!is_private(open), "{open}");
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_it_says_how_to_start_a_server() {
        // Bound and dropped: nobody listens on this port any more.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error =
            Client::connect(&port.to_string(), None, &ClientTls::default()).await.unwrap_err();
        assert!(error.message.starts_with("no server answers at"), "{error}");
        assert!(error.to_string().contains("`portcullis serve`"), "{error}");
        let tls = ClientTls::default();
        let error = Client::connect("ftp://localhost:1", None, &tls).await.unwrap_err();
        assert!(error.to_string().contains("neither `http` nor `https`"), "{error}");
    }
}
