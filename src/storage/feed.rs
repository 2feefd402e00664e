//! The heads of the change log: where every shard stands.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use time::OffsetDateTime;
use uuid::Uuid;

use super::schema::organizations;
use super::{Error, Transaction, timestamps};
use crate::domain::revision::{Epoch, Position, SHARDS, Shard};
use crate::domain::{OrganizationId, Timestamp};

/// The version of the change log's vocabulary that this program understands.
pub const READER_VERSION: i32 = 4;

/// Where one shard stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedHead {
    /// The sequence of the latest change.
    pub sequence: i64,
    /// The write that made it: the same sequence with another name is another history.
    pub commit_id: Uuid,
}

/// Where every shard stands, and what else a poll learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedHeads {
    /// The database history.
    pub epoch: Epoch,
    /// The oldest reader version that understands the log.
    pub min_reader: i32,
    /// The database's clock.
    pub now: Timestamp,
    /// True on a standby, and on a primary that was demoted.
    pub read_only: bool,
    heads: [FeedHead; SHARDS],
}

impl FeedHeads {
    /// Where a shard stands.
    #[must_use]
    pub fn head(&self, shard: Shard) -> FeedHead {
        usize::try_from(shard.number())
            .ok()
            .and_then(|index| self.heads.get(index).copied())
            .unwrap_or_default()
    }

    /// Where all shards stand, without the names of the writes.
    #[must_use]
    pub fn position(&self) -> Position {
        at(self.heads.iter().map(|head| head.sequence))
    }
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    epoch: Uuid,
    #[diesel(sql_type = Integer)]
    min_reader: i32,
    #[diesel(sql_type = Timestamptz)]
    now: OffsetDateTime,
    #[diesel(sql_type = Bool)]
    read_only: bool,
    #[diesel(sql_type = Array<BigInt>)]
    sequences: Vec<i64>,
    #[diesel(sql_type = Array<SqlUuid>)]
    commit_ids: Vec<Uuid>,
}

const HEADS: &str = "
    SELECT c.epoch, c.min_reader, clock_timestamp() AS now,
           current_setting('transaction_read_only') = 'on' AS read_only,
           h.sequences, h.commit_ids
    FROM cluster AS c,
         (SELECT array_agg(sequence ORDER BY shard) AS sequences,
                 array_agg(commit_id ORDER BY shard) AS commit_ids
          FROM feed_heads) AS h";

impl Transaction {
    /// The shard that an organization's changes are logged on; none if there is no such
    /// organization.
    ///
    /// # Errors
    /// The database cannot be asked, or holds a shard that is none.
    pub async fn organization_shard(
        &mut self,
        organization: &OrganizationId,
    ) -> Result<Option<Shard>, Error> {
        let number: Option<i16> = organizations::table
            .find(organization.as_str())
            .select(organizations::shard)
            .first(self.connection())
            .await
            .optional()?;
        let corrupt = || Error::corrupt("organizations", organization.as_str(), "no such shard");
        number.map(|number| Shard::new(number).ok_or_else(corrupt)).transpose()
    }
}

fn at(sequences: impl Iterator<Item = i64>) -> Position {
    let mut position = Position::default();
    for (number, sequence) in (0..).zip(sequences) {
        if let Some(shard) = Shard::new(number) {
            position.set(shard, sequence);
        }
    }
    position
}

/// The position of these sequences, in the order of the shards.
pub(super) fn position(sequences: &[i64]) -> Result<Position, Error> {
    require_all(sequences)?;
    Ok(at(sequences.iter().copied()))
}

fn require_all(sequences: &[i64]) -> Result<(), Error> {
    if sequences.len() == SHARDS {
        return Ok(());
    }
    let found = format!("{} rows; expected {SHARDS}", sequences.len());
    Err(Error::corrupt("feed_heads", "all", found))
}

/// Reads all heads, the epoch and the clock in one statement.
pub(super) async fn heads(connection: &mut AsyncPgConnection) -> Result<FeedHeads, Error> {
    let row: Row = diesel::sql_query(HEADS).get_result(connection).await?;
    require_all(&row.sequences)?;
    let mut heads = [FeedHead::default(); SHARDS];
    let rows = row.sequences.into_iter().zip(row.commit_ids);
    for (head, (sequence, commit_id)) in heads.iter_mut().zip(rows) {
        *head = FeedHead { sequence, commit_id };
    }
    Ok(FeedHeads {
        epoch: Epoch(row.epoch),
        min_reader: row.min_reader,
        now: timestamps::from_sql(row.now),
        read_only: row.read_only,
        heads,
    })
}
