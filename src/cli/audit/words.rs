//! What an event changed, in words. Its values are JSON whose fields may change, so everything that
//! is not understood is passed over rather than refused.

use std::collections::BTreeMap;

use prost_types::value::Kind;
use serde_json::Value;

use crate::cli::text;
use crate::domain::Timestamp;
use crate::proto::v1;

/// Fields that say nothing to a reader: the event itself has them, or they are bookkeeping.
const DULL: [&str; 8] = [
    "id",
    "key",
    "organization",
    "version",
    "create_time",
    "update_time",
    "author",
    "portfolio_type",
];

/// What the event changed.
pub(super) fn of(event: &v1::AuditEvent) -> String {
    let [before, after] =
        [&event.before, &event.after].map(|value| value.as_ref().map_or(Value::Null, json));
    let subject = event.subject.as_ref().and_then(text::subject_of);
    let subject = subject.map(|subject| subject.to_string()).unwrap_or_default();
    match event.kind.as_str() {
        "member.added" | "ownership.transferred" => format!("{subject} as {}", grants(&after)),
        "member.updated" => format!("{subject}: {} -> {}", grants(&before), grants(&after)),
        "member.removed" => format!("{subject}, was {}", grants(&before)),
        "group_member.added" => format!("{} in group {}", member(&after, subject), event.object),
        "group_member.removed" => {
            format!("{} out of group {}", member(&before, subject), event.object)
        }
        "affiliation.added" => format!("{subject} as {}", field(&after, "function")),
        "affiliation.removed" => format!("{subject}, was {}", field(&before, "function")),
        "function_ceiling.set" | "function_ceiling.deleted" => ceiling(event, &before, &after),
        kind => {
            let noun = kind.split('.').next().unwrap_or_default().replace('_', " ");
            // Settings, a site role: the thing is what has them.
            let noun = match noun.as_str() {
                "access settings" => "portfolio",
                "site role" => "user",
                noun => noun,
            };
            let mut fields = fields(&before, &after);
            if kind.starts_with("item.") {
                let given = given(&before, &after);
                let comma = if fields.is_empty() || given.is_empty() { "" } else { ", " };
                fields = format!("{fields}{comma}{given}");
            }
            let colon = if fields.is_empty() { "" } else { ": " };
            format!("{noun} {}{colon}{fields}", event.object)
        }
    }
}

/// Who gained and who lost what on an item that was there and still is, by subject:
/// `+ user:vie viewer, - group:core scout`. Of one that is new or gone the number of grants says
/// enough.
fn given(before: &Value, after: &Value) -> String {
    let grants = |value: &Value| Some(value.get("settings")?.get("grants")?.as_array()?.clone());
    let (Some(old), Some(new)) = (grants(before), grants(after)) else { return String::new() };
    let told = |sign, these: &[Value], others: &[Value]| -> Vec<_> {
        let other = these.iter().filter(|grant| !others.contains(grant));
        let word = |value| Some((field(value, "subject").to_owned(), sign, grant(value)?));
        other.filter_map(word).collect()
    };
    let mut differing = told('-', &old, &new);
    differing.extend(told('+', &new, &old));
    // Of one subject what is lost comes first.
    differing.sort_by(|(one, a, _), (other, b, _)| one.cmp(other).then(b.cmp(a)));
    let words: Vec<_> =
        differing.iter().map(|(subject, sign, role)| format!("{sign} {subject} {role}")).collect();
    words.join(", ")
}

/// The grants of one subject: `manager until ...`.
fn grants(value: &Value) -> String {
    let entries = match value {
        Value::Array(entries) => entries.as_slice(),
        other => std::slice::from_ref(other),
    };
    let words: Vec<_> = entries.iter().filter_map(grant).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(" and ") }
}

fn grant(value: &Value) -> Option<String> {
    let role = value.get("role")?.as_str()?;
    let owner = if value.get("ownership") == Some(&Value::Bool(true)) { ", owner" } else { "" };
    let time = |key: &str| value.get(key).and_then(instant);
    let start = time("start_time").map(|time| format!(" from {time}")).unwrap_or_default();
    let end = time("expire_time").map(|time| format!(" until {time}")).unwrap_or_default();
    Some(format!("{role}{owner}{start}{end}"))
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `function assessor on roadmap: role viewer -> contributor`.
fn ceiling(event: &v1::AuditEvent, before: &Value, after: &Value) -> String {
    let either = if after.is_null() { before } else { after };
    let which = match field(either, "portfolio_type") {
        "" => "portfolios without a type",
        portfolio_type => portfolio_type,
    };
    format!("function {} on {which}: {}", event.object, fields(before, after))
}

fn member(value: &Value, otherwise: String) -> String {
    value.get("member").and_then(Value::as_str).map_or(otherwise, str::to_owned)
}

/// What differs; of what is new or gone, all that says something.
fn fields(before: &Value, after: &Value) -> String {
    let [old, new] = [before, after].map(|value| {
        let mut leaves = BTreeMap::new();
        flatten(value, "", &mut leaves);
        leaves
    });
    let none = |text: Option<&String>| match text {
        Some(text) if !text.is_empty() => text.clone(),
        _ => "none".to_owned(),
    };
    let words: Vec<_> = match (old.is_empty(), new.is_empty()) {
        (false, false) => {
            let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
            let differing = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
            let word = |name: &String| {
                format!("{name} {} -> {}", none(old.get(name)), none(new.get(name)))
            };
            differing.map(word).collect()
        }
        (_, true) => old.iter().filter(|(_, text)| !text.is_empty()).map(pair).collect(),
        (true, false) => new.iter().filter(|(_, text)| !text.is_empty()).map(pair).collect(),
    };
    words.join(", ")
}

fn pair((name, text): (&String, &String)) -> String {
    format!("{name} {text}")
}

/// Collects the leaves by their own names.
fn flatten(value: &Value, name: &str, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries.iter().filter(|(key, _)| !DULL.contains(&key.as_str())) {
                flatten(value, key, leaves);
            }
        }
        Value::Array(entries) => {
            // Of lists of things (roles, grants) the number says enough.
            let text = match entries.iter().all(Value::is_string) {
                true => entries.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
                false => entries.len().to_string(),
            };
            leaves.insert(words(name), text);
        }
        Value::Null => {
            leaves.extend((!name.is_empty()).then(|| (words(name), String::new())));
        }
        Value::String(text) => {
            leaves.insert(words(name), text.clone());
        }
        Value::Number(_) if name.ends_with("_time") => {
            leaves.insert(words(name), instant(value).unwrap_or_default());
        }
        Value::Number(_) | Value::Bool(_) => {
            leaves.insert(words(name), value.to_string());
        }
    }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// An instant as the trail keeps it: milliseconds since the Unix epoch.
fn instant(value: &Value) -> Option<String> {
    let millis = value.as_i64()?;
    Some(text::time_text(Timestamp(millis)))
}

/// JSON of the wire as JSON of ours.
pub(super) fn json(value: &prost_types::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::NumberValue(number)) => number_json(*number),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(json).collect()),
        Some(Kind::StructValue(fields)) => {
            let entry = |(name, value): (&String, _)| (name.clone(), json(value));
            Value::Object(fields.fields.iter().map(entry).collect())
        }
    }
}

/// The wire has floating-point numbers only; whole ones are shown as such.
#[allow(clippy::cast_possible_truncation, reason = "only whole numbers that a float has exactly")]
fn number_json(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.fract() == 0.0 && number.abs() <= EXACT {
        true => Value::from(number as i64),
        false => Value::from(number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wire(value: &Value) -> prost_types::Value {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(value) => Kind::BoolValue(*value),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(values) => Kind::ListValue(prost_types::ListValue {
                values: values.iter().map(wire).collect(),
            }),
            Value::Object(fields) => Kind::StructValue(prost_types::Struct {
                fields: fields.iter().map(|(name, value)| (name.clone(), wire(value))).collect(),
            }),
        };
        prost_types::Value { kind: Some(kind) }
    }

    fn told(kind: &str, before: &Value, after: &Value) -> String {
        let value = |value: &Value| Some(wire(value)).filter(|_| !value.is_null());
        of(&v1::AuditEvent {
            kind: kind.to_owned(),
            object: "apollo".to_owned(),
            subject: Some(text::subject_message(&"user:ben".parse().unwrap())),
            before: value(before),
            after: value(after),
            ..v1::AuditEvent::default()
        })
    }

    #[test]
    fn evt_4_changes_of_members_are_told_by_role_and_time() {
        let viewer = json!([{ "role": "viewer", "expire_time": 1_893_456_000_000_i64 }]);
        let manager = json!([{ "role": "manager", "ownership": true, "start_time": null }]);
        let null = Value::Null;
        assert_eq!(
            told("member.added", &null, &viewer),
            "user:ben as viewer until 2030-01-01T00:00:00Z"
        );
        assert_eq!(
            told("member.updated", &viewer, &manager),
            "user:ben: viewer until 2030-01-01T00:00:00Z -> manager, owner"
        );
        assert_eq!(told("ownership.transferred", &null, &manager), "user:ben as manager, owner");
        assert_eq!(told("member.removed", &manager, &null), "user:ben, was manager, owner");
        let member = json!({ "member": "group:inner" });
        assert_eq!(told("group_member.added", &null, &member), "group:inner in group apollo");
        assert_eq!(told("group_member.removed", &member, &null), "group:inner out of group apollo");
    }

    #[test]
    fn evt_4_changes_of_functions_are_told_by_function_and_role() {
        let (null, tutor) = (Value::Null, json!({ "function": "tutor" }));
        assert_eq!(told("affiliation.added", &null, &tutor), "user:ben as tutor");
        assert_eq!(told("affiliation.removed", &tutor, &null), "user:ben, was tutor");
        let viewer = json!({ "portfolio_type": "plan", "role": "viewer" });
        let manager = json!({ "portfolio_type": "plan", "role": "manager" });
        let changed = told("function_ceiling.set", &viewer, &manager);
        assert_eq!(changed, "function apollo on plan: role viewer -> manager");
        let untyped = json!({ "portfolio_type": "", "role": "viewer" });
        let gone = told("function_ceiling.deleted", &untyped, &null);
        assert_eq!(gone, "function apollo on portfolios without a type: role viewer");
    }

    #[test]
    fn evt_4_other_changes_are_told_by_what_differs() {
        let old = json!({ "visibility": "private", "organization_access_role": "viewer" });
        let new = json!({ "visibility": "open", "organization_access_role": "viewer" });
        assert_eq!(
            told("access_settings.updated", &old, &new),
            "portfolio apollo: visibility private -> open"
        );
        let created = json!({ "id": "apollo", "display_name": "Apollo", "owner": null, "version": 1,
            "settings": { "visibility": "open" } });
        assert_eq!(
            told("portfolio.created", &Value::Null, &created),
            "portfolio apollo: display name Apollo, visibility open"
        );
        let (old, new) = (json!({ "deactivated": false }), json!({ "deactivated": true }));
        let expected = "user apollo: deactivated false -> true";
        assert_eq!(told("user.deactivated", &old, &new), expected);
        let old = json!({ "state": "pending", "reason": "" });
        let new = json!({ "state": "rejected", "reason": "no" });
        let expected = "privacy request apollo: reason none -> no, state pending -> rejected";
        assert_eq!(told("privacy_request.rejected", &old, &new), expected);
        let scribe = json!({ "key": "apollo", "display_name": "Scribe", "version": 1,
            "table": { "portfolio.view": "any" } });
        let less = json!({ "key": "apollo", "display_name": "Scribe", "version": 2, "table": {} });
        let expected = "role apollo: display name Scribe, portfolio.view any";
        assert_eq!(told("role.created", &Value::Null, &scribe), expected);
        let expected = "role apollo: portfolio.view any -> none";
        assert_eq!(told("role.updated", &scribe, &less), expected);
        assert_eq!(told("something.new", &Value::Null, &Value::Null), "something apollo");
    }

    #[test]
    fn evt_4_changes_of_items_tell_who_gained_and_who_lost_which_role() {
        let item = |name: &str, grants: Value| {
            json!({ "key": { "item_type": "board", "id": "b3" }, "display_name": name,
                "settings": { "visibility": "private", "grants": grants } })
        };
        let grant = |subject: &str, role: &str| {
            let mut grant = json!({ "subject": subject, "role": role });
            grant["expire_time"] = Value::Null;
            grant
        };
        let old = item("Old", json!([grant("group:core", "scout"), grant("user:ann", "viewer")]));
        let new = item("Old", json!([grant("user:ann", "viewer"), grant("user:vie", "viewer")]));
        let swapped = "item apollo: - group:core scout, + user:vie viewer";
        assert_eq!(told("item.updated", &old, &new), swapped);
        let mut limited = grant("user:ann", "viewer");
        limited["expire_time"] = json!(1_893_456_000_000_i64);
        let less = item("New", json!([limited]));
        assert_eq!(
            told("item.updated", &new, &less),
            "item apollo: display name Old -> New, grants 2 -> 1, - user:ann viewer, \
             + user:ann viewer until 2030-01-01T00:00:00Z, - user:vie viewer"
        );
        let registered = "item apollo: display name New, grants 1, visibility private";
        assert_eq!(told("item.registered", &Value::Null, &less), registered);
    }

    #[test]
    fn numbers_are_whole_where_they_were() {
        assert_eq!(
            json(&wire(&json!({ "a": [1, 1.5, true, null] }))),
            json!({"a": [1, 1.5, true, null]})
        );
    }
}
