//! What `--prune` takes away: whatever of the organization is on the server and not in the file.
//! Pure, as `plan`.
//!
//! A list that the file does not have at all (`roles`, `users`, `groups`, `portfolios`, `items`,
//! `service_accounts`, `administrators`, `function_ceilings`, the `affiliations` of a user) is left
//! alone; an entry says everything about its members or grants. Who is named anywhere in the file
//! stays, and nobody at home elsewhere is deactivated. Roles that the preset brought stay as they
//! are.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Action, Change};
use super::directory::set_administrators;
use super::file::{File, Portfolio};
use super::functions::{prune_affiliations, prune_ceilings};
use super::plan::Plan;
use super::{items, links};
use crate::cli::inventory::{HeldPortfolio, Inventory};
use crate::domain::Subject;
use crate::proto::v1;

/// Adds the removals to a plan, and orders it anew.
pub(super) fn prune(file: &File, inventory: &Inventory, plan: &mut Plan) {
    let kept = kept(file);
    administrators(file, inventory, plan);
    roles(file, inventory, plan);
    groups(file, inventory, &kept, plan);
    portfolios(file, inventory, plan);
    items::prune(file, inventory, plan);
    prune_affiliations(file, inventory, plan);
    prune_ceilings(file, inventory, plan);
    let active = |status: i32| status != v1::UserStatus::Deactivated as i32;
    if file.service_accounts.is_some() {
        for account in inventory.service_accounts.iter().filter(|entry| active(entry.status)) {
            if !kept.contains(&key("service_account", &account.id)) {
                let service_account = account.id.clone();
                let change = Change::DeactivateServiceAccount { service_account, pruned: true };
                plan.changes.push(change);
            }
        }
    }
    if file.users.is_some() {
        for user in inventory.users.iter().filter(|user| active(user.status)) {
            if !kept.contains(&key("user", &user.id)) {
                let user = user.id.clone();
                plan.changes.push(Change::DeactivateUser { user, pruned: true });
            }
        }
    }
    plan.sort();
}

fn key(kind: &str, id: &str) -> String {
    format!("{kind}:{id}")
}

/// Everybody whom the file describes or names.
fn kept(file: &File) -> BTreeSet<String> {
    let users = file.users().iter().map(|user| key("user", user.id.as_str()));
    let groups = file.groups().iter().map(|group| key("group", group.id.as_str()));
    let accounts = file.service_accounts().iter();
    let accounts = accounts.map(|account| key("service_account", account.id.as_str()));
    let named = file.named().map(|(_, subject)| subject.to_string());
    users.chain(groups).chain(accounts).chain(named).collect()
}

/// In place of adding the file's: exactly those.
fn administrators(file: &File, inventory: &Inventory, plan: &mut Plan) {
    let Some(entries) = &file.organization.administrators else { return };
    let found = &inventory.organization;
    let in_file = |known: &String| entries.iter().any(|user| user.as_str() == known);
    if found.administrators.iter().all(in_file) {
        return;
    }
    plan.changes.retain(|change| !matches!(change, Change::SetAdministrators { .. }));
    let settings_change =
        plan.changes.iter().any(|change| matches!(change, Change::UpdateOrganization(..)));
    let etag = if settings_change { String::new() } else { found.etag.clone() };
    let mut wanted: Vec<_> = entries.iter().map(ToString::to_string).collect();
    wanted.sort_unstable();
    set_administrators(&v1::Organization { etag, ..found.clone() }, wanted, Action::Remove, plan);
}

/// Those of the organization's own. One that is still in use when its turn comes the server refuses
/// (ROL-6): the file left a list out that uses it.
fn roles(file: &File, inventory: &Inventory, plan: &mut Plan) {
    let Some(entries) = &file.roles else { return };
    let listed = |role: &&v1::Role| entries.iter().any(|entry| entry.key.as_str() == role.key);
    let own = inventory.roles.iter().filter(|role| !role.built_in);
    plan.changes.extend(own.filter(|role| !listed(role)).map(|role| Change::DeleteRole {
        organization: role.organization.clone(),
        role: role.key.clone(),
        etag: role.etag.clone(),
    }));
}

fn groups(file: &File, inventory: &Inventory, kept: &BTreeSet<String>, plan: &mut Plan) {
    if file.groups.is_none() {
        return;
    }
    let described = file.groups().iter();
    let described: BTreeMap<&str, BTreeSet<&Subject>> =
        described.map(|group| (group.id.as_str(), group.members.iter().collect())).collect();
    for held in &inventory.groups {
        let id = &held.group.id;
        let wanted = described.get(id.as_str());
        let deleted = !kept.contains(&key("group", id));
        for member in &held.members {
            let leaves = match wanted {
                Some(wanted) => !wanted.contains(member),
                // As long as it holds other groups, it could be in the way of the file's nesting.
                None => deleted && matches!(member, Subject::Group(_)),
            };
            if leaves {
                let (group, member) = (id.clone(), member.clone());
                plan.changes.push(Change::RemoveGroupMember { group, member });
            }
        }
        if deleted {
            plan.changes.push(Change::DeleteGroup(id.clone()));
        }
    }
}

fn portfolios(file: &File, inventory: &Inventory, plan: &mut Plan) {
    if file.portfolios.is_none() {
        return;
    }
    let described: BTreeMap<&str, &Portfolio> =
        file.portfolios().iter().map(|entry| (entry.id.as_str(), entry)).collect();
    for held in &inventory.portfolios {
        let (id, is_linked) = (&held.portfolio.id, held.portfolio.linked);
        let Some(entry) = described.get(id.as_str()) else {
            // Without an etag: its id alone was decided about.
            let (portfolio, etag) = (id.clone(), String::new());
            plan.changes.push(Change::DeletePortfolio { portfolio, etag });
            continue;
        };
        if links::will_be_linked(entry, is_linked) {
            // Its members are another's.
            continue;
        }
        let wanted: BTreeSet<&Subject> = entry.grants.iter().map(|grant| &grant.subject).collect();
        for (subject, member) in &held.members {
            if !wanted.contains(subject)
                && !HeldPortfolio::grants(member).any(|grant| grant.ownership)
            {
                let mut roles: Vec<_> =
                    HeldPortfolio::grants(member).map(|grant| grant.role.as_str()).collect();
                roles.sort_unstable();
                plan.changes.push(Change::RemoveMember {
                    portfolio: id.clone(),
                    subject: subject.clone(),
                    roles: roles.join(" and "),
                    // The copy that it is left with when it is unlinked has another.
                    etag: if is_linked { String::new() } else { member.etag.clone() },
                });
            }
        }
    }
}
