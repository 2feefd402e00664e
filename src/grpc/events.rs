use serde_json::Value;
use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use super::{Services, context, render};
use crate::config::Limits;
use crate::domain::Subject;
use crate::domain::audit::{AuditEvent, AuditFilter, AuditPlace, Trail};
use crate::domain::caller::Actor;
use crate::domain::page::{Page, encode_page_token};
use crate::domain::refusal::Refusal;
use crate::domain::revision::Token;
use crate::proto::v1;
use crate::proto::v1::event_service_server::EventService;

/// How many kinds a filter names at the most.
const MAX_KINDS: usize = 20;
/// The longest kind, in bytes: ours are shorter by far.
const MAX_KIND_BYTES: usize = 64;

#[tonic::async_trait]
impl EventService for Services {
    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let (trail, filter, page) = list_audit_events(request, &self.limits)?;
        let found = self.app.list_audit_events(&context, &trail, &filter, &page).await?;
        let next = found.value.next.map(|last| encode_page_token(&query(&trail, &filter), &last));
        let events = found.value.rows.into_iter();
        Ok(Response::new(v1::ListAuditEventsResponse {
            events: events.map(|(event, token)| audit_event(event, &token)).collect(),
            next_page_token: next.unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }
}

type Question = (Trail, AuditFilter, Page<AuditPlace>);

fn list_audit_events(
    request: v1::ListAuditEventsRequest,
    limits: &Limits,
) -> Result<Question, Refusal> {
    use v1::list_audit_events_request::Within;
    let v1::ListAuditEventsRequest { within, filter, page_size, page_token } = request;
    let mut violations = Violations::default();
    let trail = violations.check(match within {
        Some(Within::Portfolio(id)) => parse::id("portfolio", &id).map(Trail::Portfolio),
        Some(Within::Organization(id)) => parse::id("organization", &id).map(Trail::Organization),
        None => Err(Refusal::field("within", "must name a portfolio or an organization")),
    });
    let filter = self::filter(&mut violations, filter.unwrap_or_default());
    let question = trail.zip(filter);
    let query = question.as_ref().map(|(trail, filter)| query(trail, filter)).unwrap_or_default();
    let page = parse::page(&mut violations, &query, (page_size, &page_token), limits.max_page_size);
    violations.finish((|| {
        let (trail, filter) = question?;
        Some((trail, filter, page?))
    })())
}

/// What a page token of a trail is bound to.
fn query(trail: &Trail, filter: &AuditFilter) -> String {
    format!("ListAuditEvents {trail:?} {filter:?}")
}

fn filter(violations: &mut Violations, filter: v1::AuditEventFilter) -> Option<AuditFilter> {
    let v1::AuditEventFilter { actor, subject, kinds, from_time, until_time } = filter;
    let actor = (!actor.is_empty()).then(|| self::actor(&actor)).transpose();
    let actor = violations.check(actor);
    let subject = subject.map(|it| parse::subject("filter.subject", Some(&it))).transpose();
    let subject = violations.check(subject);
    violations.check(self::kinds(&kinds));
    let from_time = violations.check(parse::optional_timestamp("filter.from_time", from_time));
    let until_time = violations.check(parse::optional_timestamp("filter.until_time", until_time));
    if let (Some(Some(from)), Some(Some(until))) = (from_time, until_time)
        && until <= from
    {
        let description = "must lie after `filter.from_time`";
        violations.check::<()>(Err(Refusal::field("filter.until_time", description)));
    }
    Some(AuditFilter {
        actor: actor?,
        subject: subject?,
        kinds,
        from_time: from_time?,
        until_time: until_time?,
    })
}

fn actor(text: &str) -> Result<Actor, Refusal> {
    let wrong = || {
        let description = "must be `user:ann`, `service_account:ci` or `system`";
        Refusal::field("filter.actor", description)
    };
    match text.parse() {
        _ if text == Actor::System.to_string() => Ok(Actor::System),
        Ok(Subject::User(id)) => Ok(Actor::User(id)),
        Ok(Subject::ServiceAccount(id)) => Ok(Actor::ServiceAccount(id)),
        Ok(Subject::Group(_)) | Err(_) => Err(wrong()),
    }
}

fn kinds(kinds: &[String]) -> Result<(), Refusal> {
    if kinds.len() > MAX_KINDS {
        return Err(parse::too_many("filter.kinds", kinds.len(), MAX_KINDS));
    }
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.';
    let known = |kind: &String| {
        !kind.is_empty() && kind.len() <= MAX_KIND_BYTES && kind.bytes().all(letter)
    };
    match kinds.iter().position(|kind| !known(kind)) {
        None => Ok(()),
        Some(at) => {
            let description = "must be a kind of change, such as `member.added`";
            Err(Refusal::field(format!("filter.kinds[{at}]"), description))
        }
    }
}

fn audit_event(event: AuditEvent, token: &Token) -> v1::AuditEvent {
    let AuditEvent {
        place: AuditPlace { at, shard: _, sequence: _ },
        kind,
        object,
        organization,
        portfolio,
        subject,
        caller,
        actor,
        as_administrator,
        request_id,
        before,
        after,
    } = event;
    v1::AuditEvent {
        kind,
        object,
        organization: organization.map(String::from).unwrap_or_default(),
        portfolio: portfolio.map(String::from).unwrap_or_default(),
        subject: subject.as_ref().map(render::subject),
        caller,
        actor,
        as_administrator,
        request_id,
        time: Some(render::timestamp(at)),
        before: before.map(json),
        after: after.map(json),
        consistency_token: token.encode(),
    }
}

/// JSON as the wire has it: every number is a double, which is enough for ours.
fn json(value: Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(prost_types::NullValue::NullValue.into()),
        Value::Bool(bool) => Kind::BoolValue(bool),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => {
            let values = values.into_iter().map(json).collect();
            Kind::ListValue(prost_types::ListValue { values })
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, json(value))).collect();
            Kind::StructValue(prost_types::Struct { fields })
        }
    };
    prost_types::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::domain::refusal::Reason;
    use v1::list_audit_events_request::Within;

    fn asking(filter: v1::AuditEventFilter) -> v1::ListAuditEventsRequest {
        v1::ListAuditEventsRequest {
            within: Some(Within::Portfolio("roadmap".to_owned())),
            filter: Some(filter),
            ..Default::default()
        }
    }

    fn refused(filter: v1::AuditEventFilter) -> Refusal {
        list_audit_events(asking(filter), &Limits::default()).unwrap_err()
    }

    #[test]
    fn evt_4_a_filter_that_is_none_is_refused_by_its_field() {
        let none = v1::AuditEventFilter::default;
        let second = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        for (filter, field) in [
            (v1::AuditEventFilter { actor: "group:a".to_owned(), ..none() }, "filter.actor"),
            (v1::AuditEventFilter { actor: "ann".to_owned(), ..none() }, "filter.actor"),
            (
                v1::AuditEventFilter { subject: Some(v1::Subject::default()), ..none() },
                "filter.subject",
            ),
            (
                v1::AuditEventFilter {
                    kinds: vec!["member.added".to_owned(), "no kind".to_owned()],
                    ..none()
                },
                "filter.kinds[1]",
            ),
            (v1::AuditEventFilter { kinds: vec![String::new()], ..none() }, "filter.kinds[0]"),
            (
                v1::AuditEventFilter { from_time: second(2), until_time: second(2), ..none() },
                "filter.until_time",
            ),
        ] {
            assert_eq!(refused(filter).violations[0].field, field);
        }
        let many = v1::AuditEventFilter { kinds: vec!["a.b".to_owned(); 21], ..none() };
        assert_eq!(refused(many).reason, Reason::LimitExceeded);
        let nowhere = v1::ListAuditEventsRequest::default();
        let refusal = list_audit_events(nowhere, &Limits::default()).unwrap_err();
        assert_eq!(refusal.violations[0].field, "within");
    }

    #[test]
    fn evt_4_a_page_token_is_bound_to_the_whole_question() {
        let filter = |actor: &str| v1::AuditEventFilter {
            actor: actor.to_owned(),
            ..v1::AuditEventFilter::default()
        };
        let parsed = list_audit_events(asking(filter("user:ann")), &Limits::default()).unwrap();
        let (trail, parsed, _) = parsed;
        assert_eq!(parsed.actor, Some(Actor::User("ann".parse().unwrap())));
        let place = AuditPlace { at: Timestamp(7), shard: 3, sequence: 9 };
        let page_token = encode_page_token(&query(&trail, &parsed), &place);
        let with = |actor: &str| {
            let page_token = page_token.clone();
            let request = v1::ListAuditEventsRequest { page_token, ..asking(filter(actor)) };
            list_audit_events(request, &Limits::default())
        };
        assert_eq!(with("user:ann").unwrap().2.after, Some(place));
        for other in ["user:ben", "system", ""] {
            assert_eq!(with(other).unwrap_err().reason, Reason::PageTokenInvalid);
        }
    }

    #[test]
    fn evt_1_json_keeps_its_shape() {
        let value = serde_json::json!({ "a": [1, true, null], "b": "x" });
        let text = format!("{:?}", json(value));
        for part in ["NumberValue(1.0)", "BoolValue(true)", "NullValue", "StringValue(\"x\")"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
