//! The organization and its directory: what to add, what to change.

use super::change::{Action, Change, externals_join_text, site_role_text, visibility_text};
use super::differences::Differences;
use super::file::{File, Group, Organization, ServiceAccount, Status, User};
use super::plan::{Plan, cannot_change, note, visibility_message};
use super::present::Present;
use crate::domain::directory::{ExternalsJoin, SiteRole};
use crate::domain::role::Preset;
use crate::domain::{OrganizationId, Subject};
use crate::proto::v1;

/// Compares the organization and who administers it.
pub(super) fn organization(entry: &Organization, present: &Present, plan: &mut Plan) {
    let id = entry.id.to_string();
    let new = v1::Organization { id: id.clone(), ..v1::Organization::default() };
    let Some(found) = present.organizations.get(&id) else {
        plan.changes.push(Change::CreateOrganization(v1::Organization {
            display_name: entry.display_name.clone().unwrap_or_else(|| id.clone()),
            domains: entry.domains.clone().unwrap_or_default(),
            preset: entry.preset.map(|preset| preset.as_str().to_owned()).unwrap_or_default(),
            default_visibility: entry.default_visibility.map(|v| visibility_message(v) as i32),
            outsider_site_role: entry.outsider_site_role.map(site_role_message).unwrap_or_default(),
            partner_organizations: partners(entry).unwrap_or_default(),
            externals_join: entry.externals_join.map(externals_join_message).unwrap_or_default(),
            privacy_approval: entry.privacy_approval.unwrap_or_default(),
            ..new.clone()
        }));
        return administrators(entry, &new, plan);
    };
    let mut fixed = Differences::default();
    note(&mut fixed, "preset", &found.preset, entry.preset.map(Preset::as_str));
    cannot_change(plan, &format!("organization `{id}`"), &fixed);

    let mut was = Differences::default();
    note(&mut was, "display name", &found.display_name, entry.display_name.as_deref());
    let domains = entry.domains.as_ref().map(|domains| domains.join(" "));
    note(&mut was, "domains", &found.domains.join(" "), domains.as_deref());
    let visibility = entry.default_visibility.map(|v| visibility_message(v) as i32);
    let old = found.default_visibility.map_or("", visibility_text);
    note(&mut was, "default visibility", old, visibility.map(visibility_text));
    let old = site_role_text(found.outsider_site_role);
    note(&mut was, "outsider site role", old, entry.outsider_site_role.map(SiteRole::as_str));
    let partners = partners(entry);
    let new_partners = partners.as_ref().map(|partners| partners.join(" "));
    let old = found.partner_organizations.join(" ");
    note(&mut was, "partner organizations", &old, new_partners.as_deref());
    let old = externals_join_text(found.externals_join);
    note(&mut was, "externals join", old, entry.externals_join.map(ExternalsJoin::as_str));
    let old = on_or_off(found.privacy_approval);
    note(&mut was, "privacy approval", old, entry.privacy_approval.map(on_or_off));
    let mut found = found.clone();
    if !was.is_empty() {
        let changed = v1::Organization {
            display_name: entry.display_name.clone().unwrap_or(found.display_name.clone()),
            domains: entry.domains.clone().unwrap_or(found.domains.clone()),
            default_visibility: visibility.or(found.default_visibility),
            outsider_site_role: entry
                .outsider_site_role
                .map_or(found.outsider_site_role, site_role_message),
            partner_organizations: partners.unwrap_or(found.partner_organizations.clone()),
            externals_join: entry
                .externals_join
                .map_or(found.externals_join, externals_join_message),
            privacy_approval: entry.privacy_approval.unwrap_or(found.privacy_approval),
            ..found.clone()
        };
        plan.changes.push(Change::UpdateOrganization(changed, was));
        // That changes it.
        found.etag = String::new();
    }
    administrators(entry, &found, plan);
}

/// Adds administrators; the others stay.
fn administrators(entry: &Organization, found: &v1::Organization, plan: &mut Plan) {
    let mut wanted = found.administrators.clone();
    for user in entry.administrators.iter().flatten() {
        if !wanted.iter().any(|known| known == user.as_str()) {
            wanted.push(user.to_string());
        }
    }
    wanted.sort_unstable();
    set_administrators(found, wanted, Action::Add, plan);
}

/// Plans that exactly these administer the organization, if that is not so already.
pub(super) fn set_administrators(
    found: &v1::Organization,
    wanted: Vec<String>,
    action: Action,
    plan: &mut Plan,
) {
    let mut was = Differences::default();
    was.note("administrators", &found.administrators.join(" "), &wanted.join(" "));
    if !was.is_empty() {
        let organization = v1::Organization {
            id: found.id.clone(),
            administrators: wanted,
            etag: found.etag.clone(),
            ..v1::Organization::default()
        };
        plan.changes.push(Change::SetAdministrators { organization, was, action });
    }
}

fn partners(entry: &Organization) -> Option<Vec<String>> {
    let partners = entry.partner_organizations.as_ref()?;
    let mut partners: Vec<_> = partners.iter().map(ToString::to_string).collect();
    partners.sort_unstable();
    Some(partners)
}

/// Compares a user, and what they are in the organization.
pub(super) fn user(entry: &User, file: &File, present: &Present, plan: &mut Plan) {
    let id = entry.id.to_string();
    let email = entry.email.as_str();
    let home = entry.home_organization.as_ref().map(OrganizationId::as_str);
    let found = present.users.get(&id);
    let deactivated = found.is_some_and(|f| f.status == v1::UserStatus::Deactivated as i32);
    match (entry.status, deactivated) {
        (Some(Status::Active), true) => plan.changes.push(Change::ReactivateUser(id.clone())),
        (Some(Status::Deactivated), false) => {
            plan.changes.push(Change::DeactivateUser { user: id.clone(), pruned: false });
        }
        _ => {}
    }
    site_role(entry, file, present, plan);
    let Some(found) = found else {
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

fn site_role(entry: &User, file: &File, present: &Present, plan: &mut Plan) {
    let Some(wanted) = entry.site_role else { return };
    let found = present.site_roles.get(entry.id.as_str());
    let mut was = Differences::default();
    was.note("site role", found.map_or("", |role| site_role_text(*role)), wanted.as_str());
    if !was.is_empty() {
        let site_role = v1::UserSiteRole {
            organization: file.organization.id.to_string(),
            user: entry.id.to_string(),
            site_role: site_role_message(wanted),
        };
        plan.changes.push(Change::SetSiteRole { site_role, was });
    }
}

/// Compares a service account.
pub(super) fn service_account(
    entry: &ServiceAccount,
    file: &File,
    present: &Present,
    plan: &mut Plan,
) {
    let id = entry.id.to_string();
    let found = present.service_accounts.get(&id);
    let deactivated = found.is_some_and(|f| f.status == v1::UserStatus::Deactivated as i32);
    if entry.status == Some(Status::Deactivated) && !deactivated {
        let service_account = id.clone();
        plan.changes.push(Change::DeactivateServiceAccount { service_account, pruned: false });
    }
    let name = |old: &str| entry.display_name.clone().unwrap_or_else(|| old.to_owned());
    let account = |display_name: String, status: v1::UserStatus| v1::ServiceAccount {
        id: id.clone(),
        organization: file.organization.id.to_string(),
        display_name,
        status: status as i32,
    };
    let Some(found) = found else {
        let new = account(name(&id), v1::UserStatus::Unspecified);
        plan.changes.push(Change::CreateServiceAccount(new));
        return;
    };
    let mut was = Differences::default();
    note(&mut was, "display name", &found.display_name, entry.display_name.as_deref());
    let mut status = v1::UserStatus::Unspecified;
    if entry.status == Some(Status::Active) && deactivated {
        was.note("status", "deactivated", "active");
        status = v1::UserStatus::Active;
    }
    if !was.is_empty() {
        let changed = account(name(&found.display_name), status);
        plan.changes.push(Change::UpdateServiceAccount(changed, was));
    }
}

/// Compares a group, and adds those who are to be in it.
pub(super) fn group(entry: &Group, file: &File, present: &Present, plan: &mut Plan) {
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

/// A site role as the wire has it.
fn site_role_message(role: SiteRole) -> i32 {
    let role = match role {
        SiteRole::Editor => v1::SiteRole::Editor,
        SiteRole::Viewer => v1::SiteRole::Viewer,
        SiteRole::Guest => v1::SiteRole::Guest,
    };
    role as i32
}

/// A switch, as a plan shows it.
fn on_or_off(switch: bool) -> &'static str {
    if switch { "on" } else { "off" }
}

/// How externals join, as the wire has it.
fn externals_join_message(how: ExternalsJoin) -> i32 {
    let how = match how {
        ExternalsJoin::AfterAcceptance => v1::ExternalsJoin::AfterAcceptance,
        ExternalsJoin::PartnersAtOnce => v1::ExternalsJoin::PartnersAtOnce,
    };
    how as i32
}
