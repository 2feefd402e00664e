//! A database, a cache that follows it by hand, and the tools to write and to do harm.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use portcullis::cache::{Cache, ColdCause, Current, Freshness, Options, Requirement, World};
use portcullis::clock::Clock;
use portcullis::domain::access_settings::{AccessSettings, Visibility};
use portcullis::domain::caller::{Actor, Caller, Principal};
use portcullis::domain::directory::{Email, ExternalsJoin, Group, Organization, SiteRole, User};
use portcullis::domain::membership::{Grant, GrantSource};
use portcullis::domain::portfolio::{Portfolio, PortfolioState};
use portcullis::domain::revision::{Shard, Token};
use portcullis::domain::role::Preset;
use portcullis::domain::{OrganizationId, Subject, Timestamp};
use portcullis::policy::{Query, check};
use portcullis::storage::grants::MemberChange;
use portcullis::storage::{self, Failure, Scope, Storage, Write, WriteContext};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::cluster::{TestDatabase, database};

pub const ACME: &str = "acme";
pub const HOUR: Duration = Duration::from_secs(3_600);
/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Site {
    pub storage: Storage,
    pub clock: Clock,
    pub cache: Cache,
    pub database: TestDatabase,
    options: Options,
    _following: DropGuard,
}

/// One thing that a write does.
pub enum Step<'a> {
    Organization(&'a str),
    /// A user at home in an organization.
    User(&'a str, &'a str),
    Group(&'a str, &'a str),
    Join(&'a str, &'a str, &'a str),
    Leave(&'a str, &'a str, &'a str),
    /// A private portfolio.
    Portfolio(&'a str, &'a str),
    DeletePortfolio(&'a str),
    /// Organization, portfolio, subject: a viewer.
    Grant(&'a str, &'a str, &'a str),
    Deactivate(&'a str),
    /// Says that it is here, and waits until it may go on.
    Pause(&'a Gate),
}

#[derive(Default)]
pub struct Gate {
    pub reached: Notify,
    pub open: Notify,
}

/// Rounds are run by hand: the next poll is never due.
pub fn by_hand() -> Options {
    Options { poll_interval: HOUR, ..Options::default() }
}

pub async fn site() -> Site {
    site_with(by_hand()).await
}

/// A site with Ann in the group `crew`, and the private portfolio `secret`; nothing loaded.
pub async fn site_with(options: Options) -> Site {
    let database = database().await;
    let pools = storage::Options {
        url: database.url.clone(),
        write_connections: 3,
        read_connections: 1,
        pool_wait: Duration::from_secs(5),
    };
    let storage = Storage::connect(&pools).await.unwrap();
    let clock = Clock::manual(Timestamp(1_000_000));
    let cancel = CancellationToken::new();
    let cache = Cache::start(storage.clone(), clock.clone(), options, cancel.clone());
    let site = Site { storage, clock, cache, database, options, _following: cancel.drop_guard() };
    site.write(&[
        Step::Organization(ACME),
        Step::User("ann", ACME),
        Step::Group("crew", ACME),
        Step::Join("crew", ACME, "user:ann"),
        Step::Portfolio("secret", ACME),
    ])
    .await;
    site.cache.ready().await;
    assert!(site.cache.round_now().await);
    site
}

impl Site {
    /// Another replica: the same database, another cache on the same clock.
    pub fn replica(&self) -> (Cache, DropGuard) {
        self.replica_with(self.options)
    }

    /// Another replica, which follows the database in another way.
    pub fn replica_with(&self, options: Options) -> (Cache, DropGuard) {
        let cancel = CancellationToken::new();
        let (storage, clock) = (self.storage.clone(), self.clock.clone());
        let cache = Cache::start(storage, clock, options, cancel.clone());
        (cache, cancel.drop_guard())
    }

    pub async fn load(&self, organization: &str) {
        self.cache.want(organization.parse().unwrap());
        self.cache.until(|world| world.organization(organization).is_some()).await;
    }

    /// Writes all of it in one transaction.
    pub async fn write(&self, steps: &[Step<'_>]) -> Token {
        let context = &WriteContext {
            principal: Principal { caller: Caller::trusted(), actor: Actor::System },
            request_id: Uuid::now_v7().to_string(),
            fingerprint: [0; 32],
            deadline: Instant::now() + Duration::from_secs(20),
        };
        let scopes: Vec<Scope> = steps.iter().filter_map(scope).collect();
        let body = async |write: &mut Write| perform_all(write, steps).await;
        self.storage.write(context, scopes, body).await.unwrap().token
    }

    pub async fn connect(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.database.url).await.unwrap()
    }

    pub async fn sql(&self, sql: &str) {
        execute(&mut self.connect().await, sql).await;
    }

    /// A transaction that holds a table against everybody, readers too, until it is committed.
    pub async fn hold(&self, table: &str) -> AsyncPgConnection {
        let mut connection = self.connect().await;
        execute(&mut connection, &format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
            .await;
        connection
    }

    /// Waits until a statement of this database waits for a lock.
    pub async fn until_blocked(&self) {
        let mut connection = self.connect().await;
        let waits = async {
            while blocked(&mut connection).await.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, waits).await.expect("a statement waits");
    }

    /// Asks for an organization again and again, a round each time, until it is in memory: for
    /// loads of which the first is dropped.
    pub async fn load_again(&self, organization: &str) {
        let loaded = async {
            loop {
                self.cache.want(organization.parse().unwrap());
                assert!(self.cache.round_now().await);
                let world = self.warm(&Requirement::MinimizeLatency).await;
                if world.organization(organization).is_some() {
                    return;
                }
            }
        };
        timeout(PATIENCE, loaded).await.expect("it is loaded");
    }

    pub async fn ask(&self, requirement: &Requirement) -> Freshness {
        let deadline = Instant::now() + Duration::from_secs(20);
        self.cache.at_least(requirement, deadline).await
    }

    /// What memory has, which must be fresh enough.
    pub async fn warm(&self, requirement: &Requirement) -> Current {
        match self.ask(requirement).await {
            Freshness::Warm(world) => world,
            Freshness::Cold(cause) => panic!("cold: {cause:?}"),
        }
    }

    /// Why memory may not answer.
    pub async fn cold(&self, requirement: &Requirement) -> ColdCause {
        match self.ask(requirement).await {
            Freshness::Warm(world) => panic!("warm at {:?}", world.position()),
            Freshness::Cold(cause) => cause,
        }
    }

    /// Whether the user may view the portfolio, from memory.
    pub async fn may_view(&self, user: &str, portfolio: &str) -> bool {
        let world = self.warm(&Requirement::MinimizeLatency).await;
        may_view(&world, user, portfolio)
    }
}

#[derive(diesel::QueryableByName)]
struct Session {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pid: i32,
}

/// The sessions of this database that wait for a lock.
pub async fn blocked(connection: &mut AsyncPgConnection) -> Vec<i32> {
    let waiting = "SELECT pid FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let found: Vec<Session> = diesel::sql_query(waiting).load(connection).await.unwrap();
    found.into_iter().map(|session| session.pid).collect()
}

pub async fn execute(connection: &mut AsyncPgConnection, sql: &str) {
    if let Err(error) = connection.batch_execute(sql).await {
        panic!("`{sql}` fails: {error}");
    }
}

pub fn may_view(world: &World, user: &str, portfolio: &str) -> bool {
    let Some((snapshot, _)) = world.organization_of(portfolio) else {
        panic!("`{portfolio}` is not loaded");
    };
    let subject = Subject::User(user.parse().unwrap());
    let query = Query {
        subject: &subject,
        permission: "portfolio.view",
        portfolio,
        author: None,
        item: None,
        at: Timestamp(1_000_000),
    };
    check(world.global(), snapshot, &query).unwrap().allowed
}

pub fn shard_of(organization: &str) -> i16 {
    Shard::assign(&organization.parse().unwrap()).number()
}

/// Bumps a shard and logs a change of Acme's, as a write does.
pub fn log_change(shard: i16, keys: &str) -> String {
    format!(
        "WITH bump AS (
             UPDATE feed_heads SET sequence = sequence + 1, commit_id = gen_random_uuid()
             WHERE shard = {shard} RETURNING shard, sequence, commit_id)
         INSERT INTO change_log
             (shard, sequence, commit_id, organization, what, object, keys, caller, actor,
              request_id, at)
         SELECT shard, sequence, commit_id, '{ACME}', 'forged', 'forged', '{keys}', 'test',
                'system', 'forged', now() FROM bump;"
    )
}

/// Another organization on the same shard.
pub fn neighbour(organization: &str) -> String {
    let shard = shard_of(organization);
    (0..).map(|n| format!("neighbour{n}")).find(|id| shard_of(id) == shard).unwrap()
}

// === the steps ===

fn scope(step: &Step<'_>) -> Option<Scope> {
    match step {
        Step::Organization(_) | Step::User(..) | Step::Deactivate(_) => Some(Scope::Global),
        _ => None,
    }
}

async fn perform_all(write: &mut Write, steps: &[Step<'_>]) -> Result<(), Failure> {
    for step in steps {
        perform(write, step).await?;
    }
    Ok(())
}

async fn perform(write: &mut Write, step: &Step<'_>) -> Result<(), Failure> {
    match step {
        Step::Organization(id) => {
            let organization = Organization {
                id: id.parse().unwrap(),
                display_name: String::new(),
                domains: Vec::new(),
                preset: Preset::InitiativePlanning,
                default_visibility: Visibility::Private,
                create_time: write.now(),
                administrators: Vec::new(),
                outsider_site_role: SiteRole::Guest,
                partner_organizations: Vec::new(),
                externals_join: ExternalsJoin::default(),
                privacy_approval: false,
                version: 1,
            };
            let roles = Preset::InitiativePlanning.roles();
            assert!(write.insert_organization(&organization, &roles).await?);
        }
        Step::User(id, home) => {
            let user = User {
                id: id.parse().unwrap(),
                email: Email::parse(&format!("{id}@example.com")).unwrap(),
                display_name: String::new(),
                picture_uri: String::new(),
                home_organization: Some(home.parse().unwrap()),
                deactivated: false,
            };
            write.put_users(&[(None, user.clone())]).await?;
        }
        Step::Group(id, organization) => {
            assert!(write.put_group(None, &group(id, organization)).await?);
        }
        Step::Join(id, organization, member) => {
            let member = member.parse().unwrap();
            write.insert_group_members(&group(id, organization), &[member]).await?;
        }
        Step::Leave(id, organization, member) => {
            let member = member.parse().unwrap();
            write.delete_group_members(&group(id, organization), &[member]).await?;
        }
        Step::Portfolio(id, organization) => {
            assert!(write.insert_portfolio(&portfolio(id, organization, write.now())).await?);
        }
        Step::DeletePortfolio(id) => {
            let before = write.portfolio(&id.parse().unwrap()).await?.unwrap();
            write.delete_portfolio(&before).await?;
        }
        Step::Grant(organization, portfolio, subject) => {
            grant(write, organization, portfolio, subject).await?;
        }
        Step::Deactivate(id) => {
            let user = write.user(&id.parse().unwrap()).await?.unwrap();
            write.set_deactivated(&user, true).await?;
        }
        Step::Pause(gate) => {
            gate.reached.notify_one();
            gate.open.notified().await;
        }
    }
    Ok(())
}

async fn grant(
    write: &mut Write,
    organization: &str,
    portfolio: &str,
    subject: &str,
) -> Result<(), Failure> {
    let organization: OrganizationId = organization.parse().unwrap();
    let given = Grant {
        id: Uuid::now_v7(),
        portfolio: portfolio.parse().unwrap(),
        subject: subject.parse().unwrap(),
        role: "viewer".parse().unwrap(),
        source: GrantSource::Hand,
        ownership: false,
        start_time: None,
        expire_time: None,
        create_time: write.now(),
        revoke_time: None,
    };
    let change = MemberChange {
        organization: &organization,
        portfolio: &given.portfolio,
        subject: &given.subject,
        what: "member.added",
        revoked: &[],
        given: std::slice::from_ref(&given),
    };
    write.change_member(&change).await
}

fn group(id: &str, organization: &str) -> Group {
    Group {
        id: id.parse().unwrap(),
        organization: organization.parse().unwrap(),
        display_name: String::new(),
    }
}

fn portfolio(id: &str, organization: &str, now: Timestamp) -> Portfolio {
    Portfolio {
        id: id.parse().unwrap(),
        organization: organization.parse().unwrap(),
        display_name: String::new(),
        portfolio_type: String::new(),
        author: None,
        owner: None,
        state: PortfolioState::Active,
        parent: None,
        linked: false,
        settings: AccessSettings {
            visibility: Visibility::Private,
            organization_access_role: "viewer".parse().unwrap(),
        },
        create_time: now,
        update_time: now,
        version: 1,
    }
}
