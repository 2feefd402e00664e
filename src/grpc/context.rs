//! Who asks, on whose behalf, for how long, and how to know the request again.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use prost::Message;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tonic::{Extensions, Request};
use uuid::Uuid;

use crate::app::{Context, WriteContext};
use crate::domain::Subject;
use crate::domain::caller::{Actor, Caller, CallerKind, Principal};
use crate::domain::refusal::{Reason, Refusal};
use crate::proto::v1;

/// Names the actor: `user:ann` or `service_account:ci`. A name that is ready to be looked up, as
/// every call does.
pub(super) static ACTOR: HeaderName = HeaderName::from_static("portcullis-actor");
/// The client's deadline: at most eight digits and a unit.
static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// The longest request id, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// How much of the time a client waits is kept for the way of the answer, at the most.
const RETURN_TIME: Duration = Duration::from_millis(20);
/// How long after its deadline a call may still be there.
const GRACE: Duration = Duration::from_secs(5);

/// When a call came, and for how long its client waits from then on: what is done before the call
/// is read, such as finding out who calls, takes of the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    time: Instant,
    timeout: Option<Duration>,
}

impl Arrival {
    /// Of a call that comes now.
    pub(super) fn now(headers: &HeaderMap) -> Self {
        let timeout = headers.get(&TIMEOUT).and_then(|value| parse_timeout(value.to_str().ok()?));
        Self { time: Instant::now(), timeout }
    }

    /// When nobody waits for anything of it any more. A call that has arrived whole ends by its
    /// deadline by itself.
    pub(super) fn abandoned(self, most: Duration) -> Instant {
        self.time + self.timeout.map_or(most, |given| given.min(most)) + GRACE
    }

    /// When the client stops waiting, less the way back; never later than `most` after the arrival.
    pub(super) fn deadline(self, most: Duration) -> Instant {
        let timeout = self.timeout.map_or(most, |given| given.min(most));
        self.time + timeout.saturating_sub((timeout / 10).min(RETURN_TIME))
    }
}

/// What the layer found out about a call, among the request's extensions. A call that did not pass
/// it has none, and is nobody's.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    pub(super) caller: Caller,
    pub(super) arrival: Arrival,
}

/// A request that writes: it can be known again by its id (BAD-3).
pub(super) trait WriteRequest: Message {
    /// The method, which is part of what is known again.
    const METHOD: &'static str;

    /// The id that the client chose.
    fn request_id(&mut self) -> &mut String;
}

macro_rules! write_requests {
    ($($request:ident => $method:literal),* $(,)?) => {
        $(impl WriteRequest for v1::$request {
            const METHOD: &'static str = concat!("/portcullis.v1.", $method);

            fn request_id(&mut self) -> &mut String {
                &mut self.request_id
            }
        })*
    };
}

write_requests! {
    RegisterItemRequest => "ItemService/RegisterItem",
    UpdateItemRequest => "ItemService/UpdateItem",
    DeleteItemRequest => "ItemService/DeleteItem",
    RegisterPermissionRequest => "RoleService/RegisterPermission",
    CreateRoleRequest => "RoleService/CreateRole",
    UpdateRoleRequest => "RoleService/UpdateRole",
    DeleteRoleRequest => "RoleService/DeleteRole",
    UpdateOrganizationRequest => "DirectoryService/UpdateOrganization",
    DeleteUserRequest => "DirectoryService/DeleteUser",
    UpsertServiceAccountsRequest => "DirectoryService/UpsertServiceAccounts",
    DeactivateServiceAccountRequest => "DirectoryService/DeactivateServiceAccount",
    DeleteGroupRequest => "DirectoryService/DeleteGroup",
    UpdatePortfolioRequest => "PortfolioService/UpdatePortfolio",
    CreatePortfolioRequest => "PortfolioService/CreatePortfolio",
    DeletePortfolioRequest => "PortfolioService/DeletePortfolio",
    ArchivePortfolioRequest => "PortfolioService/ArchivePortfolio",
    RestorePortfolioRequest => "PortfolioService/RestorePortfolio",
    TransferOwnershipRequest => "PortfolioService/TransferOwnership",
    UpdateAccessSettingsRequest => "AccessSettingsService/UpdateAccessSettings",
    ApprovePrivacyRequestRequest => "AccessSettingsService/ApprovePrivacyRequest",
    RejectPrivacyRequestRequest => "AccessSettingsService/RejectPrivacyRequest",
    CancelPrivacyRequestRequest => "AccessSettingsService/CancelPrivacyRequest",
    LinkAccessSettingsRequest => "AccessSettingsService/LinkAccessSettings",
    UnlinkAccessSettingsRequest => "AccessSettingsService/UnlinkAccessSettings",
    MovePortfolioRequest => "PortfolioService/MovePortfolio",
    AddMembersRequest => "MembershipService/AddMembers",
    UpdateMemberRequest => "MembershipService/UpdateMember",
    RemoveMemberRequest => "MembershipService/RemoveMember",
    CreateOrganizationRequest => "DirectoryService/CreateOrganization",
    UpsertUsersRequest => "DirectoryService/UpsertUsers",
    DeactivateUserRequest => "DirectoryService/DeactivateUser",
    ReactivateUserRequest => "DirectoryService/ReactivateUser",
    SetSiteRoleRequest => "DirectoryService/SetSiteRole",
    SetAffiliationRequest => "DirectoryService/SetAffiliation",
    RemoveAffiliationRequest => "DirectoryService/RemoveAffiliation",
    SetFunctionCeilingRequest => "DirectoryService/SetFunctionCeiling",
    DeleteFunctionCeilingRequest => "DirectoryService/DeleteFunctionCeiling",
    UpsertGroupRequest => "DirectoryService/UpsertGroup",
    AddGroupMembersRequest => "DirectoryService/AddGroupMembers",
    RemoveGroupMembersRequest => "DirectoryService/RemoveGroupMembers",
}

/// The context of a read, and its message.
pub(super) fn read<T>(request: Request<T>, most: Duration) -> Result<(Context, T), Refusal> {
    let (metadata, extensions, message) = request.into_parts();
    Ok((context(metadata.as_ref(), &extensions, most)?, message))
}

/// The context of a write, and its message, now without the request id.
pub(super) fn write<T: WriteRequest>(
    request: Request<T>,
    most: Duration,
) -> Result<(WriteContext, T), Refusal> {
    let (metadata, extensions, mut message) = request.into_parts();
    let Context { principal, deadline } = context(metadata.as_ref(), &extensions, most)?;
    let request_id = request_id(std::mem::take(message.request_id()))?;
    let context = WriteContext {
        fingerprint: fingerprint(&principal.actor, &message),
        principal,
        request_id,
        deadline,
    };
    Ok((context, message))
}

fn context(
    metadata: &HeaderMap,
    extensions: &Extensions,
    most: Duration,
) -> Result<Context, Refusal> {
    // Nobody was asked who calls: denied.
    let missing = || Refusal::new(Reason::CredentialMissing, "nobody knows who calls");
    let Admitted { caller, arrival } = extensions.get().ok_or_else(missing)?;
    let principal = Principal { caller: caller.clone(), actor: actor(metadata, caller)? };
    Ok(Context { principal, deadline: arrival.deadline(most) })
}

/// On whose behalf: a person's own, whatever a service says.
fn actor(metadata: &HeaderMap, caller: &Caller) -> Result<Actor, Refusal> {
    let named = named_actor(metadata)?;
    let CallerKind::EndUser(person) = caller.kind() else {
        return Ok(named.unwrap_or(Actor::System));
    };
    let own = Actor::User(person.clone());
    match named {
        Some(other) if other != own => {
            let message = format!("`{own}` cannot act for `{other}`: people act for themselves");
            Err(Refusal::new(Reason::ActorForbidden, message).with("actor", other))
        }
        _ => Ok(own),
    }
}

fn named_actor(metadata: &HeaderMap) -> Result<Option<Actor>, Refusal> {
    let mut values = metadata.get_all(&ACTOR).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed = |what: &str| {
        let message = format!(
            "the metadata key `{ACTOR}` {what}; write `user:ann` or `service_account:ci`, once"
        );
        Refusal::new(Reason::ActorMalformed, message)
    };
    // Two actors: whichever we took, somebody on the way may have meant the other.
    if values.next().is_some() {
        return Err(malformed("is there more than once"));
    }
    let text = value.to_str().map_err(|_| malformed("is no text"))?;
    match text.parse() {
        Ok(Subject::User(id)) => Ok(Some(Actor::User(id))),
        Ok(Subject::ServiceAccount(id)) => Ok(Some(Actor::ServiceAccount(id))),
        Ok(Subject::Group(_)) => Err(malformed("names a group, which cannot act")),
        Err(_) => Err(malformed("names no actor")),
    }
}

fn request_id(given: String) -> Result<String, Refusal> {
    if given.is_empty() {
        return Ok(Uuid::now_v7().to_string());
    }
    let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if given.len() > MAX_REQUEST_ID_BYTES || !given.bytes().all(printable) {
        let description =
            format!("must be at most {MAX_REQUEST_ID_BYTES} bytes of printable ASCII");
        return Err(Refusal::field("request_id", description));
    }
    Ok(given)
}

/// What a retry must repeat: method, actor, and every field but the request id.
fn fingerprint<T: WriteRequest>(actor: &Actor, message: &T) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [T::METHOD, &actor.to_string()] {
        hash.update(part.as_bytes());
        // Neither contains a NUL: the parts cannot run into one another.
        hash.update([0]);
    }
    hash.update(message.encode_to_vec());
    hash.finalize().into()
}

/// Reads `grpc-timeout`, as the gRPC protocol defines it; malformed ones count as none.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || number.len() > 8 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted() -> Admitted {
        Admitted { caller: Caller::trusted(), arrival: Arrival::now(&HeaderMap::new()) }
    }

    fn with_actor(values: &[&str]) -> Result<Actor, Refusal> {
        called_by(&Caller::trusted(), values)
    }

    fn called_by(caller: &Caller, values: &[&str]) -> Result<Actor, Refusal> {
        let mut metadata = HeaderMap::new();
        for value in values {
            metadata.append(&ACTOR, value.parse().unwrap());
        }
        actor(&metadata, caller)
    }

    #[test]
    fn aut_3_a_person_acts_for_themselves_alone() {
        let kind = CallerKind::EndUser("ann".parse().unwrap());
        let ann = Caller::new("user:ann".to_owned(), kind);
        let own = Actor::User("ann".parse().unwrap());
        assert_eq!(called_by(&ann, &[]), Ok(own.clone()));
        assert_eq!(called_by(&ann, &["user:ann"]), Ok(own));
        for other in ["user:bob", "service_account:ann"] {
            let refusal = called_by(&ann, &[other]).unwrap_err();
            assert_eq!(refusal.reason, Reason::ActorForbidden, "{other}");
        }
        assert_eq!(called_by(&ann, &["ann"]).unwrap_err().reason, Reason::ActorMalformed);
    }

    #[test]
    fn aut_2_the_actor_is_a_user_or_a_service_account_or_the_system() {
        assert_eq!(with_actor(&[]), Ok(Actor::System));
        assert_eq!(with_actor(&["user:ann"]), Ok(Actor::User("ann".parse().unwrap())));
        let service = Actor::ServiceAccount("ci".parse().unwrap());
        assert_eq!(with_actor(&["service_account:ci"]), Ok(service));
        for malformed in [&["ann"][..], &[""], &["group:a"], &["user:"], &["user:ann", "user:ann"]]
        {
            let refusal = with_actor(malformed).unwrap_err();
            assert_eq!(refusal.reason, Reason::ActorMalformed, "{malformed:?}");
        }
    }

    #[test]
    fn bad_3_the_fingerprint_ignores_the_request_id_and_nothing_else() {
        let print = |user: &str, request_id: &str, actor: Option<&str>| {
            let mut request = Request::new(v1::DeactivateUserRequest {
                request_id: request_id.to_owned(),
                user: user.to_owned(),
            });
            request.extensions_mut().insert(admitted());
            if let Some(actor) = actor {
                request.metadata_mut().insert("portcullis-actor", actor.parse().unwrap());
            }
            write(request, Duration::from_secs(1)).unwrap().0
        };
        let first = print("ann", "1", None);
        assert_eq!(first.request_id, "1");
        assert_eq!(first.fingerprint, print("ann", "2", None).fingerprint);
        assert_ne!(first.fingerprint, print("bob", "1", None).fingerprint);
        assert_ne!(first.fingerprint, print("ann", "1", Some("user:eve")).fingerprint);
        let generated = (print("ann", "", None), print("ann", "", None));
        assert_ne!(generated.0.request_id, generated.1.request_id);
        let other = v1::ReactivateUserRequest { request_id: String::new(), user: "ann".to_owned() };
        let mut other = Request::new(other);
        other.extensions_mut().insert(admitted());
        let other = write(other, Duration::from_secs(1)).unwrap().0;
        assert_ne!(first.fingerprint, other.fingerprint);
    }

    #[test]
    fn aut_2_a_call_of_nobody_is_denied() {
        let second = Duration::from_secs(1);
        let refused = read(Request::new(()), second).unwrap_err();
        assert_eq!(refused.reason, Reason::CredentialMissing);
        let write_of_nobody = Request::new(v1::DeactivateUserRequest::default());
        let refused = write(write_of_nobody, second).unwrap_err();
        assert_eq!(refused.reason, Reason::CredentialMissing);
    }

    #[test]
    fn bad_1_a_request_id_is_short_and_printable() {
        assert!(request_id("a".repeat(128)).is_ok());
        assert!(request_id("a".repeat(129)).is_err());
        assert!(request_id("a\0".to_owned()).is_err());
        assert!(request_id("ä".to_owned()).is_err());
    }

    #[test]
    fn the_time_before_a_call_is_read_is_the_clients_too() {
        let most = Duration::from_secs(10);
        let mut headers = HeaderMap::new();
        headers.insert(&TIMEOUT, "2S".parse().unwrap());
        let mut arrival = Arrival::now(&headers);
        arrival.time -= Duration::from_secs(1);
        let mut request = Request::new(());
        request.extensions_mut().insert(Admitted { arrival, ..admitted() });
        let deadline = read(request, most).unwrap().0.deadline;
        assert_eq!(deadline, arrival.time + Duration::from_secs(2) - RETURN_TIME);
        arrival.timeout = None;
        assert_eq!(arrival.deadline(most), arrival.time + most - RETURN_TIME);
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(parse_timeout("1m"), Some(Duration::from_millis(1)));
        for malformed in ["", "S", "5", "5s", "123456789S", "+5S", "5ä"] {
            assert_eq!(parse_timeout(malformed), None, "{malformed}");
        }
    }
}
