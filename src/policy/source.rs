//! Everything that gives a subject anything on a portfolio, in force or not.

use crate::domain::access_settings::Visibility;
use crate::domain::directory::SiteRole;
use crate::domain::permission::{Permission, PermissionName};
use crate::domain::role::{Reach, RoleTable};
use crate::domain::{Subject, Timestamp};

use super::global::Global;
use super::period::Period;
use super::role::Role;
use super::snapshot::{Granted, Party, Portfolio, Resolved, Snapshot};

/// One thing that gives something: a grant, direct or through a group, or openness.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub via: Via,
    pub period: Period,
    role: &'a Role,
    /// The role that bounds this one, permission by permission (DIR-8: site viewers).
    bound: Option<&'a Role>,
}

/// The way by which it reaches the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    Direct,
    /// The group that is granted.
    Group(u32),
    OrganizationAccess,
}

impl Source<'_> {
    pub fn reach(&self, permission: &Permission) -> Option<Reach> {
        let reach = self.role.reach(permission)?;
        match self.bound {
            None => Some(reach),
            Some(bound) => Some(reach.min(bound.reach(permission)?)),
        }
    }

    /// What `reach` answers, for every permission at once.
    pub fn table(&self) -> impl Iterator<Item = (&PermissionName, Reach)> {
        let bounded = |(name, reach): (_, &Reach)| match self.bound {
            None => Some((name, *reach)),
            Some(bound) => Some((name, *bound.table()?.get(name)?.min(reach))),
        };
        self.role.table().into_iter().flat_map(RoleTable::iter).filter_map(bounded)
    }

    pub fn in_force(&self, at: Timestamp) -> bool {
        self.period.contains(at)
    }
}

impl Snapshot {
    /// The sources that reach the subject (ACC-2): direct grants, then grants of groups, then
    /// openness. A group that is reached along two paths may come twice.
    pub(super) fn sources<'a>(
        &'a self,
        portfolio: &'a Portfolio,
        subject: Resolved<'a>,
    ) -> impl Iterator<Item = Source<'a>> {
        self.explicit_sources(portfolio, subject).chain(self.openness(portfolio, subject.party))
    }

    /// The grants that reach the subject, without openness.
    pub(super) fn explicit_sources<'a>(
        &'a self,
        portfolio: &'a Portfolio,
        subject: Resolved<'a>,
    ) -> impl Iterator<Item = Source<'a>> {
        let source = |via: Via, granted: Granted| {
            Some(Source {
                via,
                period: granted.period,
                role: self.role(granted.role)?,
                bound: None,
            })
        };
        let direct = portfolio.grants_of(subject.id);
        let through_groups = self
            .closures(subject.party)
            .flat_map(|closure| portfolio.grants_of_any(closure))
            .filter(move |granted| granted.subject != subject.id);
        direct.filter_map(move |granted| source(Via::Direct, granted)).chain(
            through_groups.filter_map(move |granted| source(Via::Group(granted.subject), granted)),
        )
    }

    /// For a group its own closure, for anyone else the closures of the groups they are in.
    pub(super) fn closures<'a>(&'a self, party: &'a Party) -> impl Iterator<Item = &'a [u32]> {
        let own = party.closure();
        let groups = if own.is_some() { &[] } else { party.groups.as_ref() };
        own.into_iter().chain(groups.iter().filter_map(|group| self.party(*group)?.closure()))
    }

    /// The organization access role, where the portfolio is open to this subject (VIS-2, VIS-3).
    fn openness<'a>(&'a self, portfolio: &Portfolio, party: &Party) -> Option<Source<'a>> {
        if portfolio.visibility != Visibility::Open {
            return None;
        }
        let bound = match party.open_to()? {
            OpenTo::Editor => None,
            OpenTo::Viewer => Some(self.viewer.as_ref()),
        };
        Some(Source {
            via: Via::OrganizationAccess,
            period: Period::ALWAYS,
            role: self.role(portfolio.access_role)?,
            bound,
        })
    }
}

/// As what openness takes a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenTo {
    /// With the full organization access role.
    Editor,
    /// With no more than a viewer has.
    Viewer,
}

impl Party {
    /// What the visibility of portfolios means to this subject (DIR-8); none if nothing. A group
    /// is not a user: it has its own and its ancestors' grants only (DIR-4).
    pub(super) fn open_to(&self) -> Option<OpenTo> {
        match self.standing.site_role() {
            _ if self.node.is_some() => None,
            Some(SiteRole::Editor) => Some(OpenTo::Editor),
            Some(SiteRole::Viewer) => Some(OpenTo::Viewer),
            Some(SiteRole::Guest) | None => None,
        }
    }
}

/// Whether everything is denied to the subject (DIR-1): a user who is deactivated, or a service
/// account that is not active.
pub(super) fn is_deactivated(
    global: &Global,
    subject: &Subject,
    resolved: Option<Resolved<'_>>,
) -> bool {
    let user = matches!(subject, Subject::User(id) if global.is_deactivated(id.as_str()));
    user || resolved.is_some_and(|subject| !subject.party.active)
}
