//! A portfolio compiled: who is granted what on it.

use std::sync::Arc;

use crate::domain::access_settings::Visibility;

use super::names::heap;
use super::party::Who;
use super::period::Period;

/// A portfolio: its grants, and whose settings are in force on it.
#[derive(Clone, Debug)]
pub(super) struct Portfolio {
    pub settings: Settings,
    pub archived: bool,
    /// How many of the grants are to people; those to groups follow.
    people: u32,
    /// The subjects of the grants, sorted; then, in the same order, their roles. Eight bytes a
    /// grant, and whoever looks for a subject reads subjects alone.
    words: Arc<[u32]>,
    /// The periods of the grants that have one, sorted by the grant's place.
    periods: Arc<[(u32, Period)]>,
}

/// Whose access settings are in force on a portfolio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settings {
    /// Its own, and its grants with them.
    Own { visibility: Visibility, access_role: u32 },
    /// Those of the root of its chain, and the root's grants with them (INH-1); `NOWHERE` if the
    /// chain has none. Its own grants are the ownerships along the chain but for the root's
    /// (INH-2): flattened, so that a decision never walks the chain.
    Linked { root: u32 },
}

/// The number of no portfolio.
pub(super) const NOWHERE: u32 = u32::MAX;

/// In a role's word: the grant has a period.
const HAS_PERIOD: u32 = 1 << 31;

/// A grant as it is read: whose, as what, when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub subject: Who,
    pub role: u32,
    pub period: Period,
}

/// Up to here, counting the smaller ones is faster than halving: nothing to predict, and the
/// processor asks memory for all of them at once.
const COUNTED: usize = 128;

impl Portfolio {
    pub fn new(settings: Settings, archived: bool, mut grants: Vec<Granted>) -> Self {
        grants.sort_by_key(|grant| grant.subject);
        let people = grants.partition_point(|grant| grant.subject.as_group().is_none());
        let has_period = |grant: &Granted| grant.period != Period::ALWAYS;
        let role = |grant: &Granted| {
            if has_period(grant) { grant.role | HAS_PERIOD } else { grant.role }
        };
        let subjects = grants.iter().map(|grant| grant.subject.word());
        Self {
            settings,
            archived,
            people: u32::try_from(people).unwrap_or(u32::MAX),
            words: subjects.chain(grants.iter().map(role)).collect(),
            periods: (0..)
                .zip(&grants)
                .filter(|(_, grant)| has_period(grant))
                .map(|(place, grant)| (place, grant.period))
                .collect(),
        }
    }

    /// Every grant, sorted by subject.
    pub fn grants(&self) -> impl Iterator<Item = Granted> {
        (0..self.len()).filter_map(|place| self.grant(place))
    }

    /// Whom the grants name, sorted, each once.
    pub fn named(&self) -> impl Iterator<Item = Who> {
        let mut last = None;
        let subjects = self.subjects().iter().map(|word| Who::from_word(*word));
        subjects.filter(move |subject| last.replace(*subject) != Some(*subject))
    }

    /// The grants of one subject.
    #[inline]
    pub fn grants_of(&self, subject: Who) -> impl Iterator<Item = Granted> {
        let (people, groups) = self.split();
        let (side, offset) = match subject.as_group() {
            None => (people, 0),
            Some(_) => (groups, people.len()),
        };
        let word = subject.word();
        let first = first_from(side, word);
        let same = side.get(first..).unwrap_or_default().iter().take_while(move |it| **it == word);
        (offset + first..).zip(same).filter_map(|(place, _)| self.grant(place))
    }

    /// The grants to groups that satisfy a condition.
    #[inline]
    pub fn grants_of_groups(&self, wanted: impl Fn(u32) -> bool) -> impl Iterator<Item = Granted> {
        let (people, groups) = self.split();
        let is_wanted = move |word: u32| Who::from_word(word).as_group().is_some_and(&wanted);
        let found = (people.len()..).zip(groups).filter(move |(_, word)| is_wanted(**word));
        found.filter_map(|(place, _)| self.grant(place))
    }

    pub fn names(&self, subject: Who) -> bool {
        self.grants_of(subject).next().is_some()
    }

    /// What it points to, in bytes.
    pub fn bytes(&self) -> usize {
        let periods = size_of_val(&*self.periods);
        heap(16 + size_of_val(&*self.words)) + if periods == 0 { 0 } else { heap(16 + periods) }
    }

    fn len(&self) -> usize {
        self.words.len() / 2
    }

    fn subjects(&self) -> &[u32] {
        self.words.get(..self.len()).unwrap_or_default()
    }

    /// The subjects that are people, and those that are groups.
    fn split(&self) -> (&[u32], &[u32]) {
        self.subjects().split_at_checked(self.people as usize).unwrap_or_default()
    }

    fn grant(&self, place: usize) -> Option<Granted> {
        let subject = Who::from_word(*self.subjects().get(place)?);
        let role = *self.words.get(self.len() + place)?;
        let period = if role & HAS_PERIOD == 0 {
            Period::ALWAYS
        } else {
            let found = self.periods.binary_search_by_key(&place, |(at, _)| *at as usize).ok()?;
            self.periods.get(found)?.1
        };
        Some(Granted { subject, role: role & !HAS_PERIOD, period })
    }
}

/// Where in a sorted list the first is that is not less than `word`.
fn first_from(sorted: &[u32], word: u32) -> usize {
    let (mut rest, mut before) = (sorted, 0);
    while rest.len() > COUNTED {
        let (low, high) = rest.split_at(rest.len() / 2);
        match high.first() {
            Some(middle) if *middle < word => {
                before += low.len();
                rest = high;
            }
            _ => rest = low,
        }
    }
    before + rest.iter().map(|it| u32::from(*it < word)).sum::<u32>() as usize
}
