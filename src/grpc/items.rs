use tonic::{Request, Response, Status};

use super::item_messages::{delete, get, item, list, register, seen, update};
use super::{Services, context};
use crate::domain::page::encode_page_token;
use crate::proto::v1;
use crate::proto::v1::item_service_server::ItemService;

#[tonic::async_trait]
impl ItemService for Services {
    async fn register_item(
        &self,
        request: Request<v1::RegisterItemRequest>,
    ) -> Result<Response<v1::RegisterItemResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = register(request, self.limits.max_string_bytes)?;
        let registered = self.app.register_item(&context, &request).await?;
        Ok(Response::new(v1::RegisterItemResponse {
            item: Some(item(&registered.value)),
            consistency_token: registered.token.encode(),
        }))
    }

    async fn get_item(
        &self,
        request: Request<v1::GetItemRequest>,
    ) -> Result<Response<v1::GetItemResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let found = self.app.get_item(&context, &get(request)?).await?;
        Ok(Response::new(v1::GetItemResponse {
            item: Some(seen(&found.value)),
            consistency_token: found.token.encode(),
        }))
    }

    async fn list_items(
        &self,
        request: Request<v1::ListItemsRequest>,
    ) -> Result<Response<v1::ListItemsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let actor = &context.principal.actor;
        let (request, query) = list(request, actor, &self.limits)?;
        let listed = self.app.list_items(&context, &request).await?;
        let next = listed.value.next.map(|key| encode_page_token(&query, &key));
        Ok(Response::new(v1::ListItemsResponse {
            items: listed.value.rows.iter().map(seen).collect(),
            next_page_token: next.unwrap_or_default(),
            consistency_token: listed.token.encode(),
        }))
    }

    async fn update_item(
        &self,
        request: Request<v1::UpdateItemRequest>,
    ) -> Result<Response<v1::UpdateItemResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = update(request, self.limits.max_string_bytes)?;
        let updated = self.app.update_item(&context, &request).await?;
        Ok(Response::new(v1::UpdateItemResponse {
            item: Some(item(&updated.value)),
            consistency_token: updated.token.encode(),
        }))
    }

    async fn delete_item(
        &self,
        request: Request<v1::DeleteItemRequest>,
    ) -> Result<Response<v1::DeleteItemResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let deleted = self.app.delete_item(&context, &delete(request)?).await?;
        Ok(Response::new(v1::DeleteItemResponse {
            item: Some(item(&deleted.value)),
            consistency_token: deleted.token.encode(),
        }))
    }
}
