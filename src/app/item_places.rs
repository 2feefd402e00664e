//! Which of the portfolios that show an item an actor is told of (VIS-4).

use std::collections::BTreeMap;

use super::authorize::Scene;
use crate::domain::item::Item;
use crate::domain::{OrganizationId, PortfolioId, Subject, Timestamp};
use crate::policy;
use crate::storage::facts::Question;
use crate::storage::{Error, Transaction};

/// Whether an actor may list the portfolios that show items of an organization. None of these
/// portfolios is deleted. Each is looked for once, however many items it shows.
#[derive(Debug)]
pub(super) struct Places<'a> {
    organization: &'a OrganizationId,
    /// None: the system, who may list all.
    actor: Option<&'a Subject>,
    at: Timestamp,
    found: BTreeMap<PortfolioId, bool>,
}

impl<'a> Places<'a> {
    pub fn new(
        organization: &'a OrganizationId,
        actor: Option<&'a Subject>,
        at: Timestamp,
    ) -> Self {
        Self { organization, actor, at, found: BTreeMap::new() }
    }

    /// The item, shown by just those portfolios that the actor may list.
    pub async fn told(
        &mut self,
        transaction: &mut Transaction,
        mut item: Item,
    ) -> Result<Item, Error> {
        let mut told = Vec::new();
        for portfolio in item.portfolios {
            if self.is_listed(transaction, &portfolio).await? {
                told.push(portfolio);
            }
        }
        item.portfolios = told;
        Ok(item)
    }

    async fn is_listed(
        &mut self,
        transaction: &mut Transaction,
        portfolio: &PortfolioId,
    ) -> Result<bool, Error> {
        let Self { organization, actor: Some(actor), at, .. } = *self else { return Ok(true) };
        if let Some(found) = self.found.get(portfolio) {
            return Ok(*found);
        }
        let subjects = std::slice::from_ref(actor);
        let question = Question { organization, portfolio: Some(portfolio), subjects };
        let Scene { global, snapshot, at } = Scene::load(transaction, &question, at).await?;
        let listed = policy::may_list(&global, &snapshot, actor, portfolio.as_str(), at);
        self.found.insert(portfolio.clone(), listed);
        Ok(listed)
    }
}
