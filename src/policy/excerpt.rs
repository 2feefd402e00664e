//! A part of a list.

/// The rows of one page, and whether there are more behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt<T> {
    /// In the list's order.
    pub rows: Vec<T>,
    /// Whether the list goes on.
    pub more: bool,
}

impl<T> Excerpt<T> {
    /// The first rows, at most `size`. Looks one further, and no further than that.
    pub(super) fn of(mut rows: impl Iterator<Item = T>, size: usize) -> Self {
        let first = rows.by_ref().take(size).collect();
        Self { rows: first, more: rows.next().is_some() }
    }
}
