//! The command line: arguments and subcommands. The client commands talk gRPC, as anybody's client
//! would; they know nothing of the server's insides.
//!
//! Exit status: 0 allowed or done, 1 denied or differing, 2 error.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config::Config;
use crate::domain::Subject;
use crate::grpc::client::{Client, ClientTls};

pub(crate) use self::failure::Failure;

pub mod apply;
mod audit;
pub mod bench;
mod check;
mod compare;
mod completions;
mod config;
mod credential;
mod explain;
mod explanation;
mod export;
mod failure;
mod health;
mod inventory;
mod list_portfolios;
mod migrate;
pub mod output;
mod questions;
mod serve;
mod table;
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
    #[command(after_help = apply::EXAMPLES)]
    Apply(apply::Arguments),
    /// Write what an organization has as a file that `apply` reads
    #[command(after_help = export::EXAMPLES)]
    Export(export::Arguments),
    /// Ask whether a subject has a permission on a portfolio
    #[command(after_help = check::EXAMPLES)]
    Check(check::Arguments),
    /// Ask why a subject has a permission on a portfolio, or why not
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Arguments),
    /// Ask where a subject has a permission
    #[command(after_help = list_portfolios::EXAMPLES)]
    ListPortfolios(list_portfolios::Arguments),
    /// Show what linking a portfolio to its parent would change
    #[command(after_help = compare::EXAMPLES)]
    Compare(compare::Arguments),
    /// Compare the server's decisions with expected ones
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Arguments),
    /// Ask a server so and so often a second, and measure how it answers
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::Arguments),
    /// Show what has changed in a portfolio or an organization, the newest first
    #[command(after_help = audit::EXAMPLES)]
    Audit(audit::Arguments),
    /// Make a token for development, and the keys to sign it with
    Token(token::Arguments),
    /// Print the effective settings of the server
    Config(config::Arguments),
    /// Ask whether a server is ready
    Health(health::Arguments),
    /// Print the completions for a shell
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::Arguments),
}

/// What every client command can be told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClientArguments {
    /// The server to talk to, `http://host:port` or `https://host:port`
    #[arg(long, env = "PORTCULLIS_SERVER", value_name = "URI")]
    #[arg(default_value = "http://127.0.0.1:50051")]
    pub server: String,

    /// On whose behalf: `user:ann` or `service_account:ci`; the system unless given
    #[arg(long, env = "PORTCULLIS_ACTOR", value_name = "SUBJECT", value_parser = parse_actor)]
    pub actor: Option<Subject>,

    #[command(flatten)]
    pub credential: credential::CredentialArguments,

    /// Trust servers of these authorities (PEM) instead of those that this machine trusts
    #[arg(long, env = "PORTCULLIS_CA_CERT", value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,

    /// Show this certificate (PEM) to the server
    #[arg(long, env = "PORTCULLIS_CLIENT_CERT", value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,

    /// The private key of `--client-cert` (PEM)
    #[arg(long, env = "PORTCULLIS_CLIENT_KEY", value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,

    /// Print JSON, for programs; errors too, as `{"error": {"code", "reason", "message",
    /// "metadata"}}` on standard error
    #[arg(long, env = "PORTCULLIS_JSON", value_parser = BoolishValueParser::new())]
    pub json: bool,
}

impl ClientArguments {
    async fn connect(&self) -> Result<Client, Failure> {
        let (token, tls) = (self.credential.token(&self.server)?, self.tls()?);
        let client = Client::connect(&self.server, self.actor.as_ref(), &tls).await?;
        Ok(match token {
            Some(token) => client.with_token(&token)?,
            None => client,
        })
    }

    fn tls(&self) -> Result<ClientTls, Failure> {
        let mut tls = ClientTls::default();
        if let Some(path) = &self.ca_cert {
            let unusable = |why| Failure::Text(format!("`{}` {why}", path.display()));
            tls = tls.trusting(&read(path)?).map_err(unusable)?;
        }
        if let (Some(certificate), Some(key)) = (&self.client_cert, &self.client_key) {
            let files = format!("`{}` or `{}`", certificate.display(), key.display());
            let unusable = |why| Failure::Text(format!("{files} {why}"));
            tls = tls.showing(&read(certificate)?, &read(key)?).map_err(unusable)?;
        }
        Ok(tls)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let unread = |error| Failure::Text(format!("cannot read `{}`: {error}", path.display()));
    std::fs::read(path).map_err(unread)
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

/// Runs the program: reads the arguments, does what they say, and tells how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return mistaken(&error),
    };
    let command = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => return mistaken(&error),
    };
    let json = wants_json(&matches);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(command, &matches)),
        Err(error) => Err(Failure::Text(format!("cannot start threads: {error}"))),
    };
    let ended = match (ended, output::lost()) {
        (Ok(_), Some(lost)) => Err(Failure::Output(lost)),
        (ended, _) => ended,
    };
    match ended {
        Ok(Outcome::Yes) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Err(failure) => {
            failure.print(json);
            ExitCode::from(2)
        }
    }
}

/// Prints help or version, which were asked for, or what is wrong with the arguments.
fn mistaken(error: &clap::Error) -> ExitCode {
    // Nothing has told yet whether `--json` would have been understood.
    let flag = std::env::args_os().any(|argument| argument == "--json");
    let variable = std::env::var("PORTCULLIS_JSON").unwrap_or_default();
    let variable = matches!(variable.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
    if error.use_stderr() && (flag || variable) {
        let text = error.to_string();
        let text = text.trim_end().trim_start_matches("error: ").to_owned();
        Failure::Arguments(text).print(true);
    } else if error.print().is_err() && !error.use_stderr() {
        return ExitCode::from(2);
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Whether the command is one that prints JSON, and was told to.
fn wants_json(matches: &ArgMatches) -> bool {
    let Some((_, matches)) = matches.subcommand() else { return false };
    matches!(matches.try_get_one::<bool>("json"), Ok(Some(true)))
}

async fn run(command: Command, matches: &ArgMatches) -> Result<Outcome, Failure> {
    match command {
        Command::Serve(config) => serve::run(&config).await,
        Command::Migrate(config) => migrate::run(&config).await,
        Command::Apply(arguments) => apply::run(&arguments).await,
        Command::Export(arguments) => export::run(&arguments).await,
        Command::Check(arguments) => check::run(&arguments).await,
        Command::Explain(arguments) => explain::run(&arguments).await,
        Command::ListPortfolios(arguments) => list_portfolios::run(&arguments).await,
        Command::Compare(arguments) => compare::run(&arguments).await,
        Command::Audit(arguments) => audit::run(&arguments).await,
        Command::Verify(arguments) => verify::run(&arguments).await,
        Command::Bench(arguments) => bench::run(&arguments).await,
        Command::Config(arguments) => {
            let given = matches.subcommand_matches("config");
            config::run(&arguments, given)
        }
        Command::Token(arguments) => token::run(&arguments),
        Command::Health(arguments) => health::run(&arguments).await,
        Command::Completions(arguments) => Ok(completions::run(&arguments)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_also_an_environment_variable() {
        let command = Cli::command();
        for subcommand in command.get_subcommands() {
            let mut arguments = subcommand.get_arguments();
            let is_client = arguments.any(|argument| argument.get_long() == Some("server"));
            for argument in subcommand.get_arguments() {
                let Some(long) = argument.get_long().filter(|long| *long != "help") else {
                    continue;
                };
                // A file of questions from the environment would contradict the question that is
                // given.
                if long == "questions" {
                    assert_eq!(argument.get_env(), None);
                    continue;
                }
                // What a server is permitted, its clients in the same environment are not.
                let name = if is_client && long == "insecure" { "client-insecure" } else { long };
                let name = format!("PORTCULLIS_{}", name.to_uppercase().replace('-', "_"));
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
