//! The permission catalogue (ROL-1).

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a permission: `noun.verb`, each part of `a-z`, `0-9` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PermissionName(Arc<str>);

/// Why a text is no permission name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no permission name; write `noun.verb` in lower case, at most 128 bytes")]
pub struct InvalidPermissionName;

impl PermissionName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PermissionName {
    type Err = InvalidPermissionName;

    fn from_str(text: &str) -> Result<Self, InvalidPermissionName> {
        let part = |p: &str| {
            p.starts_with(|c: char| c.is_ascii_lowercase())
                && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        match text.split_once('.') {
            Some((noun, verb)) if text.len() <= 128 && part(noun) && part(verb) => {
                Ok(Self(text.into()))
            }
            _ => Err(InvalidPermissionName),
        }
    }
}

impl TryFrom<String> for PermissionName {
    type Error = InvalidPermissionName;

    fn try_from(text: String) -> Result<Self, InvalidPermissionName> {
        text.parse()
    }
}

impl From<PermissionName> for String {
    fn from(name: PermissionName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for PermissionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PermissionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PermissionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// What exercising a permission does; decides what an archived portfolio still allows (VIS-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Looks at something.
    Read,
    /// Adds or changes something.
    Change,
    /// Takes something away.
    Revoke,
}

impl Effect {
    /// The name in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Change => "change",
            Self::Revoke => "revoke",
        }
    }

    /// The effect of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "read" => Some(Self::Read),
            "change" => Some(Self::Change),
            "revoke" => Some(Self::Revoke),
            _ => None,
        }
    }
}

/// How many entries the catalogue has at the most.
pub const MAX_CATALOG_ENTRIES: u16 = 4_096;

/// One entry of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// The name, unique.
    pub name: PermissionName,
    /// The place in the catalogue: dense, assigned in order of registration, never changed.
    pub ordinal: u16,
    /// What exercising it does.
    pub effect: Effect,
    /// Whether a role may hold it for the subject's own things only.
    pub may_be_own: bool,
    /// Whether externals are denied it whatever their role (ROL-8).
    pub internal_only: bool,
    /// Whether a service registered it at run time: every organization's manager holds it as
    /// *any*, without a row in the role's table (ROL-1).
    pub registered: bool,
}

impl Permission {
    /// Whether nobody may on an archived portfolio, whatever their role: it adds or changes
    /// something. Comments are still made (VIS-8).
    #[must_use]
    pub fn is_halted_by_archiving(&self) -> bool {
        self.effect == Effect::Change && self.name.as_str() != COMMENT_CREATE
    }
}

/// Sees a portfolio and what it shows.
pub const PORTFOLIO_VIEW: &str = "portfolio.view";
/// Changes a portfolio's display name.
pub const PORTFOLIO_UPDATE: &str = "portfolio.update";
/// Changes a portfolio's type; archives and restores it.
pub const PORTFOLIO_MANAGE_SETTINGS: &str = "portfolio.manage_settings";
/// Ends a portfolio for good.
pub const PORTFOLIO_DELETE: &str = "portfolio.delete";
/// Sees who has access.
pub const MEMBERS_VIEW: &str = "members.view";
/// Adds and invites members.
pub const MEMBERS_INVITE: &str = "members.invite";
/// Changes a member's role or end.
pub const MEMBERS_UPDATE: &str = "members.update";
/// Removes members.
pub const MEMBERS_REMOVE: &str = "members.remove";
/// Changes the access settings.
pub const ACCESS_MANAGE: &str = "access.manage";
/// Decides access requests.
pub const REQUESTS_DECIDE: &str = "requests.decide";
/// Sees the pending invitations.
pub const INVITATIONS_VIEW: &str = "invitations.view";
/// Comments on what is there.
pub const COMMENT_CREATE: &str = "comment.create";

/// What an administrator holds, as *any*, on every portfolio of the organization (DIR-7). Seeing
/// the content is not among it.
pub const HELD_BY_ADMINISTRATORS: [&str; 7] = [
    MEMBERS_VIEW,
    MEMBERS_INVITE,
    MEMBERS_UPDATE,
    MEMBERS_REMOVE,
    REQUESTS_DECIDE,
    INVITATIONS_VIEW,
    PORTFOLIO_DELETE,
];

/// What an organization access role never contains (ROL-7).
pub const NEVER_BY_OPENNESS: [&str; 6] = [
    ACCESS_MANAGE,
    MEMBERS_INVITE,
    MEMBERS_UPDATE,
    MEMBERS_REMOVE,
    REQUESTS_DECIDE,
    PORTFOLIO_DELETE,
];
