//! What is not loaded for now, and whom an organization may displace.

use std::time::Duration;

use super::World;
use super::whole::Failed;
use crate::domain::OrganizationId;

/// Why an organization is not loaded for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The last load failed.
    Failed,
    /// The memory budget has no room for it: at all, or beside what is in use.
    OverBudget,
}

/// That an organization is not loaded before an instant, by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    pub cause: Cause,
    pub until: Duration,
    /// How many loads in a row have ended for this cause.
    pub times: u32,
}

/// The first pause after a load that failed, and the longest: each is twice the one before.
const FAILED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The same after one for which there was no room beside others.
const NO_ROOM: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));
/// The pause after one that is larger than the whole budget; it may have shrunk since.
const TOO_LARGE: Duration = Duration::from_secs(600);

impl Rest {
    /// A pause until an instant, after which it is as if nothing had failed.
    pub fn until(until: Duration) -> Self {
        Self { cause: Cause::Failed, until, times: 0 }
    }

    /// The pause after a load that failed.
    pub fn after(failed: &Failed, before: Option<&Self>, now: Duration) -> Self {
        let cause = match failed {
            Failed::TooLarge(_) | Failed::NoRoom(_) => Cause::OverBudget,
            Failed::Storage(_) | Failed::Stalled | Failed::Compile(_) => Cause::Failed,
        };
        let again = before.filter(|rest| rest.cause == cause);
        let times = again.map_or(0, |rest| rest.times).saturating_add(1);
        let growing = |(first, longest): (Duration, Duration)| {
            first.saturating_mul(1 << (times - 1).min(16)).min(longest)
        };
        let pause = match failed {
            Failed::TooLarge(_) => TOO_LARGE,
            Failed::NoRoom(_) => growing(NO_ROOM),
            Failed::Storage(_) | Failed::Stalled | Failed::Compile(_) => growing(FAILED),
        };
        Self { cause, until: now.saturating_add(pause), times }
    }
}

/// The shortest tenure of an organization.
const SHORTEST_TENURE: Duration = Duration::from_secs(10);

/// For how long an organization that was loaded is not displaced by another: twenty times as long
/// as its load took. So loading takes no more than a twentieth of the time, whatever is asked:
/// organizations that do not fit together cannot evict each other at every question.
pub(super) fn tenure(load: Duration) -> Duration {
    load.saturating_mul(20).max(SHORTEST_TENURE)
}

/// Whom to evict for so many bytes: those that were used least recently. None if that is not
/// enough. Those in their tenure stay, unless there is no choice: `now` is left out.
pub(super) fn victims(
    world: &World,
    bytes: usize,
    now: Option<Duration>,
) -> Option<Vec<OrganizationId>> {
    let mut candidates: Vec<_> = world
        .organizations
        .iter()
        .filter(|(_, loaded)| now.is_none_or(|now| loaded.stay.tenure_end <= now))
        .map(|(id, loaded)| (loaded.stay.used(), id, loaded.bytes()))
        .collect();
    candidates.sort_unstable();
    let mut freed = 0;
    let mut victims = Vec::new();
    for (_, id, bytes_of_it) in candidates {
        if freed >= bytes {
            break;
        }
        freed += bytes_of_it;
        victims.push(id.clone());
    }
    (freed >= bytes).then_some(victims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_grows_with_each_load_in_a_row_that_ends_for_the_same_cause() {
        let second = Duration::from_secs(1);
        let mut rest = Rest::after(&Failed::Stalled, None, Duration::ZERO);
        assert_eq!((rest.cause, rest.until), (Cause::Failed, second));
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            rest = Rest::after(&Failed::Stalled, Some(&rest), second);
            assert_eq!(rest.until, second * (pause + 1));
        }
        let other = Rest::after(&Failed::NoRoom(1), Some(&rest), Duration::ZERO);
        assert_eq!((other.cause, other.until, other.times), (Cause::OverBudget, second * 10, 1));
        let again = Rest::after(&Failed::NoRoom(1), Some(&other), Duration::ZERO);
        assert_eq!(again.until, second * 20);
    }
}
