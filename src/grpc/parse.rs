//! From the wire to the domain: what several messages have in common.
//!
//! A parser looks at every field before it answers, so that a client is told of all of them at
//! once (BAD-1).

use std::fmt::Display;
use std::str::FromStr;

use serde::de::DeserializeOwned;

use crate::config::DEFAULT_PAGE_SIZE;
use crate::domain::access_settings::Visibility;
use crate::domain::directory::SiteRole;
use crate::domain::ids::InvalidId;
use crate::domain::page::{Page, decode_page_token};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{ItemType, Subject, Timestamp, UserId};
use crate::proto::v1;

/// The longest display name, in characters.
const MAX_DISPLAY_NAME_CHARS: usize = 200;
/// The longest description, in characters.
const MAX_DESCRIPTION_CHARS: usize = 1_000;
/// The longest type of a portfolio or an item, in bytes.
const MAX_TYPE_BYTES: usize = 64;
/// The longest etag, in bytes: ours are shorter by far.
const MAX_ETAG_BYTES: usize = 128;
/// How many violations an error tells of: it travels in headers, whose size is limited.
const MAX_VIOLATIONS: usize = 16;

/// What was wrong with the fields of one message so far.
#[derive(Debug, Default)]
pub(super) struct Violations {
    refusals: Vec<Refusal>,
}

impl Violations {
    /// Takes the value of a well-formed field, or remembers what is wrong with it.
    pub(super) fn check<T>(&mut self, field: Result<T, Refusal>) -> Option<T> {
        match field {
            Ok(value) => Some(value),
            Err(refusal) => {
                if self.refusals.len() < MAX_VIOLATIONS {
                    self.refusals.push(refusal);
                }
                None
            }
        }
    }

    /// The message, which must be there if nothing was wrong; or all that was.
    pub(super) fn finish<T>(self, message: Option<T>) -> Result<T, Refusal> {
        let mut refusals = self.refusals.into_iter();
        let Some(mut first) = refusals.next() else {
            return message.ok_or_else(|| Refusal::field("request", "is incomplete"));
        };
        for refusal in refusals {
            first.message = format!("{}; {}", first.message, refusal.message);
            first.violations.extend(refusal.violations);
        }
        Err(first)
    }
}

/// An id that must be there. Here and below, a field is written out only where it is refused.
pub(super) fn id<T>(field: impl Display, text: &str) -> Result<T, Refusal>
where
    T: FromStr<Err = InvalidId>,
{
    text.parse().map_err(|error| Refusal::field(field.to_string(), error))
}

/// An id that may be left out.
pub(super) fn optional_id<T>(field: impl Display, text: &str) -> Result<Option<T>, Refusal>
where
    T: FromStr<Err = InvalidId>,
{
    if text.is_empty() { Ok(None) } else { id(field, text).map(Some) }
}

/// A subject that must be there.
pub(super) fn subject(
    field: impl Display,
    subject: Option<&v1::Subject>,
) -> Result<Subject, Refusal> {
    use v1::subject::Kind;
    let wrong = |kind, error: InvalidId| Refusal::field(format!("{field}.{kind}"), error);
    match subject.and_then(|v1::Subject { kind }| kind.as_ref()) {
        None => {
            let description = "must name a user, a group or a service account";
            Err(Refusal::field(field.to_string(), description))
        }
        Some(Kind::User(id)) => id.parse().map(Subject::User).map_err(|error| wrong("user", error)),
        Some(Kind::Group(id)) => {
            id.parse().map(Subject::Group).map_err(|error| wrong("group", error))
        }
        Some(Kind::ServiceAccount(id)) => {
            let wrong = |error| wrong("service_account", error);
            id.parse().map(Subject::ServiceAccount).map_err(wrong)
        }
    }
}

/// A display name that must be there.
pub(super) fn display_name(field: &str, text: String, most: usize) -> Result<String, Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::field(field, "must not be empty"));
    }
    optional_display_name(field, text, most)
}

/// A display name that may be empty; at most `most` bytes, by configuration.
pub(super) fn optional_display_name(
    field: &str,
    text: String,
    most: usize,
) -> Result<String, Refusal> {
    within(field, &text, MAX_DISPLAY_NAME_CHARS, most)?;
    if text.chars().any(char::is_control) {
        return Err(Refusal::field(field, "contains a control character; leave it out"));
    }
    Ok(text)
}

/// A description: a few lines, or none; at most `most` bytes, by configuration.
pub(super) fn description(field: &str, text: String, most: usize) -> Result<String, Refusal> {
    within(field, &text, MAX_DESCRIPTION_CHARS, most)?;
    if text.chars().any(|c| c.is_control() && c != '\n') {
        let description = "contains a control character other than a line feed; leave it out";
        return Err(Refusal::field(field, description));
    }
    Ok(text)
}

/// Refuses a text that is too long, in characters or in bytes.
fn within(field: &str, text: &str, characters: usize, bytes: usize) -> Result<(), Refusal> {
    let found = text.chars().count();
    if found > characters {
        let description = format!("has {found} characters; at most {characters} are accepted");
        return Err(Refusal::field(field, description));
    }
    if text.len() > bytes {
        let found = text.len();
        let description = format!("is {found} bytes long; at most {bytes} are accepted");
        return Err(Refusal::field(field, description));
    }
    Ok(())
}

/// A type: empty, or shaped as an id but shorter.
pub(super) fn type_name(field: impl Display, text: String) -> Result<String, Refusal> {
    let Some(id) = optional_id::<UserId>(&field, &text)? else { return Ok(text) };
    let bytes = id.as_str().len();
    if bytes > MAX_TYPE_BYTES {
        let description = format!("is {bytes} bytes long; at most {MAX_TYPE_BYTES} are accepted");
        return Err(Refusal::field(field.to_string(), description));
    }
    Ok(text)
}

/// What sort of thing an item is. A colon parts the two in `board:b1`, and so is in no type.
pub(super) fn item_type(field: impl Display, text: &str) -> Result<ItemType, Refusal> {
    let text = type_name(&field, text.to_owned())?;
    if text.contains(':') {
        return Err(Refusal::field(field.to_string(), "must not contain a colon"));
    }
    id(field, &text)
}

/// The same, if it may be left out.
pub(super) fn optional_item_type(
    field: impl Display,
    text: &str,
) -> Result<Option<ItemType>, Refusal> {
    if text.is_empty() { Ok(None) } else { item_type(field, text).map(Some) }
}

/// An etag; empty is none.
pub(super) fn etag(field: &str, text: String) -> Result<Option<String>, Refusal> {
    if text.len() > MAX_ETAG_BYTES {
        let description = "is no etag; pass one back exactly as a response gave it";
        return Err(Refusal::field(field, description));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// An instant; what is finer than a millisecond is cut off, towards the past.
pub(super) fn timestamp(
    field: &str,
    timestamp: prost_types::Timestamp,
) -> Result<Timestamp, Refusal> {
    let prost_types::Timestamp { seconds, nanos } = timestamp;
    if !(0..1_000_000_000).contains(&nanos) {
        let description = "has `nanos` outside 0 to 999,999,999";
        return Err(Refusal::field(field, description));
    }
    let instant = seconds
        .checked_mul(1_000)
        .and_then(|millis| millis.checked_add(i64::from(nanos / 1_000_000)))
        .map(Timestamp)
        .filter(|instant| (Timestamp::MIN..=Timestamp::MAX).contains(instant));
    instant.ok_or_else(|| Refusal::field(field, "must lie within the years 0001 to 9999"))
}

/// An instant that may be left out.
pub(super) fn optional_timestamp(
    field: &str,
    timestamp: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Refusal> {
    timestamp.map(|timestamp| self::timestamp(field, timestamp)).transpose()
}

/// A visibility, which must be named.
pub(super) fn visibility(field: &str, visibility: i32) -> Result<Visibility, Refusal> {
    match v1::Visibility::try_from(visibility) {
        Ok(v1::Visibility::Private) => Ok(Visibility::Private),
        Ok(v1::Visibility::Restricted) => Ok(Visibility::Restricted),
        Ok(v1::Visibility::Open) => Ok(Visibility::Open),
        Ok(v1::Visibility::Unspecified) | Err(_) => {
            let description = "must be `VISIBILITY_PRIVATE`, `VISIBILITY_RESTRICTED` or \
                               `VISIBILITY_OPEN`";
            Err(Refusal::field(field, description))
        }
    }
}

/// A site role, which must be named.
pub(super) fn site_role(field: &str, role: i32) -> Result<SiteRole, Refusal> {
    match v1::SiteRole::try_from(role) {
        Ok(v1::SiteRole::Editor) => Ok(SiteRole::Editor),
        Ok(v1::SiteRole::Viewer) => Ok(SiteRole::Viewer),
        Ok(v1::SiteRole::Guest) => Ok(SiteRole::Guest),
        Ok(v1::SiteRole::Unspecified) | Err(_) => {
            let description = "must be `SITE_ROLE_EDITOR`, `SITE_ROLE_VIEWER` or `SITE_ROLE_GUEST`";
            Err(Refusal::field(field, description))
        }
    }
}

/// The number of entries of a batch: at least one, at most `limit` (BAD-2).
pub(super) fn batch(field: &str, entries: usize, limit: usize) -> Result<(), Refusal> {
    match entries {
        0 => Err(Refusal::field(field, "must have at least one entry")),
        1.. if entries > limit => Err(too_many(field, entries, limit)),
        _ => Ok(()),
    }
}

/// More entries than are accepted (BAD-2).
pub(super) fn too_many(field: &str, actual: usize, limit: usize) -> Refusal {
    let description = format!("has {actual} entries; at most {limit} are accepted");
    Refusal::field_because(Reason::LimitExceeded, field, description)
        .with("limit", limit)
        .with("actual", actual)
}

/// Which page of a list, whose other arguments `query` names.
pub(super) fn page<K: DeserializeOwned>(
    violations: &mut Violations,
    query: &str,
    (size, token): (i32, &str),
    most: usize,
) -> Option<Page<K>> {
    let size = violations.check(match usize::try_from(size) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE.min(most)),
        Ok(size) => Ok(size.min(most)),
        Err(_) => Err(Refusal::field("page_size", "must not be negative")),
    });
    let wrong = |error| Refusal::field_because(Reason::PageTokenInvalid, "page_token", error);
    let after = violations.check(decode_page_token(query, token).map_err(wrong));
    Some(Page { size: size?, after: after? })
}

/// Which fields an update changes: those that the mask names, or else those that are `set`.
pub(super) fn update_mask<'f>(
    mask: Option<&prost_types::FieldMask>,
    fields: &[(&'f str, bool)],
) -> Result<Vec<&'f str>, Refusal> {
    let names = || fields.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>();
    let paths = mask.map_or(&[][..], |prost_types::FieldMask { paths }| paths);
    if paths.is_empty() {
        let set: Vec<_> = fields.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        if set.is_empty() {
            let description = format!("names nothing to change; set one of {}", names().join(", "));
            return Err(Refusal::field("update_mask", description));
        }
        return Ok(set);
    }
    let known = |path: &String| {
        fields.iter().find(|(name, _)| name == path).map(|(name, _)| *name).ok_or_else(|| {
            let description = format!("accepts only {}", names().join(", "));
            Refusal::field("update_mask", description)
        })
    };
    paths.iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_1_every_field_at_fault_is_named() {
        let mut violations = Violations::default();
        let portfolio = violations.check(id::<UserId>("portfolio", ""));
        let subject = violations.check(subject("subject", None));
        let refusal = violations.finish(portfolio.zip(subject)).unwrap_err();
        let fields: Vec<&str> = refusal.violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["portfolio", "subject"]);
        assert!(refusal.message.contains("; `subject` must name"), "{refusal}");
    }

    #[test]
    fn bad_1_an_instant_is_cut_to_the_millisecond_towards_the_past() {
        let parse = |seconds, nanos| {
            timestamp("at", prost_types::Timestamp { seconds, nanos }).map(|instant| instant.0)
        };
        assert_eq!(parse(1, 1_999_999), Ok(1_001));
        assert_eq!(parse(-1, 999_999_999), Ok(-1));
        assert_eq!(parse(-62_135_596_800, 0), Ok(Timestamp::MIN.0));
        assert_eq!(parse(253_402_300_799, 999_999_999), Ok(Timestamp::MAX.0));
        for (seconds, nanos) in
            [(0, -1), (0, 1_000_000_000), (253_402_300_800, 0), (-62_135_596_801, 0), (i64::MAX, 0)]
        {
            assert!(parse(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }

    #[test]
    fn bad_2_a_batch_has_a_least_and_a_most() {
        assert_eq!(batch("users", 0, 2).unwrap_err().reason, Reason::InvalidField);
        let refusal = batch("users", 3, 2).unwrap_err();
        assert_eq!(refusal.reason, Reason::LimitExceeded);
        assert_eq!(refusal.message, "`users` has 3 entries; at most 2 are accepted");
        assert!(batch("users", 2, 2).is_ok());
    }

    #[test]
    fn an_update_changes_what_the_mask_names_or_what_is_set() {
        let mask = |paths: &[&str]| prost_types::FieldMask {
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
        };
        let fields = [("role", true), ("expire_time", false)];
        assert_eq!(update_mask(None, &fields).unwrap(), ["role"]);
        assert_eq!(update_mask(Some(&mask(&[])), &fields).unwrap(), ["role"]);
        let named = update_mask(Some(&mask(&["expire_time"])), &fields).unwrap();
        assert_eq!(named, ["expire_time"]);
        assert!(update_mask(Some(&mask(&["role", "owner"])), &fields).is_err());
        assert!(update_mask(None, &[("role", false)]).is_err());
    }
}
