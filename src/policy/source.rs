//! Everything that gives a subject anything on a portfolio, in force or not.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::domain::access_settings::Visibility;
use crate::domain::directory::SiteRole;
use crate::domain::permission::{HELD_BY_ADMINISTRATORS, Permission, PermissionName};
use crate::domain::role::Reach;
use crate::domain::{Subject, Timestamp};

use super::global::Global;
use super::links::Effective;
use super::party::Party;
use super::period::Period;
use super::portfolio::{Granted, Portfolio, Settings};
use super::role::Role;
use super::snapshot::{Resolved, Snapshot};

/// One thing that gives something: a grant, direct or through a group, openness, or being an
/// administrator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub via: Via,
    pub period: Period,
    rights: Rights<'a>,
}

/// What a source gives.
#[derive(Clone, Copy, Debug)]
enum Rights<'a> {
    Role(&'a Role),
    /// A role, bounded by the viewer's permission by permission (DIR-8: site viewers).
    Bounded {
        role: &'a Role,
        viewer: &'a Role,
    },
    Administrator,
}

/// The way by which it reaches the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    Direct,
    /// The group that is granted.
    Group(u32),
    OrganizationAccess,
    Administrator,
}

impl<'a> Source<'a> {
    pub fn reach(&self, permission: &Permission) -> Option<Reach> {
        match self.rights {
            Rights::Role(role) => role.reach(permission),
            Rights::Bounded { role, viewer } => {
                Some(role.reach(permission)?.min(viewer.reach(permission)?))
            }
            Rights::Administrator => {
                HELD_BY_ADMINISTRATORS.contains(&permission.name.as_str()).then_some(Reach::Any)
            }
        }
    }

    /// What `reach` answers, for every permission at once. Of a name that comes twice the greater
    /// reach counts.
    pub fn cells(
        &self,
        global: &'a Global,
    ) -> impl Iterator<Item = (&'a PermissionName, Reach)> + use<'a> {
        let bounds = match self.rights {
            Rights::Bounded { viewer, .. } => Some(table(viewer.cells(global))),
            Rights::Role(_) | Rights::Administrator => None,
        };
        let bounded = move |(name, reach): (&'a PermissionName, Reach)| match &bounds {
            None => Some((name, reach)),
            Some(bounds) => Some((name, reach.min(*bounds.get(name)?))),
        };
        let administrator = matches!(self.rights, Rights::Administrator);
        let held = HELD_BY_ADMINISTRATORS.iter().filter(move |_| administrator);
        let implicit = held.filter_map(|name| Some((&global.permission(name)?.name, Reach::Any)));
        let role = self.role().into_iter().flat_map(|role| role.cells(global));
        role.filter_map(bounded).chain(implicit)
    }

    /// The role that it gives; none for an administrator, who has none by that.
    pub fn role(&self) -> Option<&'a Role> {
        match self.rights {
            Rights::Role(role) | Rights::Bounded { role, .. } => Some(role),
            Rights::Administrator => None,
        }
    }

    /// Whether the viewer's role bounds what it gives (DIR-8).
    pub fn is_bounded(&self) -> bool {
        matches!(self.rights, Rights::Bounded { .. })
    }

    pub fn in_force(&self, at: Timestamp) -> bool {
        self.period.contains(at)
    }
}

/// The union of cells, *any* beating *own* (ROL-2).
pub(super) fn table<'a>(
    cells: impl IntoIterator<Item = (&'a PermissionName, Reach)>,
) -> BTreeMap<&'a PermissionName, Reach> {
    let mut table = BTreeMap::new();
    for (name, reach) in cells {
        table.entry(name).and_modify(|held| *held = reach.max(*held)).or_insert(reach);
    }
    table
}

/// A subject and the groups that it is in, directly or not: what is the same for every portfolio
/// that is asked about.
#[derive(Clone, Debug)]
pub(super) struct Reached<'a> {
    pub subject: Resolved<'a>,
    snapshot: &'a Snapshot,
    /// A bit for each of the groups, at its number modulo the number of bits. Of the groups that a
    /// portfolio is granted to, nearly all that the subject is not in are told apart by this alone.
    /// Made when the first grant to a group is looked at: a grant of its own may settle it before.
    filter: OnceCell<[u64; FILTER_WORDS]>,
    /// A bit for each of the groups, at its number: of somebody who is in so many that the filter
    /// tells few apart.
    many: OnceCell<Vec<u64>>,
}

const FILTER_WORDS: usize = 32;
/// In how many groups somebody is directly from whom on these are many.
const MANY: usize = 65;

impl<'a> Reached<'a> {
    pub fn by(snapshot: &'a Snapshot, subject: Resolved<'a>) -> Self {
        Self { subject, snapshot, filter: OnceCell::new(), many: OnceCell::new() }
    }

    /// Whether the subject is this group, or in it.
    #[inline]
    pub fn contains(&self, group: u32) -> bool {
        let filter = self.filter.get_or_init(|| {
            let mut filter = [0; FILTER_WORDS];
            self.note(&mut filter);
            filter
        });
        has(filter, group) && self.is_certain(group)
    }

    /// Whether what the filter says is so.
    fn is_certain(&self, group: u32) -> bool {
        if self.subject.party.groups().len() < MANY {
            return self.snapshot.closures(self.subject).any(|closure| closure.contains(&group));
        }
        let many = self.many.get_or_init(|| {
            let mut many = vec![0; self.snapshot.groups.len().div_ceil(64)];
            self.note(&mut many);
            many
        });
        has(many, group)
    }

    #[inline]
    fn note(&self, bits: &mut [u64]) {
        let words = bits.len().max(1);
        for group in self.snapshot.closures(self.subject).flatten() {
            if let Some(word) = bits.get_mut(*group as usize / 64 % words) {
                *word |= 1 << (group % 64);
            }
        }
    }
}

#[inline]
fn has(bits: &[u64], group: u32) -> bool {
    let word = bits.get(group as usize / 64 % bits.len().max(1));
    word.is_some_and(|word| word & 1 << (group % 64) != 0)
}

impl Snapshot {
    /// The sources that reach the subject (ACC-2): owning, direct grants, then grants of groups,
    /// then openness, then being an administrator.
    #[inline]
    pub(super) fn sources<'a>(
        &'a self,
        portfolio: &'a Portfolio,
        reached: &'a Reached<'a>,
    ) -> impl Iterator<Item = Source<'a>> {
        let effective = self.effective(portfolio);
        self.owners(effective, reached)
            .chain(self.settings_sources(effective.settings, reached))
            .chain(reached.subject.administration())
    }

    /// The same, each with the portfolio whose settings or whose ownership it comes from. An owner
    /// of several along the chain is named for each.
    pub(super) fn attributed_sources<'a>(
        &'a self,
        number: u32,
        reached: &'a Reached<'a>,
    ) -> impl Iterator<Item = (u32, Source<'a>)> {
        let itself = reached.subject.id;
        let owned = self.link_chain(number).filter_map(move |(of, link)| {
            let owner = link?.owner.filter(|owner| owner.subject == itself)?;
            Some((of, self.source(Via::Direct, owner)?))
        });
        let root = self.root(number).and_then(|root| Some((root, self.portfolio_of(root)?)));
        let given = root.into_iter().flat_map(move |(root, settings)| {
            self.settings_sources(settings, reached).map(move |source| (root, source))
        });
        let administration = reached.subject.administration().map(|source| (number, source));
        owned.chain(given).chain(administration)
    }

    /// What settings and the grants with them give: all that an independent item gives, where being
    /// an administrator is nothing (ACC-5, DIR-7).
    #[inline]
    pub(super) fn settings_sources<'a>(
        &'a self,
        settings: &'a Portfolio,
        reached: &'a Reached<'a>,
    ) -> impl Iterator<Item = Source<'a>> {
        self.grants_reaching(settings, reached).chain(self.openness(settings, reached.subject))
    }

    /// The grants that reach the subject, direct or through groups.
    #[inline]
    pub(super) fn explicit_sources<'a>(
        &'a self,
        portfolio: &'a Portfolio,
        reached: &'a Reached<'a>,
    ) -> impl Iterator<Item = Source<'a>> {
        let effective = self.effective(portfolio);
        self.owners(effective, reached).chain(self.grants_reaching(effective.settings, reached))
    }

    /// What the owners along a chain of links keep (INH-2).
    #[inline]
    fn owners<'a>(
        &'a self,
        effective: Effective<'a>,
        reached: &'a Reached<'a>,
    ) -> impl Iterator<Item = Source<'a>> {
        // Nearly always there are none, which flattening would make every decision pay for.
        let mut owned = effective.owners.map(|owners| owners.grants_of(reached.subject.id));
        std::iter::from_fn(move || owned.as_mut()?.next())
            .filter_map(|granted| self.source(Via::Direct, granted))
    }

    #[inline]
    fn grants_reaching<'a>(
        &'a self,
        portfolio: &'a Portfolio,
        reached: &'a Reached<'a>,
    ) -> impl Iterator<Item = Source<'a>> {
        let itself = reached.subject.id;
        let direct = portfolio.grants_of(itself);
        let through_groups = portfolio
            .grants_of_groups(|group| reached.contains(group))
            .filter(move |granted| granted.subject != itself);
        direct.filter_map(|granted| self.source(Via::Direct, granted)).chain(
            through_groups.filter_map(|granted| {
                self.source(Via::Group(granted.subject.as_group()?), granted)
            }),
        )
    }

    #[inline]
    fn source(&self, via: Via, granted: Granted) -> Option<Source<'_>> {
        let rights = Rights::Role(self.role(granted.role)?);
        Some(Source { via, period: granted.period, rights })
    }

    /// The organization access role, where the portfolio is open to this subject (VIS-2, VIS-3).
    fn openness<'a>(&'a self, portfolio: &Portfolio, subject: Resolved<'a>) -> Option<Source<'a>> {
        let Settings::Own { visibility: Visibility::Open, access_role } = portfolio.settings else {
            return None;
        };
        let role = self.role(access_role)?;
        let rights = match subject.open_to()? {
            OpenTo::Editor => Rights::Role(role),
            OpenTo::Viewer => Rights::Bounded { role, viewer: self.viewer.as_ref() },
        };
        Some(Source { via: Via::OrganizationAccess, period: Period::ALWAYS, rights })
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
    /// What the visibility of portfolios means to this person (DIR-8); none if nothing.
    pub(super) fn open_to(&self) -> Option<OpenTo> {
        match self.standing.site_role() {
            Some(SiteRole::Editor) => Some(OpenTo::Editor),
            Some(SiteRole::Viewer) => Some(OpenTo::Viewer),
            Some(SiteRole::Guest) | None => None,
        }
    }
}

impl Resolved<'_> {
    /// What the visibility of portfolios means to this subject (DIR-8); none if nothing. A group
    /// is not a user: it has its own and its ancestors' grants only (DIR-4).
    pub(super) fn open_to(self) -> Option<OpenTo> {
        self.id.as_person().and(self.party.open_to())
    }

    /// Whether it is an administrator of the organization, active or not; a group is none (DIR-4).
    pub(super) fn is_administrator(self) -> bool {
        self.id.as_person().is_some() && self.party.standing.is_administrator()
    }

    /// What an administrator holds on every portfolio (DIR-7).
    fn administration(self) -> Option<Source<'static>> {
        self.is_administrator().then_some(Source {
            via: Via::Administrator,
            period: Period::ALWAYS,
            rights: Rights::Administrator,
        })
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
