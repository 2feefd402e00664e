use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::duration_text;

/// Settings that contradict each other or the server's safety.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Others could call, or listen in.
    #[error(
        "`--listen {address}` can be reached from other machines, and {lacking}; or listen on \
         127.0.0.1 or [::1]; or say `--insecure` if something else keeps strangers out"
    )]
    NotLoopback {
        /// Where.
        address: SocketAddr,
        /// What is missing.
        lacking: Lacking,
    },
    /// Metrics are served to whoever asks.
    #[error(
        "`--metrics-listen {0}` can be reached from other machines, and metrics are served to \
         whoever asks: listen on 127.0.0.1 or [::1], or say `--insecure` if something else keeps \
         strangers out"
    )]
    MetricsNotLoopback(SocketAddr),
    /// Half of what is needed.
    #[error("`--{flag}` makes no sense without `--{missing}`: give both, or neither")]
    Incomplete {
        /// What is given.
        flag: &'static str,
        /// What it needs.
        missing: &'static str,
    },
    /// The demo is loaded by a client that could not verify the server's certificate.
    #[error(
        "`--demo` is for trying things out without `--tls-cert`: leave one of them out; \
         `portcullis apply` loads a file into any server"
    )]
    DemoEncrypted,
    /// Tokens need all three settings.
    #[error(
        "`--{0}` is missing: tokens need `--jwt-issuer`, `--jwt-audience` and `--jwt-keys`, all \
         three or none"
    )]
    JwtIncomplete(&'static str),
    /// Keys from there could be anybody's. The text is not repeated: it may hold a password.
    #[error(
        "`--jwt-keys` must be a file, or an address `https://host/path` without user and password; \
         `http` only of this machine"
    )]
    JwtKeys,
    /// Not the form that the database's driver reads. The text is not repeated: it may hold a
    /// password.
    #[error("`--database-url` must be `postgres://user:password@host:port/database`")]
    DatabaseUrl,
    /// Memory would be too old to serve from before the next poll.
    #[error(
        "`--staleness-bound {}` must be longer than `--poll-interval {}`, best ten times as long",
        duration_text(*.bound), duration_text(*.poll)
    )]
    BoundBelowPoll {
        /// The staleness bound.
        bound: Duration,
        /// The poll interval.
        poll: Duration,
    },
}

/// What keeps an address from being one that others may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// Whoever reaches the server may do everything.
    Authentication,
    /// Whoever is on the way reads along, tokens too.
    Encryption,
    /// Both.
    Both,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authentication => {
                "callers are not authenticated: give `--jwt-issuer`, `--jwt-audience` and \
                 `--jwt-keys`, or `--tls-client-ca` and `--clients`"
            }
            Self::Encryption => "connections are not encrypted: give `--tls-cert` and `--tls-key`",
            Self::Both => {
                "callers are not authenticated, nor connections encrypted: give `--tls-cert` and \
                 `--tls-key`, and the settings of `--jwt-keys` or `--tls-client-ca`"
            }
        })
    }
}
