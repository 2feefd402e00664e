use uuid::Uuid;

use super::authorize::{Acting, Scene, require_organization};
use super::parents::{admit, parent_to_be, shown};
use super::privacy_requests::{GovernedPortfolio, ask, awaits_approval};
use super::reach::{actor_unknown, require_actor, require_user_for};
use super::replaced_settings::refuse_unapproved;
use super::{Answer, App, Context, Error, generated};
use crate::domain::access_settings::{AccessSettings, Visibility};
use crate::domain::caller::{Actor, Principal};
use crate::domain::membership::{Grant, GrantSource};
use crate::domain::permission::{
    MEMBERS_VIEW, PORTFOLIO_DELETE, PORTFOLIO_MANAGE_SETTINGS, PORTFOLIO_UPDATE, PermissionName,
};
use crate::domain::portfolio::{Portfolio, PortfolioState};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::role::MANAGER;
use crate::domain::{OrganizationId, PortfolioId, RoleKey, Subject, UserId};
use crate::policy;
use crate::storage::facts::Question;
use crate::storage::grants::MemberChange;
use crate::storage::{Failure, Scope, Write, WriteContext};

/// A portfolio to create.
#[derive(Clone, Debug)]
pub struct CreatePortfolio {
    /// Generated if not given.
    pub id: Option<PortfolioId>,
    /// Whose portfolio it will be.
    pub organization: OrganizationId,
    /// What people call it.
    pub display_name: String,
    /// A word of the client's; may be empty.
    pub portfolio_type: String,
    /// The organization's default if not given (VIS-5).
    pub visibility: Option<Visibility>,
    /// The preset's default if not given.
    pub organization_access_role: Option<RoleKey>,
    /// The actor if not given; the system must name one (AUT-2).
    pub owner: Option<UserId>,
    /// Below which; none: at the top.
    pub parent: Option<PortfolioId>,
    /// Whether its access settings are those of the parent from the start (INH-6).
    pub linked: bool,
}

/// A portfolio to change; what is not given stays.
#[derive(Clone, Debug)]
pub struct UpdatePortfolio {
    /// Which.
    pub id: PortfolioId,
    /// What people call it.
    pub display_name: Option<String>,
    /// A word of the client's; may be empty.
    pub portfolio_type: Option<String>,
    /// Only if it is still in this state.
    pub etag: Option<String>,
}

/// A portfolio to delete.
#[derive(Clone, Debug)]
pub struct DeletePortfolio {
    /// Which.
    pub id: PortfolioId,
    /// Only if it is still in this state.
    pub etag: Option<String>,
}

impl App {
    /// Creates a portfolio, with its owner as the first manager (VIS-1); a private one, and a
    /// request for the rest, where visibility is approved by administrators (VIS-7).
    ///
    /// # Errors
    /// An actor who may not, a taken id, an owner who is not an active internal user, a role that
    /// openness must not give; a parent that is none, or too deep.
    pub async fn create_portfolio(
        &self,
        context: &WriteContext,
        request: &CreatePortfolio,
    ) -> Result<Answer<GovernedPortfolio>, Error> {
        let id = request.id.clone().map_or_else(generated, Ok)?;
        self.require_sight(context, &request.organization).await?;
        let scope = Scope::Organization(request.organization.clone());
        self.write(context, [scope], async |write| create(write, request, &id).await).await
    }

    /// A portfolio, for those who may list it.
    ///
    /// # Errors
    /// No such portfolio, as far as the actor may know.
    pub async fn get_portfolio(
        &self,
        context: &Context,
        id: &PortfolioId,
    ) -> Result<Answer<Portfolio>, Error> {
        self.read(context, async |read| {
            let now = read.heads().now;
            let principal = &context.principal;
            let found = Acting::on(read, principal, now, id, &[]).await?.portfolio;
            shown(read, principal, now, found).await
        })
        .await
    }

    /// Changes a portfolio's display name and type.
    ///
    /// # Errors
    /// No such portfolio; `portfolio.update` missing for the display name, or
    /// `portfolio.manage_settings` for the type; another state than the etag's; an archived one.
    pub async fn update_portfolio(
        &self,
        context: &WriteContext,
        request: &UpdatePortfolio,
    ) -> Result<Answer<Portfolio>, Error> {
        self.write_on(context, &request.id, async |write| {
            let (principal, now) = (write.principal().clone(), write.now());
            let acting = Acting::on(write, &principal, now, &request.id, &[]).await?;
            let UpdatePortfolio { display_name, portfolio_type, etag, .. } = request;
            if display_name.is_some() {
                acting.require(write, PORTFOLIO_UPDATE)?;
            }
            if portfolio_type.is_some() {
                acting.require(write, PORTFOLIO_MANAGE_SETTINGS)?;
            }
            let before = acting.portfolio;
            require_etag(&before, etag.as_deref())?;
            let display_name = display_name.as_ref().unwrap_or(&before.display_name);
            let portfolio_type = portfolio_type.as_ref().unwrap_or(&before.portfolio_type);
            if *display_name == before.display_name && *portfolio_type == before.portfolio_type {
                return shown(write, &principal, now, before).await;
            }
            let updated = write.update_portfolio(&before, display_name, portfolio_type).await?;
            shown(write, &principal, now, updated).await
        })
        .await
    }

    /// Deletes a portfolio for good. What is linked to it keeps a copy of the settings in effect
    /// (VIS-9).
    ///
    /// # Errors
    /// No such portfolio, `portfolio.delete` missing, another state than the etag's.
    pub async fn delete_portfolio(
        &self,
        context: &WriteContext,
        request: &DeletePortfolio,
    ) -> Result<Answer<Portfolio>, Error> {
        self.write_on(context, &request.id, async |write| {
            let (principal, now) = (write.principal().clone(), write.now());
            let acting =
                Acting::with(write, &principal, now, &request.id, &[], PORTFOLIO_DELETE).await?;
            require_etag(&acting.portfolio, request.etag.as_deref())?;
            let children = write.linked_children(&request.id).await?;
            if !children.is_empty() {
                write.unlink_copying(&request.id, &children).await?;
            }
            write.delete_portfolio(&acting.portfolio).await
        })
        .await
    }
}

/// Refuses a change of another state than the client has seen.
pub(super) fn require_etag(portfolio: &Portfolio, etag: Option<&str>) -> Result<(), Refusal> {
    match etag {
        Some(etag) if etag != portfolio.etag() => Err(Refusal::etag_mismatch("portfolio")),
        _ => Ok(()),
    }
}

async fn create(
    write: &mut Write,
    request: &CreatePortfolio,
    id: &PortfolioId,
) -> Result<GovernedPortfolio, Failure> {
    let (principal, now) = (write.principal().clone(), write.now());
    let actor = &principal.actor;
    let organization = require_organization(write, &principal, &request.organization).await?;
    let owner = owner(actor, request)?;
    let owning = Subject::User(owner.clone());
    let subjects: Vec<Subject> = actor.subject().into_iter().chain([owning.clone()]).collect();
    let question =
        Question { organization: &organization.id, portfolio: None, subjects: &subjects };
    let scene = Scene::load(write, &question, now).await?;
    authorize_creation(write, &scene, &principal).await?;
    require_owner(write, &scene, &owner).await?;
    let default_role = organization.preset.organization_access_role();
    let role = request.organization_access_role.as_ref().unwrap_or(&default_role).clone();
    require_openness_role(&scene, &role)?;
    if request.organization_access_role.is_some() && role != default_role {
        require_within_managers(write, &scene, actor, &role)?;
    }
    let wanted = request.visibility.unwrap_or(organization.default_visibility);
    let governed = wanted != Visibility::Private && awaits_approval(write, &scene).await?;
    if governed && request.linked && request.visibility.is_some() {
        // Nobody could approve what is not in effect.
        let description = "cannot be given to a linked portfolio where administrators approve it: \
                           ask for it once it has settings of its own";
        return Err(Refusal::field("portfolio.visibility", description).into());
    }
    let asked = governed && !request.linked;
    authorize_parent(write, request, id).await?;
    let portfolio = Portfolio {
        id: id.clone(),
        organization: organization.id.clone(),
        display_name: request.display_name.clone(),
        portfolio_type: request.portfolio_type.clone(),
        author: actor.subject(),
        owner: Some(owner),
        state: PortfolioState::Active,
        parent: request.parent.clone(),
        linked: request.linked,
        settings: AccessSettings {
            visibility: if governed { Visibility::Private } else { wanted },
            organization_access_role: role,
        },
        create_time: now,
        update_time: now,
        version: 1,
    };
    if !write.insert_portfolio(&portfolio).await? {
        // Nothing about whose it is (VIS-4).
        let message = format!("the portfolio id `{id}` is taken; choose another");
        return Err(Refusal::new(Reason::IdTaken, message).with("portfolio", id).into());
    }
    let grant = ownership(&portfolio, &owning);
    let change = MemberChange {
        organization: &portfolio.organization,
        portfolio: &portfolio.id,
        subject: &owning,
        what: "member.added",
        revoked: &[],
        given: std::slice::from_ref(&grant),
    };
    write.change_member(&change).await?;
    let privacy_request = if asked { Some(ask(write, &portfolio, wanted).await?) } else { None };
    let portfolio = shown(write, &principal, now, portfolio).await?;
    Ok(GovernedPortfolio { portfolio, privacy_request })
}

/// Whoever creates a portfolio below another may change that one; whoever links it lets its members
/// be seen there, and so must see them (INH-6, INH-5).
async fn authorize_parent(
    write: &mut Write,
    request: &CreatePortfolio,
    id: &PortfolioId,
) -> Result<(), Failure> {
    let Some(parent) = &request.parent else {
        if !request.linked {
            return Ok(());
        }
        let message = "a portfolio without a parent has none to link it to; name one";
        return Err(Refusal::new(Reason::NoParent, message).into());
    };
    let (principal, now) = (write.principal().clone(), write.now());
    let found = parent_to_be(write, &principal, now, parent, &request.organization).await?;
    found.require(write, PORTFOLIO_UPDATE)?;
    if request.linked {
        found.require(write, MEMBERS_VIEW)?;
        let visibility = write.settings_in_effect(parent).await?.settings.visibility;
        refuse_unapproved(write, &found.scene, Visibility::Private, visibility).await?;
    }
    admit(write, &principal, now, id, parent, request.linked).await
}

fn owner(actor: &Actor, request: &CreatePortfolio) -> Result<UserId, Refusal> {
    match (&request.owner, actor) {
        (Some(owner), _) | (None, Actor::User(owner)) => Ok(owner.clone()),
        (None, Actor::System | Actor::ServiceAccount(_)) => {
            let description = "must name a user: only a person who creates becomes owner unasked";
            Err(Refusal::field("portfolio.owner", description))
        }
    }
}

async fn authorize_creation(
    write: &mut Write,
    scene: &Scene,
    principal: &Principal,
) -> Result<(), Failure> {
    let Some(subject) = principal.actor.subject() else { return Ok(()) };
    require_actor(write, principal).await?;
    if let Actor::User(id) = &principal.actor
        && write.user(id).await?.is_none()
    {
        return Err(actor_unknown(&principal.actor).into());
    }
    if policy::may_create_portfolios(&scene.global, &scene.snapshot, &subject) {
        return Ok(());
    }
    let message = "only site editors of the organization create portfolios";
    let organization = scene.snapshot.organization();
    Err(Refusal::new(Reason::SiteRoleMissing, message).with("organization", organization).into())
}

/// The owner is an active internal user (VIS-1).
pub(super) async fn require_owner(
    write: &mut Write,
    scene: &Scene,
    owner: &UserId,
) -> Result<(), Failure> {
    let subject = Subject::User(owner.clone());
    let (principal, organization) = (write.principal().clone(), scene.snapshot.organization());
    let user = require_user_for(write, &principal, organization, owner).await?;
    if !policy::is_internal(&scene.snapshot, &subject) {
        let message = format!("`{owner}` is external to the organization; owners are internal");
        return Err(Refusal::new(Reason::NotEligible, message).with("subject", &subject).into());
    }
    if user.deactivated {
        let message = format!("the user `{owner}` is deactivated; name an active owner");
        return Err(Refusal::new(Reason::UserDeactivated, message).with("user", owner).into());
    }
    Ok(())
}

/// What openness gives never manages access (ROL-7).
pub(super) fn require_openness_role(scene: &Scene, role: &RoleKey) -> Result<(), Refusal> {
    let Some(holdings) = policy::role_holdings(&scene.global, &scene.snapshot, role.as_str())
    else {
        return Err(role_not_found(scene, role));
    };
    let never = crate::domain::permission::NEVER_BY_OPENNESS;
    let managing: Vec<&str> =
        never.into_iter().filter(|name| holdings.table().contains_key(*name)).collect();
    if managing.is_empty() {
        return Ok(());
    }
    let managing = managing.join(", ");
    let message = format!("openness must not give the role `{role}`, which holds {managing}");
    Err(Refusal::new(Reason::OrganizationRoleForbidden, message)
        .with("role", role)
        .with("permissions", managing))
}

/// The ceiling of who creates a portfolio (ROL-7): what its first manager will hold there.
/// Administrators are excepted, and so is the system.
fn require_within_managers(
    write: &mut Write,
    scene: &Scene,
    actor: &Actor,
    role: &RoleKey,
) -> Result<(), Refusal> {
    let Some(actor) = actor.subject() else { return Ok(()) };
    let holdings = |role: &str| policy::role_holdings(&scene.global, &scene.snapshot, role);
    let given = holdings(role.as_str()).unwrap_or_default();
    let Err(excess) = holdings(MANAGER).unwrap_or_default().covers(given.table()) else {
        return Ok(());
    };
    if policy::is_administrator(&scene.global, &scene.snapshot, &actor) {
        write.note_administrator();
        return Ok(());
    }
    let excess: Vec<&str> = excess.iter().map(PermissionName::as_str).collect();
    let excess = excess.join(", ");
    let message = format!("the role `{role}` holds more than a manager does: {excess}");
    Err(Refusal::new(Reason::RoleAboveOwn, message).with("permissions", excess).with("role", role))
}

/// No role of this key in the portfolio's organization.
pub(super) fn role_not_found(scene: &Scene, role: &RoleKey) -> Refusal {
    let organization = scene.snapshot.organization();
    let message = format!("the organization `{organization}` has no role `{role}`");
    Refusal::new(Reason::RoleNotFound, message)
        .with("role", role)
        .with("organization", organization)
}

fn ownership(portfolio: &Portfolio, owner: &Subject) -> Grant {
    Grant {
        id: Uuid::now_v7(),
        portfolio: portfolio.id.clone(),
        subject: owner.clone(),
        role: RoleKey::manager(),
        source: GrantSource::Creation,
        ownership: true,
        start_time: None,
        expire_time: None,
        create_time: portfolio.create_time,
        revoke_time: None,
    }
}
