use std::collections::BTreeSet;

use super::authorize::{Acting, Scene, require_organization};
use super::item_acting::{ItemActing, ItemName};
use super::item_copy::copied;
use super::portfolios::{require_openness_role, require_owner, role_not_found};
use super::reach::require_user_for;
use super::{Answer, App, Context, Error};
use crate::domain::access_settings::Visibility;
use crate::domain::caller::{CallerKind, Scope as CallerScope};
use crate::domain::item::{Item, ItemGrant, OwnSettings};
use crate::domain::permission::{MEMBERS_VIEW, PORTFOLIO_UPDATE};
use crate::domain::portfolio::PortfolioState;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{PortfolioId, RoleKey, Subject, UserId};
use crate::policy;
use crate::storage::{Failure, Scope, Write, WriteContext};

/// An item to register.
#[derive(Clone, Debug)]
pub struct RegisterItem {
    /// Which.
    pub name: ItemName,
    /// What people call it; may be empty.
    pub display_name: String,
    /// The portfolios that show it.
    pub portfolios: Vec<PortfolioId>,
    /// Who made it; the actor if not given.
    pub author: Option<Subject>,
    /// Who will own it.
    pub owner: Option<UserId>,
    /// Whether nothing is added or changed in it from the beginning.
    pub archived: bool,
    /// By what it is decided.
    pub settings: NewSettings,
}

/// The settings of an item that is new.
#[derive(Clone, Debug)]
pub enum NewSettings {
    /// It follows its portfolio.
    Inherited,
    /// Its own.
    Own {
        /// Private if not given.
        visibility: Option<Visibility>,
        /// The preset's default if not given.
        organization_access_role: Option<RoleKey>,
        /// Who is granted what.
        grants: Vec<ItemGrant>,
    },
    /// Its own, a copy of those in force on a portfolio (ACC-7).
    CopyOf(PortfolioId),
}

/// An item to delete.
#[derive(Clone, Debug)]
pub struct DeleteItem {
    /// Which.
    pub name: ItemName,
    /// Only if it is still in this state.
    pub etag: Option<String>,
}

/// An item as whoever asks may see it, and whether they are told its settings.
#[derive(Clone, Debug)]
pub struct SeenItem {
    /// The item, without the portfolios that they may not list (VIS-4).
    pub item: Item,
    /// Whether they manage it.
    pub manages: bool,
}

impl App {
    /// Registers an item that portfolios show (ACC-5).
    ///
    /// # Errors
    /// A taken id; an unknown organization, portfolio, subject or role; an archived portfolio; what
    /// the actor may not give.
    pub async fn register_item(
        &self,
        context: &WriteContext,
        request: &RegisterItem,
    ) -> Result<Answer<Item>, Error> {
        self.require_sight(context, &request.name.organization).await?;
        let scope = Scope::Organization(request.name.organization.clone());
        self.write(context, [scope], async |write| register(write, request).await).await
    }

    /// An item, for those who see or manage it.
    ///
    /// # Errors
    /// No such item, as far as the actor may know.
    pub async fn get_item(
        &self,
        context: &Context,
        name: &ItemName,
    ) -> Result<Answer<SeenItem>, Error> {
        self.read(context, async |read| {
            let now = read.heads().now;
            let found = ItemActing::on(read, &context.principal, now, name, &[]).await?;
            let item = found.places().told(read, found.item.clone()).await?;
            Ok(SeenItem { item, manages: found.manages })
        })
        .await
    }

    /// Deletes an item for good.
    ///
    /// # Errors
    /// No such item; an actor who does not manage it; another state than the etag's.
    pub async fn delete_item(
        &self,
        context: &WriteContext,
        request: &DeleteItem,
    ) -> Result<Answer<Item>, Error> {
        self.write_on_item(context, &request.name, async |write| {
            let (principal, now) = (write.principal().clone(), write.now());
            let acting = ItemActing::managing(write, &principal, now, &request.name, &[]).await?;
            require_etag(&acting.item, request.etag.as_deref())?;
            let deleted = write.delete_item(&acting.item).await?;
            Ok(acting.places().told(write, deleted).await?)
        })
        .await
    }
}

pub(super) fn require_etag(item: &Item, etag: Option<&str>) -> Result<(), Refusal> {
    match etag {
        Some(etag) if etag != item.etag() => Err(Refusal::etag_mismatch("item")),
        _ => Ok(()),
    }
}

async fn register(write: &mut Write, request: &RegisterItem) -> Result<Item, Failure> {
    let (principal, now) = (write.principal().clone(), write.now());
    let RegisterItem { name, display_name, portfolios, owner, archived, .. } = request;
    let organization = require_organization(write, &principal, &name.organization).await?;
    let alone = matches!(principal.caller.kind(), CallerKind::EndUser(_));
    if alone && matches!(request.settings, NewSettings::Own { .. }) {
        // A person has no scope of their own (AUT-3).
        return Err(Refusal::scope_missing(CallerScope::AccessWrite).into());
    }
    let others: Vec<Subject> = owner.iter().cloned().map(Subject::User).collect();
    let mut shown = Vec::new();
    for portfolio in portfolios {
        let acting = require_place(write, name, portfolio, &others).await?;
        if alone {
            acting.require(write, PORTFOLIO_UPDATE)?;
        }
        shown.push(acting);
    }
    let Some(Acting { scene, .. }) = shown.first() else {
        return Err(Refusal::field("item.portfolios", "must name at least one").into());
    };
    if let Some(owner) = owner {
        require_owner(write, scene, owner).await?;
    }
    if let Some(author) = &request.author {
        require_subject(write, scene, author).await?;
    }
    let role = organization.preset.organization_access_role();
    let settings = settings(write, request, &shown, role).await?;
    let item = Item {
        key: name.key.clone(),
        organization: name.organization.clone(),
        display_name: display_name.clone(),
        portfolios: portfolios.clone(),
        author: request.author.clone().or_else(|| principal.actor.subject()),
        owner: owner.clone(),
        settings,
        archived: *archived,
        create_time: now,
        update_time: now,
        version: 1,
    };
    if !write.insert_item(&item).await? {
        let message = format!("the item id `{}` is or was taken; choose another", item.key);
        return Err(Refusal::new(Reason::IdTaken, message).with("item", &item.key).into());
    }
    Ok(item)
}

/// The settings that an item starts with, as far as the actor may give them on the portfolios that
/// show it; `default` is what openness gives if nothing is said.
async fn settings(
    write: &mut Write,
    request: &RegisterItem,
    shown: &[Acting],
    default: RoleKey,
) -> Result<Option<OwnSettings>, Failure> {
    match &request.settings {
        NewSettings::Inherited => Ok(None),
        NewSettings::CopyOf(portfolio) => {
            let place = shown.iter().find(|acting| acting.portfolio.id == *portfolio);
            let place = place.ok_or_else(|| Refusal::portfolio_not_found(portfolio))?;
            // A copy tells who is a member there.
            place.require(write, MEMBERS_VIEW)?;
            let organization = &request.name.organization;
            Ok(Some(copied(write, organization, portfolio, request.owner.as_ref()).await?))
        }
        NewSettings::Own { visibility, organization_access_role, grants } => {
            let role = organization_access_role.clone().unwrap_or(default);
            for acting in shown {
                require_openness_role(&acting.scene, &role)?;
                require_subjects(write, &acting.scene, grants).await?;
                acting.may_give(write, &role)?;
                for role in roles(grants) {
                    acting.may_give(write, role)?;
                }
            }
            let visibility = visibility.unwrap_or(Visibility::Private);
            let grants = grants.clone();
            Ok(Some(OwnSettings { visibility, organization_access_role: role, grants }))
        }
    }
}

/// A portfolio that is to show an item: of the item's organization, seen by the actor, in use.
pub(super) async fn require_place(
    write: &mut Write,
    name: &ItemName,
    portfolio: &PortfolioId,
    others: &[Subject],
) -> Result<Acting, Failure> {
    let (principal, now) = (write.principal().clone(), write.now());
    let acting = Acting::on(write, &principal, now, portfolio, others).await?;
    if acting.portfolio.organization != name.organization {
        return Err(Refusal::portfolio_not_found(portfolio).into());
    }
    if acting.portfolio.state == PortfolioState::Archived {
        return Err(Refusal::archived(portfolio).into());
    }
    Ok(acting)
}

/// The roles that grants give, each once.
pub(super) fn roles<'a>(grants: impl IntoIterator<Item = &'a ItemGrant>) -> BTreeSet<&'a RoleKey> {
    grants.into_iter().map(|grant| &grant.role).collect()
}

/// Whom grants name exists for the organization, and so do the roles.
pub(super) async fn require_subjects<'a>(
    write: &mut Write,
    scene: &Scene,
    grants: impl IntoIterator<Item = &'a ItemGrant>,
) -> Result<(), Failure> {
    let grants: Vec<&ItemGrant> = grants.into_iter().collect();
    for role in roles(grants.iter().copied()) {
        if policy::role_holdings(&scene.global, &scene.snapshot, role.as_str()).is_none() {
            return Err(role_not_found(scene, role).into());
        }
    }
    let subjects: BTreeSet<&Subject> = grants.iter().map(|grant| &grant.subject).collect();
    for subject in subjects {
        if let Some(deactivated) = require_subject(write, scene, subject).await? {
            return Err(deactivated.into());
        }
    }
    Ok(())
}

/// Somebody exists for the organization; the refusal of those who are deactivated, if it matters.
async fn require_subject(
    write: &mut Write,
    scene: &Scene,
    subject: &Subject,
) -> Result<Option<Refusal>, Failure> {
    let (principal, organization) = (write.principal().clone(), scene.snapshot.organization());
    let exists = match subject {
        Subject::User(id) => {
            let user = require_user_for(write, &principal, organization, id).await?;
            if user.deactivated {
                let message = format!("the user `{id}` is deactivated; reactivate them first");
                let refusal = Refusal::new(Reason::UserDeactivated, message);
                return Ok(Some(refusal.with("user", id)));
            }
            true
        }
        Subject::Group(id) => {
            write.groups_in(organization, std::slice::from_ref(id)).await?.contains(id)
        }
        Subject::ServiceAccount(id) => {
            let account = write.service_account(id).await?;
            account.is_some_and(|account| account.organization == *organization)
        }
    };
    if exists { Ok(None) } else { Err(Refusal::subject_not_found(subject).into()) }
}
