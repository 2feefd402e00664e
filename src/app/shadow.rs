//! Watches over memory: a sample of the decisions made from it is made again from the database.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{debug, error};

use super::asker::{Asker, Undecided, instant};
use super::authorize::Scene;
use super::check::decide;
use super::{App, CheckPermission, Context};
use crate::cache::World;
use crate::cache::metrics::{Shadow as Outcome, count_shadow};
use crate::domain::refusal::Reason;
use crate::domain::revision::{Shard, Token};
use crate::domain::{Subject, Timestamp};
use crate::policy::{self, Decision, Global, Query, Snapshot};
use crate::storage::Failure;
use crate::storage::facts::Question;

/// How long the database may take; nobody waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Which decisions are made again, one at a time.
#[derive(Clone, Debug)]
pub(super) struct Shadow {
    /// One in so many; 0: none.
    rate: u32,
    turn: Arc<Semaphore>,
}

/// What was told: the decision, or why there is none.
type Told = Result<Decision, Reason>;

/// A decision from memory, with all that it was made of.
struct Warm {
    context: Context,
    request: CheckPermission,
    global: Arc<Global>,
    snapshot: Arc<Snapshot>,
    /// Where the facts were true that it was made of.
    token: Token,
    shard: Shard,
    now: Timestamp,
    told: Told,
}

thread_local! {
    /// How many decisions on this thread pass until the next that is made again; none: to be drawn.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

// === impl Shadow ===

impl Shadow {
    pub fn new(rate: u32) -> Self {
        Self { rate, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Counts down, from a number at random: questions that come in a rhythm are all met.
    fn is_due(&self) -> bool {
        match self.rate {
            0 => false,
            1 => true,
            rate => LEFT.with(|cell| {
                let most = rate.saturating_mul(2) - 1;
                let left = cell.get().unwrap_or_else(|| rand::random_range(0..most));
                cell.set(left.checked_sub(1));
                left == 0
            }),
        }
    }
}

// === impl App ===

impl App {
    /// Has a decision that was just made from `world` made again, if it is its turn. Costs the
    /// answer nothing, and takes no connection that others wait for.
    pub(super) fn shadow(
        &self,
        context: &Context,
        request: &CheckPermission,
        world: &World,
        now: Timestamp,
        decided: &Result<Decision, Undecided>,
    ) {
        if self.shadow.is_due() {
            self.make_again(context, request, world, now, decided);
        }
    }

    #[cold]
    fn make_again(
        &self,
        context: &Context,
        request: &CheckPermission,
        world: &World,
        now: Timestamp,
        decided: &Result<Decision, Undecided>,
    ) {
        let found = world.organization_of(request.portfolio.as_str()).zip(world.epoch());
        let (Some(((snapshot, shard), epoch)), Some(told)) = (found, told(decided)) else {
            return;
        };
        let turn = Arc::clone(&self.shadow.turn).try_acquire_owned();
        let Some(turn) = turn.ok().filter(|_| self.storage.has_reads_to_spare()) else {
            return count_shadow(Outcome::Skipped);
        };
        let warm = Warm {
            context: Context { deadline: Instant::now() + TIMEOUT, ..context.clone() },
            request: request.clone(),
            global: Arc::clone(world.shared_global()),
            snapshot: Arc::clone(snapshot),
            token: world.position().token(epoch, Some(shard)),
            shard,
            now,
            told,
        };
        let app = self.clone();
        tokio::spawn(async move {
            count_shadow(app.compare(warm).await);
            drop(turn);
        });
    }

    /// Decides again, at the same instant and for the same eyes, on facts of the database.
    async fn compare(&self, warm: Warm) -> Outcome {
        let Warm { context, request, snapshot, now, .. } = &warm;
        let actor = context.principal.actor.subject();
        let subjects: Vec<Subject> =
            actor.clone().into_iter().chain([request.subject.clone()]).collect();
        let question = Question {
            organization: snapshot.organization(),
            portfolio: Some(&request.portfolio),
            subjects: &subjects,
        };
        let read = self.storage.read(context.deadline, async |read| {
            let heads = read.heads();
            if heads.position().token(heads.epoch, Some(warm.shard)) != warm.token {
                return Ok(None);
            }
            Ok::<_, Failure>(Some(
                Scene::load_with_item(read, &question, request.item.as_ref(), *now).await?,
            ))
        });
        let cold = match read.await {
            Ok((Some(cold), _)) => cold,
            Ok((None, _)) => return Outcome::Moved,
            Err(failure) => {
                debug!(?failure, "a decision could not be made again");
                return Outcome::Failed;
            }
        };
        let asker = Asker {
            global: &cold.global,
            snapshot: Some(&cold.snapshot),
            caller: &context.principal.caller,
            actor: actor.as_ref(),
            now: *now,
        };
        let again = told(&decide(&asker, request));
        if again == Some(warm.told) {
            return Outcome::Agreed;
        }
        warm.complain(&cold, again);
        self.cache.distrust(snapshot.organization().clone()).await;
        Outcome::Diverged
    }
}

impl Warm {
    /// Says all that it takes to find out why memory is wrong.
    fn complain(&self, cold: &Scene, again: Option<Told>) {
        let CheckPermission { subject, permission, portfolio, author, item, at, .. } =
            &self.request;
        let explained = |global: &Global, snapshot: &Snapshot| {
            let at = instant(*at, self.now).unwrap_or(self.now);
            let (portfolio, author) = (portfolio.as_str(), author.as_ref());
            let item = item.as_ref();
            let query = Query { subject, permission, portfolio, author, item, at };
            policy::explain(global, snapshot, &query, 0)
        };
        error!(
            organization = self.snapshot.organization().as_str(),
            portfolio = portfolio.as_str(),
            %subject,
            permission,
            actor = %self.context.principal.actor,
            at = self.now.0,
            token = self.token.encode(),
            memory = ?self.told,
            database = ?again,
            memory.explanation = ?explained(&self.global, &self.snapshot),
            database.explanation = ?explained(&cold.global, &cold.snapshot),
            "memory decided otherwise than the database; the organization is loaded anew"
        );
    }
}

/// None where memory does not decide: the permission is not in its catalogue.
fn told(decided: &Result<Decision, Undecided>) -> Option<Told> {
    match decided {
        Ok(decision) => Some(Ok(*decision)),
        Err(Undecided::Refused(refusal)) => Some(Err(refusal.reason)),
        Err(Undecided::UnknownPermission(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_decisions_is_made_again() {
        let due = |rate: u32| {
            let shadow = Shadow::new(rate);
            (0..100_000).filter(|_| shadow.is_due()).count()
        };
        assert_eq!((due(0), due(1)), (0, 100_000));
        let (half, few) = (due(2), due(100));
        assert!((45_000..55_000).contains(&half), "{half}");
        assert!((800..1_200).contains(&few), "{few}");
    }
}
