use std::sync::Arc;
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::pooled_connection::bb8::{Pool, RunError};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError, RecyclingMethod,
};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Error;
use super::queue::Queue;

/// A connection taken from a pool; put back when dropped, discarded if inside a transaction.
pub type Connection =
    bb8::PooledConnection<'static, AsyncDieselConnectionManager<AsyncPgConnection>>;

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct Options {
    /// `postgres://...`.
    pub url: String,
    /// Connections for writes.
    pub write_connections: u32,
    /// Connections for reads and cold decisions.
    pub read_connections: u32,
    /// How long a request waits for a connection before it is refused.
    pub pool_wait: Duration,
}

/// The database. Three pools, so that writes, reads and the feed cannot starve one another.
#[derive(Clone, Debug)]
pub struct Storage {
    pub(super) writes: Connections,
    pub(super) reads: Connections,
    pub(super) feed: Connections,
    pub(super) queue: Queue,
}

/// A pool, and how many connections it may have.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    pool: Pool<AsyncPgConnection>,
    most: u32,
    /// A permit for each call that may wait for a connection.
    waiting: Arc<Semaphore>,
}

/// For each connection of a pool so many calls may wait; the next one is refused at once. What
/// waits behind so many others would be refused a little later, or answered when nobody waits for
/// it any more; and while all wait as long as they may, the queue never gets shorter.
const WAITING_PER_CONNECTION: usize = 16;

/// The feed polls on one connection and loads organizations on two more.
const FEED_CONNECTIONS: u32 = 3;

/// A lock is waited for this long at the most; whoever holds it longer is stuck.
const LOCK_TIMEOUT: &str = "5s";
/// A transaction that we forgot is ended by the database.
const IDLE_TIMEOUT: &str = "30s";
/// A statement whose client has gone is ended by the database, and its locks with it.
const CLIENT_CHECK_INTERVAL: &str = "200ms";
/// Statements that are prepared once are planned once: for a look-up by key a plan for its very
/// values is no better, and making it takes ten times what running it does. Nor is there anything
/// to compile.
const GENERIC_PLANS: &str = "%20-c%20plan_cache_mode%3Dforce_generic_plan%20-c%20jit%3Doff";

impl Storage {
    /// Opens the pools; fills them, so that the first requests do not pay for it.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn connect(options: &Options) -> Result<Self, Error> {
        let failed = |error: PoolError| Error::Unavailable(error.to_string());
        let pool = async |most: u32, settings: &'static str| {
            let pool = Pool::builder()
                .max_size(most)
                .min_idle(most)
                .connection_timeout(options.pool_wait)
                .build(manager(&options.url, settings));
            let waiting = usize::try_from(most).unwrap_or(usize::MAX);
            let waiting = waiting.saturating_mul(WAITING_PER_CONNECTION);
            Ok::<_, Error>(Connections {
                pool: pool.await.map_err(failed)?,
                most,
                waiting: Arc::new(Semaphore::new(waiting.min(Semaphore::MAX_PERMITS))),
            })
        };
        Ok(Self {
            writes: pool(options.write_connections, GENERIC_PLANS).await?,
            reads: pool(options.read_connections, GENERIC_PLANS).await?,
            feed: pool(FEED_CONNECTIONS, "").await?,
            queue: Queue::default(),
        })
    }

    /// Whether most of the connections for reads are idle: work that can be left out may use one.
    #[must_use]
    pub fn has_reads_to_spare(&self) -> bool {
        let Connections { pool, most, .. } = &self.reads;
        pool.state().idle_connections * 2 > *most
    }

    /// Takes a connection, waiting for the pool's time limit at the most and never beyond the
    /// deadline; not at all where too many wait already.
    pub(super) async fn take(
        &self,
        connections: &Connections,
        deadline: Instant,
    ) -> Result<Connection, Error> {
        let Connections { pool, most, waiting } = connections;
        let Ok(_waiting) = waiting.try_acquire() else { return Err(Error::PoolExhausted) };
        match tokio::time::timeout_at(deadline, pool.get_owned()).await {
            Err(_) => Err(Error::DeadlineExceeded),
            Ok(Err(RunError::User(error))) => Err(Error::Unavailable(error.to_string())),
            // bb8 says "timed out" both when all connections are busy and when none can be made.
            Ok(Err(RunError::TimedOut)) if pool.state().connections < *most => {
                Err(Error::Unavailable("no connection could be made".to_owned()))
            }
            Ok(Err(RunError::TimedOut)) => Err(Error::PoolExhausted),
            Ok(Ok(connection)) => Ok(connection),
        }
    }
}

fn manager(url: &str, settings: &'static str) -> AsyncDieselConnectionManager<AsyncPgConnection> {
    let mut config = ManagerConfig::<AsyncPgConnection>::default();
    // A `SELECT 1` on every checkout costs more than the statements that follow; whether the
    // connection is alive is known without asking.
    config.recycling_method = RecyclingMethod::CustomFunction(Box::new(|connection| {
        use diesel_async::pooled_connection::PoolableConnection as _;
        let alive = !connection.is_broken();
        let broken = diesel::result::Error::BrokenTransactionManager;
        std::future::ready(if alive { Ok(()) } else { Err(broken) }).boxed()
    }));
    config.custom_setup = Box::new(move |url| {
        let url = with_settings(url, settings);
        async move { establish(&url).await }.boxed()
    });
    AsyncDieselConnectionManager::new_with_config(url, config)
}

async fn establish(url: &str) -> Result<AsyncPgConnection, ConnectionError> {
    AsyncPgConnection::establish(url).await
}

/// The session's settings ride on the URL, so that they cost no statement.
fn with_settings(url: &str, settings: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!(
        "{url}{separator}options=-c%20lock_timeout%3D{LOCK_TIMEOUT}%20-c%20\
         idle_in_transaction_session_timeout%3D{IDLE_TIMEOUT}%20-c%20\
         client_connection_check_interval%3D{CLIENT_CHECK_INTERVAL}{settings}"
    )
}
