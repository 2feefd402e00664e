//! One function per RPC: authorize, apply the rule, store. Each is named as its RPC.
//!
//! Reads run on one consistent state of the primary, writes in one transaction; both decide who
//! may do what with `policy`, on facts read in that same transaction.

mod access_settings;
mod accessible_portfolios;
mod add_members;
mod affiliations;
mod asker;
mod authorize;
mod batch;
mod change_roles;
mod check;
mod compare;
mod events;
mod explain;
mod function_ceilings;
mod glance;
mod groups;
mod item_acting;
mod item_copy;
mod item_places;
mod items;
mod links;
mod list_items;
mod list_members;
mod list_portfolios;
mod members;
mod memory;
mod merged;
mod move_portfolio;
mod organizations;
mod overload;
mod parents;
mod portfolio_life;
mod portfolios;
mod privacy_requests;
mod reach;
mod replaced_settings;
mod roles;
mod service_accounts;
mod shadow;
mod subjects;
mod transfer_ownership;
mod update_item;
mod users;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

pub use access_settings::{SettingsInEffect, UpdateAccessSettings};
pub use accessible_portfolios::{AccessiblePortfolio, ListAccessiblePortfolios};
pub use add_members::{AddMembers, End};
pub use batch::{BatchCheckItem, BatchCheckPermissions, BatchChecked};
pub use change_roles::{CreateRole, DeleteRole, DeletedRole, RoleCell, UpdateRole};
pub use check::{CheckPermission, Checked};
pub use compare::{CompareAccessSettings, ComparedAccessSettings};
pub use explain::{Effective, Explained, ListEffectivePermissions};
pub use function_ceilings::{FunctionCeilingKey, ListFunctionCeilings};
pub use groups::{GroupMemberOutcome, GroupWithMembers, UpsertGroup};
pub use item_acting::ItemName;
pub use items::{DeleteItem, NewSettings, RegisterItem, SeenItem};
pub use links::{LinkAccessSettings, UnlinkAccessSettings};
pub use list_items::{ListItems, ListVisibleItems, Visible, VisibleItem};
pub use list_portfolios::{ListPortfolios, ListUnmanagedPortfolios, PortfolioSummary};
pub use members::{RemoveMember, RemovedMember, UpdateMember};
pub use move_portfolio::MovePortfolio;
pub use organizations::{NewOrganization, UpdateOrganization};
pub use overload::{Batches, Place, for_a_moment, overload_refusals};
pub use portfolio_life::{ArchivePortfolio, RestorePortfolio};
pub use portfolios::{CreatePortfolio, DeletePortfolio, UpdatePortfolio};
pub use privacy_requests::GovernedPortfolio;
pub use roles::{OrganizationRole, RegisterPermission};
pub use service_accounts::{ServiceAccountOutcome, UpsertServiceAccount};
pub use subjects::{ListSubjects, SubjectAccess};
pub use transfer_ownership::TransferOwnership;
pub use update_item::UpdateItem;
pub use users::{ListUsers, ListedUsers, UpsertUser, Upserted, UserInOrganizations, UserOutcome};

pub use crate::cache::Requirement;
pub use crate::policy::{
    AccessDifference, Decision, EffectivePermission, ExplainedRoute, Explanation, Giver, Origin,
    Reason as DecisionReason, RouteEffect, TimedRole, View, Way, Whom,
};
pub use crate::storage::{Error as StorageError, WriteContext};

use self::authorize::Acting;
use self::item_acting::ItemActing;
use self::reach::{may_read_actor, require_actor};
use self::shadow::Shadow;
use crate::cache::Cache;
use crate::domain::caller::{Actor, Principal};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::revision::Token;
use crate::domain::{OrganizationId, PortfolioId};
use crate::policy::Excerpt;
use crate::storage::{AsyncFunc, Failure, Read, Scope, Storage, Transaction, Write, Written};

/// The application: what the services of `grpc` call.
#[derive(Clone, Debug)]
pub struct App {
    storage: Storage,
    cache: Cache,
    shadow: Shadow,
    batches: Batches,
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

/// A page of a list that is made of memory.
#[derive(Clone, Debug)]
pub struct Listed<T, K = PortfolioId> {
    /// In the list's order.
    pub rows: Vec<T>,
    /// Behind which key the next page begins; none if this was the last.
    pub next: Option<K>,
    /// The position of the page.
    pub token: Token,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    /// A rule refused it; for the client to read.
    Refused(Box<Refusal>),
    /// The database failed; for our log.
    Storage(StorageError),
    /// Too many wait for the same already; nothing of it was begun.
    Overloaded,
}

impl<T, K> Listed<T, K> {
    fn of(excerpt: Excerpt<T>, token: Token, key: impl FnOnce(&T) -> K) -> Self {
        let Excerpt { rows, more } = excerpt;
        let next = rows.last().filter(|_| more).map(key);
        Self { rows, next, token }
    }
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
        memory::open_the_line();
        Self { storage, cache, shadow: Shadow::new(0), batches: Batches::for_this_runtime() }
    }

    /// The line of batches.
    #[must_use]
    pub fn batches(&self) -> &Batches {
        &self.batches
    }

    /// The same, which makes one in so many decisions from memory again from the database, and
    /// complains if they differ; 0: none.
    #[must_use]
    pub fn shadowing(self, rate: u32) -> Self {
        Self { shadow: Shadow::new(rate), ..self }
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

    /// Reads the directory, for an actor who exists for the caller.
    async fn read_directory<T, F>(&self, context: &Context, body: F) -> Result<Answer<T>, Error>
    where
        F: for<'r> AsyncFn(&'r mut Read) -> Result<T, Failure>
            + for<'r> AsyncFunc<&'r mut Read, Result<T, Failure>, Fut: Send>
            + Sync,
    {
        self.read(context, async |read| {
            require_actor(read, &context.principal).await?;
            body(read).await
        })
        .await
    }

    /// Writes to the directory, for an actor who exists for the caller.
    async fn write_directory<T, F>(
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
        self.write(context, scopes, async |write| {
            require_actor(write, &context.principal).await?;
            body(write).await
        })
        .await
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
        let locate = async |read: &mut Read| {
            let now = read.heads().now;
            let acting = Acting::on(read, &context.principal, now, id, &[]).await?;
            Ok(acting.portfolio.organization)
        };
        self.write_where(context, locate, body).await
    }

    /// The same on an item.
    async fn write_on_item<T, F>(
        &self,
        context: &WriteContext,
        name: &ItemName,
        body: F,
    ) -> Result<Answer<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send,
        F: for<'w> AsyncFn(&'w mut Write) -> Result<T, Failure>
            + for<'w> AsyncFunc<&'w mut Write, Result<T, Failure>, Fut: Send>
            + Sync,
    {
        let locate = async |read: &mut Read| {
            let now = read.heads().now;
            let acting = ItemActing::on(read, &context.principal, now, name, &[]).await?;
            Ok(acting.item.organization)
        };
        self.write_where(context, locate, body).await
    }

    /// Writes under the lock of an organization that is yet to be found, by who may find it: others
    /// are refused before. The first outcome of a retry is found in any case.
    async fn write_where<T, L, F>(
        &self,
        context: &WriteContext,
        locate: L,
        body: F,
    ) -> Result<Answer<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send,
        L: for<'r> AsyncFn(&'r mut Read) -> Result<OrganizationId, Failure>
            + for<'r> AsyncFunc<&'r mut Read, Result<OrganizationId, Failure>, Fut: Send>
            + Sync,
        F: for<'w> AsyncFn(&'w mut Write) -> Result<T, Failure>
            + for<'w> AsyncFunc<&'w mut Write, Result<T, Failure>, Fut: Send>
            + Sync,
    {
        let (entry, _) = self
            .storage
            .read(context.deadline, async |read| {
                refuse_deactivated(read, &context.principal).await?;
                match locate(read).await {
                    Ok(organization) => Ok(Entry::Open(organization)),
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

/// Deactivated: denied everything, at once (DIR-1). Only whoever may read the actor is told so: for
/// others there is no such actor (AUT-2), who sees no portfolio, creates none, administers nothing,
/// and for whom the directory is closed by [`require_actor`].
async fn refuse_deactivated(
    transaction: &mut Transaction,
    principal: &Principal,
) -> Result<(), Failure> {
    let actor = &principal.actor;
    let deactivated = match actor {
        Actor::System => false,
        Actor::User(id) => transaction.user(id).await?.is_some_and(|user| user.deactivated),
        Actor::ServiceAccount(id) => {
            transaction.service_account(id).await?.is_some_and(|account| account.deactivated)
        }
    };
    if !deactivated || !may_read_actor(transaction, principal).await? {
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
