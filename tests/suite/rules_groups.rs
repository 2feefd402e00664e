//! Groups: lists, deletion, and whose they are (DIR-4, AUT-2).

use std::collections::BTreeSet;

use portcullis::app::{self, GroupMemberOutcome, NewOrganization, UpsertGroup, UpsertUser};
use portcullis::domain::caller::{Actor, Caller, CallerKind, Organizations, Principal, Scope};
use portcullis::domain::directory::{ExternalsJoin, SiteRole};
use portcullis::domain::page::Page;
use portcullis::domain::refusal::Reason;
use portcullis::domain::role::Preset;
use portcullis::domain::{OrganizationId, Subject};
use portcullis::proto::v1;
use portcullis::storage::WriteContext;
use tonic::{Code, Status};

use crate::calls::texts;
use crate::harness::{Client, TestServer, fields, reason, refusal};
use crate::house::{House, at_home, id, system};

async fn delete(client: &Client, group: &str) -> Result<v1::DeleteGroupResponse, Status> {
    let request = v1::DeleteGroupRequest {
        group: group.to_owned(),
        confirm_group: group.to_owned(),
        ..Default::default()
    };
    Ok(client.directory().delete_group(request).await?.into_inner())
}

async fn list(client: &Client, page_size: i32, page_token: &str) -> v1::ListGroupsResponse {
    let request = v1::ListGroupsRequest {
        organization: "acme".to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    client.directory().list_groups(request).await.expect("groups").into_inner()
}

#[tokio::test]
async fn dir_4_the_groups_of_an_organization_come_by_id_page_by_page() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").group("a", &[]).group("Z", &[]);
    given.group("b-1", &[]).group("B", &[]).group("_x", &[]).await;
    let system = server.system();
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(&system, 2, &token).await;
        assert!(page.groups.len() <= 2);
        ids.extend(page.groups.into_iter().map(|group| group.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, ["B", "Z", "_x", "a", "b-1"], "in byte order");

    let token = list(&system, 2, "").await.next_page_token;
    let ask = async |organization: &str, page_size, page_token: &str| {
        let request = v1::ListGroupsRequest {
            organization: organization.to_owned(),
            page_size,
            page_token: page_token.to_owned(),
        };
        refusal(system.directory().list_groups(request).await)
    };
    let invalid = |reason: &str| (Code::InvalidArgument, reason.to_owned());
    assert_eq!(ask("other", 2, &token).await, invalid("PAGE_TOKEN_INVALID"));
    assert_eq!(ask("acme", -1, "").await, invalid("INVALID_FIELD"));
    let unknown = (Code::NotFound, "ORGANIZATION_NOT_FOUND".to_owned());
    assert_eq!(ask("other", 2, "").await, unknown);
}

/// `cid` is in `inner`, which is in `core` beside `ben`; `core` is in `outer`.
async fn nested() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").user("cid");
    let given = given.group("inner", &["user:cid"]).group("core", &["user:ben", "group:inner"]);
    let given = given.group("outer", &["group:core"]);
    let given = given.portfolio("plaza").owned_by("ann").with("group:core", "viewer");
    let given = given.portfolio("tower").owned_by("ann").with("group:inner", "viewer");
    given.portfolio("roadmap").owned_by("ann").with("group:outer", "contributor").await;
    server
}

#[tokio::test]
async fn dir_4_deleting_a_group_ends_its_grants_and_memberships_at_once() {
    let server = nested().await;
    let system = server.system();
    for (who, where_) in [("user:ben", "plaza"), ("user:cid", "plaza"), ("user:cid", "roadmap")] {
        assert!(server.allows(who, "portfolio.view", where_).await);
    }
    system.warm_up("user:ben", "portfolio.view", "plaza").await;
    let deleted = delete(&system, "core").await.unwrap();
    assert_eq!(deleted.group.unwrap().id, "core");
    let token = deleted.consistency_token;
    let other = server.twin().await;
    for client in [&system, &other.system()] {
        for who in ["user:ben", "user:cid", "group:core", "group:inner"] {
            for place in ["plaza", "roadmap"] {
                let warm = client.check_after(&token, who, "portfolio.view", place).await;
                let consistent = client.check(who, "portfolio.view", place).await.unwrap();
                assert!(!warm.allowed && !consistent.allowed, "{who} on {place}");
                assert_eq!(warm.reason(), consistent.reason(), "{who} on {place}");
            }
        }
        // What others gave stays.
        assert!(client.check("user:cid", "portfolio.view", "tower").await.unwrap().allowed);
    }
    let request = v1::GetGroupRequest { group: "outer".to_owned(), ..Default::default() };
    let outer = system.directory().get_group(request).await.unwrap().into_inner();
    assert!(outer.members.is_empty());
    let member = system.get_member("plaza", "group:core").await.unwrap();
    assert_eq!(member.state(), v1::AccessState::Ended);
    let events = "SELECT what || ' ' || object || ' ' || coalesce(subject, '-') FROM change_log
        WHERE commit_id = (SELECT commit_id FROM change_log WHERE what = 'group.deleted')
        ORDER BY 1";
    let expected = [
        "group.deleted core group:core",
        "group_member.removed core group:inner",
        "group_member.removed core user:ben",
        "group_member.removed outer group:core",
        "member.removed plaza group:core",
    ];
    assert_eq!(texts(&server.database.url, events).await, expected);
}

#[tokio::test]
async fn dir_4_a_later_group_of_the_same_id_inherits_nothing() {
    let server = nested().await;
    let system = server.system();
    system.warm_up("user:ben", "portfolio.view", "plaza").await;
    delete(&system, "core").await.unwrap();
    server.given().organization("late").await;
    let group = v1::Group {
        id: "core".to_owned(),
        organization: "late".to_owned(),
        display_name: "Core".to_owned(),
    };
    let request = v1::UpsertGroupRequest { group: Some(group), ..Default::default() };
    let made = system.directory().upsert_group(request).await.unwrap().into_inner();
    assert_eq!(made.status(), v1::UpsertStatus::Created);
    system.join("core", "user:ben").await;
    for who in ["user:ben", "user:cid", "group:core"] {
        assert!(!server.allows(who, "portfolio.view", "plaza").await, "{who}");
        assert!(!server.allows(who, "portfolio.view", "roadmap").await, "{who}");
    }
    let request = v1::GetGroupRequest { group: "core".to_owned(), ..Default::default() };
    let found = system.directory().get_group(request).await.unwrap().into_inner();
    assert_eq!(found.members.len(), 1);
}

#[tokio::test]
async fn bad_3_a_deletion_that_is_retried_happens_once() {
    let server = nested().await;
    let mut directory = server.system().directory();
    let request = |confirm: &str| v1::DeleteGroupRequest {
        request_id: "once".to_owned(),
        group: "core".to_owned(),
        confirm_group: confirm.to_owned(),
    };
    for wrong in ["", "Core", "inner"] {
        let status = directory.delete_group(request(wrong)).await.unwrap_err();
        assert_eq!(fields(&status), ["confirm_group"]);
    }
    let first = directory.delete_group(request("core")).await.unwrap().into_inner();
    let again = directory.delete_group(request("core")).await.unwrap().into_inner();
    assert_eq!(first, again);
    let gone = delete(&server.system(), "core").await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::NotFound, "GROUP_NOT_FOUND"));
}

/// A write by a service that keeps the directory of these organizations alone.
fn keeper(organizations: &[&str]) -> WriteContext {
    let organizations = organizations.iter().map(|organization| id(organization)).collect();
    let kind = CallerKind::Service {
        scopes: BTreeSet::from([Scope::DirectoryWrite]),
        organizations: Organizations::These(organizations),
    };
    let caller = Caller::new("service:keeper".to_owned(), kind);
    WriteContext { principal: Principal { caller, actor: Actor::System }, ..system() }
}

fn reading(context: WriteContext) -> app::Context {
    app::Context { principal: context.principal, deadline: context.deadline }
}

fn why<T: std::fmt::Debug>(answer: Result<T, app::Error>) -> Reason {
    match answer.expect_err("a refusal") {
        app::Error::Refused(refusal) => refusal.reason,
        other => panic!("{other:?}"),
    }
}

fn group(name: &str, organization: &str) -> UpsertGroup {
    UpsertGroup { id: Some(id(name)), organization: id(organization), display_name: name.into() }
}

#[tokio::test]
async fn aut_2_the_groups_of_another_organization_do_not_exist() {
    let house = House::open().await;
    house.furnish(&["ann", "ben"]).await;
    let other = NewOrganization {
        id: Some(id("other")),
        display_name: "Other".into(),
        domains: Vec::new(),
        preset: Preset::InitiativePlanning,
        default_visibility: None,
        outsider_site_role: SiteRole::Guest,
        partner_organizations: Vec::new(),
        externals_join: ExternalsJoin::default(),
        privacy_approval: false,
    };
    let app = &house.app;
    app.create_organization(&system(), &other).await.unwrap();
    app.upsert_group(&system(), &group("core", "acme")).await.unwrap();
    let home = Some(id::<OrganizationId>("other"));
    let eve = UpsertUser { home_organization: home, ..at_home("eve") };
    app.upsert_users(&system(), &[Ok(eve)]).await.unwrap();

    let theirs = || keeper(&["other"]);
    let page = Page { size: 10, after: None };
    let core = id("core");
    assert_eq!(why(app.get_group(&reading(theirs()), &core, &page).await), Reason::GroupNotFound);
    assert_eq!(why(app.delete_group(&theirs(), &core).await), Reason::GroupNotFound);
    let ann: Vec<_> = vec![Ok(id::<Subject>("user:ann"))];
    assert_eq!(why(app.add_group_members(&theirs(), &core, &ann).await), Reason::GroupNotFound);
    assert_eq!(why(app.remove_group_members(&theirs(), &core, &ann).await), Reason::GroupNotFound);
    let page = Page { size: 10, after: None };
    let listed = app.list_groups(&reading(theirs()), &id("acme"), &page).await;
    assert_eq!(why(listed), Reason::OrganizationNotFound);
    let elsewhere = app.upsert_group(&theirs(), &group("new", "acme")).await;
    assert_eq!(why(elsewhere), Reason::OrganizationNotFound);
    assert_eq!(why(app.upsert_group(&theirs(), &group("core", "other")).await), Reason::IdTaken);

    // Its own groups take whom its organization knows, and nobody else.
    app.upsert_group(&theirs(), &group("own", "other")).await.unwrap();
    let own = id("own");
    let join = async |user: &str| {
        let entry = [Ok(id::<Subject>(user))];
        let added = app.add_group_members(&theirs(), &own, &entry).await;
        added.unwrap().value.remove(0)
    };
    let GroupMemberOutcome::Refused(refusal) = join("user:ann").await else {
        panic!("ann is unknown there");
    };
    let GroupMemberOutcome::Refused(unknown) = join("user:nobody").await else {
        panic!("nobody is unknown everywhere");
    };
    assert_eq!(refusal.message.replace("ann", "nobody"), unknown.message);
    let changed = |outcome| matches!(outcome, GroupMemberOutcome::Changed(_));
    assert!(changed(join("user:eve").await));
    let (other, ben) = (id("other"), id("ben"));
    app.set_site_role(&system(), &other, &ben, SiteRole::Guest).await.unwrap();
    assert!(changed(join("user:ben").await));
    let both = keeper(&["acme", "other"]);
    let added = app.add_group_members(&both, &own, &ann).await.unwrap();
    assert!(changed(added.value.into_iter().next().unwrap()), "known to acme, which is in reach");
}
