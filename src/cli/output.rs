//! What is printed: for people, or JSON for programs.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::telemetry::colours;

/// Below this many steps a progress bar would only flicker.
const LONG: usize = 100;

/// Why something that was printed did not arrive; the first time.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a line. If it does not arrive, the command goes on, and ends as [`lost`] says.
pub(crate) fn line(text: impl Display) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
        // Without effect if something was lost before.
        let _first = LOST.set(error);
    }
}

/// Why standard output is incomplete, if it is. A reader who has gone away (`| head`) has what they
/// wanted.
pub(crate) fn lost() -> Option<String> {
    if let Err(error) = std::io::stdout().lock().flush() {
        let _first = LOST.set(error);
    }
    let error = LOST.get().filter(|error| error.kind() != ErrorKind::BrokenPipe)?;
    Some(format!("cannot write to standard output: {error}"))
}

/// Prints a remark for people where it does not get into a program's input.
pub(crate) fn remark(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a question, and stays on its line.
pub(crate) fn ask(text: impl Display) {
    let mut target = std::io::stderr().lock();
    let _ = write!(target, "{text}").and_then(|()| target.flush());
}

/// Prints why a command failed.
pub(crate) fn error(failure: &impl Display) {
    let label = if colours(&std::io::stderr()) { "\x1b[1;31merror\x1b[0m" } else { "error" };
    remark(format_args!("{label}: {failure}"));
}

/// The text in green for good news, in red for bad, if standard output is a terminal.
pub(crate) fn verdict(good: bool, text: &str) -> String {
    match (colours(&std::io::stdout()), good) {
        (true, true) => format!("\x1b[32m{text}\x1b[0m"),
        (true, false) => format!("\x1b[31m{text}\x1b[0m"),
        (false, _) => text.to_owned(),
    }
}

/// A bar on standard error, if that is a terminal and there is much to do.
pub(crate) fn progress(what: &'static str, steps: usize) -> ProgressBar {
    if steps < LONG || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let target = ProgressDrawTarget::stderr();
    let bar = ProgressBar::with_draw_target(u64::try_from(steps).ok(), target);
    let style = ProgressStyle::with_template("{prefix:>10} {wide_bar} {pos}/{len}");
    bar.with_prefix(what).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
