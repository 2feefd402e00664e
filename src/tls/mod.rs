//! Encrypted connections: the certificates, that they are looked at again, and the handshakes.
//!
//! A new set of files is built and checked as a whole before it is used, so that a broken one
//! changes nothing. Connections that are open keep the certificate with which they began.

mod accept;
mod material;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::{describe_gauge, gauge};
use rustls::ServerConfig;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use x509_cert::Certificate;

pub use accept::{Accepted, incoming};
use material::Material;

use crate::clock::{Clock, millis};
use crate::domain::Timestamp;
use crate::reload::{Content, Files};

const EXPIRES: &str = "portcullis_tls_certificate_expire_seconds";
/// How long before its end a certificate is complained about.
const WARN_BEFORE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Where the certificates are, all of them PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The server's certificate, and what follows it in the chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who vouches for clients; without it clients are not asked for certificates.
    pub client_ca: Option<PathBuf>,
}

/// The certificates in force. Clones share them.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ArcSwap<ServerConfig>>);

/// Files that make no sense, told for the person who named them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilesError(pub(crate) String);

impl Tls {
    /// Loads the files, and looks at them every `look_interval` from then on, until `cancel`.
    ///
    /// # Errors
    /// A file that cannot be read, is not what it must be, or does not fit another.
    pub fn start(
        paths: &Paths,
        look_interval: Duration,
        clock: Clock,
        cancel: CancellationToken,
    ) -> Result<Self, FilesError> {
        describe_gauge!(EXPIRES, "When the server's certificate ends, seconds since 1970");
        let all = [&paths.certificate, &paths.key].into_iter().chain(&paths.client_ca);
        let (files, contents) =
            Files::open("certificates", all.cloned().collect()).map_err(FilesError)?;
        let Material { config, expire_time } = built(&contents).map_err(FilesError)?;
        let tls = Self(Arc::new(ArcSwap::new(config)));
        let ending = Ending { clock, expire_time, told: None };
        let following = tls.clone().follow(files, look_interval, ending);
        tokio::spawn(cancel.run_until_cancelled_owned(following));
        Ok(tls)
    }

    fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }

    async fn follow(self, mut files: Files, look_interval: Duration, mut ending: Ending) {
        let mut due = interval(look_interval);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            files
                .look(|contents| {
                    let Material { config, expire_time } = built(contents)?;
                    self.0.store(config);
                    ending.expire_time = expire_time;
                    Ok(())
                })
                .await;
            ending.tell();
        }
    }
}

fn built(contents: &[Content]) -> Result<Material, String> {
    match contents {
        [certificate, key] => material::build(certificate, key, None),
        [certificate, key, client_ca] => material::build(certificate, key, Some(client_ca)),
        _ => Err("a certificate and its key are needed".to_owned()),
    }
}

/// When a certificate ends.
pub(crate) fn expire_time(certificate: &Certificate) -> Timestamp {
    let end = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    Timestamp(millis(end))
}

/// Watches the certificate's end come.
struct Ending {
    clock: Clock,
    expire_time: Timestamp,
    /// The certificate and the state that the log was told of last.
    told: Option<(Timestamp, Validity)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validity {
    Good,
    EndsSoon,
    Expired,
}

impl Ending {
    fn validity(&self) -> Validity {
        let now = self.clock.read().wall;
        if now >= self.expire_time {
            Validity::Expired
        } else if now.plus_millis(millis(WARN_BEFORE)) >= self.expire_time {
            Validity::EndsSoon
        } else {
            Validity::Good
        }
    }

    /// Tells the metrics, and the log what it was not told before.
    fn tell(&mut self) {
        let state = (self.expire_time, self.validity());
        if self.told.replace(state) == Some(state) {
            return;
        }
        let seconds = self.expire_time.0.div_euclid(1_000);
        #[allow(
            clippy::cast_precision_loss,
            reason = "a gauge is a float; exact to the year 10^8"
        )]
        gauge!(EXPIRES).set(seconds as f64);
        match state.1 {
            Validity::Good => {}
            Validity::EndsSoon => tracing::warn!(
                certificate.expire_seconds = seconds,
                "the server's certificate expires within seven days"
            ),
            Validity::Expired => tracing::error!(
                certificate.expire_seconds = seconds,
                "the server's certificate has expired, clients will not connect"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_told_beforehand_and_once() {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        let clock = Clock::manual(Timestamp(0));
        let expire_time = Timestamp(millis(30 * DAY));
        let mut ending = Ending { clock: clock.clone(), expire_time, told: None };
        for (days, expected) in [
            (22, Validity::Good),
            (1, Validity::EndsSoon),
            (6, Validity::EndsSoon),
            (1, Validity::Expired),
        ] {
            clock.advance(days * DAY);
            assert_eq!(ending.validity(), expected, "{days} days later");
            ending.tell();
            assert_eq!(ending.told, Some((expire_time, expected)));
        }
        // Renewed.
        ending.expire_time = Timestamp(millis(90 * DAY));
        assert_eq!(ending.validity(), Validity::Good);
    }
}
