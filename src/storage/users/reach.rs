use std::collections::BTreeSet;

use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;

use crate::domain::caller::{Caller, CallerKind, Organizations};
use crate::domain::{OrganizationId, UserId};
use crate::storage::facts::parse;
use crate::storage::{Error, Transaction};

const KNOWN: &str = "
    SELECT s.id FROM unnest($1) AS s (id)
    WHERE EXISTS (SELECT FROM users AS u WHERE u.id = s.id AND u.home_organization = ANY ($2))
       OR EXISTS (SELECT FROM site_roles AS r WHERE r.user_id = s.id AND r.organization = ANY ($2))
       OR EXISTS (SELECT FROM affiliations AS a
                  WHERE a.user_id = s.id AND a.organization = ANY ($2))
       OR EXISTS (SELECT FROM group_members AS m JOIN groups AS g ON g.id = m.group_id
                  WHERE m.member_kind = 'user' AND m.member_id = s.id
                    AND g.organization = ANY ($2))
       OR EXISTS (SELECT FROM grants AS g
                  WHERE g.subject_kind = 'user' AND g.subject_id = s.id
                    AND g.revoke_time IS NULL AND coalesce(g.expire_time > now(), true)
                    AND g.organization = ANY ($2))
       OR EXISTS (SELECT FROM item_grants AS g
                  WHERE g.subject_kind || ':' || g.subject_id = 'user:' || s.id
                    AND g.revoke_time IS NULL AND coalesce(g.expire_time > now(), true)
                    AND g.organization = ANY ($2))";

const CONCERNED: &str = "
    SELECT home_organization AS organization FROM users
    WHERE id = $1 AND home_organization IS NOT NULL
  UNION SELECT organization FROM site_roles WHERE user_id = $1
  UNION SELECT organization FROM affiliations WHERE user_id = $1
  UNION SELECT organization FROM organization_administrators WHERE user_id = $1
  UNION SELECT g.organization FROM group_members AS m JOIN groups AS g ON g.id = m.group_id
    WHERE m.member_kind = 'user' AND m.member_id = $1
  UNION SELECT organization FROM grants
    WHERE subject_kind = 'user' AND subject_id = $1 AND revoke_time IS NULL
  UNION SELECT organization FROM item_grants
    WHERE subject_kind || ':' || subject_id = 'user:' || $1 AND revoke_time IS NULL
  UNION SELECT organization FROM items WHERE owner = $1
  UNION SELECT organization FROM items WHERE author_kind = 'user' AND author_id = $1";

#[derive(diesel::QueryableByName)]
struct Known {
    #[diesel(sql_type = Text)]
    id: String,
}

#[derive(diesel::QueryableByName)]
struct Concerned {
    #[diesel(sql_type = Text)]
    organization: String,
}

impl Transaction {
    /// Whether a user, if there is one of this id, exists for the caller (AUT-2): they are known to
    /// an organization that the caller reaches. For a person only they themselves do (AUT-3).
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn user_is_known(&mut self, id: &UserId, caller: &Caller) -> Result<bool, Error> {
        match caller.kind() {
            CallerKind::EndUser(person) => Ok(person == id),
            CallerKind::Service { organizations: Organizations::All, .. } => Ok(true),
            CallerKind::Service { organizations: Organizations::These(these), .. } => {
                self.user_is_known_in(id, these).await
            }
        }
    }

    /// Whether one of the organizations knows a user: as at home, by a site role, by an
    /// affiliation, as a member of a group, or by a grant that has not ended.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn user_is_known_in<'a>(
        &mut self,
        id: &UserId,
        organizations: impl IntoIterator<Item = &'a OrganizationId>,
    ) -> Result<bool, Error> {
        Ok(!self.users_known_in(std::slice::from_ref(id), organizations).await?.is_empty())
    }

    /// Those of the users whom one of the organizations knows.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn users_known_in<'a>(
        &mut self,
        ids: &[UserId],
        organizations: impl IntoIterator<Item = &'a OrganizationId>,
    ) -> Result<BTreeSet<UserId>, Error> {
        let ids: Vec<&str> = ids.iter().map(UserId::as_str).collect();
        let organizations: Vec<&str> =
            organizations.into_iter().map(OrganizationId::as_str).collect();
        let found: Vec<Known> = diesel::sql_query(KNOWN)
            .bind::<Array<Text>, _>(ids)
            .bind::<Array<Text>, _>(organizations)
            .load(self.connection())
            .await?;
        found.iter().map(|row| parse("users", &row.id)).collect()
    }

    /// The organizations in which something would end with the user's account.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn organizations_of_user(
        &mut self,
        id: &UserId,
    ) -> Result<Vec<OrganizationId>, Error> {
        let found: Vec<Concerned> = diesel::sql_query(CONCERNED)
            .bind::<Text, _>(id.as_str())
            .load(self.connection())
            .await?;
        found.iter().map(|row| parse("users", &row.organization)).collect()
    }
}
