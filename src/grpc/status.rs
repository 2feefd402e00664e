//! What went wrong, as clients see it. Nothing else makes a [`Status`].

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
use uuid::Uuid;

use crate::app::{self, StorageError};
use crate::authn::Refused;
use crate::domain::refusal::{Reason, Refusal};
use crate::proto::v1::{self, ErrorReason};

/// `ErrorInfo.domain` of every error of ours.
const DOMAIN: &str = "portcullis";
/// When to try again what may succeed then.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// The same for what an overload refused: other calls take the place that is free by then.
const OVERLOAD_RETRY_DELAY: Duration = Duration::from_millis(200);
/// The longest text in an error, in bytes: errors travel in headers, whose size is limited.
const MAX_TEXT_BYTES: usize = 2_048;

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let Refusal { reason, message, metadata, violations } = refusal;
        let (code, reason) = classify(reason);
        let message = clipped(message);
        let mut details = ErrorDetails::new();
        let resource = metadata.first().cloned();
        details.set_error_info(name(reason), DOMAIN, clipped_metadata(metadata));
        if !violations.is_empty() {
            let violations: Vec<FieldViolation> = violations
                .into_iter()
                .map(|violation| FieldViolation::new(violation.field, violation.description))
                .collect();
            details.set_bad_request(violations);
        }
        match (code, resource) {
            (Code::NotFound | Code::AlreadyExists, Some((kind, id))) => {
                details.set_resource_info(kind, clipped(id), "", message.as_str());
            }
            (Code::FailedPrecondition, resource) => {
                let subject = resource.map_or_else(String::new, |(_, id)| clipped(id));
                details.add_precondition_failure_violation(name(reason), subject, message.as_str());
            }
            _ => {}
        }
        Self::with_error_details(code, message, details)
    }
}

impl From<app::Error> for Status {
    fn from(error: app::Error) -> Self {
        match error {
            app::Error::Refused(refusal) => (*refusal).into(),
            app::Error::Storage(error) => from_storage(&error),
            app::Error::Overloaded => overloaded(),
        }
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        let reason = match refused {
            Refused::Missing => ErrorReason::CredentialMissing,
            Refused::Malformed(_) => ErrorReason::CredentialMalformed,
            Refused::Expired(_) => ErrorReason::CredentialExpired,
            Refused::Rejected(_) => ErrorReason::CredentialRejected,
            Refused::KeysUnavailable => {
                return passing(Code::Unavailable, ErrorReason::KeysUnavailable, message);
            }
        };
        Self::with_error_details(Code::Unauthenticated, message, error_info(reason, []))
    }
}

fn from_storage(error: &StorageError) -> Status {
    match error {
        StorageError::Unavailable(cause) => {
            // Not an error of ours; the feed reports an outage once, as such.
            tracing::debug!(error.cause = cause, "a call failed for want of the database");
            let message = "the database is unavailable; try again";
            passing(Code::Unavailable, ErrorReason::DatabaseUnavailable, message)
        }
        StorageError::PoolExhausted => {
            let message = "no database connection became free in time; try again";
            passing(Code::ResourceExhausted, ErrorReason::PoolExhausted, message)
        }
        StorageError::DeadlineExceeded => deadline_exceeded(),
        StorageError::RetriesExhausted(attempts) => {
            let message = format!("gave up after {attempts} attempts; try again");
            passing(Code::Aborted, ErrorReason::RetriesExhausted, message)
        }
        // An overtaken write is tried again until its attempts run out.
        StorageError::Corrupt { .. } | StorageError::Query(_) | StorageError::Overtaken => {
            internal(error)
        }
    }
}

/// The request's deadline ended before the answer was there.
pub(super) fn deadline_exceeded() -> Status {
    let message = "the deadline ended before the answer was there; if this was a write, it may \
                   have happened: retry it with the same request id";
    let details = error_info(ErrorReason::DeadlineExceeded, []);
    Status::with_error_details(Code::DeadlineExceeded, message, details)
}

/// A defect of ours. The cause is logged, here and nowhere else, under an incident id; the client
/// is told the id alone.
pub(super) fn internal(cause: &dyn std::fmt::Display) -> Status {
    let incident = Uuid::now_v7();
    tracing::error!(
        incident.id = %incident,
        error.cause = %cause,
        "a call failed by a defect of the service"
    );
    let details = error_info(ErrorReason::Internal, [("incident", incident.to_string())]);
    let message = format!("internal error; the service's log tells more of incident `{incident}`");
    Status::with_error_details(Code::Internal, message, details)
}

/// Too many calls wait; this one was not begun.
pub(super) fn overloaded() -> Status {
    let mut details = error_info(ErrorReason::Overloaded, []);
    details.set_retry_info(Some(OVERLOAD_RETRY_DELAY));
    let message = "the server is overloaded and did not begin with this; try again later";
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// The open stream of a server that is stopping.
pub(super) fn stopping() -> Status {
    Status::unavailable("the server is stopping; connect again")
}

/// What tonic itself found wrong with a request to one of our methods, in our terms (BAD-1).
pub(super) fn unreadable(status: &Status, max_message_bytes: usize) -> Option<Status> {
    match status.code() {
        // A message above the limit (BAD-2).
        Code::OutOfRange => {
            let message = format!("the message is too large; at most {max_message_bytes} bytes");
            let refusal = Refusal::new(Reason::LimitExceeded, message);
            Some(refusal.with("limit", max_message_bytes).into())
        }
        // Bytes that are no message of this type, or none at all.
        Code::Internal | Code::Unknown => {
            let message = format!("the request cannot be decoded: {}", status.message());
            Some(Refusal::new(Reason::InvalidField, message).into())
        }
        Code::Cancelled | Code::DeadlineExceeded => Some(deadline_exceeded()),
        _ => None,
    }
}

/// Why one entry of a batch was refused, for the response.
pub(super) fn refusal(refusal: Refusal) -> v1::Refusal {
    let (_, reason) = classify(refusal.reason);
    v1::Refusal { reason: reason.into(), message: refusal.message }
}

fn passing(code: Code, reason: ErrorReason, message: impl Into<String>) -> Status {
    let mut details = error_info(reason, []);
    details.set_retry_info(Some(RETRY_DELAY));
    Status::with_error_details(code, message, details)
}

fn error_info<const N: usize>(reason: ErrorReason, metadata: [(&str, String); N]) -> ErrorDetails {
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
    ErrorDetails::with_error_info(name(reason), DOMAIN, HashMap::from(metadata))
}

/// The name without the prefix that the language of protos wants.
fn name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

fn clipped_metadata(metadata: Vec<(String, String)>) -> HashMap<String, String> {
    metadata.into_iter().map(|(key, value)| (key, clipped(value))).collect()
}

fn clipped(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let whole = |at: &usize| text.is_char_boundary(*at);
        let end = (0..=MAX_TEXT_BYTES).rev().find(whole).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The public name of a reason, and the code that it comes with.
fn classify(reason: Reason) -> (Code, ErrorReason) {
    use ErrorReason as Public;
    let invalid = |public| (Code::InvalidArgument, public);
    let missing = |public| (Code::NotFound, public);
    let refused = |public| (Code::FailedPrecondition, public);
    let denied = |public| (Code::PermissionDenied, public);
    match reason {
        Reason::InvalidField => invalid(Public::InvalidField),
        Reason::InvalidEmail => invalid(Public::InvalidEmail),
        Reason::PermissionNameUnknown => invalid(Public::PermissionNameUnknown),
        Reason::TokenMalformed => invalid(Public::TokenMalformed),
        Reason::PageTokenInvalid => invalid(Public::PageTokenInvalid),
        Reason::RequestIdReused => invalid(Public::RequestIdReused),
        Reason::AtInThePast => invalid(Public::AtInThePast),
        Reason::LimitExceeded => invalid(Public::LimitExceeded),
        Reason::ActorMalformed => invalid(Public::ActorMalformed),
        Reason::OrganizationNotFound => missing(Public::OrganizationNotFound),
        Reason::PortfolioNotFound => missing(Public::PortfolioNotFound),
        Reason::UserNotFound => missing(Public::UserNotFound),
        Reason::GroupNotFound => missing(Public::GroupNotFound),
        Reason::ServiceAccountNotFound => missing(Public::ServiceAccountNotFound),
        Reason::RoleNotFound => missing(Public::RoleNotFound),
        Reason::MemberNotFound => missing(Public::MemberNotFound),
        Reason::AffiliationNotFound => missing(Public::AffiliationNotFound),
        Reason::FunctionCeilingNotFound => missing(Public::FunctionCeilingNotFound),
        Reason::PrivacyRequestNotFound => missing(Public::PrivacyRequestNotFound),
        Reason::ItemNotFound => missing(Public::ItemNotFound),
        Reason::IdTaken => (Code::AlreadyExists, Public::IdTaken),
        Reason::EmailTaken => (Code::AlreadyExists, Public::EmailTaken),
        Reason::PermissionDiffers => (Code::AlreadyExists, Public::PermissionDiffers),
        Reason::RoleExists => (Code::AlreadyExists, Public::RoleExists),
        Reason::PrivacyRequestPending => (Code::AlreadyExists, Public::PrivacyRequestPending),
        Reason::Owner => refused(Public::Owner),
        Reason::LastManager => refused(Public::LastManager),
        Reason::UserDeactivated => refused(Public::UserDeactivated),
        Reason::NotSupportedYet => refused(Public::NotSupportedYet),
        Reason::GroupCycle => refused(Public::GroupCycle),
        Reason::GroupTooDeep => refused(Public::GroupTooDeep),
        Reason::NotEligible => refused(Public::NotEligible),
        Reason::OrganizationRoleForbidden => refused(Public::OrganizationRoleForbidden),
        Reason::LastAdministrator => refused(Public::LastAdministrator),
        Reason::CatalogFull => refused(Public::CatalogFull),
        Reason::RoleInUse => refused(Public::RoleInUse),
        Reason::RoleBuiltIn => refused(Public::RoleBuiltIn),
        Reason::ManagerPermissionRequired => refused(Public::ManagerPermissionRequired),
        Reason::TooManyRoles => refused(Public::TooManyRoles),
        Reason::Archived => refused(Public::Archived),
        Reason::NotArchived => refused(Public::NotArchived),
        Reason::PrivacyApprovalRequired => refused(Public::PrivacyApprovalRequired),
        Reason::PrivacyRequestDecided => refused(Public::PrivacyRequestDecided),
        Reason::NoParent => refused(Public::NoParent),
        Reason::ParentDeleted => refused(Public::ParentDeleted),
        Reason::AlreadyLinked => refused(Public::AlreadyLinked),
        Reason::NotLinked => refused(Public::NotLinked),
        Reason::LinkTooDeep => refused(Public::LinkTooDeep),
        Reason::ParentCycle => refused(Public::ParentCycle),
        Reason::SettingsLinked => refused(Public::SettingsLinked),
        Reason::AccessManageLost => refused(Public::AccessManageLost),
        Reason::NestingTooDeep => refused(Public::NestingTooDeep),
        Reason::TooManyAffiliations => refused(Public::TooManyAffiliations),
        Reason::ItemInherits => refused(Public::ItemInherits),
        Reason::TooManyItemGrants => refused(Public::TooManyItemGrants),
        Reason::PermissionMissing => denied(Public::PermissionMissing),
        Reason::RoleAboveOwn => denied(Public::RoleAboveOwn),
        Reason::ActorUnknown => denied(Public::ActorUnknown),
        Reason::ActorDeactivated => denied(Public::ActorDeactivated),
        Reason::SiteRoleMissing => denied(Public::SiteRoleMissing),
        Reason::OwnAccessProlonged => denied(Public::OwnAccessProlonged),
        Reason::ScopeMissing => denied(Public::ScopeMissing),
        Reason::AdministratorRequired => denied(Public::AdministratorRequired),
        Reason::ActorForbidden => denied(Public::ActorForbidden),
        Reason::RequesterRequired => denied(Public::RequesterRequired),
        Reason::EtagMismatch => (Code::Aborted, Public::EtagMismatch),
        Reason::CredentialMissing => (Code::Unauthenticated, Public::CredentialMissing),
        Reason::MemoryBudgetExceeded => (Code::ResourceExhausted, Public::MemoryBudgetExceeded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_1_a_malformed_request_names_reason_and_fields() {
        let status = Status::from(Refusal::field("members[3].user", "must not be empty"));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("portcullis", "INVALID_FIELD"));
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "members[3].user");
    }

    #[test]
    fn bad_1_what_is_missing_is_named_and_a_rule_is_a_precondition() {
        let missing = Refusal::portfolio_not_found(&"apollo".parse().unwrap());
        let details = Status::from(missing).get_error_details();
        let resource = details.resource_info().unwrap();
        let named = (resource.resource_type.as_str(), resource.resource_name.as_str());
        assert_eq!(named, ("portfolio", "apollo"));
        let rule = Status::from(Refusal::new(Reason::LastManager, "somebody else first"));
        assert_eq!(rule.code(), Code::FailedPrecondition);
        let details = rule.get_error_details();
        let violation = &details.precondition_failure().unwrap().violations[0];
        assert_eq!(violation.r#type, "LAST_MANAGER");
    }

    #[test]
    fn bad_1_the_cause_of_an_internal_error_stays_in_the_log() {
        let error = StorageError::Corrupt {
            table: "grants",
            row: "secret".to_owned(),
            what: "secret".to_owned(),
        };
        let status = Status::from(app::Error::Storage(error));
        assert_eq!(status.code(), Code::Internal);
        assert!(!format!("{status:?}").contains("secret"));
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.reason, "INTERNAL");
        assert!(status.message().contains(&info.metadata["incident"]));
    }

    #[test]
    fn bad_1_what_passes_says_when_to_try_again() {
        let unavailable = StorageError::Unavailable("secret".to_owned());
        let status = Status::from(app::Error::Storage(unavailable));
        assert_eq!(status.code(), Code::Unavailable);
        assert!(!status.message().contains("secret"));
        let details = status.get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(RETRY_DELAY));
        assert_eq!(details.error_info().unwrap().reason, "DATABASE_UNAVAILABLE");
    }

    #[test]
    fn a_long_text_is_clipped_for_it_travels_in_headers() {
        let refusal = Refusal::new(Reason::InvalidField, "ä".repeat(5_000));
        assert!(Status::from(refusal).message().len() < MAX_TEXT_BYTES + 8);
    }
}
