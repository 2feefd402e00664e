//! Roles (ROL-2, ROL-5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::RoleKey;
use super::permission::{
    ACCESS_MANAGE, MEMBERS_INVITE, MEMBERS_REMOVE, MEMBERS_UPDATE, MEMBERS_VIEW, PORTFOLIO_DELETE,
    PermissionName, REQUESTS_DECIDE,
};

pub use super::preset::Preset;

/// The key of the role whose unexpiring direct grants keep a portfolio managed (MEM-6).
pub const MANAGER: &str = "manager";
/// The built-in contributor.
pub const CONTRIBUTOR: &str = "contributor";
/// The built-in viewer; also the most that a site viewer gets from openness (DIR-8).
pub const VIEWER: &str = "viewer";
/// The built-in assessor.
pub const ASSESSOR: &str = "assessor";
/// The keys of the built-in roles, in the order of a preset's columns.
pub const BUILT_IN: [&str; 4] = [MANAGER, CONTRIBUTOR, VIEWER, ASSESSOR];

/// How far a role's permission reaches. *Any* beats *own*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Only things the subject authored (ACC-4).
    Own,
    /// Everything.
    Any,
}

/// What a role permits, and how far.
pub type RoleTable = BTreeMap<PermissionName, Reach>;

/// A role of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Unique in the organization, never changed.
    pub key: RoleKey,
    /// What people call it.
    pub display_name: String,
    /// What it is for, in words; may be empty.
    pub description: String,
    /// What it permits.
    pub table: RoleTable,
    /// Grows with every change of it; what an etag names.
    pub version: i64,
}

/// The most roles of an organization.
pub const MAX_ROLES: i64 = 1_000;

/// What a manager always holds, as *any* (ROL-5).
pub const KEPT_BY_MANAGERS: [&str; 7] = [
    ACCESS_MANAGE,
    MEMBERS_INVITE,
    MEMBERS_REMOVE,
    MEMBERS_UPDATE,
    MEMBERS_VIEW,
    PORTFOLIO_DELETE,
    REQUESTS_DECIDE,
];

impl Role {
    /// What a client passes back to change just this state of the role.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("r{}", self.version)
    }

    /// Whether every organization has a role of this key, from its preset (ROL-4).
    #[must_use]
    pub fn is_built_in(key: &RoleKey) -> bool {
        BUILT_IN.contains(&key.as_str())
    }
}

/// How many things name a role that are not over: what a deletion would have to move (ROL-6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleUses {
    /// Grants in force or to come.
    pub grants: u64,
    /// Portfolios that give it by openness.
    pub organization_access_roles: u64,
    /// What functions get on portfolios of a type.
    pub function_ceilings: u64,
    /// Grants on items, in force or to come.
    pub item_grants: u64,
    /// Items that give it by openness.
    pub item_access_roles: u64,
}
