//! Why something was not done: what was wrong, where, and what to do (BAD-1).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::caller::Scope;
use super::ids::{OrganizationId, PortfolioId, Subject};

/// One of the public list of reasons; clients see its name in `ErrorInfo.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "documented where clients read it: error_reason.proto")]
pub enum Reason {
    InvalidField,
    InvalidEmail,
    PermissionNameUnknown,
    TokenMalformed,
    PageTokenInvalid,
    RequestIdReused,
    AtInThePast,
    LimitExceeded,
    ActorMalformed,
    OrganizationNotFound,
    PortfolioNotFound,
    UserNotFound,
    GroupNotFound,
    ServiceAccountNotFound,
    RoleNotFound,
    MemberNotFound,
    AffiliationNotFound,
    FunctionCeilingNotFound,
    PrivacyRequestNotFound,
    ItemNotFound,
    IdTaken,
    EmailTaken,
    PermissionDiffers,
    RoleExists,
    PrivacyRequestPending,
    Owner,
    LastManager,
    UserDeactivated,
    NotSupportedYet,
    GroupCycle,
    GroupTooDeep,
    NotEligible,
    OrganizationRoleForbidden,
    LastAdministrator,
    CatalogFull,
    RoleInUse,
    RoleBuiltIn,
    ManagerPermissionRequired,
    TooManyRoles,
    Archived,
    NotArchived,
    PrivacyApprovalRequired,
    PrivacyRequestDecided,
    NoParent,
    ParentDeleted,
    AlreadyLinked,
    NotLinked,
    LinkTooDeep,
    ParentCycle,
    SettingsLinked,
    AccessManageLost,
    NestingTooDeep,
    TooManyAffiliations,
    ItemInherits,
    TooManyItemGrants,
    PermissionMissing,
    RoleAboveOwn,
    ActorUnknown,
    ActorDeactivated,
    SiteRoleMissing,
    OwnAccessProlonged,
    ScopeMissing,
    AdministratorRequired,
    ActorForbidden,
    RequesterRequired,
    EtagMismatch,
    CredentialMissing,
    MemoryBudgetExceeded,
}

/// A field of the request that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldViolation {
    /// The path of the field, such as `members[3].email`.
    pub field: String,
    /// What is wrong with it and what is accepted.
    pub description: String,
}

/// A request refused by a rule. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which rule, for programs.
    pub reason: Reason,
    /// What was wrong and what to do, for people.
    pub message: String,
    /// More for programs: names and values.
    pub metadata: Vec<(String, String)>,
    /// The fields at fault, for malformed requests.
    pub violations: Vec<FieldViolation>,
}

impl Refusal {
    /// A refusal with a message of its own.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), metadata: Vec::new(), violations: Vec::new() }
    }

    /// Adds a name and a value for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.metadata.push((name.to_owned(), value.to_string()));
        self
    }

    /// A malformed field.
    #[must_use]
    pub fn field(field: impl Into<String>, description: impl fmt::Display) -> Self {
        Self::field_because(Reason::InvalidField, field, description)
    }

    /// A malformed field, with a reason of its own.
    #[must_use]
    pub fn field_because(
        reason: Reason,
        field: impl Into<String>,
        description: impl fmt::Display,
    ) -> Self {
        let (field, description) = (field.into(), description.to_string());
        let mut refusal = Self::new(reason, format!("`{field}` {description}"));
        refusal.violations.push(FieldViolation { field, description });
        refusal
    }

    /// No such portfolio, or none that the actor may know of: one and the same (VIS-4).
    #[must_use]
    pub fn portfolio_not_found(id: &PortfolioId) -> Self {
        Self::new(Reason::PortfolioNotFound, format!("there is no portfolio `{id}`"))
            .with("portfolio", id)
    }

    /// Nothing is added or changed on an archived portfolio (VIS-8).
    #[must_use]
    pub fn archived(id: &PortfolioId) -> Self {
        let message = format!("the portfolio `{id}` is archived; restore it first");
        Self::new(Reason::Archived, message).with("portfolio", id)
    }

    /// No such organization.
    #[must_use]
    pub fn organization_not_found(id: &OrganizationId) -> Self {
        Self::new(Reason::OrganizationNotFound, format!("there is no organization `{id}`"))
            .with("organization", id)
    }

    /// No such user, group or service account.
    #[must_use]
    pub fn subject_not_found(subject: &Subject) -> Self {
        let (reason, noun) = match subject {
            Subject::User(_) => (Reason::UserNotFound, "user"),
            Subject::Group(_) => (Reason::GroupNotFound, "group"),
            Subject::ServiceAccount(_) => (Reason::ServiceAccountNotFound, "service account"),
        };
        let id = subject.id();
        Self::new(reason, format!("there is no {noun} `{id}`")).with(subject.kind(), id)
    }

    /// The caller's credential lacks the scope that the call needs (AUT-1).
    #[must_use]
    pub fn scope_missing(scope: Scope) -> Self {
        let scope = scope.as_str();
        Self::new(Reason::ScopeMissing, format!("this call needs the scope `{scope}`"))
            .with("scope", scope)
    }

    /// Only administrators of the organization do this (AUT-1).
    #[must_use]
    pub fn administrator_required(organization: &OrganizationId) -> Self {
        let message = format!("only administrators of organization `{organization}` do this");
        Self::new(Reason::AdministratorRequired, message).with("organization", organization)
    }

    /// The etag is not that of the resource as it is now.
    #[must_use]
    pub fn etag_mismatch(what: &str) -> Self {
        let message = format!("the {what} has changed since it was read; read it again and retry");
        Self::new(Reason::EtagMismatch, message)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
