//! Calls that the tests of several rules make, and looks at what they left in the database.

use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use portcullis::domain::revision::Token;
use portcullis::proto::v1;
use portcullis::proto::v1::consistency::Requirement;
use tonic::Status;

use crate::harness::{Client, member_spec, subject};

pub const HOUR: i64 = 3_600_000;

/// Milliseconds since the Unix epoch on the wire.
pub fn instant(millis: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).expect("below a second");
    prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos }
}

impl Client {
    pub async fn create(&self, portfolio: v1::Portfolio) -> Result<v1::Portfolio, Status> {
        let request =
            v1::CreatePortfolioRequest { portfolio: Some(portfolio), ..Default::default() };
        let created = self.portfolios().create_portfolio(request).await?.into_inner();
        Ok(created.portfolio.expect("a portfolio"))
    }

    pub async fn delete(&self, portfolio: &str) -> Result<v1::Portfolio, Status> {
        let request = v1::DeletePortfolioRequest {
            portfolio: portfolio.to_owned(),
            confirm_portfolio: portfolio.to_owned(),
            ..Default::default()
        };
        let deleted = self.portfolios().delete_portfolio(request).await?.into_inner();
        Ok(deleted.portfolio.expect("a portfolio"))
    }

    pub async fn archive(&self, portfolio: &str) -> Result<v1::Portfolio, Status> {
        let portfolio = portfolio.to_owned();
        let request = v1::ArchivePortfolioRequest { portfolio, ..Default::default() };
        let archived = self.portfolios().archive_portfolio(request).await?.into_inner();
        Ok(archived.portfolio.expect("a portfolio"))
    }

    pub async fn restore(&self, portfolio: &str) -> Result<v1::Portfolio, Status> {
        let portfolio = portfolio.to_owned();
        let request = v1::RestorePortfolioRequest { portfolio, ..Default::default() };
        let restored = self.portfolios().restore_portfolio(request).await?.into_inner();
        Ok(restored.portfolio.expect("a portfolio"))
    }

    pub async fn transfer(
        &self,
        portfolio: &str,
        new_owner: &str,
    ) -> Result<v1::Portfolio, Status> {
        let (portfolio, new_owner) = (portfolio.to_owned(), new_owner.to_owned());
        let request = v1::TransferOwnershipRequest { portfolio, new_owner, ..Default::default() };
        let transferred = self.portfolios().transfer_ownership(request).await?.into_inner();
        Ok(transferred.portfolio.expect("a portfolio"))
    }

    /// Moves a portfolio below another, or to the top, and links it there or not.
    pub async fn place(
        &self,
        portfolio: &str,
        parent: &str,
        link: bool,
    ) -> Result<v1::Portfolio, Status> {
        let (portfolio, parent) = (portfolio.to_owned(), parent.to_owned());
        let request = v1::MovePortfolioRequest { portfolio, parent, link, ..Default::default() };
        let moved = self.portfolios().move_portfolio(request).await?.into_inner();
        Ok(moved.portfolio.expect("a portfolio"))
    }

    pub async fn link(&self, portfolio: &str) -> Result<v1::Portfolio, Status> {
        let portfolio = portfolio.to_owned();
        let request = v1::LinkAccessSettingsRequest { portfolio, ..Default::default() };
        let linked = self.settings().link_access_settings(request).await?.into_inner();
        Ok(linked.portfolio.expect("a portfolio"))
    }

    /// Unlinks with a copy, or restoring what was before.
    pub async fn unlink(&self, portfolio: &str, restore: bool) -> Result<v1::Portfolio, Status> {
        let portfolio = portfolio.to_owned();
        let request = v1::UnlinkAccessSettingsRequest { portfolio, restore, ..Default::default() };
        let unlinked = self.settings().unlink_access_settings(request).await?.into_inner();
        Ok(unlinked.portfolio.expect("a portfolio"))
    }

    /// Compares a portfolio with its parent, page by page: the last answer, with all differences.
    pub async fn compare(
        &self,
        portfolio: &str,
    ) -> Result<v1::CompareAccessSettingsResponse, Status> {
        let mut request = v1::CompareAccessSettingsRequest {
            portfolio: portfolio.to_owned(),
            page_size: 2,
            ..Default::default()
        };
        let mut differences = Vec::new();
        loop {
            let answer = self.settings().compare_access_settings(request.clone()).await?;
            let mut answer = answer.into_inner();
            differences.append(&mut answer.differences);
            if answer.next_page_token.is_empty() {
                return Ok(v1::CompareAccessSettingsResponse { differences, ..answer });
            }
            request.page_token = answer.next_page_token;
        }
    }

    pub async fn settings_of(&self, portfolio: &str) -> Result<v1::AccessSettings, Status> {
        let request = v1::GetAccessSettingsRequest { portfolio: portfolio.to_owned() };
        let found = self.settings().get_access_settings(request).await?.into_inner();
        Ok(found.access_settings.expect("settings"))
    }

    pub async fn set_visibility(
        &self,
        portfolio: &str,
        visibility: v1::Visibility,
    ) -> Result<v1::AccessSettings, Status> {
        let portfolio = portfolio.to_owned();
        let visibility = visibility.into();
        self.set(v1::AccessSettings { portfolio, visibility, ..Default::default() }).await
    }

    pub async fn set_access_role(
        &self,
        portfolio: &str,
        role: &str,
    ) -> Result<v1::AccessSettings, Status> {
        let (portfolio, organization_access_role) = (portfolio.to_owned(), role.to_owned());
        let settings =
            v1::AccessSettings { portfolio, organization_access_role, ..Default::default() };
        self.set(settings).await
    }

    async fn set(&self, settings: v1::AccessSettings) -> Result<v1::AccessSettings, Status> {
        let request = v1::UpdateAccessSettingsRequest {
            access_settings: Some(settings),
            ..Default::default()
        };
        let updated = self.settings().update_access_settings(request).await?.into_inner();
        Ok(updated.access_settings.expect("settings"))
    }

    /// Adds several members, each with an outcome.
    pub async fn add_members(
        &self,
        request: v1::AddMembersRequest,
    ) -> Result<Vec<v1::AddMemberOutcome>, Status> {
        Ok(self.members().add_members(request).await?.into_inner().outcomes)
    }

    pub async fn update_member(
        &self,
        request: v1::UpdateMemberRequest,
    ) -> Result<v1::Member, Status> {
        let updated = self.members().update_member(request).await?.into_inner();
        Ok(updated.member.expect("a member"))
    }

    pub async fn set_role(
        &self,
        portfolio: &str,
        who: &str,
        role: &str,
    ) -> Result<v1::Member, Status> {
        let request = v1::UpdateMemberRequest { role: role.to_owned(), ..member(portfolio, who) };
        self.update_member(request).await
    }

    /// Sets or, without an instant, takes away the end of a member's access.
    pub async fn set_end(
        &self,
        portfolio: &str,
        who: &str,
        end: Option<i64>,
    ) -> Result<v1::Member, Status> {
        let paths = vec!["expire_time".to_owned()];
        self.update_member(v1::UpdateMemberRequest {
            expire_time: end.map(instant),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..member(portfolio, who)
        })
        .await
    }

    /// Deactivates a user; the token.
    pub async fn deactivate(&self, user: &str) -> String {
        let request = v1::DeactivateUserRequest { user: user.to_owned(), ..Default::default() };
        let done = self.directory().deactivate_user(request).await.expect("a user");
        done.into_inner().consistency_token
    }

    /// Reactivates a user; the token.
    pub async fn reactivate(&self, user: &str) -> String {
        let request = v1::ReactivateUserRequest { user: user.to_owned(), ..Default::default() };
        let done = self.directory().reactivate_user(request).await.expect("a user");
        done.into_inner().consistency_token
    }

    pub async fn set_site_role(&self, organization: &str, user: &str, role: v1::SiteRole) {
        let request = v1::SetSiteRoleRequest {
            organization: organization.to_owned(),
            user: user.to_owned(),
            site_role: role.into(),
            ..Default::default()
        };
        self.directory().set_site_role(request).await.expect("a site role");
    }

    /// Makes a user something in an organization.
    pub async fn affiliate(&self, organization: &str, user: &str, function: &str) {
        let request = v1::SetAffiliationRequest {
            organization: organization.to_owned(),
            user: user.to_owned(),
            function: function.to_owned(),
            ..Default::default()
        };
        self.directory().set_affiliation(request).await.expect("an affiliation");
    }

    /// Sets the role of a function on portfolios of a type.
    pub async fn set_ceiling(
        &self,
        organization: &str,
        function: &str,
        portfolio_type: &str,
        role: &str,
    ) {
        let request = v1::SetFunctionCeilingRequest {
            organization: organization.to_owned(),
            function: function.to_owned(),
            portfolio_type: portfolio_type.to_owned(),
            role: role.to_owned(),
            ..Default::default()
        };
        self.directory().set_function_ceiling(request).await.expect("a ceiling");
    }

    /// What came of each user.
    pub async fn upsert_users(&self, users: Vec<v1::User>) -> Vec<v1::UpsertUserOutcome> {
        let request = v1::UpsertUsersRequest { users, ..Default::default() };
        let done = self.directory().upsert_users(request).await.expect("outcomes");
        done.into_inner().outcomes
    }

    /// Puts one subject into a group.
    pub async fn join(&self, group: &str, who: &str) -> v1::GroupMemberOutcome {
        let request = v1::AddGroupMembersRequest {
            group: group.to_owned(),
            members: vec![subject(who)],
            ..Default::default()
        };
        let done = self.directory().add_group_members(request).await.expect("outcomes");
        done.into_inner().outcomes.remove(0)
    }

    /// Takes one subject out of a group; the token.
    pub async fn leave(&self, group: &str, who: &str) -> String {
        let request = v1::RemoveGroupMembersRequest {
            group: group.to_owned(),
            members: vec![subject(who)],
            ..Default::default()
        };
        let done = self.directory().remove_group_members(request).await.expect("outcomes");
        done.into_inner().consistency_token
    }

    /// Creates a role; the role and the token.
    pub async fn create_role(&self, role: v1::Role) -> Result<(v1::Role, String), Status> {
        let request = v1::CreateRoleRequest { role: Some(role), ..Default::default() };
        let created = self.roles().create_role(request).await?.into_inner();
        Ok((created.role.expect("a role"), created.consistency_token))
    }

    /// Changes what the paths name of a role; the role and the token.
    pub async fn update_role(
        &self,
        role: v1::Role,
        paths: &[&str],
    ) -> Result<(v1::Role, String), Status> {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        let request = v1::UpdateRoleRequest {
            role: Some(role),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        let updated = self.roles().update_role(request).await?.into_inner();
        Ok((updated.role.expect("a role"), updated.consistency_token))
    }

    /// Deletes a role of `acme`; an empty replacement is none.
    pub async fn delete_role(
        &self,
        role: &str,
        replacement: &str,
    ) -> Result<v1::DeleteRoleResponse, Status> {
        let request = v1::DeleteRoleRequest {
            organization: "acme".to_owned(),
            role: role.to_owned(),
            replacement: replacement.to_owned(),
            ..Default::default()
        };
        Ok(self.roles().delete_role(request).await?.into_inner())
    }

    /// A role of `acme`.
    pub async fn get_role(&self, role: &str) -> Result<v1::Role, Status> {
        let (organization, role) = ("acme".to_owned(), role.to_owned());
        let found = self.roles().get_role(v1::GetRoleRequest { organization, role }).await?;
        Ok(found.into_inner().role.expect("a role"))
    }

    /// A check of another moment, fully consistent.
    pub async fn check_at(
        &self,
        who: &str,
        permission: &str,
        portfolio: &str,
        at: i64,
    ) -> Result<v1::CheckPermissionResponse, Status> {
        let request = v1::CheckPermissionRequest {
            at: Some(instant(at)),
            ..question(who, permission, portfolio)
        };
        Ok(self.policy().check_permission(request).await?.into_inner())
    }

    /// A check of an act on something that `author` made.
    pub async fn check_on(
        &self,
        who: &str,
        permission: &str,
        portfolio: &str,
        author: Option<&str>,
    ) -> v1::CheckPermissionResponse {
        let item = v1::ItemReference {
            r#type: "comment".to_owned(),
            id: "c1".to_owned(),
            author: author.map(subject),
        };
        let request =
            v1::CheckPermissionRequest { item: Some(item), ..question(who, permission, portfolio) };
        self.policy().check_permission(request).await.expect("an answer").into_inner()
    }

    /// A check that is at least as fresh as a token.
    pub async fn check_after(
        &self,
        token: &str,
        who: &str,
        permission: &str,
        portfolio: &str,
    ) -> v1::CheckPermissionResponse {
        let requirement = Some(Requirement::AtLeastAsFresh(token.to_owned()));
        let answer = self.check_with(who, permission, portfolio, requirement).await;
        answer.expect("an answer")
    }

    /// Asks until memory answers: what the database answers names every shard.
    pub async fn warm_up(&self, who: &str, permission: &str, portfolio: &str) {
        for _ in 0..20_000 {
            let answer = self.check(who, permission, portfolio).await.expect("an answer");
            let token = Token::decode(&answer.consistency_token).expect("a token");
            if token.entries.len() < 17 {
                return;
            }
        }
        panic!("never from memory");
    }
}

/// A fully consistent check.
pub fn question(who: &str, permission: &str, portfolio: &str) -> v1::CheckPermissionRequest {
    let requirement = Some(Requirement::FullyConsistent(true));
    v1::CheckPermissionRequest {
        subject: Some(subject(who)),
        permission: permission.to_owned(),
        portfolio: portfolio.to_owned(),
        consistency: Some(v1::Consistency { requirement }),
        ..Default::default()
    }
}

/// An update of a member that changes nothing yet.
pub fn member(portfolio: &str, who: &str) -> v1::UpdateMemberRequest {
    v1::UpdateMemberRequest {
        portfolio: portfolio.to_owned(),
        subject: Some(subject(who)),
        ..Default::default()
    }
}

/// An addition of some members, without an end.
pub fn adding(portfolio: &str, members: &[&str], role: &str) -> v1::AddMembersRequest {
    v1::AddMembersRequest {
        portfolio: portfolio.to_owned(),
        members: members.iter().map(|who| member_spec(who)).collect(),
        role: role.to_owned(),
        ..Default::default()
    }
}

/// A private portfolio of `acme`.
pub fn portfolio(id: &str, owner: &str) -> v1::Portfolio {
    v1::Portfolio {
        id: id.to_owned(),
        organization: "acme".to_owned(),
        display_name: id.to_owned(),
        owner: owner.to_owned(),
        ..Default::default()
    }
}

/// A role of `acme` that holds some permissions: `comment.edit own`, `portfolio.view`.
pub fn custom_role(key: &str, permissions: &[&str]) -> v1::Role {
    v1::Role {
        organization: "acme".to_owned(),
        key: key.to_owned(),
        display_name: key.to_owned(),
        permissions: cells(permissions),
        ..Default::default()
    }
}

/// What a role holds: `comment.edit own`, `portfolio.view`.
pub fn cells(permissions: &[&str]) -> Vec<v1::RolePermission> {
    let cell = |text: &&str| {
        let (permission, reach) = match text.split_once(' ') {
            Some((name, "own")) => (name, v1::Reach::Own),
            _ => (*text, v1::Reach::Any),
        };
        v1::RolePermission { permission: permission.to_owned(), reach: reach.into() }
    };
    permissions.iter().map(cell).collect()
}

/// The reason why an entry of a batch was refused; none if it was not.
pub fn refused(outcome: &v1::AddMemberOutcome) -> Option<v1::ErrorReason> {
    let refusal = outcome.refusal.as_ref().map(v1::Refusal::reason);
    assert_eq!(refusal.is_some(), outcome.status() == v1::AddMemberStatus::Refused);
    refusal
}

pub async fn connect(url: &str) -> AsyncPgConnection {
    AsyncPgConnection::establish(url).await.expect("the database is there")
}

/// Runs statements of the test's own.
pub async fn execute(url: &str, sql: &str) {
    let done = connect(url).await.batch_execute(sql).await;
    done.unwrap_or_else(|error| panic!("`{sql}`: {error}"));
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

/// A number that the database works out.
pub async fn number(url: &str, expression: &str) -> i64 {
    let query = diesel::sql_query(format!("SELECT ({expression})::bigint AS value"));
    query.get_result::<Number>(&mut connect(url).await).await.expect("a number").value
}

/// Now, by the clock that decides.
pub async fn now(url: &str) -> i64 {
    number(url, "extract(epoch FROM clock_timestamp()) * 1000").await
}

#[derive(diesel::QueryableByName)]
struct Line {
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
}

/// Texts that the database works out, a row each.
pub async fn texts(url: &str, query: &str) -> Vec<String> {
    let query =
        diesel::sql_query(format!("SELECT value::text AS value FROM ({query}) AS q(value)"));
    let lines = query.load::<Line>(&mut connect(url).await).await.expect("texts");
    lines.into_iter().map(|line| line.value.unwrap_or_default()).collect()
}

#[derive(diesel::QueryableByName)]
struct Holds {
    #[diesel(sql_type = Bool)]
    holds: bool,
}

/// Asks again and again until it is so; each question is a round trip, and the whole is bounded.
pub async fn until(url: &str, condition: &str) {
    let mut connection = connect(url).await;
    for _ in 0..20_000 {
        let query = diesel::sql_query(format!("SELECT {condition} AS holds"));
        if query.get_result::<Holds>(&mut connection).await.expect("asked").holds {
            return;
        }
    }
    panic!("never so: {condition}");
}

/// A service account of `acme`: no call makes one yet. To be written before anything is asked
/// that memory could answer.
pub async fn service_account(url: &str, id: &str) {
    let insert = format!("INSERT INTO service_accounts VALUES ('{id}', 'acme', '{id}', false)");
    execute(url, &insert).await;
}
