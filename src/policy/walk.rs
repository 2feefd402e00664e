//! Which portfolios a list has to look at, in the order of their ids.

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeSet, BinaryHeap};
use std::hint::black_box;
use std::iter;
use std::ops::Bound;

use imbl::ordmap::RangedIter;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::domain::PortfolioId;

use super::party::Party;
use super::portfolio::Portfolio;
use super::snapshot::{Ordered, Resolved, Shelf, Snapshot};

/// How many portfolios are looked at in advance: about as many as most people have.
const AHEAD: usize = 16;

/// Goes along several lists of portfolios at once, each in the order of the ids, and yields each
/// portfolio once. A page costs what is on it, and in each list the way to where it begins.
pub(super) struct Walk<'a> {
    snapshot: &'a Snapshot,
    after: Option<PortfolioId>,
    lists: Vec<List<'a>>,
    /// The next of each list that has one.
    next: BinaryHeap<Next<'a>>,
    last: Option<u32>,
}

/// What is left of a list.
enum List<'a> {
    Numbers(std::slice::Iter<'a, u32>),
    Ordered(RangedIter<'a, PortfolioId, u32, DefaultSharedPtr>),
}

/// The next portfolio of a list. The heap's greatest is the one with the smallest id.
struct Next<'a> {
    id: &'a PortfolioId,
    number: u32,
    list: usize,
}

impl<'a> Walk<'a> {
    pub fn begin(snapshot: &'a Snapshot, after: Option<&PortfolioId>) -> Self {
        let after = after.cloned();
        Self { snapshot, after, lists: Vec::new(), next: BinaryHeap::new(), last: None }
    }

    /// All portfolios there are.
    pub fn add_all(&mut self) {
        self.add_ordered(&self.snapshot.order);
    }

    /// Those with a grant to the subject or to a group that it is in, in force or not, and those
    /// that are linked to them.
    pub fn add_granted(&mut self, subject: Resolved<'a>) {
        let mut groups: Vec<u32> = self.snapshot.closures(subject).flatten().copied().collect();
        groups.sort_unstable();
        groups.dedup();
        let groups = groups.into_iter().filter_map(|group| self.snapshot.group(group));
        let parties = iter::once(subject.party).chain(groups.map(|group| &group.party));
        if self.after.is_none() {
            self.look_ahead(subject.party.portfolios());
        }
        let mut roots = BTreeSet::new();
        for party in parties {
            self.add_numbers(party.portfolios());
            self.note_roots(party, &mut roots);
        }
        for followers in roots.iter().filter_map(|root| self.snapshot.followers.get(root)) {
            self.add_ordered(followers);
        }
    }

    /// Asks memory for the first of them at once. Most lists are short; to look at one portfolio
    /// after the other is to wait for each.
    fn look_ahead(&self, portfolios: &[u32]) {
        for number in portfolios.iter().take(AHEAD) {
            let id = self.snapshot.portfolio_names.key(*number);
            black_box(id.and_then(|id| id.as_str().bytes().next()));
            black_box(self.snapshot.portfolio_of(*number).and_then(|it| it.grants().next()));
        }
    }

    /// Notes which of somebody's portfolios others are linked to. Goes along whatever is shorter:
    /// the portfolios, or the roots; without any links that is nothing.
    fn note_roots(&self, party: &Party, roots: &mut BTreeSet<u32>) {
        let (portfolios, followers) = (party.portfolios(), &self.snapshot.followers);
        let id = |number: &u32| self.snapshot.portfolio_names.key(*number);
        if portfolios.len() <= followers.len() {
            roots.extend(portfolios.iter().filter(|number| followers.contains_key(*number)));
        } else {
            let is_theirs = |root: &&u32| portfolios.binary_search_by_key(&id(root), id).is_ok();
            roots.extend(followers.keys().filter(is_theirs));
        }
    }

    /// Those that somebody may see without a grant, as far as it is wanted what they give.
    pub fn add_shelves(&mut self, wanted: impl Fn(Shelf) -> bool) {
        for (_, portfolios) in self.snapshot.shelves.iter().filter(|(shelf, _)| wanted(**shelf)) {
            self.add_ordered(portfolios);
        }
    }

    fn add_numbers(&mut self, numbers: &'a [u32]) {
        let id = |number: &u32| self.snapshot.portfolio_names.key(*number);
        let begin = match &self.after {
            Some(after) => numbers.partition_point(|number| id(number) <= Some(after)),
            None => 0,
        };
        self.add(List::Numbers(numbers.get(begin..).unwrap_or_default().iter()));
    }

    fn add_ordered(&mut self, portfolios: &'a Ordered) {
        let begin = self.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let behind = portfolios.range::<_, PortfolioId>((begin, Bound::Unbounded));
        self.add(List::Ordered(behind));
    }

    fn add(&mut self, mut list: List<'a>) {
        if let Some((id, number)) = list.next(self.snapshot) {
            self.next.push(Next { id, number, list: self.lists.len() });
            self.lists.push(list);
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (&'a PortfolioId, &'a Portfolio);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut first = self.next.peek_mut()?;
            let (id, number, list) = (first.id, first.number, first.list);
            let following = self.lists.get_mut(list).and_then(|list| list.next(self.snapshot));
            match following {
                Some((id, number)) => *first = Next { id, number, list },
                None => drop(PeekMut::pop(first)),
            }
            if self.last.replace(number) == Some(number) {
                continue;
            }
            if let Some(portfolio) = self.snapshot.portfolio_of(number) {
                return Some((id, portfolio));
            }
        }
    }
}

impl<'a> List<'a> {
    fn next(&mut self, snapshot: &'a Snapshot) -> Option<(&'a PortfolioId, u32)> {
        match self {
            Self::Numbers(numbers) => {
                let number = *numbers.next()?;
                Some((snapshot.portfolio_names.key(number)?, number))
            }
            Self::Ordered(portfolios) => portfolios.next().map(|(id, number)| (id, *number)),
        }
    }
}

impl Ord for Next<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.id.cmp(self.id)
    }
}

impl PartialOrd for Next<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Next<'_> {}
