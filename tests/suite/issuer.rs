//! An identity provider for tests: keys of each kind, tokens good and bad, and an address that
//! answers with its key set, slowly, wrongly, or not at all.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const ISSUER: &str = "https://idp.example";
pub const AUDIENCE: &str = "portcullis";

/// A private key of the provider.
pub struct TestKey {
    pub kid: String,
    pub algorithm: &'static str,
    key: EncodingKey,
}

impl TestKey {
    pub fn rs256(kid: &str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("an RSA key");
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS #8");
        let key = EncodingKey::from_rsa_pem(&pem(pkcs8.as_ref(), "PRIVATE KEY")).expect("a key");
        Self { kid: kid.to_owned(), algorithm: "RS256", key }
    }

    pub fn es256(kid: &str) -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("an EC key");
        let key = EncodingKey::from_ec_pem(&pem(pkcs8.as_ref(), "PRIVATE KEY")).expect("a key");
        Self { kid: kid.to_owned(), algorithm: "ES256", key }
    }

    pub fn eddsa(kid: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).expect("an Ed key");
        let key = EncodingKey::from_ed_pem(&pem(pkcs8.as_ref(), "PRIVATE KEY")).expect("a key");
        Self { kid: kid.to_owned(), algorithm: "EdDSA", key }
    }

    fn algorithm(&self) -> Algorithm {
        self.algorithm.parse().expect("an algorithm")
    }

    /// The public key as it stands in a key set.
    pub fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm()).expect("a public key");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(self.kid);
        jwk
    }

    /// A token with the usual header.
    pub fn token(&self, claims: &Value) -> String {
        self.signed(&json!({ "alg": self.algorithm, "typ": "JWT", "kid": self.kid }), claims)
    }

    /// A token with a header of the test's choice, signed by this key whatever that says.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm());
        format!("{message}.{}", signature.expect("a signature"))
    }
}

/// Header or claims, encoded.
pub fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

pub fn pem(der: &[u8], label: &str) -> Vec<u8> {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII"));
    let body: String = lines.map(|line| format!("{line}\n")).collect();
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n").into_bytes()
}

/// The key set of these keys.
pub fn key_set(keys: &[&TestKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

/// The claims of a service that may do everything, good for an hour from `now`, in seconds.
pub fn operator(now: i64) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "setup", "exp": now + 3_600,
        "scope": "operator", "organizations": ["*"],
    })
}

/// What answers with the key set.
pub struct KeyServer {
    address: SocketAddr,
    /// Bound, and not listening: whoever connects is refused.
    waiting: Option<TcpSocket>,
    state: Arc<State>,
    serving: Option<JoinHandle<()>>,
}

struct State {
    response: Mutex<Vec<u8>>,
    /// How many requests have come.
    fetches: watch::Sender<usize>,
    /// Whether requests are answered; they wait until then.
    open: watch::Sender<bool>,
}

impl KeyServer {
    /// A server that is down, at an address that stays its own.
    pub fn down() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let address = socket.local_addr().expect("an address");
        let state = State {
            response: Mutex::default(),
            fetches: watch::Sender::new(0),
            open: watch::Sender::new(true),
        };
        Self { address, waiting: Some(socket), state: Arc::new(state), serving: None }
    }

    /// A server that answers with these keys.
    pub fn of(keys: &[&TestKey]) -> Self {
        let mut server = Self::down();
        server.answer(keys);
        server.up();
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}/jwks?client=portcullis", self.address)
    }

    pub fn up(&mut self) {
        let listener = self.waiting.take().expect("it is down").listen(64).expect("it listens");
        self.serving = Some(tokio::spawn(serve(listener, Arc::clone(&self.state))));
    }

    /// Closes the port for good.
    pub async fn close(&mut self) {
        let serving = self.serving.take().expect("it is up");
        serving.abort();
        assert!(serving.await.expect_err("it was aborted").is_cancelled());
    }

    /// Answers with these keys from now on.
    pub fn answer(&self, keys: &[&TestKey]) {
        self.answer_with("200 OK", "", key_set(keys).as_bytes());
    }

    /// Answers with anything from now on.
    pub fn answer_with(&self, status: &str, headers: &str, body: &[u8]) {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        *self.state.response.lock().expect("no panic") = [head.as_bytes(), body].concat();
    }

    /// Lets requests wait, or answers them.
    pub fn set_open(&self, open: bool) {
        self.state.open.send_replace(open);
    }

    pub fn fetches(&self) -> usize {
        *self.state.fetches.borrow()
    }

    /// Returns when this many requests have come in all.
    pub async fn fetched(&self, number: usize) {
        let mut fetches = self.state.fetches.subscribe();
        fetches.wait_for(|fetches| *fetches >= number).await.expect("the server lives");
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(answer(stream, Arc::clone(&state)));
    }
}

/// One request, one answer. A client that has gone away is none of its business.
async fn answer(mut stream: TcpStream, state: Arc<State>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    state.fetches.send_modify(|fetches| *fetches += 1);
    let mut open = state.open.subscribe();
    open.wait_for(|open| *open).await.expect("the server lives");
    let response = state.response.lock().expect("no panic").clone();
    let _gone = stream.write_all(&response).await;
}
