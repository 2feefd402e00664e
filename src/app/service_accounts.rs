use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::authorize::require_organization;
use super::users::Upserted;
use super::{Answer, App, Context, Error, generated};
use crate::domain::caller::Principal;
use crate::domain::directory::ServiceAccount;
use crate::domain::page::Page;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{OrganizationId, ServiceAccountId, Subject};
use crate::storage::{Failure, Scope, Transaction, WriteContext};

/// A service account to create or to bring up to date.
#[derive(Clone, Debug)]
pub struct UpsertServiceAccount {
    /// Generated if not given.
    pub id: Option<ServiceAccountId>,
    /// Whose program it is; never changes.
    pub organization: OrganizationId,
    /// What people call it.
    pub display_name: String,
    /// Makes it active; else it stays what it is.
    pub reactivate: bool,
}

/// What came of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceAccountOutcome {
    /// The service account as it now is.
    Done(Upserted, ServiceAccount),
    /// Not written.
    Refused(Refusal),
}

impl App {
    /// Creates service accounts, or brings them up to date. A bad entry never spoils the good ones.
    ///
    /// # Errors
    /// None of its own: each entry has an outcome.
    pub async fn upsert_service_accounts(
        &self,
        context: &WriteContext,
        accounts: &[Result<UpsertServiceAccount, Refusal>],
    ) -> Result<Answer<Vec<ServiceAccountOutcome>>, Error> {
        let accounts = accounts
            .iter()
            .map(|entry| {
                let mut account = entry.clone()?;
                account.id = Some(account.id.map_or_else(generated, Ok)?);
                Ok(account)
            })
            .collect::<Vec<Result<UpsertServiceAccount, Refusal>>>();
        let organizations = self.organizations_named(context, &accounts).await?;
        let scopes = organizations.iter().cloned().map(Scope::Organization);
        self.write_directory(context, scopes.chain([Scope::Global]), async |write| {
            let ids = accounts.iter().flatten().filter_map(|account| account.id.clone());
            let ids: Vec<ServiceAccountId> = ids.collect();
            let known = write.service_accounts_of(&ids).await?;
            let mut changed = Vec::new();
            let mut outcomes = Vec::with_capacity(accounts.len());
            for entry in &accounts {
                let entry = entry.as_ref().map_err(Refusal::clone);
                let done = entry.and_then(|entry| upsert(&known, &organizations, entry));
                outcomes.push(match done {
                    Err(refusal) => ServiceAccountOutcome::Refused(refusal),
                    Ok((before, after)) => {
                        let done = match &before {
                            None => Upserted::Created,
                            Some(before) if *before == after => Upserted::Unchanged,
                            Some(_) => Upserted::Updated,
                        };
                        if done != Upserted::Unchanged {
                            changed.push((before, after.clone()));
                        }
                        ServiceAccountOutcome::Done(done, after)
                    }
                });
            }
            write.put_service_accounts(&changed).await?;
            Ok(outcomes)
        })
        .await
    }

    /// Those of the organizations that exist for the caller. They are never removed, and can be
    /// locked afterwards.
    async fn organizations_named(
        &self,
        context: &WriteContext,
        accounts: &[Result<UpsertServiceAccount, Refusal>],
    ) -> Result<BTreeSet<OrganizationId>, Error> {
        let named: BTreeSet<&OrganizationId> = accounts
            .iter()
            .flatten()
            .map(|account| &account.organization)
            .filter(|id| context.principal.caller.reaches(id))
            .collect();
        let found = self.storage.read(context.deadline, async |read| {
            let mut found = BTreeSet::new();
            for &id in &named {
                if read.organization(id).await?.is_some() {
                    found.insert(id.clone());
                }
            }
            Ok::<_, Failure>(found)
        });
        Ok(found.await?.0)
    }

    /// The service accounts of an organization, and the last of this page if more follow.
    ///
    /// # Errors
    /// No such organization.
    pub async fn list_service_accounts(
        &self,
        context: &Context,
        organization: &OrganizationId,
        page: &Page<ServiceAccountId>,
    ) -> Result<Answer<(Vec<ServiceAccount>, Option<ServiceAccountId>)>, Error> {
        self.read_directory(context, async |read| {
            require_organization(read, &context.principal, organization).await?;
            let mut accounts = read.service_accounts_in(organization, &page.wider()).await?;
            let next = page.cut(&mut accounts, |account| account.id.clone());
            Ok((accounts, next))
        })
        .await
    }

    /// Denies a service account everything, at once; its grants stay.
    ///
    /// # Errors
    /// No such service account.
    pub async fn deactivate_service_account(
        &self,
        context: &WriteContext,
        id: &ServiceAccountId,
    ) -> Result<Answer<ServiceAccount>, Error> {
        let principal = &context.principal;
        // It never changes its organization, so this can be read before the lock.
        let found = self.storage.read(context.deadline, async |read| {
            require_service_account(read, principal, id).await
        });
        let scope = Scope::Organization(found.await?.0.organization);
        self.write_directory(context, [scope], async |write| {
            let account = require_service_account(write, principal, id).await?;
            if account.deactivated {
                return Ok(account);
            }
            write.deactivate_service_account(&account).await
        })
        .await
    }
}

/// The service account, if it exists for the caller (AUT-2).
async fn require_service_account(
    transaction: &mut Transaction,
    principal: &Principal,
    id: &ServiceAccountId,
) -> Result<ServiceAccount, Failure> {
    let found = transaction.service_account(id).await?;
    let reached = found.filter(|account| principal.caller.reaches(&account.organization));
    let not_found = || Refusal::subject_not_found(&Subject::ServiceAccount(id.clone()));
    Ok(reached.ok_or_else(not_found)?)
}

/// What the entry makes of the service account that has its id.
fn upsert(
    known: &[ServiceAccount],
    organizations: &BTreeSet<OrganizationId>,
    entry: &UpsertServiceAccount,
) -> Result<(Option<ServiceAccount>, ServiceAccount), Refusal> {
    let UpsertServiceAccount { id, organization, display_name, reactivate } = entry;
    let id = id.clone().ok_or_else(|| Refusal::field("id", "is missing"))?;
    if !organizations.contains(organization) {
        return Err(Refusal::organization_not_found(organization));
    }
    let before = known.iter().find(|account| account.id == id).cloned();
    if before.as_ref().is_some_and(|account| account.organization != *organization) {
        // Whose it is, is not told (AUT-2).
        let message = format!("the service account id `{id}` is taken; choose another");
        return Err(Refusal::new(Reason::IdTaken, message).with("service_account", &id));
    }
    let deactivated = before.as_ref().is_some_and(|account| account.deactivated) && !reactivate;
    let (organization, display_name) = (organization.clone(), display_name.clone());
    Ok((before, ServiceAccount { id, organization, display_name, deactivated }))
}
