//! Portfolios as lists show them (VIS-10).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::access_settings::Visibility;
use crate::domain::page::Page;
use crate::domain::role::MANAGER;
use crate::domain::{PortfolioId, RoleKey, Subject, Timestamp, UserId};

use super::excerpt::Excerpt;
use super::global::Global;
use super::list::is_administrator;
use super::snapshot::{Granted, Party, Portfolio, Snapshot};
use super::source::is_deactivated;

/// Why a portfolio is listed to a subject: the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// A grant in force reaches the subject, its own or a group's.
    Mine,
    /// The portfolio is restricted or open to the subject.
    Organization,
    /// The subject administers the organization, or is the system.
    Administered,
}

/// A portfolio as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortfolioRow {
    /// Which one.
    pub id: PortfolioId,
    /// Why it is listed.
    pub view: View,
    /// The roles that the subject has here now, by whatever source: sorted, each once. Being an
    /// administrator is no role.
    pub roles: Vec<RoleKey>,
    /// What internal users without a grant may do.
    pub visibility: Visibility,
    /// The active users with a grant of their own as manager that is in force, sorted.
    pub managers: Vec<UserId>,
    /// How many active users a grant in force reaches, directly or through groups.
    pub member_count: usize,
}

/// The row of one portfolio; none if there is no such, or it does not exist for the subject
/// (VIS-4). No subject is the system, to whom everything is listed.
#[must_use]
pub fn portfolio_row(
    global: &Global,
    snapshot: &Snapshot,
    subject: Option<&Subject>,
    portfolio: &str,
    at: Timestamp,
) -> Option<PortfolioRow> {
    let id = snapshot.portfolios.get_key_value(portfolio)?.0;
    let mut rows = Rows { global, snapshot, subject, at, reached: BTreeMap::new() };
    let view = rows.view(id)?;
    rows.row(id, view)
}

/// The portfolios listed to a subject, in the order of their ids: without a view all of them; as
/// *mine* those that a grant in force reaches, as *organization* the others; as *administered* all,
/// but only to an administrator. No subject is the system: an administrator without grants.
#[must_use]
pub fn listed_portfolios(
    global: &Global,
    snapshot: &Snapshot,
    subject: Option<&Subject>,
    view: Option<View>,
    at: Timestamp,
    page: &Page<PortfolioId>,
) -> Excerpt<PortfolioRow> {
    let administers = subject.is_none_or(|subject| is_administrator(global, snapshot, subject));
    let is_wanted = |why: &View| match view {
        None => true,
        Some(View::Mine) => *why == View::Mine,
        Some(View::Organization) => *why != View::Mine,
        Some(View::Administered) => administers,
    };
    let mut rows = Rows { global, snapshot, subject, at, reached: BTreeMap::new() };
    let ids = snapshot.portfolios_after(page.after.as_ref());
    let wanted = ids.filter_map(|id| Some((id, rows.view(id).filter(is_wanted)?)));
    // Rows are made of what is on the page alone: counting members is what costs.
    let Excerpt { rows: listed, more } = Excerpt::of(wanted, page.size);
    let rows = listed.into_iter().filter_map(|(id, view)| rows.row(id, view)).collect();
    Excerpt { rows, more }
}

/// What the rows of a page have in common.
struct Rows<'a> {
    global: &'a Global,
    snapshot: &'a Snapshot,
    subject: Option<&'a Subject>,
    at: Timestamp,
    /// The active users, sorted, whom these groups reach: many portfolios are granted to the same.
    reached: BTreeMap<BTreeSet<u32>, Vec<u32>>,
}

/// For how many sets of groups it is kept whom they reach: each may be as long as the organization
/// is large.
const MOST_REACHED: usize = 16;

impl Rows<'_> {
    /// Whether and why a portfolio is listed; to the system everything is.
    fn view(&self, id: &PortfolioId) -> Option<View> {
        match self.subject {
            Some(subject) => view_of(self.global, self.snapshot, subject, id.as_str(), self.at),
            None => Some(View::Administered),
        }
    }

    /// The row of a portfolio that is listed as `view`; none if there is no such.
    fn row(&mut self, id: &PortfolioId, view: View) -> Option<PortfolioRow> {
        let (global, snapshot, at) = (self.global, self.snapshot, self.at);
        let found = snapshot.portfolio(id.as_str())?;
        let roles = self.subject.map(|subject| roles(snapshot, subject, found, at));
        Some(PortfolioRow {
            id: id.clone(),
            view,
            roles: roles.unwrap_or_default(),
            visibility: found.visibility,
            managers: managers(global, snapshot, found, |granted| granted.period.contains(at)),
            member_count: self.member_count(found),
        })
    }

    fn member_count(&mut self, portfolio: &Portfolio) -> usize {
        let (global, snapshot, at) = (self.global, self.snapshot, self.at);
        let is_group = |granted: &Granted| {
            snapshot.party(granted.subject).is_some_and(|party| party.node.is_some())
        };
        let is_member = |id: &u32| {
            snapshot.party(*id).is_some_and(|party| active_user(global, party).is_some())
        };
        let in_force = || portfolio.grants().filter(move |granted| granted.period.contains(at));
        let groups: BTreeSet<u32> =
            in_force().filter(is_group).map(|granted| granted.subject).collect();
        if self.reached.len() == MOST_REACHED && !self.reached.contains_key(&groups) {
            self.reached.clear();
        }
        let through_groups = self.reached.entry(groups).or_insert_with(|| {
            let reached = snapshot.reached_by(in_force().filter(is_group));
            reached.into_iter().filter(is_member).collect()
        });
        let named = in_force().map(|granted| granted.subject).filter(is_member);
        let besides: BTreeSet<u32> =
            named.filter(|id| through_groups.binary_search(id).is_err()).collect();
        through_groups.len() + besides.len()
    }
}

/// Whether and why the portfolio is listed to the subject (VIS-2, VIS-4, DIR-7).
pub(super) fn view_of(
    global: &Global,
    snapshot: &Snapshot,
    subject: &Subject,
    portfolio: &str,
    at: Timestamp,
) -> Option<View> {
    let found = snapshot.resolve(subject)?;
    let portfolio = snapshot.portfolio(portfolio)?;
    if is_deactivated(global, subject, Some(found)) {
        return None;
    }
    if snapshot.explicit_sources(portfolio, found).any(|source| source.in_force(at)) {
        return Some(View::Mine);
    }
    match portfolio.visibility {
        Visibility::Restricted | Visibility::Open if found.party.open_to().is_some() => {
            Some(View::Organization)
        }
        _ => found.party.is_administrator().then_some(View::Administered),
    }
}

/// Whether the portfolio has a manager who lasts (MEM-6): an active user, internal or not, with a
/// grant of their own as manager that has begun and has no end.
#[must_use]
pub fn is_managed(global: &Global, snapshot: &Snapshot, portfolio: &str, at: Timestamp) -> bool {
    !lasting_managers(global, snapshot, portfolio, at).is_empty()
}

/// The users who keep the portfolio managed (MEM-6), sorted. No act takes away the last.
#[must_use]
pub fn lasting_managers(
    global: &Global,
    snapshot: &Snapshot,
    portfolio: &str,
    at: Timestamp,
) -> Vec<UserId> {
    let lasts = |granted: &Granted| granted.period.contains(at) && granted.period.is_unending();
    let portfolio = snapshot.portfolio(portfolio);
    portfolio.map(|found| managers(global, snapshot, found, lasts)).unwrap_or_default()
}

/// The portfolios without a manager who lasts (MEM-6), in the order of their ids.
#[must_use]
pub fn unmanaged_portfolios(
    global: &Global,
    snapshot: &Snapshot,
    at: Timestamp,
    page: &Page<PortfolioId>,
) -> Excerpt<PortfolioId> {
    let ids = snapshot.portfolios_after(page.after.as_ref());
    let unmanaged = ids.filter(|id| !is_managed(global, snapshot, id.as_str(), at));
    Excerpt::of(unmanaged.cloned(), page.size)
}

fn managers(
    global: &Global,
    snapshot: &Snapshot,
    portfolio: &Portfolio,
    counts: impl Fn(&Granted) -> bool,
) -> Vec<UserId> {
    let Some(manager) = snapshot.role_ids.get(MANAGER) else { return Vec::new() };
    let granted = portfolio.grants().filter(|granted| granted.role == *manager);
    let parties = granted.filter(counts).filter_map(|granted| snapshot.party(granted.subject));
    let users: BTreeSet<&UserId> = parties.filter_map(|party| active_user(global, party)).collect();
    users.into_iter().cloned().collect()
}

fn roles(
    snapshot: &Snapshot,
    subject: &Subject,
    portfolio: &Portfolio,
    at: Timestamp,
) -> Vec<RoleKey> {
    let Some(found) = snapshot.resolve(subject) else { return Vec::new() };
    let in_force = snapshot.sources(portfolio, found).filter(|source| source.in_force(at));
    let keys: BTreeSet<&RoleKey> =
        in_force.filter_map(|source| Some(source.role()?.key())).collect();
    keys.into_iter().cloned().collect()
}

pub(super) fn active_user<'a>(global: &Global, party: &'a Party) -> Option<&'a UserId> {
    match &party.subject {
        Subject::User(id) if !global.is_deactivated(id.as_str()) => Some(id),
        _ => None,
    }
}
