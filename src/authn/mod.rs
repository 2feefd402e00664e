//! Who calls: from a credential to a caller.
//!
//! A credential is believed because of a key that an administrator named, and for as long as that
//! key is named. What a caller may do is not decided here.

pub mod certificates;
mod claims;
mod clients_file;
mod jwks;
mod jwt;
mod keys;
pub mod signing;
mod source;

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use metrics::{Counter, counter, describe_counter};
use sha2::{Digest as _, Sha256};

pub use jwks::NoKeySet;
pub use jwt::Tokens;
pub use keys::Options;
pub use source::{Source, Unreadable};

use crate::domain::caller::Caller;
use certificates::Clients;

const AUTHENTICATIONS: &str = "portcullis_authentications_total";

/// Whose tokens are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What `iss` must be, exactly.
    pub issuer: String,
    /// What `aud` must be, or have among others.
    pub audience: String,
    /// Where the issuer's public keys are.
    pub keys: Source,
}

/// Why a credential does not tell who calls. The texts hold nothing of the credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error(
        "the call has no credential: neither `authorization: Bearer TOKEN` in the metadata nor a \
         client certificate"
    )]
    Missing,
    /// It has not the form that is accepted.
    #[error("{0}")]
    Malformed(Cow<'static, str>),
    /// It is good at another time.
    #[error("{0}")]
    Expired(Cow<'static, str>),
    /// It is not to be trusted.
    #[error("{0}")]
    Rejected(Cow<'static, str>),
    /// Nobody can tell yet.
    #[error("the keys that verify tokens have not been read yet; try again")]
    KeysUnavailable,
}

impl Refused {
    /// Not of the form that is accepted.
    #[must_use]
    pub fn malformed(what: &'static str) -> Self {
        Self::Malformed(Cow::Borrowed(what))
    }

    fn missing(claim: &str) -> Self {
        Self::Malformed(format!("the token has no `{claim}`").into())
    }
}

/// Tells who calls. A clone is cheap.
#[derive(Clone)]
pub struct Authenticator(Arc<Means>);

enum Means {
    /// Whoever it is.
    Trust(Caller),
    Credentials(Box<Credentials>),
}

struct Credentials {
    tokens: Option<Tokens>,
    own: Option<OwnToken>,
    certificates: Option<Clients>,
    outcomes: Outcomes,
}

/// A token that only this process knows, for its own client: longer than any password, and gone
/// with the process. Kept as a hash, so that comparing takes no time that depends on it.
pub struct OwnToken([u8; 32]);

impl OwnToken {
    /// A new one, and its text.
    #[must_use]
    pub fn new() -> (Self, String) {
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        (Self(Sha256::digest(&text).into()), text)
    }

    fn is(&self, token: &str) -> bool {
        // A JWT has dots, and this has none.
        !token.contains('.') && self.0 == <[u8; 32]>::from(Sha256::digest(token))
    }
}

struct Outcomes {
    accepted: Counter,
    missing: Counter,
    malformed: Counter,
    expired: Counter,
    rejected: Counter,
    unavailable: Counter,
}

impl Outcomes {
    fn new() -> Self {
        describe_counter!(AUTHENTICATIONS, "Credentials by what was found of them");
        let count = |outcome: &'static str| counter!(AUTHENTICATIONS, "outcome" => outcome);
        Self {
            accepted: count("accepted"),
            missing: count("missing"),
            malformed: count("malformed"),
            expired: count("expired"),
            rejected: count("rejected"),
            unavailable: count("unavailable"),
        }
    }

    fn of(&self, outcome: &Result<Caller, Refused>) -> &Counter {
        match outcome {
            Ok(_) => &self.accepted,
            Err(Refused::Missing) => &self.missing,
            Err(Refused::Malformed(_)) => &self.malformed,
            Err(Refused::Expired(_)) => &self.expired,
            Err(Refused::Rejected(_)) => &self.rejected,
            Err(Refused::KeysUnavailable) => &self.unavailable,
        }
    }
}

impl Authenticator {
    /// Nobody is asked for a credential: every caller is trusted (loopback, or `--insecure` in so
    /// many words).
    #[must_use]
    pub fn trusting() -> Self {
        Self(Arc::new(Means::Trust(Caller::trusted())))
    }

    /// Every caller needs a credential: a token of the issuer's or the process's own, or a client
    /// certificate.
    #[must_use]
    pub fn demanding(
        tokens: Option<Tokens>,
        own: Option<OwnToken>,
        certificates: Option<Clients>,
    ) -> Self {
        let outcomes = Outcomes::new();
        let credentials = Credentials { tokens, own, certificates, outcomes };
        Self(Arc::new(Means::Credentials(Box::new(credentials))))
    }

    /// Who calls: a token goes before a certificate (DER), which a handshake has verified. Waits,
    /// and at most for a fetch of keys, only if the token names an unknown one.
    ///
    /// # Errors
    /// The credential is missing, or is not good, or nobody can tell yet.
    pub async fn caller(
        &self,
        bearer: Option<&str>,
        certificate: Option<&[u8]>,
    ) -> Result<Caller, Refused> {
        match &*self.0 {
            Means::Trust(caller) => Ok(caller.clone()),
            Means::Credentials(credentials) => {
                let outcome = credentials.caller(bearer, certificate).await;
                credentials.outcomes.of(&outcome).increment(1);
                outcome
            }
        }
    }
}

impl Credentials {
    async fn caller(
        &self,
        bearer: Option<&str>,
        certificate: Option<&[u8]>,
    ) -> Result<Caller, Refused> {
        let token = match (bearer, certificate, &self.certificates) {
            (Some(token), _, _) => token,
            (None, Some(certificate), Some(clients)) => return clients.caller(certificate),
            (None, _, _) => return Err(Refused::Missing),
        };
        if self.own.as_ref().is_some_and(|own| own.is(token)) {
            return Ok(Caller::trusted());
        }
        match &self.tokens {
            Some(tokens) => tokens.caller(token).await,
            None => Err(Refused::malformed("tokens are not accepted here")),
        }
    }
}
