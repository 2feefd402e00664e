//! Portfolios, who owns them, and what openness gives (VIS).

use portcullis::proto::v1;
use portcullis::proto::v1::{
    AddMemberStatus, DecisionReason, GrantSource, PortfolioState, SiteRole, Visibility,
};
use tonic::Code;

use crate::calls::{HOUR, instant, now, portfolio, service_account};
use crate::harness::{TestServer, fields, refusal, subject};

#[tokio::test]
async fn vis_1_the_creator_owns_unless_another_internal_user_is_named() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").user("gone");
    given.external("eve").deactivated("gone").await;
    let ann = server.acting("user:ann");
    let own = ann.create(portfolio("own", "")).await.unwrap();
    assert_eq!((own.owner.as_str(), own.author), ("ann", Some(subject("user:ann"))));
    let given_away = ann.create(portfolio("given-away", "ben")).await.unwrap();
    assert_eq!(given_away.owner, "ben");
    for (owner, code, reason) in [
        ("eve", Code::FailedPrecondition, "NOT_ELIGIBLE"),
        ("nobody", Code::NotFound, "USER_NOT_FOUND"),
        ("gone", Code::FailedPrecondition, "USER_DEACTIVATED"),
    ] {
        let refused = ann.create(portfolio("refused", owner)).await;
        assert_eq!(refusal(refused), (code, reason.to_owned()), "{owner}");
    }
    // Nothing was written: the id is free.
    ann.create(portfolio("refused", "")).await.expect("free");
}

#[tokio::test]
async fn vis_1_ownership_is_a_manager_grant_without_an_end() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben");
    given.portfolio("roadmap").owned_by("ann").with_manager("ben").await;
    let member = server.system().get_member("roadmap", "user:ann").await.unwrap();
    let [grant] = member.grants.as_slice() else { panic!("{member:?}") };
    assert_eq!((grant.role.as_str(), grant.ownership), ("manager", true));
    assert_eq!(grant.source(), GrantSource::Creation);
    assert_eq!((&grant.start_time, &grant.expire_time, &grant.revoke_time), (&None, &None, &None));
    assert_eq!(
        server.decides("user:ann", "members.invite", "roadmap").await,
        DecisionReason::DirectGrant
    );
    // Nobody takes it away, not even the system, and not the owner.
    let owner = (Code::FailedPrecondition, "OWNER".to_owned());
    let later = now(&server.database.url).await + HOUR;
    for client in [server.system(), server.acting("user:ben"), server.acting("user:ann")] {
        assert_eq!(refusal(client.remove_member("roadmap", "user:ann").await), owner);
        assert_eq!(refusal(client.set_role("roadmap", "user:ann", "viewer").await), owner);
        assert_eq!(refusal(client.set_end("roadmap", "user:ann", Some(later)).await), owner);
        let same = client.set_role("roadmap", "user:ann", "manager").await.unwrap();
        assert_eq!(same.grants.len(), 1, "it is one already");
    }
    // A deactivated owner may go, and takes the ownership along.
    server.system().deactivate("ann").await;
    server.acting("user:ben").remove_member("roadmap", "user:ann").await.expect("may go");
    assert_eq!(server.system().get_portfolio("roadmap").await.unwrap().owner, "");
}

#[tokio::test]
async fn vis_1_having_created_a_portfolio_gives_nothing() {
    let server = TestServer::start().await;
    server.given().organization("acme").user("ann").user("ben").await;
    let ann = server.acting("user:ann");
    ann.create(portfolio("roadmap", "ben")).await.unwrap();
    let reason = server.decides("user:ann", "portfolio.view", "roadmap").await;
    assert_eq!(reason, DecisionReason::NoAccess);
    let unseen = ann.get_portfolio("roadmap").await;
    assert_eq!(refusal(unseen), (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned()));
    let author = server.system().get_portfolio("roadmap").await.unwrap().author;
    assert_eq!(author, Some(subject("user:ann")), "and still it is known who it was");
}

#[tokio::test]
async fn vis_1_an_id_is_never_used_again() {
    let server = TestServer::start().await;
    server.given().organization("acme").user("ann").portfolio("roadmap").owned_by("ann").await;
    let ann = server.acting("user:ann");
    let deleted = ann.delete("roadmap").await.unwrap();
    assert_eq!(deleted.state(), PortfolioState::Deleted);
    let reason = server.decides("user:ann", "portfolio.view", "roadmap").await;
    assert_eq!(reason, DecisionReason::PortfolioUnknown);
    let gone = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    assert_eq!(refusal(ann.get_portfolio("roadmap").await), gone);
    assert_eq!(refusal(ann.delete("roadmap").await), gone);
    assert_eq!(refusal(server.system().get_portfolio("roadmap").await), gone);
    for client in [ann, server.system()] {
        let again = client.create(portfolio("roadmap", "ann")).await;
        assert_eq!(refusal(again), (Code::AlreadyExists, "ID_TAKEN".to_owned()));
    }
}

#[tokio::test]
async fn vis_1_an_id_is_generated_where_none_is_chosen() {
    let server = TestServer::start().await;
    server.given().organization("acme").user("ann").await;
    let ann = server.acting("user:ann");
    let nameless = || v1::Portfolio { display_name: "Nameless".into(), ..portfolio("", "") };
    let (one, other) =
        (ann.create(nameless()).await.unwrap().id, ann.create(nameless()).await.unwrap().id);
    assert!(!one.is_empty() && one != other);
    assert!(server.allows("user:ann", "portfolio.view", &one).await);
}

/// The table of VIS-2: visibility, who, listed, enters.
#[tokio::test]
async fn vis_2_visibility_decides_what_internals_without_a_grant_may_do() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("editor").user("viewer").user("guest");
    let given = given.external("eve").external("invited").user("idle");
    given
        .site_role("viewer", SiteRole::Viewer)
        .site_role("guest", SiteRole::Guest)
        .site_role("invited", SiteRole::Viewer)
        .portfolio("private")
        .portfolio("restricted")
        .restricted()
        .portfolio("open")
        .open()
        .deactivated("idle")
        .await;
    let internals = ["editor", "viewer", "invited"];
    for who in ["editor", "viewer", "invited", "guest", "eve"] {
        for at in ["private", "restricted", "open"] {
            let internal = internals.contains(&who);
            let (listed, enters) = (internal && at != "private", internal && at == "open");
            let who = format!("user:{who}");
            let found = server.acting(&who).get_portfolio(at).await;
            assert_eq!(found.is_ok(), listed, "{who} lists {at}");
            let allowed = server.allows(&who, "portfolio.view", at).await;
            assert_eq!(allowed, enters, "{who} enters {at}");
        }
    }
    // Managers may add to all three.
    for at in ["private", "restricted", "open"] {
        let outcome = server.acting("user:acme-owner").add_member(at, "user:guest", "viewer").await;
        assert_eq!(outcome.unwrap().status(), AddMemberStatus::Added, "{at}");
        assert!(server.acting("user:guest").get_portfolio(at).await.is_ok(), "{at}");
    }
}

#[tokio::test]
async fn vis_2_whoever_has_a_grant_in_force_sees_a_private_portfolio() {
    let server = TestServer::start().await;
    let later = now(&server.database.url).await + HOUR;
    server
        .given()
        .organization("acme")
        .user("ben")
        .user("soon")
        .external("eve")
        .group("inner", &["user:eve"])
        .group("outer", &["group:inner"])
        .portfolio("roadmap")
        .with("group:outer", "assessor")
        .with("user:ben", "viewer")
        .granting("user:soon", "manager", Some(instant(later)), None)
        .await;
    for who in ["user:ben", "user:eve"] {
        assert!(server.acting(who).get_portfolio("roadmap").await.is_ok(), "{who}");
    }
    let hidden = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    let soon = server.acting("user:soon").get_portfolio("roadmap").await;
    assert_eq!(refusal(soon), hidden, "a grant to come shows nothing yet");
    server.system().leave("inner", "user:eve").await;
    assert_eq!(refusal(server.acting("user:eve").get_portfolio("roadmap").await), hidden);
    server.system().remove_member("roadmap", "user:ben").await.unwrap();
    assert_eq!(refusal(server.acting("user:ben").get_portfolio("roadmap").await), hidden);
}

#[tokio::test]
async fn vis_3_openness_reaches_internals_and_service_accounts_with_its_role() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ben").external("eve").user("gone");
    let given = given.group("core", &["user:eve"]).portfolio("plaza").open().deactivated("gone");
    given.organization("other").user("oli").await;
    service_account(&server.database.url, "ci").await;
    let settings = server.system().settings_of("plaza").await.unwrap();
    assert_eq!(settings.organization_access_role, "viewer", "unless it says otherwise");
    for who in ["user:ben", "service_account:ci"] {
        let view = server.decides(who, "portfolio.view", "plaza").await;
        assert_eq!(view, DecisionReason::OrganizationAccess, "{who}");
        let edit = server.decides(who, "initiative.edit", "plaza").await;
        assert_eq!(edit, DecisionReason::PermissionMissing, "{who}");
    }
    for who in ["user:eve", "user:gone", "user:oli", "group:core", "service_account:nobody"] {
        assert!(!server.allows(who, "portfolio.view", "plaza").await, "{who}");
    }
    server.system().set_access_role("plaza", "contributor").await.unwrap();
    for (who, allowed) in [("user:ben", true), ("service_account:ci", true), ("user:eve", false)] {
        assert_eq!(server.allows(who, "initiative.edit", "plaza").await, allowed, "{who}");
    }
    // Openness ends at once, and a grant outlives it.
    server.system().add_member("plaza", "user:ben", "viewer").await.unwrap();
    server.system().set_visibility("plaza", Visibility::Restricted).await.unwrap();
    assert!(server.allows("user:ben", "portfolio.view", "plaza").await);
    assert!(!server.allows("user:ben", "initiative.edit", "plaza").await);
    assert!(!server.allows("service_account:ci", "portfolio.view", "plaza").await);
}

#[tokio::test]
async fn vis_5_a_portfolio_gets_its_organizations_default() {
    let server = TestServer::start().await;
    server.given().organization("acme").user("ann").await;
    let mut directory = server.system().directory();
    let organization = v1::Organization {
        id: "open-house".to_owned(),
        display_name: "Open House".to_owned(),
        default_visibility: Some(Visibility::Restricted.into()),
        ..v1::Organization::default()
    };
    let request = v1::CreateOrganizationRequest {
        organization: Some(organization),
        ..v1::CreateOrganizationRequest::default()
    };
    directory.create_organization(request).await.unwrap();
    let ola = v1::User {
        id: "ola".to_owned(),
        email: "ola@elsewhere.example".to_owned(),
        home_organization: "open-house".to_owned(),
        ..v1::User::default()
    };
    server.system().upsert_users(vec![ola]).await;
    let theirs = |id: &str, visibility: Option<Visibility>| v1::Portfolio {
        organization: "open-house".to_owned(),
        visibility: visibility.map(i32::from),
        ..portfolio(id, "ola")
    };
    let system = server.system();
    let preset = system.create(portfolio("of-acme", "ann")).await.unwrap();
    assert_eq!(preset.visibility(), Visibility::Private, "the preset's");
    let default = system.create(theirs("default", None)).await.unwrap();
    assert_eq!(default.visibility(), Visibility::Restricted, "the organization's");
    let named = system.create(theirs("named", Some(Visibility::Open))).await.unwrap();
    assert_eq!(named.visibility(), Visibility::Open, "the request's");
    let unspecified = system.create(theirs("odd", Some(Visibility::Unspecified))).await;
    assert_eq!(fields(&unspecified.unwrap_err()), ["portfolio.visibility"]);
}
