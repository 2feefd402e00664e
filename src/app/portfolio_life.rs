//! Archiving a portfolio, and taking it out of the archive (VIS-8).

use super::authorize::Acting;
use super::parents::shown;
use super::portfolios::require_etag;
use super::{Answer, App, Error};
use crate::domain::PortfolioId;
use crate::domain::permission::PORTFOLIO_MANAGE_SETTINGS;
use crate::domain::portfolio::{Portfolio, PortfolioState};
use crate::domain::refusal::{Reason, Refusal};
use crate::storage::WriteContext;

/// A portfolio to archive.
#[derive(Clone, Debug)]
pub struct ArchivePortfolio {
    /// Which.
    pub id: PortfolioId,
    /// Only if it is still in this state.
    pub etag: Option<String>,
}

/// A portfolio to restore.
#[derive(Clone, Debug)]
pub struct RestorePortfolio {
    /// Which.
    pub id: PortfolioId,
    /// Only if it is still in this state.
    pub etag: Option<String>,
}

impl App {
    /// Archives a portfolio: nothing is added or changed in it until it is restored.
    ///
    /// # Errors
    /// No such portfolio, `portfolio.manage_settings` missing, archived already, another state than
    /// the etag's.
    pub async fn archive_portfolio(
        &self,
        context: &WriteContext,
        request: &ArchivePortfolio,
    ) -> Result<Answer<Portfolio>, Error> {
        self.write_on(context, &request.id, async |write| {
            let (principal, now) = (write.principal().clone(), write.now());
            let (id, permission) = (&request.id, PORTFOLIO_MANAGE_SETTINGS);
            let acting = Acting::with(write, &principal, now, id, &[], permission).await?;
            require_etag(&acting.portfolio, request.etag.as_deref())?;
            let archived = write.set_archived(&acting.portfolio, true).await?;
            shown(write, &principal, now, archived).await
        })
        .await
    }

    /// Takes a portfolio out of the archive: what could be done before can be done again. One that
    /// nobody manages is an administrator's to take out (MEM-6): who else would?
    ///
    /// # Errors
    /// No such portfolio, `portfolio.manage_settings` missing, not archived, another state than the
    /// etag's.
    pub async fn restore_portfolio(
        &self,
        context: &WriteContext,
        request: &RestorePortfolio,
    ) -> Result<Answer<Portfolio>, Error> {
        self.write_on(context, &request.id, async |write| {
            let (principal, now) = (write.principal().clone(), write.now());
            let id = &request.id;
            let acting = Acting::on(write, &principal, now, id, &[]).await?;
            if write.is_managed(id, now).await? || !acting.is_excepted(write) {
                acting.require_even_archived(write, PORTFOLIO_MANAGE_SETTINGS)?;
            }
            if acting.portfolio.state != PortfolioState::Archived {
                let message = format!("the portfolio `{id}` is not archived");
                return Err(Refusal::new(Reason::NotArchived, message)
                    .with("portfolio", id)
                    .into());
            }
            require_etag(&acting.portfolio, request.etag.as_deref())?;
            let restored = write.set_archived(&acting.portfolio, false).await?;
            shown(write, &principal, now, restored).await
        })
        .await
    }
}
