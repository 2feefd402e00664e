//! What people do with the members of a portfolio.
//!
//! ```text
//! WHO adds SUBJECTS to PORTFOLIO as ROLE [from INSTANT] [until INSTANT | for N days]
//!                                                             [ADDED, ALREADY_MEMBER, REFUSED WHY]
//! WHO sees member SUBJECT of PORTFOLIO                                                [the member]
//! WHO lists members of PORTFOLIO [matching TEXT] [with role ROLE]
//!     [who are scheduled | active | ended] [who are deactivated]                         [members]
//! WHO makes SUBJECT ROLE on PORTFOLIO                                                 [the member]
//! WHO ends SUBJECT on PORTFOLIO at INSTANT                                            [the member]
//! WHO keeps SUBJECT on PORTFOLIO                          without an end              [the member]
//! WHO removes SUBJECT from PORTFOLIO          [what is left: group:ID ROLE, the organization ROLE]
//! ```

use portcullis::proto::v1;
use prost_types::{Duration, FieldMask};

use super::steps::{Call, Doing, at, entries, full, short};
use super::told::{Told, lower, name};
use crate::calls::{adding, member};
use crate::harness::Client;

pub fn call(doing: Doing, does: &[&str]) -> Option<Call> {
    let Doing { client, .. } = doing;
    match does {
        ["adds", who, "to", portfolio, "as", role, terms @ ..] => {
            let who: Vec<String> = entries(who).iter().map(|who| full(who)).collect();
            let who: Vec<&str> = who.iter().map(String::as_str).collect();
            add(client, adding(portfolio, &who, role), terms)
        }
        ["sees", "member", who, "of", portfolio] => {
            let (who, portfolio) = (full(who), (*portfolio).to_owned());
            Some(Box::pin(async move { Ok(told(&client.get_member(&portfolio, &who).await?)) }))
        }
        ["lists", "members", "of", portfolio, filter @ ..] => list(client, portfolio, filter),
        ["makes", who, role, "on", portfolio] => {
            let request = member(portfolio, &full(who));
            Some(update(client, v1::UpdateMemberRequest { role: (*role).to_owned(), ..request }))
        }
        ["ends", who, "on", portfolio, "at", instant] => {
            Some(end(client, member(portfolio, &full(who)), Some(at(instant)?)))
        }
        ["keeps", who, "on", portfolio] => Some(end(client, member(portfolio, &full(who)), None)),
        ["removes", who, "from", portfolio] => {
            let (who, portfolio) = (full(who), (*portfolio).to_owned());
            Some(Box::pin(async move {
                let removed = client.remove_member(&portfolio, &who).await?;
                Ok(Told::All(removed.remaining_routes.iter().map(route).collect()))
            }))
        }
        _ => None,
    }
}

fn add(client: Client, mut request: v1::AddMembersRequest, terms: &[&str]) -> Option<Call> {
    use v1::add_members_request::End;
    let terms = match terms {
        ["from", instant, rest @ ..] => {
            request.start_time = Some(at(instant)?);
            rest
        }
        terms => terms,
    };
    request.end = match terms {
        [] => None,
        ["until", instant] => Some(End::ExpireTime(at(instant)?)),
        ["for", days, "days"] => {
            let seconds = days.parse::<i64>().ok()? * 86_400;
            Some(End::Duration(Duration { seconds, nanos: 0 }))
        }
        _ => return None,
    };
    Some(Box::pin(async move {
        let outcomes = client.add_members(request).await?;
        Ok(Told::Each(outcomes.iter().map(outcome).collect()))
    }))
}

fn outcome(outcome: &v1::AddMemberOutcome) -> Vec<String> {
    let status = outcome.status().as_str_name().trim_start_matches("ADD_MEMBER_STATUS_");
    let told = [name(outcome.subject.as_ref()), status.to_owned()];
    told.into_iter().chain(outcome.refusal.as_ref().map(short)).collect()
}

fn update(client: Client, request: v1::UpdateMemberRequest) -> Call {
    Box::pin(async move { Ok(told(&client.update_member(request).await?)) })
}

fn end(
    client: Client,
    request: v1::UpdateMemberRequest,
    expire_time: Option<prost_types::Timestamp>,
) -> Call {
    let update_mask = Some(FieldMask { paths: vec!["expire_time".to_owned()] });
    update(client, v1::UpdateMemberRequest { expire_time, update_mask, ..request })
}

fn list(client: Client, portfolio: &str, filters: &[&str]) -> Option<Call> {
    let mut filter = v1::MemberFilter::default();
    let mut filters = filters;
    loop {
        filters = match filters {
            [] => break,
            ["matching", text, rest @ ..] => {
                (*text).clone_into(&mut filter.search);
                rest
            }
            ["with", "role", role, rest @ ..] => {
                (*role).clone_into(&mut filter.role);
                rest
            }
            ["who", "are", "deactivated", rest @ ..] => {
                filter.deactivated = Some(true);
                rest
            }
            ["who", "are", state, rest @ ..] => {
                let name = format!("ACCESS_STATE_{}", state.to_uppercase());
                filter.state = v1::AccessState::from_str_name(&name)?.into();
                rest
            }
            _ => return None,
        };
    }
    let portfolio = portfolio.to_owned();
    let request = v1::ListMembersRequest { portfolio, filter: Some(filter), ..Default::default() };
    Some(Box::pin(async move {
        let found = client.members().list_members(request).await?.into_inner().members;
        Ok(Told::All(found.iter().map(|member| name(member.subject.as_ref())).collect()))
    }))
}

fn told(member: &v1::Member) -> Told {
    let state = lower(member.state().as_str_name(), "ACCESS_STATE_");
    let mut words = vec![
        format!("name {}", member.display_name),
        format!("e-mail {}", member.email),
        format!("company {}", member.company),
        state,
    ];
    words.extend(member.deactivated.then(|| "deactivated".to_owned()));
    for grant in &member.grants {
        words.push(format!("role {}", grant.role));
        words.push(format!("by {}", lower(grant.source().as_str_name(), "GRANT_SOURCE_")));
        words.push(match &grant.expire_time {
            Some(end) => format!("until {end}"),
            None => "for good".to_owned(),
        });
    }
    Told::One(words)
}

fn route(left: &v1::RemainingRoute) -> String {
    use v1::remaining_route::Route;
    let by = match &left.route {
        Some(Route::Group(id)) => format!("group:{id}"),
        _ => "the organization".to_owned(),
    };
    format!("{by} {}", left.role)
}
