//! Which tokens are believed, of whom they say what, and why the others are not.

use std::path::PathBuf;
use std::time::Duration;

use portcullis::authn::{Authenticator, Issuer, Options, Refused, Source, Tokens};
use portcullis::clock::Clock;
use portcullis::domain::Timestamp;
use portcullis::domain::caller::{Caller, CallerKind, Organizations, Scope};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::issuer::{AUDIENCE, ISSUER, TestKey, key_set, operator, part};

const NOW: i64 = 1_800_000_000;

/// An authenticator that believes the keys of a file.
struct Gate {
    authenticator: Authenticator,
    clock: Clock,
    keys: PathBuf,
    _folder: tempfile::TempDir,
    _ending: DropGuard,
}

impl Gate {
    async fn new(content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        std::fs::write(&keys, content).unwrap();
        let clock = Clock::manual(Timestamp(NOW * 1_000));
        let background = CancellationToken::new();
        let (issuer, audience) = (ISSUER.to_owned(), AUDIENCE.to_owned());
        let issuer = Issuer { issuer, audience, keys: Source::File(keys.clone()) };
        let options = Options::default();
        let tokens = Tokens::start(issuer, &options, clock.clone(), background.clone()).await;
        let authenticator = Authenticator::demanding(Some(tokens.unwrap()), None, None);
        let ending = background.drop_guard();
        Self { authenticator, clock, keys, _folder: folder, _ending: ending }
    }

    async fn caller(&self, token: &str) -> Result<Caller, Refused> {
        self.authenticator.caller(Some(token), None).await
    }

    /// The kind of refusal, and its text.
    async fn refusal(&self, token: &str) -> (&'static str, String) {
        match self.caller(token).await.expect_err("a refusal") {
            Refused::Missing => ("missing", String::new()),
            Refused::Malformed(text) => ("malformed", text.into_owned()),
            Refused::Expired(text) => ("expired", text.into_owned()),
            Refused::Rejected(text) => ("rejected", text.into_owned()),
            Refused::KeysUnavailable => ("unavailable", String::new()),
        }
    }
}

/// The usual claims, one of them changed, or taken away by `null`.
fn with(name: &str, value: Value) -> Value {
    let mut claims = operator(NOW);
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

#[tokio::test]
async fn aut_2_tokens_of_all_three_algorithms_are_believed() {
    let keys = [TestKey::rs256("r"), TestKey::es256("e"), TestKey::eddsa("d")];
    let gate = Gate::new(key_set(&[&keys[0], &keys[1], &keys[2]])).await;
    for key in &keys {
        let token = key.token(&operator(NOW));
        for time in ["verified", "remembered"] {
            let caller = gate.caller(&token).await.unwrap();
            assert_eq!(caller.id(), "service:setup", "{} {time}", key.algorithm);
        }
        let nameless = key.signed(&json!({ "alg": key.algorithm }), &operator(NOW));
        assert!(gate.caller(&nameless).await.is_ok(), "{} without `kid`", key.algorithm);
        let (message, _) = token.rsplit_once('.').unwrap();
        let unsigned = format!("{message}.");
        assert_eq!(gate.refusal(&unsigned).await.0, "rejected", "{}", key.algorithm);
    }
}

#[tokio::test]
async fn aut_2_the_algorithm_is_the_keys_not_the_tokens() {
    let (rsa, ed) = (TestKey::rs256("r"), TestKey::eddsa("d"));
    let gate = Gate::new(key_set(&[&rsa, &ed])).await;
    let claims = operator(NOW);
    for algorithm in ["none", "None", "HS256", "RS512", "PS256", "ES384", "rs256", ""] {
        let token = rsa.signed(&json!({ "alg": algorithm, "kid": "r" }), &claims);
        let (kind, text) = gate.refusal(&token).await;
        assert_eq!(kind, "malformed", "{algorithm}");
        assert!(text.contains("`alg`"), "{text}");
    }
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims));
    assert_eq!(gate.refusal(&unsigned).await.0, "malformed");
    // The public key, which everybody has, taken for a secret.
    let secret = jsonwebtoken::EncodingKey::from_secret(rsa.jwk().to_string().as_bytes());
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some("r".to_owned());
    let confused = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
    assert_eq!(gate.refusal(&confused).await.0, "malformed");
    // An algorithm that is accepted, for a key of another.
    let unfit = ed.signed(&json!({ "alg": "RS256", "kid": "d" }), &claims);
    let (kind, text) = gate.refusal(&unfit).await;
    assert_eq!((kind, text.contains("does not fit")), ("rejected", true), "{text}");
}

#[tokio::test]
async fn aut_2_a_key_that_is_for_something_else_verifies_nothing() {
    let key = TestKey::eddsa("d");
    let changed = [("use", json!("enc")), ("alg", json!("ES256")), ("key_ops", json!(["sign"]))];
    for (name, value) in changed {
        let mut jwk = key.jwk();
        jwk[name] = value;
        let other = TestKey::eddsa("other").jwk();
        let unknown = json!({ "kty": "XYZ", "kid": "x" });
        let symmetric = json!({ "kty": "oct", "kid": "h", "k": "c2VjcmV0" });
        let set = json!({ "keys": [jwk, unknown, symmetric, other] });
        let gate = Gate::new(set.to_string()).await;
        assert_eq!(gate.refusal(&key.token(&operator(NOW))).await.0, "rejected", "{name}");
    }
}

#[tokio::test]
async fn aut_2_what_is_no_token_is_malformed() {
    let key = TestKey::eddsa("d");
    let gate = Gate::new(key_set(&[&key])).await;
    let good = key.token(&operator(NOW));
    let long = key.token(&with("padding", json!("x".repeat(8 * 1024))));
    let critical = json!({ "alg": "EdDSA", "kid": "d", "crit": ["exp"] });
    let null = json!({ "alg": "EdDSA", "kid": "d", "crit": null });
    for token in [
        "x".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        good.replacen('.', "", 1),
        format!("{good}.x"),
        format!("x{good}"),
        long,
        key.signed(&critical, &operator(NOW)),
        key.signed(&null, &operator(NOW)),
        key.signed(&json!("EdDSA"), &operator(NOW)),
        key.signed(&json!({ "kid": "d" }), &operator(NOW)),
        key.token(&json!([])),
        key.token(&json!("claims")),
    ] {
        assert_eq!(gate.refusal(&token).await.0, "malformed", "{token}");
    }
    assert_eq!(gate.authenticator.caller(None, None).await, Err(Refused::Missing));
    let other = TestKey::eddsa("d").token(&operator(NOW));
    let (kind, text) = gate.refusal(&other).await;
    assert_eq!((kind, text.contains("signature")), ("rejected", true), "{text}");
}

#[tokio::test]
async fn aut_2_issuer_audience_subject_and_expiry_are_mandatory_and_exact() {
    let key = TestKey::eddsa("d");
    let gate = Gate::new(key_set(&[&key])).await;
    for claim in ["iss", "aud", "sub", "exp"] {
        let (kind, text) = gate.refusal(&key.token(&with(claim, Value::Null))).await;
        assert_eq!(kind, "malformed", "{claim}");
        assert!(text.contains(&format!("`{claim}`")), "{text}");
    }
    for (claim, value) in [
        ("iss", json!("https://idp.example/")),
        ("iss", json!("https://IDP.example")),
        ("aud", json!("portcullis2")),
        ("aud", json!(["other", "Portcullis"])),
        ("aud", json!([])),
    ] {
        let (kind, text) = gate.refusal(&key.token(&with(claim, value))).await;
        assert_eq!((kind, text.contains(claim)), ("rejected", true), "{text}");
    }
    for (claim, value) in [
        ("iss", json!([ISSUER])),
        ("sub", json!(7)),
        ("sub", json!("")),
        ("sub", json!("white space")),
        ("exp", json!("tomorrow")),
        ("exp", json!(1e300)),
        ("nbf", json!(true)),
        ("scope", json!(7)),
    ] {
        let (kind, _) = gate.refusal(&key.token(&with(claim, value.clone()))).await;
        assert_eq!(kind, "malformed", "{claim} {value}");
    }
    let several = key.token(&with("aud", json!(["other", AUDIENCE])));
    assert!(gate.caller(&several).await.is_ok());
}

#[tokio::test]
async fn aut_2_a_token_begins_and_ends_also_when_it_is_remembered() {
    let key = TestKey::eddsa("d");
    let gate = Gate::new(key_set(&[&key])).await;
    let token = key.token(&with("exp", json!(NOW + 10)));
    assert!(gate.caller(&token).await.is_ok());
    gate.clock.advance(Duration::from_millis(9_999));
    assert!(gate.caller(&token).await.is_ok());
    gate.clock.advance(Duration::from_millis(1));
    let (kind, text) = gate.refusal(&token).await;
    assert_eq!((kind, text.contains("has expired")), ("expired", true), "{text}");
    let fractional = key.token(&with("exp", json!(10.5 + 1_800_000_000_f64)));
    assert!(gate.caller(&fractional).await.is_ok());
    gate.clock.advance(Duration::from_millis(500));
    assert_eq!(gate.refusal(&fractional).await.0, "expired");

    let early = key.token(&with("nbf", json!(NOW + 41)));
    let (kind, text) = gate.refusal(&early).await;
    assert_eq!((kind, text.contains("`nbf`")), ("expired", true), "{text}");
    gate.clock.advance(Duration::from_millis(500));
    assert!(gate.caller(&early).await.is_ok(), "30 s early is near enough");
    gate.clock.skew_wall(-1);
    assert_eq!(gate.refusal(&early).await.0, "expired");
}

#[tokio::test]
async fn aut_2_organizations_make_a_service_and_nothing_else_does() {
    let key = TestKey::eddsa("d");
    let gate = Gate::new(key_set(&[&key])).await;
    let base = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": NOW + 60 });
    let claims = |more: &Value| {
        let mut claims = base.clone();
        let more = more.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(more);
        key.token(&claims)
    };
    let person = CallerKind::EndUser("ann".parse().unwrap());
    for person_like in [json!({}), json!({ "scope": "openid profile" }), json!({ "scope": [] })] {
        let caller = gate.caller(&claims(&person_like)).await.unwrap();
        assert_eq!((caller.id(), caller.kind()), ("user:ann", &person), "{person_like}");
    }
    let service = |scopes: &[Scope], organizations: Organizations| CallerKind::Service {
        scopes: scopes.iter().copied().collect(),
        organizations,
    };
    let acme = Organizations::These(["acme".parse().unwrap()].into());
    let both = [Scope::PolicyRead, Scope::AccessWrite];
    for (more, kind) in [
        (
            json!({ "organizations": ["acme"], "scope": "policy.read unknown access.write" }),
            service(&both, acme.clone()),
        ),
        (
            json!({ "organizations": ["acme"], "scope": ["policy.read", "access.write"] }),
            service(&both, acme.clone()),
        ),
        (json!({ "organizations": ["acme"] }), service(&[], acme)),
        (json!({ "organizations": [] }), service(&[], Organizations::These([].into()))),
        (
            json!({ "organizations": ["*"], "scope": "operator" }),
            service(&[Scope::Operator], Organizations::All),
        ),
    ] {
        let caller = gate.caller(&claims(&more)).await.unwrap();
        assert_eq!((caller.id(), caller.kind()), ("service:ann", &kind), "{more}");
    }
    for refused in [
        json!({ "scope": "policy.read" }),
        json!({ "scope": ["openid", "operator"] }),
        json!({ "organizations": null }),
        json!({ "organizations": "acme" }),
        json!({ "organizations": ["acme", "*"] }),
        json!({ "organizations": ["a b"] }),
    ] {
        assert_eq!(gate.refusal(&claims(&refused)).await.0, "malformed", "{refused}");
    }
}

#[tokio::test]
async fn aut_2_pem_is_a_key_set_without_names() {
    let (key, other) = (TestKey::eddsa("d"), TestKey::eddsa("d"));
    let spki = |key: &TestKey| {
        use base64::Engine as _;
        let x = key.jwk()["x"].as_str().unwrap().to_owned();
        let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(x).unwrap();
        let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        crate::issuer::pem(&[&head[..], &x].concat(), "PUBLIC KEY")
    };
    let gate = Gate::new([spki(&TestKey::eddsa("")), spki(&key)].concat()).await;
    assert!(gate.caller(&key.token(&operator(NOW))).await.is_ok());
    assert_eq!(gate.refusal(&other.token(&operator(NOW))).await.0, "rejected");
}

#[tokio::test]
async fn aut_2_a_file_that_changes_is_read_again_when_an_unknown_key_is_named() {
    let (old, new) = (TestKey::eddsa("old"), TestKey::es256("new"));
    let gate = Gate::new(key_set(&[&old])).await;
    let claims = operator(NOW);
    std::fs::write(&gate.keys, key_set(&[&new])).unwrap();
    assert_eq!(gate.refusal(&new.token(&claims)).await.0, "rejected", "it was just read");
    gate.clock.advance(Duration::from_secs(10));
    assert!(gate.caller(&new.token(&claims)).await.is_ok());
    assert_eq!(gate.refusal(&old.token(&claims)).await.0, "rejected");
    std::fs::write(&gate.keys, "broken").unwrap();
    gate.clock.advance(Duration::from_secs(10));
    assert_eq!(gate.refusal(&old.token(&claims)).await.0, "rejected");
    assert!(gate.caller(&new.token(&claims)).await.is_ok(), "what was known goes on working");
}

#[tokio::test]
async fn a_file_without_keys_is_told_at_the_start() {
    let private = crate::issuer::pem(b"secret", "PRIVATE KEY");
    let useless = key_set(&[]);
    let symmetric = br#"{"keys": [{"kty": "oct", "kid": "h", "k": "c2VjcmV0"}]}"#;
    let empty = useless.as_bytes();
    for content in [&b""[..], b"{}", b"keys", &private, b"\xff", empty, symmetric] {
        let (_folder, path) = crate::program::file("keys", content);
        let keys = Source::File(path);
        let issuer = Issuer { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned(), keys };
        let clock = Clock::manual(Timestamp(0));
        let background = CancellationToken::new();
        let started = Tokens::start(issuer, &Options::default(), clock, background).await;
        let refused = started.err().expect("a refusal").to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }
}
