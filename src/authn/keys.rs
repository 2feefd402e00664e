//! The keys that are trusted now, and the one task that follows their source.
//!
//! Whoever meets a key id that nobody knows may ask for a fetch. All who ask while one is underway
//! share it, and after it none is made for the length of a cooldown, whether it failed or not: a
//! flood of invented ids costs one fetch per cooldown, and waits for nothing else.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::jwks::KeySet;
use super::source::{Reader, Source, Unreadable};
use crate::clock::Clock;

const LOADS: &str = "portcullis_key_loads_total";
const READ: &str = "portcullis_keys_read_seconds";

/// How the source of the keys is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The least time between fetches that are due to unknown key ids.
    pub cooldown: Duration,
    /// How often an address is asked anyway, so that a key that was removed dies.
    pub address_interval: Duration,
    /// How often a file is looked at.
    pub file_interval: Duration,
    /// How long a fetch may take.
    pub fetch_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cooldown: Duration::from_secs(10),
            address_interval: Duration::from_secs(5 * 60),
            file_interval: Duration::from_secs(5),
            fetch_timeout: Duration::from_secs(2),
        }
    }
}

/// The trusted keys. Readers take no lock.
pub(super) struct Keys {
    source: Source,
    reader: Reader,
    options: Options,
    clock: Clock,
    /// None until a first set was read.
    set: ArcSwapOption<KeySet>,
    wanted: Notify,
    rounds: watch::Sender<Rounds>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    /// When the last one began, by the monotonic clock.
    last: Duration,
}

impl Keys {
    /// Starts to follow the source until `background` ends, after a first look at it. A file must
    /// be readable; an address need not answer yet.
    ///
    /// # Errors
    /// The file holds no keys, or the machine trusts no certificates that https could rest on.
    pub(super) async fn follow(
        source: Source,
        options: Options,
        clock: Clock,
        background: CancellationToken,
    ) -> Result<Arc<Self>, Unreadable> {
        describe_counter!(LOADS, "Reads of the keys that verify tokens, by outcome");
        describe_gauge!(READ, "When the keys were last read with success, seconds since 1970");
        let reader = Reader::new(&source)?;
        let (set, wanted) = (ArcSwapOption::empty(), Notify::new());
        let rounds = watch::Sender::default();
        let keys = Arc::new(Self { source, reader, options, clock, set, wanted, rounds });
        let first = keys.round().await;
        let failing = first.is_err();
        if let Err(error) = first {
            if matches!(keys.source, Source::File(_)) {
                return Err(error);
            }
            tracing::warn!(
                keys.source = %keys.source,
                error.cause = %error,
                "the keys that verify tokens cannot be read yet; until then tokens are answered \
                 with UNAVAILABLE"
            );
        }
        let following = Arc::clone(&keys).run(failing);
        tokio::spawn(background.run_until_cancelled_owned(following));
        Ok(keys)
    }

    /// The keys as they are now; none before a first set was read.
    pub(super) fn current(&self) -> Guard<Option<Arc<KeySet>>> {
        self.set.load()
    }

    /// Returns when the source was read because of this call, or when that would be too soon or
    /// takes too long.
    pub(super) async fn refreshed(&self) {
        let mut rounds = self.rounds.subscribe();
        let seen = *rounds.borrow_and_update();
        let underway = seen.begun > seen.ended;
        if !underway {
            if self.is_cooling() {
                return;
            }
            self.wanted.notify_one();
        }
        let ended = rounds.wait_for(|now| now.ended > seen.ended);
        // Too late or never: the keys are what they are.
        drop(timeout(self.options.fetch_timeout, ended).await);
    }

    fn is_cooling(&self) -> bool {
        let rounds = *self.rounds.borrow();
        let since = self.clock.read().monotonic.saturating_sub(rounds.last);
        rounds.begun > 0 && since < self.options.cooldown
    }

    async fn run(self: Arc<Self>, mut failing: bool) {
        let interval = match &self.source {
            Source::File(_) => self.options.file_interval,
            Source::Address(_) => self.options.address_interval,
        };
        loop {
            let due = if failing { interval.min(self.options.cooldown) } else { interval };
            // The time is up, or somebody asked; one who asked just before a round began asks
            // for that one.
            drop(timeout(due, self.asked()).await);
            let outcome = self.round().await;
            match &outcome {
                Err(error) if !failing => tracing::warn!(
                    keys.source = %self.source,
                    error.cause = %error,
                    "the keys that verify tokens cannot be read; those that are known go on working"
                ),
                Ok(()) if failing => tracing::info!(
                    keys.source = %self.source,
                    "the keys that verify tokens can be read again"
                ),
                _ => {}
            }
            failing = outcome.is_err();
        }
    }

    async fn asked(&self) {
        loop {
            self.wanted.notified().await;
            if !self.is_cooling() {
                return;
            }
        }
    }

    async fn round(&self) -> Result<(), Unreadable> {
        let now = self.clock.read().monotonic;
        self.rounds.send_modify(|rounds| {
            rounds.begun += 1;
            rounds.last = now;
        });
        let read = timeout(self.options.fetch_timeout, self.reader.read()).await;
        let outcome = read.unwrap_or(Err(Unreadable::Timeout)).map(|set| self.publish(set));
        counter!(LOADS, "outcome" => *outcome.as_ref().unwrap_or(&"failed")).increment(1);
        if outcome.is_ok() {
            let seconds = self.clock.read().wall.0.div_euclid(1_000);
            #[allow(
                clippy::cast_precision_loss,
                reason = "a gauge is a float; exact to the year 10^8"
            )]
            gauge!(READ).set(seconds as f64);
        }
        self.rounds.send_modify(|rounds| rounds.ended += 1);
        outcome.map(|_| ())
    }

    fn publish(&self, set: KeySet) -> &'static str {
        if self.current().as_deref() == Some(&set) {
            return "unchanged";
        }
        tracing::info!(
            keys.source = %self.source,
            keys.count = set.len(),
            "read the keys that verify tokens"
        );
        self.set.store(Some(Arc::new(set)));
        "changed"
    }
}
