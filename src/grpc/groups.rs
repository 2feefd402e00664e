use super::parse::{self, Violations};
use super::{render as wire, status};
use crate::app::{GroupMemberOutcome, UpsertGroup};
use crate::config::Limits;
use crate::domain::directory::Group;
use crate::domain::page::Page;
use crate::domain::refusal::Refusal;
use crate::domain::{GroupId, OrganizationId, Subject};
use crate::proto::v1;

pub(super) fn upsert(
    request: v1::UpsertGroupRequest,
    limits: &Limits,
) -> Result<UpsertGroup, Refusal> {
    let v1::UpsertGroupRequest { request_id: _, group } = request;
    let Some(v1::Group { id, organization, display_name }) = group else {
        return Err(Refusal::field("group", "must be given"));
    };
    let mut violations = Violations::default();
    let id = violations.check(parse::optional_id("group.id", &id));
    let organization = violations.check(parse::id("group.organization", &organization));
    let display_name = violations.check(parse::display_name(
        "group.display_name",
        display_name,
        limits.max_string_bytes,
    ));
    violations.finish((|| {
        Some(UpsertGroup { id: id?, organization: organization?, display_name: display_name? })
    })())
}

pub(super) fn get(
    request: v1::GetGroupRequest,
    limits: &Limits,
) -> Result<(GroupId, Page<Subject>), Refusal> {
    let v1::GetGroupRequest { group, page_size, page_token } = request;
    let mut violations = Violations::default();
    let group: Option<GroupId> = violations.check(parse::id("group", &group));
    let query = group.as_ref().map(page_query).unwrap_or_default();
    let page = parse::page(&mut violations, &query, (page_size, &page_token), limits.max_page_size);
    violations.finish(group.zip(page))
}

pub(super) fn list(
    request: v1::ListGroupsRequest,
    limits: &Limits,
) -> Result<(OrganizationId, Page<GroupId>), Refusal> {
    let v1::ListGroupsRequest { organization, page_size, page_token } = request;
    let mut violations = Violations::default();
    let organization = violations.check(parse::id("organization", &organization));
    let query = organization.as_ref().map(list_query).unwrap_or_default();
    let page = parse::page(&mut violations, &query, (page_size, &page_token), limits.max_page_size);
    violations.finish(organization.zip(page))
}

pub(super) fn delete(request: v1::DeleteGroupRequest) -> Result<GroupId, Refusal> {
    let v1::DeleteGroupRequest { request_id: _, group, confirm_group } = request;
    let mut violations = Violations::default();
    let id = violations.check(parse::id("group", &group));
    if group != confirm_group {
        let description = "must repeat `group`: deletion is final";
        violations.check::<()>(Err(Refusal::field("confirm_group", description)));
    }
    violations.finish(id)
}

/// What a page token of an organization's groups is bound to.
pub(super) fn list_query(organization: &OrganizationId) -> String {
    format!("ListGroups {organization}")
}

/// What a page token of a group's members is bound to.
pub(super) fn page_query(group: &GroupId) -> String {
    format!("GetGroup {group}")
}

/// The entries: what is wrong with one spoils it alone.
pub(super) fn members(members: &[v1::Subject]) -> Vec<Result<Subject, Refusal>> {
    let parse = |(at, member)| parse::subject(format!("members[{at}]"), Some(member));
    members.iter().enumerate().map(parse).collect()
}

/// `words` are for an entry that changed something and for one that did not.
pub(super) fn outcomes(
    members: Vec<v1::Subject>,
    outcomes: Vec<GroupMemberOutcome>,
    words: (v1::GroupMemberStatus, v1::GroupMemberStatus),
) -> Vec<v1::GroupMemberOutcome> {
    let (changed, unchanged) = words;
    let render = |(at, (member, outcome))| {
        let (status, refusal) = match outcome {
            GroupMemberOutcome::Changed(_) => (changed, None),
            GroupMemberOutcome::Unchanged(_) => (unchanged, None),
            GroupMemberOutcome::Refused(refusal) => (v1::GroupMemberStatus::Refused, Some(refusal)),
        };
        v1::GroupMemberOutcome {
            index: wire::index(at),
            subject: Some(member),
            status: status.into(),
            refusal: refusal.map(status::refusal),
        }
    };
    members.into_iter().zip(outcomes).enumerate().map(render).collect()
}

pub(super) fn render(group: Group) -> v1::Group {
    let Group { id, organization, display_name } = group;
    v1::Group { id: id.to_string(), organization: organization.to_string(), display_name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::page::encode_page_token;
    use crate::domain::refusal::Reason;

    fn page(page_size: i32, page_token: &str) -> Result<(GroupId, Page<Subject>), Refusal> {
        let request = v1::GetGroupRequest {
            group: "sig".to_owned(),
            page_size,
            page_token: page_token.to_owned(),
        };
        get(request, &Limits::default())
    }

    #[test]
    fn bad_2_a_page_has_a_default_and_a_most() {
        assert_eq!(page(0, "").unwrap().1, Page { size: 100, after: None });
        assert_eq!(page(i32::MAX, "").unwrap().1.size, 1_000);
        assert_eq!(page(-1, "").unwrap_err().reason, Reason::InvalidField);
    }

    #[test]
    fn a_page_token_is_bound_to_its_group() {
        let last = Subject::User("ann".parse().unwrap());
        let token = |group: &str| encode_page_token(&page_query(&group.parse().unwrap()), &last);
        assert_eq!(page(0, &token("sig")).unwrap().1.after, Some(last.clone()));
        let refusal = page(0, &token("other")).unwrap_err();
        assert_eq!(refusal.reason, Reason::PageTokenInvalid);
    }
}
