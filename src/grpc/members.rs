use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use super::{Services, context, list_members, render, status};
use crate::app::{AddMembers, End, RemoveMember, UpdateMember};
use crate::domain::directory::Email;
use crate::domain::membership::{
    AddOutcome, Grant, GrantSource, Member, MemberSpec, RemainingRoute,
};
use crate::domain::page::encode_page_token;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{Subject, Timestamp};
use crate::proto::v1;
use crate::proto::v1::membership_service_server::MembershipService;

/// The longest duration of an access: 100 years, leap days included.
const MAX_DURATION_SECONDS: i64 = 36_525 * 24 * 3_600;

#[tonic::async_trait]
impl MembershipService for Services {
    async fn add_members(
        &self,
        request: Request<v1::AddMembersRequest>,
    ) -> Result<Response<v1::AddMembersResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = add_members(request, self.limits.max_batch)?;
        let added = self.app.add_members(&context, &request).await?;
        let outcomes = request.members.iter().zip(added.value).enumerate();
        Ok(Response::new(v1::AddMembersResponse {
            outcomes: outcomes
                .map(|(at, (entry, outcome))| add_outcome(at, entry, outcome))
                .collect(),
            consistency_token: added.token.encode(),
        }))
    }

    async fn get_member(
        &self,
        request: Request<v1::GetMemberRequest>,
    ) -> Result<Response<v1::GetMemberResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let v1::GetMemberRequest { portfolio, subject } = request;
        let mut violations = Violations::default();
        let portfolio = violations.check(parse::id("portfolio", &portfolio));
        let subject = violations.check(parse::subject("subject", subject.as_ref()));
        let (portfolio, subject) = violations.finish(portfolio.zip(subject))?;
        let found = self.app.get_member(&context, &portfolio, &subject).await?;
        Ok(Response::new(v1::GetMemberResponse {
            member: Some(member(&found.value)),
            consistency_token: found.token.encode(),
        }))
    }

    async fn update_member(
        &self,
        request: Request<v1::UpdateMemberRequest>,
    ) -> Result<Response<v1::UpdateMemberResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = update_member(request)?;
        let updated = self.app.update_member(&context, &request).await?;
        Ok(Response::new(v1::UpdateMemberResponse {
            member: Some(member(&updated.value)),
            consistency_token: updated.token.encode(),
        }))
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = remove_member(request)?;
        let removed = self.app.remove_member(&context, &request).await?;
        Ok(Response::new(v1::RemoveMemberResponse {
            member: Some(member(&removed.value.member)),
            remaining_routes: removed.value.remaining.iter().map(remaining_route).collect(),
            consistency_token: removed.token.encode(),
        }))
    }

    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let (portfolio, filter, page) = list_members::question(request, &self.limits)?;
        let found = self.app.list_members(&context, &portfolio, &filter, &page).await?;
        let query = list_members::query(&portfolio, &filter);
        let next = found.value.next.map(|last| encode_page_token(&query, &last));
        Ok(Response::new(v1::ListMembersResponse {
            members: found.value.rows.iter().map(member).collect(),
            next_page_token: next.unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }
}

fn add_members(request: v1::AddMembersRequest, max_batch: usize) -> Result<AddMembers, Refusal> {
    let v1::AddMembersRequest { request_id: _, portfolio, members, role, start_time, end } =
        request;
    let mut violations = Violations::default();
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    violations.check(parse::batch("members", members.len(), max_batch));
    let role = violations.check(parse::id("role", &role));
    let start_time = violations.check(parse::optional_timestamp("start_time", start_time));
    let end = violations.check(self::end(end));
    // Only now, so that nobody makes us look at more entries than are accepted.
    violations.finish((|| {
        let members = members.iter().enumerate().map(|(at, spec)| member_spec(at, spec));
        Some(AddMembers {
            portfolio: portfolio?,
            role: role?,
            start_time: start_time?,
            end: end?,
            members: members.collect(),
        })
    })())
}

/// An entry of a batch: what is wrong with it spoils the entry, not the batch (MEM-2).
fn member_spec(at: usize, spec: &v1::MemberSpec) -> Result<MemberSpec, Refusal> {
    use v1::member_spec::Kind;
    let v1::MemberSpec { kind } = spec;
    let field = |kind: &str| format!("members[{at}].{kind}");
    let subject = match kind {
        Some(Kind::Email(email)) => {
            let wrong = |error| Refusal::field_because(Reason::InvalidEmail, field("email"), error);
            return Email::parse(email).map(MemberSpec::Email).map_err(wrong);
        }
        Some(Kind::User(id)) => parse::id(field("user"), id).map(Subject::User),
        Some(Kind::Group(id)) => parse::id(field("group"), id).map(Subject::Group),
        Some(Kind::ServiceAccount(id)) => {
            parse::id(field("service_account"), id).map(Subject::ServiceAccount)
        }
        None => {
            let description = "must name a user, a group, a service account or an e-mail address";
            Err(Refusal::field(format!("members[{at}]"), description))
        }
    };
    subject.map(MemberSpec::Subject)
}

fn end(end: Option<v1::add_members_request::End>) -> Result<End, Refusal> {
    use v1::add_members_request::End as Wire;
    match end {
        None => Ok(End::Never),
        Some(Wire::ExpireTime(time)) => parse::timestamp("expire_time", time).map(End::At),
        Some(Wire::Duration(duration)) => millis(duration).map(End::After),
    }
}

/// A length of time in milliseconds; what is finer is cut off.
fn millis(duration: prost_types::Duration) -> Result<i64, Refusal> {
    let prost_types::Duration { seconds, nanos } = duration;
    let millis = match (seconds, nanos) {
        (0..MAX_DURATION_SECONDS, 0..1_000_000_000) | (MAX_DURATION_SECONDS, 0) => {
            seconds * 1_000 + i64::from(nanos / 1_000_000)
        }
        _ => 0,
    };
    if millis == 0 {
        let description = "must be at least a millisecond and at most 100 years";
        return Err(Refusal::field("duration", description));
    }
    Ok(millis)
}

fn update_member(request: v1::UpdateMemberRequest) -> Result<UpdateMember, Refusal> {
    let v1::UpdateMemberRequest {
        request_id: _,
        portfolio,
        subject,
        role,
        expire_time,
        update_mask,
        etag,
    } = request;
    let mut violations = Violations::default();
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    let subject = violations.check(parse::subject("subject", subject.as_ref()));
    let etag = violations.check(parse::etag("etag", etag));
    let fields = [("role", !role.is_empty()), ("expire_time", expire_time.is_some())];
    let changed = violations.check(parse::update_mask(update_mask.as_ref(), &fields));
    let changes = |field| changed.as_ref().is_some_and(|changed| changed.contains(&field));
    let role = changes("role").then(|| parse::id("role", &role));
    let role = violations.check(role.transpose());
    let expire_time =
        changes("expire_time").then(|| parse::optional_timestamp("expire_time", expire_time));
    let expire_time = violations.check(expire_time.transpose());
    violations.finish((|| {
        Some(UpdateMember {
            portfolio: portfolio?,
            subject: subject?,
            role: role?,
            expire_time: expire_time?,
            etag: etag?,
        })
    })())
}

fn remove_member(request: v1::RemoveMemberRequest) -> Result<RemoveMember, Refusal> {
    let v1::RemoveMemberRequest { request_id: _, portfolio, subject, etag } = request;
    let mut violations = Violations::default();
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    let subject = violations.check(parse::subject("subject", subject.as_ref()));
    let etag = violations.check(parse::etag("etag", etag));
    violations
        .finish((|| Some(RemoveMember { portfolio: portfolio?, subject: subject?, etag: etag? }))())
}

fn add_outcome(
    at: usize,
    entry: &Result<MemberSpec, Refusal>,
    outcome: AddOutcome,
) -> v1::AddMemberOutcome {
    use v1::AddMemberStatus as Status;
    let (subject, status, refusal) = match outcome {
        AddOutcome::Added(subject) => (Some(subject), Status::Added, None),
        AddOutcome::AlreadyMember(subject) => (Some(subject), Status::AlreadyMember, None),
        AddOutcome::Refused(refusal) => {
            // Who has a refused address, and whether anybody does, is not told.
            let subject = match entry {
                Ok(MemberSpec::Subject(subject)) => Some(subject.clone()),
                Ok(MemberSpec::Email(_)) | Err(_) => None,
            };
            (subject, Status::Refused, Some(refusal))
        }
    };
    v1::AddMemberOutcome {
        index: render::index(at),
        subject: subject.as_ref().map(render::subject),
        status: status.into(),
        refusal: refusal.map(status::refusal),
    }
}

fn member(member: &Member) -> v1::Member {
    let Member { portfolio, subject, display_name, email, company, deactivated, grants, as_of } =
        member;
    let mut sorted: Vec<&Grant> = grants.iter().collect();
    sorted.sort_by_key(|grant| (std::cmp::Reverse(grant.create_time), grant.id));
    let states = || grants.iter().map(|grant| access_state(grant, *as_of));
    let best = [v1::AccessState::Active, v1::AccessState::Scheduled]
        .into_iter()
        .find(|best| states().any(|state| state == *best));
    v1::Member {
        portfolio: portfolio.to_string(),
        subject: Some(render::subject(subject)),
        display_name: display_name.clone(),
        email: email.clone(),
        company: company.clone(),
        state: best.unwrap_or(v1::AccessState::Ended).into(),
        deactivated: *deactivated,
        grants: sorted.into_iter().map(|each| grant(each, *as_of)).collect(),
        etag: member.etag(),
    }
}

fn grant(grant: &Grant, as_of: Timestamp) -> v1::Grant {
    let Grant {
        id,
        portfolio: _,
        subject: _,
        role,
        source,
        ownership,
        start_time,
        expire_time,
        create_time,
        revoke_time,
    } = grant;
    let source = match source {
        GrantSource::Creation => v1::GrantSource::Creation,
        GrantSource::Hand => v1::GrantSource::Hand,
    };
    v1::Grant {
        id: id.to_string(),
        role: role.to_string(),
        source: source.into(),
        ownership: *ownership,
        state: access_state(grant, as_of).into(),
        create_time: Some(render::timestamp(*create_time)),
        start_time: start_time.map(render::timestamp),
        expire_time: expire_time.map(render::timestamp),
        revoke_time: revoke_time.map(render::timestamp),
    }
}

fn access_state(grant: &Grant, as_of: Timestamp) -> v1::AccessState {
    if grant.has_ended(as_of) {
        v1::AccessState::Ended
    } else if grant.in_force(as_of) {
        v1::AccessState::Active
    } else {
        v1::AccessState::Scheduled
    }
}

fn remaining_route(route: &RemainingRoute) -> v1::RemainingRoute {
    use v1::remaining_route::Route;
    let RemainingRoute { group, role } = route;
    let route = match group {
        Some(group) => Route::Group(group.to_string()),
        None => Route::OrganizationAccess(true),
    };
    v1::RemainingRoute { route: Some(route), role: role.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_1_a_duration_is_at_least_a_millisecond_and_at_most_100_years() {
        let parse = |seconds, nanos| millis(prost_types::Duration { seconds, nanos });
        assert_eq!(parse(0, 1_999_999), Ok(1));
        assert_eq!(parse(MAX_DURATION_SECONDS, 0), Ok(MAX_DURATION_SECONDS * 1_000));
        for (seconds, nanos) in
            [(0, 0), (0, 999_999), (-1, 0), (1, -1), (0, 1_000_000_000), (MAX_DURATION_SECONDS, 1)]
        {
            assert!(parse(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }
}
