//! `portcullis health`: for a container's health check.

use clap::Args;
use serde_json::json;

use super::{ClientArguments, Failure, Outcome, output};

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
}

/// Asks the server whether it is ready. Nobody there is a *no* too: to a health check, status 1 is
/// unhealthy and 2 is reserved.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let asked = match arguments.client.connect().await {
        Ok(client) => client.is_serving().await,
        Err(error) => Err(error),
    };
    if let Err(error) = &asked {
        output::error(error);
    }
    let serving = matches!(asked, Ok(true));
    if arguments.client.json {
        output::line(json!({ "serving": serving }));
    } else {
        output::line(output::verdict(serving, if serving { "serving" } else { "not serving" }));
    }
    Ok(if serving { Outcome::Yes } else { Outcome::No })
}
