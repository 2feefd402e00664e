use std::collections::BTreeSet;

use super::item_acting::{ItemActing, ItemName};
use super::items::{require_etag, require_place, require_subjects, roles};
use super::portfolios::{require_openness_role, require_owner};
use super::{Answer, App, Error};
use crate::domain::access_settings::Visibility;
use crate::domain::item::{Item, ItemGrant, MAX_ITEM_PORTFOLIOS};
use crate::domain::permission::PORTFOLIO_UPDATE;
use crate::domain::portfolio::PortfolioState;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{PortfolioId, RoleKey, Subject, UserId};
use crate::storage::{Failure, Write, WriteContext};

/// An item to change; what is not given stays.
#[derive(Clone, Debug)]
pub struct UpdateItem {
    /// Which.
    pub name: ItemName,
    /// What people call it; may be empty.
    pub display_name: Option<String>,
    /// The portfolios that show it.
    pub portfolios: Option<Vec<PortfolioId>>,
    /// Who owns it; `Some(None)`: nobody.
    pub owner: Option<Option<UserId>>,
    /// What internal users without a grant may do.
    pub visibility: Option<Visibility>,
    /// The role that openness gives.
    pub organization_access_role: Option<RoleKey>,
    /// Who is granted what.
    pub grants: Option<Vec<ItemGrant>>,
    /// Whether nothing is added or changed in it.
    pub archived: Option<bool>,
    /// Only if it is still in this state.
    pub etag: Option<String>,
}

impl App {
    /// Changes an item and its settings, for those who manage it.
    ///
    /// # Errors
    /// No such item, portfolio, subject or role; an actor who does not manage it, or may not give
    /// that; settings for an item that has none; an archived item or portfolio; another state than
    /// the etag's.
    pub async fn update_item(
        &self,
        context: &WriteContext,
        request: &UpdateItem,
    ) -> Result<Answer<Item>, Error> {
        self.write_on_item(context, &request.name, async |write| {
            // The future of all that may change is large.
            Box::pin(update(write, request)).await
        })
        .await
    }
}

async fn update(write: &mut Write, request: &UpdateItem) -> Result<Item, Failure> {
    let (principal, now) = (write.principal().clone(), write.now());
    let owner = request.owner.iter().flatten();
    let others: Vec<Subject> = owner.cloned().map(Subject::User).collect();
    let acting = ItemActing::managing(write, &principal, now, &request.name, &others).await?;
    let before = &acting.item;
    require_etag(before, request.etag.as_deref())?;
    let mut places = acting.places();
    let told = places.told(write, before.clone()).await?.portfolios;
    // One that the actor may not list is none, also where it shows the item already.
    for portfolio in request.portfolios.iter().flatten().filter(|id| !told.contains(id)) {
        let place = require_place(write, &request.name, portfolio, &[]).await?;
        place.require(write, PORTFOLIO_UPDATE)?;
    }
    let after = changed(before, request, &told)?;
    if after == *before {
        return Ok(places.told(write, after).await?);
    }
    refuse_archived(write, before, &after).await?;
    if before.owner != after.owner {
        require_ownership(&acting)?;
        if let Some(owner) = &after.owner {
            require_owner(write, &acting.scene, owner).await?;
            // An owner is a manager.
            let (owner, manager) = (Subject::User(owner.clone()), RoleKey::manager());
            acting.may_give(&manager)?;
            acting.may_prolong(&owner, &manager, None)?;
        }
    }
    authorize_settings(write, &acting, &after).await?;
    let after = Item { version: before.version + 1, update_time: now, ..after };
    write.update_item(before, &after).await?;
    Ok(places.told(write, after).await?)
}

/// What is archived, or shown by archived portfolios alone, may lose access, and nothing else
/// (VIS-8).
async fn refuse_archived(write: &mut Write, before: &Item, after: &Item) -> Result<(), Failure> {
    if only_takes_away(before, after) {
        return Ok(());
    }
    if before.archived && after.archived {
        let key = &before.key;
        let message = format!("the item `{key}` is archived; restore it first");
        return Err(Refusal::new(Reason::Archived, message).with("item", key).into());
    }
    let mut archived = None;
    for id in &before.portfolios {
        match write.portfolio(id).await? {
            Some(portfolio) if portfolio.state == PortfolioState::Archived => archived = Some(id),
            _ => return Ok(()),
        }
    }
    archived.map_or(Ok(()), |id| Err(Refusal::archived(id).into()))
}

/// Whether a change does no more than to end grants, to withdraw the item from portfolios, or to
/// archive it or bring it back.
fn only_takes_away(before: &Item, after: &Item) -> bool {
    let mut less = before.clone();
    less.archived = after.archived;
    less.portfolios.retain(|id| after.portfolios.contains(id));
    if let (Some(settings), Some(left)) = (&mut less.settings, &after.settings) {
        settings.grants.retain(|grant| left.grants.contains(grant));
    }
    less == *after
}

/// The item as the request wants it. Of the portfolios that show it those stay that the actor is
/// not told of: nobody takes it from where they do not see it.
fn changed(before: &Item, request: &UpdateItem, told: &[PortfolioId]) -> Result<Item, Refusal> {
    let mut after = before.clone();
    let UpdateItem { visibility, organization_access_role: role, grants, .. } = request;
    if let Some(name) = &request.display_name {
        after.display_name.clone_from(name);
    }
    if let Some(portfolios) = &request.portfolios {
        after.portfolios.retain(|id| !told.contains(id));
        after.portfolios.extend(portfolios.iter().cloned());
        after.portfolios.sort_unstable();
        after.portfolios.dedup();
        if after.portfolios.len() > MAX_ITEM_PORTFOLIOS {
            return Err(too_many_portfolios());
        }
    }
    if let Some(owner) = &request.owner {
        after.owner.clone_from(owner);
    }
    if let Some(archived) = request.archived {
        after.archived = archived;
    }
    match &mut after.settings {
        Some(settings) => {
            settings.visibility = visibility.unwrap_or(settings.visibility);
            if let Some(role) = role {
                settings.organization_access_role = role.clone();
            }
            if let Some(grants) = grants {
                settings.grants.clone_from(grants);
            }
        }
        None if visibility.is_some() || role.is_some() || grants.is_some() => {
            return Err(inherits(before, "has no access settings of its own"));
        }
        None if after.portfolios.len() != 1 => {
            return Err(inherits(before, "is shown by exactly one portfolio"));
        }
        None => {}
    }
    Ok(after)
}

fn too_many_portfolios() -> Refusal {
    let description = format!(
        "and those that show the item where you do not see it are more than {MAX_ITEM_PORTFOLIOS}; \
         name fewer"
    );
    Refusal::field_because(Reason::LimitExceeded, "item.portfolios", description)
        .with("limit", MAX_ITEM_PORTFOLIOS)
}

fn inherits(item: &Item, what: &str) -> Refusal {
    let key = &item.key;
    let message = format!("the item `{key}` follows its portfolio: it {what}");
    Refusal::new(Reason::ItemInherits, message).with("item", key)
}

/// Who owns it is for its owner to decide; of one without, for all who manage it (MEM-12).
fn require_ownership(acting: &ItemActing) -> Result<(), Refusal> {
    let (Some(actor), Some(owner)) = (&acting.actor, &acting.item.owner) else { return Ok(()) };
    if actor.user() == Some(owner) {
        return Ok(());
    }
    let key = &acting.item.key;
    let message = format!("who owns item `{key}` is for its owner to decide");
    Err(Refusal::new(Reason::PermissionMissing, message).with("item", key))
}

/// What is given newly, and what is taken away, is within the actor's ceiling (ROL-7).
async fn authorize_settings(
    write: &mut Write,
    acting: &ItemActing,
    after: &Item,
) -> Result<(), Failure> {
    let (Some(was), Some(is)) = (&acting.item.settings, &after.settings) else { return Ok(()) };
    let given = &is.organization_access_role;
    if was.organization_access_role != *given {
        require_openness_role(&acting.scene, given)?;
    }
    // Who opens an item gives its role to everybody, whoever chose it.
    let opens = is.visibility == Visibility::Open && was.visibility != Visibility::Open;
    if opens || was.organization_access_role != *given {
        acting.may_give(given)?;
    }
    let (old, new): (BTreeSet<&ItemGrant>, BTreeSet<&ItemGrant>) =
        (was.grants.iter().collect(), is.grants.iter().collect());
    let given: Vec<&ItemGrant> = new.difference(&old).copied().collect();
    require_subjects(write, &acting.scene, given.iter().copied()).await?;
    for role in roles(new.symmetric_difference(&old).copied()) {
        acting.may_give(role)?;
    }
    for ItemGrant { subject, role, expire_time, .. } in given {
        acting.may_prolong(subject, role, *expire_time)?;
    }
    Ok(())
}
