//! Portfolios that use the access settings of another (INH-1).

use std::collections::BTreeSet;

use crate::domain::PortfolioId;
use crate::domain::access_settings::Visibility;
use crate::domain::portfolio::MOST_LINKS;

use super::party::Who;
use super::portfolio::{Granted, NOWHERE, Portfolio, Settings};
use super::snapshot::{Shelf, Snapshot};

/// What a linked portfolio is by itself: all that its place in a chain is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Link {
    /// The portfolio that it is linked to.
    pub parent: u32,
    /// Its own ownership, if it has an owner.
    pub owner: Option<Granted>,
}

/// What is in force on a portfolio: settings and grants, its own or those of the root of its chain,
/// and the owners along the way there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effective<'a> {
    /// None if it is not linked: then its owner's grant is among those of the settings.
    pub owners: Option<&'a Portfolio>,
    pub settings: &'a Portfolio,
}

impl<'a> Effective<'a> {
    pub fn visibility(self) -> Visibility {
        match self.settings.settings {
            Settings::Own { visibility, .. } => visibility,
            Settings::Linked { .. } => Visibility::Private,
        }
    }

    /// Every grant, in no order.
    pub fn grants(self) -> impl Iterator<Item = Granted> + use<'a> {
        self.owners.into_iter().flat_map(Portfolio::grants).chain(self.settings.grants())
    }

    /// Whom the grants name; those who own something along the way perhaps twice.
    pub fn named(self) -> impl Iterator<Item = Who> + use<'a> {
        self.owners.into_iter().flat_map(Portfolio::named).chain(self.settings.named())
    }

    pub fn names(self, subject: Who) -> bool {
        self.owners.is_some_and(|owners| owners.names(subject)) || self.settings.names(subject)
    }
}

impl Snapshot {
    /// What is in force on a portfolio. However long the chain is, it takes one look at its root.
    /// Of a chain that leads nowhere the owners are left, who are granted on the portfolio itself.
    #[inline]
    pub(super) fn effective<'a>(&'a self, portfolio: &'a Portfolio) -> Effective<'a> {
        let alone = Effective { owners: None, settings: portfolio };
        match portfolio.settings {
            Settings::Own { .. } => alone,
            Settings::Linked { root } => self
                .portfolio_of(root)
                .map_or(alone, |settings| Effective { owners: Some(portfolio), settings }),
        }
    }

    /// The portfolios along the chain with what each is by itself, the given one first, and at last
    /// the root, which is no link.
    pub(super) fn link_chain(&self, number: u32) -> impl Iterator<Item = (u32, Option<Link>)> {
        let step = |number: u32| (number, self.links.get(&number).copied());
        let above = move |(_, link): &(u32, Option<Link>)| link.map(|link| step(link.parent));
        std::iter::successors(Some(step(number)), above).take(MOST_LINKS + 1)
    }

    /// The portfolio whose settings are in force on this one: itself, or the root of its chain, if
    /// that has one.
    pub(super) fn root(&self, number: u32) -> Option<u32> {
        match self.portfolio_of(number)?.settings {
            Settings::Own { .. } => Some(number),
            Settings::Linked { root } => self.portfolio_of(root).map(|_| root),
        }
    }

    /// The portfolios above a linked one, up to that whose settings are in force.
    pub(super) fn links_of(&self, number: u32) -> Vec<PortfolioId> {
        let above = self.link_chain(number).skip(1);
        above.filter_map(|(number, _)| self.portfolio_names.key(number).cloned()).collect()
    }

    /// Where a portfolio is found by those without a grant: on its own shelf, or its root's.
    fn shelf_of(&self, number: u32) -> Option<Shelf> {
        Shelf::of(self.portfolio_of(number)?.settings)
    }

    /// Puts a linked portfolio among those of a root.
    pub(super) fn follow(&mut self, id: &PortfolioId, number: u32, root: u32) {
        self.followers.entry(root).or_default().insert(id.clone(), number);
        self.shelve(id, number, None, self.shelf_of(root));
    }

    /// Takes a linked portfolio from among those of a root.
    pub(super) fn unfollow(&mut self, id: &PortfolioId, number: u32, root: u32) {
        if let Some(others) = self.followers.get_mut(&root) {
            others.remove(id);
            if others.is_empty() {
                self.followers.remove(&root);
            }
        }
        self.shelve(id, number, self.shelf_of(root), None);
    }

    /// Looks along the chain of a linked portfolio anew: its root may be another, and so may the
    /// owners be. Says whom its grants name newly or no more.
    pub(super) fn relink(&mut self, number: u32) -> BTreeSet<Who> {
        let (mut root, mut owners) = (NOWHERE, Vec::new());
        for (number, link) in self.link_chain(number) {
            match link {
                Some(link) => owners.extend(link.owner),
                None if self.portfolio_of(number).is_some() => root = number,
                None => {}
            }
        }
        let place = self.portfolios.get(number as usize).and_then(Option::as_ref);
        let id = self.portfolio_names.key(number).cloned();
        let (Some(before), Some(id)) = (place.cloned(), id) else { return BTreeSet::new() };
        let Settings::Linked { root: last } = before.settings else { return BTreeSet::new() };
        let next = Portfolio::new(Settings::Linked { root }, before.archived, owners);
        if root != last {
            self.unfollow(&id, number, last);
            self.follow(&id, number, root);
        } else if before.grants().eq(next.grants()) {
            return BTreeSet::new();
        }
        let changed =
            &before.named().collect::<BTreeSet<Who>>() ^ &next.named().collect::<BTreeSet<Who>>();
        self.pointed_to = self.pointed_to - before.bytes() + next.bytes();
        if let Some(place) = self.portfolios.get_mut(number as usize) {
            *place = Some(next);
        }
        changed
    }
}
