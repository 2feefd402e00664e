//! What can keep the embedded PostgreSQL from starting, said to the person who started it.

use std::io;
use std::path::{Path, PathBuf};

/// Why the embedded PostgreSQL did not start. Each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No usable PostgreSQL is on this machine.
    #[error(
        "no PostgreSQL {} or later was found on this machine; install one (`scripts/postgres` \
         does), or set `PORTCULLIS_POSTGRES_BIN` to the directory of its `postgres` and `initdb`, \
         or name a running database with `--database-url`",
        super::find::OLDEST_MAJOR
    )]
    NotFound,
    /// `PORTCULLIS_POSTGRES_BIN` names no usable PostgreSQL.
    #[error("`PORTCULLIS_POSTGRES_BIN` is `{}`, but {why}", .directory.display())]
    BadBinDirectory {
        /// What the variable says.
        directory: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The data was written by a major version that is not installed.
    #[error(
        "the data in `{}` was written by PostgreSQL {data}, and this machine has {found}; install \
         PostgreSQL {data}, or choose another directory with `--data-dir`", .directory.display()
    )]
    OtherMajorVersion {
        /// The cluster's directory.
        directory: PathBuf,
        /// The major version in its `PG_VERSION`.
        data: String,
        /// What is installed, for people.
        found: String,
    },
    /// The cluster's directory holds something else.
    #[error(
        "`{}` exists but is no PostgreSQL data directory (it has no `PG_VERSION`); move it away, \
         or choose another directory with `--data-dir`", .0.display()
    )]
    NotACluster(PathBuf),
    /// A supervisor, in this process or another, owns the directory.
    #[error(
        "the data directory `{}` is in use by another portcullis server; stop that one, or choose \
         another directory with `--data-dir`", .0.display()
    )]
    InUse(PathBuf),
    /// A PostgreSQL that no supervisor owns runs on the directory.
    #[error(
        "a PostgreSQL that portcullis does not supervise (process {pid}) runs on `{}`; stop it \
         with `kill -INT {pid}`, or choose another directory with `--data-dir`",
        .directory.display()
    )]
    ForeignServer {
        /// The cluster's directory.
        directory: PathBuf,
        /// Its process id.
        pid: i32,
    },
    /// The kernel refuses Unix sockets with so long a path.
    #[error(
        "the data directory is too long a path: the socket `{}` would have {length} bytes, and \
         the kernel allows {}; choose a shorter one with `--data-dir`",
        .socket.display(), super::layout::SOCKET_PATH_LIMIT
    )]
    PathTooLong {
        /// The path of the socket.
        socket: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// Run by root, and there is nobody else to run PostgreSQL as.
    #[error(
        "PostgreSQL does not run as root, and `/etc/passwd` has neither `postgres` nor `nobody` to \
         run it as; add one of them, or run portcullis as an ordinary user"
    )]
    NoAccount,
    /// Run by root, and the account that PostgreSQL runs as cannot get at the data.
    #[error(
        "PostgreSQL runs as `{account}` when portcullis runs as root, and `{account}` may not \
         enter `{}`; choose a directory elsewhere with `--data-dir`", .directory.display()
    )]
    Unreachable {
        /// Who PostgreSQL would run as.
        account: String,
        /// The outermost directory in the way.
        directory: PathBuf,
    },
    /// `initdb`, or the making of the database, failed.
    #[error("cannot initialise the data directory: {0}")]
    Initialise(String),
    /// PostgreSQL ended before it was ready.
    #[error("PostgreSQL did not start: {0}")]
    Start(String),
    /// The file system or the operating system refused.
    #[error("{what} `{}`: {source}", .path.display())]
    Io {
        /// What was attempted, up to the path.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// The supervising thread ended without a word: a defect.
    #[error("the supervisor of the embedded PostgreSQL ended unexpectedly; see the log")]
    SupervisorGone,
}

impl Error {
    pub(super) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        Self::Io { what, path, source }
    }
}
