//! Lists of members (MEM-4).

use portcullis::proto::v1;
use portcullis::proto::v1::AccessState;
use tonic::{Code, Status};

use crate::calls::{HOUR, adding, instant, now, service_account};
use crate::harness::{Client, TestServer, refusal, subject};

fn of(portfolio: &str) -> v1::ListMembersRequest {
    v1::ListMembersRequest { portfolio: portfolio.to_owned(), ..Default::default() }
}

async fn list(
    client: &Client,
    request: v1::ListMembersRequest,
) -> Result<v1::ListMembersResponse, Status> {
    Ok(client.members().list_members(request).await?.into_inner())
}

fn name(member: &v1::Member) -> String {
    use v1::subject::Kind;
    match member.subject.as_ref().and_then(|subject| subject.kind.clone()).expect("a subject") {
        Kind::User(id) => format!("user:{id}"),
        Kind::Group(id) => format!("group:{id}"),
        Kind::ServiceAccount(id) => format!("service_account:{id}"),
    }
}

async fn names(client: &Client, filter: v1::MemberFilter) -> Vec<String> {
    let request = v1::ListMembersRequest { filter: Some(filter), ..of("roadmap") };
    list(client, request).await.expect("members").members.iter().map(name).collect()
}

/// `ann` owns it; `Ben`, `cid` (scheduled), `core`, `ci`; `dan` was removed, and `fay` is
/// deactivated.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("Ben").user("cid");
    let given = given.user("dan").user("fay").user("eve").group("core", &["user:fay"]);
    given.portfolio("roadmap").owned_by("ann").await;
    service_account(&server.database.url, "ci").await;
    let system = server.system();
    let members = ["user:Ben", "user:dan", "user:eve", "user:fay", "group:core"];
    system.add_members(adding("roadmap", &members, "viewer")).await.unwrap();
    system.add_member("roadmap", "service_account:ci", "contributor").await.unwrap();
    let start = now(&server.database.url).await + HOUR;
    let later = v1::AddMembersRequest {
        start_time: Some(instant(start)),
        ..adding("roadmap", &["user:cid"], "contributor")
    };
    system.add_members(later).await.unwrap();
    system.set_role("roadmap", "user:dan", "assessor").await.unwrap();
    system.remove_member("roadmap", "user:dan").await.unwrap();
    system.deactivate("fay").await;
    server
}

#[tokio::test]
async fn mem_4_members_are_listed_with_all_that_is_known_of_them() {
    let server = server().await;
    let system = server.system();
    let user = |id: &str, email: &str, name: &str| v1::User {
        id: id.to_owned(),
        email: email.to_owned(),
        display_name: name.to_owned(),
        home_organization: "acme".to_owned(),
        ..Default::default()
    };
    system.upsert_users(vec![user("Ben", "ben.b@acme.example", "Ben Böhm")]).await;
    let end = now(&server.database.url).await + HOUR;
    system.set_end("roadmap", "user:Ben", Some(end)).await.unwrap();
    let listed = list(&server.acting("user:ann"), of("roadmap")).await.unwrap();
    let expected = [
        "user:Ben",
        "user:ann",
        "user:cid",
        "user:eve",
        "user:fay",
        "group:core",
        "service_account:ci",
    ];
    assert_eq!(listed.members.iter().map(name).collect::<Vec<_>>(), expected);
    // Each just as it is read alone.
    for member in &listed.members {
        let alone = system.get_member("roadmap", &name(member)).await.unwrap();
        let same = v1::Member { display_name: member.display_name.clone(), ..alone };
        assert_eq!(*member, same);
    }
    let ben = &listed.members[0];
    assert_eq!((ben.display_name.as_str(), ben.email.as_str()), ("Ben Böhm", "ben.b@acme.example"));
    assert!(!ben.company.is_empty());
    assert_eq!(ben.grants[0].expire_time, Some(instant(end)));
    assert_eq!(ben.grants[0].role, "viewer");
    assert_eq!(listed.members[5].company, "", "a group is at home nowhere");
    assert_eq!(listed.members[2].state(), AccessState::Scheduled);
    assert!(listed.members[4].deactivated);
    assert!(!listed.members[6].display_name.is_empty(), "a service account has a name");
}

#[tokio::test]
async fn mem_4_members_are_searched_and_filtered() {
    let server = server().await;
    let system = server.system();
    let none = v1::MemberFilter::default;
    let state = |state: AccessState| v1::MemberFilter { state: state.into(), ..none() };
    assert_eq!(names(&system, state(AccessState::Ended)).await, ["user:dan"]);
    assert_eq!(names(&system, state(AccessState::Scheduled)).await, ["user:cid"]);
    let active = names(&system, state(AccessState::Active)).await;
    assert_eq!(active.len(), 6, "{active:?}");
    let role = |role: &str| v1::MemberFilter { role: role.to_owned(), ..none() };
    let contributors = ["user:cid", "service_account:ci"];
    assert_eq!(names(&system, role("contributor")).await, contributors);
    assert_eq!(names(&system, role("manager")).await, ["user:ann"]);
    assert!(names(&system, role("assessor")).await.is_empty(), "dan is one no more");
    let ended = v1::MemberFilter { state: AccessState::Ended.into(), ..role("assessor") };
    assert_eq!(names(&system, ended).await, ["user:dan"]);
    // Whoever has another role now had this one before: that does not count.
    system.set_role("roadmap", "user:eve", "contributor").await.unwrap();
    assert!(!names(&system, role("viewer")).await.contains(&"user:eve".to_owned()));
    let deactivated = |it| v1::MemberFilter { deactivated: Some(it), ..none() };
    assert_eq!(names(&system, deactivated(true)).await, ["user:fay"]);
    let active = ["user:Ben", "user:ann", "user:cid", "user:eve", "service_account:ci"];
    assert_eq!(names(&system, deactivated(false)).await, active);
    let search = |text: &str| v1::MemberFilter { search: text.to_owned(), ..none() };
    assert_eq!(names(&system, search("BEN@ACME")).await, ["user:Ben"], "by address");
    assert_eq!(names(&system, search("COR")).await, ["group:core"], "by name");
    for literal in ["%", "_", "\\", "a%e"] {
        assert!(names(&system, search(literal)).await.is_empty(), "{literal}");
    }
    let everyone = names(&system, none()).await;
    let both = v1::MemberFilter { deactivated: Some(true), ..search("ben") };
    assert!(names(&system, both).await.is_empty());
    assert_eq!(everyone.len(), 7);
}

#[tokio::test]
async fn mem_4_the_list_needs_members_view() {
    let server = server().await;
    let system = server.system();
    system.add_member("roadmap", "user:dan", "assessor").await.unwrap();
    assert!(list(&server.acting("user:Ben"), of("roadmap")).await.is_ok(), "viewers hold it");
    let refused = refusal(list(&server.acting("user:dan"), of("roadmap")).await);
    assert_eq!(refused, (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
    for (client, portfolio) in [
        (server.acting("user:cid"), "roadmap"),
        (server.acting("user:fay"), "nowhere"),
        (system, "nowhere"),
    ] {
        let status = list(&client, of(portfolio)).await.unwrap_err();
        assert_ne!(status.code(), Code::Ok);
        assert!([Code::NotFound, Code::PermissionDenied].contains(&status.code()), "{status:?}");
    }
}

#[tokio::test]
async fn mem_4_pages_neither_miss_nor_repeat_whoever_is_there_throughout() {
    let server = server().await;
    let system = server.system();
    let ids: Vec<String> = (0..60).map(|number| format!("u{number:02}")).collect();
    let user = |id: &String| v1::User {
        id: id.clone(),
        email: format!("{id}@acme.example"),
        home_organization: "acme".to_owned(),
        ..Default::default()
    };
    system.upsert_users(ids.iter().map(user).collect()).await;
    // Those of even numbers stay; the others come and go between the pages.
    let of_rest = |rest: usize| -> Vec<String> {
        ids.iter().skip(rest).step_by(2).map(|id| format!("user:{id}")).collect()
    };
    let (even, odd) = (of_rest(0), of_rest(1));
    let text: Vec<&str> = even.iter().map(String::as_str).collect();
    system.add_members(adding("roadmap", &text, "viewer")).await.unwrap();
    let (mut seen, mut page_token, mut turn) = (Vec::new(), String::new(), 0);
    loop {
        let request = v1::ListMembersRequest { page_size: 4, page_token, ..of("roadmap") };
        let page = list(&system, request).await.unwrap();
        assert!(page.members.len() <= 4);
        seen.extend(page.members.iter().map(name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        for who in odd.iter().skip(turn % 3).step_by(3) {
            system.add_member("roadmap", who, "viewer").await.unwrap();
        }
        for who in odd.iter().skip((turn + 1) % 3).step_by(3) {
            // Those who were not there cannot go.
            let _ = system.remove_member("roadmap", who).await;
        }
        let stays = &even[turn % even.len()];
        let role = if turn % 2 == 0 { "contributor" } else { "viewer" };
        system.set_role("roadmap", stays, role).await.unwrap();
        turn += 1;
    }
    let mut once = seen.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "nobody twice");
    for who in &even {
        assert!(seen.contains(who), "{who} was there throughout");
    }
    assert!(seen.contains(&"service_account:ci".to_owned()));
    assert_eq!(subject(&seen[0]), subject("user:Ben"));
}

#[tokio::test]
async fn bad_1_a_page_token_of_another_list_is_refused() {
    let server = server().await;
    let system = server.system();
    let request = v1::ListMembersRequest { page_size: 2, ..of("roadmap") };
    let page_token = list(&system, request).await.unwrap().next_page_token;
    let filter = Some(v1::MemberFilter { role: "viewer".to_owned(), ..Default::default() });
    for other in [of("plaza"), v1::ListMembersRequest { filter, ..of("roadmap") }] {
        let request = v1::ListMembersRequest { page_token: page_token.clone(), ..other };
        let refused = refusal(list(&system, request).await);
        assert_eq!(refused, (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned()));
    }
}
