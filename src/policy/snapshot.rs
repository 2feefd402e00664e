//! One organization's facts, compiled for checks.

use std::ops::Bound;
use std::sync::Arc;

use crate::domain::access_settings::Visibility;
use crate::domain::{GroupId, OrganizationId, PortfolioId, RoleKey, Subject};

use super::item::Items;
use super::links::Link;
use super::names::Names;
use super::pages::Pages;
use super::party::{Closure, Group, Party, Who};
use super::portfolio::{Portfolio, Settings};
use super::role::Role;

/// What an entry of an ordered tree takes: itself, and its share of nodes that are not full.
const ENTRY: usize = 40;

/// The facts of one organization, or as many of them as a question needs, compiled.
///
/// Immutable, and persistent: a clone is cheap, and a change rebuilds only what it names. People,
/// groups, portfolios and roles are numbered densely, each for themselves (see `Names`); what is
/// known of number *n* is entry *n* of some `Pages`.
///
/// INVARIANT (reverse index): a portfolio is among the portfolios of exactly those who are named by
/// one of its grants, in force or not. It finds candidates; only the check decides.
///
/// INVARIANT (links): a linked portfolio knows the root of its chain and the owners along it, is
/// among the followers of that root, and stands on the root's shelf.
///
/// What names nothing known is lenient in the safe direction: a role without a fact permits
/// nothing, a group without one is in no group. A snapshot of some facts that is to answer for a
/// site viewer needs the role `viewer` as well (DIR-8).
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) organization: OrganizationId,
    pub(super) role_names: Names<RoleKey>,
    pub(super) roles: Arc<Vec<Arc<Role>>>,
    /// The built-in viewer: the most that a site viewer gets from openness (DIR-8).
    pub(super) viewer: Arc<Role>,
    pub(super) people_names: Names<Subject>,
    pub(super) people: Pages<Party, 64>,
    pub(super) group_names: Names<Subject>,
    pub(super) groups: Pages<Group, 32>,
    pub(super) closures: Pages<Closure, 64>,
    pub(super) portfolio_names: Names<PortfolioId>,
    /// None: it was there, and may come back.
    pub(super) portfolios: Pages<Option<Portfolio>, 32>,
    /// Those that are there, in the order of their ids.
    pub(super) order: Ordered,
    /// Those of them that somebody may see without a grant, linked ones where their roots stand.
    pub(super) shelves: imbl::OrdMap<Shelf, Ordered>,
    /// The linked ones, and what each is by itself.
    pub(super) links: imbl::OrdMap<u32, Link>,
    /// The linked ones by the roots of their chains, or by `NOWHERE`.
    pub(super) followers: imbl::OrdMap<u32, Ordered>,
    /// Those who are named as administrators and are at home, active or not.
    pub(super) administrators: imbl::OrdSet<u32>,
    /// What portfolios show.
    pub(super) items: Items,
    /// What the entries of all the pages point to, and the roles, in bytes: kept in step by every
    /// change.
    pub(super) pointed_to: usize,
}

/// Portfolios in the order of their ids, and their numbers.
pub(super) type Ordered = imbl::OrdMap<PortfolioId, u32>;

/// What visibility gives without a grant: the portfolios that give the same are found together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shelf {
    /// They are open with this organization access role.
    Open(u32),
    /// They are listed, and no more.
    Restricted,
}

impl Shelf {
    /// On which shelf a portfolio stands by its own settings.
    pub fn of(settings: Settings) -> Option<Self> {
        let Settings::Own { visibility, access_role } = settings else { return None };
        match visibility {
            Visibility::Open => Some(Self::Open(access_role)),
            Visibility::Restricted => Some(Self::Restricted),
            Visibility::Private => None,
        }
    }
}

/// A subject, looked up once for all that is asked about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved<'a> {
    pub id: Who,
    pub party: &'a Party,
}

impl Snapshot {
    pub(super) fn empty(organization: OrganizationId) -> Self {
        Self {
            organization,
            role_names: Names::default(),
            roles: Arc::default(),
            viewer: Arc::new(Role::undefined(RoleKey::viewer())),
            people_names: Names::default(),
            people: Pages::default(),
            group_names: Names::default(),
            groups: Pages::default(),
            closures: Pages::default(),
            portfolio_names: Names::default(),
            portfolios: Pages::default(),
            order: Ordered::new(),
            shelves: imbl::OrdMap::new(),
            links: imbl::OrdMap::new(),
            followers: imbl::OrdMap::new(),
            administrators: imbl::OrdSet::new(),
            items: Items::default(),
            pointed_to: 0,
        }
    }

    /// Whose facts these are.
    #[must_use]
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// An estimate of the memory held, in bytes: every entry, every list and text as the allocator
    /// rounds them. What two snapshots share counts in both. Asking costs nothing.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let names = self.role_names.bytes()
            + self.people_names.bytes()
            + self.group_names.bytes()
            + self.portfolio_names.bytes();
        let pages = self.people.bytes()
            + self.groups.bytes()
            + self.closures.bytes()
            + self.portfolios.bytes();
        let shelved: usize = self.shelves.values().map(Ordered::len).sum();
        // Each in two trees.
        let linked = 2 * self.links.len();
        let entries = self.order.len() + shelved + linked + self.administrators.len();
        size_of::<Self>() + self.items.bytes() + names + pages + ENTRY * entries + self.pointed_to
    }

    /// The ids of its portfolios, in order.
    pub fn portfolio_ids(&self) -> impl Iterator<Item = &PortfolioId> {
        self.order.keys()
    }

    /// How many portfolios it has. Asking costs nothing.
    #[must_use]
    pub fn portfolio_count(&self) -> usize {
        self.order.len()
    }

    /// Whether it has a portfolio of this id.
    #[must_use]
    pub fn contains_portfolio(&self, id: &str) -> bool {
        self.portfolio(id).is_some()
    }

    pub(super) fn portfolio(&self, id: &str) -> Option<&Portfolio> {
        self.portfolio_of(self.portfolio_names.find(id)?)
    }

    pub(super) fn portfolio_of(&self, number: u32) -> Option<&Portfolio> {
        self.portfolios.get(number as usize)?.as_ref()
    }

    pub(super) fn resolve(&self, subject: &Subject) -> Option<Resolved<'_>> {
        let id = self.who(subject)?;
        Some(Resolved { id, party: self.party(id)? })
    }

    pub(super) fn who(&self, subject: &Subject) -> Option<Who> {
        match subject {
            Subject::Group(_) => self.group_names.find(subject).map(Who::group),
            Subject::User(_) | Subject::ServiceAccount(_) => {
                self.people_names.find(subject).map(Who::person)
            }
        }
    }

    pub(super) fn party(&self, id: Who) -> Option<&Party> {
        match id.as_group() {
            Some(group) => self.group(group).map(|group| &group.party),
            None => self.people.get(id.as_person()? as usize),
        }
    }

    pub(super) fn subject(&self, id: Who) -> Option<&Subject> {
        match id.as_group() {
            Some(group) => self.group_names.key(group),
            None => self.people_names.key(id.as_person()?),
        }
    }

    pub(super) fn group(&self, number: u32) -> Option<&Group> {
        self.groups.get(number as usize)
    }

    /// Itself and every group it is in.
    pub(super) fn closure(&self, group: u32) -> &[u32] {
        self.closures.get(group as usize).map(Closure::groups).unwrap_or_default()
    }

    /// The groups of a subject, directly or not, a group's own number included: for each group it
    /// is directly in the closure of that.
    pub(super) fn closures<'a>(&'a self, subject: Resolved<'a>) -> impl Iterator<Item = &'a [u32]> {
        let (own, groups) = match subject.id.as_group() {
            Some(group) => (Some(self.closure(group)), &[][..]),
            None => (None, subject.party.groups()),
        };
        own.into_iter().chain(groups.iter().map(|group| self.closure(*group)))
    }

    /// The portfolios behind this one, or all, in the order of their ids.
    pub(super) fn portfolios_after(
        &self,
        after: Option<&PortfolioId>,
    ) -> impl Iterator<Item = (&PortfolioId, &Portfolio)> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.order.range::<_, PortfolioId>((start, Bound::Unbounded));
        ids.filter_map(|(id, number)| Some((id, self.portfolio_of(*number)?)))
    }

    /// Of a group: which one it is.
    pub(super) fn group_id(&self, number: u32) -> Option<&GroupId> {
        match self.group_names.key(number)? {
            Subject::Group(group) => Some(group),
            Subject::User(_) | Subject::ServiceAccount(_) => None,
        }
    }

    pub(super) fn role(&self, id: u32) -> Option<&Role> {
        self.roles.get(id as usize).map(Arc::as_ref)
    }
}
