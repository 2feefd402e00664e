//! Who may do what to an item (ACC-5), decided on facts read in the transaction that acts.

use super::authorize::Scene;
use super::item_places::Places;
use super::{Failure, Transaction};
use crate::domain::caller::Principal;
use crate::domain::item::Item;
use crate::domain::permission::{ACCESS_MANAGE, PermissionName};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{ItemKey, OrganizationId, PortfolioId, RoleKey, Subject, Timestamp};
use crate::policy::{self, Holdings, Query};
use crate::storage::facts::Question;

/// What names an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemName {
    /// Whose.
    pub organization: OrganizationId,
    /// Which.
    pub key: ItemKey,
}

/// An item that the actor sees or manages.
#[derive(Debug)]
pub(super) struct ItemActing {
    pub scene: Scene,
    pub item: Item,
    pub actor: Option<Subject>,
    pub manages: bool,
}

impl ItemActing {
    /// Finds the item for the actor, or says that there is none. `others` are further subjects that
    /// the act is about.
    pub async fn on(
        transaction: &mut Transaction,
        principal: &Principal,
        at: Timestamp,
        name: &ItemName,
        others: &[Subject],
    ) -> Result<Self, Failure> {
        let ItemName { organization, key } = name;
        let reached = principal.caller.reaches(organization);
        let item = transaction.item(organization, key).await?.filter(|_| reached);
        let actor = principal.actor.subject();
        let subjects: Vec<Subject> = actor.iter().chain(others).cloned().collect();
        let portfolios = item.as_ref().map(|item| item.portfolios.clone()).unwrap_or_default();
        let question =
            Question { organization, portfolio: portfolios.first(), subjects: &subjects };
        let scene = Scene::load_with_item(transaction, &question, Some(key), at).await?;
        let Some(item) = item else { return Err(item_not_found(key).into()) };
        let mut found = Self { scene, item, actor, manages: true };
        let Some(actor) = found.actor.clone() else { return Ok(found) };
        let mut seen = false;
        found.manages = owns(&found.item, &actor);
        for (place, portfolio) in portfolios.iter().enumerate() {
            if found.manages {
                break;
            }
            let further = match place {
                0 => None,
                _ => Some(found.scene_on(transaction, &actor, portfolio).await?),
            };
            let scene = further.as_ref().unwrap_or(&found.scene);
            seen = seen || sees(scene, &actor, portfolio, key);
            found.manages = manages(scene, &found.item, &actor, portfolio);
        }
        if found.manages || seen { Ok(found) } else { Err(item_not_found(key).into()) }
    }

    /// The same, for those who manage it.
    pub async fn managing(
        transaction: &mut Transaction,
        principal: &Principal,
        at: Timestamp,
        name: &ItemName,
        others: &[Subject],
    ) -> Result<Self, Failure> {
        let found = Self::on(transaction, principal, at, name, others).await?;
        if found.manages {
            return Ok(found);
        }
        let key = &name.key;
        let message = format!(
            "this needs `{ACCESS_MANAGE}` on item `{key}`, or being its owner or its author"
        );
        Err(Refusal::new(Reason::PermissionMissing, message)
            .with("permission", ACCESS_MANAGE)
            .with("item", key)
            .into())
    }

    /// What is known of the actor on another portfolio that shows the item.
    async fn scene_on(
        &self,
        transaction: &mut Transaction,
        actor: &Subject,
        portfolio: &PortfolioId,
    ) -> Result<Scene, Failure> {
        let (organization, key) = (&self.item.organization, &self.item.key);
        let subjects = std::slice::from_ref(actor);
        let question = Question { organization, portfolio: Some(portfolio), subjects };
        Ok(Scene::load_with_item(transaction, &question, Some(key), self.scene.at).await?)
    }

    /// The portfolios that show items, as far as the actor may list them.
    pub fn places(&self) -> Places<'_> {
        Places::new(&self.item.organization, self.actor.as_ref(), self.scene.at)
    }

    fn held_by_actor(&self, at: Timestamp) -> Option<Holdings> {
        let actor = self.actor.as_ref()?;
        let Scene { global, snapshot, .. } = &self.scene;
        Some(policy::item_holdings(global, snapshot, actor, &self.item.key, at))
    }

    /// The ceiling (ROL-7): nobody gives or takes away a role that holds more than they do on the
    /// item.
    pub fn may_give(&self, role: &RoleKey) -> Result<(), Refusal> {
        let Some(held) = self.held_by_actor(self.scene.at) else { return Ok(()) };
        let given = self.holdings_of(role);
        let Err(excess) = held.covers(given.table()) else { return Ok(()) };
        let excess: Vec<&str> = excess.iter().map(PermissionName::as_str).collect();
        let excess = excess.join(", ");
        let message = format!("the role `{role}` holds more than you do on the item: {excess}");
        Err(Refusal::new(Reason::RoleAboveOwn, message)
            .with("role", role)
            .with("permissions", excess))
    }

    /// Nobody prolongs their own access (MEM-9): what the actor gives to themselves, or to a group
    /// they are in, they must hold without it just as long.
    pub fn may_prolong(
        &self,
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
        let held = self.held_by_actor(last).unwrap_or_default();
        if held.covers(self.holdings_of(role).table()).is_ok() {
            return Ok(());
        }
        let message = "nobody prolongs their own access; ask another who manages the item";
        Err(Refusal::new(Reason::OwnAccessProlonged, message).with("item", &self.item.key))
    }

    fn holdings_of(&self, role: &RoleKey) -> Holdings {
        let Scene { global, snapshot, .. } = &self.scene;
        policy::role_holdings(global, snapshot, role.as_str()).unwrap_or_default()
    }
}

/// Its owner, its author, and whoever may manage it on the portfolio.
pub(super) fn manages(
    scene: &Scene,
    item: &Item,
    actor: &Subject,
    portfolio: &PortfolioId,
) -> bool {
    let Scene { global, snapshot, at } = scene;
    let place = (&item.key, portfolio.as_str());
    owns(item, actor) || policy::manages_item(global, snapshot, actor, place, *at)
}

fn owns(item: &Item, actor: &Subject) -> bool {
    let owns = actor.user().is_some_and(|user| item.owner.as_ref() == Some(user));
    owns || item.author.as_ref() == Some(actor)
}

/// Whether a check lets the actor see the item on the portfolio.
pub(super) fn sees(scene: &Scene, actor: &Subject, portfolio: &PortfolioId, key: &ItemKey) -> bool {
    let query = Query {
        subject: actor,
        permission: key.view_permission(),
        portfolio: portfolio.as_str(),
        author: None,
        item: Some(key),
        at: scene.at,
    };
    policy::check(&scene.global, &scene.snapshot, &query).is_ok_and(|decision| decision.allowed)
}

/// No such item, or none that the actor may know of: one and the same.
pub(super) fn item_not_found(key: &ItemKey) -> Refusal {
    Refusal::new(Reason::ItemNotFound, format!("there is no item `{key}`")).with("item", key)
}
