use time::OffsetDateTime;

use crate::domain::Timestamp;

/// What the database keeps of an instant.
pub(super) fn to_sql(timestamp: Timestamp) -> OffsetDateTime {
    let nanoseconds = i128::from(timestamp.0) * 1_000_000;
    // Every Timestamp a request can name lies within the years that `time` knows.
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// An instant of the database, to the millisecond.
pub(super) fn from_sql(instant: OffsetDateTime) -> Timestamp {
    let milliseconds = instant.unix_timestamp_nanos().div_euclid(1_000_000);
    Timestamp(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}
