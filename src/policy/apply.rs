//! From a snapshot and some changed facts to the next snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::fact::{OrganizationChanges, PortfolioFact, RoleFact, SubjectFact};
use crate::domain::role::VIEWER;
use crate::domain::{PortfolioId, RoleKey, Subject};

use super::global::Global;
use super::party::{Closure, Group, Party, Who};
use super::portfolio::{NOWHERE, Portfolio, Settings};
use super::role::Role;
use super::snapshot::{Ordered, Shelf, Snapshot};

/// What is to be looked at again when everything that a change names is in its place: lists are
/// rebuilt once, however many of their entries have changed.
#[derive(Default)]
struct Touched {
    /// The groups that are in other groups now.
    moved: BTreeSet<u32>,
    /// Who is in this group, or was.
    members: BTreeSet<(u32, Who)>,
    /// Whom this portfolio names, or did.
    portfolios: BTreeSet<(Who, u32)>,
    /// The roots of chains that have become others, or `NOWHERE`.
    roots: BTreeSet<u32>,
}

impl Snapshot {
    /// These facts with some of them changed; of several changes of one fact the last counts. Costs
    /// what the change names, the length of the lists that it is in (the members of a group, the
    /// portfolios of a subject), and for a group that moved the groups below it; the rest is shared
    /// with this snapshot.
    #[must_use]
    pub fn apply(&self, changes: OrganizationChanges, global: &Global) -> Self {
        let mut next = self.clone();
        next.change(changes, global);
        next
    }

    fn change(&mut self, changes: OrganizationChanges, global: &Global) {
        for (key, fact) in changes.roles {
            self.put_role(&key, fact, global);
        }
        self.note_viewer();
        let mut touched = Touched::default();
        for (subject, fact) in changes.subjects {
            self.put_subject(subject, fact, &mut touched);
        }
        for (id, fact) in changes.portfolios {
            self.put_portfolio(id, fact, &mut touched);
        }
        self.relink_followers(&mut touched);
        for (key, fact) in changes.items {
            self.put_item(&key, fact);
        }
        self.relist_members(&touched.members);
        self.relist_portfolios(touched.portfolios);
        self.refresh_closures(touched.moved);
    }

    // --- roles ---

    pub(super) fn put_role(&mut self, key: &RoleKey, fact: Option<RoleFact>, global: &Global) {
        let id = self.role_number(key);
        let role = match fact {
            Some(fact) => Role::compile(key.clone(), fact.table, global),
            None => Role::undefined(key.clone()),
        };
        if let Some(place) = Arc::make_mut(&mut self.roles).get_mut(id as usize) {
            self.pointed_to = self.pointed_to - place.weight() + role.weight();
            *place = Arc::new(role);
        }
    }

    /// Numbers a role that nobody has named before.
    pub(super) fn add_role(&mut self, key: &RoleKey) -> u32 {
        let role = Role::undefined(key.clone());
        self.pointed_to += role.weight();
        Arc::make_mut(&mut self.roles).push(Arc::new(role));
        self.role_names.push(key.clone(), key.as_str().len())
    }

    pub(super) fn note_viewer(&mut self) {
        let viewer = self.role_names.find(VIEWER).and_then(|id| self.roles.get(id as usize));
        if let Some(viewer) = viewer {
            self.viewer = Arc::clone(viewer);
        }
    }

    // --- subjects ---

    fn put_subject(&mut self, subject: Subject, fact: Option<SubjectFact>, touched: &mut Touched) {
        if fact.is_none() && self.who(&subject).is_none() {
            return;
        }
        let who = self.number(subject);
        let (standing, active, groups) = fact.map_or_else(
            || (Party::default().standing, true, Vec::new()),
            |fact| (fact.standing, fact.active, fact.groups),
        );
        let groups = groups.into_iter().map(|group| self.number(Subject::Group(group)));
        let groups: Vec<u32> = groups.filter_map(Who::as_group).collect();
        let before = self.party(who).map(Party::groups).unwrap_or_default();
        let left = before.iter().filter(|group| !groups.contains(group));
        let joined = groups.iter().filter(|group| !before.contains(group));
        touched.members.extend(left.chain(joined).map(|group| (*group, who)));
        match who.as_group() {
            Some(group) => {
                touched.moved.insert(group);
            }
            None => self.note_administrator(who, standing.is_administrator()),
        }
        self.edit(who, |party| {
            party.standing = standing;
            party.active = active;
            let portfolios = party.portfolios().to_vec();
            party.link(&groups, &portfolios);
        });
    }

    fn note_administrator(&mut self, who: Who, is_administrator: bool) {
        let Some(number) = who.as_person() else { return };
        if is_administrator {
            self.administrators.insert(number);
        } else if self.administrators.contains(&number) {
            self.administrators.remove(&number);
        }
    }

    /// Writes down anew who is in these groups: whoever says so of themselves.
    fn relist_members(&mut self, touched: &BTreeSet<(u32, Who)>) {
        let mut members: BTreeMap<u32, Vec<(u32, bool)>> = BTreeMap::new();
        let mut children = members.clone();
        for (group, who) in touched {
            let stays = self.party(*who).is_some_and(|party| party.groups().contains(group));
            if let Some(person) = who.as_person() {
                members.entry(*group).or_default().push((person, stays));
            } else if let Some(child) = who.as_group() {
                children.entry(*group).or_default().push((child, stays));
            }
        }
        let comes_before = |a: u32, b: u32| a < b;
        for (group, changes) in members {
            self.edit_group(group, |it| it.members = patched(&it.members, &changes, comes_before));
        }
        for (group, changes) in children {
            self.edit_group(group, |it| {
                it.children = patched(&it.children, &changes, comes_before);
            });
        }
    }

    /// Computes anew what the groups that moved, and all groups below them, are in.
    pub(super) fn refresh_closures(&mut self, moved: BTreeSet<u32>) {
        let children = |id: u32| Some(self.group(id)?.children.as_ref());
        let parents = |id: u32| Some(self.group(id)?.party.groups());
        let below = reachable(moved, children);
        let closure = |id: u32| {
            let groups: Vec<u32> = reachable(BTreeSet::from([id]), parents).into_iter().collect();
            (id, Closure::of(&groups))
        };
        let closures: Vec<(u32, Closure)> = below.into_iter().map(closure).collect();
        for (id, closure) in closures {
            if let Some(place) = self.closures.get_mut(id as usize) {
                self.pointed_to = self.pointed_to - place.bytes() + closure.bytes();
                *place = closure;
            }
        }
    }

    fn edit(&mut self, who: Who, change: impl FnOnce(&mut Party)) {
        if let Some(party) = self.party_mut(who) {
            let before = party.bytes();
            change(party);
            let after = party.bytes();
            self.pointed_to = self.pointed_to - before + after;
        }
    }

    fn edit_group(&mut self, number: u32, change: impl FnOnce(&mut Group)) {
        if let Some(group) = self.groups.get_mut(number as usize) {
            let before = group.bytes();
            change(group);
            let after = group.bytes();
            self.pointed_to = self.pointed_to - before + after;
        }
    }

    // --- portfolios ---

    fn put_portfolio(
        &mut self,
        id: PortfolioId,
        fact: Option<PortfolioFact>,
        touched: &mut Touched,
    ) {
        if fact.is_none() && self.portfolio_names.find(&id).is_none() {
            return;
        }
        let number = self.portfolio_number(id.clone());
        let (next, link) = match fact.map(|fact| self.compiled(fact)) {
            Some((_, portfolio, link)) => (Some(portfolio), link),
            None => (None, None),
        };
        let was_linked = self.links.get(&number).copied();
        let Some(place) = self.portfolios.get_mut(number as usize) else { return };
        if let (Some(place), Some(next), true) =
            (place.as_mut(), next.as_ref(), link.is_some() && link == was_linked)
        {
            // What it is by itself has not changed, and so neither has what it takes from others.
            place.archived = next.archived;
            return;
        }
        let before = std::mem::replace(place, next.clone());
        let named = |it: &Option<Portfolio>| -> BTreeSet<Who> {
            it.iter().flat_map(Portfolio::named).collect()
        };
        let changed = &named(&before) ^ &named(&next);
        touched.portfolios.extend(changed.into_iter().map(|who| (who, number)));
        let bytes = |it: &Option<Portfolio>| it.as_ref().map_or(0, Portfolio::bytes);
        self.pointed_to = self.pointed_to - bytes(&before) + bytes(&next);
        let settings = |it: &Option<Portfolio>| it.as_ref().map(|it| it.settings);
        self.reshelve(&id, number, settings(&before), settings(&next));
        match link {
            Some(link) => self.links.insert(number, link),
            None => was_linked.and_then(|_| self.links.remove(&number)),
        };
        match settings(&before) {
            Some(Settings::Linked { root }) => touched.roots.insert(root),
            Some(Settings::Own { .. }) if next.is_some() && link.is_none() => false,
            Some(Settings::Own { .. }) | None => touched.roots.insert(number),
        };
        match (before.is_some(), next.is_some()) {
            (false, true) => {
                self.order.insert(id, number);
            }
            (true, false) => {
                self.order.remove(&id);
            }
            _ => {}
        }
    }

    /// Puts a portfolio where its settings say, and those that follow it too.
    fn reshelve(
        &mut self,
        id: &PortfolioId,
        number: u32,
        before: Option<Settings>,
        next: Option<Settings>,
    ) {
        if let Some(Settings::Linked { root }) = before {
            self.unfollow(id, number, root);
        }
        let own = |it: Option<Settings>| it.and_then(Shelf::of);
        let (from, to) = (own(before), own(next));
        self.shelve(id, number, from, to);
        if from != to
            && let Some(followers) = self.followers.get(&number).cloned()
        {
            for (id, number) in &followers {
                self.shelve(id, *number, from, to);
            }
        }
        if let Some(Settings::Linked { root }) = next {
            self.follow(id, number, root);
        }
    }

    /// Looks anew along every chain that may have become another.
    fn relink_followers(&mut self, touched: &mut Touched) {
        if touched.roots.is_empty() {
            return;
        }
        touched.roots.insert(NOWHERE);
        let followers = touched.roots.iter().filter_map(|root| self.followers.get(root));
        let numbers: BTreeSet<u32> = followers.flat_map(Ordered::values).copied().collect();
        for number in numbers {
            let changed = self.relink(number);
            touched.portfolios.extend(changed.into_iter().map(|who| (who, number)));
        }
    }

    pub(super) fn shelve(
        &mut self,
        id: &PortfolioId,
        number: u32,
        from: Option<Shelf>,
        to: Option<Shelf>,
    ) {
        if from == to {
            return;
        }
        if let Some(shelf) = from
            && let Some(others) = self.shelves.get_mut(&shelf)
        {
            others.remove(id);
            if others.is_empty() {
                self.shelves.remove(&shelf);
            }
        }
        if let Some(shelf) = to {
            self.shelves.entry(shelf).or_default().insert(id.clone(), number);
        }
    }

    /// Writes down anew which portfolios name these subjects: whichever do.
    fn relist_portfolios(&mut self, touched: BTreeSet<(Who, u32)>) {
        let mut changes: BTreeMap<Who, Vec<(u32, bool)>> = BTreeMap::new();
        for (who, number) in touched {
            let stays = self.portfolio_of(number).is_some_and(|it| it.names(who));
            changes.entry(who).or_default().push((number, stays));
        }
        for (who, mut changes) in changes {
            let names = &self.portfolio_names;
            changes.sort_unstable_by_key(|(number, _)| names.key(*number));
            let Some(party) = self.party(who) else { continue };
            let comes_before = |a, b| names.key(a) < names.key(b);
            let groups = party.groups().to_vec();
            let portfolios = patched(party.portfolios(), &changes, comes_before);
            self.edit(who, |party| party.link(&groups, &portfolios));
        }
    }
}

/// A sorted list with some entries changed, which are sorted too: whether each is in it now.
fn patched(
    list: &[u32],
    changes: &[(u32, bool)],
    comes_before: impl Fn(u32, u32) -> bool,
) -> Arc<[u32]> {
    let mut patched = Vec::with_capacity(list.len() + changes.len());
    let mut rest = list;
    for (entry, stays) in changes {
        let place = rest.partition_point(|other| comes_before(*other, *entry));
        let (before, behind) = rest.split_at(place);
        patched.extend_from_slice(before);
        patched.extend(stays.then_some(entry));
        rest = behind.strip_prefix(&[*entry]).unwrap_or(behind);
    }
    patched.extend_from_slice(rest);
    patched.into()
}

/// Everything that is reached from the start along the edges, the start included. Ends on any
/// input: facts with a cycle cannot be stored (DIR-4), but a hang would be a poor answer to one.
pub(super) fn reachable<'a>(
    start: BTreeSet<u32>,
    edges: impl Fn(u32) -> Option<&'a [u32]>,
) -> BTreeSet<u32> {
    let mut open: Vec<u32> = start.iter().copied().collect();
    let mut seen = start;
    while let Some(id) = open.pop() {
        for next in edges(id).unwrap_or_default() {
            if seen.insert(*next) {
                open.push(*next);
            }
        }
    }
    seen
}
