use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;
use rustls::{Error, RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::domain::Timestamp;
use crate::reload::Content;

/// What handshakes need, built and checked.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) config: Arc<ServerConfig>,
    /// When the server's certificate ends.
    pub(super) expire_time: Timestamp,
}

/// Builds what the files say. Errors are sentences that name the file, and nothing of the key.
pub(super) fn build(
    certificate: &Content,
    key: &Content,
    client_ca: Option<&Content>,
) -> Result<Material, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(certificate)?;
    let expire_time = end_of_chain(certificate, &chain)?;
    let certified = certified(certificate, chain, key, &provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("no version of TLS can be used: {error}"))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            // Whoever has no certificate may still ask how the server is.
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(file)?), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| about(file, &format!("cannot verify clients: {error}")))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Material { config: Arc::new(config), expire_time })
}

fn certificates(file: &Content) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(about(file, "holds no certificate; it must be PEM, `-----BEGIN CERTIFICATE-----`"))
        }
        Ok(found) => Ok(found),
        Err(_) => Err(about(file, "is not PEM that can be read")),
    }
}

/// When the first certificate ends, once all of them have been found well formed.
fn end_of_chain(file: &Content, chain: &[CertificateDer<'_>]) -> Result<Timestamp, String> {
    let mut ends = Vec::new();
    for (number, der) in (1..).zip(chain) {
        let parsed = Certificate::from_der(der).map_err(|error| {
            about(file, &format!("has a malformed certificate {number}: {error}"))
        })?;
        ends.push(super::expire_time(&parsed));
    }
    ends.first().copied().ok_or_else(|| about(file, "holds no certificate"))
}

fn certified(
    certificate: &Content,
    chain: Vec<CertificateDer<'static>>,
    key: &Content,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let private = match PrivateKeyDer::from_pem_slice(&key.bytes) {
        Ok(private) => private,
        Err(pem::Error::NoItemsFound) => {
            return Err(about(key, "holds no private key; it must be PEM, not encrypted"));
        }
        // What the parser says may repeat a line of the key.
        Err(_) => return Err(about(key, "is not PEM that can be read")),
    };
    CertifiedKey::from_der(chain, private, provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            let certificate = certificate.path.display();
            about(key, &format!("is not the key of the certificate in `{certificate}`"))
        }
        Error::InvalidCertificate(_) => about(certificate, "starts with a malformed certificate"),
        _ => about(key, "holds no key that can be used: RSA, ECDSA or Ed25519"),
    })
}

fn roots(file: &Content) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| about(file, &format!("has a malformed certificate: {error}")))?;
    }
    Ok(roots)
}

fn about(file: &Content, what: &str) -> String {
    format!("`{}` {what}", file.path.display())
}
