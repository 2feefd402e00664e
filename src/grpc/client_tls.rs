//! How our client trusts, shows who it is, and tells people what is wrong with either.

use std::error::Error;
use std::fmt;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, InvalidMessage};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// Whom the client of an encrypted connection trusts, and who it says it is.
#[derive(Clone, Default)]
pub struct ClientTls {
    authority: Option<Certificate>,
    identity: Option<Identity>,
}

/// Shows nothing of the key.
impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { authority, identity } = self;
        f.debug_struct("ClientTls")
            .field("authority", &authority.is_some())
            .field("identity", &identity.is_some())
            .finish()
    }
}

impl ClientTls {
    /// Trusts servers for which these certificates (PEM) vouch, instead of those that the machine
    /// trusts.
    ///
    /// # Errors
    /// There is no certificate in it.
    pub fn trusting(mut self, authorities: &[u8]) -> Result<Self, &'static str> {
        has_certificates(authorities)?;
        self.authority = Some(Certificate::from_pem(authorities));
        Ok(self)
    }

    /// Shows this certificate chain, with its key (both PEM), to servers that ask.
    ///
    /// # Errors
    /// There is no certificate, or no key, where it should be.
    pub fn showing(mut self, certificate: &[u8], key: &[u8]) -> Result<Self, &'static str> {
        has_certificates(certificate)?;
        PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| "holds no private key in PEM that is not encrypted")?;
        self.identity = Some(Identity::from_pem(certificate, key));
        Ok(self)
    }

    /// Whether anything was set.
    pub(super) fn is_set(&self) -> bool {
        self.authority.is_some() || self.identity.is_some()
    }

    /// As tonic wants it. Without an authority of its own it trusts whom the machine trusts.
    pub(super) fn config(&self) -> ClientTlsConfig {
        let config = match &self.authority {
            Some(authority) => ClientTlsConfig::new().ca_certificate(authority.clone()),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match &self.identity {
            Some(identity) => config.identity(identity.clone()),
            None => config,
        }
    }
}

fn has_certificates(pem: &[u8]) -> Result<(), &'static str> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(()),
        _ => Err("holds no certificate in PEM"),
    }
}

/// What went wrong with TLS, and what to do; none if it is about something else.
pub(super) fn explain(error: &(dyn Error + 'static)) -> Option<(String, &'static str)> {
    let said = |what: &str, hint| Some((what.to_owned(), hint));
    match find(error) {
        // Once there is a call, HTTP/2 hands on no more than the text.
        None => Some(explain_alert(alert_in(error)?.as_str())),
        Some(rustls::Error::AlertReceived(alert)) => Some(explain_alert(&format!("{alert:?}"))),
        Some(rustls::Error::InvalidCertificate(wrong)) => Some(explain_certificate(wrong)),
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            said("it does not speak TLS", "write `http://` if it is not meant to be encrypted")
        }
        Some(rustls::Error::InconsistentKeys(_)) => said(
            "the client's certificate and key do not belong together",
            "name the key of `--client-cert` with `--client-key`",
        ),
        Some(other) => Some((format!("the handshake failed: {other}"), "look into its log")),
    }
}

/// The name of the alert by which the other side ended the connection.
fn alert_in(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some((_, alert)) = error.to_string().split_once("received fatal alert: ") {
            return Some(alert.to_owned());
        }
        next = error.source();
    }
    None
}

fn explain_alert(alert: &str) -> (String, &'static str) {
    match alert {
        "UnknownCA" | "BadCertificate" | "DecryptError" | "CertificateUnknown" => (
            "it does not accept the client certificate".to_owned(),
            "show one of the authority that the server trusts, with `--client-cert`",
        ),
        "CertificateExpired" => {
            ("the client certificate has expired".to_owned(), "get a new one for `--client-cert`")
        }
        other => (format!("it ended the connection: {other}"), "look into its log"),
    }
}

fn explain_certificate(wrong: &CertificateError) -> (String, &'static str) {
    use CertificateError as Wrong;
    let (what, hint) = match wrong {
        Wrong::UnknownIssuer | Wrong::BadSignature => (
            "its certificate is not trusted".to_owned(),
            "name the authority that issued it with `--ca-cert`",
        ),
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => (
            "its certificate is for another name".to_owned(),
            "write the server as its certificate names it",
        ),
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            ("its certificate has expired".to_owned(), "the server needs a new one")
        }
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            ("its certificate is not valid yet".to_owned(), "look at the clocks")
        }
        other => (format!("its certificate is not good: {other}"), "the server needs another one"),
    };
    (what, hint)
}

/// Looks for an error of TLS among the causes. An I/O error does not name its own as its source.
fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
