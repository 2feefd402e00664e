//! Affiliations and the ceilings of functions: which to add, which to change, which to take away.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::file::{File, FunctionCeiling, User};
use super::plan::Plan;
use super::present::Present;
use crate::cli::inventory::Inventory;
use crate::domain::FunctionKey;
use crate::proto::v1;

/// Adds what a user is to be in the organization.
pub(super) fn affiliations(entry: &User, file: &File, present: &Present, plan: &mut Plan) {
    let found = present.affiliations.get(entry.id.as_str());
    for function in entry.affiliations.iter().flatten() {
        if found.is_some_and(|found| found.contains(function.as_str())) {
            continue;
        }
        plan.changes.push(Change::AddAffiliation(v1::Affiliation {
            organization: file.organization.id.to_string(),
            user: entry.id.to_string(),
            function: function.to_string(),
        }));
    }
}

/// Sets the ceilings that are missing or others.
pub(super) fn ceilings(file: &File, present: &Present, plan: &mut Plan) {
    for entry in file.function_ceilings() {
        let found = present.function_ceilings.get(&key(entry));
        if found.is_some_and(|role| role == entry.role.as_str()) {
            continue;
        }
        let (function, portfolio_type) = key(entry);
        let ceiling = v1::FunctionCeiling {
            organization: file.organization.id.to_string(),
            function,
            portfolio_type,
            role: entry.role.to_string(),
        };
        plan.changes.push(Change::SetFunctionCeiling { ceiling, was: found.cloned() });
    }
}

fn key(entry: &FunctionCeiling) -> (String, String) {
    (entry.function.to_string(), entry.portfolio_type.clone())
}

/// Takes away the affiliations that a user's entry does not have, unless it says nothing of any.
pub(super) fn prune_affiliations(file: &File, inventory: &Inventory, plan: &mut Plan) {
    let described: BTreeMap<&str, BTreeSet<&str>> = file
        .users()
        .iter()
        .filter_map(|user| {
            let functions = user.affiliations.as_ref()?;
            Some((user.id.as_str(), functions.iter().map(FunctionKey::as_str).collect()))
        })
        .collect();
    let unwanted = |held: &&v1::Affiliation| {
        let wanted = described.get(held.user.as_str());
        wanted.is_some_and(|wanted| !wanted.contains(held.function.as_str()))
    };
    let removals = inventory.affiliations.iter().filter(unwanted).cloned();
    plan.changes.extend(removals.map(Change::RemoveAffiliation));
}

/// Takes away the ceilings that the file does not have, unless it says nothing of any.
pub(super) fn prune_ceilings(file: &File, inventory: &Inventory, plan: &mut Plan) {
    let Some(entries) = &file.function_ceilings else { return };
    let wanted: BTreeSet<(String, String)> = entries.iter().map(key).collect();
    let unwanted = |held: &&v1::FunctionCeiling| {
        !wanted.contains(&(held.function.clone(), held.portfolio_type.clone()))
    };
    let removals = inventory.function_ceilings.iter().filter(unwanted).cloned();
    plan.changes.extend(removals.map(Change::DeleteFunctionCeiling));
}
