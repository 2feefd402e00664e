//! What is seen of a linked portfolio: members, rows, explanations.

use portcullis::proto::v1;
use portcullis::proto::v1::AccessState;
use portcullis::proto::v1::access_route::Route;
use tonic::Code;

use crate::calls::{execute, question, texts};
use crate::harness::{Client, TestServer, refusal, subject};

/// `leaf`, which is Cid's, is linked to `mid`, which is Bob's, and that to `root`, which is Ann's;
/// on the root the crew, which is Hugo, are contributors. Suspended: Eve on `leaf`, Fay on `mid`.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("bob").user("cid");
    let given = given.user("eve").user("fay").user("hugo").group("crew", &["user:hugo"]);
    let given = given.portfolio("root").owned_by("ann").with("group:crew", "contributor");
    let given = given.portfolio("mid").owned_by("bob").with("user:fay", "contributor");
    given.portfolio("leaf").owned_by("cid").open().with("user:eve", "contributor").await;
    // Written before anything is asked that memory could answer.
    execute(
        &server.database.url,
        "UPDATE portfolios SET parent = 'root', linked = true WHERE id = 'mid';
         UPDATE portfolios SET parent = 'mid', linked = true WHERE id = 'leaf'",
    )
    .await;
    server
}

async fn members(client: &Client, size: i32) -> Vec<(String, String, bool)> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListMembersRequest {
            portfolio: "leaf".to_owned(),
            page_size: size,
            page_token,
            filter: None,
        };
        let page = client.members().list_members(request).await.expect("members").into_inner();
        for member in page.members {
            use v1::subject::Kind;
            assert_eq!(member.portfolio, "leaf");
            let name = match member.subject.and_then(|subject| subject.kind).expect("a subject") {
                Kind::User(id) | Kind::Group(id) | Kind::ServiceAccount(id) => id,
            };
            let [grant] = member.grants.as_slice() else { panic!("{:?}", member.grants) };
            assert_eq!(grant.state(), AccessState::Active);
            found.push((name, grant.role.clone(), grant.ownership));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test]
async fn inh_1_inh_2_members_are_those_who_count() {
    let server = server().await;
    let row = |name: &str, role: &str, owns| (name.to_owned(), role.to_owned(), owns);
    let expected = [
        row("ann", "manager", false),
        row("bob", "manager", false),
        row("cid", "manager", true),
        row("crew", "contributor", false),
    ];
    for size in [1, 2, 100] {
        assert_eq!(members(&server.acting("user:bob"), size).await, expected, "{size}");
    }
    let system = server.system();
    let crew = system.get_member("leaf", "group:crew").await.unwrap();
    assert_eq!((crew.portfolio.as_str(), crew.state()), ("leaf", AccessState::Active));
    assert!(system.get_member("leaf", "user:bob").await.is_ok());
    let nobody = (Code::NotFound, "MEMBER_NOT_FOUND".to_owned());
    for suspended in ["user:eve", "user:fay"] {
        assert_eq!(refusal(system.get_member("leaf", suspended).await), nobody, "{suspended}");
    }
    let crew = server.acting("user:hugo").get_member("leaf", "user:cid").await;
    assert!(crew.is_ok(), "contributors see the members");
}

#[tokio::test]
async fn inh_1_mem_4_filters_and_pages_see_the_owners_on_the_way() {
    let server = server().await;
    let list = async |filter: v1::MemberFilter| {
        let (portfolio, filter) = ("leaf".to_owned(), Some(filter));
        let request = v1::ListMembersRequest { portfolio, filter, ..Default::default() };
        let found = server.system().members().list_members(request).await.expect("members");
        found.into_inner().members.len()
    };
    let role = |role: &str| v1::MemberFilter { role: role.to_owned(), ..Default::default() };
    assert_eq!((list(role("manager")).await, list(role("contributor")).await), (3, 1));
    let search =
        |search: &str| v1::MemberFilter { search: search.to_owned(), ..Default::default() };
    assert_eq!((list(search("bob")).await, list(search("eve")).await), (1, 0));
    let ended = v1::MemberFilter { state: AccessState::Ended.into(), ..Default::default() };
    assert_eq!(list(ended).await, 0);
}

async fn explain(client: &Client, who: &str, portfolio: &str) -> v1::ExplainPermissionResponse {
    let asked = question(who, "initiative.edit", portfolio);
    let v1::CheckPermissionRequest { subject, permission, portfolio, item, consistency, at } =
        asked;
    let request =
        v1::ExplainPermissionRequest { subject, permission, portfolio, item, consistency, at };
    client.policy().explain_permission(request).await.expect("explains").into_inner()
}

#[tokio::test]
async fn acc_8_an_explanation_names_the_links_and_whose_settings_they_are() {
    let server = server().await;
    let explained = explain(&server.system(), "user:hugo", "leaf").await;
    assert_eq!(explained.links, ["mid", "root"]);
    let [route] = explained.routes.as_slice() else { panic!("{:?}", explained.routes) };
    assert_eq!(route.settings_of.as_deref(), Some("root"));
    assert!(matches!(&route.route, Some(Route::Group(group)) if group.group == "crew"));
    let [route] = explain(&server.system(), "user:bob", "leaf").await.routes.try_into().unwrap();
    let route: v1::AccessRoute = route;
    assert_eq!((route.role.as_str(), route.settings_of.as_deref()), ("manager", Some("mid")));
    let [route] = explain(&server.system(), "user:cid", "leaf").await.routes.try_into().unwrap();
    let route: v1::AccessRoute = route;
    assert_eq!((route.role.as_str(), route.settings_of), ("manager", None));
    let unlinked = explain(&server.system(), "user:ann", "root").await;
    assert_eq!((unlinked.links, unlinked.routes[0].settings_of.clone()), (vec![], None));
}

#[tokio::test]
async fn vis_4_acc_8_portfolios_that_the_asker_may_not_list_are_blank() {
    let server = server().await;
    // Cid may list neither of those above, Bob the one in the middle.
    let explained = explain(&server.acting("user:cid"), "user:hugo", "leaf").await;
    assert_eq!(explained.links, ["", ""]);
    assert_eq!(explained.routes[0].settings_of.as_deref(), Some(""));
    let explained = explain(&server.acting("user:bob"), "user:hugo", "leaf").await;
    assert_eq!(explained.links, ["mid", ""]);
    let explained = explain(&server.acting("user:hugo"), "user:hugo", "leaf").await;
    assert_eq!(explained.links, ["mid", "root"]);
}

#[tokio::test]
async fn acc_8_who_could_give_what_is_missing_gives_it_where_the_settings_are() {
    let server = server().await;
    let explained = explain(&server.system(), "user:eve", "leaf").await;
    let givers: Vec<&str> = explained.givers.iter().map(|giver| giver.user.as_str()).collect();
    assert!(!explained.allowed && givers == ["ann"], "{explained:?}");
}

#[tokio::test]
async fn inh_1_acc_9_vis_10_every_list_says_what_the_check_says() {
    let server = server().await;
    let may = [
        ("ann", true),
        ("bob", true),
        ("cid", true),
        ("hugo", true),
        ("eve", false),
        ("fay", false),
    ];
    for (who, allowed) in may {
        let who = format!("user:{who}");
        assert_eq!(server.allows(&who, "initiative.edit", "leaf").await, allowed, "{who}");
    }
    let listed =
        v1::ListPortfoliosRequest { organization: "acme".to_owned(), ..Default::default() };
    let rows = async |who: &str| {
        let portfolios = server.acting(who).portfolios().list_portfolios(listed.clone()).await;
        let rows = portfolios.expect("rows").into_inner().portfolios;
        let id = |row: &v1::PortfolioSummary| row.portfolio.clone().unwrap_or_default().id;
        rows.iter().map(|row| (id(row), row.member_count)).collect::<Vec<_>>()
    };
    let row = |id: &str, members| (id.to_owned(), members);
    assert_eq!(rows("user:hugo").await, [row("leaf", 4), row("mid", 3), row("root", 2)]);
    assert_eq!(rows("user:eve").await, []);
    let request = v1::ListSubjectsRequest {
        portfolio: "leaf".to_owned(),
        permission: "access.manage".to_owned(),
        ..Default::default()
    };
    let found = server.system().policy().list_subjects(request).await.unwrap().into_inner();
    let found: Vec<v1::Subject> = found.subjects.into_iter().filter_map(|it| it.subject).collect();
    assert_eq!(found, ["user:ann", "user:bob", "user:cid"].map(subject));
}

/// Deleting a role counts what is suspended, and deleting a user ends it.
#[tokio::test]
async fn inh_4_what_is_suspended_ends_with_the_user() {
    let server = server().await;
    let gone = v1::DeleteUserRequest {
        user: "eve".to_owned(),
        confirm_user: "eve".to_owned(),
        ..Default::default()
    };
    server.system().directory().delete_user(gone).await.expect("deletes");
    let url = &server.database.url;
    let left = "SELECT id FROM grants WHERE subject_id = 'eve' AND revoke_time IS NULL";
    assert_eq!(texts(url, left).await, [""; 0]);
}

/// What is archived needs no manager, but what is linked to it and in use does.
#[tokio::test]
async fn mem_6_the_last_manager_of_what_is_linked_stays_on_an_archived_portfolio() {
    let server = server().await;
    let system = server.system();
    execute(
        &server.database.url,
        "UPDATE grants SET ownership = false WHERE portfolio IN ('root', 'mid', 'leaf');
         UPDATE portfolios SET archived = true WHERE id = 'root'",
    )
    .await;
    let last = (Code::FailedPrecondition, "LAST_MANAGER".to_owned());
    assert_eq!(refusal(system.remove_member("root", "user:ann").await), last);
    // An owner on the way is manager enough.
    let owned = "UPDATE grants SET ownership = true
                 WHERE portfolio = 'mid' AND subject_id = 'bob'";
    execute(&server.database.url, owned).await;
    assert!(system.remove_member("root", "user:ann").await.is_ok());
}
