//! Grants and members (MEM).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::{GroupId, PortfolioId, RoleKey, Subject};
use super::refusal::Refusal;
use super::timestamp::Timestamp;

/// How a grant came to be (MEM-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantSource {
    /// The ownership that comes with creating a portfolio.
    Creation,
    /// Given by a person or a service.
    Hand,
}

impl GrantSource {
    /// The name in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creation => "creation",
            Self::Hand => "hand",
        }
    }

    /// The source of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "creation" => Some(Self::Creation),
            "hand" => Some(Self::Hand),
            _ => None,
        }
    }
}

/// Access given to a subject on a portfolio (MEM-1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Generated.
    pub id: Uuid,
    /// On what.
    pub portfolio: PortfolioId,
    /// To whom.
    pub subject: Subject,
    /// As what.
    pub role: RoleKey,
    /// How it came to be.
    pub source: GrantSource,
    /// Whether this grant is the portfolio's ownership (VIS-1).
    pub ownership: bool,
    /// In force from this instant on; at once if none.
    pub start_time: Option<Timestamp>,
    /// In force until just before this instant; for good if none.
    pub expire_time: Option<Timestamp>,
    /// When it was given.
    pub create_time: Timestamp,
    /// When somebody ended it; the row stays (MEM-9).
    pub revoke_time: Option<Timestamp>,
}

impl Grant {
    /// Whether the grant gives anything at `now` (ACC-2).
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.revoke_time.is_none()
            && self.start_time.is_none_or(|start| start <= now)
            && self.expire_time.is_none_or(|expire| now < expire)
    }

    /// Whether the grant is over at `now`: revoked, or past its end.
    #[must_use]
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.revoke_time.is_some() || self.expire_time.is_some_and(|expire| expire <= now)
    }
}

/// What a member's direct grants amount to at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessState {
    /// None is in force yet, and one will be.
    Scheduled,
    /// One is in force.
    Active,
    /// All are over (MEM-9).
    Ended,
}

/// Which members a list is of (MEM-4); what is left out does not narrow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberFilter {
    /// A part of the display name, the e-mail address or the company, in whatever case.
    pub search: Option<String>,
    /// They have this role, in force or scheduled; had it, if all their grants are over.
    pub role: Option<RoleKey>,
    /// In this state; scheduled or active if none is named.
    pub state: Option<AccessState>,
    /// Users and service accounts that are, or are not, deactivated.
    pub deactivated: Option<bool>,
}

/// Whom to add, as the request names them (MEM-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberSpec {
    /// By id.
    Subject(Subject),
    /// A person, by e-mail address.
    Email(super::directory::Email),
}

/// What came of one entry of an addition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddOutcome {
    /// A member from now on, or from the start asked for.
    Added(Subject),
    /// Was one already; nothing changed.
    AlreadyMember(Subject),
    /// Not added.
    Refused(Refusal),
}

/// A subject and its direct grants on a portfolio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// On what.
    pub portfolio: PortfolioId,
    /// Who.
    pub subject: Subject,
    /// What people call them; empty where that is unknown.
    pub display_name: String,
    /// A user's e-mail address; empty for others.
    pub email: String,
    /// The display name of a user's home organization; empty for others.
    #[serde(default)]
    pub company: String,
    /// Whether the user or service account is deactivated.
    pub deactivated: bool,
    /// The direct grants, ended ones too, oldest first.
    pub grants: Vec<Grant>,
    /// The instant at which `grants` was looked at: says which are in force.
    pub as_of: Timestamp,
}

impl Member {
    /// What a client passes back to change just this state of the member.
    #[must_use]
    pub fn etag(&self) -> String {
        let mut hash = crc32fast::Hasher::new();
        for grant in &self.grants {
            hash.update(grant.id.as_bytes());
            hash.update(&[u8::from(grant.revoke_time.is_some())]);
        }
        format!("m{:08x}", hash.finalize())
    }
}

/// A way in which a subject still has access after its direct grants ended (MEM-5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemainingRoute {
    /// The granted group; none: the organization access role of an open portfolio.
    pub group: Option<GroupId>,
    /// As what.
    pub role: RoleKey,
}
