//! Roles and the catalogue as clients read them, and what services register (ROL-1 to ROL-3).

use std::collections::BTreeSet;

use portcullis::app::{self, RegisterPermission, UpsertGroup};
use portcullis::domain::caller::{Actor, Caller, CallerKind, Organizations, Principal, Scope};
use portcullis::domain::page::Page;
use portcullis::domain::permission::Effect;
use portcullis::domain::refusal::Reason;
use portcullis::proto::v1;
use portcullis::proto::v1::DecisionReason;
use portcullis::proto::v1::consistency::Requirement;
use portcullis::storage::WriteContext;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::calls::{execute, number};
use crate::harness::{Client, TestServer, reason, refusal};
use crate::house::{House, at_home, id, system};

fn budget(name: &str) -> v1::CatalogPermission {
    v1::CatalogPermission {
        name: name.to_owned(),
        effect: v1::PermissionEffect::Change.into(),
        ..Default::default()
    }
}

async fn register(
    client: &Client,
    permission: v1::CatalogPermission,
) -> Result<v1::RegisterPermissionResponse, Status> {
    let request =
        v1::RegisterPermissionRequest { permission: Some(permission), ..Default::default() };
    Ok(client.roles().register_permission(request).await?.into_inner())
}

async fn role(client: &Client, key: &str) -> Result<v1::Role, Status> {
    let request = v1::GetRoleRequest { organization: "acme".to_owned(), role: key.to_owned() };
    let found = client.roles().get_role(request).await?.into_inner();
    Ok(found.role.expect("a role"))
}

async fn catalog(client: &Client, page_size: i32) -> Vec<v1::CatalogPermission> {
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListCatalogPermissionsRequest { page_size, page_token };
        let page = client.roles().list_catalog_permissions(request).await.expect("entries");
        let page = page.into_inner();
        entries.extend(page.permissions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return entries;
        }
    }
}

async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").external("eve");
    let given = given.group("guests", &["user:eve"]);
    let given = given.portfolio("roadmap").owned_by("ann").with("user:ben", "contributor");
    given.with("group:guests", "manager").await;
    server
}

fn held(role: &v1::Role, permission: &str) -> Option<v1::Reach> {
    role.permissions
        .iter()
        .find(|held| held.permission == permission)
        .map(v1::RolePermission::reach)
}

#[tokio::test]
async fn rol_2_rol_3_the_roles_of_an_organization_are_read_with_what_they_hold() {
    let server = server().await;
    let system = server.system();
    let ask = |page_size, page_token: String| v1::ListRolesRequest {
        organization: "acme".to_owned(),
        page_size,
        page_token,
    };
    let all = system.roles().list_roles(ask(0, String::new())).await.unwrap().into_inner();
    let keys: Vec<&str> = all.roles.iter().map(|role| role.key.as_str()).collect();
    assert_eq!(keys, ["assessor", "contributor", "manager", "viewer"]);
    assert!(all.roles.iter().all(|role| role.built_in && role.organization == "acme"));
    let first = system.roles().list_roles(ask(3, String::new())).await.unwrap().into_inner();
    let token = first.next_page_token.clone();
    let rest = system.roles().list_roles(ask(3, token.clone())).await.unwrap().into_inner();
    assert_eq!([first.roles, rest.roles].concat(), all.roles);
    assert!(rest.next_page_token.is_empty());

    let viewer = role(&system, "viewer").await.unwrap();
    assert_eq!(Some(&viewer), all.roles.last());
    assert_eq!(viewer.display_name, "Viewer");
    assert_eq!(held(&viewer, "comment.edit"), Some(v1::Reach::Own));
    assert_eq!(held(&viewer, "portfolio.view"), Some(v1::Reach::Any));
    assert_eq!(held(&viewer, "members.invite"), None);
    let names: Vec<&String> = viewer.permissions.iter().map(|held| &held.permission).collect();
    assert!(names.is_sorted());

    let unknown = role(&system, "nobody").await;
    assert_eq!(refusal(unknown), (Code::NotFound, "ROLE_NOT_FOUND".to_owned()));
    let request = v1::GetRoleRequest { organization: "no".to_owned(), role: "viewer".to_owned() };
    let nowhere = system.roles().get_role(request).await;
    assert_eq!(refusal(nowhere), (Code::NotFound, "ORGANIZATION_NOT_FOUND".to_owned()));
    let request = v1::ListRolesRequest { organization: "no".to_owned(), ..ask(3, token) };
    let foreign = system.roles().list_roles(request).await;
    assert_eq!(refusal(foreign), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned()));
}

#[tokio::test]
async fn rol_1_the_catalogue_is_listed_by_name_page_by_page() {
    let server = server().await;
    let all = catalog(&server.system(), 0).await;
    assert_eq!(all.len(), 32);
    assert!(all.is_sorted_by_key(|entry| entry.name.clone()));
    assert!(all.iter().all(|entry| !entry.registered));
    assert_eq!(catalog(&server.system(), 5).await, all);
    let epic = all.iter().find(|entry| entry.name == "epic.link").unwrap();
    assert!(epic.internal_only && !epic.may_be_own);
    assert_eq!(epic.effect(), v1::PermissionEffect::Change);
}

#[tokio::test]
async fn rol_1_what_is_registered_is_known_everywhere_at_once_and_held_by_managers() {
    let server = server().await;
    let other = server.twin().await;
    let (here, there) = (server.system(), other.system());
    for client in [&here, &there] {
        client.warm_up("user:ann", "portfolio.view", "roadmap").await;
    }
    let unknown = there.check("user:ann", "budget.approve", "roadmap").await;
    assert_eq!(refusal(unknown), (Code::InvalidArgument, "PERMISSION_NAME_UNKNOWN".to_owned()));
    let done = register(&here, budget("budget.approve")).await.unwrap();
    let entry = done.permission.unwrap();
    assert!(entry.registered);
    // Without a token: a name that memory does not have is looked up before it is refused.
    for client in [&there, &here] {
        for (who, expected) in [
            ("user:ann", DecisionReason::DirectGrant),
            ("user:eve", DecisionReason::GroupGrant),
            ("user:ben", DecisionReason::PermissionMissing),
        ] {
            let answer = client.check_with(who, "budget.approve", "roadmap", None).await.unwrap();
            assert_eq!(answer.reason(), expected, "{who}");
            let token = Requirement::AtLeastAsFresh(done.consistency_token.clone());
            let warm = client.check_with(who, "budget.approve", "roadmap", Some(token)).await;
            assert_eq!(warm.unwrap().reason(), expected, "{who}");
        }
    }
    let mut internal = budget("budget.close");
    internal.internal_only = true;
    register(&here, internal).await.unwrap();
    let answer = there.check("user:eve", "budget.close", "roadmap").await.unwrap();
    assert_eq!(answer.reason(), DecisionReason::InternalOnly);

    let manager = role(&there, "manager").await.unwrap();
    assert_eq!(held(&manager, "budget.approve"), Some(v1::Reach::Any));
    assert_eq!(held(&role(&there, "contributor").await.unwrap(), "budget.approve"), None);
    let listed = catalog(&there, 0).await;
    assert!(listed.contains(&entry));
    // An organization that is created later has it too, and a near miss is helped.
    server.given().organization("late").user("dan").portfolio("l").owned_by("dan").await;
    assert!(server.allows("user:dan", "budget.approve", "l").await);
    let status = there.check("user:ann", "budget.aprove", "roadmap").await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["nearest"], "budget.approve");
}

#[tokio::test]
async fn rol_1_registering_again_changes_nothing_and_entries_never_change() {
    let server = server().await;
    let system = server.system();
    let first = register(&system, budget("budget.approve")).await.unwrap();
    let logged = "SELECT count(*) FROM change_log WHERE what = 'permission.registered'";
    let again = register(&system, budget("budget.approve")).await.unwrap();
    assert_eq!(first.permission, again.permission);
    assert_eq!(number(&server.database.url, logged).await, 1);
    let other = |change: fn(&mut v1::CatalogPermission)| {
        let mut entry = budget("budget.approve");
        change(&mut entry);
        entry
    };
    for different in [
        other(|entry| entry.may_be_own = true),
        other(|entry| entry.internal_only = true),
        other(|entry| entry.effect = v1::PermissionEffect::Read.into()),
        v1::CatalogPermission { may_be_own: true, ..budget("portfolio.update") },
    ] {
        let refused = refusal(register(&system, different).await);
        assert_eq!(refused, (Code::AlreadyExists, "PERMISSION_DIFFERS".to_owned()));
    }
    // One that ships with the catalogue stays what it is.
    let shipped = register(&system, budget("portfolio.update")).await.unwrap();
    assert!(!shipped.permission.unwrap().registered);
    assert_eq!(number(&server.database.url, logged).await, 1);
}

#[tokio::test]
async fn bad_2_the_catalogue_takes_4096_entries() {
    let server = server().await;
    let system = server.system();
    let fill = "INSERT INTO permissions
        SELECT 'filler.n' || n, n, 'read', false, false, true FROM generate_series(32, 4094) AS n";
    execute(&server.database.url, fill).await;
    register(&system, budget("budget.last")).await.unwrap();
    let status = register(&system, budget("budget.more")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(reason(&status), "CATALOG_FULL");
    register(&system, budget("budget.last")).await.unwrap();
    assert!(server.allows("user:ann", "budget.last", "roadmap").await);
    assert_eq!(catalog(&system, 1_000).await.len(), 4_096);
}

fn by(kind: CallerKind, actor: Actor) -> WriteContext {
    let caller = Caller::new("somebody".to_owned(), kind);
    WriteContext { principal: Principal { caller, actor }, ..system() }
}

fn why<T: std::fmt::Debug>(answer: Result<T, app::Error>) -> Reason {
    match answer.expect_err("a refusal") {
        app::Error::Refused(refusal) => refusal.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn aut_2_the_catalogue_is_for_callers_that_reach_all_organizations() {
    let house = House::open().await;
    house.furnish(&["ann"]).await;
    let service = |organizations| CallerKind::Service {
        scopes: BTreeSet::from([Scope::Operator]),
        organizations,
    };
    let request = RegisterPermission {
        name: id("budget.approve"),
        effect: Effect::Change,
        may_be_own: false,
        internal_only: false,
    };
    let some = by(service(Organizations::These([id("acme")].into())), Actor::System);
    let refused = house.app.register_permission(&some, &request).await;
    assert_eq!(why(refused), Reason::ScopeMissing);
    let all = by(service(Organizations::All), Actor::System);
    house.app.register_permission(&all, &request).await.unwrap();
}

#[tokio::test]
async fn aut_3_a_person_reads_the_roles_of_organizations_that_know_them() {
    let house = House::open().await;
    house.furnish(&["ann"]).await;
    let mut eve = at_home("eve");
    eve.home_organization = None;
    let mut fay = at_home("fay");
    fay.home_organization = None;
    house.app.upsert_users(&system(), &[Ok(eve), Ok(fay)]).await.unwrap();
    let guests = UpsertGroup {
        id: Some(id("guests")),
        organization: id("acme"),
        display_name: "Guests".into(),
    };
    house.app.upsert_group(&system(), &guests).await.unwrap();
    let fay = [Ok(id("user:fay"))];
    house.app.add_group_members(&system(), &id("guests"), &fay).await.unwrap();
    let read = async |user: &str, organization: &str| {
        let context = by(CallerKind::EndUser(id(user)), Actor::User(id(user)));
        let context = app::Context { principal: context.principal, deadline: context.deadline };
        let page = Page { size: 10, after: None };
        let listed = house.app.list_roles(&context, &id(organization), &page).await;
        let got = house.app.get_role(&context, &id(organization), &id("viewer")).await;
        assert_eq!(listed.is_ok(), got.is_ok());
        listed
    };
    assert_eq!(read("ann", "acme").await.unwrap().value.rows.len(), 4);
    assert_eq!(read("fay", "acme").await.unwrap().value.rows.len(), 4, "by a group");
    assert_eq!(why(read("eve", "acme").await), Reason::OrganizationNotFound);
    assert_eq!(why(read("ann", "nowhere").await), Reason::OrganizationNotFound);
}
