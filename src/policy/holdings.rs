//! What somebody holds, to compare with what they would give or take away (ROL-7).

use crate::domain::permission::PermissionName;
use crate::domain::role::{Reach, RoleTable};
use crate::domain::{ItemKey, Subject, Timestamp};

use super::global::Global;
use super::snapshot::Snapshot;
use super::source::{Reached, Source, is_deactivated, table};

/// The union of role tables, *any* beating *own* (ROL-2). It ignores what is internal only: the
/// ceiling compares tables (ROL-7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings(RoleTable);

impl Holdings {
    /// What is held, as a role's table.
    #[must_use]
    pub fn table(&self) -> &RoleTable {
        &self.0
    }

    /// Whether everything in the table is held, as far as the table reaches.
    ///
    /// # Errors
    /// The permissions that are not, sorted.
    pub fn covers(&self, table: &RoleTable) -> Result<(), Vec<PermissionName>> {
        let held = |name: &PermissionName, reach: Reach| self.0.get(name) >= Some(&reach);
        let excess: Vec<PermissionName> = table
            .iter()
            .filter(|(name, reach)| !held(name, **reach))
            .map(|(name, _)| name.clone())
            .collect();
        if excess.is_empty() { Ok(()) } else { Err(excess) }
    }

    fn union<'a>(global: &'a Global, sources: impl Iterator<Item = Source<'a>>) -> Self {
        Self::of(sources.flat_map(|source| source.cells(global)))
    }

    pub(super) fn of<'a>(cells: impl IntoIterator<Item = (&'a PermissionName, Reach)>) -> Self {
        Self(table(cells).into_iter().map(|(name, reach)| (name.clone(), reach)).collect())
    }
}

/// What the subject holds on the portfolio at `at`, by everything in force: the most that they may
/// give (ROL-7). Nothing for the deactivated and the unknown.
#[must_use]
pub fn holdings(
    global: &Global,
    snapshot: &Snapshot,
    subject: &Subject,
    portfolio: &str,
    at: Timestamp,
) -> Holdings {
    let resolved = snapshot.resolve(subject);
    match (resolved, snapshot.portfolio(portfolio)) {
        (Some(found), Some(portfolio)) if !is_deactivated(global, subject, resolved) => {
            let reached = Reached::by(snapshot, found);
            let sources = snapshot.sources(portfolio, &reached);
            Holdings::union(global, sources.filter(|source| source.in_force(at)))
        }
        _ => Holdings::default(),
    }
}

/// What the subject holds at `at` on an item by its own settings, or, if it has none, by those of
/// the portfolio that shows it. Nothing for the deactivated and the unknown.
#[must_use]
pub fn item_holdings(
    global: &Global,
    snapshot: &Snapshot,
    subject: &Subject,
    item: &ItemKey,
    at: Timestamp,
) -> Holdings {
    let resolved = snapshot.resolve(subject);
    let (Some(found), Some((_, item))) = (resolved, snapshot.item(item)) else {
        return Holdings::default();
    };
    match &item.settings {
        None => match item.portfolios().first() {
            Some(portfolio) => holdings(global, snapshot, subject, portfolio.as_str(), at),
            None => Holdings::default(),
        },
        Some(_) if is_deactivated(global, subject, resolved) => Holdings::default(),
        Some(settings) => {
            let reached = Reached::by(snapshot, found);
            let sources = snapshot.settings_sources(settings, &reached);
            Holdings::union(global, sources.filter(|source| source.in_force(at)))
        }
    }
}

/// What the subject's grants, direct and through groups, hold or will hold, in force at `at` or yet
/// to begin: what makes them *someone who holds more* (ROL-7). Openness is left out, since nobody
/// takes it away by changing a member, and so is being an administrator; so is deactivation, since
/// the grants outlive it (DIR-1).
#[must_use]
pub fn explicit_holdings(
    global: &Global,
    snapshot: &Snapshot,
    subject: &Subject,
    portfolio: &str,
    at: Timestamp,
) -> Holdings {
    match (snapshot.resolve(subject), snapshot.portfolio(portfolio)) {
        (Some(found), Some(portfolio)) => {
            let reached = Reached::by(snapshot, found);
            let sources = snapshot.explicit_sources(portfolio, &reached);
            Holdings::union(global, sources.filter(|source| source.period.has_future(at)))
        }
        _ => Holdings::default(),
    }
}

/// What a role holds, implicitly too; none if the organization has no such role.
#[must_use]
pub fn role_holdings(global: &Global, snapshot: &Snapshot, role: &str) -> Option<Holdings> {
    let role = snapshot.role(snapshot.role_names.find(role)?)?;
    role.is_defined().then(|| Holdings::of(role.cells(global)))
}
