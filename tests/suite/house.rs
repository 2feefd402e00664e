//! The application on a database of its own, without the network: for tests of what it writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use portcullis::app::{AddMembers, Answer, App, CreatePortfolio, End, NewOrganization, UpsertUser};
use portcullis::cache::{Cache, Options as CacheOptions};
use portcullis::clock::Clock;
use portcullis::domain::caller::{Actor, Caller, Principal};
use portcullis::domain::directory::{Email, ExternalsJoin, SiteRole};
use portcullis::domain::membership::{AddOutcome, MemberSpec};
use portcullis::domain::role::Preset;
use portcullis::domain::{OrganizationId, PortfolioId, Subject, UserId};
use portcullis::storage::{Options, Storage, WriteContext};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cluster::{TestDatabase, database};

/// An application, and the database below it.
pub struct House {
    pub app: App,
    pub database: TestDatabase,
    _stop: DropGuard,
}

impl House {
    pub async fn open() -> Self {
        let database = database().await;
        let (app, stop) = application(&database.url).await;
        Self { app, database, _stop: stop }
    }

    /// A second process on the same database, as far as the application is concerned.
    pub async fn twin(&self) -> (App, DropGuard) {
        let (app, stop) = application(&self.database.url).await;
        (app, stop)
    }

    /// A connection of the test's own.
    pub async fn connection(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.database.url).await.expect("the database is there")
    }

    /// Runs statements of the test's own.
    pub async fn sql(&self, text: &str) {
        self.connection().await.batch_execute(text).await.expect("the statements are right");
    }

    /// The organization `acme` with these users at home, and the portfolio `roadmap` of the first.
    pub async fn furnish(&self, users: &[&str]) {
        let organization = NewOrganization {
            id: Some(id("acme")),
            display_name: "Acme".into(),
            domains: vec!["acme.example".into()],
            preset: Preset::InitiativePlanning,
            default_visibility: None,
            outsider_site_role: SiteRole::Guest,
            partner_organizations: Vec::new(),
            externals_join: ExternalsJoin::default(),
            privacy_approval: false,
        };
        self.app.create_organization(&system(), &organization).await.expect("created");
        let entries: Vec<_> = users.iter().map(|user| Ok(at_home(user))).collect();
        self.app.upsert_users(&system(), &entries).await.expect("created");
        let portfolio = CreatePortfolio {
            id: Some(id("roadmap")),
            organization: id("acme"),
            display_name: "Roadmap".into(),
            portfolio_type: String::new(),
            visibility: None,
            organization_access_role: None,
            owner: Some(id(users[0])),
            parent: None,
            linked: false,
        };
        self.app.create_portfolio(&system(), &portfolio).await.expect("created");
    }

    /// Makes users managers of `roadmap`.
    pub async fn managers(&self, users: &[&str]) {
        let added = self.app.add_members(&system(), &adding(users, "manager")).await;
        let Answer { value, .. } = added.expect("added");
        assert!(value.iter().all(|outcome| matches!(outcome, AddOutcome::Added(_))), "{value:?}");
    }
}

async fn application(url: &str) -> (App, DropGuard) {
    let options = Options {
        url: url.to_owned(),
        write_connections: 6,
        read_connections: 6,
        pool_wait: Duration::from_secs(5),
    };
    let storage = Storage::connect(&options).await.expect("the database is there");
    let cancel = CancellationToken::new();
    let cache =
        Cache::start(storage.clone(), Clock::system(), CacheOptions::default(), cancel.clone());
    (App::new(storage, cache), cancel.drop_guard())
}

/// Adds users to `roadmap` with a role.
pub fn adding(users: &[&str], role: &str) -> AddMembers {
    let spec = |user: &&str| Ok(MemberSpec::Subject(Subject::User(id(user))));
    AddMembers {
        portfolio: roadmap(),
        members: users.iter().map(spec).collect(),
        role: role.parse().expect("a role key"),
        start_time: None,
        end: End::Never,
    }
}

/// A user of `acme`.
pub fn at_home(user: &str) -> UpsertUser {
    UpsertUser {
        id: Some(id(user)),
        email: Email::parse(&format!("{user}@acme.example")).expect("an address"),
        display_name: user.to_owned(),
        picture_uri: String::new(),
        home_organization: Some(id::<OrganizationId>("acme")),
    }
}

pub fn roadmap() -> PortfolioId {
    id("roadmap")
}

pub fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("an id")
}

/// A write of the system's, with a request id of its own.
pub fn system() -> WriteContext {
    writing(Actor::System)
}

/// A write on behalf of a user.
pub fn acting(user: &str) -> WriteContext {
    writing(Actor::User(id::<UserId>(user)))
}

fn writing(actor: Actor) -> WriteContext {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&number.to_be_bytes());
    WriteContext {
        principal: Principal { caller: Caller::trusted(), actor },
        request_id: format!("request-{number}"),
        fingerprint,
        deadline: Instant::now() + Duration::from_secs(30),
    }
}
