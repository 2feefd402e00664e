//! Roles and what they permit (ROL-2).

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;

use super::facts::parse;
use super::schema::{role_permissions, roles};
use super::{Error, Transaction, Write};
use crate::domain::fact::RoleFact;
use crate::domain::page::Page;
use crate::domain::role::{Reach, Role};
use crate::domain::{OrganizationId, RoleKey};

impl Transaction {
    /// A role and what it permits; none if the organization has none of this key.
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

    /// The display name of a role; none if the organization has none of this key.
    ///
    /// # Errors
    /// As [`Transaction::role`].
    pub async fn role_name(
        &mut self,
        organization: &OrganizationId,
        key: &RoleKey,
    ) -> Result<Option<String>, Error> {
        let name = roles::table
            .find((organization.as_str(), key.as_str()))
            .select(roles::display_name)
            .first(self.connection())
            .await
            .optional()?;
        Ok(name)
    }

    /// A page of an organization's roles, by key in byte order, with their display names.
    ///
    /// # Errors
    /// As [`Transaction::role`].
    pub async fn roles_of(
        &mut self,
        organization: &OrganizationId,
        page: &Page<RoleKey>,
    ) -> Result<Vec<(RoleKey, String)>, Error> {
        let after = page.after.as_ref().map_or("", RoleKey::as_str);
        let rows: Vec<(String, String)> = roles::table
            .filter(roles::organization.eq(organization.as_str()))
            .filter(sql::<Bool>(r#"key COLLATE "C" > "#).bind::<Text, _>(after))
            .order(sql::<Text>(r#"key COLLATE "C""#))
            .limit(page.limit())
            .select((roles::key, roles::display_name))
            .load(self.connection())
            .await?;
        rows.into_iter().map(|(key, name)| Ok((parse("roles", &key)?, name))).collect()
    }
}

impl Write {
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
            ))
            .execute(self.connection())
            .await?;
        let row = |(permission, reach): (&crate::domain::permission::PermissionName, &Reach)| {
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
        diesel::insert_into(role_permissions::table)
            .values(rows)
            .execute(self.connection())
            .await?;
        Ok(())
    }
}
