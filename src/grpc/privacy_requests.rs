//! Privacy requests as clients see them (VIS-7): what `access_settings` and `portfolios` have in
//! common.

use super::parse::{self, Violations};
use super::render;
use crate::config::Limits;
use crate::domain::PrivacyRequestId;
use crate::domain::page::Page;
use crate::domain::privacy_request::{
    PrivacyRequest, PrivacyRequestPlace, PrivacyRequestState, PrivacyRequestsOf,
};
use crate::domain::refusal::Refusal;
use crate::proto::v1;

/// How many states a filter names at the most: there are no more.
const MAX_STATES: usize = 5;
/// The longest reason of a rejection, in characters.
const MAX_REASON_CHARS: usize = 500;

/// What is listed, in which states, which page, and what its token is bound to.
pub(super) type Question =
    (PrivacyRequestsOf, Vec<PrivacyRequestState>, Page<PrivacyRequestPlace>, String);

/// The actor, in their own words, is part of what the token is bound to: `mine` is each one's own.
pub(super) fn list(
    request: v1::ListPrivacyRequestsRequest,
    actor: &str,
    limits: &Limits,
) -> Result<Question, Refusal> {
    use v1::list_privacy_requests_request::Within;
    let v1::ListPrivacyRequestsRequest { within, filter, page_size, page_token } = request;
    let mut violations = Violations::default();
    let of = violations.check(match within {
        Some(Within::Portfolio(id)) => {
            parse::id("portfolio", &id).map(PrivacyRequestsOf::Portfolio)
        }
        Some(Within::Organization(id)) => {
            parse::id("organization", &id).map(PrivacyRequestsOf::Organization)
        }
        Some(Within::Mine(true)) => Ok(PrivacyRequestsOf::Actor),
        Some(Within::Mine(false)) => Err(Refusal::field("mine", "can only be true")),
        None => {
            let description = "must name a portfolio or an organization, or be `mine`";
            Err(Refusal::field("within", description))
        }
    });
    let v1::PrivacyRequestFilter { states } = filter.unwrap_or_default();
    let states = self::states(&mut violations, &states);
    let query = format!("ListPrivacyRequests {of:?} {states:?} {actor}");
    let page = parse::page(&mut violations, &query, (page_size, &page_token), limits.max_page_size);
    violations.finish((|| Some((of?, states, page?, query)))())
}

fn states(violations: &mut Violations, states: &[i32]) -> Vec<PrivacyRequestState> {
    use v1::PrivacyRequestState as Wire;
    if states.len() > MAX_STATES {
        let refusal = parse::too_many("filter.states", states.len(), MAX_STATES);
        violations.check::<()>(Err(refusal));
        return Vec::new();
    }
    let state = |(at, state): (usize, &i32)| match Wire::try_from(*state) {
        Ok(Wire::Pending) => Ok(PrivacyRequestState::Pending),
        Ok(Wire::Approved) => Ok(PrivacyRequestState::Approved),
        Ok(Wire::Rejected) => Ok(PrivacyRequestState::Rejected),
        Ok(Wire::Cancelled) => Ok(PrivacyRequestState::Cancelled),
        Ok(Wire::Closed) => Ok(PrivacyRequestState::Closed),
        Ok(Wire::Unspecified) | Err(_) => {
            let description = "must be a state, such as `PRIVACY_REQUEST_STATE_PENDING`";
            Err(Refusal::field(format!("filter.states[{at}]"), description))
        }
    };
    states.iter().enumerate().filter_map(|entry| violations.check(state(entry))).collect()
}

pub(super) fn approve(
    request: v1::ApprovePrivacyRequestRequest,
) -> Result<PrivacyRequestId, Refusal> {
    let v1::ApprovePrivacyRequestRequest { request_id: _, privacy_request } = request;
    parse::id("privacy_request", &privacy_request)
}

/// Which request, and why.
pub(super) fn reject(
    request: v1::RejectPrivacyRequestRequest,
    limits: &Limits,
) -> Result<(PrivacyRequestId, String), Refusal> {
    let v1::RejectPrivacyRequestRequest { request_id: _, privacy_request, reason } = request;
    let mut violations = Violations::default();
    let id = violations.check(parse::id("privacy_request", &privacy_request));
    let reason = violations.check(self::reason(reason, limits.max_string_bytes));
    violations.finish(id.zip(reason))
}

pub(super) fn cancel(
    request: v1::CancelPrivacyRequestRequest,
) -> Result<PrivacyRequestId, Refusal> {
    let v1::CancelPrivacyRequestRequest { request_id: _, privacy_request } = request;
    parse::id("privacy_request", &privacy_request)
}

fn reason(text: String, most: usize) -> Result<String, Refusal> {
    let refused = |description| Err(Refusal::field("reason", description));
    let characters = text.chars().count();
    if characters > MAX_REASON_CHARS {
        return refused(format!(
            "has {characters} characters; at most {MAX_REASON_CHARS} are accepted"
        ));
    }
    if text.len() > most {
        let bytes = text.len();
        return refused(format!("is {bytes} bytes long; at most {most} are accepted"));
    }
    if text.chars().any(|character| character.is_control() && character != '\n') {
        return refused("contains a control character; leave it out".to_owned());
    }
    Ok(text)
}

pub(super) fn privacy_request(request: PrivacyRequest) -> v1::PrivacyRequest {
    let PrivacyRequest {
        id,
        organization,
        portfolio,
        requester,
        from_visibility,
        to_visibility,
        state,
        create_time,
        decider,
        decide_time,
        reason,
    } = request;
    let state = match state {
        PrivacyRequestState::Pending => v1::PrivacyRequestState::Pending,
        PrivacyRequestState::Approved => v1::PrivacyRequestState::Approved,
        PrivacyRequestState::Rejected => v1::PrivacyRequestState::Rejected,
        PrivacyRequestState::Cancelled => v1::PrivacyRequestState::Cancelled,
        PrivacyRequestState::Closed => v1::PrivacyRequestState::Closed,
    };
    v1::PrivacyRequest {
        id: id.into(),
        organization: organization.into(),
        portfolio: portfolio.into(),
        requester: requester.as_ref().map(render::subject),
        from_visibility: render::visibility(from_visibility).into(),
        to_visibility: render::visibility(to_visibility).into(),
        create_time: Some(render::timestamp(create_time)),
        state: state.into(),
        decider: decider.as_ref().map(render::subject),
        decide_time: decide_time.map(render::timestamp),
        reason,
    }
}
