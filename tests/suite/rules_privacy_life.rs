//! Changes of visibility that wait for approval, of portfolios that are archived, restored and
//! deleted (VIS-7, VIS-8).

use portcullis::proto::v1;
use portcullis::proto::v1::{PrivacyRequestState, Visibility};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::calls::number;
use crate::harness::{Client, TestServer, refusal};
use crate::rules_privacy::{no, server};

fn archived() -> (Code, String) {
    no(Code::FailedPrecondition, "ARCHIVED")
}

fn about_roadmap() -> v1::ListPrivacyRequestsRequest {
    use v1::list_privacy_requests_request::Within;
    let within = Some(Within::Portfolio("roadmap".to_owned()));
    v1::ListPrivacyRequestsRequest { within, ..Default::default() }
}

/// The request about `roadmap` that is pending, as its settings say.
async fn pending(client: &Client) -> Option<v1::PrivacyRequest> {
    let request = v1::GetAccessSettingsRequest { portfolio: "roadmap".to_owned() };
    let found = client.settings().get_access_settings(request).await.expect("settings");
    found.into_inner().privacy_request
}

async fn visibility(server: &TestServer) -> Visibility {
    server.system().get_portfolio("roadmap").await.expect("a portfolio").visibility()
}

#[tokio::test]
async fn vis_7_vis_8_approval_waits_while_the_portfolio_is_archived() {
    let server = server().await;
    let (ann, ada) = (server.acting("user:ann"), server.acting("user:ada"));
    let asked = ann.ask("roadmap", Visibility::Open).await;
    ann.archive("roadmap").await.unwrap();
    let log = number(&server.database.url, "SELECT count(*) FROM change_log").await;
    for approver in [&ada, &server.system()] {
        let status = approver.approve(&asked.id).await.unwrap_err();
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["portfolio"], "roadmap");
        assert_eq!(refusal(Err::<(), _>(status)), archived(), "the system too");
    }
    let refused = ann.approve(&asked.id).await;
    let required = no(Code::PermissionDenied, "ADMINISTRATOR_REQUIRED");
    assert_eq!(refusal(refused), required, "who may not anyway is told that");
    assert_eq!(number(&server.database.url, "SELECT count(*) FROM change_log").await, log);
    assert_eq!(visibility(&server).await, Visibility::Private);

    // It is there to be seen, and waits.
    assert_eq!(pending(&ann).await, Some(asked.clone()));
    for reader in [&ann, &ada] {
        let listed = reader.settings().list_privacy_requests(about_roadmap()).await.unwrap();
        assert_eq!(listed.into_inner().privacy_requests, std::slice::from_ref(&asked));
    }
    ann.restore("roadmap").await.unwrap();
    let (approved, _) = ada.approve(&asked.id).await.unwrap();
    assert_eq!(approved.state(), PrivacyRequestState::Approved);
    assert_eq!(visibility(&server).await, Visibility::Open);
}

#[tokio::test]
async fn vis_7_vis_8_rejecting_and_cancelling_stay_while_the_portfolio_is_archived() {
    let server = server().await;
    let (ann, ada) = (server.acting("user:ann"), server.acting("user:ada"));
    let asked = ann.ask("roadmap", Visibility::Open).await;
    ann.archive("roadmap").await.unwrap();
    let rejected = ada.reject(&asked.id, "it is put away").await.unwrap();
    assert_eq!(rejected.state(), PrivacyRequestState::Rejected);
    let decided = no(Code::FailedPrecondition, "PRIVACY_REQUEST_DECIDED");
    assert_eq!(refusal(ada.approve(&asked.id).await), decided, "decided before archived");
    for client in [&ann, &server.system()] {
        let refused = client.update_visibility("roadmap", Visibility::Open).await;
        assert_eq!(refusal(refused), archived(), "nothing new is asked for, or set");
    }
    assert_eq!(pending(&ann).await, None);

    ann.restore("roadmap").await.unwrap();
    let asked = ann.ask("roadmap", Visibility::Restricted).await;
    ann.archive("roadmap").await.unwrap();
    let cancelled = ann.cancel(&asked.id).await.unwrap();
    assert_eq!(cancelled.state(), PrivacyRequestState::Cancelled);
    ann.restore("roadmap").await.unwrap();
    assert_eq!(visibility(&server).await, Visibility::Private);
}

#[tokio::test]
async fn vis_7_vis_9_deleting_an_archived_portfolio_closes_what_waits() {
    let server = server().await;
    let (ann, ada) = (server.acting("user:ann"), server.acting("user:ada"));
    let asked = ann.ask("roadmap", Visibility::Open).await;
    ann.archive("roadmap").await.unwrap();
    ann.delete("roadmap").await.unwrap();
    let status = ada.approve(&asked.id).await.unwrap_err();
    assert!(status.message().contains("`user:ann` deleted portfolio `roadmap`"), "{status:?}");
    let metadata = status.get_error_details().error_info().unwrap().metadata.clone();
    assert_eq!((&*metadata["state"], &*metadata["decider"]), ("closed", "user:ann"));
    let decided = no(Code::FailedPrecondition, "PRIVACY_REQUEST_DECIDED");
    assert_eq!(refusal(Err::<(), _>(status)), decided);
    let open = "SELECT count(*) FROM privacy_requests WHERE state = 'pending'";
    assert_eq!(number(&server.database.url, open).await, 0);
}

#[tokio::test]
async fn vis_7_mem_12_a_new_owner_leaves_what_waits_to_who_asked() {
    let server = server().await;
    let (ann, ben) = (server.acting("user:ann"), server.acting("user:ben"));
    let asked = ann.ask("roadmap", Visibility::Open).await;
    ann.transfer("roadmap", "ben").await.unwrap();
    assert_eq!(pending(&ben).await, Some(asked.clone()));
    let refused = ben.cancel(&asked.id).await;
    assert_eq!(refusal(refused), no(Code::PermissionDenied, "REQUESTER_REQUIRED"));
    let again = ben.update_visibility("roadmap", Visibility::Open).await;
    assert_eq!(refusal(again), no(Code::AlreadyExists, "PRIVACY_REQUEST_PENDING"));
    ann.cancel(&asked.id).await.unwrap();
    assert_eq!(visibility(&server).await, Visibility::Private, "owners ask like others");
    ben.ask("roadmap", Visibility::Restricted).await;
}
