//! Items through the front door (ACC-4 to ACC-8, VIS-9).

mod acting;
mod leaks;
mod many;

use portcullis::proto::v1;
use portcullis::proto::v1::DecisionReason as Why;
use tonic::{Code, Status};

use crate::calls::{instant, now, number, question, texts};
use crate::harness::{Client, TestServer, fields, refusal, subject};

/// Two portfolios; Ben contributes to both, Cid to one, Dan sees one.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server
        .given()
        .organization("acme")
        .user("ann")
        .user("ben")
        .user("cid")
        .user("dan")
        .administrator("acme-owner")
        .group("core", &["user:cid"]);
    given
        .portfolio("apollo")
        .owned_by("ann")
        .with("user:ben", "contributor")
        .with("user:cid", "contributor")
        .with("user:dan", "viewer")
        .portfolio("gemini")
        .owned_by("ann")
        .with("user:ben", "viewer")
        .await;
    server
}

fn item(id: &str, portfolios: &[&str]) -> v1::Item {
    let (item_type, id) = id.split_once(':').unwrap();
    v1::Item {
        organization: "acme".to_owned(),
        r#type: item_type.to_owned(),
        id: id.to_owned(),
        portfolios: portfolios.iter().map(|&id| id.to_owned()).collect(),
        ..Default::default()
    }
}

fn independent(id: &str, portfolios: &[&str], grants: &[(&str, &str)]) -> v1::Item {
    let grants = grants.iter().map(|(who, role)| grant(who, role)).collect();
    v1::Item { independent: true, grants, ..item(id, portfolios) }
}

fn grant(who: &str, role: &str) -> v1::ItemGrant {
    v1::ItemGrant { subject: Some(subject(who)), role: role.to_owned(), ..Default::default() }
}

impl Client {
    async fn register(&self, item: v1::Item) -> Result<v1::Item, Status> {
        let request = v1::RegisterItemRequest { item: Some(item), ..Default::default() };
        let registered = self.items().register_item(request).await?.into_inner();
        Ok(registered.item.expect("an item"))
    }

    async fn copy(&self, item: v1::Item, of: &str) -> Result<v1::Item, Status> {
        let copy_settings_of = of.to_owned();
        let item = Some(item);
        let request = v1::RegisterItemRequest { item, copy_settings_of, ..Default::default() };
        let registered = self.items().register_item(request).await?.into_inner();
        Ok(registered.item.expect("an item"))
    }

    async fn item(&self, name: &str) -> Result<v1::Item, Status> {
        let v1::Item { organization, r#type, id, .. } = item(name, &[]);
        let request = v1::GetItemRequest { organization, r#type, id };
        Ok(self.items().get_item(request).await?.into_inner().item.expect("an item"))
    }

    async fn update(&self, item: v1::Item, paths: &[&str]) -> Result<v1::Item, Status> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = v1::UpdateItemRequest { item: Some(item), update_mask, ..Default::default() };
        Ok(self.items().update_item(request).await?.into_inner().item.expect("an item"))
    }

    async fn delete_item(&self, name: &str) -> Result<v1::Item, Status> {
        let v1::Item { organization, r#type, id, .. } = item(name, &[]);
        let request = v1::DeleteItemRequest { organization, r#type, id, ..Default::default() };
        Ok(self.items().delete_item(request).await?.into_inner().item.expect("an item"))
    }

    /// Fully consistent, and again from the database: both say the same.
    async fn decides_on(&self, who: &str, permission: &str, portfolio: &str, of: &str) -> Why {
        let (item_type, id) = of.split_once(':').unwrap();
        let (r#type, id) = (item_type.to_owned(), id.to_owned());
        let item = Some(v1::ItemReference { r#type, id, author: None });
        let request = v1::CheckPermissionRequest { item, ..question(who, permission, portfolio) };
        let foreign = portcullis::domain::revision::Token {
            epoch: portcullis::domain::revision::Epoch(uuid::Uuid::nil()),
            entries: Vec::new(),
        };
        let foreign = v1::consistency::Requirement::AtLeastAsFresh(foreign.encode());
        let consistency = Some(v1::Consistency { requirement: Some(foreign) });
        let cold = v1::CheckPermissionRequest { consistency, ..request.clone() };
        let cold = self.policy().check_permission(cold).await.expect("an answer").into_inner();
        let found = self.policy().check_permission(request).await.expect("an answer").into_inner();
        assert_eq!(
            (found.allowed, found.reason),
            (cold.allowed, cold.reason),
            "{who} {permission}"
        );
        found.reason()
    }

    async fn visible(
        &self,
        who: &str,
        portfolio: &str,
    ) -> Result<(Vec<String>, Option<i32>), Status> {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListVisibleItemsRequest {
                subject: Some(subject(who)),
                portfolio: portfolio.to_owned(),
                consistency: question(who, "", "").consistency,
                page_size: 1,
                page_token: token,
                ..Default::default()
            };
            let page = self.policy().list_visible_items(request).await?.into_inner();
            found.extend(page.items.iter().map(|item| format!("{}:{}", item.r#type, item.id)));
            token = page.next_page_token;
            if token.is_empty() {
                return Ok((found, page.withheld));
            }
        }
    }

    async fn listed_items(&self, portfolio: &str) -> Result<Vec<String>, Status> {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let portfolio = portfolio.to_owned();
            let request =
                v1::ListItemsRequest { portfolio, page_size: 1, page_token, ..Default::default() };
            let page = self.items().list_items(request).await?.into_inner();
            found.extend(page.items.iter().map(|item| format!("{}:{}", item.r#type, item.id)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(found);
            }
        }
    }
}

fn not_found() -> (Code, String) {
    (Code::NotFound, "ITEM_NOT_FOUND".to_owned())
}

#[tokio::test]
async fn acc_5_portfolio_roles_never_widen_an_independent_item() {
    let server = server().await;
    let system = server.system();
    let grants = [("user:ben", "contributor"), ("group:core", "viewer")];
    system.register(independent("board:b1", &["apollo", "gemini"], &grants)).await.unwrap();
    system.warm_up("user:ann", "portfolio.view", "apollo").await;
    let decides = async |who: &str, permission: &str, portfolio: &str| {
        system.decides_on(who, permission, portfolio, "board:b1").await
    };
    assert_eq!(decides("user:ben", "initiative.create", "apollo").await, Why::DirectGrant);
    // By the portfolio alone Ben would not: it is the item that decides, and he sees Gemini.
    assert_eq!(decides("user:ben", "initiative.create", "gemini").await, Why::DirectGrant);
    assert_eq!(decides("user:cid", "portfolio.view", "apollo").await, Why::GroupGrant);
    assert_eq!(decides("user:cid", "portfolio.view", "gemini").await, Why::NoAccess);
    for manager in ["user:ann", "user:acme-owner"] {
        let on_portfolio = server.allows(manager, "portfolio.delete", "apollo").await;
        assert!(on_portfolio, "{manager}");
    }
    assert_eq!(decides("user:ann", "initiative.create", "apollo").await, Why::ItemNoAccess);
    assert_eq!(decides("user:dan", "portfolio.view", "apollo").await, Why::ItemNoAccess);
}

#[tokio::test]
async fn acc_5_an_inheriting_item_follows_its_portfolio_and_is_shown_by_it_alone() {
    let server = server().await;
    let system = server.system();
    system.register(item("board:b1", &["apollo"])).await.unwrap();
    for (who, permission, portfolio, expected) in [
        ("user:ben", "initiative.create", "apollo", Why::DirectGrant),
        ("user:dan", "initiative.create", "apollo", Why::PermissionMissing),
        ("user:ben", "portfolio.view", "gemini", Why::ItemUnknown),
    ] {
        let found = system.decides_on(who, permission, portfolio, "board:b1").await;
        assert_eq!(found, expected, "{who} {permission} {portfolio}");
    }
    // One that nobody registered decides nothing.
    let found = system.decides_on("user:ben", "portfolio.view", "gemini", "board:none").await;
    assert_eq!(found, Why::DirectGrant);
}

#[tokio::test]
async fn acc_4_the_recorded_author_wins_on_the_item_itself() {
    let server = server().await;
    let system = server.system();
    let author = Some(subject("user:ben"));
    let made = v1::Item { author: author.clone(), ..item("comment:c1", &["apollo"]) };
    system.register(made).await.unwrap();
    let decides = async |who: &str, named: &str| {
        let (r#type, id) = ("comment".to_owned(), "c1".to_owned());
        let item = Some(v1::ItemReference { r#type, id, author: Some(subject(named)) });
        let question = question(who, "comment.edit", "apollo");
        let request = v1::CheckPermissionRequest { item, ..question };
        system.policy().check_permission(request).await.unwrap().into_inner().reason()
    };
    assert_eq!(decides("user:ben", "user:cid").await, Why::DirectGrant);
    assert_eq!(decides("user:cid", "user:cid").await, Why::NotAuthor);
}

#[tokio::test]
async fn acc_6_the_visible_items_and_how_many_are_withheld() {
    let server = server().await;
    let system = server.system();
    system.register(item("goal:g1", &["apollo"])).await.unwrap();
    let ben = [("user:ben", "viewer")];
    system.register(independent("board:b1", &["apollo"], &ben)).await.unwrap();
    system.register(independent("board:b2", &["apollo"], &[])).await.unwrap();
    let keys = |of: &[&str]| of.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    let found = system.visible("user:ben", "apollo").await.unwrap();
    assert_eq!(found, (keys(&["board:b1", "goal:g1"]), Some(1)));
    let ann = server.acting("user:ann");
    assert_eq!(ann.visible("user:ann", "apollo").await.unwrap(), (keys(&["goal:g1"]), Some(2)));
    // The number is for those who manage access.
    let own = server.acting("user:dan").visible("user:dan", "apollo").await.unwrap();
    assert_eq!(own, (keys(&["goal:g1"]), None));
    let unseen = refusal(server.acting("user:dan").visible("user:dan", "gemini").await);
    assert_eq!(unseen, (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned()));
    assert_eq!(
        server.acting("user:ben").listed_items("apollo").await.unwrap(),
        ["board:b1", "goal:g1"]
    );
    assert_eq!(system.listed_items("apollo").await.unwrap(), ["board:b1", "board:b2", "goal:g1"]);
}

/// What it kept from people is not theirs because it is gone.
#[tokio::test]
async fn acc_5_a_deleted_item_is_nobodys_and_the_portfolio_does_not_decide_for_it() {
    let server = server().await;
    let system = server.system();
    system.register(independent("board:b1", &["apollo"], &[])).await.unwrap();
    let before = system.decides_on("user:ann", "initiative.delete", "apollo", "board:b1").await;
    assert_eq!(before, Why::ItemNoAccess);
    system.delete_item("board:b1").await.unwrap();
    let after = system.decides_on("user:ann", "initiative.delete", "apollo", "board:b1").await;
    assert_eq!(after, Why::ItemUnknown);
}

#[tokio::test]
async fn acc_7_a_copy_lives_its_own_life() {
    let server = server().await;
    let owned = v1::Item { owner: "ben".to_owned(), ..item("board:b1", &["apollo"]) };
    let ann = server.acting("user:ann");
    let copied = ann.copy(owned, "apollo").await.unwrap();
    assert!(copied.independent);
    let roles: Vec<&str> = copied.grants.iter().map(|grant| grant.role.as_str()).collect();
    assert_eq!(roles, ["manager", "contributor", "contributor", "viewer"]);
    let system = server.system();
    system.remove_member("apollo", "user:cid").await.unwrap();
    system.add_member("apollo", "user:cid", "viewer").await.unwrap();
    let found = system.decides_on("user:cid", "initiative.create", "apollo", "board:b1").await;
    assert_eq!(found, Why::DirectGrant);
    // Its owner is its manager.
    let found = system.decides_on("user:ben", "access.manage", "apollo", "board:b1").await;
    assert_eq!(found, Why::DirectGrant);
}

#[tokio::test]
async fn acc_5_it_is_managed_by_its_owner_its_author_and_by_grants_and_unseen_by_others() {
    let server = server().await;
    let made = v1::Item {
        owner: "ben".to_owned(),
        author: Some(subject("user:cid")),
        ..independent("board:b1", &["apollo"], &[("user:dan", "viewer")])
    };
    server.system().register(made).await.unwrap();
    let renamed = v1::Item { display_name: "B".to_owned(), ..item("board:b1", &[]) };
    for manager in ["user:ben", "user:cid"] {
        let found = server.acting(manager).update(renamed.clone(), &["display_name"]).await;
        assert_eq!(found.unwrap().grants.len(), 1, "{manager}");
    }
    let dan = server.acting("user:dan");
    let seen = dan.item("board:b1").await.unwrap();
    assert_eq!((seen.grants.len(), seen.visibility), (0, 0), "for those who manage it");
    let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
    assert_eq!(refusal(dan.update(renamed.clone(), &["display_name"]).await), missing);
    assert_eq!(refusal(dan.delete_item("board:b1").await), missing);
    // Not even the portfolio's manager knows of it, nor an administrator.
    for stranger in ["user:ann", "user:acme-owner"] {
        let stranger = server.acting(stranger);
        let update = refusal(stranger.update(renamed.clone(), &["display_name"]).await);
        assert_eq!(update, not_found());
        assert_eq!(refusal(stranger.item("board:b1").await), not_found());
        assert_eq!(refusal(stranger.item("board:none").await), not_found());
        assert_eq!(refusal(stranger.delete_item("board:b1").await), not_found());
    }
}

#[tokio::test]
async fn rol_7_mem_9_nobody_gives_more_than_they_hold_on_the_item() {
    let server = server().await;
    let made = v1::Item {
        author: Some(subject("user:cid")),
        owner: "ben".to_owned(),
        ..independent("board:b1", &["apollo"], &[("user:cid", "contributor")])
    };
    server.system().register(made).await.unwrap();
    let with = |grants: Vec<v1::ItemGrant>| v1::Item { grants, ..item("board:b1", &[]) };
    let cid = server.acting("user:cid");
    let own = grant("user:cid", "contributor");
    let above = with(vec![own.clone(), grant("user:dan", "manager")]);
    let refused = (Code::PermissionDenied, "ROLE_ABOVE_OWN".to_owned());
    assert_eq!(refusal(cid.update(above, &["grants"]).await), refused);
    let below = with(vec![own.clone(), grant("user:dan", "viewer")]);
    assert_eq!(cid.update(below, &["grants"]).await.unwrap().grants.len(), 2);
    let mine = v1::Item { owner: "cid".to_owned(), ..item("board:b1", &[]) };
    let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
    assert_eq!(refusal(cid.update(mine.clone(), &["owner"]).await), missing);
    let ben = server.acting("user:ben");
    assert_eq!(ben.update(mine, &["owner"]).await.unwrap().owner, "cid");
    // What ends does not end later by one's own hand.
    let soon = now(&server.database.url).await + 3_600_000;
    let ending = v1::ItemGrant { expire_time: Some(instant(soon)), ..grant("user:ben", "manager") };
    cid.update(with(vec![ending]), &["grants"]).await.unwrap();
    let forever = with(vec![grant("user:ben", "manager")]);
    let refused = (Code::PermissionDenied, "OWN_ACCESS_PROLONGED".to_owned());
    assert_eq!(refusal(ben.update(forever, &["grants"]).await), refused);
}

#[tokio::test]
async fn vis_8_an_archived_item_is_restored_before_it_is_changed() {
    let server = server().await;
    let system = server.system();
    let ben = [("user:ben", "contributor")];
    system.register(independent("board:b1", &["apollo"], &ben)).await.unwrap();
    let archived = v1::Item { archived: true, ..item("board:b1", &[]) };
    system.update(archived.clone(), &["archived"]).await.unwrap();
    for (permission, expected) in
        [("initiative.create", Why::Archived), ("portfolio.view", Why::DirectGrant)]
    {
        let found = system.decides_on("user:ben", permission, "apollo", "board:b1").await;
        assert_eq!(found, expected, "{permission}");
    }
    let renamed = v1::Item { display_name: "B".to_owned(), ..item("board:b1", &[]) };
    let refused = refusal(system.update(renamed.clone(), &["display_name"]).await);
    assert_eq!(refused, (Code::FailedPrecondition, "ARCHIVED".to_owned()));
    let both = system.update(renamed, &["display_name", "archived"]).await.unwrap();
    assert!(!both.archived);
    system.archive("apollo").await.unwrap();
    let refused = refusal(system.register(item("goal:g1", &["apollo"])).await);
    assert_eq!(refused, (Code::FailedPrecondition, "ARCHIVED".to_owned()));
}

#[tokio::test]
async fn vis_9_what_only_a_deleted_portfolio_shows_goes_with_it() {
    let server = server().await;
    let system = server.system();
    let ben = [("user:ben", "viewer")];
    system.register(independent("board:b1", &["apollo", "gemini"], &ben)).await.unwrap();
    system.register(independent("board:b2", &["apollo"], &ben)).await.unwrap();
    system.register(item("goal:g1", &["apollo"])).await.unwrap();
    system.delete("apollo").await.unwrap();
    assert_eq!(system.item("board:b1").await.unwrap().portfolios, ["gemini"]);
    for gone in ["board:b2", "goal:g1"] {
        assert_eq!(refusal(system.item(gone).await), not_found(), "{gone}");
    }
    // Never reused.
    let taken = refusal(system.register(item("goal:g1", &["gemini"])).await);
    assert_eq!(taken, (Code::AlreadyExists, "ID_TAKEN".to_owned()));
    let events = "SELECT what || ' ' || object FROM change_log WHERE what LIKE 'item.%' \
                  ORDER BY sequence, what, object";
    let expected =
        ["item.registered board:b1", "item.registered board:b2", "item.registered goal:g1"];
    let found = texts(&server.database.url, events).await;
    assert_eq!(found[..3], expected);
    assert!(found.contains(&"item.updated board:b1".to_owned()), "{found:?}");
    assert!(found.contains(&"item.deleted goal:g1".to_owned()), "{found:?}");
}

#[tokio::test]
async fn dir_9_with_an_account_everything_of_theirs_on_items_ends() {
    let server = server().await;
    let system = server.system();
    let made = v1::Item {
        owner: "ben".to_owned(),
        author: Some(subject("user:ben")),
        ..independent("board:b1", &["apollo"], &[("user:ben", "viewer"), ("group:core", "viewer")])
    };
    system.register(made).await.unwrap();
    let request = v1::DeleteUserRequest {
        user: "ben".to_owned(),
        confirm_user: "ben".to_owned(),
        ..Default::default()
    };
    system.directory().delete_user(request).await.unwrap();
    let request = v1::DeleteGroupRequest {
        group: "core".to_owned(),
        confirm_group: "core".to_owned(),
        ..Default::default()
    };
    system.directory().delete_group(request).await.unwrap();
    let left = system.item("board:b1").await.unwrap();
    assert_eq!((left.owner.as_str(), left.author, left.grants.len()), ("", None, 0));
    let ownerless = "SELECT count(*) FROM change_log WHERE what = 'item.owner_removed'";
    assert_eq!(number(&server.database.url, ownerless).await, 1);
}

#[tokio::test]
async fn acc_8_an_explanation_tells_the_item_from_the_portfolio() {
    let server = server().await;
    let system = server.system();
    let made = v1::Item {
        owner: "ben".to_owned(),
        ..independent("board:b1", &["apollo"], &[("user:cid", "contributor")])
    };
    system.register(made).await.unwrap();
    let explain = async |who: &str| {
        let (r#type, id) = ("board".to_owned(), "b1".to_owned());
        let request = v1::ExplainPermissionRequest {
            subject: Some(subject(who)),
            permission: "initiative.create".to_owned(),
            portfolio: "apollo".to_owned(),
            item: Some(v1::ItemReference { r#type, id, author: None }),
            consistency: question(who, "", "").consistency,
            ..Default::default()
        };
        system.policy().explain_permission(request).await.unwrap().into_inner()
    };
    let found = explain("user:cid").await;
    assert!(found.allowed && found.independent_item);
    let mut sides: Vec<bool> = found.routes.iter().map(|route| route.on_item).collect();
    sides.sort_unstable();
    assert_eq!(sides, [false, true]);
    let found = explain("user:dan").await;
    assert_eq!((found.allowed, found.reason()), (false, Why::ItemNoAccess));
    assert!(found.roles_with_permission.contains(&"contributor".to_owned()));
    let givers: Vec<&str> = found.givers.iter().map(|giver| giver.user.as_str()).collect();
    assert_eq!(givers, ["ben"], "the owner of the item, not the portfolio's");
}

#[tokio::test]
async fn bad_1_what_is_malformed_is_named() {
    let server = server().await;
    let system = server.system();
    let board = || item("board:b1", &["apollo"]);
    let twice = independent("board:b1", &["apollo"], &[("user:ben", "viewer"); 2]);
    let backwards = v1::ItemGrant {
        start_time: Some(instant(2)),
        expire_time: Some(instant(1)),
        ..grant("user:ben", "viewer")
    };
    for (item, field) in [
        (v1::Item { organization: String::new(), ..board() }, "item.organization"),
        (v1::Item { r#type: "a:b".to_owned(), ..board() }, "item.type"),
        (v1::Item { r#type: "b".repeat(65), ..board() }, "item.type"),
        (v1::Item { id: "no spaces".to_owned(), ..board() }, "item.id"),
        (v1::Item { portfolios: Vec::new(), ..board() }, "item.portfolios"),
        (item("board:b1", &["apollo", "gemini"]), "item.portfolios"),
        (independent("board:b1", &["apollo", "apollo"], &[]), "item.portfolios"),
        (v1::Item { grants: vec![grant("user:ben", "viewer")], ..board() }, "item.independent"),
        (v1::Item { author: Some(subject("group:core")), ..board() }, "item.author"),
        (twice, "item.grants"),
        (
            v1::Item { grants: vec![backwards], ..independent("board:b1", &["apollo"], &[]) },
            "item.grants[0].expire_time",
        ),
    ] {
        let status = system.register(item).await.unwrap_err();
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec![field.to_owned()])
        );
    }
    for (item, reason) in [
        (item("board:b1", &["nowhere"]), "PORTFOLIO_NOT_FOUND"),
        (independent("board:b1", &["apollo"], &[("user:nobody", "viewer")]), "USER_NOT_FOUND"),
        (independent("board:b1", &["apollo"], &[("group:none", "viewer")]), "GROUP_NOT_FOUND"),
        (independent("board:b1", &["apollo"], &[("user:ben", "emperor")]), "ROLE_NOT_FOUND"),
        (v1::Item { owner: "nobody".to_owned(), ..board() }, "USER_NOT_FOUND"),
        (v1::Item { organization: "none".to_owned(), ..board() }, "ORGANIZATION_NOT_FOUND"),
    ] {
        let found = refusal(system.register(item).await);
        assert_eq!(found, (Code::NotFound, reason.to_owned()));
    }
    let openly = v1::Item {
        organization_access_role: "manager".to_owned(),
        ..independent("board:b1", &["apollo"], &[])
    };
    let refused = refusal(system.register(openly).await);
    assert_eq!(refused, (Code::FailedPrecondition, "ORGANIZATION_ROLE_FORBIDDEN".to_owned()));
    let registered = system.register(board()).await.unwrap();
    let visible = v1::Item { visibility: v1::Visibility::Open.into(), ..board() };
    let refused = refusal(system.update(visible, &["visibility"]).await);
    assert_eq!(refused, (Code::FailedPrecondition, "ITEM_INHERITS".to_owned()));
    let stale = v1::Item { etag: "v9".to_owned(), display_name: "B".to_owned(), ..registered };
    let refused = refusal(system.update(stale, &["display_name"]).await);
    assert_eq!(refused, (Code::Aborted, "ETAG_MISMATCH".to_owned()));
}
