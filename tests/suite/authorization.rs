//! Who may call what (AUT) as a table: every RPC of the contract, every kind of actor, called,
//! printed, and compared with the file that people read. `UPDATE_GOLDEN=1` writes the file anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use portcullis::proto::v1;
use prost::Message as _;
use tonic::Code;

use crate::calls::{adding, custom_role, execute, member, portfolio, question};
use crate::harness::{TestServer, reason, subject};
use crate::raw;

/// Who calls, and the visibility of the portfolio that they call about.
const ACTORS: &[(&str, Option<&str>, v1::Visibility)] = &[
    ("system", None, v1::Visibility::Private),
    ("owner", Some("user:owner"), v1::Visibility::Private),
    ("manager", Some("user:manager"), v1::Visibility::Private),
    ("contributor", Some("user:contributor"), v1::Visibility::Private),
    ("viewer", Some("user:viewer"), v1::Visibility::Private),
    ("site editor, private", Some("user:editor"), v1::Visibility::Private),
    ("site editor, restricted", Some("user:editor"), v1::Visibility::Restricted),
    ("site editor, open", Some("user:editor"), v1::Visibility::Open),
    ("site viewer, restricted", Some("user:reader"), v1::Visibility::Restricted),
    ("site viewer, open", Some("user:reader"), v1::Visibility::Open),
    ("guest, open", Some("user:guest"), v1::Visibility::Open),
    ("external, open", Some("user:external"), v1::Visibility::Open),
    ("service account, private", Some("service_account:ci"), v1::Visibility::Private),
    ("service account, open", Some("service_account:ci"), v1::Visibility::Open),
    ("deactivated manager", Some("user:deactivated"), v1::Visibility::Private),
    ("unknown, open", Some("user:nobody"), v1::Visibility::Open),
];

/// What is asked of an RPC that treats oneself otherwise than others; the rest has one question.
#[derive(Clone, Copy, PartialEq)]
enum About {
    Another,
    Oneself,
}

/// The RPCs that act on a portfolio and tell whoever may not see it that there is none.
pub fn about_a_portfolio() -> Vec<String> {
    let contract = raw::Contract::load();
    // What is not seen is unknown to these; to all but one it is no error (ACC-1).
    let elsewhere = [
        "CheckPermission",
        "BatchCheckPermissions",
        "ExplainPermission",
        "ListEffectivePermissions",
        "ListSubjects",
        "ListVisibleItems",
        "CreatePortfolio",
    ];
    let on_one = |method: &raw::Method| {
        let fields = contract.fields(&method.request);
        let named = |field: &raw::Field| {
            field.name == "portfolio" || field.message == ".portcullis.v1.AccessSettings"
        };
        fields.iter().any(named) && !elsewhere.iter().any(|name| method.path.ends_with(name))
    };
    contract.methods().into_iter().filter(on_one).map(|method| method.path).collect()
}

/// A request that is right in form, about a portfolio and a subject; for RPCs that are about
/// neither, the portfolio's id names what they create.
pub fn message(method: &str, id: &str, who: &str) -> Vec<u8> {
    let name = method.rsplit('/').next().expect("a method");
    let portfolio_id = || id.to_owned();
    match name {
        "CheckPermission" => question(who, "portfolio.view", id).encode_to_vec(),
        "CreatePortfolio" => {
            let portfolio = Some(portfolio(&format!("new-{id}"), "owner"));
            v1::CreatePortfolioRequest { portfolio, ..Default::default() }.encode_to_vec()
        }
        "GetPortfolio" => v1::GetPortfolioRequest { portfolio: portfolio_id() }.encode_to_vec(),
        "DeletePortfolio" => v1::DeletePortfolioRequest {
            portfolio: portfolio_id(),
            confirm_portfolio: portfolio_id(),
            ..Default::default()
        }
        .encode_to_vec(),
        "GetAccessSettings" => {
            v1::GetAccessSettingsRequest { portfolio: portfolio_id() }.encode_to_vec()
        }
        "UpdateAccessSettings" => v1::UpdateAccessSettingsRequest {
            access_settings: Some(v1::AccessSettings {
                portfolio: portfolio_id(),
                visibility: v1::Visibility::Restricted.into(),
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        "ListPrivacyRequests" => v1::ListPrivacyRequestsRequest {
            within: Some(v1::list_privacy_requests_request::Within::Portfolio(portfolio_id())),
            ..Default::default()
        }
        .encode_to_vec(),
        "AddMembers" => adding(id, &["user:fresh"], "viewer").encode_to_vec(),
        "GetMember" => {
            v1::GetMemberRequest { portfolio: portfolio_id(), subject: Some(subject(who)) }
                .encode_to_vec()
        }
        "UpdateMember" => {
            v1::UpdateMemberRequest { role: "assessor".to_owned(), ..member(id, who) }
                .encode_to_vec()
        }
        "RemoveMember" => v1::RemoveMemberRequest {
            portfolio: portfolio_id(),
            subject: Some(subject(who)),
            ..Default::default()
        }
        .encode_to_vec(),
        "ArchivePortfolio" => {
            v1::ArchivePortfolioRequest { portfolio: portfolio_id(), ..Default::default() }
                .encode_to_vec()
        }
        "RestorePortfolio" => {
            v1::RestorePortfolioRequest { portfolio: portfolio_id(), ..Default::default() }
                .encode_to_vec()
        }
        "TransferOwnership" => v1::TransferOwnershipRequest {
            portfolio: portfolio_id(),
            new_owner: "fresh".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "UpdatePortfolio" => v1::UpdatePortfolioRequest {
            portfolio: Some(v1::Portfolio {
                id: portfolio_id(),
                display_name: "Renamed".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        "MovePortfolio" => {
            v1::MovePortfolioRequest { portfolio: portfolio_id(), ..Default::default() }
                .encode_to_vec()
        }
        "LinkAccessSettings" => {
            v1::LinkAccessSettingsRequest { portfolio: portfolio_id(), ..Default::default() }
                .encode_to_vec()
        }
        "UnlinkAccessSettings" => {
            v1::UnlinkAccessSettingsRequest { portfolio: portfolio_id(), ..Default::default() }
                .encode_to_vec()
        }
        "CompareAccessSettings" => {
            v1::CompareAccessSettingsRequest { portfolio: portfolio_id(), ..Default::default() }
                .encode_to_vec()
        }
        "ListMembers" => v1::ListMembersRequest { portfolio: portfolio_id(), ..Default::default() }
            .encode_to_vec(),
        "ListAuditEvents" => v1::ListAuditEventsRequest {
            within: Some(v1::list_audit_events_request::Within::Portfolio(portfolio_id())),
            ..Default::default()
        }
        .encode_to_vec(),
        _ => list_message(name, id, who)
            .or_else(|| item_message(name, id))
            .or_else(|| privacy_message(name, id))
            .or_else(|| role_message(name, id))
            .unwrap_or_else(|| directory_message(name, id)),
    }
}

/// An item that follows the portfolio.
fn item(portfolio: &str, id: String) -> v1::Item {
    v1::Item {
        organization: "acme".to_owned(),
        r#type: "board".to_owned(),
        id,
        portfolios: vec![portfolio.to_owned()],
        ..Default::default()
    }
}

fn item_message(name: &str, portfolio: &str) -> Option<Vec<u8>> {
    let (organization, r#type) = ("acme".to_owned(), "board".to_owned());
    let id = format!("old-{portfolio}");
    Some(match name {
        "RegisterItem" => {
            let item = Some(item(portfolio, format!("new-{portfolio}")));
            v1::RegisterItemRequest { item, ..Default::default() }.encode_to_vec()
        }
        "GetItem" => v1::GetItemRequest { organization, r#type, id }.encode_to_vec(),
        "ListItems" => {
            let portfolio = portfolio.to_owned();
            v1::ListItemsRequest { portfolio, ..Default::default() }.encode_to_vec()
        }
        "UpdateItem" => {
            let display_name = "Renamed".to_owned();
            let item =
                Some(v1::Item { organization, r#type, id, display_name, ..Default::default() });
            v1::UpdateItemRequest { item, ..Default::default() }.encode_to_vec()
        }
        "DeleteItem" => {
            v1::DeleteItemRequest { organization, r#type, id, ..Default::default() }.encode_to_vec()
        }
        _ => return None,
    })
}

/// The requests have the same fields.
fn privacy_message(name: &str, id: &str) -> Option<Vec<u8>> {
    let decides = ["ApprovePrivacyRequest", "RejectPrivacyRequest", "CancelPrivacyRequest"];
    let privacy_request = format!("{name}-{id}");
    let message = v1::ApprovePrivacyRequestRequest { privacy_request, ..Default::default() };
    decides.contains(&name).then(|| message.encode_to_vec())
}

fn role_message(name: &str, id: &str) -> Option<Vec<u8>> {
    let organization = || "acme".to_owned();
    let role = |key: &str| v1::Role {
        organization: organization(),
        key: key.to_owned(),
        display_name: id.to_owned(),
        ..Default::default()
    };
    Some(match name {
        "CreateRole" => {
            v1::CreateRoleRequest { role: Some(role(&format!("new-{id}"))), ..Default::default() }
                .encode_to_vec()
        }
        "UpdateRole" => {
            v1::UpdateRoleRequest { role: Some(role("assessor")), ..Default::default() }
                .encode_to_vec()
        }
        "DeleteRole" => v1::DeleteRoleRequest {
            organization: organization(),
            role: format!("old-{id}"),
            ..Default::default()
        }
        .encode_to_vec(),
        "GetRole" => v1::GetRoleRequest { organization: organization(), role: "viewer".to_owned() }
            .encode_to_vec(),
        "ListRoles" => v1::ListRolesRequest { organization: organization(), ..Default::default() }
            .encode_to_vec(),
        "ListCatalogPermissions" => v1::ListCatalogPermissionsRequest::default().encode_to_vec(),
        "RegisterPermission" => v1::RegisterPermissionRequest {
            permission: Some(v1::CatalogPermission {
                name: "budget.approve".to_owned(),
                effect: v1::PermissionEffect::Change.into(),
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        _ => return None,
    })
}

fn list_message(name: &str, id: &str, who: &str) -> Option<Vec<u8>> {
    let (permission, portfolio, who) = ("portfolio.view".to_owned(), id.to_owned(), subject(who));
    let message = match name {
        "BatchCheckPermissions" => v1::BatchCheckPermissionsRequest {
            subject: Some(who),
            permission,
            portfolio,
            items: vec![v1::BatchCheckItem::default()],
            ..Default::default()
        }
        .encode_to_vec(),
        "ExplainPermission" => v1::ExplainPermissionRequest {
            subject: Some(who),
            permission,
            portfolio,
            ..Default::default()
        }
        .encode_to_vec(),
        "ListEffectivePermissions" => v1::ListEffectivePermissionsRequest {
            subject: Some(who),
            portfolio,
            ..Default::default()
        }
        .encode_to_vec(),
        "ListAccessiblePortfolios" => v1::ListAccessiblePortfoliosRequest {
            subject: Some(who),
            permission,
            ..Default::default()
        }
        .encode_to_vec(),
        "ListSubjects" => {
            v1::ListSubjectsRequest { permission, portfolio, ..Default::default() }.encode_to_vec()
        }
        "ListVisibleItems" => {
            let subject = Some(who);
            v1::ListVisibleItemsRequest { subject, portfolio, ..Default::default() }.encode_to_vec()
        }
        "ListPortfolios" => {
            let organization = "acme".to_owned();
            v1::ListPortfoliosRequest { organization, ..Default::default() }.encode_to_vec()
        }
        "ListUnmanagedPortfolios" => {
            let organization = "acme".to_owned();
            v1::ListUnmanagedPortfoliosRequest { organization, ..Default::default() }
                .encode_to_vec()
        }
        _ => return None,
    };
    Some(message)
}

/// What a request of [`message`] ends, and what stays when it does.
pub async fn furnish_victim(server: &TestServer, method: &str, id: &str) {
    let given = server.given().in_organization("acme");
    let old = format!("old-{id}");
    match method.rsplit('/').next().expect("a method") {
        name @ ("ApprovePrivacyRequest" | "RejectPrivacyRequest" | "CancelPrivacyRequest") => {
            let request = format!("{name}-{id}");
            let token = given.portfolio(&request).owned_by("owner").await;
            // Its requester is no member, and sees it all the same.
            let who = if name.starts_with("Cancel") { "contributor" } else { "fresh" };
            let insert = format!(
                "INSERT INTO privacy_requests
                 VALUES ('{request}', 'acme', '{request}', 'user', '{who}', 'private', 'open',
                         'pending', now())"
            );
            execute(&server.database.url, &insert).await;
            token
        }
        "DeleteUser" => given.user(&old).await,
        "GetItem" | "UpdateItem" | "DeleteItem" => return furnish_item(server, id, old).await,
        "DeleteGroup" => given.group(&old, &[]).await,
        "DeactivateServiceAccount" => given.service_account("idle").await,
        "RemoveAffiliation" => return server.system().affiliate("acme", "fresh", &old).await,
        "LinkAccessSettings" | "CompareAccessSettings" => {
            return furnish_parent(server, id, false).await;
        }
        "MovePortfolio" | "UnlinkAccessSettings" => return furnish_parent(server, id, true).await,
        "DeleteFunctionCeiling" => {
            return server.system().set_ceiling("acme", &old, "", "viewer").await;
        }
        "DeleteRole" => {
            server.system().create_role(custom_role(&old, &[])).await.expect("a role").1
        }
        _ => return,
    };
}

/// Registers an item that the portfolio shows; without the portfolio there is none.
async fn furnish_item(server: &TestServer, portfolio: &str, id: String) {
    let item = Some(item(portfolio, id));
    let request = v1::RegisterItemRequest { item, ..Default::default() };
    let _registered = server.system().items().register_item(request).await;
}

/// Puts a portfolio below one with the same members and visibility, linked to it or not.
async fn furnish_parent(server: &TestServer, id: &str, link: bool) {
    let (system, parent) = (server.system(), format!("above-{id}"));
    let found = system.get_portfolio(id).await.expect("a portfolio");
    if system.get_portfolio(&parent).await.is_err() {
        furnish_portfolio(server, &parent, found.visibility()).await;
    }
    system.place(id, &parent, link).await.expect("below it");
}

fn directory_message(name: &str, id: &str) -> Vec<u8> {
    let (user, organization) = (|| "fresh".to_owned(), || "acme".to_owned());
    match name {
        "CreateOrganization" => v1::CreateOrganizationRequest {
            organization: Some(v1::Organization {
                id: format!("new-{id}"),
                display_name: id.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        "GetOrganization" => {
            v1::GetOrganizationRequest { organization: organization() }.encode_to_vec()
        }
        "UpsertUsers" => v1::UpsertUsersRequest {
            users: vec![v1::User {
                id: format!("new-{id}"),
                email: format!("new-{id}@acme.example"),
                home_organization: organization(),
                ..Default::default()
            }],
            ..Default::default()
        }
        .encode_to_vec(),
        "UpdateOrganization" => v1::UpdateOrganizationRequest {
            organization: Some(v1::Organization {
                id: organization(),
                display_name: id.to_owned(),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".to_owned()] }),
            ..Default::default()
        }
        .encode_to_vec(),
        "ListUsers" => v1::ListUsersRequest { organization: organization(), ..Default::default() }
            .encode_to_vec(),
        "DeleteUser" => v1::DeleteUserRequest {
            user: format!("old-{id}"),
            confirm_user: format!("old-{id}"),
            ..Default::default()
        }
        .encode_to_vec(),
        "UpsertServiceAccounts" => v1::UpsertServiceAccountsRequest {
            service_accounts: vec![v1::ServiceAccount {
                id: format!("new-{id}"),
                organization: organization(),
                display_name: id.to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        }
        .encode_to_vec(),
        "ListServiceAccounts" => {
            v1::ListServiceAccountsRequest { organization: organization(), ..Default::default() }
                .encode_to_vec()
        }
        "DeactivateServiceAccount" => v1::DeactivateServiceAccountRequest {
            service_account: "idle".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "GetUser" => v1::GetUserRequest { user: user() }.encode_to_vec(),
        "DeactivateUser" => {
            v1::DeactivateUserRequest { user: "idle".to_owned(), ..Default::default() }
                .encode_to_vec()
        }
        "ReactivateUser" => {
            v1::ReactivateUserRequest { user: "idle".to_owned(), ..Default::default() }
                .encode_to_vec()
        }
        "SetSiteRole" => v1::SetSiteRoleRequest {
            organization: organization(),
            user: user(),
            site_role: v1::SiteRole::Editor.into(),
            ..Default::default()
        }
        .encode_to_vec(),
        _ => function_message(name, id).unwrap_or_else(|| group_message(name, id)),
    }
}

/// What is ended was given before, by [`furnish_victim`].
fn function_message(name: &str, id: &str) -> Option<Vec<u8>> {
    let (user, organization) = (|| "fresh".to_owned(), || "acme".to_owned());
    Some(match name {
        "SetAffiliation" => v1::SetAffiliationRequest {
            organization: organization(),
            user: user(),
            function: format!("new-{id}"),
            ..Default::default()
        }
        .encode_to_vec(),
        "RemoveAffiliation" => v1::RemoveAffiliationRequest {
            organization: organization(),
            user: user(),
            function: format!("old-{id}"),
            ..Default::default()
        }
        .encode_to_vec(),
        "SetFunctionCeiling" => v1::SetFunctionCeilingRequest {
            organization: organization(),
            function: format!("new-{id}"),
            role: "viewer".to_owned(),
            ..Default::default()
        }
        .encode_to_vec(),
        "ListFunctionCeilings" => {
            v1::ListFunctionCeilingsRequest { organization: organization(), ..Default::default() }
                .encode_to_vec()
        }
        "DeleteFunctionCeiling" => v1::DeleteFunctionCeilingRequest {
            organization: organization(),
            function: format!("old-{id}"),
            ..Default::default()
        }
        .encode_to_vec(),
        _ => return None,
    })
}

fn group_message(name: &str, id: &str) -> Vec<u8> {
    let (group, organization) = (|| "core".to_owned(), || "acme".to_owned());
    let members = || vec![subject("user:fresh")];
    let named = |id: String| v1::Group { id, organization: organization(), ..Default::default() };
    match name {
        "UpsertGroup" => v1::UpsertGroupRequest {
            group: Some(v1::Group { display_name: id.to_owned(), ..named(format!("new-{id}")) }),
            ..Default::default()
        }
        .encode_to_vec(),
        "GetGroup" => v1::GetGroupRequest { group: group(), ..Default::default() }.encode_to_vec(),
        "AddGroupMembers" => {
            v1::AddGroupMembersRequest { group: group(), members: members(), ..Default::default() }
                .encode_to_vec()
        }
        "RemoveGroupMembers" => v1::RemoveGroupMembersRequest {
            group: group(),
            members: members(),
            ..Default::default()
        }
        .encode_to_vec(),
        "ListGroups" => {
            v1::ListGroupsRequest { organization: organization(), ..Default::default() }
                .encode_to_vec()
        }
        "DeleteGroup" => v1::DeleteGroupRequest {
            group: format!("old-{id}"),
            confirm_group: format!("old-{id}"),
            ..Default::default()
        }
        .encode_to_vec(),
        unknown => panic!("a new RPC, `{unknown}`, needs a request here and its rows in the table"),
    }
}

/// A portfolio with a member of each kind.
pub async fn furnish_portfolio(server: &TestServer, id: &str, visibility: v1::Visibility) {
    let system = server.system();
    system.reactivate("deactivated").await;
    let new = v1::Portfolio { visibility: Some(visibility.into()), ..portfolio(id, "owner") };
    system.create(new).await.expect("a portfolio");
    for (role, members) in [
        ("manager", &["user:manager", "user:deactivated"][..]),
        ("contributor", &["user:contributor"]),
        ("viewer", &["user:viewer", "user:target"]),
    ] {
        system.add_members(adding(id, members, role)).await.expect("members");
    }
    system.deactivate("deactivated").await;
}

struct Table {
    server: TestServer,
    /// How many names were made up so far.
    made: usize,
    /// The portfolios that no call has changed yet, by visibility.
    untouched: BTreeMap<v1::Visibility, String>,
}

impl Table {
    async fn set() -> Self {
        let server = TestServer::start().await;
        let mut given = server.given().organization("acme").group("core", &[]);
        for user in ["owner", "manager", "contributor", "viewer", "target", "fresh", "idle"] {
            given = given.user(user);
        }
        given
            .user("editor")
            .user("reader")
            .site_role("reader", v1::SiteRole::Viewer)
            .user("guest")
            .site_role("guest", v1::SiteRole::Guest)
            .external("external")
            .service_account("ci")
            .user("deactivated")
            .await;
        Self { server, made: 0, untouched: BTreeMap::new() }
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("p{}", self.made)
    }

    async fn portfolio(&mut self, visibility: v1::Visibility) -> String {
        if let Some(id) = self.untouched.get(&visibility) {
            return id.clone();
        }
        let id = self.name();
        furnish_portfolio(&self.server, &id, visibility).await;
        self.untouched.insert(visibility, id.clone());
        id
    }

    /// What an actor gets to see of a call.
    async fn outcome(&self, method: &str, id: &str, actor: Option<&str>, about: About) -> String {
        let whom = actor.filter(|_| about == About::Oneself).unwrap_or("user:target");
        let message = message(method, id, whom);
        match raw::call(&self.server.channel, method, message, actor).await {
            Err(status) => format!("{} {}", code(status.code()), reason(&status)),
            Ok(bytes) if method.ends_with("CheckPermission") => {
                let answer = v1::CheckPermissionResponse::decode(&*bytes).expect("a response");
                let reason = answer.reason().as_str_name().replace("DECISION_REASON_", "");
                format!("{} {reason}", if answer.allowed { "OK, allowed" } else { "OK, denied" })
            }
            Ok(bytes) if method.ends_with("AddMembers") => {
                let answer = v1::AddMembersResponse::decode(&*bytes).expect("a response");
                let status = answer.outcomes[0].status().as_str_name();
                format!("OK, {}", status.replace("ADD_MEMBER_STATUS_", ""))
            }
            Ok(_) => "OK".to_owned(),
        }
    }

    /// The outcomes of an RPC, and to whom each happens.
    async fn row(&mut self, method: &str, about: About) -> Vec<(String, Vec<&'static str>)> {
        let mut row: Vec<(String, Vec<&str>)> = Vec::new();
        let on_one = about_a_portfolio().iter().any(|on_one| on_one == method);
        let reads = method.contains("/Get") || method.contains("/Check");
        for (name, actor, visibility) in ACTORS {
            if about == About::Oneself && actor.is_none() {
                continue;
            }
            let id = match on_one || reads {
                true => self.portfolio(*visibility).await,
                false => self.name(),
            };
            furnish_victim(&self.server, method, &id).await;
            let outcome = self.outcome(method, &id, *actor, about).await;
            if on_one && !reads && outcome.starts_with("OK") {
                self.untouched.remove(visibility);
            }
            match row.iter_mut().find(|(known, _)| *known == outcome) {
                Some((_, names)) => names.push(name),
                None => row.push((outcome, vec![name])),
            }
        }
        row
    }
}

fn code(code: Code) -> &'static str {
    match code {
        Code::NotFound => "NOT_FOUND",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        other => panic!("{other:?} says nothing about who may"),
    }
}

/// The names, in lines of a length that people read.
pub fn listed(names: &[&str], everybody: usize) -> String {
    if names.len() == everybody {
        return "      everybody".to_owned();
    }
    let mut lines = vec!["     ".to_owned()];
    for (at, name) in names.iter().enumerate() {
        let separator = if at == 0 { "" } else { " ·" };
        let line = lines.last_mut().expect("the first");
        if line.chars().count() + name.len() > 95 {
            line.push_str(separator);
            lines.push(format!("      {name}"));
        } else {
            write!(line, "{separator} {name}").unwrap();
        }
    }
    lines.join("\n")
}

async fn table() -> String {
    let mut table = Table::set().await;
    let mut text = String::from(
        "# Who gets what from each call about a portfolio, and about another member of it (a\n\
         # viewer) or oneself. What follows a comma is the visibility of the portfolio.\n",
    );
    for raw::Method { path, .. } in raw::Contract::load().methods() {
        let both = ["CheckPermission", "GetMember", "UpdateMember", "RemoveMember"];
        let both = both.iter().any(|name| path.ends_with(name));
        let abouts: &[About] =
            if both { &[About::Another, About::Oneself] } else { &[About::Another] };
        for about in abouts {
            let title = match about {
                About::Another => "",
                About::Oneself => " (about oneself)",
            };
            let name = path.trim_start_matches("/portcullis.v1.");
            writeln!(text, "\n{name}{title}").unwrap();
            for (outcome, names) in table.row(&path, *about).await {
                writeln!(text, "  {outcome}\n{}", listed(&names, ACTORS.len())).unwrap();
            }
        }
    }
    text
}

/// Compares a table with the file that people read.
pub fn compare(golden: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, table).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    let differing: Vec<(&str, &str)> =
        golden.lines().zip(table.lines()).filter(|(golden, now)| golden != now).collect();
    assert!(differing.is_empty(), "golden, now: {differing:#?}");
    assert_eq!(golden, table);
}

#[tokio::test]
async fn aut_1_aut_2_each_actor_gets_from_each_call_what_the_golden_table_says() {
    compare("tests/golden/authorization.txt", &table().await);
}
