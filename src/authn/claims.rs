//! What a token of ours says: the claims, as they are read and, for development, written.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

use super::Refused;
use crate::domain::caller::{Caller, CallerKind, Organizations, Scope};
use crate::domain::{Timestamp, UserId};

/// A clock may be this much behind that of the issuer: milliseconds.
const NOT_BEFORE_LEEWAY: i64 = 30_000;
/// The longest name of a service, in bytes.
const MAX_SERVICE_NAME_BYTES: usize = 256;
/// Stands for every organization.
const ALL: &str = "*";

/// The claims that are looked at; others are ignored.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aud: Option<OneOrMany>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exp: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iat: Option<Number>,
    /// Separated by spaces, or a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<OneOrMany>,
    /// Makes it a service's. There, it is a list: `null` makes nobody a person by accident.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub(super) organizations: Option<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn there<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    Vec::deserialize(from).map(Some)
}

impl OneOrMany {
    fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
        .iter()
        .map(String::as_str)
    }
}

/// Whom tokens must be from and for, exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) audience: String,
}

/// From when until when a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    not_before: Option<Timestamp>,
    expires: Timestamp,
}

impl Validity {
    /// No leeway at the end, where it would lengthen access; some at the beginning, where a clock
    /// that is a little behind would only be a nuisance.
    pub(super) fn at(&self, now: Timestamp) -> Result<(), Refused> {
        if now >= self.expires {
            return Err(Refused::Expired("the token has expired; get a new one".into()));
        }
        let begins = |begin: Timestamp| begin.0.saturating_sub(NOT_BEFORE_LEEWAY);
        if self.not_before.is_some_and(|begin| now.0 < begins(begin)) {
            let message = "the token is not valid yet (`nbf`); wait, or set the clocks";
            return Err(Refused::Expired(message.into()));
        }
        Ok(())
    }
}

impl Claims {
    /// Who it is, and for how long, if the token is for us.
    pub(super) fn accept(&self, expected: &Expected) -> Result<(Caller, Validity), Refused> {
        let issuer = self.iss.as_deref().ok_or(Refused::missing("iss"))?;
        let audiences = self.aud.as_ref().ok_or(Refused::missing("aud"))?;
        let subject = self.sub.as_deref().ok_or(Refused::missing("sub"))?;
        let expires = self.exp.as_ref().ok_or(Refused::missing("exp"))?;
        if issuer != expected.issuer {
            return Err(Refused::Rejected("the token is of another issuer (`iss`)".into()));
        }
        if !audiences.iter().any(|audience| audience == expected.audience) {
            return Err(Refused::Rejected("the token is for another audience (`aud`)".into()));
        }
        let time = |number: &Number| timestamp(number).ok_or(Refused::malformed(NO_TIME));
        let not_before = self.nbf.as_ref().map(time).transpose()?;
        let validity = Validity { not_before, expires: time(expires)? };
        Ok((self.caller(subject)?, validity))
    }

    fn caller(&self, subject: &str) -> Result<Caller, Refused> {
        let words = self.scope.iter().flat_map(OneOrMany::iter);
        let scopes: BTreeSet<Scope> =
            words.flat_map(str::split_ascii_whitespace).filter_map(Scope::parse).collect();
        let Some(organizations) = &self.organizations else {
            if !scopes.is_empty() {
                return Err(Refused::malformed(SCOPE_WITHOUT_ORGANIZATIONS));
            }
            let user: UserId = subject.parse().map_err(|_| Refused::malformed(NO_USER))?;
            return Ok(Caller::new(format!("user:{user}"), CallerKind::EndUser(user)));
        };
        let organizations = if organizations.iter().any(|id| id == ALL) {
            if organizations.len() > 1 {
                return Err(Refused::malformed(NO_ORGANIZATIONS));
            }
            Organizations::All
        } else {
            let ids = organizations.iter().map(|id| id.parse());
            let ids: Result<_, _> = ids.collect();
            Organizations::These(ids.map_err(|_| Refused::malformed(NO_ORGANIZATIONS))?)
        };
        let named = (1..=MAX_SERVICE_NAME_BYTES).contains(&subject.len());
        if !named || !subject.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refused::malformed(NO_SERVICE));
        }
        let kind = CallerKind::Service { scopes, organizations };
        Ok(Caller::new(format!("service:{subject}"), kind))
    }
}

const NO_TIME: &str = "`exp` or `nbf` of the token is no time: seconds since 1970";
const NO_USER: &str = "`sub` of the token is no user id; a service's token has `organizations`";
const NO_SERVICE: &str = "`sub` of the token must be 1 to 256 bytes of visible ASCII";
const NO_ORGANIZATIONS: &str =
    "`organizations` of the token must be a list of organization ids, or `[\"*\"]` alone";
const SCOPE_WITHOUT_ORGANIZATIONS: &str = "the token has a scope of a service, but does not say \
     which `organizations` the service reaches: a list of ids, or `[\"*\"]`";

fn timestamp(seconds: &Number) -> Option<Timestamp> {
    if let Some(whole) = seconds.as_i64() {
        return Some(Timestamp(whole.saturating_mul(1_000)));
    }
    let since = time::Duration::checked_seconds_f64(seconds.as_f64()?)?;
    i64::try_from(since.whole_milliseconds()).ok().map(Timestamp)
}
