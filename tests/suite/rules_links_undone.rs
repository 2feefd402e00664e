//! Unlinking (INH-4), and what binds replacing all settings at once (INH-5, ROL-7, MEM-6, MEM-9).

use portcullis::proto::v1;
use portcullis::proto::v1::Visibility;
use tonic::Code;

use crate::calls::{HOUR, adding, execute, instant, now, texts};
use crate::harness::{TestServer, refusal, subject};
use crate::linked::{EVERYBODY, access, metadata, server, told};

const ALL: &[&str] = &["space", "child", "leaf"];

#[tokio::test]
async fn inh_4_nobody_gains_or_loses_by_unlinking_with_a_copy() {
    let server = server().await;
    let (url, system) = (&server.database.url, server.system());
    let later = now(url).await + HOUR;
    system.set_visibility("space", Visibility::Open).await.unwrap();
    system.set_access_role("space", "contributor").await.unwrap();
    let dated = v1::AddMembersRequest {
        start_time: Some(instant(later)),
        end: Some(v1::add_members_request::End::ExpireTime(instant(later + HOUR))),
        ..adding("space", &["user:idle"], "manager")
    };
    system.add_members(dated).await.unwrap();
    system.link("child").await.unwrap();
    system.link("leaf").await.unwrap();
    let before = access(&server, ALL, EVERYBODY).await;
    let unlinked = server.acting("user:ann").unlink("child", false).await.unwrap();
    assert!(!unlinked.linked && unlinked.visibility() == Visibility::Open);
    assert_eq!(access(&server, ALL, EVERYBODY).await, before);
    let settings = system.settings_of("child").await.unwrap();
    assert_eq!(
        (settings.linked, settings.organization_access_role.as_str()),
        (false, "contributor")
    );
    let leaf = system.settings_of("leaf").await.unwrap();
    assert_eq!(leaf.settings_of, "child", "deeper ones follow");
    // Begins, ends and sources are kept; the owner further up manages by a grant.
    let idle = system.get_member("child", "user:idle").await.unwrap();
    let [grant] = &idle.grants[..] else { panic!("{idle:?}") };
    assert_eq!(grant.start_time, Some(instant(later)));
    assert_eq!(grant.expire_time, Some(instant(later + HOUR)));
    let sam = system.get_member("child", "user:sam").await.unwrap();
    let [grant] = &sam.grants[..] else { panic!("{sam:?}") };
    assert_eq!((grant.role.as_str(), grant.ownership), ("manager", false));
    // Its own grants from before have ended.
    let vic = system.get_member("child", "user:vic").await.unwrap();
    assert_eq!(vic.grants[0].state(), v1::AccessState::Ended);
    // It lives its own life from now on.
    system.remove_member("space", "user:ben").await.unwrap();
    system.remove_member("child", "user:cid").await.expect_err("through a group");
    system.remove_member("child", "group:core").await.unwrap();
    assert!(server.allows("user:ben", "initiative.edit", "child").await);
    let second = access(&server, ALL, EVERYBODY).await;
    server.acting("user:lea").unlink("leaf", false).await.unwrap();
    assert_eq!(access(&server, ALL, EVERYBODY).await, second);
    let trail = "SELECT concat_ws(' ', object, before ->> 'parent', \
                 after #>> '{settings,visibility}', jsonb_array_length(after -> 'grants')) \
                 FROM change_log WHERE what = 'access_settings.unlinked' ORDER BY at, sequence";
    assert_eq!(texts(url, trail).await, ["child space open 5", "leaf child open 5"]);
}

#[tokio::test]
async fn inh_4_what_was_before_can_be_restored() {
    let server = server().await;
    let (url, system) = (&server.database.url, server.system());
    let given = server.given().in_organization("acme").user("gone").group("old", &["user:gone"]);
    given.await;
    for who in ["user:gone", "group:old", "user:idle"] {
        system.add_member("child", who, "viewer").await.unwrap();
    }
    system.add_member("child", "user:root", "contributor").await.unwrap();
    system.set_visibility("child", Visibility::Restricted).await.unwrap();
    let before = access(&server, &["child"], EVERYBODY).await;
    let settings = system.settings_of("child").await.unwrap();
    system.link("child").await.unwrap();
    assert_ne!(access(&server, &["child"], EVERYBODY).await, before);
    server.acting("user:max").unlink("child", true).await.unwrap();
    assert_eq!(access(&server, &["child"], EVERYBODY).await, before);
    let restored = system.settings_of("child").await.unwrap();
    assert_eq!(restored.visibility(), settings.visibility());

    // Not what ended meanwhile: a deleted group, a deleted user, an end that has passed.
    system.link("child").await.unwrap();
    let delete = v1::DeleteGroupRequest {
        group: "old".to_owned(),
        confirm_group: "old".to_owned(),
        ..Default::default()
    };
    system.directory().delete_group(delete).await.unwrap();
    let delete = v1::DeleteUserRequest {
        user: "gone".to_owned(),
        confirm_user: "gone".to_owned(),
        ..Default::default()
    };
    system.directory().delete_user(delete).await.unwrap();
    execute(
        url,
        "UPDATE grants SET expire_time = now() - interval '1 hour' \
         WHERE portfolio = 'child' AND subject_id = 'idle'",
    )
    .await;
    system.unlink("child", true).await.unwrap();
    let lasting = "SELECT subject_id FROM grants WHERE portfolio = 'child' \
                   AND revoke_time IS NULL AND coalesce(expire_time > now(), true) ORDER BY 1";
    assert_eq!(texts(url, lasting).await, ["ann", "max", "root", "team", "vic"]);
    let trail = "SELECT concat_ws(' ', what, before ->> 'linked', after ->> 'linked') \
                 FROM change_log WHERE what ~ '[.](un)?linked$' ORDER BY at, sequence";
    let expected =
        ["access_settings.linked false true", "access_settings.unlinked true false"].repeat(2);
    assert_eq!(texts(url, trail).await, expected);
}

#[tokio::test]
async fn inh_4_who_was_removed_meanwhile_does_not_come_back() {
    let server = server().await;
    let (url, system) = (&server.database.url, server.system());
    // Removed before it is linked, removed while it is, removed and back again, and left alone.
    for who in ["user:root", "user:idle", "user:ben", "user:cid"] {
        system.add_member("child", who, "viewer").await.unwrap();
    }
    for who in ["user:root", "user:idle"] {
        system.add_member("space", who, "viewer").await.unwrap();
    }
    system.remove_member("space", "user:root").await.unwrap();
    system.link("child").await.unwrap();
    for who in ["user:idle", "user:ben"] {
        system.remove_member("space", who).await.unwrap();
    }
    system.add_member("space", "user:ben", "viewer").await.unwrap();
    system.unlink("child", true).await.unwrap();
    let may = |who| server.allows(who, "portfolio.view", "child");
    assert!(!may("user:idle").await);
    for who in ["user:root", "user:ben", "user:cid"] {
        assert!(may(who).await, "{who}");
    }
    let trail = "SELECT subject FROM change_log WHERE what = 'member.removed' \
                 AND portfolio = 'child'";
    assert_eq!(texts(url, trail).await, ["user:idle"]);
}

#[tokio::test]
async fn inh_4_mem_6_what_nobody_would_manage_is_not_restored() {
    let server = server().await;
    let system = server.system();
    system.remove_member("child", "user:max").await.unwrap();
    system.link("child").await.unwrap();
    system.deactivate("ann").await;
    let refused = told(server.acting("user:max").unlink("child", true).await);
    assert_eq!(refused, ("LAST_MANAGER".to_owned(), metadata(&[("portfolio", "child")])));
    assert_eq!(told(system.unlink("child", true).await), refused, "the system too");
    assert!(server.allows("user:max", "access.manage", "child").await, "nothing was done");
    system.unlink("child", false).await.unwrap();
    assert!(server.allows("user:max", "access.manage", "child").await);
    // Nor is what somebody manages linked to what nobody does.
    system.add_member("child", "user:dan", "manager").await.unwrap();
    system.deactivate("sam").await;
    system.deactivate("max").await;
    let last = (Code::FailedPrecondition, "LAST_MANAGER".to_owned());
    assert_eq!(refusal(system.link("child").await), last);
    assert_eq!(refusal(system.place("child", "space", true).await), last);
}

#[tokio::test]
async fn inh_5_access_manage_is_not_lost_by_the_way() {
    let server = server().await;
    let system = server.system();
    system.add_member("child", "user:vic", "manager").await.unwrap();
    system.set_role("child", "user:vic", "manager").await.unwrap();
    system.add_member("space", "user:vic", "viewer").await.unwrap();
    let vic = server.acting("user:vic");
    let refused = told(vic.link("child").await);
    assert_eq!(refused, ("ACCESS_MANAGE_LOST".to_owned(), metadata(&[("portfolio", "child")])));
    assert_eq!(told(vic.place("child", "space", true).await), refused);
    assert!(server.allows("user:vic", "access.manage", "child").await);
    let request = v1::LinkAccessSettingsRequest {
        portfolio: "child".to_owned(),
        allow_losing_access: true,
        ..Default::default()
    };
    vic.settings().link_access_settings(request).await.unwrap();
    assert!(!server.allows("user:vic", "access.manage", "child").await);
    // Nor by restoring: `sam` was nothing there before.
    let sam = server.acting("user:sam");
    assert_eq!(told(sam.unlink("child", true).await), refused);
    let request = v1::UnlinkAccessSettingsRequest {
        portfolio: "child".to_owned(),
        restore: true,
        allow_losing_access: true,
        ..Default::default()
    };
    sam.settings().unlink_access_settings(request).await.unwrap();
    assert!(server.allows("user:vic", "access.manage", "child").await);
    assert!(!server.allows("user:sam", "portfolio.view", "child").await);
}

/// Somebody who manages access, and no more: a role that no call makes yet.
async fn steward(server: &TestServer, portfolios: &[&str]) {
    let sql = "INSERT INTO roles VALUES ('acme', 'steward', 'Steward');
               INSERT INTO role_permissions VALUES
                   ('acme', 'steward', 'access.manage', 'any'),
                   ('acme', 'steward', 'portfolio.view', 'any'),
                   ('acme', 'steward', 'members.view', 'any')";
    execute(&server.database.url, sql).await;
    for portfolio in portfolios {
        server.system().add_member(portfolio, "user:idle", "steward").await.unwrap();
    }
}

#[tokio::test]
async fn rol_7_nobody_links_what_holds_more_than_they_do() {
    let server = server().await;
    steward(&server, &["space", "child"]).await;
    let idle = server.acting("user:idle");
    let (reason, told_of) = told(idle.link("child").await);
    assert_eq!(reason, "ROLE_ABOVE_OWN");
    assert!(told_of.contains_key("role") && told_of.contains_key("permissions"), "{told_of:?}");
    server.system().link("child").await.unwrap();
    assert_eq!(told(idle.unlink("child", true).await).0, "ROLE_ABOVE_OWN");
    idle.unlink("child", false).await.expect("a copy gives nothing");
}

#[tokio::test]
async fn mem_9_nobody_prolongs_their_own_access_by_a_link() {
    let server = server().await;
    let system = server.system();
    let later = now(&server.database.url).await + HOUR;
    system.set_end("child", "user:max", Some(later)).await.unwrap();
    let max = server.acting("user:max");
    let refused = told(max.link("child").await);
    assert_eq!(refused, ("OWN_ACCESS_PROLONGED".to_owned(), metadata(&[("portfolio", "child")])));
    system.set_end("space", "user:max", Some(later)).await.unwrap();
    max.link("child").await.expect("it ends as before");
    system.set_end("space", "user:max", Some(later - 60_000)).await.unwrap();
    let refused = told(max.unlink("child", true).await);
    assert_eq!(refused.0, "OWN_ACCESS_PROLONGED");
    server.acting("user:ann").unlink("child", true).await.expect("nothing of hers is prolonged");
}

#[tokio::test]
async fn inh_4_a_group_of_the_copy_is_asked_as_before() {
    let server = server().await;
    let system = server.system();
    system.link("child").await.unwrap();
    system.unlink("child", false).await.unwrap();
    system.leave("core", "user:cid").await;
    assert!(!server.allows("user:cid", "portfolio.view", "child").await);
    let core = v1::GetMemberRequest {
        portfolio: "child".to_owned(),
        subject: Some(subject("group:core")),
    };
    let found = system.members().get_member(core).await.unwrap().into_inner().member.unwrap();
    assert_eq!(found.grants[0].role, "viewer");
}
