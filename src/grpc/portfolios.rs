use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use super::{Services, context, links, portfolio_lists, portfolio_lives, privacy_requests, render};
use crate::app::{CreatePortfolio, DeletePortfolio, GovernedPortfolio, UpdatePortfolio};
use crate::domain::PortfolioId;
use crate::domain::page::encode_page_token;
use crate::domain::portfolio::{Portfolio, PortfolioState};
use crate::domain::refusal::Refusal;
use crate::proto::v1;
use crate::proto::v1::portfolio_service_server::PortfolioService;

#[tonic::async_trait]
impl PortfolioService for Services {
    async fn create_portfolio(
        &self,
        request: Request<v1::CreatePortfolioRequest>,
    ) -> Result<Response<v1::CreatePortfolioResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = create_portfolio(request, self.limits.max_string_bytes)?;
        let created = self.app.create_portfolio(&context, &request).await?;
        let GovernedPortfolio { portfolio: new, privacy_request } = created.value;
        Ok(Response::new(v1::CreatePortfolioResponse {
            portfolio: Some(portfolio(&new)),
            consistency_token: created.token.encode(),
            privacy_request: privacy_request.map(privacy_requests::privacy_request),
        }))
    }

    async fn get_portfolio(
        &self,
        request: Request<v1::GetPortfolioRequest>,
    ) -> Result<Response<v1::GetPortfolioResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let v1::GetPortfolioRequest { portfolio: id } = request;
        let id = parse::id("portfolio", &id)?;
        let found = self.app.get_portfolio(&context, &id).await?;
        Ok(Response::new(v1::GetPortfolioResponse {
            portfolio: Some(portfolio(&found.value)),
            consistency_token: found.token.encode(),
        }))
    }

    async fn move_portfolio(
        &self,
        request: Request<v1::MovePortfolioRequest>,
    ) -> Result<Response<v1::MovePortfolioResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = links::move_portfolio(request)?;
        let moved = self.app.move_portfolio(&context, &request).await?;
        Ok(Response::new(v1::MovePortfolioResponse {
            portfolio: Some(portfolio(&moved.value)),
            consistency_token: moved.token.encode(),
        }))
    }

    async fn archive_portfolio(
        &self,
        request: Request<v1::ArchivePortfolioRequest>,
    ) -> Result<Response<v1::ArchivePortfolioResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = portfolio_lives::archive(request)?;
        let archived = self.app.archive_portfolio(&context, &request).await?;
        Ok(Response::new(v1::ArchivePortfolioResponse {
            portfolio: Some(portfolio(&archived.value)),
            consistency_token: archived.token.encode(),
        }))
    }

    async fn restore_portfolio(
        &self,
        request: Request<v1::RestorePortfolioRequest>,
    ) -> Result<Response<v1::RestorePortfolioResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = portfolio_lives::restore(request)?;
        let restored = self.app.restore_portfolio(&context, &request).await?;
        Ok(Response::new(v1::RestorePortfolioResponse {
            portfolio: Some(portfolio(&restored.value)),
            consistency_token: restored.token.encode(),
        }))
    }

    async fn transfer_ownership(
        &self,
        request: Request<v1::TransferOwnershipRequest>,
    ) -> Result<Response<v1::TransferOwnershipResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = portfolio_lives::transfer(request)?;
        let transferred = self.app.transfer_ownership(&context, &request).await?;
        Ok(Response::new(v1::TransferOwnershipResponse {
            portfolio: Some(portfolio(&transferred.value)),
            consistency_token: transferred.token.encode(),
        }))
    }

    async fn delete_portfolio(
        &self,
        request: Request<v1::DeletePortfolioRequest>,
    ) -> Result<Response<v1::DeletePortfolioResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = delete_portfolio(request)?;
        let deleted = self.app.delete_portfolio(&context, &request).await?;
        Ok(Response::new(v1::DeletePortfolioResponse {
            portfolio: Some(portfolio(&deleted.value)),
            consistency_token: deleted.token.encode(),
        }))
    }

    async fn list_portfolios(
        &self,
        request: Request<v1::ListPortfoliosRequest>,
    ) -> Result<Response<v1::ListPortfoliosResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let actor = &context.principal.actor;
        let (request, query) = portfolio_lists::list(request, actor, &self.limits)?;
        let listed = self.app.list_portfolios(&context, &request).await?;
        let next = listed.next.map(|key| encode_page_token(&query, &key));
        Ok(Response::new(v1::ListPortfoliosResponse {
            portfolios: listed.rows.iter().map(portfolio_lists::summary).collect(),
            next_page_token: next.unwrap_or_default(),
            consistency_token: listed.token.encode(),
        }))
    }

    async fn update_portfolio(
        &self,
        request: Request<v1::UpdatePortfolioRequest>,
    ) -> Result<Response<v1::UpdatePortfolioResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = update_portfolio(request, self.limits.max_string_bytes)?;
        let updated = self.app.update_portfolio(&context, &request).await?;
        Ok(Response::new(v1::UpdatePortfolioResponse {
            portfolio: Some(portfolio(&updated.value)),
            consistency_token: updated.token.encode(),
        }))
    }

    async fn list_unmanaged_portfolios(
        &self,
        request: Request<v1::ListUnmanagedPortfoliosRequest>,
    ) -> Result<Response<v1::ListUnmanagedPortfoliosResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let actor = &context.principal.actor;
        let (request, query) = portfolio_lists::list_unmanaged(request, actor, &self.limits)?;
        let listed = self.app.list_unmanaged_portfolios(&context, &request).await?;
        let next = listed.next.map(|key| encode_page_token(&query, &key));
        Ok(Response::new(v1::ListUnmanagedPortfoliosResponse {
            portfolios: listed.rows.iter().map(portfolio).collect(),
            next_page_token: next.unwrap_or_default(),
            consistency_token: listed.token.encode(),
        }))
    }
}

fn create_portfolio(
    request: v1::CreatePortfolioRequest,
    max_string_bytes: usize,
) -> Result<CreatePortfolio, Refusal> {
    let v1::CreatePortfolioRequest { request_id: _, portfolio, organization_access_role } = request;
    let Some(portfolio) = portfolio else {
        return Err(Refusal::field("portfolio", "must be given"));
    };
    let v1::Portfolio {
        id,
        organization,
        display_name,
        r#type,
        owner,
        visibility,
        parent,
        linked,
        // Output only.
        author: _,
        state: _,
        create_time: _,
        update_time: _,
        etag: _,
    } = portfolio;
    let mut violations = Violations::default();
    let id = violations.check(parse::optional_id("portfolio.id", &id));
    let organization = violations.check(parse::id("portfolio.organization", &organization));
    let display_name = violations.check(parse::display_name(
        "portfolio.display_name",
        display_name,
        max_string_bytes,
    ));
    let portfolio_type = violations.check(parse::type_name("portfolio.type", r#type));
    let owner = violations.check(parse::optional_id("portfolio.owner", &owner));
    let parent = violations.check(parse::optional_id("portfolio.parent", &parent));
    let visibility =
        visibility.map(|visibility| parse::visibility("portfolio.visibility", visibility));
    let visibility = violations.check(visibility.transpose());
    let role = parse::optional_id("organization_access_role", &organization_access_role);
    let organization_access_role = violations.check(role);
    violations.finish((|| {
        Some(CreatePortfolio {
            id: id?,
            organization: organization?,
            display_name: display_name?,
            portfolio_type: portfolio_type?,
            visibility: visibility?,
            organization_access_role: organization_access_role?,
            owner: owner?,
            parent: parent?,
            linked,
        })
    })())
}

const DISPLAY_NAME: &str = "display_name";
const TYPE: &str = "type";

fn update_portfolio(
    request: v1::UpdatePortfolioRequest,
    max_string_bytes: usize,
) -> Result<UpdatePortfolio, Refusal> {
    let v1::UpdatePortfolioRequest { request_id: _, portfolio, update_mask } = request;
    let Some(portfolio) = portfolio else {
        return Err(Refusal::field("portfolio", "must be given"));
    };
    let v1::Portfolio {
        id,
        display_name,
        r#type,
        etag,
        // Output only, or changed by other calls.
        organization: _,
        owner: _,
        parent: _,
        linked: _,
        visibility: _,
        author: _,
        state: _,
        create_time: _,
        update_time: _,
    } = portfolio;
    let mut violations = Violations::default();
    let id = violations.check(parse::id("portfolio.id", &id));
    let etag = violations.check(parse::etag("portfolio.etag", etag));
    let fields = [(DISPLAY_NAME, !display_name.is_empty()), (TYPE, !r#type.is_empty())];
    let changed = violations.check(parse::update_mask(update_mask.as_ref(), &fields));
    let changes = |field| changed.as_ref().is_some_and(|changed| changed.contains(&field));
    let display_name = changes(DISPLAY_NAME)
        .then(|| parse::display_name("portfolio.display_name", display_name, max_string_bytes));
    let display_name = violations.check(display_name.transpose());
    let portfolio_type = changes(TYPE).then(|| parse::type_name("portfolio.type", r#type));
    let portfolio_type = violations.check(portfolio_type.transpose());
    violations.finish((|| {
        Some(UpdatePortfolio {
            id: id?,
            display_name: display_name?,
            portfolio_type: portfolio_type?,
            etag: etag?,
        })
    })())
}

fn delete_portfolio(request: v1::DeletePortfolioRequest) -> Result<DeletePortfolio, Refusal> {
    let v1::DeletePortfolioRequest { request_id: _, portfolio, confirm_portfolio, etag } = request;
    let mut violations = Violations::default();
    let id: Option<PortfolioId> = violations.check(parse::id("portfolio", &portfolio));
    if portfolio != confirm_portfolio {
        let description = "must repeat `portfolio`: deletion is final";
        violations.check::<()>(Err(Refusal::field("confirm_portfolio", description)));
    }
    let etag = violations.check(parse::etag("etag", etag));
    violations.finish((|| Some(DeletePortfolio { id: id?, etag: etag? }))())
}

pub(super) fn portfolio(portfolio: &Portfolio) -> v1::Portfolio {
    let Portfolio {
        id,
        organization,
        display_name,
        portfolio_type,
        author,
        owner,
        state,
        settings,
        create_time,
        update_time,
        parent,
        linked,
        version: _,
    } = portfolio;
    let state = match state {
        PortfolioState::Active => v1::PortfolioState::Active,
        PortfolioState::Archived => v1::PortfolioState::Archived,
        PortfolioState::Deleted => v1::PortfolioState::Deleted,
    };
    v1::Portfolio {
        id: id.to_string(),
        organization: organization.to_string(),
        display_name: display_name.clone(),
        r#type: portfolio_type.clone(),
        author: author.as_ref().map(render::subject),
        owner: owner.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: state.into(),
        visibility: Some(render::visibility(settings.visibility).into()),
        create_time: Some(render::timestamp(*create_time)),
        update_time: Some(render::timestamp(*update_time)),
        etag: portfolio.etag(),
        parent: parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        linked: *linked,
    }
}
