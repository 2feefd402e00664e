use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use super::portfolios::portfolio;
use super::privacy_requests::{self, privacy_request};
use super::{Services, context, links, render};
use crate::app::{GovernedPortfolio, SettingsInEffect, UpdateAccessSettings};
use crate::domain::access_settings::AccessSettings;
use crate::domain::page::encode_page_token;
use crate::domain::refusal::Refusal;
use crate::proto::v1;
use crate::proto::v1::access_settings_service_server::AccessSettingsService;

#[tonic::async_trait]
impl AccessSettingsService for Services {
    async fn get_access_settings(
        &self,
        request: Request<v1::GetAccessSettingsRequest>,
    ) -> Result<Response<v1::GetAccessSettingsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let v1::GetAccessSettingsRequest { portfolio } = request;
        let portfolio = parse::id("portfolio", &portfolio)?;
        let found = self.app.get_access_settings(&context, &portfolio).await?;
        Ok(Response::new(v1::GetAccessSettingsResponse {
            access_settings: Some(access_settings(&found.value)),
            consistency_token: found.token.encode(),
            privacy_request: found.value.privacy_request.map(privacy_request),
        }))
    }

    async fn update_access_settings(
        &self,
        request: Request<v1::UpdateAccessSettingsRequest>,
    ) -> Result<Response<v1::UpdateAccessSettingsResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = update_access_settings(request)?;
        let updated = self.app.update_access_settings(&context, &request).await?;
        let GovernedPortfolio { portfolio, privacy_request: asked } = updated.value;
        let own = SettingsInEffect { portfolio, settings_of: None, privacy_request: None };
        Ok(Response::new(v1::UpdateAccessSettingsResponse {
            access_settings: Some(access_settings(&own)),
            consistency_token: updated.token.encode(),
            privacy_request: asked.map(privacy_request),
        }))
    }

    async fn list_privacy_requests(
        &self,
        request: Request<v1::ListPrivacyRequestsRequest>,
    ) -> Result<Response<v1::ListPrivacyRequestsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let actor = context.principal.actor.to_string();
        let (of, states, page, query) = privacy_requests::list(request, &actor, &self.limits)?;
        let found = self.app.list_privacy_requests(&context, &of, &states, &page).await?;
        let next = found.value.next.map(|last| encode_page_token(&query, &last));
        Ok(Response::new(v1::ListPrivacyRequestsResponse {
            privacy_requests: found.value.rows.into_iter().map(privacy_request).collect(),
            next_page_token: next.unwrap_or_default(),
            consistency_token: found.token.encode(),
        }))
    }

    async fn approve_privacy_request(
        &self,
        request: Request<v1::ApprovePrivacyRequestRequest>,
    ) -> Result<Response<v1::ApprovePrivacyRequestResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let id = privacy_requests::approve(request)?;
        let approved = self.app.approve_privacy_request(&context, &id).await?;
        Ok(Response::new(v1::ApprovePrivacyRequestResponse {
            privacy_request: Some(privacy_request(approved.value)),
            consistency_token: approved.token.encode(),
        }))
    }

    async fn reject_privacy_request(
        &self,
        request: Request<v1::RejectPrivacyRequestRequest>,
    ) -> Result<Response<v1::RejectPrivacyRequestResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let (id, reason) = privacy_requests::reject(request, &self.limits)?;
        let rejected = self.app.reject_privacy_request(&context, &id, &reason).await?;
        Ok(Response::new(v1::RejectPrivacyRequestResponse {
            privacy_request: Some(privacy_request(rejected.value)),
            consistency_token: rejected.token.encode(),
        }))
    }

    async fn cancel_privacy_request(
        &self,
        request: Request<v1::CancelPrivacyRequestRequest>,
    ) -> Result<Response<v1::CancelPrivacyRequestResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let id = privacy_requests::cancel(request)?;
        let cancelled = self.app.cancel_privacy_request(&context, &id).await?;
        Ok(Response::new(v1::CancelPrivacyRequestResponse {
            privacy_request: Some(privacy_request(cancelled.value)),
            consistency_token: cancelled.token.encode(),
        }))
    }

    async fn link_access_settings(
        &self,
        request: Request<v1::LinkAccessSettingsRequest>,
    ) -> Result<Response<v1::LinkAccessSettingsResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = links::link(request)?;
        let linked = self.app.link_access_settings(&context, &request).await?;
        Ok(Response::new(v1::LinkAccessSettingsResponse {
            portfolio: Some(portfolio(&linked.value)),
            consistency_token: linked.token.encode(),
        }))
    }

    async fn unlink_access_settings(
        &self,
        request: Request<v1::UnlinkAccessSettingsRequest>,
    ) -> Result<Response<v1::UnlinkAccessSettingsResponse>, Status> {
        let (context, request) = context::write(request, self.request_timeout)?;
        let request = links::unlink(request)?;
        let unlinked = self.app.unlink_access_settings(&context, &request).await?;
        Ok(Response::new(v1::UnlinkAccessSettingsResponse {
            portfolio: Some(portfolio(&unlinked.value)),
            consistency_token: unlinked.token.encode(),
        }))
    }

    async fn compare_access_settings(
        &self,
        request: Request<v1::CompareAccessSettingsRequest>,
    ) -> Result<Response<v1::CompareAccessSettingsResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let actor = &context.principal.actor;
        let (request, query) = links::compare(request, actor, &self.limits)?;
        let (compared, listed) = self.app.compare_access_settings(&context, &request).await?;
        let next = listed.next.map(|key| encode_page_token(&query, &key));
        let next = next.unwrap_or_default();
        Ok(Response::new(links::compared(compared, &listed.rows, next, &listed.token)))
    }
}

const VISIBILITY: &str = "visibility";
const ROLE: &str = "organization_access_role";

fn update_access_settings(
    request: v1::UpdateAccessSettingsRequest,
) -> Result<UpdateAccessSettings, Refusal> {
    let v1::UpdateAccessSettingsRequest { request_id: _, access_settings, update_mask } = request;
    let Some(settings) = access_settings else {
        return Err(Refusal::field("access_settings", "must be given"));
    };
    let v1::AccessSettings {
        portfolio,
        visibility,
        organization_access_role: role,
        // Output only.
        update_time: _,
        linked: _,
        settings_of: _,
        etag,
    } = settings;
    let mut violations = Violations::default();
    let portfolio = violations.check(parse::id("access_settings.portfolio", &portfolio));
    let etag = violations.check(parse::etag("access_settings.etag", etag));
    let fields = [(VISIBILITY, visibility != 0), (ROLE, !role.is_empty())];
    let changed = violations.check(parse::update_mask(update_mask.as_ref(), &fields));
    let changes = |field| changed.as_ref().is_some_and(|changed| changed.contains(&field));
    let visibility =
        changes(VISIBILITY).then(|| parse::visibility("access_settings.visibility", visibility));
    let visibility = violations.check(visibility.transpose());
    let role = changes(ROLE).then(|| parse::id("access_settings.organization_access_role", &role));
    let organization_access_role = violations.check(role.transpose());
    violations.finish((|| {
        Some(UpdateAccessSettings {
            portfolio: portfolio?,
            visibility: visibility?,
            organization_access_role: organization_access_role?,
            etag: etag?,
        })
    })())
}

fn access_settings(found: &SettingsInEffect) -> v1::AccessSettings {
    let SettingsInEffect { portfolio, settings_of, privacy_request: _ } = found;
    let AccessSettings { visibility, organization_access_role } = &portfolio.settings;
    v1::AccessSettings {
        portfolio: portfolio.id.to_string(),
        visibility: render::visibility(*visibility).into(),
        organization_access_role: organization_access_role.to_string(),
        update_time: Some(render::timestamp(portfolio.update_time)),
        etag: portfolio.etag(),
        linked: portfolio.linked,
        settings_of: settings_of.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}
