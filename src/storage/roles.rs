//! Roles and what they permit (ROL-2, ROL-5).

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::facts::parse;
use super::schema::{role_permissions, roles};
use super::{Change, Error, Failure, Scope, Transaction, Write, timestamps};
use crate::domain::fact::{FactKey, RoleFact};
use crate::domain::page::Page;
use crate::domain::permission::PermissionName;
use crate::domain::role::{Reach, Role, RoleTable};
use crate::domain::{OrganizationId, RoleKey};

/// A role without what it permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleEntry {
    /// Unique in the organization.
    pub key: RoleKey,
    /// What people call it.
    pub display_name: String,
    /// What it is for.
    pub description: String,
    /// Grows with every change.
    pub version: i64,
}

impl RoleEntry {
    /// The role, with what it permits.
    #[must_use]
    pub fn with(self, table: RoleTable) -> Role {
        let Self { key, display_name, description, version } = self;
        Role { key, display_name, description, table, version }
    }
}

type Row = (String, String, String, i64);

const COLUMNS: (roles::key, roles::display_name, roles::description, roles::version) =
    (roles::key, roles::display_name, roles::description, roles::version);

fn entry((key, display_name, description, version): Row) -> Result<RoleEntry, Error> {
    Ok(RoleEntry { key: parse("roles", &key)?, display_name, description, version })
}

impl Transaction {
    /// What a role permits; none if the organization has none of this key.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn role(
        &mut self,
        organization: &OrganizationId,
        key: &RoleKey,
    ) -> Result<Option<RoleFact>, Error> {
        let keys = std::slice::from_ref(key);
        Ok(self.role_facts(organization, Some(keys)).await?.pop())
    }

    /// What is said of a role; none if the organization has none of this key.
    ///
    /// # Errors
    /// As [`Transaction::role`].
    pub async fn role_entry(
        &mut self,
        organization: &OrganizationId,
        key: &RoleKey,
    ) -> Result<Option<RoleEntry>, Error> {
        let row: Option<Row> = roles::table
            .find((organization.as_str(), key.as_str()))
            .filter(roles::delete_time.is_null())
            .select(COLUMNS)
            .first(self.connection())
            .await
            .optional()?;
        row.map(entry).transpose()
    }

    /// A page of an organization's roles, by key in byte order.
    ///
    /// # Errors
    /// As [`Transaction::role`].
    pub async fn roles_of(
        &mut self,
        organization: &OrganizationId,
        page: &Page<RoleKey>,
    ) -> Result<Vec<RoleEntry>, Error> {
        let after = page.after.as_ref().map_or("", RoleKey::as_str);
        let rows: Vec<Row> = roles::table
            .filter(roles::organization.eq(organization.as_str()))
            .filter(roles::delete_time.is_null())
            .filter(sql::<Bool>(r#"key COLLATE "C" > "#).bind::<Text, _>(after))
            .order(sql::<Text>(r#"key COLLATE "C""#))
            .limit(page.limit())
            .select(COLUMNS)
            .load(self.connection())
            .await?;
        rows.into_iter().map(entry).collect()
    }

    /// How many roles an organization has.
    ///
    /// # Errors
    /// As [`Transaction::role`].
    pub async fn count_roles(&mut self, organization: &OrganizationId) -> Result<i64, Error> {
        let its = roles::table
            .filter(roles::organization.eq(organization.as_str()))
            .filter(roles::delete_time.is_null());
        Ok(its.count().get_result(self.connection()).await?)
    }
}

impl Write {
    /// Creates a role; none if the key is in use. One that was deleted is there again under its
    /// key, with another etag than any it had. Needs the organization's scope.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn create_role(
        &mut self,
        organization: &OrganizationId,
        role: &Role,
    ) -> Result<Option<Role>, Failure> {
        self.require(&Scope::Organization(organization.clone()))?;
        let found: Option<(i64, Option<OffsetDateTime>)> = roles::table
            .find((organization.as_str(), role.key.as_str()))
            .select((roles::version, roles::delete_time))
            .first(self.connection())
            .await
            .optional()?;
        let created = match found {
            Some((_, None)) => return Ok(None),
            Some((version, Some(_))) => Role { version: version + 1, ..role.clone() },
            None => role.clone(),
        };
        match found {
            Some(_) => {
                self.put_role_entry(organization, &created).await?;
                self.insert_role_permissions(organization, &created).await?;
            }
            None => self.insert_role(organization, &created).await?,
        }
        let keys = vec![FactKey::Role(created.key.clone())];
        let change = change("role.created", organization, &created, (Value::Null, json!(created)));
        self.record(Change { keys, ..change });
        Ok(Some(created))
    }

    /// Changes what is said of a role and what it permits. Needs the organization's scope.
    ///
    /// # Errors
    /// As [`Write::create_role`].
    pub async fn update_role(
        &mut self,
        organization: &OrganizationId,
        before: &Role,
        after: &Role,
    ) -> Result<(), Failure> {
        self.require(&Scope::Organization(organization.clone()))?;
        self.put_role_entry(organization, after).await?;
        // Decisions look at the table alone.
        let mut keys = Vec::new();
        if before.table != after.table {
            self.delete_role_permissions(organization, &after.key).await?;
            self.insert_role_permissions(organization, after).await?;
            keys.push(FactKey::Role(after.key.clone()));
        }
        let change = change("role.updated", organization, after, (json!(before), json!(after)));
        self.record(Change { keys, ..change });
        Ok(())
    }

    /// Deletes a role that nothing uses: the row stays, for ended grants name it, and permits
    /// nothing. Needs the organization's scope.
    ///
    /// # Errors
    /// As [`Write::create_role`].
    pub async fn delete_role(
        &mut self,
        organization: &OrganizationId,
        role: &Role,
    ) -> Result<(), Failure> {
        self.require(&Scope::Organization(organization.clone()))?;
        self.delete_role_permissions(organization, &role.key).await?;
        let now = timestamps::to_sql(self.now());
        diesel::update(roles::table.find((organization.as_str(), role.key.as_str())))
            .set((roles::delete_time.eq(now), roles::version.eq(role.version + 1)))
            .execute(self.connection())
            .await?;
        let keys = vec![FactKey::Role(role.key.clone())];
        let change = change("role.deleted", organization, role, (json!(role), Value::Null));
        self.record(Change { keys, ..change });
        Ok(())
    }

    /// Inserts a role and its table; the caller records the change.
    pub(super) async fn insert_role(
        &mut self,
        organization: &OrganizationId,
        role: &Role,
    ) -> Result<(), Error> {
        diesel::insert_into(roles::table)
            .values((
                roles::organization.eq(organization.as_str()),
                roles::key.eq(role.key.as_str()),
                roles::display_name.eq(&role.display_name),
                roles::description.eq(&role.description),
                roles::version.eq(role.version),
            ))
            .execute(self.connection())
            .await?;
        self.insert_role_permissions(organization, role).await
    }

    async fn put_role_entry(
        &mut self,
        organization: &OrganizationId,
        role: &Role,
    ) -> Result<(), Error> {
        diesel::update(roles::table.find((organization.as_str(), role.key.as_str())))
            .set((
                roles::display_name.eq(&role.display_name),
                roles::description.eq(&role.description),
                roles::version.eq(role.version),
                roles::delete_time.eq(None::<OffsetDateTime>),
            ))
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn insert_role_permissions(
        &mut self,
        organization: &OrganizationId,
        role: &Role,
    ) -> Result<(), Error> {
        let row = |(permission, reach): (&PermissionName, &Reach)| {
            (
                role_permissions::organization.eq(organization.as_str().to_owned()),
                role_permissions::role.eq(role.key.as_str().to_owned()),
                role_permissions::permission.eq(permission.as_str().to_owned()),
                role_permissions::reach.eq(match reach {
                    Reach::Any => "any",
                    Reach::Own => "own",
                }),
            )
        };
        let rows: Vec<_> = role.table.iter().map(row).collect();
        // At most the whole catalogue: within the parameters that a statement takes.
        diesel::insert_into(role_permissions::table)
            .values(rows)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn delete_role_permissions(
        &mut self,
        organization: &OrganizationId,
        role: &RoleKey,
    ) -> Result<(), Error> {
        diesel::delete(role_permissions::table)
            .filter(role_permissions::organization.eq(organization.as_str()))
            .filter(role_permissions::role.eq(role.as_str()))
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn change(
    what: &'static str,
    organization: &OrganizationId,
    role: &Role,
    (before, after): (Value, Value),
) -> Change {
    Change {
        scope: Scope::Organization(organization.clone()),
        what,
        object: role.key.to_string(),
        portfolio: None,
        subject: None,
        keys: Vec::new(),
        before,
        after,
    }
}
