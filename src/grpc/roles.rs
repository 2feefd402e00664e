use tonic::{Request, Response, Status};

use super::Services;
use crate::proto::v1;
use crate::proto::v1::role_service_server::RoleService;

#[tonic::async_trait]
impl RoleService for Services {
    async fn get_role(
        &self,
        _request: Request<v1::GetRoleRequest>,
    ) -> Result<Response<v1::GetRoleResponse>, Status> {
        Err(Status::unimplemented("get_role"))
    }

    async fn list_roles(
        &self,
        _request: Request<v1::ListRolesRequest>,
    ) -> Result<Response<v1::ListRolesResponse>, Status> {
        Err(Status::unimplemented("list_roles"))
    }

    async fn list_catalog_permissions(
        &self,
        _request: Request<v1::ListCatalogPermissionsRequest>,
    ) -> Result<Response<v1::ListCatalogPermissionsResponse>, Status> {
        Err(Status::unimplemented("list_catalog_permissions"))
    }

    async fn register_permission(
        &self,
        _request: Request<v1::RegisterPermissionRequest>,
    ) -> Result<Response<v1::RegisterPermissionResponse>, Status> {
        Err(Status::unimplemented("register_permission"))
    }
}
