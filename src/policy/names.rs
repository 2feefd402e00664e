//! From the text of an id to a number, and back.

use std::borrow::Borrow;
use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;

use super::pages::Pages;

/// The least number of slots: a question's few facts need no more.
const LEAST_SLOTS: usize = 8;

/// Numbers things densely, in the order in which they are met, and finds the number of a thing
/// again. Persistent.
///
/// The hash table is flat, in pages: a slot has the number and half of the hash, so that a look-up
/// reads one slot and the text that it finds there, and that growing reads no texts. The hash is
/// seeded: clients choose ids, and must not choose which of them collide.
///
/// INVARIANT (append-only): a number is never given to another thing, so that what a change does
/// not name stays valid. Compiling anew drops the numbers that nobody uses any more.
#[derive(Clone, Debug)]
pub(super) struct Names<K> {
    keys: Pages<K, 256>,
    /// Empty, or the upper half of the hash above the number plus one. As many as a power of two;
    /// a thing is in the first free slot from where the upper bits of its hash point.
    slots: Pages<u64, 512>,
    seed: RandomState,
    /// What the texts weigh.
    texts: usize,
}

impl<K> Default for Names<K> {
    fn default() -> Self {
        let (keys, slots) = (Pages::default(), Pages::default());
        Self { keys, slots, seed: RandomState::default(), texts: 0 }
    }
}

impl<K: Eq + Hash> Names<K> {
    /// How many there are: the next number.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn key(&self, number: u32) -> Option<&K> {
        self.keys.get(number as usize)
    }

    /// All of them, in the order of their numbers.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.keys.iter()
    }

    pub fn find<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        let hash = self.hash(key);
        let mut place = self.home(hash);
        loop {
            let slot = *self.slots.get(place)?;
            if slot == 0 {
                return None;
            }
            if slot >> 32 == hash {
                let number = number_in(slot);
                if self.key(number)?.borrow() == key {
                    return Some(number);
                }
            }
            place = self.next(place);
        }
    }

    /// Numbers a thing that has no number yet; `text` is its length in bytes.
    pub fn push(&mut self, key: K, text: usize) -> u32 {
        if self.slots.len() * 3 < (self.len() + 1) * 4 {
            self.grow();
        }
        let number = u32::try_from(self.len()).unwrap_or(u32::MAX);
        self.occupy(self.hash(&key) << 32 | (u64::from(number) + 1));
        self.keys.push(key);
        self.texts += heap(16 + text);
        number
    }

    /// An estimate of the memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.keys.bytes() + self.slots.bytes() + self.texts
    }

    fn grow(&mut self) {
        let wanted = (2 * self.slots.len()).max(LEAST_SLOTS);
        let before = std::mem::replace(&mut self.slots, (0..wanted).map(|_| 0).collect());
        before.iter().filter(|slot| **slot != 0).for_each(|slot| self.occupy(*slot));
    }

    fn occupy(&mut self, slot: u64) {
        let mut place = self.home(slot >> 32);
        // There is always an empty slot: a quarter of them are kept so.
        while self.slots.get(place).is_some_and(|taken| *taken != 0) {
            place = self.next(place);
        }
        if let Some(empty) = self.slots.get_mut(place) {
            *empty = slot;
        }
    }

    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.seed.hash_one(key) >> 32
    }

    /// Where a hash of 32 bits points. Hashes in order point to places in order, so that growing
    /// walks both tables from front to back.
    #[allow(clippy::cast_possible_truncation, reason = "less than the number of slots")]
    fn home(&self, hash: u64) -> usize {
        ((hash * self.slots.len() as u64) >> 32) as usize
    }

    fn next(&self, place: usize) -> usize {
        if place + 1 < self.slots.len() { place + 1 } else { 0 }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half")]
fn number_in(slot: u64) -> u32 {
    slot as u32 - 1
}

/// What an allocation of so many bytes takes of memory: a word for the allocator, and the rest up
/// to the next multiple of sixteen.
pub(super) fn heap(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16).max(32)
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    /// A thing whose hash is that of all others of its kind.
    #[derive(PartialEq, Eq)]
    struct Alike(u8, u32);

    impl Hash for Alike {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write_u8(self.0);
        }
    }

    #[test]
    fn things_with_the_same_hash_keep_numbers_of_their_own() {
        let mut names = Names::default();
        for number in 0..700 {
            assert_eq!(names.push(Alike((number % 7) as u8, number), 0), number);
        }
        for number in 0..700 {
            assert_eq!(names.find(&Alike((number % 7) as u8, number)), Some(number));
        }
        assert_eq!(names.find(&Alike(0, 1)), None);
    }
}
