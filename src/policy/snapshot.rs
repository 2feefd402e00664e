//! One organization's facts, compiled for checks.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use crate::domain::access_settings::Visibility;
use crate::domain::directory::Standing;
use crate::domain::{GroupId, OrganizationId, PortfolioId, RoleKey, Subject};

use super::period::Period;
use super::role::Role;

/// The facts of one organization, or as many of them as a question needs, compiled.
///
/// Immutable, and persistent: a clone is cheap, and a change rebuilds only what it names. Subjects
/// and roles are numbered densely in the order in which they are met.
///
/// INVARIANT (append-only): a number is never given to another subject or role, so that what a
/// change does not name stays valid. Compiling anew drops the numbers nobody uses any more.
///
/// What names nothing known is lenient in the safe direction: a role without a fact permits
/// nothing, a group without one is in no group. A snapshot of some facts that is to answer for a
/// site viewer needs the role `viewer` as well (DIR-8).
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) organization: OrganizationId,
    pub(super) role_ids: imbl::HashMap<RoleKey, u32>,
    pub(super) roles: Arc<Vec<Arc<Role>>>,
    /// The built-in viewer: the most that a site viewer gets from openness (DIR-8).
    pub(super) viewer: Arc<Role>,
    pub(super) subject_ids: imbl::HashMap<Subject, u32>,
    pub(super) parties: imbl::Vector<Party>,
    pub(super) portfolios: imbl::HashMap<PortfolioId, Arc<Portfolio>>,
    /// The same portfolios in the order of their ids, for lists.
    pub(super) portfolio_order: imbl::OrdSet<PortfolioId>,
    /// Those who are named as administrators and are at home, active or not.
    pub(super) administrators: imbl::OrdSet<u32>,
    /// What `bytes` answers, kept in step by every change.
    pub(super) bytes: usize,
}

/// A subject, as the organization knows it.
#[derive(Clone, Debug)]
pub(super) struct Party {
    pub subject: Subject,
    pub standing: Standing,
    pub active: bool,
    /// The groups it is directly in.
    pub groups: Arc<[u32]>,
    /// For a group: its place among the groups.
    pub node: Option<Arc<GroupNode>>,
}

/// A subject, looked up once for all that is asked about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved<'a> {
    pub id: u32,
    pub party: &'a Party,
}

/// A group among groups.
#[derive(Clone, Debug)]
pub(super) struct GroupNode {
    /// The groups directly in it.
    pub children: Vec<u32>,
    /// The users and service accounts directly in it. Persistent: a group has many of them, and a
    /// change concerns one.
    pub members: imbl::OrdSet<u32>,
    /// Itself and every group it is in, directly or not: sorted, no duplicates. Kept per group and
    /// never per user, so that a nested group costs its members nothing.
    pub closure: Box<[u32]>,
}

/// A portfolio's effective settings.
#[derive(Clone, Debug)]
pub(super) struct Portfolio {
    pub visibility: Visibility,
    pub access_role: u32,
    /// Sorted by subject.
    grants: Box<[Grant]>,
    /// The periods of the grants that have one, sorted by the grant's place.
    periods: Box<[(u32, Period)]>,
}

/// Eight bytes a grant. The few that have a period say so in the role's highest bit.
#[derive(Clone, Copy, Debug)]
struct Grant {
    subject: u32,
    role: u32,
}

const HAS_PERIOD: u32 = 1 << 31;

/// A grant as it is read: whose, as what, when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    pub subject: u32,
    pub role: u32,
    pub period: Period,
}

// === impl Snapshot ===

impl Snapshot {
    /// Whose facts these are.
    #[must_use]
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// An estimate of the memory held, in bytes: the size of every entry and of its text, with a
    /// surcharge of 48 bytes for each entry of a tree. What two snapshots share counts in both.
    /// It is kept, not computed: asking costs nothing.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The ids of its portfolios, in no order.
    pub fn portfolio_ids(&self) -> impl Iterator<Item = &PortfolioId> {
        self.portfolios.keys()
    }

    /// Whether it has a portfolio of this id.
    #[must_use]
    pub fn contains_portfolio(&self, id: &str) -> bool {
        self.portfolios.contains_key(id)
    }

    pub(super) fn portfolio(&self, id: &str) -> Option<&Portfolio> {
        self.portfolios.get(id).map(Arc::as_ref)
    }

    pub(super) fn resolve(&self, subject: &Subject) -> Option<Resolved<'_>> {
        let id = *self.subject_ids.get(subject)?;
        Some(Resolved { id, party: self.party(id)? })
    }

    pub(super) fn party(&self, id: u32) -> Option<&Party> {
        self.parties.get(id as usize)
    }

    /// The ids of the portfolios behind this one, or of all, in order.
    pub(super) fn portfolios_after(
        &self,
        after: Option<&PortfolioId>,
    ) -> impl Iterator<Item = &PortfolioId> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.portfolio_order.range::<_, PortfolioId>((start, Bound::Unbounded))
    }

    /// Of a group: which one it is.
    pub(super) fn group_id(&self, id: u32) -> Option<&GroupId> {
        match &self.party(id)?.subject {
            Subject::Group(group) => Some(group),
            Subject::User(_) | Subject::ServiceAccount(_) => None,
        }
    }

    pub(super) fn role(&self, id: u32) -> Option<&Role> {
        self.roles.get(id as usize).map(Arc::as_ref)
    }
}

// === impl Party ===

impl Party {
    /// Someone of whom no fact says anything.
    pub fn unknown(subject: Subject, node: Option<Arc<GroupNode>>) -> Self {
        let standing = Standing::default();
        Self { subject, standing, active: true, groups: Arc::default(), node }
    }

    /// Whether any fact says anything of it.
    pub fn is_known(&self) -> bool {
        self.standing != Standing::default() || !self.groups.is_empty()
    }

    pub fn closure(&self) -> Option<&[u32]> {
        self.node.as_deref().map(|node| node.closure.as_ref())
    }

    pub fn weight(&self) -> usize {
        let node = |n: &Arc<GroupNode>| {
            let entries = n.children.len() + n.closure.len() + 2 * n.members.len();
            size_of::<GroupNode>() + 4 * entries
        };
        size_of::<Self>() + 4 * self.groups.len() + self.node.as_ref().map_or(0, node)
    }
}

// === impl Portfolio ===

impl Portfolio {
    pub fn new(visibility: Visibility, access_role: u32, mut grants: Vec<Granted>) -> Self {
        grants.sort_by_key(|grant| grant.subject);
        let has_period = |grant: &Granted| grant.period != Period::ALWAYS;
        let periods = (0..)
            .zip(&grants)
            .filter(|(_, grant)| has_period(grant))
            .map(|(place, grant)| (place, grant.period))
            .collect();
        let pack = |grant: &Granted| Grant {
            subject: grant.subject,
            role: if has_period(grant) { grant.role | HAS_PERIOD } else { grant.role },
        };
        let grants = grants.iter().map(pack).collect();
        Self { visibility, access_role, grants, periods }
    }

    /// Every grant, sorted by subject.
    pub fn grants(&self) -> impl Iterator<Item = Granted> {
        (0..self.grants.len()).filter_map(|place| self.grant(place))
    }

    /// The grants of one subject.
    pub fn grants_of(&self, subject: u32) -> impl Iterator<Item = Granted> {
        let first = self.grants.partition_point(|grant| grant.subject < subject);
        let of_subject = move |grant: &Granted| grant.subject == subject;
        (first..).map_while(|place| self.grant(place)).take_while(of_subject)
    }

    /// The grants of any of these subjects, which are sorted without duplicates.
    pub fn grants_of_any<'a>(&'a self, subjects: &'a [u32]) -> Join<'a> {
        Join { portfolio: self, subjects, place: 0 }
    }

    pub fn weight(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.grants) + size_of_val(&*self.periods)
    }

    fn grant(&self, place: usize) -> Option<Granted> {
        let grant = self.grants.get(place)?;
        let period = if grant.role & HAS_PERIOD == 0 {
            Period::ALWAYS
        } else {
            let found = self.periods.binary_search_by_key(&place, |(at, _)| *at as usize).ok()?;
            self.periods.get(found)?.1
        };
        Some(Granted { subject: grant.subject, role: grant.role & !HAS_PERIOD, period })
    }
}

/// How many entries at the start satisfy the condition, which holds up to some place and not from
/// there on. Doubles its steps first: in lists this short the place is near.
fn gallop<T>(sorted: &[T], before: impl Fn(&T) -> bool) -> usize {
    let mut low = 0;
    let mut step = 1;
    while sorted.get(low + step).is_some_and(&before) {
        low += step;
        step *= 2;
    }
    let end = (low + step).min(sorted.len());
    let between = sorted.get(low..end).unwrap_or_default();
    low + between.partition_point(before)
}

/// Two sorted lists leap over each other's gaps, so that the shorter one sets the cost.
pub(super) struct Join<'a> {
    portfolio: &'a Portfolio,
    subjects: &'a [u32],
    place: usize,
}

impl Iterator for Join<'_> {
    type Item = Granted;

    fn next(&mut self) -> Option<Granted> {
        loop {
            let subject = *self.subjects.first()?;
            let rest = self.portfolio.grants.get(self.place..)?;
            let granted = rest.first()?.subject;
            match granted.cmp(&subject) {
                Ordering::Equal => {
                    self.place += 1;
                    return self.portfolio.grant(self.place - 1);
                }
                Ordering::Less => {
                    self.place += gallop(rest, |grant| grant.subject < subject);
                }
                Ordering::Greater => {
                    let behind = gallop(self.subjects, |subject| *subject < granted);
                    self.subjects = self.subjects.get(behind..)?;
                }
            }
        }
    }
}
