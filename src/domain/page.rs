//! Pages of a list: keyset, never by offset.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// What of a list is wanted: at most `size` rows after `after`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    /// At most this many rows.
    pub size: usize,
    /// The key of the last row of the page before; none for the first page.
    pub after: Option<K>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T, K> {
    /// The rows, in the list's order.
    pub rows: Vec<T>,
    /// The key of the last row, if more follow.
    pub next: Option<K>,
}

impl<K: Clone> Page<K> {
    /// The same page and one row more, which tells whether another page follows.
    #[must_use]
    pub fn wider(&self) -> Self {
        Self { size: self.size.saturating_add(1), after: self.after.clone() }
    }

    /// Cuts the rows of the wider page to this one; the key of the last if more follow.
    pub fn cut<T>(&self, rows: &mut Vec<T>, key: impl Fn(&T) -> K) -> Option<K> {
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        rows.last().filter(|_| more).map(key)
    }

    /// The rows of the wider page as this page.
    pub fn listed<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> Listed<T, K> {
        let next = self.cut(&mut rows, key);
        Listed { rows, next }
    }

    /// How many rows SQL is to bring.
    #[must_use]
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX)
    }
}

/// A page token that is none, or that belongs to another query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no page token of this query; pass back the last response's, arguments unchanged")]
pub struct InvalidPageToken;

const FINGERPRINT: usize = 8;

/// The token for the page after `key`, bound to the query's other arguments.
#[must_use]
pub fn encode_page_token<K: Serialize>(query: &str, key: &K) -> String {
    let mut bytes = fingerprint(query);
    bytes.extend(serde_json::to_vec(key).unwrap_or_default());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a page token back; empty text is the first page.
///
/// # Errors
/// The text is no page token, or one of another query.
pub fn decode_page_token<K: DeserializeOwned>(
    query: &str,
    text: &str,
) -> Result<Option<K>, InvalidPageToken> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidPageToken)?;
    let body = bytes.len().checked_sub(4).ok_or(InvalidPageToken)?;
    let (body, checksum) = bytes.split_at_checked(body).ok_or(InvalidPageToken)?;
    let (print, key) = body.split_at_checked(FINGERPRINT).ok_or(InvalidPageToken)?;
    if crc32fast::hash(body).to_be_bytes() != *checksum || fingerprint(query) != print {
        return Err(InvalidPageToken);
    }
    serde_json::from_slice(key).map(Some).map_err(|_| InvalidPageToken)
}

fn fingerprint(query: &str) -> Vec<u8> {
    Sha256::digest(query.as_bytes()).iter().take(FINGERPRINT).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_belongs_to_its_query() {
        let token = encode_page_token("group:a", &("user", "ann"));
        let key: Option<(String, String)> = decode_page_token("group:a", &token).unwrap();
        assert_eq!(key, Some(("user".to_owned(), "ann".to_owned())));
        let other = decode_page_token::<(String, String)>("group:b", &token);
        assert_eq!(other, Err(InvalidPageToken));
        assert_eq!(decode_page_token::<String>("group:a", "!"), Err(InvalidPageToken));
    }
}
