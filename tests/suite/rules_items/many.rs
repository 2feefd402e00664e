//! What one write does to all items at once: however many there are, it is a few statements.

use super::*;
use crate::calls::{custom_role, execute};

/// Items of `apollo` that are open as scribe, on each of which Ben is one. PostgreSQL looks at what
/// has become of its tables within a minute: here, at once.
const MANY: &str = "
    INSERT INTO items (organization, item_type, id, display_name, independent, visibility,
                       organization_access_role, archived, create_time, update_time, version)
    SELECT 'acme', 'board', 'many' || n, '', true, 'open', 'scribe', false, now(), now(), 1
    FROM generate_series(1, 6000) AS n;
    INSERT INTO item_portfolios (organization, item_type, item_id, portfolio)
    SELECT 'acme', 'board', 'many' || n, 'apollo' FROM generate_series(1, 6000) AS n;
    INSERT INTO item_grants (id, organization, item_type, item_id, subject_kind, subject_id, role,
                             ownership, create_time)
    SELECT gen_random_uuid(), 'acme', 'board', 'many' || n, 'user', 'ben', 'scribe', false, now()
    FROM generate_series(1, 6000) AS n;
    ANALYZE items, item_portfolios, item_grants";

async fn with_many() -> TestServer {
    let server = server().await;
    let administrator = server.acting("user:acme-owner");
    for (role, permissions) in
        [("scribe", &["portfolio.view", "comment.create"][..]), ("scout", &["portfolio.view"])]
    {
        administrator.create_role(custom_role(role, permissions)).await.unwrap();
    }
    execute(&server.database.url, MANY).await;
    server
}

#[tokio::test]
async fn rol_6_what_items_give_moves_to_the_replacement_of_a_deleted_role() {
    let server = with_many().await;
    let system = server.system();
    // Who holds both roles on an item holds the one that is left once.
    let both = [("user:ben", "scribe"), ("user:ben", "scout"), ("group:core", "scribe")];
    let mixed = system.register(independent("board:mixed", &["apollo"], &both)).await.unwrap();
    let twin = server.twin().await;
    for item in ["board:many7", "board:mixed"] {
        let may = twin.system().decides_on("user:ben", "comment.create", "apollo", item).await;
        assert_eq!(may, Why::DirectGrant, "{item}");
    }
    let administrator = server.acting("user:acme-owner");
    let deleted = administrator.delete_role("scribe", "scout").await.unwrap();
    assert_eq!((deleted.moved_item_grants, deleted.moved_item_access_roles), (6_002, 6_000));
    for item in ["board:many7", "board:many6000", "board:mixed"] {
        let may = |permission| {
            let system = server.system();
            async move { system.decides_on("user:ben", permission, "apollo", item).await }
        };
        assert_eq!(may("portfolio.view").await, Why::DirectGrant, "{item}");
        assert_eq!(may("comment.create").await, Why::ItemNoAccess, "{item}");
        let token = &deleted.consistency_token;
        let seen = twin.system().check_after(token, "user:ben", "portfolio.view", "apollo").await;
        assert!(seen.allowed);
        let may = twin.system().decides_on("user:ben", "comment.create", "apollo", item).await;
        assert_eq!(may, Why::ItemNoAccess, "{item} elsewhere");
    }
    let is = system.item("board:mixed").await.unwrap();
    assert_eq!(is.grants, [grant("user:ben", "scout"), grant("group:core", "scout")]);
    assert_ne!(is.etag, mixed.etag);
    let one = system.item("board:many6000").await.unwrap();
    assert_eq!(
        (one.grants, one.organization_access_role.as_str()),
        (vec![grant("user:ben", "scout")], "scout")
    );
    let told = "SELECT count(*) FROM change_log WHERE what = 'item.updated'";
    assert_eq!(number(&server.database.url, told).await, 6_001);
}

#[tokio::test]
async fn vis_9_very_many_items_go_with_their_portfolio() {
    let server = with_many().await;
    let (system, url) = (server.system(), &server.database.url);
    let shared = independent("board:shared", &["apollo", "gemini"], &[("user:ben", "scribe")]);
    let shared = system.register(shared).await.unwrap();
    system.delete("apollo").await.unwrap();
    let left = "SELECT concat_ws(':', item_type, item_id) FROM item_portfolios";
    assert_eq!(texts(url, left).await, ["board:shared"]);
    let held = "SELECT item_id || ' ' || subject_id FROM item_grants WHERE revoke_time IS NULL";
    assert_eq!(texts(url, held).await, ["shared ben"]);
    assert_eq!(refusal(system.item("board:many6000").await), not_found());
    let is = system.item("board:shared").await.unwrap();
    assert_eq!(is.portfolios, ["gemini"]);
    assert_ne!(is.etag, shared.etag);
    for (what, count) in [("item.deleted", 6_000), ("item.updated", 1)] {
        let told = format!("SELECT count(*) FROM change_log WHERE what = '{what}'");
        assert_eq!(number(url, &told).await, count, "{what}");
    }
}
