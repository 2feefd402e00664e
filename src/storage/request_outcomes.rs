//! What writes answered, so that a retry gets the first answer again (BAD-3).

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::schema::request_outcomes::{self, dsl};
use super::{Error, Storage, WriteContext};

/// How long an outcome is kept.
const KEPT: Duration = Duration::hours(24);
/// How many old outcomes one round takes away: a bounded delete.
const PURGE_BATCH: i64 = 1_000;

/// What was answered before.
#[derive(Debug, Queryable)]
pub(super) struct Outcome {
    pub fingerprint: Vec<u8>,
    pub outcome: Value,
    pub token: String,
}

/// Looks a request id up. Called after the scope locks are held: a retry has then waited for the
/// attempt that may still be committing.
pub(super) async fn find(
    connection: &mut AsyncPgConnection,
    context: &WriteContext,
    now: OffsetDateTime,
) -> Result<Option<Outcome>, Error> {
    let found = dsl::request_outcomes
        .filter(request_outcomes::caller.eq(context.principal.caller.retries_as()))
        .filter(request_outcomes::request_id.eq(&context.request_id))
        .filter(request_outcomes::create_time.gt(now - KEPT))
        .select((request_outcomes::fingerprint, request_outcomes::outcome, request_outcomes::token))
        .first(connection)
        .await
        .optional()?;
    Ok(found)
}

/// Keeps what a request was answered; false if its id was used by another meanwhile, under other
/// locks.
pub(super) async fn insert(
    connection: &mut AsyncPgConnection,
    context: &WriteContext,
    outcome: &Value,
    token: &str,
    now: OffsetDateTime,
) -> Result<bool, Error> {
    let values = (
        request_outcomes::caller.eq(context.principal.caller.retries_as()),
        request_outcomes::request_id.eq(&context.request_id),
        request_outcomes::fingerprint.eq(&context.fingerprint[..]),
        request_outcomes::outcome.eq(outcome),
        request_outcomes::token.eq(token),
        request_outcomes::create_time.eq(now),
    );
    let insert =
        || diesel::insert_into(dsl::request_outcomes).values(values).on_conflict_do_nothing();
    if insert().execute(connection).await? == 1 {
        return Ok(true);
    }
    // An outcome of the same id that is older than a day is over.
    let over = dsl::request_outcomes
        .find((context.principal.caller.retries_as(), &context.request_id))
        .filter(request_outcomes::create_time.le(now - KEPT));
    diesel::delete(over).execute(connection).await?;
    Ok(insert().execute(connection).await? == 1)
}

impl Storage {
    /// Takes outcomes away that are older than a day; returns how many.
    ///
    /// # Errors
    /// The database cannot be asked before the deadline.
    pub async fn purge_request_outcomes(
        &self,
        deadline: tokio::time::Instant,
    ) -> Result<usize, Error> {
        const PURGE: &str = "
            DELETE FROM request_outcomes WHERE (caller, request_id) IN (
                SELECT caller, request_id FROM request_outcomes
                WHERE create_time < now() - interval '24 hours' ORDER BY create_time LIMIT $1)
            AND create_time < now() - interval '24 hours'";
        let mut connection = self.take(&self.writes, deadline).await?;
        let purge = async {
            let purge = diesel::sql_query(PURGE).bind::<diesel::sql_types::BigInt, _>(PURGE_BATCH);
            Ok(purge.execute(&mut *connection).await?)
        };
        super::read::within(deadline, purge).await
    }
}
