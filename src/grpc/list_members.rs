//! What `ListMembers` asks for.

use super::parse::{self, Violations};
use crate::config::Limits;
use crate::domain::membership::{AccessState, MemberFilter};
use crate::domain::page::Page;
use crate::domain::refusal::Refusal;
use crate::domain::{PortfolioId, Subject};
use crate::proto::v1;

/// The longest text that is searched for, in characters.
const MAX_SEARCH_CHARS: usize = 200;

pub(super) fn question(
    request: v1::ListMembersRequest,
    limits: &Limits,
) -> Result<(PortfolioId, MemberFilter, Page<Subject>), Refusal> {
    let v1::ListMembersRequest { portfolio, filter, page_size, page_token } = request;
    let v1::MemberFilter { search, role, state, deactivated } = filter.unwrap_or_default();
    let mut violations = Violations::default();
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    let search = violations.check(self::search("filter.search", search));
    let role = violations.check(parse::optional_id("filter.role", &role));
    let state = violations.check(self::state("filter.state", state));
    let filter =
        (|| Some(MemberFilter { search: search?, role: role?, state: state?, deactivated }))();
    let asked = portfolio.zip(filter);
    let query = asked.as_ref().map(|(id, filter)| query(id, filter)).unwrap_or_default();
    let page = parse::page(&mut violations, &query, (page_size, &page_token), limits.max_page_size);
    violations.finish((|| {
        let (portfolio, filter) = asked?;
        Some((portfolio, filter, page?))
    })())
}

/// What a page token of a list of members is bound to.
pub(super) fn query(portfolio: &PortfolioId, filter: &MemberFilter) -> String {
    format!("ListMembers {portfolio:?} {filter:?}")
}

fn search(field: &str, text: String) -> Result<Option<String>, Refusal> {
    let characters = text.chars().count();
    if characters > MAX_SEARCH_CHARS {
        let description =
            format!("has {characters} characters; at most {MAX_SEARCH_CHARS} are accepted");
        return Err(Refusal::field(field, description));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::field(field, "contains a control character; leave it out"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn state(field: &str, state: i32) -> Result<Option<AccessState>, Refusal> {
    match v1::AccessState::try_from(state) {
        Ok(v1::AccessState::Unspecified) => Ok(None),
        Ok(v1::AccessState::Scheduled) => Ok(Some(AccessState::Scheduled)),
        Ok(v1::AccessState::Active) => Ok(Some(AccessState::Active)),
        Ok(v1::AccessState::Ended) => Ok(Some(AccessState::Ended)),
        Err(_) => {
            let description = "must be `ACCESS_STATE_SCHEDULED`, `ACCESS_STATE_ACTIVE`, \
                               `ACCESS_STATE_ENDED` or left out";
            Err(Refusal::field(field, description))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::page::encode_page_token;
    use crate::domain::refusal::Reason;

    fn asking(filter: v1::MemberFilter, page_token: &str) -> v1::ListMembersRequest {
        v1::ListMembersRequest {
            portfolio: "roadmap".to_owned(),
            filter: Some(filter),
            page_token: page_token.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn mem_4_a_filter_that_is_none_is_refused_by_its_field() {
        let none = v1::MemberFilter::default;
        for (filter, field) in [
            (v1::MemberFilter { search: "ä".repeat(201), ..none() }, "filter.search"),
            (v1::MemberFilter { search: "a\0".to_owned(), ..none() }, "filter.search"),
            (v1::MemberFilter { role: "no role".to_owned(), ..none() }, "filter.role"),
            (v1::MemberFilter { state: 9, ..none() }, "filter.state"),
        ] {
            let refusal = question(asking(filter, ""), &Limits::default()).unwrap_err();
            assert_eq!(refusal.violations[0].field, field);
        }
        let most = v1::MemberFilter { search: "ä".repeat(200), ..none() };
        assert!(question(asking(most, ""), &Limits::default()).is_ok());
    }

    #[test]
    fn mem_4_a_page_token_is_bound_to_the_whole_question() {
        let searching =
            |text: &str| v1::MemberFilter { search: text.to_owned(), ..Default::default() };
        let (id, filter, _) = question(asking(searching("a"), ""), &Limits::default()).unwrap();
        let last = Subject::User("ann".parse().unwrap());
        let token = encode_page_token(&query(&id, &filter), &last);
        let page = |text: &str| question(asking(searching(text), &token), &Limits::default());
        assert_eq!(page("a").unwrap().2.after, Some(last));
        assert_eq!(page("b").unwrap_err().reason, Reason::PageTokenInvalid);
    }
}
