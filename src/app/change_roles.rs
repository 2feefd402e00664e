//! Roles of an organization's own, and what the built-in ones hold (ROL-5, ROL-6): for its
//! administrators, for a role reaches every portfolio of the organization.

use serde::{Deserialize, Serialize};

use super::asker::unknown_permission_at;
use super::authorize::Scene;
use super::portfolios::require_openness_role;
use super::reach::require_administrator;
use super::roles::{OrganizationRole, require_role, role, scene};
use super::{Answer, App, Error};
use crate::domain::permission::{NEVER_BY_OPENNESS, Permission};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::role::{KEPT_BY_MANAGERS, MANAGER, MAX_ROLES, Reach, Role, RoleTable, RoleUses};
use crate::domain::{OrganizationId, RoleKey};
use crate::storage::{Failure, Scope, Write, WriteContext};

/// How many violations an error tells of: it travels in headers, whose size is limited.
const MAX_VIOLATIONS: usize = 16;

/// A permission as a request names it, and how far it is to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleCell {
    /// Whether the catalogue has it is for the write to find out.
    pub permission: String,
    /// *Own* only where the catalogue allows it.
    pub reach: Reach,
}

/// A role to create.
#[derive(Clone, Debug)]
pub struct CreateRole {
    /// Whose role it will be.
    pub organization: OrganizationId,
    /// Never changes.
    pub key: RoleKey,
    /// What people call it.
    pub display_name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// What it permits, each permission once.
    pub permissions: Vec<RoleCell>,
}

/// A role to change; what is not given stays.
#[derive(Clone, Debug)]
pub struct UpdateRole {
    /// Whose role it is.
    pub organization: OrganizationId,
    /// Which.
    pub key: RoleKey,
    /// What people call it.
    pub display_name: Option<String>,
    /// What it is for; may be empty.
    pub description: Option<String>,
    /// All that it is to permit, each permission once.
    pub permissions: Option<Vec<RoleCell>>,
    /// Only if it is still in this state.
    pub etag: Option<String>,
}

/// A role to delete.
#[derive(Clone, Debug)]
pub struct DeleteRole {
    /// Whose role it is.
    pub organization: OrganizationId,
    /// Which.
    pub key: RoleKey,
    /// What takes its place wherever it is used; another one.
    pub replacement: Option<RoleKey>,
    /// Only if it is still in this state.
    pub etag: Option<String>,
}

/// A role that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedRole {
    /// As it was.
    pub role: OrganizationRole,
    /// What was moved to the replacement.
    pub moved: RoleUses,
}

impl App {
    /// Creates a role (ROL-5).
    ///
    /// # Errors
    /// No such organization; an actor who does not administer it; a key in use; a permission that
    /// the catalogue does not have, or does not give as *own*; as many roles as there may be.
    pub async fn create_role(
        &self,
        context: &WriteContext,
        request: &CreateRole,
    ) -> Result<Answer<OrganizationRole>, Error> {
        self.require_sight(context, &request.organization).await?;
        let scope = Scope::Organization(request.organization.clone());
        self.write(context, [scope], async |write| create(write, request).await).await
    }

    /// Changes a role, for everybody who holds it. Nothing is written, and the version stays, if it
    /// is already as asked for.
    ///
    /// # Errors
    /// As [`App::create_role`]; no such role; another state than the etag's; what managers always
    /// hold; what openness must not give, if it gives this role somewhere.
    pub async fn update_role(
        &self,
        context: &WriteContext,
        request: &UpdateRole,
    ) -> Result<Answer<OrganizationRole>, Error> {
        self.require_sight(context, &request.organization).await?;
        let scope = Scope::Organization(request.organization.clone());
        self.write(context, [scope], async |write| update(write, request).await).await
    }

    /// Deletes a role that nothing uses, or moves what uses it to another one (ROL-6).
    ///
    /// # Errors
    /// No such organization or role; an actor who does not administer it; another state than the
    /// etag's; a built-in role; one in use, without a replacement; a replacement that openness must
    /// not give.
    pub async fn delete_role(
        &self,
        context: &WriteContext,
        request: &DeleteRole,
    ) -> Result<Answer<DeletedRole>, Error> {
        self.require_sight(context, &request.organization).await?;
        let scope = Scope::Organization(request.organization.clone());
        self.write(context, [scope], async |write| delete(write, request).await).await
    }
}

async fn create(write: &mut Write, request: &CreateRole) -> Result<OrganizationRole, Failure> {
    let CreateRole { organization, key, display_name, description, permissions } = request;
    require_administrator(write, organization).await?;
    if write.count_roles(organization).await? >= MAX_ROLES {
        let message = format!(
            "the organization `{organization}` has {MAX_ROLES} roles, the most that it may have"
        );
        return Err(Refusal::new(Reason::TooManyRoles, message).with("limit", MAX_ROLES).into());
    }
    let now = write.now();
    let table = table(&scene(write, organization, now).await?, key, permissions)?;
    let role = Role {
        key: key.clone(),
        display_name: display_name.clone(),
        description: description.clone(),
        table,
        version: 1,
    };
    if write.create_role(organization, &role).await?.is_none() {
        let message = format!(
            "the organization `{organization}` has a role `{key}` already; choose another key, or \
             change that role"
        );
        let refusal = Refusal::new(Reason::RoleExists, message).with("role", key);
        return Err(refusal.with("organization", organization).into());
    }
    shown(write, organization, key).await
}

async fn update(write: &mut Write, request: &UpdateRole) -> Result<OrganizationRole, Failure> {
    let UpdateRole { organization, key, display_name, description, permissions, etag } = request;
    let (before, scene) = role_to_change(write, organization, key, etag.as_deref()).await?;
    let mut after = before.clone();
    if let Some(cells) = permissions {
        after.table = table(&scene, key, cells)?;
        require_kept(&scene, key, cells)?;
        refuse_giving_openly(write, organization, &after).await?;
    }
    after.display_name = display_name.as_ref().unwrap_or(&before.display_name).clone();
    after.description = description.as_ref().unwrap_or(&before.description).clone();
    if after != before {
        after.version += 1;
        write.update_role(organization, &before, &after).await?;
    }
    shown(write, organization, key).await
}

async fn delete(write: &mut Write, request: &DeleteRole) -> Result<DeletedRole, Failure> {
    let DeleteRole { organization, key, replacement, etag } = request;
    let (before, scene) = role_to_change(write, organization, key, etag.as_deref()).await?;
    if Role::is_built_in(key) {
        let message =
            format!("`{key}` is built in and cannot be deleted; change what it holds instead");
        return Err(Refusal::new(Reason::RoleBuiltIn, message).with("role", key).into());
    }
    let uses = write.role_uses(organization, key).await?;
    let mut moved = RoleUses::default();
    match replacement {
        Some(replacement) => {
            require_role(write, organization, replacement).await?;
            if uses.organization_access_roles + uses.item_access_roles > 0 {
                require_openness_role(&scene, replacement)?;
            }
            write.move_role_uses(organization, key, replacement).await?;
            moved = uses;
        }
        None if uses != RoleUses::default() => return Err(in_use(key, uses).into()),
        None => {}
    }
    write.delete_role(organization, &before).await?;
    let role =
        OrganizationRole { organization: organization.clone(), role: before, built_in: false };
    Ok(DeletedRole { role, moved })
}

/// The role as it is stored, and all roles as decisions look at them; for those who administer the
/// organization.
async fn role_to_change(
    write: &mut Write,
    organization: &OrganizationId,
    key: &RoleKey,
    etag: Option<&str>,
) -> Result<(Role, Scene), Failure> {
    require_administrator(write, organization).await?;
    let entry = require_role(write, organization, key).await?;
    let stored = write.role(organization, key).await?;
    let before = entry.with(stored.map(|fact| fact.table).unwrap_or_default());
    if etag.is_some_and(|etag| etag != before.etag()) {
        return Err(Refusal::etag_mismatch("role").into());
    }
    let now = write.now();
    Ok((before, scene(write, organization, now).await?))
}

/// The role as it now is.
async fn shown(
    write: &mut Write,
    organization: &OrganizationId,
    key: &RoleKey,
) -> Result<OrganizationRole, Failure> {
    let entry = require_role(write, organization, key).await?;
    let now = write.now();
    Ok(role(&scene(write, organization, now).await?, organization, entry))
}

/// What a role is to permit: names of the catalogue, and *own* only where it may be. What services
/// registered a manager holds without a row for it (ROL-1).
fn table(scene: &Scene, role: &RoleKey, cells: &[RoleCell]) -> Result<RoleTable, Refusal> {
    let mut table = RoleTable::new();
    let mut refusals = Vec::new();
    for (at, RoleCell { permission, reach }) in cells.iter().enumerate() {
        let path = format!("role.permissions[{at}]");
        match scene.global.permission(permission) {
            None => {
                let field = format!("{path}.permission");
                let nearest = scene.global.nearest(permission);
                refusals.push(unknown_permission_at(&field, permission, nearest));
            }
            Some(Permission { may_be_own: false, .. }) if *reach == Reach::Own => {
                let description = format!(
                    "cannot be `REACH_OWN`: nobody holds `{permission}` for their own things only"
                );
                refusals.push(Refusal::field(format!("{path}.reach"), description));
            }
            Some(entry) if entry.registered && role.as_str() == MANAGER => {}
            Some(entry) => {
                table.insert(entry.name.clone(), *reach);
            }
        }
        if refusals.len() == MAX_VIOLATIONS {
            break;
        }
    }
    let mut refusals = refusals.into_iter();
    let Some(mut first) = refusals.next() else { return Ok(table) };
    for refusal in refusals {
        first.message = format!("{}; {}", first.message, refusal.message);
        first.violations.extend(refusal.violations);
    }
    Err(first)
}

/// Whatever else a manager's table says, access stays manageable (ROL-5); and what services
/// register is the manager's by rule (ROL-1), so less of it cannot be asked for by name.
fn require_kept(scene: &Scene, role: &RoleKey, cells: &[RoleCell]) -> Result<(), Refusal> {
    if role.as_str() != MANAGER {
        return Ok(());
    }
    let any =
        |name: &str| cells.iter().any(|cell| cell.permission == name && cell.reach == Reach::Any);
    let mut lost: Vec<&str> = KEPT_BY_MANAGERS.into_iter().filter(|name| !any(name)).collect();
    let registered =
        |name: &str| scene.global.permission(name).is_some_and(|entry| entry.registered);
    let own = cells.iter().filter(|cell| cell.reach == Reach::Own);
    lost.extend(own.map(|cell| cell.permission.as_str()).filter(|name| registered(name)));
    if lost.is_empty() {
        return Ok(());
    }
    let lost = lost.join(", ");
    let message = format!("the role `{role}` always holds {lost} as any; leave that as it is");
    let refusal = Refusal::new(Reason::ManagerPermissionRequired, message).with("role", role);
    Err(refusal.with("permissions", lost))
}

/// A role that openness gives, somewhere or by default, never manages access (ROL-7).
async fn refuse_giving_openly(
    write: &mut Write,
    organization: &OrganizationId,
    role: &Role,
) -> Result<(), Failure> {
    let managing: Vec<&str> =
        NEVER_BY_OPENNESS.into_iter().filter(|name| role.table.contains_key(*name)).collect();
    if managing.is_empty() {
        return Ok(());
    }
    let found = write.organization(organization).await?;
    let by_default = found.is_some_and(|found| found.preset.organization_access_role() == role.key);
    let uses = write.role_uses(organization, &role.key).await?;
    if !by_default && uses.organization_access_roles + uses.item_access_roles == 0 {
        return Ok(());
    }
    let (managing, key) = (managing.join(", "), &role.key);
    let why = match by_default {
        true => "new portfolios give it to the whole organization when they are open".to_owned(),
        false => format!("it is the organization access role of {}", places(uses)),
    };
    let message = format!("the role `{key}` must not hold {managing}: {why}");
    let refusal = Refusal::new(Reason::OrganizationRoleForbidden, message).with("role", key);
    Err(refusal.with("permissions", managing).into())
}

fn in_use(key: &RoleKey, uses: RoleUses) -> Refusal {
    let RoleUses {
        grants,
        organization_access_roles,
        function_ceilings,
        item_grants,
        item_access_roles,
    } = uses;
    let mut kinds = Vec::new();
    if grants > 0 {
        kinds.push(format!("by {grants} grant{}", if grants == 1 { "" } else { "s" }));
    }
    if organization_access_roles + item_access_roles > 0 {
        kinds.push(format!("as the organization access role of {}", places(uses)));
    }
    if function_ceilings > 0 {
        let plural = if function_ceilings == 1 { "" } else { "s" };
        kinds.push(format!("by {function_ceilings} ceiling{plural} of functions"));
    }
    if item_grants > 0 {
        let plural = if item_grants == 1 { "" } else { "s" };
        kinds.push(format!("by {item_grants} grant{plural} on items"));
    }
    let kinds = kinds.join(", and ");
    let message = format!("the role `{key}` is in use {kinds}; name a `replacement`");
    Refusal::new(Reason::RoleInUse, message)
        .with("role", key)
        .with("grants", grants)
        .with("organization_access_roles", organization_access_roles)
        .with("function_ceilings", function_ceilings)
        .with("item_grants", item_grants)
        .with("item_access_roles", item_access_roles)
}

/// What gives a role by openness.
fn places(uses: RoleUses) -> String {
    let kinds = [(uses.organization_access_roles, "portfolio"), (uses.item_access_roles, "item")];
    let used = kinds.into_iter().filter(|(count, _)| *count > 0);
    let counted = used.map(|(count, what)| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {what}{plural}")
    });
    counted.collect::<Vec<_>>().join(" and ")
}
