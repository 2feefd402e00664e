//! One step of a plan.

use super::differences::Differences;
use crate::domain::permission::NEVER_BY_OPENNESS;
use crate::domain::role::MANAGER;
use crate::domain::{ItemKey, Subject, Timestamp};
use crate::proto::v1;

/// One difference between a file and the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    CreateOrganization(v1::Organization),
    UpdateOrganization(v1::Organization, Differences),
    CreateRole(v1::Role),
    UpdateRole(v1::Role, Differences),
    DeleteRole {
        organization: String,
        role: String,
        etag: String,
    },
    CreateUser(v1::User),
    UpdateUser(v1::User, Differences),
    ReactivateUser(String),
    DeactivateUser {
        user: String,
        pruned: bool,
    },
    SetSiteRole {
        site_role: v1::UserSiteRole,
        was: Differences,
    },
    AddAffiliation(v1::Affiliation),
    RemoveAffiliation(v1::Affiliation),
    CreateServiceAccount(v1::ServiceAccount),
    /// Also reactivates.
    UpdateServiceAccount(v1::ServiceAccount, Differences),
    DeactivateServiceAccount {
        service_account: String,
        pruned: bool,
    },
    /// The organization's id, its administrators as they are to be, and the etag as read.
    SetAdministrators {
        organization: v1::Organization,
        was: Differences,
        action: Action,
    },
    CreateGroup(v1::Group),
    UpdateGroup(v1::Group, Differences),
    DeleteGroup(String),
    AddGroupMember {
        group: String,
        member: Subject,
    },
    RemoveGroupMember {
        group: String,
        member: Subject,
    },
    CreatePortfolio {
        portfolio: v1::Portfolio,
        organization_access_role: String,
    },
    UpdatePortfolio(v1::Portfolio, Differences),
    DeletePortfolio {
        portfolio: String,
        etag: String,
    },
    MovePortfolio {
        portfolio: String,
        /// Empty: to the top.
        parent: String,
        /// Whether it is linked there.
        link: bool,
        was: Differences,
    },
    LinkSettings(String),
    UnlinkSettings(String),
    UpdateSettings(v1::AccessSettings, Differences),
    AddMember {
        portfolio: String,
        subject: Subject,
        terms: Terms,
    },
    UpdateMember {
        portfolio: String,
        subject: Subject,
        terms: Terms,
        etag: String,
        was: Differences,
    },
    RemoveMember {
        portfolio: String,
        subject: Subject,
        roles: String,
        etag: String,
    },
    /// Without its grants.
    RegisterItem(v1::Item),
    UpdateItem(v1::Item, Differences),
    /// All that a subject holds on an item.
    SetItemGrants {
        organization: String,
        item: ItemKey,
        subject: Subject,
        was: Vec<Terms>,
        terms: Vec<Terms>,
    },
    DeleteItem(v1::Item),
    SetFunctionCeiling {
        ceiling: v1::FunctionCeiling,
        /// The role before, if there was one.
        was: Option<String>,
    },
    DeleteFunctionCeiling(v1::FunctionCeiling),
}

/// What a change does to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Something new comes of it.
    Add,
    /// Something present becomes different.
    Change,
    /// Something is taken away, since the file does not have it.
    Remove,
}

/// What a grant says apart from who and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Terms {
    pub role: String,
    pub start: Option<Timestamp>,
    pub expire: Option<Timestamp>,
}

/// What kind of thing a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Organization,
    Role,
    User,
    SiteRole,
    Affiliation,
    ServiceAccount,
    Administrator,
    Group,
    GroupMember,
    Portfolio,
    AccessSettings,
    Grant,
    Item,
    FunctionCeiling,
}

impl Change {
    pub fn kind(&self) -> Kind {
        match self {
            Self::CreateOrganization(_) | Self::UpdateOrganization(..) => Kind::Organization,
            Self::CreateRole(_) | Self::UpdateRole(..) | Self::DeleteRole { .. } => Kind::Role,
            Self::CreateUser(_)
            | Self::UpdateUser(..)
            | Self::ReactivateUser(_)
            | Self::DeactivateUser { .. } => Kind::User,
            Self::SetSiteRole { .. } => Kind::SiteRole,
            Self::AddAffiliation(_) | Self::RemoveAffiliation(_) => Kind::Affiliation,
            Self::CreateServiceAccount(_)
            | Self::UpdateServiceAccount(..)
            | Self::DeactivateServiceAccount { .. } => Kind::ServiceAccount,
            Self::SetAdministrators { .. } => Kind::Administrator,
            Self::CreateGroup(_) | Self::UpdateGroup(..) | Self::DeleteGroup(_) => Kind::Group,
            Self::AddGroupMember { .. } | Self::RemoveGroupMember { .. } => Kind::GroupMember,
            Self::CreatePortfolio { .. }
            | Self::UpdatePortfolio(..)
            | Self::MovePortfolio { .. }
            | Self::DeletePortfolio { .. } => Kind::Portfolio,
            Self::LinkSettings(_) | Self::UnlinkSettings(_) | Self::UpdateSettings(..) => {
                Kind::AccessSettings
            }
            Self::AddMember { .. }
            | Self::UpdateMember { .. }
            | Self::RemoveMember { .. }
            | Self::SetItemGrants { .. } => Kind::Grant,
            Self::RegisterItem(_) | Self::UpdateItem(..) | Self::DeleteItem(_) => Kind::Item,
            Self::SetFunctionCeiling { .. } | Self::DeleteFunctionCeiling(_) => {
                Kind::FunctionCeiling
            }
        }
    }

    pub fn action(&self) -> Action {
        match self {
            Self::CreateOrganization(_)
            | Self::CreateRole(_)
            | Self::CreateUser(_)
            | Self::AddAffiliation(_)
            | Self::CreateServiceAccount(_)
            | Self::CreateGroup(_)
            | Self::AddGroupMember { .. }
            | Self::CreatePortfolio { .. }
            | Self::AddMember { .. }
            | Self::RegisterItem(_)
            | Self::SetFunctionCeiling { was: None, .. } => Action::Add,
            Self::SetAdministrators { action, .. } => *action,
            Self::SetItemGrants { was, .. } if was.is_empty() => Action::Add,
            Self::SetItemGrants { terms, .. } if terms.is_empty() => Action::Remove,
            Self::DeactivateUser { pruned: true, .. }
            | Self::DeactivateServiceAccount { pruned: true, .. }
            | Self::RemoveAffiliation(_)
            | Self::RemoveGroupMember { .. }
            | Self::DeleteGroup(_)
            | Self::DeletePortfolio { .. }
            | Self::DeleteRole { .. }
            | Self::RemoveMember { .. }
            | Self::DeleteItem(_)
            | Self::DeleteFunctionCeiling(_) => Action::Remove,
            Self::UpdateOrganization(..)
            | Self::UpdateRole(..)
            | Self::UpdateUser(..)
            | Self::ReactivateUser(_)
            | Self::DeactivateUser { .. }
            | Self::SetSiteRole { .. }
            | Self::UpdateServiceAccount(..)
            | Self::DeactivateServiceAccount { .. }
            | Self::UpdateGroup(..)
            | Self::UpdatePortfolio(..)
            | Self::MovePortfolio { .. }
            | Self::LinkSettings(_)
            | Self::UnlinkSettings(_)
            | Self::UpdateSettings(..)
            | Self::UpdateMember { .. }
            | Self::UpdateItem(..)
            | Self::SetItemGrants { .. }
            | Self::SetFunctionCeiling { was: Some(_), .. } => Action::Change,
        }
    }

    /// Its place in a plan: lower ones are made first. Whatever names something comes after it,
    /// and what a rule could refuse comes when the rest of the file no longer gives it a reason to:
    ///
    /// - roles change before they are given by openness, and those that get what openness never
    ///   gives when it gives them no more (ROL-7); they go when nothing uses them (ROL-6);
    /// - groups leave groups before others enter, for the way back would be a cycle (DIR-4);
    /// - managers come before others stop being one (MEM-6);
    /// - items change while what is to give more than openness may still gives less (ROL-7), and
    ///   before the portfolios go that showed them (VIS-9);
    /// - settings are linked once those are there that they are linked to (INH-5);
    /// - those who are to be deactivated get their grants first (MEM-2).
    pub fn rank(&self) -> u8 {
        match self {
            Self::CreateOrganization(_) => 0,
            Self::UpdateOrganization(..) => 1,
            Self::CreateRole(_) => 2,
            Self::UpdateRole(role, _) if !manages_access(role) => 3,
            Self::CreateUser(_) | Self::UpdateUser(..) => 4,
            Self::ReactivateUser(_) => 5,
            Self::SetSiteRole { .. } => 6,
            Self::CreateServiceAccount(_) | Self::UpdateServiceAccount(..) => 7,
            Self::SetAdministrators { .. } => 8,
            Self::CreateGroup(_) | Self::UpdateGroup(..) => 9,
            Self::RemoveGroupMember { member: Subject::Group(_), .. } => 10,
            Self::AddGroupMember { .. } => 11,
            Self::SetFunctionCeiling { .. } => 12,
            Self::CreatePortfolio { .. } => 13,
            Self::UpdatePortfolio(..) => 14,
            Self::MovePortfolio { .. } => 15,
            Self::UnlinkSettings(_) => 16,
            Self::UpdateSettings(..) => 17,
            Self::RegisterItem(_) | Self::UpdateItem(..) | Self::SetItemGrants { .. } => 18,
            Self::UpdateRole(..) => 19,
            Self::AddMember { .. } => 20,
            Self::UpdateMember { terms, .. } if terms.is_manager_for_good() => 21,
            Self::UpdateMember { .. } => 22,
            Self::RemoveMember { .. } => 23,
            Self::LinkSettings(_) => 24,
            Self::DeleteItem(_) => 25,
            Self::RemoveGroupMember { .. } => 26,
            Self::DeleteGroup(_) => 27,
            Self::DeletePortfolio { .. } => 28,
            Self::DeleteFunctionCeiling(_) => 29,
            Self::DeleteRole { .. } => 30,
            // One has a limited number of them: the old ones make room for the new.
            Self::RemoveAffiliation(_) => 31,
            Self::AddAffiliation(_) => 32,
            Self::DeactivateServiceAccount { .. } => 33,
            Self::DeactivateUser { .. } => 34,
        }
    }

    /// The type and the id of the item that it registers or changes.
    pub fn item(&self) -> Option<(&str, &str)> {
        match self {
            Self::RegisterItem(item) | Self::UpdateItem(item, _) => Some((&item.r#type, &item.id)),
            Self::SetItemGrants { item, .. } => Some((item.item_type.as_str(), item.id.as_str())),
            _ => None,
        }
    }

    /// Whether one call can make both.
    pub fn joins(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::CreateUser(_) | Self::UpdateUser(..),
                Self::CreateUser(_) | Self::UpdateUser(..),
            )
            | (
                Self::CreateServiceAccount(_) | Self::UpdateServiceAccount(..),
                Self::CreateServiceAccount(_) | Self::UpdateServiceAccount(..),
            ) => true,
            (Self::AddGroupMember { group, .. }, Self::AddGroupMember { group: other, .. }) => {
                group == other
            }
            (
                Self::RemoveGroupMember { group, .. },
                Self::RemoveGroupMember { group: other, .. },
            ) => group == other,
            (
                Self::AddMember { portfolio, terms, .. },
                Self::AddMember { portfolio: other, terms: others, .. },
            ) => portfolio == other && terms == others,
            _ => self.item().is_some() && self.item() == other.item(),
        }
    }
}

/// Whether the role holds what openness never gives (ROL-7).
fn manages_access(role: &v1::Role) -> bool {
    let never = |cell: &v1::RolePermission| NEVER_BY_OPENNESS.contains(&cell.permission.as_str());
    role.permissions.iter().any(never)
}

impl Terms {
    fn is_manager_for_good(&self) -> bool {
        self.role == MANAGER && self.expire.is_none()
    }
}

impl Action {
    /// What stands before a change in a printed plan.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Change => "~",
            Self::Remove => "-",
        }
    }

    /// As JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Change => "change",
            Self::Remove => "remove",
        }
    }
}

impl Kind {
    pub const ALL: [Self; 14] = [
        Self::Organization,
        Self::Role,
        Self::User,
        Self::SiteRole,
        Self::Affiliation,
        Self::ServiceAccount,
        Self::Administrator,
        Self::Group,
        Self::GroupMember,
        Self::Portfolio,
        Self::AccessSettings,
        Self::Grant,
        Self::Item,
        Self::FunctionCeiling,
    ];

    /// As a heading, and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organizations",
            Self::Role => "roles",
            Self::User => "users",
            Self::SiteRole => "site roles",
            Self::Affiliation => "affiliations",
            Self::ServiceAccount => "service accounts",
            Self::Administrator => "administrators",
            Self::Group => "groups",
            Self::GroupMember => "group members",
            Self::Portfolio => "portfolios",
            Self::AccessSettings => "access settings",
            Self::Grant => "grants",
            Self::Item => "items",
            Self::FunctionCeiling => "function ceilings",
        }
    }
}

/// What a ceiling is for.
pub(super) fn ceiling_text(ceiling: &v1::FunctionCeiling) -> String {
    match ceiling.portfolio_type.as_str() {
        "" => format!("{} on portfolios without a type", ceiling.function),
        portfolio_type => format!("{} on {portfolio_type}", ceiling.function),
    }
}

/// A visibility as files write it.
pub(crate) fn visibility_text(visibility: i32) -> &'static str {
    match v1::Visibility::try_from(visibility) {
        Ok(v1::Visibility::Private) => "private",
        Ok(v1::Visibility::Restricted) => "restricted",
        Ok(v1::Visibility::Open) => "open",
        Ok(v1::Visibility::Unspecified) | Err(_) => "unknown",
    }
}

/// What a role holds, as a plan tells it: `portfolio.view`, `comment.edit own`.
pub(super) fn cell_text(cell: &v1::RolePermission) -> String {
    let own = if cell.reach == v1::Reach::Own as i32 { " own" } else { "" };
    format!("{}{own}", cell.permission)
}

/// A site role as files write it.
pub(super) fn site_role_text(role: i32) -> &'static str {
    match v1::SiteRole::try_from(role) {
        Ok(v1::SiteRole::Editor) => "editor",
        Ok(v1::SiteRole::Viewer) => "viewer",
        Ok(v1::SiteRole::Guest) => "guest",
        Ok(v1::SiteRole::Unspecified) | Err(_) => "",
    }
}

/// How externals join, as files write it.
pub(super) fn externals_join_text(how: i32) -> &'static str {
    match v1::ExternalsJoin::try_from(how) {
        Ok(v1::ExternalsJoin::AfterAcceptance) => "after_acceptance",
        Ok(v1::ExternalsJoin::PartnersAtOnce) => "partners_at_once",
        Ok(v1::ExternalsJoin::Unspecified) | Err(_) => "",
    }
}
