use std::collections::HashSet;

use super::parse::{self, Violations, too_many};
use crate::app::{CreateRole, DeleteRole, RoleCell, UpdateRole};
use crate::config::Limits;
use crate::domain::RoleKey;
use crate::domain::permission::MAX_CATALOG_ENTRIES;
use crate::domain::refusal::Refusal;
use crate::domain::role::Reach;
use crate::proto::v1;

pub(super) fn create(
    request: v1::CreateRoleRequest,
    limits: &Limits,
) -> Result<CreateRole, Refusal> {
    let v1::CreateRoleRequest { request_id: _, role } = request;
    let Some(role) = role else { return Err(Refusal::field("role", "must be given")) };
    let v1::Role {
        organization,
        key,
        display_name,
        permissions,
        description,
        // Output only, or for updates.
        built_in: _,
        etag: _,
    } = role;
    let most = limits.max_string_bytes;
    let mut violations = Violations::default();
    let v = &mut violations;
    let organization = v.check(parse::id("role.organization", &organization));
    let key = v.check(parse::id("role.key", &key));
    let display_name = v.check(parse::display_name("role.display_name", display_name, most));
    let description = v.check(parse::description("role.description", description, most));
    let permissions = cells(v, permissions);
    violations.finish((|| {
        Some(CreateRole {
            organization: organization?,
            key: key?,
            display_name: display_name?,
            description: description?,
            permissions,
        })
    })())
}

const DISPLAY_NAME: &str = "display_name";
const DESCRIPTION: &str = "description";
const PERMISSIONS: &str = "permissions";

/// Fields that the mask does not name are not looked at.
pub(super) fn update(
    request: v1::UpdateRoleRequest,
    limits: &Limits,
) -> Result<UpdateRole, Refusal> {
    let v1::UpdateRoleRequest { request_id: _, role, update_mask } = request;
    let Some(role) = role else { return Err(Refusal::field("role", "must be given")) };
    let v1::Role {
        organization,
        key,
        display_name,
        permissions,
        description,
        etag,
        // Output only.
        built_in: _,
    } = role;
    let most = limits.max_string_bytes;
    let mut violations = Violations::default();
    let v = &mut violations;
    let organization = v.check(parse::id("role.organization", &organization));
    let key = v.check(parse::id("role.key", &key));
    let etag = v.check(parse::etag("role.etag", etag));
    let fields = [
        (DISPLAY_NAME, !display_name.is_empty()),
        (DESCRIPTION, !description.is_empty()),
        (PERMISSIONS, !permissions.is_empty()),
    ];
    let named = v.check(parse::update_mask(update_mask.as_ref(), &fields)).unwrap_or_default();
    let if_named = |field| named.contains(&field).then_some(());
    let display_name = if_named(DISPLAY_NAME)
        .and_then(|()| v.check(parse::display_name("role.display_name", display_name, most)));
    let description = if_named(DESCRIPTION)
        .and_then(|()| v.check(parse::description("role.description", description, most)));
    let permissions = if_named(PERMISSIONS).map(|()| cells(v, permissions));
    violations.finish((|| {
        Some(UpdateRole {
            organization: organization?,
            key: key?,
            display_name,
            description,
            permissions,
            etag: etag?,
        })
    })())
}

pub(super) fn delete(request: v1::DeleteRoleRequest) -> Result<DeleteRole, Refusal> {
    let v1::DeleteRoleRequest { request_id: _, organization, role, replacement, etag } = request;
    let mut violations = Violations::default();
    let organization = violations.check(parse::id("organization", &organization));
    let key: Option<RoleKey> = violations.check(parse::id("role", &role));
    let another = match parse::optional_id::<RoleKey>("replacement", &replacement) {
        Ok(Some(other)) if key.as_ref() == Some(&other) => {
            Err(Refusal::field("replacement", "must be another role than the one to delete"))
        }
        parsed => parsed,
    };
    let replacement = violations.check(another);
    let etag = violations.check(parse::etag("etag", etag));
    violations.finish((|| {
        Some(DeleteRole {
            organization: organization?,
            key: key?,
            replacement: replacement?,
            etag: etag?,
        })
    })())
}

/// What a role is to permit. The names are looked up in the catalogue later.
fn cells(violations: &mut Violations, given: Vec<v1::RolePermission>) -> Vec<RoleCell> {
    let most = usize::from(MAX_CATALOG_ENTRIES);
    if given.len() > most {
        violations.check::<()>(Err(too_many("role.permissions", given.len(), most)));
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let mut cells = Vec::with_capacity(given.len());
    for (at, v1::RolePermission { permission, reach }) in given.into_iter().enumerate() {
        let path = format!("role.permissions[{at}]");
        if !seen.insert(permission.clone()) {
            let description = "repeats an earlier one; name each permission once";
            let repeated = Refusal::field(format!("{path}.permission"), description);
            violations.check::<()>(Err(repeated));
        }
        let reach = violations.check(self::reach(&format!("{path}.reach"), reach));
        cells.extend(reach.map(|reach| RoleCell { permission, reach }));
    }
    cells
}

fn reach(field: &str, given: i32) -> Result<Reach, Refusal> {
    match v1::Reach::try_from(given) {
        Ok(v1::Reach::Own) => Ok(Reach::Own),
        Ok(v1::Reach::Any) => Ok(Reach::Any),
        Ok(v1::Reach::Unspecified) | Err(_) => {
            Err(Refusal::field(field, "must be `REACH_OWN` or `REACH_ANY`"))
        }
    }
}
