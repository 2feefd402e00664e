//! The ceiling (ROL-7) and what is for internals only (ROL-8).

use portcullis::proto::v1::{AddMemberStatus, DecisionReason, ErrorReason, SiteRole, Visibility};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::calls::{execute, portfolio, refused};
use crate::harness::{TestServer, refusal};

/// A role between viewer and manager, which no preset has: it handles members and settings, and
/// edits nothing.
const RECRUITER: &str = "
    INSERT INTO roles VALUES ('acme', 'recruiter', 'Recruiter');
    INSERT INTO role_permissions SELECT 'acme', 'recruiter', permission, reach
        FROM role_permissions WHERE organization = 'acme' AND role = 'viewer';
    INSERT INTO role_permissions SELECT 'acme', 'recruiter', name, 'any' FROM permissions
        WHERE name IN ('members.invite', 'members.update', 'members.remove', 'access.manage');";

/// `ann` owns `roadmap`, `rea` recruits, `con` contributes, `vic` views, `new` is nobody there.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("rea").user("con");
    given.user("vic").user("new").group("makers", &[]).await;
    execute(&server.database.url, RECRUITER).await;
    let ann = server.acting("user:ann");
    ann.create(portfolio("roadmap", "")).await.unwrap();
    for (who, role) in [("rea", "recruiter"), ("con", "contributor"), ("vic", "viewer")] {
        let added = ann.add_member("roadmap", &format!("user:{who}"), role).await.unwrap();
        assert_eq!(added.status(), AddMemberStatus::Added);
    }
    server
}

fn above_own() -> (Code, String) {
    (Code::PermissionDenied, "ROLE_ABOVE_OWN".to_owned())
}

#[tokio::test]
async fn rol_7_nobody_gives_a_role_above_their_own() {
    let server = server().await;
    let rea = server.acting("user:rea");
    for role in ["manager", "contributor"] {
        let outcome = rea.add_member("roadmap", "user:new", role).await.unwrap();
        assert_eq!(refused(&outcome), Some(ErrorReason::RoleAboveOwn), "{role}");
        let raised = rea.set_role("roadmap", "user:vic", role).await;
        assert_eq!(refusal(raised), above_own(), "{role}");
        let oneself = rea.set_role("roadmap", "user:rea", role).await;
        assert_eq!(refusal(oneself), above_own(), "{role}");
    }
    let outcome = rea.add_member("roadmap", "user:new", "viewer").await.unwrap();
    assert_eq!(outcome.status(), AddMemberStatus::Added);
    rea.set_role("roadmap", "user:new", "recruiter").await.expect("just as much as their own");
    assert!(!server.allows("user:vic", "initiative.edit", "roadmap").await);
}

#[tokio::test]
async fn rol_7_the_refusal_names_what_is_above() {
    let server = server().await;
    let status = server.acting("user:rea").set_role("roadmap", "user:vic", "contributor").await;
    let details = status.unwrap_err().get_error_details();
    let above = &details.error_info().unwrap().metadata["permissions"];
    assert!(above.contains("initiative.edit"), "{above}");
    assert!(!above.contains("portfolio.view"), "{above}");
}

#[tokio::test]
async fn rol_7_nobody_changes_or_removes_someone_who_holds_more() {
    let server = server().await;
    let rea = server.acting("user:rea");
    for who in ["user:con", "user:ann"] {
        let lowered = rea.set_role("roadmap", who, "viewer").await;
        assert_eq!(refusal(lowered), above_own(), "{who}");
        let ended = rea.set_end("roadmap", who, Some(253_402_300_000_000)).await;
        assert_eq!(refusal(ended), above_own(), "{who}");
        assert_eq!(refusal(rea.remove_member("roadmap", who).await), above_own(), "{who}");
    }
    // What one holds through a group is held; deactivation takes nothing away, it comes back.
    let system = server.system();
    system.join("makers", "user:vic").await;
    system.add_member("roadmap", "group:makers", "contributor").await.unwrap();
    assert_eq!(refusal(rea.remove_member("roadmap", "user:vic").await), above_own());
    system.deactivate("con").await;
    assert_eq!(refusal(rea.remove_member("roadmap", "user:con").await), above_own());
    // Equals may.
    system.leave("makers", "user:vic").await;
    rea.remove_member("roadmap", "user:vic").await.expect("a viewer holds less");
}

#[tokio::test]
async fn rol_7_the_ceiling_is_the_union_of_what_one_holds() {
    let server = server().await;
    let system = server.system();
    system.add_member("roadmap", "group:makers", "contributor").await.unwrap();
    system.join("makers", "user:rea").await;
    let rea = server.acting("user:rea");
    let outcome = rea.add_member("roadmap", "user:new", "contributor").await.unwrap();
    assert_eq!(outcome.status(), AddMemberStatus::Added);
    rea.remove_member("roadmap", "user:con").await.expect("holds no more");
}

#[tokio::test]
async fn rol_7_the_ceiling_bounds_what_openness_gives() {
    let server = server().await;
    let rea = server.acting("user:rea");
    let raised = rea.set_access_role("roadmap", "contributor").await;
    assert_eq!(refusal(raised), above_own());
    rea.set_access_role("roadmap", "viewer").await.expect("no more than their own");
    // The system has no ceiling (AUT-2), and neither has who holds everything.
    server.system().set_access_role("roadmap", "contributor").await.expect("the system may");
    server.acting("user:ann").set_access_role("roadmap", "viewer").await.expect("a manager may");
}

/// Opening gives the role that was set while it gave nothing, to the actor too.
#[tokio::test]
async fn rol_7_the_ceiling_bounds_what_opening_gives() {
    let server = server().await;
    let (rea, system) = (server.acting("user:rea"), server.system());
    system.set_access_role("roadmap", "contributor").await.unwrap();
    rea.set_visibility("roadmap", Visibility::Restricted).await.expect("gives nothing");
    assert_eq!(refusal(rea.set_visibility("roadmap", Visibility::Open).await), above_own());
    assert!(!server.allows("user:rea", "initiative.edit", "roadmap").await);
    // What is open may be closed, and opened again with a lower role.
    system.set_visibility("roadmap", Visibility::Open).await.expect("the system may");
    rea.set_visibility("roadmap", Visibility::Private).await.expect("takes it away");
    rea.set_access_role("roadmap", "viewer").await.unwrap();
    rea.set_visibility("roadmap", Visibility::Open).await.expect("no more than their own");
    let ann = server.acting("user:ann");
    ann.set_visibility("roadmap", Visibility::Private).await.unwrap();
    ann.set_access_role("roadmap", "contributor").await.unwrap();
    ann.set_visibility("roadmap", Visibility::Open).await.expect("a manager may");
}

#[tokio::test]
async fn rol_7_openness_never_gives_what_manages_access() {
    let server = server().await;
    let forbidden = (Code::FailedPrecondition, "ORGANIZATION_ROLE_FORBIDDEN".to_owned());
    for client in [server.system(), server.acting("user:ann")] {
        for role in ["manager", "recruiter"] {
            let updated = client.set_access_role("roadmap", role).await;
            assert_eq!(refusal(updated), forbidden, "{role}");
            let request = portcullis::proto::v1::CreatePortfolioRequest {
                portfolio: Some(portfolio("open", "ann")),
                organization_access_role: role.to_owned(),
                ..Default::default()
            };
            let created = client.portfolios().create_portfolio(request).await;
            assert_eq!(refusal(created), forbidden, "{role}");
        }
        let unknown = client.set_access_role("roadmap", "nobody").await;
        assert_eq!(refusal(unknown), (Code::NotFound, "ROLE_NOT_FOUND".to_owned()));
    }
    let settings = server.acting("user:ann").settings_of("roadmap").await.unwrap();
    assert_eq!(settings.organization_access_role, "viewer");
}

#[tokio::test]
async fn rol_7_whoever_opens_a_portfolio_gives_the_role_that_was_chosen_before() {
    let server = server().await;
    let [ann, rea] = ["user:ann", "user:rea"].map(|who| server.acting(who));
    ann.set_access_role("roadmap", "contributor").await.unwrap();
    let opened = rea.update_visibility("roadmap", Visibility::Open).await;
    assert_eq!(opened.map(|_| ()).map_err(|status| refusal::<()>(Err(status))), Err(above_own()));
    assert!(!server.allows("user:new", "initiative.edit", "roadmap").await);
    // To be listed gives nobody a role, and a manager holds it.
    rea.update_visibility("roadmap", Visibility::Restricted).await.unwrap();
    ann.update_visibility("roadmap", Visibility::Open).await.unwrap();
    assert!(server.allows("user:new", "initiative.edit", "roadmap").await);
}

/// Each permission that manages access is enough by itself.
#[tokio::test]
async fn rol_7_each_permission_that_manages_access_is_never_given_by_openness() {
    let server = server().await;
    let never = [
        "access.manage",
        "members.invite",
        "members.update",
        "members.remove",
        "requests.decide",
        "portfolio.delete",
    ];
    for (at, permission) in never.into_iter().enumerate() {
        let role = format!("only{at}");
        let insert = format!(
            "INSERT INTO roles VALUES ('acme', '{role}', '');
             INSERT INTO role_permissions VALUES ('acme', '{role}', '{permission}', 'any')"
        );
        execute(&server.database.url, &insert).await;
        let updated = server.system().set_access_role("roadmap", &role).await;
        let reason = refusal(updated).1;
        assert_eq!(reason, "ORGANIZATION_ROLE_FORBIDDEN", "{permission}");
    }
}

/// The ceiling compares tables: that an external cannot use `epic.link` does not lower it.
#[tokio::test]
async fn rol_7_rol_8_an_external_manager_gives_what_they_cannot_use() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("new").external("eve");
    let given = given.group("managers", &["user:eve"]);
    given.portfolio("roadmap").with("group:managers", "manager").await;
    let denied = server.decides("user:eve", "epic.link", "roadmap").await;
    assert_eq!(denied, DecisionReason::InternalOnly);
    let eve = server.acting("user:eve");
    let outcome = eve.add_member("roadmap", "user:new", "manager").await.unwrap();
    assert_eq!(outcome.status(), AddMemberStatus::Added);
    assert!(server.allows("user:new", "epic.link", "roadmap").await);
}

#[tokio::test]
async fn rol_8_an_external_never_has_what_is_for_internals() {
    let server = TestServer::start().await;
    server
        .given()
        .organization("acme")
        .user("ben")
        .user("guest")
        .external("eve")
        .group("makers", &["user:ben", "user:eve", "user:guest"])
        .site_role("guest", SiteRole::Guest)
        .portfolio("roadmap")
        .with("group:makers", "contributor")
        .await;
    assert!(server.allows("user:ben", "epic.link", "roadmap").await);
    assert!(server.allows("user:guest", "epic.link", "roadmap").await, "at home is internal");
    assert!(server.allows("group:makers", "epic.link", "roadmap").await);
    assert!(server.allows("user:eve", "initiative.edit", "roadmap").await);
    let reason = server.decides("user:eve", "epic.link", "roadmap").await;
    assert_eq!(reason, DecisionReason::InternalOnly);
    // Internal is who has a site role other than guest, from then on.
    let system = server.system();
    system.set_site_role("acme", "eve", SiteRole::Viewer).await;
    assert!(server.allows("user:eve", "epic.link", "roadmap").await);
    system.set_site_role("acme", "eve", SiteRole::Guest).await;
    let reason = server.decides("user:eve", "epic.link", "roadmap").await;
    assert_eq!(reason, DecisionReason::InternalOnly);
    // Whatever gives it: openness does not reach them at all.
    system.set_visibility("roadmap", Visibility::Open).await.unwrap();
    system.set_access_role("roadmap", "contributor").await.unwrap();
    assert!(!server.allows("user:eve", "epic.link", "roadmap").await);
}
