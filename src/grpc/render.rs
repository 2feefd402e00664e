//! From the domain to the wire: what several messages have in common.

use crate::domain::access_settings::Visibility;
use crate::domain::directory::SiteRole;
use crate::domain::{Subject, Timestamp};
use crate::proto::v1;

pub(super) fn timestamp(instant: Timestamp) -> prost_types::Timestamp {
    let Timestamp(millis) = instant;
    // Less than a second in nanoseconds: it fits.
    let nanos = i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or_default();
    prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos }
}

pub(super) fn subject(subject: &Subject) -> v1::Subject {
    let kind = match subject {
        Subject::User(id) => v1::subject::Kind::User(id.to_string()),
        Subject::Group(id) => v1::subject::Kind::Group(id.to_string()),
        Subject::ServiceAccount(id) => v1::subject::Kind::ServiceAccount(id.to_string()),
    };
    v1::Subject { kind: Some(kind) }
}

pub(super) fn visibility(visibility: Visibility) -> v1::Visibility {
    match visibility {
        Visibility::Private => v1::Visibility::Private,
        Visibility::Restricted => v1::Visibility::Restricted,
        Visibility::Open => v1::Visibility::Open,
    }
}

pub(super) fn site_role(role: SiteRole) -> v1::SiteRole {
    match role {
        SiteRole::Editor => v1::SiteRole::Editor,
        SiteRole::Viewer => v1::SiteRole::Viewer,
        SiteRole::Guest => v1::SiteRole::Guest,
    }
}

/// The place of an entry in its batch, whose size is limited to less than this can say.
pub(super) fn index(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_before_1970_counts_nanoseconds_forward() {
        let rendered = timestamp(Timestamp(-1));
        assert_eq!((rendered.seconds, rendered.nanos), (-1, 999_000_000));
    }
}
