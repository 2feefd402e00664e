use super::authorize::{Acting, require_organization};
use super::{Answer, App, Context, Error};
use crate::domain::PortfolioId;
use crate::domain::audit::{AuditEvent, AuditFilter, AuditPlace, Trail};
use crate::domain::caller::{Actor, Principal, Scope};
use crate::domain::page::{Listed, Page};
use crate::domain::permission::ACCESS_MANAGE;
use crate::domain::refusal::Refusal;
use crate::domain::revision::{Shard, Token};
use crate::storage::{Failure, Read};

impl App {
    /// A page of an audit trail, the newest first, each event with the position of its write.
    ///
    /// # Errors
    /// No such portfolio or organization, as far as the actor may know; `access.manage` missing on
    /// the portfolio; somebody who acts, where only an operator's program asks.
    pub async fn list_audit_events(
        &self,
        context: &Context,
        trail: &Trail,
        filter: &AuditFilter,
        page: &Page<AuditPlace>,
    ) -> Result<Answer<Listed<(AuditEvent, Token), AuditPlace>>, Error> {
        self.read(context, async |read| {
            authorize(read, &context.principal, trail).await?;
            let events = read.audit_events(trail, filter, &page.wider()).await?;
            let epoch = read.heads().epoch;
            let token = |place: AuditPlace| {
                let shard = Shard::new(place.shard);
                Token { epoch, entries: shard.map(|it| (it, place.sequence)).into_iter().collect() }
            };
            let events = events.into_iter().map(|event| {
                let token = token(event.place);
                (event, token)
            });
            Ok(page.listed(events.collect(), |(event, _)| event.place))
        })
        .await
    }
}

async fn authorize(read: &mut Read, principal: &Principal, trail: &Trail) -> Result<(), Failure> {
    match (trail, &principal.actor) {
        (Trail::Portfolio(id), Actor::System) => require_ever(read, principal, id).await,
        (Trail::Portfolio(id), _) => {
            let now = read.heads().now;
            Acting::with_even_archived(read, principal, now, id, ACCESS_MANAGE).await.map(drop)
        }
        (Trail::Organization(id), Actor::System) => {
            require_organization(read, principal, id).await.map(drop)
        }
        // Said before the organization is looked up: it says nothing of whether there is one.
        (Trail::Organization(_), _) => {
            let refusal = Refusal::scope_missing(Scope::Operator);
            let message = "the trail of an organization needs the scope `operator`, and no actor";
            Err(Refusal { message: message.to_owned(), ..refusal }.into())
        }
    }
}

/// The trail outlives the portfolio (VIS-9): deleted ones are found too.
async fn require_ever(
    read: &mut Read,
    principal: &Principal,
    id: &PortfolioId,
) -> Result<(), Failure> {
    let organization = read.organization_of(id).await?;
    if organization.is_some_and(|organization| principal.caller.reaches(&organization)) {
        return Ok(());
    }
    Err(Refusal::portfolio_not_found(id).into())
}
