//! What is printed: for people, or JSON for programs.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::telemetry::colours;

/// Below this many steps a progress bar would only flicker.
const LONG: usize = 100;

/// Prints a line. A reader who has gone away (`| head`) is no reason to fail.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Prints a remark for people where it does not get into a program's input.
pub(crate) fn remark(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
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
