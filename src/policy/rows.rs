//! Portfolios as lists show them (VIS-10).

use std::collections::BTreeSet;

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
    let (id, found) = snapshot.portfolios.get_key_value(portfolio)?;
    let view = match subject {
        Some(subject) => view_of(global, snapshot, subject, portfolio, at)?,
        None => View::Administered,
    };
    Some(PortfolioRow {
        id: id.clone(),
        view,
        roles: subject.map(|subject| roles(snapshot, subject, found, at)).unwrap_or_default(),
        visibility: found.visibility,
        managers: managers(global, snapshot, found, |granted| granted.period.contains(at)),
        member_count: member_count(global, snapshot, found, at),
    })
}

/// The portfolios listed to a subject, in the order of their ids. *Mine* are those that a grant in
/// force reaches; *organization* those listed that are not mine, for an administrator also the
/// private ones; *administered* all, for an administrator; no view: whatever is listed. No subject
/// is the system: nothing is *mine*, every other view is everything.
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
    // Looked at before the row is made: counting members is what costs.
    let is_wanted = |id: &&PortfolioId| {
        let why = match subject {
            Some(subject) => view_of(global, snapshot, subject, id.as_str(), at),
            None => Some(View::Administered),
        };
        match (view, why) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(View::Mine), Some(why)) => why == View::Mine,
            (Some(View::Organization), Some(why)) => why != View::Mine,
            (Some(View::Administered), Some(_)) => administers,
        }
    };
    let ids = snapshot.portfolios_after(page.after.as_ref()).filter(is_wanted);
    let row = |id: &PortfolioId| portfolio_row(global, snapshot, subject, id.as_str(), at);
    Excerpt::of(ids.filter_map(row), page.size)
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

fn member_count(
    global: &Global,
    snapshot: &Snapshot,
    portfolio: &Portfolio,
    at: Timestamp,
) -> usize {
    let reached = snapshot.reached_by(portfolio.grants().filter(|g| g.period.contains(at)));
    let parties = reached.into_iter().filter_map(|id| snapshot.party(id));
    parties.filter(|party| active_user(global, party).is_some()).count()
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
