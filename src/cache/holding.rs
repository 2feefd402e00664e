//! Waiting until memory holds what a list is made of.
//!
//! A check whose facts are not in memory is answered from the database, by reading just those
//! facts. A list has no such few facts: it waits until the organizations it is about are loaded.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::rest::Cause;
use super::{Cache, ColdCause, Freshness, Requirement, World};
use crate::domain::OrganizationId;

/// How long a database that was not heard of lately is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why memory does not hold what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// It is not fresh enough, or was not in time.
    Cold(ColdCause),
    /// The memory budget has no room for this organization.
    OverBudget(OrganizationId),
}

impl From<ColdCause> for NotHeld {
    fn from(cause: ColdCause) -> Self {
        Self::Cold(cause)
    }
}

impl Cache {
    /// Waits for a world that is as fresh as required; what memory cannot reach by the requirement
    /// (a token of another history, say) is answered by everything committed until now, which is
    /// what the primary would answer (REV-4).
    ///
    /// # Errors
    /// `Stale` or `Behind` where the database does not answer, `DeadlinePassed`.
    pub async fn reaching(
        &self,
        requirement: &Requirement,
        deadline: Instant,
    ) -> Result<Arc<World>, ColdCause> {
        let mut ended = self.0.ended.clone();
        let mut requirement = requirement.clone();
        let mut patience = None;
        loop {
            ended.borrow_and_update();
            let cause = match self.at_least(&requirement, deadline).await {
                Freshness::Warm(world) => return Ok(Arc::clone(&world)),
                Freshness::Cold(ColdCause::DeadlinePassed) => {
                    return Err(ColdCause::DeadlinePassed);
                }
                Freshness::Cold(cause) => cause,
            };
            if matches!(cause, ColdCause::ForeignEpoch | ColdCause::Behind) {
                requirement = Requirement::FullyConsistent;
            }
            if cause == ColdCause::ForeignEpoch {
                continue;
            }
            let until = *patience.get_or_insert_with(|| Instant::now() + PATIENCE);
            match timeout_at(until.min(deadline), ended.changed()).await {
                Ok(Ok(())) => {}
                Err(_) if deadline <= until => return Err(ColdCause::DeadlinePassed),
                // Not heard of for too long, or the feed has ended.
                Err(_) | Ok(Err(_)) => return Err(cause),
            }
        }
    }

    /// The same, for a world that also holds these organizations, which must exist: one that does
    /// not is waited for until the deadline.
    ///
    /// # Errors
    /// As [`Cache::reaching`], and `OverBudget` at once where waiting would be in vain.
    pub async fn holding(
        &self,
        requirement: &Requirement,
        organizations: &[OrganizationId],
        deadline: Instant,
    ) -> Result<Arc<World>, NotHeld> {
        let mut ended = self.0.ended.clone();
        let mut world = self.reaching(requirement, deadline).await?;
        // What is published from here on is fresh enough: time only adds to it.
        let later = Requirement::MinimizeLatency;
        loop {
            ended.borrow_and_update();
            let mut complete = true;
            let now = self.0.clock.read().monotonic;
            for id in organizations {
                if world.organization(id.as_str()).is_none() {
                    complete = false;
                    if world.rest(id, now) == Some(Cause::OverBudget) {
                        return Err(NotHeld::OverBudget(id.clone()));
                    }
                    // A wish may have been dropped, and a load may fail: each round asks again.
                    self.want(id.clone());
                }
            }
            if complete {
                return Ok(world);
            }
            match timeout_at(deadline, ended.changed()).await {
                Ok(Ok(())) => world = self.reaching(&later, deadline).await?,
                Ok(Err(_)) => return Err(ColdCause::Behind.into()),
                Err(_) => return Err(ColdCause::DeadlinePassed.into()),
            }
        }
    }
}
