//! Who owns a portfolio, and what becomes of one that nobody manages (MEM-12, MEM-6, VIS-1).

use portcullis::proto::v1;
use portcullis::proto::v1::{AccessState, AddMemberStatus, GrantSource, SiteRole};
use tonic::{Code, Status};

use crate::calls::{HOUR, adding, instant, now, number, texts};
use crate::harness::{TestServer, fields, refusal};

/// `ann` owns `roadmap`, `max` manages it, `vic` looks; `root` administers; `ben` and `cid` are at
/// home.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("root").administrator("root");
    let given = given.user("ann").user("max").user("ben").user("cid").user("vic").user("idle");
    let given = given.external("eve").external("guest").site_role("guest", SiteRole::Guest);
    let given = given.service_account("ci");
    let given = given.portfolio("roadmap").owned_by("ann").with_manager("max");
    given
        .with("user:vic", "viewer")
        .with("service_account:ci", "manager")
        .deactivated("idle")
        .await;
    server
}

fn missing() -> (Code, String) {
    (Code::PermissionDenied, "PERMISSION_MISSING".to_owned())
}

/// Role, ownership and source of each grant that has not ended, sorted.
async fn lasting(server: &TestServer, who: &str) -> Vec<(String, bool, GrantSource)> {
    let member = server.system().get_member("roadmap", who).await.expect("a member");
    let lasts = |grant: &v1::Grant| grant.state() != AccessState::Ended;
    let told = |grant: v1::Grant| (grant.role.clone(), grant.ownership, grant.source());
    let mut lasting: Vec<_> = member.grants.into_iter().filter(lasts).map(told).collect();
    lasting.sort_unstable_by_key(|(role, ownership, _)| (role.clone(), *ownership));
    lasting
}

fn manager(ownership: bool) -> (String, bool, GrantSource) {
    ("manager".to_owned(), ownership, GrantSource::Hand)
}

async fn changes(server: &TestServer) -> i64 {
    number(&server.database.url, "SELECT count(*) FROM change_log").await
}

#[tokio::test]
async fn mem_12_the_new_owner_manages_and_the_former_stays_a_manager() {
    let server = server().await;
    let ann = server.acting("user:ann");
    let before = ann.get_portfolio("roadmap").await.unwrap();
    let after = ann.transfer("roadmap", "ben").await.unwrap();
    assert_eq!((before.owner.as_str(), after.owner.as_str()), ("ann", "ben"));
    assert_eq!(after.author, before.author, "who created it stays");
    assert_ne!(after.etag, before.etag);
    assert_eq!(ann.get_portfolio("roadmap").await.unwrap(), after);
    assert_eq!(lasting(&server, "user:ben").await, [manager(true)]);
    assert_eq!(lasting(&server, "user:ann").await, [manager(false)]);
    for who in ["user:ann", "user:ben"] {
        assert!(server.allows(who, "access.manage", "roadmap").await, "{who}");
    }
    // It is the new owner who cannot be removed, and the former who cannot give it away.
    let owner = (Code::FailedPrecondition, "OWNER".to_owned());
    assert_eq!(refusal(ann.remove_member("roadmap", "user:ben").await), owner);
    assert_eq!(refusal(ann.transfer("roadmap", "max").await), missing());
    server.acting("user:ben").remove_member("roadmap", "user:ann").await.expect("a manager");
}

#[tokio::test]
async fn mem_12_what_else_the_new_owner_was_given_stays() {
    let server = server().await;
    let ann = server.acting("user:ann");
    let later = now(&server.database.url).await + HOUR;
    let to_come = v1::AddMembersRequest {
        start_time: Some(instant(later)),
        ..adding("roadmap", &["user:ben"], "assessor")
    };
    ann.add_members(to_come).await.unwrap();
    ann.transfer("roadmap", "ben").await.unwrap();
    let assessor = ("assessor".to_owned(), false, GrantSource::Hand);
    assert_eq!(lasting(&server, "user:ben").await, [assessor.clone(), manager(true)]);
    // Back, and to a manager by hand: nobody collects grants by it.
    let ben = server.acting("user:ben");
    ben.transfer("roadmap", "ann").await.unwrap();
    assert_eq!(lasting(&server, "user:ben").await, [assessor.clone(), manager(false)]);
    assert_eq!(lasting(&server, "user:ann").await, [manager(false), manager(true)]);
    for owner in ["max", "ann", "max", "ben", "ann"] {
        server.system().transfer("roadmap", owner).await.unwrap();
    }
    assert_eq!(lasting(&server, "user:max").await, [manager(false)]);
    assert_eq!(lasting(&server, "user:ben").await, [assessor, manager(false)]);
    assert_eq!(lasting(&server, "user:ann").await, [manager(false), manager(true)]);
}

#[tokio::test]
async fn mem_12_only_the_owner_and_administrators_decide_who_owns_it() {
    let server = server().await;
    let before = changes(&server).await;
    for who in ["user:max", "user:vic", "service_account:ci"] {
        let refused = server.acting(who).transfer("roadmap", "max").await;
        assert_eq!(refusal(refused), missing(), "{who}");
        let refused = server.acting(who).transfer("roadmap", "nobody").await;
        assert_eq!(refusal(refused), missing(), "{who} learns nothing of whom they name");
    }
    for who in ["user:ben", "user:eve", "user:nobody"] {
        let refused = server.acting(who).transfer("roadmap", "ben").await;
        assert_eq!(refusal(refused), (Code::NotFound, "PORTFOLIO_NOT_FOUND".to_owned()), "{who}");
    }
    assert_eq!(changes(&server).await, before);
    server.acting("user:ann").transfer("roadmap", "max").await.unwrap();
    // To others, and to themselves (DIR-7).
    for owner in ["ben", "root"] {
        server.acting("user:root").transfer("roadmap", owner).await.unwrap();
    }
    server.acting("user:root").transfer("roadmap", "cid").await.unwrap();
    server.system().transfer("roadmap", "ann").await.unwrap();
    let trail = "SELECT concat_ws(' ', what, subject, actor, as_administrator, \
                 after #>> '{0,role}', after #>> '{0,ownership}') \
                 FROM change_log WHERE what = 'ownership.transferred' ORDER BY shard, sequence";
    let expected = [
        "ownership.transferred user:max user:ann f manager true",
        "ownership.transferred user:ben user:root t manager true",
        "ownership.transferred user:root user:root t manager true",
        // As the owner, which nobody has to be excepted for.
        "ownership.transferred user:cid user:root f manager true",
        "ownership.transferred user:ann system f manager true",
    ];
    assert_eq!(texts(&server.database.url, trail).await, expected);
    let trail = "SELECT concat_ws(' ', subject, before #>> '{0,ownership}', after #>> '{0,role}', \
                 after #>> '{0,ownership}') \
                 FROM change_log WHERE what = 'member.updated' ORDER BY shard, sequence LIMIT 1";
    assert_eq!(texts(&server.database.url, trail).await, ["user:ann true manager false"]);
}

#[tokio::test]
async fn mem_12_an_owner_is_active_and_internal() {
    let server = server().await;
    let before = changes(&server).await;
    for client in [server.acting("user:ann"), server.acting("user:root"), server.system()] {
        for (owner, code, reason) in [
            ("eve", Code::FailedPrecondition, "NOT_ELIGIBLE"),
            ("guest", Code::FailedPrecondition, "NOT_ELIGIBLE"),
            ("idle", Code::FailedPrecondition, "USER_DEACTIVATED"),
            ("nobody", Code::NotFound, "USER_NOT_FOUND"),
        ] {
            let refused = client.transfer("roadmap", owner).await;
            assert_eq!(refusal(refused), (code, reason.to_owned()), "{owner}");
        }
        // Whoever owns it already goes on doing so.
        assert_eq!(client.transfer("roadmap", "ann").await.unwrap().owner, "ann");
    }
    assert_eq!(changes(&server).await, before, "nothing was written");
    assert_eq!(lasting(&server, "user:ann").await.len(), 1);
    // A site role makes internal.
    server.system().set_site_role("acme", "eve", SiteRole::Viewer).await;
    server.acting("user:ann").transfer("roadmap", "eve").await.expect("internal now");
}

#[tokio::test]
async fn mem_12_mem_6_an_administrator_gives_it_to_another_when_the_owner_is_gone() {
    let server = server().await;
    let (system, root) = (server.system(), server.acting("user:root"));
    for who in ["ann", "max"] {
        system.deactivate(who).await;
    }
    assert_eq!(root.unmanaged("acme").await.unwrap(), ["roadmap"]);
    assert_eq!(refusal(root.transfer("roadmap", "ann").await).1, "USER_DEACTIVATED");
    root.transfer("roadmap", "ben").await.unwrap();
    assert_eq!(root.unmanaged("acme").await.unwrap(), [""; 0]);
    // Deactivation keeps grants (DIR-1): the former owner comes back as a manager.
    assert_eq!(lasting(&server, "user:ann").await, [manager(false)]);
    system.reactivate("ann").await;
    assert!(server.allows("user:ann", "members.invite", "roadmap").await);
    // An account that is deleted leaves no owner (DIR-9).
    let delete = v1::DeleteUserRequest {
        user: "ben".to_owned(),
        confirm_user: "ben".to_owned(),
        ..Default::default()
    };
    system.directory().delete_user(delete).await.unwrap();
    assert_eq!(root.get_portfolio("roadmap").await.unwrap().owner, "");
    assert_eq!(refusal(server.acting("user:ann").transfer("roadmap", "ann").await), missing());
    assert_eq!(root.transfer("roadmap", "cid").await.unwrap().owner, "cid");
    assert_eq!(lasting(&server, "user:cid").await, [manager(true)]);
}

#[tokio::test]
async fn mem_6_dir_7_an_archived_portfolio_that_nobody_manages_is_restored_by_an_administrator() {
    let server = server().await;
    let root = server.acting("user:root");
    server.given().in_organization("acme").portfolio("a").owned_by("ben").await;
    server.acting("user:ben").archive("a").await.unwrap();
    let missing = (Code::PermissionDenied, "PERMISSION_MISSING".to_owned());
    assert_eq!(refusal(root.restore("a").await), missing, "whoever manages it decides");
    server.system().deactivate("ben").await;
    root.restore("a").await.unwrap();
    assert_eq!(root.unmanaged("acme").await.unwrap(), ["a"]);
    let trail = "SELECT what FROM change_log WHERE actor = 'user:root' AND as_administrator";
    assert_eq!(texts(&server.database.url, trail).await, ["portfolio.restored"]);
}

#[tokio::test]
async fn mem_6_dir_7_an_unmanaged_portfolio_gets_a_manager_or_is_deleted() {
    let server = server().await;
    let (system, root) = (server.system(), server.acting("user:root"));
    let given = server.given().in_organization("acme");
    let given = given.portfolio("a").owned_by("ben").portfolio("b").owned_by("ben");
    given.portfolio("c").owned_by("ben").portfolio("d").owned_by("ben").await;
    assert_eq!(root.unmanaged("acme").await.unwrap(), [""; 0]);
    system.deactivate("ben").await;
    assert_eq!(root.unmanaged("acme").await.unwrap(), ["a", "b", "c", "d"]);
    let outcome = root.add_member("a", "user:root", "manager").await.unwrap();
    assert_eq!(outcome.status(), AddMemberStatus::Added, "themselves");
    assert_eq!(root.unmanaged("acme").await.unwrap(), ["b", "c", "d"]);
    root.add_member("b", "user:cid", "manager").await.unwrap();
    assert_eq!(root.unmanaged("acme").await.unwrap(), ["c", "d"]);
    root.transfer("c", "root").await.unwrap();
    assert_eq!(root.unmanaged("acme").await.unwrap(), ["d"]);
    root.delete("d").await.unwrap();
    assert_eq!(root.unmanaged("acme").await.unwrap(), [""; 0]);
    // Less than a manager without an end is no remedy.
    system.deactivate("cid").await;
    root.add_member("b", "user:vic", "contributor").await.unwrap();
    assert_eq!(root.unmanaged("acme").await.unwrap(), ["b"]);
    let trail = "SELECT what || ' ' || object FROM change_log \
                 WHERE actor = 'user:root' AND as_administrator ORDER BY shard, sequence";
    let expected = [
        "member.added a",
        "member.added b",
        "member.updated c",
        "ownership.transferred c",
        "portfolio.deleted d",
        "member.added b",
    ];
    assert_eq!(texts(&server.database.url, trail).await, expected);
    // As managers they may remove whoever is gone, the owner too.
    root.remove_member("a", "user:ben").await.expect("deactivated");
}

#[tokio::test]
async fn vis_1_a_refusal_for_the_owners_sake_says_what_to_do() {
    let server = server().await;
    let refused: Status = server
        .acting("user:max")
        .remove_member("roadmap", "user:ann")
        .await
        .expect_err("the owner");
    assert!(refused.message().contains("TransferOwnership"), "{}", refused.message());
    server.acting("user:ann").transfer("roadmap", "max").await.unwrap();
    server.acting("user:max").remove_member("roadmap", "user:ann").await.expect("as it said");
}

#[tokio::test]
async fn mem_12_bad_1_bad_3_etags_retries_and_nonsense() {
    let server = server().await;
    let ann = server.acting("user:ann");
    let old = ann.get_portfolio("roadmap").await.unwrap().etag;
    ann.set_visibility("roadmap", v1::Visibility::Open).await.unwrap();
    let request = v1::TransferOwnershipRequest {
        request_id: "once".to_owned(),
        portfolio: "roadmap".to_owned(),
        new_owner: "ben".to_owned(),
        etag: old,
    };
    let stale = ann.portfolios().transfer_ownership(request.clone()).await;
    assert_eq!(refusal(stale), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
    let etag = ann.get_portfolio("roadmap").await.unwrap().etag;
    let request = v1::TransferOwnershipRequest { etag, ..request };
    let once = ann.portfolios().transfer_ownership(request.clone()).await.unwrap().into_inner();
    // No owner any more, and still told the same.
    let again = ann.portfolios().transfer_ownership(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, once);
    let other = v1::TransferOwnershipRequest { new_owner: "cid".to_owned(), ..request.clone() };
    let reused = ann.portfolios().transfer_ownership(other).await;
    assert_eq!(refusal(reused), (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned()));
    let nonsense = v1::TransferOwnershipRequest {
        request_id: String::new(),
        portfolio: "no id".to_owned(),
        new_owner: String::new(),
        etag: "ä".repeat(200),
    };
    let status = ann.portfolios().transfer_ownership(nonsense).await.unwrap_err();
    assert_eq!(fields(&status), ["portfolio", "new_owner", "etag"]);
}
