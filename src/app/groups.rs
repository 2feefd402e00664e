use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::authorize::require_organization;
use super::reach::require_reach;
use super::users::Upserted;
use super::{Answer, App, Context, Entry, Error, generated};
use crate::domain::caller::{CallerKind, Organizations, Principal};
use crate::domain::directory::Group;
use crate::domain::group_nesting::GroupNesting;
use crate::domain::page::{Listed, Page};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{GroupId, OrganizationId, Subject, UserId};
use crate::storage::{AsyncFunc, Failure, Scope, Transaction, Write, WriteContext, Written};

/// A group to create or to rename.
#[derive(Clone, Debug)]
pub struct UpsertGroup {
    /// Generated if not given.
    pub id: Option<GroupId>,
    /// Whose group it is; never changes.
    pub organization: OrganizationId,
    /// What people call it.
    pub display_name: String,
}

/// A group and a page of its direct members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWithMembers {
    /// The group.
    pub group: Group,
    /// Users first, then groups, then service accounts, each by id.
    pub members: Listed<Subject, Subject>,
}

/// What came of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupMemberOutcome {
    /// Added or removed.
    Changed(Subject),
    /// Was in already, or was not in.
    Unchanged(Subject),
    /// Not changed.
    Refused(Refusal),
}

impl App {
    /// Creates a group, or changes its name.
    ///
    /// # Errors
    /// No such organization; an id that another organization's group has.
    pub async fn upsert_group(
        &self,
        context: &WriteContext,
        request: &UpsertGroup,
    ) -> Result<Answer<(Group, Upserted)>, Error> {
        let id = request.id.clone().map_or_else(generated::<GroupId>, Ok)?;
        let scope = Scope::Organization(request.organization.clone());
        // Before the lock: nobody waits for what is beyond their reach.
        require_reach(&context.principal, &request.organization)?;
        self.write_directory(context, [scope], async |write| {
            let after = Group {
                id: id.clone(),
                organization: request.organization.clone(),
                display_name: request.display_name.clone(),
            };
            let before = write.group(&id).await?;
            let done = match &before {
                Some(group) if *group == after => return Ok((after, Upserted::Unchanged)),
                Some(group) if group.organization == after.organization => Upserted::Updated,
                Some(_) => return Err(taken(&id).into()),
                None => Upserted::Created,
            };
            if !write.put_group(before.as_ref(), &after).await? {
                return Err(taken(&id).into());
            }
            Ok((after, done))
        })
        .await
    }

    /// A group and a page of its direct members.
    ///
    /// # Errors
    /// No such group.
    pub async fn get_group(
        &self,
        context: &Context,
        id: &GroupId,
        page: &Page<Subject>,
    ) -> Result<Answer<GroupWithMembers>, Error> {
        self.read_directory(context, async |read| {
            let group = require_group(read, &context.principal, id).await?;
            let members = read.group_members(id, &page.wider()).await?;
            Ok(GroupWithMembers { group, members: page.listed(members, Subject::clone) })
        })
        .await
    }

    /// A page of an organization's groups, by id in byte order.
    ///
    /// # Errors
    /// No such organization.
    pub async fn list_groups(
        &self,
        context: &Context,
        organization: &OrganizationId,
        page: &Page<GroupId>,
    ) -> Result<Answer<Listed<Group, GroupId>>, Error> {
        self.read_directory(context, async |read| {
            require_organization(read, &context.principal, organization).await?;
            let groups = read.groups_of(organization, &page.wider()).await?;
            Ok(page.listed(groups, |group| group.id.clone()))
        })
        .await
    }

    /// Deletes a group, its grants and its memberships (DIR-4).
    ///
    /// # Errors
    /// No such group.
    pub async fn delete_group(
        &self,
        context: &WriteContext,
        id: &GroupId,
    ) -> Result<Answer<Group>, Error> {
        self.write_in(context, id, async |write| {
            let principal = write.principal().clone();
            let group = require_group(write, &principal, id).await?;
            write.delete_group(&group).await?;
            Ok(group)
        })
        .await
    }

    /// Puts subjects into a group. A bad entry never spoils the good ones.
    ///
    /// # Errors
    /// No such group.
    pub async fn add_group_members(
        &self,
        context: &WriteContext,
        id: &GroupId,
        members: &[Result<Subject, Refusal>],
    ) -> Result<Answer<Vec<GroupMemberOutcome>>, Error> {
        self.write_in(context, id, async |write| {
            let principal = write.principal().clone();
            let group = require_group(write, &principal, id).await?;
            add(write, &group, members).await
        })
        .await
    }

    /// Takes subjects out of a group. A bad entry never spoils the good ones.
    ///
    /// # Errors
    /// No such group.
    pub async fn remove_group_members(
        &self,
        context: &WriteContext,
        id: &GroupId,
        members: &[Result<Subject, Refusal>],
    ) -> Result<Answer<Vec<GroupMemberOutcome>>, Error> {
        self.write_in(context, id, async |write| {
            let principal = write.principal().clone();
            let group = require_group(write, &principal, id).await?;
            let named: Vec<Subject> = members.iter().flatten().cloned().collect();
            let mut present = write.members_among(id, &named).await?;
            let mut removed = Vec::new();
            let outcome = |entry: &Result<Subject, Refusal>| match entry {
                Err(refusal) => GroupMemberOutcome::Refused(refusal.clone()),
                Ok(subject) if present.remove(subject) => {
                    removed.push(subject.clone());
                    GroupMemberOutcome::Changed(subject.clone())
                }
                Ok(subject) => GroupMemberOutcome::Unchanged(subject.clone()),
            };
            let outcomes = members.iter().map(outcome).collect();
            write.delete_group_members(&group, &removed).await?;
            Ok(outcomes)
        })
        .await
    }

    /// Writes about a group, under its organization's lock. A retry of a request after which there
    /// is no such group any more still gets the first outcome (BAD-3).
    async fn write_in<T, F>(
        &self,
        context: &WriteContext,
        id: &GroupId,
        body: F,
    ) -> Result<Answer<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send,
        F: for<'w> AsyncFn(&'w mut Write) -> Result<T, Failure>
            + for<'w> AsyncFunc<&'w mut Write, Result<T, Failure>, Fut: Send>
            + Sync,
    {
        let found = self.storage.read(context.deadline, async |read| {
            match require_group(read, &context.principal, id).await {
                Ok(group) => Ok(Entry::Open(group.organization)),
                Err(Failure::Refused(refusal)) => match read.first_outcome(context).await? {
                    Some(first) => Ok(Entry::Replayed(first)),
                    None => Err(Failure::Refused(refusal)),
                },
                Err(failure) => Err(failure),
            }
        });
        match found.await?.0 {
            // Deleted meanwhile, and created again in another organization, it needs another scope:
            // the write finds out.
            Entry::Open(organization) => {
                self.write_directory(context, [Scope::Organization(organization)], body).await
            }
            Entry::Replayed(Written { outcome, token }) => Ok(Answer { value: outcome, token }),
        }
    }
}

/// The group, if it exists for the caller (AUT-2).
async fn require_group(
    transaction: &mut Transaction,
    principal: &Principal,
    id: &GroupId,
) -> Result<Group, Failure> {
    let found = transaction.group(id).await?;
    let reached = found.filter(|group| principal.caller.reaches(&group.organization));
    Ok(reached.ok_or_else(|| not_found(id))?)
}

async fn add(
    write: &mut Write,
    group: &Group,
    members: &[Result<Subject, Refusal>],
) -> Result<Vec<GroupMemberOutcome>, Failure> {
    let named: Vec<Subject> = members.iter().flatten().cloned().collect();
    let mut present = write.members_among(&group.id, &named).await?;
    let existing = existing(write, &group.organization, &named).await?;
    let nests = named.iter().any(|subject| matches!(subject, Subject::Group(_)));
    let pairs = if nests { write.group_nesting(&group.organization).await? } else { Vec::new() };
    let mut nesting = GroupNesting::new(pairs);
    let (mut added, mut outcomes) = (Vec::new(), Vec::with_capacity(members.len()));
    for entry in members {
        let outcome = match entry {
            Err(refusal) => GroupMemberOutcome::Refused(refusal.clone()),
            Ok(subject) if present.contains(subject) => {
                GroupMemberOutcome::Unchanged(subject.clone())
            }
            Ok(subject) => match admit(&existing, &mut nesting, group, subject) {
                Err(refusal) => GroupMemberOutcome::Refused(refusal),
                Ok(()) => {
                    present.insert(subject.clone());
                    added.push(subject.clone());
                    GroupMemberOutcome::Changed(subject.clone())
                }
            },
        };
        outcomes.push(outcome);
    }
    write.insert_group_members(group, &added).await?;
    Ok(outcomes)
}

/// Which of the subjects may be in a group of the organization at all: any user, the
/// organization's own groups and service accounts (DIR-4).
async fn existing(
    write: &mut Write,
    organization: &OrganizationId,
    subjects: &[Subject],
) -> Result<BTreeSet<Subject>, Failure> {
    let (mut users, mut groups): (Vec<UserId>, Vec<GroupId>) = (Vec::new(), Vec::new());
    let mut existing = BTreeSet::new();
    for subject in subjects {
        match subject {
            Subject::User(id) => users.push(id.clone()),
            Subject::Group(id) => groups.push(id.clone()),
            Subject::ServiceAccount(id) => {
                let account = write.service_account(id).await?;
                if account.is_some_and(|account| account.organization == *organization) {
                    existing.insert(subject.clone());
                }
            }
        }
    }
    existing.extend(existing_users(write, &users).await?.into_iter().map(Subject::User));
    let groups = write.groups_in(organization, &groups).await?;
    existing.extend(groups.into_iter().map(Subject::Group));
    Ok(existing)
}

/// Those of the users who exist for the caller: all, or those whom an organization in reach knows
/// (AUT-2).
async fn existing_users(write: &mut Write, users: &[UserId]) -> Result<BTreeSet<UserId>, Failure> {
    let caller = write.principal().caller.clone();
    if let CallerKind::Service { organizations: Organizations::These(these), .. } = caller.kind() {
        return Ok(write.users_known_in(users, these).await?);
    }
    Ok(write.users_of(users, &[]).await?.into_iter().map(|user| user.id).collect())
}

fn admit(
    existing: &BTreeSet<Subject>,
    nesting: &mut GroupNesting,
    group: &Group,
    subject: &Subject,
) -> Result<(), Refusal> {
    if !existing.contains(subject) {
        return Err(Refusal::subject_not_found(subject));
    }
    if let Subject::Group(inner) = subject {
        nesting.admit(&group.id, inner)?;
    }
    Ok(())
}

fn not_found(id: &GroupId) -> Refusal {
    Refusal::subject_not_found(&Subject::Group(id.clone()))
}

fn taken(id: &GroupId) -> Refusal {
    let message = format!("the group id `{id}` is taken; choose another");
    Refusal::new(Reason::IdTaken, message).with("group", id)
}
