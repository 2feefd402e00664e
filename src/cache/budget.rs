//! How much memory the organizations take, and how much they may.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What organizations take, against the most that they may: those that are published, and those
/// that are being loaded.
///
/// INVARIANT (the budget holds): both together never take more. A load asks for room before it adds
/// a part, and a world is published only after what it holds has found room. Outside the account
/// are the parts that wait, and what compiling adds at its end until it has found room.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    /// Held for a few instructions by the feed and by loads; no question ever takes it.
    account: Mutex<Account>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Account {
    published: usize,
    loading: usize,
    peak: usize,
}

/// How the memory budget stands, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The most that organizations may take.
    pub budget: usize,
    /// What the published ones take.
    pub published: usize,
    /// What those take that are being loaded, or wait to be published.
    pub loading: usize,
    /// The most that both together ever took.
    pub peak: usize,
}

/// What one load may take. Gives it back when dropped.
pub(super) struct Room {
    budget: Budget,
    bytes: usize,
}

// === impl Budget ===

impl Budget {
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { limit, account: Mutex::default() }))
    }

    pub fn limit(&self) -> usize {
        self.0.limit
    }

    pub fn usage(&self) -> Usage {
        let Account { published, loading, peak } = *self.account();
        Usage { budget: self.0.limit, published, loading, peak }
    }

    /// Room for a load; none of it taken yet.
    pub fn room(&self) -> Room {
        Room { budget: self.clone(), bytes: 0 }
    }

    /// How many bytes are free.
    pub fn free(&self) -> usize {
        let account = self.account();
        self.0.limit.saturating_sub(account.published + account.loading)
    }

    /// Takes room for all that is about to be published. What was loaded for it leaves its rooms.
    ///
    /// # Errors
    /// By how many bytes it is too much; nothing was taken.
    pub fn publish(&self, bytes: usize, arrived: &mut [Room]) -> Result<(), usize> {
        let rooms: usize = arrived.iter().map(|room| room.bytes).sum();
        let mut account = self.account();
        let loading = account.loading.saturating_sub(rooms);
        let over = (bytes + loading).saturating_sub(self.0.limit);
        if over > 0 {
            return Err(over);
        }
        *account = Account { published: bytes, loading, peak: account.peak.max(bytes + loading) };
        for room in arrived {
            room.bytes = 0;
        }
        Ok(())
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.0.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Room ===

impl Room {
    /// Takes this many bytes instead of those that it has; false, and nothing changes, if they are
    /// not free.
    pub fn resize(&mut self, bytes: usize) -> bool {
        let mut account = self.budget.account();
        let loading = account.loading.saturating_sub(self.bytes) + bytes;
        let total = account.published + loading;
        if bytes > self.bytes && total > self.budget.0.limit {
            return false;
        }
        account.loading = loading;
        account.peak = account.peak.max(total);
        self.bytes = bytes;
        true
    }

    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of it, out of the hands of whoever has it.
    pub fn take(&mut self) -> Self {
        Self { budget: self.budget.clone(), bytes: std::mem::take(&mut self.bytes) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut account = self.budget.account();
        account.loading = account.loading.saturating_sub(self.bytes);
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({})", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loads_and_what_is_published_share_the_budget() {
        let budget = Budget::new(100);
        let (mut one, mut other) = (budget.room(), budget.room());
        assert!(one.resize(60) && !other.resize(41) && other.resize(40));
        assert_eq!(budget.free(), 0);
        drop(other);
        assert_eq!(budget.free(), 40);
        assert_eq!(budget.publish(110, &mut [one.take()]), Err(10), "and the room is given back");
        assert_eq!(budget.usage().loading, 0);
        assert!(one.resize(60));
        assert_eq!(budget.publish(70, std::slice::from_mut(&mut one)), Ok(()));
        assert_eq!(budget.free(), 30);
        drop(one);
        let usage = Usage { budget: 100, published: 70, loading: 0, peak: 100 };
        assert_eq!(budget.usage(), usage);
    }

    #[test]
    fn what_shrinks_is_never_refused() {
        let budget = Budget::new(100);
        let mut room = budget.room();
        assert!(room.resize(100) && room.resize(30) && room.resize(100));
    }
}
