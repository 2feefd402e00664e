use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::authorize::Acting;
use super::parents::refuse_linked;
use super::portfolios::role_not_found;
use super::{Answer, App, Context, Error};
use crate::domain::directory::ServiceAccount;
use crate::domain::fact::GrantFact;
use crate::domain::membership::{Grant, GrantSource, Member, RemainingRoute};
use crate::domain::permission::{MEMBERS_REMOVE, MEMBERS_UPDATE};
use crate::domain::portfolio::{Portfolio, PortfolioState};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::role::MANAGER;
use crate::domain::{PortfolioId, RoleKey, Subject, Timestamp};
use crate::policy::{self, Global, Route, Snapshot};
use crate::storage::facts::Question;
use crate::storage::grants::MemberChange;
use crate::storage::{Error as StorageError, Failure, Transaction, Write, WriteContext};

/// A member to change; what is not given stays.
#[derive(Clone, Debug)]
pub struct UpdateMember {
    /// On which portfolio.
    pub portfolio: PortfolioId,
    /// Who.
    pub subject: Subject,
    /// The new role; must be given where the subject holds several.
    pub role: Option<RoleKey>,
    /// The new end (`Some(None)`: none); the latest one of the grants replaced if not given.
    pub expire_time: Option<Option<Timestamp>>,
    /// Only if the member is still in this state.
    pub etag: Option<String>,
}

/// A member to remove.
#[derive(Clone, Debug)]
pub struct RemoveMember {
    /// From which portfolio.
    pub portfolio: PortfolioId,
    /// Who.
    pub subject: Subject,
    /// Only if the member is still in this state.
    pub etag: Option<String>,
}

/// What a removal leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedMember {
    /// The member with its ended grants.
    pub member: Member,
    /// The ways in which the subject still has access (MEM-5).
    pub remaining: Vec<RemainingRoute>,
}

impl App {
    /// A subject and its direct grants on a portfolio, or those that count on a linked one.
    ///
    /// # Errors
    /// No such portfolio, `members.view` missing for another than the actor, never a member.
    pub async fn get_member(
        &self,
        context: &Context,
        portfolio: &PortfolioId,
        subject: &Subject,
    ) -> Result<Answer<Member>, Error> {
        self.read(context, async |read| {
            let now = read.heads().now;
            let acting = Acting::on(read, &context.principal, now, portfolio, &[]).await?;
            acting.require_view_of(read, subject)?;
            let links = policy::links(&acting.scene.snapshot, portfolio.as_str());
            member(read, (portfolio, &links), subject, now).await
        })
        .await
    }

    /// Leaves one hand-made grant in place of all the subject's direct ones, ownership apart.
    ///
    /// # Errors
    /// No such portfolio or member, `members.update` missing, a role above the actor's own, a
    /// subject who holds more, the owner, the last manager, another state than the etag's; an
    /// archived portfolio, on which somebody can only be removed; a linked one.
    pub async fn update_member(
        &self,
        context: &WriteContext,
        request: &UpdateMember,
    ) -> Result<Answer<Member>, Error> {
        self.write_on(context, &request.portfolio, async |write| update(write, request).await).await
    }

    /// Ends all direct grants of a subject.
    ///
    /// # Errors
    /// As [`App::update_member`], with `members.remove`.
    pub async fn remove_member(
        &self,
        context: &WriteContext,
        request: &RemoveMember,
    ) -> Result<Answer<RemovedMember>, Error> {
        self.write_on(context, &request.portfolio, async |write| remove(write, request).await).await
    }
}

/// Everything about one member that an act on them needs.
struct Target {
    acting: Acting,
    member: Member,
    /// The direct grants that have not ended.
    lasting: Vec<Grant>,
}

impl Target {
    async fn load(
        write: &mut Write,
        portfolio: &PortfolioId,
        subject: &Subject,
        permission: &str,
        etag: Option<&str>,
    ) -> Result<Self, Failure> {
        let (principal, now) = (write.principal().clone(), write.now());
        let others = std::slice::from_ref(subject);
        let acting = Acting::with(write, &principal, now, portfolio, others, permission).await?;
        refuse_linked(write, &principal, now, &acting.portfolio).await?;
        let member = member(write, (portfolio, &[]), subject, now).await?;
        if etag.is_some_and(|etag| etag != member.etag()) {
            return Err(Refusal::etag_mismatch("member").into());
        }
        let lasting: Vec<Grant> =
            member.grants.iter().filter(|grant| !grant.has_ended(now)).cloned().collect();
        if lasting.is_empty() {
            return Err(member_not_found(portfolio, subject).into());
        }
        acting.may_change(write, subject)?;
        Ok(Self { acting, member, lasting })
    }

    fn apart_from_ownership(&self) -> Vec<Grant> {
        self.lasting.iter().filter(|grant| !grant.ownership).cloned().collect()
    }

    fn is_active_owner(&self) -> bool {
        !self.member.deactivated && self.lasting.iter().any(|grant| grant.ownership)
    }

    fn refuse_owner(&self) -> Result<(), Refusal> {
        if !self.is_active_owner() {
            return Ok(());
        }
        let subject = &self.member.subject;
        let restored = match self.acting.portfolio.state {
            PortfolioState::Archived => "restore it and ",
            PortfolioState::Active | PortfolioState::Deleted => "",
        };
        let message = format!(
            "`{subject}` owns the portfolio; {restored}hand it to another with TransferOwnership \
             first"
        );
        let refusal = Refusal::new(Reason::Owner, message).with("subject", subject);
        Err(refusal.with("portfolio", &self.acting.portfolio.id))
    }

    /// There is always a manager (MEM-6): refuses to end the last lasting manager grant of an
    /// active user. What is archived needs no manager, but what is linked to it may.
    async fn refuse_last_manager(&self, write: &mut Write) -> Result<(), Failure> {
        let Subject::User(user) = &self.member.subject else { return Ok(()) };
        let (id, now) = (&self.acting.portfolio.id, write.now());
        let managers = write.lasting_managers(id, now).await?;
        if managers.as_slice() != std::slice::from_ref(user) {
            return Ok(());
        }
        let message = match self.acting.portfolio.state {
            PortfolioState::Archived => match write.depends_on_managers_of(id).await? {
                None => return Ok(()),
                Some(linked) => format!(
                    "`{user}` is the last manager of `{linked}` too, which uses these access \
                     settings; unlink it first, or restore this portfolio and make another active \
                     user a manager without an end"
                ),
            },
            PortfolioState::Active | PortfolioState::Deleted => format!(
                "`{user}` is the last manager; make another active user a manager without an end \
                 first"
            ),
        };
        let refusal = Refusal::new(Reason::LastManager, message);
        let refusal = refusal.with("subject", &self.member.subject);
        Err(refusal.with("portfolio", &self.acting.portfolio.id).into())
    }
}

async fn update(write: &mut Write, request: &UpdateMember) -> Result<Member, Failure> {
    let UpdateMember { portfolio, subject, etag, .. } = request;
    let target = Target::load(write, portfolio, subject, MEMBERS_UPDATE, etag.as_deref()).await?;
    let now = write.now();
    let role = new_role(request, &target)?;
    if policy::role_holdings(
        &target.acting.scene.global,
        &target.acting.scene.snapshot,
        role.as_str(),
    )
    .is_none()
    {
        return Err(role_not_found(&target.acting.scene, &role).into());
    }
    target.acting.may_give(write, &role)?;
    let expire_time = request.expire_time.unwrap_or_else(|| latest_end(&target.lasting));
    if expire_time.is_some_and(|expire| expire <= now) {
        let description = "must lie in the future; to end access now, remove the member";
        return Err(Refusal::field("expire_time", description).into());
    }
    let lasting_manager = role.as_str() == MANAGER && expire_time.is_none();
    if !lasting_manager {
        target.refuse_owner()?;
    }
    // An owner who is deactivated loses the ownership by being demoted, and by nothing less.
    let replaced =
        if lasting_manager { target.apart_from_ownership() } else { target.lasting.clone() };
    if replaced.is_empty() {
        return Ok(target.member);
    }
    let start_time = common_start(&replaced, now);
    if expire_time.zip(start_time).is_some_and(|(expire, start)| expire <= start) {
        let description = "must lie after the start of the access";
        return Err(Refusal::field("expire_time", description).into());
    }
    let same =
        |grant: &Grant| grant.role == role && grant.expire_time == expire_time && !grant.ownership;
    if let [grant] = replaced.as_slice()
        && same(grant)
    {
        return Ok(target.member);
    }
    target.acting.may_prolong(write, subject, &role, expire_time)?;
    if role.as_str() != MANAGER || expire_time.is_some() || start_time.is_some() {
        target.refuse_last_manager(write).await?;
    }
    let given = Grant {
        id: Uuid::now_v7(),
        portfolio: portfolio.clone(),
        subject: subject.clone(),
        role,
        source: GrantSource::Hand,
        ownership: false,
        start_time,
        expire_time,
        create_time: now,
        revoke_time: None,
    };
    change(write, &target.acting.portfolio, subject, "member.updated", &replaced, &[given]).await?;
    member(write, (portfolio, &[]), subject, now).await
}

async fn remove(write: &mut Write, request: &RemoveMember) -> Result<RemovedMember, Failure> {
    let RemoveMember { portfolio, subject, etag } = request;
    let target = Target::load(write, portfolio, subject, MEMBERS_REMOVE, etag.as_deref()).await?;
    target.refuse_owner()?;
    target.refuse_last_manager(write).await?;
    let ended = &target.lasting;
    change(write, &target.acting.portfolio, subject, "member.removed", ended, &[]).await?;
    let now = write.now();
    Ok(RemovedMember {
        member: member(write, (portfolio, &[]), subject, now).await?,
        remaining: remaining(write, &target.acting.portfolio, subject, now).await?,
    })
}

fn new_role(request: &UpdateMember, target: &Target) -> Result<RoleKey, Refusal> {
    if let Some(role) = &request.role {
        return Ok(role.clone());
    }
    let mut roles = target.lasting.iter().map(|grant| &grant.role);
    match roles.next() {
        Some(first) if roles.all(|role| role == first) => Ok(first.clone()),
        _ => Err(Refusal::field("role", "must be given: the member holds several roles directly")),
    }
}

/// The latest end of some grants; none if one of them has none.
fn latest_end(grants: &[Grant]) -> Option<Timestamp> {
    let ends: Option<Vec<Timestamp>> = grants.iter().map(|grant| grant.expire_time).collect();
    ends.and_then(|ends| ends.into_iter().max())
}

/// What has begun stays begun; what has not begins when the first of the grants would have.
fn common_start(grants: &[Grant], now: Timestamp) -> Option<Timestamp> {
    let starts: Option<Vec<Timestamp>> = grants.iter().map(|grant| grant.start_time).collect();
    starts.and_then(|starts| starts.into_iter().min()).filter(|start| *start > now)
}

async fn change(
    write: &mut Write,
    portfolio: &Portfolio,
    subject: &Subject,
    what: &'static str,
    revoked: &[Grant],
    given: &[Grant],
) -> Result<(), Failure> {
    let organization = &portfolio.organization;
    let portfolio = &portfolio.id;
    write
        .change_member(&MemberChange { organization, portfolio, subject, what, revoked, given })
        .await
}

/// A member as it is: whoever ever had a direct grant.
async fn member(
    transaction: &mut Transaction,
    (portfolio, links): (&PortfolioId, &[PortfolioId]),
    subject: &Subject,
    now: Timestamp,
) -> Result<Member, Failure> {
    let subjects = std::slice::from_ref(subject);
    let grants = transaction.grants_in_effect(portfolio, links, subjects).await?;
    if grants.is_empty() {
        return Err(member_not_found(portfolio, subject).into());
    }
    let Profile { display_name, email, company, deactivated } =
        profile(transaction, portfolio, subject).await?;
    let (portfolio, subject) = (portfolio.clone(), subject.clone());
    Ok(Member { portfolio, subject, display_name, email, company, deactivated, grants, as_of: now })
}

/// What people see of a subject.
#[derive(Default)]
struct Profile {
    display_name: String,
    email: String,
    company: String,
    deactivated: bool,
}

/// Of somebody whom the portfolio's organization knows no more, nothing: what has become of them
/// since is others' to tell.
async fn profile(
    transaction: &mut Transaction,
    portfolio: &PortfolioId,
    subject: &Subject,
) -> Result<Profile, StorageError> {
    let named = |display_name| Profile { display_name, ..Profile::default() };
    match subject {
        Subject::User(id) => {
            let organization = transaction.organization_of(portfolio).await?;
            let known = transaction.user_is_known_in(id, &organization).await?;
            let user = transaction.user(id).await?.filter(|_| known);
            let Some(user) = user else { return Ok(Profile::default()) };
            let home = match &user.home_organization {
                Some(home) => transaction.organization(home).await?,
                None => None,
            };
            Ok(Profile {
                display_name: user.display_name,
                email: user.email.as_str().to_owned(),
                company: home.map(|home| home.display_name).unwrap_or_default(),
                deactivated: user.deactivated,
            })
        }
        Subject::Group(id) => Ok(transaction
            .group(id)
            .await?
            .map(|group| named(group.display_name))
            .unwrap_or_default()),
        Subject::ServiceAccount(id) => {
            let profile = |account: ServiceAccount| Profile {
                deactivated: account.deactivated,
                ..named(account.display_name)
            };
            Ok(transaction.service_account(id).await?.map(profile).unwrap_or_default())
        }
    }
}

/// The ways in which a subject still has access, by the decider, on the facts as they now are.
async fn remaining(
    write: &mut Write,
    portfolio: &Portfolio,
    subject: &Subject,
    now: Timestamp,
) -> Result<Vec<RemainingRoute>, Failure> {
    let question = Question {
        organization: &portfolio.organization,
        portfolio: Some(&portfolio.id),
        subjects: std::slice::from_ref(subject),
    };
    let answer = write.facts_for(&question).await?;
    let grants = answer.organization.portfolios.iter().flat_map(|p| p.grants.clone());
    let granted: Vec<GrantFact> = grants.filter(|grant| grant.in_force(now)).collect();
    let global = Global::compile(answer.global);
    let snapshot = Snapshot::compile(answer.organization, &global);
    let mut remaining = Vec::new();
    for route in policy::routes(&snapshot, subject, portfolio.id.as_str(), now) {
        match route {
            Route::Direct | Route::Administrator => {}
            Route::Group(id) => {
                let of_group =
                    |grant: &&GrantFact| matches!(&grant.subject, Subject::Group(g) if *g == id);
                remaining.extend(granted.iter().filter(of_group).map(|grant| RemainingRoute {
                    group: Some(id.clone()),
                    role: grant.role.clone(),
                }));
            }
            Route::OrganizationAccess => remaining.push(RemainingRoute {
                group: None,
                role: portfolio.settings.organization_access_role.clone(),
            }),
        }
    }
    Ok(remaining)
}

fn member_not_found(portfolio: &PortfolioId, subject: &Subject) -> Refusal {
    let message = format!("`{subject}` has no direct access to portfolio `{portfolio}`");
    Refusal::new(Reason::MemberNotFound, message)
        .with("subject", subject)
        .with("portfolio", portfolio)
}
