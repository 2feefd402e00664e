//! Where the log and the metrics go.

use std::io::IsTerminal;
use std::net::SocketAddr;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Config, LogFormat};

/// Why the log or the metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `--log` is no filter.
    #[error("`--log {0}` is no filter: {1}; write `info` or `info,portcullis=debug`")]
    Filter(String, ParseError),
    /// Set up twice in one process.
    #[error("the log is already set up: {0}")]
    Log(Box<dyn std::error::Error + Send + Sync>),
    /// The address is taken, or is not this machine's.
    #[error("cannot serve metrics on `{0}`: {1}; choose another `--metrics-listen`")]
    Metrics(SocketAddr, BuildError),
}

/// Sends the log to standard error, and serves the metrics if an address is given. Once a process,
/// inside a tokio runtime.
///
/// # Errors
/// The filter is malformed, or the address of the metrics cannot be listened on.
pub fn init(config: &Config) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|error| TelemetryError::Filter(config.log.clone(), error))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => {
            let colours = colours(&std::io::stderr());
            log.with_ansi(colours).try_init()
        }
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
    .map_err(TelemetryError::Log)?;
    if let Some(address) = config.metrics_listen {
        PrometheusBuilder::new()
            .with_http_listener(address)
            .install()
            .map_err(|error| TelemetryError::Metrics(address, error))?;
    }
    Ok(())
}

/// Whether to colour what is written there: only for a person, and not if they said no.
#[must_use]
pub fn colours(target: &impl IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    target.is_terminal() && !refused
}
