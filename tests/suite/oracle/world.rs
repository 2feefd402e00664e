//! A world, how it changes, and what is asked about it, as data.

use portcullis::domain::access_settings::Visibility;
use portcullis::domain::directory::SiteRole;
use portcullis::domain::permission::Effect;
use portcullis::domain::role::Reach;
use portcullis::domain::{ItemKey, Subject};

/// One organization and everything about it, as data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub organization: String,
    pub catalogue: Vec<CatalogueEntry>,
    pub roles: Vec<Role>,
    pub users: Vec<User>,
    pub service_accounts: Vec<ServiceAccount>,
    pub groups: Vec<Group>,
    pub portfolios: Vec<Portfolio>,
    pub items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CatalogueEntry {
    pub name: String,
    pub effect: Effect,
    pub internal_only: bool,
    pub registered: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    pub key: String,
    pub cells: Vec<(String, Reach)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub id: String,
    pub home: bool,
    pub site_role: Option<SiteRole>,
    pub administrator: bool,
    pub deactivated: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServiceAccount {
    pub id: String,
    pub active: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub id: String,
    pub members: Vec<Subject>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Portfolio {
    pub id: String,
    pub visibility: Visibility,
    pub organization_access_role: String,
    pub archived: bool,
    /// The portfolio whose settings it uses instead of its own.
    pub link: Option<String>,
    /// The user who owns it: a manager, apart from the grants.
    pub owner: Option<String>,
    pub grants: Vec<Grant>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    pub subject: Subject,
    pub role: String,
    pub start: Option<i64>,
    pub expire: Option<i64>,
}

/// What a portfolio shows; with settings of its own, or without.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub key: ItemKey,
    pub portfolios: Vec<String>,
    pub author: Option<Subject>,
    pub archived: bool,
    /// Visibility, organization access role and grants.
    pub settings: Option<(Visibility, String, Vec<Grant>)>,
}

/// One change of a world.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    AddGroupMember {
        group: String,
        member: Subject,
    },
    RemoveGroupMember {
        group: String,
        member: Subject,
    },
    SetDeactivated {
        user: String,
        deactivated: bool,
    },
    AddGrant {
        portfolio: String,
        grant: Grant,
    },
    RemoveGrants {
        portfolio: String,
        subject: Subject,
    },
    SetSettings {
        portfolio: String,
        visibility: Visibility,
        organization_access_role: String,
    },
    CreatePortfolio {
        portfolio: Portfolio,
    },
    SetArchived {
        portfolio: String,
        archived: bool,
    },
    DeletePortfolio {
        portfolio: String,
    },
    SetRole {
        role: Role,
    },
    /// Without one: back to what is the portfolio's own.
    SetLink {
        portfolio: String,
        link: Option<String>,
    },
    /// With a copy of what is in force.
    Unlink {
        portfolio: String,
    },
    SetOwner {
        portfolio: String,
        owner: Option<String>,
    },
    PutItem {
        item: Item,
    },
    DeleteItem {
        key: ItemKey,
    },
}

/// The reasons, by the names they have in the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    DirectGrant,
    GroupGrant,
    OrganizationAccess,
    Administrator,
    PortfolioUnknown,
    SubjectUnknown,
    SubjectDeactivated,
    NoAccess,
    PermissionMissing,
    NotAuthor,
    AuthorUnknown,
    InternalOnly,
    Archived,
    ItemUnknown,
    ItemNoAccess,
}

#[derive(Clone, Debug)]
pub struct Question {
    pub subject: Subject,
    pub permission: String,
    pub portfolio: String,
    pub author: Option<Subject>,
    pub item: Option<ItemKey>,
    pub at: i64,
}
