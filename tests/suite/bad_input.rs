//! What bad input gets (BAD), over the wire.

use portcullis::proto::v1;
use portcullis::proto::v1::consistency::Requirement;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Client, TestServer, fields, reason, refusal, subject};
use crate::raw;

async fn server() -> TestServer {
    let server = TestServer::start().await;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .external("eve")
        .portfolio("roadmap")
        .owned_by("ann")
        .await;
    server
}

fn refused(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn bad_1_a_malformed_request_names_every_field_at_fault() {
    let server = server().await;
    let request = v1::CheckPermissionRequest {
        subject: Some(v1::Subject::default()),
        permission: String::new(),
        portfolio: "road map".to_owned(),
        item: Some(v1::ItemReference { id: "7".to_owned(), ..v1::ItemReference::default() }),
        consistency: Some(v1::Consistency {
            requirement: Some(Requirement::FullyConsistent(false)),
        }),
        at: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
    };
    let status = server.system().policy().check_permission(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(reason(&status), "INVALID_FIELD");
    let expected =
        ["subject", "permission", "portfolio", "item.type", "consistency.fully_consistent", "at"];
    assert_eq!(fields(&status), expected);
}

#[tokio::test]
async fn bad_1_an_unknown_permission_comes_with_the_nearest() {
    let server = server().await;
    let status = server.system().check("user:ann", "portfolio.veiw", "roadmap").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, "PERMISSION_NAME_UNKNOWN");
    assert_eq!(info.metadata["nearest"], "portfolio.view");
}

#[tokio::test]
async fn rev_4_a_token_that_is_none_is_refused() {
    let server = server().await;
    for token in ["", "!", "AAAA", &"A".repeat(100_000)] {
        let requirement = Some(Requirement::AtLeastAsFresh(token.to_owned()));
        let answer =
            server.system().check_with("user:ann", "portfolio.view", "roadmap", requirement).await;
        assert_eq!(refusal(answer), refused(Code::InvalidArgument, "TOKEN_MALFORMED"));
    }
}

#[tokio::test]
async fn acc_10_the_past_is_refused() {
    let server = server().await;
    let request = v1::CheckPermissionRequest {
        subject: Some(subject("user:ann")),
        permission: "portfolio.view".to_owned(),
        portfolio: "roadmap".to_owned(),
        at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        ..v1::CheckPermissionRequest::default()
    };
    let answer = server.system().policy().check_permission(request).await;
    assert_eq!(refusal(answer), refused(Code::InvalidArgument, "AT_IN_THE_PAST"));
}

/// What every RPC about a portfolio answers to this client.
async fn everything_about(client: &Client, portfolio: &str) -> Vec<Result<(), Status>> {
    let id = || portfolio.to_owned();
    let ann = || Some(subject("user:ann"));
    let settings = v1::AccessSettings {
        portfolio: id(),
        visibility: v1::Visibility::Open.into(),
        ..v1::AccessSettings::default()
    };
    let deletion = v1::DeletePortfolioRequest {
        portfolio: id(),
        confirm_portfolio: id(),
        ..v1::DeletePortfolioRequest::default()
    };
    let update = v1::UpdateMemberRequest {
        portfolio: id(),
        subject: ann(),
        role: "viewer".to_owned(),
        ..v1::UpdateMemberRequest::default()
    };
    let request = v1::GetAccessSettingsRequest { portfolio: id() };
    let got = client.settings().get_access_settings(request).await;
    let request = v1::UpdateAccessSettingsRequest {
        access_settings: Some(settings),
        ..v1::UpdateAccessSettingsRequest::default()
    };
    let updated = client.settings().update_access_settings(request).await;
    let update_portfolio = v1::UpdatePortfolioRequest {
        portfolio: Some(v1::Portfolio { id: id(), r#type: "x".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let list = v1::ListMembersRequest { portfolio: id(), ..Default::default() };
    let trail = v1::ListAuditEventsRequest {
        within: Some(v1::list_audit_events_request::Within::Portfolio(id())),
        ..Default::default()
    };
    vec![
        client.portfolios().update_portfolio(update_portfolio).await.map(drop),
        client.members().list_members(list).await.map(drop),
        client.events().list_audit_events(trail).await.map(drop),
        client.get_portfolio(portfolio).await.map(drop),
        client.portfolios().delete_portfolio(deletion).await.map(drop),
        got.map(drop),
        updated.map(drop),
        client.add_member(portfolio, "user:ben", "viewer").await.map(drop),
        client.get_member(portfolio, "user:ann").await.map(drop),
        client.members().update_member(update).await.map(drop),
        client.remove_member(portfolio, "user:ann").await.map(drop),
    ]
}

#[tokio::test]
async fn vis_4_an_invisible_portfolio_is_exactly_like_an_unknown_one() {
    let server = server().await;
    for actor in ["user:ben", "user:eve"] {
        let client = server.acting(actor);
        let hidden = everything_about(&client, "roadmap").await;
        let unknown = everything_about(&client, "nowhere").await;
        for (hidden, unknown) in hidden.into_iter().zip(unknown) {
            let (hidden, unknown) = (hidden.unwrap_err(), unknown.unwrap_err());
            assert_eq!(reason(&hidden), "PORTFOLIO_NOT_FOUND");
            assert_eq!(hidden.code(), unknown.code());
            assert_eq!(hidden.message().replace("roadmap", "nowhere"), unknown.message());
            let details = |status: &Status| format!("{:?}", status.get_error_details());
            assert_eq!(details(&hidden).replace("roadmap", "nowhere"), details(&unknown));
        }
    }
    // And nothing of all that was done.
    assert!(server.allows("user:ann", "portfolio.delete", "roadmap").await);
}

#[tokio::test]
async fn bad_2_a_batch_and_a_message_have_a_limit() {
    let server = TestServer::start_with(|config| {
        config.limits.max_batch = 2;
        config.limits.max_message_bytes = 10_000;
    })
    .await;
    let with = |users: usize, name: usize| v1::UpsertUsersRequest {
        users: vec![v1::User { display_name: "x".repeat(name), ..v1::User::default() }; users],
        ..v1::UpsertUsersRequest::default()
    };
    let mut directory = server.system().directory();
    let status = directory.upsert_users(with(3, 0)).await.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((status.code(), info.reason.as_str()), (Code::InvalidArgument, "LIMIT_EXCEEDED"));
    assert_eq!((info.metadata["limit"].as_str(), info.metadata["actual"].as_str()), ("2", "3"));
    assert_eq!(fields(&status), ["users"]);
    let empty = directory.upsert_users(with(0, 0)).await;
    assert_eq!(refusal(empty), refused(Code::InvalidArgument, "INVALID_FIELD"));
    let large = directory.upsert_users(with(1, 20_000)).await;
    assert_eq!(refusal(large), refused(Code::InvalidArgument, "LIMIT_EXCEEDED"));
}

#[tokio::test]
async fn bad_1_bytes_that_are_no_message_are_the_clients_mistake() {
    let server = server().await;
    for method in raw::Contract::load().methods() {
        let answer = raw::call(&server.channel, &method.path, vec![0xff; 16], None).await;
        assert_eq!(refusal(answer), refused(Code::InvalidArgument, "INVALID_FIELD"));
    }
    let unknown = raw::call(&server.channel, "/portcullis.v1.PolicyService/No", vec![], None).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn bad_1_a_text_that_the_database_cannot_hold_is_the_clients_mistake() {
    let server = server().await;
    let mut directory = server.system().directory();
    for name in ["nul\0byte", "line\nbreak", "", " ", &"x".repeat(201)] {
        let group = v1::Group {
            id: "core".to_owned(),
            organization: "acme".to_owned(),
            display_name: name.to_owned(),
        };
        let request =
            v1::UpsertGroupRequest { group: Some(group), ..v1::UpsertGroupRequest::default() };
        let status = directory.upsert_group(request).await.unwrap_err();
        assert_eq!(fields(&status), ["group.display_name"], "{name:?}");
    }
}

#[tokio::test]
async fn aut_2_an_actor_that_is_none_is_refused() {
    let server = server().await;
    for actor in ["ann", "group:core", "user:"] {
        let answer = server.acting(actor).get_portfolio("roadmap").await;
        assert_eq!(refusal(answer), refused(Code::InvalidArgument, "ACTOR_MALFORMED"), "{actor}");
    }
}

#[tokio::test]
async fn bad_3_a_request_id_does_its_work_once() {
    let server = server().await;
    let request = |name: &str| v1::UpsertGroupRequest {
        request_id: "once".to_owned(),
        group: Some(v1::Group {
            id: String::new(),
            organization: "acme".to_owned(),
            display_name: name.to_owned(),
        }),
    };
    let mut directory = server.system().directory();
    let first = directory.upsert_group(request("Core")).await.unwrap().into_inner();
    let again = directory.upsert_group(request("Core")).await.unwrap().into_inner();
    assert_eq!(first, again, "the generated id, the status and the token are the first ones");
    let other = directory.upsert_group(request("Other")).await;
    assert_eq!(refusal(other), refused(Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn mem_2_a_bad_entry_never_spoils_the_good() {
    use v1::member_spec::Kind;
    let server = server().await;
    let spec = |kind| v1::MemberSpec { kind };
    let request = v1::AddMembersRequest {
        portfolio: "roadmap".to_owned(),
        members: vec![
            spec(Some(Kind::User("b b".to_owned()))),
            spec(None),
            spec(Some(Kind::Email("ben".to_owned()))),
            spec(Some(Kind::Email("BEN@acme.example".to_owned()))),
            spec(Some(Kind::User("nobody".to_owned()))),
        ],
        role: "viewer".to_owned(),
        ..v1::AddMembersRequest::default()
    };
    let added = server.acting("user:ann").members().add_members(request).await.unwrap();
    let outcomes = added.into_inner().outcomes;
    let reasons: Vec<_> =
        outcomes.iter().map(|outcome| outcome.refusal.as_ref().map(v1::Refusal::reason)).collect();
    let expected = [
        Some(v1::ErrorReason::InvalidField),
        Some(v1::ErrorReason::InvalidField),
        Some(v1::ErrorReason::InvalidEmail),
        None,
        Some(v1::ErrorReason::UserNotFound),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(outcomes[3].status(), v1::AddMemberStatus::Added);
    assert_eq!(outcomes[3].subject, Some(subject("user:ben")));
    assert_eq!(outcomes[4].subject, Some(subject("user:nobody")));
    assert!(outcomes[0].refusal.as_ref().unwrap().message.contains("`members[0].user`"));
}
