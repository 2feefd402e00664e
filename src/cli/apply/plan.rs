//! What has to be done so that the server holds what the file says. Pure: compares, calls nobody.
//! What is only on the server is left alone.

use super::change::{Change, Differences, Kind, visibility_text};
use super::file::{File, Group, Organization, Portfolio, User};
use super::grants;
use super::present::{Present, PresentPortfolio};
use crate::domain::access_settings::Visibility;
use crate::domain::role::Preset;
use crate::domain::{OrganizationId, RoleKey, Subject, Timestamp, UserId};
use crate::proto::v1;

/// The plan.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In the order in which they are to be made.
    pub changes: Vec<Change>,
    /// What the file wants and no call can do; with any of these nothing is done at all.
    pub conflicts: Vec<String>,
    /// Remarks about what is left alone.
    pub notes: Vec<String>,
}

/// Whether the owner of new portfolios must be named: the system owns nothing (AUT-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerIs {
    Required,
    TheActor,
}

/// Compares. `now` decides only which ends of the file have passed.
pub(super) fn diff(file: &File, present: &Present, owner: OwnerIs, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    references(file, present, &mut plan);
    organization(&file.organization, present, &mut plan);
    for entry in &file.users {
        user(entry, present, &mut plan);
    }
    for entry in &file.groups {
        group(entry, file, present, &mut plan);
    }
    for entry in &file.portfolios {
        match present.portfolios.get(entry.id.as_str()) {
            Some(found) => changed_portfolio(entry, file, found, &mut plan),
            None => new_portfolio(entry, file, owner, &mut plan),
        }
        let found = present.portfolios.get(entry.id.as_str());
        grants::grants(entry, found, now, &mut plan);
    }
    // Stable: within a kind the file's order stays. Whatever names something comes after it.
    plan.changes.sort_by_key(Change::kind);
    plan
}

/// Everybody whom the file names is in the file or on the server.
fn references(file: &File, present: &Present, plan: &mut Plan) {
    let user_known = |id: &str| {
        present.users.contains_key(id) || file.users.iter().any(|user| user.id.as_str() == id)
    };
    let group_known = |id: &str| {
        let ours = |group: &v1::Group| group.organization == file.organization.id.as_str();
        present.groups.get(id).is_some_and(|found| ours(&found.group))
            || file.groups.iter().any(|group| group.id.as_str() == id)
    };
    let mut require = |path: String, subject: &Subject| {
        let known = match subject {
            Subject::User(id) => user_known(id.as_str()),
            Subject::Group(id) => group_known(id.as_str()),
            Subject::ServiceAccount(_) => true,
        };
        if !known {
            let text = "is neither in the file nor in the organization on the server";
            plan.conflicts.push(format!("`{path}`: `{subject}` {text}"));
        }
    };
    for (index, group) in file.groups.iter().enumerate() {
        for (place, member) in group.members.iter().enumerate() {
            require(format!("groups[{index}].members[{place}]"), member);
        }
    }
    for (index, portfolio) in file.portfolios.iter().enumerate() {
        if let Some(owner) = &portfolio.owner {
            require(format!("portfolios[{index}].owner"), &Subject::User(owner.clone()));
        }
        for (place, grant) in portfolio.grants.iter().enumerate() {
            require(format!("portfolios[{index}].grants[{place}].subject"), &grant.subject);
        }
    }
    for (index, user) in file.users.iter().enumerate() {
        let home = user.home_organization.as_ref().filter(|home| {
            **home != file.organization.id && !present.organizations.contains_key(home.as_str())
        });
        if let Some(home) = home {
            let path = format!("users[{index}].home_organization");
            plan.conflicts.push(format!("`{path}`: there is no organization `{home}`"));
        }
    }
}

fn organization(entry: &Organization, present: &Present, plan: &mut Plan) {
    let id = entry.id.to_string();
    let visibility = entry.default_visibility.map(|v| visibility_message(v) as i32);
    let Some(found) = present.organizations.get(&id) else {
        plan.changes.push(Change::CreateOrganization(v1::Organization {
            display_name: entry.display_name.clone().unwrap_or_else(|| id.clone()),
            domains: entry.domains.clone().unwrap_or_default(),
            preset: entry.preset.map(|preset| preset.as_str().to_owned()).unwrap_or_default(),
            default_visibility: visibility,
            id,
            ..v1::Organization::default()
        }));
        return;
    };
    let mut was = Differences::default();
    note(&mut was, "display name", &found.display_name, entry.display_name.as_deref());
    let domains = entry.domains.as_ref().map(|domains| domains.join(" "));
    note(&mut was, "domains", &found.domains.join(" "), domains.as_deref());
    note(&mut was, "preset", &found.preset, entry.preset.map(Preset::as_str));
    let old = found.default_visibility.map_or("", visibility_text);
    note(&mut was, "default visibility", old, visibility.map(visibility_text));
    cannot_change(plan, &format!("organization `{id}`"), &was);
}

fn user(entry: &User, present: &Present, plan: &mut Plan) {
    let id = entry.id.to_string();
    let email = entry.email.as_str();
    let home = entry.home_organization.as_ref().map(OrganizationId::as_str);
    let Some(found) = present.users.get(&id) else {
        plan.changes.push(Change::CreateUser(v1::User {
            email: email.to_owned(),
            display_name: entry.display_name.clone().unwrap_or_else(|| id.clone()),
            picture_uri: entry.picture_uri.clone().unwrap_or_default(),
            home_organization: home.unwrap_or_default().to_owned(),
            id,
            ..v1::User::default()
        }));
        return;
    };
    let mut was = Differences::default();
    was.note("e-mail", &found.email.to_ascii_lowercase(), email);
    note(&mut was, "display name", &found.display_name, entry.display_name.as_deref());
    note(&mut was, "picture", &found.picture_uri, entry.picture_uri.as_deref());
    let mut moved = Differences::default();
    note(&mut moved, "home organization", &found.home_organization, home);
    if !found.home_organization.is_empty() && !moved.is_empty() {
        return cannot_change(plan, &format!("user `{id}`"), &moved);
    }
    note(&mut was, "home organization", &found.home_organization, home);
    if was.is_empty() {
        return;
    }
    // An upsert replaces every field: what the file leaves out is sent as it is.
    let or_found = |new: Option<&str>, old: &str| new.unwrap_or(old).to_owned();
    let user = v1::User {
        id,
        email: email.to_owned(),
        display_name: or_found(entry.display_name.as_deref(), &found.display_name),
        picture_uri: or_found(entry.picture_uri.as_deref(), &found.picture_uri),
        home_organization: or_found(home, &found.home_organization),
        ..v1::User::default()
    };
    plan.changes.push(Change::UpdateUser(user, was));
}

fn group(entry: &Group, file: &File, present: &Present, plan: &mut Plan) {
    let id = entry.id.to_string();
    let organization = file.organization.id.to_string();
    let found = present.groups.get(&id);
    let name = |old: &str| entry.display_name.clone().unwrap_or_else(|| old.to_owned());
    match found.map(|found| &found.group) {
        Some(found) if found.organization != organization => {
            plan.conflicts.push(format!("group `{id}` belongs to another organization"));
            return;
        }
        Some(found) => {
            let mut was = Differences::default();
            let display_name = name(&found.display_name);
            was.note("display name", &found.display_name, &display_name);
            if !was.is_empty() {
                let id = id.clone();
                let group = v1::Group { id, organization, display_name };
                plan.changes.push(Change::UpdateGroup(group, was));
            }
        }
        None => {
            let (id, display_name) = (id.clone(), name(&id));
            let group = v1::Group { id, organization, display_name };
            plan.changes.push(Change::CreateGroup(group));
        }
    }
    let there = |member: &Subject| found.is_some_and(|found| found.members.contains(member));
    for member in entry.members.iter().filter(|member| !there(member)) {
        let (group, member) = (id.clone(), member.clone());
        plan.changes.push(Change::AddGroupMember { group, member });
    }
}

fn new_portfolio(entry: &Portfolio, file: &File, owner: OwnerIs, plan: &mut Plan) {
    let id = entry.id.to_string();
    if entry.owner.is_none() && owner == OwnerIs::Required {
        let text = "is new and names no `owner`; name one, or act for one with `--actor`";
        plan.conflicts.push(format!("portfolio `{id}` {text}"));
    }
    let role = entry.organization_access_role.as_ref();
    plan.changes.push(Change::CreatePortfolio {
        portfolio: v1::Portfolio {
            organization: file.organization.id.to_string(),
            display_name: entry.display_name.clone().unwrap_or_else(|| id.clone()),
            r#type: entry.portfolio_type.clone().unwrap_or_default(),
            owner: entry.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
            visibility: entry.visibility.map(|v| visibility_message(v) as i32),
            id,
            ..v1::Portfolio::default()
        },
        organization_access_role: role.map(ToString::to_string).unwrap_or_default(),
    });
}

fn changed_portfolio(entry: &Portfolio, file: &File, found: &PresentPortfolio, plan: &mut Plan) {
    let PresentPortfolio { portfolio, settings, .. } = found;
    let mut fixed = Differences::default();
    fixed.note("organization", &portfolio.organization, file.organization.id.as_str());
    note(&mut fixed, "display name", &portfolio.display_name, entry.display_name.as_deref());
    note(&mut fixed, "type", &portfolio.r#type, entry.portfolio_type.as_deref());
    note(&mut fixed, "owner", &portfolio.owner, entry.owner.as_ref().map(UserId::as_str));
    cannot_change(plan, &format!("portfolio `{}`", entry.id), &fixed);

    let mut was = Differences::default();
    let visibility = entry.visibility.map(|visibility| visibility_message(visibility) as i32);
    let old = visibility_text(settings.visibility);
    note(&mut was, "visibility", old, visibility.map(visibility_text));
    let role = entry.organization_access_role.as_ref().map(RoleKey::as_str);
    note(&mut was, "organization access role", &settings.organization_access_role, role);
    if !was.is_empty() {
        let role = role.unwrap_or(&settings.organization_access_role).to_owned();
        let changed = v1::AccessSettings {
            visibility: visibility.unwrap_or(settings.visibility),
            organization_access_role: role,
            ..settings.clone()
        };
        plan.changes.push(Change::UpdateSettings(changed, was));
    }
}

/// Notes a difference if the file says anything about the field.
fn note(was: &mut Differences, field: &'static str, old: &str, new: Option<&str>) {
    was.note(field, old, new.unwrap_or(old));
}

fn cannot_change(plan: &mut Plan, what: &str, was: &Differences) {
    if !was.is_empty() {
        let text = "this version cannot change that; make the file say what is there";
        plan.conflicts.push(format!("{what}: {was}: {text}"));
    }
}

/// A visibility as the wire has it.
pub(super) fn visibility_message(visibility: Visibility) -> v1::Visibility {
    match visibility {
        Visibility::Private => v1::Visibility::Private,
        Visibility::Restricted => v1::Visibility::Restricted,
        Visibility::Open => v1::Visibility::Open,
    }
}

impl Plan {
    /// How many of a kind are added and changed.
    pub fn count(&self, kind: Kind) -> (usize, usize) {
        let of_kind = self.changes.iter().filter(|change| change.kind() == kind);
        let (added, changed): (Vec<_>, Vec<_>) = of_kind.partition(|change| change.adds());
        (added.len(), changed.len())
    }
}
