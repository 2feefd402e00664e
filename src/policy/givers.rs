//! Who could give what is missing (ACC-8).

use crate::domain::permission::{MEMBERS_INVITE, MEMBERS_UPDATE, Permission};
use crate::domain::role::Reach;
use crate::domain::{Subject, UserId};

use super::check::{Decision, Query, Reason, check, is_halted};
use super::excerpt::Excerpt;
use super::global::Global;
use super::holdings::{Holdings, holdings};
use super::portfolio::Portfolio;
use super::reach::in_order;
use super::role::Role;
use super::rows::active_user;
use super::snapshot::Snapshot;

/// Those who could give what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Givers {
    /// Sorted by id.
    pub users: Vec<Giver>,
    /// Whether there are more than are named.
    pub more: bool,
}

/// An active user who could give what is missing: an administrator, or someone who may invite or
/// update members here and holds all that a helpful role holds (ROL-7).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Giver {
    /// Who.
    pub user: UserId,
    /// Whether they could as an administrator of the organization (DIR-7).
    pub administrator: bool,
}

/// The organization's roles with which the query would be allowed, sorted by key. What is held as
/// *own* helps the author alone: with no author named the check needs *any* (ACC-4).
pub(super) fn helpful_roles<'a>(
    snapshot: &'a Snapshot,
    permission: &Permission,
    query: &Query<'_>,
) -> Vec<&'a Role> {
    let is_author = query.author == Some(query.subject);
    let needed = if is_author { Reach::Own } else { Reach::Any };
    let roles = snapshot.roles.iter().map(AsRef::as_ref);
    let mut helpful: Vec<&Role> =
        roles.filter(|role| role.reach(permission) >= Some(needed)).collect();
    helpful.sort_unstable_by_key(|role| role.key());
    helpful
}

pub(super) fn givers(
    global: &Global,
    snapshot: &Snapshot,
    query: &Query<'_>,
    (decision, roles): (&Decision, &[&Role]),
    most: usize,
) -> Givers {
    // What is given is given where the settings are (INH-3).
    let found = snapshot.portfolio_names.find(query.portfolio);
    let root = found.and_then(|number| snapshot.root(number));
    let root = root.and_then(|root| {
        Some((snapshot.portfolio_names.key(root)?.as_str(), snapshot.portfolio_of(root)?))
    });
    let Some((root, portfolio)) = root else { return Givers::default() };
    // On an archived portfolio nobody gives anything, and what is given does not help (VIS-8).
    let permission = global.permission(query.permission);
    let halts = |found: &Portfolio| permission.is_none_or(|named| is_halted(found, named));
    let archived = portfolio.archived || snapshot.portfolio(query.portfolio).is_none_or(halts);
    if roles.is_empty() || archived || !a_role_would_help(global, snapshot, query, decision) {
        return Givers::default();
    }
    let query = &Query { portfolio: root, ..*query };
    let tables: Vec<Holdings> = roles.iter().map(|role| Holdings::of(role.cells(global))).collect();
    let may_give = |subject: &Subject| {
        let allowed = |permission| {
            let query = Query { subject, permission, author: None, item: None, ..*query };
            check(global, snapshot, &query).is_ok_and(|decision| decision.allowed)
        };
        let held = || holdings(global, snapshot, subject, query.portfolio, query.at);
        (allowed(MEMBERS_INVITE) || allowed(MEMBERS_UPDATE))
            && tables.iter().any(|role| held().covers(role.table()).is_ok())
    };
    let candidates = snapshot.candidates(portfolio);
    let subjects = candidates.into_iter().filter_map(|id| snapshot.people_names.key(id));
    let users = subjects.filter(|subject| active_user(global, subject).is_some());
    let giver = |subject: &Subject| {
        let Subject::User(user) = subject else { return None };
        let administrator = snapshot.resolve(subject)?.is_administrator();
        (administrator || may_give(subject)).then(|| Giver { user: user.clone(), administrator })
    };
    let sorted = in_order(users);
    let Excerpt { rows, more } = Excerpt::of(sorted.filter_map(giver), most);
    Givers { users: rows, more }
}

/// Whether some role would make the denial an allow. It does nothing for the deactivated, for what
/// only authors may do, or for externals where something is not for them; nor for groups and
/// service accounts that the organization does not have, which are never granted (DIR-4).
fn a_role_would_help(
    global: &Global,
    snapshot: &Snapshot,
    query: &Query<'_>,
    decision: &Decision,
) -> bool {
    let resolved = snapshot.resolve(query.subject);
    let internal = resolved.is_some_and(|found| found.party.standing.is_internal());
    let excluded = global.permission(query.permission).is_some_and(|found| found.internal_only);
    match decision.reason {
        _ if decision.allowed || (excluded && !internal) => false,
        Reason::SubjectUnknown => matches!(query.subject, Subject::User(_)),
        Reason::NoAccess | Reason::PermissionMissing => true,
        _ => false,
    }
}
