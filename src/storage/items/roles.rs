//! Moving what items give from one role to another, before the role is deleted (ROL-6).

use diesel::sql_types::{Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde_json::json;

use super::change::{change, named};
use super::{KeyRow, key};
use crate::domain::item::OwnSettings;
use crate::domain::{ItemKey, OrganizationId, RoleKey};
use crate::storage::{Error, Failure, Write, timestamps};

/// $1: organization, $2: role.
const USING: &str = "
    SELECT item_type, item_id AS id FROM item_grants
    WHERE organization = $1 AND role = $2 AND revoke_time IS NULL
  UNION SELECT item_type, id FROM items
    WHERE organization = $1 AND organization_access_role = $2 AND NOT deleted
  ORDER BY 1, 2";

/// Each grant ends, and another one takes its place, unless there is such a one. $1: organization,
/// $2: role, $3: now, $4: the other role.
const MOVE_GRANTS: &str = "
    WITH ended AS (
        UPDATE item_grants SET revoke_time = $3
        WHERE organization = $1 AND role = $2 AND revoke_time IS NULL
        RETURNING *
    ), given AS (
        INSERT INTO item_grants (id, organization, item_type, item_id, subject_kind, subject_id,
                                 role, ownership, start_time, expire_time, create_time)
        SELECT gen_random_uuid(), organization, item_type, item_id, subject_kind, subject_id,
               $4, false, start_time, expire_time, $3
        FROM ended AS e
        WHERE NOT EXISTS (
            SELECT FROM item_grants AS g
            WHERE g.organization = e.organization AND g.item_type = e.item_type
              AND g.item_id = e.item_id AND g.subject_kind = e.subject_kind
              AND g.subject_id = e.subject_id AND g.role = $4 AND NOT g.ownership
              AND g.start_time IS NOT DISTINCT FROM e.start_time
              AND g.expire_time IS NOT DISTINCT FROM e.expire_time AND g.revoke_time IS NULL)
    )
    UPDATE items AS i
    SET update_time = $3, version = version + 1,
        organization_access_role = CASE WHEN i.organization_access_role = $2 THEN $4
                                        ELSE i.organization_access_role END
    WHERE i.organization = $1 AND NOT i.deleted
      AND (i.organization_access_role = $2
           OR (i.item_type, i.id) IN (SELECT item_type, item_id FROM ended))";

impl Write {
    /// Every grant of the role on items is given anew as the other one, and so is what openness
    /// gives. Needs the organization's scope.
    pub(in crate::storage) async fn move_on_items(
        &mut self,
        organization: &OrganizationId,
        from: &RoleKey,
        to: &RoleKey,
    ) -> Result<(), Failure> {
        let rows: Vec<KeyRow> = diesel::sql_query(USING)
            .bind::<Text, _>(organization.as_str())
            .bind::<Text, _>(from.as_str())
            .load(self.connection())
            .await?;
        let keys = rows.iter().map(|row| key(&row.item_type, &row.id));
        let keys = keys.collect::<Result<Vec<ItemKey>, Error>>()?;
        let before = self.items(organization, &keys).await?;
        self.hold_users(before.iter().flat_map(named)).await?;
        diesel::sql_query(MOVE_GRANTS)
            .bind::<Text, _>(organization.as_str())
            .bind::<Text, _>(from.as_str())
            .bind::<Timestamptz, _>(timestamps::to_sql(self.now()))
            .bind::<Text, _>(to.as_str())
            .execute(self.connection())
            .await?;
        for before in before {
            let mut after = before.clone();
            after.version += 1;
            after.update_time = self.now();
            if let Some(settings) = &mut after.settings {
                replace(settings, from, to);
            }
            self.record(change("item.updated", &after, json!(before), json!(after)));
        }
        Ok(())
    }
}

fn replace(settings: &mut OwnSettings, from: &RoleKey, to: &RoleKey) {
    let given = settings.grants.iter_mut().map(|grant| &mut grant.role);
    for role in given.chain([&mut settings.organization_access_role]) {
        if role == from {
            role.clone_from(to);
        }
    }
    settings.grants.sort_unstable();
    settings.grants.dedup();
}
