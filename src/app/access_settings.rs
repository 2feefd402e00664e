use super::authorize::Acting;
use super::parents::{refuse_linked, shown, used_portfolio};
use super::portfolios::{require_etag, require_openness_role};
use super::{Answer, App, Context, Error};
use crate::domain::access_settings::{AccessSettings, Visibility};
use crate::domain::permission::ACCESS_MANAGE;
use crate::domain::portfolio::Portfolio;
use crate::domain::{PortfolioId, RoleKey};
use crate::storage::WriteContext;

/// Access settings to change; what is not given stays.
#[derive(Clone, Debug)]
pub struct UpdateAccessSettings {
    /// Of which portfolio.
    pub portfolio: PortfolioId,
    /// The new visibility.
    pub visibility: Option<Visibility>,
    /// The new organization access role.
    pub organization_access_role: Option<RoleKey>,
    /// Only if the portfolio is still in this state.
    pub etag: Option<String>,
}

/// The access settings that are in effect on a portfolio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsInEffect {
    /// The portfolio, with these settings.
    pub portfolio: Portfolio,
    /// If it is linked: whose settings they are, if whoever asks may list that.
    pub settings_of: Option<PortfolioId>,
}

impl App {
    /// A portfolio with the access settings in effect on it, for those who manage them.
    ///
    /// # Errors
    /// No such portfolio, `access.manage` missing.
    pub async fn get_access_settings(
        &self,
        context: &Context,
        id: &PortfolioId,
    ) -> Result<Answer<SettingsInEffect>, Error> {
        self.read(context, async |read| {
            let now = read.heads().now;
            let principal = &context.principal;
            let acting =
                Acting::with_even_archived(read, principal, now, id, ACCESS_MANAGE).await?;
            let portfolio = shown(read, principal, now, acting.portfolio).await?;
            let settings_of = match portfolio.linked {
                true => used_portfolio(read, principal, now, id).await?,
                false => None,
            };
            Ok(SettingsInEffect { portfolio, settings_of })
        })
        .await
    }

    /// Changes visibility and organization access role.
    ///
    /// # Errors
    /// No such portfolio, `access.manage` missing, a role above the actor's own or one that
    /// openness must not give, another state than the etag's; an archived portfolio, or a linked
    /// one.
    pub async fn update_access_settings(
        &self,
        context: &WriteContext,
        request: &UpdateAccessSettings,
    ) -> Result<Answer<Portfolio>, Error> {
        self.write_on(context, &request.portfolio, async |write| {
            let (principal, now) = (write.principal().clone(), write.now());
            let acting =
                Acting::with(write, &principal, now, &request.portfolio, &[], ACCESS_MANAGE)
                    .await?;
            let before = &acting.portfolio;
            refuse_linked(write, &principal, now, before).await?;
            require_etag(before, request.etag.as_deref())?;
            if let Some(role) = &request.organization_access_role {
                require_openness_role(&acting.scene, role)?;
                acting.may_give(write, role)?;
            }
            let role = request.organization_access_role.as_ref();
            let current = &before.settings;
            let settings = AccessSettings {
                visibility: request.visibility.unwrap_or(current.visibility),
                organization_access_role: role.unwrap_or(&current.organization_access_role).clone(),
            };
            if settings == *current {
                return Ok(before.clone());
            }
            write.update_access_settings(before, settings).await
        })
        .await
    }
}
