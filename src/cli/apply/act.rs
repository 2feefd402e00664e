//! Makes the changes of a plan, in its order, as few calls as the limits allow.

use indicatif::ProgressBar;
use uuid::Uuid;

use super::change::{Change, Terms, visibility_text};
use super::differences::Differences;
use super::{items, links};
use crate::cli::text;
use crate::domain::Subject;
use crate::grpc::client::{CallError, Client, reason_name};
use crate::proto::v1;

/// Half of what a server accepts by default.
const BATCH: usize = 500;

/// A change that the server did not make, and why.
pub(super) type Refused = (String, String);

/// What came of the changes that were not simply made.
#[derive(Debug, Default)]
pub(super) struct Acted {
    /// What the server did not make.
    pub refused: Vec<Refused>,
    /// What it asked of the administrators instead (VIS-7).
    pub waiting: Vec<String>,
}

/// Makes the changes. What a rule forbids is collected, and the rest goes on (MEM-2).
///
/// # Errors
/// The server cannot answer; what was done so far stays, and another run does the rest.
pub(super) async fn act(
    client: &Client,
    changes: &[Change],
    bar: &ProgressBar,
) -> Result<Acted, CallError> {
    let mut acted = Acted::default();
    for joined in changes.chunk_by(Change::joins) {
        // An item is one call, whatever it has.
        let most = joined.first().and_then(Change::item).map_or(BATCH, |_| joined.len());
        for batch in joined.chunks(most) {
            match make(client, batch).await {
                Ok(Acted { refused, waiting }) => {
                    acted.refused.extend(refused);
                    acted.waiting.extend(waiting);
                }
                Err(error) if is_about_the_change(&error) => {
                    let one = |change: &Change| (change.to_string(), error.to_string());
                    acted.refused.extend(batch.iter().map(one));
                }
                Err(error) => return Err(error),
            }
            bar.inc(u64::try_from(batch.len()).unwrap_or_default());
        }
    }
    Ok(acted)
}

/// Whether the server understood and refused, so that the other changes have a chance.
fn is_about_the_change(error: &CallError) -> bool {
    matches!(
        error.code,
        "ALREADY_EXISTS"
            | "FAILED_PRECONDITION"
            | "INVALID_ARGUMENT"
            | "NOT_FOUND"
            | "PERMISSION_DENIED"
    )
}

/// One call for changes that join.
async fn make(client: &Client, batch: &[Change]) -> Result<Acted, CallError> {
    let mut acted = Acted::default();
    let Some(first) = batch.first() else { return Ok(acted) };
    match first {
        Change::CreateUser(_) | Change::UpdateUser(..) => {
            acted.refused = users(client, batch).await?;
        }
        Change::CreateServiceAccount(_) | Change::UpdateServiceAccount(..) => {
            acted.refused = service_accounts(client, batch).await?;
        }
        Change::AddGroupMember { group, .. } | Change::RemoveGroupMember { group, .. } => {
            acted.refused = group_members(client, group, batch).await?;
        }
        Change::AddMember { portfolio, terms, .. } => {
            acted.refused = members(client, portfolio, terms, batch).await?;
        }
        Change::CreatePortfolio { .. }
        | Change::UpdatePortfolio(..)
        | Change::MovePortfolio { .. }
        | Change::LinkSettings(_)
        | Change::UnlinkSettings(_)
        | Change::DeletePortfolio { .. }
        | Change::UpdateSettings(..)
        | Change::UpdateMember { .. }
        | Change::RemoveMember { .. } => {
            let asked = on_portfolio(client, first).await?;
            acted.waiting.extend(asked.as_ref().map(waits));
        }
        Change::CreateRole(_) | Change::UpdateRole(..) | Change::DeleteRole { .. } => {
            on_role(client, first).await?;
        }
        Change::RegisterItem(_)
        | Change::UpdateItem(..)
        | Change::SetItemGrants { .. }
        | Change::DeleteItem(_) => items::act(client, batch).await?,
        Change::AddAffiliation(_)
        | Change::RemoveAffiliation(_)
        | Change::SetFunctionCeiling { .. }
        | Change::DeleteFunctionCeiling(_) => on_function(client, first).await?,
        _ => on_directory(client, first).await?,
    }
    Ok(acted)
}

/// What a pending request means for the plan.
pub(super) fn waits(request: &v1::PrivacyRequest) -> String {
    let v1::PrivacyRequest { id, portfolio, .. } = request;
    let visibility = visibility_text(request.to_visibility);
    format!(
        "portfolio {portfolio}: visibility {visibility} waits for an administrator's approval \
         (privacy request {id})"
    )
}

async fn on_directory(client: &Client, change: &Change) -> Result<(), CallError> {
    let request_id = request_id();
    match change {
        Change::CreateOrganization(organization) => {
            let organization = Some(organization.clone());
            let request = v1::CreateOrganizationRequest { request_id, organization };
            client.create_organization(request).await?;
        }
        Change::UpdateOrganization(organization, was)
        | Change::SetAdministrators { organization, was, .. } => {
            let update_mask = Some(organization_mask(was));
            let organization = Some(organization.clone());
            let request = v1::UpdateOrganizationRequest { request_id, organization, update_mask };
            client.update_organization(request).await?;
        }
        Change::ReactivateUser(user) => {
            let user = user.clone();
            client.reactivate_user(v1::ReactivateUserRequest { request_id, user }).await?;
        }
        Change::DeactivateUser { user, .. } => {
            let user = user.clone();
            client.deactivate_user(v1::DeactivateUserRequest { request_id, user }).await?;
        }
        Change::SetSiteRole { site_role, .. } => {
            let v1::UserSiteRole { organization, user, site_role } = site_role.clone();
            let request = v1::SetSiteRoleRequest { request_id, organization, user, site_role };
            client.set_site_role(request).await?;
        }
        Change::DeactivateServiceAccount { service_account, .. } => {
            let service_account = service_account.clone();
            let request = v1::DeactivateServiceAccountRequest { request_id, service_account };
            client.deactivate_service_account(request).await?;
        }
        Change::CreateGroup(group) | Change::UpdateGroup(group, _) => {
            let group = Some(group.clone());
            client.upsert_group(v1::UpsertGroupRequest { request_id, group }).await?;
        }
        Change::DeleteGroup(group) => {
            let (group, confirm_group) = (group.clone(), group.clone());
            let request = v1::DeleteGroupRequest { request_id, group, confirm_group };
            client.delete_group(request).await?;
        }
        // The others are made by `make` itself.
        _ => {}
    }
    Ok(())
}

async fn on_role(client: &Client, change: &Change) -> Result<(), CallError> {
    let request_id = request_id();
    match change {
        Change::CreateRole(role) => {
            let role = Some(role.clone());
            client.create_role(v1::CreateRoleRequest { request_id, role }).await?;
        }
        Change::UpdateRole(role, was) => {
            let fields = [
                ("display name", "display_name"),
                ("description", "description"),
                ("permissions", "permissions"),
            ];
            let update_mask = Some(mask(was, &fields));
            let role = Some(role.clone());
            client.update_role(v1::UpdateRoleRequest { request_id, role, update_mask }).await?;
        }
        Change::DeleteRole { organization, role, etag } => {
            let (organization, role, etag) = (organization.clone(), role.clone(), etag.clone());
            let replacement = String::new();
            let request =
                v1::DeleteRoleRequest { request_id, organization, role, replacement, etag };
            client.delete_role(request).await?;
        }
        // The others are no role's.
        _ => {}
    }
    Ok(())
}

/// Makes the change; the request, where a visibility has to be approved first.
async fn on_portfolio(
    client: &Client,
    change: &Change,
) -> Result<Option<v1::PrivacyRequest>, CallError> {
    let request_id = request_id();
    match change {
        Change::CreatePortfolio { portfolio, organization_access_role } => {
            let request = v1::CreatePortfolioRequest {
                request_id,
                portfolio: Some(portfolio.clone()),
                organization_access_role: organization_access_role.clone(),
            };
            return Ok(client.create_portfolio(request).await?.privacy_request);
        }
        Change::UpdatePortfolio(portfolio, was) => {
            let update_mask =
                Some(mask(was, &[("display name", "display_name"), ("type", "type")]));
            let portfolio = Some(portfolio.clone());
            let request = v1::UpdatePortfolioRequest { request_id, portfolio, update_mask };
            client.update_portfolio(request).await?;
        }
        Change::DeletePortfolio { portfolio, etag } => {
            let (confirm_portfolio, etag) = (portfolio.clone(), etag.clone());
            let portfolio = portfolio.clone();
            let request =
                v1::DeletePortfolioRequest { request_id, portfolio, confirm_portfolio, etag };
            client.delete_portfolio(request).await?;
        }
        Change::MovePortfolio { .. } | Change::LinkSettings(_) | Change::UnlinkSettings(_) => {
            links::act(client, change, request_id).await?;
        }
        Change::UpdateSettings(settings, was) => {
            let request = settings_request(settings, was);
            return Ok(client.update_access_settings(request).await?.privacy_request);
        }
        Change::UpdateMember { portfolio, subject, terms, etag, .. } => {
            let request = update_request(portfolio, subject, terms, etag);
            client.update_member(request).await?;
        }
        Change::RemoveMember { portfolio, subject, etag, .. } => {
            let (portfolio, etag) = (portfolio.clone(), etag.clone());
            let subject = Some(text::subject_message(subject));
            let request = v1::RemoveMemberRequest { request_id, portfolio, subject, etag };
            client.remove_member(request).await?;
        }
        // The others are no portfolio's.
        _ => {}
    }
    Ok(None)
}

async fn on_function(client: &Client, change: &Change) -> Result<(), CallError> {
    let request_id = request_id();
    match change {
        Change::AddAffiliation(affiliation) => {
            let v1::Affiliation { organization, user, function } = affiliation.clone();
            let request = v1::SetAffiliationRequest { request_id, organization, user, function };
            client.set_affiliation(request).await?;
        }
        Change::RemoveAffiliation(affiliation) => {
            let v1::Affiliation { organization, user, function } = affiliation.clone();
            let request = v1::RemoveAffiliationRequest { request_id, organization, user, function };
            client.remove_affiliation(request).await?;
        }
        Change::SetFunctionCeiling { ceiling, .. } => {
            let ceiling = ceiling.clone();
            let request = v1::SetFunctionCeilingRequest {
                request_id,
                organization: ceiling.organization,
                function: ceiling.function,
                portfolio_type: ceiling.portfolio_type,
                role: ceiling.role,
            };
            client.set_function_ceiling(request).await?;
        }
        Change::DeleteFunctionCeiling(ceiling) => {
            let ceiling = ceiling.clone();
            let request = v1::DeleteFunctionCeilingRequest {
                request_id,
                organization: ceiling.organization,
                function: ceiling.function,
                portfolio_type: ceiling.portfolio_type,
            };
            client.delete_function_ceiling(request).await?;
        }
        // The others are no function's.
        _ => {}
    }
    Ok(())
}

async fn users(client: &Client, batch: &[Change]) -> Result<Vec<Refused>, CallError> {
    let user = |change: &Change| match change {
        Change::CreateUser(user) | Change::UpdateUser(user, _) => Some(user.clone()),
        _ => None,
    };
    let users = batch.iter().filter_map(user).collect();
    let request = v1::UpsertUsersRequest { request_id: request_id(), users };
    let outcomes = client.upsert_users(request).await?.outcomes;
    Ok(refusals(batch, outcomes.into_iter().map(|outcome| outcome.refusal)))
}

async fn service_accounts(client: &Client, batch: &[Change]) -> Result<Vec<Refused>, CallError> {
    let account = |change: &Change| match change {
        Change::CreateServiceAccount(account) | Change::UpdateServiceAccount(account, _) => {
            Some(account.clone())
        }
        _ => None,
    };
    let service_accounts = batch.iter().filter_map(account).collect();
    let request = v1::UpsertServiceAccountsRequest { request_id: request_id(), service_accounts };
    let outcomes = client.upsert_service_accounts(request).await?.outcomes;
    Ok(refusals(batch, outcomes.into_iter().map(|outcome| outcome.refusal)))
}

/// Puts all of them in, or takes all of them out.
async fn group_members(
    client: &Client,
    group: &str,
    batch: &[Change],
) -> Result<Vec<Refused>, CallError> {
    let member = |change: &Change| match change {
        Change::AddGroupMember { member, .. } | Change::RemoveGroupMember { member, .. } => {
            Some(text::subject_message(member))
        }
        _ => None,
    };
    let (request_id, group) = (request_id(), group.to_owned());
    let members = batch.iter().filter_map(member).collect();
    let outcomes = match batch.first() {
        Some(Change::RemoveGroupMember { .. }) => {
            let request = v1::RemoveGroupMembersRequest { request_id, group, members };
            client.remove_group_members(request).await?.outcomes
        }
        _ => {
            let request = v1::AddGroupMembersRequest { request_id, group, members };
            client.add_group_members(request).await?.outcomes
        }
    };
    Ok(refusals(batch, outcomes.into_iter().map(|outcome| outcome.refusal)))
}

async fn members(
    client: &Client,
    portfolio: &str,
    terms: &Terms,
    batch: &[Change],
) -> Result<Vec<Refused>, CallError> {
    use v1::add_members_request::End;
    let member = |change: &Change| match change {
        Change::AddMember { subject, .. } => Some(member_spec(subject)),
        _ => None,
    };
    let request = v1::AddMembersRequest {
        request_id: request_id(),
        portfolio: portfolio.to_owned(),
        members: batch.iter().filter_map(member).collect(),
        role: terms.role.clone(),
        start_time: terms.start.map(text::time_message),
        end: terms.expire.map(|end| End::ExpireTime(text::time_message(end))),
    };
    let outcomes = client.add_members(request).await?.outcomes;
    Ok(refusals(batch, outcomes.into_iter().map(|outcome| outcome.refusal)))
}

/// The changes that were refused. Outcomes come in the order of the entries.
fn refusals(batch: &[Change], outcomes: impl Iterator<Item = Option<v1::Refusal>>) -> Vec<Refused> {
    let told = |(change, refusal): (&Change, Option<v1::Refusal>)| {
        let refusal = refusal?;
        let reason = reason_name(refusal.reason()).unwrap_or("REFUSED");
        Some((change.to_string(), format!("{reason}: {}", refusal.message)))
    };
    batch.iter().zip(outcomes).filter_map(told).collect()
}

fn member_spec(subject: &Subject) -> v1::MemberSpec {
    use v1::member_spec::Kind;
    let kind = match subject {
        Subject::User(id) => Kind::User(id.to_string()),
        Subject::Group(id) => Kind::Group(id.to_string()),
        Subject::ServiceAccount(id) => Kind::ServiceAccount(id.to_string()),
    };
    v1::MemberSpec { kind: Some(kind) }
}

fn settings_request(
    settings: &v1::AccessSettings,
    was: &Differences,
) -> v1::UpdateAccessSettingsRequest {
    let fields =
        [("visibility", "visibility"), ("organization access role", "organization_access_role")];
    v1::UpdateAccessSettingsRequest {
        request_id: request_id(),
        access_settings: Some(settings.clone()),
        update_mask: Some(mask(was, &fields)),
    }
}

fn organization_mask(was: &Differences) -> prost_types::FieldMask {
    let fields = [
        ("display name", "display_name"),
        ("domains", "domains"),
        ("administrators", "administrators"),
        ("default visibility", "default_visibility"),
        ("outsider site role", "outsider_site_role"),
        ("partner organizations", "partner_organizations"),
        ("externals join", "externals_join"),
        ("privacy approval", "privacy_approval"),
    ];
    mask(was, &fields)
}

/// The paths of the fields that differ.
pub(super) fn mask(was: &Differences, fields: &[(&str, &str)]) -> prost_types::FieldMask {
    let changed = fields.iter().filter(|(name, _)| was.has(name));
    prost_types::FieldMask { paths: changed.map(|(_, path)| (*path).to_owned()).collect() }
}

fn update_request(
    portfolio: &str,
    subject: &Subject,
    terms: &Terms,
    etag: &str,
) -> v1::UpdateMemberRequest {
    let paths = vec!["role".to_owned(), "expire_time".to_owned()];
    v1::UpdateMemberRequest {
        request_id: request_id(),
        portfolio: portfolio.to_owned(),
        subject: Some(text::subject_message(subject)),
        role: terms.role.clone(),
        expire_time: terms.expire.map(text::time_message),
        update_mask: Some(prost_types::FieldMask { paths }),
        etag: etag.to_owned(),
    }
}

pub(super) fn request_id() -> String {
    Uuid::now_v7().to_string()
}
