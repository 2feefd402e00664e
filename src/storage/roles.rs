//! Roles and what they permit (ROL-2).

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::schema::{role_permissions, roles};
use super::{Error, Transaction, Write};
use crate::domain::fact::RoleFact;
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
