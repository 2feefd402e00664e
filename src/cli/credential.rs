//! How the client commands say who calls.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::Failure;
use super::text::read_file;
use crate::grpc::client::is_private;

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

    /// Send the token although others can read it on the way: to another machine, by `http`
    #[arg(long, env = "PORTCULLIS_CLIENT_INSECURE", value_parser = BoolishValueParser::new())]
    insecure: bool,
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
    /// The token for this server, if one was given.
    ///
    /// # Errors
    /// It cannot be read, or others could read it on the way.
    pub(crate) fn token(&self, server: &str) -> Result<Option<String>, Failure> {
        let text = match (&self.token_file, &self.token) {
            (Some(path), _) => read_file(path)?,
            (None, Some(token)) => token.0.clone(),
            (None, None) => return Ok(None),
        };
        let token = text.trim();
        if token.is_empty() {
            return Ok(None);
        }
        if !self.insecure && !is_private(server) {
            return Err(Failure::Text(format!(
                "the token is not sent to `{server}`, as others could read it on the way: write \
                 `https://`, or say `--insecure` if something else keeps strangers out"
            )));
        }
        Ok(Some(token.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(token: Option<&str>, insecure: bool) -> CredentialArguments {
        let token = token.map(|token| Secret(token.to_owned()));
        CredentialArguments { token, token_file: None, insecure }
    }

    #[test]
    fn aut_2_a_token_is_not_sent_where_others_can_read_it() {
        let (open, private) = ("http://portcullis.example:50051", "https://portcullis.example");
        let token = given(Some("secret"), false);
        assert_eq!(token.token(private).unwrap(), Some("secret".to_owned()));
        let refused = token.token(open).unwrap_err().to_string();
        assert!(refused.contains("`https://`") && refused.contains("`--insecure`"), "{refused}");
        assert!(!refused.contains("secret"), "{refused}");
        let permitted = given(Some("secret"), true).token(open).unwrap();
        assert_eq!(permitted, Some("secret".to_owned()));
        for none in [None, Some(" ")] {
            assert_eq!(given(none, false).token(open).unwrap(), None, "nothing to keep");
        }
    }
}
