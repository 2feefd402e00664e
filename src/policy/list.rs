//! What a subject sees of an organization, and by which ways it reaches a portfolio.

use crate::domain::{GroupId, PortfolioId, Subject, Timestamp};

use super::global::Global;
use super::party::Who;
use super::rows::{listed_to, view_of};
use super::snapshot::Snapshot;
use super::source::{OpenTo, Reached, Via, is_deactivated};

/// A way by which a subject has access.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// A grant of its own.
    Direct,
    /// A grant to this group, which the subject is in, directly or not.
    Group(GroupId),
    /// The portfolio is open to it.
    OrganizationAccess,
    /// It is an administrator of the organization: lists the portfolio and manages its members.
    Administrator,
}

/// Whether the portfolio exists for the subject (VIS-2, VIS-4): a grant in force reaches it,
/// whatever the role, or the portfolio is restricted or open and the subject's site role is
/// *viewer* or *editor*, or the subject is an administrator (DIR-7). Never for the deactivated.
#[must_use]
pub fn may_list(
    global: &Global,
    snapshot: &Snapshot,
    subject: &Subject,
    portfolio: &str,
    at: Timestamp,
) -> bool {
    let reached = listed_to(global, snapshot, subject);
    let portfolio = snapshot.portfolio(portfolio);
    reached
        .zip(portfolio)
        .is_some_and(|(reached, portfolio)| view_of(snapshot, &reached, portfolio, at).is_some())
}

/// Whether the subject is an active administrator of the organization (DIR-7).
#[must_use]
pub fn is_administrator(global: &Global, snapshot: &Snapshot, subject: &Subject) -> bool {
    let resolved = snapshot.resolve(subject);
    !is_deactivated(global, subject, resolved)
        && resolved.is_some_and(super::snapshot::Resolved::is_administrator)
}

/// Whether the subject may create portfolios in the organization (DIR-8): site editors, and the
/// organization's service accounts; never a group, never the deactivated.
#[must_use]
pub fn may_create_portfolios(global: &Global, snapshot: &Snapshot, subject: &Subject) -> bool {
    let resolved = snapshot.resolve(subject);
    !is_deactivated(global, subject, resolved)
        && resolved.is_some_and(|found| found.open_to() == Some(OpenTo::Editor))
}

/// Whether the subject is internal to the organization (DIR-8, ROL-8): at home in it, or with a
/// site role other than guest; its groups and service accounts are at home. A deactivated user
/// stays what they were: who may be granted asks that first.
#[must_use]
pub fn is_internal(snapshot: &Snapshot, subject: &Subject) -> bool {
    snapshot.resolve(subject).is_some_and(|found| found.party.standing.is_internal())
}

/// The ways by which the subject has access now, sorted, each once: after a removal, what is left
/// of it (MEM-5). Deactivation is not looked at: it cuts no way off, it denies everything.
#[must_use]
pub fn routes(
    snapshot: &Snapshot,
    subject: &Subject,
    portfolio: &str,
    at: Timestamp,
) -> Vec<Route> {
    let (Some(found), Some(portfolio)) = (snapshot.resolve(subject), snapshot.portfolio(portfolio))
    else {
        return Vec::new();
    };
    let route = |via: Via| match via {
        Via::Direct => Some(Route::Direct),
        Via::Group(id) => Some(Route::Group(snapshot.group_id(id)?.clone())),
        Via::OrganizationAccess => Some(Route::OrganizationAccess),
        Via::Administrator => Some(Route::Administrator),
    };
    let reached = Reached::by(snapshot, found);
    let mut routes: Vec<Route> = snapshot
        .sources(portfolio, &reached)
        .filter(|source| source.in_force(at))
        .filter_map(|source| route(source.via))
        .collect();
    routes.sort_unstable();
    routes.dedup();
    routes
}

/// The earliest instant after `at` at which the clock alone changes what the subject's grants give
/// on the portfolio: one of them begins or ends. None: never.
#[must_use]
pub fn next_change(
    snapshot: &Snapshot,
    subject: &Subject,
    portfolio: &str,
    at: Timestamp,
) -> Option<Timestamp> {
    let (found, portfolio) = (snapshot.resolve(subject)?, snapshot.portfolio(portfolio)?);
    let reached = Reached::by(snapshot, found);
    let sources = snapshot.explicit_sources(portfolio, &reached);
    sources.filter_map(|source| source.period.next_change(at)).min()
}

/// The portfolios above a linked one, from its parent to the one whose settings are in force
/// (INH-1); none if it has its own.
#[must_use]
pub fn links(snapshot: &Snapshot, portfolio: &str) -> Vec<PortfolioId> {
    let number = snapshot.portfolio_names.find(portfolio);
    number.map(|number| snapshot.links_of(number)).unwrap_or_default()
}

/// Whether the subject is in a group, directly or not.
#[must_use]
pub fn is_in_group(snapshot: &Snapshot, subject: &Subject, group: &GroupId) -> bool {
    let group = snapshot.who(&Subject::Group(group.clone())).and_then(Who::as_group);
    let (Some(found), Some(group)) = (snapshot.resolve(subject), group) else {
        return false;
    };
    snapshot.closures(found).any(|closure| closure.contains(&group))
}
