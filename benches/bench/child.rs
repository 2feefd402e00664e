//! This program started again, for what has to be measured in a process of its own. A child prints
//! one line when it is ready, and ends when its standard input closes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child as Process, Command, Stdio};

use super::{Outcome, decide, front_door, load, overload, servers, visible};

/// What tells a child from the measurement.
pub const FLAG: &str = "--child";

/// Runs as a child.
pub async fn run(role: &str, arguments: &[&str]) -> Outcome<()> {
    match (role, arguments) {
        ("decide", [grants]) => decide::run(grants).await,
        ("serve", [directory]) => front_door::serve(directory.into()).await,
        ("load", [url, organization]) => load::load(url, organization).await,
        ("follow", [url]) => visible::follow(url).await,
        ("serve-one-core", [directory]) => overload::serve(directory.into()).await,
        ("wire", [directory]) => servers::serve(directory.as_ref()).await,
        ("batch", [directory]) => servers::serve_one(directory.as_ref()).await,
        _ => Err(format!("no child `{role}` with {} arguments", arguments.len()).into()),
    }
}

/// Tells the parent that the child is ready, and waits until the parent is done with it.
pub async fn ready(line: impl std::fmt::Display) -> Outcome<()> {
    println!("{line}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

/// A child that is ready. Dropping it ends it.
pub struct Child {
    process: Process,
    /// The line that it printed.
    pub line: String,
}

impl Child {
    pub fn start(role: &str, arguments: &[&str]) -> Outcome<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(FLAG)
            .arg(role)
            .args(arguments)
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { process, line: line.trim().to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// CPU time that its threads have used.
    ///
    /// The kernel has a number for the whole process too, which knows of threads that have ended.
    /// But it counts hundredths of a second, and a turn that is measured takes only a few.
    pub fn cpu(&self) -> Outcome<Cpu> {
        let mut threads = BTreeMap::new();
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let thread = thread?;
            // It may have ended since it was listed.
            let Ok(text) = std::fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let nanos = text.split_whitespace().next().ok_or("no schedstat")?.parse()?;
            threads.insert(thread.file_name(), nanos);
        }
        if threads.is_empty() {
            return Err("this kernel does not tell the CPU time of threads (schedstat)".into());
        }
        Ok(Cpu(threads))
    }
}

/// CPU time of the threads of a process, in nanoseconds, by their ids.
pub struct Cpu(BTreeMap<OsString, u64>);

impl Cpu {
    /// Nanoseconds since an earlier look. Compared thread by thread: idle ones end, and take all
    /// that they ever used out of the sum. What a thread used in the meantime is lost if it ended,
    /// and one that has got the id of another counts for what it used beyond that.
    pub fn since(&self, before: &Self) -> u64 {
        let used = |(thread, nanos): (&OsString, &u64)| {
            nanos.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
        };
        self.0.iter().map(used).sum()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}
