//! Linking access settings to those of the parent, unlinking them, moving (INH-1, INH-4, INH-6).
//!
//! While a portfolio is linked its own settings and grants stay as they were, without effect: what
//! is restored is there already.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::change;
use super::parents::{CHAIN, LINKS};
use crate::domain::membership::Grant;
use crate::domain::portfolio::Portfolio;
use crate::domain::{PortfolioId, Subject};
use crate::storage::grants::MemberChange;
use crate::storage::schema::{grants, portfolios};
use crate::storage::{Error, Failure, Scope, Write, timestamps};

#[derive(diesel::QueryableByName)]
struct Copied {
    #[diesel(sql_type = Text)]
    portfolio: String,
    #[diesel(sql_type = Text)]
    subject_kind: String,
    #[diesel(sql_type = Text)]
    subject_id: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    start_time: Option<OffsetDateTime>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    expire_time: Option<OffsetDateTime>,
}

/// Gives the portfolios `$3`, which are linked to `$1`, what is in effect there at `$4`. Who owns
/// one further up becomes a manager, once, unless they own the portfolio itself: they manage it
/// already.
const COPY_GRANTS: &str = "
    INSERT INTO grants (id, portfolio, organization, subject_kind, subject_id, role, source,
                        ownership, start_time, expire_time, create_time)
    SELECT gen_random_uuid(), t.id, t.organization, g.subject_kind, g.subject_id, g.role, g.source,
           false, g.start_time, g.expire_time, $4
    FROM portfolios AS t,
         (SELECT subject_kind, subject_id, role, source, start_time, expire_time, false AS owns
          FROM chain AS c JOIN grants AS g ON g.portfolio = c.id
          WHERE NOT c.linked AND NOT g.ownership
            AND g.revoke_time IS NULL AND coalesce(g.expire_time > $4, true)
          UNION ALL
          SELECT subject_kind, subject_id, role, min(source), NULL, NULL, true
          FROM chain AS c JOIN grants AS g ON g.portfolio = c.id
          WHERE g.ownership AND g.revoke_time IS NULL
          GROUP BY subject_kind, subject_id, role) AS g
    WHERE t.id = ANY ($3)
      AND NOT (g.owns AND EXISTS (
          SELECT FROM grants AS o
          WHERE o.portfolio = t.id AND o.ownership AND o.revoke_time IS NULL
            AND o.subject_kind = g.subject_kind AND o.subject_id = g.subject_id))
    RETURNING portfolio, subject_kind, subject_id, role, start_time, expire_time";

/// Who has a suspended grant on a linked portfolio (`$1`) and was removed, since it was linked
/// last, where the settings are that are in effect.
const REMOVED: &str = ",
    root AS (SELECT id FROM chain WHERE id <> $1 AND NOT linked)
    SELECT DISTINCT g.subject_kind, g.subject_id
    FROM grants AS g
    WHERE g.portfolio = $1 AND NOT g.ownership AND g.revoke_time IS NULL
      AND EXISTS (
          SELECT FROM root JOIN change_log AS l ON l.portfolio = root.id
          WHERE l.subject = g.subject_kind || ':' || g.subject_id AND l.what = 'member.removed'
            AND l.at >= (SELECT max(at) FROM change_log
                         WHERE portfolio = $1 AND what = 'access_settings.linked'))
      AND NOT EXISTS (
          SELECT FROM root JOIN grants AS r ON r.portfolio = root.id
          WHERE r.subject_kind = g.subject_kind AND r.subject_id = g.subject_id
            AND r.revoke_time IS NULL)";

#[derive(diesel::QueryableByName)]
struct RemovedRow {
    #[diesel(sql_type = Text)]
    subject_kind: String,
    #[diesel(sql_type = Text)]
    subject_id: String,
}

/// What is said of a portfolio whose settings are linked to others, or no more.
fn linked(portfolio: &Portfolio) -> Value {
    let Portfolio { linked, parent, settings, .. } = portfolio;
    match linked {
        true => json!({ "linked": true, "parent": parent }),
        false => json!({ "linked": false, "settings": settings }),
    }
}

impl Write {
    /// Puts a portfolio below another, or at the top, linked to it or not; returns the portfolio as
    /// it then is. Whether it may be there, and what is to become of its settings, was decided.
    ///
    /// # Errors
    /// As [`Write::insert_portfolio`].
    pub async fn place_portfolio(
        &mut self,
        before: &Portfolio,
        parent: Option<&PortfolioId>,
        link: bool,
    ) -> Result<Portfolio, Failure> {
        self.require(&Scope::Organization(before.organization.clone()))?;
        let after = Portfolio {
            parent: parent.cloned(),
            linked: link,
            update_time: self.now(),
            version: before.version + 1,
            ..before.clone()
        };
        diesel::update(portfolios::table.find(before.id.as_str()))
            .set((
                portfolios::parent.eq(parent.map(PortfolioId::as_str)),
                portfolios::linked.eq(link),
                portfolios::update_time.eq(timestamps::to_sql(after.update_time)),
                portfolios::version.eq(after.version),
            ))
            .execute(self.connection())
            .await?;
        if before.parent != after.parent {
            let (was, is) = (json!({ "parent": before.parent }), json!({ "parent": after.parent }));
            self.record(change("portfolio.moved", before, was, is));
        }
        if link {
            self.record(change("access_settings.linked", before, linked(before), linked(&after)));
        }
        Ok(after)
    }

    /// Unlinks a portfolio, whose own settings are in effect again, but for the grants of people
    /// who were removed meanwhile (INH-4); returns it as it then is.
    ///
    /// # Errors
    /// As [`Write::insert_portfolio`].
    pub async fn unlink_restoring(&mut self, before: &Portfolio) -> Result<Portfolio, Failure> {
        self.require(&Scope::Organization(before.organization.clone()))?;
        self.end_of_removed(before).await?;
        let after = Portfolio {
            linked: false,
            update_time: self.now(),
            version: before.version + 1,
            ..before.clone()
        };
        diesel::update(portfolios::table.find(before.id.as_str()))
            .set((
                portfolios::linked.eq(false),
                portfolios::update_time.eq(timestamps::to_sql(after.update_time)),
                portfolios::version.eq(after.version),
            ))
            .execute(self.connection())
            .await?;
        self.record(change("access_settings.unlinked", before, linked(before), linked(&after)));
        Ok(after)
    }

    /// Ends the suspended grants of those who were removed where the settings are in effect.
    async fn end_of_removed(&mut self, portfolio: &Portfolio) -> Result<(), Failure> {
        let rows: Vec<RemovedRow> = diesel::sql_query(format!("{CHAIN}{REMOVED}"))
            .bind::<Text, _>(portfolio.id.as_str())
            .bind::<BigInt, _>(LINKS)
            .load(self.connection())
            .await?;
        for RemovedRow { subject_kind, subject_id } in rows {
            let subject = Subject::from_parts(&subject_kind, &subject_id)
                .map_err(|error| Error::corrupt("grants", &subject_id, error.to_string()))?;
            let grants = self.grants(&portfolio.id, std::slice::from_ref(&subject)).await?;
            let suspended = |grant: &Grant| grant.revoke_time.is_none() && !grant.ownership;
            let suspended: Vec<Grant> = grants.into_iter().filter(suspended).collect();
            let change = MemberChange {
                organization: &portfolio.organization,
                portfolio: &portfolio.id,
                subject: &subject,
                what: "member.removed",
                revoked: &suspended,
                given: &[],
            };
            self.change_member(&change).await?;
        }
        Ok(())
    }

    /// Unlinks portfolios that are linked to one and the same, each with a copy of what is in
    /// effect on it in place of its own settings, ownership apart; returns them as they then are.
    /// Nobody gains or loses by it, here or on what is linked to them: whoever owned one further up
    /// is a manager of the copy (INH-4).
    ///
    /// # Errors
    /// As [`Write::insert_portfolio`].
    pub async fn unlink_copying(
        &mut self,
        parent: &PortfolioId,
        before: &[Portfolio],
    ) -> Result<Vec<Portfolio>, Failure> {
        let settings = self.settings_in_effect(parent).await?.settings;
        let now = timestamps::to_sql(self.now());
        let ids: Vec<&str> = before.iter().map(|portfolio| portfolio.id.as_str()).collect();
        diesel::update(grants::table)
            .filter(grants::portfolio.eq_any(&ids))
            .filter(grants::revoke_time.is_null().and(diesel::dsl::not(grants::ownership)))
            .set(grants::revoke_time.eq(now))
            .execute(self.connection())
            .await?;
        let copied: Vec<Copied> = diesel::sql_query(format!("{CHAIN} {COPY_GRANTS}"))
            .bind::<Text, _>(parent.as_str())
            .bind::<BigInt, _>(LINKS)
            .bind::<Array<Text>, _>(&ids)
            .bind::<Timestamptz, _>(now)
            .load(self.connection())
            .await?;
        diesel::update(portfolios::table.filter(portfolios::id.eq_any(&ids)))
            .set((
                portfolios::linked.eq(false),
                portfolios::visibility.eq(settings.visibility.as_str()),
                portfolios::organization_access_role.eq(settings.organization_access_role.as_str()),
                portfolios::update_time.eq(now),
                portfolios::version.eq(portfolios::version + 1),
            ))
            .execute(self.connection())
            .await?;
        let mut grants: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in copied {
            grants.entry(row.portfolio.clone()).or_default().push(grant(&row));
        }
        let mut unlinked = Vec::new();
        for before in before {
            self.require(&Scope::Organization(before.organization.clone()))?;
            let after = Portfolio {
                linked: false,
                settings: settings.clone(),
                update_time: self.now(),
                version: before.version + 1,
                ..before.clone()
            };
            let mut is = linked(&after);
            if let (Some(is), Some(grants)) =
                (is.as_object_mut(), grants.remove(before.id.as_str()))
            {
                is.insert("grants".to_owned(), Value::Array(grants));
            }
            self.record(change("access_settings.unlinked", before, linked(before), is));
            unlinked.push(after);
        }
        Ok(unlinked)
    }
}

/// A grant as the trail tells it.
fn grant(row: &Copied) -> Value {
    let time = |time: Option<OffsetDateTime>| time.map(timestamps::from_sql);
    json!({
        "subject": format!("{}:{}", row.subject_kind, row.subject_id),
        "role": row.role,
        "start_time": time(row.start_time),
        "expire_time": time(row.expire_time),
    })
}
