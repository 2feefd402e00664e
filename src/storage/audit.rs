//! The change log as the audit trail (EVT-4): the newest first, by keyset.

use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use time::OffsetDateTime;

use super::facts::parse;
use super::schema::change_log;
use super::{Error, Transaction, timestamps};
use crate::domain::Timestamp;
use crate::domain::audit::{AuditEvent, AuditFilter, AuditPlace, Trail};
use crate::domain::page::Page;

#[derive(Queryable, Selectable)]
#[diesel(table_name = change_log, check_for_backend(Pg))]
struct Row {
    shard: i16,
    sequence: i64,
    organization: Option<String>,
    what: String,
    object: String,
    caller: String,
    actor: String,
    request_id: String,
    at: OffsetDateTime,
    before: Option<Value>,
    after: Option<Value>,
    portfolio: Option<String>,
    subject: Option<String>,
    as_administrator: bool,
    home_organization: Option<String>,
}

impl Transaction {
    /// A page of a trail, the newest first.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn audit_events(
        &mut self,
        trail: &Trail,
        filter: &AuditFilter,
        page: &Page<AuditPlace>,
    ) -> Result<Vec<AuditEvent>, Error> {
        let AuditFilter { actor, subject, kinds, from_time, until_time } = filter;
        let mut query = change_log::table.select(Row::as_select()).into_boxed::<Pg>();
        query = match trail {
            Trail::Portfolio(id) => query.filter(change_log::portfolio.eq(id.as_str())),
            // The expression that the index is on.
            Trail::Organization(id) => query.filter(
                sql::<Bool>("coalesce(organization, home_organization) = ")
                    .bind::<Text, _>(id.as_str()),
            ),
        };
        if let Some(actor) = actor {
            query = query.filter(change_log::actor.eq(actor.to_string()));
        }
        if let Some(subject) = subject {
            query = query.filter(change_log::subject.eq(subject.to_string()));
        }
        if !kinds.is_empty() {
            query = query.filter(change_log::what.eq_any(kinds));
        }
        if let Some(from) = from_time {
            query = query.filter(change_log::at.ge(timestamps::to_sql(*from)));
        }
        if let Some(until) = until_time {
            query = query.filter(change_log::at.lt(timestamps::to_sql(*until)));
        }
        if let Some(AuditPlace { at, shard, sequence }) = page.after {
            // A page token may name any instant; the database knows fewer.
            let at = timestamps::to_sql(at.clamp(Timestamp::MIN, Timestamp::MAX));
            let before = sql::<Bool>("(at, shard, sequence) < (").bind::<Timestamptz, _>(at);
            let before = before.sql(", ").bind::<SmallInt, _>(shard);
            query = query.filter(before.sql(", ").bind::<BigInt, _>(sequence).sql(")"));
        }
        let rows: Vec<Row> = query
            .order((change_log::at.desc(), change_log::shard.desc(), change_log::sequence.desc()))
            .limit(page.limit())
            .load(self.connection())
            .await?;
        rows.into_iter().map(event).collect()
    }
}

fn event(row: Row) -> Result<AuditEvent, Error> {
    let at = timestamps::from_sql(row.at);
    let organization = row.organization.or(row.home_organization);
    let id = |text: &String| parse("change_log", text);
    Ok(AuditEvent {
        place: AuditPlace { at, shard: row.shard, sequence: row.sequence },
        kind: row.what,
        object: row.object,
        organization: organization.as_ref().map(id).transpose()?,
        portfolio: row.portfolio.map(|id| parse("change_log", &id)).transpose()?,
        subject: row.subject.map(|subject| parse("change_log", &subject)).transpose()?,
        caller: row.caller,
        actor: row.actor,
        as_administrator: row.as_administrator,
        request_id: row.request_id,
        before: row.before,
        after: row.after,
    })
}
