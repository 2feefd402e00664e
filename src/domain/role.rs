//! Roles and presets (ROL-2 to ROL-4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::access_settings::Visibility;
use super::ids::RoleKey;
use super::permission::PermissionName;

/// The key of the role whose unexpiring direct grants keep a portfolio managed (MEM-6).
pub const MANAGER: &str = "manager";
/// The built-in contributor.
pub const CONTRIBUTOR: &str = "contributor";
/// The built-in viewer; also the most that a site viewer gets from openness (DIR-8).
pub const VIEWER: &str = "viewer";
/// The built-in assessor.
pub const ASSESSOR: &str = "assessor";

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
    /// What it permits.
    pub table: RoleTable,
}

/// What an organization starts with: its built-in roles and defaults (ROL-4). Presets are data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Managers, contributors and viewers of initiatives; private by default.
    InitiativePlanning,
}

/// One row of a preset's table: permission, then manager, contributor, viewer, assessor as
/// `A` (any), `O` (own) or `-`.
type Row = (&'static str, [u8; 4]);

const KEYS: [&str; 4] = [MANAGER, CONTRIBUTOR, VIEWER, ASSESSOR];

const INITIATIVE_PLANNING_NAMES: [&str; 4] =
    ["Portfolio Manager", "Contributor", "Viewer", "Assessor"];

const INITIATIVE_PLANNING: [Row; 32] = [
    ("portfolio.view", *b"AAAA"),
    ("portfolio.update", *b"A---"),
    ("portfolio.manage_settings", *b"A---"),
    ("portfolio.delete", *b"A---"),
    ("members.view", *b"AAA-"),
    ("members.invite", *b"A---"),
    ("members.update", *b"A---"),
    ("members.remove", *b"A---"),
    ("access.manage", *b"A---"),
    ("requests.decide", *b"A---"),
    ("invitations.view", *b"A---"),
    ("initiative.create", *b"AA--"),
    ("initiative.edit", *b"AA--"),
    ("initiative.archive", *b"AA--"),
    ("initiative.delete", *b"AA--"),
    ("initiative.view", *b"AAA-"),
    ("initiative.transfer", *b"AA--"),
    ("comment.create", *b"AAAA"),
    ("comment.edit", *b"OOOO"),
    ("comment.delete", *b"OOOO"),
    ("comment.view", *b"AAAA"),
    ("attachment.add", *b"AA--"),
    ("attachment.delete", *b"AA--"),
    ("attachment.view", *b"AAA-"),
    ("epic.link", *b"AA--"),
    ("epic.view", *b"AAA-"),
    ("view.create", *b"AA--"),
    ("view.update", *b"AA--"),
    ("view.delete", *b"A---"),
    ("assessment.complete", *b"AA-A"),
    ("assessment.view", *b"AAAO"),
    ("progress.view", *b"AAA-"),
];

impl Preset {
    /// The name in SQL and in apply files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InitiativePlanning => "initiative_planning",
        }
    }

    /// The preset of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        (name == Self::InitiativePlanning.as_str()).then_some(Self::InitiativePlanning)
    }

    /// The visibility of portfolios where neither the organization nor the portfolio says.
    #[must_use]
    pub fn default_visibility(self) -> Visibility {
        match self {
            Self::InitiativePlanning => Visibility::Private,
        }
    }

    /// What openness gives where the portfolio does not say (VIS-3).
    #[must_use]
    pub fn organization_access_role(self) -> RoleKey {
        match self {
            Self::InitiativePlanning => RoleKey::viewer(),
        }
    }

    /// The built-in roles, in the order manager, contributor, viewer, assessor.
    #[must_use]
    pub fn roles(self) -> Vec<Role> {
        let (names, rows) = match self {
            Self::InitiativePlanning => (INITIATIVE_PLANNING_NAMES, &INITIATIVE_PLANNING),
        };
        let column = |index: usize| -> RoleTable {
            let reach = |cells: &[u8; 4]| match cells.get(index) {
                Some(b'A') => Some(Reach::Any),
                Some(b'O') => Some(Reach::Own),
                _ => None,
            };
            rows.iter()
                .filter_map(|(name, cells)| Some((name.parse().ok()?, reach(cells)?)))
                .collect()
        };
        KEYS.iter()
            .zip(names)
            .enumerate()
            .filter_map(|(index, (key, name))| {
                Some(Role {
                    key: key.parse().ok()?,
                    display_name: name.to_owned(),
                    table: column(index),
                })
            })
            .collect()
    }
}
