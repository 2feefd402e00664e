//! Decisions about registered items (ACC-5): what independent ones are decided by, and the items of
//! an organization, compiled.

use std::sync::Arc;

use crate::domain::fact::{ItemFact, ItemSettings};
use crate::domain::permission::{PORTFOLIO_VIEW, Permission};
use crate::domain::{ItemKey, PortfolioId, Subject, Timestamp};

use super::check::{Asked, Decision, Query, Reason, deactivated};
use super::evaluation::Evaluation;
use super::global::Global;
use super::names::{Names, heap};
use super::pages::Pages;
use super::portfolio::{Portfolio, Settings};
use super::snapshot::Snapshot;
use super::source::Reached;

/// What an entry of a tree of items takes: its key, its number, and room that is not used.
const ENTRY: usize = 64;

/// An item, compiled.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The portfolios that show it, sorted.
    portfolios: Arc<[PortfolioId]>,
    pub author: Option<Subject>,
    pub archived: bool,
    /// Its own settings, of the shape of a portfolio's; none: it follows its portfolio.
    pub settings: Option<Portfolio>,
}

/// The items of an organization. Persistent, as all of a snapshot.
///
/// INVARIANT (shown): an item is among those of exactly the portfolios that show it.
#[derive(Clone, Debug, Default)]
pub(super) struct Items {
    names: Names<ItemKey>,
    /// None: it was there, and may come back.
    items: Pages<Option<Item>, 32>,
    /// What portfolios show, in the order of lists.
    shown: imbl::OrdMap<PortfolioId, Shown>,
    /// What the items point to, and how many entries the lists have.
    pointed_to: usize,
    listed: usize,
}

/// Items in the order of lists, and their numbers.
pub(super) type Shown = imbl::OrdMap<ItemKey, u32>;

// === impl Item ===

impl Item {
    pub fn portfolios(&self) -> &[PortfolioId] {
        &self.portfolios
    }

    pub fn is_shown_by(&self, portfolio: &str) -> bool {
        self.portfolios.binary_search_by(|id| id.as_str().cmp(portfolio)).is_ok()
    }

    /// Who made the thing that is acted on (ACC-4). If the permission is one on things of the
    /// item's type, that is the item, and who is recorded wins over who is named. Otherwise it is
    /// something in the item, of which nothing is recorded.
    pub fn author_for<'a>(
        &'a self,
        key: &ItemKey,
        permission: &Permission,
        named: Option<&'a Subject>,
    ) -> Option<&'a Subject> {
        let noun = permission.name.as_str().split_once('.').map(|(noun, _)| noun);
        if noun == Some(key.item_type.as_str()) { self.author.as_ref().or(named) } else { named }
    }

    /// Whether it is archived and the permission therefore nobody's on it (VIS-8).
    pub fn is_halted(&self, permission: &Permission) -> bool {
        self.archived && permission.is_halted_by_archiving()
    }

    fn bytes(&self) -> usize {
        let shown = heap(16 + size_of_val(&*self.portfolios));
        shown + self.settings.as_ref().map_or(0, Portfolio::bytes)
    }
}

// === impl Items ===

impl Items {
    pub fn bytes(&self) -> usize {
        self.names.bytes() + self.items.bytes() + self.pointed_to + ENTRY * self.listed
    }

    pub fn of(&self, number: u32) -> Option<&Item> {
        self.items.get(number as usize)?.as_ref()
    }

    pub fn shown_by(&self, portfolio: &str) -> Option<&Shown> {
        self.shown.get(portfolio)
    }

    fn number(&mut self, key: &ItemKey) -> u32 {
        if let Some(known) = self.names.find(key) {
            return known;
        }
        self.items.push(None);
        self.names.push(key.clone(), key.len())
    }

    fn put(&mut self, key: &ItemKey, next: Option<Item>) {
        let number = self.number(key);
        let bytes = |item: &Option<Item>| item.as_ref().map_or(0, Item::bytes);
        let Some(place) = self.items.get_mut(number as usize) else { return };
        self.pointed_to += bytes(&next);
        let before = std::mem::replace(place, next);
        self.pointed_to -= bytes(&before);
        for portfolio in before.iter().flat_map(|item| item.portfolios.iter()) {
            self.hide(portfolio, key);
        }
        let shown = self.of(number).map(|item| Arc::clone(&item.portfolios));
        for portfolio in shown.iter().flat_map(|portfolios| portfolios.iter()) {
            let items = self.shown.entry(portfolio.clone()).or_default();
            items.insert(key.clone(), number);
            self.listed += 1;
        }
    }

    fn hide(&mut self, portfolio: &PortfolioId, key: &ItemKey) {
        let Some(items) = self.shown.get_mut(portfolio) else { return };
        if items.remove(key).is_some() {
            self.listed -= 1;
        }
        if items.is_empty() {
            self.shown.remove(portfolio);
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    pub(super) fn item(&self, key: &ItemKey) -> Option<(&ItemKey, &Item)> {
        let number = self.items.names.find(key)?;
        Some((self.items.names.key(number)?, self.items.of(number)?))
    }

    pub(super) fn put_item(&mut self, key: &ItemKey, fact: Option<ItemFact>) {
        if fact.is_none() && self.items.names.find(key).is_none() {
            return;
        }
        let item = fact.map(|fact| {
            let mut portfolios = fact.portfolios;
            portfolios.sort_unstable();
            Item {
                portfolios: portfolios.into(),
                author: fact.author,
                archived: fact.archived,
                settings: fact.settings.map(|settings| self.settings(settings)),
            }
        });
        self.items.put(key, item);
    }

    fn settings(&mut self, settings: ItemSettings) -> Portfolio {
        let access_role = self.role_number(&settings.organization_access_role);
        let grants = settings.grants.into_iter().map(|grant| self.granted(grant)).collect();
        // Whether the item is archived it says itself.
        let settings = Settings::Own { visibility: settings.visibility, access_role };
        Portfolio::new(settings, false, grants)
    }
}

// === impl Asked ===

impl Asked<'_> {
    /// As `decide_on`, about a registered item.
    pub(super) fn decide_on_item(
        &self,
        global: &Global,
        portfolio: Option<&Portfolio>,
        (key, item): (&ItemKey, &Item),
        query: &Query<'_>,
    ) -> Decision {
        let Some(portfolio) = portfolio else {
            return Decision::denied(Reason::PortfolioUnknown);
        };
        if !item.is_shown_by(query.portfolio) {
            return Decision::denied(Reason::ItemUnknown);
        }
        let Some(reached) = &self.reached else {
            return Decision::denied(Reason::SubjectUnknown);
        };
        if self.deactivated {
            let effective = self.snapshot.effective(portfolio);
            return Decision::denied(deactivated(effective, reached.subject));
        }
        let author = item.author_for(key, self.permission, query.author);
        let authorship = author.map(|author| author == self.subject);
        let halted = self.is_halted(portfolio)
            || (item.is_halted(self.permission) && !self.ignoring_archived);
        let Some(settings) = &item.settings else {
            return self.weigh_all(self.permission, portfolio, (authorship, query.at, halted));
        };
        let both = Both {
            asked: self,
            view: global.permission(PORTFOLIO_VIEW),
            portfolio,
            reached,
            settings,
            authorship,
            halted,
        };
        both.decide(query.at)
    }

    fn weigh_all(
        &self,
        permission: &Permission,
        portfolio: &Portfolio,
        (authorship, at, halted): (Option<bool>, Timestamp, bool),
    ) -> Decision {
        let Some(reached) = &self.reached else {
            return Decision::denied(Reason::SubjectUnknown);
        };
        Evaluation::new(permission, reached.subject, authorship, at, halted)
            .decide_by(self.snapshot.sources(portfolio, reached))
    }
}

/// A question about an independent item: its own settings have to allow it, **and** the portfolio
/// has to be seen by the subject (ACC-5).
struct Both<'a> {
    asked: &'a Asked<'a>,
    /// The entry of `portfolio.view`; a catalogue without it lets nobody see anything.
    view: Option<&'a Permission>,
    portfolio: &'a Portfolio,
    reached: &'a Reached<'a>,
    settings: &'a Portfolio,
    authorship: Option<bool>,
    halted: bool,
}

impl Both<'_> {
    fn decide(&self, at: Timestamp) -> Decision {
        let (seen, itself) = (self.seen(at), self.itself(at));
        if seen.allowed && itself.allowed {
            return Decision { hold_until: earliest(&seen, &itself), ..itself };
        }
        let reason = if seen.allowed { of_item(itself.reason) } else { seen.reason };
        Decision { allowed: false, reason, hold_until: self.allowed_from(seen, itself) }
    }

    /// When both are first allowed at the same time: from boundary to boundary, as long as there is
    /// one. Every step goes on to a later one, and there are two to a grant.
    fn allowed_from(&self, mut seen: Decision, mut itself: Decision) -> Option<Timestamp> {
        loop {
            let at = match (seen.allowed, itself.allowed) {
                (false, false) => seen.hold_until?.max(itself.hold_until?),
                (false, true) => seen.hold_until?,
                (true, false) => itself.hold_until?,
                (true, true) => return None,
            };
            (seen, itself) = (self.seen(at), self.itself(at));
            if seen.allowed && itself.allowed {
                return Some(at);
            }
        }
    }

    fn seen(&self, at: Timestamp) -> Decision {
        match self.view {
            Some(view) => self.asked.weigh_all(view, self.portfolio, (None, at, false)),
            None => Decision::denied(Reason::NoAccess),
        }
    }

    fn itself(&self, at: Timestamp) -> Decision {
        let Self { asked, reached, settings, authorship, halted, .. } = self;
        Evaluation::new(asked.permission, reached.subject, *authorship, at, *halted)
            .decide_by(asked.snapshot.settings_sources(settings, reached))
    }
}

fn earliest(one: &Decision, other: &Decision) -> Option<Timestamp> {
    one.hold_until.into_iter().chain(other.hold_until).min()
}

/// Why an independent item itself denies something to somebody who sees its portfolio.
pub(super) fn of_item(reason: Reason) -> Reason {
    match reason {
        Reason::NoAccess | Reason::PermissionMissing | Reason::SubjectUnknown => {
            Reason::ItemNoAccess
        }
        other => other,
    }
}
