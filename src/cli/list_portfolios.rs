//! `portcullis list-portfolios`: where a subject may do something.

use clap::Args;
use serde_json::json;

use super::inventory::pages;
use super::table::Table;
use super::{ClientArguments, Failure, Outcome, output, text};
use crate::domain::{OrganizationId, Subject, Timestamp};
use crate::proto::v1;

const PAGE_SIZE: i32 = 1_000;

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Who would act: `user:ann`, `group:sig-release` or `service_account:ci`
    subject: Subject,

    /// What they would do, such as `initiative.edit`
    permission: String,

    /// The only organization to look in; all unless given
    #[arg(long, env = "PORTCULLIS_ORGANIZATION", value_name = "ID")]
    organization: Option<OrganizationId>,

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
  portcullis list-portfolios user:ann portfolio.view
  portcullis list-portfolios service_account:ci initiative.edit --organization acme --json

Status 0: there are some. 1: there is none. 2: error. With --json, one object a line.";

/// Asks for all pages, prints a row each; none is a *no*.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let client = arguments.client.connect().await?;
    let request = v1::ListAccessiblePortfoliosRequest {
        subject: Some(text::subject_message(&arguments.subject)),
        permission: arguments.permission.clone(),
        organization: arguments.organization.iter().map(ToString::to_string).collect(),
        consistency: Some(arguments.consistency.clone()),
        at: arguments.at.map(text::time_message),
        page_size: PAGE_SIZE,
        page_token: String::new(),
    };
    let found = pages(async |page_token| {
        let request = v1::ListAccessiblePortfoliosRequest { page_token, ..request.clone() };
        let answer = client.list_accessible_portfolios(request).await?;
        Ok((answer.portfolios, answer.next_page_token))
    })
    .await?;
    if arguments.client.json {
        found.iter().map(row).for_each(output::line);
    } else if found.is_empty() {
        output::line(output::verdict(false, "nowhere"));
    } else {
        table(&found).lines().for_each(output::line);
    }
    Ok(if found.is_empty() { Outcome::No } else { Outcome::Yes })
}

fn until(found: &v1::AccessiblePortfolio) -> Option<String> {
    found.hold_until.as_ref().map(|until| text::time_text(text::time_of(until)))
}

fn row(found: &v1::AccessiblePortfolio) -> serde_json::Value {
    json!({
        "portfolio": found.portfolio,
        "organization": found.organization,
        "reason": text::reason_text(found.reason),
        "hold_until": until(found),
    })
}

fn table(found: &[v1::AccessiblePortfolio]) -> Table {
    let mut table = Table::new(&["portfolio", "organization", "reason", "until"]);
    for entry in found {
        let v1::AccessiblePortfolio { portfolio, organization, reason, .. } = entry;
        let reason = text::reason_text(*reason);
        let until = until(entry).unwrap_or_default();
        table.row([portfolio.clone(), organization.clone(), reason, until]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_by_what_and_until_when() {
        let until = text::parse_time("2030-01-01T00:00:00Z").unwrap();
        let entry = |portfolio: &str, reason: v1::DecisionReason, until| v1::AccessiblePortfolio {
            portfolio: portfolio.to_owned(),
            organization: "acme".to_owned(),
            reason: reason as i32,
            hold_until: until,
        };
        let found = [
            entry("apollo", v1::DecisionReason::GroupGrant, None),
            entry("z", v1::DecisionReason::DirectGrant, Some(text::time_message(until))),
        ];
        let lines: Vec<_> = table(&found).lines().collect();
        assert_eq!(
            lines,
            [
                "PORTFOLIO  ORGANIZATION  REASON        UNTIL",
                "apollo     acme          GROUP_GRANT",
                "z          acme          DIRECT_GRANT  2030-01-01T00:00:00Z",
            ]
        );
        assert_eq!(row(&found[1])["hold_until"], "2030-01-01T00:00:00Z");
        assert_eq!(row(&found[0])["hold_until"], serde_json::Value::Null);
    }
}
