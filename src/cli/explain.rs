//! `portcullis explain`: why a decision is what it is, as a tree.

use clap::Args;

use super::check::{self, Question};
use super::{ClientArguments, Failure, Outcome, explanation, output, text};
use crate::domain::{ItemKey, PortfolioId, Subject, Timestamp};
use crate::proto::v1;

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Who would act: `user:ann`, `group:sig-release` or `service_account:ci`
    subject: Subject,

    /// What they would do, such as `initiative.edit`
    permission: String,

    /// The id of the portfolio
    portfolio: PortfolioId,

    /// The item acted on, or in which it is: `board:b1`
    #[arg(long, env = "PORTCULLIS_ITEM", value_name = "TYPE:ID")]
    item: Option<ItemKey>,

    /// Who made the thing that is acted on, for what may be done to own things only
    #[arg(long, env = "PORTCULLIS_ITEM_AUTHOR", value_name = "SUBJECT")]
    item_author: Option<Subject>,

    /// How fresh: `minimize-latency`, `fully-consistent` or a consistency token
    #[arg(long, env = "PORTCULLIS_CONSISTENCY", value_name = "HOW")]
    #[arg(default_value = "fully-consistent", value_parser = text::parse_consistency)]
    consistency: v1::Consistency,

    /// The moment to ask about, such as `2026-03-31T12:00:00Z`; now unless given
    #[arg(long, env = "PORTCULLIS_AT", value_name = "TIME", value_parser = text::parse_time)]
    at: Option<Timestamp>,

    #[command(flatten)]
    client: ClientArguments,
}

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis explain user:ann initiative.edit apollo
  portcullis explain user:ann comment.edit apollo --item-author user:ben
  portcullis explain user:ann comment.create apollo --item board:b1
  portcullis explain user:ann portfolio.view apollo --at 2030-01-01T00:00:00Z --json

Each branch is a way by which the subject reaches the portfolio, in force or not, and what it means
for the permission. A denial also says which roles would allow it, and who could give one.

Status 0: allowed. 1: denied. 2: error.";

/// Asks, prints the tree; denied is a *no*.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { subject, permission, portfolio, item, item_author, at, .. } = arguments;
    let (item, item_author) = (item.as_ref(), item_author.as_ref());
    let question = Question { subject, permission, portfolio, item, item_author, at: *at };
    let request = question.explain_request(&arguments.consistency);
    let answer = arguments.client.connect().await?.explain_permission(request).await?;
    if arguments.client.json {
        output::line(explanation::json(&answer));
    } else {
        let verdict = if answer.allowed { "allowed" } else { "denied" };
        let verdict = output::verdict(answer.allowed, verdict);
        let reason = text::reason_text(answer.reason);
        output::line(format_args!("{verdict}: {} ({reason})", check::sentence(answer.reason)));
        output::line(format_args!("{subject} {permission} {portfolio}"));
        explanation::tree(&answer, permission).iter().for_each(output::line);
        if let Some(until) = &answer.hold_until {
            let until = text::time_text(text::time_of(until));
            output::line(format_args!("unless something is written, until {until}"));
        }
    }
    Ok(if answer.allowed { Outcome::Yes } else { Outcome::No })
}
