use serde::{Deserialize, Serialize};

use super::authorize::{Scene, require_organization};
use super::{Answer, App, Context, Error};
use crate::domain::caller::Principal;
use crate::domain::page::{Listed, Page};
use crate::domain::permission::{Effect, MAX_CATALOG_ENTRIES, Permission, PermissionName};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::role::Role;
use crate::domain::{OrganizationId, RoleKey, Timestamp};
use crate::policy;
use crate::storage::facts::Question;
use crate::storage::roles::RoleEntry;
use crate::storage::{Failure, Scope, Transaction, Write, WriteContext};

/// A role as clients see it: with what it holds implicitly too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationRole {
    /// Whose role it is.
    pub organization: OrganizationId,
    /// The role; of the manager, registered permissions are part of the table (ROL-1).
    pub role: Role,
    /// Whether the organization's preset brought it.
    pub built_in: bool,
}

/// A permission of a service's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterPermission {
    /// The name.
    pub name: PermissionName,
    /// What exercising it does.
    pub effect: Effect,
    /// Whether a role may hold it for the subject's own things only.
    pub may_be_own: bool,
    /// Whether externals are denied it whatever their role (ROL-8).
    pub internal_only: bool,
}

impl App {
    /// A role and what it holds.
    ///
    /// # Errors
    /// No such organization, as far as the caller may know; no such role.
    pub async fn get_role(
        &self,
        context: &Context,
        organization: &OrganizationId,
        key: &RoleKey,
    ) -> Result<Answer<OrganizationRole>, Error> {
        self.read(context, async |read| {
            let organization = require_organization(read, &context.principal, organization).await?;
            let entry = require_role(read, &organization.id, key).await?;
            let now = read.heads().now;
            let scene = scene(read, &organization.id, now).await?;
            Ok(role(&scene, &organization.id, entry))
        })
        .await
    }

    /// A page of an organization's roles, by key in byte order.
    ///
    /// # Errors
    /// No such organization, as far as the caller may know.
    pub async fn list_roles(
        &self,
        context: &Context,
        organization: &OrganizationId,
        page: &Page<RoleKey>,
    ) -> Result<Answer<Listed<OrganizationRole, RoleKey>>, Error> {
        self.read(context, async |read| {
            let organization = require_organization(read, &context.principal, organization).await?;
            let rows = read.roles_of(&organization.id, &page.wider()).await?;
            let now = read.heads().now;
            let scene = scene(read, &organization.id, now).await?;
            let roles = rows.into_iter().map(|entry| role(&scene, &organization.id, entry));
            Ok(page.listed(roles.collect(), |role| role.role.key.clone()))
        })
        .await
    }

    /// A page of the permission catalogue, by name in byte order.
    ///
    /// # Errors
    /// None of its own.
    pub async fn list_catalog_permissions(
        &self,
        context: &Context,
        page: &Page<PermissionName>,
    ) -> Result<Answer<Listed<Permission, PermissionName>>, Error> {
        self.read(context, async |read| {
            let rows = read.catalog_permissions(&page.wider()).await?;
            Ok(page.listed(rows, |permission| permission.name.clone()))
        })
        .await
    }

    /// Puts a permission into the catalogue, for good (ROL-1). Doing it again changes nothing.
    ///
    /// # Errors
    /// A caller who does not reach all organizations, other properties than the name has, a
    /// catalogue that is full.
    pub async fn register_permission(
        &self,
        context: &WriteContext,
        request: &RegisterPermission,
    ) -> Result<Answer<Permission>, Error> {
        require_all_organizations(&context.principal)?;
        self.write(context, [Scope::Global], async |write| register(write, request).await).await
    }
}

async fn register(write: &mut Write, request: &RegisterPermission) -> Result<Permission, Failure> {
    let RegisterPermission { name, effect, may_be_own, internal_only } = request;
    if let Some(known) = write.permission(name).await? {
        let same = known.effect == *effect
            && known.may_be_own == *may_be_own
            && known.internal_only == *internal_only;
        return if same { Ok(known) } else { Err(differs(&known).into()) };
    }
    let ordinal = write.catalog_size().await?;
    if ordinal >= MAX_CATALOG_ENTRIES {
        let message = format!(
            "the catalogue has {ordinal} permissions and takes no more; entries are never removed"
        );
        return Err(Refusal::new(Reason::CatalogFull, message).with("permission", name).into());
    }
    let entry = Permission {
        name: name.clone(),
        ordinal,
        effect: *effect,
        may_be_own: *may_be_own,
        internal_only: *internal_only,
        registered: true,
    };
    write.insert_permission(&entry).await?;
    Ok(entry)
}

fn differs(known: &Permission) -> Refusal {
    let Permission { name, effect, may_be_own, internal_only, .. } = known;
    let message = format!(
        "`{name}` is in the catalogue with the effect {}, may_be_own {may_be_own} and \
         internal_only {internal_only}, and entries never change; register another name",
        effect.as_str()
    );
    Refusal::new(Reason::PermissionDiffers, message).with("permission", name)
}

/// The catalogue is one for all organizations: who does not reach all may not change it.
fn require_all_organizations(principal: &Principal) -> Result<(), Refusal> {
    if principal.caller.reaches_all() {
        return Ok(());
    }
    let scope = crate::domain::caller::Scope::Operator;
    let message = "the catalogue is one for all organizations; this needs the scope `operator` \
                   and all organizations";
    Err(Refusal { message: message.to_owned(), ..Refusal::scope_missing(scope) })
}

/// The roles and the catalogue, as decisions look at them.
pub(super) async fn scene(
    transaction: &mut Transaction,
    organization: &OrganizationId,
    now: Timestamp,
) -> Result<Scene, Failure> {
    let question = Question { organization, portfolio: None, subjects: &[] };
    Ok(Scene::load(transaction, &question, now).await?)
}

/// The role, with what it holds implicitly too.
pub(super) fn role(
    scene: &Scene,
    organization: &OrganizationId,
    entry: RoleEntry,
) -> OrganizationRole {
    let held = policy::role_holdings(&scene.global, &scene.snapshot, entry.key.as_str());
    let table = held.map(|held| held.table().clone()).unwrap_or_default();
    OrganizationRole {
        organization: organization.clone(),
        built_in: Role::is_built_in(&entry.key),
        role: entry.with(table),
    }
}

/// What is said of the role, if the organization has it.
pub(super) async fn require_role(
    transaction: &mut Transaction,
    organization: &OrganizationId,
    key: &RoleKey,
) -> Result<RoleEntry, Failure> {
    let found = transaction.role_entry(organization, key).await?;
    Ok(found.ok_or_else(|| not_found(organization, key))?)
}

fn not_found(organization: &OrganizationId, key: &RoleKey) -> Refusal {
    let message = format!("the organization `{organization}` has no role `{key}`");
    Refusal::new(Reason::RoleNotFound, message).with("role", key).with("organization", organization)
}
