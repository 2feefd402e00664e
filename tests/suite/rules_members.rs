//! Grants, and adding members (MEM-1, MEM-2).

use portcullis::proto::v1;
use portcullis::proto::v1::add_members_request::End;
use portcullis::proto::v1::{AccessState, AddMemberStatus, ErrorReason, GrantSource, SiteRole};
use prost::Message as _;
use tonic::Code;

use crate::calls::{HOUR, adding, execute, instant, now, refused, service_account};
use crate::harness::{TestServer, fields, refusal, subject};

/// `ann` owns `roadmap`; `ben` is at home; `idle` is deactivated; `eve` is external.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .user("idle")
        .external("eve")
        .external("asleep")
        .group("core", &["user:ben"])
        .portfolio("roadmap")
        .owned_by("ann")
        .deactivated("idle")
        .deactivated("asleep")
        .await;
    server
}

#[tokio::test]
async fn mem_1_a_grant_says_what_it_gives_where_it_came_from_and_when() {
    let server = server().await;
    let time = now(&server.database.url).await;
    let ann = server.acting("user:ann");
    let request = v1::AddMembersRequest {
        start_time: Some(instant(time + HOUR)),
        end: Some(End::ExpireTime(instant(time + 2 * HOUR))),
        ..adding("roadmap", &["user:ben", "group:core"], "contributor")
    };
    ann.add_members(request).await.unwrap();
    for who in ["user:ben", "group:core"] {
        let member = ann.get_member("roadmap", who).await.unwrap();
        assert_eq!((member.state(), member.subject), (AccessState::Scheduled, Some(subject(who))));
        let [grant] = member.grants.as_slice() else { panic!("{who}: one grant") };
        assert_eq!((grant.role.as_str(), grant.ownership), ("contributor", false));
        assert_eq!((grant.source(), grant.state()), (GrantSource::Hand, AccessState::Scheduled));
        assert_eq!(grant.start_time, Some(instant(time + HOUR)));
        assert_eq!(grant.expire_time, Some(instant(time + 2 * HOUR)));
        assert_eq!(grant.revoke_time, None);
        let created = grant.create_time.expect("a time").seconds;
        assert!((time / 1_000..=time / 1_000 + 60).contains(&created));
    }
}

#[tokio::test]
async fn mem_1_a_subject_may_hold_several_grants() {
    let server = server().await;
    let system = server.system();
    system.add_member("roadmap", "user:ben", "viewer").await.unwrap();
    // No call gives two from one source yet.
    let second = "INSERT INTO grants (id, portfolio, organization, subject_kind, subject_id, role,
            source, ownership, create_time)
        VALUES (gen_random_uuid(), 'roadmap', 'acme', 'user', 'ben', 'contributor', 'hand', false,
            now())";
    execute(&server.database.url, second).await;
    let member = system.get_member("roadmap", "user:ben").await.unwrap();
    let roles: Vec<&str> = member.grants.iter().map(|grant| grant.role.as_str()).collect();
    assert_eq!(roles, ["contributor", "viewer"], "the latest first");
    assert!(server.allows("user:ben", "initiative.edit", "roadmap").await, "the union");
}

#[tokio::test]
async fn mem_2_internal_and_active_ones_are_added_at_once() {
    let server = server().await;
    service_account(&server.database.url, "ci").await;
    let everybody = ["BEN@acme.example", "group:core", "service_account:ci"];
    let ann = server.acting("user:ann");
    let outcomes = ann.add_members(adding("roadmap", &everybody, "viewer")).await.unwrap();
    let expected = ["user:ben", "group:core", "service_account:ci"];
    for ((at, outcome), who) in outcomes.iter().enumerate().zip(expected) {
        assert_eq!(outcome.status(), AddMemberStatus::Added, "{outcome:?}");
        assert_eq!((outcome.index as usize, &outcome.subject), (at, &Some(subject(who))));
        assert!(server.allows(who, "portfolio.view", "roadmap").await, "{who}");
    }
}

#[tokio::test]
async fn mem_2_each_entry_has_its_outcome_and_a_bad_one_never_spoils_the_good() {
    let server = server().await;
    let members = [
        "user:ben",
        "user:eve",
        "user:nobody",
        "user:idle",
        "idle@acme.example",
        "group:nobody",
        "user:ann",
        "ben@acme.example",
        "group:core",
    ];
    let ann = server.acting("user:ann");
    let outcomes = ann.add_members(adding("roadmap", &members, "viewer")).await.unwrap();
    let seen: Vec<_> = outcomes.iter().map(|it| (it.status(), refused(it))).collect();
    let no = |reason| (AddMemberStatus::Refused, Some(reason));
    let expected = [
        (AddMemberStatus::Added, None),
        no(ErrorReason::NotSupportedYet),
        no(ErrorReason::UserNotFound),
        no(ErrorReason::UserDeactivated),
        no(ErrorReason::UserDeactivated),
        no(ErrorReason::GroupNotFound),
        (AddMemberStatus::AlreadyMember, None),
        // The same person again, by another name.
        (AddMemberStatus::AlreadyMember, None),
        (AddMemberStatus::Added, None),
    ];
    assert_eq!(seen, expected);
    let ben = ann.get_member("roadmap", "user:ben").await.unwrap();
    assert_eq!(ben.grants.len(), 1, "added once");
    for who in ["user:eve", "user:idle", "user:nobody"] {
        let missing = (Code::NotFound, "MEMBER_NOT_FOUND".to_owned());
        assert_eq!(refusal(ann.get_member("roadmap", who).await), missing, "{who}");
    }
}

#[tokio::test]
async fn mem_2_an_outside_address_gets_one_answer_whether_or_not_somebody_has_it() {
    let server = server().await;
    let ann = server.acting("user:ann");
    let mut answers = Vec::new();
    // Has an account; is deactivated; has none, at two domains, one of them ours elsewhere.
    for address in [
        "eve@elsewhere.example",
        "EVE@elsewhere.example",
        "asleep@elsewhere.example",
        "nobody@elsewhere.example",
        "nobody@nowhere.example",
    ] {
        let outcomes = ann.add_members(adding("roadmap", &[address], "viewer")).await.unwrap();
        assert_eq!(refused(&outcomes[0]), Some(ErrorReason::NotSupportedYet));
        assert_eq!(outcomes[0].subject, None, "no name");
        answers.push(outcomes[0].encode_to_vec());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "byte by byte");
}

#[tokio::test]
async fn mem_2_adding_never_changes_a_grant_that_is_there() {
    let server = server().await;
    let time = now(&server.database.url).await;
    let ann = server.acting("user:ann");
    let short = v1::AddMembersRequest {
        end: Some(End::ExpireTime(instant(time + HOUR))),
        ..adding("roadmap", &["user:ben"], "viewer")
    };
    ann.add_members(short).await.unwrap();
    let to_come = v1::AddMembersRequest {
        start_time: Some(instant(time + HOUR)),
        ..adding("roadmap", &["group:core"], "viewer")
    };
    ann.add_members(to_come).await.unwrap();
    for who in ["user:ben", "group:core", "user:ann"] {
        let before = ann.get_member("roadmap", who).await.unwrap();
        for role in ["manager", "viewer", "assessor"] {
            let again = ann.add_member("roadmap", who, role).await.unwrap();
            assert_eq!(again.status(), AddMemberStatus::AlreadyMember, "{who} {role}");
        }
        let after = ann.get_member("roadmap", who).await.unwrap();
        assert_eq!(after.grants, before.grants, "{who}");
    }
}

#[tokio::test]
async fn mem_2_an_external_who_is_a_member_stays_one() {
    let server = server().await;
    let system = server.system();
    system.set_site_role("acme", "eve", SiteRole::Viewer).await;
    system.add_member("roadmap", "user:eve", "viewer").await.unwrap();
    system.set_site_role("acme", "eve", SiteRole::Guest).await;
    for who in ["user:eve", "eve@elsewhere.example"] {
        let outcome = system.add_member("roadmap", who, "viewer").await.unwrap();
        assert_eq!(outcome.status(), AddMemberStatus::AlreadyMember, "{who}");
    }
    assert!(server.allows("user:eve", "portfolio.view", "roadmap").await);
    system.remove_member("roadmap", "user:eve").await.unwrap();
    let again = system.add_member("roadmap", "user:eve", "viewer").await.unwrap();
    assert_eq!(refused(&again), Some(ErrorReason::NotSupportedYet), "would have to be invited");
}

#[tokio::test]
async fn mem_2_a_period_lies_ahead_and_a_role_exists() {
    let server = server().await;
    let time = now(&server.database.url).await;
    let ann = server.acting("user:ann");
    let adding = || adding("roadmap", &["user:ben"], "viewer");
    let ends = |end| v1::AddMembersRequest { end: Some(end), ..adding() };
    let past = ann.add_members(ends(End::ExpireTime(instant(time)))).await.unwrap_err();
    assert_eq!(fields(&past), ["expire_time"]);
    let backwards = v1::AddMembersRequest {
        start_time: Some(instant(time + HOUR)),
        ..ends(End::ExpireTime(instant(time + HOUR)))
    };
    let backwards = ann.add_members(backwards).await.unwrap_err();
    assert_eq!(fields(&backwards), ["expire_time"]);
    let unknown = v1::AddMembersRequest { role: "captain".to_owned(), ..adding() };
    let unknown = ann.add_members(unknown).await;
    assert_eq!(refusal(unknown), (Code::NotFound, "ROLE_NOT_FOUND".to_owned()));
    let for_an_hour = v1::AddMembersRequest {
        start_time: Some(instant(time + HOUR)),
        ..ends(End::Duration(prost_types::Duration { seconds: 3_600, nanos: 0 }))
    };
    ann.add_members(for_an_hour).await.unwrap();
    let member = ann.get_member("roadmap", "user:ben").await.unwrap();
    let end = member.grants[0].expire_time;
    assert_eq!(end, Some(instant(time + 2 * HOUR)), "a duration counts from the begin");
}

#[tokio::test]
async fn mem_9_what_has_ended_stays_listed_and_is_given_again_in_one_act() {
    let server = server().await;
    let url = &server.database.url;
    let ann = server.acting("user:ann");
    ann.add_member("roadmap", "user:ben", "contributor").await.unwrap();
    let removed = ann.remove_member("roadmap", "user:ben").await.unwrap().member.unwrap();
    assert_eq!(removed.state(), AccessState::Ended);
    let member = ann.get_member("roadmap", "user:ben").await.unwrap();
    assert_eq!(member, removed, "still listed");
    assert!(member.grants[0].revoke_time.is_some());
    // One that ended by itself, as it would be an hour later.
    ann.add_member("roadmap", "group:core", "viewer").await.unwrap();
    let over = "UPDATE grants SET create_time = create_time - interval '2 hours',
        expire_time = now() - interval '1 hour' WHERE subject_id = 'core'";
    execute(url, over).await;
    for who in ["user:ben", "group:core"] {
        let member = ann.get_member("roadmap", who).await.unwrap();
        assert_eq!(member.state(), AccessState::Ended, "{who}");
        let again = ann.add_member("roadmap", who, "viewer").await.unwrap();
        assert_eq!(again.status(), AddMemberStatus::Added, "{who}");
        let member = ann.get_member("roadmap", who).await.unwrap();
        let states: Vec<_> = member.grants.iter().map(v1::Grant::state).collect();
        assert_eq!(states, [AccessState::Active, AccessState::Ended], "{who}");
    }
    assert!(server.allows("user:ben", "portfolio.view", "roadmap").await);
    assert!(!server.allows("user:ben", "initiative.edit", "roadmap").await);
}
