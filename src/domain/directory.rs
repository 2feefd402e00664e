//! Organizations, users and groups (DIR).

use serde::{Deserialize, Serialize};

use super::access_settings::Visibility;
use super::ids::{GroupId, OrganizationId, ServiceAccountId, UserId};
use super::role::Preset;
use super::timestamp::Timestamp;

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Chosen by the client or generated.
    pub id: OrganizationId,
    /// What people call it.
    pub display_name: String,
    /// Verified e-mail domains, in ASCII lower case.
    pub domains: Vec<String>,
    /// What it was created from.
    pub preset: Preset,
    /// The visibility of portfolios that are created without one (VIS-5).
    pub default_visibility: Visibility,
    /// When it was created.
    pub create_time: Timestamp,
    /// The users who administer it (DIR-7): at home here; sorted.
    #[serde(default)]
    pub administrators: Vec<UserId>,
    /// The site role of outsiders who join by invitation (DIR-8).
    #[serde(default = "guest")]
    pub outsider_site_role: SiteRole,
    /// Partners (MEM-3), sorted; whether they exist is not looked at.
    #[serde(default)]
    pub partner_organizations: Vec<OrganizationId>,
    /// How externals who are added become members (MEM-2).
    #[serde(default)]
    pub externals_join: ExternalsJoin,
    /// Whether changes of visibility wait for an administrator's approval (VIS-7).
    #[serde(default)]
    pub privacy_approval: bool,
    /// Grows with every change of it; what an etag names.
    #[serde(default = "first")]
    pub version: i64,
}

// Outcomes that an earlier version of this program kept lack the newer fields.
fn guest() -> SiteRole {
    SiteRole::Guest
}

fn first() -> i64 {
    1
}

impl Organization {
    /// What a client passes back to change just this state of the organization.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("o{}", self.version)
    }
}

/// How externals who are added become members (MEM-2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExternalsJoin {
    /// They are invited, and join by accepting.
    #[default]
    AfterAcceptance,
    /// Persons affiliated with a partner organization are members at once; others are invited.
    PartnersAtOnce,
}

impl ExternalsJoin {
    /// The name in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AfterAcceptance => "after_acceptance",
            Self::PartnersAtOnce => "partners_at_once",
        }
    }

    /// The way of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "after_acceptance" => Some(Self::AfterAcceptance),
            "partners_at_once" => Some(Self::PartnersAtOnce),
            _ => None,
        }
    }
}

/// A program of an organization that holds access of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    /// Unique in the installation.
    pub id: ServiceAccountId,
    /// Whose program it is.
    pub organization: OrganizationId,
    /// What people call it.
    pub display_name: String,
    /// Deactivated: denied everything.
    pub deactivated: bool,
}

/// A person (DIR-1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The client's own, opaque.
    pub id: UserId,
    /// Unique, compared in the form of [`Email`].
    pub email: Email,
    /// What people call them; may be empty.
    pub display_name: String,
    /// Where their picture is; may be empty.
    pub picture_uri: String,
    /// At most one.
    pub home_organization: Option<OrganizationId>,
    /// Deactivated: denied everything.
    pub deactivated: bool,
}

/// Which users of an organization are listed; what is not given does not narrow the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Those whose display name or e-mail address has this part, in whatever case.
    pub search: Option<String>,
    /// Those who are deactivated, or those who are not.
    pub deactivated: Option<bool>,
    /// Those who have a function in the organization, in place of those at home in it.
    pub affiliated: bool,
}

/// A group of an organization (DIR-4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Unique in the installation.
    pub id: GroupId,
    /// Whose group it is.
    pub organization: OrganizationId,
    /// What people call it.
    pub display_name: String,
}

/// The deepest chain of groups within groups, counted in groups (DIR-4).
pub const MAX_GROUP_DEPTH: usize = 16;

/// What a user may do in an organization apart from grants (DIR-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteRole {
    /// Explicit grants only.
    Guest,
    /// At most viewer in open portfolios; creates none.
    Viewer,
    /// Creates portfolios; the full organization access role.
    Editor,
}

impl SiteRole {
    /// The name in SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Viewer => "viewer",
            Self::Editor => "editor",
        }
    }

    /// The site role of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "guest" => Some(Self::Guest),
            "viewer" => Some(Self::Viewer),
            "editor" => Some(Self::Editor),
            _ => None,
        }
    }
}

/// How a user stands to an organization (DIR-8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// At home in the organization.
    pub home: bool,
    /// The site role that was set, if one was.
    pub site_role: Option<SiteRole>,
    /// Named as an administrator of the organization; see [`Standing::is_administrator`].
    pub administrator: bool,
}

impl Standing {
    /// The site role in force: the one that was set, else *editor* at home, else none.
    #[must_use]
    pub fn site_role(self) -> Option<SiteRole> {
        self.site_role.or(if self.home { Some(SiteRole::Editor) } else { None })
    }

    /// Whether they are an administrator (DIR-7). Only users at home are: who moves away is none
    /// from that moment on (DIR-9).
    #[must_use]
    pub fn is_administrator(self) -> bool {
        self.home && self.administrator
    }

    /// Internal: at home, or a site role other than guest. Everyone else is external.
    #[must_use]
    pub fn is_internal(self) -> bool {
        self.home || self.site_role.is_some_and(|role| role != SiteRole::Guest)
    }
}

/// An e-mail address in the form in which addresses are compared: ASCII lower case (DIR-2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

/// Why a text is no e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    /// It is no `local@domain`, or too long.
    #[error("must be `local@domain`, at most 254 bytes, without spaces or control characters")]
    Form,
    /// Its domain is not in ASCII form.
    #[error("has a domain that is not in its ASCII form; write `xn--...` labels")]
    Domain,
}

impl Email {
    /// The address in its compared form.
    ///
    /// # Errors
    /// The text is no address, or its domain is not ASCII.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidEmail::Form)?;
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '@' || c == ',';
        if local.is_empty() || local.len() > 64 || text.len() > 254 || local.contains(odd) {
            return Err(InvalidEmail::Form);
        }
        if !domain.is_ascii() {
            return Err(InvalidEmail::Domain);
        }
        if !is_domain(domain) {
            return Err(InvalidEmail::Form);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Email {
    type Error = InvalidEmail;

    fn try_from(text: String) -> Result<Self, InvalidEmail> {
        Self::parse(&text)
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

/// Whether the text is a domain name in ASCII form: labels of letters, digits and inner hyphens.
#[must_use]
pub fn is_domain(text: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}
