use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

use super::schema::change_log;
use super::{Error, Read, Scope};
use crate::domain::fact::FactKey;
use crate::domain::revision::Shard;
use crate::domain::{OrganizationId, PortfolioId, Subject};

/// A change of access: one audit event (EVT-1), and the facts that replicas read again for it.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose change it is; decides the shard.
    pub scope: Scope,
    /// The kind of change: `noun.participle`.
    pub what: &'static str,
    /// On what: the id of the portfolio, group, user or organization.
    pub object: String,
    /// The portfolio concerned.
    pub portfolio: Option<PortfolioId>,
    /// Whose access, or whose entry in the directory, was changed.
    pub subject: Option<Subject>,
    /// The facts that changed.
    pub keys: Vec<FactKey>,
    /// What was; null for what is new.
    pub before: Value,
    /// What is; null for what is gone.
    pub after: Value,
}

/// A change as replicas read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedChange {
    /// Its place in the shard.
    pub sequence: i64,
    /// The write that made it.
    pub commit_id: Uuid,
    /// Whose change it is; none for a global one.
    pub organization: Option<OrganizationId>,
    /// The facts that changed; none if this program does not understand the change.
    pub keys: Option<Vec<FactKey>>,
}

type Row = (i64, Uuid, Option<String>, Value);

impl Read {
    /// The changes of a shard from `cursor` on, **inclusive**, at most `limit`: the caller compares
    /// the first one's commit with the one it remembers, and so notices another history.
    ///
    /// # Errors
    /// The database cannot be asked, or holds an organization id that is none.
    pub async fn changes(
        &mut self,
        shard: Shard,
        cursor: i64,
        limit: i64,
    ) -> Result<Vec<LoggedChange>, Error> {
        let rows: Vec<Row> = change_log::table
            .filter(change_log::shard.eq(shard.number()).and(change_log::sequence.ge(cursor)))
            .order(change_log::sequence)
            .limit(limit)
            .select((
                change_log::sequence,
                change_log::commit_id,
                change_log::organization,
                change_log::keys,
            ))
            .load(self.connection())
            .await?;
        rows.into_iter().map(logged_change).collect()
    }
}

fn logged_change((sequence, commit_id, organization, keys): Row) -> Result<LoggedChange, Error> {
    let organization = organization
        .map(|id| id.parse().map_err(|error| Error::corrupt("change_log", &id, error)))
        .transpose()?;
    // A key of a kind that a newer program logs: the reader throws the organization away.
    let keys = serde_json::from_value(keys).ok();
    Ok(LoggedChange { sequence, commit_id, organization, keys })
}
