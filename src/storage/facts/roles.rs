use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::parse;
use crate::domain::fact::RoleFact;
use crate::domain::role::{Reach, RoleTable};
use crate::domain::{OrganizationId, RoleKey};
use crate::storage::schema::{role_permissions, roles};
use crate::storage::{Error, Transaction};

type Row = (String, Option<String>, Option<String>);

impl Transaction {
    /// The roles of an organization that are not deleted: all, or those of the keys.
    pub(in crate::storage) async fn role_facts(
        &mut self,
        organization: &OrganizationId,
        keys: Option<&[RoleKey]>,
    ) -> Result<Vec<RoleFact>, Error> {
        let permissions = role_permissions::organization
            .eq(roles::organization)
            .and(role_permissions::role.eq(roles::key));
        let mut query = roles::table
            .left_join(role_permissions::table.on(permissions))
            .filter(roles::organization.eq(organization.as_str()))
            .filter(roles::delete_time.is_null())
            .select((
                roles::key,
                role_permissions::permission.nullable(),
                role_permissions::reach.nullable(),
            ))
            .into_boxed();
        if let Some(keys) = keys {
            query = query.filter(roles::key.eq_any(keys.iter().map(RoleKey::as_str)));
        }
        let rows: Vec<Row> = query.load(self.connection()).await?;
        let mut tables: BTreeMap<String, RoleTable> = BTreeMap::new();
        for (key, permission, reach) in rows {
            let table = tables.entry(key).or_default();
            if let (Some(permission), Some(reach)) = (permission, reach) {
                table.insert(parse("role_permissions", &permission)?, parse_reach(&reach)?);
            }
        }
        let fact =
            |(key, table): (String, RoleTable)| Ok(RoleFact { key: parse("roles", &key)?, table });
        tables.into_iter().map(fact).collect()
    }
}

pub(super) fn parse_reach(reach: &str) -> Result<Reach, Error> {
    match reach {
        "any" => Ok(Reach::Any),
        "own" => Ok(Reach::Own),
        _ => Err(Error::corrupt("role_permissions", reach, "unknown reach")),
    }
}
