//! What of items is told to whom (VIS-4, ACC-7, ACC-8).

use super::*;
use crate::calls::custom_role;

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
