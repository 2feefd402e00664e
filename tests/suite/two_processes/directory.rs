//! The directory and the roles of a world, and their changes.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use portcullis::domain::Subject as DomainSubject;
use portcullis::domain::directory::SiteRole as ModelSiteRole;
use portcullis::domain::role::Reach as ModelReach;
use portcullis::proto::v1::*;

use super::{OWNER, Stage, subject};
use crate::oracle::{Operation, Role as ModelRole};

impl Stage {
    pub(super) async fn write_directory(&mut self, database_url: &str) {
        let model = self.model.clone();
        let organization = Organization {
            id: model.organization.clone(),
            display_name: "Acme".into(),
            ..Organization::default()
        };
        let request =
            CreateOrganizationRequest { organization: Some(organization), ..Default::default() };
        self.writer().directory.create_organization(request).await.unwrap();
        self.write_service_accounts(database_url).await;
        let user = |id: &str, home: bool| User {
            id: id.to_owned(),
            email: format!("{id}@acme.example"),
            home_organization: if home { model.organization.clone() } else { String::new() },
            ..User::default()
        };
        let mut users: Vec<User> = model.users.iter().map(|u| user(&u.id, u.home)).collect();
        users.push(user(OWNER, true));
        let request = UpsertUsersRequest { users, ..Default::default() };
        self.writer().directory.upsert_users(request).await.unwrap();
        self.write_administrators().await;
        for known in &model.users {
            if let Some(role) = known.site_role {
                self.set_site_role(&known.id, role).await;
            }
            if known.deactivated {
                let (user, deactivated) = (known.id.clone(), true);
                self.apply(&Operation::SetDeactivated { user, deactivated }).await;
            }
        }
        for group in &model.groups {
            let group = Group {
                id: group.id.clone(),
                organization: model.organization.clone(),
                display_name: group.id.clone(),
            };
            let request = UpsertGroupRequest { group: Some(group), ..Default::default() };
            self.writer().directory.upsert_group(request).await.unwrap();
        }
        for group in &model.groups {
            let members = group.members.iter().map(subject).collect();
            let request =
                AddGroupMembersRequest { group: group.id.clone(), members, ..Default::default() };
            if !group.members.is_empty() {
                self.writer().directory.add_group_members(request).await.unwrap();
            }
        }
    }

    async fn write_administrators(&mut self) {
        let users = self.model.users.iter().filter(|user| user.administrator);
        let organization = Organization {
            id: self.model.organization.clone(),
            administrators: users.map(|user| user.id.clone()).collect(),
            ..Organization::default()
        };
        if organization.administrators.is_empty() {
            return;
        }
        let paths = vec!["administrators".to_owned()];
        let request = UpdateOrganizationRequest {
            organization: Some(organization),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        self.writer().directory.update_organization(request).await.unwrap();
    }

    /// There is no way to write service accounts through the front door yet: they are put into the
    /// table before anything of the organization is in memory.
    pub(super) async fn write_service_accounts(&self, database_url: &str) {
        let mut connection = AsyncPgConnection::establish(database_url).await.unwrap();
        for account in &self.model.service_accounts {
            let insert = format!(
                "INSERT INTO service_accounts (id, organization, display_name, deactivated)
                 VALUES ('{}', '{}', '', {})",
                account.id, self.model.organization, !account.active
            );
            connection.batch_execute(&insert).await.unwrap();
        }
    }

    pub(super) async fn set_site_role(&mut self, user: &str, role: ModelSiteRole) {
        let site_role = match role {
            ModelSiteRole::Guest => SiteRole::Guest,
            ModelSiteRole::Viewer => SiteRole::Viewer,
            ModelSiteRole::Editor => SiteRole::Editor,
        };
        let request = SetSiteRoleRequest {
            organization: self.model.organization.clone(),
            user: user.to_owned(),
            site_role: site_role.into(),
            ..Default::default()
        };
        self.writer().directory.set_site_role(request).await.unwrap();
    }

    pub(super) async fn add_group_member(
        &mut self,
        group: &str,
        member: &DomainSubject,
    ) -> GroupMemberStatus {
        let (group, members) = (group.to_owned(), vec![subject(member)]);
        let request = AddGroupMembersRequest { group, members, ..Default::default() };
        let response = self.writer().directory.add_group_members(request).await.unwrap();
        let response = response.into_inner();
        self.token = response.consistency_token;
        response.outcomes[0].status()
    }

    pub(super) async fn set_role(&mut self, role: &ModelRole) {
        let cell = |(name, reach): &(String, ModelReach)| RolePermission {
            permission: name.clone(),
            reach: match reach {
                ModelReach::Own => Reach::Own.into(),
                ModelReach::Any => Reach::Any.into(),
            },
        };
        let role = Role {
            organization: self.model.organization.clone(),
            key: role.key.clone(),
            permissions: role.cells.iter().map(cell).collect(),
            ..Default::default()
        };
        let paths = vec!["permissions".to_owned()];
        let request = UpdateRoleRequest {
            role: Some(role),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        let response = self.writer().roles.update_role(request).await.unwrap();
        self.token = response.into_inner().consistency_token;
    }

    pub(super) async fn set_deactivated(&mut self, user: String, deactivated: bool) {
        let directory = &mut self.writer().directory;
        self.token = if deactivated {
            let request = DeactivateUserRequest { user, ..Default::default() };
            directory.deactivate_user(request).await.unwrap().into_inner().consistency_token
        } else {
            let request = ReactivateUserRequest { user, ..Default::default() };
            directory.reactivate_user(request).await.unwrap().into_inner().consistency_token
        };
    }
}
