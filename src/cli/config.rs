//! `portcullis config`: the effective settings, and where each comes from.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use serde_json::{Map, Value, json};

use super::{Failure, Outcome, output};
use crate::config::Config;
use crate::embedded_postgres;

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: Config,

    /// Print JSON, for programs
    #[arg(long, env = "PORTCULLIS_JSON")]
    #[arg(value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

/// Prints the settings, secrets masked, then refuses those with which no server would start.
pub(crate) fn run(arguments: &Arguments, matches: Option<&ArgMatches>) -> Result<Outcome, Failure> {
    let config = Config { data_dir: data_dir(&arguments.config), ..arguments.config.clone() };
    let settings = config.settings();
    let source = |name: &str| {
        let id = name.replace('-', "_");
        matches.and_then(|matches| matches.value_source(&id))
    };
    if arguments.json {
        let entry = |(name, value): (&'static str, String)| {
            let source = source_text(name, source(name));
            (name.to_owned(), json!({ "value": value, "source": source }))
        };
        let settings: Map<String, Value> = settings.into_iter().map(entry).collect();
        output::line(Value::Object(settings));
    } else {
        for (name, value) in settings {
            let source = source_text(name, source(name));
            output::line(format_args!("{name} = {value}  # {source}"));
        }
    }
    config.validate()?;
    Ok(Outcome::Yes)
}

/// Where the server's own PostgreSQL keeps its data; none if it uses another.
pub(super) fn data_dir(config: &Config) -> Option<PathBuf> {
    let named = || config.data_dir.clone().unwrap_or_else(embedded_postgres::default_data_dir);
    config.database_url.is_none().then(named)
}

fn source_text(name: &str, source: Option<ValueSource>) -> String {
    match source {
        Some(ValueSource::CommandLine) => format!("--{name}"),
        Some(ValueSource::EnvVariable) => {
            format!("PORTCULLIS_{}", name.to_uppercase().replace('-', "_"))
        }
        _ => "default".to_owned(),
    }
}
