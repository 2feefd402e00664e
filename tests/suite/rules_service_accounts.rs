//! Service accounts: kept by the directory, denied everything when deactivated (DIR-1, AUT-2).

use portcullis::proto::v1;
use portcullis::proto::v1::{DecisionReason, ErrorReason, UpsertStatus, UserStatus};
use tonic::{Code, Status};

use crate::harness::{Client, TestServer, fields, refusal};

fn account(id: &str, organization: &str) -> v1::ServiceAccount {
    v1::ServiceAccount {
        id: id.to_owned(),
        organization: organization.to_owned(),
        display_name: format!("The {id}"),
        ..Default::default()
    }
}

impl Client {
    async fn upsert_service_accounts(
        &self,
        service_accounts: Vec<v1::ServiceAccount>,
    ) -> (Vec<v1::UpsertServiceAccountOutcome>, String) {
        let request = v1::UpsertServiceAccountsRequest { service_accounts, ..Default::default() };
        let done = self.directory().upsert_service_accounts(request).await.expect("outcomes");
        let done = done.into_inner();
        (done.outcomes, done.consistency_token)
    }

    async fn deactivate_service_account(&self, id: &str) -> Result<String, Status> {
        let service_account = id.to_owned();
        let request = v1::DeactivateServiceAccountRequest { service_account, ..Default::default() };
        let done = self.directory().deactivate_service_account(request).await?.into_inner();
        assert_eq!(done.service_account.expect("an account").status(), UserStatus::Deactivated);
        Ok(done.consistency_token)
    }
}

#[tokio::test]
async fn bad_1_each_service_account_has_an_outcome_of_its_own() {
    let server = TestServer::start().await;
    server.given().organization("acme").organization("beta").await;
    let system = server.system();
    let nameless = v1::ServiceAccount { display_name: String::new(), ..account("x", "acme") };
    let off = UserStatus::Deactivated.into();
    let entries = vec![
        account("ci", "acme"),
        account("ci", "acme"),
        account("bot", "beta"),
        account("bad id", "acme"),
        nameless,
        account("lost", "nowhere"),
        v1::ServiceAccount { status: off, ..account("off", "acme") },
        account("", "acme"),
    ];
    let (outcomes, _) = system.upsert_service_accounts(entries).await;
    let reasons: Vec<_> =
        outcomes.iter().map(|o| o.refusal.as_ref().map(v1::Refusal::reason)).collect();
    let invalid = Some(ErrorReason::InvalidField);
    let lost = Some(ErrorReason::OrganizationNotFound);
    assert_eq!(reasons, [None, invalid, None, invalid, invalid, lost, invalid, None]);
    assert_eq!(outcomes[0].status(), UpsertStatus::Created);
    assert!(!outcomes[7].service_account.as_ref().unwrap().id.is_empty(), "one is made");

    let renamed = v1::ServiceAccount { display_name: "CI".to_owned(), ..account("ci", "acme") };
    let entries = vec![renamed, account("bot", "acme"), account("nope", "beta")];
    let (outcomes, _) = system.upsert_service_accounts(entries).await;
    assert_eq!(outcomes[0].status(), UpsertStatus::Updated);
    let taken = outcomes[1].refusal.as_ref().unwrap();
    assert_eq!(taken.reason(), ErrorReason::IdTaken);
    assert!(!taken.message.contains("beta"), "{}", taken.message);
    let (outcomes, _) = system.upsert_service_accounts(vec![account("bot", "beta")]).await;
    assert_eq!(outcomes[0].status(), UpsertStatus::Unchanged);
    let unknown = system.deactivate_service_account("nobody").await;
    let expected = (Code::NotFound, "SERVICE_ACCOUNT_NOT_FOUND".to_owned());
    assert_eq!(refusal(unknown), expected);
}

#[tokio::test]
async fn dir_1_aut_2_a_service_account_is_deactivated_and_reactivated_at_once() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann");
    given.portfolio("roadmap").owned_by("ann").await;
    let (system, twin) = (server.system(), server.twin().await);
    let (_, token) = system.upsert_service_accounts(vec![account("ci", "acme")]).await;
    system.add_member("roadmap", "service_account:ci", "manager").await.unwrap();
    let member = system.get_member("roadmap", "service_account:ci").await.unwrap();
    assert_eq!(member.display_name, "The ci");
    let ask = async |token: &str| {
        let question = ("service_account:ci", "members.invite", "roadmap");
        let (who, what, at) = question;
        let warm = twin.system().check_after(token, who, what, at).await;
        let cold = server.twin().await.system().check_after(token, who, what, at).await;
        assert_eq!((warm.allowed, warm.reason()), (cold.allowed, cold.reason()));
        (warm.allowed, warm.reason())
    };
    twin.system().warm_up("service_account:ci", "members.invite", "roadmap").await;
    assert!(ask(&token).await.0);
    let token = system.deactivate_service_account("ci").await.unwrap();
    assert_eq!(ask(&token).await, (false, DecisionReason::SubjectDeactivated));
    let acting = server.acting("service_account:ci").get_portfolio("roadmap").await;
    assert_eq!(refusal(acting), (Code::PermissionDenied, "ACTOR_DEACTIVATED".to_owned()));
    assert!(system.get_member("roadmap", "service_account:ci").await.unwrap().deactivated);

    // Nothing is said of the status: it stays.
    let (outcomes, _) = system.upsert_service_accounts(vec![account("ci", "acme")]).await;
    assert_eq!(outcomes[0].status(), UpsertStatus::Unchanged);
    let active = UserStatus::Active.into();
    let entry = v1::ServiceAccount { status: active, ..account("ci", "acme") };
    let (outcomes, token) = system.upsert_service_accounts(vec![entry]).await;
    assert_eq!(outcomes[0].status(), UpsertStatus::Updated);
    assert!(ask(&token).await.0, "its grants were kept");
}

#[tokio::test]
async fn service_accounts_are_listed_page_by_page_in_byte_order() {
    let server = TestServer::start().await;
    server.given().organization("acme").organization("beta").await;
    let system = server.system();
    let ids = ["Zeta", "a", "a.b", "a:b", "b"];
    let mut entries: Vec<_> = ids.iter().rev().map(|id| account(id, "acme")).collect();
    entries.push(account("elsewhere", "beta"));
    system.upsert_service_accounts(entries).await;
    let list = async |organization: &str, page_token: &str| {
        let request = v1::ListServiceAccountsRequest {
            organization: organization.to_owned(),
            page_size: 2,
            page_token: page_token.to_owned(),
        };
        system.directory().list_service_accounts(request).await.map(tonic::Response::into_inner)
    };
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = list("acme", &token).await.unwrap();
        found.extend(page.service_accounts.into_iter().map(|account| account.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let status = list("beta", &token).await.unwrap_err();
        assert_eq!(fields(&status), ["page_token"]);
    }
    assert_eq!(found, ids);
    let unknown = list("nowhere", "").await;
    assert_eq!(refusal(unknown), (Code::NotFound, "ORGANIZATION_NOT_FOUND".to_owned()));
}
