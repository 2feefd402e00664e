//! The program as a user runs it: the binary, its arguments, what it prints, how it ends.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A run of the program, with none of the caller's settings.
pub fn portcullis(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).env_clear();
    command
}

/// Runs it to its end: exit status, standard output, standard error.
pub fn run(arguments: &[&str]) -> (i32, String, String) {
    told(portcullis(arguments).output().unwrap())
}

/// Exit status, standard output, standard error.
pub fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A file in a folder of its own, which is gone when the test ends.
pub fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

/// `portcullis serve` on a database, on a port of its own. Killed when dropped.
pub struct Serving {
    process: Child,
    /// What `--server` is to be.
    pub uri: String,
}

impl Serving {
    /// Starts it; returns when it says that it listens.
    pub fn start(database_url: &str, arguments: &[&str]) -> Self {
        let mut command = portcullis(&["serve", "--listen", "127.0.0.1:0", "--log", "warn"]);
        command.args(["--database-url", database_url]).args(arguments);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server ended before it listened").unwrap();
            if let Some(address) = line.strip_prefix("portcullis listens on ") {
                break address.to_owned();
            }
        };
        Self { process, uri: format!("http://{address}") }
    }

    /// Runs a client command against it.
    pub fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        told(self.command(arguments).output().unwrap())
    }

    /// A client command against it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = portcullis(arguments);
        command.args(["--server", &self.uri]);
        command
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Asks it to stop, as a supervisor does, and returns how it ended.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.process.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}
