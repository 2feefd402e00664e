//! Moving what items give from one role to another, before the role is deleted (ROL-6).

use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;

use super::{KeyRow, key};
use crate::domain::item::OwnSettings;
use crate::domain::{OrganizationId, RoleKey};
use crate::storage::{Failure, Write};

/// $1: organization, $2: role.
const USING: &str = "
    SELECT item_type, item_id AS id FROM item_grants
    WHERE organization = $1 AND role = $2 AND revoke_time IS NULL
  UNION SELECT item_type, id FROM items
    WHERE organization = $1 AND organization_access_role = $2 AND NOT deleted
  ORDER BY 1, 2";

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
        for KeyRow { item_type, id } in rows {
            let key = key(&item_type, &id)?;
            let Some(before) = self.item(organization, &key).await? else { continue };
            let mut after = before.clone();
            after.version += 1;
            after.update_time = self.now();
            if let Some(settings) = &mut after.settings {
                replace(settings, from, to);
            }
            self.update_item(&before, &after).await?;
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
}
