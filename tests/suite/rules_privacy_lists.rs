//! For whom privacy requests exist (VIS-4, AUT-3), and how they are listed (VIS-7).

use portcullis::proto::v1;
use portcullis::proto::v1::list_privacy_requests_request::Within;
use portcullis::proto::v1::{PrivacyRequestState, SiteRole, Visibility};
use prost::Message as _;
use tonic::{Code, Status};

use crate::calls::execute;
use crate::harness::{Client, fields, reason, refusal};
use crate::raw;
use crate::rules_privacy::{no, server};
use crate::rules_visibility::overheard;

fn about(portfolio: &str) -> v1::ListPrivacyRequestsRequest {
    let within = Some(Within::Portfolio(portfolio.to_owned()));
    v1::ListPrivacyRequestsRequest { within, ..Default::default() }
}

fn of(organization: &str) -> v1::ListPrivacyRequestsRequest {
    let within = Some(Within::Organization(organization.to_owned()));
    v1::ListPrivacyRequestsRequest { within, ..Default::default() }
}

fn mine() -> v1::ListPrivacyRequestsRequest {
    v1::ListPrivacyRequestsRequest { within: Some(Within::Mine(true)), ..Default::default() }
}

fn in_states(
    states: &[PrivacyRequestState],
    request: v1::ListPrivacyRequestsRequest,
) -> v1::ListPrivacyRequestsRequest {
    let states = states.iter().map(|state| i32::from(*state)).collect();
    v1::ListPrivacyRequestsRequest { filter: Some(v1::PrivacyRequestFilter { states }), ..request }
}

async fn list(
    client: &Client,
    request: v1::ListPrivacyRequestsRequest,
) -> Result<v1::ListPrivacyRequestsResponse, Status> {
    Ok(client.settings().list_privacy_requests(request).await?.into_inner())
}

async fn ids(client: &Client, request: v1::ListPrivacyRequestsRequest) -> Vec<String> {
    let listed = list(client, request).await.expect("requests");
    listed.privacy_requests.into_iter().map(|request| request.id).collect()
}

#[tokio::test]
async fn vis_7_dir_7_aut_3_requests_are_listed_to_those_whom_they_concern() {
    let server = server().await;
    server.given().in_organization("acme").portfolio("diary").owned_by("cid").await;
    let asked = server.acting("user:ben").ask("roadmap", Visibility::Open).await;
    let other = server.acting("user:cid").ask("diary", Visibility::Restricted).await;
    let (one, both) = (vec![asked.id.clone()], vec![other.id.clone(), asked.id.clone()]);
    let unseen = no(Code::NotFound, "PORTFOLIO_NOT_FOUND");
    let lacking = no(Code::PermissionDenied, "PERMISSION_MISSING");
    let no_administrator = no(Code::PermissionDenied, "ADMINISTRATOR_REQUIRED");
    let unknown = no(Code::NotFound, "ORGANIZATION_NOT_FOUND");
    for (actor, of_roadmap, of_acme, own) in [
        ("user:ada", Ok(one.clone()), Ok(both.clone()), vec![]),
        ("user:ann", Ok(one.clone()), Err(no_administrator.clone()), vec![]),
        ("user:ben", Ok(one.clone()), Err(no_administrator.clone()), one.clone()),
        ("user:cid", Err(lacking), Err(no_administrator.clone()), vec![other.id.clone()]),
        ("user:dot", Err(unseen.clone()), Err(no_administrator), vec![]),
        ("user:eve", Err(unseen.clone()), Err(unknown.clone()), vec![]),
        ("user:nobody", Err(unseen), Err(unknown), vec![]),
    ] {
        let client = server.acting(actor);
        for (request, expected) in [(about("roadmap"), of_roadmap), (of("acme"), of_acme)] {
            match expected {
                Ok(expected) => assert_eq!(ids(&client, request).await, expected, "{actor}"),
                Err(expected) => assert_eq!(refusal(list(&client, request).await), expected),
            }
        }
        assert_eq!(ids(&client, mine()).await, own, "{actor}");
    }
    let system = server.system();
    assert_eq!(ids(&system, about("roadmap")).await, one);
    assert_eq!(ids(&system, of("acme")).await, both);
    let nowhere = list(&system, of("nowhere")).await;
    assert_eq!(refusal(nowhere), no(Code::NotFound, "ORGANIZATION_NOT_FOUND"));
    assert_eq!(fields(&list(&system, mine()).await.unwrap_err()), ["mine"]);
    let found = list(&system, about("roadmap")).await.unwrap().privacy_requests;
    assert_eq!(found, [asked], "as it was told when it was made");
}

#[tokio::test]
async fn vis_7_requests_are_listed_the_newest_first_by_state_and_page_by_page() {
    let server = server().await;
    let (ann, ada) = (server.acting("user:ann"), server.acting("user:ada"));
    let mut all = Vec::new();
    for at in 0..7 {
        let asked = ann.ask("roadmap", Visibility::Open).await;
        match at % 2 {
            0 => drop(ada.reject(&asked.id, "").await.unwrap()),
            _ => drop(ann.cancel(&asked.id).await.unwrap()),
        }
        all.insert(0, asked.id);
    }
    // Several of one millisecond: the greatest id comes first.
    execute(
        &server.database.url,
        "UPDATE privacy_requests SET create_time = date_trunc('second', now())",
    )
    .await;
    all.sort();
    all.reverse();
    let last = ann.ask("roadmap", Visibility::Open).await;
    all.insert(0, last.id.clone());
    for (client, request) in [(&ann, about("roadmap")), (&ada, of("acme")), (&ann, mine())] {
        let mut found = Vec::new();
        let mut page = v1::ListPrivacyRequestsRequest { page_size: 3, ..request.clone() };
        loop {
            let listed = list(client, page.clone()).await.unwrap();
            assert!(listed.privacy_requests.len() <= 3);
            found.extend(listed.privacy_requests.into_iter().map(|request| request.id));
            if listed.next_page_token.is_empty() {
                break;
            }
            page.page_token = listed.next_page_token;
        }
        assert_eq!(found, all);
        let pending = in_states(&[PrivacyRequestState::Pending], request.clone());
        assert_eq!(ids(client, pending).await, std::slice::from_ref(&last.id));
        let both = [PrivacyRequestState::Cancelled, PrivacyRequestState::Rejected];
        assert_eq!(ids(client, in_states(&both, request.clone())).await, all[1..]);
        let none = in_states(&[PrivacyRequestState::Closed], request);
        assert!(ids(client, none).await.is_empty());
    }
    // What a deleted portfolio was asked for stays with the organization and who asked.
    ann.delete("roadmap").await.unwrap();
    let gone = list(&ann, about("roadmap")).await;
    assert_eq!(refusal(gone), no(Code::NotFound, "PORTFOLIO_NOT_FOUND"));
    for (client, request) in [(&ada, of("acme")), (&ann, mine())] {
        let closed = in_states(&[PrivacyRequestState::Closed], request.clone());
        assert_eq!(ids(client, closed).await, std::slice::from_ref(&last.id));
        assert_eq!(ids(client, request).await, all);
    }
}

#[tokio::test]
async fn bad_1_vis_7_a_list_of_requests_says_what_is_wrong_with_it() {
    let server = server().await;
    let ada = server.acting("user:ada");
    let states = |states: &[i32]| v1::ListPrivacyRequestsRequest {
        filter: Some(v1::PrivacyRequestFilter { states: states.to_vec() }),
        ..of("acme")
    };
    let untrue =
        v1::ListPrivacyRequestsRequest { within: Some(Within::Mine(false)), ..Default::default() };
    for (request, field) in [
        (v1::ListPrivacyRequestsRequest::default(), "within"),
        (untrue, "mine"),
        (about("a b"), "portfolio"),
        (of(""), "organization"),
        (states(&[1, 0]), "filter.states[1]"),
        (states(&[99]), "filter.states[0]"),
        (v1::ListPrivacyRequestsRequest { page_size: -1, ..of("acme") }, "page_size"),
        (v1::ListPrivacyRequestsRequest { page_token: "x".into(), ..of("acme") }, "page_token"),
    ] {
        let status = list(&ada, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(fields(&status), [field]);
    }
    let many = list(&ada, states(&[1; 6])).await.unwrap_err();
    assert_eq!(reason(&many), "LIMIT_EXCEEDED");

    // A page token belongs to its question, and to who asked it.
    for portfolio in ["one", "two"] {
        let given = server.given().in_organization("acme").portfolio(portfolio);
        given.owned_by("ann").with("user:ben", "manager").await;
        server.acting("user:ann").ask(portfolio, Visibility::Open).await;
    }
    let (ann, ben) = (server.acting("user:ann"), server.acting("user:ben"));
    let first = v1::ListPrivacyRequestsRequest { page_size: 1, ..mine() };
    let page_token = list(&ann, first).await.unwrap().next_page_token;
    assert!(!page_token.is_empty());
    let next = v1::ListPrivacyRequestsRequest { page_token, ..mine() };
    assert_eq!(ids(&ann, next.clone()).await.len(), 1);
    let elsewhere = v1::ListPrivacyRequestsRequest { within: about("one").within, ..next.clone() };
    let pending = in_states(&[PrivacyRequestState::Pending], next.clone());
    for (client, request) in [(&ben, next), (&ann, elsewhere), (&ann, pending)] {
        let status = list(client, request).await.unwrap_err();
        assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
    }
}

#[tokio::test]
async fn vis_7_only_administrators_decide_and_only_the_requester_cancels() {
    let server = server().await;
    let asked = server.acting("user:ben").ask("roadmap", Visibility::Open).await;
    let (id, unknown) = (asked.id.as_str(), no(Code::NotFound, "PRIVACY_REQUEST_NOT_FOUND"));
    let no_administrator = no(Code::PermissionDenied, "ADMINISTRATOR_REQUIRED");
    let no_requester = no(Code::PermissionDenied, "REQUESTER_REQUIRED");
    for (actor, decides, cancels) in [
        // Ben may cancel, and does below.
        ("user:ben", Some(&no_administrator), None),
        ("user:ann", Some(&no_administrator), Some(&no_requester)),
        ("user:cid", Some(&no_administrator), Some(&no_requester)),
        ("user:ada", None, Some(&no_requester)),
        ("user:dot", Some(&unknown), Some(&unknown)),
        ("user:eve", Some(&unknown), Some(&unknown)),
        ("user:nobody", Some(&unknown), Some(&unknown)),
    ] {
        let client = server.acting(actor);
        if let Some(expected) = decides {
            assert_eq!(refusal(client.approve(id).await), *expected, "{actor}");
            assert_eq!(refusal(client.reject(id, "").await), *expected, "{actor}");
        }
        if let Some(expected) = cancels {
            assert_eq!(refusal(client.cancel(id).await), *expected, "{actor}");
        }
    }
    assert_eq!(refusal(server.system().cancel(id).await), no_requester);
    assert_eq!(refusal(server.system().approve("nothing").await), unknown);
    let deactivated = no(Code::PermissionDenied, "ACTOR_DEACTIVATED");
    server.system().deactivate("ben").await;
    assert_eq!(refusal(server.acting("user:ben").cancel(id).await), deactivated);
    server.system().reactivate("ben").await;
    server.acting("user:ben").cancel(id).await.unwrap();
}

/// The ids have one length: nothing but themselves may differ.
#[tokio::test]
async fn vis_4_vis_7_a_request_one_may_not_know_of_answers_as_an_unknown_one() {
    let (server, proxy) = overheard().await;
    let given = server.given().organization("acme").approving().user("ann").user("dot");
    let given = given.external("eve").portfolio("hidden").owned_by("ann");
    given.organization("other").user("oda").await;
    let asked = server.acting("user:ann").ask("hidden", Visibility::Open).await.id;
    let (unknown, other) = ("0".repeat(asked.len()), "1".repeat(asked.len()));
    for actor in ["user:dot", "user:eve", "user:oda", "user:nobody", "service_account:nobody"] {
        for name in ["ApprovePrivacyRequest", "RejectPrivacyRequest", "CancelPrivacyRequest"] {
            let method = format!("/portcullis.v1.AccessSettingsService/{name}");
            let mut answers = Vec::new();
            // Once before: what a connection prepares it prepares once.
            for id in [&unknown, &asked, &other, &unknown] {
                let request = v1::ApprovePrivacyRequestRequest {
                    privacy_request: id.clone(),
                    ..Default::default()
                };
                let message = request.encode_to_vec();
                proxy.statements();
                let answer = raw::call(&server.channel, &method, message, Some(actor)).await;
                let status = answer.expect_err("a refusal");
                assert_eq!(reason(&status), "PRIVACY_REQUEST_NOT_FOUND", "{name} {actor}");
                let details = String::from_utf8_lossy(status.details()).replace(id, "ID");
                let seen = (status.message().replace(id, "ID"), details);
                answers.push((seen, proxy.statements()));
            }
            assert!(!answers[1].1.is_empty(), "no statement was overheard");
            for other in &answers[1..] {
                assert_eq!(answers[0], *other, "{name} {actor}");
            }
        }
    }
    let pending = list(&server.acting("user:ann"), about("hidden")).await.unwrap();
    assert_eq!(pending.privacy_requests[0].state(), PrivacyRequestState::Pending);
}

#[tokio::test]
async fn aut_3_vis_7_requesters_see_and_cancel_their_own_though_the_portfolio_is_out_of_sight() {
    let server = server().await;
    let ben = server.acting("user:ben");
    let asked = ben.ask("roadmap", Visibility::Open).await;
    server.system().set_site_role("acme", "ben", SiteRole::Guest).await;
    server.acting("user:ann").remove_member("roadmap", "user:ben").await.unwrap();
    assert!(ben.get_portfolio("roadmap").await.is_err());
    let own = list(&ben, mine()).await.unwrap().privacy_requests;
    assert_eq!(own, std::slice::from_ref(&asked));
    let cancelled = ben.cancel(&asked.id).await.unwrap();
    assert_eq!(cancelled.state(), PrivacyRequestState::Cancelled);
    let again = ben.cancel(&asked.id).await;
    assert_eq!(refusal(again), no(Code::FailedPrecondition, "PRIVACY_REQUEST_DECIDED"));
}

#[tokio::test]
async fn dir_9_vis_7_with_the_account_a_request_loses_its_requester_and_stays() {
    let server = server().await;
    let asked = server.acting("user:ben").ask("roadmap", Visibility::Open).await;
    let request = v1::DeleteUserRequest {
        user: "ben".to_owned(),
        confirm_user: "ben".to_owned(),
        ..Default::default()
    };
    server.system().directory().delete_user(request).await.unwrap();
    server.given().in_organization("acme").user("ben").await;
    // A later user of the same id is another.
    let ben = server.acting("user:ben");
    assert!(ids(&ben, mine()).await.is_empty());
    let cancelled = ben.cancel(&asked.id).await;
    assert_eq!(refusal(cancelled), no(Code::NotFound, "PRIVACY_REQUEST_NOT_FOUND"));
    let ada = server.acting("user:ada");
    let listed = list(&ada, of("acme")).await.unwrap().privacy_requests;
    let [found] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((found.id.as_str(), &found.requester), (asked.id.as_str(), &None));
    ada.approve(&asked.id).await.unwrap();
}
