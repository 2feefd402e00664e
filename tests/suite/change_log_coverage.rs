//! INVARIANT (fact keys): a write that changes a row of a table of facts logs the key of the fact
//! the row belongs to, in the same transaction (EVT-1). Whatever it forgets, replicas never read
//! again.
//!
//! Triggers, in a test's database only, note every changed row and every logged key with its
//! transaction; then every write of the application is done, and the two are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Jsonb, Nullable, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use portcullis::app::{
    AddMembers, App, ArchivePortfolio, CreatePortfolio, CreateRole, DeleteItem, DeletePortfolio,
    DeleteRole, End, GroupMemberOutcome, ItemName, LinkAccessSettings, MovePortfolio,
    NewOrganization, NewSettings, RegisterItem, RegisterPermission, RemoveMember, RestorePortfolio,
    RoleCell, TransferOwnership, UnlinkAccessSettings, UpdateAccessSettings, UpdateItem,
    UpdateMember, UpdateOrganization, UpdatePortfolio, UpdateRole, UpsertGroup,
    UpsertServiceAccount, UpsertUser,
};
use portcullis::cache::{self, Cache};
use portcullis::clock::Clock;
use portcullis::domain::access_settings::Visibility;
use portcullis::domain::caller::{Actor, Caller, Principal};
use portcullis::domain::directory::{Email, ExternalsJoin, SiteRole};
use portcullis::domain::fact::FactKey;
use portcullis::domain::function::{Affiliation, FunctionCeiling};
use portcullis::domain::item::ItemGrant;
use portcullis::domain::membership::{AddOutcome, MemberSpec};
use portcullis::domain::permission::Effect;
use portcullis::domain::role::{Preset, Reach};
use portcullis::domain::{RoleKey, Subject, UserId};
use portcullis::storage::{self, Storage, WriteContext};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cluster::{TestDatabase, database};

/// The tables of facts, and which of their columns decisions look at.
const FACTS: &[(&str, &[&str])] = &[
    (
        "item_grants",
        &[
            "item_type",
            "item_id",
            "subject_kind",
            "subject_id",
            "role",
            "start_time",
            "expire_time",
            "revoke_time",
        ],
    ),
    ("item_portfolios", &["item_type", "item_id", "portfolio"]),
    (
        "items",
        &[
            "id",
            "item_type",
            "author_kind",
            "author_id",
            "independent",
            "visibility",
            "organization_access_role",
            "archived",
            "deleted",
        ],
    ),
    (
        "grants",
        &[
            "portfolio",
            "subject_kind",
            "subject_id",
            "role",
            "ownership",
            "start_time",
            "expire_time",
            "revoke_time",
        ],
    ),
    ("group_members", &["group_id", "member_kind", "member_id"]),
    ("groups", &["id", "organization"]),
    ("organization_administrators", &["organization", "user_id"]),
    ("organizations", &["id", "shard"]),
    ("permissions", &["name", "ordinal", "effect", "may_be_own", "internal_only", "registered"]),
    (
        "portfolios",
        &[
            "id",
            "organization",
            "deleted",
            "archived",
            "parent",
            "linked",
            "visibility",
            "organization_access_role",
        ],
    ),
    ("role_permissions", &["organization", "role", "permission", "reach"]),
    ("roles", &["organization", "key", "delete_time"]),
    ("service_accounts", &["id", "organization", "deactivated"]),
    ("site_roles", &["organization", "user_id", "role"]),
    ("users", &["id", "home_organization", "deactivated"]),
];

/// The other tables.
const NO_FACTS: &[&str] = &[
    "__diesel_schema_migrations",
    // A blueprint: it grants nothing (DIR-3).
    "affiliations",
    "change_log",
    "cluster",
    "feed_heads",
    // What would be given, not what is (MEM-10).
    "function_ceilings",
    "migration_lock",
    "privacy_requests",
    "request_outcomes",
];

/// The writes that [`do_everything`] does.
const DONE: &[&str] = &[
    "add_group_members",
    "add_members",
    "approve_privacy_request",
    "archive_portfolio",
    "cancel_privacy_request",
    "create_organization",
    "create_portfolio",
    "create_role",
    "deactivate_service_account",
    "deactivate_user",
    "delete_function_ceiling",
    "delete_group",
    "delete_item",
    "delete_portfolio",
    "delete_role",
    "delete_user",
    "link_access_settings",
    "move_portfolio",
    "reactivate_user",
    "register_item",
    "register_permission",
    "reject_privacy_request",
    "remove_affiliation",
    "remove_group_members",
    "remove_member",
    "restore_portfolio",
    "set_affiliation",
    "set_function_ceiling",
    "set_site_role",
    "transfer_ownership",
    "unlink_access_settings",
    "update_access_settings",
    "update_item",
    "update_member",
    "update_organization",
    "update_portfolio",
    "update_role",
    "upsert_group",
    "upsert_service_accounts",
    "upsert_users",
];

/// A changed row, as a trigger saw it.
#[derive(Clone, Debug, QueryableByName)]
struct Observed {
    #[diesel(sql_type = Text)]
    transaction: String,
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Nullable<Jsonb>)]
    before: Option<Value>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    after: Option<Value>,
}

/// A fact: the organization it is of, none for a global one, and its key.
type Fact = (Option<String>, FactKey);

async fn connect(database: &TestDatabase) -> AsyncPgConnection {
    AsyncPgConnection::establish(&database.url).await.expect("connects")
}

async fn observe(database: &TestDatabase) {
    let mut sql = "CREATE TABLE observed (
                       place bigserial, transaction text, table_name text,
                       before jsonb, after jsonb);
                   CREATE FUNCTION observe() RETURNS trigger LANGUAGE plpgsql AS $$
                   BEGIN
                       INSERT INTO observed (transaction, table_name, before, after)
                       VALUES (pg_current_xact_id()::text, TG_TABLE_NAME,
                               CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
                               CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
                       RETURN NULL;
                   END $$;"
        .to_owned();
    for table in FACTS.iter().map(|(table, _)| table).chain(&["change_log"]) {
        sql += &format!(
            "CREATE TRIGGER observe AFTER INSERT OR UPDATE OR DELETE ON {table}
             FOR EACH ROW EXECUTE FUNCTION observe();"
        );
    }
    connect(database).await.batch_execute(&sql).await.expect("observes");
}

/// What was observed so far.
async fn observed(database: &TestDatabase) -> Vec<Observed> {
    let sql = "SELECT transaction, table_name, before, after FROM observed ORDER BY place";
    diesel::sql_query(sql).load(&mut connect(database).await).await.expect("answers")
}

/// The facts that changed without a word in the change log of their transaction.
fn unlogged(observed: &[Observed]) -> Vec<String> {
    let mut logged: BTreeSet<(&str, Fact)> = BTreeSet::new();
    for row in observed.iter().filter(|row| row.table_name == "change_log") {
        let change = row.after.as_ref().expect("changes are only appended");
        let keys: Vec<FactKey> = serde_json::from_value(change["keys"].clone()).expect("keys");
        let organization = change["organization"].as_str().map(str::to_owned);
        let facts = keys.into_iter().map(|key| (organization.clone(), key));
        logged.extend(facts.map(|fact| (row.transaction.as_str(), fact)));
    }
    let organizations = organizations_of_groups(observed);
    let mut missing = Vec::new();
    for row in observed {
        for fact in changed_facts(row, &organizations) {
            if !logged.contains(&(row.transaction.as_str(), fact.clone())) {
                missing.push(format!("{} {:?}: {fact:?}", row.table_name, row.after));
            }
        }
    }
    missing
}

fn organizations_of_groups(observed: &[Observed]) -> BTreeMap<String, String> {
    let groups = observed.iter().filter(|row| row.table_name == "groups");
    let rows = groups.filter_map(|row| row.after.as_ref());
    rows.map(|row| (text(row, "id"), text(row, "organization"))).collect()
}

fn text(row: &Value, column: &str) -> String {
    row[column].as_str().unwrap_or_else(|| panic!("no {column} in {row}")).to_owned()
}

/// The facts that a row belonged to or belongs to, if the change is one of facts.
fn changed_facts(row: &Observed, organizations: &BTreeMap<String, String>) -> BTreeSet<Fact> {
    let columns =
        FACTS.iter().find(|(table, _)| *table == row.table_name).map(|(_, columns)| columns);
    let differs = |column: &&str| match (&row.before, &row.after) {
        (Some(before), Some(after)) => before[*column] != after[*column],
        _ => true,
    };
    let changed: Vec<&str> =
        columns.into_iter().flat_map(|c| *c).copied().filter(|c| differs(c)).collect();
    let versions = [&row.before, &row.after];
    if changed.is_empty() {
        return BTreeSet::new();
    }
    let facts = versions.into_iter().flatten();
    facts.flat_map(|version| facts_of(&row.table_name, version, &changed, organizations)).collect()
}

fn facts_of(
    table: &str,
    row: &Value,
    changed: &[&str],
    organizations: &BTreeMap<String, String>,
) -> Vec<Fact> {
    let id = |column: &str| text(row, column);
    let subject = |kind: &str, id: &str| Subject::from_parts(kind, id).expect("is a subject");
    let of = |organization: String, key| vec![(Some(organization), key)];
    match table {
        "organizations" => of(id("id"), FactKey::Organization),
        "permissions" => vec![(None, FactKey::Permission(id("name").parse().expect("a name")))],
        "roles" => of(id("organization"), FactKey::Role(id("key").parse().expect("a key"))),
        "role_permissions" => {
            of(id("organization"), FactKey::Role(id("role").parse().expect("a key")))
        }
        "portfolios" => {
            of(id("organization"), FactKey::Portfolio(id("id").parse().expect("an id")))
        }
        "grants" => {
            of(id("organization"), FactKey::Portfolio(id("portfolio").parse().expect("an id")))
        }
        "items" | "item_portfolios" | "item_grants" => {
            let name = if table == "items" { "id" } else { "item_id" };
            let key = format!("{}:{}", id("item_type"), id(name));
            of(id("organization"), FactKey::Item(key.parse().expect("a key")))
        }
        "groups" => of(id("organization"), FactKey::Subject(subject("group", &id("id")))),
        "group_members" => {
            let organization = organizations.get(&id("group_id")).expect("a group that was seen");
            let member = subject(&id("member_kind"), &id("member_id"));
            of(organization.clone(), FactKey::Subject(member))
        }
        "service_accounts" => {
            of(id("organization"), FactKey::Subject(subject("service_account", &id("id"))))
        }
        "organization_administrators" | "site_roles" => {
            of(id("organization"), FactKey::Subject(subject("user", &id("user_id"))))
        }
        "users" => {
            let home = row["home_organization"]
                .as_str()
                .filter(|_| changed.contains(&"home_organization"));
            let at_home = home.map(|home| (home.to_owned(), subject("user", &id("id"))));
            let mut facts: Vec<Fact> = at_home
                .map(|(home, user)| (Some(home), FactKey::Subject(user)))
                .into_iter()
                .collect();
            // That a new user is active goes without saying.
            let is_new = changed.contains(&"id");
            if changed.contains(&"deactivated") && (!is_new || row["deactivated"] == true) {
                facts.push((None, FactKey::UserStatus(id("id").parse().expect("an id"))));
            }
            facts
        }
        other => panic!("say which facts the rows of {other} belong to"),
    }
}

/// An application on a database, and who writes with it.
struct Writer {
    app: App,
    _feed: tokio_util::sync::DropGuard,
}

impl Writer {
    async fn on(database: &TestDatabase) -> Self {
        let options = storage::Options {
            url: database.url.clone(),
            write_connections: 2,
            read_connections: 2,
            pool_wait: Duration::from_secs(10),
        };
        let storage = Storage::connect(&options).await.expect("connects");
        let cancel = CancellationToken::new();
        let options = cache::Options::default();
        let cache = Cache::start(storage.clone(), Clock::system(), options, cancel.clone());
        Self { app: App::new(storage, cache), _feed: cancel.drop_guard() }
    }
}

/// The system's next request.
fn request() -> WriteContext {
    WriteContext {
        principal: Principal { caller: Caller::trusted(), actor: Actor::System },
        request_id: Uuid::now_v7().to_string(),
        fingerprint: [0; 32],
        deadline: Instant::now() + Duration::from_secs(30),
    }
}

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("an id")
}

fn user(name: &str, home: Option<&str>) -> UpsertUser {
    UpsertUser {
        id: Some(id(name)),
        email: Email::parse(&format!("{name}@acme.example")).expect("an address"),
        display_name: name.to_owned(),
        picture_uri: String::new(),
        home_organization: home.map(id),
    }
}

/// Every write, in every way that changes other rows than the ways before.
async fn do_everything(app: &App) {
    write_directory(app).await;
    write_groups(app).await;
    write_portfolio(app).await;
    write_members(app).await;
    write_links(app).await;
    write_items(app).await;
    write_end_of_group(app).await;
    write_ends(app).await;
    write_departures(app).await;
    write_privacy_requests(app).await;
    write_service_accounts(app).await;
    write_functions(app).await;
    write_roles(app).await;
}

fn acme() -> NewOrganization {
    NewOrganization {
        id: Some(id("acme")),
        display_name: "Acme".to_owned(),
        domains: vec!["acme.example".to_owned()],
        preset: Preset::InitiativePlanning,
        default_visibility: None,
        outsider_site_role: SiteRole::Guest,
        partner_organizations: Vec::new(),
        externals_join: ExternalsJoin::default(),
        privacy_approval: false,
    }
}

async fn write_directory(app: &App) {
    app.create_organization(&request(), &acme()).await.expect("create_organization");
    let names = ["ann", "bob", "cleo", "dan"];
    let users: Vec<_> = names.iter().map(|name| Ok(user(name, Some("acme")))).collect();
    app.upsert_users(&request(), &users).await.expect("upsert_users");
    // Without a home; then given one; then only renamed.
    let late =
        |home, name: &str| [Ok(UpsertUser { display_name: name.to_owned(), ..user("eve", home) })];
    for users in [late(None, "Eve"), late(Some("acme"), "Eve"), late(Some("acme"), "Evelyn")] {
        app.upsert_users(&request(), &users).await.expect("upsert_users");
    }
    for role in [SiteRole::Guest, SiteRole::Viewer] {
        let (acme, eve) = (id("acme"), id("eve"));
        app.set_site_role(&request(), &acme, &eve, role).await.expect("set_site_role");
    }
}

async fn write_groups(app: &App) {
    for (group, name) in [("inner", "Inner"), ("outer", "Outer"), ("outer", "Renamed")] {
        let group = UpsertGroup {
            id: Some(id(group)),
            organization: id("acme"),
            display_name: name.to_owned(),
        };
        app.upsert_group(&request(), &group).await.expect("upsert_group");
    }
    let members: Vec<_> = ["user:bob", "user:eve", "group:inner"].map(|text| Ok(id(text))).to_vec();
    let outer = id("outer");
    let added = app.add_group_members(&request(), &outer, &members).await;
    let changed = |outcome: &GroupMemberOutcome| matches!(outcome, GroupMemberOutcome::Changed(_));
    assert!(added.expect("add_group_members").value.iter().all(changed));
    let removed = app.remove_group_members(&request(), &outer, &members[..2]).await;
    assert!(removed.expect("remove_group_members").value.iter().all(changed));
}

fn roadmap() -> CreatePortfolio {
    CreatePortfolio {
        id: Some(id("roadmap")),
        organization: id("acme"),
        display_name: "Roadmap".to_owned(),
        portfolio_type: String::new(),
        visibility: None,
        organization_access_role: None,
        owner: Some(id("ann")),
        parent: None,
        linked: false,
    }
}

async fn write_portfolio(app: &App) {
    let permission = RegisterPermission {
        name: id("budget.approve"),
        effect: Effect::Change,
        may_be_own: false,
        internal_only: false,
    };
    app.register_permission(&request(), &permission).await.expect("register_permission");
    app.create_portfolio(&request(), &roadmap()).await.expect("create_portfolio");
    let renamed = UpdatePortfolio {
        id: id("roadmap"),
        display_name: Some("Road map".to_owned()),
        portfolio_type: Some("plan".to_owned()),
        etag: None,
    };
    app.update_portfolio(&request(), &renamed).await.expect("update_portfolio");
    let contributor: RoleKey = id("contributor");
    for (visibility, role) in [(Some(Visibility::Open), None), (None, Some(contributor))] {
        let settings = UpdateAccessSettings {
            portfolio: id("roadmap"),
            visibility,
            organization_access_role: role,
            etag: None,
        };
        app.update_access_settings(&request(), &settings).await.expect("update_access_settings");
    }
    let archive = ArchivePortfolio { id: id("roadmap"), etag: None };
    app.archive_portfolio(&request(), &archive).await.expect("archive_portfolio");
    let restore = RestorePortfolio { id: id("roadmap"), etag: None };
    app.restore_portfolio(&request(), &restore).await.expect("restore_portfolio");
    for new_owner in ["eve", "ann"] {
        let transfer =
            TransferOwnership { portfolio: id("roadmap"), new_owner: id(new_owner), etag: None };
        app.transfer_ownership(&request(), &transfer).await.expect("transfer_ownership");
    }
}

async fn write_members(app: &App) {
    let subjects = ["user:bob", "user:cleo", "group:outer"];
    let members = AddMembers {
        portfolio: id("roadmap"),
        members: subjects.map(|text| Ok(MemberSpec::Subject(id(text)))).to_vec(),
        role: id("viewer"),
        start_time: None,
        end: End::After(3_600_000),
    };
    let added = app.add_members(&request(), &members).await.expect("add_members").value;
    assert!(added.iter().all(|outcome| matches!(outcome, AddOutcome::Added(_))), "{added:?}");
    let update = |role, expire_time| UpdateMember {
        portfolio: id("roadmap"),
        subject: id("user:bob"),
        role,
        expire_time,
        etag: None,
    };
    for update in [update(Some(RoleKey::manager()), None), update(None, Some(None))] {
        app.update_member(&request(), &update).await.expect("update_member");
    }
    for subject in ["user:cleo", "group:outer"] {
        let remove = RemoveMember { portfolio: id("roadmap"), subject: id(subject), etag: None };
        app.remove_member(&request(), &remove).await.expect("remove_member");
    }
}

/// A portfolio is linked, unlinked in every way, moved, and left by its parent.
async fn write_links(app: &App) {
    let child = CreatePortfolio { id: Some(id("child")), ..roadmap() };
    app.create_portfolio(&request(), &child).await.expect("create_portfolio");
    let born = CreatePortfolio {
        id: Some(id("born")),
        parent: Some(id("roadmap")),
        linked: true,
        ..roadmap()
    };
    app.create_portfolio(&request(), &born).await.expect("create_portfolio");
    let to = |parent: Option<&str>, link| MovePortfolio {
        portfolio: id("child"),
        parent: parent.map(id),
        link,
        allow_losing_access: false,
        etag: None,
    };
    let link =
        LinkAccessSettings { portfolio: id("child"), allow_losing_access: false, etag: None };
    let unlink = |restore| UnlinkAccessSettings {
        portfolio: id("child"),
        restore,
        allow_losing_access: false,
        etag: None,
    };
    app.move_portfolio(&request(), &to(Some("roadmap"), false)).await.expect("move_portfolio");
    for restore in [true, false] {
        app.link_access_settings(&request(), &link).await.expect("link_access_settings");
        let unlinked = app.unlink_access_settings(&request(), &unlink(restore)).await;
        unlinked.expect("unlink_access_settings");
    }
    for to in [to(Some("born"), true), to(None, false), to(Some("roadmap"), true)] {
        app.move_portfolio(&request(), &to).await.expect("move_portfolio");
    }
}

/// Items of both sorts; what is left of them goes with its portfolio, or its people.
async fn write_items(app: &App) {
    let name = |of: &str| ItemName { organization: id("acme"), key: id(of) };
    let grant = |who: &str| ItemGrant {
        subject: id(who),
        role: id("viewer"),
        start_time: None,
        expire_time: None,
    };
    let own = || NewSettings::Own {
        visibility: Some(Visibility::Open),
        organization_access_role: None,
        grants: vec![grant("user:bob"), grant("group:inner"), grant("user:dan")],
    };
    let of_roadmap = NewSettings::CopyOf(id("roadmap"));
    let settings = [("board:b1", own()), ("board:b2", own()), ("board:b3", of_roadmap)];
    for (of, settings) in settings.into_iter().chain([("goal:g1", NewSettings::Inherited)]) {
        let register = RegisterItem {
            name: name(of),
            display_name: String::new(),
            portfolios: vec![id("roadmap")],
            author: Some(id("user:dan")),
            owner: Some(id("bob")),
            archived: false,
            settings,
        };
        app.register_item(&request(), &register).await.expect("register_item");
    }
    let update = UpdateItem {
        name: name("board:b1"),
        display_name: Some("B".to_owned()),
        portfolios: None,
        owner: Some(Some(id("ann"))),
        visibility: Some(Visibility::Private),
        organization_access_role: Some(id("contributor")),
        grants: Some(vec![grant("user:bob"), grant("user:cleo"), grant("group:inner")]),
        archived: Some(true),
        etag: None,
    };
    app.update_item(&request(), &update).await.expect("update_item");
    let delete = DeleteItem { name: name("board:b2"), etag: None };
    app.delete_item(&request(), &delete).await.expect("delete_item");
}

/// A group that holds a grant, has members and is in another.
async fn write_end_of_group(app: &App) {
    let inner = id("inner");
    let added = app.add_group_members(&request(), &inner, &[Ok(id("user:bob"))]).await;
    added.expect("add_group_members");
    let members = AddMembers {
        portfolio: id("roadmap"),
        members: vec![Ok(MemberSpec::Subject(id("group:inner")))],
        role: id("viewer"),
        start_time: None,
        end: End::Never,
    };
    app.add_members(&request(), &members).await.expect("add_members");
    app.delete_group(&request(), &inner).await.expect("delete_group");
    let added = app.add_group_members(&request(), &id("outer"), &[Ok(id("user:cleo"))]).await;
    added.expect("add_group_members");
}

async fn write_ends(app: &App) {
    let dan: UserId = id("dan");
    app.deactivate_user(&request(), &dan).await.expect("deactivate_user");
    app.reactivate_user(&request(), &dan).await.expect("reactivate_user");
    let delete = DeletePortfolio { id: id("roadmap"), etag: None };
    app.delete_portfolio(&request(), &delete).await.expect("delete_portfolio");
}

/// Two users who are something everywhere: one moves away, one is deleted while deactivated.
async fn write_departures(app: &App) {
    let beta = NewOrganization { id: Some(id("beta")), ..acme() };
    app.create_organization(&request(), &beta).await.expect("create_organization");
    let next = CreatePortfolio { id: Some(id("next")), ..roadmap() };
    app.create_portfolio(&request(), &next).await.expect("create_portfolio");
    let administrators = UpdateOrganization {
        id: id("acme"),
        display_name: Some("Acme Corporation".to_owned()),
        domains: None,
        administrators: Some(vec![id("ann"), id("bob"), id("cleo")]),
        default_visibility: None,
        outsider_site_role: None,
        partner_organizations: None,
        externals_join: None,
        privacy_approval: Some(true),
        etag: None,
    };
    let without = UpdateOrganization {
        administrators: Some(vec![id("ann"), id("bob")]),
        ..administrators.clone()
    };
    for change in [administrators, without] {
        app.update_organization(&request(), &change).await.expect("update_organization");
    }
    let members: Vec<_> = ["user:ann", "user:bob"].map(|text| Ok(id(text))).to_vec();
    app.add_group_members(&request(), &id("outer"), &members).await.expect("add_group_members");
    for (organization, user) in [("acme", "bob"), ("beta", "bob"), ("acme", "ann"), ("beta", "ann")]
    {
        let (at, who) = (id(organization), id(user));
        app.set_site_role(&request(), &at, &who, SiteRole::Viewer).await.expect("set_site_role");
    }
    for home in [Some("beta"), None, Some("acme")] {
        let moved = [Ok(user("bob", home))];
        app.upsert_users(&request(), &moved).await.expect("upsert_users");
    }
    let ann: UserId = id("ann");
    app.deactivate_user(&request(), &ann).await.expect("deactivate_user");
    app.delete_user(&request(), &ann).await.expect("delete_user");
}

/// Bob's portfolio, in an organization where visibility is approved; he administers it no more.
async fn write_privacy_requests(app: &App) {
    let bob = WriteContext {
        principal: Principal { caller: Caller::trusted(), actor: Actor::User(id("bob")) },
        ..request()
    };
    let asking = || WriteContext { request_id: Uuid::now_v7().to_string(), ..bob.clone() };
    let plan = CreatePortfolio {
        id: Some(id("plan")),
        visibility: Some(Visibility::Open),
        owner: Some(id("bob")),
        ..roadmap()
    };
    let created = app.create_portfolio(&asking(), &plan).await.expect("create_portfolio").value;
    let asked = created.privacy_request.expect("a request").id;
    app.reject_privacy_request(&request(), &asked, "no").await.expect("reject_privacy_request");
    let open = UpdateAccessSettings {
        portfolio: id("plan"),
        visibility: Some(Visibility::Open),
        organization_access_role: None,
        etag: None,
    };
    let ask = async || {
        let asked = app.update_access_settings(&asking(), &open).await;
        asked.expect("update_access_settings").value.privacy_request.expect("a request").id
    };
    app.cancel_privacy_request(&asking(), &ask().await).await.expect("cancel_privacy_request");
    app.approve_privacy_request(&request(), &ask().await).await.expect("approve_privacy_request");
}

async fn write_service_accounts(app: &App) {
    let ci = |name: &str, reactivate| UpsertServiceAccount {
        id: Some(id("ci")),
        organization: id("acme"),
        display_name: name.to_owned(),
        reactivate,
    };
    for entry in [ci("CI", false), ci("Builder", false)] {
        let done = app.upsert_service_accounts(&request(), &[Ok(entry)]).await;
        done.expect("upsert_service_accounts");
    }
    let done = app.deactivate_service_account(&request(), &id("ci")).await;
    assert!(done.expect("deactivate_service_account").value.deactivated);
    let done = app.upsert_service_accounts(&request(), &[Ok(ci("Builder", true))]).await;
    done.expect("upsert_service_accounts");
}

async fn write_functions(app: &App) {
    let tutor = Affiliation { user: id("cleo"), organization: id("acme"), function: id("tutor") };
    app.set_affiliation(&request(), &tutor).await.expect("set_affiliation");
    app.remove_affiliation(&request(), &tutor).await.expect("remove_affiliation");
    for role in ["viewer", "assessor"] {
        let ceiling = FunctionCeiling {
            organization: id("acme"),
            function: id("tutor"),
            portfolio_type: "plan".to_owned(),
            role: id(role),
        };
        app.set_function_ceiling(&request(), &ceiling).await.expect("set_function_ceiling");
    }
    let (acme, key) = (id("acme"), (id("tutor"), "plan".to_owned()));
    app.delete_function_ceiling(&request(), &acme, &key).await.expect("delete_function_ceiling");
}

/// A role that is held and given by openness, changed, replaced, and made again.
async fn write_roles(app: &App) {
    let cell =
        |name: &str| RoleCell { permission: format!("initiative.{name}"), reach: Reach::Any };
    let create = CreateRole {
        organization: id("acme"),
        key: id("scribe"),
        display_name: "Scribe".to_owned(),
        description: String::new(),
        permissions: vec![cell("view")],
    };
    app.create_role(&request(), &create).await.expect("create_role");
    let portfolio = CreatePortfolio {
        id: Some(id("written")),
        organization_access_role: Some(id("scribe")),
        owner: Some(id("cleo")),
        ..roadmap()
    };
    app.create_portfolio(&request(), &portfolio).await.expect("create_portfolio");
    let members = AddMembers {
        portfolio: id("written"),
        members: vec![Ok(MemberSpec::Subject(id("user:bob")))],
        role: id("scribe"),
        start_time: None,
        end: End::Never,
    };
    app.add_members(&request(), &members).await.expect("add_members");
    let ceiling = FunctionCeiling {
        organization: id("acme"),
        function: id("writer"),
        portfolio_type: String::new(),
        role: id("scribe"),
    };
    app.set_function_ceiling(&request(), &ceiling).await.expect("set_function_ceiling");
    let renamed = UpdateRole {
        organization: id("acme"),
        key: id("scribe"),
        display_name: Some("Writer".to_owned()),
        description: None,
        permissions: None,
        etag: None,
    };
    let more = UpdateRole { permissions: Some(vec![cell("edit")]), ..renamed.clone() };
    for update in [renamed, more] {
        app.update_role(&request(), &update).await.expect("update_role");
    }
    let delete = DeleteRole {
        organization: id("acme"),
        key: id("scribe"),
        replacement: Some(id("viewer")),
        etag: None,
    };
    let moved = app.delete_role(&request(), &delete).await.expect("delete_role").value.moved;
    let counts = (moved.grants, moved.organization_access_roles, moved.function_ceilings);
    assert_eq!(counts, (1, 1, 1));
    app.create_role(&request(), &create).await.expect("create_role");
}

#[tokio::test]
async fn evt_1_every_changed_fact_is_logged_in_its_transaction() {
    let database = database().await;
    observe(&database).await;
    do_everything(&Writer::on(&database).await.app).await;
    let observed = observed(&database).await;
    let unlogged = unlogged(&observed);
    assert!(unlogged.is_empty(), "\n  {}\n", unlogged.join("\n  "));

    let written: BTreeSet<&str> = observed.iter().map(|row| row.table_name.as_str()).collect();
    for (table, _) in FACTS {
        assert!(written.contains(table), "{table} was not written");
    }
}

#[tokio::test]
async fn a_fact_that_is_not_logged_is_noticed() {
    let database = database().await;
    observe(&database).await;
    do_everything(&Writer::on(&database).await.app).await;
    let connection = &mut connect(&database).await;
    for (sql, expected) in [
        ("UPDATE users SET deactivated = true WHERE id = 'bob'", true),
        ("UPDATE users SET home_organization = NULL WHERE id = 'bob'", true),
        ("UPDATE site_roles SET role = 'editor'", true),
        ("DELETE FROM group_members", true),
        ("UPDATE grants SET expire_time = now() WHERE NOT ownership", true),
        ("UPDATE portfolios SET visibility = 'private'", true),
        ("UPDATE portfolios SET archived = NOT archived", true),
        ("UPDATE portfolios SET parent = id, linked = true", true),
        ("UPDATE portfolios SET linked = false", true),
        ("UPDATE items SET archived = NOT archived WHERE id = 'b1'", true),
        ("UPDATE item_grants SET revoke_time = clock_timestamp()", true),
        ("UPDATE items SET display_name = 'x', owner = NULL", false),
        ("DELETE FROM role_permissions WHERE role = 'viewer'", true),
        ("INSERT INTO service_accounts VALUES ('cd', 'acme', 'CD', false)", true),
        ("UPDATE service_accounts SET deactivated = true WHERE id = 'ci'", true),
        ("INSERT INTO organization_administrators VALUES ('acme', 'bob')", true),
        ("UPDATE permissions SET internal_only = true WHERE name = 'epic.view'", true),
        ("UPDATE roles SET delete_time = now() WHERE key = 'scribe'", true),
        // These are no facts.
        ("UPDATE roles SET display_name = 'x', description = 'y', version = 9", false),
        ("UPDATE portfolios SET display_name = 'x', version = version + 1", false),
        ("UPDATE users SET display_name = 'x', email = id", false),
        ("UPDATE groups SET display_name = 'x'", false),
    ] {
        let before = unlogged(&observed(&database).await).len();
        connection.batch_execute(sql).await.expect("changes");
        let after = unlogged(&observed(&database).await);
        assert_eq!(after.len() > before, expected, "{sql}: {after:#?}");
    }
}

#[tokio::test]
async fn every_table_is_one_of_facts_or_is_not() {
    #[derive(QueryableByName)]
    struct Name {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let database = database().await;
    let sql = "SELECT relname::text AS name FROM pg_class
               WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace";
    let found: Vec<Name> =
        diesel::sql_query(sql).load(&mut connect(&database).await).await.expect("answers");
    let found: BTreeSet<&str> = found.iter().map(|row| row.name.as_str()).collect();
    let facts = FACTS.iter().map(|(table, _)| *table);
    let known: BTreeSet<&str> = facts.chain(NO_FACTS.iter().copied()).collect();
    assert_eq!(found, known, "left: in the database; right: said here");
}

/// A write that is new must be done here too.
#[test]
fn every_write_of_the_application_is_done_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/app");
    let mut writes = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a source");
        for function in text.split("pub async fn ").skip(1) {
            let (head, _) = function.split_once('{').expect("a body");
            if head.contains("&WriteContext") {
                writes.insert(head.split('(').next().unwrap_or(head).to_owned());
            }
        }
    }
    assert_eq!(writes, DONE.iter().map(|write| (*write).to_owned()).collect());
    let here = include_str!("change_log_coverage.rs");
    for write in DONE {
        assert!(here.contains(&format!("app.{write}(")), "{write} is said to be done, and is not");
    }
}
