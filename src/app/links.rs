//! Linking access settings to those of the parent, and unlinking them (INH-1 to INH-5).

use super::authorize::Acting;
use super::parents::{admit, own_parent, shown};
use super::portfolios::require_etag;
use super::replaced_settings::Replacement;
use super::{Answer, App, Error};
use crate::domain::PortfolioId;
use crate::domain::permission::{ACCESS_MANAGE, MEMBERS_VIEW};
use crate::domain::portfolio::Portfolio;
use crate::domain::refusal::{Reason, Refusal};
use crate::storage::{Failure, Write, WriteContext};

/// Access settings to link.
#[derive(Clone, Debug)]
pub struct LinkAccessSettings {
    /// Of which portfolio.
    pub portfolio: PortfolioId,
    /// Whether the actor may lose `access.manage` by it.
    pub allow_losing_access: bool,
    /// Only if the portfolio is still in this state.
    pub etag: Option<String>,
}

/// Access settings to unlink.
#[derive(Clone, Debug)]
pub struct UnlinkAccessSettings {
    /// Of which portfolio.
    pub portfolio: PortfolioId,
    /// Whether what was before comes back, instead of a copy of what is in effect.
    pub restore: bool,
    /// Whether the actor may lose `access.manage` by that.
    pub allow_losing_access: bool,
    /// Only if the portfolio is still in this state.
    pub etag: Option<String>,
}

impl App {
    /// Makes the parent's access settings a portfolio's own, now and later.
    ///
    /// # Errors
    /// No such portfolio, `access.manage` missing, or `members.view` on the parent; no parent, a
    /// deleted one, linked already, too many links; a ceiling or an own access that is in the way,
    /// no manager or no `access.manage` left; another state than the etag's; an archived portfolio.
    pub async fn link_access_settings(
        &self,
        context: &WriteContext,
        request: &LinkAccessSettings,
    ) -> Result<Answer<Portfolio>, Error> {
        self.write_on(context, &request.portfolio, async |write| link(write, request).await).await
    }

    /// Gives a linked portfolio settings of its own: a copy, or those of before.
    ///
    /// # Errors
    /// No such portfolio, `access.manage` missing, not linked, another state than the etag's, an
    /// archived portfolio; what binds [`App::link_access_settings`], if it is restored.
    pub async fn unlink_access_settings(
        &self,
        context: &WriteContext,
        request: &UnlinkAccessSettings,
    ) -> Result<Answer<Portfolio>, Error> {
        self.write_on(context, &request.portfolio, async |write| unlink(write, request).await).await
    }
}

async fn link(write: &mut Write, request: &LinkAccessSettings) -> Result<Portfolio, Failure> {
    let LinkAccessSettings { portfolio: id, allow_losing_access, etag } = request;
    let (principal, now) = (write.principal().clone(), write.now());
    let acting = Acting::with(write, &principal, now, id, &[], ACCESS_MANAGE).await?;
    let before = &acting.portfolio;
    require_etag(before, etag.as_deref())?;
    if before.linked {
        let message = format!("the access settings of portfolio `{id}` are linked already");
        return Err(Refusal::new(Reason::AlreadyLinked, message).with("portfolio", id).into());
    }
    let parent = own_parent(write, &principal, now, before).await?;
    parent.require(write, MEMBERS_VIEW)?;
    let linked = link_to(write, &acting, before, &parent.portfolio.id, *allow_losing_access);
    let linked = linked.await?;
    shown(write, &principal, now, linked).await
}

/// Links a portfolio to one that it is to be below: `acting` decides, `before` is the portfolio as
/// it is by now.
pub(super) async fn link_to(
    write: &mut Write,
    acting: &Acting,
    before: &Portfolio,
    parent: &PortfolioId,
    allow_losing_access: bool,
) -> Result<Portfolio, Failure> {
    let (principal, now) = (write.principal().clone(), write.now());
    admit(write, &principal, now, &before.id, parent, true).await?;
    let replacement = Replacement::begin(write, acting).await?;
    let after = write.place_portfolio(before, Some(parent), true).await?;
    replacement.end(write, allow_losing_access).await?;
    write.close_privacy_request(&before.id).await?;
    Ok(after)
}

async fn unlink(write: &mut Write, request: &UnlinkAccessSettings) -> Result<Portfolio, Failure> {
    let UnlinkAccessSettings { portfolio: id, restore, allow_losing_access, etag } = request;
    let (principal, now) = (write.principal().clone(), write.now());
    let acting = Acting::with(write, &principal, now, id, &[], ACCESS_MANAGE).await?;
    let before = &acting.portfolio;
    require_etag(before, etag.as_deref())?;
    if !before.linked {
        let message = format!("the access settings of portfolio `{id}` are not linked");
        return Err(Refusal::new(Reason::NotLinked, message).with("portfolio", id).into());
    }
    let after = match restore {
        false => unlink_copying(write, before).await?,
        true => {
            let replacement = Replacement::begin(write, &acting).await?;
            let after = write.unlink_restoring(before).await?;
            replacement.end(write, *allow_losing_access).await?;
            after
        }
    };
    shown(write, &principal, now, after).await
}

/// Unlinks one portfolio with a copy. Nobody gains or loses by it, so that nothing else binds it.
pub(super) async fn unlink_copying(
    write: &mut Write,
    before: &Portfolio,
) -> Result<Portfolio, Failure> {
    let Some(parent) = before.parent.clone().filter(|_| before.linked) else {
        return Ok(before.clone());
    };
    let unlinked = write.unlink_copying(&parent, std::slice::from_ref(before)).await?;
    Ok(unlinked.into_iter().next().unwrap_or_else(|| before.clone()))
}
