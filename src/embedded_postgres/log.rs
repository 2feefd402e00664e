//! What PostgreSQL writes to its standard error: passed on to our log, the end of it remembered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::task::JoinHandle;

/// Enough for the reason of a failed start and what led to it.
const REMEMBERED_LINES: usize = 12;

/// How long to wait for the last words of a process that has ended. Its children may hold the
/// pipe open for longer.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Reads on until the pipe ends or this is dropped.
#[derive(Debug)]
pub(super) struct LogReader {
    lines: Arc<Mutex<VecDeque<String>>>,
    task: JoinHandle<()>,
}

impl LogReader {
    /// Must be called on a tokio runtime.
    pub(super) fn new(pipe: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let remembered = Arc::clone(&lines);
        let task = tokio::spawn(async move {
            if let Some(pipe) = pipe {
                read(pipe, &remembered).await;
            }
        });
        Self { lines, task }
    }

    /// What the process said last, as one line. Call it when the process has ended.
    pub(super) async fn last_words(&mut self) -> String {
        // Late words are lost, no harm: the error then says less.
        let _late = tokio::time::timeout(LAST_WORDS, &mut self.task).await;
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        summary(lines.iter().map(String::as_str))
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(pipe: impl AsyncRead + Unpin, remembered: &Mutex<VecDeque<String>>) {
    let mut pipe = BufReader::new(pipe);
    let mut bytes = Vec::new();
    // By bytes: one path that is not UTF-8 must not end the log.
    while matches!(pipe.read_until(b'\n', &mut bytes).await, Ok(length) if length > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        bytes.clear();
        if is_grave(&line) {
            tracing::warn!(target: "portcullis::postgresql", "{line}");
        } else {
            tracing::debug!(target: "portcullis::postgresql", "{line}");
        }
        let mut lines = remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == REMEMBERED_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Whether an operator should see the line. A connection that is ended on purpose, as all are when
/// the server stops, calls that fatal too.
fn is_grave(line: &str) -> bool {
    ["FATAL:", "PANIC:"].iter().any(|level| line.starts_with(level))
        && !line.ends_with("due to administrator command")
}

/// The lines that say what went wrong; all of them if none claims to.
fn summary<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> String {
    let grave = |line: &&str| {
        ["FATAL:", "PANIC:", "ERROR:", "initdb: error:", "HINT:", "DETAIL:"]
            .iter()
            .any(|level| line.starts_with(level))
    };
    let mut chosen: Vec<&str> = lines.clone().filter(grave).collect();
    if chosen.is_empty() {
        chosen = lines.filter(|line| !line.is_empty()).collect();
    }
    if chosen.is_empty() { "it said nothing".to_owned() } else { chosen.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_not_grave() {
        assert!(is_grave("FATAL:  could not open the log"));
        assert!(!is_grave("FATAL:  terminating connection due to administrator command"));
        assert!(!is_grave("LOG:  starting"));
    }

    #[test]
    fn a_summary_prefers_what_went_wrong() {
        let lines = ["LOG:  starting", "FATAL:  no memory", "LOG:  shut down"];
        assert_eq!(summary(lines.into_iter()), "FATAL:  no memory");
        assert_eq!(summary(["one", "", "two"].into_iter()), "one; two");
        assert_eq!(summary([""].into_iter()), "it said nothing");
    }
}
