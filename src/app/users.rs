use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::authorize::require_organization;
use super::reach::{
    may_write_home, require_administrator, require_user, require_user_for, require_writable_user,
};
use super::{Answer, App, Context, Error, generated};
use crate::domain::caller::Caller;
use crate::domain::directory::{Email, SiteRole, User, UserFilter};
use crate::domain::function::Affiliation;
use crate::domain::page::Page;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{OrganizationId, UserId};
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

/// A user and what was set for them in organizations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInOrganizations {
    /// Who.
    pub user: User,
    /// Where which; users at home without one are editors (DIR-8).
    pub site_roles: Vec<(OrganizationId, SiteRole)>,
    /// Where they are what, by organization and function (DIR-3).
    pub affiliations: Vec<Affiliation>,
}

/// The users at home in an organization, or with a function in it, as far as a filter lets them.
#[derive(Clone, Debug)]
pub struct ListUsers {
    /// Where they are at home, or have a function.
    pub organization: OrganizationId,
    /// Which of them.
    pub filter: UserFilter,
    /// Which page of them, by id in byte order.
    pub page: Page<UserId>,
}

/// A page of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUsers {
    /// By id in byte order.
    pub users: Vec<User>,
    /// Those of these users, by user, organization and function (DIR-3).
    pub affiliations: Vec<Affiliation>,
    /// The last of this page, if more follow.
    pub next: Option<UserId>,
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
        let homes = self.homes(context, &users).await?;
        let caller = &context.principal.caller;
        let scopes = homes.iter().cloned().map(Scope::Organization);
        self.write_directory(context, scopes.chain([Scope::Global]), async |write| {
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
                    Ok(user) => upsert(&mut known, &mut changed, (caller, &homes), user),
                });
            }
            write.put_users(&changed).await?;
            Ok(outcomes)
        })
        .await
    }

    /// The organizations within the caller's reach where the users are at home, or are to be.
    /// Organizations are never removed, so those found here can be locked afterwards.
    async fn homes(
        &self,
        context: &WriteContext,
        users: &[Result<UpsertUser, Refusal>],
    ) -> Result<BTreeSet<OrganizationId>, Error> {
        let caller = &context.principal.caller;
        let named = users.iter().flatten().filter_map(|user| user.home_organization.clone());
        let named: BTreeSet<OrganizationId> = named.filter(|id| caller.reaches(id)).collect();
        let ids: Vec<UserId> = users.iter().flatten().filter_map(|user| user.id.clone()).collect();
        let found = self.storage.read(context.deadline, async |read| {
            let present = read.users_of(&ids, &[]).await?;
            let homes = present.into_iter().filter_map(|user| user.home_organization);
            let mut found: BTreeSet<OrganizationId> =
                homes.filter(|id| caller.reaches(id)).collect();
            for id in &named {
                if !found.contains(id) && read.organization(id).await?.is_some() {
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
    ) -> Result<Answer<UserInOrganizations>, Error> {
        self.read_directory(context, async |read| {
            let caller = &context.principal.caller;
            let mut user = require_user(read, &context.principal, id).await?;
            let mut site_roles = read.site_roles_of(id).await?;
            let mut affiliations = read.affiliations_of(std::slice::from_ref(id)).await?;
            // What is out of reach does not exist (AUT-2).
            user.home_organization = user.home_organization.filter(|home| caller.reaches(home));
            site_roles.retain(|(organization, _)| caller.reaches(organization));
            affiliations.retain(|affiliation| caller.reaches(&affiliation.organization));
            Ok(UserInOrganizations { user, site_roles, affiliations })
        })
        .await
    }

    /// A page of the users at home in an organization, or with a function in it.
    ///
    /// # Errors
    /// No such organization.
    pub async fn list_users(
        &self,
        context: &Context,
        request: &ListUsers,
    ) -> Result<Answer<ListedUsers>, Error> {
        let ListUsers { organization, filter, page } = request;
        let caller = &context.principal.caller;
        self.read_directory(context, async |read| {
            require_organization(read, &context.principal, organization).await?;
            let mut users = read.users_in(organization, filter, &page.wider()).await?;
            let next = page.cut(&mut users, |user| user.id.clone());
            let ids: Vec<UserId> = users.iter().map(|user| user.id.clone()).collect();
            let mut affiliations = read.affiliations_of(&ids).await?;
            // What is out of reach does not exist (AUT-2).
            affiliations.retain(|affiliation| caller.reaches(&affiliation.organization));
            for user in &mut users {
                user.home_organization.take_if(|home| !caller.reaches(home));
            }
            Ok(ListedUsers { users, affiliations, next })
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
        self.write_directory(context, [Scope::Global], async |write| {
            let mut user = require_writable_user(write, &context.principal, id).await?;
            if user.deactivated != deactivated {
                write.set_deactivated(&user, deactivated).await?;
                user.deactivated = deactivated;
            }
            Ok(user)
        })
        .await
    }

    /// Deletes a user's account: everything of theirs ends, in every organization (DIR-9).
    ///
    /// # Errors
    /// No such user.
    pub async fn delete_user(
        &self,
        context: &WriteContext,
        id: &UserId,
    ) -> Result<Answer<User>, Error> {
        // As far as is known before the locks are held; what comes meanwhile widens the write. An
        // unknown user is not refused here: this may be the retry of what deleted them (BAD-3).
        let (concerned, _) = self
            .storage
            .read(context.deadline, async |read| {
                match require_writable_user(read, &context.principal, id).await {
                    Ok(_) => Ok(read.organizations_of_user(id).await?),
                    Err(Failure::Refused(_)) => Ok(Vec::new()),
                    Err(failure) => Err(failure),
                }
            })
            .await?;
        let scopes = concerned.into_iter().map(Scope::Organization);
        self.write_directory(context, scopes.chain([Scope::Global]), async |write| {
            let user = require_writable_user(write, &context.principal, id).await?;
            write.delete_user(&user).await?;
            Ok(user)
        })
        .await
    }

    /// Sets a user's site role in an organization (DIR-8); for its administrators.
    ///
    /// # Errors
    /// No such organization or user; an actor who does not administer the organization.
    pub async fn set_site_role(
        &self,
        context: &WriteContext,
        organization: &OrganizationId,
        user: &UserId,
        role: SiteRole,
    ) -> Result<Answer<(OrganizationId, UserId, SiteRole)>, Error> {
        let principal = &context.principal;
        self.require_sight(context, organization).await?;
        let scope = Scope::Organization(organization.clone());
        self.write(context, [scope], async |write| {
            require_administrator(write, organization).await?;
            require_user_for(write, principal, organization, user).await?;
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

/// Decides one entry. `known` are the users whom the entries may collide with; it is kept up to
/// date, so that entries collide with one another too. What is to be written goes to `changed`.
/// `homes` are those of the caller's.
fn upsert(
    known: &mut Vec<User>,
    changed: &mut Vec<(Option<User>, User)>,
    (caller, homes): (&Caller, &BTreeSet<OrganizationId>),
    entry: &UpsertUser,
) -> UserOutcome {
    let Some(id) = entry.id.clone() else {
        return UserOutcome::Refused(Refusal::field("id", "is missing"));
    };
    let before = known.iter().find(|user| user.id == id).cloned();
    if let Err(refusal) = check(known, before.as_ref(), (caller, homes), entry) {
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
    (caller, homes): (&Caller, &BTreeSet<OrganizationId>),
    entry: &UpsertUser,
) -> Result<(), Refusal> {
    if let Some(user) = before
        && !may_write_home(caller, user.home_organization.as_ref())
    {
        // Whose it is, is not told (AUT-2).
        let message = format!("the user id `{}` is taken; choose another", user.id);
        return Err(Refusal::new(Reason::IdTaken, message).with("user", &user.id));
    }
    if known.iter().any(|user| user.email == entry.email && Some(&user.id) != entry.id.as_ref()) {
        // Whose it is, is not told (DIR-2).
        let message = "another user has this e-mail address";
        return Err(Refusal::field_because(Reason::EmailTaken, "email", message));
    }
    match &entry.home_organization {
        Some(home) if !homes.contains(home) => Err(Refusal::organization_not_found(home)),
        None if !caller.reaches_all() => {
            let description = "must be given: users at home nowhere are written by callers that \
                               reach all organizations";
            Err(Refusal::field("home_organization", description))
        }
        _ => Ok(()),
    }
}
