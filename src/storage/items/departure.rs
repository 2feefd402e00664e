//! What ends on items when a subject goes (DIR-9): its grants, and that it owned or made them.

use std::collections::BTreeMap;

use diesel::deserialize::QueryableByName;
use diesel::sql_types::{Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde_json::json;

use super::change::change;
use super::key;
use crate::domain::{ItemKey, OrganizationId, Subject};
use crate::storage::facts::parse;
use crate::storage::{Change, Failure, Scope, Write, timestamps};

const CONCERNED: &str = "
    SELECT organization, item_type, item_id AS id FROM item_grants
    WHERE subject_kind || ':' || subject_id = $1 || ':' || $2 AND revoke_time IS NULL
  UNION SELECT organization, item_type, id FROM items WHERE $1 = 'user' AND owner = $2
  UNION SELECT organization, item_type, id FROM items WHERE author_kind = $1 AND author_id = $2";

const REVOKE: &str = "
    UPDATE item_grants SET revoke_time = $3
    WHERE subject_kind || ':' || subject_id = $1 || ':' || $2 AND revoke_time IS NULL";

const DISOWN: &str = "
    UPDATE items SET owner = NULL, update_time = $3, version = version + 1
    WHERE $1 = 'user' AND owner = $2";

const FORGET: &str = "
    UPDATE items SET author_kind = NULL, author_id = NULL, update_time = $3, version = version + 1
    WHERE author_kind = $1 AND author_id = $2";

#[derive(QueryableByName)]
struct Concerned {
    #[diesel(sql_type = Text)]
    organization: String,
    #[diesel(sql_type = Text)]
    item_type: String,
    #[diesel(sql_type = Text)]
    id: String,
}

impl Write {
    /// Ends everything of a subject on items, in every organization: a later user of the same id is
    /// neither owner nor author of anything. Needs the scopes of the organizations.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub(in crate::storage) async fn end_on_items(
        &mut self,
        subject: &Subject,
    ) -> Result<(), Failure> {
        let now = timestamps::to_sql(self.now());
        let rows: Vec<Concerned> = diesel::sql_query(CONCERNED)
            .bind::<Text, _>(subject.kind())
            .bind::<Text, _>(subject.id())
            .load(self.connection())
            .await?;
        let mut concerned: BTreeMap<OrganizationId, Vec<ItemKey>> = BTreeMap::new();
        for Concerned { organization, item_type, id } in rows {
            let organization: OrganizationId = parse("items", &organization)?;
            self.require(&Scope::Organization(organization.clone()))?;
            concerned.entry(organization).or_default().push(key(&item_type, &id)?);
        }
        let mut before = Vec::new();
        for (organization, keys) in &concerned {
            before.extend(self.items(organization, keys).await?);
        }
        for statement in [REVOKE, DISOWN, FORGET] {
            diesel::sql_query(statement)
                .bind::<Text, _>(subject.kind())
                .bind::<Text, _>(subject.id())
                .bind::<Timestamptz, _>(now)
                .execute(self.connection())
                .await?;
        }
        let mut after = Vec::new();
        for (organization, keys) in &concerned {
            after.extend(self.items(organization, keys).await?);
        }
        // The same ones: none of that deletes any.
        for (before, after) in before.into_iter().zip(after) {
            let what = match before.owner == after.owner {
                true => "item.updated",
                false => "item.owner_removed",
            };
            let changed = change(what, &before, json!(before), json!(after));
            self.record(Change { subject: Some(subject.clone()), ..changed });
        }
        Ok(())
    }
}
