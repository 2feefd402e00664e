//! Starting and stopping one of PostgreSQL's programs.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::account::Account;

/// How long PostgreSQL may take to give up everything at once before it is killed.
const QUIT_GRACE: Duration = Duration::from_secs(5);

/// A command that runs as `account`, in `directory`, with its standard error piped, and that ends
/// with the *thread* that spawns it.
pub(super) fn command(program: &Path, directory: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    command
        // Not the caller's: the account may not be able to enter it.
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A group of its own, so that Ctrl-C reaches us alone, and we stop PostgreSQL in order.
        .process_group(0)
        // The last resort, if this thread should panic.
        .kill_on_drop(true);
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    for (name, _) in std::env::vars_os() {
        // PGPORT, PGDATA and their kin are meant for other servers.
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(&name);
        }
    }
    // Plain English in the log, so that it can be told what went wrong.
    command.env("LC_ALL", "C");
    die_with_parent(&mut command);
    command
}

/// `-c name=value`
pub(super) fn setting(name: &str, value: &str) -> [OsString; 2] {
    ["-c".into(), format!("{name}={value}").into()]
}

/// Has the kernel interrupt the process (SIGINT: PostgreSQL's orderly stop) when the thread that
/// spawns it ends, hence also when all of this process is killed.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "`pre_exec` is the only hook between fork and exec")]
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let prepare = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::INT))?;
        // The parent may have gone before the line above; then no signal would ever come.
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(rustix::io::Errno::SRCH.into())
        }
    };
    // SAFETY: between fork and exec only what is async-signal-safe may be done. The closure makes
    // two system calls, neither allocates nor locks, and it captures an integer.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Other systems have no such signal: there our own exit paths stop PostgreSQL.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}

/// Stops a PostgreSQL: in order within `grace`, at once without a last checkpoint after that, by
/// force at the end. None of them loses a commit.
pub(super) async fn stop(child: &mut Child, grace: Duration) {
    for (signal, patience) in [(Signal::INT, grace), (Signal::QUIT, QUIT_GRACE)] {
        // No id: it has ended and was waited for. A failed kill: it is just ending.
        if let Some(pid) = pid(child) {
            let _ending = kill_process(pid, signal);
        }
        if tokio::time::timeout(patience, child.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(?signal, "the embedded PostgreSQL does not stop; being harsher");
    }
    if let Err(error) = child.kill().await {
        tracing::error!(%error, "the embedded PostgreSQL cannot be killed");
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}
