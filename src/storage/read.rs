use std::ops::{Deref, DerefMut};

use diesel::connection::TransactionManagerStatus;
use diesel_async::{AnsiTransactionManager, TransactionManager as _};
use tokio::time::Instant;

use super::write::AsyncFunc;
use super::{Connection, Error, FeedHeads, Storage, Transaction, feed};

/// One REPEATABLE READ transaction that only reads: all it reads is true at [`Read::heads`].
///
/// INVARIANT (no torn reads): whatever takes several statements to read is read in one of these.
/// Read statement by statement, a user removed from a group and the group then given a portfolio
/// could both be seen the wrong way round.
pub struct Read {
    transaction: Transaction,
    heads: FeedHeads,
}

/// Not READ ONLY, though nothing here can write: so it is the server that says whether it would
/// take a write, and a standby or a demoted primary, which may be behind, is found out (REV-3).
const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ";

impl Storage {
    /// Runs `body` on one consistent state of the primary; also returns where that state is.
    ///
    /// # Errors
    /// Those of `body`, and [`Error`] where the database cannot be asked.
    pub async fn read<T, E, F>(&self, deadline: Instant, body: F) -> Result<(T, FeedHeads), E>
    where
        E: From<Error>,
        F: for<'r> AsyncFn(&'r mut Read) -> Result<T, E>
            + for<'r> AsyncFunc<&'r mut Read, Result<T, E>, Fut: Send>,
    {
        let connection = self.take(&self.reads, deadline).await?;
        within(deadline, run(connection, body)).await
    }

    /// The same, on a connection of the feed's.
    ///
    /// # Errors
    /// As [`Storage::read`].
    pub async fn read_for_feed<T, E, F>(&self, deadline: Instant, body: F) -> Result<T, E>
    where
        E: From<Error>,
        F: for<'r> AsyncFn(&'r mut Read) -> Result<T, E>
            + for<'r> AsyncFunc<&'r mut Read, Result<T, E>, Fut: Send>,
    {
        let connection = self.take(&self.feed, deadline).await?;
        within(deadline, run(connection, body)).await.map(|(outcome, _)| outcome)
    }

    /// Asks where the shards stand: one statement, without a transaction.
    ///
    /// # Errors
    /// The database cannot be asked before the deadline.
    pub async fn poll(&self, deadline: Instant) -> Result<FeedHeads, Error> {
        let mut connection = self.take(&self.feed, deadline).await?;
        distrust(&mut connection);
        let heads = within(deadline, feed::heads(&mut connection)).await?;
        trust(&mut connection);
        Ok(heads)
    }
}

async fn run<T, E, F>(mut connection: Connection, body: F) -> Result<(T, FeedHeads), E>
where
    E: From<Error>,
    F: for<'r> AsyncFn(&'r mut Read) -> Result<T, E>
        + for<'r> AsyncFunc<&'r mut Read, Result<T, E>, Fut: Send>,
{
    let begun = AnsiTransactionManager::begin_transaction_sql(&mut *connection, BEGIN).await;
    begun.map_err(Error::from)?;
    let heads = feed::heads(&mut connection).await?;
    if heads.read_only {
        // The connection is discarded with its transaction: the next may lead to the primary.
        return Err(Error::read_only().into());
    }
    let mut read = Read { transaction: Transaction::new(connection), heads };
    let outcome = body(&mut read).await;
    // Nothing was written: how it ends makes no difference to the outcome.
    let _ = AnsiTransactionManager::rollback_transaction(read.connection()).await;
    outcome.map(|outcome| (outcome, heads))
}

/// Has the pool discard the connection, unless it is trusted again. A statement outside a
/// transaction that is given up halfway goes on, and whatever comes next on its connection waits
/// behind it, for ever if the network swallowed it.
pub(super) fn distrust(connection: &mut Connection) {
    AnsiTransactionManager::transaction_manager_status_mut(&mut **connection).set_in_error();
}

/// Keeps a distrusted connection after all: the answer has arrived.
pub(super) fn trust(connection: &mut Connection) {
    *AnsiTransactionManager::transaction_manager_status_mut(&mut **connection) =
        TransactionManagerStatus::default();
}

/// Ends a future at the deadline; the dropped transaction's connection is discarded by the pool.
pub(super) async fn within<T, E: From<Error>>(
    deadline: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout_at(deadline, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::DeadlineExceeded.into()),
    }
}

impl Read {
    /// Where the shards stand in what this transaction sees.
    #[must_use]
    pub fn heads(&self) -> &FeedHeads {
        &self.heads
    }
}

impl Deref for Read {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

impl DerefMut for Read {
    fn deref_mut(&mut self) -> &mut Transaction {
        &mut self.transaction
    }
}
