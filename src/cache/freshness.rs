//! Who may be answered from memory (REV).

use std::sync::atomic::Ordering;

use tokio::time::{Instant, timeout_at};

use super::{Cache, Current, World};
use crate::domain::revision::Token;

/// How fresh an answer must be (REV-2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Requirement {
    /// Whatever memory has, within the staleness bound.
    #[default]
    MinimizeLatency,
    /// The write that the token names, or anything newer.
    AtLeast(Token),
    /// Everything committed before the question arrived.
    FullyConsistent,
}

/// Where the answer is to come from.
#[derive(Debug)]
pub enum Freshness {
    /// From memory: fresh enough for the requirement.
    Warm(Current),
    /// From the database, now.
    Cold(ColdCause),
}

/// Why memory may not answer. The database may, whatever the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColdCause {
    /// The database was not heard of within the bound, by one of the clocks (REV-3).
    Stale,
    /// A poll that began after the question arrived has failed, or does not reach its token.
    Behind,
    /// The token belongs to another history than the one that is followed (REV-4).
    ForeignEpoch,
    /// The deadline passed while waiting: the database will hardly answer in time either.
    DeadlinePassed,
}

impl Cache {
    /// Whether memory may answer, after a wait of one poll at the most, and never beyond the
    /// deadline.
    ///
    /// INVARIANT (REV-3): whatever the requirement, a replica that has not heard from the database
    /// within the bound never answers from memory.
    pub async fn at_least(&self, requirement: &Requirement, deadline: Instant) -> Freshness {
        let world = self.0.world.load();
        // The world first, the clock second: the other way round it could look younger than it is.
        if !self.is_fresh(&world) {
            return Freshness::Cold(ColdCause::Stale);
        }
        match requirement {
            Requirement::MinimizeLatency => Freshness::Warm(world),
            Requirement::AtLeast(token) => match reached(&world, token) {
                Reached::Yes => Freshness::Warm(world),
                Reached::NotYet => {
                    drop(world);
                    self.wait_for(deadline, |world, _| reached(world, token)).await
                }
                Reached::Never => Freshness::Cold(ColdCause::ForeignEpoch),
            },
            Requirement::FullyConsistent => {
                drop(world);
                let newer = |world: &World, arrival| {
                    if world.round > arrival { Reached::Yes } else { Reached::NotYet }
                };
                self.wait_for(deadline, newer).await
            }
        }
    }

    /// Waits for one round that begins after this call; everybody who arrives before it begins
    /// shares it.
    async fn wait_for(
        &self,
        deadline: Instant,
        goal: impl Fn(&World, u64) -> Reached,
    ) -> Freshness {
        // Round `arrival` may have polled already: only a later one surely began after us.
        let arrival = self.0.begun.load(Ordering::SeqCst);
        self.0.wake.notify_one();
        let mut ended = self.0.ended.clone();
        let done = |ended: &u64| {
            *ended > arrival || goal(&self.0.world.load(), arrival) != Reached::NotYet
        };
        match timeout_at(deadline, ended.wait_for(done)).await {
            Err(_) => return Freshness::Cold(ColdCause::DeadlinePassed),
            // The feed has ended.
            Ok(Err(_)) => return Freshness::Cold(ColdCause::Behind),
            Ok(Ok(_)) => {}
        }
        let world = self.0.world.load();
        if !self.is_fresh(&world) {
            return Freshness::Cold(ColdCause::Stale);
        }
        match goal(&world, arrival) {
            Reached::Yes => Freshness::Warm(world),
            Reached::NotYet => Freshness::Cold(ColdCause::Behind),
            Reached::Never => Freshness::Cold(ColdCause::ForeignEpoch),
        }
    }

    fn is_fresh(&self, world: &World) -> bool {
        world.is_fresh(self.0.staleness_bound, self.0.clock.read())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    NotYet,
    Never,
}

fn reached(world: &World, token: &Token) -> Reached {
    if world.epoch() != Some(token.epoch) {
        Reached::Never
    } else if world.position().covers(token) {
        Reached::Yes
    } else {
        Reached::NotYet
    }
}
