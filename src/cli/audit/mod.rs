//! `portcullis audit`: what has happened, the newest first.

use clap::{ArgGroup, Args};
use serde_json::json;

use super::table::Table;
use super::{ClientArguments, Failure, Outcome, output, text};
use crate::domain::{OrganizationId, PortfolioId, Subject, Timestamp};
use crate::grpc::client::{CallError, Client};
use crate::proto::v1;
use crate::proto::v1::list_audit_events_request::Within;

mod words;

/// Rows of a page at most.
const PAGE_SIZE: usize = 1_000;

#[derive(Args, Clone, Debug)]
#[command(group = within())]
pub(crate) struct Arguments {
    /// The id of the portfolio
    portfolio: Option<PortfolioId>,

    /// Everything in this organization, if no portfolio is named
    #[arg(long, env = "PORTCULLIS_ORGANIZATION", value_name = "ID")]
    organization: Option<OrganizationId>,

    /// Only what was done on behalf of `user:ann`, `service_account:ci` or `system`
    #[arg(long, env = "PORTCULLIS_BY_ACTOR", value_name = "ACTOR")]
    by_actor: Option<String>,

    /// Only changes of the access, or of the directory entry, of this subject
    #[arg(long, env = "PORTCULLIS_SUBJECT", value_name = "SUBJECT")]
    subject: Option<Subject>,

    /// Only changes of this kind, such as `member.added`; may be repeated
    #[arg(long, env = "PORTCULLIS_KIND", value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,

    /// Only from this instant on, such as `2026-03-31T12:00:00Z`
    #[arg(long, env = "PORTCULLIS_SINCE", value_name = "TIME", value_parser = text::parse_time)]
    since: Option<Timestamp>,

    /// Only before this instant
    #[arg(long, env = "PORTCULLIS_UNTIL", value_name = "TIME", value_parser = text::parse_time)]
    until: Option<Timestamp>,

    /// How many at most, the newest; 0: all
    #[arg(long, env = "PORTCULLIS_LIMIT", value_name = "N", default_value_t = 100)]
    limit: usize,

    #[command(flatten)]
    client: ClientArguments,
}

/// At least one; a variable may name the organization and an argument a portfolio of it.
fn within() -> ArgGroup {
    ArgGroup::new("within").required(true).multiple(true).args(["portfolio", "organization"])
}

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis audit apollo
  portcullis audit apollo --kind member.added --kind member.removed --since 2026-01-01T00:00:00Z
  portcullis audit --organization acme --by-actor user:ann --limit 0 --json

Where the caller on the connection is another than the actor, it stands in brackets. A `*` marks
what the actor could do only as an administrator. With --json, one object a line.";

/// Reads pages up to the limit, prints a row for each event.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let client = arguments.client.connect().await?;
    let (events, more) = events(&client, arguments).await?;
    if arguments.client.json {
        events.iter().map(row).for_each(output::line);
        return Ok(Outcome::Yes);
    }
    if events.is_empty() {
        output::remark("nothing of that kind has happened");
        return Ok(Outcome::Yes);
    }
    table(&events, arguments.organization.is_some()).lines().for_each(output::line);
    if events.iter().any(|event| event.as_administrator) {
        output::line("* as an administrator");
    }
    if more {
        output::remark("there are older ones; `--limit` shows more");
    }
    Ok(Outcome::Yes)
}

/// The newest events, and whether there are more.
async fn events(
    client: &Client,
    arguments: &Arguments,
) -> Result<(Vec<v1::AuditEvent>, bool), CallError> {
    let limit = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    let within = match (&arguments.portfolio, &arguments.organization) {
        (Some(portfolio), _) => Some(Within::Portfolio(portfolio.to_string())),
        (None, organization) => {
            organization.as_ref().map(|id| Within::Organization(id.to_string()))
        }
    };
    let filter = v1::AuditEventFilter {
        actor: arguments.by_actor.clone().unwrap_or_default(),
        subject: arguments.subject.as_ref().map(text::subject_message),
        kinds: arguments.kind.clone(),
        from_time: arguments.since.map(text::time_message),
        until_time: arguments.until.map(text::time_message),
    };
    let mut request = v1::ListAuditEventsRequest {
        within,
        filter: Some(filter),
        page_size: i32::try_from(limit.min(PAGE_SIZE)).unwrap_or_default(),
        page_token: String::new(),
    };
    let mut events = Vec::new();
    loop {
        let page = client.list_audit_events(request.clone()).await?;
        events.extend(page.events);
        let more = !page.next_page_token.is_empty();
        if events.len() >= limit || !more {
            let cut_off = events.len() > limit;
            events.truncate(limit);
            return Ok((events, more || cut_off));
        }
        request.page_token = page.next_page_token;
    }
}

fn time(event: &v1::AuditEvent) -> String {
    event.time.as_ref().map(|time| text::time_text(text::time_of(time))).unwrap_or_default()
}

/// `portfolios`: whether the events are of several.
fn table(events: &[v1::AuditEvent], portfolios: bool) -> Table {
    let heading: &[&str] = match portfolios {
        true => &["time", "actor", "kind", "portfolio", "what"],
        false => &["time", "actor", "kind", "what"],
    };
    let mut table = Table::new(heading);
    for event in events {
        let mark = if event.as_administrator { "*" } else { "" };
        let caller = match event.caller == event.actor {
            true => String::new(),
            false => format!(" ({})", event.caller),
        };
        let portfolio = portfolios.then(|| event.portfolio.clone());
        let first = [time(event), format!("{}{mark}{caller}", event.actor), event.kind.clone()];
        table.row(first.into_iter().chain(portfolio).chain([words::of(event)]));
    }
    table
}

fn row(event: &v1::AuditEvent) -> serde_json::Value {
    let subject = event.subject.as_ref().and_then(text::subject_of);
    json!({
        "time": time(event),
        "kind": event.kind,
        "object": event.object,
        "organization": event.organization,
        "portfolio": Some(&event.portfolio).filter(|id| !id.is_empty()),
        "subject": subject,
        "actor": event.actor,
        "caller": event.caller,
        "as_administrator": event.as_administrator,
        "request_id": event.request_id,
        "before": event.before.as_ref().map(words::json),
        "after": event.after.as_ref().map(words::json),
        "consistency_token": event.consistency_token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(actor: &str, caller: &str, as_administrator: bool) -> v1::AuditEvent {
        let time = text::parse_time("2026-01-02T03:04:05Z").unwrap();
        v1::AuditEvent {
            kind: "portfolio.deleted".to_owned(),
            object: "apollo".to_owned(),
            portfolio: "apollo".to_owned(),
            actor: actor.to_owned(),
            caller: caller.to_owned(),
            as_administrator,
            time: Some(text::time_message(time)),
            ..v1::AuditEvent::default()
        }
    }

    #[test]
    fn evt_4_a_row_says_who_on_whose_behalf_and_with_what_right() {
        let events =
            [event("user:ann", "user:ann", false), event("user:zoe", "service:planner", true)];
        let lines: Vec<_> = table(&events, false).lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "2026-01-02T03:04:05Z  user:ann                     portfolio.deleted  \
                 portfolio apollo",
                "2026-01-02T03:04:05Z  user:zoe* (service:planner)  portfolio.deleted  \
                 portfolio apollo",
            ]
        );
        assert!(table(&events, true).lines().next().unwrap().contains("PORTFOLIO"));
        let row = row(&events[1]);
        assert_eq!((&row["as_administrator"], &row["subject"]), (&true.into(), &json!(null)));
    }
}
