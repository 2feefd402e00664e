use std::collections::BTreeSet;

use super::parse::{self, Violations};
use super::{render as wire, status as errors, users};
use crate::app::{ServiceAccountOutcome, UpsertServiceAccount};
use crate::config::Limits;
use crate::domain::directory::ServiceAccount;
use crate::domain::page::Page;
use crate::domain::refusal::Refusal;
use crate::domain::{OrganizationId, ServiceAccountId};
use crate::proto::v1;

/// The entries: what is wrong with one spoils it alone.
pub(super) fn upsert(
    request: v1::UpsertServiceAccountsRequest,
    limits: &Limits,
) -> Result<Vec<Result<UpsertServiceAccount, Refusal>>, Refusal> {
    let v1::UpsertServiceAccountsRequest { request_id: _, service_accounts } = request;
    parse::batch("service_accounts", service_accounts.len(), limits.max_batch)?;
    let mut seen = BTreeSet::new();
    let parse = |(at, account)| {
        let account: UpsertServiceAccount = entry(at, account, limits)?;
        match &account.id {
            Some(id) if !seen.insert(id.clone()) => {
                let description = "names a service account of an earlier entry; leave it out";
                Err(Refusal::field(format!("service_accounts[{at}].id"), description))
            }
            _ => Ok(account),
        }
    };
    Ok(service_accounts.into_iter().enumerate().map(parse).collect())
}

fn entry(
    at: usize,
    account: v1::ServiceAccount,
    limits: &Limits,
) -> Result<UpsertServiceAccount, Refusal> {
    let v1::ServiceAccount { id, organization, display_name, status } = account;
    let field = |name: &str| format!("service_accounts[{at}].{name}");
    let mut violations = Violations::default();
    let id = violations.check(parse::optional_id(field("id"), &id));
    let organization = violations.check(parse::id(field("organization"), &organization));
    let name = field("display_name");
    let name = parse::display_name(&name, display_name, limits.max_string_bytes);
    let display_name = violations.check(name);
    let reactivate = violations.check(match v1::UserStatus::try_from(status) {
        Ok(v1::UserStatus::Unspecified) => Ok(false),
        Ok(v1::UserStatus::Active) => Ok(true),
        Ok(v1::UserStatus::Deactivated) | Err(_) => {
            let description = "must be `USER_STATUS_ACTIVE` or unset; to deactivate, call \
                               `DeactivateServiceAccount`";
            Err(Refusal::field(field("status"), description))
        }
    });
    violations.finish((|| {
        Some(UpsertServiceAccount {
            id: id?,
            organization: organization?,
            display_name: display_name?,
            reactivate: reactivate?,
        })
    })())
}

pub(super) fn list(
    request: v1::ListServiceAccountsRequest,
    limits: &Limits,
) -> Result<(OrganizationId, Page<ServiceAccountId>), Refusal> {
    let v1::ListServiceAccountsRequest { organization, page_size, page_token } = request;
    let mut violations = Violations::default();
    let query = page_query(&organization);
    let organization = violations.check(parse::id("organization", &organization));
    let asked = (page_size, page_token.as_str());
    let page = parse::page(&mut violations, &query, asked, limits.max_page_size);
    violations.finish(organization.zip(page))
}

/// What a page token of an organization's service accounts is bound to.
pub(super) fn page_query(organization: &str) -> String {
    format!("ListServiceAccounts {organization}")
}

pub(super) fn outcome(
    at: usize,
    outcome: ServiceAccountOutcome,
) -> v1::UpsertServiceAccountOutcome {
    let (status, account, refusal) = match outcome {
        ServiceAccountOutcome::Done(done, account) => {
            (users::upsert_status(done), Some(account), None)
        }
        ServiceAccountOutcome::Refused(refusal) => (v1::UpsertStatus::Refused, None, Some(refusal)),
    };
    v1::UpsertServiceAccountOutcome {
        index: wire::index(at),
        status: status.into(),
        service_account: account.map(render),
        refusal: refusal.map(errors::refusal),
    }
}

pub(super) fn render(account: ServiceAccount) -> v1::ServiceAccount {
    let ServiceAccount { id, organization, display_name, deactivated } = account;
    v1::ServiceAccount {
        id: id.to_string(),
        organization: organization.to_string(),
        display_name,
        status: users::status(deactivated).into(),
    }
}
