//! The random worlds of `worlds` through the whole product: written over gRPC to either of two
//! server processes, asked of both, by every road, and compared with the oracle.

#![allow(clippy::disallowed_methods, reason = "the servers are processes, on the machine's clocks")]

mod directory;
mod items;
mod links;
mod portfolios;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use portcullis::domain::access_settings::Visibility as ModelVisibility;
use portcullis::domain::revision::{Epoch, Token};
use portcullis::domain::{ItemKey, Subject as DomainSubject};
use portcullis::proto::v1::consistency::Requirement;
use portcullis::proto::v1::*;
use proptest::collection::vec;
use proptest::prop_oneof;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::cluster::database;
use crate::oracle::{Model, Operation, Question, Why};
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

/// Owns what nobody in the world owns, and goes on managing what is handed on: there is always a
/// manager (MEM-6).
const OWNER: &str = "owner";

struct Stage {
    processes: [Process; 2],
    hours: Hours,
    model: Model,
    /// Every portfolio id that was ever used.
    used: BTreeSet<String>,
    /// The portfolio that each is below.
    parents: BTreeMap<String, String>,
    /// How often an item of this name was registered.
    registered: BTreeMap<ItemKey, u32>,
    token: String,
    /// What the questions were about, and how often.
    seen: BTreeMap<String, usize>,
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
        let mut stage = Self {
            processes,
            hours,
            model: Model { portfolios: Vec::new(), items: Vec::new(), ..model.clone() },
            used: BTreeSet::new(),
            parents: BTreeMap::new(),
            registered: BTreeMap::new(),
            token: String::new(),
            seen: BTreeMap::new(),
            turn: 0,
        };
        stage.write_directory(database_url).await;
        // Those that are linked after those that they are linked to.
        let mut portfolios = model.portfolios.clone();
        portfolios.sort_by_key(|portfolio| model.chain(&portfolio.id).len());
        for portfolio in portfolios {
            stage.perform(&Operation::CreatePortfolio { portfolio }).await;
        }
        for item in model.items {
            stage.perform(&Operation::PutItem { item }).await;
        }
        stage
    }

    fn writer(&mut self) -> &mut Process {
        self.turn += 1;
        &mut self.processes[self.turn % 2]
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
            Operation::SetLink { portfolio, link } => {
                self.set_link(portfolio, link.as_deref()).await
            }
            Operation::Unlink { portfolio } => self.unlink(portfolio).await,
            // Of these the model was brought along.
            Operation::SetOwner { portfolio, owner } => {
                self.set_owner(portfolio, owner.as_deref()).await;
                false
            }
            Operation::PutItem { item } => {
                self.put_item(item).await;
                false
            }
            Operation::DeleteItem { key } => {
                self.delete_item(key).await;
                false
            }
        }
    }

    /// Asks one process, by one road.
    async fn ask(
        &mut self,
        process: usize,
        question: &Question,
        requirement: Option<Requirement>,
    ) -> Option<(bool, DecisionReason)> {
        let (item_type, id) = match &question.item {
            Some(key) => (key.item_type.to_string(), self.item_id(key)),
            None => ("comment".to_owned(), "c1".to_owned()),
        };
        let author = question.author.as_ref().map(subject);
        let item = ItemReference { r#type: item_type, id, author };
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
        for what in self.about(question) {
            *self.seen.entry(what).or_default() += 1;
        }
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

    /// What the answer rests on.
    fn about(&self, question: &Question) -> Vec<String> {
        let Some((allowed, why)) = self.model.check(question) else {
            return vec!["no such permission".to_owned()];
        };
        let answer = if allowed { "allowed" } else { "denied" };
        let mut what = vec![format!("{why:?}")];
        if self.is_linked(&question.portfolio) {
            what.push(format!("linked: {answer}"));
        }
        if let Some(item) = self.model.item(question) {
            let kind = if item.settings.is_some() { "independent" } else { "inheriting" };
            what.push(format!("{kind}: {answer}"));
        }
        what
    }

    /// Of many questions those that are the least like those before.
    fn rarest(&self, mut questions: Vec<Question>) -> Vec<Question> {
        let often = |what: &String| self.seen.get(what).copied().unwrap_or_default();
        questions.sort_by_cached_key(|q| self.about(q).iter().map(often).min());
        questions.truncate(5);
        questions
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

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![2 => worlds::operation_on_items(), 1 => worlds::relinking()]
}

#[tokio::test(flavor = "multi_thread")]
async fn rev_1_rev_2_both_processes_agree_with_the_oracle_at_every_token() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..3_u8 {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let database = database().await;
        let world = worlds::with_links(worlds::with_administrators(worlds::world()));
        let model = draw(&mut runner, worlds::world_with_items(world));
        let mut stage = Stage::set(&database.url, model).await;
        for round in 0..60 {
            let operation = draw(&mut runner, operation());
            // What is deleted never comes back: not before the second half.
            if round >= 30 || !matches!(operation, Operation::DeletePortfolio { .. }) {
                stage.perform(&operation).await;
            }
            let some = vec(prop_oneof![worlds::question(), worlds::question_on_item()], 40);
            let questions = draw(&mut runner, some);
            let questions = stage.rarest(questions);
            for question in &questions {
                stage.compare(question).await;
            }
            stage.compare_by_default(&questions[0]).await;
        }
        for (what, count) in stage.seen {
            *seen.entry(what).or_default() += count;
        }
    }
    // They are worth what the worlds are worth.
    let rare = seen.values().filter(|count| **count < 5).count();
    assert!(seen.len() == 22 && rare == 0, "{seen:#?}");
}
