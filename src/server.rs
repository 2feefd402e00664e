//! The composition root: the one module that knows every other.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use crate::app::App;
use crate::authn::certificates::{Clients, ClientsError};
use crate::authn::{self, Authenticator, Issuer, OwnToken, Source, Tokens};
use crate::cache::{self, Cache};
use crate::clock::Clock;
use crate::config::{AcceptedJwt, Config, ConfigError, DatabaseUrl, KeyPlace, TlsSettings};
use crate::embedded_postgres::{self, Durability, EmbeddedPostgres};
use crate::grpc::Services;
use crate::storage::{self, Storage};
use crate::tls::{self, Tls};

/// How long the first look at the database may take.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long open calls may take to end when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How often outcomes that no retry can ask for any more are taken away (BAD-3).
const PURGE_INTERVAL: Duration = Duration::from_secs(3_600);
/// How long one round of that may take.
const PURGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How to start a server.
#[derive(Debug)]
pub struct Server;

/// What only tests and measurements set.
#[derive(Debug, Default)]
pub struct Options {
    /// Further services, served behind the same layers; what an empty call costs there is what a
    /// check is measured against.
    pub further: Routes,
    /// How the keys that verify tokens are followed.
    pub keys: authn::Options,
}

/// A server that answers.
pub struct Running {
    address: SocketAddr,
    /// Asks the calls to end, and the listener to close.
    stopping: CancellationToken,
    /// Ends what works in the background: the feed of the cache, the purge.
    background: CancellationToken,
    serving: JoinHandle<()>,
    own_token: Option<String>,
    postgres: Option<EmbeddedPostgres>,
}

/// Why a server does not start, for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings that contradict each other or the server's safety.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address with `--listen`")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificates cannot be used.
    #[error("cannot encrypt connections: {0}")]
    Tls(#[from] tls::FilesError),
    /// The list of clients cannot be used.
    #[error(transparent)]
    Clients(#[from] ClientsError),
    /// The server's own PostgreSQL does not start.
    #[error(transparent)]
    Embedded(#[from] embedded_postgres::Error),
    /// The database cannot be used.
    #[error("cannot use the database {database}: {source}")]
    Database {
        /// Which, its password masked.
        database: String,
        /// Why.
        source: storage::Error,
    },
    /// The keys that verify tokens cannot be read, and will not be by waiting.
    #[error("`--jwt-keys`: `{location}` {source}")]
    Keys {
        /// Where, a password masked.
        location: String,
        /// Why.
        source: authn::Unreadable,
    },
    /// The database answers, but nothing can be decided from it.
    #[error(
        "the database {0} cannot be followed: it is read-only, answers too slowly, or is used by \
         a newer version of this program; the log tells more"
    )]
    NotReady(String),
}

impl Server {
    /// Starts everything, and returns when checks can be answered.
    ///
    /// Without a database URL the server starts a PostgreSQL of its own, which stops with it.
    ///
    /// # Errors
    /// Every [`StartError`] is a sentence for the person who started the server.
    pub async fn start(config: &Config, clock: Clock) -> Result<Running, StartError> {
        Self::start_with(config, clock, Options::default()).await
    }

    /// Starts a server with options that are no settings.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with(
        config: &Config,
        clock: Clock,
        options: Options,
    ) -> Result<Running, StartError> {
        let Options { further, keys } = options;
        config.validate()?;
        cache::metrics::describe();
        // Dropped on the way out of an error, it ends what was begun here.
        let background = CancellationToken::new();
        let ending = background.clone().drop_guard();
        let (tls, clients) = certificates(&config.tls, &clock, &background)?;
        // First of all: a port that is taken should not cost a database start.
        let failed = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (authenticator, own_token) =
            authenticator(config, &keys, clients, clock.clone(), background.clone()).await?;
        let (postgres, url, name) = database(config).await?;
        let unusable = |source| StartError::Database { database: name.clone(), source };
        storage::migrate(&url).await.map_err(unusable)?;
        let options = storage::Options {
            url,
            write_connections: config.pool_size_writes,
            read_connections: config.pool_size_reads,
            pool_wait: config.pool_wait,
        };
        let storage = Storage::connect(&options).await.map_err(unusable)?;
        let following = cache::Options {
            poll_interval: config.poll_interval,
            staleness_bound: config.staleness_bound,
            memory_budget: config.memory.budget(),
            ..cache::Options::default()
        };
        let cache = Cache::start(storage.clone(), clock, following, background.clone());
        if timeout(READY_WITHIN, cache.ready()).await.is_err() {
            return Err(StartError::NotReady(name));
        }
        let purge = purge_request_outcomes(storage.clone());
        tokio::spawn(background.clone().run_until_cancelled_owned(purge));
        let app = App::new(storage, cache.clone()).shadowing(config.memory.shadow_check_rate);
        let services = Services::new(app, config, further);
        let (ready, stopping) = (cache.watch_ready(), CancellationToken::new());
        let serving =
            tokio::spawn(serve(services, authenticator, listener, tls, ready, stopping.clone()));
        ending.disarm();
        tracing::info!(server.address = %address, "the server answers");
        Ok(Running { address, stopping, background, serving, own_token, postgres })
    }
}

/// Who tells who calls; and a token for ourselves, if we are going to call.
async fn authenticator(
    config: &Config,
    options: &authn::Options,
    clients: Option<Clients>,
    clock: Clock,
    background: CancellationToken,
) -> Result<(Authenticator, Option<String>), StartError> {
    let tokens = match config.jwt.accepted()? {
        Some(accepted) => Some(tokens(accepted, options, clock, background).await?),
        None if clients.is_some() => None,
        None => return Ok((Authenticator::trusting(), None)),
    };
    let (own, own_token) = config.demo.then(OwnToken::new).unzip();
    Ok((Authenticator::demanding(tokens, own, clients), own_token))
}

async fn tokens(
    accepted: AcceptedJwt,
    options: &authn::Options,
    clock: Clock,
    background: CancellationToken,
) -> Result<Tokens, StartError> {
    let AcceptedJwt { issuer, audience, keys } = accepted;
    let keys = match keys {
        KeyPlace::File(path) => Source::File(path),
        KeyPlace::Address(uri) => Source::Address(uri),
    };
    let location = keys.to_string();
    let issuer = Issuer { issuer, audience, keys };
    let tokens = Tokens::start(issuer, options, clock, background).await;
    tokens.map_err(|source| StartError::Keys { location, source })
}

/// The database to use: its URL, and what to call it in messages.
async fn database(
    config: &Config,
) -> Result<(Option<EmbeddedPostgres>, String, String), StartError> {
    if let Some(url) = &config.database_url {
        return Ok((None, DatabaseUrl::as_str(url).to_owned(), format!("`{url}`")));
    }
    let data_dir: PathBuf =
        config.data_dir.clone().unwrap_or_else(embedded_postgres::default_data_dir);
    let name = format!("in `{}`", data_dir.display());
    let options =
        embedded_postgres::Options { data_dir, durability: Durability::Full, settings: Vec::new() };
    let postgres = embedded_postgres::start(options).await?;
    let url = postgres.url("portcullis");
    Ok((Some(postgres), url, name))
}

/// What encrypts connections, and who is known by certificate; none of them if not configured.
fn certificates(
    settings: &TlsSettings,
    clock: &Clock,
    background: &CancellationToken,
) -> Result<(Option<Tls>, Option<Clients>), StartError> {
    let interval = settings.tls_reload_interval;
    let tls = match (&settings.tls_cert, &settings.tls_key) {
        (Some(certificate), Some(key)) => {
            let paths = tls::Paths {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: settings.tls_client_ca.clone(),
            };
            Some(Tls::start(&paths, interval, clock.clone(), background.clone())?)
        }
        _ => None,
    };
    let clients = match &settings.clients {
        Some(path) => Some(Clients::start(path, interval, clock.clone(), background.clone())?),
        None => None,
    };
    Ok((tls, clients))
}

async fn serve(
    services: Services,
    authenticator: Authenticator,
    listener: TcpListener,
    tls: Option<Tls>,
    ready: watch::Receiver<bool>,
    stopping: CancellationToken,
) {
    let served = match tls {
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            services.serve(authenticator, incoming, ready, stopping).await
        }
        Some(tls) => {
            let incoming = tls::incoming(listener, tls, stopping.clone());
            services.serve(authenticator, incoming, ready, stopping).await
        }
    };
    if let Err(error) = served {
        tracing::error!(error.cause = %error, "the server ended by an error");
    }
}

async fn purge_request_outcomes(storage: Storage) {
    let mut due = interval(PURGE_INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        // Each round deletes a bounded number, so that none holds locks for long.
        loop {
            match storage.purge_request_outcomes(Instant::now() + PURGE_TIMEOUT).await {
                Ok(0) => break,
                Ok(purged) => tracing::debug!(outcomes.purged = purged, "purged old outcomes"),
                Err(error) => {
                    tracing::warn!(error.cause = %error, "old outcomes were not purged");
                    break;
                }
            }
        }
    }
}

impl Running {
    /// Where the server listens; the port that was found, if 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A token with which this process itself may do everything; none if nobody needs one. Only a
    /// server that loads the demo has it.
    #[must_use]
    pub fn own_token(&self) -> Option<&str> {
        self.own_token.as_deref()
    }

    /// Stops: no new calls, open streams ended, open calls given ten seconds, then the background
    /// and the server's own PostgreSQL.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        if timeout(STOP_GRACE, &mut self.serving).await.is_err() {
            tracing::warn!("open calls did not end in time, and are cut off");
            self.serving.abort();
        }
        self.background.cancel();
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await;
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.background.cancel();
    }
}
