//! What lists, batches and explanations are made of: one world, true at one position, in which
//! everything that they are about is loaded.

use std::sync::Arc;

use tokio::time::timeout_at;

use super::asker::Asker;
use super::{App, Context, Error, StorageError};
use crate::cache::metrics::{Path, count_decisions};
use crate::cache::{ColdCause, Requirement, World};
use crate::domain::caller::Principal;
use crate::domain::revision::Token;
use crate::domain::{OrganizationId, PortfolioId, Subject, Timestamp};
use crate::policy::Snapshot;
use crate::storage::{Failure, FeedHeads};

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

    /// The same, in which the organizations of these portfolios are loaded. A portfolio that is in
    /// none is unknown to the primary, too.
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
                Ok::<_, Failure>(read.organizations_of(&missing).await?)
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
        self.remember(context, held.map_err(unanswered)?, Path::Cold)
    }

    /// The organizations that know a subject and that the caller reaches, as the primary has them
    /// now.
    pub(super) async fn organizations_knowing(
        &self,
        context: &Context,
        subject: &Subject,
    ) -> Result<(Vec<OrganizationId>, FeedHeads), Error> {
        let (mut known, heads) = self
            .storage
            .read(context.deadline, async |read| {
                Ok::<_, Failure>(read.organizations_knowing(subject).await?)
            })
            .await?;
        known.retain(|organization| context.principal.caller.reaches(organization));
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

/// Works where it holds up nobody else: what looks at very many facts takes long.
pub(super) async fn aside<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    match timeout_at(context.deadline, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(stopped)) => Err(StorageError::Unavailable(stopped.to_string()).into()),
        // Never a part of it: a list that was cut off would look like all of it.
        Err(_) => Err(StorageError::DeadlineExceeded.into()),
    }
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
