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

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn content(name: &str, text: &str) -> Content {
        Content { path: name.into(), bytes: text.as_bytes().to_vec() }
    }

    fn pair() -> (String, String) {
        let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let CertifiedKey { cert, signing_key } = made;
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn what_fits_together_is_built() {
        let (certificate, key) = pair();
        let (certificate, key) = (content("c.pem", &certificate), content("k.pem", &key));
        let plain = build(&certificate, &key, None).unwrap();
        assert_eq!(plain.config.alpn_protocols, [b"h2"]);
        build(&certificate, &key, Some(&certificate)).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file_and_without_the_key() {
        let (certificate, key) = pair();
        let (other, _) = pair();
        let cut =
            |pem: &str| pem.lines().take(2).map(|line| format!("{line}\n")).collect::<String>();
        let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let chain = format!("{certificate}{no_der}");
        let secret = key.lines().nth(1).unwrap();
        for (certificate, key, ca, expected) in [
            ("", key.as_str(), None, "`c.pem` holds no certificate"),
            (&key, &key, None, "`c.pem` holds no certificate"),
            (&cut(&certificate), &key, None, "`c.pem` is not PEM that can be read"),
            (&chain, &key, None, "`c.pem` has a malformed certificate 2"),
            (&certificate, "", None, "`k.pem` holds no private key"),
            (&certificate, &certificate, None, "`k.pem` holds no private key"),
            (&certificate, &cut(&key), None, "`k.pem` is not PEM that can be read"),
            (&other, &key, None, "`k.pem` is not the key of the certificate in `c.pem`"),
            (&certificate, &key, Some(""), "`a.pem` holds no certificate"),
            (&certificate, &key, Some(no_der), "`a.pem` has a malformed certificate"),
        ] {
            let ca = ca.map(|ca| content("a.pem", ca));
            let refused =
                build(&content("c.pem", certificate), &content("k.pem", key), ca.as_ref());
            let refused = refused.unwrap_err();
            assert!(refused.contains(expected), "{refused}");
            assert!(!refused.contains(secret), "{refused}");
        }
    }
}
