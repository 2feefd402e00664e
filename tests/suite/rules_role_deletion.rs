//! Deleting a role, and what uses it (ROL-6).

use portcullis::proto::v1;
use portcullis::proto::v1::{AccessState, AddMemberStatus, DecisionReason};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::calls::{HOUR, adding, custom_role, instant, now, number, portfolio, texts};
use crate::harness::{TestServer, fields, reason, refusal};

/// `ada` administers, `ann` owns `roadmap` and `plan`; `scribe` writes and `scout` views.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ada").administrator("ada");
    let given = given.user("ann").user("bea").user("cid").group("core", &["user:cid"]);
    given.portfolio("roadmap").owned_by("ann").portfolio("plan").owned_by("ann").await;
    let ada = server.acting("user:ada");
    ada.create_role(custom_role("scribe", &["portfolio.view", "comment.create"])).await.unwrap();
    ada.create_role(custom_role("scout", &["portfolio.view"])).await.unwrap();
    server
}

fn no(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

fn uses(status: &Status) -> (String, String) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::FailedPrecondition, "ROLE_IN_USE"));
    let details = status.get_error_details();
    let metadata = &details.error_info().unwrap().metadata;
    assert_eq!(metadata["role"], "scribe");
    (metadata["grants"].clone(), metadata["organization_access_roles"].clone())
}

async fn log(server: &TestServer) -> i64 {
    number(&server.database.url, "SELECT count(*) FROM change_log").await
}

#[tokio::test]
async fn rol_6_a_role_that_nothing_uses_is_deleted() {
    let server = server().await;
    let ada = server.acting("user:ada");
    let before = ada.get_role("scribe").await.unwrap();
    let deleted = ada.delete_role("scribe", "").await.unwrap();
    assert_eq!(deleted.role, Some(before));
    assert_eq!((deleted.moved_grants, deleted.moved_organization_access_roles), (0, 0));
    let gone = no(Code::NotFound, "ROLE_NOT_FOUND");
    assert_eq!(refusal(ada.get_role("scribe").await), gone);
    assert_eq!(refusal(ada.delete_role("scribe", "").await), gone);
    let update = ada.update_role(custom_role("scribe", &[]), &["display_name"]).await;
    assert_eq!(refusal(update), gone);
    let ann = server.acting("user:ann");
    assert_eq!(refusal(ann.add_member("roadmap", "user:bea", "scribe").await), gone);
    assert_eq!(refusal(ann.set_access_role("roadmap", "scribe").await), gone);
    let ceiling = v1::SetFunctionCeilingRequest {
        organization: "acme".to_owned(),
        function: "tutor".to_owned(),
        role: "scribe".to_owned(),
        ..Default::default()
    };
    assert_eq!(refusal(ada.directory().set_function_ceiling(ceiling).await), gone);
    let request = v1::ListRolesRequest { organization: "acme".to_owned(), ..Default::default() };
    let listed = ada.roles().list_roles(request).await.unwrap().into_inner().roles;
    assert!(listed.iter().all(|role| role.key != "scribe"));
    // A replacement does no harm where there is nothing to replace.
    ada.delete_role("scout", "viewer").await.unwrap();
    let trail = "SELECT what || ' ' || object || ' ' || as_administrator FROM change_log
                 WHERE what = 'role.deleted' ORDER BY sequence";
    let expected = ["role.deleted scribe true", "role.deleted scout true"];
    assert_eq!(texts(&server.database.url, trail).await, expected);
}

#[tokio::test]
async fn rol_6_a_role_in_use_is_refused_with_the_number_of_uses_by_kind() {
    let server = server().await;
    let (ada, ann) = (server.acting("user:ada"), server.acting("user:ann"));
    let at = now(&server.database.url).await;
    ann.add_member("roadmap", "user:bea", "scribe").await.unwrap();
    ann.add_member("plan", "group:core", "scribe").await.unwrap();
    let later = v1::AddMembersRequest {
        start_time: Some(instant(at + HOUR)),
        ..adding("plan", &["user:bea"], "scribe")
    };
    ann.add_members(later).await.unwrap();
    ann.set_access_role("plan", "scribe").await.unwrap();
    let written = log(&server).await;
    let status = ada.delete_role("scribe", "").await.unwrap_err();
    assert_eq!(uses(&status), ("3".to_owned(), "1".to_owned()));
    assert!(status.message().contains("3 grants"), "{status:?}");
    assert_eq!(log(&server).await, written, "nothing was written");
    assert!(server.allows("user:bea", "comment.create", "roadmap").await);

    // What has ended uses it no more: removed, past its end, or gone with its portfolio.
    ann.remove_member("roadmap", "user:bea").await.unwrap();
    let over = "UPDATE grants SET start_time = NULL, expire_time = now() - interval '1 second'
                WHERE start_time IS NOT NULL AND role = 'scribe'";
    crate::calls::execute(&server.database.url, over).await;
    let status = ada.delete_role("scribe", "").await.unwrap_err();
    assert_eq!(uses(&status), ("1".to_owned(), "1".to_owned()));
    ann.delete("plan").await.unwrap();
    ada.delete_role("scribe", "").await.expect("nothing uses it");
    // Those who had it are listed with it.
    let bea = ann.get_member("roadmap", "user:bea").await.unwrap();
    let grants: Vec<_> = bea.grants.iter().map(|it| (it.role.as_str(), it.state())).collect();
    assert_eq!(grants, [("scribe", AccessState::Ended)]);
}

#[tokio::test]
async fn rol_6_with_a_replacement_everything_moves_at_once_on_every_replica() {
    let server = server().await;
    let (ada, ann) = (server.acting("user:ada"), server.acting("user:ann"));
    let at = now(&server.database.url).await;
    ann.add_member("roadmap", "user:bea", "scribe").await.unwrap();
    let bounded = v1::AddMembersRequest {
        start_time: Some(instant(at + HOUR)),
        end: Some(v1::add_members_request::End::ExpireTime(instant(at + 2 * HOUR))),
        ..adding("plan", &["group:core"], "scribe")
    };
    ann.add_members(bounded).await.unwrap();
    ann.add_member("plan", "user:bea", "viewer").await.unwrap();
    ann.set_visibility("plan", v1::Visibility::Open).await.unwrap();
    ann.set_access_role("plan", "scribe").await.unwrap();
    let (before, settings) = (
        ann.get_member("roadmap", "user:bea").await.unwrap(),
        ann.settings_of("plan").await.unwrap(),
    );
    let twin = server.twin().await;
    twin.system().warm_up("user:bea", "comment.create", "roadmap").await;

    let deleted = ada.delete_role("scribe", "scout").await.unwrap();
    assert_eq!((deleted.moved_grants, deleted.moved_organization_access_roles), (2, 1));
    let token = &deleted.consistency_token;
    for (who, permission, place, expected) in [
        ("user:bea", "portfolio.view", "roadmap", true),
        ("user:bea", "comment.create", "roadmap", false),
        ("user:ada", "portfolio.view", "plan", true),
        ("user:ada", "comment.create", "plan", false),
    ] {
        let warm = twin.system().check_after(token, who, permission, place).await;
        assert_eq!(warm.allowed, expected, "{who} {permission} {place}");
        assert_eq!(server.allows(who, permission, place).await, expected);
    }
    let bea = ann.get_member("roadmap", "user:bea").await.unwrap();
    assert_ne!(bea.etag, before.etag);
    let grants: Vec<_> = bea.grants.iter().map(|it| (it.role.as_str(), it.state())).collect();
    assert_eq!(grants, [("scout", AccessState::Active), ("scribe", AccessState::Ended)]);
    let core = ann.get_member("plan", "group:core").await.unwrap();
    let moved = core.grants.iter().find(|it| it.role == "scout").unwrap();
    assert_eq!(moved.state(), AccessState::Scheduled);
    assert_eq!(moved.start_time, Some(instant(at + HOUR)));
    assert_eq!(moved.expire_time, Some(instant(at + 2 * HOUR)));
    let after = ann.settings_of("plan").await.unwrap();
    assert_eq!(after.organization_access_role, "scout");
    assert_ne!(after.etag, settings.etag);
    let trail = "SELECT what || ' ' || object || ' ' || coalesce(subject, '-') FROM change_log
                 WHERE request_id = (SELECT request_id FROM change_log WHERE what = 'role.deleted')
                 ORDER BY sequence";
    assert_eq!(
        texts(&server.database.url, trail).await,
        [
            "member.updated plan group:core",
            "member.updated roadmap user:bea",
            "access_settings.updated plan -",
            "role.deleted scribe -",
        ]
    );
}

#[tokio::test]
async fn rol_6_ceilings_of_functions_are_uses_and_move_too() {
    let server = server().await;
    let (ada, system) = (server.acting("user:ada"), server.system());
    system.set_ceiling("acme", "tutor", "", "scribe").await;
    system.set_ceiling("acme", "coach", "plan", "scribe").await;
    system.set_ceiling("acme", "coach", "", "viewer").await;
    let written = log(&server).await;
    let status = ada.delete_role("scribe", "").await.unwrap_err();
    assert_eq!(uses(&status), ("0".to_owned(), "0".to_owned()));
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["function_ceilings"], "2");
    assert!(status.message().contains("by 2 ceilings of functions"), "{status:?}");
    assert_eq!(log(&server).await, written, "nothing was written");

    // No openness gives what a ceiling names: a manager's role will do.
    let deleted = ada.delete_role("scribe", "manager").await.unwrap();
    assert_eq!(deleted.moved_function_ceilings, 2);
    assert_eq!((deleted.moved_grants, deleted.moved_organization_access_roles), (0, 0));
    let request =
        v1::ListFunctionCeilingsRequest { organization: "acme".to_owned(), ..Default::default() };
    let listed = ada.directory().list_function_ceilings(request).await.unwrap().into_inner();
    let ceilings = listed.function_ceilings.iter();
    let ceilings: Vec<_> = ceilings
        .map(|it| (it.function.as_str(), it.portfolio_type.as_str(), it.role.as_str()))
        .collect();
    let expected =
        [("coach", "", "viewer"), ("coach", "plan", "manager"), ("tutor", "", "manager")];
    assert_eq!(ceilings, expected);
    let trail = "SELECT what || ' ' || object || ' ' || coalesce(before->>'role', '-')
                     || ' ' || coalesce(after->>'role', '-') FROM change_log
                 WHERE request_id = (SELECT request_id FROM change_log WHERE what = 'role.deleted')
                 ORDER BY sequence";
    let expected = [
        "function_ceiling.set coach scribe manager",
        "function_ceiling.set tutor scribe manager",
        "role.deleted scribe - -",
    ];
    assert_eq!(texts(&server.database.url, trail).await, expected);
}

#[tokio::test]
async fn rol_6_vis_8_what_is_archived_uses_a_role_and_moves_too() {
    let server = server().await;
    let (ada, ann) = (server.acting("user:ada"), server.acting("user:ann"));
    ann.add_member("roadmap", "user:bea", "scribe").await.unwrap();
    ann.set_access_role("roadmap", "scribe").await.unwrap();
    let request =
        v1::ArchivePortfolioRequest { portfolio: "roadmap".to_owned(), ..Default::default() };
    ann.portfolios().archive_portfolio(request).await.unwrap();
    assert_eq!(
        uses(&ada.delete_role("scribe", "").await.unwrap_err()),
        ("1".to_owned(), "1".to_owned())
    );
    let deleted = ada.delete_role("scribe", "scout").await.unwrap();
    assert_eq!((deleted.moved_grants, deleted.moved_organization_access_roles), (1, 1));
    let request =
        v1::RestorePortfolioRequest { portfolio: "roadmap".to_owned(), ..Default::default() };
    ann.portfolios().restore_portfolio(request).await.unwrap();
    assert!(server.allows("user:bea", "portfolio.view", "roadmap").await);
    assert!(!server.allows("user:bea", "comment.create", "roadmap").await);
}

#[tokio::test]
async fn rol_6_rol_7_a_replacement_is_another_role_and_fit_for_where_it_comes() {
    let server = server().await;
    let (ada, ann) = (server.acting("user:ada"), server.acting("user:ann"));
    ann.add_member("roadmap", "user:bea", "scribe").await.unwrap();
    ann.set_access_role("plan", "scribe").await.unwrap();
    let missing = ada.delete_role("scribe", "nobody").await;
    assert_eq!(refusal(missing), no(Code::NotFound, "ROLE_NOT_FOUND"));
    let written = log(&server).await;
    let status = ada.delete_role("scribe", "scribe").await.unwrap_err();
    assert_eq!(fields(&status), ["replacement"]);
    let status = ada.delete_role("scribe", "a b").await.unwrap_err();
    assert_eq!(fields(&status), ["replacement"]);
    let openly = ada.delete_role("scribe", "manager").await;
    assert_eq!(refusal(openly), no(Code::FailedPrecondition, "ORGANIZATION_ROLE_FORBIDDEN"));
    assert_eq!(log(&server).await, written);
    // Where openness does not give it, a manager's role will do.
    ann.set_access_role("plan", "viewer").await.unwrap();
    ada.delete_role("scribe", "manager").await.unwrap();
    assert!(server.allows("user:bea", "access.manage", "roadmap").await);
    // One that is deleted itself is none.
    let gone = ada.delete_role("scout", "scribe").await;
    assert_eq!(refusal(gone), no(Code::NotFound, "ROLE_NOT_FOUND"));
}

#[tokio::test]
async fn rol_5_a_built_in_role_is_not_deleted() {
    let server = server().await;
    for role in ["manager", "contributor", "viewer", "assessor"] {
        for replacement in ["", "scout"] {
            let refused = server.acting("user:ada").delete_role(role, replacement).await;
            let expected = no(Code::FailedPrecondition, "ROLE_BUILT_IN");
            assert_eq!(refusal(refused), expected, "{role} {replacement}");
        }
    }
}

#[tokio::test]
async fn rol_6_another_state_than_the_etags_is_not_deleted() {
    let server = server().await;
    let ada = server.acting("user:ada");
    let etag = ada.get_role("scribe").await.unwrap().etag;
    ada.update_role(custom_role("scribe", &["portfolio.view"]), &["permissions"]).await.unwrap();
    let delete = async |etag: String| {
        let (organization, role) = ("acme".to_owned(), "scribe".to_owned());
        let request = v1::DeleteRoleRequest { organization, role, etag, ..Default::default() };
        ada.roles().delete_role(request).await
    };
    assert_eq!(refusal(delete(etag).await), no(Code::Aborted, "ETAG_MISMATCH"));
    delete(ada.get_role("scribe").await.unwrap().etag).await.unwrap();
}

/// Whoever had the old one has nothing of the new one.
#[tokio::test]
async fn rol_6_a_key_may_be_used_again_for_a_role_that_nobody_holds() {
    let server = server().await;
    let (ada, ann) = (server.acting("user:ada"), server.acting("user:ann"));
    ann.add_member("roadmap", "user:bea", "scribe").await.unwrap();
    ann.remove_member("roadmap", "user:bea").await.unwrap();
    let twin = server.twin().await;
    twin.system().warm_up("user:ann", "portfolio.view", "roadmap").await;
    let old = ada.delete_role("scribe", "").await.unwrap().role.unwrap();
    let new = custom_role("scribe", &["initiative.edit"]);
    let (created, token) = ada.create_role(new).await.unwrap();
    assert_ne!(created.etag, old.etag);
    assert_eq!(ada.get_role("scribe").await.unwrap(), created);
    let warm = twin.system().check_after(&token, "user:bea", "initiative.edit", "roadmap").await;
    assert!(!warm.allowed);
    let cold = server.decides("user:bea", "initiative.edit", "roadmap").await;
    assert_eq!(cold, DecisionReason::NoAccess);
    let added = ann.add_member("roadmap", "user:bea", "scribe").await.unwrap();
    assert_eq!(added.status(), AddMemberStatus::Added);
    assert!(server.allows("user:bea", "initiative.edit", "roadmap").await);
    assert!(!server.allows("user:bea", "comment.create", "roadmap").await);
}

/// More than the feed follows key by key: the organization is loaded anew, and nobody is answered
/// from what was before.
#[tokio::test]
async fn rol_6_very_many_uses_move_in_one_transaction_too() {
    let server = server().await;
    let (ada, url) = (server.acting("user:ada"), &server.database.url);
    server.system().create(portfolio("p0", "ann")).await.unwrap();
    let many = "
        INSERT INTO portfolios (id, organization, display_name, portfolio_type, visibility,
                                organization_access_role, create_time, update_time, version)
        SELECT 'many' || n, 'acme', '', '', 'private', 'scribe', now(), now(), 1
        FROM generate_series(1, 12000) AS n;
        INSERT INTO grants (id, portfolio, organization, subject_kind, subject_id, role, source,
                            ownership, create_time)
        SELECT gen_random_uuid(), 'many' || n, 'acme', 'user', 'bea', 'scribe', 'hand', false, now()
        FROM generate_series(1, 12000) AS n";
    crate::calls::execute(url, many).await;
    let twin = server.twin().await;
    twin.system().warm_up("user:bea", "comment.create", "many7").await;
    let deleted = ada.delete_role("scribe", "scout").await.unwrap();
    assert_eq!((deleted.moved_grants, deleted.moved_organization_access_roles), (12_000, 12_000));
    let token = &deleted.consistency_token;
    for place in ["many1", "many7", "many12000"] {
        let view = twin.system().check_after(token, "user:bea", "portfolio.view", place).await;
        assert!(view.allowed, "{place}");
        let more = twin.system().check_after(token, "user:bea", "comment.create", place).await;
        assert!(!more.allowed, "{place}");
    }
}
