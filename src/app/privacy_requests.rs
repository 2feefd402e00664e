use serde::{Deserialize, Serialize};

use super::authorize::{Acting, Scene, require_organization};
use super::reach::{administers, require_reach};
use super::{Answer, App, Context, Error, generated};
use crate::domain::access_settings::Visibility;
use crate::domain::caller::{Actor, Principal};
use crate::domain::page::{Listed, Page};
use crate::domain::permission::ACCESS_MANAGE;
use crate::domain::portfolio::{Portfolio, PortfolioState};
use crate::domain::privacy_request::{
    PrivacyRequest, PrivacyRequestPlace, PrivacyRequestState, PrivacyRequestsOf,
};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{OrganizationId, PortfolioId, PrivacyRequestId, Subject, Timestamp};
use crate::policy;
use crate::storage::facts::Question;
use crate::storage::privacy_requests::Requests;
use crate::storage::{Failure, Read, Transaction, Write, WriteContext};

/// A portfolio, and the request about its visibility that a call made or found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GovernedPortfolio {
    /// As it is.
    // As outcomes were kept before there were requests.
    #[serde(flatten)]
    pub portfolio: Portfolio,
    /// What waits for approval (VIS-7), if anything does.
    #[serde(default)]
    pub privacy_request: Option<PrivacyRequest>,
}

impl App {
    /// A page of privacy requests, the newest first.
    ///
    /// # Errors
    /// No such portfolio or organization, as far as the actor may know; `access.manage` missing on
    /// the portfolio; an actor who does not administer the organization; nobody whose own they are.
    pub async fn list_privacy_requests(
        &self,
        context: &Context,
        of: &PrivacyRequestsOf,
        states: &[PrivacyRequestState],
        page: &Page<PrivacyRequestPlace>,
    ) -> Result<Answer<Listed<PrivacyRequest, PrivacyRequestPlace>>, Error> {
        let principal = &context.principal;
        let actor = principal.actor.subject();
        self.read(context, async |read| {
            authorize(read, principal, of).await?;
            // Who is deactivated, and not the caller's to be told so, is as if there were nobody.
            if *of == PrivacyRequestsOf::Actor && is_deactivated(read, &principal.actor).await? {
                return Ok(Listed { rows: Vec::new(), next: None });
            }
            let which = match (of, &actor) {
                (PrivacyRequestsOf::Portfolio(id), _) => Requests::About(id),
                (PrivacyRequestsOf::Organization(id), _) => Requests::In(id),
                (PrivacyRequestsOf::Actor, Some(actor)) => Requests::By(actor, &principal.caller),
                (PrivacyRequestsOf::Actor, None) => {
                    let description = "needs an actor; the system has no requests of its own";
                    return Err(Refusal::field("mine", description).into());
                }
            };
            let rows = read.privacy_requests(which, states, &page.wider()).await?;
            Ok(page.listed(rows, PrivacyRequest::place))
        })
        .await
    }

    /// Approves a pending request: the portfolio gets the visibility that was asked for.
    ///
    /// # Errors
    /// As [`App::reject_privacy_request`]; an archived portfolio (VIS-8).
    pub async fn approve_privacy_request(
        &self,
        context: &WriteContext,
        id: &PrivacyRequestId,
    ) -> Result<Answer<PrivacyRequest>, Error> {
        self.write_on_request(context, id, async |write| {
            let request = decidable(write, id).await?;
            let portfolio = write.portfolio(&request.portfolio).await?;
            // It is there: deleting it closes the request.
            let portfolio = portfolio.ok_or_else(|| not_found(id))?;
            if portfolio.state == PortfolioState::Archived {
                return Err(Refusal::archived(&portfolio.id).into());
            }
            let approved =
                write.end_privacy_request(&request, PrivacyRequestState::Approved, "").await?;
            if portfolio.settings.visibility != request.to_visibility {
                let mut settings = portfolio.settings.clone();
                settings.visibility = request.to_visibility;
                write.update_access_settings(&portfolio, settings).await?;
            }
            Ok(approved)
        })
        .await
    }

    /// Rejects a pending request; `reason` may be empty.
    ///
    /// # Errors
    /// No such request, as far as the actor may know; an actor who does not administer the
    /// organization; a request that has come to its end.
    pub async fn reject_privacy_request(
        &self,
        context: &WriteContext,
        id: &PrivacyRequestId,
        reason: &str,
    ) -> Result<Answer<PrivacyRequest>, Error> {
        self.write_on_request(context, id, async |write| {
            let request = decidable(write, id).await?;
            write.end_privacy_request(&request, PrivacyRequestState::Rejected, reason).await
        })
        .await
    }

    /// Takes back a pending request of the actor's own.
    ///
    /// # Errors
    /// No such request, as far as the actor may know; somebody else's; one that has come to its
    /// end.
    pub async fn cancel_privacy_request(
        &self,
        context: &WriteContext,
        id: &PrivacyRequestId,
    ) -> Result<Answer<PrivacyRequest>, Error> {
        self.write_on_request(context, id, async |write| {
            let (principal, now) = (write.principal().clone(), write.now());
            let seen = Seen::by(write, &principal, now, id).await?;
            if !seen.is_own {
                let message = format!(
                    "only the requester cancels privacy request `{id}`; administrators reject it"
                );
                let refusal = Refusal::new(Reason::RequesterRequired, message);
                return Err(refusal.with("privacy_request", id).into());
            }
            let request = pending(seen.request)?;
            write.end_privacy_request(&request, PrivacyRequestState::Cancelled, "").await
        })
        .await
    }

    /// Writes on a privacy request, under its organization's lock; whoever may not know of it is
    /// refused before.
    async fn write_on_request<F>(
        &self,
        context: &WriteContext,
        id: &PrivacyRequestId,
        body: F,
    ) -> Result<Answer<PrivacyRequest>, Error>
    where
        F: for<'w> AsyncFn(&'w mut Write) -> Result<PrivacyRequest, Failure>
            + for<'w> super::AsyncFunc<&'w mut Write, Result<PrivacyRequest, Failure>, Fut: Send>
            + Sync,
    {
        let locate = async |read: &mut Read| {
            let now = read.heads().now;
            Ok(Seen::by(read, &context.principal, now, id).await?.request.organization)
        };
        self.write_where(context, locate, body).await
    }
}

/// Whether what the actor changes of the visibility of portfolios waits for an administrator's
/// approval (VIS-7). Not if they could give it: an administrator, whose change is audited as such
/// (DIR-7), or the system, which may decide what administrators decide.
pub(super) async fn awaits_approval(write: &mut Write, scene: &Scene) -> Result<bool, Failure> {
    let Some(actor) = write.principal().actor.subject() else { return Ok(false) };
    let organization = write.organization(scene.snapshot.organization()).await?;
    if !organization.is_some_and(|organization| organization.privacy_approval) {
        return Ok(false);
    }
    if policy::is_administrator(&scene.global, &scene.snapshot, &actor) {
        write.note_administrator();
        return Ok(false);
    }
    Ok(true)
}

/// Asks the administrators for another visibility of a portfolio.
pub(super) async fn ask(
    write: &mut Write,
    portfolio: &Portfolio,
    to_visibility: Visibility,
) -> Result<PrivacyRequest, Failure> {
    if let Some(pending) = write.pending_privacy_request(&portfolio.id).await? {
        return Err(is_pending(&pending).into());
    }
    let request = PrivacyRequest {
        id: generated()?,
        organization: portfolio.organization.clone(),
        portfolio: portfolio.id.clone(),
        requester: write.principal().actor.subject(),
        from_visibility: portfolio.settings.visibility,
        to_visibility,
        state: PrivacyRequestState::Pending,
        create_time: write.now(),
        decider: None,
        decide_time: None,
        reason: String::new(),
    };
    write.insert_privacy_request(&request).await?;
    Ok(request)
}

/// A privacy request that exists for the actor, and what they are to it.
struct Seen {
    request: PrivacyRequest,
    /// Whether they may decide it.
    decides: bool,
    /// Whether they made it.
    is_own: bool,
}

impl Seen {
    /// Finds the request for the actor: for administrators, for who made it (AUT-3), and for
    /// whoever may list the portfolio. Others are told that there is none, by the statements that
    /// an unknown id takes (VIS-4).
    async fn by(
        transaction: &mut Transaction,
        principal: &Principal,
        at: Timestamp,
        id: &PrivacyRequestId,
    ) -> Result<Self, Failure> {
        let request = transaction.privacy_request(id).await?;
        let actor = principal.actor.subject();
        // Any id is an id of an organization and of a portfolio: those of none find nothing.
        let nothing = || Some((id.as_str().parse().ok()?, id.as_str().parse().ok()?));
        let place: Option<(OrganizationId, PortfolioId)> = match &request {
            Some(request) => Some((request.organization.clone(), request.portfolio.clone())),
            None => nothing(),
        };
        let (organization, portfolio) = place.ok_or_else(|| not_found(id))?;
        let subjects = actor.as_slice();
        let question =
            Question { organization: &organization, portfolio: Some(&portfolio), subjects };
        let scene = Scene::load(transaction, &question, at).await?;
        let request = request.filter(|_| principal.caller.reaches(&organization));
        let request = request.ok_or_else(|| not_found(id))?;
        let (global, snapshot) = (&scene.global, &scene.snapshot);
        let of_actor = |judged: &dyn Fn(&Subject) -> bool| actor.as_ref().is_none_or(judged);
        let decides = of_actor(&|actor| policy::is_administrator(global, snapshot, actor));
        let lists = |actor: &_| policy::may_list(global, snapshot, actor, portfolio.as_str(), at);
        let deactivated = |actor: &Subject| match actor {
            Subject::User(id) => global.is_deactivated(id.as_str()),
            _ => false,
        };
        let is_own = actor
            .as_ref()
            .is_some_and(|actor| request.requester.as_ref() == Some(actor) && !deactivated(actor));
        if decides || is_own || of_actor(&lists) {
            return Ok(Self { request, decides, is_own });
        }
        Err(not_found(id).into())
    }
}

/// The request, if the actor may decide it and it is pending; notes that an administrator acts.
async fn decidable(write: &mut Write, id: &PrivacyRequestId) -> Result<PrivacyRequest, Failure> {
    let (principal, now) = (write.principal().clone(), write.now());
    let seen = Seen::by(write, &principal, now, id).await?;
    if !seen.decides {
        return Err(Refusal::administrator_required(&seen.request.organization).into());
    }
    if principal.actor != Actor::System {
        write.note_administrator();
    }
    Ok(pending(seen.request)?)
}

fn pending(request: PrivacyRequest) -> Result<PrivacyRequest, Refusal> {
    if request.state == PrivacyRequestState::Pending {
        return Ok(request);
    }
    let (id, state) = (&request.id, request.state.as_str());
    let decider = request.decider.as_ref().map_or_else(|| "system".to_owned(), Subject::to_string);
    let message = match request.state {
        PrivacyRequestState::Closed => format!(
            "privacy request `{id}` was closed before: `{decider}` deleted portfolio `{}`, or \
             linked its access settings to its parent's",
            request.portfolio
        ),
        _ => format!("privacy request `{id}` was {state} before, by `{decider}`"),
    };
    Err(Refusal::new(Reason::PrivacyRequestDecided, message)
        .with("privacy_request", id)
        .with("state", state)
        .with("decider", decider))
}

async fn authorize(
    read: &mut Read,
    principal: &Principal,
    of: &PrivacyRequestsOf,
) -> Result<(), Failure> {
    let now = read.heads().now;
    match (of, principal.actor.subject()) {
        (PrivacyRequestsOf::Portfolio(id), _) => {
            let acting = Acting::on(read, principal, now, id, &[]).await?;
            if !acting.is_administrator() {
                acting.require_even_archived(read, ACCESS_MANAGE)?;
            }
            Ok(())
        }
        (PrivacyRequestsOf::Organization(id), Some(actor)) => {
            require_reach(principal, id)?;
            administers(read, &actor, id, now).await
        }
        (PrivacyRequestsOf::Organization(id), None) => {
            require_organization(read, principal, id).await.map(drop)
        }
        (PrivacyRequestsOf::Actor, _) => Ok(()),
    }
}

async fn is_deactivated(read: &mut Read, actor: &Actor) -> Result<bool, Failure> {
    let Actor::User(id) = actor else { return Ok(false) };
    Ok(read.user(id).await?.is_some_and(|user| user.deactivated))
}

fn not_found(id: &PrivacyRequestId) -> Refusal {
    Refusal::new(Reason::PrivacyRequestNotFound, format!("there is no privacy request `{id}`"))
        .with("privacy_request", id)
}

fn is_pending(pending: &PrivacyRequest) -> Refusal {
    let PrivacyRequest { id, portfolio, to_visibility, .. } = pending;
    let to_visibility = to_visibility.as_str();
    let message = format!(
        "that portfolio `{portfolio}` becomes {to_visibility} waits for approval already (privacy \
         request `{id}`); cancel that one, or wait until it is decided"
    );
    Refusal::new(Reason::PrivacyRequestPending, message)
        .with("privacy_request", id)
        .with("portfolio", portfolio)
        .with("to_visibility", to_visibility)
}
