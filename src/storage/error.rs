use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::domain::refusal::Refusal;

/// What went wrong between us and the database. Its text is for our log, never for clients.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached, or was lost on the way.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Every connection was in use for as long as we were ready to wait.
    #[error("all connections of the pool are in use")]
    PoolExhausted,
    /// The request's deadline passed.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// Every attempt lost against another transaction.
    #[error("lost against concurrent transactions {0} times")]
    RetriesExhausted(u32),
    /// Another transaction took away what this one had read and builds on.
    #[error("another transaction removed what this one builds on")]
    Overtaken,
    /// What is stored breaks an invariant.
    #[error("inconsistent data in table `{table}`, row `{row}`: {what}")]
    Corrupt {
        /// Where.
        table: &'static str,
        /// Which row.
        row: String,
        /// What is wrong with it.
        what: String,
    },
    /// Any other answer of the database.
    #[error("the database refused a statement: {0}")]
    Query(#[source] DieselError),
}

impl Error {
    /// A standby, or a primary that was demoted: it may be behind, and takes no writes.
    pub(super) fn read_only() -> Self {
        Self::Unavailable("the database is read-only: a standby, or a demoted primary".to_owned())
    }

    /// A row that should not be there.
    pub(super) fn corrupt(table: &'static str, row: &str, what: impl ToString) -> Self {
        Self::Corrupt { table, row: row.to_owned(), what: what.to_string() }
    }

    /// Whether trying the whole transaction again may help. After a commit whose outcome is
    /// unknown the next attempt finds the outcome by its request id, or does the work.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Overtaken => true,
            Self::Query(DieselError::DatabaseError(kind, _)) => {
                matches!(kind, DatabaseErrorKind::SerializationFailure)
            }
            _ => false,
        }
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                information,
            ) => Self::Unavailable(information.message().to_owned()),
            DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _) => {
                Self::read_only()
            }
            DieselError::BrokenTransactionManager => {
                Self::Unavailable("the connection broke inside a transaction".to_owned())
            }
            // For an operator to see to; no defect of ours.
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, information)
                if information.message().contains("No space left on device") =>
            {
                tracing::error!(
                    error.cause = information.message(),
                    "the database is out of space"
                );
                Self::Unavailable(information.message().to_owned())
            }
            // Somebody holds a lock for longer than anybody waits: nothing was done.
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, information)
                if information.message().contains("due to lock timeout") =>
            {
                Self::RetriesExhausted(1)
            }
            // A server that is going away or coming up says so in words; diesel hides the
            // SQLSTATE (57P01 to 57P03) that would.
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, information)
                if is_shutdown(information.message()) =>
            {
                Self::Unavailable(information.message().to_owned())
            }
            _ => Self::Query(error),
        }
    }
}

fn is_shutdown(message: &str) -> bool {
    ["terminating connection", "the database system is", "connection closed"]
        .iter()
        .any(|phrase| message.contains(phrase))
}

/// How a transaction that did not commit ended.
#[derive(Debug)]
pub enum Failure {
    /// A rule refused it.
    Refused(Box<Refusal>),
    /// The database did.
    Storage(Error),
    /// It turned out to touch a scope that it had not locked: run again with the union.
    Widen(super::Scope),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

impl From<DieselError> for Failure {
    fn from(error: DieselError) -> Self {
        Self::Storage(error.into())
    }
}
