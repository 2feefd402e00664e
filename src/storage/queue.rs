use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::Instant;

use super::{Error, Scope};

/// The writes of this process that wait for the same scope wait here, in order, and not in the
/// database, where each would hold a connection that the writes of others could use.
///
/// Only the scope locks of the database make writes safe: other processes do not stand in this
/// queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    turns: Arc<Mutex<HashMap<Scope, Weak<Turn<()>>>>>,
}

/// The turn on some scopes; it ends when dropped.
pub(super) struct Turns(#[expect(dead_code, reason = "held, never read")] Vec<OwnedMutexGuard<()>>);

impl Queue {
    /// Waits for the turn on all of the scopes, which are sorted: nobody waits in a circle.
    pub async fn wait(&self, scopes: &[Scope], until: Instant) -> Result<Turns, Error> {
        let mut turns = Vec::with_capacity(scopes.len());
        for scope in scopes {
            let turn = self.turn(scope).lock_owned();
            let waited = tokio::time::timeout_at(until, turn).await;
            turns.push(waited.map_err(|_| Error::RetriesExhausted(1))?);
        }
        Ok(Turns(turns))
    }

    fn turn(&self, scope: &Scope) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(scope).and_then(Weak::upgrade) {
            return turn;
        }
        // Whoever comes first to a scope sweeps out those that nobody waits for any more.
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(scope.clone(), Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(1)
    }

    #[tokio::test]
    async fn one_scope_is_waited_for_and_another_is_not() {
        let queue = Queue::default();
        let acme = [Scope::Organization("acme".parse().unwrap())];
        let turns = queue.wait(&acme, soon()).await.unwrap();
        assert!(matches!(queue.wait(&acme, soon()).await, Err(Error::RetriesExhausted(_))));
        assert!(queue.wait(&[Scope::Global], soon()).await.is_ok());
        drop(turns);
        assert!(queue.wait(&acme, soon()).await.is_ok());
        assert!(queue.turns.lock().unwrap().len() <= 2, "what nobody waits for is swept out");
    }
}
