use std::time::Duration;

use tokio::time::Instant;

use super::asker::{Asker, Undecided, instant};
use super::authorize::Scene;
use super::{App, Context, Error, StorageError};
use crate::cache::metrics::{Path, count_decision};
use crate::cache::{ColdCause, Freshness, Requirement, World};
use crate::domain::refusal::Refusal;
use crate::domain::revision::Token;
use crate::domain::{OrganizationId, PortfolioId, Subject, Timestamp};
use crate::policy::{self, Decision, Query};
use crate::storage::Failure;
use crate::storage::facts::Question;

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
        let decision = match decide(&asker, request) {
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
        let ((decision, organization), heads) = self
            .storage
            .read(context.deadline, async |read| {
                let (now, id) = (read.heads().now, &request.portfolio);
                let organization = read.organization_of(id).await?;
                // Any id is an id of an organization: that of an unknown portfolio finds nothing.
                let unknown = id.as_str().parse::<OrganizationId>();
                let asked = organization.as_ref().or(unknown.as_ref().ok());
                let asked = asked.ok_or_else(|| Refusal::portfolio_not_found(id))?;
                let actor = context.principal.actor.subject();
                let subjects: Vec<Subject> =
                    actor.clone().into_iter().chain([request.subject.clone()]).collect();
                let question =
                    Question { organization: asked, portfolio: Some(id), subjects: &subjects };
                let scene = Scene::load(read, &question, now).await?;
                let asker = Asker {
                    global: &scene.global,
                    snapshot: Some(&scene.snapshot),
                    caller: &context.principal.caller,
                    actor: actor.as_ref(),
                    now,
                };
                let decision = decide(&asker, request).map_err(Refusal::from)?;
                Ok::<_, Failure>((decision, organization))
            })
            .await?;
        if let Some(organization) = organization {
            self.cache.want(organization);
        }
        let token = heads.position().token_of_all(heads.epoch);
        Ok(Checked { decision, token })
    }
}

fn decide(asker: &Asker<'_>, request: &CheckPermission) -> Result<Decision, Undecided> {
    let query = Query {
        subject: &request.subject,
        permission: &request.permission,
        portfolio: request.portfolio.as_str(),
        author: request.author.as_ref(),
        at: instant(request.at, asker.now)?,
    };
    asker.decide(&query, &request.portfolio)
}
