//! The roles of the organization: what to add, what to change, and whether those that the file
//! names exist and are fit.

use std::collections::BTreeSet;

use super::change::{Change, cell_text};
use super::differences::Differences;
use super::file::{File, Role};
use super::plan::{Plan, note};
use super::present::Present;
use crate::cli::text;
use crate::domain::permission::{NEVER_BY_OPENNESS, PermissionName};
use crate::domain::role::{BUILT_IN, Preset, Reach, RoleTable};
use crate::proto::v1;

/// Compares a role.
pub(super) fn role(entry: &Role, file: &File, present: &Present, plan: &mut Plan) {
    let key = entry.key.as_str();
    let Some(found) = found(key, file, present) else {
        plan.changes.push(Change::CreateRole(v1::Role {
            organization: file.organization.id.to_string(),
            key: key.to_owned(),
            display_name: entry.display_name.clone().unwrap_or_else(|| key.to_owned()),
            description: entry.description.clone().unwrap_or_default(),
            permissions: entry.permissions.as_ref().map(cells).unwrap_or_default(),
            ..v1::Role::default()
        }));
        return;
    };
    let mut was = Differences::default();
    note(&mut was, "display name", &found.display_name, entry.display_name.as_deref());
    note(&mut was, "description", &found.description, entry.description.as_deref());
    let held = text::own_permissions(&found);
    let wanted = v1::Role {
        permissions: entry.permissions.as_ref().map_or_else(|| held.clone(), cells),
        ..found.clone()
    };
    let wanted = text::own_permissions(&wanted);
    // Only what comes and what goes: a whole table would hide it.
    let [gone, come] = [(&held, &wanted), (&wanted, &held)].map(|(these, others)| {
        let differing = these.iter().filter(|cell| !others.contains(cell));
        differing.map(cell_text).collect::<Vec<_>>().join(" ")
    });
    was.note("permissions", &gone, &come);
    if !was.is_empty() {
        plan.changes.push(Change::UpdateRole(
            v1::Role {
                display_name: entry.display_name.clone().unwrap_or(found.display_name.clone()),
                description: entry.description.clone().unwrap_or(found.description.clone()),
                permissions: wanted,
                ..found
            },
            was,
        ));
    }
}

/// The role as it is on the server; of an organization to come, as its preset will bring it.
fn found(key: &str, file: &File, present: &Present) -> Option<v1::Role> {
    if present.organizations.contains_key(file.organization.id.as_str()) {
        return present.roles.get(key).cloned();
    }
    let preset = file.organization.preset.unwrap_or(Preset::InitiativePlanning);
    let role = preset.roles().into_iter().find(|role| role.key.as_str() == key)?;
    Some(v1::Role {
        organization: file.organization.id.to_string(),
        key: key.to_owned(),
        display_name: role.display_name,
        permissions: cells(&role.table),
        built_in: true,
        ..v1::Role::default()
    })
}

/// A role's table on the wire.
pub(super) fn cells(table: &RoleTable) -> Vec<v1::RolePermission> {
    let reach = |reach: &Reach| match reach {
        Reach::Own => v1::Reach::Own,
        Reach::Any => v1::Reach::Any,
    };
    let cell = |(name, far): (&PermissionName, &Reach)| v1::RolePermission {
        permission: name.to_string(),
        reach: reach(far).into(),
    };
    table.iter().map(cell).collect()
}

/// Every role that the file gives somebody exists, or will; and what it gives by openness does not
/// manage access (ROL-7).
pub(super) fn references(file: &File, present: &Present, plan: &mut Plan) {
    for (index, portfolio) in file.portfolios().iter().enumerate() {
        let path = format!("portfolios[{index}]");
        if let Some(key) = &portfolio.organization_access_role {
            let path = format!("{path}.organization_access_role");
            openly(&path, key.as_str(), file, present, plan);
        }
        for (index, grant) in portfolio.grants.iter().enumerate() {
            let path = format!("{path}.grants[{index}].role");
            let key = grant.role.as_str();
            require(&path, key, file, present, plan);
        }
    }
    for (index, item) in file.items().iter().enumerate() {
        let path = format!("items[{index}]");
        if let Some(key) = &item.organization_access_role {
            let path = format!("{path}.organization_access_role");
            openly(&path, key.as_str(), file, present, plan);
        }
        for (index, grant) in item.grants.iter().enumerate() {
            let path = format!("{path}.grants[{index}].role");
            require(&path, grant.role.as_str(), file, present, plan);
        }
    }
    for (index, ceiling) in file.function_ceilings().iter().enumerate() {
        let path = format!("function_ceilings[{index}].role");
        require(&path, ceiling.role.as_str(), file, present, plan);
    }
}

fn require(path: &str, key: &str, file: &File, present: &Present, plan: &mut Plan) {
    if permissions(key, file, present).is_none() {
        plan.conflicts.push(unknown(path, key, file, present));
    }
}

fn openly(path: &str, key: &str, file: &File, present: &Present, plan: &mut Plan) {
    let Some(held) = permissions(key, file, present) else {
        plan.conflicts.push(unknown(path, key, file, present));
        return;
    };
    let forbidden = |name: &&&str| held.iter().any(|cell| cell.permission == ***name);
    if let Some(name) = NEVER_BY_OPENNESS.iter().find(forbidden) {
        let text = "which a whole organization never has";
        plan.conflicts.push(format!("`{path}`: `{key}` holds `{name}`, {text}"));
    }
}

/// What a role will hold; none if there will be no such role.
fn permissions(key: &str, file: &File, present: &Present) -> Option<Vec<v1::RolePermission>> {
    let entry = file.roles().iter().find(|role| role.key.as_str() == key);
    let found = found(key, file, present).map(|role| role.permissions);
    match entry {
        Some(Role { permissions: Some(table), .. }) => Some(cells(table)),
        Some(_) => Some(found.unwrap_or_default()),
        None => found,
    }
}

fn unknown(path: &str, key: &str, file: &File, present: &Present) -> String {
    let in_file = file.roles().iter().map(|role| role.key.to_string());
    let known = BUILT_IN.iter().map(|&key| key.to_owned()).chain(present.roles.keys().cloned());
    let keys: BTreeSet<String> = in_file.chain(known).map(|key| format!("`{key}`")).collect();
    let keys: Vec<String> = keys.into_iter().collect();
    format!("`{path}`: there is no role `{key}`; accepted: {}", keys.join(", "))
}
