//! The facts that decisions are made of: all of an organization, part by part, those of given keys,
//! or just those that a question needs.

mod items;
mod parts;
mod portfolios;
mod question;
mod roles;
mod statement;
mod subjects;

use std::collections::HashSet;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

pub use question::{Answer, CheckFacts, CheckQuestion, Question};
pub use statement::statements;

use super::schema::{permissions, users};
use super::{Error, Transaction};
use crate::domain::fact::{FactKey, GlobalChanges, GlobalFacts, OrganizationChanges};
use crate::domain::permission::{Effect, Permission, PermissionName};
use crate::domain::{OrganizationId, UserId};

pub(super) type PermissionRow = (String, i16, String, bool, bool, bool);

pub(super) const PERMISSION_COLUMNS: (
    permissions::name,
    permissions::ordinal,
    permissions::effect,
    permissions::may_be_own,
    permissions::internal_only,
    permissions::registered,
) = (
    permissions::name,
    permissions::ordinal,
    permissions::effect,
    permissions::may_be_own,
    permissions::internal_only,
    permissions::registered,
);

impl Transaction {
    /// The whole catalogue, and everyone who is deactivated.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn global_facts(&mut self) -> Result<GlobalFacts, Error> {
        let deactivated: Vec<String> = users::table
            .filter(users::deactivated)
            .select(users::id)
            .load(self.connection())
            .await?;
        Ok(GlobalFacts {
            permissions: self.permissions(None).await?,
            deactivated: deactivated
                .into_iter()
                .map(|id| parse("users", &id))
                .collect::<Result<_, _>>()?,
        })
    }

    /// The whole catalogue of permissions.
    ///
    /// # Errors
    /// As [`Transaction::global_facts`].
    pub async fn catalogue(&mut self) -> Result<Vec<Permission>, Error> {
        self.permissions(None).await
    }

    /// The global facts of these keys; keys of other kinds are passed over.
    ///
    /// # Errors
    /// As [`Transaction::global_facts`].
    pub async fn global_facts_of(&mut self, keys: &[FactKey]) -> Result<GlobalChanges, Error> {
        let (mut names, mut ids) = (Vec::new(), Vec::new());
        for key in keys {
            match key {
                FactKey::Permission(name) => names.push(name.as_str()),
                FactKey::UserStatus(id) => ids.push(id.as_str()),
                _ => {}
            }
        }
        let permissions =
            if names.is_empty() { Vec::new() } else { self.permissions(Some(&names)).await? };
        Ok(GlobalChanges { permissions, statuses: self.statuses(&ids).await? })
    }

    async fn permissions(&mut self, names: Option<&[&str]>) -> Result<Vec<Permission>, Error> {
        let mut query =
            permissions::table.order(permissions::ordinal).select(PERMISSION_COLUMNS).into_boxed();
        if let Some(names) = names {
            query = query.filter(permissions::name.eq_any(names));
        }
        let rows: Vec<PermissionRow> = query.load(self.connection()).await?;
        rows.into_iter().map(permission).collect()
    }

    /// Whether the users are deactivated. A user who is not there is not: an earlier one of the
    /// same id may have been (DIR-9).
    async fn statuses(&mut self, ids: &[&str]) -> Result<Vec<(UserId, bool)>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let deactivated: HashSet<String> = users::table
            .filter(users::id.eq_any(ids))
            .filter(users::deactivated)
            .select(users::id)
            .load(self.connection())
            .await?
            .into_iter()
            .collect();
        let status = |id: &&str| Ok((parse("users", id)?, deactivated.contains(*id)));
        ids.iter().map(status).collect()
    }

    /// The facts of an organization's keys, as they are now.
    ///
    /// # Errors
    /// As [`Transaction::facts_in_parts`].
    pub async fn organization_facts_of(
        &mut self,
        organization: &OrganizationId,
        keys: &[FactKey],
    ) -> Result<OrganizationChanges, Error> {
        let (mut roles, mut subjects, mut portfolios) = (Vec::new(), Vec::new(), Vec::new());
        let mut items = Vec::new();
        for key in keys {
            match key {
                FactKey::Role(key) => roles.push(key.clone()),
                FactKey::Subject(subject) => subjects.push(subject.clone()),
                FactKey::Portfolio(id) => portfolios.push(id.clone()),
                FactKey::Item(key) => items.push(key.clone()),
                FactKey::Organization | FactKey::UserStatus(_) | FactKey::Permission(_) => {}
            }
        }
        let mut changed = OrganizationChanges::default();
        if !roles.is_empty() {
            let found = self.role_facts(organization, Some(&roles)).await?;
            changed.roles = pair(roles, found, |fact| &fact.key);
        }
        if !subjects.is_empty() {
            let found = self.subject_facts_of(organization, &subjects).await?;
            changed.subjects = pair(subjects, found, |fact| &fact.subject);
        }
        if !portfolios.is_empty() {
            let found = self.portfolio_facts(organization, &portfolios).await?;
            changed.portfolios = pair(portfolios, found, |fact| &fact.id);
        }
        if !items.is_empty() {
            let found = self.item_facts(organization, &items).await?;
            changed.items = pair(items, found, |fact| &fact.key);
        }
        Ok(changed)
    }
}

/// Each key with its fact, or with none if it was not found.
fn pair<K: Ord, F>(keys: Vec<K>, facts: Vec<F>, key: impl Fn(&F) -> &K) -> Vec<(K, Option<F>)> {
    let mut pairs: Vec<(K, Option<F>)> = keys.into_iter().map(|key| (key, None)).collect();
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    pairs.dedup_by(|(a, _), (b, _)| a == b);
    for fact in facts {
        if let Ok(index) = pairs.binary_search_by(|(k, _)| k.cmp(key(&fact)))
            && let Some((_, slot)) = pairs.get_mut(index)
        {
            *slot = Some(fact);
        }
    }
    pairs
}

/// An id as the database has it; one that is none is our mistake, not the client's.
pub(in crate::storage) fn parse<T: std::str::FromStr>(
    table: &'static str,
    text: &str,
) -> Result<T, Error>
where
    T::Err: ToString,
{
    text.parse().map_err(|error: T::Err| Error::corrupt(table, text, error))
}

pub(super) fn permission(
    (name, ordinal, effect, may_be_own, internal_only, registered): PermissionRow,
) -> Result<Permission, Error> {
    let corrupt = |what: &str| Error::corrupt("permissions", &name, what);
    Ok(Permission {
        ordinal: u16::try_from(ordinal).map_err(|_| corrupt("negative ordinal"))?,
        effect: Effect::parse(&effect).ok_or_else(|| corrupt("unknown effect"))?,
        may_be_own,
        internal_only,
        registered,
        name: parse::<PermissionName>("permissions", &name)?,
    })
}
