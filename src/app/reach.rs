//! What of the directory exists for a caller (AUT-2, AUT-3), and who administers it (AUT-1).

use super::authorize::Scene;
use super::{App, Error, refuse_deactivated};
use crate::domain::caller::{Actor, Caller, CallerKind, Principal};
use crate::domain::directory::User;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{OrganizationId, Subject, Timestamp, UserId};
use crate::policy;
use crate::storage::facts::Question;
use crate::storage::{Error as StorageError, Failure, Read, Transaction, Write, WriteContext};

/// The user, if they exist for the caller (AUT-2, AUT-3).
pub(super) async fn require_user(
    transaction: &mut Transaction,
    principal: &Principal,
    id: &UserId,
) -> Result<User, Failure> {
    let found = transaction.user(id).await?;
    let known = transaction.user_is_known(id, &principal.caller).await?;
    Ok(found.filter(|_| known).ok_or_else(|| user_not_found(id))?)
}

/// The user, if the caller may write them: users at home nowhere belong to those who reach all.
pub(super) async fn require_writable_user(
    transaction: &mut Transaction,
    principal: &Principal,
    id: &UserId,
) -> Result<User, Failure> {
    let found = transaction.user(id).await?;
    let writable = |user: &User| may_write_home(&principal.caller, user.home_organization.as_ref());
    Ok(found.filter(writable).ok_or_else(|| user_not_found(id))?)
}

/// Whether users of this home are the caller's to write (AUT-2).
pub(super) fn may_write_home(caller: &Caller, home: Option<&OrganizationId>) -> bool {
    home.map_or_else(|| caller.reaches_all(), |home| caller.reaches(home))
}

/// The user for an act of the organization's administrators on them: somebody whom the caller may
/// read, or whom the organization knows.
pub(super) async fn require_user_for(
    transaction: &mut Transaction,
    principal: &Principal,
    organization: &OrganizationId,
    id: &UserId,
) -> Result<User, Failure> {
    if transaction.user_is_known_in(id, [organization]).await?
        && let Some(user) = transaction.user(id).await?
    {
        return Ok(user);
    }
    require_user(transaction, principal, id).await
}

/// Whether the actor, if there is one of this name, exists for the caller (AUT-2).
pub(super) async fn may_read_actor(
    transaction: &mut Transaction,
    principal: &Principal,
) -> Result<bool, StorageError> {
    match &principal.actor {
        Actor::System => Ok(true),
        Actor::User(id) => transaction.user_is_known(id, &principal.caller).await,
        Actor::ServiceAccount(_) if principal.caller.reaches_all() => Ok(true),
        Actor::ServiceAccount(id) => Ok(transaction
            .service_account(id)
            .await?
            .is_some_and(|account| principal.caller.reaches(&account.organization))),
    }
}

/// Refuses an actor who does not exist for the caller, whether or not there is one.
pub(super) async fn require_actor(
    transaction: &mut Transaction,
    principal: &Principal,
) -> Result<(), Failure> {
    if may_read_actor(transaction, principal).await? {
        return Ok(());
    }
    Err(actor_unknown(&principal.actor).into())
}

/// There is no such actor, as far as the caller may know.
pub(super) fn actor_unknown(actor: &Actor) -> Refusal {
    let message = format!("the actor `{actor}` does not exist");
    Refusal::new(Reason::ActorUnknown, message).with("actor", actor)
}

/// Refuses whoever does not administer the organization (AUT-1), and notes that an administrator
/// acts (DIR-7). To those who are not internal there is no such organization. The system may.
pub(super) async fn require_administrator(
    write: &mut Write,
    organization: &OrganizationId,
) -> Result<(), Failure> {
    let Some(actor) = write.principal().actor.subject() else { return Ok(()) };
    let now = write.now();
    administers(write, &actor, organization, now).await?;
    write.note_administrator();
    Ok(())
}

/// Refuses an actor who does not administer the organization; to those who are not internal there
/// is no such organization.
pub(super) async fn administers(
    transaction: &mut Transaction,
    actor: &Subject,
    organization: &OrganizationId,
    now: Timestamp,
) -> Result<(), Failure> {
    let subjects = std::slice::from_ref(actor);
    let question = Question { organization, portfolio: None, subjects };
    let scene = Scene::load(transaction, &question, now).await?;
    if policy::is_administrator(&scene.global, &scene.snapshot, actor) {
        return Ok(());
    }
    Err(match policy::is_internal(&scene.snapshot, actor) {
        true => Refusal::administrator_required(organization),
        false => Refusal::organization_not_found(organization),
    }
    .into())
}

/// Refuses an organization out of the caller's reach before its lock is asked for.
pub(super) fn require_reach(
    principal: &Principal,
    organization: &OrganizationId,
) -> Result<(), Refusal> {
    if principal.caller.reaches(organization) {
        return Ok(());
    }
    Err(Refusal::organization_not_found(organization))
}

impl App {
    /// Refuses an organization that does not exist for the caller before its lock is asked for:
    /// nobody waits for what is beyond their reach, nor makes others wait there. To a person only
    /// organizations that know them exist; a retry by somebody whom it knows no more still gets its
    /// first outcome (BAD-3).
    pub(super) async fn require_sight(
        &self,
        context: &WriteContext,
        organization: &OrganizationId,
    ) -> Result<(), Error> {
        let principal = &context.principal;
        require_reach(principal, organization)?;
        let CallerKind::EndUser(person) = principal.caller.kind() else { return Ok(()) };
        let seen = self.storage.read(context.deadline, async |read| {
            refuse_deactivated(read, principal).await?;
            let known = read.user_is_known_in(person, [organization]).await?;
            Ok::<_, Failure>(known || has_outcome(read, context).await?)
        });
        match seen.await?.0 {
            true => Ok(()),
            false => Err(Refusal::organization_not_found(organization).into()),
        }
    }
}

async fn has_outcome(read: &mut Read, context: &WriteContext) -> Result<bool, Failure> {
    Ok(read.first_outcome::<serde_json::Value>(context).await?.is_some())
}

/// No such user.
pub(super) fn user_not_found(id: &UserId) -> Refusal {
    Refusal::subject_not_found(&Subject::User(id.clone()))
}
