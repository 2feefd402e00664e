//! Grants: who has which role on what (MEM-1).

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::facts::parse;
use super::schema::{grants, users};
use super::{Change, Error, Failure, Scope, Transaction, Write, timestamps};
use crate::domain::fact::FactKey;
use crate::domain::membership::{Grant, GrantSource};
use crate::domain::role::MANAGER;
use crate::domain::{OrganizationId, PortfolioId, Subject, Timestamp, UserId};

#[derive(Queryable)]
struct Row {
    id: Uuid,
    role: String,
    source: String,
    ownership: bool,
    start_time: Option<OffsetDateTime>,
    expire_time: Option<OffsetDateTime>,
    create_time: OffsetDateTime,
    revoke_time: Option<OffsetDateTime>,
    subject_kind: String,
    subject_id: String,
}

const COLUMNS: (
    grants::id,
    grants::role,
    grants::source,
    grants::ownership,
    grants::start_time,
    grants::expire_time,
    grants::create_time,
    grants::revoke_time,
    grants::subject_kind,
    grants::subject_id,
) = (
    grants::id,
    grants::role,
    grants::source,
    grants::ownership,
    grants::start_time,
    grants::expire_time,
    grants::create_time,
    grants::revoke_time,
    grants::subject_kind,
    grants::subject_id,
);

impl Transaction {
    /// All direct grants of some subjects on a portfolio, ended ones too, oldest first.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn grants(
        &mut self,
        portfolio: &PortfolioId,
        subjects: &[Subject],
    ) -> Result<Vec<Grant>, Error> {
        // Both columns of the index: the portfolio may have many more.
        let kinds: BTreeSet<&str> = subjects.iter().map(Subject::kind).collect();
        let rows: Vec<Row> = grants::table
            .filter(grants::portfolio.eq(portfolio.as_str()))
            .filter(grants::subject_kind.eq_any(kinds))
            .filter(grants::subject_id.eq_any(subjects.iter().map(Subject::id)))
            .select(COLUMNS)
            .order((grants::create_time, grants::id))
            .load(self.connection())
            .await?;
        let grants = rows.into_iter().map(|row| grant(portfolio, row));
        // A user and a group may share an id.
        let subjects: BTreeSet<&Subject> = subjects.iter().collect();
        let wanted = |grant: &Result<Grant, Error>| {
            grant.as_ref().map_or(true, |grant| subjects.contains(&grant.subject))
        };
        grants.filter(wanted).collect()
    }

    /// The direct grants of some subjects that count on a portfolio, ended ones too, oldest first.
    /// On a linked one they are those of the last of the links, from its parent to the one whose
    /// settings are in force, and the ownerships along the way there: there manager grants like
    /// others (INH-2).
    ///
    /// # Errors
    /// As [`Transaction::grants`].
    pub async fn grants_in_effect(
        &mut self,
        portfolio: &PortfolioId,
        links: &[PortfolioId],
        subjects: &[Subject],
    ) -> Result<Vec<Grant>, Error> {
        let Some((root, between)) = links.split_last() else {
            return self.grants(portfolio, subjects).await;
        };
        let mut grants = self.grants(root, subjects).await?;
        let linked = std::iter::once(portfolio).chain(between);
        grants.extend(self.ownerships(linked, subjects).await?);
        for grant in &mut grants {
            grant.ownership &= grant.portfolio == *portfolio;
        }
        grants.sort_by_key(|grant| (grant.create_time, grant.id));
        Ok(grants)
    }

    /// By which of these portfolios' ownerships some subjects are managers.
    async fn ownerships<'a>(
        &mut self,
        portfolios: impl Iterator<Item = &'a PortfolioId>,
        subjects: &[Subject],
    ) -> Result<Vec<Grant>, Error> {
        let users = subjects.iter().filter_map(Subject::user).map(UserId::as_str);
        let rows: Vec<(String, Row)> = grants::table
            .filter(grants::portfolio.eq_any(portfolios.map(PortfolioId::as_str)))
            .filter(grants::ownership.and(grants::revoke_time.is_null()))
            .filter(grants::subject_kind.eq("user").and(grants::subject_id.eq_any(users)))
            .select((grants::portfolio, COLUMNS))
            .load(self.connection())
            .await?;
        rows.into_iter().map(|(portfolio, row)| grant(&parse("grants", &portfolio)?, row)).collect()
    }

    /// The active users with a begun, unexpiring, direct manager grant: those who keep the
    /// portfolio managed (MEM-6). `now` is the write's clock.
    ///
    /// # Errors
    /// As [`Transaction::grants`].
    pub async fn lasting_managers(
        &mut self,
        portfolio: &PortfolioId,
        now: Timestamp,
    ) -> Result<Vec<UserId>, Error> {
        let now = timestamps::to_sql(now);
        let ids: Vec<String> = grants::table
            .inner_join(users::table.on(users::id.eq(grants::subject_id)))
            .filter(grants::portfolio.eq(portfolio.as_str()))
            .filter(grants::subject_kind.eq("user"))
            .filter(grants::role.eq(MANAGER))
            .filter(grants::revoke_time.is_null().and(grants::expire_time.is_null()))
            .filter(grants::start_time.is_null().or(grants::start_time.le(now)))
            .filter(diesel::dsl::not(users::deactivated))
            .select(grants::subject_id)
            .distinct()
            .load(self.connection())
            .await?;
        ids.iter().map(|id| parse("grants", id)).collect()
    }
}

/// What is linked to a portfolio, and whether an active user owns it or something on the way.
const BELOW: &str = "
    WITH RECURSIVE below (id, archived, owned, links) AS (
        SELECT p.id, p.archived, EXISTS (OWNER), 1
        FROM portfolios AS p WHERE p.parent = $1 AND p.linked AND NOT p.deleted
      UNION ALL
        SELECT p.id, p.archived, b.owned OR EXISTS (OWNER), b.links + 1
        FROM below AS b JOIN portfolios AS p ON p.parent = b.id AND p.linked AND NOT p.deleted
        WHERE b.links < 16
    )
    SELECT id FROM below WHERE NOT owned AND NOT archived ORDER BY id LIMIT 1";

const OWNER: &str = "SELECT FROM grants AS g JOIN users AS u ON u.id = g.subject_id
                     WHERE g.portfolio = p.id AND g.ownership AND g.revoke_time IS NULL
                       AND NOT u.deactivated";

#[derive(QueryableByName)]
struct Below {
    #[diesel(sql_type = diesel::sql_types::Text)]
    id: String,
}

impl Transaction {
    /// A portfolio in use that has no other managers than those of the one that it is linked to,
    /// directly or not: no active owner of its own or on the way (MEM-6, INH-2).
    ///
    /// # Errors
    /// As [`Transaction::grants`].
    pub async fn depends_on_managers_of(
        &mut self,
        portfolio: &PortfolioId,
    ) -> Result<Option<PortfolioId>, Error> {
        let found: Option<Below> = diesel::sql_query(BELOW.replace("OWNER", OWNER))
            .bind::<diesel::sql_types::Text, _>(portfolio.as_str())
            .get_result(self.connection())
            .await
            .optional()?;
        found.map(|below| parse("portfolios", &below.id)).transpose()
    }
}

fn grant(portfolio: &PortfolioId, row: Row) -> Result<Grant, Error> {
    let corrupt = |what: String| Error::corrupt("grants", &row.id.to_string(), what);
    let subject = Subject::from_parts(&row.subject_kind, &row.subject_id);
    let source = GrantSource::parse(&row.source);
    Ok(Grant {
        id: row.id,
        portfolio: portfolio.clone(),
        subject: subject.map_err(|error| corrupt(error.to_string()))?,
        role: parse("grants", &row.role)?,
        source: source.ok_or_else(|| corrupt("unknown source".to_owned()))?,
        ownership: row.ownership,
        start_time: row.start_time.map(timestamps::from_sql),
        expire_time: row.expire_time.map(timestamps::from_sql),
        create_time: timestamps::from_sql(row.create_time),
        revoke_time: row.revoke_time.map(timestamps::from_sql),
    })
}

/// A change of one subject's direct grants on one portfolio: one audit event.
#[derive(Clone, Copy, Debug)]
pub struct MemberChange<'a> {
    /// Whose portfolio it is.
    pub organization: &'a OrganizationId,
    /// On what.
    pub portfolio: &'a PortfolioId,
    /// Whose grants.
    pub subject: &'a Subject,
    /// The kind of change.
    pub what: &'static str,
    /// Grants that end with this write.
    pub revoked: &'a [Grant],
    /// Grants that are given with this write.
    pub given: &'a [Grant],
}

impl Write {
    /// Ends and gives grants of one subject. Needs the organization's scope.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn change_member(&mut self, change: &MemberChange<'_>) -> Result<(), Failure> {
        let scope = Scope::Organization(change.organization.clone());
        self.require(&scope)?;
        let now = timestamps::to_sql(self.now());
        let revoked: Vec<Uuid> = change.revoked.iter().map(|grant| grant.id).collect();
        if !revoked.is_empty() {
            diesel::update(grants::table.filter(grants::id.eq_any(revoked)))
                .set(grants::revoke_time.eq(now))
                .execute(self.connection())
                .await?;
        }
        self.insert_grants(change.organization, change.given).await?;
        let list = |grants: &[Grant]| if grants.is_empty() { Value::Null } else { json!(grants) };
        self.record(Change {
            scope,
            what: change.what,
            object: change.portfolio.to_string(),
            portfolio: Some(change.portfolio.clone()),
            subject: Some(change.subject.clone()),
            keys: vec![FactKey::Portfolio(change.portfolio.clone())],
            before: list(change.revoked),
            after: list(change.given),
        });
        Ok(())
    }

    /// Gives grants to new members of one portfolio: one audit event each. Needs the
    /// organization's scope.
    ///
    /// # Errors
    /// As [`Write::change_member`].
    pub async fn add_members(
        &mut self,
        organization: &OrganizationId,
        given: &[Grant],
    ) -> Result<(), Failure> {
        let scope = Scope::Organization(organization.clone());
        self.require(&scope)?;
        self.insert_grants(organization, given).await?;
        for grant in given {
            self.record(Change {
                scope: scope.clone(),
                what: "member.added",
                object: grant.portfolio.to_string(),
                portfolio: Some(grant.portfolio.clone()),
                subject: Some(grant.subject.clone()),
                keys: vec![FactKey::Portfolio(grant.portfolio.clone())],
                before: Value::Null,
                after: json!([grant]),
            });
        }
        Ok(())
    }

    /// Ends every grant of a subject, in every organization, on items too, of which it is neither
    /// owner nor author any more: one audit event for each portfolio and each item.
    /// Needs the scopes of the organizations.
    ///
    /// # Errors
    /// As [`Write::change_member`].
    pub async fn revoke_all(&mut self, subject: &Subject) -> Result<(), Failure> {
        let now = timestamps::to_sql(self.now());
        let ended: Vec<(String, String, Row)> = diesel::update(grants::table)
            .filter(grants::subject_kind.eq(subject.kind()))
            .filter(grants::subject_id.eq(subject.id()))
            .filter(grants::revoke_time.is_null())
            .set(grants::revoke_time.eq(now))
            .returning((grants::organization, grants::portfolio, COLUMNS))
            .get_results(self.connection())
            .await?;
        let mut by_portfolio: BTreeMap<(String, String), Vec<Grant>> = BTreeMap::new();
        for (organization, portfolio, row) in ended {
            let mut grant = grant(&parse("grants", &portfolio)?, row)?;
            // As it was before.
            grant.revoke_time = None;
            by_portfolio.entry((organization, portfolio)).or_default().push(grant);
        }
        for ((organization, portfolio), mut grants) in by_portfolio {
            let scope = Scope::Organization(parse("grants", &organization)?);
            self.require(&scope)?;
            grants.sort_by_key(|grant| (grant.create_time, grant.id));
            let id: PortfolioId = parse("grants", &portfolio)?;
            self.record(Change {
                scope,
                what: "member.removed",
                object: portfolio,
                portfolio: Some(id.clone()),
                subject: Some(subject.clone()),
                keys: vec![FactKey::Portfolio(id)],
                before: json!(grants),
                after: Value::Null,
            });
        }
        self.end_on_items(subject).await
    }

    async fn insert_grants(
        &mut self,
        organization: &OrganizationId,
        given: &[Grant],
    ) -> Result<(), Failure> {
        self.hold_users(given.iter().filter_map(|grant| grant.subject.user())).await?;
        let row = |grant: &Grant| {
            (
                grants::id.eq(grant.id),
                grants::portfolio.eq(grant.portfolio.as_str().to_owned()),
                grants::organization.eq(organization.as_str().to_owned()),
                grants::subject_kind.eq(grant.subject.kind()),
                grants::subject_id.eq(grant.subject.id().to_owned()),
                grants::role.eq(grant.role.as_str().to_owned()),
                grants::source.eq(grant.source.as_str()),
                grants::ownership.eq(grant.ownership),
                grants::start_time.eq(grant.start_time.map(timestamps::to_sql)),
                grants::expire_time.eq(grant.expire_time.map(timestamps::to_sql)),
                grants::create_time.eq(timestamps::to_sql(grant.create_time)),
            )
        };
        // PostgreSQL takes 65,535 parameters a statement.
        for given in given.chunks(1_000) {
            let rows: Vec<_> = given.iter().map(row).collect();
            let insert = diesel::insert_into(grants::table).values(rows);
            insert.execute(self.connection()).await?;
        }
        Ok(())
    }
}
