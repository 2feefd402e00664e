//! Who may do what to a portfolio: the same decider that answers checks, asked about ourselves, on
//! facts read in the transaction that acts on the answer.

use crate::domain::caller::{CallerKind, Principal};
use crate::domain::directory::Organization;
use crate::domain::permission::{MEMBERS_VIEW, Permission, PermissionName};
use crate::domain::portfolio::{Portfolio, PortfolioState};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{ItemKey, OrganizationId, PortfolioId, RoleKey, Subject, Timestamp};
use crate::policy::{self, Asked, Decision, Global, Holdings, Snapshot};
use crate::storage::facts::Question;
use crate::storage::{Error, Failure, Transaction};

/// The facts about a few subjects and at most one portfolio, compiled.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) global: Global,
    pub(super) snapshot: Snapshot,
    pub(super) at: Timestamp,
}

impl Scene {
    /// Reads what a decision about these subjects needs, and compiles it.
    pub(super) async fn load(
        transaction: &mut Transaction,
        question: &Question<'_>,
        at: Timestamp,
    ) -> Result<Self, Error> {
        Self::load_with_item(transaction, question, None, at).await
    }

    /// The same, and what it needs about an item.
    pub(super) async fn load_with_item(
        transaction: &mut Transaction,
        question: &Question<'_>,
        item: Option<&ItemKey>,
        at: Timestamp,
    ) -> Result<Self, Error> {
        let answer = transaction.facts_for_item(question, item).await?;
        let global = Global::compile(answer.global);
        let snapshot = Snapshot::compile(answer.organization, &global);
        Ok(Self { global, snapshot, at })
    }
}

/// A portfolio that the actor knows of, and everything needed to decide about it.
#[derive(Debug)]
pub(super) struct Acting {
    pub(super) scene: Scene,
    pub(super) portfolio: Portfolio,
    pub(super) actor: Option<Subject>,
}

impl Acting {
    /// Finds the portfolio for the actor, or says that there is none (VIS-4). `others` are further
    /// subjects that the act is about. An unknown portfolio takes the same statements as an
    /// invisible one.
    pub(super) async fn on(
        transaction: &mut Transaction,
        principal: &Principal,
        at: Timestamp,
        id: &PortfolioId,
        others: &[Subject],
    ) -> Result<Self, Failure> {
        let portfolio = transaction.portfolio(id).await?;
        let actor = principal.actor.subject();
        let subjects: Vec<Subject> = actor.iter().chain(others).cloned().collect();
        // Any id is an id of an organization: that of an unknown portfolio finds nothing.
        let unknown = id.as_str().parse::<OrganizationId>();
        let organization = match (&portfolio, &unknown) {
            (Some(portfolio), _) => &portfolio.organization,
            (None, Ok(organization)) => organization,
            (None, Err(_)) => return Err(Refusal::portfolio_not_found(id).into()),
        };
        let question = Question { organization, portfolio: Some(id), subjects: &subjects };
        let scene = Scene::load(transaction, &question, at).await?;
        let listed = actor.as_ref().is_none_or(|actor| {
            policy::may_list(&scene.global, &scene.snapshot, actor, id.as_str(), at)
        });
        match portfolio.filter(|portfolio| portfolio.state != PortfolioState::Deleted) {
            Some(portfolio) if listed && principal.caller.reaches(&portfolio.organization) => {
                Ok(Self { scene, portfolio, actor })
            }
            _ => Err(Refusal::portfolio_not_found(id).into()),
        }
    }

    /// The same, for an act that needs a permission (AUT-1), decided as a check is: on an archived
    /// portfolio nothing is added or changed (VIS-8).
    pub(super) async fn with(
        transaction: &mut Transaction,
        principal: &Principal,
        at: Timestamp,
        id: &PortfolioId,
        others: &[Subject],
        permission: &str,
    ) -> Result<Self, Failure> {
        let acting = Self::on(transaction, principal, at, id, others).await?;
        acting.require(transaction, permission)?;
        Ok(acting)
    }

    /// The same, for an act that stays possible on an archived portfolio, whatever its permission
    /// does elsewhere: looking, taking away, restoring (VIS-8).
    pub(super) async fn with_even_archived(
        transaction: &mut Transaction,
        principal: &Principal,
        at: Timestamp,
        id: &PortfolioId,
        permission: &str,
    ) -> Result<Self, Failure> {
        let acting = Self::on(transaction, principal, at, id, &[]).await?;
        acting.require_even_archived(transaction, permission)?;
        Ok(acting)
    }

    /// Refuses an actor who lacks a permission, and everybody what an archived portfolio does not
    /// allow: the system too (AUT-2).
    pub(super) fn require(
        &self,
        transaction: &mut Transaction,
        permission: &str,
    ) -> Result<(), Refusal> {
        self.require_even_archived(transaction, permission)?;
        let found = self.scene.global.permission(permission);
        if found.is_some_and(Permission::is_halted_by_archiving) {
            self.refuse_archived()?;
        }
        Ok(())
    }

    /// Refuses an actor who lacks a permission. The system lacks none (AUT-2). What somebody does
    /// whom nothing else allows it is audited as an administrator's (DIR-7).
    pub(super) fn require_even_archived(
        &self,
        transaction: &mut Transaction,
        permission: &str,
    ) -> Result<(), Refusal> {
        let Some(actor) = &self.actor else { return Ok(()) };
        let Scene { global, snapshot, at } = &self.scene;
        let asked = Asked::about(global, snapshot, actor, permission);
        let id = self.portfolio.id.as_str();
        match asked.map(|asked| asked.ignoring_archived().decide(id, None, *at)) {
            Ok(Decision { allowed: true, reason, .. }) => {
                if reason == policy::Reason::Administrator {
                    transaction.note_administrator();
                }
                Ok(())
            }
            _ => Err(permission_missing(permission, &self.portfolio.id)),
        }
    }

    /// Who owns the portfolio is for its owner to decide, and for administrators, whose act is
    /// audited as such; for everybody only while it is in use (MEM-12, VIS-8).
    pub(super) fn require_ownership(&self, transaction: &mut Transaction) -> Result<(), Refusal> {
        let owner = self.portfolio.owner.as_ref();
        let owns = |actor: &Subject| actor.user().is_some_and(|user| owner == Some(user));
        if !self.actor.as_ref().is_none_or(owns) && !self.is_excepted(transaction) {
            let (id, organization) = (&self.portfolio.id, &self.portfolio.organization);
            let message = format!(
                "who owns portfolio `{id}` is for its owner to decide, and for administrators of \
                 organization `{organization}`"
            );
            return Err(Refusal::new(Reason::PermissionMissing, message).with("portfolio", id));
        }
        self.refuse_archived()
    }

    fn refuse_archived(&self) -> Result<(), Refusal> {
        match self.portfolio.state {
            PortfolioState::Archived => Err(Refusal::archived(&self.portfolio.id)),
            PortfolioState::Active | PortfolioState::Deleted => Ok(()),
        }
    }

    /// Whether the actor administers the portfolio's organization (DIR-7).
    pub(super) fn is_administrator(&self) -> bool {
        self.actor.as_ref().is_some_and(|actor| {
            policy::is_administrator(&self.scene.global, &self.scene.snapshot, actor)
        })
    }

    /// Whether the actor is excepted from a rule as an administrator of the organization (DIR-7);
    /// if so, what they do is audited as such.
    pub(super) fn is_excepted(&self, transaction: &mut Transaction) -> bool {
        let excepted = self.is_administrator();
        if excepted {
            transaction.note_administrator();
        }
        excepted
    }

    /// Members are seen by those who hold `members.view`; one's own membership by oneself.
    pub(super) fn require_view_of(
        &self,
        transaction: &mut Transaction,
        subject: &Subject,
    ) -> Result<(), Refusal> {
        if self.actor.as_ref() == Some(subject) {
            return Ok(());
        }
        self.require(transaction, MEMBERS_VIEW)
    }

    fn held_by_actor(&self, at: Timestamp) -> Option<Holdings> {
        let actor = self.actor.as_ref()?;
        let id = self.portfolio.id.as_str();
        Some(policy::holdings(&self.scene.global, &self.scene.snapshot, actor, id, at))
    }

    /// The ceiling (ROL-7): nobody gives a role that holds more than they do here, administrators
    /// excepted.
    pub(super) fn may_give(
        &self,
        transaction: &mut Transaction,
        role: &RoleKey,
    ) -> Result<(), Refusal> {
        let given = policy::role_holdings(&self.scene.global, &self.scene.snapshot, role.as_str())
            .unwrap_or_default();
        self.above(transaction, &given, || format!("the role `{role}` holds more than you do"))
            .map_err(|refusal| refusal.with("role", role))
    }

    /// The ceiling (ROL-7): nobody changes or removes someone who holds more, administrators
    /// excepted.
    pub(super) fn may_change(
        &self,
        transaction: &mut Transaction,
        subject: &Subject,
    ) -> Result<(), Refusal> {
        let id = self.portfolio.id.as_str();
        let held = policy::explicit_holdings(
            &self.scene.global,
            &self.scene.snapshot,
            subject,
            id,
            self.scene.at,
        );
        self.above(transaction, &held, || format!("`{subject}` holds more than you do"))
            .map_err(|refusal| refusal.with("subject", subject))
    }

    /// Nobody prolongs their own access (MEM-9): what the actor gives to themselves, or to a group
    /// they are in, they must hold without it just as long.
    pub(super) fn may_prolong(
        &self,
        transaction: &mut Transaction,
        subject: &Subject,
        role: &RoleKey,
        expire_time: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        let concerned = |actor: &Subject| match subject {
            Subject::Group(group) => policy::is_in_group(&self.scene.snapshot, actor, group),
            _ => actor == subject,
        };
        if !self.actor.as_ref().is_some_and(concerned) {
            return Ok(());
        }
        let last = expire_time.map_or(Timestamp::MAX, |expire| expire.plus_millis(-1));
        let given = policy::role_holdings(&self.scene.global, &self.scene.snapshot, role.as_str())
            .unwrap_or_default();
        let held = self.held_by_actor(last).unwrap_or_default();
        if held.covers(given.table()).is_ok() || self.is_excepted(transaction) {
            return Ok(());
        }
        let message = "nobody prolongs their own access; ask another manager";
        Err(Refusal::new(Reason::OwnAccessProlonged, message).with("portfolio", &self.portfolio.id))
    }

    fn above(
        &self,
        transaction: &mut Transaction,
        wanted: &Holdings,
        what: impl FnOnce() -> String,
    ) -> Result<(), Refusal> {
        let Some(held) = self.held_by_actor(self.scene.at) else { return Ok(()) };
        let Err(excess) = held.covers(wanted.table()) else { return Ok(()) };
        if self.is_excepted(transaction) {
            return Ok(());
        }
        let excess: Vec<&str> = excess.iter().map(PermissionName::as_str).collect();
        let excess = excess.join(", ");
        let message = format!("{}: {excess}", what());
        Err(Refusal::new(Reason::RoleAboveOwn, message).with("permissions", excess))
    }
}

/// The organization, if it exists for the caller (AUT-2): for a person, if it knows them.
pub(super) async fn require_organization(
    transaction: &mut Transaction,
    principal: &Principal,
    id: &OrganizationId,
) -> Result<Organization, Failure> {
    let found = transaction.organization(id).await?;
    let reached = match principal.caller.kind() {
        CallerKind::Service { .. } => principal.caller.reaches(id),
        CallerKind::EndUser(person) => transaction.user_is_known_in(person, [id]).await?,
    };
    Ok(found.filter(|_| reached).ok_or_else(|| Refusal::organization_not_found(id))?)
}

/// What an actor is told who knows the portfolio but lacks the permission.
pub(super) fn permission_missing(permission: &str, portfolio: &PortfolioId) -> Refusal {
    let message = format!(
        "this needs `{permission}` on portfolio `{portfolio}`; whoever manages the portfolio can \
         give a role that holds it"
    );
    Refusal::new(Reason::PermissionMissing, message)
        .with("permission", permission)
        .with("portfolio", portfolio)
}
