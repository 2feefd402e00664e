//! What lists, batches and explanations are made of: one world, true at one position, in which
//! everything that they are about is loaded.

use std::sync::{Arc, LazyLock};

use metrics::Counter;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use super::asker::Asker;
use super::authorize::Acting;
use super::overload::overload_refusals;
use super::{App, Context, Error, StorageError};
use crate::cache::metrics::{Path, count_decisions};
use crate::cache::{ColdCause, NotHeld, Requirement, World};
use crate::domain::caller::Principal;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::revision::Token;
use crate::domain::{OrganizationId, PortfolioId, Subject, Timestamp};
use crate::policy::{self, Snapshot};
use crate::storage::{Failure, FeedHeads, Read};

/// A world, and who asks about it.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub world: Arc<World>,
    pub now: Timestamp,
    /// The position of the world.
    pub token: Token,
    principal: Principal,
    actor: Option<Subject>,
    path: Path,
}

impl Memory {
    /// Who asks, with the facts of an organization.
    pub(super) fn asker<'a>(&'a self, snapshot: Option<&'a Snapshot>) -> Asker<'a> {
        Asker {
            global: self.world.global(),
            snapshot,
            caller: &self.principal.caller,
            actor: self.actor.as_ref(),
            now: self.now,
        }
    }

    /// Who asks, with the facts that a portfolio is among.
    pub(super) fn asker_about(&self, portfolio: &PortfolioId) -> Asker<'_> {
        self.asker(self.world.organization_of(portfolio.as_str()).map(|(it, _)| it.as_ref()))
    }

    pub(super) fn snapshot(&self, organization: &OrganizationId) -> Option<&Arc<Snapshot>> {
        self.world.organization(organization.as_str()).map(|(snapshot, _)| snapshot)
    }

    /// Whether it holds the organization, and whoever asks is internal to it. Of others only the
    /// primary says whether it exists for them: memory would answer sooner than of unknown ones.
    pub(super) fn is_open(&self, organization: &OrganizationId) -> bool {
        let is_inside = |snapshot: &Arc<Snapshot>| {
            self.actor.as_ref().is_none_or(|actor| policy::is_internal(snapshot, actor))
        };
        self.snapshot(organization).is_some_and(is_inside)
    }

    pub(super) fn count_decisions(&self, decisions: usize) {
        count_decisions(self.path, decisions);
    }
}

impl App {
    /// A world that is fresh enough, and knows these permissions if anybody does (ROL-1).
    pub(super) async fn memory(
        &self,
        context: &Context,
        requirement: &Requirement,
        permissions: &[&str],
    ) -> Result<Memory, Error> {
        let mut world = self.reaching(context, requirement).await?;
        let known = |world: &World| {
            permissions.iter().all(|name| world.global().permission(name).is_some())
        };
        if *requirement != Requirement::FullyConsistent && !known(&world) {
            world = self.reaching(context, &Requirement::FullyConsistent).await?;
        }
        let path = match requirement {
            Requirement::FullyConsistent => Path::Consistent,
            _ => Path::Warm,
        };
        self.remember(context, world, path)
    }

    /// The same, in which the organizations of these portfolios are loaded, as far as they exist
    /// for whoever asks. Of any other portfolio the asker sees nothing, whatever the primary has.
    pub(super) async fn memory_about(
        &self,
        context: &Context,
        requirement: &Requirement,
        permissions: &[&str],
        portfolios: &[&PortfolioId],
    ) -> Result<Memory, Error> {
        let memory = self.memory(context, requirement, permissions).await?;
        let (mut organizations, mut missing) = (Vec::new(), Vec::new());
        for portfolio in portfolios {
            // What the asker does not see is looked up like what is unknown: by how long it takes
            // nobody learns that it is there (VIS-4).
            match memory.asker_about(portfolio).sight(portfolio.as_str()).snapshot {
                Some(snapshot) => organizations.push(snapshot.organization().clone()),
                None => missing.push((*portfolio).clone()),
            }
        }
        if missing.is_empty() {
            return Ok(memory);
        }
        let (found, heads) = self
            .storage
            .read(context.deadline, async |read| {
                organizations_seen(read, &context.principal, &missing).await
            })
            .await?;
        organizations.extend(found);
        organizations.sort_unstable();
        organizations.dedup();
        self.memory_of(context, heads, &organizations).await
    }

    /// A world that has reached what was read from the primary, and holds these organizations.
    pub(super) async fn memory_of(
        &self,
        context: &Context,
        heads: FeedHeads,
        organizations: &[OrganizationId],
    ) -> Result<Memory, Error> {
        // The primary, now: whatever was required, this is as fresh.
        let requirement = Requirement::AtLeast(heads.position().token_of_all(heads.epoch));
        let held = self.cache.holding(&requirement, organizations, context.deadline).await;
        self.remember(context, held.map_err(not_held)?, Path::Cold)
    }

    /// The organizations that know a subject and the actor, and that the caller reaches, as the
    /// primary has them now.
    pub(super) async fn organizations_knowing(
        &self,
        context: &Context,
        subject: &Subject,
    ) -> Result<(Vec<OrganizationId>, FeedHeads), Error> {
        let ((mut known, knowing), heads) = self
            .storage
            .read(context.deadline, async |read| {
                let known = read.organizations_knowing(subject).await?;
                let knowing = match context.principal.actor.subject() {
                    Some(actor) if actor != *subject => {
                        Some(read.organizations_knowing(&actor).await?)
                    }
                    _ => None,
                };
                Ok::<_, Failure>((known, knowing))
            })
            .await?;
        known.retain(|organization| {
            context.principal.caller.reaches(organization)
                && knowing.as_ref().is_none_or(|knowing| knowing.contains(organization))
        });
        Ok((known, heads))
    }

    async fn reaching(
        &self,
        context: &Context,
        requirement: &Requirement,
    ) -> Result<Arc<World>, Error> {
        self.cache.reaching(requirement, context.deadline).await.map_err(unanswered)
    }

    fn remember(&self, context: &Context, world: Arc<World>, path: Path) -> Result<Memory, Error> {
        // Unknown only before the first round, and such a world is not fresh.
        let epoch = world.epoch().ok_or_else(|| unanswered(ColdCause::Stale))?;
        Ok(Memory {
            now: self.cache.now(&world),
            token: world.position().token_of_all(epoch),
            world,
            principal: context.principal.clone(),
            actor: context.principal.actor.subject(),
            path,
        })
    }
}

/// As many works run aside at once as there are cores. More would make each other slow, and all
/// else with them.
static ASIDE: LazyLock<Line> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    Line::of(cores)
});

/// Counts refusals from now on, so that there is a count before there is a refusal.
pub(super) fn open_the_line() {
    LazyLock::force(&ASIDE);
}

/// How many works may be waited for, for each that may run at once. A client further back would
/// rather be told to try again.
const LINE: usize = 16;

/// The works whose clients wait.
struct Line {
    room: Arc<Semaphore>,
    places: Semaphore,
    refusals: Counter,
}

impl Line {
    fn of(runners: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(runners)),
            places: Semaphore::new(runners * LINE),
            refusals: overload_refusals("aside"),
        }
    }

    /// A place, for as long as it is held.
    fn enter(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.places.try_acquire().map_err(|_full| {
            self.refusals.increment(1);
            Error::Overloaded
        })
    }
}

/// Works where it holds up nobody else, once there is room: what looks at very many facts takes
/// long. Refused at once if too many wait already. The work is told when nobody waits for it any
/// more; what it then returns, nobody sees.
pub(super) async fn aside<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce(&CancellationToken) -> T + Send + 'static,
) -> Result<T, Error> {
    aside_in(&ASIDE, context, work).await
}

async fn aside_in<T: Send + 'static>(
    line: &Line,
    context: &Context,
    work: impl FnOnce(&CancellationToken) -> T + Send + 'static,
) -> Result<T, Error> {
    let _place = line.enter()?;
    let gone = CancellationToken::new();
    // Dropped with this future, also by a client who went away.
    let _waiting = gone.clone().drop_guard();
    let done = async {
        let room =
            Arc::clone(&line.room).acquire_owned().await.map_err(|closed| closed.to_string())?;
        let work = move || {
            let done = work(&gone);
            // Held until the work has ended, not just until nobody waits for it.
            drop(room);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|stopped| stopped.to_string())
    };
    match timeout_at(context.deadline, done).await {
        Ok(done) => done.map_err(|cause| StorageError::Unavailable(cause).into()),
        // Never a part of it: a list that was cut off would look like all of it.
        Err(_) => Err(StorageError::DeadlineExceeded.into()),
    }
}

/// The organizations of those of the portfolios that exist for whoever asks, as the primary has
/// them. Nobody makes us load, or learns by waiting for it or from its size, what does not (VIS-4):
/// for an actor each portfolio is looked for as for a write.
async fn organizations_seen(
    read: &mut Read,
    principal: &Principal,
    portfolios: &[PortfolioId],
) -> Result<Vec<OrganizationId>, Failure> {
    if principal.actor.subject().is_none() {
        let mut found = read.organizations_of(portfolios).await?;
        found.retain(|organization| principal.caller.reaches(organization));
        return Ok(found);
    }
    let now = read.heads().now;
    let mut seen = Vec::new();
    for portfolio in portfolios {
        match Acting::on(read, principal, now, portfolio, &[]).await {
            Ok(acting) => seen.push(acting.portfolio.organization),
            Err(Failure::Refused(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(seen)
}

fn unanswered(cause: ColdCause) -> Error {
    let error = match cause {
        ColdCause::DeadlinePassed => StorageError::DeadlineExceeded,
        ColdCause::Stale | ColdCause::Behind | ColdCause::ForeignEpoch => {
            let cause = "it has not answered within a second, nor lately".to_owned();
            StorageError::Unavailable(cause)
        }
    };
    error.into()
}

fn not_held(why: NotHeld) -> Error {
    match why {
        NotHeld::Cold(cause) => unanswered(cause),
        NotHeld::OverBudget(organization) => {
            let message = format!(
                "organization `{organization}` does not fit into the memory that this server may \
                 use, and what is asked is answered from memory only; single checks are answered; \
                 the operator can raise `--memory-budget`"
            );
            let refusal = Refusal::new(Reason::MemoryBudgetExceeded, message);
            refusal.with("organization", organization).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;
    use crate::domain::caller::{Actor, Caller};

    fn context() -> Context {
        let principal = Principal { caller: Caller::trusted(), actor: Actor::System };
        Context { principal, deadline: Instant::now() + Duration::from_secs(60) }
    }

    #[tokio::test]
    async fn the_line_is_bounded_and_leaving_it_makes_place() {
        let (line, context) = (Line::of(1), context());
        let (release, released) = std::sync::mpsc::channel::<()>();
        let held = move |_: &CancellationToken| released.recv().unwrap_or_default();
        let mut works: Vec<_> = vec![aside_in(&line, &context, held).boxed()];
        works.extend((1..LINE).map(|_| aside_in(&line, &context, |_| ()).boxed()));
        for work in &mut works {
            assert!(work.as_mut().now_or_never().is_none(), "it works, or waits");
        }
        let refused = aside_in(&line, &context, |_| ()).await;
        assert!(matches!(refused, Err(Error::Overloaded)));
        // A client who goes away leaves the line.
        works.pop();
        let mut last = aside_in(&line, &context, |_| ()).boxed();
        assert!(last.as_mut().now_or_never().is_none(), "it has taken the place");
        release.send(()).expect("the work waits for it");
        for work in works {
            assert!(work.await.is_ok());
        }
        assert!(last.await.is_ok());
        assert_eq!(line.places.available_permits(), LINE);
    }

    #[tokio::test]
    async fn a_work_that_nobody_waits_for_any_more_is_told() {
        let context = context();
        assert_eq!(aside(&context, CancellationToken::is_cancelled).await.ok(), Some(false));
        let ((began, begins), (told, is_told)) = (oneshot::channel(), oneshot::channel());
        let work = move |gone: &CancellationToken| {
            began.send(()).expect("the test waits for it");
            while !gone.is_cancelled() {
                std::thread::yield_now();
            }
            told.send(()).expect("the test waits for it");
        };
        let waiting = tokio::spawn(async move { aside(&context, work).await.is_ok() });
        begins.await.expect("it begins");
        waiting.abort();
        is_told.await.expect("it is told");
    }
}
