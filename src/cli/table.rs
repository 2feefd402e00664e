//! Rows for people: columns aligned by what a terminal shows, not by bytes.

use unicode_width::UnicodeWidthStr as _;

/// Between two columns.
const GAP: usize = 2;

/// A table with a heading. The last column is not padded, so no line ends in blanks.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(heading: &[&str]) -> Self {
        let heading = heading.iter().map(|text| text.to_uppercase()).collect();
        Self { rows: vec![heading] }
    }

    /// Adds a row. What a terminal would obey instead of showing is shown as `?`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = |cell: String| cell.replace(char::is_control, "?");
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// The lines, the heading first.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(move |row| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width.saturating_sub(cell.width()) + GAP));
            }
            line.trim_end().to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_shown() {
        let mut table = Table::new(&["id", "name", "until"]);
        table.row(["a", "東京", "x"].map(str::to_owned));
        table.row(["long", "Zoë", ""].map(str::to_owned));
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines, ["ID    NAME  UNTIL", "a     東京  x", "long  Zoë"]);
    }

    #[test]
    fn a_cell_cannot_command_the_terminal() {
        let mut table = Table::new(&["name"]);
        table.row(["a\u{1b}[31mb\nc".to_owned()]);
        assert_eq!(table.lines().nth(1).unwrap(), "a?[31mb?c");
    }
}
