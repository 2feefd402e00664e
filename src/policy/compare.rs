//! What linking a portfolio to its parent would change (INH-5): the facts as they would be, made by
//! what makes them when it is done, and the same questions asked of both.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::access_settings::{AccessSettings, Visibility};
use crate::domain::fact::{GrantFact, OrganizationChanges, PortfolioFact};
use crate::domain::page::Page;
use crate::domain::permission::PermissionName;
use crate::domain::role::Reach;
use crate::domain::{PortfolioId, RoleKey, Subject, Timestamp, UserId};

use super::check::{find, is_halted};
use super::excerpt::Excerpt;
use super::global::Global;
use super::party::Who;
use super::period::Period;
use super::portfolio::{Granted, Settings};
use super::snapshot::Snapshot;
use super::source::{Reached, table};

/// What linking would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Whether the portfolio is linked already: nothing would change.
    pub linked: bool,
    /// What is in effect without a grant.
    pub before: AccessSettings,
    /// What would be.
    pub after: AccessSettings,
    /// Whose roles would be others, in the order of [`Subject`].
    pub differences: Excerpt<AccessDifference>,
}

/// Somebody whose roles would be others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessDifference {
    /// Who.
    pub subject: Subject,
    /// The roles granted to the subject itself, in force or to begin, sorted.
    pub before: Vec<TimedRole>,
    /// The same afterwards.
    pub after: Vec<TimedRole>,
    /// What the check would allow and does not, by name.
    pub gained: Vec<(PermissionName, Reach)>,
    /// What the check allows and would not, by name.
    pub lost: Vec<(PermissionName, Reach)>,
}

/// A role that is granted for a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimedRole {
    /// As what.
    pub role: RoleKey,
    /// From when on; since ever if none.
    pub start_time: Option<Timestamp>,
    /// Until just before then; for good if none.
    pub expire_time: Option<Timestamp>,
}

/// What linking a portfolio, with its owner, to another of the same organization would change at
/// `at`; none if one of both is not there. Costs the grants of both, and of those on the page two
/// walks over what reaches them.
#[must_use]
pub fn compare(
    global: &Global,
    snapshot: &Snapshot,
    (child, owner): (&PortfolioId, Option<&UserId>),
    parent: &PortfolioId,
    at: Timestamp,
    page: &Page<Subject>,
) -> Option<Comparison> {
    let found = snapshot.portfolio(child.as_str())?;
    let before = settings_in_effect(snapshot, child)?;
    if matches!(found.settings, Settings::Linked { .. }) {
        let differences = Excerpt { rows: Vec::new(), more: false };
        return Some(Comparison { linked: true, after: before.clone(), before, differences });
    }
    snapshot.portfolio(parent.as_str())?;
    let fact = linked_fact(child, owner, parent, found.archived);
    let portfolios = vec![(child.clone(), Some(fact))];
    let linked = snapshot
        .apply(OrganizationChanges { portfolios, ..OrganizationChanges::default() }, global);
    let after = settings_in_effect(&linked, child)?;
    let sides = Sides { global, sides: [snapshot, &linked], id: child.as_str(), at };
    let differing = sides.differing()?;
    let behind = |subject: &&Subject| page.after.as_ref().is_none_or(|after| *subject > after);
    let subjects: BTreeMap<&Subject, Who> = differing
        .into_iter()
        .filter_map(|who| Some((snapshot.subject(who)?, who)))
        .filter(|(subject, _)| behind(subject))
        .collect();
    let rows = subjects.into_iter().map(|(subject, who)| sides.difference(subject, who));
    Some(Comparison { linked: false, before, after, differences: Excerpt::of(rows, page.size) })
}

/// The visibility and the organization access role in effect on a portfolio (INH-1); none if it is
/// not there.
#[must_use]
pub fn settings_in_effect(snapshot: &Snapshot, portfolio: &PortfolioId) -> Option<AccessSettings> {
    let found = snapshot.portfolio(portfolio.as_str())?;
    let Settings::Own { visibility, access_role } = snapshot.effective(found).settings.settings
    else {
        return None;
    };
    let organization_access_role = snapshot.role(access_role)?.key().clone();
    Some(AccessSettings { visibility, organization_access_role })
}

/// The fact of a portfolio that is linked: of its own it has the owner alone (INH-2).
fn linked_fact(
    id: &PortfolioId,
    owner: Option<&UserId>,
    parent: &PortfolioId,
    archived: bool,
) -> PortfolioFact {
    let ownership = |owner: &UserId| GrantFact {
        subject: Subject::User(owner.clone()),
        role: RoleKey::manager(),
        start_time: None,
        expire_time: None,
    };
    PortfolioFact {
        id: id.clone(),
        link: Some(parent.clone()),
        // Suspended.
        visibility: Visibility::Private,
        organization_access_role: RoleKey::viewer(),
        archived,
        grants: owner.map(ownership).into_iter().collect(),
    }
}

/// The facts before and after, and what is asked of both.
struct Sides<'a> {
    global: &'a Global,
    sides: [&'a Snapshot; 2],
    id: &'a str,
    at: Timestamp,
}

/// A role and a period, as they are compared.
type Held = (u32, Timestamp, Timestamp);

impl Sides<'_> {
    /// Who has other grants of their own afterwards. A clone keeps the numbers of those whom it
    /// names, so that both sides number alike.
    fn differing(&self) -> Option<BTreeSet<Who>> {
        let [before, after] = self.sides.map(|snapshot| {
            let portfolio = snapshot.portfolio(self.id)?;
            let lasting = snapshot
                .effective(portfolio)
                .grants()
                .filter(|granted| granted.period.has_future(self.at));
            let mut held: Vec<(Who, Held)> =
                lasting.map(|granted| (granted.subject, self.held(&granted))).collect();
            held.sort_unstable();
            held.dedup();
            Some(held)
        });
        let (before, after) = (before?, after?);
        let mut differing = BTreeSet::new();
        let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
        while let Some(next) = old.peek().into_iter().chain(new.peek()).min().copied() {
            let was = old.next_if_eq(&next).is_some();
            let is = new.next_if_eq(&next).is_some();
            if was != is {
                differing.insert(next.0);
            }
        }
        Some(differing)
    }

    fn held(&self, granted: &Granted) -> Held {
        let Period { start, end } = granted.period;
        // When it began does not matter any more.
        let start = if start <= self.at { Period::ALWAYS.start } else { start };
        (granted.role, start, end)
    }

    fn difference(&self, subject: &Subject, who: Who) -> AccessDifference {
        let [before, after] = self.sides.map(|snapshot| self.roles(snapshot, who));
        let [allowed, then] = self.sides.map(|snapshot| self.allowed(snapshot, subject));
        let besides = |table: &Allowed<'_>, other: &Allowed<'_>| {
            let differing = table.iter().filter(|(name, reach)| other.get(**name) != Some(*reach));
            differing.map(|(name, reach)| ((*name).clone(), *reach)).collect()
        };
        AccessDifference {
            subject: subject.clone(),
            before,
            after,
            gained: besides(&then, &allowed),
            lost: besides(&allowed, &then),
        }
    }

    fn roles(&self, snapshot: &Snapshot, who: Who) -> Vec<TimedRole> {
        let Some(portfolio) = snapshot.portfolio(self.id) else { return Vec::new() };
        let effective = snapshot.effective(portfolio);
        let owned = effective.owners.into_iter().flat_map(|owners| owners.grants_of(who));
        let granted = owned.chain(effective.settings.grants_of(who));
        let lasting = granted.filter(|granted| granted.period.has_future(self.at));
        let role = |granted: Granted| {
            let (role, start, end) = self.held(&granted);
            Some(TimedRole {
                role: snapshot.role(role)?.key().clone(),
                start_time: (start != Period::ALWAYS.start).then_some(start),
                expire_time: (end != Period::ALWAYS.end).then_some(end),
            })
        };
        let roles: BTreeSet<TimedRole> = lasting.filter_map(role).collect();
        roles.into_iter().collect()
    }

    /// Everything that the check allows to the subject, as far as it reaches: in one walk, since it
    /// is asked about so many.
    fn allowed<'s>(&'s self, snapshot: &'s Snapshot, subject: &Subject) -> Allowed<'s> {
        let Ok((portfolio, found)) = find(self.global, snapshot, subject, self.id) else {
            return Allowed::new();
        };
        let reached = Reached::by(snapshot, found);
        let in_force: Vec<_> = snapshot
            .sources(portfolio, &reached)
            .filter(|source| source.in_force(self.at))
            .collect();
        let cells = in_force.iter().flat_map(|source| source.cells(self.global));
        let mut allowed = Allowed::new();
        for (name, reach) in table(cells) {
            // By the catalogue's own name, which lives as long.
            let Some(permission) = self.global.permission(name.as_str()) else { continue };
            let internal = found.party.standing.is_internal();
            if (internal || !permission.internal_only) && !is_halted(portfolio, permission) {
                allowed.insert(&permission.name, reach);
            }
        }
        allowed
    }
}

type Allowed<'a> = BTreeMap<&'a PermissionName, Reach>;
