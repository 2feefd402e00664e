//! Organizations (DIR-6).

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::facts::parse;
use super::schema::organizations::{self, dsl};
use super::{Change, Error, Failure, Scope, Transaction, Write, timestamps};
use crate::domain::OrganizationId;
use crate::domain::access_settings::Visibility;
use crate::domain::directory::Organization;
use crate::domain::fact::FactKey;
use crate::domain::revision::Shard;
use crate::domain::role::{Preset, Role};

type Row = (String, String, Vec<String>, String, String, OffsetDateTime);

impl Transaction {
    /// An organization; none if there is none of this id.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn organization(
        &mut self,
        id: &OrganizationId,
    ) -> Result<Option<Organization>, Error> {
        let row: Option<Row> = dsl::organizations
            .find(id.as_str())
            .select((
                organizations::id,
                organizations::display_name,
                organizations::domains,
                organizations::preset,
                organizations::default_visibility,
                organizations::create_time,
            ))
            .first(self.connection())
            .await
            .optional()?;
        row.map(organization).transpose()
    }
}

fn organization(
    (id, display_name, domains, preset, visibility, create_time): Row,
) -> Result<Organization, Error> {
    let corrupt = |what| Error::corrupt("organizations", &id, what);
    Ok(Organization {
        display_name,
        domains,
        preset: Preset::parse(&preset).ok_or_else(|| corrupt("unknown preset"))?,
        default_visibility: Visibility::parse(&visibility)
            .ok_or_else(|| corrupt("unknown visibility"))?,
        create_time: timestamps::from_sql(create_time),
        id: parse("organizations", &id)?,
    })
}

impl Write {
    /// Creates an organization with its roles; false if the id is taken. Needs the global scope.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn insert_organization(
        &mut self,
        organization: &Organization,
        roles: &[Role],
    ) -> Result<bool, Failure> {
        self.require(&Scope::Global)?;
        let shard = Shard::assign(&organization.id);
        let inserted = diesel::insert_into(dsl::organizations)
            .values((
                organizations::id.eq(organization.id.as_str()),
                organizations::shard.eq(shard.number()),
                organizations::display_name.eq(&organization.display_name),
                organizations::domains.eq(&organization.domains),
                organizations::preset.eq(organization.preset.as_str()),
                organizations::default_visibility.eq(organization.default_visibility.as_str()),
                organizations::create_time.eq(timestamps::to_sql(organization.create_time)),
            ))
            .on_conflict_do_nothing()
            .execute(self.connection())
            .await?;
        if inserted == 0 {
            return Ok(false);
        }
        self.own_new_organization(organization.id.clone(), shard);
        let mut keys = vec![FactKey::Organization];
        for role in roles {
            self.insert_role(&organization.id, role).await?;
            keys.push(FactKey::Role(role.key.clone()));
        }
        self.record(Change {
            scope: Scope::Organization(organization.id.clone()),
            what: "organization.created",
            object: organization.id.to_string(),
            keys,
            before: Value::Null,
            after: json!({ "organization": organization, "roles": roles }),
        });
        Ok(true)
    }
}
