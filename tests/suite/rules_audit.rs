//! Every change of access is one audit event in its own transaction (EVT-1).

use portcullis::proto::v1;
use portcullis::proto::v1::{SiteRole, Visibility};
use prost::Message;

use crate::calls::{adding, execute, member, number, portfolio, texts};
use crate::harness::{TestServer, subject};
use crate::raw;

/// What the trail has of a request: what, on what, whose, by whom, and what was and is.
async fn events(url: &str, request_id: &str) -> Vec<String> {
    let query = format!(
        "SELECT concat_ws(' ', what, object, coalesce(organization, '-'), caller, actor,
                CASE WHEN before IS NULL THEN 'new' WHEN after IS NULL THEN 'gone' ELSE 'changed'
                END)
            FROM change_log WHERE request_id = '{request_id}' ORDER BY shard, sequence"
    );
    texts(url, &query).await
}

/// Calls a method by its name, for an actor, and hands back its events.
async fn call(
    server: &TestServer,
    method: &str,
    actor: Option<&str>,
    request: &impl Message,
    id: &str,
) -> Vec<String> {
    let path = format!("/portcullis.v1.{method}");
    let done = raw::call(&server.channel, &path, request.encode_to_vec(), actor).await;
    done.unwrap_or_else(|status| panic!("{method}: {status:?}"));
    events(&server.database.url, id).await
}

fn acme() -> v1::Organization {
    v1::Organization {
        id: "acme".to_owned(),
        display_name: "Acme".to_owned(),
        ..v1::Organization::default()
    }
}

fn users(names: &[&str]) -> Vec<v1::User> {
    let user = |name: &&str| v1::User {
        id: (*name).to_owned(),
        email: format!("{name}@acme.example"),
        home_organization: "acme".to_owned(),
        ..v1::User::default()
    };
    names.iter().map(user).collect()
}

#[tokio::test]
async fn evt_1_each_write_to_the_directory_leaves_exactly_its_events() {
    let server = TestServer::start().await;
    let on = |method: &str| format!("DirectoryService/{method}");
    let (by, one) = (Some("user:ops"), "one".to_owned());
    macro_rules! write {
        ($method:literal, $id:literal, $request:expr) => {{
            let mut request = $request;
            request.request_id = $id.to_owned();
            call(&server, &on($method), by, &request, $id).await
        }};
    }
    let request =
        v1::CreateOrganizationRequest { organization: Some(acme()), request_id: one.clone() };
    let events = write!("CreateOrganization", "1", request);
    assert_eq!(events, ["organization.created acme acme loopback user:ops new"]);

    let three = v1::UpsertUsersRequest { users: users(&["ann", "ben"]), request_id: one.clone() };
    let events = write!("UpsertUsers", "2", three);
    let expected =
        ["ann", "ben"].map(|user| format!("user.created {user} acme loopback user:ops new"));
    assert_eq!(events, expected);
    let mut again = users(&["ann", "ben"]);
    again[1].display_name = "Ben".to_owned();
    let again = v1::UpsertUsersRequest { users: again, request_id: one.clone() };
    let events = write!("UpsertUsers", "3", again);
    assert_eq!(events, ["user.updated ben acme loopback user:ops changed"], "ann is unchanged");

    let ben = || "ben".to_owned();
    let request = || v1::DeactivateUserRequest { user: ben(), ..Default::default() };
    let events = write!("DeactivateUser", "4", request());
    assert_eq!(events, ["user.deactivated ben - loopback user:ops changed"]);
    assert!(write!("DeactivateUser", "5", request()).is_empty(), "is already");
    let request = v1::ReactivateUserRequest { user: ben(), ..Default::default() };
    let events = write!("ReactivateUser", "6", request);
    assert_eq!(events, ["user.reactivated ben - loopback user:ops changed"]);

    let request = v1::SetSiteRoleRequest {
        organization: "acme".to_owned(),
        user: ben(),
        site_role: SiteRole::Viewer.into(),
        ..Default::default()
    };
    // For administrators, whom nobody has named yet, or for nobody in particular.
    let request = v1::SetSiteRoleRequest { request_id: "7".to_owned(), ..request };
    let events = call(&server, &on("SetSiteRole"), None, &request, "7").await;
    assert_eq!(events, ["site_role.set ben acme loopback system new"]);

    let core = v1::Group { id: "core".to_owned(), organization: "acme".to_owned(), ..group() };
    let request = v1::UpsertGroupRequest { group: Some(core), ..Default::default() };
    let events = write!("UpsertGroup", "8", request);
    assert_eq!(events, ["group.created core acme loopback user:ops new"]);
    let members = || vec![subject("user:ben"), subject("user:nobody"), subject("user:ann")];
    let core = || "core".to_owned();
    let request =
        v1::AddGroupMembersRequest { group: core(), members: members(), ..Default::default() };
    let events = write!("AddGroupMembers", "9", request);
    assert_eq!(events, vec!["group_member.added core acme loopback user:ops new"; events.len()]);
    assert_eq!(logged_members(&server, "9", "after").await, ["ann", "ben"], "the refused is not");
    let request =
        v1::RemoveGroupMembersRequest { group: core(), members: members(), ..Default::default() };
    let events = write!("RemoveGroupMembers", "10", request);
    assert_eq!(events, vec!["group_member.removed core acme loopback user:ops gone"; events.len()]);
    assert_eq!(logged_members(&server, "10", "before").await, ["ann", "ben"]);
}

fn group() -> v1::Group {
    v1::Group { display_name: "Core".to_owned(), ..v1::Group::default() }
}

/// The users whom the events of a request name, whatever the form of the JSON around them.
async fn logged_members(server: &TestServer, request_id: &str, column: &str) -> Vec<String> {
    let query = format!(
        "SELECT DISTINCT name FROM change_log, unnest(ARRAY['ann', 'ben', 'nobody']) AS name
            WHERE request_id = '{request_id}' AND {column}::text LIKE '%' || name || '%' ORDER BY 1"
    );
    texts(&server.database.url, &query).await
}

#[tokio::test]
async fn evt_1_each_write_on_a_portfolio_leaves_exactly_its_events() {
    let server = TestServer::start().await;
    server.given().organization("acme").user("ann").user("ben").user("cid").external("eve").await;
    let by = Some("user:ann");
    macro_rules! write {
        ($method:literal, $id:literal, $request:expr) => {{
            let mut request = $request;
            request.request_id = $id.to_owned();
            call(&server, $method, by, &request, $id).await
        }};
    }
    let request = v1::CreatePortfolioRequest {
        portfolio: Some(portfolio("roadmap", "")),
        ..Default::default()
    };
    let events = write!("PortfolioService/CreatePortfolio", "1", request);
    let expected = [
        "portfolio.created roadmap acme loopback user:ann new",
        "member.added roadmap acme loopback user:ann new",
    ];
    assert_eq!(events, expected, "the portfolio and its owner");

    let request = v1::UpdateAccessSettingsRequest {
        access_settings: Some(v1::AccessSettings {
            portfolio: "roadmap".to_owned(),
            visibility: Visibility::Open.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let events = write!("AccessSettingsService/UpdateAccessSettings", "2", request.clone());
    assert_eq!(events, ["access_settings.updated roadmap acme loopback user:ann changed"]);
    let change = "SELECT before->>'visibility' || ' ' || (after->>'visibility') FROM change_log
        WHERE request_id = '2'";
    assert_eq!(texts(&server.database.url, change).await, ["private open"]);
    let same = write!("AccessSettingsService/UpdateAccessSettings", "3", request);
    assert!(same.is_empty(), "it is so already");

    let request = adding("roadmap", &["user:ben", "user:eve", "user:cid", "user:ann"], "viewer");
    let events = write!("MembershipService/AddMembers", "4", request);
    let added = "member.added roadmap acme loopback user:ann new";
    assert_eq!(events, [added, added], "ben and cid");

    let request =
        v1::UpdateMemberRequest { role: "contributor".to_owned(), ..member("roadmap", "user:ben") };
    let events = write!("MembershipService/UpdateMember", "5", request);
    assert_eq!(events, ["member.updated roadmap acme loopback user:ann changed"]);
    let change = "SELECT (before->0->>'role') || ' ' || (after->0->>'role') FROM change_log
        WHERE request_id = '5'";
    assert_eq!(texts(&server.database.url, change).await, ["viewer contributor"]);

    let request = v1::RemoveMemberRequest {
        portfolio: "roadmap".to_owned(),
        subject: Some(subject("user:ben")),
        ..Default::default()
    };
    let events = write!("MembershipService/RemoveMember", "6", request);
    assert_eq!(events, ["member.removed roadmap acme loopback user:ann gone"]);

    let request = v1::DeletePortfolioRequest {
        portfolio: "roadmap".to_owned(),
        confirm_portfolio: "roadmap".to_owned(),
        ..Default::default()
    };
    let events = write!("PortfolioService/DeletePortfolio", "7", request);
    assert_eq!(events, ["portfolio.deleted roadmap acme loopback user:ann gone"]);
    // The trail outlives the portfolio.
    let kept = "SELECT count(*) FROM change_log WHERE object = 'roadmap'";
    assert_eq!(number(&server.database.url, kept).await, 8);
}

#[tokio::test]
async fn evt_1_a_refused_write_leaves_nothing_and_an_event_says_when() {
    let server = TestServer::start().await;
    let given = server.given().organization("acme").user("ann").user("ben");
    given.portfolio("roadmap").owned_by("ann").with("user:ben", "viewer").await;
    let url = &server.database.url;
    let everything = "SELECT count(*) FROM change_log";
    let before = number(url, everything).await;
    let ben = server.acting("user:ben");
    ben.set_role("roadmap", "user:ann", "viewer").await.unwrap_err();
    ben.delete("roadmap").await.unwrap_err();
    server.system().remove_member("roadmap", "user:ann").await.unwrap_err();
    server.system().create(portfolio("roadmap", "ann")).await.unwrap_err();
    assert_eq!(number(url, everything).await, before);
    let odd = "SELECT count(*) FROM change_log WHERE at > clock_timestamp()
        OR at < clock_timestamp() - interval '1 hour' OR request_id = '' OR caller = ''";
    assert_eq!(number(url, odd).await, 0);
    // Sequences are an order without gaps, which is the revision.
    let gaps = "SELECT count(*) FROM (SELECT sequence, row_number() OVER (PARTITION BY shard
        ORDER BY sequence) AS place FROM change_log) AS rows WHERE sequence <> place";
    assert_eq!(number(url, gaps).await, 0);
}

#[tokio::test]
async fn evt_1_the_trail_is_only_ever_added_to() {
    let server = TestServer::start().await;
    let forbid = "CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'the trail was changed'; END $$;
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON change_log
            FOR EACH STATEMENT EXECUTE FUNCTION forbid();";
    execute(&server.database.url, forbid).await;
    let given = server.given().organization("acme").user("ann").user("ben");
    let given = given.group("core", &["user:ben"]).portfolio("roadmap").owned_by("ann");
    given.with("group:core", "viewer").deactivated("ben").await;
    let system = server.system();
    system.reactivate("ben").await;
    system.leave("core", "user:ben").await;
    system.set_site_role("acme", "ben", SiteRole::Guest).await;
    system.set_visibility("roadmap", Visibility::Open).await.unwrap();
    system.set_role("roadmap", "group:core", "contributor").await.unwrap();
    system.remove_member("roadmap", "group:core").await.unwrap();
    system.delete("roadmap").await.unwrap();
}
