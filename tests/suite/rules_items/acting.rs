//! Who may do what to an item: nobody gives what they do not hold, and what is archived gives
//! nothing newly (ROL-7, ACC-5, VIS-8).

use super::*;
use crate::calls::custom_role;

fn above() -> (Code, String) {
    (Code::PermissionDenied, "ROLE_ABOVE_OWN".to_owned())
}

fn named(id: &str) -> v1::Item {
    item(id, &[])
}

#[tokio::test]
async fn rol_7_a_role_that_an_item_gives_openly_is_not_replaced_by_one_that_manages_access() {
    let server = server().await;
    let administrator = server.acting("user:acme-owner");
    administrator.create_role(custom_role("peek", &["portfolio.view"])).await.unwrap();
    let open = v1::Item {
        visibility: v1::Visibility::Open.into(),
        organization_access_role: "peek".to_owned(),
        ..independent("board:b1", &["apollo"], &[])
    };
    server.system().register(open).await.unwrap();
    let refused = refusal(administrator.delete_role("peek", "manager").await);
    let forbidden = (Code::FailedPrecondition, "ORGANIZATION_ROLE_FORBIDDEN".to_owned());
    assert_eq!(refused, forbidden);
}

#[tokio::test]
async fn rol_7_an_author_who_holds_nothing_neither_opens_the_item_nor_names_an_owner() {
    let server = server().await;
    let (system, dan) = (server.system(), server.acting("user:dan"));
    let board = v1::Item {
        author: Some(subject("user:dan")),
        organization_access_role: "contributor".to_owned(),
        ..independent("board:b1", &["apollo"], &[])
    };
    system.register(board).await.unwrap();
    let open = v1::Item { visibility: v1::Visibility::Open.into(), ..named("board:b1") };
    assert_eq!(refusal(dan.update(open.clone(), &["visibility"]).await), above());
    for owner in ["dan", "ben"] {
        let owned = v1::Item { owner: owner.to_owned(), ..named("board:b1") };
        assert_eq!(refusal(dan.update(owned, &["owner"]).await), above(), "{owner}");
    }
    let still = dan.decides_on("user:dan", "initiative.edit", "apollo", "board:b1").await;
    assert_eq!(still, Why::ItemNoAccess);
    // Whoever holds it all may.
    let owned = v1::Item { owner: "ann".to_owned(), ..named("board:b1") };
    system.update(owned, &["owner"]).await.unwrap();
    server.acting("user:ann").update(open, &["visibility"]).await.unwrap();
}

#[tokio::test]
async fn acc_5_who_does_not_see_a_portfolio_that_shows_it_does_not_manage_the_item() {
    let server = server().await;
    let board = independent("board:b1", &["gemini"], &[("user:cid", "manager")]);
    server.system().register(board).await.unwrap();
    let cid = server.acting("user:cid");
    let system = server.system();
    let may = system.decides_on("user:cid", "access.manage", "gemini", "board:b1").await;
    assert_eq!(may, Why::NoAccess);
    assert_eq!(refusal(cid.item("board:b1").await), not_found());
    let renamed = v1::Item { display_name: "mine".to_owned(), ..named("board:b1") };
    assert_eq!(refusal(cid.update(renamed.clone(), &["display_name"]).await), not_found());
    // Through another portfolio that shows it, they do.
    let shown = item("board:b1", &["gemini", "apollo"]);
    system.update(shown, &["portfolios"]).await.unwrap();
    cid.update(renamed, &["display_name"]).await.unwrap();
}

#[tokio::test]
async fn bad_1_an_author_exists() {
    let server = server().await;
    let system = server.system();
    for (author, reason) in
        [("user:ghost", "USER_NOT_FOUND"), ("service_account:ghost", "SERVICE_ACCOUNT_NOT_FOUND")]
    {
        let author = Some(subject(author));
        let board = v1::Item { author, ..item("board:b1", &["apollo"]) };
        let refused = refusal(system.register(board).await);
        assert_eq!(refused, (Code::NotFound, reason.to_owned()));
    }
}

#[tokio::test]
async fn vis_8_on_an_archived_portfolio_items_may_lose_access_and_no_more() {
    let server = server().await;
    let system = server.system();
    let grants = [("user:ben", "viewer"), ("user:cid", "viewer")];
    system.register(independent("board:b1", &["apollo"], &grants)).await.unwrap();
    system.archive("apollo").await.unwrap();
    let archived = (Code::FailedPrecondition, "ARCHIVED".to_owned());
    let more = [("user:ben", "viewer"), ("user:cid", "viewer"), ("user:dan", "viewer")];
    let more = v1::Item { display_name: "new".to_owned(), ..independent("board:b1", &[], &more) };
    for path in ["display_name", "grants"] {
        assert_eq!(refusal(system.update(more.clone(), &[path]).await), archived, "{path}");
    }
    let less = independent("board:b1", &[], &grants[..1]);
    assert_eq!(system.update(less, &["grants"]).await.unwrap().grants.len(), 1);
}
