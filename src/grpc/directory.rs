//! The directory: what is parsed and rendered here is in `organizations`, `users`, `affiliations`,
//! `function_ceilings`, `service_accounts` and `groups`.

use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use super::{
    Services, affiliations, context, function_ceilings, groups, organizations, service_accounts,
    users,
};
use crate::app::ListedUsers;
use crate::domain::GroupId;
use crate::domain::page::{Listed, encode_page_token};
use crate::proto::v1;
use crate::proto::v1::directory_service_server::DirectoryService;

#[tonic::async_trait]
impl DirectoryService for Services {
    async fn create_organization(
        &self,
        request: Request<v1::CreateOrganizationRequest>,
    ) -> Result<Response<v1::CreateOrganizationResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = organizations::create(request, &self.limits)?;
        let created = self.app.create_organization(&context, &request).await?;
        Ok(Response::new(v1::CreateOrganizationResponse {
            organization: Some(organizations::render(created.value)),
            consistency_token: created.token.encode(),
        }))
    }

    async fn get_organization(
        &self,
        request: Request<v1::GetOrganizationRequest>,
    ) -> Result<Response<v1::GetOrganizationResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let v1::GetOrganizationRequest { organization } = request;
        let id = parse::id("organization", &organization)?;
        let found = self.app.get_organization(&context, &id).await?;
        Ok(Response::new(v1::GetOrganizationResponse {
            organization: Some(organizations::render(found.value)),
            consistency_token: found.token.encode(),
        }))
    }

    async fn upsert_users(
        &self,
        request: Request<v1::UpsertUsersRequest>,
    ) -> Result<Response<v1::UpsertUsersResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let entries = users::upsert(request, &self.limits)?;
        let done = self.app.upsert_users(&context, &entries).await?;
        let outcomes = done.value.into_iter().enumerate();
        Ok(Response::new(v1::UpsertUsersResponse {
            outcomes: outcomes.map(|(at, outcome)| users::outcome(at, outcome)).collect(),
            consistency_token: done.token.encode(),
        }))
    }

    async fn get_user(
        &self,
        request: Request<v1::GetUserRequest>,
    ) -> Result<Response<v1::GetUserResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let v1::GetUserRequest { user } = request;
        let id = parse::id("user", &user)?;
        let found = self.app.get_user(&context, &id).await?;
        let roles = found.value.site_roles.iter();
        Ok(Response::new(v1::GetUserResponse {
            site_roles: roles.map(|(at, role)| users::site_role(at, &id, *role)).collect(),
            user: Some(users::render(found.value.user)),
            affiliations: found.value.affiliations.into_iter().map(affiliations::render).collect(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn deactivate_user(
        &self,
        request: Request<v1::DeactivateUserRequest>,
    ) -> Result<Response<v1::DeactivateUserResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let v1::DeactivateUserRequest { request_id: _, user } = request;
        let id = parse::id("user", &user)?;
        let done = self.app.deactivate_user(&context, &id).await?;
        Ok(Response::new(v1::DeactivateUserResponse {
            user: Some(users::render(done.value)),
            consistency_token: done.token.encode(),
        }))
    }

    async fn reactivate_user(
        &self,
        request: Request<v1::ReactivateUserRequest>,
    ) -> Result<Response<v1::ReactivateUserResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let v1::ReactivateUserRequest { request_id: _, user } = request;
        let id = parse::id("user", &user)?;
        let done = self.app.reactivate_user(&context, &id).await?;
        Ok(Response::new(v1::ReactivateUserResponse {
            user: Some(users::render(done.value)),
            consistency_token: done.token.encode(),
        }))
    }

    async fn set_site_role(
        &self,
        request: Request<v1::SetSiteRoleRequest>,
    ) -> Result<Response<v1::SetSiteRoleResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let (organization, user, role) = users::set_site_role(request)?;
        let set = self.app.set_site_role(&context, &organization, &user, role).await?;
        let (organization, user, role) = set.value;
        Ok(Response::new(v1::SetSiteRoleResponse {
            user_site_role: Some(users::site_role(&organization, &user, role)),
            consistency_token: set.token.encode(),
        }))
    }

    async fn set_affiliation(
        &self,
        request: Request<v1::SetAffiliationRequest>,
    ) -> Result<Response<v1::SetAffiliationResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let affiliation = affiliations::set(request)?;
        let set = self.app.set_affiliation(&context, &affiliation).await?;
        Ok(Response::new(v1::SetAffiliationResponse {
            affiliation: Some(affiliations::render(set.value)),
            consistency_token: set.token.encode(),
        }))
    }

    async fn remove_affiliation(
        &self,
        request: Request<v1::RemoveAffiliationRequest>,
    ) -> Result<Response<v1::RemoveAffiliationResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let affiliation = affiliations::remove(request)?;
        let removed = self.app.remove_affiliation(&context, &affiliation).await?;
        Ok(Response::new(v1::RemoveAffiliationResponse {
            affiliation: Some(affiliations::render(removed.value)),
            consistency_token: removed.token.encode(),
        }))
    }

    async fn set_function_ceiling(
        &self,
        request: Request<v1::SetFunctionCeilingRequest>,
    ) -> Result<Response<v1::SetFunctionCeilingResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let ceiling = function_ceilings::set(request)?;
        let set = self.app.set_function_ceiling(&context, &ceiling).await?;
        Ok(Response::new(v1::SetFunctionCeilingResponse {
            function_ceiling: Some(function_ceilings::render(set.value)),
            consistency_token: set.token.encode(),
        }))
    }

    async fn list_function_ceilings(
        &self,
        request: Request<v1::ListFunctionCeilingsRequest>,
    ) -> Result<Response<v1::ListFunctionCeilingsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let (request, query) = function_ceilings::list(request, &self.limits)?;
        let found = self.app.list_function_ceilings(&context, &request).await?;
        let Listed { rows, next } = found.value;
        Ok(Response::new(v1::ListFunctionCeilingsResponse {
            function_ceilings: rows.into_iter().map(function_ceilings::render).collect(),
            next_page_token: next.map(|last| encode_page_token(&query, &last)).unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn delete_function_ceiling(
        &self,
        request: Request<v1::DeleteFunctionCeilingRequest>,
    ) -> Result<Response<v1::DeleteFunctionCeilingResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let (organization, key) = function_ceilings::delete(request)?;
        let deleted = self.app.delete_function_ceiling(&context, &organization, &key).await?;
        Ok(Response::new(v1::DeleteFunctionCeilingResponse {
            function_ceiling: Some(function_ceilings::render(deleted.value)),
            consistency_token: deleted.token.encode(),
        }))
    }

    async fn upsert_group(
        &self,
        request: Request<v1::UpsertGroupRequest>,
    ) -> Result<Response<v1::UpsertGroupResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = groups::upsert(request, &self.limits)?;
        let done = self.app.upsert_group(&context, &request).await?;
        let (group, status) = done.value;
        Ok(Response::new(v1::UpsertGroupResponse {
            group: Some(groups::render(group)),
            status: users::upsert_status(status).into(),
            consistency_token: done.token.encode(),
        }))
    }

    async fn get_group(
        &self,
        request: Request<v1::GetGroupRequest>,
    ) -> Result<Response<v1::GetGroupResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let (id, page) = groups::get(request, &self.limits)?;
        let found = self.app.get_group(&context, &id, &page).await?;
        let Listed { rows, next } = found.value.members;
        let next_page_token = next.map(|last| encode_page_token(&groups::page_query(&id), &last));
        Ok(Response::new(v1::GetGroupResponse {
            members: rows.iter().map(super::render::subject).collect(),
            group: Some(groups::render(found.value.group)),
            next_page_token: next_page_token.unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn add_group_members(
        &self,
        request: Request<v1::AddGroupMembersRequest>,
    ) -> Result<Response<v1::AddGroupMembersResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let v1::AddGroupMembersRequest { request_id: _, group, members } = request;
        let mut violations = Violations::default();
        let group: Option<GroupId> = violations.check(parse::id("group", &group));
        violations.check(parse::batch("members", members.len(), self.limits.max_batch));
        let group = violations.finish(group)?;
        let entries = groups::members(&members);
        let done = self.app.add_group_members(&context, &group, &entries).await?;
        let words = (v1::GroupMemberStatus::Added, v1::GroupMemberStatus::AlreadyMember);
        Ok(Response::new(v1::AddGroupMembersResponse {
            outcomes: groups::outcomes(members, done.value, words),
            consistency_token: done.token.encode(),
        }))
    }

    async fn remove_group_members(
        &self,
        request: Request<v1::RemoveGroupMembersRequest>,
    ) -> Result<Response<v1::RemoveGroupMembersResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let v1::RemoveGroupMembersRequest { request_id: _, group, members } = request;
        let mut violations = Violations::default();
        let group: Option<GroupId> = violations.check(parse::id("group", &group));
        violations.check(parse::batch("members", members.len(), self.limits.max_batch));
        let group = violations.finish(group)?;
        let entries = groups::members(&members);
        let done = self.app.remove_group_members(&context, &group, &entries).await?;
        let words = (v1::GroupMemberStatus::Removed, v1::GroupMemberStatus::NotMember);
        Ok(Response::new(v1::RemoveGroupMembersResponse {
            outcomes: groups::outcomes(members, done.value, words),
            consistency_token: done.token.encode(),
        }))
    }

    async fn update_organization(
        &self,
        request: Request<v1::UpdateOrganizationRequest>,
    ) -> Result<Response<v1::UpdateOrganizationResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = organizations::update(request, &self.limits)?;
        let updated = self.app.update_organization(&context, &request).await?;
        Ok(Response::new(v1::UpdateOrganizationResponse {
            organization: Some(organizations::render(updated.value)),
            consistency_token: updated.token.encode(),
        }))
    }

    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let (request, query) = users::list(request, &self.limits)?;
        let found = self.app.list_users(&context, &request).await?;
        let ListedUsers { users, affiliations, next } = found.value;
        let next_page_token = next.map(|last| encode_page_token(&query, &last));
        Ok(Response::new(v1::ListUsersResponse {
            users: users.into_iter().map(users::render).collect(),
            affiliations: affiliations.into_iter().map(affiliations::render).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let id = users::delete(request)?;
        let done = self.app.delete_user(&context, &id).await?;
        Ok(Response::new(v1::DeleteUserResponse {
            user: Some(users::render(done.value)),
            consistency_token: done.token.encode(),
        }))
    }

    async fn upsert_service_accounts(
        &self,
        request: Request<v1::UpsertServiceAccountsRequest>,
    ) -> Result<Response<v1::UpsertServiceAccountsResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let entries = service_accounts::upsert(request, &self.limits)?;
        let done = self.app.upsert_service_accounts(&context, &entries).await?;
        let outcomes = done.value.into_iter().enumerate();
        Ok(Response::new(v1::UpsertServiceAccountsResponse {
            outcomes: outcomes.map(|(at, done)| service_accounts::outcome(at, done)).collect(),
            consistency_token: done.token.encode(),
        }))
    }

    async fn list_service_accounts(
        &self,
        request: Request<v1::ListServiceAccountsRequest>,
    ) -> Result<Response<v1::ListServiceAccountsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let (organization, page) = service_accounts::list(request, &self.limits)?;
        let found = self.app.list_service_accounts(&context, &organization, &page).await?;
        let (accounts, next) = found.value;
        let query = service_accounts::page_query(organization.as_str());
        let next_page_token = next.map(|last| encode_page_token(&query, &last));
        Ok(Response::new(v1::ListServiceAccountsResponse {
            service_accounts: accounts.into_iter().map(service_accounts::render).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn deactivate_service_account(
        &self,
        request: Request<v1::DeactivateServiceAccountRequest>,
    ) -> Result<Response<v1::DeactivateServiceAccountResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let v1::DeactivateServiceAccountRequest { request_id: _, service_account } = request;
        let id = parse::id("service_account", &service_account)?;
        let done = self.app.deactivate_service_account(&context, &id).await?;
        Ok(Response::new(v1::DeactivateServiceAccountResponse {
            service_account: Some(service_accounts::render(done.value)),
            consistency_token: done.token.encode(),
        }))
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let (organization, page) = groups::list(request, &self.limits)?;
        let found = self.app.list_groups(&context, &organization, &page).await?;
        let Listed { rows, next } = found.value;
        let query = groups::list_query(&organization);
        Ok(Response::new(v1::ListGroupsResponse {
            groups: rows.into_iter().map(groups::render).collect(),
            next_page_token: next.map(|last| encode_page_token(&query, &last)).unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn delete_group(
        &self,
        request: Request<v1::DeleteGroupRequest>,
    ) -> Result<Response<v1::DeleteGroupResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let id = groups::delete(request)?;
        let deleted = self.app.delete_group(&context, &id).await?;
        Ok(Response::new(v1::DeleteGroupResponse {
            group: Some(groups::render(deleted.value)),
            consistency_token: deleted.token.encode(),
        }))
    }
}
