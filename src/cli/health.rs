//! `portcullis health`: for a container's health check.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{ClientArguments, Failure, Outcome, output};

/// Whoever does not answer within this time is not well.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    client: ClientArguments,
}

/// Asks the server whether it is ready. Nobody there is a *no* too: to a health check, status 1 is
/// unhealthy and 2 is reserved.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let asking = async {
        match arguments.client.connect().await {
            Ok(client) => client.is_serving().await.map_err(Failure::from),
            Err(error) => Err(error),
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    let serving = matches!(asked, Ok(Ok(true)));
    let late = "nobody has answered within two seconds";
    match asked {
        Ok(Err(error)) => error.print(arguments.client.json),
        Err(_) => Failure::Text(late.to_owned()).print(arguments.client.json),
        Ok(Ok(_)) => {}
    }
    if arguments.client.json {
        output::line(json!({ "serving": serving }));
    } else {
        output::line(output::verdict(serving, if serving { "serving" } else { "not serving" }));
    }
    Ok(if serving { Outcome::Yes } else { Outcome::No })
}
