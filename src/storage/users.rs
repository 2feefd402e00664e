//! Users, their status and site roles (DIR-1, DIR-8).

mod departure;
mod list;
mod reach;

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

pub(super) use self::departure::administrator;
use super::facts::parse;
use super::schema::{site_roles, users};
use super::{Change, Error, Failure, Scope, Transaction, Write, timestamps};
use crate::domain::directory::{Email, SiteRole, User};
use crate::domain::fact::FactKey;
use crate::domain::{OrganizationId, Subject, UserId};

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
    /// Creates users, or changes all of them but the status; each comes with what they were. Who
    /// moves to another home is no longer what they were in the old one (DIR-9). Needs the global
    /// scope, and those of the home organizations, old and new.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn put_users(&mut self, users: &[(Option<User>, User)]) -> Result<(), Failure> {
        self.require(&Scope::Global)?;
        for (before, after) in users {
            let home = after.home_organization.clone();
            let scope = home.map_or(Scope::Global, Scope::Organization);
            self.require(&scope)?;
            self.record(put(scope, before.as_ref(), after));
        }
        self.move_home(users).await?;
        let now = timestamps::to_sql(self.now());
        let row = |(_, user): (&UserId, &User)| {
            (
                users::id.eq(user.id.as_str().to_owned()),
                users::email.eq(user.email.as_str().to_owned()),
                users::display_name.eq(user.display_name.clone()),
                users::picture_uri.eq(user.picture_uri.clone()),
                users::home_organization.eq(user.home_organization.clone().map(String::from)),
                users::create_time.eq(now),
            )
        };
        // Rows are locked in this order by all who lock several, so that none waits in a circle.
        let sorted: BTreeMap<&UserId, &User> =
            users.iter().map(|(_, user)| (&user.id, user)).collect();
        let rows: Vec<_> = sorted.into_iter().map(row).collect();
        // PostgreSQL takes 65,535 parameters a statement.
        for rows in rows.chunks(1_000) {
            diesel::insert_into(users::table)
                .values(rows.to_vec())
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
        self.hold_users([user]).await?;
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

/// What is logged of a user who is written. Where they moved from is no business of the new home.
fn put(scope: Scope, before: Option<&User>, after: &User) -> Change {
    let subject = Subject::User(after.id.clone());
    let before = before.map_or(Value::Null, |before| {
        let mut before = before.clone();
        if before.home_organization != after.home_organization {
            before.home_organization = None;
        }
        json!(before)
    });
    Change {
        scope,
        what: if before.is_null() { "user.created" } else { "user.updated" },
        object: after.id.to_string(),
        portfolio: None,
        subject: Some(subject.clone()),
        keys: vec![FactKey::Subject(subject)],
        before,
        after: json!(after),
    }
}
