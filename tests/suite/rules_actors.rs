//! Acting for somebody, or for nobody (AUT-2).

use portcullis::proto::v1::{AddMemberStatus, DecisionReason};
use tonic::Code;

use crate::calls::{execute, number, portfolio, service_account, texts};
use crate::harness::{TestServer, fields, refusal};

#[tokio::test]
async fn aut_2_the_system_names_the_owner_and_is_bound_by_every_rule_but_the_ceiling() {
    let server = TestServer::start().await;
    server.given().organization("acme").user("ann").user("ben").await;
    let system = server.system();
    let nameless = system.create(portfolio("roadmap", "")).await.unwrap_err();
    assert_eq!(fields(&nameless), ["portfolio.owner"]);
    let created = system.create(portfolio("roadmap", "ann")).await.unwrap();
    assert_eq!(created.author, None, "nobody in particular");
    let added = system.add_member("roadmap", "user:ben", "manager").await.unwrap();
    assert_eq!(added.status(), AddMemberStatus::Added, "it has no ceiling");
    let owner = system.remove_member("roadmap", "user:ann").await;
    assert_eq!(refusal(owner), (Code::FailedPrecondition, "OWNER".to_owned()));
    system.deactivate("ann").await;
    let last = system.remove_member("roadmap", "user:ben").await;
    assert_eq!(refusal(last), (Code::FailedPrecondition, "LAST_MANAGER".to_owned()));
    let actors = "SELECT DISTINCT actor FROM change_log WHERE organization = 'acme'";
    assert_eq!(texts(&server.database.url, actors).await, ["system"]);
}

#[tokio::test]
async fn aut_2_a_service_account_acts_with_what_it_was_granted() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben");
    given.portfolio("roadmap").owned_by("ann").await;
    let url = &server.database.url;
    service_account(url, "ci").await;
    let ci = server.acting("service_account:ci");
    let unseen = ci.get_portfolio("roadmap").await;
    assert_eq!(refusal(unseen), (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned()));
    server.system().add_member("roadmap", "service_account:ci", "manager").await.unwrap();
    let added = ci.add_member("roadmap", "user:ben", "contributor").await.unwrap();
    assert_eq!(added.status(), AddMemberStatus::Added);
    // It creates, and names an owner: it cannot own.
    let nameless = ci.create(portfolio("of-ci", "")).await.unwrap_err();
    assert_eq!(fields(&nameless), ["portfolio.owner"]);
    ci.create(portfolio("of-ci", "ann")).await.expect("a portfolio");
    let by_ci = number(url, "SELECT count(*) FROM change_log WHERE actor = 'service_account:ci'");
    assert_eq!(by_ci.await, 3, "the addition, the portfolio and its owner");
    let stranger = server.acting("service_account:nobody").create(portfolio("x", "ann")).await;
    assert_eq!(refusal(stranger), (Code::PermissionDenied, "SITE_ROLE_MISSING".to_owned()));
}

#[tokio::test]
async fn dir_1_aut_2_a_deactivated_service_account_is_denied_everything() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann");
    given.portfolio("roadmap").owned_by("ann").await;
    let url = &server.database.url;
    service_account(url, "ci").await;
    server.system().add_member("roadmap", "service_account:ci", "manager").await.unwrap();
    execute(url, "UPDATE service_accounts SET deactivated = true").await;
    let reason = server.decides("service_account:ci", "portfolio.view", "roadmap").await;
    assert_eq!(reason, DecisionReason::SubjectDeactivated);
    let ci = server.acting("service_account:ci");
    assert!(ci.get_portfolio("roadmap").await.is_err());
    assert!(ci.add_member("roadmap", "user:ann", "viewer").await.is_err());
    assert!(ci.create(portfolio("of-ci", "ann")).await.is_err());
}

#[tokio::test]
async fn aut_1_an_act_is_judged_on_what_is_true_when_it_happens() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").user("cid");
    given.portfolio("roadmap").owned_by("ann").with("user:ben", "manager").await;
    server.system().warm_up("user:ben", "members.invite", "roadmap").await;
    let ben = server.acting("user:ben");
    // No token, no wait: the write asks the database, whatever memory still says.
    for _ in 0..20 {
        server.system().set_role("roadmap", "user:ben", "viewer").await.unwrap();
        let denied = ben.add_member("roadmap", "user:cid", "viewer").await;
        let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
        assert_eq!(refusal(denied), missing);
        server.system().set_role("roadmap", "user:ben", "manager").await.unwrap();
        ben.add_member("roadmap", "user:cid", "viewer").await.expect("a manager again");
        ben.remove_member("roadmap", "user:cid").await.expect("a manager still");
    }
}
