//! Which users exist for whom (AUT-2).

use std::collections::BTreeSet;

use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;

use super::facts::parse;
use super::{Error, Transaction};
use crate::domain::{OrganizationId, UserId};

#[derive(diesel::QueryableByName)]
struct Known {
    #[diesel(sql_type = Text)]
    id: String,
}

const KNOWN: &str = "
    SELECT s.id FROM unnest($1) AS s (id)
    WHERE EXISTS (SELECT FROM users AS u WHERE u.id = s.id AND u.home_organization = ANY ($2))
       OR EXISTS (SELECT FROM site_roles AS r WHERE r.user_id = s.id AND r.organization = ANY ($2))
       OR EXISTS (SELECT FROM group_members AS m JOIN groups AS g ON g.id = m.group_id
                  WHERE m.member_kind = 'user' AND m.member_id = s.id
                    AND g.organization = ANY ($2))
       OR EXISTS (SELECT FROM grants AS g
                  WHERE g.subject_kind = 'user' AND g.subject_id = s.id
                    AND g.revoke_time IS NULL AND g.organization = ANY ($2))";

impl Transaction {
    /// Those of the users whom one of the organizations knows: they are at home there, or have a
    /// site role, are in a group or hold a grant that nobody has ended.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn known_users(
        &mut self,
        organizations: &BTreeSet<OrganizationId>,
        users: &[UserId],
    ) -> Result<BTreeSet<UserId>, Error> {
        let ids: Vec<&str> = users.iter().map(UserId::as_str).collect();
        let organizations: Vec<&str> = organizations.iter().map(OrganizationId::as_str).collect();
        let rows: Vec<Known> = diesel::sql_query(KNOWN)
            .bind::<Array<Text>, _>(ids)
            .bind::<Array<Text>, _>(organizations)
            .load(self.connection())
            .await?;
        rows.iter().map(|row| parse("users", &row.id)).collect()
    }
}
