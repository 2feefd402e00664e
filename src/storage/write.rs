//! The one way to write.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::{AnsiTransactionManager, RunQueryDsl, TransactionManager as _};
use rand::Rng as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::read::within;
use super::schema::{change_log, cluster, feed_heads, organizations, users};
use super::{
    Change, Connection, Error, Failure, Read, Storage, Transaction, request_outcomes, timestamps,
};
use crate::domain::caller::Principal;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::revision::{Epoch, Shard, Token};
use crate::domain::{OrganizationId, Subject, Timestamp};

/// What a write locks. The order is the order of locking: global first, then by id, so that no
/// two writes can wait for one another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// User ids, e-mails and the catalogue.
    Global,
    /// Everything of one organization.
    Organization(OrganizationId),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Organization(id) => write!(f, "organization `{id}`"),
        }
    }
}

/// Who writes, and how to know the request again.
#[derive(Clone, Debug)]
pub struct WriteContext {
    /// Who writes.
    pub principal: Principal,
    /// The client's, or a generated one.
    pub request_id: String,
    /// SHA-256 of the method, the actor and the request.
    pub fingerprint: [u8; 32],
    /// When the client stops waiting.
    pub deadline: Instant,
}

/// What a write answers.
#[derive(Clone, Debug)]
pub struct Written<T> {
    /// What came of it.
    pub outcome: T,
    /// The position from which on the write is seen.
    pub token: Token,
}

/// An async closure whose future can be sent to another thread; stands beside an `AsyncFn` bound,
/// which cannot say so yet.
pub trait AsyncFunc<A, R>: Fn(A) -> <Self as AsyncFunc<A, R>>::Fut {
    /// The future that a call makes.
    type Fut: Future<Output = R>;
}

impl<A, R, F, Fut> AsyncFunc<A, R> for F
where
    F: Fn(A) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// A write in progress: its scopes are locked, its changes are collected.
pub struct Write {
    transaction: Transaction,
    principal: Principal,
    epoch: Epoch,
    scopes: BTreeMap<Scope, Shard>,
    now: Timestamp,
    changes: Vec<Change>,
}

/// How long a write waits for its turn on a scope.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Who did what another organization did to an account that both know, in the trail of this one.
const ELSEWHERE: &str = "elsewhere";
/// How often a write is tried before it is given up.
const ATTEMPTS: u32 = 6;

impl Storage {
    /// Locks the scopes, runs `body`, logs the changes it recorded, and commits; all or nothing.
    ///
    /// A request id seen within the last day is answered with its first outcome. `body` may run
    /// more than once: it must do nothing but read and write through its argument. A refusal, and
    /// an outcome without changes, move no feed head.
    ///
    /// # Errors
    /// The refusal of `body`, and [`Error`] where the database failed. Never [`Failure::Widen`].
    pub async fn write<T, F>(
        &self,
        context: &WriteContext,
        scopes: impl IntoIterator<Item = Scope>,
        body: F,
    ) -> Result<Written<T>, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: for<'w> AsyncFn(&'w mut Write) -> Result<T, Failure>
            + for<'w> AsyncFunc<&'w mut Write, Result<T, Failure>, Fut: Send>,
    {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        let mut attempt = 1;
        loop {
            scopes.sort();
            scopes.dedup();
            // As long as the database would let it wait for the lock.
            let until = context.deadline.min(Instant::now() + LOCK_PATIENCE);
            let _turns = self.queue.wait(&scopes, until).await?;
            // Not tried again: whoever gets no connection has waited for one.
            let connection = self.take(&self.writes, context.deadline).await?;
            let tried = self.attempt(connection, context, &scopes, &body);
            match within(context.deadline, tried).await {
                Err(Failure::Widen(scope)) if !scopes.contains(&scope) => scopes.push(scope),
                Err(Failure::Widen(scope)) => {
                    let what = format!("the scope {scope} was asked for twice");
                    return Err(Error::corrupt("organizations", &scope.to_string(), what).into());
                }
                Err(Failure::Storage(error)) if error.is_transient() => {
                    if attempt == ATTEMPTS {
                        return Err(match error {
                            Error::Unavailable(_) => error,
                            _ => Error::RetriesExhausted(attempt),
                        }
                        .into());
                    }
                    attempt += 1;
                    back_off(attempt, context.deadline).await?;
                }
                done => return done,
            }
        }
    }

    async fn attempt<T, F>(
        &self,
        mut connection: Connection,
        context: &WriteContext,
        scopes: &[Scope],
        body: &F,
    ) -> Result<Written<T>, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: for<'w> AsyncFn(&'w mut Write) -> Result<T, Failure>
            + for<'w> AsyncFunc<&'w mut Write, Result<T, Failure>, Fut: Send>,
    {
        AnsiTransactionManager::begin_transaction(&mut *connection).await?;
        let mut write = Write {
            transaction: Transaction::new(connection),
            principal: context.principal.clone(),
            epoch: Epoch(Uuid::nil()),
            scopes: BTreeMap::new(),
            now: Timestamp::default(),
            changes: Vec::new(),
        };
        let outcome = write.run(context, scopes, body).await;
        match outcome {
            Ok(_) => AnsiTransactionManager::commit_transaction(write.connection()).await?,
            // The refusal stands however the rollback ends: a connection that cannot roll back
            // is discarded by the pool, and the database rolls back.
            Err(_) => {
                let _ = AnsiTransactionManager::rollback_transaction(write.connection()).await;
            }
        }
        outcome
    }
}

async fn back_off(attempt: u32, deadline: Instant) -> Result<(), Failure> {
    let ceiling = 10_u64 << attempt.min(6);
    let pause = Duration::from_millis(rand::rng().random_range(ceiling / 2..=ceiling));
    match Instant::now().checked_add(pause) {
        Some(until) if until < deadline => tokio::time::sleep_until(until).await,
        _ => return Err(Error::DeadlineExceeded.into()),
    }
    Ok(())
}

impl Write {
    async fn run<T, F>(
        &mut self,
        context: &WriteContext,
        scopes: &[Scope],
        body: &F,
    ) -> Result<Written<T>, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: for<'w> AsyncFn(&'w mut Write) -> Result<T, Failure>
            + for<'w> AsyncFunc<&'w mut Write, Result<T, Failure>, Fut: Send>,
    {
        self.lock(scopes).await?;
        let now = timestamps::to_sql(self.now);
        if let Some(first) = request_outcomes::find(self.connection(), context, now).await? {
            return replay(context, first);
        }
        let outcome = body(self).await?;
        let token = self.log(context).await?;
        let value = serde_json::to_value(&outcome)
            .map_err(|error| Error::corrupt("request_outcomes", &context.request_id, error))?;
        let text = token.encode();
        if !request_outcomes::insert(self.connection(), context, &value, &text, now).await? {
            return Err(request_id_reused(context).into());
        }
        Ok(Written { outcome, token })
    }

    /// Locks the scopes in order, then reads the clock: what has begun or ended is judged by the
    /// time at which the locks were held, not by that at which they were asked for.
    async fn lock(&mut self, scopes: &[Scope]) -> Result<(), Failure> {
        for scope in scopes {
            let shard = match scope {
                Scope::Global => {
                    let lock = cluster::table.select(cluster::singleton).for_no_key_update();
                    lock.first::<bool>(self.connection()).await?;
                    Shard::GLOBAL
                }
                Scope::Organization(id) => self.lock_organization(id).await?,
            };
            self.scopes.insert(scope.clone(), shard);
        }
        let clock = diesel::dsl::sql::<Timestamptz>("clock_timestamp()");
        let (epoch, now): (Uuid, OffsetDateTime) =
            cluster::table.select((cluster::epoch, clock)).first(self.connection()).await?;
        self.epoch = Epoch(epoch);
        self.now = timestamps::from_sql(now);
        Ok(())
    }

    async fn lock_organization(&mut self, id: &OrganizationId) -> Result<Shard, Failure> {
        let shard: Option<i16> = organizations::table
            .find(id.as_str())
            .select(organizations::shard)
            .for_no_key_update()
            .first(self.connection())
            .await
            .optional()?;
        let number = shard.ok_or_else(|| Refusal::organization_not_found(id))?;
        let corrupt = || Error::corrupt("organizations", id.as_str(), "no such shard");
        Ok(Shard::new(number).ok_or_else(corrupt)?)
    }

    /// Bumps the heads of the shards that changed, in order, and writes the change log. The heads
    /// stay locked until the commit: sequence order is commit order, without gaps.
    async fn log(&mut self, context: &WriteContext) -> Result<Token, Failure> {
        let mut by_shard: BTreeMap<Shard, Vec<Change>> = BTreeMap::new();
        for change in std::mem::take(&mut self.changes) {
            let shard = self.shard(&change.scope)?;
            by_shard.entry(shard).or_default().push(change);
        }
        let commit_id = Uuid::now_v7();
        let mut entries = Vec::new();
        if by_shard.is_empty() {
            entries = self.heads_of_scopes().await?;
        }
        for (shard, changes) in by_shard {
            let count = i64::try_from(changes.len()).unwrap_or(i64::MAX);
            let head: i64 = diesel::update(feed_heads::table.find(shard.number()))
                .set((
                    feed_heads::sequence.eq(feed_heads::sequence + count),
                    feed_heads::commit_id.eq(commit_id),
                ))
                .returning(feed_heads::sequence)
                .get_result(self.connection())
                .await?;
            self.insert_changes(context, shard, head - count, commit_id, changes).await?;
            entries.push((shard, head));
        }
        Ok(Token { epoch: self.epoch, entries })
    }

    async fn insert_changes(
        &mut self,
        context: &WriteContext,
        shard: Shard,
        before_first: i64,
        commit_id: Uuid,
        changes: Vec<Change>,
    ) -> Result<(), Failure> {
        let at = timestamps::to_sql(self.now);
        let actor = self.principal.actor.to_string();
        let as_administrator = self.transaction.as_administrator();
        let homes = self.homes_of(&changes).await?;
        let row = |(index, change): (i64, Change)| {
            let organization = match &change.scope {
                Scope::Global => None,
                Scope::Organization(id) => Some(id.as_str().to_owned()),
            };
            let keys = serde_json::to_value(&change.keys)
                .map_err(|error| Error::corrupt("change_log", change.what, error))?;
            let home = match (&change.scope, &change.subject) {
                (Scope::Global, Some(subject)) => home_of(&homes, subject, &change.before),
                _ => None,
            };
            let present = |value: Value| Some(value).filter(|value| !value.is_null());
            // An organization is told who did it only if it is theirs to reach (AUT-2).
            let reached = match &change.scope {
                Scope::Global => true,
                Scope::Organization(id) => context.principal.caller.reaches(id),
            };
            let told = |text: &'_ str| if reached { text.to_owned() } else { ELSEWHERE.to_owned() };
            Ok((
                (
                    change_log::shard.eq(shard.number()),
                    change_log::sequence.eq(before_first + 1 + index),
                    change_log::commit_id.eq(commit_id),
                    change_log::organization.eq(organization),
                    change_log::what.eq(change.what),
                    change_log::object.eq(change.object),
                    change_log::keys.eq(keys),
                ),
                (
                    change_log::caller.eq(told(context.principal.caller.id())),
                    change_log::actor.eq(told(&actor)),
                    change_log::request_id.eq(told(&context.request_id)),
                    change_log::at.eq(at),
                    change_log::before.eq(present(change.before)),
                    change_log::after.eq(present(change.after)),
                    change_log::portfolio.eq(change.portfolio.map(String::from)),
                    change_log::subject.eq(change.subject.map(String::from)),
                    change_log::as_administrator.eq(as_administrator),
                    change_log::home_organization.eq(home),
                ),
            ))
        };
        let rows = (0..).zip(changes).map(row).collect::<Result<Vec<_>, Error>>()?;
        // PostgreSQL takes 65,535 parameters a statement; a row has 17.
        for rows in rows.chunks(1_000) {
            let insert = diesel::insert_into(change_log::table).values(rows);
            insert.execute(self.connection()).await?;
        }
        Ok(())
    }

    /// Where the users of global changes are at home: what happens to them is part of that
    /// organization's trail (EVT-4).
    async fn homes_of(&mut self, changes: &[Change]) -> Result<BTreeMap<String, String>, Failure> {
        let global = changes.iter().filter(|change| change.scope == Scope::Global);
        let ids: Vec<&str> = global
            .filter_map(|change| match &change.subject {
                Some(Subject::User(id)) => Some(id.as_str()),
                _ => None,
            })
            .collect();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let homes: Vec<(String, Option<String>)> = users::table
            .filter(users::id.eq_any(ids))
            .select((users::id, users::home_organization))
            .load(self.connection())
            .await?;
        Ok(homes.into_iter().filter_map(|(id, home)| Some((id, home?))).collect())
    }

    /// Where the scopes of an empty write stand: its answer is true from there on.
    async fn heads_of_scopes(&mut self) -> Result<Vec<(Shard, i64)>, Failure> {
        let mut numbers: Vec<i16> = self.scopes.values().map(|shard| shard.number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let heads: Vec<(i16, i64)> = feed_heads::table
            .filter(feed_heads::shard.eq_any(numbers))
            .select((feed_heads::shard, feed_heads::sequence))
            .order(feed_heads::shard)
            .load(self.connection())
            .await?;
        let known = |(number, sequence)| Some((Shard::new(number)?, sequence));
        Ok(heads.into_iter().filter_map(known).collect())
    }

    fn shard(&self, scope: &Scope) -> Result<Shard, Failure> {
        self.scopes.get(scope).copied().ok_or_else(|| Failure::Widen(scope.clone()))
    }

    /// Makes sure that a scope is locked; if it is not, the whole write runs again with it.
    ///
    /// # Errors
    /// [`Failure::Widen`], for [`Storage::write`] to act on.
    pub fn require(&self, scope: &Scope) -> Result<(), Failure> {
        self.shard(scope).map(|_| ())
    }

    /// Notes that an organization was created in this write: its scope is ours until we commit,
    /// since nobody else can see it.
    pub(super) fn own_new_organization(&mut self, id: OrganizationId, shard: Shard) {
        self.scopes.insert(Scope::Organization(id), shard);
    }

    /// The database's clock when the locks were held.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Who writes.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Logs a change with the commit.
    pub fn record(&mut self, change: Change) {
        self.changes.push(change);
    }
}

/// Where a user is at home, or was before the change took them away.
fn home_of(homes: &BTreeMap<String, String>, subject: &Subject, before: &Value) -> Option<String> {
    let was = || before.get("home_organization")?.as_str().map(str::to_owned);
    homes.get(subject.id()).cloned().or_else(was)
}

impl Read {
    /// What a request was answered before, if it was.
    ///
    /// # Errors
    /// The request id was used for another request; the database cannot be asked.
    pub async fn first_outcome<T: DeserializeOwned>(
        &mut self,
        context: &WriteContext,
    ) -> Result<Option<Written<T>>, Failure> {
        let now = timestamps::to_sql(self.heads().now);
        let first = request_outcomes::find(self.connection(), context, now).await?;
        first.map(|first| replay(context, first)).transpose()
    }
}

fn replay<T: DeserializeOwned>(
    context: &WriteContext,
    first: request_outcomes::Outcome,
) -> Result<Written<T>, Failure> {
    if first.fingerprint != context.fingerprint {
        return Err(request_id_reused(context).into());
    }
    let corrupt = |what: String| Error::corrupt("request_outcomes", &context.request_id, what);
    let outcome =
        serde_json::from_value(first.outcome).map_err(|error| corrupt(error.to_string()))?;
    let token = Token::decode(&first.token).map_err(|error| corrupt(error.to_string()))?;
    Ok(Written { outcome, token })
}

fn request_id_reused(context: &WriteContext) -> Refusal {
    let description = "was used for another request within 24 hours; choose a new one";
    Refusal::field_because(Reason::RequestIdReused, "request_id", description)
        .with("request_id", &context.request_id)
}

impl Deref for Write {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut Transaction {
        &mut self.transaction
    }
}
