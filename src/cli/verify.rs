//! `portcullis verify`: policy tests for an operator's own CI. Each line of the file is a question
//! and the expected answer.

use std::path::PathBuf;

use clap::Args;
use futures::StreamExt as _;
use serde_json::json;

use super::{ClientArguments, Failure, Outcome, explanation, output, questions, text};
use crate::grpc::client::{CallError, Client};
use crate::proto::v1;

/// Questions on their way at once: enough that a poll's wait is shared, few enough for the server's
/// database connections while it has not loaded the organization yet.
const CONCURRENCY: usize = 64;

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The expectations: one JSON object a line, with `subject`, `permission`, `portfolio` and
    /// `allowed`, and where needed `item_author` and `at`
    file: PathBuf,

    /// How fresh: `minimize-latency`, `fully-consistent` or a consistency token
    #[arg(long, env = "PORTCULLIS_CONSISTENCY", value_name = "HOW")]
    #[arg(default_value = "fully-consistent", value_parser = text::parse_consistency)]
    consistency: v1::Consistency,

    #[command(flatten)]
    client: ClientArguments,
}

type Expectation = questions::Line<bool>;

/// A line whose answer is not as expected.
struct Difference {
    line: usize,
    question: String,
    permission: String,
    /// The reason of the answer, or of the refusal to answer.
    reason: String,
    /// What to print of it.
    text: String,
    /// Whether the question was refused instead of answered.
    refused: bool,
    /// Why it is as it is; none if refused, or if the server would not say.
    explanation: Option<v1::ExplainPermissionResponse>,
}

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis verify expectations.jsonl
  portcullis verify expectations.jsonl --json

A line of the file has subject, permission, portfolio and allowed, such as
  {\"subject\": \"user:ann\", \"permission\": \"portfolio.view\",
   \"portfolio\": \"apollo\", \"allowed\": true}    (on one line)

Status 0: everything is as expected. 1: something differs, and is printed with its explanation.
2: error.";

/// Asks everything, prints what differs, and counts.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let name = arguments.file.display().to_string();
    let expectations: Vec<Expectation> =
        questions::parse(&name, &text::read_file(&arguments.file)?)?;
    let client = arguments.client.connect().await?;
    let bar = output::progress("verifying", expectations.len());
    let mut answers = futures::stream::iter(&expectations)
        .map(|expectation| compare(&client, expectation, &arguments.consistency))
        .buffered(CONCURRENCY);
    let mut differences = Vec::new();
    while let Some(answer) = answers.next().await {
        bar.inc(1);
        if let Some(difference) = answer? {
            if !arguments.client.json {
                bar.suspend(|| print(&difference));
            }
            differences.push(difference);
        }
    }
    bar.finish_and_clear();
    report(arguments.client.json, expectations.len() - differences.len(), &differences);
    let refused = differences.iter().filter(|difference| difference.refused).count();
    match (refused, differences.is_empty()) {
        (0, true) => Ok(Outcome::Yes),
        (0, false) => Ok(Outcome::No),
        _ => Err(Failure::Text(format!("the server refused to answer {refused} of the lines"))),
    }
}

/// The line, and below it what `portcullis explain` would say.
fn print(difference: &Difference) {
    output::line(&difference.text);
    let tree = difference.explanation.iter();
    let tree = tree.flat_map(|answer| explanation::tree(answer, &difference.permission));
    tree.for_each(|line| output::line(format_args!("  {line}")));
}

fn report(json: bool, passed: usize, differences: &[Difference]) {
    let failed = differences.len();
    if json {
        let row = |difference: &Difference| {
            let Difference { line, question, reason, refused, .. } = difference;
            let explanation = difference.explanation.as_ref().map(explanation::json);
            json!({
                "line": line,
                "question": question,
                "reason": reason,
                "refused": refused,
                "explanation": explanation,
            })
        };
        let differing: Vec<_> = differences.iter().map(row).collect();
        output::line(json!({ "passed": passed, "failed": failed, "differing": differing }));
    } else {
        let summary = format!("{passed} passed, {failed} failed");
        output::line(output::verdict(failed == 0, &summary));
    }
}

/// Asks one question. An answer that differs, and a question that the server does not accept, are
/// findings about the line; any other error is about the server, and ends the run.
async fn compare(
    client: &Client,
    expectation: &Expectation,
    consistency: &v1::Consistency,
) -> Result<Option<Difference>, CallError> {
    let Expectation { subject, permission, portfolio, .. } = expectation;
    let question = expectation.question();
    let asked = format!("{subject} {permission} {portfolio}");
    let answer = match client.check_permission(question.request(consistency)).await {
        Ok(answer) if answer.allowed == expectation.allowed => return Ok(None),
        Ok(answer) => Ok(answer),
        Err(error) if error.code == "INVALID_ARGUMENT" && !error.is_about_token() => Err(error),
        Err(error) => return Err(error),
    };
    let word = |allowed| if allowed { "allowed" } else { "denied" };
    let (expected, line) = (word(expectation.allowed), expectation.line);
    let refused = answer.is_err();
    let (reason, told) = match answer {
        Ok(answer) => {
            let reason = text::reason_text(answer.reason);
            let told = format!("expected {expected}, is {} ({reason})", word(answer.allowed));
            (reason, told)
        }
        Err(error) => {
            let told = format!("expected {expected}, is refused: {error}");
            (error.reason.unwrap_or_else(|| error.code.to_owned()), told)
        }
    };
    let explanation = match refused {
        true => None,
        // The difference is known; that it cannot be explained is no reason not to tell it.
        false => client.explain_permission(question.explain_request(consistency)).await.ok(),
    };
    let (text, permission) = (format!("line {line}: {asked}: {told}"), permission.clone());
    let question = asked;
    Ok(Some(Difference { line, question, permission, reason, text, refused, explanation }))
}
