use std::time::Duration;

use tokio::time::Instant;

use super::asker::{Asker, Undecided, instant, unknown_permission};
use super::glance::Glance;
use super::{App, Context, Error, StorageError};
use crate::cache::metrics::{Path, count_decision};
use crate::cache::{ColdCause, Freshness, Requirement, World};
use crate::domain::fact::GlobalFacts;
use crate::domain::refusal::Refusal;
use crate::domain::revision::Token;
use crate::domain::{ItemKey, PortfolioId, Subject, Timestamp};
use crate::policy::{self, Decision, Global, Query};
use crate::storage::Failure;
use crate::storage::facts::CheckQuestion;

/// How long a database that was not heard of lately is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The question of a check (ACC).
#[derive(Clone, Debug)]
pub struct CheckPermission {
    /// About whom.
    pub subject: Subject,
    /// To do what.
    pub permission: String,
    /// Where.
    pub portfolio: PortfolioId,
    /// Who authored the thing acted on, for what is held as *own* (ACC-4).
    pub author: Option<Subject>,
    /// The item acted on, or in which; one that is not registered changes nothing (ACC-5).
    pub item: Option<ItemKey>,
    /// How fresh the answer must be.
    pub requirement: Requirement,
    /// When; now if not given (ACC-10).
    pub at: Option<Timestamp>,
}

/// A decision, and the position it was made at.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What was decided.
    pub decision: Decision,
    /// Where.
    pub token: Token,
}

impl App {
    /// Decides whether a subject may do something; from memory where that is fresh enough.
    ///
    /// # Errors
    /// An unknown permission, an instant in the past, an actor who may not ask about others; the
    /// database, where memory cannot answer.
    pub async fn check_permission(
        &self,
        context: &Context,
        request: &CheckPermission,
    ) -> Result<Checked, Error> {
        let path = match self.cache.at_least(&request.requirement, context.deadline).await {
            Freshness::Cold(ColdCause::ForeignEpoch) => Path::ForeignEpoch,
            Freshness::Cold(ColdCause::Stale) => {
                return Box::pin(self.check_stale(context, request)).await;
            }
            Freshness::Cold(_) => Path::Cold,
            Freshness::Warm(world) => match self.check_warm(context, request, &world)? {
                Some(checked) => return Ok(checked),
                None => Path::Cold,
            },
        };
        // In a box, for what it needs is large, and a warm check would carry the room for it.
        Box::pin(self.check_cold(context, request, path)).await
    }

    /// Decides from memory; none if it lacks the portfolio's organization or the permission.
    fn check_warm(
        &self,
        context: &Context,
        request: &CheckPermission,
        world: &World,
    ) -> Result<Option<Checked>, Refusal> {
        let found = world.organization_of(request.portfolio.as_str());
        let Some(((snapshot, shard), epoch)) = found.zip(world.epoch()) else {
            return Ok(None);
        };
        let now = self.cache.now(world);
        let actor = context.principal.actor.subject();
        let asker = Asker {
            global: world.global(),
            snapshot: Some(snapshot),
            caller: &context.principal.caller,
            actor: actor.as_ref(),
            now,
        };
        let decided = decide(&asker, request);
        self.shadow(context, request, world, now, &decided);
        let decision = match decided {
            Ok(decision) => decision,
            // The name may have been registered since: it is looked up before it is refused.
            Err(Undecided::UnknownPermission(_)) => return Ok(None),
            Err(Undecided::Refused(refusal)) => return Err(refusal),
        };
        count_decision(match request.requirement {
            Requirement::FullyConsistent => Path::Consistent,
            _ => Path::Warm,
        });
        // For what the actor may not know of, the token is that of an unknown portfolio (VIS-4).
        let token = match decision.reason {
            policy::Reason::PortfolioUnknown => world.position().token_of_all(epoch),
            _ => world.position().token(epoch, Some(shard)),
        };
        Ok(Some(Checked { decision, token }))
    }

    /// When the database has not been heard of for a while, it is asked, but not for long: one that
    /// hangs is as unavailable as one that is down (REV-3).
    async fn check_stale(
        &self,
        context: &Context,
        request: &CheckPermission,
    ) -> Result<Checked, Error> {
        let deadline = context.deadline.min(Instant::now() + PATIENCE);
        let hurried = Context { deadline, ..context.clone() };
        match self.check_cold(&hurried, request, Path::Cold).await {
            Err(Error::Storage(StorageError::DeadlineExceeded)) if deadline < context.deadline => {
                let cause = "it has not answered within a second, nor lately".to_owned();
                Err(StorageError::Unavailable(cause).into())
            }
            answer => answer,
        }
    }

    /// The same decider on just the facts that the question needs, read from the primary.
    async fn check_cold(
        &self,
        context: &Context,
        request: &CheckPermission,
        path: Path,
    ) -> Result<Checked, Error> {
        count_decision(path);
        let actor = context.principal.actor.subject();
        let subjects: Vec<Subject> = actor.into_iter().chain([request.subject.clone()]).collect();
        let permissions = Glance::permissions(request);
        let (portfolio, subjects) = (&request.portfolio, subjects.as_slice());
        let item = request.item.as_ref();
        let question = CheckQuestion { portfolio, item, subjects, permissions: &permissions };
        loop {
            let facts = self.storage.check_facts(&question, context.deadline).await?;
            let token = facts.position.token_of_all(facts.epoch);
            let organization = facts.organization.clone();
            match Glance::compile(facts).decide(context, request) {
                Ok(decision) => {
                    // Nobody makes us load, or evict others for, what does not exist for them.
                    let seen = decision.reason != policy::Reason::PortfolioUnknown;
                    if let Some(organization) = organization.filter(|_| seen) {
                        self.cache.want(organization);
                    }
                    return Ok(Checked { decision, token });
                }
                Err(Undecided::UnknownPermission(_)) => {
                    self.require_registered(context, &request.permission).await?;
                    // Registered between the two statements, and so there for good.
                }
                Err(Undecided::Refused(refusal)) => return Err(refusal.into()),
            }
        }
    }

    /// Refuses a name that the catalogue does not have, with the nearest that it has (ROL-1).
    async fn require_registered(&self, context: &Context, name: &str) -> Result<(), Error> {
        let read = self.storage.read(context.deadline, async |read| {
            let permissions = read.catalogue().await?;
            Ok::<_, Failure>(Global::compile(GlobalFacts { permissions, ..GlobalFacts::default() }))
        });
        let (catalogue, _) = read.await?;
        match catalogue.permission(name) {
            Some(_) => Ok(()),
            None => Err(unknown_permission(name, catalogue.nearest(name)).into()),
        }
    }
}

pub(super) fn decide(asker: &Asker<'_>, request: &CheckPermission) -> Result<Decision, Undecided> {
    let query = Query {
        subject: &request.subject,
        permission: &request.permission,
        portfolio: request.portfolio.as_str(),
        author: request.author.as_ref(),
        item: request.item.as_ref(),
        at: instant(request.at, asker.now)?,
    };
    asker.decide(&query, &request.portfolio)
}
