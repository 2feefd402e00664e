//! The world that a test starts from, in the words of the test.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use portcullis::proto::v1;

use crate::harness::{Client, member_spec, subject};

/// Collects what there shall be; awaiting it writes it, and hands back the token of the last
/// write. Whatever is refused fails the test.
pub struct Given {
    client: Client,
    organizations: Vec<v1::Organization>,
    users: Vec<v1::User>,
    site_roles: Vec<v1::UserSiteRole>,
    service_accounts: Vec<v1::ServiceAccount>,
    /// Whose what follows is, if it was there before.
    existing: Option<String>,
    groups: Vec<(v1::Group, Vec<v1::Subject>)>,
    portfolios: Vec<Portfolio>,
    deactivated: Vec<String>,
}

struct Portfolio {
    request: v1::CreatePortfolioRequest,
    grants: Vec<v1::AddMembersRequest>,
}

impl Given {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            organizations: Vec::new(),
            users: Vec::new(),
            site_roles: Vec::new(),
            service_accounts: Vec::new(),
            existing: None,
            groups: Vec::new(),
            portfolios: Vec::new(),
            deactivated: Vec::new(),
        }
    }

    /// An organization; what follows belongs to it. It has the user `ORGANIZATION-owner`, who owns
    /// the portfolios for which nobody else is named.
    pub fn organization(mut self, id: &str) -> Self {
        self.organizations.push(v1::Organization {
            id: id.to_owned(),
            display_name: id.to_owned(),
            domains: vec![format!("{id}.example")],
            ..v1::Organization::default()
        });
        self.user(&format!("{id}-owner"))
    }

    /// Changes of visibility in the organization wait for an administrator's approval.
    pub fn approving(mut self) -> Self {
        self.organizations.last_mut().expect("an organization before").privacy_approval = true;
        self
    }

    /// The preset of the organization.
    pub fn made_from(mut self, preset: &str) -> Self {
        let organization = self.organizations.last_mut().expect("an organization before");
        preset.clone_into(&mut organization.preset);
        self
    }

    /// An organization that is there already; what follows belongs to it.
    pub fn in_organization(mut self, id: &str) -> Self {
        self.existing = Some(id.to_owned());
        self
    }

    /// A service account of the organization.
    pub fn service_account(mut self, id: &str) -> Self {
        let (organization, display_name) = (self.current(), id.to_owned());
        let account =
            v1::ServiceAccount { id: id.to_owned(), organization, display_name, status: 0 };
        self.service_accounts.push(account);
        self
    }

    /// A user at home in the organization, `ID@ORGANIZATION.example`.
    pub fn user(mut self, id: &str) -> Self {
        let home = self.current();
        self.users.push(v1::User {
            id: id.to_owned(),
            email: format!("{id}@{home}.example"),
            display_name: id.to_owned(),
            home_organization: home,
            ..v1::User::default()
        });
        self
    }

    /// A user at home nowhere, `ID@elsewhere.example`.
    pub fn external(mut self, id: &str) -> Self {
        self.users.push(v1::User {
            id: id.to_owned(),
            email: format!("{id}@elsewhere.example"),
            display_name: id.to_owned(),
            ..v1::User::default()
        });
        self
    }

    /// The site role of a user in the organization.
    pub fn site_role(mut self, user: &str, role: v1::SiteRole) -> Self {
        let (organization, user) = (self.current(), user.to_owned());
        self.site_roles.push(v1::UserSiteRole { organization, user, site_role: role.into() });
        self
    }

    /// A user of the organization who administers it.
    pub fn administrator(mut self, user: &str) -> Self {
        let organization = self.current();
        let found = self.organizations.iter_mut().find(|found| found.id == organization);
        found.expect("an organization before").administrators.push(user.to_owned());
        self
    }

    /// A user who is deactivated once everything else is there.
    pub fn deactivated(mut self, user: &str) -> Self {
        self.deactivated.push(user.to_owned());
        self
    }

    /// A group of the organization, with members: `user:ben`, `group:core`.
    pub fn group(mut self, id: &str, members: &[&str]) -> Self {
        let (organization, display_name) = (self.current(), id.to_owned());
        let group = v1::Group { id: id.to_owned(), organization, display_name };
        self.groups.push((group, members.iter().map(|member| subject(member)).collect()));
        self
    }

    /// A portfolio of the organization, private unless said; what follows is about it.
    pub fn portfolio(mut self, id: &str) -> Self {
        let organization = self.current();
        let portfolio = v1::Portfolio {
            id: id.to_owned(),
            owner: format!("{organization}-owner"),
            organization,
            display_name: id.to_owned(),
            ..v1::Portfolio::default()
        };
        let request = v1::CreatePortfolioRequest {
            portfolio: Some(portfolio),
            ..v1::CreatePortfolioRequest::default()
        };
        self.portfolios.push(Portfolio { request, grants: Vec::new() });
        self
    }

    /// Who owns the portfolio.
    pub fn owned_by(mut self, user: &str) -> Self {
        user.clone_into(&mut self.last().owner);
        self
    }

    /// The portfolio that it is directly below; what is linked to it has its settings.
    pub fn below(mut self, parent: &str) -> Self {
        parent.clone_into(&mut self.last().parent);
        self
    }

    /// Its settings are its parent's from the start.
    pub fn linked(mut self) -> Self {
        self.last().linked = true;
        self
    }

    /// Internal users enter, with the organization access role.
    pub fn open(self) -> Self {
        self.visibility(v1::Visibility::Open)
    }

    /// Internal users see it, and enter only after joining.
    pub fn restricted(self) -> Self {
        self.visibility(v1::Visibility::Restricted)
    }

    /// The organization access role of the portfolio.
    pub fn openly_giving(mut self, role: &str) -> Self {
        let portfolio = self.portfolios.last_mut().expect("a portfolio before");
        role.clone_into(&mut portfolio.request.organization_access_role);
        self
    }

    /// A manager beside the owner.
    pub fn with_manager(self, user: &str) -> Self {
        self.with(&format!("user:{user}"), "manager")
    }

    /// A grant that does not end: `user:ann`, `group:core`.
    pub fn with(self, who: &str, role: &str) -> Self {
        self.granting(who, role, None, None)
    }

    /// A grant that begins and ends.
    pub fn granting(
        mut self,
        who: &str,
        role: &str,
        start_time: Option<prost_types::Timestamp>,
        expire_time: Option<prost_types::Timestamp>,
    ) -> Self {
        let portfolio = self.last().id.clone();
        let end = expire_time.map(v1::add_members_request::End::ExpireTime);
        let grant = v1::AddMembersRequest {
            request_id: String::new(),
            portfolio,
            members: vec![member_spec(who)],
            role: role.to_owned(),
            start_time,
            end,
        };
        self.portfolios.last_mut().expect("a portfolio before").grants.push(grant);
        self
    }

    fn visibility(mut self, visibility: v1::Visibility) -> Self {
        self.last().visibility = Some(visibility.into());
        self
    }

    fn current(&self) -> String {
        let new = self.organizations.last().map(|organization| organization.id.clone());
        new.or_else(|| self.existing.clone()).expect("an organization before")
    }

    fn last(&mut self) -> &mut v1::Portfolio {
        let portfolio = self.portfolios.last_mut().expect("a portfolio before");
        portfolio.request.portfolio.as_mut().expect("always there")
    }

    async fn write(self) -> String {
        let mut token = self.write_directory().await;
        let (mut portfolios, mut members) = (self.client.portfolios(), self.client.members());
        for portfolio in self.portfolios {
            let created = portfolios.create_portfolio(portfolio.request).await;
            token = created.expect("a portfolio").into_inner().consistency_token;
            for grant in portfolio.grants {
                let added = members.add_members(grant).await.expect("a grant").into_inner();
                for outcome in &added.outcomes {
                    assert_eq!(outcome.status(), v1::AddMemberStatus::Added, "{outcome:?}");
                }
                token = added.consistency_token;
            }
        }
        let mut directory = self.client.directory();
        for user in self.deactivated {
            let request =
                v1::DeactivateUserRequest { user, ..v1::DeactivateUserRequest::default() };
            let done = directory.deactivate_user(request).await.expect("a user").into_inner();
            token = done.consistency_token;
        }
        token
    }

    async fn write_directory(&self) -> String {
        let mut directory = self.client.directory();
        let mut token = String::new();
        for organization in &self.organizations {
            let request = v1::CreateOrganizationRequest {
                organization: Some(organization.clone()),
                ..v1::CreateOrganizationRequest::default()
            };
            let created = directory.create_organization(request).await;
            token = created.expect("an organization").into_inner().consistency_token;
        }
        if !self.users.is_empty() {
            let request = v1::UpsertUsersRequest {
                users: self.users.clone(),
                ..v1::UpsertUsersRequest::default()
            };
            let done = directory.upsert_users(request).await.expect("users").into_inner();
            let refused = done.outcomes.iter().find(|outcome| outcome.refusal.is_some());
            assert_eq!(refused, None);
            token = done.consistency_token;
        }
        for organization in self.organizations.iter().filter(|o| !o.administrators.is_empty()) {
            let paths = vec!["administrators".to_owned()];
            let request = v1::UpdateOrganizationRequest {
                organization: Some(organization.clone()),
                update_mask: Some(prost_types::FieldMask { paths }),
                ..v1::UpdateOrganizationRequest::default()
            };
            let updated = directory.update_organization(request).await;
            token = updated.expect("administrators").into_inner().consistency_token;
        }
        if !self.service_accounts.is_empty() {
            let request = v1::UpsertServiceAccountsRequest {
                service_accounts: self.service_accounts.clone(),
                ..v1::UpsertServiceAccountsRequest::default()
            };
            let done = directory.upsert_service_accounts(request).await.expect("accounts");
            token = done.into_inner().consistency_token;
        }
        for v1::UserSiteRole { organization, user, site_role } in self.site_roles.clone() {
            let request_id = String::new();
            let request = v1::SetSiteRoleRequest { request_id, organization, user, site_role };
            let set = directory.set_site_role(request).await.expect("a site role").into_inner();
            token = set.consistency_token;
        }
        // All groups first, so that they may name one another in any order.
        for (group, _) in &self.groups {
            let request = v1::UpsertGroupRequest {
                group: Some(group.clone()),
                ..v1::UpsertGroupRequest::default()
            };
            let done = directory.upsert_group(request).await.expect("a group").into_inner();
            token = done.consistency_token;
        }
        for (group, members) in self.groups.iter().filter(|(_, members)| !members.is_empty()) {
            let request = v1::AddGroupMembersRequest {
                request_id: String::new(),
                group: group.id.clone(),
                members: members.clone(),
            };
            let done = directory.add_group_members(request).await.expect("members").into_inner();
            let refused = done.outcomes.iter().find(|outcome| outcome.refusal.is_some());
            assert_eq!(refused, None);
            token = done.consistency_token;
        }
        token
    }
}

impl IntoFuture for Given {
    type Output = String;
    type IntoFuture = Pin<Box<dyn Future<Output = String> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.write())
    }
}
