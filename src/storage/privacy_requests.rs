//! Changes of visibility that wait for an administrator's approval (VIS-7).

use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::facts::parse;
use super::schema::privacy_requests::{self, table};
use super::{Change, Error, Failure, Scope, Transaction, Write, timestamps};
use crate::domain::access_settings::Visibility;
use crate::domain::caller::{Caller, CallerKind, Organizations};
use crate::domain::page::Page;
use crate::domain::privacy_request::{PrivacyRequest, PrivacyRequestPlace, PrivacyRequestState};
use crate::domain::{OrganizationId, PortfolioId, PrivacyRequestId, Subject, Timestamp};

#[derive(Queryable, Selectable)]
#[diesel(table_name = privacy_requests, check_for_backend(Pg))]
struct Row {
    id: String,
    organization: String,
    portfolio: String,
    requester_kind: Option<String>,
    requester_id: Option<String>,
    from_visibility: String,
    to_visibility: String,
    state: String,
    create_time: OffsetDateTime,
    decider_kind: Option<String>,
    decider_id: Option<String>,
    decide_time: Option<OffsetDateTime>,
    reason: String,
}

/// Which requests a list has.
#[derive(Clone, Copy, Debug)]
pub enum Requests<'a> {
    /// Those about a portfolio.
    About(&'a PortfolioId),
    /// Those about the portfolios of an organization.
    In(&'a OrganizationId),
    /// Those of a requester, where the caller reaches.
    By(&'a Subject, &'a Caller),
}

impl Transaction {
    /// A privacy request; none if there is none of this id.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn privacy_request(
        &mut self,
        id: &PrivacyRequestId,
    ) -> Result<Option<PrivacyRequest>, Error> {
        let query = table.find(id.as_str()).select(Row::as_select());
        let row: Option<Row> = query.first(self.connection()).await.optional()?;
        row.map(privacy_request).transpose()
    }

    /// The request about a portfolio that is pending, if one is.
    ///
    /// # Errors
    /// As [`Transaction::privacy_request`].
    pub async fn pending_privacy_request(
        &mut self,
        portfolio: &PortfolioId,
    ) -> Result<Option<PrivacyRequest>, Error> {
        let row: Option<Row> = table
            .filter(privacy_requests::portfolio.eq(portfolio.as_str()))
            .filter(privacy_requests::state.eq(PrivacyRequestState::Pending.as_str()))
            .select(Row::as_select())
            .first(self.connection())
            .await
            .optional()?;
        row.map(privacy_request).transpose()
    }

    /// A page of requests in any of these states, in all if none is named; the newest first.
    ///
    /// # Errors
    /// As [`Transaction::privacy_request`].
    pub async fn privacy_requests(
        &mut self,
        which: Requests<'_>,
        states: &[PrivacyRequestState],
        page: &Page<PrivacyRequestPlace>,
    ) -> Result<Vec<PrivacyRequest>, Error> {
        let mut query = table.select(Row::as_select()).into_boxed::<Pg>();
        query = match which {
            Requests::About(id) => query.filter(privacy_requests::portfolio.eq(id.as_str())),
            Requests::In(id) => query.filter(privacy_requests::organization.eq(id.as_str())),
            Requests::By(subject, caller) => {
                if let CallerKind::Service { organizations, .. } = caller.kind()
                    && let Organizations::These(these) = organizations
                {
                    let these = these.iter().map(OrganizationId::as_str);
                    query = query.filter(privacy_requests::organization.eq_any(these));
                }
                query
                    .filter(privacy_requests::requester_kind.eq(subject.kind()))
                    .filter(privacy_requests::requester_id.eq(subject.id()))
            }
        };
        if !states.is_empty() {
            let states = states.iter().map(|state| state.as_str());
            query = query.filter(privacy_requests::state.eq_any(states));
        }
        if let Some(PrivacyRequestPlace { create_time, id }) = &page.after {
            // A page token may name any instant; the database knows fewer.
            let at = timestamps::to_sql((*create_time).clamp(Timestamp::MIN, Timestamp::MAX));
            let before = sql::<Bool>("(create_time, id) < (").bind::<Timestamptz, _>(at);
            query = query.filter(before.sql(", ").bind::<Text, _>(id.as_str()).sql(")"));
        }
        let rows: Vec<Row> = query
            .order((privacy_requests::create_time.desc(), privacy_requests::id.desc()))
            .limit(page.limit())
            .load(self.connection())
            .await?;
        rows.into_iter().map(privacy_request).collect()
    }
}

fn privacy_request(row: Row) -> Result<PrivacyRequest, Error> {
    let corrupt = |what: String| Error::corrupt("privacy_requests", &row.id, what);
    let subject = |kind: &Option<String>, id: &Option<String>| match (kind, id) {
        (Some(kind), Some(id)) => {
            Subject::from_parts(kind, id).map(Some).map_err(|error| corrupt(error.to_string()))
        }
        _ => Ok(None),
    };
    let visibility = |name: &str| {
        Visibility::parse(name).ok_or_else(|| corrupt(format!("unknown visibility `{name}`")))
    };
    let state = PrivacyRequestState::parse(&row.state);
    Ok(PrivacyRequest {
        organization: parse("privacy_requests", &row.organization)?,
        portfolio: parse("privacy_requests", &row.portfolio)?,
        requester: subject(&row.requester_kind, &row.requester_id)?,
        from_visibility: visibility(&row.from_visibility)?,
        to_visibility: visibility(&row.to_visibility)?,
        state: state.ok_or_else(|| corrupt("unknown state".to_owned()))?,
        create_time: timestamps::from_sql(row.create_time),
        decider: subject(&row.decider_kind, &row.decider_id)?,
        decide_time: row.decide_time.map(timestamps::from_sql),
        id: parse("privacy_requests", &row.id)?,
        reason: row.reason,
    })
}

impl Write {
    /// Keeps a new request, which is pending; no other one of its portfolio is.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held; a requester who was deleted
    /// meanwhile, and the write is to be tried again.
    pub async fn insert_privacy_request(
        &mut self,
        request: &PrivacyRequest,
    ) -> Result<(), Failure> {
        self.require(&Scope::Organization(request.organization.clone()))?;
        let requester = request.requester.as_ref();
        if let Some(Subject::User(id)) = requester {
            self.hold_users([id]).await?;
        }
        diesel::insert_into(table)
            .values((
                privacy_requests::id.eq(request.id.as_str()),
                privacy_requests::organization.eq(request.organization.as_str()),
                privacy_requests::portfolio.eq(request.portfolio.as_str()),
                privacy_requests::requester_kind.eq(requester.map(Subject::kind)),
                privacy_requests::requester_id.eq(requester.map(Subject::id)),
                privacy_requests::from_visibility.eq(request.from_visibility.as_str()),
                privacy_requests::to_visibility.eq(request.to_visibility.as_str()),
                privacy_requests::state.eq(request.state.as_str()),
                privacy_requests::create_time.eq(timestamps::to_sql(request.create_time)),
            ))
            .execute(self.connection())
            .await?;
        self.record(change("privacy_request.created", request, Value::Null));
        Ok(())
    }

    /// Brings a pending request to its end, by the actor; returns it as it then is.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn end_privacy_request(
        &mut self,
        before: &PrivacyRequest,
        state: PrivacyRequestState,
        reason: &str,
    ) -> Result<PrivacyRequest, Failure> {
        self.require(&Scope::Organization(before.organization.clone()))?;
        let after = PrivacyRequest {
            state,
            decider: self.principal().actor.subject(),
            decide_time: Some(self.now()),
            reason: reason.to_owned(),
            ..before.clone()
        };
        let decider = after.decider.as_ref();
        diesel::update(table.find(after.id.as_str()))
            .set((
                privacy_requests::state.eq(after.state.as_str()),
                privacy_requests::decider_kind.eq(decider.map(Subject::kind)),
                privacy_requests::decider_id.eq(decider.map(Subject::id)),
                privacy_requests::decide_time.eq(after.decide_time.map(timestamps::to_sql)),
                privacy_requests::reason.eq(&after.reason),
            ))
            .execute(self.connection())
            .await?;
        let what = match state {
            PrivacyRequestState::Pending => "privacy_request.created",
            PrivacyRequestState::Approved => "privacy_request.approved",
            PrivacyRequestState::Rejected => "privacy_request.rejected",
            PrivacyRequestState::Cancelled => "privacy_request.cancelled",
            PrivacyRequestState::Closed => "privacy_request.closed",
        };
        self.record(change(what, &after, json!(before)));
        Ok(after)
    }

    /// Closes what waits for approval of a portfolio, if anything does (VIS-7): it was deleted, or
    /// has the settings of another now.
    ///
    /// # Errors
    /// As [`Write::end_privacy_request`].
    pub async fn close_privacy_request(&mut self, portfolio: &PortfolioId) -> Result<(), Failure> {
        if let Some(pending) = self.pending_privacy_request(portfolio).await? {
            self.end_privacy_request(&pending, PrivacyRequestState::Closed, "").await?;
        }
        Ok(())
    }

    /// Takes a deleted account off its requests: a later user of the same id is another (DIR-9).
    /// The requests stay.
    pub(super) async fn forget_requester(&mut self, requester: &Subject) -> Result<(), Failure> {
        diesel::update(table)
            .filter(privacy_requests::requester_kind.eq(requester.kind()))
            .filter(privacy_requests::requester_id.eq(requester.id()))
            .set((
                privacy_requests::requester_kind.eq(None::<String>),
                privacy_requests::requester_id.eq(None::<String>),
            ))
            .execute(self.connection())
            .await?;
        Ok(())
    }
}

fn change(what: &'static str, request: &PrivacyRequest, before: Value) -> Change {
    Change {
        scope: Scope::Organization(request.organization.clone()),
        what,
        object: request.id.to_string(),
        portfolio: Some(request.portfolio.clone()),
        subject: None,
        // Decisions look at the visibility in force alone.
        keys: Vec::new(),
        before,
        after: json!(request),
    }
}
