//! One function per RPC: authorize, apply the rule, store. Each is named as its RPC.
//!
//! Reads run on one consistent state of the primary, writes in one transaction; both decide who
//! may do what with `policy`, on facts read in that same transaction.

mod access_settings;
mod add_members;
mod authorize;
mod check;
mod events;
mod groups;
mod list_members;
mod members;
mod organizations;
mod portfolios;
mod roles;
mod users;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

pub use access_settings::UpdateAccessSettings;
pub use add_members::{AddMembers, End};
pub use check::{CheckPermission, Checked};
pub use groups::{GroupMemberOutcome, GroupWithMembers, UpsertGroup};
pub use members::{RemoveMember, RemovedMember, UpdateMember};
pub use organizations::NewOrganization;
pub use portfolios::{CreatePortfolio, DeletePortfolio, UpdatePortfolio};
pub use roles::{OrganizationRole, RegisterPermission};
pub use users::{UpsertUser, Upserted, UserOutcome, UserWithSiteRoles};

pub use crate::cache::Requirement;
pub use crate::policy::{Decision, Reason as DecisionReason};
pub use crate::storage::{Error as StorageError, WriteContext};

use self::authorize::Acting;
use crate::cache::Cache;
use crate::domain::caller::{Actor, Principal};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::revision::Token;
use crate::domain::{OrganizationId, PortfolioId};
use crate::storage::{AsyncFunc, Failure, Read, Scope, Storage, Transaction, Write, Written};

/// The application: what the services of `grpc` call.
#[derive(Clone, Debug)]
pub struct App {
    storage: Storage,
    cache: Cache,
}

/// Who asks, and for how long they wait.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who asks.
    pub principal: Principal,
    /// When the client stops waiting.
    pub deadline: Instant,
}

/// What was read or written, and the position it is true at.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// The resource or the outcome.
    pub value: T,
    /// The consistency token of the response.
    pub token: Token,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    /// A rule refused it; for the client to read.
    Refused(Box<Refusal>),
    /// The database failed; for our log.
    Storage(StorageError),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::Refused(refusal),
            Failure::Storage(error) => Self::Storage(error),
            Failure::Widen(scope) => Self::Storage(StorageError::Corrupt {
                table: "organizations",
                row: scope.to_string(),
                what: "a scope was never locked".to_owned(),
            }),
        }
    }
}

impl App {
    /// The application on a database and a cache of it.
    #[must_use]
    pub fn new(storage: Storage, cache: Cache) -> Self {
        Self { storage, cache }
    }

    /// Reads on one consistent state of the primary; the token is that state's.
    async fn read<T, F>(&self, context: &Context, body: F) -> Result<Answer<T>, Error>
    where
        F: for<'r> AsyncFn(&'r mut Read) -> Result<T, Failure>
            + for<'r> AsyncFunc<&'r mut Read, Result<T, Failure>, Fut: Send>
            + Sync,
    {
        let (value, heads) = self
            .storage
            .read(context.deadline, async |read| {
                refuse_deactivated(read, &context.principal).await?;
                body(read).await
            })
            .await?;
        // Every shard: a read may have looked at several organizations.
        Ok(Answer { value, token: heads.position().token_of_all(heads.epoch) })
    }

    async fn write<T, F>(
        &self,
        context: &WriteContext,
        scopes: impl IntoIterator<Item = Scope>,
        body: F,
    ) -> Result<Answer<T>, Error>
    where
        T: Serialize + DeserializeOwned,
        F: for<'w> AsyncFn(&'w mut Write) -> Result<T, Failure>
            + for<'w> AsyncFunc<&'w mut Write, Result<T, Failure>, Fut: Send>
            + Sync,
    {
        let written = self.storage.write(context, scopes, async |write| {
            refuse_deactivated(write, &context.principal).await?;
            body(write).await
        });
        let Written { outcome, token } = written.await?;
        Ok(Answer { value: outcome, token })
    }

    /// Writes on a portfolio, under its organization's lock. Whoever may not know of the portfolio
    /// is refused before, by the statements that an unknown one takes (VIS-4), and so holds no
    /// lock that others wait for; a retry of a request after which the actor no longer knows of it
    /// still gets the first outcome (BAD-3).
    async fn write_on<T, F>(
        &self,
        context: &WriteContext,
        id: &PortfolioId,
        body: F,
    ) -> Result<Answer<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send,
        F: for<'w> AsyncFn(&'w mut Write) -> Result<T, Failure>
            + for<'w> AsyncFunc<&'w mut Write, Result<T, Failure>, Fut: Send>
            + Sync,
    {
        let (entry, _) = self
            .storage
            .read(context.deadline, async |read| {
                let now = read.heads().now;
                refuse_deactivated(read, &context.principal).await?;
                match Acting::on(read, &context.principal, now, id, &[]).await {
                    Ok(acting) => Ok(Entry::Open(acting.portfolio.organization)),
                    Err(Failure::Refused(refusal)) => match read.first_outcome(context).await? {
                        Some(first) => Ok(Entry::Replayed(first)),
                        None => Err(Failure::Refused(refusal)),
                    },
                    Err(failure) => Err(failure),
                }
            })
            .await?;
        match entry {
            Entry::Open(organization) => {
                self.write(context, [Scope::Organization(organization)], body).await
            }
            Entry::Replayed(Written { outcome, token }) => Ok(Answer { value: outcome, token }),
        }
    }
}

/// Deactivated: denied everything, at once (DIR-1).
async fn refuse_deactivated(
    transaction: &mut Transaction,
    principal: &Principal,
) -> Result<(), Failure> {
    let actor = &principal.actor;
    let deactivated = match actor {
        Actor::System => false,
        Actor::User(id) => transaction.user(id).await?.is_some_and(|user| user.deactivated),
        Actor::ServiceAccount(id) => {
            transaction.service_account(id).await?.is_some_and(|(_, active)| !active)
        }
    };
    if !deactivated {
        return Ok(());
    }
    let message = format!("the actor `{actor}` is deactivated and may do nothing");
    Err(Refusal::new(Reason::ActorDeactivated, message).with("actor", actor).into())
}

enum Entry<T> {
    Open(OrganizationId),
    Replayed(Written<T>),
}

/// An id for what the client did not name.
fn generated<T: std::str::FromStr>() -> Result<T, Refusal>
where
    T::Err: std::fmt::Display,
{
    Uuid::now_v7().to_string().parse().map_err(|error| Refusal::field("id", error))
}
