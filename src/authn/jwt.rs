//! Bearer tokens: JWTs that a trusted key has signed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio_util::sync::CancellationToken;

use super::claims::{Claims, Expected, Validity};
use super::jwks::{Key, KeySet};
use super::keys::{Keys, Options};
use super::source::Unreadable;
use super::{Issuer, Refused};
use crate::clock::Clock;
use crate::domain::caller::Caller;

/// The longest token that is read, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// What verified tokens may take up altogether, in bytes of their text.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How many are expected: of ordinary length, as many as fit.
const CACHE_TOKENS: usize = 16 * 1024;

/// Verifies bearer tokens.
pub struct Tokens {
    expected: Expected,
    keys: Arc<Keys>,
    clock: Clock,
    verified: Cache<Box<str>, Arc<Verified>, ByLength>,
}

/// A token whose signature and claims were found good. What time makes of it, and whether its key
/// is still trusted, is asked again each time.
struct Verified {
    caller: Caller,
    validity: Validity,
    key: Arc<Key>,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<Box<str>, Arc<Verified>> for ByLength {
    fn weight(&self, token: &Box<str>, _: &Arc<Verified>) -> u64 {
        u64::try_from(token.len()).unwrap_or(u64::MAX)
    }
}

/// The header of a token, as far as it matters.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Names what a verifier must understand; we understand nothing that could stand there.
    #[serde(default, deserialize_with = "there")]
    crit: bool,
}

fn there<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(from).map(|_| true)
}

/// A token taken apart; nothing of it is believed yet.
struct Parts<'t> {
    /// Header and claims as they were signed.
    message: &'t str,
    claims: &'t str,
    signature: &'t str,
    algorithm: Algorithm,
    kid: Option<String>,
}

impl Tokens {
    /// Starts to follow the keys, until `background` ends.
    ///
    /// # Errors
    /// A file holds no keys. An address need not answer yet.
    pub async fn start(
        issuer: Issuer,
        options: &Options,
        clock: Clock,
        background: CancellationToken,
    ) -> Result<Self, Unreadable> {
        let Issuer { issuer, audience, keys } = issuer;
        let keys = Keys::follow(keys, options.clone(), clock.clone(), background).await?;
        let verified = Cache::with_weighter(CACHE_TOKENS, CACHE_BYTES, ByLength);
        Ok(Self { expected: Expected { issuer, audience }, keys, clock, verified })
    }

    /// Whose token it is.
    pub(super) async fn caller(&self, token: &str) -> Result<Caller, Refused> {
        if let Some(verified) = self.verified.get(token) {
            if self.is_trusted(&verified.key) {
                verified.validity.at(self.clock.read().wall)?;
                return Ok(verified.caller.clone());
            }
            self.verified.remove(token);
        }
        let parts = Parts::of(token)?;
        let key = self.signer(&parts).await?;
        let claims: Claims = decode(parts.claims).ok_or(Refused::malformed(NO_CLAIMS))?;
        let (caller, validity) = claims.accept(&self.expected)?;
        validity.at(self.clock.read().wall)?;
        let verified = Verified { caller: caller.clone(), validity, key };
        self.verified.insert(token.into(), Arc::new(verified));
        Ok(caller)
    }

    fn is_trusted(&self, key: &Key) -> bool {
        self.keys.current().as_ref().is_some_and(|set| set.holds(key))
    }

    /// The key that has signed the token. If none has its key id, the keys may have changed since
    /// they were read.
    async fn signer(&self, parts: &Parts<'_>) -> Result<Arc<Key>, Refused> {
        let before = Option::clone(&self.keys.current());
        if let Some(found) = before.as_deref().and_then(|set| known_signer(set, parts)) {
            return found;
        }
        self.keys.refreshed().await;
        let now = Option::clone(&self.keys.current());
        let set = now.as_ref().ok_or(Refused::KeysUnavailable)?;
        // Signatures take long to verify: the same keys are not tried twice.
        let same = before.is_some_and(|before| Arc::ptr_eq(&before, set));
        let found = if same { None } else { known_signer(set, parts) };
        found.unwrap_or_else(|| Err(Refused::Rejected(UNKNOWN_KEY.into())))
    }
}

/// None if the set does not tell: no key has the id that the token names, and none without an id,
/// which any could be meant by, has signed it.
fn known_signer(set: &KeySet, parts: &Parts<'_>) -> Option<Result<Arc<Key>, Refused>> {
    let kid = parts.kid.as_deref();
    let message = parts.message.as_bytes();
    let mut fitting = set.named(kid).filter(|key| key.fits(parts.algorithm)).peekable();
    let fits = fitting.peek().is_some();
    if let Some(signer) = fitting.find(|key| key.verifies(parts.signature, message)) {
        return Some(Ok(Arc::clone(signer)));
    }
    if kid.is_some_and(|kid| !set.has(kid)) {
        return None;
    }
    let wrong = if fits { WRONG_SIGNATURE } else { UNFIT_ALGORITHM };
    Some(Err(Refused::Rejected(wrong.into())))
}

impl<'t> Parts<'t> {
    fn of(token: &'t str) -> Result<Self, Refused> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refused::malformed("the token is too long; at most 8 KiB are read"));
        }
        let form = || Refused::malformed(NO_JWT);
        let (message, signature) = token.rsplit_once('.').ok_or_else(form)?;
        let (header, claims) = message.split_once('.').ok_or_else(form)?;
        if claims.contains('.') || signature.is_empty() && claims.is_empty() {
            return Err(form());
        }
        let Header { alg, kid, crit } = decode(header).ok_or_else(form)?;
        let algorithm = match alg.as_str() {
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            "EdDSA" => Algorithm::EdDSA,
            _ => return Err(Refused::malformed(NO_ALGORITHM)),
        };
        if crit {
            let message = "the token has an extension that must be understood (`crit`), and is not";
            return Err(Refused::malformed(message));
        }
        Ok(Self { message, claims, signature, algorithm, kid })
    }
}

const NO_JWT: &str = "the credential is no JWT: three parts of base64url, separated by dots";
const NO_ALGORITHM: &str = "`alg` of the token must be `RS256`, `ES256` or `EdDSA`";
const UNKNOWN_KEY: &str = "the token is of an unknown key: none has its `kid`, and none without an \
                           id has signed it";
const UNFIT_ALGORITHM: &str = "`alg` of the token does not fit the key that it names";
const WRONG_SIGNATURE: &str = "the signature of the token is wrong";
const NO_CLAIMS: &str = "the claims of the token are not readable, or one has a wrong type";

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
