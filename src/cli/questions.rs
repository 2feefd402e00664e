//! Files of questions, one JSON object a line: `verify` compares the answers with expected ones,
//! `bench` asks them as often as it is told.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::check::Question;
use super::text::{self, FileError};
use crate::domain::{ItemKey, PortfolioId, Subject, Timestamp};

/// What a line looks like.
const FORM: &str = concat!(
    r#"{"subject": "user:ann", "permission": "portfolio.view", "#,
    r#""portfolio": "apollo", "allowed": true}"#
);

/// A question, and the expected answer: `bool` where there has to be one, `Option` where not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line<A> {
    #[serde(deserialize_with = "text::parsed")]
    pub subject: Subject,
    pub permission: String,
    #[serde(deserialize_with = "text::parsed")]
    pub portfolio: PortfolioId,
    pub allowed: A,
    #[serde(default, deserialize_with = "text::item")]
    pub item: Option<ItemKey>,
    #[serde(default, deserialize_with = "text::parsed_option")]
    pub item_author: Option<Subject>,
    #[serde(default, deserialize_with = "text::instant")]
    pub at: Option<Timestamp>,
    /// Its line in the file, from 1.
    #[serde(skip)]
    pub line: usize,
}

impl<A> Line<A> {
    pub fn question(&self) -> Question<'_> {
        let Self { subject, permission, portfolio, item, item_author, at, .. } = self;
        let (item, item_author) = (item.as_ref(), item_author.as_ref());
        Question { subject, permission, portfolio, item, item_author, at: *at }
    }
}

/// Reads a file of that name; at least one question.
pub(crate) fn parse<A: DeserializeOwned>(
    name: &str,
    content: &str,
) -> Result<Vec<Line<A>>, FileError> {
    let mut lines = Vec::new();
    for (index, row) in content.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
        let line = index + 1;
        match serde_json::from_str::<Line<A>>(row) {
            Ok(question) => lines.push(Line { line, ..question }),
            Err(error) => {
                let mut error = FileError::parser(name, error.line(), error.column(), &error);
                error.place = error.place.map(|(_, column)| (line, column));
                error.message = format!("{}; a line is `{FORM}`", error.message);
                return Err(error);
            }
        }
    }
    if lines.is_empty() {
        let message = "holds no questions, so there is nothing to ask".to_owned();
        return Err(FileError { file: name.to_owned(), place: None, message });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"subject":"user:ann","permission":"portfolio.view","portfolio":"p","allowed":true}"#;

    #[test]
    fn blank_lines_do_not_count_but_keep_the_numbers_right() {
        let lines = parse::<bool>("f", &format!("\n{GOOD}\r\n\n{GOOD}\n")).unwrap();
        assert_eq!(lines.iter().map(|line| line.line).collect::<Vec<_>>(), [2, 4]);
        assert!(lines[0].allowed);
    }

    #[test]
    fn a_malformed_line_is_named_with_its_column_and_what_is_expected() {
        let cases = [
            ("{\"subject\":\"user:ann\"", (2, 21), "EOF"),
            (&GOOD.replace("true", "\"yes\""), (2, 83), "expected a boolean"),
            (&GOOD.replace("user:ann", "ann"), (2, 16), "`ann` is no subject"),
            (&GOOD.replace("allowed", "alowed"), (2, 76), "unknown field `alowed`"),
            (&GOOD.replace(",\"allowed\":true", ""), (2, 68), "missing field `allowed`"),
        ];
        for (row, place, message) in cases {
            let error = parse::<bool>("f", &format!("{GOOD}\n{row}")).unwrap_err();
            assert_eq!(error.place, Some(place), "{error}");
            assert!(error.message.contains(message), "{error}");
            assert!(error.message.contains("a line is `{"), "{error}");
        }
    }

    #[test]
    fn who_only_asks_need_not_know_the_answer() {
        let without = GOOD.replace(",\"allowed\":true", "");
        let lines = parse::<Option<bool>>("f", &format!("{GOOD}\n{without}")).unwrap();
        assert_eq!(lines.iter().map(|line| line.allowed).collect::<Vec<_>>(), [Some(true), None]);
    }

    #[test]
    fn an_empty_file_proves_nothing() {
        assert!(parse::<bool>("f", "\n \n").unwrap_err().message.contains("no questions"));
    }
}
