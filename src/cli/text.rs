//! Texts that people write, in arguments and files: instants, consistency, files and places in
//! them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::ids::InvalidId;
use crate::domain::role::{MANAGER, Preset};
use crate::domain::{ItemKey, Subject, Timestamp};
use crate::proto::v1;

/// Reads an instant such as `2026-03-31T12:00:00Z`; what is finer than milliseconds is cut off.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        format!("`{text}` is no instant; write RFC 3339, such as `2026-03-31T12:00:00Z`")
    })?;
    let millis = instant.unix_timestamp_nanos().div_euclid(1_000_000);
    i64::try_from(millis).map(Timestamp).map_err(|_| format!("`{text}` is too far away"))
}

/// The instant in RFC 3339, UTC.
pub(crate) fn time_text(instant: Timestamp) -> String {
    let nanos = i128::from(instant.0) * 1_000_000;
    let instant = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    instant.and_then(|instant| instant.format(&Rfc3339).ok()).unwrap_or_default()
}

/// The instant as the wire has it.
pub(crate) fn time_message(instant: Timestamp) -> prost_types::Timestamp {
    let nanos = instant.0.rem_euclid(1_000) * 1_000_000;
    prost_types::Timestamp {
        seconds: instant.0.div_euclid(1_000),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// An instant of the wire, to the millisecond.
pub(crate) fn time_of(message: &prost_types::Timestamp) -> Timestamp {
    let millis = i64::from(message.nanos).div_euclid(1_000_000);
    Timestamp(message.seconds.saturating_mul(1_000)).plus_millis(millis)
}

/// What a role holds by its table, by name: what services registered a manager holds without that.
pub(crate) fn own_permissions(role: &v1::Role) -> Vec<v1::RolePermission> {
    let any = v1::Reach::Any as i32;
    let ships = |name: &str| Preset::ALL.iter().any(|preset| preset.knows(name));
    let own = |cell: &&v1::RolePermission| {
        role.key != MANAGER || cell.reach != any || ships(&cell.permission)
    };
    let mut cells: Vec<_> = role.permissions.iter().filter(own).cloned().collect();
    cells.sort_unstable_by(|a, b| a.permission.cmp(&b.permission));
    cells
}

/// The subject as the wire has it.
pub(crate) fn subject_message(subject: &Subject) -> v1::Subject {
    use v1::subject::Kind;
    let kind = match subject {
        Subject::User(id) => Kind::User(id.to_string()),
        Subject::Group(id) => Kind::Group(id.to_string()),
        Subject::ServiceAccount(id) => Kind::ServiceAccount(id.to_string()),
    };
    v1::Subject { kind: Some(kind) }
}

/// A subject of the wire; none for a kind that this program does not know.
pub(crate) fn subject_of(message: &v1::Subject) -> Option<Subject> {
    use v1::subject::Kind;
    match message.kind.as_ref()? {
        Kind::User(id) => Subject::from_parts("user", id).ok(),
        Kind::Group(id) => Subject::from_parts("group", id).ok(),
        Kind::ServiceAccount(id) => Subject::from_parts("service_account", id).ok(),
    }
}

/// Reads `minimize-latency`, `fully-consistent` or a token, which only the server can judge.
pub(crate) fn parse_consistency(text: &str) -> Result<v1::Consistency, String> {
    use v1::consistency::Requirement;
    let requirement = match text {
        "" => {
            let accepted = "`minimize-latency`, `fully-consistent` or a consistency token";
            return Err(format!("write {accepted}"));
        }
        "minimize-latency" => Requirement::MinimizeLatency(true),
        "fully-consistent" => Requirement::FullyConsistent(true),
        token => Requirement::AtLeastAsFresh(token.to_owned()),
    };
    Ok(v1::Consistency { requirement: Some(requirement) })
}

/// Everything that was committed before the question.
pub(crate) fn fully_consistent() -> v1::Consistency {
    let requirement = v1::consistency::Requirement::FullyConsistent(true);
    v1::Consistency { requirement: Some(requirement) }
}

/// The reason of a decision as it is printed: the enum value without its prefix.
pub(crate) fn reason_text(reason: i32) -> String {
    match v1::DecisionReason::try_from(reason) {
        Ok(reason) => reason.as_str_name().replacen("DECISION_REASON_", "", 1),
        Err(_) => format!("reason {reason}"),
    }
}

/// Reads a text by a function. As a visitor, and not afterwards: only then does the parser know the
/// place of a mistake.
pub(crate) struct Text<F>(pub F);

impl<T, F: FnOnce(&str) -> Result<T, String>> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

/// Reads an id or subject, and repeats it if it is none.
pub(crate) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = InvalidId>,
{
    deserializer.deserialize_str(Text(|text: &str| {
        text.parse().map_err(|error| match error {
            InvalidId::Subject(_) => error.to_string(),
            error => format!("`{text}` {error}"),
        })
    }))
}

struct Parsed<T>(T);

impl<'de, T: FromStr<Err = InvalidId>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer).map(Self)
    }
}

/// As [`parsed`], where the text may be left out.
pub(crate) fn parsed_option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = InvalidId>,
{
    let entry: Option<Parsed<T>> = Option::deserialize(deserializer)?;
    Ok(entry.map(|Parsed(entry)| entry))
}

struct ParsedItem(ItemKey);

impl<'de> Deserialize<'de> for ParsedItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let item = |text: &str| text.parse().map_err(|error| format!("`{text}` {error}"));
        deserializer.deserialize_str(Text(item)).map(Self)
    }
}

/// Reads an item such as `board:b1`, where it may be left out.
pub(crate) fn item<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ItemKey>, D::Error> {
    let entry: Option<ParsedItem> = Option::deserialize(deserializer)?;
    Ok(entry.map(|ParsedItem(item)| item))
}

/// As [`parsed`], for a list.
pub(crate) fn parsed_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = InvalidId>,
{
    let entries: Vec<Parsed<T>> = Vec::deserialize(deserializer)?;
    Ok(entries.into_iter().map(|Parsed(entry)| entry).collect())
}

/// As [`parsed_list`], where the list may be left out.
pub(crate) fn parsed_list_option<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = InvalidId>,
{
    let entries: Option<Vec<Parsed<T>>> = Option::deserialize(deserializer)?;
    Ok(entries.map(|entries| entries.into_iter().map(|Parsed(entry)| entry).collect()))
}

/// Reads an instant in RFC 3339 that may be left out.
pub(crate) fn instant<'de, D>(deserializer: D) -> Result<Option<Timestamp>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Instant(Timestamp);

    impl<'de> Deserialize<'de> for Instant {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(Text(parse_time)).map(Self)
        }
    }

    let instant: Option<Instant> = Option::deserialize(deserializer)?;
    Ok(instant.map(|Instant(instant)| instant))
}

/// Writes an instant in RFC 3339.
#[allow(clippy::ref_option, reason = "serde hands over the field as it is")]
pub(crate) fn write_instant<S: Serializer>(
    instant: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match instant {
        Some(instant) => serializer.serialize_str(&time_text(*instant)),
        None => serializer.serialize_none(),
    }
}

/// A file that cannot be read, or a place in it that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileError {
    /// The name of the file.
    pub file: String,
    /// Line and column, from 1, if the place is known.
    pub place: Option<(usize, usize)>,
    /// What is wrong, and what is accepted.
    pub message: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => {
                write!(f, "`{}`, line {line}, column {column}: {}", self.file, self.message)
            }
            None => write!(f, "`{}`: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for FileError {}

impl FileError {
    /// What is wrong with the file as a whole.
    pub fn new(path: &Path, message: impl fmt::Display) -> Self {
        Self { file: path.display().to_string(), place: None, message: message.to_string() }
    }

    /// A mistake that a parser found: its own words, with the place in front.
    pub fn parser(file: &str, line: usize, column: usize, error: &impl fmt::Display) -> Self {
        let message = error.to_string();
        let place = format!(" at line {line} column {column}");
        let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
        Self { file: file.to_owned(), place: Some((line, column)), message }
    }
}

/// Reads a whole text file.
pub(crate) fn read_file(path: &Path) -> Result<String, FileError> {
    let fail = |message: String| FileError::new(path, message);
    let bytes = std::fs::read(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        fail(format!("is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_read_back_to_the_millisecond() {
        let instant = parse_time("2026-03-31T14:00:00.1239+02:00").unwrap();
        assert_eq!(time_text(instant), "2026-03-31T12:00:00.123Z");
        assert_eq!(time_of(&time_message(instant)), instant);
        let old = parse_time("1969-12-31T23:59:59.999Z").unwrap();
        assert_eq!(old, Timestamp(-1));
        assert_eq!(time_of(&time_message(old)), old);
        for text in ["", "2026-03-31", "2026-03-31T12:00:00", "tomorrow"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn subjects_survive_the_wire() {
        for text in ["user:ann", "group:sig:release", "service_account:ci"] {
            let subject: Subject = text.parse().unwrap();
            assert_eq!(subject_of(&subject_message(&subject)), Some(subject));
        }
        assert_eq!(subject_of(&v1::Subject { kind: None }), None);
    }
}
