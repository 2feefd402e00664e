//! What becomes of portfolios: created, archived, deleted.

use portcullis::proto::v1::*;

use super::{OWNER, Stage, visibility};
use crate::oracle::{Operation, Portfolio as ModelPortfolio};

impl Stage {
    /// Whether a portfolio of the model has this id.
    pub(super) fn has(&self, portfolio: &str) -> bool {
        self.model.portfolios.iter().any(|known| known.id == portfolio)
    }

    /// Whether a portfolio of the model is archived.
    pub(super) fn is_archived(&self, portfolio: &str) -> bool {
        self.model.portfolio(portfolio).is_some_and(|known| known.archived)
    }

    /// How a change of the members or the settings of a portfolio is refused that is archived, or
    /// linked, or not there.
    pub(super) fn refusal_of_changes(&self, portfolio: &str) -> Option<tonic::Code> {
        let halted = self.is_archived(portfolio) || self.is_linked(portfolio);
        match (self.has(portfolio), halted) {
            (false, _) => Some(tonic::Code::NotFound),
            (true, true) => Some(tonic::Code::FailedPrecondition),
            (true, false) => None,
        }
    }

    pub(super) async fn set_archived(&mut self, id: &str, archived: bool) -> bool {
        let portfolio = id.to_owned();
        let refusal = match self.has(id) {
            true if self.is_archived(id) == archived => Some(tonic::Code::FailedPrecondition),
            true => None,
            false => Some(tonic::Code::NotFound),
        };
        let portfolios = &mut self.writer().portfolios;
        let token = if archived {
            let request = ArchivePortfolioRequest { portfolio, ..Default::default() };
            let response = portfolios.archive_portfolio(request).await;
            response.map(|response| response.into_inner().consistency_token)
        } else {
            let request = RestorePortfolioRequest { portfolio, ..Default::default() };
            let response = portfolios.restore_portfolio(request).await;
            response.map(|response| response.into_inner().consistency_token)
        };
        match token {
            Ok(token) => self.token = token,
            Err(status) => assert_eq!(Some(status.code()), refusal, "{status:?}"),
        }
        refusal.is_none()
    }

    pub(super) async fn create_portfolio(&mut self, wanted: &ModelPortfolio) {
        let portfolio = Portfolio {
            id: wanted.id.clone(),
            organization: self.model.organization.clone(),
            display_name: wanted.id.clone(),
            owner: OWNER.to_owned(),
            visibility: Some(visibility(wanted.visibility)),
            ..Default::default()
        };
        let request = CreatePortfolioRequest {
            portfolio: Some(portfolio),
            organization_access_role: wanted.organization_access_role.clone(),
            ..Default::default()
        };
        let fresh = self.used.insert(wanted.id.clone());
        match self.writer().portfolios.create_portfolio(request).await {
            Ok(response) => {
                assert!(fresh, "an id was used again");
                self.token = response.into_inner().consistency_token;
            }
            Err(status) => {
                assert!(!fresh, "{status:?}");
                assert_eq!(status.code(), tonic::Code::AlreadyExists);
                return;
            }
        }
        let portfolio = ModelPortfolio {
            grants: Vec::new(),
            archived: false,
            owner: None,
            link: None,
            ..wanted.clone()
        };
        self.model.perform(&Operation::CreatePortfolio { portfolio });
        for grant in &wanted.grants {
            let (portfolio, grant) = (wanted.id.clone(), grant.clone());
            self.perform(&Operation::AddGrant { portfolio, grant }).await;
        }
        let (id, owner, link) = (&wanted.id, wanted.owner.clone(), wanted.link.clone());
        if owner.is_some() {
            self.perform(&Operation::SetOwner { portfolio: id.clone(), owner }).await;
        }
        if link.is_some() {
            self.perform(&Operation::SetLink { portfolio: id.clone(), link }).await;
        }
        if wanted.archived {
            let (portfolio, archived) = (wanted.id.clone(), true);
            self.perform(&Operation::SetArchived { portfolio, archived }).await;
        }
    }

    pub(super) async fn delete_portfolio(&mut self, portfolio: &str) -> bool {
        let request = DeletePortfolioRequest {
            portfolio: portfolio.to_owned(),
            confirm_portfolio: portfolio.to_owned(),
            ..Default::default()
        };
        let expected = self.has(portfolio);
        match self.writer().portfolios.delete_portfolio(request).await {
            Ok(response) => {
                self.token = response.into_inner().consistency_token;
                // What was below it is at the top.
                self.parents.retain(|below, above| below != portfolio && above != portfolio);
            }
            Err(status) => {
                assert!(!expected, "{status:?}");
                assert_eq!(status.code(), tonic::Code::NotFound);
            }
        }
        expected
    }
}
