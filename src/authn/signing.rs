//! Makes tokens, for development and tests: the format is that which [`super`] accepts.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::claims::{Claims, OneOrMany};
use crate::domain::Timestamp;
use crate::domain::caller::Scope;

/// A private key of Ed25519, which signs tokens with `EdDSA`.
pub struct SigningKey {
    key: EncodingKey,
    public: Jwk,
    kid: String,
}

/// Why there is no key. Nothing of it is repeated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSigningKey {
    /// Something else.
    #[error("is no private key of Ed25519 in PEM (PKCS #8)")]
    Form,
    /// The machine has no randomness, or cannot sign.
    #[error("the cryptographic library failed")]
    Library,
}

/// What a token is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// `sub`: the id of a user, or the name of a service.
    pub subject: String,
    /// What a service may do.
    pub scopes: Vec<Scope>,
    /// Where: ids, or `*` alone. Given, even if empty, the token is a service's; none: a person's.
    pub organizations: Option<Vec<String>>,
    /// For how long it is good.
    pub ttl: Duration,
}

impl SigningKey {
    /// A new key, and the PEM to keep it in.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub fn generate() -> Result<(Self, String), NoSigningKey> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new());
        let pkcs8 = pkcs8.map_err(|_| NoSigningKey::Library)?;
        // 48 bytes: just one line of PEM.
        let line = STANDARD.encode(pkcs8.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n");
        Ok((Self::of_pem(&pem)?, pem))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// It is none of Ed25519.
    pub fn of_pem(pem: &str) -> Result<Self, NoSigningKey> {
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| NoSigningKey::Form)?;
        let public = Jwk::from_encoding_key(&key, Algorithm::EdDSA);
        let mut public = public.map_err(|_| NoSigningKey::Form)?;
        let kid = public.thumbprint(ThumbprintHash::SHA256).map_err(|_| NoSigningKey::Library)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { key, public, kid })
    }

    /// The public key, as a JWK set: what `--jwt-keys` reads.
    #[must_use]
    pub fn key_set(&self) -> String {
        format!("{:#}\n", json!({ "keys": [self.public] }))
    }

    /// Signs a token that is good from now on.
    ///
    /// # Errors
    /// The library cannot sign with this key.
    pub fn sign(&self, token: &NewToken, now: Timestamp) -> Result<String, NoSigningKey> {
        let NewToken { issuer, audience, subject, scopes, organizations, ttl } = token;
        let seconds = now.0.div_euclid(1_000);
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let scope: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        let claims = Claims {
            iss: Some(issuer.clone()),
            aud: Some(OneOrMany::One(audience.clone())),
            sub: Some(subject.clone()),
            exp: Some(seconds.saturating_add(ttl).into()),
            nbf: None,
            iat: Some(seconds.into()),
            scope: (!scope.is_empty()).then(|| OneOrMany::One(scope.join(" "))),
            organizations: organizations.clone(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|_| NoSigningKey::Library)
    }
}
