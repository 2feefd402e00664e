//! The command line: arguments and subcommands. The client commands talk gRPC, as anybody's client
//! would; they know nothing of the server's insides.
//!
//! Exit status: 0 allowed or done, 1 denied or differing, 2 error.

use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::Config;
use crate::domain::Subject;
use crate::grpc::client::{CallError, Client};

pub mod apply;
mod check;
mod config;
mod credential;
mod health;
mod migrate;
pub mod output;
mod serve;
mod text;
mod token;
mod verify;

/// Decides who may do what in a portfolio, and runs the whole life of that access
#[derive(Debug, Parser)]
#[command(name = "portcullis", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<Config>),
    /// Bring the database's tables up to date
    Migrate(Box<Config>),
    /// Make the server's content what a file says
    Apply(apply::Arguments),
    /// Ask whether a subject has a permission on a portfolio
    Check(check::Arguments),
    /// Compare the server's decisions with expected ones
    Verify(verify::Arguments),
    /// Make a token for development, and the keys to sign it with
    Token(token::Arguments),
    /// Print the effective settings of the server
    Config(config::Arguments),
    /// Ask whether a server is ready
    Health(health::Arguments),
}

/// What every client command can be told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClientArguments {
    /// The server to talk to
    #[arg(long, env = "PORTCULLIS_SERVER", value_name = "URI")]
    #[arg(default_value = "http://127.0.0.1:50051")]
    pub server: String,

    /// On whose behalf: `user:ann` or `service_account:ci`; the system unless given
    #[arg(long, env = "PORTCULLIS_ACTOR", value_name = "SUBJECT", value_parser = parse_actor)]
    pub actor: Option<Subject>,

    #[command(flatten)]
    pub credential: credential::CredentialArguments,

    /// Print JSON, for programs
    #[arg(long, env = "PORTCULLIS_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

impl ClientArguments {
    async fn connect(&self) -> Result<Client, Failure> {
        let token = self.credential.token()?;
        let client = Client::connect(&self.server, self.actor.as_ref()).await?;
        Ok(match token {
            Some(token) => client.with_token(&token)?,
            None => client,
        })
    }
}

fn parse_actor(text: &str) -> Result<Subject, String> {
    match text.parse() {
        Ok(Subject::Group(_)) => Err("a group does not act; name a user".to_owned()),
        Ok(actor) => Ok(actor),
        Err(error) => Err(format!("{error}")),
    }
}

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Allowed, or done.
    Yes,
    /// Denied, or differing.
    No,
}

/// Why a command failed; printed after `error: `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::TelemetryError),
    #[error(transparent)]
    Start(#[from] crate::server::StartError),
    #[error(transparent)]
    File(#[from] text::FileError),
    #[error("{0}")]
    Text(String),
}

/// Runs the program: reads the arguments, does what they say, and tells how it ended.
#[must_use]
pub fn main() -> ExitCode {
    // Prints help, version and mistakes by itself, the latter with status 2.
    let matches = Cli::command().get_matches();
    let command = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(command, &matches)),
        Err(error) => Err(Failure::Text(format!("cannot start threads: {error}"))),
    };
    match ended {
        Ok(Outcome::Yes) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Err(failure) => {
            output::error(&failure);
            ExitCode::from(2)
        }
    }
}

async fn run(command: Command, matches: &ArgMatches) -> Result<Outcome, Failure> {
    match command {
        Command::Serve(config) => serve::run(&config).await,
        Command::Migrate(config) => migrate::run(&config).await,
        Command::Apply(arguments) => apply::run(&arguments).await,
        Command::Check(arguments) => check::run(&arguments).await,
        Command::Verify(arguments) => verify::run(&arguments).await,
        Command::Config(arguments) => {
            let given = matches.subcommand_matches("config");
            config::run(&arguments, given)
        }
        Command::Token(arguments) => token::run(&arguments),
        Command::Health(arguments) => health::run(&arguments).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_also_an_environment_variable() {
        let command = Cli::command();
        for subcommand in command.get_subcommands() {
            for argument in subcommand.get_arguments() {
                let Some(long) = argument.get_long().filter(|long| *long != "help") else {
                    continue;
                };
                let name = format!("PORTCULLIS_{}", long.to_uppercase().replace('-', "_"));
                let variable = argument.get_env().and_then(|name| name.to_str());
                assert_eq!(variable, Some(name.as_str()), "--{long}");
            }
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_group_does_not_act() {
        assert!(parse_actor("user:ann").is_ok());
        assert!(parse_actor("service_account:ci").is_ok());
        assert!(parse_actor("group:ops").is_err());
        assert!(parse_actor("ann").is_err());
    }
}
