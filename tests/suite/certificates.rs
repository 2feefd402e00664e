//! Certificates made for a test, and the files that a server reads them from.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis::config::{Config, TlsSettings};
use portcullis::grpc::client::ClientTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Whoever issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("Authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("an authority"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with these names; one with a colon is a URI.
    pub fn issue(&self, names: &[&str]) -> Issued {
        let (uris, others): (Vec<&str>, _) = names.iter().partition(|name| name.contains("://"));
        let others: Vec<String> = others.into_iter().map(str::to_owned).collect();
        let mut parameters = CertificateParams::new(others).expect("names");
        let uri = |name: &str| SanType::URI(name.try_into().expect("a URI"));
        parameters.subject_alt_names.extend(uris.into_iter().map(uri));
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// What our client trusts then.
    pub fn trusted(&self) -> ClientTls {
        ClientTls::default().trusting(self.pem().as_bytes()).expect("an authority")
    }

    /// A tonic channel to the server that trusts this authority, and shows a certificate.
    pub async fn channel(
        &self,
        address: SocketAddr,
        shown: Option<&Issued>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.pem()));
        if let Some(Issued { certificate, key }) = shown {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let uri = format!("https://localhost:{}", address.port());
        let endpoint = Endpoint::from_shared(uri).expect("a URI").tls_config(tls);
        endpoint.expect("a configuration").connect().await
    }

    /// A connection that is only encrypted.
    pub async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connection = TcpStream::connect(address).await.expect("it listens");
        let name = "localhost".try_into().expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, connection).await.expect("they trust one another")
    }

    /// The certificate that the server shows now.
    pub async fn shown_by(&self, address: SocketAddr) -> CertificateDer<'static> {
        let connection = self.connect(address).await;
        let (_, session) = connection.get_ref();
        session.peer_certificates().expect("a certificate")[0].clone()
    }
}

impl Issued {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

/// The files of a server.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// With the server's certificate and key.
    pub fn of(server: &Issued) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.renew(server);
        folder
    }

    /// Another certificate with its key.
    pub fn renew(&self, server: &Issued) {
        self.write("key.pem", &server.key);
        self.write("cert.pem", &server.certificate);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a whole file in the place of another.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (written, path) = (self.path("written"), self.path(name));
        fs::write(&written, text).expect("a file");
        fs::rename(&written, &path).expect("the same folder");
        path
    }

    /// Encrypts.
    pub fn encrypt(&self, config: &mut Config) {
        config.tls = TlsSettings {
            tls_cert: Some(self.path("cert.pem")),
            tls_key: Some(self.path("key.pem")),
            ..TlsSettings::default()
        };
    }

    /// Also knows clients of this authority by this list.
    pub fn admit(&self, config: &mut Config, authority: &Authority, clients: &str) {
        self.encrypt(config);
        config.tls.tls_client_ca = Some(self.write("ca.pem", &authority.pem()));
        config.tls.clients = Some(self.write("clients.yaml", clients));
    }
}
