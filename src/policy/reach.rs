//! The check, asked the other way round: which permissions, which portfolios, which subjects
//! (ACC-9). Each answer is the check's own, asked for each.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::domain::access_settings::Visibility;
use crate::domain::page::Page;
use crate::domain::permission::PermissionName;
use crate::domain::role::Reach;
use crate::domain::{PortfolioId, Subject, Timestamp};

use super::apply::reachable;
use super::check::{Asked, Decision, Query, Reason, check, find};
use super::excerpt::Excerpt;
use super::global::{Global, UnknownPermission};
use super::party::Who;
use super::portfolio::Portfolio;
use super::snapshot::Snapshot;

/// Everything that a subject may do on a portfolio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectivePermissions {
    /// Sorted by name.
    pub permissions: Vec<EffectivePermission>,
    /// The first instant after the one asked about at which the clock alone changes this list; none
    /// if it never does.
    pub hold_until: Option<Timestamp>,
}

/// One thing that a subject may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectivePermission {
    /// What.
    pub name: PermissionName,
    /// On everything, or on things that the subject is the author of.
    pub reach: Reach,
    /// Why.
    pub reason: Reason,
    /// The first instant at which the clock alone changes the reach or takes it away; none if it
    /// never does.
    pub hold_until: Option<Timestamp>,
}

/// Which permissions the check allows to the subject, as *any* where it does so whoever the author
/// is, else as *own*.
///
/// # Errors
/// `PortfolioUnknown`, `SubjectDeactivated`, or `SubjectUnknown` where nothing is known of them.
/// Someone known who may do nothing is no error.
pub fn effective_permissions(
    global: &Global,
    snapshot: &Snapshot,
    subject: &Subject,
    portfolio: &str,
    at: Timestamp,
) -> Result<EffectivePermissions, Reason> {
    find(global, snapshot, subject, portfolio)?;
    let mut permissions = Vec::new();
    let mut hold_until = None;
    for entry in global.permissions() {
        let name = entry.name.as_str();
        let query = Query { subject, permission: name, portfolio, author: None, item: None, at };
        let own = Query { author: Some(subject), ..query };
        let (Ok(any), Ok(own)) = (check(global, snapshot, &query), check(global, snapshot, &own))
        else {
            continue;
        };
        if any.reason == Reason::SubjectUnknown {
            return Err(any.reason);
        }
        let (reach, decision) = if any.allowed { (Reach::Any, any) } else { (Reach::Own, own) };
        // What is own may become any before it ends.
        let changes = match reach {
            Reach::Any => any.hold_until,
            Reach::Own => any.hold_until.into_iter().chain(own.hold_until).min(),
        };
        hold_until = hold_until.into_iter().chain(changes).min();
        if decision.allowed {
            permissions.push(EffectivePermission {
                name: entry.name.clone(),
                reach,
                reason: decision.reason,
                hold_until: changes,
            });
        }
    }
    permissions.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(EffectivePermissions { permissions, hold_until })
}

/// The portfolios on which the check, without an author, allows this to the subject, in the order
/// of their ids. Costs a check for each portfolio, up to the end of the page, that the subject may
/// reach at all: it or a group that it is in has a grant there, or the portfolio is open, or the
/// subject administers the organization.
///
/// # Errors
/// The catalogue does not have the permission.
pub fn accessible_portfolios(
    global: &Global,
    snapshot: &Snapshot,
    subject: &Subject,
    permission: &str,
    at: Timestamp,
    page: &Page<PortfolioId>,
) -> Result<Excerpt<(PortfolioId, Decision)>, UnknownPermission> {
    let asked = Asked::about(global, snapshot, subject, permission)?;
    let allowed = |(id, portfolio): (&PortfolioId, &Portfolio)| {
        let decision = asked.decide_on(Some(portfolio), None, at);
        decision.allowed.then(|| (id.clone(), decision))
    };
    let candidates = asked.candidates(page.after.as_ref());
    Ok(Excerpt::of(candidates.filter_map(allowed), page.size))
}

/// Which subjects are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// Users and service accounts, whatever gives them access.
    Resolved,
    /// The users, groups and service accounts that the portfolio's grants name, as they stand
    /// there.
    Granted,
}

/// The subjects to whom the check, without an author, allows this on the portfolio, in the order of
/// [`Subject`]; none on an unknown portfolio.
///
/// # Errors
/// The catalogue does not have the permission.
pub fn subjects_with(
    global: &Global,
    snapshot: &Snapshot,
    permission: &str,
    portfolio: &str,
    whom: Whom,
    at: Timestamp,
    page: &Page<Subject>,
) -> Result<Excerpt<(Subject, Decision)>, UnknownPermission> {
    known(global, permission)?;
    let candidates = match (snapshot.portfolio(portfolio), whom) {
        (None, _) => BTreeSet::new(),
        (Some(found), Whom::Resolved) => {
            snapshot.candidates(found).into_iter().map(Who::person).collect()
        }
        (Some(found), Whom::Granted) => snapshot.effective(found).named().collect(),
    };
    let subjects = candidates.into_iter().filter_map(|id| snapshot.subject(id));
    let behind = |subject: &&Subject| page.after.as_ref().is_none_or(|after| *subject > after);
    let subjects = subjects.filter(behind);
    let allowed = |subject: &Subject| {
        let query = Query { subject, permission, portfolio, author: None, item: None, at };
        let decision = check(global, snapshot, &query).ok()?;
        decision.allowed.then(|| (subject.clone(), decision))
    };
    Ok(Excerpt::of(in_order(subjects).filter_map(allowed), page.size))
}

/// Sorts no further than somebody reads.
pub(super) fn in_order<'a>(
    subjects: impl Iterator<Item = &'a Subject>,
) -> impl Iterator<Item = &'a Subject> {
    let mut heap: BinaryHeap<Reverse<&Subject>> = subjects.map(Reverse).collect();
    std::iter::from_fn(move || heap.pop().map(|Reverse(subject)| subject))
}

fn known(global: &Global, permission: &str) -> Result<(), UnknownPermission> {
    global.permission(permission).map(|_| ()).ok_or_else(|| global.unknown(permission))
}

impl Snapshot {
    /// Every user and service account to whom anything may be allowed on the portfolio, and some to
    /// whom nothing is.
    pub(super) fn candidates(&self, portfolio: &Portfolio) -> BTreeSet<u32> {
        let effective = self.effective(portfolio);
        let mut candidates = self.reached_by(effective.named());
        candidates.extend(&self.administrators);
        if effective.visibility() == Visibility::Open {
            let open = (0..).zip(self.people.iter()).filter(|(_, it)| it.open_to().is_some());
            candidates.extend(open.map(|(number, _): (u32, _)| number));
        }
        candidates
    }

    /// The people whom these are or have in them, directly or through groups.
    pub(super) fn reached_by(&self, subjects: impl Iterator<Item = Who>) -> BTreeSet<u32> {
        let (mut groups, mut reached) = (BTreeSet::new(), BTreeSet::new());
        for who in subjects {
            groups.extend(who.as_group());
            reached.extend(who.as_person());
        }
        let groups = reachable(groups, |id| Some(self.group(id)?.children.as_ref()));
        for group in groups.into_iter().filter_map(|id| self.group(id)) {
            reached.extend(group.members.iter());
        }
        reached
    }
}
