use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use super::render::timestamp;
use super::{Services, context};
use crate::app::{CheckPermission, Checked, Decision, DecisionReason as Reason, Requirement};
use crate::domain::Subject;
use crate::domain::refusal::{self, Refusal};
use crate::domain::revision::Token;
use crate::proto::v1;
use crate::proto::v1::policy_service_server::PolicyService;

/// The longest name that is looked for in the catalogue, in bytes.
const MAX_PERMISSION_BYTES: usize = 128;

#[tonic::async_trait]
impl PolicyService for Services {
    async fn check_permission(
        &self,
        request: Request<v1::CheckPermissionRequest>,
    ) -> Result<Response<v1::CheckPermissionResponse>, Status> {
        let (context, request) = context::read(request, self.request_timeout)?;
        let request = check_permission(request)?;
        let checked = self.app.check_permission(&context, &request).await?;
        Ok(Response::new(check_permission_response(&checked)))
    }

    async fn batch_check_permissions(
        &self,
        _request: Request<v1::BatchCheckPermissionsRequest>,
    ) -> Result<Response<v1::BatchCheckPermissionsResponse>, Status> {
        Err(Status::unimplemented("batch_check_permissions"))
    }

    async fn explain_permission(
        &self,
        _request: Request<v1::ExplainPermissionRequest>,
    ) -> Result<Response<v1::ExplainPermissionResponse>, Status> {
        Err(Status::unimplemented("explain_permission"))
    }

    async fn list_effective_permissions(
        &self,
        _request: Request<v1::ListEffectivePermissionsRequest>,
    ) -> Result<Response<v1::ListEffectivePermissionsResponse>, Status> {
        Err(Status::unimplemented("list_effective_permissions"))
    }

    async fn list_accessible_portfolios(
        &self,
        _request: Request<v1::ListAccessiblePortfoliosRequest>,
    ) -> Result<Response<v1::ListAccessiblePortfoliosResponse>, Status> {
        Err(Status::unimplemented("list_accessible_portfolios"))
    }

    async fn list_subjects(
        &self,
        _request: Request<v1::ListSubjectsRequest>,
    ) -> Result<Response<v1::ListSubjectsResponse>, Status> {
        Err(Status::unimplemented("list_subjects"))
    }
}

fn check_permission(request: v1::CheckPermissionRequest) -> Result<CheckPermission, Refusal> {
    let v1::CheckPermissionRequest { subject, permission, portfolio, item, consistency, at } =
        request;
    let mut violations = Violations::default();
    let subject = violations.check(parse::subject("subject", subject.as_ref()));
    let permission = violations.check(self::permission(permission));
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    let author = violations.check(item.map_or(Ok(None), author));
    let requirement = violations.check(requirement(consistency));
    let at = violations.check(parse::optional_timestamp("at", at));
    violations.finish((|| {
        Some(CheckPermission {
            subject: subject?,
            permission: permission?,
            portfolio: portfolio?,
            author: author?,
            requirement: requirement?,
            at: at?,
        })
    })())
}

/// Whether the catalogue has it is for the decider to say; this only keeps nonsense away.
fn permission(name: String) -> Result<String, Refusal> {
    if name.is_empty() {
        return Err(Refusal::field("permission", "must not be empty; write `noun.verb`"));
    }
    if name.len() > MAX_PERMISSION_BYTES || name.chars().any(char::is_control) {
        let description =
            format!("must be at most {MAX_PERMISSION_BYTES} bytes, without control characters");
        return Err(Refusal::field("permission", description));
    }
    Ok(name)
}

/// The author is all that decides as yet; the rest of the reference is only looked over.
fn author(item: v1::ItemReference) -> Result<Option<Subject>, Refusal> {
    let v1::ItemReference { r#type, id, author } = item;
    let mut violations = Violations::default();
    if r#type.is_empty() && !id.is_empty() {
        let missing = Refusal::field("item.type", "must be given where an id is");
        violations.check::<()>(Err(missing));
    }
    violations.check(parse::type_name("item.type", r#type));
    violations.check(parse::optional_id::<crate::domain::UserId>("item.id", &id));
    let author = author.as_ref().map(|author| parse::subject("item.author", Some(author)));
    let author = violations.check(author.transpose());
    violations.finish(author)
}

fn requirement(consistency: Option<v1::Consistency>) -> Result<Requirement, Refusal> {
    use v1::consistency::Requirement as Wire;
    let untrue = |field: &str| {
        Refusal::field(format!("consistency.{field}"), "must be true; or name another requirement")
    };
    let requirement = consistency.and_then(|v1::Consistency { requirement }| requirement);
    match requirement {
        None | Some(Wire::MinimizeLatency(true)) => Ok(Requirement::MinimizeLatency),
        Some(Wire::MinimizeLatency(false)) => Err(untrue("minimize_latency")),
        Some(Wire::FullyConsistent(true)) => Ok(Requirement::FullyConsistent),
        Some(Wire::FullyConsistent(false)) => Err(untrue("fully_consistent")),
        Some(Wire::AtLeastAsFresh(token)) => match Token::decode(&token) {
            Ok(token) => Ok(Requirement::AtLeast(token)),
            Err(error) => Err(Refusal::field_because(
                refusal::Reason::TokenMalformed,
                "consistency.at_least_as_fresh",
                error,
            )),
        },
    }
}

fn check_permission_response(checked: &Checked) -> v1::CheckPermissionResponse {
    let Checked { decision, token } = checked;
    let Decision { allowed, reason, hold_until } = decision;
    v1::CheckPermissionResponse {
        allowed: *allowed,
        reason: decision_reason(*reason).into(),
        consistency_token: token.encode(),
        hold_until: hold_until.map(timestamp),
    }
}

fn decision_reason(reason: Reason) -> v1::DecisionReason {
    match reason {
        Reason::DirectGrant => v1::DecisionReason::DirectGrant,
        Reason::GroupGrant => v1::DecisionReason::GroupGrant,
        Reason::OrganizationAccess => v1::DecisionReason::OrganizationAccess,
        Reason::Administrator => v1::DecisionReason::Administrator,
        Reason::PortfolioUnknown => v1::DecisionReason::PortfolioUnknown,
        Reason::SubjectUnknown => v1::DecisionReason::SubjectUnknown,
        Reason::SubjectDeactivated => v1::DecisionReason::SubjectDeactivated,
        Reason::NoAccess => v1::DecisionReason::NoAccess,
        Reason::PermissionMissing => v1::DecisionReason::PermissionMissing,
        Reason::NotAuthor => v1::DecisionReason::NotAuthor,
        Reason::AuthorUnknown => v1::DecisionReason::AuthorUnknown,
        Reason::InternalOnly => v1::DecisionReason::InternalOnly,
    }
}
