use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::users::Upserted;
use super::{Answer, App, Context, Error, generated};
use crate::domain::directory::Group;
use crate::domain::group_nesting::GroupNesting;
use crate::domain::page::Page;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{GroupId, OrganizationId, Subject, UserId};
use crate::storage::{Failure, Scope, Write, WriteContext};

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
pub struct GroupPage {
    /// The group.
    pub group: Group,
    /// Users first, then groups, then service accounts, each by id.
    pub members: Vec<Subject>,
    /// The last member of this page, if more follow.
    pub next: Option<Subject>,
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
        self.write(context, [scope], async |write| {
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
    ) -> Result<Answer<GroupPage>, Error> {
        self.read(context, async |read| {
            let group = read.group(id).await?.ok_or_else(|| not_found(id))?;
            let mut members = read.group_members(id, &page.wider()).await?;
            let next = page.cut(&mut members, Subject::clone);
            Ok(GroupPage { group, members, next })
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
        let scope = self.scope_of_group(context, id).await?;
        self.write(context, [scope], async |write| {
            let group = write.group(id).await?.ok_or_else(|| not_found(id))?;
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
        let scope = self.scope_of_group(context, id).await?;
        self.write(context, [scope], async |write| {
            let group = write.group(id).await?.ok_or_else(|| not_found(id))?;
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

    /// A group never changes its organization, so this can be read before the lock.
    async fn scope_of_group(&self, context: &WriteContext, id: &GroupId) -> Result<Scope, Error> {
        let group = self.storage.read(context.deadline, async |read| {
            let group = read.group(id).await?;
            Ok::<_, Failure>(group.ok_or_else(|| not_found(id))?)
        });
        Ok(Scope::Organization(group.await?.0.organization))
    }
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
    let users = write.users_of(&users, &[]).await?;
    existing.extend(users.into_iter().map(|user| Subject::User(user.id)));
    let groups = write.groups_in(organization, &groups).await?;
    existing.extend(groups.into_iter().map(Subject::Group));
    Ok(existing)
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
