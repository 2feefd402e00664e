//! Retrying a write is safe, over the wire (BAD-3); what is too long is refused (BAD-2).

use portcullis::proto::v1;
use prost::Message as _;
use tonic::Code;

use crate::authorization::{furnish_victim, message};
use crate::calls::{adding, execute, number, portfolio};
use crate::harness::{TestServer, fields, refusal, subject};
use crate::raw;

async fn server() -> TestServer {
    let server = TestServer::start().await;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("owner")
        .user("fresh")
        .user("idle")
        .user("never-roadmap")
        .group("core", &[])
        .group("old-roadmap", &[])
        .portfolio("roadmap")
        .owned_by("owner")
        .with("user:ann", "viewer")
        // Whose members it has once it was linked.
        .portfolio("above-roadmap")
        .owned_by("owner")
        .with("user:ann", "viewer")
        .await;
    server
}

/// The writes of the contract: what has a request id.
fn writes() -> Vec<raw::Method> {
    let contract = raw::Contract::load();
    let has_id = |method: &raw::Method| {
        contract.fields(&method.request).iter().any(|field| field.name == "request_id")
    };
    contract.methods().into_iter().filter(has_id).collect()
}

/// The message with a request id: the field that is given last wins, and all have number 1.
fn with_id(mut message: Vec<u8>, id: &str) -> Vec<u8> {
    let request = v1::DeactivateUserRequest { request_id: id.to_owned(), ..Default::default() };
    message.extend(request.encode_to_vec());
    message
}

#[tokio::test]
async fn bad_3_every_write_answers_its_retry_with_the_same_bytes_on_every_server() {
    let server = server().await;
    let twin = server.twin().await;
    let contract = raw::Contract::load();
    let mut writes = writes();
    assert!(writes.len() >= 13, "{writes:?}");
    // The system has none to cancel; see `bad_3_vis_7_asking_and_deciding_again_is_done_once`.
    writes.retain(|method| !method.path.ends_with("/CancelPrivacyRequest"));
    // What deletes comes last.
    writes.sort_by_key(|method| method.path.contains("/Delete") || method.path.contains("/Remove"));
    writes.sort_by_key(|method| method.path.contains("/Delete"));
    for raw::Method { path, request, .. } in writes {
        let ids = contract.fields(&request);
        assert!(ids.iter().any(|field| field.name == "request_id" && field.tag == 1), "{path}");
        let body = with_id(message(&path, "roadmap", "user:ann"), &path);
        furnish_victim(&server, &path, "roadmap").await;
        let first = raw::call(&server.channel, &path, body.clone(), None).await;
        let first = first.unwrap_or_else(|status| panic!("{path}: {status:?}"));
        let log = number(&server.database.url, "SELECT count(*) FROM change_log").await;
        for each in [&server, &twin] {
            let again = raw::call(&each.channel, &path, body.clone(), None).await;
            assert_eq!(again.expect("the first outcome"), first, "{path}");
        }
        let after = number(&server.database.url, "SELECT count(*) FROM change_log").await;
        assert_eq!(after, log, "{path}: nothing was done twice");
        // Another body, another actor, another method: whatever is not the same request.
        let reused = (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned());
        let other = with_id(message(&path, "elsewhere", "user:fresh"), &path);
        if other != body && !path.contains("/Deactivate") && !path.contains("/Reactivate") {
            let refused = raw::call(&twin.channel, &path, other, None).await;
            let seen = refusal(refused);
            let unknown = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
            assert!(seen == reused || seen == unknown, "{path}: {seen:?}");
        }
        let refused = raw::call(&twin.channel, &path, body, Some("user:owner")).await;
        assert_eq!(refusal(refused), reused, "{path}: for another actor");
    }
}

#[tokio::test]
async fn bad_3_an_id_is_of_one_request_for_all_methods_and_bodies() {
    let server = server().await;
    let mut members = server.system().members();
    let request = |who| v1::AddMembersRequest {
        request_id: "once".to_owned(),
        ..adding("roadmap", &[who], "viewer")
    };
    members.add_members(request("user:fresh")).await.unwrap();
    let reused = (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned());
    assert_eq!(refusal(members.add_members(request("user:idle")).await), reused);
    let role = v1::AddMembersRequest { role: "manager".to_owned(), ..request("user:fresh") };
    assert_eq!(refusal(members.add_members(role).await), reused);
    let removal = v1::RemoveMemberRequest {
        request_id: "once".to_owned(),
        portfolio: "roadmap".to_owned(),
        subject: Some(subject("user:fresh")),
        ..Default::default()
    };
    assert_eq!(refusal(members.remove_member(removal).await), reused);
    let idle = server.system().get_member("roadmap", "user:idle").await;
    assert_eq!(refusal(idle), (Code::NotFound, "MEMBER_NOT_FOUND".to_owned()));
}

/// What was refused did nothing, and is not remembered: it may be allowed the second time.
#[tokio::test]
async fn bad_3_a_refused_call_may_be_tried_again() {
    let server = server().await;
    let request = v1::CreatePortfolioRequest {
        request_id: "once".to_owned(),
        portfolio: Some(portfolio("later", "soon")),
        ..Default::default()
    };
    let mut portfolios = server.system().portfolios();
    let refused = portfolios.create_portfolio(request.clone()).await;
    assert_eq!(refusal(refused), (Code::NotFound, "USER_NOT_FOUND".to_owned()));
    let soon = v1::User {
        id: "soon".to_owned(),
        email: "soon@acme.example".to_owned(),
        home_organization: "acme".to_owned(),
        ..Default::default()
    };
    server.system().upsert_users(vec![soon]).await;
    portfolios.create_portfolio(request).await.expect("now there is such a user");
}

/// After a day the id is free.
#[tokio::test]
async fn bad_3_an_outcome_is_kept_for_a_day() {
    let server = server().await;
    let add = v1::AddMembersRequest {
        request_id: "once".to_owned(),
        ..adding("roadmap", &["user:fresh"], "viewer")
    };
    let mut members = server.system().members();
    let first = members.add_members(add.clone()).await.unwrap().into_inner();
    let age = |hours: f64| {
        format!("UPDATE request_outcomes SET create_time = now() - interval '{hours} hours'")
    };
    execute(&server.database.url, &age(23.9)).await;
    assert_eq!(members.add_members(add.clone()).await.unwrap().into_inner(), first);
    execute(&server.database.url, &age(24.1)).await;
    let later = members.add_members(add).await.unwrap().into_inner();
    assert_eq!(later.outcomes[0].status(), v1::AddMemberStatus::AlreadyMember);
}

#[tokio::test]
async fn bad_2_what_is_too_long_is_refused_by_its_field() {
    let server = TestServer::start_with(|config| {
        config.limits.max_string_bytes = 20;
        config.limits.max_batch = 2;
    })
    .await;
    server.given().organization("acme").user("ann").group("core", &[]).portfolio("roadmap").await;
    let system = server.system();
    let long = v1::Portfolio { display_name: "x".repeat(21), ..portfolio("long", "ann") };
    let status = system.create(long).await.unwrap_err();
    assert_eq!(fields(&status), ["portfolio.display_name"]);
    let id = "x".repeat(129);
    let status = system.create(portfolio(&id, "ann")).await.unwrap_err();
    assert!(fields(&status).contains(&"portfolio.id".to_owned()), "{status:?}");
    let three = ["user:ann", "user:ben", "user:cid"];
    let status = system.add_members(adding("roadmap", &three, "viewer")).await;
    let exceeded = (Code::InvalidArgument, "LIMIT_EXCEEDED".to_owned());
    assert_eq!(refusal(status), exceeded);
    let request = v1::AddGroupMembersRequest {
        group: "core".to_owned(),
        members: three.iter().map(|who| subject(who)).collect(),
        ..Default::default()
    };
    assert_eq!(refusal(system.directory().add_group_members(request).await), exceeded);
    // The most is accepted.
    let two = system.add_members(adding("roadmap", &three[..2], "viewer")).await.unwrap();
    assert_eq!(two.len(), 2);
}
