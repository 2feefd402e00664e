//! What of items is told to whom (VIS-4, ACC-7, ACC-8).

use super::*;
use crate::calls::{custom_role, execute};
use crate::rules_visibility::overheard;

fn portfolio_not_found() -> (Code, String) {
    (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned())
}

#[tokio::test]
async fn vis_4_the_portfolios_that_show_an_item_are_told_to_those_who_may_list_them() {
    let server = server().await;
    let (system, cid) = (server.system(), server.acting("user:cid"));
    let grants = [("user:ben", "viewer"), ("user:dan", "viewer")];
    let places = ["apollo", "gemini"];
    let author = Some(subject("user:cid"));
    let made = v1::Item { author, ..independent("board:b1", &places, &grants) };
    system.register(made).await.unwrap();
    for (who, told) in
        [("user:ben", &places[..]), ("user:cid", &["apollo"]), ("user:dan", &["apollo"])]
    {
        let client = server.acting(who);
        assert_eq!(client.item("board:b1").await.unwrap().portfolios, told, "{who}");
        let request = v1::ListItemsRequest { portfolio: "apollo".to_owned(), ..Default::default() };
        let listed = client.items().list_items(request).await.unwrap().into_inner().items;
        let listed: Vec<_> = listed.into_iter().map(|item| item.portfolios).collect();
        assert_eq!(listed, [told], "{who}");
    }
    assert_eq!(system.item("board:b1").await.unwrap().portfolios, places);
    // Nor is it told by what is written: what Cid does not see stays, and does not exist.
    let renamed = v1::Item { display_name: "B".to_owned(), ..item("board:b1", &[]) };
    let renamed = cid.update(renamed, &["display_name"]).await.unwrap();
    assert_eq!(renamed.portfolios, ["apollo"]);
    let back = cid.update(renamed, &["portfolios"]).await.unwrap();
    assert_eq!(back.portfolios, ["apollo"]);
    assert_eq!(system.item("board:b1").await.unwrap().portfolios, places);
    for unseen in ["gemini", "nowhere"] {
        let more = item("board:b1", &["apollo", unseen]);
        let refused = refusal(cid.update(more, &["portfolios"]).await);
        assert_eq!(refused, portfolio_not_found(), "{unseen}");
    }
    assert_eq!(cid.delete_item("board:b1").await.unwrap().portfolios, ["apollo"]);
}

#[tokio::test]
async fn vis_4_an_item_is_taken_from_where_its_manager_sees_it_and_from_nowhere_else() {
    let server = server().await;
    let (system, cid) = (server.system(), server.acting("user:cid"));
    let author = Some(subject("user:cid"));
    let shared = v1::Item {
        author: author.clone(),
        owner: "ann".to_owned(),
        ..independent("board:b1", &["apollo", "gemini"], &[])
    };
    system.register(shared).await.unwrap();
    let ann = server.acting("user:ann");
    let seen = ann.update(item("board:b1", &["apollo"]), &["portfolios"]).await.unwrap();
    assert_eq!(seen.portfolios, ["apollo"]);
    assert_eq!(system.item("board:b1").await.unwrap().portfolios, ["apollo"]);
    // One that follows a portfolio stays there too.
    system.register(v1::Item { author, ..item("goal:g1", &["gemini"]) }).await.unwrap();
    assert_eq!(cid.item("goal:g1").await.unwrap().portfolios, Vec::<String>::new());
    for unseen in ["gemini", "nowhere"] {
        let refused = refusal(cid.update(item("goal:g1", &[unseen]), &["portfolios"]).await);
        assert_eq!(refused, portfolio_not_found(), "{unseen}");
    }
    system.remove_member("apollo", "user:cid").await.unwrap();
    system.add_member("apollo", "user:cid", "manager").await.unwrap();
    let refused = refusal(cid.update(item("goal:g1", &["apollo"]), &["portfolios"]).await);
    assert_eq!(refused, (Code::FailedPrecondition, "ITEM_INHERITS".to_owned()));
}

#[tokio::test]
async fn acc_7_a_copy_is_for_those_who_see_the_members() {
    let server = server().await;
    let system = server.system();
    let scribe = custom_role("scribe", &["portfolio.view", "comment.create"]);
    server.acting("user:acme-owner").create_role(scribe).await.unwrap();
    system.remove_member("apollo", "user:dan").await.unwrap();
    system.add_member("apollo", "user:dan", "scribe").await.unwrap();
    let dan = server.acting("user:dan");
    let refused = refusal(dan.copy(item("board:b1", &["apollo"]), "apollo").await);
    assert_eq!(refused, (Code::PermissionDenied, "PERMISSION_MISSING".to_owned()));
    let unseen = refusal(dan.copy(item("board:b1", &["gemini"]), "gemini").await);
    assert_eq!(unseen, portfolio_not_found());
    // Cid contributes, and so sees who else is there.
    let copied = server.acting("user:cid").copy(item("board:b1", &["apollo"]), "apollo").await;
    assert!(!copied.unwrap().grants.is_empty());
}

impl Client {
    async fn explain_on(&self, who: &str, of: &str) -> v1::ExplainPermissionResponse {
        let (item_type, id) = of.split_once(':').unwrap();
        let (r#type, id) = (item_type.to_owned(), id.to_owned());
        let request = v1::ExplainPermissionRequest {
            subject: Some(subject(who)),
            permission: "initiative.create".to_owned(),
            portfolio: "apollo".to_owned(),
            item: Some(v1::ItemReference { r#type, id, author: None }),
            consistency: question(who, "", "").consistency,
            ..Default::default()
        };
        self.policy().explain_permission(request).await.unwrap().into_inner()
    }
}

#[tokio::test]
async fn vis_4_acc_8_only_who_sees_an_item_is_told_who_is_given_what_on_it() {
    let server = server().await;
    let grants = [("user:cid", "contributor"), ("group:core", "viewer")];
    let made =
        v1::Item { owner: "ben".to_owned(), ..independent("board:b1", &["apollo"], &grants) };
    server.system().register(made).await.unwrap();
    let givers = |found: &v1::ExplainPermissionResponse| -> Vec<String> {
        found.givers.iter().map(|giver| giver.user.clone()).collect()
    };
    let on_item = |found: &v1::ExplainPermissionResponse| {
        found.routes.iter().filter(|route| route.on_item).count()
    };
    for asker in ["user:ben", "user:cid"] {
        let asker = server.acting(asker);
        let denied = asker.explain_on("user:dan", "board:b1").await;
        assert_eq!((denied.reason(), givers(&denied)), (Why::ItemNoAccess, vec!["ben".to_owned()]));
        assert_eq!(on_item(&asker.explain_on("user:cid", "board:b1").await), 2);
    }
    // She manages the portfolio, and the item does not exist for her.
    let ann = server.acting("user:ann");
    assert_eq!(refusal(ann.item("board:b1").await), not_found());
    for who in ["user:ann", "user:dan"] {
        let denied = ann.explain_on(who, "board:b1").await;
        assert_eq!((denied.reason(), givers(&denied)), (Why::ItemNoAccess, Vec::new()), "{who}");
        assert!(!denied.routes.is_empty(), "those to the portfolio: {who}");
    }
    assert_eq!(on_item(&ann.explain_on("user:cid", "board:b1").await), 0);
    // Of an item that follows the portfolio all is told that is told of the portfolio.
    server.system().register(item("goal:g1", &["apollo"])).await.unwrap();
    assert!(!givers(&ann.explain_on("user:dan", "goal:g1").await).is_empty());
}

/// Independent items of `apollo` that nobody sees, and that come first.
const UNSEEN: &str = "
    INSERT INTO items (organization, item_type, id, display_name, independent, visibility,
                       organization_access_role, archived, create_time, update_time, version)
    SELECT 'acme', 'board', 'b' || n, '', true, 'private', 'viewer', false, now(), now(), 1
    FROM generate_series(1, 900) AS n;
    INSERT INTO item_portfolios (organization, item_type, item_id, portfolio)
    SELECT 'acme', 'board', 'b' || n, 'apollo' FROM generate_series(1, 900) AS n";

#[tokio::test]
async fn vis_4_what_is_not_seen_is_passed_by_in_few_steps_however_short_the_page() {
    let (server, proxy) = overheard().await;
    let given = server.given().organization("acme").user("ann").user("dan");
    given.portfolio("apollo").owned_by("ann").with("user:dan", "viewer").await;
    execute(&server.database.url, UNSEEN).await;
    let system = server.system();
    for goal in ["goal:g1", "goal:g2"] {
        system.register(item(goal, &["apollo"])).await.unwrap();
    }
    let dan = server.acting("user:dan");
    proxy.statements();
    assert_eq!(dan.listed_items("apollo").await.unwrap(), ["goal:g1", "goal:g2"]);
    let statements = proxy.statements().len();
    assert!(statements < 100, "{statements} statements");
}

#[tokio::test]
async fn bad_1_every_question_refuses_a_type_that_no_item_has() {
    let server = server().await;
    let system = server.system();
    let refused = |status: Status| (status.code(), fields(&status));
    for wrong in ["a:b".to_owned(), "b".repeat(65)] {
        let (portfolio, r#type) = ("apollo".to_owned(), wrong.clone());
        let request = v1::ListItemsRequest { portfolio, r#type, ..Default::default() };
        let listed = system.items().list_items(request).await.unwrap_err();
        let (portfolio, r#type) = ("apollo".to_owned(), wrong.clone());
        let subject = Some(subject("user:ben"));
        let request =
            v1::ListVisibleItemsRequest { subject, portfolio, r#type, ..Default::default() };
        let visible = system.policy().list_visible_items(request).await.unwrap_err();
        for status in [listed, visible] {
            assert_eq!(refused(status), (Code::InvalidArgument, vec!["type".to_owned()]));
        }
        let item = Some(v1::ItemReference { r#type: wrong, id: "b1".to_owned(), author: None });
        let question = question("user:ben", "portfolio.view", "apollo");
        let request = v1::CheckPermissionRequest { item, ..question };
        let checked = system.policy().check_permission(request).await.unwrap_err();
        assert_eq!(refused(checked), (Code::InvalidArgument, vec!["item.type".to_owned()]));
    }
}
