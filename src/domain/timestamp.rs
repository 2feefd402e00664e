//! Instants.

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since the Unix epoch, UTC. Access begins and ends to the millisecond
/// (ACC-2), so nothing finer is kept.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// 9999-12-31T23:59:59.999Z, the last instant that every client can represent.
    pub const MAX: Self = Self(253_402_300_799_999);
    /// 0001-01-01T00:00:00Z, the first instant that every client can represent.
    pub const MIN: Self = Self(-62_135_596_800_000);

    /// The instant `milliseconds` later, never beyond [`Timestamp::MAX`].
    #[must_use]
    pub fn plus_millis(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds)).min(Self::MAX)
    }
}
