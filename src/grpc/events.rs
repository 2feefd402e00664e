use tonic::{Request, Response, Status};

use super::Services;
use crate::proto::v1;
use crate::proto::v1::event_service_server::EventService;

#[tonic::async_trait]
impl EventService for Services {
    async fn list_audit_events(
        &self,
        _request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        Err(Status::unimplemented("list_audit_events"))
    }
}
