//! The thread that owns the PostgreSQL process.
//!
//! A thread of its own, and not a task: the kernel's death signal follows the *thread* that
//! forked. This one ends after PostgreSQL does, or with the whole process.

#![allow(
    clippy::disallowed_methods,
    reason = "processes tell nobody what they are about to do: they are polled, on real time"
)]

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

use super::account::{self, Account};
use super::error::Error;
use super::find::{self, Binaries};
use super::initialise::initialise;
use super::layout::{Layout, Lock, Postmaster, create_private};
use super::log::LogReader;
use super::process::{self, setting};
use super::{Durability, Options, Phase, STOP_GRACE, State};

/// How often `postmaster.pid` is looked at while waiting for it to say something.
const POLL: Duration = Duration::from_millis(10);

/// How long a PostgreSQL that we did not start may look alive before it is called foreign: one
/// whose supervisor was killed has had its signal, but may not have written *stopping* yet.
const FOREIGN_GRACE: Duration = Duration::from_secs(2);

/// How long one that is stopping may take (its last checkpoint).
const STOPPING_GRACE: Duration = Duration::from_secs(60);

/// How often the log says that a start is still going on (recovery after a crash can be long).
const STILL_STARTING: Duration = Duration::from_secs(10);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A PostgreSQL that served for so long was healthy: the pauses before restarts begin anew.
const HEALTHY: Duration = Duration::from_secs(60);

/// How the thread learns that it should stop, and how much time an orderly stop may take.
type StopRequest = watch::Receiver<Option<Duration>>;

/// How the thread tells [`super::start`] that PostgreSQL is ready for the first time, or why not.
type Started = oneshot::Sender<Result<(), Error>>;

pub(super) struct Supervisor {
    layout: Layout,
    options: Options,
    state: watch::Sender<State>,
    stop: StopRequest,
}

/// What is settled before the first start. The lock is released last of all.
struct Prepared {
    account: Option<Account>,
    binaries: Binaries,
    _lock: Lock,
}

/// How one life of the process ended.
enum Ending {
    /// We stopped it.
    Asked,
    /// It died by itself, after it was ready for so long.
    Died(ExitStatus, Duration),
}

impl Supervisor {
    pub(super) fn new(
        layout: Layout,
        options: Options,
        state: watch::Sender<State>,
        stop: StopRequest,
    ) -> Self {
        Self { layout, options, state, stop }
    }

    /// Runs until it is asked to stop, or until the first start fails.
    pub(super) fn run(mut self, started: Started) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.supervise(started)),
            Err(source) => {
                let failed = Error::io("cannot run a supervisor for", self.layout.root(), source);
                // Nobody waits for the answer any more: nothing was started either.
                let _abandoned = started.send(Err(failed));
            }
        }
        self.enter(Phase::Stopped, None);
    }

    async fn supervise(&mut self, started: Started) {
        let mut stop = self.stop.clone();
        let prepared = tokio::select! {
            prepared = self.prepare() => prepared,
            _grace = requested(&mut stop) => return,
        };
        let first = match prepared {
            Ok(prepared) => self.keep_alive(&prepared, started).await,
            Err(error) => Some((started, error)),
        };
        if let Some((started, error)) = first {
            let _abandoned = started.send(Err(error));
        }
    }

    async fn prepare(&self) -> Result<Prepared, Error> {
        let cluster = self.layout.cluster();
        let account = account::to_run_as(&cluster)?;
        self.layout.create_root(account.as_ref())?;
        let lock = self.layout.lock()?;
        let major = self.layout.cluster_major()?;
        let binaries = find::find(&cluster, major.as_deref(), account.as_ref())?;
        self.outlast_predecessor().await?;
        create_private(&self.layout.run(), account.as_ref())?;
        if major.is_none() {
            tracing::info!(directory = %cluster.display(), "making a new PostgreSQL database");
            let durability = self.options.durability;
            initialise(&self.layout, &binaries, account.as_ref(), durability).await?;
        }
        Ok(Prepared { account, binaries, _lock: lock })
    }

    /// The PostgreSQL of a supervisor that was killed may still be writing its last checkpoint.
    async fn outlast_predecessor(&self) -> Result<(), Error> {
        let begun = Instant::now();
        while let Some(other) = self.layout.postmaster().filter(Postmaster::is_alive) {
            let stopping = other.status == "stopping";
            let patience = if stopping { STOPPING_GRACE } else { FOREIGN_GRACE };
            if begun.elapsed() > patience {
                let (directory, pid) = (self.layout.cluster(), other.pid);
                return Err(Error::ForeignServer { directory, pid });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Gives back the reason if PostgreSQL never became ready.
    async fn keep_alive(
        &mut self,
        prepared: &Prepared,
        started: Started,
    ) -> Option<(Started, Error)> {
        let mut started = Some(started);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.live_once(prepared, &mut started).await {
                Ok(Ending::Asked) => return None,
                Ok(Ending::Died(status, served)) => {
                    if served >= HEALTHY {
                        pause = FIRST_PAUSE;
                    }
                    self.count_crash(status);
                }
                Err(error) => {
                    if let Some(started) = started.take() {
                        return Some((started, error));
                    }
                    tracing::error!(%error, "the embedded PostgreSQL is not back yet");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _grace = requested(&mut self.stop) => return None,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One life of the process, from its start to its end.
    async fn live_once(
        &mut self,
        prepared: &Prepared,
        started: &mut Option<Started>,
    ) -> Result<Ending, Error> {
        let program = prepared.binaries.postgres();
        let mut child = self
            .command(prepared)
            .spawn()
            .map_err(|source| Error::io("cannot run", &program, source))?;
        let mut log = LogReader::new(child.stderr.take());
        let pid = child.id();
        let wait_failed = |source| Error::io("cannot wait for", &program, source);
        tokio::select! {
            status = child.wait() => {
                let status = status.map_err(wait_failed)?;
                return Err(Error::Start(format!("{} ({status})", log.last_words().await)));
            }
            () = ready(&self.layout, pid) => {}
            grace = requested(&mut self.stop) => return Ok(asked(&mut child, grace).await),
        }
        self.enter(Phase::Ready, pid);
        tracing::info!(
            directory = %self.layout.root().display(),
            version = prepared.binaries.major,
            "the embedded PostgreSQL is ready"
        );
        if let Some(started) = started.take() {
            // Whoever no longer waits has dropped the handle, which is a request to stop.
            let _abandoned = started.send(Ok(()));
        }
        let since = Instant::now();
        tokio::select! {
            status = child.wait() => {
                Ok(Ending::Died(status.map_err(wait_failed)?, since.elapsed()))
            }
            grace = requested(&mut self.stop) => Ok(asked(&mut child, grace).await),
        }
    }

    fn command(&self, prepared: &Prepared) -> Command {
        let layout = &self.layout;
        let (program, account) = (prepared.binaries.postgres(), prepared.account.as_ref());
        let mut command = process::command(&program, layout.root(), account);
        command.arg("-D").arg(layout.cluster());
        command.arg("-c").arg(socket_directories(layout));
        for (name, value) in settings(self.options.durability) {
            command.args(setting(name, value));
        }
        for (name, value) in &self.options.settings {
            command.args(setting(name, value));
        }
        command
    }

    fn count_crash(&self, status: ExitStatus) {
        tracing::error!(%status, "the embedded PostgreSQL died; starting it again");
        metrics::counter!("portcullis_embedded_postgres_crashes_total").increment(1);
        self.state.send_modify(|state| {
            let crashes = state.crashes.saturating_add(1);
            *state = State { phase: Phase::Restarting, pid: None, crashes };
        });
    }

    fn enter(&self, phase: Phase, pid: Option<u32>) {
        self.state.send_modify(|state| {
            state.phase = phase;
            state.pid = pid;
        });
    }
}

fn settings(durability: Durability) -> impl Iterator<Item = (&'static str, &'static str)> {
    let always = [
        ("port", "5432"), // part of the socket's name, nothing else
        ("listen_addresses", ""),
        ("unix_socket_permissions", "0700"),
        ("max_connections", "100"),
        // A statement whose client is gone must not keep its locks.
        ("client_connection_check_interval", "200ms"),
        ("timezone", "UTC"),
        // To the pipe that we read, and nothing in it that a client sent: no statements, no
        // values, no errors that the client is told anyway.
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("log_line_prefix", ""),
        ("log_min_messages", "log"),
        ("log_min_error_statement", "panic"),
        ("log_error_verbosity", "terse"),
    ];
    let fsync = match durability {
        Durability::Full => "on",
        Durability::OffForTests => "off",
    };
    let durable = [("fsync", fsync), ("full_page_writes", fsync), ("synchronous_commit", "on")];
    always.into_iter().chain(durable)
}

/// The setting is a list; quoted, a comma or a blank in the path does not part it.
fn socket_directories(layout: &Layout) -> std::ffi::OsString {
    let mut setting = std::ffi::OsString::from("unix_socket_directories=");
    let run = layout.run();
    match run.to_str() {
        Some(run) => setting.push(format!("\"{}\"", run.replace('"', "\"\""))),
        None => setting.push(run),
    }
    setting
}

/// Returns when `postmaster.pid` says that this very process accepts connections.
async fn ready(layout: &Layout, pid: Option<u32>) {
    let begun = Instant::now();
    let mut next_word = STILL_STARTING;
    let ours = |postmaster: &Postmaster| {
        u32::try_from(postmaster.pid).ok() == pid && postmaster.status == "ready"
    };
    while !layout.postmaster().as_ref().is_some_and(ours) {
        if begun.elapsed() > next_word {
            tracing::warn!(
                seconds = begun.elapsed().as_secs(),
                "the embedded PostgreSQL is still starting"
            );
            next_word += STILL_STARTING;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Returns when we should stop, with the time that an orderly stop may take.
async fn requested(stop: &mut StopRequest) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or(STOP_GRACE),
        // The handle is gone without a word.
        Err(_closed) => STOP_GRACE,
    }
}

async fn asked(child: &mut Child, grace: Duration) -> Ending {
    process::stop(child, grace).await;
    Ending::Asked
}
