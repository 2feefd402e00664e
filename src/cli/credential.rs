//! How the client commands say who calls.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::Failure;
use super::text::read_file;

/// What every client command can be told about its credential.
#[derive(Args, Clone, Debug)]
pub(crate) struct CredentialArguments {
    /// The bearer token to call with; others on this machine see arguments, so better put it into
    /// the environment or a file
    #[arg(long, env = "PORTCULLIS_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<Secret>,

    /// A file with the bearer token; goes before `--token`
    #[arg(long, env = "PORTCULLIS_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A text that does not show itself.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

impl CredentialArguments {
    /// The token, if one was given.
    pub(crate) fn token(&self) -> Result<Option<String>, Failure> {
        let text = match (&self.token_file, &self.token) {
            (Some(path), _) => read_file(path)?,
            (None, Some(token)) => token.0.clone(),
            (None, None) => return Ok(None),
        };
        let token = text.trim();
        Ok((!token.is_empty()).then(|| token.to_owned()))
    }
}
