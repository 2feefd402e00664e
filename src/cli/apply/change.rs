//! One step of a plan, and how it reads.

use std::fmt;

use crate::cli::text;
use crate::domain::{Subject, Timestamp};
use crate::proto::v1;

/// One difference between a file and the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    CreateOrganization(v1::Organization),
    CreateUser(v1::User),
    UpdateUser(v1::User, Differences),
    CreateGroup(v1::Group),
    UpdateGroup(v1::Group, Differences),
    AddGroupMember {
        group: String,
        member: Subject,
    },
    CreatePortfolio {
        portfolio: v1::Portfolio,
        organization_access_role: String,
    },
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
}

/// What a grant says apart from who and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Terms {
    pub role: String,
    pub start: Option<Timestamp>,
    pub expire: Option<Timestamp>,
}

/// What kind of thing a change is about, in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Organization,
    User,
    Group,
    GroupMember,
    Portfolio,
    AccessSettings,
    Grant,
}

/// Fields with another value than the file's: name, old, new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Differences(Vec<(&'static str, String, String)>);

impl Differences {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes the field if the values differ.
    pub fn note(&mut self, field: &'static str, old: &str, new: &str) {
        if old != new {
            self.0.push((field, old.to_owned(), new.to_owned()));
        }
    }

    pub fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(name, ..)| *name == field)
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        for (index, (field, old, new)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{field} {} -> {}", none(old), none(new))?;
        }
        Ok(())
    }
}

impl Change {
    pub fn kind(&self) -> Kind {
        match self {
            Self::CreateOrganization(_) => Kind::Organization,
            Self::CreateUser(_) | Self::UpdateUser(..) => Kind::User,
            Self::CreateGroup(_) | Self::UpdateGroup(..) => Kind::Group,
            Self::AddGroupMember { .. } => Kind::GroupMember,
            Self::CreatePortfolio { .. } => Kind::Portfolio,
            Self::UpdateSettings(..) => Kind::AccessSettings,
            Self::AddMember { .. } | Self::UpdateMember { .. } => Kind::Grant,
        }
    }

    /// Whether something new comes of it, rather than something present becoming different.
    pub fn adds(&self) -> bool {
        match self {
            Self::CreateOrganization(_)
            | Self::CreateUser(_)
            | Self::CreateGroup(_)
            | Self::AddGroupMember { .. }
            | Self::CreatePortfolio { .. }
            | Self::AddMember { .. } => true,
            Self::UpdateUser(..)
            | Self::UpdateGroup(..)
            | Self::UpdateSettings(..)
            | Self::UpdateMember { .. } => false,
        }
    }

    /// Whether one call can make both.
    pub fn joins(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::CreateUser(_) | Self::UpdateUser(..),
                Self::CreateUser(_) | Self::UpdateUser(..),
            ) => true,
            (Self::AddGroupMember { group, .. }, Self::AddGroupMember { group: other, .. }) => {
                group == other
            }
            (
                Self::AddMember { portfolio, terms, .. },
                Self::AddMember { portfolio: other, terms: others, .. },
            ) => portfolio == other && terms == others,
            _ => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.adds() { "+ " } else { "~ " })?;
        match self {
            Self::CreateOrganization(organization) => {
                write!(f, "organization {}", organization.id)
            }
            Self::CreateUser(user) => write!(f, "user {} <{}>", user.id, user.email),
            Self::UpdateUser(user, was) => write!(f, "user {}: {was}", user.id),
            Self::CreateGroup(group) => write!(f, "group {}", group.id),
            Self::UpdateGroup(group, was) => write!(f, "group {}: {was}", group.id),
            Self::AddGroupMember { group, member } => {
                write!(f, "group {group}: member {member}")
            }
            Self::CreatePortfolio { portfolio, .. } => {
                write!(f, "portfolio {}", portfolio.id)?;
                let visibility = portfolio.visibility.map(visibility_text);
                visibility.iter().try_for_each(|text| write!(f, ", {text}"))?;
                write!(f, ", owner {}", portfolio.owner)
            }
            Self::UpdateSettings(settings, was) => {
                write!(f, "portfolio {}: {was}", settings.portfolio)
            }
            Self::AddMember { portfolio, subject, terms } => {
                write!(f, "portfolio {portfolio}: {subject} as {}", terms.role)?;
                terms.start.iter().try_for_each(|t| write!(f, " from {}", text::time_text(*t)))?;
                terms.expire.iter().try_for_each(|t| write!(f, " until {}", text::time_text(*t)))
            }
            Self::UpdateMember { portfolio, subject, was, .. } => {
                write!(f, "portfolio {portfolio}: {subject}: {was}")
            }
        }
    }
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Organization,
        Self::User,
        Self::Group,
        Self::GroupMember,
        Self::Portfolio,
        Self::AccessSettings,
        Self::Grant,
    ];

    /// As a heading, and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organizations",
            Self::User => "users",
            Self::Group => "groups",
            Self::GroupMember => "group members",
            Self::Portfolio => "portfolios",
            Self::AccessSettings => "access settings",
            Self::Grant => "grants",
        }
    }
}

/// A visibility as files write it.
pub(super) fn visibility_text(visibility: i32) -> &'static str {
    match v1::Visibility::try_from(visibility) {
        Ok(v1::Visibility::Private) => "private",
        Ok(v1::Visibility::Restricted) => "restricted",
        Ok(v1::Visibility::Open) => "open",
        Ok(v1::Visibility::Unspecified) | Err(_) => "unknown",
    }
}
