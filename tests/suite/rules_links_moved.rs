//! Portfolios created below others, moved, and left by their parent (INH-6, INH-1, VIS-9).

use portcullis::proto::v1;
use portcullis::proto::v1::Visibility;
use tonic::Code;

use crate::calls::{number, portfolio, texts};
use crate::harness::{fields, refusal};
use crate::linked::{EVERYBODY, access, metadata, server, told};

const ALL: &[&str] = &["space", "child", "leaf"];

fn new(id: &str, parent: &str, linked: bool) -> v1::Portfolio {
    v1::Portfolio { parent: parent.to_owned(), linked, ..portfolio(id, "") }
}

#[tokio::test]
async fn inh_6_created_from_its_parents_page_it_is_linked_from_the_start() {
    let server = server().await;
    let max = server.acting("user:max");
    let made = max.create(new("made", "space", true)).await.unwrap();
    assert_eq!((made.parent.as_str(), made.linked, made.owner.as_str()), ("space", true, "max"));
    assert!(server.allows("user:ben", "initiative.edit", "made").await);
    assert!(server.allows("user:sam", "access.manage", "made").await);
    let apart = max.create(new("apart", "space", false)).await.unwrap();
    assert_eq!((apart.parent.as_str(), apart.linked), ("space", false));
    assert!(!server.allows("user:ben", "portfolio.view", "apart").await);
    // Its own settings are what it would have had.
    max.unlink("made", true).await.unwrap();
    assert!(!server.allows("user:ben", "portfolio.view", "made").await);
    assert_eq!(max.get_portfolio("made").await.unwrap().visibility(), Visibility::Private);
    // Who may not change the parent puts nothing below it.
    let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
    let unknown = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    for linked in [false, true] {
        let refused = server.acting("user:ben").create(new("x", "space", linked)).await;
        assert_eq!(refusal(refused), missing);
        let refused = server.acting("user:vic").create(new("x", "space", linked)).await;
        assert_eq!(refusal(refused), unknown);
        assert_eq!(refusal(max.create(new("x", "nowhere", linked)).await), unknown);
    }
    let given = server.given().organization("other").portfolio("theirs").open();
    given.await;
    let theirs = v1::Portfolio { owner: "ann".to_owned(), ..new("x", "theirs", true) };
    assert_eq!(refusal(server.system().create(theirs).await), unknown);
    let refused = max.create(new("x", "no id!", true)).await.unwrap_err();
    assert_eq!(fields(&refused), ["portfolio.parent"]);
    server.system().archive("space").await.unwrap();
    let archived = (Code::FailedPrecondition, "ARCHIVED".to_owned());
    assert_eq!(refusal(max.create(new("x", "space", true)).await), archived);
}

/// Linking shows the members of the parent to the owner: it needs what seeing them needs.
#[tokio::test]
async fn inh_5_created_linked_it_needs_to_see_the_members_of_the_parent() {
    let server = server().await;
    let sql = "INSERT INTO roles VALUES ('acme', 'clerk', 'Clerk');
               INSERT INTO role_permissions VALUES ('acme', 'clerk', 'portfolio.update', 'any')";
    crate::calls::execute(&server.database.url, sql).await;
    server.system().add_member("space", "user:idle", "clerk").await.unwrap();
    let idle = server.acting("user:idle");
    let refused = told(idle.create(new("made", "space", true)).await);
    let what = [("permission", "members.view"), ("portfolio", "space")];
    let expected = ("PERMISSION_MISSING".to_owned(), metadata(&what));
    assert_eq!(refused, expected);
    idle.create(new("made", "space", false)).await.unwrap();
    assert_eq!(told(idle.link("made").await), expected);
}

#[tokio::test]
async fn inh_6_moving_unlinks_with_a_copy_unless_linking_is_asked_for() {
    let server = server().await;
    let (system, max) = (server.system(), server.acting("user:max"));
    let given = server.given().in_organization("acme").portfolio("other").owned_by("root");
    given.with_manager("max").with("user:idle", "viewer").await;
    max.link("child").await.unwrap();
    system.link("leaf").await.unwrap();
    let before = access(&server, ALL, EVERYBODY).await;
    let log = "SELECT count(*) FROM change_log";
    let written = number(&server.database.url, log).await;
    let stays = max.place("child", "space", false).await.unwrap();
    assert!(stays.linked, "where it is already nothing happens");
    assert_eq!(max.place("child", "space", true).await.unwrap(), stays);
    assert_eq!(number(&server.database.url, log).await, written);
    let moved = max.place("child", "other", false).await.unwrap();
    assert_eq!((moved.parent.as_str(), moved.linked), ("other", false));
    assert_eq!(access(&server, ALL, EVERYBODY).await, before);
    let linked = max.place("child", "other", true).await.unwrap();
    assert!(linked.linked);
    for below in ["child", "leaf"] {
        assert!(server.allows("user:idle", "portfolio.view", below).await);
        assert!(!server.allows("user:ben", "portfolio.view", below).await);
    }
    // From one to another at once.
    let back = max.place("child", "space", true).await.unwrap();
    assert_eq!((back.parent.as_str(), back.linked), ("space", true));
    assert_eq!(access(&server, ALL, EVERYBODY).await, before);
    let top = max.place("child", "", false).await.unwrap();
    assert_eq!((top.parent.as_str(), top.linked), ("", false));
    assert_eq!(access(&server, ALL, EVERYBODY).await, before);
    let trail = "SELECT concat_ws(' ', what, before ->> 'parent', after ->> 'parent') \
                 FROM change_log WHERE portfolio = 'child' AND what NOT LIKE 'member%' \
                 AND what <> 'portfolio.created' ORDER BY at, sequence";
    let expected = [
        "access_settings.linked space",
        "access_settings.unlinked space",
        "portfolio.moved space other",
        "access_settings.linked other",
        "portfolio.moved other space",
        "access_settings.linked other space",
        "access_settings.unlinked space",
        "portfolio.moved space",
    ];
    assert_eq!(texts(&server.database.url, trail).await, expected);
}

#[tokio::test]
async fn inh_6_moving_needs_settings_here_and_members_there() {
    let server = server().await;
    let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
    let unknown = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    let given =
        server.given().in_organization("acme").portfolio("plaza").open().openly_giving("viewer");
    given.portfolio("hidden").await;
    let ann = server.acting("user:ann");
    ann.place("child", "plaza", false).await.expect("whom openness lets see the members");
    for client in [server.acting("user:vic"), server.acting("user:root")] {
        assert_eq!(refusal(client.place("child", "plaza", false).await), missing);
    }
    for parent in ["hidden", "nowhere", "space"] {
        assert_eq!(refusal(ann.place("child", parent, false).await), unknown, "{parent}");
    }
    let refused = ann.place("child", "no id!", false).await.unwrap_err();
    assert_eq!(fields(&refused), ["parent"]);
    let refused = told(ann.place("child", "", true).await);
    assert_eq!(refused, ("NO_PARENT".to_owned(), metadata(&[("portfolio", "child")])));
    let stale = v1::MovePortfolioRequest {
        portfolio: "child".to_owned(),
        etag: "v1".to_owned(),
        ..Default::default()
    };
    let stale = ann.portfolios().move_portfolio(stale).await;
    assert_eq!(refusal(stale), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
}

#[tokio::test]
async fn inh_1_a_cycle_is_refused_and_named() {
    let server = server().await;
    let system = server.system();
    for link in [false, true] {
        let refused = told(system.place("space", "leaf", link).await);
        let cycle = metadata(&[("cycle", "space > leaf > child > space")]);
        assert_eq!(refused, ("PARENT_CYCLE".to_owned(), cycle));
        let refused = told(system.place("space", "space", link).await);
        assert_eq!(refused.1["cycle"], "space > space");
    }
    // Without those whom the actor may not list.
    system.add_member("leaf", "user:ben", "viewer").await.unwrap();
    system.set_role("space", "user:ben", "manager").await.unwrap();
    let refused = told(server.acting("user:ben").place("space", "leaf", false).await);
    assert_eq!(refused.1["cycle"], "space > leaf > space");
    // What was below a deleted one is at the top.
    system.delete("child").await.unwrap();
    assert_eq!(system.get_portfolio("leaf").await.unwrap().parent, "");
    system.place("space", "leaf", false).await.unwrap();
}

#[tokio::test]
async fn inh_1_two_moves_at_once_never_make_a_cycle() {
    let server = server().await;
    let twin = server.twin().await;
    server.given().in_organization("acme").portfolio("left").portfolio("right").await;
    let (here, there) = (server.system(), twin.system());
    for round in 0..20 {
        let link = round % 2 == 0;
        let (one, other) =
            tokio::join!(here.place("left", "right", link), there.place("right", "left", link));
        let refused = match (one, other) {
            (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
            both => panic!("{both:?}"),
        };
        assert_eq!(told::<()>(Err(refused)).0, "PARENT_CYCLE");
        for id in ["left", "right"] {
            here.place(id, "", false).await.unwrap();
        }
    }
}

#[tokio::test]
async fn inh_1_portfolios_are_nested_at_most_sixty_four_deep() {
    let server = server().await;
    let mut given = server.given().in_organization("acme").portfolio("p1");
    for n in 2..=64 {
        given = given.portfolio(&format!("p{n}")).below(&format!("p{}", n - 1));
    }
    given.await;
    let system = server.system();
    let refused = told(
        system.create(v1::Portfolio { parent: "p64".to_owned(), ..portfolio("p65", "ann") }).await,
    );
    assert_eq!(refused, ("NESTING_TOO_DEEP".to_owned(), metadata(&[("limit", "64")])));
    assert_eq!(told(system.place("space", "p62", false).await), refused, "three levels");
    system.place("space", "p61", false).await.unwrap();
}

#[tokio::test]
async fn vis_9_inh_6_what_is_linked_to_a_deleted_one_keeps_a_copy() {
    let server = server().await;
    let system = server.system();
    let given = server.given().in_organization("acme").portfolio("twin").owned_by("vic");
    given.below("space").linked().portfolio("apart").owned_by("vic").below("space").await;
    system.link("child").await.unwrap();
    system.link("leaf").await.unwrap();
    let left = ["child", "leaf", "twin", "apart"];
    let before = access(&server, &left, EVERYBODY).await;
    let deleted = server.acting("user:max").delete("space").await.unwrap();
    assert_eq!(deleted.state(), v1::PortfolioState::Deleted);
    assert_eq!(access(&server, &left, EVERYBODY).await, before);
    assert!(server.allows("user:sam", "access.manage", "child").await);
    for id in ["child", "twin", "apart"] {
        let found = system.get_portfolio(id).await.unwrap();
        assert_eq!((found.parent.as_str(), found.linked), ("", false), "{id}");
    }
    assert!(system.get_portfolio("leaf").await.unwrap().linked, "deeper ones follow");
    assert_eq!(system.settings_of("leaf").await.unwrap().settings_of, "child");
    // One that is linked itself, in the middle.
    system.link("leaf").await.expect_err("it is");
    let before = access(&server, &["leaf"], EVERYBODY).await;
    system.delete("child").await.unwrap();
    assert_eq!(access(&server, &["leaf"], EVERYBODY).await, before);
    let trail = "SELECT string_agg(object, ' ' ORDER BY object) FROM change_log \
                 WHERE what = 'access_settings.unlinked'";
    assert_eq!(texts(&server.database.url, trail).await, ["child leaf twin"]);
}
