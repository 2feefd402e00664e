use super::authorize::Acting;
use super::parents::{refuse_linked, shown, used_portfolio};
use super::portfolios::{require_etag, require_openness_role};
use super::privacy_requests::{GovernedPortfolio, ask, awaits_approval};
use super::{Answer, App, Context, Error};
use crate::domain::access_settings::{AccessSettings, Visibility};
use crate::domain::permission::ACCESS_MANAGE;
use crate::domain::portfolio::Portfolio;
use crate::domain::privacy_request::PrivacyRequest;
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
    /// The change of its visibility that waits for approval (VIS-7).
    pub privacy_request: Option<PrivacyRequest>,
}

impl App {
    /// A portfolio with the access settings in effect on it, and what waits for approval, for those
    /// who manage them.
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
            let privacy_request = read.pending_privacy_request(id).await?;
            let portfolio = shown(read, principal, now, acting.portfolio).await?;
            let settings_of = match portfolio.linked {
                true => used_portfolio(read, principal, now, id).await?,
                false => None,
            };
            Ok(SettingsInEffect { portfolio, settings_of, privacy_request })
        })
        .await
    }

    /// Changes visibility and organization access role; where visibility is approved by
    /// administrators, asks them for another one instead (VIS-7).
    ///
    /// # Errors
    /// No such portfolio, `access.manage` missing, a role above the actor's own or one that
    /// openness must not give, another state than the etag's, a request that is pending already;
    /// an archived portfolio, or a linked one.
    pub async fn update_access_settings(
        &self,
        context: &WriteContext,
        request: &UpdateAccessSettings,
    ) -> Result<Answer<GovernedPortfolio>, Error> {
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
            let other = request.visibility.filter(|wanted| *wanted != current.visibility);
            let asked = match other {
                Some(other) if awaits_approval(write, &acting.scene).await? => Some(other),
                _ => None,
            };
            let at_once = other.filter(|_| asked.is_none());
            let settings = AccessSettings {
                visibility: at_once.unwrap_or(current.visibility),
                organization_access_role: role.unwrap_or(&current.organization_access_role).clone(),
            };
            if opens(current.visibility, settings.visibility) {
                // What was set while it gave nothing is given now.
                acting.may_give(write, &settings.organization_access_role)?;
            }
            let portfolio = match settings == *current {
                true => before.clone(),
                false => write.update_access_settings(before, settings).await?,
            };
            let privacy_request = match asked {
                Some(visibility) => Some(ask(write, &portfolio, visibility).await?),
                None => None,
            };
            Ok(GovernedPortfolio { portfolio, privacy_request })
        })
        .await
    }
}

/// Whether a change of visibility gives the organization access role, which gave nothing before.
pub(super) fn opens(before: Visibility, after: Visibility) -> bool {
    before != Visibility::Open && after == Visibility::Open
}
