use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::authorize::Acting;
use super::parents::refuse_linked;
use super::portfolios::role_not_found;
use super::{Answer, App, Error};
use crate::domain::caller::{CallerKind, Organizations};
use crate::domain::directory::{Email, User};
use crate::domain::membership::{AddOutcome, Grant, GrantSource, MemberSpec};
use crate::domain::permission::MEMBERS_INVITE;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{GroupId, OrganizationId, PortfolioId, RoleKey, Subject, Timestamp, UserId};
use crate::policy;
use crate::storage::{Failure, Write, WriteContext};

/// When added access ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It does not.
    Never,
    /// Just before this instant.
    At(Timestamp),
    /// This many milliseconds after it begins.
    After(i64),
}

/// Members to add, all with one role (MEM-2).
#[derive(Clone, Debug)]
pub struct AddMembers {
    /// To which portfolio.
    pub portfolio: PortfolioId,
    /// Whom; an entry that names nobody is refused by itself.
    pub members: Vec<Result<MemberSpec, Refusal>>,
    /// As what.
    pub role: RoleKey,
    /// From when on; at once if not given.
    pub start_time: Option<Timestamp>,
    /// Until when.
    pub end: End,
}

/// The period of the grants to give.
#[derive(Clone, Copy)]
struct Period {
    start_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
}

/// Everything that is known of the entries before the first is decided.
struct Known {
    by_id: BTreeMap<UserId, User>,
    by_email: BTreeMap<Email, UserId>,
    groups: BTreeSet<GroupId>,
    /// Who has a direct grant that has not ended.
    members: BTreeSet<Subject>,
    /// Why the actor may not give the role, if they may not.
    role_above_own: Option<Refusal>,
}

impl App {
    /// Adds members: internal and active ones at once. A bad entry never spoils the good ones.
    ///
    /// # Errors
    /// No such portfolio, `members.invite` missing, no such role, a period that is over; an
    /// archived portfolio, or a linked one.
    pub async fn add_members(
        &self,
        context: &WriteContext,
        request: &AddMembers,
    ) -> Result<Answer<Vec<AddOutcome>>, Error> {
        self.write_on(context, &request.portfolio, async |write| add(write, request).await).await
    }
}

async fn add(write: &mut Write, request: &AddMembers) -> Result<Vec<AddOutcome>, Failure> {
    let (principal, now) = (write.principal().clone(), write.now());
    let (ids, emails) = named(request);
    let users = write.users_of(&ids, &emails).await?;
    let mut subjects: Vec<Subject> =
        users.iter().map(|user| Subject::User(user.id.clone())).collect();
    subjects.extend(request.members.iter().filter_map(|spec| match spec {
        Ok(MemberSpec::Subject(subject)) => Some(subject.clone()),
        _ => None,
    }));
    let id = &request.portfolio;
    let acting = Acting::with(write, &principal, now, id, &subjects, MEMBERS_INVITE).await?;
    refuse_linked(write, &principal, now, &acting.portfolio).await?;
    if policy::role_holdings(&acting.scene.global, &acting.scene.snapshot, request.role.as_str())
        .is_none()
    {
        return Err(role_not_found(&acting.scene, &request.role).into());
    }
    let period = period(request, now)?;
    let mut known = know(write, &acting, users, &subjects, &request.role).await?;
    let mut outcomes = Vec::with_capacity(request.members.len());
    let mut given = Vec::new();
    for spec in &request.members {
        let decided = match spec {
            Ok(spec) => decide(write, &acting, &known, spec, request, period).await?,
            Err(refusal) => Err(refusal.clone()),
        };
        outcomes.push(match decided {
            Err(refusal) => AddOutcome::Refused(refusal),
            Ok(subject) if known.members.contains(&subject) => AddOutcome::AlreadyMember(subject),
            Ok(subject) => {
                given.push(grant(&acting, &subject, request, period));
                known.members.insert(subject.clone());
                AddOutcome::Added(subject)
            }
        });
    }
    write.add_members(&acting.portfolio.organization, &given).await?;
    Ok(outcomes)
}

fn named(request: &AddMembers) -> (Vec<UserId>, Vec<Email>) {
    let (mut ids, mut emails) = (Vec::new(), Vec::new());
    for spec in request.members.iter().flatten() {
        match spec {
            MemberSpec::Subject(Subject::User(id)) => ids.push(id.clone()),
            MemberSpec::Email(email) => emails.push(email.clone()),
            MemberSpec::Subject(_) => {}
        }
    }
    (ids, emails)
}

async fn know(
    write: &mut Write,
    acting: &Acting,
    users: Vec<User>,
    subjects: &[Subject],
    role: &RoleKey,
) -> Result<Known, Failure> {
    let now = write.now();
    let groups: Vec<GroupId> = subjects
        .iter()
        .filter_map(|subject| match subject {
            Subject::Group(id) => Some(id.clone()),
            _ => None,
        })
        .collect();
    let grants = write.grants(&acting.portfolio.id, subjects).await?;
    let lasting = grants.into_iter().filter(|grant| !grant.has_ended(now));
    let ids: Vec<UserId> = users.iter().map(|user| user.id.clone()).collect();
    let existing = existing_users(write, &acting.portfolio.organization, &ids).await?;
    Ok(Known {
        by_email: users
            .iter()
            .filter(|user| existing.contains(&user.id))
            .map(|user| (user.email.clone(), user.id.clone()))
            .collect(),
        by_id: users
            .into_iter()
            .filter(|user| existing.contains(&user.id))
            .map(|user| (user.id.clone(), user))
            .collect(),
        groups: write.groups_in(&acting.portfolio.organization, &groups).await?,
        members: lasting.map(|grant| grant.subject).collect(),
        role_above_own: acting.may_give(write, role).err(),
    })
}

fn period(request: &AddMembers, now: Timestamp) -> Result<Period, Refusal> {
    let begins = request.start_time.map_or(now, |start| start.max(now));
    let (field, expire_time) = match request.end {
        End::Never => ("end", None),
        End::At(expire) => ("expire_time", Some(expire)),
        End::After(milliseconds) => ("duration", Some(begins.plus_millis(milliseconds))),
    };
    if expire_time.is_some_and(|expire| expire <= begins) {
        let description = "must lie in the future and after start_time";
        return Err(Refusal::field(field, description));
    }
    Ok(Period { start_time: request.start_time, expire_time })
}

/// Whom an entry names and whether the actor may give them the role.
async fn decide(
    write: &mut Write,
    acting: &Acting,
    known: &Known,
    spec: &MemberSpec,
    request: &AddMembers,
    period: Period,
) -> Result<Result<Subject, Refusal>, Failure> {
    let subject = match spec {
        MemberSpec::Email(email) => match known.by_email.get(email) {
            Some(id) => person(acting, known, id),
            None => Err(must_be_invited()),
        },
        MemberSpec::Subject(Subject::User(id)) => person(acting, known, id),
        MemberSpec::Subject(subject @ Subject::Group(id)) => {
            let exists = known.groups.contains(id);
            if exists { Ok(subject.clone()) } else { Err(Refusal::subject_not_found(subject)) }
        }
        MemberSpec::Subject(subject @ Subject::ServiceAccount(id)) => {
            match write.service_account(id).await? {
                Some(account) if account.organization == acting.portfolio.organization => {
                    if account.deactivated {
                        Err(deactivated(subject))
                    } else {
                        Ok(subject.clone())
                    }
                }
                _ => Err(Refusal::subject_not_found(subject)),
            }
        }
    };
    Ok(subject.and_then(|subject| {
        if !known.members.contains(&subject) {
            known.role_above_own.clone().map_or(Ok(()), Err)?;
            acting.may_prolong(write, &subject, &request.role, period.expire_time)?;
        }
        Ok(subject)
    }))
}

/// Those of the users who exist for the caller (AUT-2): whom this organization, or another in
/// reach, knows. People of other organizations are as unknown as those who are nowhere.
async fn existing_users(
    write: &mut Write,
    organization: &OrganizationId,
    ids: &[UserId],
) -> Result<BTreeSet<UserId>, Failure> {
    let caller = write.principal().caller.clone();
    Ok(match caller.kind() {
        CallerKind::Service { organizations: Organizations::All, .. } => {
            ids.iter().cloned().collect()
        }
        CallerKind::Service { organizations: Organizations::These(these), .. } => {
            write.users_known_in(ids, these).await?
        }
        CallerKind::EndUser(_) => write.users_known_in(ids, [organization]).await?,
    })
}

fn person(acting: &Acting, known: &Known, id: &UserId) -> Result<Subject, Refusal> {
    let subject = Subject::User(id.clone());
    let Some(user) = known.by_id.get(id) else {
        // Ids are the client's own; it is by e-mail that nobody may learn who has an account.
        return Err(Refusal::subject_not_found(&subject));
    };
    // Members stay members, wherever they are at home.
    if known.members.contains(&subject) {
        return Ok(subject);
    }
    if !policy::is_internal(&acting.scene.snapshot, &subject) {
        return Err(must_be_invited());
    }
    if user.deactivated { Err(deactivated(&subject)) } else { Ok(subject) }
}

/// The same for every address outside the organization, whether or not it has an account (MEM-2).
fn must_be_invited() -> Refusal {
    let message = "people outside the organization have to be invited, which is not supported yet";
    Refusal::new(Reason::NotSupportedYet, message)
}

fn deactivated(subject: &Subject) -> Refusal {
    let message = format!("`{subject}` is deactivated; reactivate first");
    Refusal::new(Reason::UserDeactivated, message).with(subject.kind(), subject.id())
}

fn grant(acting: &Acting, subject: &Subject, request: &AddMembers, period: Period) -> Grant {
    Grant {
        id: Uuid::now_v7(),
        portfolio: acting.portfolio.id.clone(),
        subject: subject.clone(),
        role: request.role.clone(),
        source: GrantSource::Hand,
        ownership: false,
        start_time: period.start_time,
        expire_time: period.expire_time,
        create_time: acting.scene.at,
        revoke_time: None,
    }
}
