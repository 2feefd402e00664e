//! Changing and removing members; there is always a manager (MEM-5, MEM-6, MEM-9).

use portcullis::proto::v1;
use portcullis::proto::v1::add_members_request::End;
use portcullis::proto::v1::remaining_route::Route;
use portcullis::proto::v1::{AccessState, AddMemberStatus, ErrorReason, SiteRole};
use tonic::Code;

use crate::calls::{HOUR, adding, execute, instant, member, now, number, refused, service_account};
use crate::harness::{TestServer, fields, refusal};

/// `ann` manages `roadmap`, whose owner is deactivated; `ben` and `cid` are at home.
async fn server() -> TestServer {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben").user("cid");
    let given = given.group("core", &["user:ben"]).group("all", &["group:core"]);
    given.portfolio("roadmap").with_manager("ann").deactivated("acme-owner").await;
    server
}

fn last_manager() -> (Code, String) {
    (Code::FailedPrecondition, "LAST_MANAGER".to_owned())
}

#[tokio::test]
async fn mem_5_a_removal_ends_all_direct_grants_and_names_what_remains() {
    let server = server().await;
    let time = now(&server.database.url).await;
    let ann = server.acting("user:ann");
    let later = v1::AddMembersRequest {
        start_time: Some(instant(time + HOUR)),
        ..adding("roadmap", &["user:cid"], "viewer")
    };
    ann.add_members(later).await.unwrap();
    for (who, role) in [("user:ben", "viewer"), ("group:core", "viewer"), ("group:all", "assessor")]
    {
        ann.add_member("roadmap", who, role).await.unwrap();
    }
    ann.set_visibility("roadmap", v1::Visibility::Open).await.unwrap();
    let removed = ann.remove_member("roadmap", "user:ben").await.unwrap();
    let routes: Vec<_> = removed
        .remaining_routes
        .into_iter()
        .map(|left| (left.route.expect("a route"), left.role))
        .collect();
    let expected = [
        (Route::Group("all".into()), "assessor".to_owned()),
        (Route::Group("core".into()), "viewer".to_owned()),
        (Route::OrganizationAccess(true), "viewer".to_owned()),
    ];
    assert_eq!(routes, expected);
    assert!(server.allows("user:ben", "portfolio.view", "roadmap").await, "by what remains");
    // What is to come ends too.
    let cid = ann.remove_member("roadmap", "user:cid").await.unwrap();
    assert_eq!(cid.member.unwrap().state(), AccessState::Ended);
    ann.set_visibility("roadmap", v1::Visibility::Private).await.unwrap();
    let system = server.system();
    let later = system.check_at("user:cid", "portfolio.view", "roadmap", time + HOUR + 1).await;
    assert!(!later.unwrap().allowed);
    // Without its groups nothing remains.
    for group in ["group:core", "group:all"] {
        assert!(ann.remove_member("roadmap", group).await.unwrap().remaining_routes.len() < 2);
    }
    assert!(!server.allows("user:ben", "portfolio.view", "roadmap").await);
}

#[tokio::test]
async fn mem_5_who_is_no_member_cannot_be_changed_or_removed() {
    let server = server().await;
    let ann = server.acting("user:ann");
    ann.add_member("roadmap", "user:ben", "viewer").await.unwrap();
    ann.remove_member("roadmap", "user:ben").await.unwrap();
    let missing = (Code::NotFound, "MEMBER_NOT_FOUND".to_owned());
    for who in ["user:ben", "user:cid", "user:nobody", "group:core"] {
        assert_eq!(refusal(ann.remove_member("roadmap", who).await), missing, "{who}");
        assert_eq!(refusal(ann.set_role("roadmap", who, "viewer").await), missing, "{who}");
    }
}

#[tokio::test]
async fn mem_5_an_update_leaves_one_grant_and_keeps_the_latest_end() {
    let server = server().await;
    let time = now(&server.database.url).await;
    let ann = server.acting("user:ann");
    let until = |end: i64| v1::AddMembersRequest {
        end: Some(End::ExpireTime(instant(end))),
        ..adding("roadmap", &["user:ben"], "viewer")
    };
    ann.add_members(until(time + HOUR)).await.unwrap();
    let longer = "INSERT INTO grants (id, portfolio, organization, subject_kind, subject_id, role,
            source, ownership, create_time, expire_time)
        SELECT gen_random_uuid(), portfolio, organization, subject_kind, subject_id, 'assessor',
            source, ownership, create_time, expire_time + interval '1 hour'
        FROM grants WHERE subject_id = 'ben'";
    execute(&server.database.url, longer).await;
    let vague = ann.set_end("roadmap", "user:ben", Some(time + 9 * HOUR)).await.unwrap_err();
    assert_eq!(fields(&vague), ["role"], "of several roles one has to be named");
    let updated = ann.set_role("roadmap", "user:ben", "contributor").await.unwrap();
    let lasting = |member: &v1::Member| -> Vec<v1::Grant> {
        let lasts = |grant: &&v1::Grant| grant.state() != AccessState::Ended;
        member.grants.iter().filter(lasts).cloned().collect()
    };
    let [grant] = &lasting(&updated)[..] else { panic!("{updated:?}") };
    assert_eq!(grant.role, "contributor");
    assert_eq!(grant.expire_time, Some(instant(time + 2 * HOUR)), "the latest");
    // Told otherwise, it is otherwise; the role stays.
    let shorter = ann.set_end("roadmap", "user:ben", Some(time + HOUR)).await.unwrap();
    assert_eq!(lasting(&shorter)[0].expire_time, Some(instant(time + HOUR)));
    let endless = ann.set_end("roadmap", "user:ben", None).await.unwrap();
    let [grant] = &lasting(&endless)[..] else { panic!("{endless:?}") };
    assert_eq!((grant.role.as_str(), &grant.expire_time), ("contributor", &None));
    // What is so already changes nothing.
    let log = "SELECT count(*) FROM change_log";
    let before = number(&server.database.url, log).await;
    assert_eq!(ann.set_role("roadmap", "user:ben", "contributor").await.unwrap(), endless);
    assert_eq!(number(&server.database.url, log).await, before);
}

#[tokio::test]
async fn mem_5_an_etag_and_an_end_are_looked_at() {
    let server = server().await;
    let ann = server.acting("user:ann");
    ann.add_member("roadmap", "user:ben", "viewer").await.unwrap();
    let etag = ann.get_member("roadmap", "user:ben").await.unwrap().etag;
    ann.set_role("roadmap", "user:ben", "assessor").await.unwrap();
    let stale = v1::UpdateMemberRequest {
        role: "contributor".to_owned(),
        etag,
        ..member("roadmap", "user:ben")
    };
    let changed = (Code::Aborted, "ETAG_MISMATCH".to_owned());
    assert_eq!(refusal(ann.update_member(stale.clone()).await), changed);
    let fresh = ann.get_member("roadmap", "user:ben").await.unwrap().etag;
    ann.update_member(v1::UpdateMemberRequest { etag: fresh, ..stale }).await.expect("seen");
    let past = ann.set_end("roadmap", "user:ben", Some(1_000)).await.unwrap_err();
    assert_eq!(fields(&past), ["expire_time"]);
    let unknown = ann.set_role("roadmap", "user:ben", "captain").await;
    assert_eq!(refusal(unknown), (Code::NotFound, "ROLE_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn mem_6_the_last_manager_is_not_removed_demoted_or_given_an_end() {
    let server = server().await;
    let later = now(&server.database.url).await + HOUR;
    for client in [server.acting("user:ann"), server.system()] {
        assert_eq!(refusal(client.remove_member("roadmap", "user:ann").await), last_manager());
        let demoted = client.set_role("roadmap", "user:ann", "contributor").await;
        assert_eq!(refusal(demoted), last_manager());
        let ended = client.set_end("roadmap", "user:ann", Some(later)).await;
        assert_eq!(refusal(ended), last_manager());
    }
    assert!(server.allows("user:ann", "members.remove", "roadmap").await);
    // Deleting the portfolio is another matter, and so is somebody who takes over.
    let ann = server.acting("user:ann");
    ann.add_member("roadmap", "user:ben", "manager").await.unwrap();
    ann.set_role("roadmap", "user:ann", "contributor").await.expect("ben manages");
    let ben = server.acting("user:ben");
    assert_eq!(refusal(ben.remove_member("roadmap", "user:ben").await), last_manager());
    ben.delete("roadmap").await.expect("deletes it");
}

/// Each of these holds everything that a manager holds, and is none who lasts.
#[tokio::test]
async fn mem_6_groups_programs_the_deactivated_the_ending_and_those_to_come_do_not_count() {
    let server = server().await;
    let url = &server.database.url;
    service_account(url, "ci").await;
    let time = now(url).await;
    let system = server.system();
    let manager = |who: &'static str| adding("roadmap", &[who], "manager");
    system.add_members(manager("group:core")).await.unwrap();
    system.add_members(manager("service_account:ci")).await.unwrap();
    let ending = Some(End::ExpireTime(instant(time + HOUR)));
    system.add_members(v1::AddMembersRequest { end: ending, ..manager("user:ben") }).await.unwrap();
    let start_time = Some(instant(time + HOUR));
    let to_come = v1::AddMembersRequest { start_time, ..manager("user:cid") };
    system.add_members(to_come).await.unwrap();
    assert_eq!(refusal(system.remove_member("roadmap", "user:ann").await), last_manager());
    // One who lasts is enough, and no longer when deactivated.
    system.set_end("roadmap", "user:ben", None).await.unwrap();
    system.deactivate("ben").await;
    assert_eq!(refusal(system.remove_member("roadmap", "user:ann").await), last_manager());
    system.reactivate("ben").await;
    system.remove_member("roadmap", "user:ann").await.expect("ben manages");
}

#[tokio::test]
async fn mem_6_an_external_manager_counts() {
    let server = server().await;
    let system = server.system();
    server.given().external("eve").await;
    system.set_site_role("acme", "eve", SiteRole::Viewer).await;
    system.add_member("roadmap", "user:eve", "manager").await.unwrap();
    system.set_site_role("acme", "eve", SiteRole::Guest).await;
    system.remove_member("roadmap", "user:ann").await.expect("eve manages");
    assert_eq!(refusal(system.remove_member("roadmap", "user:eve").await), last_manager());
}

#[tokio::test]
async fn mem_6_a_deactivated_owner_may_go_and_an_unmanaged_portfolio_goes_on() {
    let server = server().await;
    let system = server.system();
    system.remove_member("roadmap", "user:acme-owner").await.expect("deactivated");
    // What cannot be refused leaves the portfolio unmanaged, and blocks nothing.
    system.deactivate("ann").await;
    system.add_member("roadmap", "user:ben", "contributor").await.expect("goes on");
    assert!(server.allows("user:ben", "initiative.edit", "roadmap").await);
    system.set_visibility("roadmap", v1::Visibility::Open).await.expect("goes on");
    system.remove_member("roadmap", "user:ann").await.expect("is no manager any more");
    let named = system.add_member("roadmap", "user:cid", "manager").await.unwrap();
    assert_eq!(named.status(), AddMemberStatus::Added);
}

#[tokio::test]
async fn mem_9_nobody_prolongs_their_own_access() {
    let server = server().await;
    let time = now(&server.database.url).await;
    let system = server.system();
    let until = |who: &'static str, end: i64| v1::AddMembersRequest {
        end: Some(End::ExpireTime(instant(end))),
        ..adding("roadmap", &[who], "manager")
    };
    // Ben manages until then, and is in `core`, which is in `all`.
    system.add_members(until("user:ben", time + HOUR)).await.unwrap();
    let ben = server.acting("user:ben");
    let prolonged = (Code::PermissionDenied, "OWN_ACCESS_PROLONGED".to_owned());
    for end in [None, Some(time + 2 * HOUR)] {
        assert_eq!(refusal(ben.set_end("roadmap", "user:ben", end).await), prolonged);
    }
    // Not through a group either, not with less, not by changing its grant.
    for role in ["manager", "viewer"] {
        for group in ["group:core", "group:all"] {
            let outcome = ben.add_member("roadmap", group, role).await.unwrap();
            assert_eq!(refused(&outcome), Some(ErrorReason::OwnAccessProlonged), "{group}");
        }
    }
    ben.add_members(until("group:core", time + HOUR)).await.unwrap();
    assert_eq!(refusal(ben.set_end("roadmap", "group:core", None).await), prolonged);
    // Less, or less long, may be; others may be given what one has not oneself.
    ben.set_end("roadmap", "user:ben", Some(time + HOUR / 2)).await.expect("shorter");
    let cid = ben.add_member("roadmap", "user:cid", "manager").await.unwrap();
    assert_eq!(cid.status(), AddMemberStatus::Added);
    let end = server.system().check("user:ben", "members.invite", "roadmap").await.unwrap();
    assert_eq!(end.hold_until, Some(instant(time + HOUR)), "as long as before");
    server.acting("user:cid").set_end("roadmap", "user:ben", None).await.expect("another may");
}

#[tokio::test]
async fn mem_9_who_holds_it_without_an_end_by_another_way_prolongs_nothing() {
    let server = server().await;
    let time = now(&server.database.url).await;
    let system = server.system();
    let end = Some(End::ExpireTime(instant(time + HOUR)));
    let request = v1::AddMembersRequest { end, ..adding("roadmap", &["user:ben"], "contributor") };
    system.add_members(request).await.unwrap();
    system.add_member("roadmap", "group:core", "manager").await.unwrap();
    let ben = server.acting("user:ben");
    ben.set_end("roadmap", "user:ben", None).await.expect("holds it through the group anyway");
}
