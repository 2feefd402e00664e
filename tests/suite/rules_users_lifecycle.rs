//! Users who move to another home or are deleted (DIR-9), and how they are listed.

use portcullis::proto::v1;
use portcullis::proto::v1::{DecisionReason, ErrorReason, SiteRole, UpsertStatus, UserStatus};
use tonic::{Code, Status};

use crate::calls::{number, portfolio, texts};
use crate::harness::{Client, TestServer, fields, refusal};

fn user(id: &str, home: &str) -> v1::User {
    v1::User {
        id: id.to_owned(),
        email: format!("{id}@acme.example"),
        display_name: id.to_owned(),
        home_organization: home.to_owned(),
        ..Default::default()
    }
}

fn deletion(id: &str) -> v1::DeleteUserRequest {
    let (user, confirm_user) = (id.to_owned(), id.to_owned());
    v1::DeleteUserRequest { user, confirm_user, request_id: format!("delete-{id}") }
}

impl Client {
    /// Gives a user a home; the token.
    async fn move_to(&self, id: &str, home: &str) -> String {
        let request = v1::UpsertUsersRequest { users: vec![user(id, home)], ..Default::default() };
        let done = self.directory().upsert_users(request).await.expect("outcomes").into_inner();
        assert_eq!(done.outcomes[0].status(), UpsertStatus::Updated, "{done:?}");
        done.consistency_token
    }

    async fn delete_user(&self, id: &str) -> Result<v1::DeleteUserResponse, Status> {
        Ok(self.directory().delete_user(deletion(id)).await?.into_inner())
    }

    async fn administer(&self, organization: &str, users: &[&str]) {
        let administrators = users.iter().map(|&user| user.to_owned()).collect();
        let id = organization.to_owned();
        let paths = vec!["administrators".to_owned()];
        let request = v1::UpdateOrganizationRequest {
            organization: Some(v1::Organization { id, administrators, ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        self.directory().update_organization(request).await.expect("an organization");
    }

    async fn organization(&self, id: &str) -> v1::Organization {
        let request = v1::GetOrganizationRequest { organization: id.to_owned() };
        let found = self.directory().get_organization(request).await.expect("an organization");
        found.into_inner().organization.expect("an organization")
    }
}

/// What a server that has it in memory, one that has nothing there, and the database answer: all
/// the same.
async fn agreed(
    (server, warm): (&TestServer, &TestServer),
    token: &str,
    (who, what, at): (&str, &str, &str),
) -> (bool, DecisionReason) {
    let first = warm.system().check_after(token, who, what, at).await;
    let first = (first.allowed, first.reason());
    let cold = server.twin().await.system().check_after(token, who, what, at).await;
    assert_eq!((cold.allowed, cold.reason()), first);
    assert_eq!(server.decides(who, what, at).await, first.1);
    first
}

#[tokio::test]
async fn dir_9_who_moves_is_nobody_in_the_old_home_but_keeps_the_grants() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben");
    let given = given.site_role("ann", SiteRole::Editor);
    let given =
        given.portfolio("plaza").open().portfolio("roadmap").with("user:ann", "contributor");
    let given = given.organization("beta").site_role("ann", SiteRole::Viewer);
    given.portfolio("forum").open().openly_giving("contributor").await;
    let (system, warm) = (server.system(), server.twin().await);
    system.administer("acme", &["ann", "ben"]).await;
    let before = system.organization("acme").await;
    for at in ["plaza", "roadmap", "forum"] {
        warm.system().warm_up("user:ann", "portfolio.view", at).await;
    }
    assert!(server.allows("user:ann", "epic.link", "roadmap").await);
    assert!(!server.allows("user:ann", "initiative.edit", "forum").await, "a site viewer there");

    let token = system.move_to("ann", "beta").await;
    let both = (&server, &warm);
    for (what, at, expected) in [
        ("portfolio.view", "plaza", false),
        ("initiative.edit", "roadmap", true),
        ("epic.link", "roadmap", false),
        ("members.invite", "roadmap", false),
        // At home, the default begins anew: a site editor.
        ("initiative.edit", "forum", true),
    ] {
        let (allowed, _) = agreed(both, &token, ("user:ann", what, at)).await;
        assert_eq!(allowed, expected, "{what} on {at}");
    }
    let after = system.organization("acme").await;
    assert_eq!(after.administrators, ["ben"]);
    assert_ne!(after.etag, before.etag);
    let request = v1::GetUserRequest { user: "ann".to_owned() };
    let found = system.directory().get_user(request).await.unwrap().into_inner();
    assert_eq!(found.site_roles, []);
    assert_eq!(found.user.unwrap().home_organization, "beta");
    let there = server.acting("user:ann").create(portfolio("mine", "")).await;
    assert_eq!(refusal(there), (Code::PermissionDenied, "SITE_ROLE_MISSING".to_owned()));

    let trail = |organization: &str| {
        format!(
            "SELECT what FROM change_log WHERE organization = '{organization}'
                 AND subject = 'user:ann' AND request_id = (SELECT request_id FROM change_log
                 WHERE what = 'user.left') ORDER BY what"
        )
    };
    let url = &server.database.url;
    let old = texts(url, &trail("acme")).await;
    assert_eq!(old, ["administrator.removed", "site_role.removed", "user.left"]);
    assert_eq!(texts(url, &trail("beta")).await, ["site_role.removed", "user.updated"]);
    let told = "SELECT count(*) FROM change_log WHERE what = 'user.updated'
                AND organization = 'beta' AND before::text LIKE '%\"acme\"%'";
    assert_eq!(number(url, told).await, 0, "where they come from is no business of the new home");

    // Home to nowhere, and back.
    let token = system.move_to("ann", "").await;
    let (nowhere, _) = agreed(both, &token, ("user:ann", "portfolio.view", "forum")).await;
    assert!(!nowhere);
    let token = system.move_to("ann", "acme").await;
    let (plaza, _) = agreed(both, &token, ("user:ann", "portfolio.view", "plaza")).await;
    assert!(plaza);
    let (invites, _) = agreed(both, &token, ("user:ann", "members.invite", "roadmap")).await;
    assert!(!invites, "an administrator no more");
}

#[tokio::test]
async fn dir_9_mem_6_with_the_account_everything_ends_everywhere() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben");
    let given = given.site_role("ann", SiteRole::Viewer).group("core", &["user:ann", "user:ben"]);
    let given = given.portfolio("roadmap").owned_by("ann");
    let given = given.portfolio("plaza").with("group:core", "viewer");
    let given = given.organization("beta").site_role("ann", SiteRole::Editor);
    given.portfolio("forum").with("user:ann", "contributor").await;
    let (system, warm) = (server.system(), server.twin().await);
    system.administer("acme", &["ann"]).await;
    for at in ["plaza", "roadmap", "forum"] {
        warm.system().warm_up("user:ann", "portfolio.view", at).await;
        assert!(server.allows("user:ann", "portfolio.view", at).await, "{at}");
    }
    let done = system.delete_user("ann").await.unwrap();
    assert_eq!(done.user.as_ref().unwrap().email, "ann@acme.example");
    let both = (&server, &warm);
    for at in ["plaza", "roadmap", "forum"] {
        let view = ("user:ann", "portfolio.view", at);
        let (_, reason) = agreed(both, &done.consistency_token, view).await;
        assert_eq!(reason, DecisionReason::SubjectUnknown, "{at}");
    }
    assert_eq!(system.get_portfolio("roadmap").await.unwrap().owner, "", "unmanaged, not refused");
    assert!(system.organization("acme").await.administrators.is_empty(), "nor is this");
    let request = v1::GetUserRequest { user: "ann".to_owned() };
    let found = system.directory().get_user(request).await;
    assert_eq!(refusal(found), (Code::NotFound, "USER_NOT_FOUND".to_owned()));
    assert_eq!(system.delete_user("ann").await.unwrap(), done, "a retry gets the first answer");
    let another = v1::DeleteUserRequest { request_id: String::new(), ..deletion("ann") };
    let again = system.directory().delete_user(another).await;
    assert_eq!(refusal(again), (Code::NotFound, "USER_NOT_FOUND".to_owned()));

    let url = &server.database.url;
    let trail = "SELECT what FROM change_log WHERE request_id = 'delete-ann' ORDER BY what";
    let expected = [
        "administrator.removed",
        "group_member.removed",
        "member.removed",
        "member.removed",
        "site_role.removed",
        "site_role.removed",
        "user.deleted",
        "user.left",
    ];
    assert_eq!(texts(url, trail).await, expected);
    let mail = "SELECT count(*) FROM change_log WHERE request_id = 'delete-ann'
                AND (before::text LIKE '%@%' OR after::text LIKE '%@%')";
    assert_eq!(number(url, mail).await, 0, "the trail keeps who it was, not how to reach them");
}

#[tokio::test]
async fn dir_9_a_later_user_of_the_same_id_inherits_nothing() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben");
    let given = given.group("core", &["user:ann"]).portfolio("roadmap").with("user:ann", "viewer");
    given.portfolio("plaza").with("group:core", "viewer").deactivated("ann").await;
    let (system, warm) = (server.system(), server.twin().await);
    warm.system().warm_up("user:ann", "portfolio.view", "roadmap").await;
    system.delete_user("ann").await.unwrap();
    let created = system.upsert_users(vec![user("ann", "acme")]).await;
    assert_eq!(created[0].status(), UpsertStatus::Created);
    assert_eq!(created[0].user.as_ref().unwrap().status(), UserStatus::Active);
    let token = system.organization_token().await;
    for at in ["roadmap", "plaza"] {
        let (allowed, reason) =
            agreed((&server, &warm), &token, ("user:ann", "portfolio.view", at)).await;
        assert!(!allowed, "{at}");
        assert_ne!(reason, DecisionReason::SubjectDeactivated, "{at}");
    }
    system.add_member("roadmap", "user:ann", "viewer").await.unwrap();
    let token = system.organization_token().await;
    let (allowed, _) =
        agreed((&server, &warm), &token, ("user:ann", "portfolio.view", "roadmap")).await;
    assert!(allowed);
}

impl Client {
    /// A token of everything written so far.
    async fn organization_token(&self) -> String {
        let request = v1::GetOrganizationRequest { organization: "acme".to_owned() };
        let found = self.directory().get_organization(request).await.expect("an organization");
        found.into_inner().consistency_token
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dir_9_what_is_given_while_the_account_is_deleted_is_not_left_behind() {
    let server = TestServer::start().await;
    let mut given = server.given().organization("acme");
    let names: Vec<String> = (0..12).map(|number| format!("u{number}")).collect();
    for name in &names {
        given = given.user(name);
    }
    // The other organization's lock is not one that the deletion asks for at first.
    let mut given = given.organization("beta").group("core", &[]);
    for name in &names {
        given = given.site_role(name, SiteRole::Editor);
    }
    given.portfolio("forum").await;
    let system = server.system();
    for name in &names {
        system.set_site_role("beta", name, SiteRole::Viewer).await;
        let who = format!("user:{name}");
        let (deleted, added, joined) = tokio::join!(
            system.delete_user(name),
            system.add_member("forum", &who, "viewer"),
            system.join("core", &who),
        );
        deleted.unwrap();
        // Before the deletion or after it: then there is nobody to give it to.
        let refused = added.unwrap().refusal.map(|refusal| refusal.reason());
        assert!([None, Some(ErrorReason::UserNotFound)].contains(&refused), "{refused:?}");
        let refused = joined.refusal.map(|refusal| refusal.reason());
        assert!([None, Some(ErrorReason::UserNotFound)].contains(&refused), "{refused:?}");
    }
    let left = "SELECT (SELECT count(*) FROM grants WHERE revoke_time IS NULL
                        AND subject_id LIKE 'u%') + (SELECT count(*) FROM group_members)";
    assert_eq!(number(&server.database.url, left).await, 0);
}

#[tokio::test]
async fn bad_1_a_deletion_is_confirmed() {
    let server = TestServer::start().await;
    server.given().organization("acme").user("ann").await;
    let request = v1::DeleteUserRequest { confirm_user: "bob".to_owned(), ..deletion("ann") };
    let status = server.system().directory().delete_user(request).await.unwrap_err();
    assert_eq!(fields(&status), ["confirm_user"]);
}

#[tokio::test]
async fn users_are_listed_by_home_page_by_page_and_by_what_is_searched() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("Zoe").user("ann").user("ben.b");
    let given = given.user("ben:a").deactivated("ann").external("eve");
    given.organization("beta").user("bea").await;
    let system = server.system();
    let odd = v1::User { display_name: r"100%_sure\".to_owned(), ..user("odd", "acme") };
    system.upsert_users(vec![odd]).await;
    let list = async |search: &str, status: UserStatus, page_token: &str| {
        let (search, status) = (search.to_owned(), status.into());
        let request = v1::ListUsersRequest {
            organization: "acme".to_owned(),
            filter: Some(v1::UserFilter { search, status, ..Default::default() }),
            page_size: 2,
            page_token: page_token.to_owned(),
        };
        system.directory().list_users(request).await.map(tonic::Response::into_inner)
    };
    let all = async |search: &str, status: UserStatus| {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = list(search, status, &token).await.unwrap();
            found.extend(page.users.into_iter().map(|user| user.id));
            token = page.next_page_token;
            if token.is_empty() {
                return found.join(" ");
            }
        }
    };
    let any = UserStatus::Unspecified;
    assert_eq!(all("", any).await, "Zoe acme-owner ann ben.b ben:a odd");
    assert_eq!(all("", UserStatus::Deactivated).await, "ann");
    assert_eq!(all("BEN", UserStatus::Active).await, "ben.b ben:a");
    assert_eq!(all("owner@ACME", any).await, "acme-owner");
    for literal in ["%", "_", r"\", r"%_SURE\"] {
        assert_eq!(all(literal, any).await, "odd", "{literal}");
    }
    let first = list("", any, "").await.unwrap();
    let other = list("a", any, &first.next_page_token).await.unwrap_err();
    assert_eq!(fields(&other), ["page_token"]);
    let long = list(&"ä".repeat(201), any, "").await.unwrap_err();
    assert_eq!(fields(&long), ["filter.search"]);
}
