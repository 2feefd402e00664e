//! `portcullis migrate`: brings the tables up to date, and ends. `serve` does the same on its
//! start; this is for those who want it done before, by somebody with more rights.

use super::{Failure, Outcome, output};
use crate::config::Config;
use crate::storage::migrate;

/// Migrates the database of the settings.
pub(crate) async fn run(config: &Config) -> Result<Outcome, Failure> {
    config.validate()?;
    let Some(url) = &config.database_url else {
        // On its own database the server is alone, and has every right already.
        let text = "there is no database to migrate: name one with `--database-url`; the server's \
                    own is migrated whenever it starts";
        return Err(Failure::Text(text.to_owned()));
    };
    migrate(url.as_str())
        .await
        .map_err(|error| Failure::Text(format!("cannot migrate `{url}`: {error}")))?;
    output::line(format_args!("the tables of `{url}` are up to date"));
    Ok(Outcome::Yes)
}
