use std::time::Duration;

use tokio::time::Instant;

use super::authorize::{Scene, permission_missing};
use super::{App, Context, Error, StorageError};
use crate::cache::metrics::{Path, count_decision};
use crate::cache::{ColdCause, Freshness, Requirement, World};
use crate::domain::permission::MEMBERS_VIEW;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::revision::Token;
use crate::domain::{OrganizationId, PortfolioId, Subject, Timestamp};
use crate::policy::{self, Decision, Global, Query, Snapshot, UnknownPermission};
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

/// Why memory did not decide.
enum Undecided {
    /// The name may have been registered since: look it up before refusing it (ROL-1).
    UnknownPermission(UnknownPermission),
    Refused(Refusal),
}

impl From<Refusal> for Undecided {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
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
            Freshness::Cold(ColdCause::Stale) => return self.check_stale(context, request).await,
            Freshness::Cold(_) => Path::Cold,
            Freshness::Warm(world) => match self.check_warm(context, request, &world)? {
                Some(checked) => return Ok(checked),
                None => Path::Cold,
            },
        };
        self.check_cold(context, request, path).await
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
        let decision = match decide(world.global(), snapshot, context, request, now) {
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
                let subjects: Vec<Subject> = context
                    .principal
                    .actor
                    .subject()
                    .into_iter()
                    .chain([request.subject.clone()])
                    .collect();
                let question =
                    Question { organization: asked, portfolio: Some(id), subjects: &subjects };
                let scene = Scene::load(read, &question, now).await?;
                let decided = decide(&scene.global, &scene.snapshot, context, request, now);
                let decision = decided.map_err(|undecided| match undecided {
                    Undecided::Refused(refusal) => refusal,
                    Undecided::UnknownPermission(unknown) => unknown_permission(&unknown),
                })?;
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

/// Decides, for the actor's eyes: what they may not list does not exist, and others are asked
/// about only with `members.view` (ACC-1, AUT-3).
fn decide(
    global: &Global,
    snapshot: &Snapshot,
    context: &Context,
    request: &CheckPermission,
    now: Timestamp,
) -> Result<Decision, Undecided> {
    let at = request.at.unwrap_or(now);
    if at < now {
        let description = "lies in the past; leave it out for now, or name a later instant";
        return Err(Refusal::field_because(Reason::AtInThePast, "at", description).into());
    }
    let query = Query {
        subject: &request.subject,
        permission: &request.permission,
        portfolio: request.portfolio.as_str(),
        author: request.author.as_ref(),
        at,
    };
    let decision = policy::check(global, snapshot, &query).map_err(Undecided::UnknownPermission)?;
    let Some(actor) = context.principal.actor.subject() else { return Ok(decision) };
    // The actor's own access is judged now, whatever instant the question names.
    let portfolio = request.portfolio.as_str();
    let listed = policy::may_list(global, snapshot, &actor, portfolio, now);
    let own_change = policy::next_change(snapshot, &actor, portfolio, now);
    if !listed {
        // Nothing of the subject's: when their access begins or ends is as secret as that it is.
        let reason = policy::Reason::PortfolioUnknown;
        return Ok(Decision { allowed: false, reason, hold_until: own_change });
    }
    if actor != request.subject {
        let view =
            Query { subject: &actor, permission: MEMBERS_VIEW, author: None, at: now, ..query };
        let view = policy::check(global, snapshot, &view).map_err(Undecided::UnknownPermission)?;
        if !view.allowed {
            return Err(permission_missing(MEMBERS_VIEW, &request.portfolio).into());
        }
    }
    Ok(Decision { hold_until: earliest(decision.hold_until, own_change), ..decision })
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn unknown_permission(unknown: &UnknownPermission) -> Refusal {
    let UnknownPermission { name, nearest } = unknown;
    let hint =
        nearest.as_ref().map_or(String::new(), |nearest| format!("; did you mean `{nearest}`?"));
    let description = format!("names `{name}`, which is not in the permission catalogue{hint}");
    let reason = Reason::PermissionNameUnknown;
    let refusal =
        Refusal::field_because(reason, "permission", description).with("permission", name);
    match nearest {
        Some(nearest) => refusal.with("nearest", nearest),
        None => refusal,
    }
}
