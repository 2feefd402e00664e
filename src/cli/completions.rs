//! `portcullis completions`: what a shell needs to complete our arguments.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Outcome, output};

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  source <(portcullis completions bash)
  portcullis completions zsh > ~/.zfunc/_portcullis
  portcullis completions fish > ~/.config/fish/completions/portcullis.fish";

/// Prints the script.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "portcullis", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end());
    Outcome::Yes
}
