//! Moving a portfolio below another (INH-6).

use super::authorize::Acting;
use super::links::{link_to, unlink_copying};
use super::parents::{admit, parent_to_be, shown};
use super::portfolios::require_etag;
use super::{Answer, App, Error};
use crate::domain::PortfolioId;
use crate::domain::permission::{ACCESS_MANAGE, MEMBERS_VIEW, PORTFOLIO_MANAGE_SETTINGS};
use crate::domain::portfolio::Portfolio;
use crate::domain::refusal::{Reason, Refusal};
use crate::storage::{Failure, Write, WriteContext};

/// A portfolio to move.
#[derive(Clone, Debug)]
pub struct MovePortfolio {
    /// Which.
    pub portfolio: PortfolioId,
    /// Below which; none: to the top.
    pub parent: Option<PortfolioId>,
    /// Whether it is to be linked to the new parent.
    pub link: bool,
    /// Whether the actor may lose `access.manage` by that.
    pub allow_losing_access: bool,
    /// Only if it is still in this state.
    pub etag: Option<String>,
}

impl App {
    /// Moves a portfolio, and what is below it. Where it is already nothing is written.
    ///
    /// # Errors
    /// No such portfolio or parent, `portfolio.manage_settings` missing, or `members.view` on the
    /// parent; a cycle, too deep; what binds [`App::link_access_settings`], if it is to be linked;
    /// another state than the etag's; an archived portfolio.
    pub async fn move_portfolio(
        &self,
        context: &WriteContext,
        request: &MovePortfolio,
    ) -> Result<Answer<Portfolio>, Error> {
        self.write_on(context, &request.portfolio, async |write| {
            let moved = relocate(write, request).await?;
            let (principal, now) = (write.principal().clone(), write.now());
            shown(write, &principal, now, moved).await
        })
        .await
    }
}

async fn relocate(write: &mut Write, request: &MovePortfolio) -> Result<Portfolio, Failure> {
    let MovePortfolio { portfolio: id, parent, link, allow_losing_access, etag } = request;
    let (principal, now) = (write.principal().clone(), write.now());
    let permission = PORTFOLIO_MANAGE_SETTINGS;
    let acting = Acting::with(write, &principal, now, id, &[], permission).await?;
    if *link {
        acting.require(write, ACCESS_MANAGE)?;
    }
    let before = &acting.portfolio;
    require_etag(before, etag.as_deref())?;
    let Some(parent) = parent else {
        if *link {
            let message = format!("portfolio `{id}` is to be at the top: there is nothing to link");
            return Err(Refusal::new(Reason::NoParent, message).with("portfolio", id).into());
        }
        if before.parent.is_none() {
            return Ok(before.clone());
        }
        let unlinked = unlink_copying(write, before).await?;
        return write.place_portfolio(&unlinked, None, false).await;
    };
    let found = parent_to_be(write, &principal, now, parent, &before.organization).await?;
    found.require(write, MEMBERS_VIEW)?;
    if before.parent.as_ref() == Some(parent) && (before.linked || !link) {
        return Ok(before.clone());
    }
    if *link {
        return link_to(write, &acting, before, parent, *allow_losing_access).await;
    }
    admit(write, &principal, now, id, parent, false).await?;
    let unlinked = unlink_copying(write, before).await?;
    write.place_portfolio(&unlinked, Some(parent), false).await
}
