//! Archiving, restoring and deleting (VIS-8, VIS-9).

use portcullis::proto::v1;
use portcullis::proto::v1::{DecisionReason, PortfolioState, PortfolioView, RouteEffect};
use tonic::{Code, Status};

use crate::calls::{HOUR, now, number, portfolio, question, texts};
use crate::harness::{Client, TestServer, fields, refusal, subject};

/// `ann` owns `roadmap`, `max` manages it, `ben` contributes, `vic` looks, `root` administers.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("root").administrator("root");
    let given = given.user("ann").user("max").user("ben").user("vic").user("cid");
    let given = given.group("core", &["user:cid"]).external("eve");
    let given = given.portfolio("roadmap").owned_by("ann").with_manager("max");
    given.with("user:ben", "contributor").with("user:vic", "viewer").await;
    server
}

fn archived() -> (Code, String) {
    (Code::FailedPrecondition, "ARCHIVED".to_owned())
}

fn missing() -> (Code, String) {
    (Code::PermissionDenied, "PERMISSION_MISSING".to_owned())
}

/// Calls that add or change something, each by its name.
async fn changes(client: &Client, later: i64) -> Vec<(&'static str, Status)> {
    let update = async |display_name: &str, r#type: &str| {
        let request = v1::UpdatePortfolioRequest {
            portfolio: Some(v1::Portfolio {
                id: "roadmap".to_owned(),
                display_name: display_name.to_owned(),
                r#type: r#type.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        client.portfolios().update_portfolio(request).await.expect_err("refused")
    };
    let refused = |answer: Result<v1::Member, Status>| answer.expect_err("refused");
    vec![
        ("add", client.add_member("roadmap", "user:cid", "viewer").await.expect_err("refused")),
        ("a group", client.add_member("roadmap", "group:core", "viewer").await.expect_err("no")),
        ("role", refused(client.set_role("roadmap", "user:vic", "contributor").await)),
        ("same role", refused(client.set_role("roadmap", "user:vic", "viewer").await)),
        ("end", refused(client.set_end("roadmap", "user:vic", Some(later)).await)),
        ("transfer", client.transfer("roadmap", "max").await.expect_err("refused")),
        ("name", update("Renamed", "").await),
        ("type", update("", "plan").await),
        (
            "visibility",
            client.set_visibility("roadmap", v1::Visibility::Open).await.expect_err("refused"),
        ),
        ("openness", client.set_access_role("roadmap", "contributor").await.expect_err("no")),
        ("archive", client.archive("roadmap").await.expect_err("refused")),
    ]
}

#[tokio::test]
async fn vis_8_checks_of_what_adds_or_changes_are_denied_until_it_is_restored() {
    let server = server().await;
    let catalog = v1::ListCatalogPermissionsRequest { page_size: 1_000, ..Default::default() };
    let catalog = server.system().roles().list_catalog_permissions(catalog).await.unwrap();
    let catalog = catalog.into_inner().permissions;
    let all = async || {
        let mut answers = Vec::new();
        for who in ["user:ann", "user:ben", "user:vic", "user:root", "user:cid", "user:nobody"] {
            for permission in &catalog {
                let answer = server.system().check(who, &permission.name, "roadmap").await.unwrap();
                let halted = permission.effect() == v1::PermissionEffect::Change
                    && permission.name != "comment.create";
                let asked = format!("{who} {}", permission.name);
                answers.push((asked, halted, answer.allowed, answer.reason()));
            }
        }
        answers
    };
    let before = all().await;
    server.acting("user:ann").archive("roadmap").await.unwrap();
    let mut halted_for = 0;
    for ((asked, halted, allowed, reason), then) in before.iter().zip(all().await) {
        let (expected, why) = match (halted, allowed) {
            (true, true) => (false, DecisionReason::Archived),
            _ => (*allowed, *reason),
        };
        assert_eq!((then.2, then.3), (expected, why), "{asked}");
        halted_for += usize::from(then.3 == DecisionReason::Archived);
    }
    assert!(halted_for > 20, "{halted_for}");
    assert!(server.allows("user:vic", "comment.create", "roadmap").await);
    server.acting("user:ann").restore("roadmap").await.unwrap();
    assert_eq!(all().await, before);
}

#[tokio::test]
async fn vis_8_acc_9_every_question_says_the_same_of_an_archived_portfolio() {
    let server = server().await;
    server.acting("user:max").archive("roadmap").await.unwrap();
    let mut policy = server.system().policy();
    let v1::CheckPermissionRequest { consistency, .. } =
        question("user:ben", "initiative.edit", "roadmap");
    let effective = v1::ListEffectivePermissionsRequest {
        subject: Some(subject("user:ben")),
        portfolio: "roadmap".to_owned(),
        consistency: consistency.clone(),
        ..Default::default()
    };
    let effective = policy.list_effective_permissions(effective).await.unwrap().into_inner();
    let effective: Vec<String> =
        effective.permissions.into_iter().map(|found| found.permission).collect();
    for name in ["portfolio.view", "comment.create", "initiative.delete", "initiative.edit"] {
        let allowed = server.allows("user:ben", name, "roadmap").await;
        assert_eq!(effective.iter().any(|held| held == name), allowed, "{name}");
        let request = v1::ListAccessiblePortfoliosRequest {
            subject: Some(subject("user:ben")),
            permission: name.to_owned(),
            consistency: consistency.clone(),
            ..Default::default()
        };
        let portfolios = policy.list_accessible_portfolios(request).await.unwrap().into_inner();
        assert_eq!(portfolios.portfolios.len(), usize::from(allowed), "{name}");
        let request = v1::ListSubjectsRequest {
            permission: name.to_owned(),
            portfolio: "roadmap".to_owned(),
            consistency: consistency.clone(),
            ..Default::default()
        };
        let subjects = policy.list_subjects(request).await.unwrap().into_inner().subjects;
        let ben = subjects.iter().any(|row| row.subject == Some(subject("user:ben")));
        assert_eq!(ben, allowed, "{name}");
    }
    let request = v1::BatchCheckPermissionsRequest {
        subject: Some(subject("user:ben")),
        permission: "initiative.edit".to_owned(),
        portfolio: "roadmap".to_owned(),
        items: vec![v1::BatchCheckItem::default()],
        consistency: consistency.clone(),
        ..Default::default()
    };
    let batch = policy.batch_check_permissions(request).await.unwrap().into_inner();
    let [outcome] = &batch.outcomes[..] else { panic!("{batch:?}") };
    assert_eq!((outcome.allowed, outcome.reason()), (false, DecisionReason::Archived));
    let request = v1::ExplainPermissionRequest {
        subject: Some(subject("user:ben")),
        permission: "initiative.edit".to_owned(),
        portfolio: "roadmap".to_owned(),
        consistency,
        ..Default::default()
    };
    let explained = policy.explain_permission(request).await.unwrap().into_inner();
    assert_eq!((explained.allowed, explained.reason()), (false, DecisionReason::Archived));
    assert_eq!(explained.routes[0].effect(), RouteEffect::Archived);
    assert_eq!(explained.givers, [], "nobody gives anything on it");
}

#[tokio::test]
async fn vis_8_calls_that_add_or_change_are_refused_to_everybody() {
    let server = server().await;
    let later = now(&server.database.url).await + HOUR;
    let before = server.acting("user:ann").archive("roadmap").await.unwrap();
    assert_eq!(before.state(), PortfolioState::Archived);
    let log = "SELECT count(*) FROM change_log";
    let written = number(&server.database.url, log).await;
    // The owner and the system could do all of it; a manager and an administrator some.
    let all = ["add", "a group", "role", "same role", "end", "transfer", "name", "type"];
    let all = [&all[..], &["visibility", "openness", "archive"]].concat();
    let manager: Vec<&str> = all.iter().copied().filter(|name| *name != "transfer").collect();
    for (client, may) in [
        (server.system(), &all[..]),
        (server.acting("user:ann"), &all),
        (server.acting("user:max"), &manager),
        (server.acting("user:root"), &all[..6]),
        (server.acting("user:ben"), &[]),
        (server.acting("user:vic"), &[]),
    ] {
        for (name, status) in changes(&client, later).await {
            let expected = if may.contains(&name) { archived() } else { missing() };
            assert_eq!(refusal::<()>(Err(status)), expected, "{name}, {may:?}");
        }
    }
    for (name, status) in changes(&server.acting("user:cid"), later).await {
        let hidden = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
        assert_eq!(refusal::<()>(Err(status)), hidden, "{name}");
    }
    assert_eq!(number(&server.database.url, log).await, written, "nothing was written");
    assert_eq!(server.system().get_portfolio("roadmap").await.unwrap(), before);
}

#[tokio::test]
async fn vis_8_reading_and_removing_stay() {
    let server = server().await;
    let (ann, max) = (server.acting("user:ann"), server.acting("user:max"));
    ann.archive("roadmap").await.unwrap();
    for who in ["user:ann", "user:ben", "user:vic", "user:root"] {
        let found = server.acting(who).get_portfolio("roadmap").await.unwrap();
        assert_eq!(found.state(), PortfolioState::Archived, "{who}");
        let rows = server.acting(who).list("acme", PortfolioView::Unspecified).await.unwrap();
        let states: Vec<_> =
            rows.iter().map(|row| row.portfolio.as_ref().map(v1::Portfolio::state)).collect();
        assert_eq!(states, [Some(PortfolioState::Archived)], "{who}");
    }
    assert_eq!(max.settings_of("roadmap").await.unwrap().organization_access_role, "viewer");
    assert_eq!(refusal(server.acting("user:ben").settings_of("roadmap").await), missing());
    assert_eq!(max.get_member("roadmap", "user:ben").await.unwrap().display_name, "ben");
    let list = v1::ListMembersRequest { portfolio: "roadmap".to_owned(), ..Default::default() };
    let members = max.members().list_members(list).await.unwrap().into_inner().members;
    assert_eq!(members.len(), 4);
    let within = v1::list_audit_events_request::Within::Portfolio("roadmap".to_owned());
    let trail = v1::ListAuditEventsRequest { within: Some(within), ..Default::default() };
    let trail = max.events().list_audit_events(trail).await.unwrap().into_inner().events;
    assert_eq!(trail[0].kind, "portfolio.archived");
    // A manager is removed by somebody who holds as much: the ceiling knows of no archive (ROL-7).
    max.remove_member("roadmap", "user:ben").await.unwrap();
    ann.remove_member("roadmap", "user:max").await.unwrap();
    server.acting("user:root").remove_member("roadmap", "user:vic").await.unwrap();
    for who in ["user:ben", "user:max", "user:vic"] {
        assert!(!server.allows(who, "portfolio.view", "roadmap").await, "{who}");
    }
    let owner = server.system().remove_member("roadmap", "user:ann").await.unwrap_err();
    assert!(owner.message().contains("restore it and hand it"), "{}", owner.message());
    assert_eq!(refusal::<()>(Err(owner)), (Code::FailedPrecondition, "OWNER".to_owned()));
}

#[tokio::test]
async fn vis_8_who_archives_may_restore_and_nobody_else() {
    let server = server().await;
    let hidden = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    let active = (Code::FailedPrecondition, "NOT_ARCHIVED".to_owned());
    // An administrator sees to members, not to settings (DIR-7, AUT-1).
    for (who, expected) in [
        ("user:ben", missing()),
        ("user:vic", missing()),
        ("user:root", missing()),
        ("user:cid", hidden.clone()),
        ("user:eve", hidden.clone()),
        ("user:nobody", hidden.clone()),
    ] {
        assert_eq!(refusal(server.acting(who).archive("roadmap").await), expected, "{who}");
        assert_eq!(refusal(server.acting(who).restore("roadmap").await), expected, "{who}");
    }
    for who in ["user:ann", "user:max"] {
        let client = server.acting(who);
        assert_eq!(refusal(client.restore("roadmap").await), active, "{who}");
        let away = client.archive("roadmap").await.unwrap();
        assert_eq!(away.state(), PortfolioState::Archived, "{who}");
        assert_eq!(refusal(client.archive("roadmap").await), archived(), "once is enough");
        for other in ["user:ben", "user:vic", "user:root"] {
            let other = server.acting(other);
            assert_eq!(refusal(other.restore("roadmap").await), missing());
            assert_eq!(refusal(other.archive("roadmap").await), missing());
        }
        assert_eq!(refusal(server.acting("user:cid").restore("roadmap").await), hidden);
        let back = client.restore("roadmap").await.unwrap();
        assert_eq!(back.state(), PortfolioState::Active);
        assert_ne!(back.etag, away.etag);
    }
    server.system().archive("roadmap").await.expect("the system may");
    server.system().restore("roadmap").await.expect("the system may");
    let trail = "SELECT concat_ws(' ', what, actor, before ->> 'state', after ->> 'state', \
                 as_administrator) FROM change_log WHERE what LIKE 'portfolio.%d' \
                 AND what <> 'portfolio.created' ORDER BY shard, sequence";
    let expected: Vec<String> = ["user:ann", "user:max", "system"]
        .into_iter()
        .flat_map(|who| {
            let archived = format!("portfolio.archived {who} active archived f");
            [archived, format!("portfolio.restored {who} archived active f")]
        })
        .collect();
    assert_eq!(texts(&server.database.url, trail).await, expected);
}

#[tokio::test]
async fn vis_8_bad_1_bad_3_etags_retries_and_nonsense() {
    let server = server().await;
    let ann = server.acting("user:ann");
    let etag = ann.get_portfolio("roadmap").await.unwrap().etag;
    ann.set_visibility("roadmap", v1::Visibility::Restricted).await.unwrap();
    let request =
        v1::ArchivePortfolioRequest { portfolio: "roadmap".to_owned(), etag, ..Default::default() };
    let stale = ann.portfolios().archive_portfolio(request.clone()).await;
    let changed = (Code::Aborted, "ETAG_MISMATCH".to_owned());
    assert_eq!(refusal(stale), changed);
    let etag = ann.get_portfolio("roadmap").await.unwrap().etag;
    let request_id = "archive-once".to_owned();
    let request = v1::ArchivePortfolioRequest { request_id, etag: etag.clone(), ..request };
    let once = ann.portfolios().archive_portfolio(request.clone()).await.unwrap().into_inner();
    let again = ann.portfolios().archive_portfolio(request).await.unwrap().into_inner();
    assert_eq!(again, once, "a retry is told the same");
    let request = v1::RestorePortfolioRequest {
        request_id: "archive-once".to_owned(),
        portfolio: "roadmap".to_owned(),
        etag: String::new(),
    };
    let reused = ann.portfolios().restore_portfolio(request.clone()).await;
    assert_eq!(refusal(reused), (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned()));
    let request = v1::RestorePortfolioRequest { request_id: String::new(), etag, ..request };
    assert_eq!(refusal(ann.portfolios().restore_portfolio(request).await), changed);
    for id in ["", "no id", "ä"] {
        assert_eq!(fields(&ann.archive(id).await.unwrap_err()), ["portfolio"], "{id}");
        assert_eq!(fields(&ann.restore(id).await.unwrap_err()), ["portfolio"], "{id}");
    }
}

#[tokio::test]
async fn vis_9_an_archived_portfolio_is_deleted_like_another() {
    let server = server().await;
    let ann = server.acting("user:ann");
    ann.create(portfolio("second", "")).await.unwrap();
    ann.archive("roadmap").await.unwrap();
    ann.archive("second").await.unwrap();
    assert_eq!(refusal(server.acting("user:vic").delete("roadmap").await), missing());
    let gone = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    for (id, who) in [("roadmap", "user:max"), ("second", "user:root")] {
        let deleted = server.acting(who).delete(id).await.unwrap();
        assert_eq!((deleted.state(), deleted.owner.as_str()), (PortfolioState::Deleted, ""));
        let reason = server.decides("user:ann", "portfolio.view", id).await;
        assert_eq!(reason, DecisionReason::PortfolioUnknown);
        for client in [server.system(), ann.clone()] {
            assert_eq!(refusal(client.restore(id).await), gone);
            assert_eq!(refusal(client.archive(id).await), gone);
            assert_eq!(refusal(client.transfer(id, "max").await), gone);
        }
        let lasting =
            format!("SELECT count(*) FROM grants WHERE portfolio = '{id}' AND revoke_time IS NULL");
        assert_eq!(number(&server.database.url, &lasting).await, 0);
        let again = ann.create(portfolio(id, "")).await;
        assert_eq!(refusal(again), (Code::AlreadyExists, "ID_TAKEN".to_owned()));
    }
}

#[tokio::test]
async fn mem_6_what_is_archived_needs_no_manager_until_it_is_restored() {
    let server = server().await;
    let (system, root) = (server.system(), server.acting("user:root"));
    system.archive("roadmap").await.unwrap();
    system.deactivate("ann").await;
    assert_eq!(root.unmanaged("acme").await.unwrap(), [""; 0]);
    // Neither a deactivated owner nor the last manager is kept.
    root.remove_member("roadmap", "user:ann").await.expect("deactivated");
    root.remove_member("roadmap", "user:max").await.expect("the last one");
    assert_eq!(root.unmanaged("acme").await.unwrap(), [""; 0]);
    let restored = system.restore("roadmap").await.unwrap();
    assert_eq!(restored.owner, "");
    assert_eq!(root.unmanaged("acme").await.unwrap(), ["roadmap"]);
    let transferred = root.transfer("roadmap", "ben").await.unwrap();
    assert_eq!(transferred.owner, "ben");
    assert_eq!(root.unmanaged("acme").await.unwrap(), [""; 0]);
}
