//! Users, e-mail addresses, groups and site roles (DIR).

use portcullis::proto::v1;
use portcullis::proto::v1::{DecisionReason, ErrorReason, SiteRole, UpsertStatus};
use tonic::Code;

use crate::calls::{HOUR, adding, instant, now, portfolio, refused, service_account};
use crate::harness::{TestServer, refusal};

#[tokio::test]
async fn dir_1_deactivation_denies_at_once_keeps_the_grants_and_is_undone() {
    let server = TestServer::start().await;
    let twin = server.twin().await;
    let roadmap = server.given().organization("acme").user("ann").user("ben").group("core", &[]);
    roadmap.portfolio("roadmap").owned_by("ann").with("user:ben", "contributor").await;
    for each in [&server, &twin] {
        each.system().warm_up("user:ben", "initiative.edit", "roadmap").await;
    }
    let before = server.system().get_member("roadmap", "user:ben").await.unwrap();

    let token = server.system().deactivate("ben").await;
    for each in [&server, &twin] {
        let answer =
            each.system().check_after(&token, "user:ben", "initiative.edit", "roadmap").await;
        assert!(!answer.allowed);
        assert_eq!(answer.reason(), DecisionReason::SubjectDeactivated);
        let acting = each.acting("user:ben").get_portfolio("roadmap").await;
        assert_eq!(refusal(acting), (Code::PermissionDenied, "ACTOR_DEACTIVATED".to_owned()));
    }
    let member = server.system().get_member("roadmap", "user:ben").await.unwrap();
    assert!(member.deactivated);
    assert_eq!(member.grants, before.grants, "grants outlive it");

    let token = server.system().reactivate("ben").await;
    for each in [&server, &twin] {
        let answer =
            each.system().check_after(&token, "user:ben", "initiative.edit", "roadmap").await;
        assert!(answer.allowed);
    }
}

#[tokio::test]
async fn dir_1_reactivation_restores_nothing_that_has_ended_meanwhile() {
    let server = TestServer::start().await;
    let end = now(&server.database.url).await + HOUR;
    server
        .given()
        .organization("acme")
        .user("ben")
        .user("cid")
        .portfolio("roadmap")
        .granting("user:ben", "viewer", None, Some(instant(end)))
        .with("user:cid", "viewer")
        .await;
    let system = server.system();
    system.deactivate("ben").await;
    system.deactivate("cid").await;
    system.remove_member("roadmap", "user:cid").await.unwrap();
    system.reactivate("ben").await;
    system.reactivate("cid").await;
    assert!(server.allows("user:ben", "portfolio.view", "roadmap").await);
    let later = system.check_at("user:ben", "portfolio.view", "roadmap", end).await.unwrap();
    assert!(!later.allowed, "its end stands");
    assert!(!server.allows("user:cid", "portfolio.view", "roadmap").await);
}

fn user(id: &str, email: &str) -> v1::User {
    v1::User { id: id.to_owned(), email: email.to_owned(), ..v1::User::default() }
}

#[tokio::test]
async fn dir_2_addresses_are_compared_in_ascii_lower_case_and_are_unique() {
    let server = TestServer::start().await;
    let system = server.system();
    let first = system.upsert_users(vec![user("u-17", "Ann@ACME.Example")]).await;
    assert_eq!(first[0].user.as_ref().unwrap().email, "ann@acme.example");
    let same = vec![
        user("u-18", "ANN@acme.EXAMPLE"),
        user("u-19", "new@acme.example"),
        user("u-20", "New@acme.example"),
        user("u-17", "ANN@ACME.EXAMPLE"),
    ];
    let outcomes = system.upsert_users(same).await;
    for taken in [&outcomes[0], &outcomes[2]] {
        let refusal = taken.refusal.as_ref().expect("a refusal");
        assert_eq!(refusal.reason(), ErrorReason::EmailTaken);
        assert_eq!(taken.user, None);
        let told = format!("{taken:?}");
        assert!(!told.contains("u-17") && !told.contains("u-19"), "whose it is: {told}");
    }
    assert_eq!(outcomes[1].status(), UpsertStatus::Created, "within a request too");
    assert_eq!(outcomes[3].status(), UpsertStatus::Unchanged, "one's own is no duplicate");
    // Nor is the address of another taken over later.
    let moved = system.upsert_users(vec![user("u-19", "ann@acme.example")]).await;
    assert_eq!(moved[0].refusal.as_ref().unwrap().reason(), ErrorReason::EmailTaken);
}

#[tokio::test]
async fn dir_2_nothing_else_is_folded_and_a_domain_is_in_its_ascii_form() {
    let server = TestServer::start().await;
    let addresses = ["a.b@x.example", "ab@x.example", "ab+c@x.example", "Ärger@x.example"];
    let different = addresses.into_iter().chain(["ärger@x.example", "ann@xn--bcher-kva.example"]);
    let users: Vec<_> =
        different.enumerate().map(|(at, email)| user(&format!("u{at}"), email)).collect();
    for outcome in server.system().upsert_users(users).await {
        assert_eq!(outcome.status(), UpsertStatus::Created, "{outcome:?}");
    }
    let outcomes = server.system().upsert_users(vec![user("bob", "bob@bücher.example")]).await;
    let refusal = outcomes[0].refusal.as_ref().expect("a refusal");
    assert_eq!(refusal.reason(), ErrorReason::InvalidEmail);
    assert!(refusal.message.contains("xn--"), "{}", refusal.message);
}

#[tokio::test]
async fn dir_4_groups_nest_sixteen_deep_and_never_in_a_cycle() {
    let server = TestServer::start().await;
    let names: Vec<String> = (1..=17).map(|level| format!("g{level}")).collect();
    let mut given = server.given().organization("acme").user("ann");
    for name in &names {
        given = given.group(name, &[]);
    }
    given.portfolio("roadmap").with("group:g1", "contributor").await;
    let system = server.system();
    for pair in names[..16].windows(2) {
        let outcome = system.join(&pair[0], &format!("group:{}", pair[1])).await;
        assert_eq!(outcome.status(), v1::GroupMemberStatus::Added, "{outcome:?}");
    }
    let reason = |outcome: v1::GroupMemberOutcome| outcome.refusal.expect("a refusal");
    let below = reason(system.join("g16", "group:g17").await);
    assert_eq!(below.reason(), ErrorReason::GroupTooDeep);
    let above = reason(system.join("g17", "group:g1").await);
    assert_eq!(above.reason(), ErrorReason::GroupTooDeep);
    let cycle = reason(system.join("g3", "group:g1").await);
    assert_eq!(cycle.reason(), ErrorReason::GroupCycle);
    assert!(cycle.message.contains("g3 > g1 > g2 > g3"), "{}", cycle.message);
    let itself = reason(system.join("g5", "group:g5").await);
    assert_eq!(itself.reason(), ErrorReason::GroupCycle);
    // Whoever is in the lowest has what the highest is granted.
    assert!(!server.allows("user:ann", "initiative.edit", "roadmap").await);
    system.join("g16", "user:ann").await;
    assert!(server.allows("user:ann", "initiative.edit", "roadmap").await);
}

#[tokio::test]
async fn dir_4_groups_and_service_accounts_of_others_are_refused() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").group("core", &[]).external("eve");
    let given = given.portfolio("roadmap").with("group:core", "viewer");
    given.organization("other").group("strangers", &[]).portfolio("theirs").await;
    service_account(&server.database.url, "ci").await;
    let system = server.system();
    let reason = |outcome: v1::GroupMemberOutcome| outcome.refusal.expect("a refusal").reason();
    assert_eq!(reason(system.join("core", "group:strangers").await), ErrorReason::GroupNotFound);
    let foreign = reason(system.join("strangers", "service_account:ci").await);
    assert_eq!(foreign, ErrorReason::ServiceAccountNotFound);
    let own = system.join("core", "service_account:ci").await;
    assert_eq!(own.status(), v1::GroupMemberStatus::Added);
    let granted = ["group:strangers", "service_account:nobody", "group:nobody"];
    let outcomes = system.add_members(adding("roadmap", &granted, "viewer")).await.unwrap();
    let reasons: Vec<_> = outcomes.iter().map(refused).collect();
    let missing = [
        Some(ErrorReason::GroupNotFound),
        Some(ErrorReason::ServiceAccountNotFound),
        Some(ErrorReason::GroupNotFound),
    ];
    assert_eq!(reasons, missing, "as if they were not there");
    let foreign = system.add_member("theirs", "service_account:ci", "viewer").await.unwrap();
    assert_eq!(refused(&foreign), Some(ErrorReason::ServiceAccountNotFound));
    // Externals may be in a group.
    assert_eq!(system.join("core", "user:eve").await.status(), v1::GroupMemberStatus::Added);
    assert!(server.allows("user:eve", "portfolio.view", "roadmap").await);
    assert!(server.allows("service_account:ci", "portfolio.view", "roadmap").await);
}

#[tokio::test]
async fn dir_4_a_group_as_the_subject_has_its_own_and_its_ancestors_grants_only() {
    let server = TestServer::start().await;
    server
        .given()
        .organization("acme")
        .user("ben")
        .group("inner", &["user:ben"])
        .group("outer", &["group:inner"])
        .portfolio("roadmap")
        .with("group:outer", "contributor")
        .portfolio("of-ben")
        .with("user:ben", "viewer")
        .portfolio("of-inner")
        .with("group:inner", "viewer")
        .portfolio("plaza")
        .open()
        .await;
    let inner = server.decides("group:inner", "initiative.edit", "roadmap").await;
    assert_eq!(inner, DecisionReason::GroupGrant);
    let own = server.decides("group:inner", "portfolio.view", "of-inner").await;
    assert_eq!(own, DecisionReason::DirectGrant);
    for elsewhere in ["of-ben", "plaza"] {
        assert!(!server.allows("group:inner", "portfolio.view", elsewhere).await, "{elsewhere}");
    }
    assert!(!server.allows("group:outer", "portfolio.view", "of-inner").await, "not downwards");
}

#[tokio::test]
async fn dir_8_only_site_editors_create_portfolios_and_home_users_are_editors() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("home").user("viewer").user("guest");
    let given = given.external("invited").external("stranger").external("reader");
    given
        .site_role("viewer", SiteRole::Viewer)
        .site_role("guest", SiteRole::Guest)
        .site_role("invited", SiteRole::Editor)
        .site_role("reader", SiteRole::Viewer)
        .await;
    for (actor, may) in [
        ("home", true),
        ("invited", true),
        ("viewer", false),
        ("guest", false),
        ("stranger", false),
        ("reader", false),
    ] {
        let client = server.acting(&format!("user:{actor}"));
        let created = client.create(portfolio(&format!("of-{actor}"), "home")).await;
        if may {
            assert_eq!(created.expect(actor).owner, "home");
        } else {
            let expected = (Code::PermissionDenied, "SITE_ROLE_MISSING".to_owned());
            assert_eq!(refusal(created), expected, "{actor}");
        }
    }
}

#[tokio::test]
async fn dir_8_the_site_role_bounds_what_an_open_portfolio_gives() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("home").user("viewer").user("guest");
    let given = given.external("invited").external("stranger");
    given
        .site_role("viewer", SiteRole::Viewer)
        .site_role("guest", SiteRole::Guest)
        .site_role("invited", SiteRole::Editor)
        .portfolio("plaza")
        .open()
        .openly_giving("contributor")
        .portfolio("granted")
        .with("user:guest", "contributor")
        .await;
    for (who, edits, views) in [
        ("user:home", true, true),
        ("user:invited", true, true),
        ("user:viewer", false, true),
        ("user:guest", false, false),
        ("user:stranger", false, false),
    ] {
        assert_eq!(server.allows(who, "initiative.edit", "plaza").await, edits, "{who}");
        assert_eq!(server.allows(who, "portfolio.view", "plaza").await, views, "{who}");
    }
    // A guest has what is granted, and a site role that is set counts at once.
    assert!(server.allows("user:guest", "initiative.edit", "granted").await);
    server.system().set_site_role("acme", "guest", SiteRole::Editor).await;
    assert!(server.allows("user:guest", "initiative.edit", "plaza").await);
    server.system().set_site_role("acme", "invited", SiteRole::Guest).await;
    assert!(!server.allows("user:invited", "portfolio.view", "plaza").await);
}
