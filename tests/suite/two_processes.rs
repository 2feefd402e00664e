//! The random worlds of `worlds` through the whole product: written over gRPC to either of two
//! server processes, asked of both, by every road, and compared with the oracle.

#![allow(clippy::disallowed_methods, reason = "the servers are processes, on the machine's clocks")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use portcullis::domain::Subject as DomainSubject;
use portcullis::domain::access_settings::Visibility as ModelVisibility;
use portcullis::domain::directory::SiteRole as ModelSiteRole;
use portcullis::domain::revision::{Epoch, Token};
use portcullis::domain::role::Reach as ModelReach;
use portcullis::proto::v1::consistency::Requirement;
use portcullis::proto::v1::*;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::cluster::database;
use crate::oracle::{
    Grant as ModelGrant, Model, Operation, Portfolio as ModelPortfolio, Question,
    Role as ModelRole, Why,
};
use crate::process::Process;
use crate::worlds;

/// The worlds' clock: its instants are hours, and the 85th is when the test began, so that every
/// instant of a grant or a question lies ahead.
struct Hours(i64);

impl Hours {
    fn instant(&self, hour: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds: self.0 + (hour - 85) * 3_600, nanos: 0 }
    }
}

struct Stage {
    processes: [Process; 2],
    hours: Hours,
    model: Model,
    /// Every portfolio id that was ever used.
    used: BTreeSet<String>,
    token: String,
    /// Which process does the next write.
    turn: usize,
}

fn subject(subject: &DomainSubject) -> Subject {
    let id = subject.id().to_owned();
    Subject {
        kind: Some(match subject {
            DomainSubject::User(_) => subject::Kind::User(id),
            DomainSubject::Group(_) => subject::Kind::Group(id),
            DomainSubject::ServiceAccount(_) => subject::Kind::ServiceAccount(id),
        }),
    }
}

fn visibility(visibility: ModelVisibility) -> i32 {
    match visibility {
        ModelVisibility::Private => Visibility::Private as i32,
        ModelVisibility::Restricted => Visibility::Restricted as i32,
        ModelVisibility::Open => Visibility::Open as i32,
    }
}

fn reason(why: Why) -> DecisionReason {
    match why {
        Why::DirectGrant => DecisionReason::DirectGrant,
        Why::GroupGrant => DecisionReason::GroupGrant,
        Why::OrganizationAccess => DecisionReason::OrganizationAccess,
        Why::Administrator => DecisionReason::Administrator,
        Why::PortfolioUnknown => DecisionReason::PortfolioUnknown,
        Why::SubjectUnknown => DecisionReason::SubjectUnknown,
        Why::SubjectDeactivated => DecisionReason::SubjectDeactivated,
        Why::NoAccess => DecisionReason::NoAccess,
        Why::PermissionMissing => DecisionReason::PermissionMissing,
        Why::NotAuthor => DecisionReason::NotAuthor,
        Why::AuthorUnknown => DecisionReason::AuthorUnknown,
        Why::InternalOnly => DecisionReason::InternalOnly,
        Why::Archived => DecisionReason::Archived,
        Why::ItemUnknown => DecisionReason::ItemUnknown,
        Why::ItemNoAccess => DecisionReason::ItemNoAccess,
    }
}

impl Stage {
    async fn set(database_url: &str, model: Model) -> Self {
        let processes = [Process::start(database_url).await, Process::start(database_url).await];
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let hours = Hours(i64::try_from(now.as_secs()).unwrap());
        let empty = Model { portfolios: Vec::new(), ..model.clone() };
        let (used, token) = (BTreeSet::new(), String::new());
        let mut stage = Self { processes, hours, model: empty, used, token, turn: 0 };
        stage.write_directory(database_url).await;
        for portfolio in model.portfolios {
            stage.perform(&Operation::CreatePortfolio { portfolio }).await;
        }
        stage
    }

    fn writer(&mut self) -> &mut Process {
        self.turn += 1;
        &mut self.processes[self.turn % 2]
    }

    async fn write_directory(&mut self, database_url: &str) {
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
        users.push(user("owner", true));
        let request = UpsertUsersRequest { users, ..Default::default() };
        self.writer().directory.upsert_users(request).await.unwrap();
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

    /// There is no way to write service accounts through the front door yet: they are put into the
    /// table before anything of the organization is in memory.
    async fn write_service_accounts(&self, database_url: &str) {
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

    async fn set_site_role(&mut self, user: &str, role: ModelSiteRole) {
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

    /// Does the operation, and expects of it what the model does.
    async fn perform(&mut self, operation: &Operation) {
        if self.apply(operation).await {
            self.model.perform(operation);
        }
    }

    /// Does the operation; false if it was refused, as it had to be.
    async fn apply(&mut self, operation: &Operation) -> bool {
        match operation {
            Operation::AddGroupMember { group, member } => {
                let mut changed = self.model.clone();
                let expected = changed.perform(operation);
                let outcome = self.add_group_member(group, member).await;
                assert_eq!(outcome == GroupMemberStatus::Added, expected, "{operation:?}");
                expected
            }
            Operation::RemoveGroupMember { group, member } => {
                let (group, members) = (group.clone(), vec![subject(member)]);
                let request = RemoveGroupMembersRequest { group, members, ..Default::default() };
                let response = self.writer().directory.remove_group_members(request).await;
                self.token = response.unwrap().into_inner().consistency_token;
                true
            }
            Operation::SetDeactivated { user, deactivated } => {
                self.set_deactivated(user.clone(), *deactivated).await;
                true
            }
            Operation::AddGrant { portfolio, grant } => self.add_grant(portfolio, grant).await,
            Operation::RemoveGrants { portfolio, subject } => {
                self.remove_grants(portfolio, subject).await
            }
            Operation::SetSettings { portfolio, visibility, organization_access_role } => {
                self.set_settings(portfolio, *visibility, organization_access_role).await
            }
            Operation::CreatePortfolio { portfolio } => {
                Box::pin(self.create_portfolio(portfolio)).await;
                // The model was brought along grant by grant.
                false
            }
            Operation::SetArchived { portfolio, archived } => {
                self.set_archived(portfolio, *archived).await
            }
            Operation::DeletePortfolio { portfolio } => self.delete_portfolio(portfolio).await,
            Operation::SetRole { role } => {
                self.set_role(role).await;
                true
            }
            Operation::SetLink { .. } | Operation::SetOwner { .. } => {
                panic!("these worlds have no links")
            }
            Operation::PutItem { .. } | Operation::DeleteItem { .. } => {
                panic!("these worlds have no items")
            }
        }
    }

    async fn add_group_member(&mut self, group: &str, member: &DomainSubject) -> GroupMemberStatus {
        let (group, members) = (group.to_owned(), vec![subject(member)]);
        let request = AddGroupMembersRequest { group, members, ..Default::default() };
        let response = self.writer().directory.add_group_members(request).await.unwrap();
        let response = response.into_inner();
        self.token = response.consistency_token;
        response.outcomes[0].status()
    }

    async fn set_role(&mut self, role: &ModelRole) {
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

    async fn set_deactivated(&mut self, user: String, deactivated: bool) {
        let directory = &mut self.writer().directory;
        self.token = if deactivated {
            let request = DeactivateUserRequest { user, ..Default::default() };
            directory.deactivate_user(request).await.unwrap().into_inner().consistency_token
        } else {
            let request = ReactivateUserRequest { user, ..Default::default() };
            directory.reactivate_user(request).await.unwrap().into_inner().consistency_token
        };
    }

    /// Whether a portfolio of the model has this id.
    fn has(&self, portfolio: &str) -> bool {
        self.model.portfolios.iter().any(|known| known.id == portfolio)
    }

    /// Whether a portfolio of the model is archived.
    fn is_archived(&self, portfolio: &str) -> bool {
        self.model.portfolio(portfolio).is_some_and(|known| known.archived)
    }

    /// How a change of a portfolio is refused that is archived, or not there.
    fn refusal_of_changes(&self, portfolio: &str) -> Option<tonic::Code> {
        match (self.has(portfolio), self.is_archived(portfolio)) {
            (false, _) => Some(tonic::Code::NotFound),
            (true, true) => Some(tonic::Code::FailedPrecondition),
            (true, false) => None,
        }
    }

    async fn add_grant(&mut self, portfolio: &str, grant: &ModelGrant) -> bool {
        let expire_time = grant.expire.map(|hour| self.hours.instant(hour));
        let id = grant.subject.id().to_owned();
        let request = AddMembersRequest {
            portfolio: portfolio.to_owned(),
            members: vec![MemberSpec {
                kind: Some(match &grant.subject {
                    DomainSubject::User(_) => member_spec::Kind::User(id),
                    DomainSubject::Group(_) => member_spec::Kind::Group(id),
                    DomainSubject::ServiceAccount(_) => member_spec::Kind::ServiceAccount(id),
                }),
            }],
            role: grant.role.clone(),
            start_time: grant.start.map(|hour| self.hours.instant(hour)),
            end: expire_time.map(add_members_request::End::ExpireTime),
            ..Default::default()
        };
        let backwards = matches!((grant.start, grant.expire), (Some(s), Some(e)) if e <= s);
        let expected = self.expected_addition(portfolio, grant);
        match self.writer().members.add_members(request).await {
            Err(status) if backwards || self.refusal_of_changes(portfolio).is_some() => {
                let code = self.refusal_of_changes(portfolio);
                let code = code.unwrap_or(tonic::Code::InvalidArgument);
                assert_eq!(status.code(), code, "{status:?}");
                false
            }
            response => {
                let response = response.unwrap().into_inner();
                self.token = response.consistency_token;
                assert_eq!(response.outcomes[0].status(), expected, "{grant:?}");
                expected == AddMemberStatus::Added
            }
        }
    }

    fn expected_addition(&self, portfolio: &str, grant: &ModelGrant) -> AddMemberStatus {
        let mut portfolios = self.model.portfolios.iter();
        let member = portfolios.any(|known| {
            known.id == portfolio && known.grants.iter().any(|g| g.subject == grant.subject)
        });
        let id = grant.subject.id();
        let active = !self.model.users.iter().any(|user| user.id == id && user.deactivated)
            && self.model.service_accounts.iter().all(|account| account.id != id || account.active);
        let internal = self.model.is_internal(&grant.subject);
        let account = matches!(grant.subject, DomainSubject::ServiceAccount(_));
        match (member, internal && active) {
            // A service account that was deactivated is refused before its grants are looked at.
            (true, false) if account => AddMemberStatus::Refused,
            (true, _) => AddMemberStatus::AlreadyMember,
            (false, true) => AddMemberStatus::Added,
            (false, false) => AddMemberStatus::Refused,
        }
    }

    async fn remove_grants(&mut self, portfolio: &str, member: &DomainSubject) -> bool {
        let mut portfolios = self.model.portfolios.iter();
        let expected = portfolios
            .any(|p| p.id == portfolio && p.grants.iter().any(|grant| grant.subject == *member));
        let (portfolio, subject) = (portfolio.to_owned(), Some(subject(member)));
        let request = RemoveMemberRequest { portfolio, subject, ..Default::default() };
        match self.writer().members.remove_member(request).await {
            Ok(response) => {
                assert!(expected, "{member} was no member");
                self.token = response.into_inner().consistency_token;
            }
            Err(status) => {
                assert!(!expected, "{status:?}");
                assert_eq!(status.code(), tonic::Code::NotFound);
            }
        }
        expected
    }

    async fn set_settings(&mut self, id: &str, wanted: ModelVisibility, role: &str) -> bool {
        let access_settings = AccessSettings {
            portfolio: id.to_owned(),
            visibility: visibility(wanted),
            organization_access_role: role.to_owned(),
            ..Default::default()
        };
        let paths = vec!["visibility".to_owned(), "organization_access_role".to_owned()];
        let request = UpdateAccessSettingsRequest {
            access_settings: Some(access_settings),
            update_mask: Some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        let refusal = self.refusal_of_changes(id);
        match self.writer().settings.update_access_settings(request).await {
            Ok(response) => self.token = response.into_inner().consistency_token,
            Err(status) => assert_eq!(Some(status.code()), refusal, "{status:?}"),
        }
        refusal.is_none()
    }

    async fn set_archived(&mut self, id: &str, archived: bool) -> bool {
        let portfolio = id.to_owned();
        let refusal = match self.has(id) {
            true if self.is_archived(id) == archived => Some(tonic::Code::FailedPrecondition),
            true => None,
            false => Some(tonic::Code::NotFound),
        };
        let portfolios = &mut self.writer().portfolios;
        let token = if archived {
            let request = ArchivePortfolioRequest { portfolio, ..Default::default() };
            let response = portfolios.archive_portfolio(request).await;
            response.map(|response| response.into_inner().consistency_token)
        } else {
            let request = RestorePortfolioRequest { portfolio, ..Default::default() };
            let response = portfolios.restore_portfolio(request).await;
            response.map(|response| response.into_inner().consistency_token)
        };
        match token {
            Ok(token) => self.token = token,
            Err(status) => assert_eq!(Some(status.code()), refusal, "{status:?}"),
        }
        refusal.is_none()
    }

    async fn create_portfolio(&mut self, wanted: &ModelPortfolio) {
        let portfolio = Portfolio {
            id: wanted.id.clone(),
            organization: self.model.organization.clone(),
            display_name: wanted.id.clone(),
            owner: "owner".to_owned(),
            visibility: Some(visibility(wanted.visibility)),
            ..Default::default()
        };
        let request = CreatePortfolioRequest {
            portfolio: Some(portfolio),
            organization_access_role: wanted.organization_access_role.clone(),
            ..Default::default()
        };
        let fresh = self.used.insert(wanted.id.clone());
        match self.writer().portfolios.create_portfolio(request).await {
            Ok(response) => {
                assert!(fresh, "an id was used again");
                self.token = response.into_inner().consistency_token;
            }
            Err(status) => {
                assert!(!fresh, "{status:?}");
                assert_eq!(status.code(), tonic::Code::AlreadyExists);
                return;
            }
        }
        let portfolio = ModelPortfolio { grants: Vec::new(), archived: false, ..wanted.clone() };
        self.model.perform(&Operation::CreatePortfolio { portfolio });
        for grant in &wanted.grants {
            let (portfolio, grant) = (wanted.id.clone(), grant.clone());
            self.perform(&Operation::AddGrant { portfolio, grant }).await;
        }
        if wanted.archived {
            let (portfolio, archived) = (wanted.id.clone(), true);
            self.perform(&Operation::SetArchived { portfolio, archived }).await;
        }
    }

    async fn delete_portfolio(&mut self, portfolio: &str) -> bool {
        let request = DeletePortfolioRequest {
            portfolio: portfolio.to_owned(),
            confirm_portfolio: portfolio.to_owned(),
            ..Default::default()
        };
        let expected = self.has(portfolio);
        match self.writer().portfolios.delete_portfolio(request).await {
            Ok(response) => self.token = response.into_inner().consistency_token,
            Err(status) => {
                assert!(!expected, "{status:?}");
                assert_eq!(status.code(), tonic::Code::NotFound);
            }
        }
        expected
    }

    /// Asks one process, by one road.
    async fn ask(
        &mut self,
        process: usize,
        question: &Question,
        requirement: Option<Requirement>,
    ) -> Option<(bool, DecisionReason)> {
        let item = ItemReference {
            r#type: "comment".to_owned(),
            id: "c1".to_owned(),
            author: question.author.as_ref().map(subject),
        };
        let request = CheckPermissionRequest {
            subject: Some(subject(&question.subject)),
            permission: question.permission.clone(),
            portfolio: question.portfolio.clone(),
            item: Some(item),
            consistency: requirement.map(|r| Consistency { requirement: Some(r) }),
            at: Some(self.hours.instant(question.at)),
        };
        match self.processes[process].policy.check_permission(request).await {
            Ok(response) => {
                let response = response.into_inner();
                Some((response.allowed, response.reason()))
            }
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
                None
            }
        }
    }

    /// Asks both processes by every road: with the last write's token, fully consistent, and with
    /// a token of another history, which only the primary can answer.
    async fn compare(&mut self, question: &Question) {
        let expected = self.model.check(question).map(|(allowed, why)| (allowed, reason(why)));
        let foreign = Token { epoch: Epoch(uuid::Uuid::from_u128(1)), entries: Vec::new() };
        let roads = [
            Requirement::AtLeastAsFresh(self.token.clone()),
            Requirement::FullyConsistent(true),
            Requirement::AtLeastAsFresh(foreign.encode()),
        ];
        for process in 0..2 {
            for road in &roads {
                let answer = self.ask(process, question, Some(road.clone())).await;
                assert_eq!(answer, expected, "process {process}, {road:?}: {question:?}");
            }
        }
    }

    /// Without any token both processes follow within the staleness bound.
    async fn compare_by_default(&mut self, question: &Question) {
        let expected = self.model.check(question).map(|(allowed, why)| (allowed, reason(why)));
        let began = Instant::now();
        for process in 0..2 {
            while self.ask(process, question, None).await != expected {
                assert!(began.elapsed() < Duration::from_secs(2), "stale: {question:?}");
            }
        }
    }
}

/// Draws values from a strategy with a fixed seed: a failure can be seen again.
fn draw<T: std::fmt::Debug>(runner: &mut TestRunner, strategy: impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).expect("a value").current()
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_1_rev_2_both_processes_agree_with_the_oracle_at_every_token() {
    for seed in 0..3_u8 {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let database = database().await;
        let model = draw(&mut runner, worlds::world());
        let mut stage = Stage::set(&database.url, model).await;
        for _ in 0..40 {
            let operation = draw(&mut runner, worlds::operation());
            stage.perform(&operation).await;
            for _ in 0..4 {
                let question = draw(&mut runner, worlds::question());
                stage.compare(&question).await;
            }
            let question = draw(&mut runner, worlds::question());
            stage.compare_by_default(&question).await;
        }
    }
}
