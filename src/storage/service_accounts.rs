//! Service accounts: the programs of organizations.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::facts::parse;
use super::schema::service_accounts;
use super::{Change, Error, Failure, Scope, Transaction, Write};
use crate::domain::directory::ServiceAccount;
use crate::domain::fact::FactKey;
use crate::domain::page::Page;
use crate::domain::{OrganizationId, ServiceAccountId, Subject};

#[derive(Queryable, Selectable, diesel::QueryableByName)]
#[diesel(table_name = service_accounts, check_for_backend(diesel::pg::Pg))]
struct Row {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    organization: String,
    #[diesel(sql_type = Text)]
    display_name: String,
    #[diesel(sql_type = Bool)]
    deactivated: bool,
}

const PAGE: &str = r#"
    SELECT id, organization, display_name, deactivated FROM service_accounts
    WHERE organization = $1 AND id COLLATE "C" > $2
    ORDER BY id COLLATE "C" LIMIT $3"#;

impl Transaction {
    /// A service account; none if there is none of this id.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn service_account(
        &mut self,
        id: &ServiceAccountId,
    ) -> Result<Option<ServiceAccount>, Error> {
        Ok(self.service_accounts_of(std::slice::from_ref(id)).await?.pop())
    }

    /// The service accounts of these ids, those that exist.
    ///
    /// # Errors
    /// As [`Transaction::service_account`].
    pub async fn service_accounts_of(
        &mut self,
        ids: &[ServiceAccountId],
    ) -> Result<Vec<ServiceAccount>, Error> {
        let rows: Vec<Row> = service_accounts::table
            .filter(service_accounts::id.eq_any(ids.iter().map(ServiceAccountId::as_str)))
            .select(Row::as_select())
            .load(self.connection())
            .await?;
        rows.into_iter().map(service_account).collect()
    }

    /// A page of an organization's service accounts, by id in byte order.
    ///
    /// # Errors
    /// As [`Transaction::service_account`].
    pub async fn service_accounts_in(
        &mut self,
        organization: &OrganizationId,
        page: &Page<ServiceAccountId>,
    ) -> Result<Vec<ServiceAccount>, Error> {
        let rows: Vec<Row> = diesel::sql_query(PAGE)
            .bind::<Text, _>(organization.as_str())
            .bind::<Text, _>(page.after.as_ref().map_or("", ServiceAccountId::as_str))
            .bind::<BigInt, _>(i64::try_from(page.size).unwrap_or(i64::MAX))
            .load(self.connection())
            .await?;
        rows.into_iter().map(service_account).collect()
    }
}

fn service_account(row: Row) -> Result<ServiceAccount, Error> {
    let Row { id, organization, display_name, deactivated } = row;
    Ok(ServiceAccount {
        id: parse("service_accounts", &id)?,
        organization: parse("service_accounts", &organization)?,
        display_name,
        deactivated,
    })
}

impl Write {
    /// Creates service accounts, or changes name and status; each comes with what it was. Needs the
    /// global scope, which ids are unique in, and those of their organizations.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn put_service_accounts(
        &mut self,
        accounts: &[(Option<ServiceAccount>, ServiceAccount)],
    ) -> Result<(), Failure> {
        self.require(&Scope::Global)?;
        for (before, after) in accounts {
            self.require(&Scope::Organization(after.organization.clone()))?;
            let Some(before) = before else {
                self.record(change("service_account.created", None, after));
                continue;
            };
            if before.display_name != after.display_name {
                self.record(change("service_account.updated", Some(before), after));
            }
            if before.deactivated && !after.deactivated {
                self.record(change("service_account.reactivated", Some(before), after));
            }
        }
        let row = |(_, account): &(Option<ServiceAccount>, ServiceAccount)| {
            (
                service_accounts::id.eq(account.id.as_str().to_owned()),
                service_accounts::organization.eq(account.organization.as_str().to_owned()),
                service_accounts::display_name.eq(account.display_name.clone()),
                service_accounts::deactivated.eq(account.deactivated),
            )
        };
        // PostgreSQL takes 65,535 parameters a statement.
        for accounts in accounts.chunks(1_000) {
            let rows: Vec<_> = accounts.iter().map(row).collect();
            diesel::insert_into(service_accounts::table)
                .values(rows)
                .on_conflict(service_accounts::id)
                .do_update()
                .set((
                    service_accounts::display_name.eq(excluded(service_accounts::display_name)),
                    service_accounts::deactivated.eq(excluded(service_accounts::deactivated)),
                ))
                .execute(self.connection())
                .await?;
        }
        Ok(())
    }

    /// Deactivates a service account; returns it as it then is. Needs its organization's scope.
    ///
    /// # Errors
    /// As [`Write::put_service_accounts`].
    pub async fn deactivate_service_account(
        &mut self,
        before: &ServiceAccount,
    ) -> Result<ServiceAccount, Failure> {
        self.require(&Scope::Organization(before.organization.clone()))?;
        diesel::update(service_accounts::table.find(before.id.as_str()))
            .set(service_accounts::deactivated.eq(true))
            .execute(self.connection())
            .await?;
        let after = ServiceAccount { deactivated: true, ..before.clone() };
        self.record(change("service_account.deactivated", Some(before), &after));
        Ok(after)
    }
}

fn change(what: &'static str, before: Option<&ServiceAccount>, after: &ServiceAccount) -> Change {
    let subject = Subject::ServiceAccount(after.id.clone());
    Change {
        scope: Scope::Organization(after.organization.clone()),
        what,
        object: after.id.to_string(),
        portfolio: None,
        subject: Some(subject.clone()),
        keys: vec![FactKey::Subject(subject)],
        before: before.map_or(Value::Null, |before| json!(before)),
        after: json!(after),
    }
}
