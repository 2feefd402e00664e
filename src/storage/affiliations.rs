//! Affiliations: what users are in organizations (DIR-3). No decision looks at them, so that their
//! changes name no facts.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::facts::parse;
use super::schema::affiliations;
use super::{Change, Error, Failure, Scope, Transaction, Write};
use crate::domain::function::Affiliation;
use crate::domain::{Subject, UserId};

type Row = (String, String, String);

impl Transaction {
    /// The affiliations of users, in every organization, sorted by user, organization and function
    /// in byte order.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn affiliations_of(&mut self, users: &[UserId]) -> Result<Vec<Affiliation>, Error> {
        let rows: Vec<Row> = affiliations::table
            .filter(affiliations::user_id.eq_any(users.iter().map(UserId::as_str)))
            .load(self.connection())
            .await?;
        let mut found = rows.into_iter().map(affiliation).collect::<Result<Vec<_>, Error>>()?;
        found.sort_unstable();
        Ok(found)
    }
}

fn affiliation((organization, user, function): Row) -> Result<Affiliation, Error> {
    Ok(Affiliation {
        user: parse("affiliations", &user)?,
        organization: parse("affiliations", &organization)?,
        function: parse("affiliations", &function)?,
    })
}

impl Write {
    /// Makes a user something in an organization, whose scope it needs.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn add_affiliation(&mut self, new: &Affiliation) -> Result<(), Failure> {
        self.require(&Scope::Organization(new.organization.clone()))?;
        self.hold_users([&new.user]).await?;
        diesel::insert_into(affiliations::table)
            .values((
                affiliations::organization.eq(new.organization.as_str()),
                affiliations::user_id.eq(new.user.as_str()),
                affiliations::function.eq(new.function.as_str()),
            ))
            .execute(self.connection())
            .await?;
        self.record(change("affiliation.added", new));
        Ok(())
    }

    /// Ends an affiliation, and with it what rests on it (DIR-5): nothing does yet. Needs the
    /// organization's scope.
    ///
    /// # Errors
    /// As [`Write::add_affiliation`].
    pub async fn remove_affiliation(&mut self, old: &Affiliation) -> Result<(), Failure> {
        self.require(&Scope::Organization(old.organization.clone()))?;
        let Affiliation { user, organization, function } = old;
        let key = (organization.as_str(), user.as_str(), function.as_str());
        diesel::delete(affiliations::table.find(key)).execute(self.connection()).await?;
        self.record(change("affiliation.removed", old));
        Ok(())
    }

    /// Ends all affiliations of a user. Needs the scopes of their organizations.
    ///
    /// # Errors
    /// As [`Write::add_affiliation`].
    pub(super) async fn end_affiliations(&mut self, user: &UserId) -> Result<(), Failure> {
        for affiliation in self.affiliations_of(std::slice::from_ref(user)).await? {
            self.remove_affiliation(&affiliation).await?;
        }
        Ok(())
    }
}

fn change(what: &'static str, affiliation: &Affiliation) -> Change {
    let Affiliation { user, organization, function } = affiliation;
    let value = json!({ "function": function });
    let (before, after) = match what {
        "affiliation.added" => (Value::Null, value),
        _ => (value, Value::Null),
    };
    Change {
        scope: Scope::Organization(organization.clone()),
        what,
        object: user.to_string(),
        portfolio: None,
        subject: Some(Subject::User(user.clone())),
        keys: Vec::new(),
        before,
        after,
    }
}
