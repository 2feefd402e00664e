//! Who may do what without having been added: visibility and the organization access role (VIS).

use serde::{Deserialize, Serialize};

use super::ids::RoleKey;

/// What an internal user without a grant may do (VIS-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Only for participants: not listed, not entered.
    Private,
    /// Listed, entered only after joining.
    Restricted,
    /// Listed and entered with the organization access role.
    Open,
}

impl Visibility {
    /// The name in SQL and in apply files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Restricted => "restricted",
            Self::Open => "open",
        }
    }

    /// The visibility of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "private" => Some(Self::Private),
            "restricted" => Some(Self::Restricted),
            "open" => Some(Self::Open),
            _ => None,
        }
    }
}

/// The access settings of a portfolio, apart from its grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessSettings {
    /// What internal users without a grant may do.
    pub visibility: Visibility,
    /// The role that openness gives to internal users (VIS-3).
    pub organization_access_role: RoleKey,
}
