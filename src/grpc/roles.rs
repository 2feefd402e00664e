use tonic::{Request, Response, Status};

use super::change_roles;
use super::parse::{self, Violations};
use super::{Services, context};
use crate::app::{DeletedRole, OrganizationRole, RegisterPermission};
use crate::config::Limits;
use crate::domain::page::{Page, encode_page_token};
use crate::domain::permission::{Effect, Permission, PermissionName};
use crate::domain::refusal::Refusal;
use crate::domain::role::{Reach, Role};
use crate::domain::{OrganizationId, RoleKey};
use crate::proto::v1;
use crate::proto::v1::role_service_server::RoleService;

/// What a page token of the catalogue is bound to: there are no other arguments.
const CATALOG_QUERY: &str = "ListCatalogPermissions";

#[tonic::async_trait]
impl RoleService for Services {
    async fn get_role(
        &self,
        request: Request<v1::GetRoleRequest>,
    ) -> Result<Response<v1::GetRoleResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let v1::GetRoleRequest { organization, role: key } = request;
        let mut violations = Violations::default();
        let organization = violations.check(parse::id("organization", &organization));
        let key = violations.check(parse::id("role", &key));
        let (organization, key) = violations.finish(organization.zip(key))?;
        let found = self.app.get_role(&context, &organization, &key).await?;
        Ok(Response::new(v1::GetRoleResponse {
            role: Some(role(found.value)),
            consistency_token: found.token.encode(),
        }))
    }

    async fn list_roles(
        &self,
        request: Request<v1::ListRolesRequest>,
    ) -> Result<Response<v1::ListRolesResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let (organization, page) = list_roles(request, &self.limits)?;
        let found = self.app.list_roles(&context, &organization, &page).await?;
        let next = found.value.next.map(|last| encode_page_token(&query(&organization), &last));
        Ok(Response::new(v1::ListRolesResponse {
            roles: found.value.rows.into_iter().map(role).collect(),
            next_page_token: next.unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn create_role(
        &self,
        request: Request<v1::CreateRoleRequest>,
    ) -> Result<Response<v1::CreateRoleResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = change_roles::create(request, &self.limits)?;
        let created = self.app.create_role(&context, &request).await?;
        Ok(Response::new(v1::CreateRoleResponse {
            role: Some(role(created.value)),
            consistency_token: created.token.encode(),
        }))
    }

    async fn update_role(
        &self,
        request: Request<v1::UpdateRoleRequest>,
    ) -> Result<Response<v1::UpdateRoleResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = change_roles::update(request, &self.limits)?;
        let updated = self.app.update_role(&context, &request).await?;
        Ok(Response::new(v1::UpdateRoleResponse {
            role: Some(role(updated.value)),
            consistency_token: updated.token.encode(),
        }))
    }

    async fn delete_role(
        &self,
        request: Request<v1::DeleteRoleRequest>,
    ) -> Result<Response<v1::DeleteRoleResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = change_roles::delete(request)?;
        let deleted = self.app.delete_role(&context, &request).await?;
        let DeletedRole { role: was, moved } = deleted.value;
        Ok(Response::new(v1::DeleteRoleResponse {
            role: Some(role(was)),
            moved_grants: moved.grants,
            moved_organization_access_roles: moved.organization_access_roles,
            moved_function_ceilings: moved.function_ceilings,
            moved_item_grants: moved.item_grants,
            moved_item_access_roles: moved.item_access_roles,
            consistency_token: deleted.token.encode(),
        }))
    }

    async fn list_catalog_permissions(
        &self,
        request: Request<v1::ListCatalogPermissionsRequest>,
    ) -> Result<Response<v1::ListCatalogPermissionsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let v1::ListCatalogPermissionsRequest { page_size, page_token } = request;
        let mut violations = Violations::default();
        let page = (page_size, page_token.as_str());
        let page: Option<Page<PermissionName>> =
            parse::page(&mut violations, CATALOG_QUERY, page, self.limits.max_page_size);
        let page = violations.finish(page)?;
        let found = self.app.list_catalog_permissions(&context, &page).await?;
        let next = found.value.next.map(|last| encode_page_token(CATALOG_QUERY, &last));
        Ok(Response::new(v1::ListCatalogPermissionsResponse {
            permissions: found.value.rows.iter().map(permission).collect(),
            next_page_token: next.unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn register_permission(
        &self,
        request: Request<v1::RegisterPermissionRequest>,
    ) -> Result<Response<v1::RegisterPermissionResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = register(request)?;
        let registered = self.app.register_permission(&context, &request).await?;
        Ok(Response::new(v1::RegisterPermissionResponse {
            permission: Some(permission(&registered.value)),
            consistency_token: registered.token.encode(),
        }))
    }
}

fn list_roles(
    request: v1::ListRolesRequest,
    limits: &Limits,
) -> Result<(OrganizationId, Page<RoleKey>), Refusal> {
    let v1::ListRolesRequest { organization, page_size, page_token } = request;
    let mut violations = Violations::default();
    let organization = violations.check(parse::id("organization", &organization));
    let query = organization.as_ref().map(query).unwrap_or_default();
    let page = parse::page(&mut violations, &query, (page_size, &page_token), limits.max_page_size);
    violations.finish(organization.zip(page))
}

/// What a page token of an organization's roles is bound to.
fn query(organization: &OrganizationId) -> String {
    format!("ListRoles {organization}")
}

fn register(request: v1::RegisterPermissionRequest) -> Result<RegisterPermission, Refusal> {
    let v1::RegisterPermissionRequest { request_id: _, permission } = request;
    let Some(permission) = permission else {
        return Err(Refusal::field("permission", "must be given"));
    };
    let v1::CatalogPermission {
        name,
        effect,
        may_be_own,
        internal_only,
        // Output only.
        registered: _,
    } = permission;
    let mut violations = Violations::default();
    let wrong = |error| Refusal::field("permission.name", error);
    let name = violations.check(name.parse::<PermissionName>().map_err(wrong));
    let effect = violations.check(self::effect("permission.effect", effect));
    violations.finish((|| {
        Some(RegisterPermission { name: name?, effect: effect?, may_be_own, internal_only })
    })())
}

fn effect(field: &str, effect: i32) -> Result<Effect, Refusal> {
    match v1::PermissionEffect::try_from(effect) {
        Ok(v1::PermissionEffect::Read) => Ok(Effect::Read),
        Ok(v1::PermissionEffect::Change) => Ok(Effect::Change),
        Ok(v1::PermissionEffect::Revoke) => Ok(Effect::Revoke),
        Ok(v1::PermissionEffect::Unspecified) | Err(_) => {
            let description = "must be `PERMISSION_EFFECT_READ`, `PERMISSION_EFFECT_CHANGE` or \
                               `PERMISSION_EFFECT_REVOKE`";
            Err(Refusal::field(field, description))
        }
    }
}

fn permission(permission: &Permission) -> v1::CatalogPermission {
    let Permission { name, ordinal: _, effect, may_be_own, internal_only, registered } = permission;
    let effect = match effect {
        Effect::Read => v1::PermissionEffect::Read,
        Effect::Change => v1::PermissionEffect::Change,
        Effect::Revoke => v1::PermissionEffect::Revoke,
    };
    v1::CatalogPermission {
        name: name.to_string(),
        effect: effect.into(),
        may_be_own: *may_be_own,
        internal_only: *internal_only,
        registered: *registered,
    }
}

fn role(role: OrganizationRole) -> v1::Role {
    let OrganizationRole { organization, role, built_in } = role;
    let etag = role.etag();
    let Role {
        key,
        display_name,
        description,
        table,
        // In the etag.
        version: _,
    } = role;
    let reach = |reach| match reach {
        Reach::Own => v1::Reach::Own,
        Reach::Any => v1::Reach::Any,
    };
    let permission = |(name, far): (PermissionName, Reach)| v1::RolePermission {
        permission: name.to_string(),
        reach: reach(far).into(),
    };
    v1::Role {
        organization: organization.to_string(),
        key: key.to_string(),
        display_name,
        permissions: table.into_iter().map(permission).collect(),
        built_in,
        description,
        etag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rol_1_a_name_is_two_parts_and_an_effect_is_one_of_three() {
        let register = |name: &str, effect: i32| {
            let name = name.to_owned();
            let permission = v1::CatalogPermission { name, effect, ..Default::default() };
            let request = v1::RegisterPermissionRequest {
                permission: Some(permission),
                ..Default::default()
            };
            super::register(request)
        };
        assert_eq!(register("budget.approve", 2).unwrap().effect, Effect::Change);
        for name in ["", "budget", "Budget.approve", "budget.approve.all", ".approve", "1.a"] {
            let refusal = register(name, 2).unwrap_err();
            assert_eq!(refusal.violations[0].field, "permission.name", "{name}");
        }
        assert!(register(&format!("a.{}", "b".repeat(127)), 1).is_err());
        for effect in [0, 4, -1] {
            let refusal = register("budget.approve", effect).unwrap_err();
            assert_eq!(refusal.violations[0].field, "permission.effect", "{effect}");
        }
        assert!(super::register(v1::RegisterPermissionRequest::default()).is_err());
    }
}
