//! Roles of an organization's own, and what the built-in ones hold (ROL-2, ROL-5).

use portcullis::proto::v1;
use portcullis::proto::v1::Visibility;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::calls::{cells, custom_role, number, portfolio, texts};
use crate::harness::{TestServer, fields, reason, refusal};

/// `ada` administers, `ann` owns `roadmap`, `bea` is at home without an office, `eve` in no way.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ada").administrator("ada");
    let given = given.user("ann").user("bea").external("eve");
    given.portfolio("roadmap").owned_by("ann").await;
    server
}

fn no(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

fn metadata(status: &Status, key: &str) -> String {
    let details = status.get_error_details();
    let found = details.error_info().and_then(|info| info.metadata.get(key).cloned());
    found.unwrap_or_else(|| panic!("no `{key}` in {status:?}"))
}

/// What the table of a built-in role would be with more and with less.
async fn table_of(server: &TestServer, role: &str, more: &[&str], less: &[&str]) -> v1::Role {
    let mut role = server.system().get_role(role).await.unwrap();
    role.permissions.retain(|cell| !less.contains(&cell.permission.as_str()));
    role.permissions.extend(cells(more));
    v1::Role { etag: String::new(), ..role }
}

#[tokio::test]
async fn rol_5_administrators_create_roles_that_are_read_as_they_were_given() {
    let server = server().await;
    let ada = server.acting("user:ada");
    let given = v1::Role {
        display_name: "Minute taker".to_owned(),
        description: "Writes down\nwhat was said.".to_owned(),
        built_in: true,
        etag: "ignored".to_owned(),
        ..custom_role("scribe", &["portfolio.view", "comment.edit own", "comment.create"])
    };
    let (created, _) = ada.create_role(given.clone()).await.unwrap();
    let expected = v1::Role {
        permissions: cells(&["comment.create", "comment.edit own", "portfolio.view"]),
        built_in: false,
        etag: created.etag.clone(),
        ..given
    };
    assert_eq!(created, expected);
    assert_eq!(ada.get_role("scribe").await.unwrap(), expected);
    let request = v1::ListRolesRequest { organization: "acme".to_owned(), ..Default::default() };
    let listed = ada.roles().list_roles(request).await.unwrap().into_inner().roles;
    let keys: Vec<&str> = listed.iter().map(|role| role.key.as_str()).collect();
    assert_eq!(keys, ["assessor", "contributor", "manager", "scribe", "viewer"]);
    assert!(listed.contains(&expected));
    let trail = "SELECT what || ' ' || object || ' ' || actor || ' ' || as_administrator
                 FROM change_log WHERE what LIKE 'role.%'";
    assert_eq!(texts(&server.database.url, trail).await, ["role.created scribe user:ada true"]);

    server.acting("user:ann").add_member("roadmap", "user:bea", "scribe").await.unwrap();
    assert!(server.allows("user:bea", "comment.create", "roadmap").await);
    assert!(!server.allows("user:bea", "initiative.view", "roadmap").await);
    for (author, expected) in [("user:bea", true), ("user:ann", false)] {
        let system = server.system();
        let answer = system.check_on("user:bea", "comment.edit", "roadmap", Some(author)).await;
        assert_eq!(answer.allowed, expected, "{author}");
    }
}

#[tokio::test]
async fn rol_5_aut_1_roles_are_for_the_organizations_administrators() {
    let server = server().await;
    server.given().organization("beta").user("bob").administrator("bob").await;
    let denied = no(Code::PermissionDenied, "ADMINISTRATOR_REQUIRED");
    let unknown = no(Code::NotFound, "ORGANIZATION_NOT_FOUND");
    server.system().create_role(custom_role("scribe", &[])).await.expect("the system may");
    for (actor, expected) in
        [("user:ann", denied), ("user:eve", unknown.clone()), ("user:bob", unknown.clone())]
    {
        let client = server.acting(actor);
        let created = client.create_role(custom_role("scout", &[])).await;
        assert_eq!(refusal(created), expected, "{actor}");
        let updated = client.update_role(custom_role("scribe", &[]), &["display_name"]).await;
        assert_eq!(refusal(updated), expected, "{actor}");
        assert_eq!(refusal(client.delete_role("scribe", "").await), expected, "{actor}");
    }
    let elsewhere = v1::Role { organization: "nowhere".to_owned(), ..custom_role("scribe", &[]) };
    assert_eq!(refusal(server.system().create_role(elsewhere).await), unknown);
}

#[tokio::test]
async fn rol_5_a_key_is_used_once() {
    let server = server().await;
    let ada = server.acting("user:ada");
    ada.create_role(custom_role("scribe", &["portfolio.view"])).await.unwrap();
    for key in ["scribe", "viewer", "manager"] {
        let again = ada.create_role(custom_role(key, &[])).await;
        assert_eq!(refusal(again), no(Code::AlreadyExists, "ROLE_EXISTS"), "{key}");
    }
    assert_eq!(ada.get_role("scribe").await.unwrap().permissions, cells(&["portfolio.view"]));
    // Keys are per organization.
    server.given().organization("beta").await;
    let other = v1::Role { organization: "beta".to_owned(), ..custom_role("scribe", &[]) };
    server.system().create_role(other).await.expect("of another organization");
}

#[tokio::test]
async fn rol_5_bad_1_a_role_that_is_malformed_is_refused_with_every_field_at_fault() {
    let server = server().await;
    let ada = server.acting("user:ada");
    let role = |change: fn(&mut v1::Role)| {
        let mut role = custom_role("scribe", &["portfolio.view", "comment.edit own"]);
        change(&mut role);
        role
    };
    for (wrong, paths) in [
        (role(|role| role.key = "a b".to_owned()), &["role.key"][..]),
        (role(|role| role.key = String::new()), &["role.key"]),
        (role(|role| role.organization = String::new()), &["role.organization"]),
        (role(|role| role.display_name = " ".to_owned()), &["role.display_name"]),
        (role(|role| role.display_name = "x".repeat(201)), &["role.display_name"]),
        (role(|role| role.description = "x".repeat(1_001)), &["role.description"]),
        (role(|role| role.description = "a\tb".to_owned()), &["role.description"]),
        (
            role(|role| {
                role.permissions[0].reach = 0;
                role.permissions[1].reach = 7;
            }),
            &["role.permissions[0].reach", "role.permissions[1].reach"],
        ),
        (
            role(|role| role.permissions.push(role.permissions[0].clone())),
            &["role.permissions[2].permission"],
        ),
        (role(|role| role.permissions[0].reach = 1), &["role.permissions[0].reach"]),
    ] {
        let status = ada.create_role(wrong.clone()).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "INVALID_FIELD")
        );
        assert_eq!(fields(&status), paths, "{wrong:?}");
    }
    let many = (0..4_097).map(|n| format!("a.b{n}")).collect::<Vec<_>>();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let status = ada.create_role(custom_role("scribe", &many)).await.unwrap_err();
    assert_eq!(reason(&status), "LIMIT_EXCEEDED");
    let nothing = ada.roles().create_role(v1::CreateRoleRequest::default()).await.unwrap_err();
    assert_eq!(fields(&nothing), ["role"]);
    assert_eq!(refusal(ada.get_role("scribe").await), no(Code::NotFound, "ROLE_NOT_FOUND"));
}

#[tokio::test]
async fn rol_5_rol_1_a_role_holds_what_the_catalogue_has() {
    let server = server().await;
    let ada = server.acting("user:ada");
    let wrong = custom_role("scribe", &["portfolio.view", "comment.edti own", "x"]);
    for answer in [
        ada.create_role(wrong.clone()).await,
        ada.update_role(v1::Role { key: "viewer".to_owned(), ..wrong }, &["permissions"]).await,
    ] {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(reason(&status), "PERMISSION_NAME_UNKNOWN");
        let paths = ["role.permissions[1].permission", "role.permissions[2].permission"];
        assert_eq!(fields(&status), paths);
        assert_eq!(metadata(&status, "permission"), "comment.edti");
        assert_eq!(metadata(&status, "nearest"), "comment.edit");
    }
    // What a service registers is as good as the rest, from then on.
    let request = v1::RegisterPermissionRequest {
        permission: Some(v1::CatalogPermission {
            name: "budget.sign".to_owned(),
            effect: v1::PermissionEffect::Change.into(),
            may_be_own: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    server.system().roles().register_permission(request).await.unwrap();
    ada.create_role(custom_role("signer", &["budget.sign own"])).await.unwrap();
    server.acting("user:ann").add_member("roadmap", "user:bea", "signer").await.unwrap();
    let system = server.system();
    let own = system.check_on("user:bea", "budget.sign", "roadmap", Some("user:bea")).await;
    assert!(own.allowed);
}

#[tokio::test]
async fn rol_5_an_update_changes_what_the_mask_names_and_nothing_twice() {
    let server = server().await;
    let (ada, url) = (server.acting("user:ada"), &server.database.url);
    let (first, _) = ada.create_role(custom_role("scribe", &["portfolio.view"])).await.unwrap();
    let everything = v1::Role {
        display_name: "Writer".to_owned(),
        description: "Writes.".to_owned(),
        permissions: cells(&["comment.create"]),
        ..first.clone()
    };
    let (named, _) = ada.update_role(everything.clone(), &["display_name"]).await.unwrap();
    let expected =
        v1::Role { display_name: "Writer".to_owned(), etag: named.etag.clone(), ..first.clone() };
    assert_eq!(named, expected);
    assert_ne!(named.etag, first.etag);
    let stale = ada.update_role(everything.clone(), &["permissions"]).await;
    assert_eq!(refusal(stale), no(Code::Aborted, "ETAG_MISMATCH"));

    // Without a mask: what is set.
    let request = v1::UpdateRoleRequest {
        role: Some(v1::Role {
            display_name: String::new(),
            etag: named.etag.clone(),
            ..everything.clone()
        }),
        ..Default::default()
    };
    let updated = ada.roles().update_role(request).await.unwrap().into_inner().role.unwrap();
    assert_eq!(updated, v1::Role { etag: updated.etag.clone(), ..everything });
    let logged = "SELECT count(*) FROM change_log WHERE what = 'role.updated'";
    assert_eq!(number(url, logged).await, 2);
    let all = ["display_name", "description", "permissions"];
    let (same, _) = ada.update_role(updated.clone(), &all).await.unwrap();
    assert_eq!(same, updated, "as it was, so nothing is written");
    assert_eq!(number(url, logged).await, 2);
    // Named and empty: emptied.
    let empty = v1::Role {
        description: String::new(),
        permissions: Vec::new(),
        etag: String::new(),
        ..updated
    };
    let (emptied, _) = ada.update_role(empty, &["description", "permissions"]).await.unwrap();
    assert_eq!((emptied.description.as_str(), emptied.permissions.len()), ("", 0));

    for (role, paths, field) in [
        (custom_role("scribe", &[]), &["key"][..], "update_mask"),
        (
            v1::Role { display_name: String::new(), ..custom_role("scribe", &[]) },
            &[],
            "update_mask",
        ),
        (v1::Role { etag: "x".repeat(129), ..custom_role("scribe", &[]) }, &[], "role.etag"),
    ] {
        let status = ada.update_role(role, paths).await.unwrap_err();
        assert_eq!(fields(&status), [field]);
    }
    let missing = ada.update_role(custom_role("nobody", &[]), &["permissions"]).await;
    assert_eq!(refusal(missing), no(Code::NotFound, "ROLE_NOT_FOUND"));
}

#[tokio::test]
async fn rol_5_a_change_counts_for_every_holder_at_once_on_every_replica() {
    let server = server().await;
    let ada = server.acting("user:ada");
    ada.create_role(custom_role("scribe", &["portfolio.view"])).await.unwrap();
    let system = server.system();
    server.given().in_organization("acme").group("core", &["user:bea"]).await;
    system.add_member("roadmap", "group:core", "scribe").await.unwrap();
    let twin = server.twin().await;
    twin.system().warm_up("user:bea", "portfolio.view", "roadmap").await;
    let ask = async |token: &str, permission: &str| {
        let warm = twin.system().check_after(token, "user:bea", permission, "roadmap").await;
        let cold = server.twin().await;
        let cold = cold.system().check_after(token, "user:bea", permission, "roadmap").await;
        assert_eq!((warm.allowed, warm.reason()), (cold.allowed, cold.reason()));
        warm.allowed
    };
    for (cells, view, edit) in [
        (&["portfolio.view", "initiative.edit"][..], true, true),
        (&["initiative.edit"], false, true),
        (&[], false, false),
        (&["portfolio.view"], true, false),
    ] {
        let role = custom_role("scribe", cells);
        let (_, token) = ada.update_role(role, &["permissions"]).await.unwrap();
        assert_eq!(ask(&token, "portfolio.view").await, view, "{cells:?}");
        assert_eq!(ask(&token, "initiative.edit").await, edit, "{cells:?}");
    }
}

/// The bound of site viewers (DIR-8) is the role viewer, as it is.
#[tokio::test]
async fn rol_5_dir_8_a_built_in_role_can_be_changed_and_bounds_as_it_now_is() {
    let server = server().await;
    let given = server.given().in_organization("acme").user("sam");
    given.site_role("sam", v1::SiteRole::Viewer).await;
    let (ada, system) = (server.acting("user:ada"), server.system());
    system.set_visibility("roadmap", Visibility::Open).await.unwrap();
    system.set_access_role("roadmap", "contributor").await.unwrap();
    let twin = server.twin().await;
    twin.system().warm_up("user:sam", "initiative.view", "roadmap").await;
    assert!(!server.allows("user:sam", "initiative.edit", "roadmap").await);
    let more = table_of(&server, "viewer", &["initiative.edit"], &["comment.create"]).await;
    let (changed, token) = ada.update_role(more, &["permissions", "display_name"]).await.unwrap();
    assert!(changed.built_in);
    for (permission, expected) in [("initiative.edit", true), ("comment.create", false)] {
        let answer = twin.system().check_after(&token, "user:sam", permission, "roadmap").await;
        assert_eq!(answer.allowed, expected, "{permission}");
        assert_eq!(server.allows("user:sam", permission, "roadmap").await, expected);
    }
}

#[tokio::test]
async fn rol_5_a_manager_always_keeps_what_manages_access() {
    let server = server().await;
    let ada = server.acting("user:ada");
    let kept = [
        "access.manage",
        "members.invite",
        "members.remove",
        "members.update",
        "members.view",
        "portfolio.delete",
        "requests.decide",
    ];
    for permission in kept {
        let less = table_of(&server, "manager", &[], &[permission]).await;
        let status = ada.update_role(less, &["permissions"]).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(reason(&status), "MANAGER_PERMISSION_REQUIRED");
        assert_eq!(metadata(&status, "permissions"), permission);
    }
    let empty = ada.update_role(custom_role("manager", &[]), &["permissions"]).await.unwrap_err();
    assert_eq!(metadata(&empty, "permissions"), kept.join(", "));
    // The rest is the organization's to decide.
    let less = table_of(&server, "manager", &[], &["initiative.edit", "portfolio.view"]).await;
    ada.update_role(less, &["permissions"]).await.unwrap();
    assert!(!server.allows("user:ann", "initiative.edit", "roadmap").await);
    assert!(server.allows("user:ann", "access.manage", "roadmap").await);
    // Other roles keep nothing.
    ada.update_role(custom_role("contributor", &[]), &["permissions"]).await.unwrap();
}

/// What services register a manager holds by rule (ROL-1): it may be repeated, and not be lessened.
#[tokio::test]
async fn rol_5_rol_1_a_managers_table_may_repeat_what_services_registered() {
    let server = server().await;
    let ada = server.acting("user:ada");
    let request = v1::RegisterPermissionRequest {
        permission: Some(v1::CatalogPermission {
            name: "budget.sign".to_owned(),
            effect: v1::PermissionEffect::Change.into(),
            may_be_own: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    server.system().roles().register_permission(request).await.unwrap();
    let whole = table_of(&server, "manager", &[], &[]).await;
    assert!(whole.permissions.iter().any(|cell| cell.permission == "budget.sign"));
    let before = ada.get_role("manager").await.unwrap();
    for less in [&[][..], &["budget.sign"]] {
        let table = table_of(&server, "manager", &[], less).await;
        let (same, _) = ada.update_role(table, &["permissions"]).await.unwrap();
        assert_eq!(same, before, "nothing is written");
    }
    let own = table_of(&server, "manager", &["budget.sign own"], &["budget.sign"]).await;
    let status = ada.update_role(own, &["permissions"]).await.unwrap_err();
    assert_eq!(reason(&status), "MANAGER_PERMISSION_REQUIRED");
    assert_eq!(metadata(&status, "permissions"), "budget.sign");
}

#[tokio::test]
async fn rol_7_a_role_that_openness_gives_gets_nothing_that_manages_access() {
    let server = server().await;
    let (ada, system) = (server.acting("user:ada"), server.system());
    ada.create_role(custom_role("scribe", &["portfolio.view"])).await.unwrap();
    let forbidden = no(Code::FailedPrecondition, "ORGANIZATION_ROLE_FORBIDDEN");
    // The preset gives `viewer` to new portfolios, and one gives `scribe`: open or not.
    system.set_access_role("roadmap", "scribe").await.unwrap();
    for role in ["viewer", "scribe"] {
        for permission in ["access.manage", "members.invite", "portfolio.delete"] {
            let more = table_of(&server, role, &[permission], &[]).await;
            let status = ada.update_role(more, &["permissions"]).await.unwrap_err();
            assert_eq!((status.code(), reason(&status)), forbidden, "{role} {permission}");
            assert_eq!(metadata(&status, "permissions"), permission);
        }
        let more = table_of(&server, role, &["initiative.edit"], &[]).await;
        ada.update_role(more, &["permissions"]).await.expect("what manages nothing");
    }
    // Given by openness nowhere, it may.
    system.set_access_role("roadmap", "viewer").await.unwrap();
    let more = table_of(&server, "scribe", &["members.invite"], &[]).await;
    ada.update_role(more, &["permissions"]).await.unwrap();
    assert_eq!(refusal(system.set_access_role("roadmap", "scribe").await), forbidden);
    // Nor by a portfolio that is gone.
    ada.create_role(custom_role("scout", &[])).await.unwrap();
    system.create(portfolio("gone", "ann")).await.unwrap();
    system.set_access_role("gone", "scout").await.unwrap();
    system.delete("gone").await.unwrap();
    let more = table_of(&server, "scout", &["access.manage"], &[]).await;
    ada.update_role(more, &["permissions"]).await.unwrap();
}

/// With roles that the API made, as with any: `rules_roles` has the rest of the ceiling.
#[tokio::test]
async fn rol_7_nobody_but_an_administrator_gives_a_role_of_ones_own_above_their_own() {
    let server = server().await;
    let ada = server.acting("user:ada");
    let recruiter = ["portfolio.view", "members.view", "members.invite", "members.update"];
    ada.create_role(custom_role("recruiter", &recruiter)).await.unwrap();
    ada.create_role(custom_role("scribe", &["portfolio.view", "comment.edit own"])).await.unwrap();
    let ann = server.acting("user:ann");
    ann.add_member("roadmap", "user:bea", "recruiter").await.unwrap();
    let bea = server.acting("user:bea");
    let outcome = bea.add_member("roadmap", "user:ada", "scribe").await.unwrap();
    let refused = outcome.refusal.expect("above");
    assert_eq!(refused.reason(), v1::ErrorReason::RoleAboveOwn);
    assert!(refused.message.contains("comment.edit"), "{refused:?}");
    assert!(!refused.message.contains("portfolio.view"), "{refused:?}");
    bea.add_member("roadmap", "user:ada", "recruiter").await.unwrap();
    let status = bea.set_role("roadmap", "user:ada", "scribe").await.unwrap_err();
    assert_eq!(reason(&status), "ROLE_ABOVE_OWN");
    assert_eq!(metadata(&status, "permissions"), "comment.edit");
    // The role grows: whoever holds it gives it, and who held as much does so no more.
    let more = table_of(&server, "recruiter", &["comment.edit own"], &[]).await;
    ada.update_role(more, &["permissions"]).await.unwrap();
    bea.set_role("roadmap", "user:ada", "scribe").await.expect("no more than their own");
    // Administrators and the system are excepted.
    ada.set_role("roadmap", "user:ada", "recruiter").await.expect("an administrator");
    server.system().set_role("roadmap", "user:ada", "scribe").await.expect("the system");
}

/// Managers may hold less than other roles, since the organization decides what they hold.
#[tokio::test]
async fn rol_7_who_creates_a_portfolio_gives_no_more_by_openness_than_its_managers_hold() {
    let server = server().await;
    let ada = server.acting("user:ada");
    let less = table_of(&server, "manager", &[], &["initiative.edit"]).await;
    ada.update_role(less, &["permissions"]).await.unwrap();
    let create = async |actor: &str, id: &str, role: &str| {
        let request = v1::CreatePortfolioRequest {
            portfolio: Some(portfolio(id, "ann")),
            organization_access_role: role.to_owned(),
            ..Default::default()
        };
        let client = match actor {
            "" => server.system(),
            actor => server.acting(actor),
        };
        client.portfolios().create_portfolio(request).await
    };
    let status = create("user:ann", "a", "contributor").await.unwrap_err();
    assert_eq!(reason(&status), "ROLE_ABOVE_OWN");
    assert_eq!(metadata(&status, "permissions"), "initiative.edit");
    create("user:ann", "a", "viewer").await.expect("what they hold too");
    create("user:ada", "b", "contributor").await.expect("an administrator");
    create("", "c", "contributor").await.expect("the system");
}

#[tokio::test]
async fn rol_5_bad_2_an_organization_has_a_most_of_roles() {
    let server = server().await;
    let insert = "INSERT INTO roles (organization, key, display_name)
                  SELECT 'acme', 'r' || n, '' FROM generate_series(1, 995) AS n";
    crate::calls::execute(&server.database.url, insert).await;
    let ada = server.acting("user:ada");
    ada.create_role(custom_role("last", &[])).await.unwrap();
    let status = ada.create_role(custom_role("more", &[])).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "TOO_MANY_ROLES")
    );
    assert_eq!(metadata(&status, "limit"), "1000");
    ada.delete_role("r1", "").await.unwrap();
    ada.create_role(custom_role("more", &[])).await.expect("room again");
}
