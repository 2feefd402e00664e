//! Portfolios as lists show them (VIS-10).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::access_settings::Visibility;
use crate::domain::page::Page;
use crate::domain::role::MANAGER;
use crate::domain::{PortfolioId, RoleKey, Subject, Timestamp, UserId};

use super::excerpt::Excerpt;
use super::global::Global;
use super::list::is_administrator;
use super::party::Who;
use super::portfolio::{Granted, Portfolio};
use super::snapshot::Snapshot;
use super::source::{Reached, is_deactivated};
use super::walk::Walk;

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
    let (id, number) = snapshot.order.get_key_value(portfolio)?;
    let found = snapshot.portfolio_of(*number)?;
    let mut rows = Rows::of(global, snapshot, subject, at);
    let view = rows.view(found)?;
    Some(rows.row(id, found, view))
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
        None | Some(View::Administered) => true,
        Some(View::Mine) => *why == View::Mine,
        Some(View::Organization) => *why != View::Mine,
    };
    if view == Some(View::Administered) && !administers {
        return Excerpt { rows: Vec::new(), more: false };
    }
    let mut rows = Rows::of(global, snapshot, subject, at);
    let candidates = rows.candidates(view, page.after.as_ref());
    let wanted = candidates.filter_map(|(id, portfolio)| {
        Some((id, portfolio, rows.view(portfolio).filter(is_wanted)?))
    });
    // Rows are made of what is on the page alone: counting members is what costs.
    let Excerpt { rows: listed, more } = Excerpt::of(wanted, page.size);
    let row = |(id, portfolio, view)| rows.row(id, portfolio, view);
    Excerpt { rows: listed.into_iter().map(row).collect(), more }
}

/// What the rows of a page have in common.
struct Rows<'a> {
    global: &'a Global,
    snapshot: &'a Snapshot,
    viewer: Viewer<'a>,
    at: Timestamp,
    /// The active users, sorted, whom these groups reach: many portfolios are granted to the same.
    reached: BTreeMap<BTreeSet<u32>, Vec<u32>>,
}

/// To whom portfolios are listed.
#[allow(clippy::large_enum_variant, reason = "there is one for a whole list")]
enum Viewer<'a> {
    System,
    Subject(Reached<'a>),
    /// To whom nothing exists.
    Nobody,
}

/// For how many sets of groups it is kept whom they reach: each may be as long as the organization
/// is large.
const MOST_REACHED: usize = 16;

impl<'a> Rows<'a> {
    fn of(
        global: &'a Global,
        snapshot: &'a Snapshot,
        subject: Option<&Subject>,
        at: Timestamp,
    ) -> Self {
        let viewer = match subject {
            None => Viewer::System,
            Some(subject) => {
                listed_to(global, snapshot, subject).map_or(Viewer::Nobody, Viewer::Subject)
            }
        };
        Self { global, snapshot, viewer, at, reached: BTreeMap::new() }
    }

    /// The portfolios behind `after` that may be listed, in the order of their ids, and some that
    /// are not.
    fn candidates(&self, view: Option<View>, after: Option<&PortfolioId>) -> Walk<'a> {
        let mut walk = Walk::begin(self.snapshot, after);
        match &self.viewer {
            Viewer::Nobody => {}
            Viewer::System => walk.add_all(),
            Viewer::Subject(reached) => {
                let subject = reached.subject;
                if view == Some(View::Mine) {
                    walk.add_granted(subject);
                } else if subject.is_administrator() {
                    walk.add_all();
                } else {
                    walk.add_granted(subject);
                    if subject.open_to().is_some() {
                        walk.add_shelves(|_| true);
                    }
                }
            }
        }
        walk
    }

    /// Whether and why a portfolio is listed; to the system everything is.
    fn view(&self, portfolio: &Portfolio) -> Option<View> {
        match &self.viewer {
            Viewer::System => Some(View::Administered),
            Viewer::Subject(reached) => view_of(self.snapshot, reached, portfolio, self.at),
            Viewer::Nobody => None,
        }
    }

    /// The row of a portfolio that is listed as `view`.
    fn row(&mut self, id: &PortfolioId, found: &Portfolio, view: View) -> PortfolioRow {
        let (global, snapshot, at) = (self.global, self.snapshot, self.at);
        let roles = match &self.viewer {
            Viewer::Subject(reached) => roles(snapshot, reached, found, at),
            Viewer::System | Viewer::Nobody => Vec::new(),
        };
        PortfolioRow {
            id: id.clone(),
            view,
            roles,
            visibility: snapshot.effective(found).visibility(),
            managers: managers(global, snapshot, found, |granted| granted.period.contains(at)),
            member_count: self.member_count(found),
        }
    }

    fn member_count(&mut self, portfolio: &Portfolio) -> usize {
        let (global, snapshot, at) = (self.global, self.snapshot, self.at);
        let is_member = |id: &u32| {
            let subject = snapshot.people_names.key(*id);
            subject.is_some_and(|subject| active_user(global, subject).is_some())
        };
        let grants = snapshot.effective(portfolio).grants();
        let in_force = grants.filter(|granted| granted.period.contains(at));
        let (mut groups, mut named) = (BTreeSet::new(), BTreeSet::new());
        for granted in in_force {
            groups.extend(granted.subject.as_group());
            named.extend(granted.subject.as_person().filter(is_member));
        }
        if self.reached.len() == MOST_REACHED && !self.reached.contains_key(&groups) {
            self.reached.clear();
        }
        let through_groups = self.reached.entry(groups).or_insert_with_key(|groups| {
            let reached = snapshot.reached_by(groups.iter().map(|group| Who::group(*group)));
            reached.into_iter().filter(is_member).collect()
        });
        let is_besides = |id: &&u32| through_groups.binary_search(id).is_err();
        through_groups.len() + named.iter().filter(is_besides).count()
    }
}

/// The subject, if anything at all may be listed to it: it is known and not deactivated.
pub(super) fn listed_to<'a>(
    global: &Global,
    snapshot: &'a Snapshot,
    subject: &Subject,
) -> Option<Reached<'a>> {
    let found = snapshot.resolve(subject)?;
    let active = !is_deactivated(global, subject, Some(found));
    active.then(|| Reached::by(snapshot, found))
}

/// Whether and why the portfolio is listed to the subject (VIS-2, VIS-4, DIR-7).
pub(super) fn view_of(
    snapshot: &Snapshot,
    reached: &Reached<'_>,
    portfolio: &Portfolio,
    at: Timestamp,
) -> Option<View> {
    if snapshot.explicit_sources(portfolio, reached).any(|source| source.in_force(at)) {
        return Some(View::Mine);
    }
    match snapshot.effective(portfolio).visibility() {
        Visibility::Restricted | Visibility::Open if reached.subject.open_to().is_some() => {
            Some(View::Organization)
        }
        _ => reached.subject.is_administrator().then_some(View::Administered),
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
    let portfolio = snapshot.portfolio(portfolio);
    portfolio.map(|found| managers(global, snapshot, found, lasts_at(at))).unwrap_or_default()
}

fn lasts_at(at: Timestamp) -> impl Fn(&Granted) -> bool {
    move |granted| granted.period.contains(at) && granted.period.is_unending()
}

/// The portfolios in use without a manager who lasts (MEM-6), in the order of their ids. What is
/// archived needs none until it is restored.
#[must_use]
pub fn unmanaged_portfolios(
    global: &Global,
    snapshot: &Snapshot,
    at: Timestamp,
    page: &Page<PortfolioId>,
) -> Excerpt<PortfolioId> {
    let in_use =
        snapshot.portfolios_after(page.after.as_ref()).filter(|(_, found)| !found.archived);
    let unmanaged =
        in_use.filter(|(_, found)| managers(global, snapshot, found, lasts_at(at)).is_empty());
    Excerpt::of(unmanaged.map(|(id, _)| id.clone()), page.size)
}

fn managers(
    global: &Global,
    snapshot: &Snapshot,
    portfolio: &Portfolio,
    counts: impl Fn(&Granted) -> bool,
) -> Vec<UserId> {
    let Some(manager) = snapshot.role_names.find(MANAGER) else { return Vec::new() };
    let grants = snapshot.effective(portfolio).grants();
    let granted = grants.filter(|granted| granted.role == manager);
    let subjects = granted.filter(counts).filter_map(|granted| snapshot.subject(granted.subject));
    let users: BTreeSet<&UserId> =
        subjects.filter_map(|subject| active_user(global, subject)).collect();
    users.into_iter().cloned().collect()
}

fn roles(
    snapshot: &Snapshot,
    reached: &Reached<'_>,
    portfolio: &Portfolio,
    at: Timestamp,
) -> Vec<RoleKey> {
    let in_force = snapshot.sources(portfolio, reached).filter(|source| source.in_force(at));
    let keys: BTreeSet<&RoleKey> =
        in_force.filter_map(|source| Some(source.role()?.key())).collect();
    keys.into_iter().cloned().collect()
}

pub(super) fn active_user<'a>(global: &Global, subject: &'a Subject) -> Option<&'a UserId> {
    subject.user().filter(|id| !global.is_deactivated(id.as_str()))
}
