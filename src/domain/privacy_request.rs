//! Changes of visibility that wait for an administrator's approval (VIS-7).

use serde::{Deserialize, Serialize};

use super::access_settings::Visibility;
use super::ids::{OrganizationId, PortfolioId, PrivacyRequestId, Subject};
use super::timestamp::Timestamp;

/// Where a privacy request is in its life. Nothing leaves an end state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivacyRequestState {
    /// Waits for an administrator.
    Pending,
    /// An administrator let it come about.
    Approved,
    /// An administrator did not.
    Rejected,
    /// The requester took it back.
    Cancelled,
    /// The portfolio was deleted, or has the settings of another since.
    Closed,
}

impl PrivacyRequestState {
    /// The name in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "pending" => Some(Self::Pending),
            "approved" => Some(Self::Approved),
            "rejected" => Some(Self::Rejected),
            "cancelled" => Some(Self::Cancelled),
            "closed" => Some(Self::Closed),
            _ => None,
        }
    }
}

/// A change of visibility that was asked of the administrators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivacyRequest {
    /// Generated.
    pub id: PrivacyRequestId,
    /// Whose portfolio it is.
    pub organization: OrganizationId,
    /// Whose visibility.
    pub portfolio: PortfolioId,
    /// Who asked; none once their account was deleted.
    pub requester: Option<Subject>,
    /// The visibility when it was asked for.
    pub from_visibility: Visibility,
    /// The visibility that was asked for.
    pub to_visibility: Visibility,
    /// Where it is in its life.
    pub state: PrivacyRequestState,
    /// When it was asked for.
    pub create_time: Timestamp,
    /// Who brought it to its end; none while it is pending, and for the system.
    pub decider: Option<Subject>,
    /// When; none while it is pending.
    pub decide_time: Option<Timestamp>,
    /// What a rejection said; may be empty.
    pub reason: String,
}

impl PrivacyRequest {
    /// Where it stands in lists.
    #[must_use]
    pub fn place(&self) -> PrivacyRequestPlace {
        PrivacyRequestPlace { create_time: self.create_time, id: self.id.clone() }
    }
}

/// Where a privacy request stands in a list; lists go from the greatest place to the least.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PrivacyRequestPlace {
    /// When it was asked for.
    pub create_time: Timestamp,
    /// Of those of the same instant.
    pub id: PrivacyRequestId,
}

/// Whose privacy requests are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivacyRequestsOf {
    /// Those about a portfolio.
    Portfolio(PortfolioId),
    /// Those about the portfolios of an organization, deleted ones too.
    Organization(OrganizationId),
    /// Those that the actor made.
    Actor,
}
