//! One load: reads all of an organization, part by part, and compiles it beside the async workers.
//!
//! ```text
//!   PostgreSQL ──rows──> reader ──a part──> room in the budget? ──> compiler, on another thread
//! ```
//!
//! While one part is compiled the next is read; the third waits in the network.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::try_join;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::budget::{Budget, Room};
use super::world::route_bytes;
use crate::clock::Clock;
use crate::domain::OrganizationId;
use crate::domain::fact::{FactsPart, GlobalFacts};
use crate::domain::permission::Permission;
use crate::domain::revision::Shard;
use crate::policy::{Compiler, Global, Snapshot};
use crate::storage::{Error, FeedHeads, Read, Storage};

/// A load that takes longer is given up. The largest organizations take a minute.
const TIMEOUT: Duration = Duration::from_secs(600);
/// And so is one of which nothing has come for so long.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

/// What every load is given.
#[derive(Clone)]
pub(super) struct Tools {
    pub storage: Storage,
    pub clock: Clock,
    pub budget: Budget,
    /// Where to ask for room.
    pub asks: mpsc::Sender<Ask>,
}

/// A load asks for room that is not free; true if it was made.
pub(super) struct Ask {
    pub bytes: usize,
    pub answer: oneshot::Sender<bool>,
}

/// All of an organization, true at `heads`.
pub(super) struct Whole {
    pub snapshot: Arc<Snapshot>,
    pub shard: Shard,
    pub heads: FeedHeads,
    /// What it takes in the budget.
    pub room: Room,
    /// How long it took.
    pub took: Duration,
}

/// Why an organization was not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error(transparent)]
    Storage(#[from] Error),
    #[error("nothing came of it for {} s", PART_TIMEOUT.as_secs())]
    Stalled,
    #[error("compiling stopped: {0}")]
    Compile(#[from] tokio::task::JoinError),
    /// By itself it takes more than the budget.
    #[error("it takes at least {0} bytes, more than the memory budget")]
    TooLarge(usize),
    /// What is in memory and in use leaves no room for it.
    #[error("it takes at least {0} bytes, which what is in memory and in use does not leave")]
    NoRoom(usize),
}

/// What a transaction found, apart from the facts.
type Found = Option<(Shard, FeedHeads, Vec<Permission>)>;

/// Loads an organization; none if there is no such organization.
pub(super) async fn load(
    tools: Tools,
    organization: OrganizationId,
) -> Result<Option<Whole>, Failed> {
    let Tools { storage, clock, budget, asks } = tools;
    let place = Place { room: budget.room(), asks };
    let began = clock.read();
    let (taker, parts) = mpsc::channel(1);
    let id = organization.clone();
    let read = async move {
        let deadline = Instant::now() + TIMEOUT;
        let read = async |read: &mut Read| read_parts(read, &id, &taker).await;
        storage.read_for_feed(deadline, read).await
    };
    // A compiler that gives up ends the reading; a reader that gives up ends the parts.
    let compile = compile(Compiler::new(organization), parts, place);
    let ((compiler, mut place, portfolios), found) = try_join(compile, read.map(Ok)).await?;
    let (shard, heads, permissions) = match found {
        Ok(Some(found)) => found,
        ended => {
            // Freeing much takes long, too.
            aside(move || drop(compiler)).await?;
            return ended.map(|_| None).map_err(Failed::from);
        }
    };
    let finish = move || {
        // The roles are compiled against the catalogue of the same moment.
        let catalogue = GlobalFacts { permissions, deactivated: Vec::new() };
        Arc::new(compiler.finish(&Global::compile(catalogue)))
    };
    let snapshot = aside(finish).await?;
    place.hold(snapshot.bytes() + route_bytes(portfolios)).await?;
    let took = began.age(clock.read());
    Ok(Some(Whole { snapshot, shard, heads, room: place.room, took }))
}

/// Reads all of an organization, and the catalogue, in one REPEATABLE READ transaction.
async fn read_parts(
    read: &mut Read,
    organization: &OrganizationId,
    taker: &mpsc::Sender<FactsPart>,
) -> Result<Found, Error> {
    let Some(shard) = read.organization_shard(organization).await? else {
        return Ok(None);
    };
    let permissions = read.catalogue().await?;
    read.facts_in_parts(organization, taker).await?;
    Ok(Some((shard, *read.heads(), permissions)))
}

/// Compiles the parts as they come, each when there is room for it; counts the portfolios.
async fn compile(
    mut compiler: Compiler,
    mut parts: mpsc::Receiver<FactsPart>,
    mut place: Place,
) -> Result<(Compiler, Place, usize), Failed> {
    let mut portfolios = 0;
    while let Some(part) = timeout(PART_TIMEOUT, parts.recv()).await.map_err(|_| Failed::Stalled)? {
        portfolios += part.portfolios.len();
        let bytes = compiler.bytes() + part.bytes() + route_bytes(portfolios);
        if let Err(failed) = place.hold(bytes).await {
            aside(move || drop(compiler)).await?;
            return Err(failed);
        }
        let add = move || {
            compiler.add(part);
            compiler
        };
        compiler = aside(add).await?;
    }
    Ok((compiler, place, portfolios))
}

/// Works where it holds up nobody else.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failed> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

/// The room of a load, and whom it asks for more.
struct Place {
    room: Room,
    asks: mpsc::Sender<Ask>,
}

impl Place {
    /// Takes this much room instead of what it has. If it is not free, the feed is asked to evict
    /// others for it.
    async fn hold(&mut self, bytes: usize) -> Result<(), Failed> {
        if bytes > self.room.budget().limit() {
            return Err(Failed::TooLarge(bytes));
        }
        // Another load may take what was made free for this one: then it asks again.
        while !self.room.resize(bytes) {
            let (answer, answered) = oneshot::channel();
            let more = bytes.saturating_sub(self.room.bytes());
            // No answer: the feed has ended.
            let _ended = self.asks.send(Ask { bytes: more, answer }).await;
            if !answered.await.unwrap_or(false) {
                return Err(Failed::NoRoom(bytes));
            }
        }
        Ok(())
    }
}
