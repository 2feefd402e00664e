//! Changes of visibility that wait for an administrator's approval (VIS-7).

use portcullis::proto::v1;
use portcullis::proto::v1::{PrivacyRequestState, Visibility};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::calls::{number, portfolio, texts};
use crate::cluster::database;
use crate::harness::{Client, TestServer, fields, reason, refusal, subject};
use crate::program::{Serving, file};

impl Client {
    /// Changes the visibility, or asks for it.
    pub async fn update_visibility(
        &self,
        portfolio: &str,
        visibility: Visibility,
    ) -> Result<v1::UpdateAccessSettingsResponse, Status> {
        let settings = v1::AccessSettings {
            portfolio: portfolio.to_owned(),
            visibility: visibility.into(),
            ..Default::default()
        };
        let access_settings = Some(settings);
        let request = v1::UpdateAccessSettingsRequest { access_settings, ..Default::default() };
        Ok(self.settings().update_access_settings(request).await?.into_inner())
    }

    /// Asks for a visibility; the request that is pending then.
    pub async fn ask(&self, portfolio: &str, visibility: Visibility) -> v1::PrivacyRequest {
        let updated = self.update_visibility(portfolio, visibility).await.expect("an answer");
        updated.privacy_request.expect("a request")
    }

    pub async fn approve(&self, id: &str) -> Result<(v1::PrivacyRequest, String), Status> {
        let privacy_request = id.to_owned();
        let request = v1::ApprovePrivacyRequestRequest { privacy_request, ..Default::default() };
        let done = self.settings().approve_privacy_request(request).await?.into_inner();
        Ok((done.privacy_request.expect("a request"), done.consistency_token))
    }

    pub async fn reject(&self, id: &str, reason: &str) -> Result<v1::PrivacyRequest, Status> {
        let request = v1::RejectPrivacyRequestRequest {
            privacy_request: id.to_owned(),
            reason: reason.to_owned(),
            ..Default::default()
        };
        let done = self.settings().reject_privacy_request(request).await?.into_inner();
        Ok(done.privacy_request.expect("a request"))
    }

    pub async fn cancel(&self, id: &str) -> Result<v1::PrivacyRequest, Status> {
        let privacy_request = id.to_owned();
        let request = v1::CancelPrivacyRequestRequest { privacy_request, ..Default::default() };
        let done = self.settings().cancel_privacy_request(request).await?.into_inner();
        Ok(done.privacy_request.expect("a request"))
    }

    async fn create_as_asked(&self, new: v1::Portfolio) -> v1::CreatePortfolioResponse {
        let request = v1::CreatePortfolioRequest { portfolio: Some(new), ..Default::default() };
        self.portfolios().create_portfolio(request).await.expect("a portfolio").into_inner()
    }

    async fn switch(&self, organization: v1::Organization, path: &str) {
        let request = v1::UpdateOrganizationRequest {
            organization: Some(v1::Organization { id: "acme".to_owned(), ..organization }),
            update_mask: Some(prost_types::FieldMask { paths: vec![path.to_owned()] }),
            ..Default::default()
        };
        self.directory().update_organization(request).await.expect("an organization");
    }
}

/// Ann and Ben manage the private `roadmap`, Cid views it, Dot is internal and nothing else; Ada
/// administers `acme`, whose administrators approve visibility.
pub async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").approving();
    let given = given.user("ann").user("ben").user("cid").user("dot").user("ada").external("eve");
    let given = given.administrator("ada").portfolio("roadmap").owned_by("ann");
    given.with_manager("ben").with("user:cid", "viewer").await;
    server
}

pub fn no(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

async fn visibility(server: &TestServer, portfolio: &str) -> Visibility {
    server.system().get_portfolio(portfolio).await.expect("a portfolio").visibility()
}

/// What the trail of a portfolio says of requests: what, who, and whether as an administrator.
async fn events(server: &TestServer, portfolio: &str) -> Vec<String> {
    let query = format!(
        "SELECT what || ' ' || actor || CASE WHEN as_administrator THEN '!' ELSE '' END
         FROM change_log WHERE portfolio = '{portfolio}'
           AND (what LIKE 'privacy_request.%' OR what = 'access_settings.updated')
         ORDER BY shard, sequence"
    );
    texts(&server.database.url, &query).await
}

#[tokio::test]
async fn vis_7_a_change_of_visibility_waits_until_an_administrator_approves_it() {
    let server = server().await;
    let [ann, dot, ada] = ["user:ann", "user:dot", "user:ada"].map(|who| server.acting(who));
    let before = ann.settings_of("roadmap").await.unwrap();
    let answer = ann.update_visibility("roadmap", Visibility::Open).await.unwrap();
    assert_eq!(answer.access_settings.unwrap(), before, "as it was, its etag too");
    let asked = answer.privacy_request.expect("a request");
    assert_eq!((asked.organization.as_str(), asked.portfolio.as_str()), ("acme", "roadmap"));
    assert_eq!(asked.requester, Some(subject("user:ann")));
    assert_eq!(asked.from_visibility(), Visibility::Private);
    assert_eq!(asked.to_visibility(), Visibility::Open);
    assert_eq!(asked.state(), PrivacyRequestState::Pending);
    assert!(asked.create_time.is_some() && asked.decide_time.is_none() && asked.decider.is_none());
    let request = v1::GetAccessSettingsRequest { portfolio: "roadmap".to_owned() };
    let found = ann.settings().get_access_settings(request).await.unwrap().into_inner();
    assert_eq!(found.privacy_request, Some(asked.clone()), "whoever looks sees what is pending");
    assert_eq!(visibility(&server, "roadmap").await, Visibility::Private);
    assert!(dot.get_portfolio("roadmap").await.is_err());

    let twin = server.twin().await;
    twin.system().warm_up("user:dot", "portfolio.view", "roadmap").await;
    let (approved, token) = ada.approve(&asked.id).await.unwrap();
    assert_eq!(approved.state(), PrivacyRequestState::Approved);
    assert_eq!(approved.decider, Some(subject("user:ada")));
    assert!(approved.decide_time.is_some());
    let warm = twin.system().check_after(&token, "user:dot", "portfolio.view", "roadmap").await;
    assert!(warm.allowed, "at once, on every server");
    let seen = dot.get_portfolio("roadmap").await.unwrap();
    assert_eq!(seen.visibility(), Visibility::Open);
    assert_ne!(seen.etag, before.etag);
    let expected = [
        "privacy_request.created user:ann",
        "privacy_request.approved user:ada!",
        "access_settings.updated user:ada!",
    ];
    assert_eq!(events(&server, "roadmap").await, expected);
}

#[tokio::test]
async fn vis_7_every_direction_waits_and_what_changes_nothing_asks_for_nothing() {
    let server = server().await;
    server.given().in_organization("acme").portfolio("plaza").owned_by("ann").open().await;
    let ann = server.acting("user:ann");
    let same = ann.update_visibility("plaza", Visibility::Open).await.unwrap();
    assert_eq!(same.privacy_request, None);
    for narrower in [Visibility::Restricted, Visibility::Private] {
        let asked = ann.ask("plaza", narrower).await;
        assert_eq!(asked.from_visibility(), Visibility::Open);
        assert_eq!(asked.to_visibility(), narrower);
        let same = ann.update_visibility("plaza", Visibility::Open).await.unwrap();
        assert_eq!(same.privacy_request, None, "nor while one is pending");
        ann.cancel(&asked.id).await.unwrap();
    }
    assert_eq!(visibility(&server, "plaza").await, Visibility::Open);
}

#[tokio::test]
async fn vis_7_the_rest_of_an_update_is_done_at_once_or_not_at_all() {
    let server = server().await;
    let ann = server.acting("user:ann");
    let both = |role: &str| v1::UpdateAccessSettingsRequest {
        access_settings: Some(v1::AccessSettings {
            portfolio: "roadmap".to_owned(),
            visibility: Visibility::Open.into(),
            organization_access_role: role.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = ann.settings().update_access_settings(both("contributor")).await.unwrap();
    let answer = answer.into_inner();
    let settings = answer.access_settings.unwrap();
    assert_eq!(settings.visibility(), Visibility::Private);
    assert_eq!(settings.organization_access_role, "contributor");
    let asked = answer.privacy_request.expect("a request");

    // A second one is refused as a whole, and names the first.
    let again = ann.settings().update_access_settings(both("assessor")).await.unwrap_err();
    let pending = no(Code::AlreadyExists, "PRIVACY_REQUEST_PENDING");
    assert_eq!((again.code(), reason(&again)), pending);
    let details = again.get_error_details();
    let metadata = &details.error_info().unwrap().metadata;
    assert_eq!(metadata["privacy_request"], asked.id);
    assert_eq!(metadata["portfolio"], "roadmap");
    assert_eq!(metadata["to_visibility"], "open");
    assert_eq!(ann.settings_of("roadmap").await.unwrap(), settings);
    let others = server.acting("user:ben").update_visibility("roadmap", Visibility::Open).await;
    assert_eq!(refusal(others), pending, "whoever asks");
    assert_eq!(ann.set_access_role("roadmap", "viewer").await.unwrap().visibility(), {
        Visibility::Private
    });
    // What a rule forbids asks for nothing either.
    ann.cancel(&asked.id).await.unwrap();
    let forbidden = ann.settings().update_access_settings(both("manager")).await;
    assert_eq!(refusal(forbidden), no(Code::FailedPrecondition, "ORGANIZATION_ROLE_FORBIDDEN"));
    let pending = "SELECT count(*) FROM privacy_requests WHERE state = 'pending'";
    assert_eq!(number(&server.database.url, pending).await, 0);
}

#[tokio::test]
async fn vis_7_vis_5_a_new_portfolio_is_private_until_it_is_approved() {
    let server = server().await;
    let open =
        |id| v1::Portfolio { visibility: Some(Visibility::Open.into()), ..portfolio(id, "ann") };
    let ann = server.acting("user:ann");
    let created = ann.create_as_asked(open("plan")).await;
    assert_eq!(created.portfolio.unwrap().visibility(), Visibility::Private);
    let asked = created.privacy_request.expect("a request");
    assert_eq!((asked.from_visibility(), asked.to_visibility()), {
        (Visibility::Private, Visibility::Open)
    });
    server.acting("user:ada").approve(&asked.id).await.unwrap();
    assert_eq!(visibility(&server, "plan").await, Visibility::Open);
    let private = ann.create_as_asked(portfolio("diary", "ann")).await;
    assert_eq!(private.privacy_request, None);

    // The organization's default is asked for likewise.
    let restricted = v1::Organization {
        default_visibility: Some(Visibility::Restricted.into()),
        ..Default::default()
    };
    server.system().switch(restricted, "default_visibility").await;
    let created = ann.create_as_asked(portfolio("draft", "ann")).await;
    assert_eq!(created.portfolio.unwrap().visibility(), Visibility::Private);
    assert_eq!(created.privacy_request.unwrap().to_visibility(), Visibility::Restricted);
    let private = v1::Portfolio {
        visibility: Some(Visibility::Private.into()),
        ..portfolio("secret", "ann")
    };
    assert_eq!(ann.create_as_asked(private).await.privacy_request, None);
}

#[tokio::test]
async fn vis_7_dir_7_aut_2_whoever_could_approve_it_changes_it_at_once() {
    let server = server().await;
    let given = server.given().in_organization("acme").portfolio("plaza").owned_by("ada");
    given.with("user:ann", "manager").await;
    let ada = server.acting("user:ada");
    for (client, wanted) in [(&ada, Visibility::Open), (&server.system(), Visibility::Restricted)] {
        let answer = client.update_visibility("plaza", wanted).await.unwrap();
        assert_eq!(answer.access_settings.unwrap().visibility(), wanted);
        assert_eq!(answer.privacy_request, None);
        let id = format!("plan-{}", wanted as i32);
        let new = v1::Portfolio { visibility: Some(wanted.into()), ..portfolio(&id, "ada") };
        let created = client.create_as_asked(new).await;
        assert_eq!(created.portfolio.unwrap().visibility(), wanted);
        assert_eq!(created.privacy_request, None);
    }
    // Only as an administrator could Ada do that; without the switch anybody may.
    ada.switch(v1::Organization::default(), "privacy_approval").await;
    ada.set_visibility("plaza", Visibility::Open).await.unwrap();
    server.acting("user:ann").set_visibility("plaza", Visibility::Private).await.unwrap();
    let expected = ["user:ada!", "system", "user:ada", "user:ann"];
    let expected = expected.map(|who| format!("access_settings.updated {who}"));
    assert_eq!(events(&server, "plaza").await, expected);
    // An administrator without `access.manage` changes no settings at all.
    let lacking = ada.update_visibility("roadmap", Visibility::Open).await;
    assert_eq!(refusal(lacking), no(Code::PermissionDenied, "PERMISSION_MISSING"));
}

#[tokio::test]
async fn vis_7_nothing_leaves_an_end_state() {
    let server = server().await;
    let (ann, ada) = (server.acting("user:ann"), server.acting("user:ada"));
    let ended = async |id: &str, state: &str, decider: &str| {
        let log = number(&server.database.url, "SELECT count(*) FROM change_log").await;
        for answer in [
            ada.approve(id).await.map(|_| ()),
            ada.reject(id, "late").await.map(|_| ()),
            ann.cancel(id).await.map(|_| ()),
        ] {
            let status = answer.unwrap_err();
            let decided = no(Code::FailedPrecondition, "PRIVACY_REQUEST_DECIDED");
            assert_eq!((status.code(), reason(&status)), decided);
            assert!(status.message().contains(&format!("{state} before")), "{status:?}");
            let details = status.get_error_details();
            let metadata = &details.error_info().unwrap().metadata;
            assert_eq!(metadata["state"], state);
            assert_eq!((&*metadata["privacy_request"], &*metadata["decider"]), (id, decider));
        }
        assert_eq!(number(&server.database.url, "SELECT count(*) FROM change_log").await, log);
    };
    let rejected = ann.ask("roadmap", Visibility::Open).await;
    let answer = ada.reject(&rejected.id, "not before\nthe launch").await.unwrap();
    assert_eq!(answer.state(), PrivacyRequestState::Rejected);
    assert_eq!(answer.reason, "not before\nthe launch");
    ended(&rejected.id, "rejected", "user:ada").await;
    assert_eq!(visibility(&server, "roadmap").await, Visibility::Private);

    let cancelled = ann.ask("roadmap", Visibility::Open).await;
    assert_ne!(cancelled.id, rejected.id, "it may be asked for again");
    let answer = ann.cancel(&cancelled.id).await.unwrap();
    assert_eq!(answer.state(), PrivacyRequestState::Cancelled);
    ended(&cancelled.id, "cancelled", "user:ann").await;

    let approved = ann.ask("roadmap", Visibility::Restricted).await;
    server.system().approve(&approved.id).await.unwrap();
    ended(&approved.id, "approved", "system").await;

    // Deleting the portfolio closes what is pending, in its transaction.
    let closed = ann.ask("roadmap", Visibility::Open).await;
    ann.delete("roadmap").await.unwrap();
    ended(&closed.id, "closed", "user:ann").await;
    let kinds = "SELECT what FROM change_log WHERE what LIKE 'privacy_request.%' AND what NOT LIKE \
                 '%.created' ORDER BY sequence";
    let expected = ["rejected", "cancelled", "approved", "closed"];
    let expected = expected.map(|kind| format!("privacy_request.{kind}"));
    assert_eq!(texts(&server.database.url, kinds).await, expected);
    let together = "SELECT count(DISTINCT commit_id) FROM change_log
                    WHERE what IN ('portfolio.deleted', 'privacy_request.closed')";
    assert_eq!(number(&server.database.url, together).await, 1);
}

#[tokio::test]
async fn vis_7_of_two_administrators_who_decide_at_once_one_wins() {
    let server = server().await;
    let twin = server.twin().await;
    server.given().in_organization("acme").user("abe").await;
    let administrators = vec!["ada".to_owned(), "abe".to_owned()];
    let both = v1::Organization { administrators, ..Default::default() };
    server.system().switch(both, "administrators").await;
    for _ in 0..8 {
        let before = visibility(&server, "roadmap").await;
        let other = match before {
            Visibility::Open => Visibility::Restricted,
            _ => Visibility::Open,
        };
        let asked = server.acting("user:ann").ask("roadmap", other).await;
        let (ada, abe) = (server.acting("user:ada"), twin.acting("user:abe"));
        let (approved, rejected) = tokio::join!(ada.approve(&asked.id), abe.reject(&asked.id, ""));
        let expected = if approved.is_ok() { other } else { before };
        let (won, lost) = match (approved, rejected) {
            (Ok((won, _)), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            both => panic!("{both:?}"),
        };
        assert_eq!(reason(&lost), "PRIVACY_REQUEST_DECIDED");
        let name = won.state().as_str_name().replace("PRIVACY_REQUEST_STATE_", "");
        assert!(lost.message().contains(&name.to_lowercase()), "{lost:?}");
        assert_eq!(visibility(&server, "roadmap").await, expected);
    }
}

/// Two who ask at once: one is pending, the other is told of it.
#[tokio::test]
async fn vis_7_of_two_who_ask_at_once_one_is_pending() {
    let server = server().await;
    let twin = server.twin().await;
    let (ann, ben) = (server.acting("user:ann"), twin.acting("user:ben"));
    let (first, second) = tokio::join!(
        ann.update_visibility("roadmap", Visibility::Open),
        ben.update_visibility("roadmap", Visibility::Restricted)
    );
    let lost = match (first, second) {
        (Ok(_), Err(lost)) | (Err(lost), Ok(_)) => lost,
        both => panic!("{both:?}"),
    };
    assert_eq!((lost.code(), reason(&lost)), no(Code::AlreadyExists, "PRIVACY_REQUEST_PENDING"));
    assert_eq!(number(&server.database.url, "SELECT count(*) FROM privacy_requests").await, 1);
}

#[tokio::test]
async fn vis_7_switching_off_leaves_what_is_pending_decidable() {
    let server = server().await;
    let (ann, ada) = (server.acting("user:ann"), server.acting("user:ada"));
    let asked = ann.ask("roadmap", Visibility::Open).await;
    ada.switch(v1::Organization::default(), "privacy_approval").await;
    // What is changed now is changed at once; what was asked for stays, and may be so already.
    let answer = ann.update_visibility("roadmap", Visibility::Open).await.unwrap();
    assert_eq!(answer.privacy_request, None);
    let etag = answer.access_settings.unwrap().etag;
    let (approved, _) = ada.approve(&asked.id).await.unwrap();
    assert_eq!(approved.state(), PrivacyRequestState::Approved);
    assert_eq!(ann.settings_of("roadmap").await.unwrap().etag, etag, "it was open before");
}

#[tokio::test]
async fn vis_6_turning_a_portfolio_private_leaves_what_is_pending_decidable() {
    let server = server().await;
    server.given().in_organization("acme").portfolio("plaza").owned_by("ada").open().await;
    let system = server.system();
    system.add_member("plaza", "user:ann", "manager").await.unwrap();
    let asked = server.acting("user:ann").ask("plaza", Visibility::Restricted).await;
    let ada = server.acting("user:ada");
    ada.set_visibility("plaza", Visibility::Private).await.unwrap();
    // Who does not see it asks for nothing there.
    let hidden = server.acting("user:dot").update_visibility("plaza", Visibility::Open).await;
    assert_eq!(refusal(hidden), no(Code::NotFound, "PORTFOLIO_NOT_FOUND"));
    ada.approve(&asked.id).await.unwrap();
    assert_eq!(visibility(&server, "plaza").await, Visibility::Restricted);
}

#[tokio::test]
async fn vis_7_whoever_has_become_an_administrator_may_approve_their_own() {
    let server = server().await;
    let ann = server.acting("user:ann");
    let asked = ann.ask("roadmap", Visibility::Open).await;
    let refused = ann.approve(&asked.id).await;
    assert_eq!(refusal(refused), no(Code::PermissionDenied, "ADMINISTRATOR_REQUIRED"));
    let administrators = vec!["ada".to_owned(), "ann".to_owned()];
    let both = v1::Organization { administrators, ..Default::default() };
    server.system().switch(both, "administrators").await;
    ann.approve(&asked.id).await.unwrap();
    assert_eq!(visibility(&server, "roadmap").await, Visibility::Open);
}

#[tokio::test]
async fn bad_3_vis_7_asking_and_deciding_again_is_done_once() {
    let server = server().await;
    let twin = server.twin().await;
    let (ann, again) = (server.acting("user:ann"), twin.acting("user:ann"));
    let open = v1::UpdateAccessSettingsRequest {
        request_id: "ask".to_owned(),
        access_settings: Some(v1::AccessSettings {
            portfolio: "roadmap".to_owned(),
            visibility: Visibility::Open.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let first = ann.settings().update_access_settings(open.clone()).await.unwrap().into_inner();
    let second = again.settings().update_access_settings(open).await.unwrap().into_inner();
    assert_eq!(second, first);
    let id = first.privacy_request.unwrap().id;
    let cancel = v1::CancelPrivacyRequestRequest {
        request_id: "cancel".to_owned(),
        privacy_request: id.clone(),
    };
    let first = ann.settings().cancel_privacy_request(cancel.clone()).await.unwrap().into_inner();
    // Also once the portfolio is out of sight.
    server.system().delete("roadmap").await.unwrap();
    let second = again.settings().cancel_privacy_request(cancel).await.unwrap().into_inner();
    assert_eq!(second, first);

    let new = v1::CreatePortfolioRequest {
        request_id: "new".to_owned(),
        portfolio: Some(v1::Portfolio {
            visibility: Some(Visibility::Open.into()),
            ..portfolio("plan", "ann")
        }),
        ..Default::default()
    };
    let first = ann.portfolios().create_portfolio(new.clone()).await.unwrap().into_inner();
    let second = again.portfolios().create_portfolio(new).await.unwrap().into_inner();
    assert_eq!(second, first);
    let approve = v1::ApprovePrivacyRequestRequest {
        request_id: "approve".to_owned(),
        privacy_request: first.privacy_request.unwrap().id,
    };
    let (ada, again) = (server.acting("user:ada"), twin.acting("user:ada"));
    let first = ada.settings().approve_privacy_request(approve.clone()).await.unwrap();
    let second = again.settings().approve_privacy_request(approve).await.unwrap();
    assert_eq!(second.into_inner(), first.into_inner());
    let reject = v1::RejectPrivacyRequestRequest {
        request_id: "approve".to_owned(),
        privacy_request: id,
        ..Default::default()
    };
    let reused = ada.settings().reject_privacy_request(reject).await;
    assert_eq!(refusal(reused), no(Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn bad_1_vis_7_nonsense_about_privacy_requests_is_refused_by_its_field() {
    let server = server().await;
    let ada = server.acting("user:ada");
    for id in ["", "a b", "\u{e4}"] {
        for status in [
            ada.approve(id).await.map(|_| ()).unwrap_err(),
            ada.reject(id, "").await.map(|_| ()).unwrap_err(),
            ada.cancel(id).await.map(|_| ()).unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            assert_eq!(fields(&status), ["privacy_request"]);
        }
    }
    let asked = server.acting("user:ann").ask("roadmap", Visibility::Open).await;
    for reason in ["x".repeat(501), "\0".to_owned(), "a\u{7}".to_owned()] {
        let status = ada.reject(&asked.id, &reason).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(fields(&status), ["reason"]);
    }
    let both = ada.reject("", "\0").await.unwrap_err();
    assert_eq!(fields(&both), ["privacy_request", "reason"]);
    ada.reject(&asked.id, &"\u{e4}".repeat(500)).await.unwrap();
}

#[tokio::test]
async fn vis_7_apply_asks_once_and_has_nothing_to_do_while_that_is_pending() {
    let database = database().await;
    let server = Serving::start(&database.url, &[]);
    let content = "organization: {id: acme, privacy_approval: true, administrators: [ada]}
users:
  - {id: ada, email: ada@acme.example, home_organization: acme}
  - {id: ann, email: ann@acme.example, home_organization: acme}
portfolios:
  - {id: plaza, owner: ann, visibility: open}
";
    let (_folder, path) = file("acme.yaml", content.as_bytes());
    let path = path.to_str().unwrap();
    let (status, out, error) = server.run(&["apply", path]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    let open = "SELECT count(*) FROM portfolios WHERE visibility = 'open'";
    assert_eq!(number(&database.url, open).await, 1, "the system need not ask");
    let (_, out, _) = server.run(&["apply", path]);
    assert_eq!(out, "nothing to change\n");

    let other =
        content.replace("open}", "restricted}") + "  - {id: plan, owner: ann, visibility: open}\n";
    let (_folder, path) = file("acme.yaml", other.as_bytes());
    let path = path.to_str().unwrap();
    let (status, out, error) = server.run(&["apply", path, "--actor", "user:ann"]);
    assert_eq!(status, 0, "{out} {error}");
    assert!(out.contains("2 changes made\n"), "{out}");
    let told = format!("{out}{error}");
    for line in ["plan: visibility open waits for an", "plaza: visibility restricted waits for an"]
    {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let pending = "SELECT count(*) FROM privacy_requests WHERE state = 'pending'";
    assert_eq!(number(&database.url, pending).await, 2);
    for more in [&["--actor", "user:ann"][..], &["--actor", "user:ann", "--dry-run"]] {
        let (status, out, error) = server.run(&[&["apply", path], more].concat());
        assert_eq!(status, 0, "{out} {error}");
        assert!(out.contains("nothing to change\n"), "{out}");
        assert!(format!("{out}{error}").contains("plan: visibility open waits for an"), "{out}");
    }
    // Whoever need not ask is not kept from it by what is pending.
    let (status, out, error) = server.run(&["apply", path]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("2 changes made\n"), "{out}");
    assert_eq!(number(&database.url, open).await, 1);
    let (_, out, _) = server.run(&["apply", path, "--actor", "user:ann"]);
    assert_eq!(out, "nothing to change\n");
}

#[tokio::test]
async fn vis_7_inh_3_what_is_linked_from_the_start_waits_for_nothing() {
    let server = server().await;
    let ann = server.acting("user:ann");
    let below = |id: &str, visibility: Option<Visibility>| v1::Portfolio {
        parent: "roadmap".to_owned(),
        linked: true,
        visibility: visibility.map(i32::from),
        ..portfolio(id, "ann")
    };
    let request = v1::CreatePortfolioRequest {
        portfolio: Some(below("plan", Some(Visibility::Open))),
        ..Default::default()
    };
    let refused = ann.portfolios().create_portfolio(request).await;
    assert_eq!(refusal(refused), no(Code::InvalidArgument, "INVALID_FIELD"));
    let created = ann.create_as_asked(below("plan", None)).await;
    assert_eq!(created.privacy_request, None);
    assert!(created.portfolio.expect("a portfolio").linked);
}
