//! The file that lists clients by the names in their certificates.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};

use crate::domain::OrganizationId;
use crate::domain::caller::{Caller, CallerKind, Organizations, Scope};

/// The longest name, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// Stands for every organization.
const ALL: &str = "*";

/// Who is listed, by name.
pub(super) type Callers = HashMap<San, Caller>;

/// A name in a certificate (its *subject alternative name*) that can stand for a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum San {
    /// Such as `spiffe://acme.example/planner`; compared to the letter.
    Uri(String),
    /// In lower case.
    Dns(String),
}

impl San {
    /// What has a colon is a URI: no DNS name has one.
    fn parse(text: &str) -> Option<Self> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || !(1..=MAX_NAME_BYTES).contains(&text.len()) {
            return None;
        }
        if text.contains(':') {
            let rest = text.strip_prefix("urn:").or_else(|| {
                let (scheme, rest) = text.split_once("://")?;
                (!scheme.is_empty()).then_some(rest)
            })?;
            return (!rest.is_empty()).then(|| Self::Uri(text.to_owned()));
        }
        // No wildcard: a client is one.
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        text.bytes().all(letter).then(|| Self::Dns(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(name) | Self::Dns(name) => f.write_str(name),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    clients: Vec<Client>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    #[serde(deserialize_with = "san")]
    san: San,
    scopes: Vec<ListedScope>,
    #[serde(deserialize_with = "organizations")]
    organizations: Organizations,
}

struct ListedScope(Scope);

impl<'de> Deserialize<'de> for ListedScope {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        Scope::parse(&name).map(Self).ok_or_else(|| {
            let known = Scope::ALL.map(|scope| format!("`{}`", scope.as_str())).join(", ");
            D::Error::custom(format!("`{name}` is no scope; the scopes are {known}"))
        })
    }
}

fn san<'de, D: Deserializer<'de>>(from: D) -> Result<San, D::Error> {
    let text = String::deserialize(from)?;
    let expected = "a URI such as `spiffe://acme.example/planner`, or a DNS name without `*`";
    San::parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &expected))
}

/// An organization, or every one.
struct ListedOrganization(Option<OrganizationId>);

impl<'de> Deserialize<'de> for ListedOrganization {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let id = String::deserialize(from)?;
        if id == ALL {
            return Ok(Self(None));
        }
        let parsed = id.parse();
        parsed
            .map(|id| Self(Some(id)))
            .map_err(|error| D::Error::custom(format!("organization `{id}` {error}")))
    }
}

fn organizations<'de, D: Deserializer<'de>>(from: D) -> Result<Organizations, D::Error> {
    let listed = Vec::<ListedOrganization>::deserialize(from)?;
    let number = listed.len();
    let ids: BTreeSet<_> = listed.into_iter().filter_map(|ListedOrganization(id)| id).collect();
    // Whoever names an organization does not mean all.
    match number - ids.len() {
        0 => Ok(Organizations::These(ids)),
        1 if number == 1 => Ok(Organizations::All),
        _ => Err(D::Error::custom("an organization is listed twice, or `*` beside others")),
    }
}

/// Reads the file. Errors say where in it they are.
pub(super) fn parse(bytes: &[u8]) -> Result<Callers, String> {
    let File { clients } = serde_yaml_ng::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut callers = Callers::new();
    for Client { san, scopes, organizations } in clients {
        let scopes = scopes.into_iter().map(|ListedScope(scope)| scope).collect();
        let kind = CallerKind::Service { scopes, organizations };
        let caller = Caller::new(format!("certificate:{san}"), kind);
        if callers.insert(san.clone(), caller).is_some() {
            return Err(format!("`{san}` is listed twice{}", second_line(bytes, &san)));
        }
    }
    Ok(callers)
}

/// Where the name stands for the second time, in the way that the parser says it; nothing if it is
/// written so that this cannot be told.
fn second_line(bytes: &[u8], san: &San) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_it = |line: &str| {
        let entry = line.trim_start().trim_start_matches("- ").trim_start();
        let value = entry.strip_prefix("san:").unwrap_or_default().trim();
        let value = value.split_once(" #").map_or(value, |(value, _)| value.trim_end());
        San::parse(value.trim_matches(['"', '\''])).as_ref() == Some(san)
    };
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| is_it(line));
    lines.nth(1).map_or_else(String::new, |(number, _)| format!(" at line {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANNER: &str = "spiffe://acme.example/planner";

    fn refused(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn aut_2_a_client_has_the_scopes_and_organizations_that_the_file_gives_it() {
        let callers = parse(
            b"clients:
  - san: spiffe://acme.example/planner
    scopes: [policy.read, access.write]
    organizations: [acme]
  - san: CI.acme.example
    scopes: [operator]
    organizations: ['*']
",
        )
        .unwrap();
        let planner = &callers[&San::Uri(PLANNER.to_owned())];
        assert_eq!(planner.id(), "certificate:spiffe://acme.example/planner");
        assert!(planner.has_scope(Scope::AccessWrite) && !planner.has_scope(Scope::Operator));
        assert!(planner.reaches(&"acme".parse().unwrap()));
        assert!(!planner.reaches(&"zeta".parse().unwrap()));
        let ci = &callers[&San::Dns("ci.acme.example".to_owned())];
        assert_eq!(ci.id(), "certificate:ci.acme.example");
        assert!(ci.has_scope(Scope::PolicyRead) && ci.reaches_all());
    }

    #[test]
    fn a_mistake_in_the_file_is_told_with_its_line() {
        let entry = |san: &str, scopes: &str, organizations: &str| {
            format!("  - san: {san}\n    scopes: {scopes}\n    organizations: {organizations}\n")
        };
        let file = |entries: &[String]| format!("clients:\n{}", entries.concat());
        let good = entry(PLANNER, "[policy.read]", "[acme]");
        for (second, what, line) in [
            (entry("ci", "[policy.reed]", "[acme]"), "`policy.reed` is no scope", "line 6"),
            (entry("ci", "[]", "['a b']"), "organization `a b`", "line 7"),
            (entry("ci", "[]", "[acme, '*']"), "`*` beside others", "line 5"),
            (entry("'*.acme.example'", "[]", "[]"), "without `*`", "line 5"),
            (entry("'a b'", "[]", "[]"), "a DNS name", "line 5"),
            (entry("spiffe:planner", "[]", "[]"), "a URI such as", "line 5"),
            (format!("{}    scope: []\n", entry("ci", "[]", "[]")), "unknown field", "line 8"),
            (good.clone(), "`spiffe://acme.example/planner` is listed twice", "line 5"),
            ("  - san: ci\n    scopes: []\n".to_owned(), "missing field", "line 5"),
        ] {
            let refused = refused(&file(&[good.clone(), second]));
            assert!(refused.contains(what) && refused.contains(line), "{refused}");
        }
        assert!(refused("client: []").contains("unknown field `client`"));
        assert!(refused("").contains("clients"), "{}", refused(""));
        assert_eq!(parse(b"clients: []"), Ok(Callers::new()));
    }

    #[test]
    fn a_uri_is_never_taken_for_a_dns_name() {
        assert_eq!(San::parse("A.example"), Some(San::Dns("a.example".to_owned())));
        for uri in ["https://A/x", "urn:uuid:1"] {
            assert_eq!(San::parse(uri), Some(San::Uri(uri.to_owned())));
        }
        for nothing in ["", "a:b", "urn:", "://", "://x", "x://", "*.example", "a b", "ä.example"]
        {
            assert_eq!(San::parse(nothing), None, "{nothing}");
        }
    }
}
