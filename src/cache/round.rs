//! What one round reads: the log from where the feed stands, and the facts that it names.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use super::load::Arrived;
use crate::domain::OrganizationId;
use crate::domain::fact::{FactKey, GlobalChanges, GlobalFacts, OrganizationChanges};
use crate::domain::revision::{SHARDS, Shard};
use crate::storage::{Error, FeedHead, FeedHeads, LoggedChange, Read};

/// Why the history that was followed is no longer the database's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fork {
    /// The database names its history differently.
    Epoch,
    /// A shard stands before where it stood, or at the same place with another write.
    Heads,
    /// The log does not lead from where we stand to where the shard stands: rewritten or pruned.
    Log,
}

/// Whether `newer` can be a later state of the history that `older` is a state of.
pub(super) fn follows(older: &FeedHeads, newer: &FeedHeads) -> Result<(), Fork> {
    if older.epoch != newer.epoch {
        return Err(Fork::Epoch);
    }
    for shard in shards() {
        let (old, new) = (older.head(shard), newer.head(shard));
        if new.sequence < old.sequence || new.sequence == old.sequence && new != old {
            return Err(Fork::Heads);
        }
    }
    Ok(())
}

pub(super) fn shards() -> impl Iterator<Item = Shard> {
    (0..SHARDS).filter_map(|number| Shard::new(i16::try_from(number).ok()?))
}

/// What a round starts from.
pub(super) struct Plan<'a> {
    pub world: &'a World,
    /// Where the feed stands.
    pub cursor: FeedHeads,
    /// Where the poll before found the shards.
    pub polled: FeedHeads,
    /// Organizations whose loading has ended, and what changed meanwhile.
    pub arrived: &'a [Arrived],
    pub limit: usize,
}

/// What a round has found.
pub(super) enum Found {
    Forked(Fork),
    Changes(Box<Changes>),
}

/// All that changed from where the feed stood to `heads`, true at `heads`.
pub(super) struct Changes {
    pub heads: FeedHeads,
    pub global: GlobalNews,
    pub organizations: Vec<(OrganizationId, OrganizationChanges)>,
    pub tails: Vec<(Shard, Tail)>,
    /// For each arrived organization what it missed; none if it does not belong to this history.
    pub missed: Vec<Option<OrganizationChanges>>,
}

pub(super) enum GlobalNews {
    Changes(GlobalChanges),
    /// All of them, since they could not be read one by one.
    Whole(GlobalFacts),
}

/// What happened on a shard.
pub(super) enum Tail {
    /// Change by change, in commit order.
    Changes(Vec<LoggedChange>),
    /// More than is read one by one.
    Oversized,
}

/// Reads one round. Runs inside one REPEATABLE READ transaction: log, facts and heads are of one
/// moment.
pub(super) async fn read(read: &mut Read, plan: &Plan<'_>) -> Result<Found, Error> {
    let heads = *read.heads();
    if let Err(fork) = follows(&plan.cursor, &heads) {
        return Ok(Found::Forked(fork));
    }
    if follows(&plan.polled, &heads).is_err() {
        let message = "the database stands before where it stood a moment ago";
        return Err(Error::Unavailable(message.to_owned()));
    }
    let mut tails = Vec::new();
    for shard in shards().filter(|shard| heads.head(*shard) != plan.cursor.head(*shard)) {
        let (from, to) = (plan.cursor.head(shard), heads.head(shard));
        match read_tail(read, shard, from, to, plan.limit).await? {
            Ok(tail) => tails.push((shard, tail)),
            Err(fork) => return Ok(Found::Forked(fork)),
        }
    }
    let global = read_global(read, &tails).await?;
    let mut organizations = Vec::new();
    for (organization, keys) in changed_keys(plan, &tails) {
        let keys: Vec<FactKey> = keys.into_iter().collect();
        let changes = read.organization_facts_of(&organization, &keys).await?;
        organizations.push((organization, changes));
    }
    let mut missed = Vec::new();
    for arrived in plan.arrived {
        missed.push(read_missed(read, arrived, &tails).await?);
    }
    Ok(Found::Changes(Box::new(Changes { heads, global, organizations, tails, missed })))
}

/// Reads the log of a shard from `from`, inclusive, to `to`.
///
/// INVARIANT (one history): the row at the cursor is there and has the commit that is remembered,
/// no row is missing up to the head, and the last has the head's commit. Otherwise the log was
/// rewritten or pruned, and nothing that was followed from it can be trusted.
async fn read_tail(
    read: &mut Read,
    shard: Shard,
    from: FeedHead,
    to: FeedHead,
    limit: usize,
) -> Result<Result<Tail, Fork>, Error> {
    // Nothing precedes the first change: there is no row to recognize.
    let first = if from.sequence == 0 { 1 } else { from.sequence };
    let expected = usize::try_from(to.sequence - first + 1).unwrap_or(usize::MAX);
    let oversized = expected > limit.saturating_add(1);
    let rows = if oversized { 1 } else { i64::try_from(expected).unwrap_or(i64::MAX) };
    let mut changes = read.changes(shard, first, rows).await?;
    if from.sequence > 0 && !is_at(changes.first(), from) {
        return Ok(Err(Fork::Log));
    }
    if oversized {
        return Ok(Ok(Tail::Oversized));
    }
    let gapless = (first..).zip(&changes).all(|(sequence, change)| change.sequence == sequence);
    if !gapless || changes.len() != expected || !is_at(changes.last(), to) {
        return Ok(Err(Fork::Log));
    }
    changes.retain(|change| change.sequence > from.sequence);
    Ok(Ok(Tail::Changes(changes)))
}

fn is_at(change: Option<&LoggedChange>, head: FeedHead) -> bool {
    change.is_some_and(|change| {
        change.sequence == head.sequence && change.commit_id == head.commit_id
    })
}

async fn read_global(read: &mut Read, tails: &[(Shard, Tail)]) -> Result<GlobalNews, Error> {
    let mut keys = BTreeSet::new();
    for (shard, tail) in tails {
        match tail {
            Tail::Changes(changes) => {
                for change in changes.iter().filter(|change| change.organization.is_none()) {
                    match &change.keys {
                        Some(changed) => keys.extend(changed.iter().cloned()),
                        None => return Ok(GlobalNews::Whole(read.global_facts().await?)),
                    }
                }
            }
            Tail::Oversized if *shard == Shard::GLOBAL => {
                return Ok(GlobalNews::Whole(read.global_facts().await?));
            }
            Tail::Oversized => {}
        }
    }
    let keys: Vec<FactKey> = keys.into_iter().collect();
    Ok(GlobalNews::Changes(read.global_facts_of(&keys).await?))
}

/// The changed keys of every loaded organization whose changes are all understood and not too many;
/// the others are evicted by [`super::changes`], which judges by the same function.
fn changed_keys(
    plan: &Plan<'_>,
    tails: &[(Shard, Tail)],
) -> BTreeMap<OrganizationId, BTreeSet<FactKey>> {
    let understood = |(id, keys): (&OrganizationId, Keys)| match keys {
        Keys::Known(keys) => Some((id.clone(), keys)),
        Keys::Unknown | Keys::TooMany => None,
    };
    let by_organization = keys_by_organization(tails, plan.limit).into_iter();
    by_organization
        .filter(|(id, _)| plan.world.organizations.contains_key(*id))
        .filter_map(understood)
        .collect()
}

/// The keys of an organization that one round has found changed.
pub(super) enum Keys {
    Known(BTreeSet<FactKey>),
    /// A change that this program does not understand is among them.
    Unknown,
    TooMany,
}

pub(super) fn keys_by_organization(
    tails: &[(Shard, Tail)],
    limit: usize,
) -> BTreeMap<&OrganizationId, Keys> {
    let mut found: BTreeMap<&OrganizationId, Keys> = BTreeMap::new();
    for change in tails.iter().flat_map(|(_, tail)| tail.changes()) {
        let Some(organization) = &change.organization else {
            continue;
        };
        let slot = found.entry(organization).or_insert_with(|| Keys::Known(BTreeSet::new()));
        match (&mut *slot, &change.keys) {
            (Keys::Known(keys), Some(changed)) => {
                keys.extend(changed.iter().cloned());
                if keys.len() > limit {
                    *slot = Keys::TooMany;
                }
            }
            (_, None) => *slot = Keys::Unknown,
            (Keys::Unknown | Keys::TooMany, Some(_)) => {}
        }
    }
    found
}

impl Tail {
    pub fn changes(&self) -> &[LoggedChange] {
        match self {
            Self::Changes(changes) => changes,
            Self::Oversized => &[],
        }
    }
}

/// Reads again what an organization missed while it was loaded; none if what was loaded is of
/// another history, or too much was missed.
async fn read_missed(
    read: &mut Read,
    arrived: &Arrived,
    tails: &[(Shard, Tail)],
) -> Result<Option<OrganizationChanges>, Error> {
    let (id, at) = (arrived.snapshot.organization(), arrived.head);
    let same_history = follows(&arrived.heads, read.heads()).is_ok()
        && (at.sequence == 0
            || is_at(read.changes(arrived.shard, at.sequence, 1).await?.first(), at));
    let oversized =
        |(shard, tail): &(Shard, Tail)| *shard == arrived.shard && matches!(tail, Tail::Oversized);
    if !same_history || tails.iter().any(oversized) {
        return Ok(None);
    }
    let of_this_round = tails.iter().flat_map(|(_, tail)| tail.changes());
    let of_this_round = of_this_round.filter(|change| change.organization.as_ref() == Some(id));
    let mut missed = arrived.missed.clone();
    of_this_round.for_each(|change| missed.push(change));
    let Some(keys) = missed.after(at.sequence) else {
        return Ok(None);
    };
    Ok(Some(read.organization_facts_of(id, &keys).await?))
}
