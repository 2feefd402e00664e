//! Presets: what an organization starts with (ROL-4). They are data.

use serde::{Deserialize, Serialize};

use super::access_settings::Visibility;
use super::directory::{ExternalsJoin, SiteRole};
use super::ids::RoleKey;
use super::role::{BUILT_IN, Reach, Role, RoleTable};

/// What an organization starts with: its built-in roles and defaults (ROL-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Managers, contributors and viewers of initiatives; private by default.
    InitiativePlanning,
    /// Admins, editors and viewers of boards; who joins from outside becomes a site editor.
    BoardPlanning,
    /// Full access, edit and view; open by default, for editing.
    Tracker,
    /// Full control, supervisors, viewers and assessors; partners' people join at once.
    Learning,
}

/// One row of a preset's table: permission, then manager, contributor, viewer, assessor as
/// `A` (any), `O` (own) or `-`.
type Row = (&'static str, [u8; 4]);

/// Viewers comment.
const INITIATIVES: [Row; 32] = [
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

/// Contributors rename portfolios; viewers do not comment.
const BOARDS: [Row; 32] = [
    ("portfolio.view", *b"AAAA"),
    ("portfolio.update", *b"AA--"),
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
    ("comment.create", *b"AA-A"),
    ("comment.edit", *b"OO-O"),
    ("comment.delete", *b"OO-O"),
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
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::InitiativePlanning, Self::BoardPlanning, Self::Tracker, Self::Learning];

    /// The name in SQL and in apply files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InitiativePlanning => "initiative_planning",
            Self::BoardPlanning => "board_planning",
            Self::Tracker => "tracker",
            Self::Learning => "learning",
        }
    }

    /// The preset of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == name)
    }

    /// The visibility of portfolios where neither the organization nor the portfolio says.
    #[must_use]
    pub fn default_visibility(self) -> Visibility {
        match self {
            Self::InitiativePlanning | Self::BoardPlanning | Self::Learning => Visibility::Private,
            Self::Tracker => Visibility::Open,
        }
    }

    /// What openness gives where the portfolio does not say (VIS-3).
    #[must_use]
    pub fn organization_access_role(self) -> RoleKey {
        match self {
            Self::InitiativePlanning | Self::Learning => RoleKey::viewer(),
            Self::BoardPlanning | Self::Tracker => RoleKey::contributor(),
        }
    }

    /// The site role of outsiders who join by invitation, where the organization does not say.
    #[must_use]
    pub fn outsider_site_role(self) -> SiteRole {
        match self {
            Self::InitiativePlanning | Self::Tracker | Self::Learning => SiteRole::Guest,
            Self::BoardPlanning => SiteRole::Editor,
        }
    }

    /// How externals who are added become members, where the organization does not say (MEM-2).
    #[must_use]
    pub fn externals_join(self) -> ExternalsJoin {
        match self {
            Self::InitiativePlanning | Self::BoardPlanning | Self::Tracker => {
                ExternalsJoin::AfterAcceptance
            }
            Self::Learning => ExternalsJoin::PartnersAtOnce,
        }
    }

    /// What people call the built-in roles, in the order of [`BUILT_IN`].
    fn names(self) -> [&'static str; 4] {
        match self {
            Self::InitiativePlanning => ["Portfolio Manager", "Contributor", "Viewer", "Assessor"],
            Self::BoardPlanning => ["Admin", "Editor", "Viewer", "Assessor"],
            Self::Tracker => ["Full access", "Edit", "View", "Assessor"],
            Self::Learning => ["Full control", "Supervisor", "Viewer", "Assessor"],
        }
    }

    fn rows(self) -> &'static [Row] {
        match self {
            Self::InitiativePlanning | Self::Learning => &INITIATIVES,
            Self::BoardPlanning | Self::Tracker => &BOARDS,
        }
    }

    /// Whether the preset's table says anything about a permission: about those that ship, and
    /// not about those that services register.
    #[must_use]
    pub fn knows(self, permission: &str) -> bool {
        self.rows().iter().any(|(name, _)| *name == permission)
    }

    /// The built-in roles, in the order manager, contributor, viewer, assessor.
    #[must_use]
    pub fn roles(self) -> Vec<Role> {
        let column = |index: usize| -> RoleTable {
            let reach = |cells: &[u8; 4]| match cells.get(index) {
                Some(b'A') => Some(Reach::Any),
                Some(b'O') => Some(Reach::Own),
                _ => None,
            };
            let cell = |(name, cells): &Row| Some((name.parse().ok()?, reach(cells)?));
            self.rows().iter().filter_map(cell).collect()
        };
        let role = |(index, (key, name)): (usize, (&&str, &str))| {
            Some(Role {
                key: key.parse().ok()?,
                display_name: name.to_owned(),
                description: String::new(),
                table: column(index),
                version: 1,
            })
        };
        BUILT_IN.iter().zip(self.names()).enumerate().filter_map(role).collect()
    }
}
