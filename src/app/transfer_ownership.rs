//! Handing the ownership of a portfolio to another (MEM-12).

use uuid::Uuid;

use super::authorize::Acting;
use super::parents::shown;
use super::portfolios::{require_etag, require_owner};
use super::{Answer, App, Error};
use crate::domain::membership::{Grant, GrantSource};
use crate::domain::portfolio::Portfolio;
use crate::domain::role::MANAGER;
use crate::domain::{PortfolioId, RoleKey, Subject, UserId};
use crate::storage::grants::MemberChange;
use crate::storage::{Failure, Write, WriteContext};

/// An ownership to hand over.
#[derive(Clone, Debug)]
pub struct TransferOwnership {
    /// Of which portfolio.
    pub portfolio: PortfolioId,
    /// To whom.
    pub new_owner: UserId,
    /// Only if the portfolio is still in this state.
    pub etag: Option<String>,
}

impl App {
    /// Makes another active internal user the owner; the former one stays a manager. Whoever owns
    /// the portfolio already goes on doing so, and nothing is written.
    ///
    /// # Errors
    /// No such portfolio or user, an actor who is neither the owner nor an administrator, an
    /// archived portfolio, a new owner who is external or deactivated, another state than the
    /// etag's.
    pub async fn transfer_ownership(
        &self,
        context: &WriteContext,
        request: &TransferOwnership,
    ) -> Result<Answer<Portfolio>, Error> {
        self.write_on(context, &request.portfolio, async |write| {
            let transferred = transfer(write, request).await?;
            let (principal, now) = (write.principal().clone(), write.now());
            shown(write, &principal, now, transferred).await
        })
        .await
    }
}

async fn transfer(write: &mut Write, request: &TransferOwnership) -> Result<Portfolio, Failure> {
    let TransferOwnership { portfolio: id, new_owner, etag } = request;
    let (principal, now) = (write.principal().clone(), write.now());
    let owning = Subject::User(new_owner.clone());
    let others = std::slice::from_ref(&owning);
    let acting = Acting::on(write, &principal, now, id, others).await?;
    acting.require_ownership(write)?;
    let before = &acting.portfolio;
    require_etag(before, etag.as_deref())?;
    require_owner(write, &acting.scene, new_owner).await?;
    if before.owner.as_ref() == Some(new_owner) {
        return Ok(before.clone());
    }
    if let Some(former) = &before.owner {
        step_down(write, before, former).await?;
    }
    let ownership = Grant { ownership: true, ..manager(write, before, owning.clone()) };
    let change = MemberChange {
        organization: &before.organization,
        portfolio: id,
        subject: &owning,
        what: "ownership.transferred",
        revoked: &[],
        // What else they were given stays: nobody's access ends by being given more.
        given: std::slice::from_ref(&ownership),
    };
    write.change_member(&change).await?;
    write.note_owner(before, new_owner).await
}

/// The former owner, active or not, stays a manager by one grant made by hand, in place of the
/// ownership and of what gave the same beside it.
async fn step_down(
    write: &mut Write,
    portfolio: &Portfolio,
    former: &UserId,
) -> Result<(), Failure> {
    let (subject, now) = (Subject::User(former.clone()), write.now());
    let grants = write.grants(&portfolio.id, std::slice::from_ref(&subject)).await?;
    let by_hand = |grant: &Grant| {
        let lasts = grant.in_force(now) && grant.expire_time.is_none();
        lasts && grant.source == GrantSource::Hand && grant.role.as_str() == MANAGER
    };
    let replaced = |grant: &Grant| match grant.ownership {
        true => grant.revoke_time.is_none(),
        false => by_hand(grant),
    };
    let replaced: Vec<Grant> = grants.into_iter().filter(replaced).collect();
    let kept = manager(write, portfolio, subject.clone());
    let change = MemberChange {
        organization: &portfolio.organization,
        portfolio: &portfolio.id,
        subject: &subject,
        what: "member.updated",
        revoked: &replaced,
        given: std::slice::from_ref(&kept),
    };
    write.change_member(&change).await
}

/// A manager from now on, without an end.
fn manager(write: &Write, portfolio: &Portfolio, subject: Subject) -> Grant {
    Grant {
        id: Uuid::now_v7(),
        portfolio: portfolio.id.clone(),
        subject,
        role: RoleKey::manager(),
        source: GrantSource::Hand,
        ownership: false,
        start_time: None,
        expire_time: None,
        create_time: write.now(),
        revoke_time: None,
    }
}
