//! Where the keys come from: a file, or an address that answers with a JWK set.

use std::error::Error;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use http::Uri;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use prost::bytes::Bytes;

use super::jwks::{KeySet, NoKeySet};

/// The longest set, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// Where the keys are.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A JWK set, or public keys in PEM.
    File(PathBuf),
    /// A JWK set, by http or https.
    Address(Uri),
}

/// Shows neither user information nor a query, either of which may be a secret.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Address(uri) => {
                let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host());
                write!(f, "{scheme}://{}", host.unwrap_or_default())?;
                if let Some(port) = uri.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(uri.path())
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why the keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// No such file, or it may not be read.
    #[error("cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// Nobody there, or not somebody whom this machine trusts.
    #[error("cannot be fetched: {0}")]
    Fetch(String),
    /// Anything but 200; a redirection too, as it may lead anywhere.
    #[error("was answered with HTTP status {0}; 200 is expected")]
    Status(u16),
    /// It has no end.
    #[error("is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// It took too long.
    #[error("did not answer in time")]
    Timeout,
    /// It is not what was expected.
    #[error(transparent)]
    Content(#[from] NoKeySet),
}

/// What reads a source, made once.
pub(super) enum Reader {
    File(PathBuf),
    Http(Client<HttpConnector, Empty<Bytes>>, Uri),
    Https(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>, Uri),
}

impl Reader {
    /// # Errors
    /// An address with https on a machine that trusts no certificates.
    pub(super) fn new(source: &Source) -> Result<Self, Unreadable> {
        let mut builder = Client::builder(TokioExecutor::new());
        // Fetches are minutes apart.
        builder.pool_max_idle_per_host(0);
        match source {
            Source::File(path) => Ok(Self::File(path.clone())),
            Source::Address(uri) if uri.scheme_str() == Some("https") => {
                let provider = rustls::crypto::aws_lc_rs::default_provider();
                let connector = HttpsConnectorBuilder::new()
                    .with_provider_and_native_roots(provider)?
                    .https_only()
                    .enable_http1()
                    .build();
                Ok(Self::Https(builder.build(connector), uri.clone()))
            }
            Source::Address(uri) => Ok(Self::Http(builder.build_http(), uri.clone())),
        }
    }

    pub(super) async fn read(&self) -> Result<KeySet, Unreadable> {
        let content = match self {
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                read.map_err(|error| Unreadable::Fetch(error.to_string()))??
            }
            Self::Http(client, uri) => get(client, uri.clone()).await?,
            Self::Https(client, uri) => get(client, uri.clone()).await?,
        };
        Ok(KeySet::parse(&content)?)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let mut content = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    std::fs::File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() > MAX_BYTES { Err(Unreadable::TooLong) } else { Ok(content) }
}

async fn get<C>(client: &Client<C, Empty<Bytes>>, uri: Uri) -> Result<Vec<u8>, Unreadable>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let response = client.get(uri).await.map_err(|error| Unreadable::Fetch(causes(&error)))?;
    if response.status() != http::StatusCode::OK {
        return Err(Unreadable::Status(response.status().as_u16()));
    }
    let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
    match body {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unreadable::TooLong),
        Err(error) => Err(Unreadable::Fetch(causes(error.as_ref()))),
    }
}

/// What an error says, down to its first cause.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text
}
