//! A list over several organizations, in the order of portfolio ids, which are unique across them.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::PortfolioId;
use crate::domain::page::Page;
use crate::policy::Excerpt;

/// One organization's part of the list, as far as it was looked at.
struct Stream<S, T> {
    source: S,
    ready: VecDeque<(PortfolioId, T)>,
    after: Option<PortfolioId>,
    more: bool,
}

impl<S, T> Stream<S, T> {
    /// The next row that is not passed over.
    fn next(
        &mut self,
        size: usize,
        part: &impl Fn(&S, &Page<PortfolioId>) -> Excerpt<(PortfolioId, Option<T>)>,
    ) -> Option<(PortfolioId, T)> {
        while self.ready.is_empty() && self.more {
            let Excerpt { rows, more } =
                part(&self.source, &Page { size, after: self.after.take() });
            self.after = rows.last().map(|(id, _)| id.clone());
            self.more = more && self.after.is_some();
            self.ready.extend(rows.into_iter().filter_map(|(id, row)| Some((id, row?))));
        }
        self.ready.pop_front()
    }
}

/// Merges what `part` gives of each source page by page; a row that is none is passed over.
pub(super) fn merged<S, T>(
    sources: impl IntoIterator<Item = S>,
    page: &Page<PortfolioId>,
    part: impl Fn(&S, &Page<PortfolioId>) -> Excerpt<(PortfolioId, Option<T>)>,
) -> Excerpt<T> {
    let stream = |source| {
        let (ready, after) = (VecDeque::new(), page.after.clone());
        Stream { source, ready, after, more: true }
    };
    let mut streams: Vec<Stream<S, T>> = sources.into_iter().map(stream).collect();
    // As many as are needed on average: of many organizations each gives a few.
    let size = page.size / streams.len().max(1) + 1;
    let mut heads = BTreeMap::new();
    for (index, stream) in streams.iter_mut().enumerate() {
        if let Some((id, row)) = stream.next(size, &part) {
            heads.insert(id, (index, row));
        }
    }
    let mut rows = Vec::new();
    while rows.len() < page.size
        && let Some((_, (index, row))) = heads.pop_first()
    {
        rows.push(row);
        let next = streams.get_mut(index).and_then(|stream| stream.next(size, &part));
        if let Some((id, row)) = next {
            heads.insert(id, (index, row));
        }
    }
    Excerpt { rows, more: !heads.is_empty() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> PortfolioId {
        format!("p{number:03}").parse().unwrap()
    }

    /// Organization `n` of three has every third portfolio; those divisible by four are hidden.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as `merged` calls it")]
    fn part(n: &usize, page: &Page<PortfolioId>) -> Excerpt<(PortfolioId, Option<usize>)> {
        let numbers = (0..100).filter(|number| number % 3 == *n);
        let behind = |number: &usize| page.after.as_ref().is_none_or(|after| id(*number) > *after);
        let mut rest = numbers.filter(behind);
        let row = |number| (id(number), (number % 4 != 0).then_some(number));
        let rows: Vec<_> = rest.by_ref().take(page.size).map(row).collect();
        Excerpt { rows, more: rest.next().is_some() }
    }

    #[test]
    fn acc_9_pages_over_organizations_are_in_order_and_complete() {
        let expected: Vec<usize> = (0..100).filter(|number| number % 4 != 0).collect();
        for size in [1, 2, 7, 74, 75, 76, 1_000] {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let Excerpt { rows, more } = merged(0..3, &Page { size, after }, part);
                assert!(rows.len() == size || !more, "no page is short but the last");
                after = rows.last().map(|number| id(*number));
                all.extend(rows);
                if !more {
                    break;
                }
            }
            assert_eq!(all, expected, "pages of {size}");
        }
        let nothing = merged(0..0, &Page { size: 5, after: None }, part);
        assert_eq!((nothing.rows, nothing.more), (Vec::new(), false));
    }
}
