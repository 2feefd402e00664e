//! The people and the groups of an organization, by number.

use std::sync::Arc;

use crate::domain::directory::Standing;

use super::names::heap;

/// A subject by its number. People (users and service accounts) and groups are numbered apart:
/// there are a hundred times fewer groups, and what every decision reads about them is to stay in
/// the processor's cache. People come first in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Who(u32);

const GROUP: u32 = 1 << 31;

impl Who {
    pub fn person(number: u32) -> Self {
        Self(number & !GROUP)
    }

    pub fn group(number: u32) -> Self {
        Self(number | GROUP)
    }

    /// Its number among the groups; none if it is a person.
    pub fn as_group(self) -> Option<u32> {
        (self.0 & GROUP != 0).then_some(self.0 & !GROUP)
    }

    /// Its number among the people; none if it is a group.
    pub fn as_person(self) -> Option<u32> {
        (self.0 & GROUP == 0).then_some(self.0)
    }

    pub fn word(self) -> u32 {
        self.0
    }

    pub fn from_word(word: u32) -> Self {
        Self(word)
    }
}

/// A subject, as the organization knows it.
#[derive(Clone, Debug)]
pub(super) struct Party {
    pub standing: Standing,
    pub active: bool,
    /// The groups that it is directly in; behind them the portfolios with a grant of its own.
    links: Arc<[u32]>,
    /// How many of the links are groups.
    groups: u32,
}

impl Default for Party {
    /// Someone of whom no fact says anything.
    fn default() -> Self {
        Self { standing: Standing::default(), active: true, links: Arc::default(), groups: 0 }
    }
}

impl Party {
    /// Whether any fact says anything of it.
    pub fn is_known(&self) -> bool {
        self.standing != Standing::default() || self.groups > 0
    }

    /// The groups it is directly in.
    pub fn groups(&self) -> &[u32] {
        self.links.get(..self.groups as usize).unwrap_or_default()
    }

    /// The portfolios that have a grant of its own, in force or not, in the order of their ids:
    /// never those that it reaches through groups, which are the groups' own.
    pub fn portfolios(&self) -> &[u32] {
        self.links.get(self.groups as usize..).unwrap_or_default()
    }

    pub fn link(&mut self, groups: &[u32], portfolios: &[u32]) {
        self.groups = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        self.links = groups.iter().chain(portfolios).copied().collect();
    }

    /// What it points to, in bytes.
    pub fn bytes(&self) -> usize {
        weight(&self.links)
    }
}

/// A group among groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub party: Party,
    /// The groups directly in it, sorted.
    pub children: Arc<[u32]>,
    /// The people directly in it, sorted.
    pub members: Arc<[u32]>,
}

impl Group {
    /// What it points to, in bytes.
    pub fn bytes(&self) -> usize {
        self.party.bytes() + weight(&self.children) + weight(&self.members)
    }
}

/// A group and every group it is in, directly or not: no duplicates. Kept per group and never per
/// person, so that a nested group costs its members nothing. Few are kept in place: a decision
/// reads the closures of all groups that somebody is in, at one miss each if at all.
#[derive(Clone, Debug)]
pub(super) enum Closure {
    Few { count: u8, groups: [u32; FEW] },
    Many(Arc<[u32]>),
}

const FEW: usize = 6;

impl Closure {
    pub fn of(groups: &[u32]) -> Self {
        let mut few = [0; FEW];
        match (few.get_mut(..groups.len()), u8::try_from(groups.len())) {
            (Some(place), Ok(count)) => {
                place.copy_from_slice(groups);
                Self::Few { count, groups: few }
            }
            _ => Self::Many(groups.into()),
        }
    }

    pub fn groups(&self) -> &[u32] {
        match self {
            Self::Few { count, groups } => groups.get(..usize::from(*count)).unwrap_or_default(),
            Self::Many(groups) => groups,
        }
    }

    /// What it points to, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Few { .. } => 0,
            Self::Many(groups) => weight(groups),
        }
    }
}

/// What a shared list takes of memory. Empty ones are all the same.
pub(super) fn weight(list: &[u32]) -> usize {
    if list.is_empty() { 0 } else { heap(16 + size_of_val(list)) }
}
