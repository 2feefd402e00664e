//! Grants and members (MEM).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::{PortfolioId, RoleKey, Subject};
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
