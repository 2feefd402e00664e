//! Compiles an organization that comes part by part, or all at once: the same road.

use std::collections::BTreeSet;

use crate::domain::fact::{
    FactsPart, GrantFact, MembershipFact, OrganizationFacts, PortfolioFact, RoleFact, StandingFact,
};
use crate::domain::{OrganizationId, PortfolioId, RoleKey, Subject};

use super::global::Global;
use super::links::Link;
use super::party::{Closure, Group, Party, Who};
use super::period::Period;
use super::portfolio::{Granted, NOWHERE, Portfolio, Settings};
use super::snapshot::{Shelf, Snapshot};

/// An organization that is being compiled. What is added is at once in its final, small form; only
/// who is in which group, and who has which portfolios, waits for the end, since nobody can say
/// before how much room that takes.
#[derive(Debug)]
pub struct Compiler {
    snapshot: Snapshot,
    roles: Vec<RoleFact>,
    /// Who is in which group.
    memberships: Vec<(Who, u32)>,
    /// What the portfolios point to, in bytes.
    portfolio_bytes: usize,
}

impl Compiler {
    /// Begins with nothing known of the organization.
    #[must_use]
    pub fn new(organization: OrganizationId) -> Self {
        let snapshot = Snapshot::empty(organization);
        Self { snapshot, roles: Vec::new(), memberships: Vec::new(), portfolio_bytes: 0 }
    }

    /// Takes a part of the facts.
    pub fn add(&mut self, part: FactsPart) {
        self.roles.extend(part.roles);
        part.standings.into_iter().for_each(|fact| self.add_standing(fact));
        for MembershipFact { group, member } in part.memberships {
            let member = self.snapshot.number(member);
            self.add_membership(member, Subject::Group(group));
        }
        part.portfolios.into_iter().for_each(|fact| self.add_portfolio(fact));
        part.items
            .into_iter()
            .for_each(|fact| self.snapshot.put_item(&fact.key.clone(), Some(fact)));
    }

    /// An estimate of the memory held so far, as [`Snapshot::bytes`].
    #[must_use]
    pub fn bytes(&self) -> usize {
        let waiting = self.memberships.capacity() * size_of::<(Who, u32)>();
        self.snapshot.bytes() + self.portfolio_bytes + waiting
    }

    /// The snapshot, when every part has been taken.
    #[must_use]
    pub fn finish(mut self, global: &Global) -> Snapshot {
        for fact in std::mem::take(&mut self.roles) {
            self.snapshot.put_role(&fact.key.clone(), Some(fact), global);
        }
        self.snapshot.pointed_to += self.portfolio_bytes;
        self.order();
        self.link_groups();
        self.link_people();
        let mut snapshot = self.snapshot;
        snapshot.refresh_closures((0..).take(snapshot.groups.len()).collect());
        snapshot.note_viewer();
        snapshot.pointed_to += snapshot.people.iter().map(Party::bytes).sum::<usize>()
            + snapshot.groups.iter().map(Group::bytes).sum::<usize>();
        snapshot
    }

    fn add_standing(&mut self, fact: StandingFact) {
        let who = self.snapshot.number(fact.subject);
        if let Some(party) = self.snapshot.party_mut(who) {
            party.standing = fact.standing;
            party.active = fact.active;
        }
    }

    fn add_membership(&mut self, member: Who, group: Subject) {
        if let Some(group) = self.snapshot.number(group).as_group() {
            self.memberships.push((member, group));
        }
    }

    fn add_portfolio(&mut self, fact: PortfolioFact) {
        let (id, portfolio, link) = self.snapshot.compiled(fact);
        let number = self.snapshot.portfolio_number(id);
        self.portfolio_bytes += portfolio.bytes();
        if let Some(place) = self.snapshot.portfolios.get_mut(number as usize) {
            *place = Some(portfolio);
        }
        if let Some(link) = link {
            self.snapshot.links.insert(number, link);
        }
    }

    /// Puts the portfolios in order, and on their shelves; follows the links.
    fn order(&mut self) {
        let snapshot = &mut self.snapshot;
        for (id, number) in snapshot.portfolio_names.keys().zip(0..) {
            // Of one that others are linked to nothing else may be known.
            let portfolio = snapshot.portfolios.get(number as usize).and_then(Option::as_ref);
            let Some(portfolio) = portfolio else { continue };
            snapshot.order.insert(id.clone(), number);
            if let Some(shelf) = Shelf::of(portfolio.settings) {
                snapshot.shelves.entry(shelf).or_default().insert(id.clone(), number);
            } else if let Settings::Linked { root } = portfolio.settings {
                snapshot.followers.entry(root).or_default().insert(id.clone(), number);
            }
        }
        for number in snapshot.links.keys().copied().collect::<Vec<u32>>() {
            snapshot.relink(number);
        }
    }

    fn link_groups(&mut self) {
        let snapshot = &mut self.snapshot;
        let memberships = &self.memberships;
        let count = snapshot.groups.len();
        let of_groups = || memberships.iter().filter_map(|(it, in_)| Some((it.as_group()?, *in_)));
        let parents = Lists::gather(count, of_groups);
        let portfolios = Lists::gather(count, || {
            snapshot.namings().filter_map(|(who, portfolio)| Some((who.as_group()?, portfolio)))
        });
        let of_people = || memberships.iter().filter_map(|(it, in_)| Some((*in_, it.as_person()?)));
        let mut members = Lists::gather(count, of_people);
        let mut children = Lists::gather(count, || of_groups().map(|(child, of)| (of, child)));
        for number in 0..count {
            if let Some(group) = snapshot.groups.get_mut(number) {
                group.party.link(parents.of(number), portfolios.of(number));
                group.members = members.sorted(number).into();
                group.children = children.sorted(number).into();
            }
        }
    }

    fn link_people(&mut self) {
        let snapshot = &mut self.snapshot;
        let count = snapshot.people.len();
        let memberships = std::mem::take(&mut self.memberships);
        let groups = Lists::gather(count, || {
            memberships.iter().filter_map(|(it, in_)| Some((it.as_person()?, *in_)))
        });
        drop(memberships);
        let portfolios = Lists::gather(count, || {
            snapshot.namings().filter_map(|(who, portfolio)| Some((who.as_person()?, portfolio)))
        });
        let mut administrators = BTreeSet::new();
        for (number, place) in (0..).zip(0..count) {
            if let Some(party) = snapshot.people.get_mut(place) {
                party.link(groups.of(place), portfolios.of(place));
                if party.standing.is_administrator() {
                    administrators.insert(number);
                }
            }
        }
        snapshot.administrators = administrators.into();
    }
}

impl Snapshot {
    /// Compiles an organization's facts, all of them or as many as a question needs.
    #[must_use]
    pub fn compile(facts: OrganizationFacts, global: &Global) -> Self {
        let mut compiler = Compiler::new(facts.organization);
        compiler.roles = facts.roles;
        for fact in facts.subjects {
            let (standing, active) = (fact.standing, fact.active);
            let member = compiler.snapshot.number(fact.subject.clone());
            compiler.add_standing(StandingFact { subject: fact.subject, standing, active });
            for group in fact.groups {
                compiler.add_membership(member, Subject::Group(group));
            }
        }
        facts.portfolios.into_iter().for_each(|fact| compiler.add_portfolio(fact));
        for fact in facts.items {
            compiler.snapshot.put_item(&fact.key.clone(), Some(fact));
        }
        compiler.finish(global)
    }

    /// Whom the grants of each portfolio name, by portfolio id.
    fn namings(&self) -> impl Iterator<Item = (Who, u32)> {
        self.order.values().flat_map(|number| {
            let named = self.portfolio_of(*number).into_iter().flat_map(Portfolio::named);
            named.map(|who| (who, *number))
        })
    }

    /// The number of a subject, which it gets now if it has none.
    pub(super) fn number(&mut self, subject: Subject) -> Who {
        if let Some(known) = self.who(&subject) {
            return known;
        }
        let text = subject.id().len();
        if matches!(subject, Subject::Group(_)) {
            let number = self.group_names.push(subject, text);
            self.groups.push(Group::default());
            self.closures.push(Closure::of(&[number]));
            Who::group(number)
        } else {
            let number = self.people_names.push(subject, text);
            self.people.push(Party::default());
            Who::person(number)
        }
    }

    pub(super) fn portfolio_number(&mut self, id: PortfolioId) -> u32 {
        if let Some(known) = self.portfolio_names.find(&id) {
            return known;
        }
        let text = id.as_str().len();
        self.portfolios.push(None);
        self.portfolio_names.push(id, text)
    }

    pub(super) fn party_mut(&mut self, who: Who) -> Option<&mut Party> {
        match who.as_group() {
            Some(group) => self.groups.get_mut(group as usize).map(|group| &mut group.party),
            None => self.people.get_mut(who.as_person()? as usize),
        }
    }

    /// A portfolio's fact with numbers for names. A linked one leads nowhere as yet.
    pub(super) fn compiled(
        &mut self,
        fact: PortfolioFact,
    ) -> (PortfolioId, Portfolio, Option<Link>) {
        let PortfolioFact { id, link, visibility, organization_access_role, archived, grants } =
            fact;
        let mut grants: Vec<Granted> =
            grants.into_iter().map(|grant| self.granted(grant)).collect();
        let Some(parent) = link else {
            let access_role = self.role_number(&organization_access_role);
            let settings = Settings::Own { visibility, access_role };
            return (id, Portfolio::new(settings, archived, grants), None);
        };
        // Owners are people.
        grants.retain(|grant| grant.subject.as_person().is_some());
        grants.truncate(1);
        let link = Link { parent: self.portfolio_number(parent), owner: grants.first().copied() };
        let settings = Settings::Linked { root: NOWHERE };
        (id, Portfolio::new(settings, archived, grants), Some(link))
    }

    pub(super) fn granted(&mut self, grant: GrantFact) -> Granted {
        let period = Period::of(&grant);
        let role = self.role_number(&grant.role);
        Granted { subject: self.number(grant.subject), role, period }
    }

    pub(super) fn role_number(&mut self, key: &RoleKey) -> u32 {
        match self.role_names.find(key) {
            Some(known) => known,
            None => self.add_role(key),
        }
    }
}

/// Many lists in one: for each owner its entries, in the order in which they came.
struct Lists {
    /// Where the owner's entries end, and the next one's begin.
    ends: Vec<usize>,
    entries: Vec<u32>,
}

impl Lists {
    /// Goes through the pairs of owner and entry twice: to count, and to fill.
    fn gather<I: Iterator<Item = (u32, u32)>>(owners: usize, pairs: impl Fn() -> I) -> Self {
        let mut ends = vec![0; owners];
        for (owner, _) in pairs() {
            if let Some(count) = ends.get_mut(owner as usize) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for place in &mut ends {
            let count = std::mem::replace(place, sum);
            sum += count;
        }
        let mut entries = vec![0; sum];
        for (owner, entry) in pairs() {
            let Some(end) = ends.get_mut(owner as usize) else { continue };
            if let Some(place) = entries.get_mut(*end) {
                *place = entry;
            }
            *end += 1;
        }
        Self { ends, entries }
    }

    fn of(&self, owner: usize) -> &[u32] {
        self.entries.get(self.range(owner)).unwrap_or_default()
    }

    fn sorted(&mut self, owner: usize) -> &[u32] {
        let range = self.range(owner);
        let Some(entries) = self.entries.get_mut(range) else { return &[] };
        entries.sort_unstable();
        entries
    }

    fn range(&self, owner: usize) -> std::ops::Range<usize> {
        let end = |owner: usize| self.ends.get(owner).copied().unwrap_or(0);
        owner.checked_sub(1).map_or(0, end)..end(owner)
    }
}
