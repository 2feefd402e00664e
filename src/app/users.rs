use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Answer, App, Context, Error, generated};
use crate::domain::directory::{Email, SiteRole, User};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{OrganizationId, Subject, UserId};
use crate::storage::{Failure, Scope, WriteContext};

/// A user to create or to bring up to date.
#[derive(Clone, Debug)]
pub struct UpsertUser {
    /// Generated if not given.
    pub id: Option<UserId>,
    /// Unique (DIR-2).
    pub email: Email,
    /// What people call them; may be empty.
    pub display_name: String,
    /// Where their picture is; may be empty.
    pub picture_uri: String,
    /// At most one.
    pub home_organization: Option<OrganizationId>,
}

/// What an upsert did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upserted {
    /// There was none.
    Created,
    /// There was one that differed.
    Updated,
    /// There was one just like it.
    Unchanged,
}

/// What came of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserOutcome {
    /// The user as it now is.
    Done(Upserted, User),
    /// Not written.
    Refused(Refusal),
}

/// A user and the site roles that were set for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserWithSiteRoles {
    /// Who.
    pub user: User,
    /// Where which; users at home without one are editors (DIR-8).
    pub site_roles: Vec<(OrganizationId, SiteRole)>,
}

impl App {
    /// Creates users, or brings them up to date. A bad entry never spoils the good ones.
    ///
    /// # Errors
    /// None of its own: each entry has an outcome.
    pub async fn upsert_users(
        &self,
        context: &WriteContext,
        users: &[Result<UpsertUser, Refusal>],
    ) -> Result<Answer<Vec<UserOutcome>>, Error> {
        let users = users
            .iter()
            .map(|entry| {
                let mut user = entry.clone()?;
                user.id = Some(user.id.map_or_else(generated, Ok)?);
                Ok(user)
            })
            .collect::<Vec<Result<UpsertUser, Refusal>>>();
        let homes: BTreeSet<&OrganizationId> =
            users.iter().flatten().filter_map(|user| user.home_organization.as_ref()).collect();
        let existing = self.existing_organizations(context, &homes).await?;
        let scopes = existing.iter().cloned().map(Scope::Organization);
        self.write(context, scopes.chain([Scope::Global]), async |write| {
            let (ids, emails): (Vec<UserId>, Vec<Email>) = users
                .iter()
                .flatten()
                .filter_map(|user| Some((user.id.clone()?, user.email.clone())))
                .unzip();
            let mut known = write.users_of(&ids, &emails).await?;
            let mut changed = Vec::new();
            let mut outcomes = Vec::with_capacity(users.len());
            for entry in &users {
                outcomes.push(match entry {
                    Err(refusal) => UserOutcome::Refused(refusal.clone()),
                    Ok(user) => upsert(&mut known, &mut changed, &existing, user),
                });
            }
            write.put_users(&changed).await?;
            Ok(outcomes)
        })
        .await
    }

    /// Organizations are never removed, so those found here can be locked afterwards.
    async fn existing_organizations(
        &self,
        context: &WriteContext,
        ids: &BTreeSet<&OrganizationId>,
    ) -> Result<BTreeSet<OrganizationId>, Error> {
        let found = self.storage.read(context.deadline, async |read| {
            let mut found = BTreeSet::new();
            for &id in ids {
                if read.organization(id).await?.is_some() {
                    found.insert(id.clone());
                }
            }
            Ok::<_, Failure>(found)
        });
        Ok(found.await?.0)
    }

    /// A user.
    ///
    /// # Errors
    /// No such user.
    pub async fn get_user(
        &self,
        context: &Context,
        id: &UserId,
    ) -> Result<Answer<UserWithSiteRoles>, Error> {
        self.read(context, async |read| {
            let user = read.user(id).await?.ok_or_else(|| not_found(id))?;
            Ok(UserWithSiteRoles { user, site_roles: read.site_roles_of(id).await? })
        })
        .await
    }

    /// Denies a user everything, at once; their grants stay (DIR-1).
    ///
    /// # Errors
    /// No such user.
    pub async fn deactivate_user(
        &self,
        context: &WriteContext,
        id: &UserId,
    ) -> Result<Answer<User>, Error> {
        self.set_deactivated(context, id, true).await
    }

    /// Restores what has not ended meanwhile (DIR-1).
    ///
    /// # Errors
    /// No such user.
    pub async fn reactivate_user(
        &self,
        context: &WriteContext,
        id: &UserId,
    ) -> Result<Answer<User>, Error> {
        self.set_deactivated(context, id, false).await
    }

    async fn set_deactivated(
        &self,
        context: &WriteContext,
        id: &UserId,
        deactivated: bool,
    ) -> Result<Answer<User>, Error> {
        self.write(context, [Scope::Global], async |write| {
            let mut user = write.user(id).await?.ok_or_else(|| not_found(id))?;
            if user.deactivated != deactivated {
                write.set_deactivated(&user, deactivated).await?;
                user.deactivated = deactivated;
            }
            Ok(user)
        })
        .await
    }

    /// Sets a user's site role in an organization (DIR-8).
    ///
    /// # Errors
    /// No such organization or user.
    pub async fn set_site_role(
        &self,
        context: &WriteContext,
        organization: &OrganizationId,
        user: &UserId,
        role: SiteRole,
    ) -> Result<Answer<(OrganizationId, UserId, SiteRole)>, Error> {
        let scope = Scope::Organization(organization.clone());
        self.write(context, [scope], async |write| {
            write.user(user).await?.ok_or_else(|| not_found(user))?;
            let set = write.site_roles_of(user).await?;
            let before = set.into_iter().find(|(id, _)| id == organization).map(|(_, role)| role);
            if before != Some(role) {
                write.set_site_role(organization, user, before, role).await?;
            }
            Ok((organization.clone(), user.clone(), role))
        })
        .await
    }
}

fn not_found(id: &UserId) -> Refusal {
    Refusal::subject_not_found(&Subject::User(id.clone()))
}

/// Decides one entry. `known` are the users whom the entries may collide with; it is kept up to
/// date, so that entries collide with one another too. What is to be written goes to `changed`.
fn upsert(
    known: &mut Vec<User>,
    changed: &mut Vec<(Option<User>, User)>,
    organizations: &BTreeSet<OrganizationId>,
    entry: &UpsertUser,
) -> UserOutcome {
    let Some(id) = entry.id.clone() else {
        return UserOutcome::Refused(Refusal::field("id", "is missing"));
    };
    let before = known.iter().find(|user| user.id == id).cloned();
    if let Err(refusal) = check(known, before.as_ref(), organizations, &id, entry) {
        return UserOutcome::Refused(refusal);
    }
    let after = User {
        id: id.clone(),
        email: entry.email.clone(),
        display_name: entry.display_name.clone(),
        picture_uri: entry.picture_uri.clone(),
        home_organization: entry.home_organization.clone(),
        deactivated: before.as_ref().is_some_and(|user| user.deactivated),
    };
    let done = match &before {
        Some(user) if *user == after => return UserOutcome::Done(Upserted::Unchanged, after),
        Some(_) => Upserted::Updated,
        None => Upserted::Created,
    };
    changed.push((before, after.clone()));
    known.retain(|user| user.id != id);
    known.push(after.clone());
    UserOutcome::Done(done, after)
}

fn check(
    known: &[User],
    before: Option<&User>,
    organizations: &BTreeSet<OrganizationId>,
    id: &UserId,
    entry: &UpsertUser,
) -> Result<(), Refusal> {
    if known.iter().any(|user| user.email == entry.email && user.id != *id) {
        // Whose it is, is not told (DIR-2).
        let message = "another user has this e-mail address";
        return Err(Refusal::field_because(Reason::EmailTaken, "email", message));
    }
    if let Some(home) = entry.home_organization.as_ref().filter(|id| !organizations.contains(*id)) {
        return Err(Refusal::organization_not_found(home));
    }
    let home = before.and_then(|user| user.home_organization.as_ref());
    if home.is_some() && home != entry.home_organization.as_ref() {
        let message = "moving a user to another home organization is not supported yet";
        return Err(Refusal::new(Reason::NotSupportedYet, message).with("user", id));
    }
    Ok(())
}
