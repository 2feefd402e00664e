//! Users, their status and site roles (DIR-1, DIR-8), and service accounts.

use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::facts::parse;
use super::schema::{service_accounts, site_roles, users};
use super::{Change, Error, Failure, Scope, Transaction, Write, timestamps};
use crate::domain::directory::{Email, SiteRole, User};
use crate::domain::fact::FactKey;
use crate::domain::{OrganizationId, ServiceAccountId, Subject, UserId};

type Row = (String, String, String, String, Option<String>, bool);

const COLUMNS: (
    users::id,
    users::email,
    users::display_name,
    users::picture_uri,
    users::home_organization,
    users::deactivated,
) = (
    users::id,
    users::email,
    users::display_name,
    users::picture_uri,
    users::home_organization,
    users::deactivated,
);

impl Transaction {
    /// A user; none if there is none of this id.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn user(&mut self, id: &UserId) -> Result<Option<User>, Error> {
        Ok(self.users_of(std::slice::from_ref(id), &[]).await?.pop())
    }

    /// The users of these ids or these e-mail addresses, those that exist.
    ///
    /// # Errors
    /// As [`Transaction::user`].
    pub async fn users_of(&mut self, ids: &[UserId], emails: &[Email]) -> Result<Vec<User>, Error> {
        let rows: Vec<Row> = users::table
            .filter(users::id.eq_any(ids.iter().map(UserId::as_str)))
            .or_filter(users::email.eq_any(emails.iter().map(Email::as_str)))
            .select(COLUMNS)
            .load(self.connection())
            .await?;
        rows.into_iter().map(user).collect()
    }

    /// The site roles that were set for a user, by organization.
    ///
    /// # Errors
    /// As [`Transaction::user`].
    pub async fn site_roles_of(
        &mut self,
        id: &UserId,
    ) -> Result<Vec<(OrganizationId, SiteRole)>, Error> {
        let rows: Vec<(String, String)> = site_roles::table
            .filter(site_roles::user_id.eq(id.as_str()))
            .select((site_roles::organization, site_roles::role))
            .order(site_roles::organization)
            .load(self.connection())
            .await?;
        let read = |(organization, role): (String, String)| {
            let known = SiteRole::parse(&role);
            let role = known.ok_or_else(|| Error::corrupt("site_roles", id.as_str(), role))?;
            Ok((parse("site_roles", &organization)?, role))
        };
        rows.into_iter().map(read).collect()
    }

    /// The organization of a service account, and whether it is active; none if there is none.
    ///
    /// # Errors
    /// As [`Transaction::user`].
    pub async fn service_account(
        &mut self,
        id: &ServiceAccountId,
    ) -> Result<Option<(OrganizationId, bool)>, Error> {
        let row: Option<(String, bool)> = service_accounts::table
            .find(id.as_str())
            .select((service_accounts::organization, service_accounts::deactivated))
            .first(self.connection())
            .await
            .optional()?;
        let read = |(organization, deactivated): (String, bool)| {
            Ok((parse("service_accounts", &organization)?, !deactivated))
        };
        row.map(read).transpose()
    }
}

fn user((id, email, display_name, picture_uri, home, deactivated): Row) -> Result<User, Error> {
    Ok(User {
        email: Email::parse(&email).map_err(|error| Error::corrupt("users", &id, error))?,
        display_name,
        picture_uri,
        home_organization: home.map(|home| parse("users", &home)).transpose()?,
        deactivated,
        id: parse("users", &id)?,
    })
}

impl Write {
    /// Creates users, or changes all of them but the status; each comes with what they were. Needs
    /// the global scope, and those of the home organizations.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn put_users(&mut self, users: &[(Option<User>, User)]) -> Result<(), Failure> {
        self.require(&Scope::Global)?;
        for (before, after) in users {
            let home = after.home_organization.clone();
            let scope = home.map_or(Scope::Global, Scope::Organization);
            self.require(&scope)?;
            self.record(Change {
                scope,
                what: if before.is_some() { "user.updated" } else { "user.created" },
                object: after.id.to_string(),
                portfolio: None,
                subject: Some(Subject::User(after.id.clone())),
                keys: vec![FactKey::Subject(Subject::User(after.id.clone()))],
                before: before.as_ref().map_or(Value::Null, |user| json!(user)),
                after: json!(after),
            });
        }
        let now = timestamps::to_sql(self.now());
        let row = |(_, user): &(Option<User>, User)| {
            (
                users::id.eq(user.id.as_str().to_owned()),
                users::email.eq(user.email.as_str().to_owned()),
                users::display_name.eq(user.display_name.clone()),
                users::picture_uri.eq(user.picture_uri.clone()),
                users::home_organization.eq(user.home_organization.clone().map(String::from)),
                users::create_time.eq(now),
            )
        };
        // PostgreSQL takes 65,535 parameters a statement.
        for users in users.chunks(1_000) {
            let rows: Vec<_> = users.iter().map(row).collect();
            diesel::insert_into(users::table)
                .values(rows)
                .on_conflict(users::id)
                .do_update()
                .set((
                    users::email.eq(excluded(users::email)),
                    users::display_name.eq(excluded(users::display_name)),
                    users::picture_uri.eq(excluded(users::picture_uri)),
                    users::home_organization.eq(excluded(users::home_organization)),
                ))
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Deactivates or reactivates a user. Needs the global scope.
    ///
    /// # Errors
    /// As [`Write::put_users`].
    pub async fn set_deactivated(&mut self, user: &User, deactivated: bool) -> Result<(), Failure> {
        self.require(&Scope::Global)?;
        diesel::update(users::table.find(user.id.as_str()))
            .set(users::deactivated.eq(deactivated))
            .execute(self.connection())
            .await?;
        self.record(Change {
            scope: Scope::Global,
            what: if deactivated { "user.deactivated" } else { "user.reactivated" },
            object: user.id.to_string(),
            portfolio: None,
            subject: Some(Subject::User(user.id.clone())),
            keys: vec![FactKey::UserStatus(user.id.clone())],
            before: json!({ "deactivated": user.deactivated }),
            after: json!({ "deactivated": deactivated }),
        });
        Ok(())
    }

    /// Sets a user's site role in an organization, whose scope it needs.
    ///
    /// # Errors
    /// As [`Write::put_users`].
    pub async fn set_site_role(
        &mut self,
        organization: &OrganizationId,
        user: &UserId,
        before: Option<SiteRole>,
        after: SiteRole,
    ) -> Result<(), Failure> {
        let scope = Scope::Organization(organization.clone());
        self.require(&scope)?;
        diesel::insert_into(site_roles::table)
            .values((
                site_roles::organization.eq(organization.as_str()),
                site_roles::user_id.eq(user.as_str()),
                site_roles::role.eq(after.as_str()),
            ))
            .on_conflict((site_roles::organization, site_roles::user_id))
            .do_update()
            .set(site_roles::role.eq(after.as_str()))
            .execute(self.connection())
            .await?;
        self.record(Change {
            scope,
            what: "site_role.set",
            object: user.to_string(),
            portfolio: None,
            subject: Some(Subject::User(user.clone())),
            keys: vec![FactKey::Subject(Subject::User(user.clone()))],
            before: before.map_or(Value::Null, |role| json!({ "site_role": role })),
            after: json!({ "site_role": after }),
        });
        Ok(())
    }
}
