//! Sets of public keys: what a JWK set or a PEM file holds, as far as tokens can be verified by it.

use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

/// The most keys of one set: a token that names no key is tried with each that fits.
const MAX_KEYS: usize = 64;
const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";

/// A public key, and the one algorithm that it verifies.
#[derive(Debug)]
pub(super) struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Two keys are one if a token can tell no difference.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let same = match (self.key.kind(), other.key.kind()) {
            (SecretOrDer(one), SecretOrDer(two)) => one == two,
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: m, e: f }) => n == m && e == f,
            _ => false,
        };
        same && self.kid == other.kid && self.algorithm == other.algorithm
    }
}

impl Key {
    /// The algorithm follows from the key, never from a token: whoever could choose one for a key
    /// that was made for another would choose the weaker, or take the public key for a secret.
    fn new(kid: Option<String>, key: DecodingKey) -> Option<Self> {
        let bytes = key.try_get_as_bytes().map_or(0, <[u8]>::len);
        let algorithm = match key.family() {
            AlgorithmFamily::Rsa => Algorithm::RS256,
            // An uncompressed point of P-256; other curves are longer.
            AlgorithmFamily::Ec if bytes == 65 => Algorithm::ES256,
            AlgorithmFamily::Ed if bytes == 32 => Algorithm::EdDSA,
            _ => return None,
        };
        Some(Self { kid, algorithm, key })
    }

    fn of_jwk(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
        let verify = |all: &Vec<KeyOperations>| all.contains(&KeyOperations::Verify);
        let verifies = common.key_operations.as_ref().is_none_or(verify);
        let key = Self::new(common.key_id.clone(), DecodingKey::from_jwk(jwk).ok()?)?;
        let declared =
            common.key_algorithm.is_none_or(|it| it == KeyAlgorithm::from(key.algorithm));
        (signs && verifies && declared).then_some(key)
    }

    /// Whether a token of this algorithm could be of this key.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm
    }

    /// Whether the signature, as it stands in the token, is this key's.
    pub(super) fn verifies(&self, signature: &str, message: &[u8]) -> bool {
        let verified = jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm);
        verified.unwrap_or(false)
    }
}

/// Why a text is no set of keys. Nothing of the text is repeated: it may be a private key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKeySet {
    /// Neither of the forms.
    #[error("is neither a JWK set (`{{\"keys\": [...]}}`) nor public keys in PEM")]
    Form,
    /// PEM, but not of public keys.
    #[error("has a PEM block that is no public key of RSA, P-256 or Ed25519")]
    Pem,
    /// Nothing could be verified by it.
    #[error("has no key of RSA, P-256 or Ed25519 that verifies signatures")]
    Empty,
    /// Too many keys.
    #[error("has more than {MAX_KEYS} keys")]
    TooMany,
}

/// The keys that are trusted at one time, at least one.
#[derive(Debug, PartialEq)]
pub(super) struct KeySet {
    keys: Vec<std::sync::Arc<Key>>,
}

impl KeySet {
    /// Reads a JWK set, or PEM. Keys of a set that verify none of our algorithms are left out, as
    /// the set may be meant for others too. A set that has no others is an issuer's mistake far
    /// more often than its wish that nobody calls.
    pub(super) fn parse(content: &[u8]) -> Result<Self, NoKeySet> {
        let text = std::str::from_utf8(content).map_err(|_| NoKeySet::Form)?;
        let is_pem = text.trim_start().starts_with(PEM_BEGIN);
        let keys = if is_pem { of_pem(text)? } else { of_json(text)? };
        if keys.is_empty() {
            return Err(NoKeySet::Empty);
        }
        if keys.len() > MAX_KEYS {
            return Err(NoKeySet::TooMany);
        }
        Ok(Self { keys: keys.into_iter().map(std::sync::Arc::new).collect() })
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether a key has this id.
    pub(super) fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// The keys that a token with this key id, or without one, may be of. Keys without an id, such
    /// as those of PEM, answer to any id that no key has.
    pub(super) fn named<'k>(
        &'k self,
        kid: Option<&'k str>,
    ) -> impl Iterator<Item = &'k std::sync::Arc<Key>> {
        let known = kid.is_some_and(|kid| self.has(kid));
        self.keys.iter().filter(move |key| match kid {
            None => true,
            Some(_) if known => key.kid.as_deref() == kid,
            Some(_) => key.kid.is_none(),
        })
    }

    /// Whether the key is still trusted.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.keys.iter().any(|held| std::ptr::eq(&raw const **held, key) || **held == *key)
    }
}

fn of_json(text: &str) -> Result<Vec<Key>, NoKeySet> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_str(text).map_err(|_| NoKeySet::Form)?;
    let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Ok(jwks.filter_map(|jwk| Key::of_jwk(&jwk)).collect())
}

fn of_pem(text: &str) -> Result<Vec<Key>, NoKeySet> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once(PEM_BEGIN) {
        let (body, after) = block.split_once(PEM_END).ok_or(NoKeySet::Pem)?;
        let (label, _) = body.split_once("-----").ok_or(NoKeySet::Pem)?;
        if !label.ends_with("PUBLIC KEY") {
            return Err(NoKeySet::Pem);
        }
        let pem = format!("{PEM_BEGIN}{body}{PEM_END}{label}-----\n");
        let read = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
        let key = read.iter().find_map(|read| Key::new(None, read(pem.as_bytes()).ok()?));
        keys.push(key.ok_or(NoKeySet::Pem)?);
        rest = after;
    }
    Ok(keys)
}
