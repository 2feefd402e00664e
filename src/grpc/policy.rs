use tonic::{Request, Response, Status};

use super::{Services, answers, context, questions};
use crate::domain::page::encode_page_token;
use crate::proto::v1;
use crate::proto::v1::policy_service_server::PolicyService;

#[tonic::async_trait]
impl PolicyService for Services {
    async fn check_permission(
        &self,
        request: Request<v1::CheckPermissionRequest>,
    ) -> Result<Response<v1::CheckPermissionResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let request = questions::check(request)?;
        let checked = self.app.check_permission(&context, &request).await?;
        Ok(Response::new(answers::checked(&checked)))
    }

    async fn batch_check_permissions(
        &self,
        mut request: Request<v1::BatchCheckPermissionsRequest>,
    ) -> Result<Response<v1::BatchCheckPermissionsResponse>, Status> {
        let place = request.extensions_mut().remove();
        let (context, request) = context::read(request, self.request_timeout)?;
        let request = questions::batch(request, &self.limits)?;
        let checked = self.app.batch_check_permissions(&context, &request, place).await?;
        Ok(Response::new(answers::batch(checked)))
    }

    async fn explain_permission(
        &self,
        request: Request<v1::ExplainPermissionRequest>,
    ) -> Result<Response<v1::ExplainPermissionResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let request = questions::explain(request)?;
        let explained = self.app.explain_permission(&context, &request).await?;
        Ok(Response::new(answers::explained(explained)))
    }

    async fn list_effective_permissions(
        &self,
        request: Request<v1::ListEffectivePermissionsRequest>,
    ) -> Result<Response<v1::ListEffectivePermissionsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let request = questions::effective(request)?;
        let effective = self.app.list_effective_permissions(&context, &request).await?;
        Ok(Response::new(answers::effective(effective)))
    }

    async fn list_accessible_portfolios(
        &self,
        request: Request<v1::ListAccessiblePortfoliosRequest>,
    ) -> Result<Response<v1::ListAccessiblePortfoliosResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let actor = &context.principal.actor;
        let (request, query) = questions::accessible(request, actor, &self.limits)?;
        let found = self.app.list_accessible_portfolios(&context, &request).await?;
        let next = found.next.map(|key| encode_page_token(&query, &key));
        Ok(Response::new(v1::ListAccessiblePortfoliosResponse {
            portfolios: found.rows.into_iter().map(answers::accessible).collect(),
            next_page_token: next.unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn list_subjects(
        &self,
        request: Request<v1::ListSubjectsRequest>,
    ) -> Result<Response<v1::ListSubjectsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let actor = &context.principal.actor;
        let (request, query) = questions::subjects(request, actor, &self.limits)?;
        let found = self.app.list_subjects(&context, &request).await?;
        let next = found.next.map(|key| encode_page_token(&query, &key));
        Ok(Response::new(v1::ListSubjectsResponse {
            subjects: found.rows.iter().map(answers::subject).collect(),
            next_page_token: next.unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn list_visible_items(
        &self,
        request: Request<v1::ListVisibleItemsRequest>,
    ) -> Result<Response<v1::ListVisibleItemsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let actor = &context.principal.actor;
        let (request, query) = questions::visible_items(request, actor, &self.limits)?;
        let (found, withheld) = self.app.list_visible_items(&context, &request).await?;
        let next = found.next.map(|key| encode_page_token(&query, &key));
        Ok(Response::new(v1::ListVisibleItemsResponse {
            items: found.rows.iter().map(answers::visible_item).collect(),
            next_page_token: next.unwrap_or_default(),
            withheld: withheld.map(|count| i32::try_from(count).unwrap_or(i32::MAX)),
            consistency_token: found.token.encode(),
        }))
    }
}
