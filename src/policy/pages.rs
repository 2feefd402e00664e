//! A vector that copies itself a page at a time.

use std::sync::Arc;

/// How many pages a block of the spine holds.
const BLOCK: usize = 64;

/// A persistent vector: entries by place, in pages of `PAGE` entries that clones share until one of
/// them changes an entry. Reading an entry costs one miss of the processor's cache, whatever the
/// length: the spine is sixteen bytes for each page, and stays in the cache.
///
/// The last, unfinished page is a vector of its own, so that a small one is a single allocation.
#[derive(Clone, Debug)]
pub(super) struct Pages<T, const PAGE: usize> {
    blocks: Vec<Arc<Vec<Arc<[T]>>>>,
    /// How many entries the full pages have.
    paged: usize,
    tail: Vec<T>,
}

impl<T, const PAGE: usize> Default for Pages<T, PAGE> {
    fn default() -> Self {
        Self { blocks: Vec::new(), paged: 0, tail: Vec::new() }
    }
}

impl<T, const PAGE: usize> Pages<T, PAGE> {
    pub fn len(&self) -> usize {
        self.paged + self.tail.len()
    }

    pub fn get(&self, place: usize) -> Option<&T> {
        if place < self.paged {
            let block = self.blocks.get(place / (PAGE * BLOCK))?;
            block.get(place / PAGE % BLOCK)?.get(place % PAGE)
        } else {
            self.tail.get(place - self.paged)
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let pages = self.blocks.iter().flat_map(|block| block.iter());
        pages.flat_map(|page| page.iter()).chain(&self.tail)
    }

    pub fn push(&mut self, entry: T) {
        self.tail.push(entry);
        if self.tail.len() == PAGE {
            let page = std::mem::take(&mut self.tail).into();
            self.paged += PAGE;
            match self.blocks.last_mut().filter(|block| block.len() < BLOCK) {
                Some(block) => Arc::make_mut(block).push(page),
                None => self.blocks.push(Arc::new(vec![page])),
            }
        }
    }

    /// The memory held, in bytes, without what the entries point to.
    pub fn bytes(&self) -> usize {
        self.len() * size_of::<T>() + self.paged / PAGE * (size_of::<Arc<[T]>>() + 24)
    }
}

impl<T: Clone, const PAGE: usize> Pages<T, PAGE> {
    /// The entry, to be changed: copies its page if another vector shares it.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        if place < self.paged {
            let block = Arc::make_mut(self.blocks.get_mut(place / (PAGE * BLOCK))?);
            Arc::make_mut(block.get_mut(place / PAGE % BLOCK)?).get_mut(place % PAGE)
        } else {
            self.tail.get_mut(place - self.paged)
        }
    }
}

impl<T, const PAGE: usize> Extend<T> for Pages<T, PAGE> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }
}

impl<T, const PAGE: usize> FromIterator<T> for Pages<T, PAGE> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut pages = Self::default();
        pages.extend(entries);
        pages
    }
}
