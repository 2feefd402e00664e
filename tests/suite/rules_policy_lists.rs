//! The other questions, over the wire: each agrees with the check, item by item (ACC-8, ACC-9).

use std::sync::Arc;
use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use portcullis::clock::Clock;
use portcullis::proto::v1;
use portcullis::proto::v1::DecisionReason;
use portcullis::proto::v1::consistency::Requirement;
use tonic::{Code, Status};

use crate::calls::{HOUR, adding, connect, instant, now, question};
use crate::harness::{Client, TestServer, fields, refusal, subject};

#[allow(clippy::unnecessary_wraps, reason = "as the field of the request is")]
fn consistent() -> Option<v1::Consistency> {
    Some(v1::Consistency { requirement: Some(Requirement::FullyConsistent(true)) })
}

fn item(who: &str, permission: &str, portfolio: &str) -> v1::BatchCheckItem {
    v1::BatchCheckItem {
        subject: Some(subject(who)),
        permission: permission.to_owned(),
        portfolio: portfolio.to_owned(),
        item: None,
    }
}

impl Client {
    async fn batch(
        &self,
        items: Vec<v1::BatchCheckItem>,
    ) -> Result<Vec<v1::BatchCheckOutcome>, Status> {
        let consistency = consistent();
        let request = v1::BatchCheckPermissionsRequest { items, consistency, ..Default::default() };
        Ok(self.policy().batch_check_permissions(request).await?.into_inner().outcomes)
    }

    async fn explain(
        &self,
        who: &str,
        permission: &str,
        portfolio: &str,
    ) -> Result<v1::ExplainPermissionResponse, Status> {
        let v1::CheckPermissionRequest { subject, permission, portfolio, item, consistency, at } =
            question(who, permission, portfolio);
        let request =
            v1::ExplainPermissionRequest { subject, permission, portfolio, item, consistency, at };
        Ok(self.policy().explain_permission(request).await?.into_inner())
    }

    /// Every page; the ids.
    pub async fn accessible(
        &self,
        who: &str,
        permission: &str,
        page_size: i32,
    ) -> Result<Vec<String>, Status> {
        let mut request = v1::ListAccessiblePortfoliosRequest {
            subject: Some(subject(who)),
            permission: permission.to_owned(),
            consistency: consistent(),
            page_size,
            ..Default::default()
        };
        let mut all = Vec::new();
        loop {
            let page = self.policy().list_accessible_portfolios(request.clone()).await?;
            let page = page.into_inner();
            let full = page.portfolios.len() == usize::try_from(page_size).unwrap();
            assert!(full || page.next_page_token.is_empty(), "only the last page is short");
            all.extend(page.portfolios.into_iter().map(|row| row.portfolio));
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Every page, of two rows each; the subjects as text.
    async fn subjects_with(
        &self,
        permission: &str,
        portfolio: &str,
        resolution: v1::SubjectResolution,
    ) -> Result<Vec<String>, Status> {
        use v1::subject::Kind;
        let mut request = v1::ListSubjectsRequest {
            permission: permission.to_owned(),
            portfolio: portfolio.to_owned(),
            resolution: resolution.into(),
            consistency: consistent(),
            page_size: 2,
            ..Default::default()
        };
        let mut all = Vec::new();
        loop {
            let page = self.policy().list_subjects(request.clone()).await?.into_inner();
            all.extend(page.subjects.into_iter().map(|row| match row.subject.unwrap().kind {
                Some(Kind::User(id)) => format!("user:{id}"),
                Some(Kind::Group(id)) => format!("group:{id}"),
                Some(Kind::ServiceAccount(id)) => format!("service_account:{id}"),
                None => panic!("nobody"),
            }));
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// Two organizations; ben reaches something in both, vic sees the members of some.
async fn world(server: &TestServer) {
    let start = now(&server.database.url).await + HOUR;
    server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .user("vic")
        .user("asa")
        .user("idle")
        .group("inner", &["user:ben"])
        .group("outer", &["group:inner"])
        .portfolio("a1")
        .owned_by("ann")
        .with("group:outer", "contributor")
        .with("user:vic", "viewer")
        .with("user:idle", "manager")
        .portfolio("b1")
        .owned_by("ann")
        .open()
        .portfolio("c1")
        .owned_by("ann")
        .granting("user:ben", "viewer", Some(instant(start)), None)
        .with("user:asa", "assessor")
        .portfolio("d1")
        .owned_by("ann")
        .restricted()
        .deactivated("idle")
        .await;
    server
        .given()
        .organization("zenith")
        .user("zoe")
        .group("guests", &["user:ben"])
        .portfolio("a2")
        .with("group:guests", "viewer")
        .portfolio("c2")
        .open()
        .with("group:guests", "viewer")
        .portfolio("e2")
        .open()
        .await;
}

const EVERYBODY: [&str; 9] = [
    "user:ann",
    "user:ben",
    "user:vic",
    "user:asa",
    "user:idle",
    "user:zoe",
    "user:nobody",
    "group:outer",
    "group:guests",
];
const EVERYWHERE: [&str; 8] = ["a1", "a2", "b1", "c1", "c2", "d1", "e2", "nowhere"];

#[tokio::test]
async fn acc_9_a_batch_answers_as_so_many_checks() {
    let server = TestServer::start().await;
    world(&server).await;
    let mut items = Vec::new();
    for who in EVERYBODY {
        for at in EVERYWHERE {
            items.push((who, "portfolio.view", at));
            items.push((who, "initiative.edit", at));
            items.push((who, "comment.edit", at));
        }
    }
    // A fresh server: nothing is in memory, and all of it is answered.
    for (actor, server) in [(None, &server.twin().await), (Some("user:vic"), &server)] {
        let client = actor.map_or_else(|| server.system(), |actor| server.acting(actor));
        let questions = items.iter().map(|(who, what, at)| item(who, what, at)).collect();
        let outcomes = client.batch(questions).await.expect("outcomes");
        assert_eq!(outcomes.len(), items.len());
        for ((who, what, at), outcome) in items.iter().zip(outcomes) {
            match client.check(who, what, at).await {
                Ok(answer) => {
                    assert_eq!(outcome.refusal, None, "{actor:?}: {who} {what} {at}");
                    let got = (outcome.allowed, outcome.reason(), outcome.hold_until);
                    let expected = (answer.allowed, answer.reason(), answer.hold_until);
                    assert_eq!(got, expected, "{actor:?}: {who} {what} {at}");
                }
                Err(status) => {
                    let refused = outcome.refusal.as_ref().map(v1::Refusal::reason);
                    assert_eq!(refused, Some(v1::ErrorReason::PermissionMissing), "{status:?}");
                    assert_eq!((outcome.allowed, outcome.reason), (false, 0));
                }
            }
        }
    }
}

#[tokio::test]
async fn bad_1_a_bad_item_spoils_no_other_and_what_all_share_all() {
    let server = TestServer::start().await;
    world(&server).await;
    let request = v1::BatchCheckPermissionsRequest {
        subject: Some(subject("user:ben")),
        permission: "portfolio.view".to_owned(),
        items: vec![
            v1::BatchCheckItem { portfolio: "a1".to_owned(), ..Default::default() },
            v1::BatchCheckItem::default(),
            item("user:vic", "portfolio.veiw", "a1"),
            item("user:vic", "portfolio.view", "?"),
            item("user:vic", "portfolio.view", "a1"),
        ],
        consistency: consistent(),
        ..Default::default()
    };
    let mut policy = server.system().policy();
    let answer = policy.batch_check_permissions(request.clone()).await.unwrap().into_inner();
    let told: Vec<_> = answer
        .outcomes
        .iter()
        .map(|outcome| (outcome.allowed, outcome.refusal.as_ref().map(v1::Refusal::reason)))
        .collect();
    let invalid = Some(v1::ErrorReason::InvalidField);
    let unknown = Some(v1::ErrorReason::PermissionNameUnknown);
    assert_eq!(
        told,
        [(true, None), (false, invalid), (false, unknown), (false, invalid), (true, None)]
    );
    let message = &answer.outcomes[1].refusal.as_ref().unwrap().message;
    assert!(message.contains("`items[1].portfolio`"), "{message}");
    let message = &answer.outcomes[2].refusal.as_ref().unwrap().message;
    assert!(message.contains("`portfolio.view`"), "the nearest name: {message}");
    let shared = v1::BatchCheckPermissionsRequest { portfolio: "?".to_owned(), ..request };
    let status = policy.batch_check_permissions(shared).await.unwrap_err();
    assert_eq!(fields(&status), ["portfolio"]);
}

#[tokio::test]
async fn bad_2_a_batch_of_one_too_many_is_refused() {
    let server = TestServer::start_with(|config| config.limits.max_batch = 8).await;
    world(&server).await;
    let items = |count| vec![item("user:ben", "portfolio.view", "a1"); count];
    assert_eq!(server.system().batch(items(8)).await.unwrap().len(), 8);
    let expected = (Code::InvalidArgument, "LIMIT_EXCEEDED".to_owned());
    assert_eq!(refusal(server.system().batch(items(9)).await), expected);
    let expected = (Code::InvalidArgument, "INVALID_FIELD".to_owned());
    assert_eq!(refusal(server.system().batch(items(0)).await), expected);
}

#[tokio::test]
async fn acc_8_an_explanation_decides_as_the_check() {
    let server = TestServer::start().await;
    world(&server).await;
    for actor in [None, Some("user:ann"), Some("user:vic"), Some("user:asa"), Some("user:ben")] {
        let client = actor.map_or_else(|| server.system(), |actor| server.acting(actor));
        for who in EVERYBODY {
            for at in EVERYWHERE {
                for what in ["portfolio.view", "epic.link", "comment.edit"] {
                    let case = format!("{actor:?}: {who} {what} {at}");
                    let explained = client.explain(who, what, at).await;
                    match client.check(who, what, at).await {
                        Ok(answer) => {
                            let explained = explained.expect(&case);
                            let got = (explained.allowed, explained.reason(), explained.hold_until);
                            let expected = (answer.allowed, answer.reason(), answer.hold_until);
                            assert_eq!(got, expected, "{case}");
                            let allows =
                                |route: &v1::AccessRoute| route.effect() == v1::RouteEffect::Allows;
                            assert_eq!(explained.routes.iter().any(allows), answer.allowed);
                            if answer.reason() == DecisionReason::PortfolioUnknown {
                                assert_eq!(explained.routes, []);
                                assert!(explained.roles_with_permission.is_empty(), "{case}");
                                assert!(explained.givers.is_empty(), "{case}");
                            }
                        }
                        Err(status) => assert_eq!(refusal(explained).0, status.code(), "{case}"),
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn acc_8_it_says_by_which_way_what_is_missing_and_who_could_give_it() {
    let server = TestServer::start().await;
    world(&server).await;
    let explained = server.system().explain("user:ben", "initiative.edit", "a1").await.unwrap();
    let [route] = &explained.routes[..] else { panic!("one route: {explained:?}") };
    let Some(v1::access_route::Route::Group(group)) = &route.route else { panic!("{route:?}") };
    assert_eq!(
        (group.group.as_str(), &group.chain[..]),
        ("outer", &["inner", "outer"].map(str::to_owned)[..])
    );
    assert_eq!((route.role.as_str(), route.effect()), ("contributor", v1::RouteEffect::Allows));
    assert!(explained.roles_with_permission.is_empty(), "nothing is missing");
    // The managers could give it; the deactivated one could not.
    let denied = server.acting("user:vic").explain("user:vic", "initiative.edit", "a1").await;
    let denied = denied.unwrap();
    assert_eq!(denied.roles_with_permission, ["contributor", "manager"]);
    let givers = |answer: &v1::ExplainPermissionResponse| -> Vec<String> {
        answer.givers.iter().map(|giver| giver.user.clone()).collect()
    };
    assert_eq!(givers(&denied), ["ann"]);
    // An assessor does not see the members: their own routes are told, and nothing of others.
    let own = server.acting("user:asa").explain("user:asa", "initiative.edit", "c1").await.unwrap();
    assert_eq!((own.routes.len(), own.givers.len()), (1, 0));
    let other = server.acting("user:asa").explain("user:ann", "portfolio.view", "c1").await;
    assert_eq!(refusal(other), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
    // What lies ahead is told as such.
    let ahead = server.system().explain("user:ben", "portfolio.view", "c1").await.unwrap();
    let states: Vec<_> = ahead.routes.iter().map(|it| (it.state(), it.effect())).collect();
    assert_eq!(states, [(v1::AccessState::Scheduled, v1::RouteEffect::NotInForce)]);
    assert_eq!(ahead.hold_until, ahead.routes[0].start_time);
}

#[tokio::test]
async fn acc_9_effective_permissions_are_those_that_the_check_allows() {
    let server = TestServer::start().await;
    world(&server).await;
    let everything = server.system().effective("user:ann", "a1").await.unwrap();
    let names: Vec<&str> = everything.permissions.iter().map(|it| it.permission.as_str()).collect();
    assert!(names.is_sorted() && names.len() > 20, "a manager's: {names:?}");
    for who in EVERYBODY {
        for at in EVERYWHERE {
            let answer = server.system().effective(who, at).await.unwrap();
            assert_eq!(answer.permissions.is_empty(), answer.reason != 0, "{who} {at}");
            for name in &names {
                let held = answer.permissions.iter().find(|held| held.permission == *name);
                let any = server.system().check(who, name, at).await.unwrap();
                let own = server.system().check_on(who, name, at, Some(who)).await;
                let reach = held.map(v1::EffectivePermission::reach);
                let expected = match (any.allowed, own.allowed) {
                    (true, _) => Some(v1::Reach::Any),
                    (false, true) => Some(v1::Reach::Own),
                    (false, false) => None,
                };
                assert_eq!(reach, expected, "{who} {name} {at}");
            }
        }
    }
    let hidden = server.acting("user:zoe").effective("user:ann", "a1").await.unwrap();
    assert_eq!(hidden.reason(), DecisionReason::PortfolioUnknown);
    let others = server.acting("user:asa").effective("user:ann", "c1").await;
    assert_eq!(refusal(others), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
}

impl Client {
    async fn effective(
        &self,
        who: &str,
        portfolio: &str,
    ) -> Result<v1::ListEffectivePermissionsResponse, Status> {
        let request = v1::ListEffectivePermissionsRequest {
            subject: Some(subject(who)),
            portfolio: portfolio.to_owned(),
            consistency: consistent(),
            at: None,
        };
        Ok(self.policy().list_effective_permissions(request).await?.into_inner())
    }
}

#[tokio::test]
async fn acc_9_accessible_portfolios_are_those_on_which_the_check_allows_it() {
    let server = TestServer::start().await;
    world(&server).await;
    // A fresh server knows no organization; its lists are complete all the same.
    let twin = server.twin().await;
    let first = twin.system().accessible("user:ben", "portfolio.view", 2).await.unwrap();
    assert_eq!(first, ["a1", "a2", "b1", "c2"]);
    for actor in [None, Some("user:vic"), Some("user:ben"), Some("user:zoe")] {
        let client = actor.map_or_else(|| server.system(), |actor| server.acting(actor));
        for who in EVERYBODY {
            for what in ["portfolio.view", "initiative.edit", "members.view"] {
                let mut expected = Vec::new();
                for at in EVERYWHERE {
                    // Where the actor may not ask, nothing is listed.
                    let answer = client.check(who, what, at).await;
                    if answer.is_ok_and(|answer| answer.allowed) {
                        expected.push(at);
                    }
                }
                for page_size in [1, 3, 100] {
                    let listed = client.accessible(who, what, page_size).await.unwrap();
                    assert_eq!(listed, expected, "{actor:?}: {who} {what} by {page_size}");
                }
            }
        }
    }
}

#[tokio::test]
async fn acc_9_subjects_are_those_to_whom_the_check_allows_it() {
    use v1::SubjectResolution::{Granted, Users};
    let server = TestServer::start().await;
    world(&server).await;
    let system = server.system();
    let users = system.subjects_with("portfolio.view", "a1", Users).await.unwrap();
    assert_eq!(users, ["user:ann", "user:ben", "user:vic"]);
    let granted = system.subjects_with("portfolio.view", "a1", Granted).await.unwrap();
    assert_eq!(granted, ["user:ann", "user:vic", "group:outer"]);
    let open = system.subjects_with("comment.create", "b1", Users).await.unwrap();
    assert_eq!(open, ["user:acme-owner", "user:ann", "user:asa", "user:ben", "user:vic"]);
    // Of an unknown portfolio and of one that is not seen the same is told.
    let unseen = server.acting("user:zoe").subjects_with("portfolio.view", "a1", Users).await;
    let unknown = system.subjects_with("portfolio.view", "nowhere", Users).await;
    let expected = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    assert_eq!((refusal(unseen), refusal(unknown)), (expected.clone(), expected));
    let asa = server.acting("user:asa").subjects_with("portfolio.view", "c1", Users).await;
    assert_eq!(refusal(asa), (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
    let typo = system.subjects_with("portfolio.veiw", "a1", Users).await;
    assert_eq!(refusal(typo), (Code::InvalidArgument, "PERMISSION_NAME_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn bad_1_a_page_token_belongs_to_its_question_and_its_actor() {
    let server = TestServer::start().await;
    world(&server).await;
    let request = v1::ListAccessiblePortfoliosRequest {
        subject: Some(subject("user:ben")),
        permission: "portfolio.view".to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let mut system = server.system().policy();
    let page = system.list_accessible_portfolios(request.clone()).await.unwrap().into_inner();
    let next = v1::ListAccessiblePortfoliosRequest { page_token: page.next_page_token, ..request };
    let wrong = (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned());
    let of_another = v1::ListAccessiblePortfoliosRequest {
        permission: "members.view".to_owned(),
        ..next.clone()
    };
    assert_eq!(refusal(system.list_accessible_portfolios(of_another).await), wrong);
    let mut ben = server.acting("user:ben").policy();
    assert_eq!(refusal(ben.list_accessible_portfolios(next.clone()).await), wrong);
    // How many, and how fresh, may differ from page to page.
    let wider =
        v1::ListAccessiblePortfoliosRequest { page_size: 50, consistency: consistent(), ..next };
    let rest = system.list_accessible_portfolios(wider).await.unwrap().into_inner();
    assert_eq!(rest.portfolios.len(), 3);
}

#[tokio::test]
async fn acc_10_the_past_is_refused_by_every_question() {
    let server = TestServer::start().await;
    world(&server).await;
    let at = Some(instant(1));
    let past = (Code::InvalidArgument, "AT_IN_THE_PAST".to_owned());
    let mut policy = server.system().policy();
    let (who, view) = (Some(subject("user:ben")), "portfolio.view".to_owned());
    let (portfolio, permission, subject) = ("a1".to_owned(), view.clone(), who.clone());
    let items = vec![item("user:ben", "portfolio.view", "a1")];
    let batch = v1::BatchCheckPermissionsRequest { items, at, ..Default::default() };
    assert_eq!(refusal(policy.batch_check_permissions(batch).await), past);
    let effective =
        v1::ListEffectivePermissionsRequest { subject, portfolio, at, ..Default::default() };
    assert_eq!(refusal(policy.list_effective_permissions(effective).await), past);
    let (portfolio, subject) = ("a1".to_owned(), who.clone());
    let explain =
        v1::ExplainPermissionRequest { subject, permission, portfolio, at, ..Default::default() };
    assert_eq!(refusal(policy.explain_permission(explain).await), past);
    let (portfolio, permission) = ("a1".to_owned(), view.clone());
    let list = v1::ListSubjectsRequest { permission, portfolio, at, ..Default::default() };
    assert_eq!(refusal(policy.list_subjects(list).await), past);
    let list = v1::ListAccessiblePortfoliosRequest {
        subject: who,
        permission: view,
        at,
        ..Default::default()
    };
    assert_eq!(refusal(policy.list_accessible_portfolios(list).await), past);
}

#[tokio::test]
async fn acc_9_a_list_that_cannot_be_complete_in_time_is_an_error() {
    let server = TestServer::start().await;
    world(&server).await;
    let twin = TestServer::on(Arc::clone(&server.database), Clock::system(), |config| {
        config.request_timeout = Duration::from_millis(700);
    });
    let twin = twin.await;
    let hurried = twin.system();
    // No organization can be loaded, while everything else goes on.
    let mut hold = connect(&server.database.url).await;
    let lock = "BEGIN; LOCK TABLE role_permissions IN ACCESS EXCLUSIVE MODE";
    hold.batch_execute(lock).await.unwrap();
    let expected = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned());
    assert_eq!(refusal(hurried.accessible("user:ben", "portfolio.view", 100).await), expected);
    let batch = hurried.batch(vec![item("user:ben", "portfolio.view", "a1")]).await;
    assert_eq!(refusal(batch), expected);
    hold.batch_execute("COMMIT").await.unwrap();
    let listed = loop {
        if let Ok(listed) = hurried.accessible("user:ben", "portfolio.view", 100).await {
            break listed;
        }
    };
    assert_eq!(listed, ["a1", "a2", "b1", "c2"], "all of it, once it is there");
}

#[tokio::test]
async fn acc_9_pages_miss_nothing_that_was_there_throughout_while_others_write() {
    let server = TestServer::start().await;
    let mut given = server.given().organization("acme").user("ben").user("eve");
    for number in 0..24 {
        given = given.portfolio(&format!("p{number:02}"));
        // The even ones stay ben's; the odd ones come and go.
        given = given.with(if number % 2 == 0 { "user:ben" } else { "user:eve" }, "viewer");
    }
    given.await;
    let twin = server.twin().await;
    let writer = server.system();
    let writing = tokio::spawn(async move {
        for round in 0..3 {
            for number in (1..24).step_by(2) {
                let id = format!("p{number:02}");
                if round % 2 == 0 {
                    writer.add_members(adding(&id, &["user:ben"], "viewer")).await.unwrap();
                } else {
                    writer.remove_member(&id, "user:ben").await.unwrap();
                }
            }
        }
    });
    let stays: Vec<String> = (0..24).step_by(2).map(|number| format!("p{number:02}")).collect();
    let mut lists = 0;
    while !writing.is_finished() || lists < 3 {
        let client = if lists % 2 == 0 { server.system() } else { twin.system() };
        let listed = client.accessible("user:ben", "portfolio.view", 5).await.unwrap();
        assert!(
            listed.windows(2).all(|pair| pair[0] < pair[1]),
            "in order, none twice: {listed:?}"
        );
        assert!(stays.iter().all(|id| listed.contains(id)), "{listed:?}");
        lists += 1;
    }
    writing.await.unwrap();
    let all = twin.system().accessible("user:ben", "portfolio.view", 5).await.unwrap();
    assert_eq!(all.len(), 24, "after the last write, everything");
}
