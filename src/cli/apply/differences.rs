//! What differs between a file and the server, field by field.

use std::fmt;

/// Fields with another value than the file's: name, old, new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Differences(Vec<(&'static str, String, String)>);

impl Differences {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes the field if the values differ.
    pub fn note(&mut self, field: &'static str, old: &str, new: &str) {
        if old != new {
            self.0.push((field, old.to_owned(), new.to_owned()));
        }
    }

    pub fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(name, ..)| *name == field)
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, old, new)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{field} {} -> {}", none(old), none(new))?;
        }
        Ok(())
    }
}

/// The text, or a word for there being none.
pub(super) fn none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}
