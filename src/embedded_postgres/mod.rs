//! A PostgreSQL of our own: found on this machine, initialised, supervised, stopped.
//!
//! `portcullis serve` without a database URL keeps its data here. The data directory holds
//!
//! ```text
//! lock      held for as long as a supervisor owns the directory
//! cluster/  what `initdb` made, with the database `portcullis`
//! run/      the Unix socket, mode 0700: the only way in, hence no password
//! ```
//!
//! One thread owns the PostgreSQL process (`supervise.rs`). It starts it again when it dies, and
//! the kernel stops PostgreSQL when that thread is gone, however it went (on Linux; elsewhere
//! [`EmbeddedPostgres::stop`] and `Drop` do it). Data is on disk before a commit is acknowledged,
//! unless [`Durability::OffForTests`] says otherwise.

mod account;
mod error;
mod find;
mod initialise;
mod layout;
mod log;
mod process;
mod supervise;

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub use error::Error;
use layout::Layout;
use supervise::Supervisor;

/// The database superuser that owns everything, and the name of the database made at first start.
const NAME: &str = "portcullis";

/// How long an orderly stop may take (the last checkpoint) before it is cut short.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// The same for a supervisor that is dropped, where somebody's thread waits for it.
const DROP_GRACE: Duration = Duration::from_secs(3);

/// Where the data is, and how it is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that holds everything; made if absent. See [`default_data_dir`].
    pub data_dir: PathBuf,
    /// Whether an acknowledged commit survives a power cut.
    pub durability: Durability,
    /// Further PostgreSQL settings (name, value); they win over ours.
    pub settings: Vec<(String, String)>,
}

/// Whether an acknowledged commit survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every commit is on disk before it is acknowledged.
    Full,
    /// Nothing is flushed to disk: fast; survives the death of PostgreSQL, not of the machine. For
    /// tests only.
    OffForTests,
}

/// What the supervised PostgreSQL is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// On the way to its first readiness.
    Starting,
    /// Accepts connections.
    Ready,
    /// Died, and is being started again.
    Restarting,
    /// Stopped, or never came up; it stays so.
    Stopped,
}

/// One observation of the supervisor; see [`EmbeddedPostgres::watch_state`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// What it is doing.
    pub phase: Phase,
    /// The process id, while [`Phase::Ready`].
    pub pid: Option<u32>,
    /// How often it has died unasked while it was ready, since the start.
    pub crashes: u64,
}

/// A running PostgreSQL. Dropping it stops the process too, and blocks for it up to some seconds.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    socket_dir: PathBuf,
    state: watch::Receiver<State>,
    stop: watch::Sender<Option<Duration>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts PostgreSQL on `options.data_dir`, initialising the directory first if it is new, and
/// returns when it accepts connections. May be called from any tokio runtime and outlives it.
///
/// Dropping the future stops what it has begun; a half initialised directory is begun afresh.
///
/// # Errors
/// Every [`Error`] is a sentence for the person who started the server.
pub async fn start(options: Options) -> Result<EmbeddedPostgres, Error> {
    let layout = Layout::new(&options.data_dir)?;
    let (state_sender, state) =
        watch::channel(State { phase: Phase::Starting, pid: None, crashes: 0 });
    let (stop, stop_receiver) = watch::channel(None);
    let (started_sender, started) = oneshot::channel();
    let socket_dir = layout.run();
    let supervisor = Supervisor::new(layout, options, state_sender, stop_receiver);
    let thread = std::thread::Builder::new()
        .name("embedded-postgres".to_owned())
        .spawn(move || supervisor.run(started_sender))
        .map_err(|source| Error::io("cannot start a thread for", &socket_dir, source))?;
    let server = EmbeddedPostgres { socket_dir, state, stop, thread: Some(thread) };
    match started.await {
        Ok(outcome) => outcome.map(|()| server),
        Err(_gone) => Err(Error::SupervisorGone),
    }
}

/// `/var/lib/portcullis` for root, `portcullis` in the XDG data directory (`~/.local/share`) for
/// everybody else, `portcullis-data` in the working directory for who has no home.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/portcullis");
    }
    find::xdg_data_home()
        .map_or_else(|| PathBuf::from("portcullis-data"), |home| home.join("portcullis"))
}

impl EmbeddedPostgres {
    /// The URL of one database of this server; the one made at first start is `portcullis`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let host = percent_encoded(self.socket_dir.as_os_str().as_encoded_bytes());
        let database = percent_encoded(database.as_bytes());
        format!("postgres://{NAME}@{host}/{database}")
    }

    /// The directory of the Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The process id of the server, while it is ready.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.state.borrow().pid
    }

    /// Follows what the server is doing. The channel ends with the supervisor.
    #[must_use]
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Stops PostgreSQL in good order: open transactions are rolled back, the rest is on disk. Cut
    /// short after 30 seconds, which loses nothing either, but makes the next start recover.
    pub async fn stop(mut self) {
        self.stop.send_replace(Some(STOP_GRACE));
        let stopped = |state: &State| state.phase == Phase::Stopped;
        if self.state.wait_for(stopped).await.is_err() {
            tracing::debug!("the supervisor of the embedded PostgreSQL had ended already");
        }
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the supervisor of the embedded PostgreSQL panicked");
        }
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop.send_if_modified(|grace| {
                let first = grace.is_none();
                grace.get_or_insert(DROP_GRACE);
                first
            });
            self.join();
        }
    }
}

/// A path or name as it may stand in the host or path of a URL.
fn percent_encoded(bytes: &[u8]) -> String {
    let one = |&byte: &u8| match byte {
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_becomes_the_host_of_a_url() {
        assert_eq!(percent_encoded(b"/a b/c,d%"), "%2Fa%20b%2Fc%2Cd%25");
        assert_eq!(percent_encoded("é".as_bytes()), "%C3%A9");
        assert_eq!(percent_encoded(b"a-b_c.d~1"), "a-b_c.d~1");
    }
}
