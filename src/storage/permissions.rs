//! The permission catalogue as a list, and what services register (ROL-1).

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::facts::{PERMISSION_COLUMNS, PermissionRow, permission};
use super::schema::permissions;
use super::{Change, Error, Failure, Scope, Transaction, Write};
use crate::domain::fact::FactKey;
use crate::domain::page::Page;
use crate::domain::permission::{Permission, PermissionName};

impl Transaction {
    /// The catalogue's entry of a name.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn permission(&mut self, name: &PermissionName) -> Result<Option<Permission>, Error> {
        let row: Option<PermissionRow> = permissions::table
            .find(name.as_str())
            .select(PERMISSION_COLUMNS)
            .first(self.connection())
            .await
            .optional()?;
        row.map(permission).transpose()
    }

    /// A page of the catalogue, by name in byte order.
    ///
    /// # Errors
    /// As [`Transaction::permission`].
    pub async fn catalog_permissions(
        &mut self,
        page: &Page<PermissionName>,
    ) -> Result<Vec<Permission>, Error> {
        let after = page.after.as_ref().map_or("", PermissionName::as_str);
        let rows: Vec<PermissionRow> = permissions::table
            .filter(sql::<Bool>(r#"name COLLATE "C" > "#).bind::<Text, _>(after))
            .order(sql::<Text>(r#"name COLLATE "C""#))
            .limit(page.limit())
            .select(PERMISSION_COLUMNS)
            .load(self.connection())
            .await?;
        rows.into_iter().map(permission).collect()
    }

    /// How many entries the catalogue has: the ordinal of the next one.
    ///
    /// # Errors
    /// As [`Transaction::permission`].
    pub async fn catalog_size(&mut self) -> Result<u16, Error> {
        let count: i64 = permissions::table.count().get_result(self.connection()).await?;
        u16::try_from(count).map_err(|error| Error::corrupt("permissions", "count", error))
    }
}

impl Write {
    /// Puts an entry into the catalogue. Needs the global scope.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn insert_permission(&mut self, entry: &Permission) -> Result<(), Failure> {
        self.require(&Scope::Global)?;
        let ordinal = i16::try_from(entry.ordinal)
            .map_err(|error| Error::corrupt("permissions", entry.name.as_str(), error))?;
        diesel::insert_into(permissions::table)
            .values((
                permissions::name.eq(entry.name.as_str()),
                permissions::ordinal.eq(ordinal),
                permissions::effect.eq(entry.effect.as_str()),
                permissions::may_be_own.eq(entry.may_be_own),
                permissions::internal_only.eq(entry.internal_only),
                permissions::registered.eq(entry.registered),
            ))
            .execute(self.connection())
            .await?;
        self.record(Change {
            scope: Scope::Global,
            what: "permission.registered",
            object: entry.name.to_string(),
            portfolio: None,
            subject: None,
            keys: vec![FactKey::Permission(entry.name.clone())],
            before: Value::Null,
            after: json!(entry),
        });
        Ok(())
    }
}
