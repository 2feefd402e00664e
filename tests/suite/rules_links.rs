//! Portfolios whose access settings are their parent's (INH-1 to INH-3).

use portcullis::proto::v1;
use portcullis::proto::v1::Visibility;
use tonic::{Code, Status};

use crate::calls::{HOUR, adding, now, number, portfolio};
use crate::harness::{Client, reason, refusal};
use crate::linked::{EVERYBODY, access, metadata, server, told};

#[tokio::test]
async fn inh_1_a_linked_portfolio_has_its_parents_settings_level_by_level() {
    let server = server().await;
    let (max, system) = (server.acting("user:max"), server.system());
    let before = max.get_portfolio("child").await.unwrap();
    assert_eq!((before.parent.as_str(), before.linked), ("space", false));
    let linked = max.link("child").await.unwrap();
    assert!(linked.linked && linked.etag != before.etag);
    assert_eq!(max.get_portfolio("child").await.unwrap(), linked);
    system.link("leaf").await.unwrap();
    for below in ["child", "leaf"] {
        for (who, permission, allowed) in [
            ("user:ben", "initiative.edit", true),
            ("user:ben", "access.manage", false),
            ("user:cid", "portfolio.view", true),
            ("user:sam", "access.manage", true),
            ("user:max", "access.manage", true),
            ("user:vic", "portfolio.view", false),
            ("user:dan", "portfolio.view", false),
            ("user:idle", "portfolio.view", false),
        ] {
            let is = server.allows(who, permission, below).await;
            assert_eq!(is, allowed, "{who} {permission} {below}");
        }
    }
    // Whatever becomes of the settings further up.
    system.add_member("space", "user:idle", "viewer").await.unwrap();
    system.remove_member("space", "user:ben").await.unwrap();
    for below in ["child", "leaf"] {
        assert!(server.allows("user:idle", "portfolio.view", below).await);
        assert!(!server.allows("user:ben", "portfolio.view", below).await);
        assert!(!server.allows("user:vic", "portfolio.view", below).await);
    }
    system.set_visibility("space", Visibility::Open).await.unwrap();
    system.set_access_role("space", "contributor").await.unwrap();
    for below in ["child", "leaf"] {
        assert!(server.allows("user:vic", "initiative.edit", below).await);
        assert!(!server.allows("user:eve", "portfolio.view", below).await);
        let found = system.get_portfolio(below).await.unwrap();
        assert_eq!((found.visibility(), found.linked), (Visibility::Open, true));
        let settings = system.settings_of(below).await.unwrap();
        assert_eq!(settings.visibility(), Visibility::Open);
        assert_eq!(settings.organization_access_role, "contributor");
        assert_eq!((settings.linked, settings.settings_of.as_str()), (true, "space"));
    }
    let own = system.settings_of("space").await.unwrap();
    assert_eq!((own.linked, own.settings_of.as_str()), (false, ""));
}

#[tokio::test]
async fn inh_1_what_cannot_be_linked_is_refused_by_name() {
    let server = server().await;
    let system = server.system();
    let refused = told(system.link("space").await);
    assert_eq!(refused, ("NO_PARENT".to_owned(), metadata(&[("portfolio", "space")])));
    let refused = told(system.unlink("child", false).await);
    assert_eq!(refused, ("NOT_LINKED".to_owned(), metadata(&[("portfolio", "child")])));
    system.link("child").await.unwrap();
    let refused = told(system.link("child").await);
    assert_eq!(refused, ("ALREADY_LINKED".to_owned(), metadata(&[("portfolio", "child")])));
    system.delete("space").await.unwrap();
    for refused in [told(system.link("child").await), told(system.compare("child").await)] {
        assert_eq!(refused, ("PARENT_DELETED".to_owned(), metadata(&[("portfolio", "child")])));
    }
    let unknown = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    assert_eq!(refusal(system.link("nowhere").await), unknown);
    assert_eq!(refusal(system.link("space").await), unknown);
    let orphan = v1::Portfolio { linked: true, ..portfolio("orphan", "ann") };
    assert_eq!(told(system.create(orphan).await), ("NO_PARENT".to_owned(), metadata(&[])));
    let stale = v1::LinkAccessSettingsRequest {
        portfolio: "leaf".to_owned(),
        etag: "v7".to_owned(),
        ..Default::default()
    };
    let stale = system.settings().link_access_settings(stale).await;
    assert_eq!(refusal(stale), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
}

/// A parent whom the actor may not list is none (VIS-4): by what they read and by what they try.
#[tokio::test]
async fn inh_1_vis_4_a_parent_that_one_may_not_list_is_none() {
    let server = server().await;
    let ann = server.acting("user:ann");
    assert_eq!(ann.get_portfolio("child").await.unwrap().parent, "");
    let refused = told(ann.link("child").await);
    assert_eq!(refused, ("NO_PARENT".to_owned(), metadata(&[("portfolio", "child")])));
    assert_eq!(told(ann.compare("child").await), refused);
    let listed = ann.list("acme", v1::PortfolioView::Unspecified).await.unwrap();
    let parents: Vec<_> = listed.iter().map(|row| row.portfolio.clone().unwrap().parent).collect();
    assert_eq!(parents, [""]);
    let listed = server.acting("user:max").list("acme", v1::PortfolioView::Mine).await.unwrap();
    let parents: Vec<_> = listed.iter().map(|row| row.portfolio.clone().unwrap().parent).collect();
    assert_eq!(parents, ["space", ""]);
    server.system().link("child").await.unwrap();
    let settings = ann.settings_of("child").await.unwrap();
    assert_eq!((settings.linked, settings.settings_of.as_str()), (true, ""));
    // In a list as by itself: what is in effect.
    server.system().set_visibility("space", Visibility::Restricted).await.unwrap();
    let vic = server.acting("user:vic");
    let listed = vic.list("acme", v1::PortfolioView::Unspecified).await.unwrap();
    let found = |id: &str| {
        let rows = listed.iter().filter_map(|row| row.portfolio.clone());
        rows.into_iter().find(|portfolio| portfolio.id == id).unwrap()
    };
    assert_eq!(found("child").visibility(), Visibility::Restricted);
    assert_eq!(found("child").parent, "space");
    let read = vic.get_portfolio("child").await.unwrap();
    assert_eq!(found("child"), read);
}

#[tokio::test]
async fn inh_1_there_are_at_most_sixteen_links_in_a_row() {
    let server = server().await;
    let mut given = server.given().in_organization("acme").portfolio("p0").owned_by("sam");
    for n in 1..=16 {
        let (id, parent) = (format!("p{n}"), format!("p{}", n - 1));
        given = given.portfolio(&id).owned_by("lea").below(&parent).linked();
    }
    given.await;
    assert!(server.allows("user:sam", "access.manage", "p16").await);
    let system = server.system();
    let new =
        |linked| v1::Portfolio { parent: "p16".to_owned(), linked, ..portfolio("p17", "ann") };
    let (reason, told_of) = told(system.create(new(true)).await);
    assert_eq!((reason.as_str(), told_of["limit"].as_str()), ("LINK_TOO_DEEP", "16"));
    assert!(
        told_of["chain"].starts_with("p17 > p16 > p15 > ") && told_of["chain"].ends_with("> p0")
    );
    system.create(new(false)).await.unwrap();
    assert_eq!(told(system.link("p17").await).0, "LINK_TOO_DEEP");
    // What is linked to it counts as well.
    system.unlink("p8", false).await.unwrap();
    system.link("p17").await.unwrap();
    assert_eq!(told(system.link("p8").await).0, "LINK_TOO_DEEP");
    assert_eq!(told(system.place("p8", "p7", true).await).0, "LINK_TOO_DEEP");
    system.place("p8", "p6", true).await.unwrap();
    assert!(server.allows("user:sam", "access.manage", "p17").await);
}

#[tokio::test]
async fn inh_2_the_owners_on_the_way_stay_managers() {
    let server = server().await;
    let system = server.system();
    system.link("child").await.unwrap();
    system.link("leaf").await.unwrap();
    for (who, child, leaf) in [("user:ann", true, true), ("user:lea", false, true)] {
        assert_eq!(server.allows(who, "access.manage", "child").await, child, "{who}");
        assert_eq!(server.allows(who, "access.manage", "leaf").await, leaf, "{who}");
        assert!(!server.allows(who, "portfolio.view", "space").await, "{who}");
    }
    // Ownership is the portfolio's own, and stays to be handed over.
    server.acting("user:ann").transfer("child", "vic").await.unwrap();
    for below in ["child", "leaf"] {
        assert!(server.allows("user:vic", "access.manage", below).await);
        assert!(!server.allows("user:ann", "portfolio.view", below).await, "it is suspended");
    }
    system.unlink("child", true).await.unwrap();
    assert!(server.allows("user:ann", "access.manage", "child").await, "a manager by hand");
}

/// Calls that would change settings or members, each by its name.
async fn changes(client: &Client, id: &str, later: i64) -> Vec<(&'static str, Status)> {
    let refused = |answer: Result<v1::Member, Status>| answer.expect_err("refused");
    vec![
        ("visibility", client.set_visibility(id, Visibility::Open).await.expect_err("refused")),
        ("openness", client.set_access_role(id, "viewer").await.expect_err("refused")),
        ("add", client.add_member(id, "user:idle", "viewer").await.expect_err("refused")),
        ("nobody", client.add_members(adding(id, &["user:x"], "x")).await.expect_err("refused")),
        ("role", refused(client.set_role(id, "user:ben", "viewer").await)),
        ("end", refused(client.set_end(id, "user:vic", Some(later)).await)),
        ("remove", client.remove_member(id, "user:max").await.expect_err("refused")),
    ]
}

#[tokio::test]
async fn inh_3_what_would_change_settings_or_members_names_the_portfolio_to_use() {
    let server = server().await;
    let later = now(&server.database.url).await + HOUR;
    server.system().link("child").await.unwrap();
    server.system().link("leaf").await.unwrap();
    let before = access(&server, &["space", "child", "leaf"], EVERYBODY).await;
    let log = "SELECT count(*) FROM change_log";
    let written = number(&server.database.url, log).await;
    for id in ["child", "leaf"] {
        for client in [server.system(), server.acting("user:max"), server.acting("user:sam")] {
            for (name, status) in changes(&client, id, later).await {
                let used = metadata(&[("portfolio", "space")]);
                assert_eq!(told::<()>(Err(status)), ("SETTINGS_LINKED".to_owned(), used), "{name}");
            }
        }
        // Who may not list that portfolio is not told which it is.
        for (name, status) in changes(&server.acting("user:ann"), id, later).await {
            assert!(!status.message().contains("space"), "{status:?}");
            let nothing = metadata(&[]);
            assert_eq!(told::<()>(Err(status)), ("SETTINGS_LINKED".to_owned(), nothing), "{name}");
        }
        for (name, status) in changes(&server.acting("user:ben"), id, later).await {
            assert_eq!(reason(&status), "PERMISSION_MISSING", "{name}");
        }
        for (name, status) in changes(&server.acting("user:vic"), id, later).await {
            assert_eq!(reason(&status), "PORTFOLIO_NOT_FOUND", "{name}");
        }
    }
    assert_eq!(number(&server.database.url, log).await, written);
    assert_eq!(access(&server, &["space", "child", "leaf"], EVERYBODY).await, before);
}

/// Being archived is the portfolio's own, and told first (VIS-8).
#[tokio::test]
async fn inh_1_vis_8_an_archived_portfolio_is_neither_linked_nor_unlinked() {
    let server = server().await;
    let (max, system) = (server.acting("user:max"), server.system());
    system.archive("space").await.unwrap();
    max.link("child").await.expect("nothing changes in the parent");
    assert!(server.allows("user:ben", "initiative.edit", "child").await);
    assert!(!server.allows("user:ben", "initiative.edit", "space").await);
    system.archive("child").await.unwrap();
    let archived = (Code::FailedPrecondition, "ARCHIVED".to_owned());
    for client in [&max, &system] {
        assert_eq!(refusal(client.unlink("child", false).await), archived);
        assert_eq!(refusal(client.unlink("child", true).await), archived);
        assert_eq!(refusal(client.place("child", "", false).await), archived);
        assert_eq!(refusal(client.add_member("child", "user:vic", "viewer").await), archived);
    }
    assert!(max.compare("child").await.unwrap().linked, "looking stays");
    let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
    assert_eq!(refusal(server.acting("user:ben").unlink("child", false).await), missing);
}

#[tokio::test]
async fn inh_1_only_who_manages_access_links_and_unlinks() {
    let server = server().await;
    let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
    let unknown = (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned());
    let vic = server.acting("user:vic");
    for client in [&vic, &server.acting("user:root"), &server.acting("user:dan")] {
        assert_eq!(refusal(client.link("child").await), missing);
        assert_eq!(refusal(client.compare("child").await), missing);
    }
    assert_eq!(refusal(server.acting("user:ben").link("child").await), unknown);
    // Who manages the child sees the parent, but not its members.
    let sql = "INSERT INTO roles VALUES ('acme', 'visitor', 'Visitor');
               INSERT INTO role_permissions VALUES ('acme', 'visitor', 'portfolio.view', 'any')";
    crate::calls::execute(&server.database.url, sql).await;
    server.system().add_member("space", "user:ann", "visitor").await.unwrap();
    let ann = server.acting("user:ann");
    for refused in [told(ann.link("child").await), told(ann.compare("child").await)] {
        let what = [("permission", "members.view"), ("portfolio", "space")];
        assert_eq!(refused, ("PERMISSION_MISSING".to_owned(), metadata(&what)));
    }
    server.system().link("child").await.unwrap();
    assert_eq!(refusal(vic.unlink("child", false).await), unknown);
    assert_eq!(refusal(server.acting("user:ben").unlink("child", false).await), missing);
    ann.unlink("child", false).await.expect("needs nothing of the parent");
}
