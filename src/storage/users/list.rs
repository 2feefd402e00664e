use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_async::RunQueryDsl;

use crate::domain::directory::{User, UserFilter};
use crate::domain::page::Page;
use crate::domain::{OrganizationId, UserId};
use crate::storage::search::containing;
use crate::storage::{Error, Transaction};

const AT_HOME: &str = r#"
    SELECT id, email, display_name, picture_uri, home_organization, deactivated FROM users
    WHERE home_organization = $1 AND id COLLATE "C" > $2
      AND ($3 IS NULL OR display_name ILIKE $3 OR email ILIKE $3)
      AND ($4 IS NULL OR deactivated = $4)
    ORDER BY id COLLATE "C" LIMIT $5"#;

const AFFILIATED: &str = r#"
    SELECT id, email, display_name, picture_uri, home_organization, deactivated FROM users
    WHERE id IN (SELECT user_id FROM affiliations WHERE organization = $1) AND id COLLATE "C" > $2
      AND ($3 IS NULL OR display_name ILIKE $3 OR email ILIKE $3)
      AND ($4 IS NULL OR deactivated = $4)
    ORDER BY id COLLATE "C" LIMIT $5"#;

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    email: String,
    #[diesel(sql_type = Text)]
    display_name: String,
    #[diesel(sql_type = Text)]
    picture_uri: String,
    #[diesel(sql_type = Nullable<Text>)]
    home_organization: Option<String>,
    #[diesel(sql_type = Bool)]
    deactivated: bool,
}

impl Transaction {
    /// A page of the users at home in an organization, or of those who have a function in it, by id
    /// in byte order.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn users_in(
        &mut self,
        organization: &OrganizationId,
        filter: &UserFilter,
        page: &Page<UserId>,
    ) -> Result<Vec<User>, Error> {
        let statement = if filter.affiliated { AFFILIATED } else { AT_HOME };
        let rows: Vec<Row> = diesel::sql_query(statement)
            .bind::<Text, _>(organization.as_str())
            .bind::<Text, _>(page.after.as_ref().map_or("", UserId::as_str))
            .bind::<Nullable<Text>, _>(filter.search.as_deref().map(containing))
            .bind::<Nullable<Bool>, _>(filter.deactivated)
            .bind::<BigInt, _>(i64::try_from(page.size).unwrap_or(i64::MAX))
            .load(self.connection())
            .await?;
        let read = |row: Row| {
            let Row { id, email, display_name, picture_uri, home_organization, deactivated } = row;
            super::user((id, email, display_name, picture_uri, home_organization, deactivated))
        };
        rows.into_iter().map(read).collect()
    }
}
