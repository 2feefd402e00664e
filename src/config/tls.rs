use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{ConfigError, duration_text, optional, parse_duration};

/// Encrypted connections, and clients that are known by certificate.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The server's certificate chain, PEM; encrypts all connections
    #[arg(long, env = "PORTCULLIS_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of `--tls-cert`, PEM, not encrypted
    #[arg(long, env = "PORTCULLIS_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// The authorities whose certificates clients may show, PEM; needs `--clients`
    #[arg(long, env = "PORTCULLIS_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// The clients that are known by certificate, and what each may do: YAML
    #[arg(long, env = "PORTCULLIS_CLIENTS", value_name = "FILE")]
    pub clients: Option<PathBuf>,

    /// How often the files of certificates and clients are looked at for changes
    #[arg(long, env = "PORTCULLIS_TLS_RELOAD_INTERVAL", value_name = "DURATION")]
    #[arg(default_value = "10s", value_parser = parse_duration)]
    pub tls_reload_interval: Duration,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            clients: None,
            tls_reload_interval: Duration::from_secs(10),
        }
    }
}

impl TlsSettings {
    /// Whether connections are encrypted.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// Whether clients are known by certificate.
    #[must_use]
    pub fn knows_clients(&self) -> bool {
        self.clients.is_some()
    }

    /// Checks that what makes sense together only is there together.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let given = [
            ("tls-cert", &self.tls_cert),
            ("tls-key", &self.tls_key),
            ("tls-client-ca", &self.tls_client_ca),
            ("clients", &self.clients),
        ]
        .map(|(flag, file)| (flag, file.is_some()));
        let needs = [(0, 1), (1, 0), (2, 3), (3, 2), (2, 0)];
        for (one, other) in needs {
            if let (Some((flag, true)), Some((missing, false))) = (given.get(one), given.get(other))
            {
                return Err(ConfigError::Incomplete { flag, missing });
            }
        }
        Ok(())
    }

    /// As `Config::settings`.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let Self { tls_cert, tls_key, tls_client_ca, clients, tls_reload_interval } = self;
        let file = |path: &Option<PathBuf>| optional(path.as_ref().map(|path| path.display()));
        vec![
            ("tls-cert", file(tls_cert)),
            ("tls-key", file(tls_key)),
            ("tls-client-ca", file(tls_client_ca)),
            ("clients", file(clients)),
            ("tls-reload-interval", duration_text(*tls_reload_interval)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_sense_together_only_is_given_together() {
        let some = || Some(PathBuf::from("x.pem"));
        let none = TlsSettings::default;
        let pair = || TlsSettings { tls_cert: some(), tls_key: some(), ..none() };
        for (settings, flag, missing) in [
            (TlsSettings { tls_key: None, ..pair() }, "tls-cert", "tls-key"),
            (TlsSettings { tls_cert: None, ..pair() }, "tls-key", "tls-cert"),
            (TlsSettings { tls_client_ca: some(), ..pair() }, "tls-client-ca", "clients"),
            (TlsSettings { clients: some(), ..pair() }, "clients", "tls-client-ca"),
            (
                TlsSettings { clients: some(), tls_client_ca: some(), ..none() },
                "tls-client-ca",
                "tls-cert",
            ),
        ] {
            assert_eq!(settings.validate(), Err(ConfigError::Incomplete { flag, missing }));
        }
        none().validate().unwrap();
        pair().validate().unwrap();
        TlsSettings { clients: some(), tls_client_ca: some(), ..pair() }.validate().unwrap();
    }
}
