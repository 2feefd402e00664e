//! The audit trail as clients read it (EVT-4).

use std::collections::BTreeSet;

use portcullis::domain::revision::Token;
use portcullis::proto::v1;
use portcullis::proto::v1::list_audit_events_request::Within;
use tonic::{Code, Status};

use crate::calls::{instant, now, texts};
use crate::harness::{Client, TestServer, refusal, subject};

fn of(portfolio: &str) -> v1::ListAuditEventsRequest {
    let within = Some(Within::Portfolio(portfolio.to_owned()));
    v1::ListAuditEventsRequest { within, ..Default::default() }
}

fn of_organization(id: &str) -> v1::ListAuditEventsRequest {
    let within = Some(Within::Organization(id.to_owned()));
    v1::ListAuditEventsRequest { within, ..Default::default() }
}

async fn list(
    client: &Client,
    request: v1::ListAuditEventsRequest,
) -> Result<v1::ListAuditEventsResponse, Status> {
    Ok(client.events().list_audit_events(request).await?.into_inner())
}

async fn kinds(client: &Client, request: v1::ListAuditEventsRequest) -> Vec<String> {
    let listed = list(client, request).await.expect("events");
    listed.events.into_iter().map(|event| event.kind).collect()
}

async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").user("cid");
    let given = given.portfolio("roadmap").owned_by("ann").with("user:ben", "contributor");
    given.portfolio("plaza").owned_by("ann").await;
    server
}

#[tokio::test]
async fn evt_4_the_trail_of_a_portfolio_is_for_those_who_manage_its_access() {
    let server = server().await;
    let ann = server.acting("user:ann");
    ann.set_visibility("roadmap", v1::Visibility::Restricted).await.unwrap();
    ann.set_role("roadmap", "user:ben", "viewer").await.unwrap();
    let expected = [
        "member.updated",
        "access_settings.updated",
        "member.added",
        "member.added",
        "portfolio.created",
    ];
    assert_eq!(kinds(&ann, of("roadmap")).await, expected, "the newest first");
    let refused = async |client: &Client| refusal(list(client, of("roadmap")).await);
    let ben = server.acting("user:ben");
    let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
    assert_eq!(refused(&ben).await, missing);
    let none = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    ann.set_visibility("roadmap", v1::Visibility::Private).await.unwrap();
    assert_eq!(refused(&server.acting("user:cid")).await, none);

    // It outlives the portfolio, for operators.
    ann.delete("roadmap").await.unwrap();
    assert_eq!(refused(&ann).await, none);
    let kept = kinds(&server.system(), of("roadmap")).await;
    assert_eq!(kept.first().map(String::as_str), Some("portfolio.deleted"));
    assert_eq!(kept.len(), 7);
    assert_eq!(refusal(list(&server.system(), of("nowhere")).await), none);
}

#[tokio::test]
async fn evt_4_an_event_says_who_did_what_to_whom_and_when() {
    let server = server().await;
    let before = now(&server.database.url).await;
    let ann = server.acting("user:ann");
    let request = v1::UpdateMemberRequest {
        request_id: "r-7".to_owned(),
        portfolio: "roadmap".to_owned(),
        subject: Some(subject("user:ben")),
        role: "viewer".to_owned(),
        ..Default::default()
    };
    let updated = ann.members().update_member(request).await.unwrap().into_inner();
    let listed = list(&ann, of("roadmap")).await.unwrap();
    let event = &listed.events[0];
    let said = (event.kind.as_str(), event.object.as_str(), event.organization.as_str());
    assert_eq!(said, ("member.updated", "roadmap", "acme"));
    assert_eq!(event.portfolio, "roadmap");
    assert_eq!(event.subject, Some(subject("user:ben")));
    let said = (event.caller.as_str(), event.actor.as_str(), event.request_id.as_str());
    assert_eq!(said, ("loopback", "user:ann", "r-7"));
    assert!(!event.as_administrator);
    let time = event.time.unwrap();
    assert!(time.seconds * 1_000 + i64::from(time.nanos / 1_000_000) >= before);
    let (was, is) = (format!("{:?}", event.before), format!("{:?}", event.after));
    assert!(was.contains("contributor") && !was.contains("viewer"), "{was}");
    assert!(is.contains("viewer"), "{is}");
    // The token is the position of the write.
    assert_eq!(event.consistency_token, updated.consistency_token);
    let token = Token::decode(&event.consistency_token).unwrap();
    assert_eq!(token.epoch, Token::decode(&listed.consistency_token).unwrap().epoch);
    let seen =
        ann.check_after(&event.consistency_token, "user:ann", "members.view", "roadmap").await;
    assert!(seen.allowed);
}

#[tokio::test]
async fn evt_4_the_trail_of_an_organization_is_for_operators_and_has_its_users_fates() {
    let server = server().await;
    let system = server.system();
    server.given().organization("other").user("dan").await;
    system.deactivate("cid").await;
    system.deactivate("dan").await;
    system.reactivate("dan").await;
    let acme = list(&system, of_organization("acme")).await.unwrap().events;
    assert_eq!((acme[0].kind.as_str(), acme[0].object.as_str()), ("user.deactivated", "cid"));
    assert_eq!(acme[0].organization, "acme");
    assert_eq!(acme.last().unwrap().kind, "organization.created");
    assert!(acme.iter().all(|event| event.object != "dan"), "dan is at home elsewhere");
    let everything = "SELECT what FROM change_log WHERE organization = 'acme'";
    assert_eq!(acme.len(), texts(&server.database.url, everything).await.len() + 1);
    let other = kinds(&system, of_organization("other")).await;
    assert_eq!(other[..2], ["user.reactivated", "user.deactivated"]);

    for actor in ["user:ann", "user:nobody"] {
        for organization in ["acme", "nowhere"] {
            let refused = list(&server.acting(actor), of_organization(organization)).await;
            let expected = (Code::PermissionDenied, "SCOPE_MISSING".to_owned());
            assert_eq!(refusal(refused), expected);
        }
    }
    let unknown = list(&system, of_organization("nowhere")).await;
    assert_eq!(refusal(unknown), (Code::NotFound, "ORGANIZATION_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn evt_4_a_trail_is_narrowed_by_actor_subject_kind_and_time() {
    let server = server().await;
    let (system, ann) = (server.system(), server.acting("user:ann"));
    ann.add_member("roadmap", "user:cid", "viewer").await.unwrap();
    let all = list(&system, of("roadmap")).await.unwrap().events;
    let narrowed = async |filter: v1::AuditEventFilter| {
        let request = v1::ListAuditEventsRequest { filter: Some(filter), ..of("roadmap") };
        list(&system, request).await.unwrap().events
    };
    let none = v1::AuditEventFilter::default;
    let by = |actor: &str| v1::AuditEventFilter { actor: actor.to_owned(), ..none() };
    assert_eq!(narrowed(by("user:ann")).await, all[..1]);
    assert_eq!(narrowed(by("system")).await, all[1..]);
    assert!(narrowed(by("user:ben")).await.is_empty());
    let ben = v1::AuditEventFilter { subject: Some(subject("user:ben")), ..none() };
    let found = narrowed(ben).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].subject, Some(subject("user:ben")));
    let of_kind = |kinds: &[&str]| v1::AuditEventFilter {
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        ..none()
    };
    assert_eq!(narrowed(of_kind(&["portfolio.created"])).await.len(), 1);
    assert_eq!(narrowed(of_kind(&["portfolio.created", "member.added"])).await, all);
    assert!(narrowed(of_kind(&["member.removed"])).await.is_empty());
    let latest = all[0].time;
    let from = v1::AuditEventFilter { from_time: latest, ..none() };
    let until = v1::AuditEventFilter { until_time: latest, ..none() };
    let (from, until) = (narrowed(from).await, narrowed(until).await);
    assert_eq!([from.clone(), until].concat(), all, "from is included, until is not");
    assert!(from.contains(&all[0]));
    let future = Some(instant(now(&server.database.url).await + 60_000));
    assert!(narrowed(v1::AuditEventFilter { from_time: future, ..none() }).await.is_empty());
    let both = v1::AuditEventFilter { subject: Some(subject("user:cid")), ..by("user:ann") };
    assert_eq!(narrowed(both).await, all[..1]);
}

#[tokio::test]
async fn evt_4_pages_are_stable_while_others_write() {
    let server = server().await;
    let system = server.system();
    for turn in 0..6 {
        let role = if turn % 2 == 0 { "viewer" } else { "contributor" };
        system.set_role("roadmap", "user:ben", role).await.unwrap();
    }
    for whole in [of("roadmap"), of_organization("acme")] {
        let expected = list(&system, whole.clone()).await.unwrap().events;
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListAuditEventsRequest { page_size: 2, page_token, ..whole.clone() };
            let page = list(&system, request).await.unwrap();
            found.extend(page.events);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
            system.set_role("roadmap", "user:ben", "viewer").await.unwrap();
            system.set_role("roadmap", "user:ben", "contributor").await.unwrap();
        }
        assert_eq!(found, expected);
        let places: BTreeSet<String> =
            found.iter().map(|event| event.consistency_token.clone()).collect();
        assert_eq!(places.len(), found.len(), "each event has a place of its own");
    }
    let request = v1::ListAuditEventsRequest { page_size: 2, ..of("roadmap") };
    let page_token = list(&system, request).await.unwrap().next_page_token;
    for other in [of("plaza"), of_organization("acme")] {
        let request = v1::ListAuditEventsRequest { page_token: page_token.clone(), ..other };
        let refused = refusal(list(&system, request).await);
        assert_eq!(refused, (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned()));
    }
}

#[tokio::test]
async fn evt_4_the_trail_of_a_portfolio_tells_no_address() {
    let server = server().await;
    let ann = server.acting("user:ann");
    ann.add_member("roadmap", "cid@acme.example", "viewer").await.unwrap();
    ann.remove_member("roadmap", "user:cid").await.unwrap();
    let listed = list(&ann, of("roadmap")).await.unwrap();
    assert!(!format!("{:?}", listed.events).contains('@'));
}
