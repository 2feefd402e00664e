//! What people do in `tests/cases/*.txt`. Each step is one call, made on behalf of who does it;
//! what somebody *may*, the service itself asks, with one check, or with a batch for several
//! permissions.
//!
//! `WHO` is a user by id, `service_account:ID`, or `the system`; `SUBJECT` is one of those or
//! `group:ID`; lists are separated by commas. What is told is in brackets.
//!
//! ```text
//! SUBJECT may [not] PERMISSIONS on PORTFOLIO [in TYPE:ID] [made by SUBJECT]
//!     [in N days | at INSTANT]                                                            [reason]
//! WHO lists portfolios with PERMISSION                                                [portfolios]
//! WHO lists who may PERMISSION on PORTFOLIO                                                [users]
//! ```
//!
//! The others are in the files of their nouns: `portfolios`, `links`, `items`, `members`, `roles`,
//! `directory`.

use std::pin::Pin;

use portcullis::clock::Clock;
use portcullis::proto::v1;
use tonic::Status;

use super::told::{Told, lower, name};
use super::{directory, items, links, members, portfolios, roles};
use crate::calls::{instant, question};
use crate::harness::{Client, TestServer, subject};

/// A call that is made once it is awaited.
pub type Call = Pin<Box<dyn Future<Output = Result<Told, Status>> + Send>>;

const DAY: i64 = 86_400_000;

/// Where the steps happen.
pub struct Stage<'a> {
    pub server: &'a TestServer,
    pub organization: &'a str,
}

/// A call that somebody makes, in an organization.
pub struct Doing {
    pub client: Client,
    pub organization: String,
}

/// The word that what somebody may or may not has to be told with.
pub fn verdict(words: &[String]) -> Option<&'static str> {
    match words {
        [_, may, not, ..] if may == "may" && not == "not" => Some("denied"),
        [_, may, ..] if may == "may" => Some("allowed"),
        _ => None,
    }
}

impl Stage<'_> {
    /// The call of a step; none if nobody does that.
    pub fn call(&self, words: &[String]) -> Option<Call> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (who, does) = match words.as_slice() {
            ["the", "system", does @ ..] => (None, does),
            [who, does @ ..] => (Some(full(who)), does),
            [] => return None,
        };
        if let ["may", ..] = does {
            return may(self.server.system(), &who?, does);
        }
        let client = match &who {
            Some(who) => self.server.acting(who),
            None => self.server.system(),
        };
        let organization = self.organization.to_owned();
        let doing = || Doing { client: client.clone(), organization: organization.clone() };
        lists(doing(), who.clone(), does)
            .or_else(|| items::call(doing(), who, does))
            .or_else(|| portfolios::call(doing(), does))
            .or_else(|| links::call(doing(), does))
            .or_else(|| members::call(doing(), does))
            .or_else(|| roles::call(doing(), does))
            .or_else(|| directory::call(doing(), does))
    }
}

/// `ann` is `user:ann`; what has a kind or is an address stays as it is.
pub fn full(name: &str) -> String {
    let is_full = name.contains([':', '@']);
    if is_full { name.to_owned() } else { format!("user:{name}") }
}

/// The entries of a list.
pub fn entries(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

/// An instant: `2035-07-31T00:00:00Z`.
pub fn at(text: &str) -> Option<prost_types::Timestamp> {
    text.parse().ok()
}

fn in_days(days: &str) -> Option<prost_types::Timestamp> {
    let days: i64 = days.parse().ok()?;
    Some(instant(Clock::system().read().wall.0 + days * DAY))
}

fn may(client: Client, who: &str, does: &[&str]) -> Option<Call> {
    let (permissions, portfolio, rest) = match does {
        ["may", "not", permissions, "on", portfolio, rest @ ..]
        | ["may", permissions, "on", portfolio, rest @ ..] => (permissions, *portfolio, rest),
        _ => return None,
    };
    let (container, rest) = match rest {
        ["in", item, rest @ ..] if item.contains(':') => (item.split_once(':'), rest),
        rest => (None, rest),
    };
    let (author, rest) = match rest {
        ["made", "by", author, rest @ ..] => (Some(subject(&full(author))), rest),
        rest => (None, rest),
    };
    let at = match rest {
        [] => None,
        ["in", days, "days"] => Some(in_days(days)?),
        ["at", instant] => Some(at(instant)?),
        _ => return None,
    };
    let (item_type, id) = container.unwrap_or(("thing", "some"));
    let item = (container.is_some() || author.is_some()).then(|| v1::ItemReference {
        r#type: item_type.to_owned(),
        id: id.to_owned(),
        author,
    });
    let permissions = entries(permissions);
    let question = question(who, permissions.first()?, portfolio);
    let question = v1::CheckPermissionRequest { item, at, ..question };
    Some(match permissions.as_slice() {
        [_] => Box::pin(async move {
            let answer = client.policy().check_permission(question).await?.into_inner();
            let reason = answer.reason();
            Ok(Told::Each(vec![decision(&permissions[0], answer.allowed, reason)]))
        }),
        _ => Box::pin(batch(client, question, permissions)),
    })
}

async fn batch(
    client: Client,
    question: v1::CheckPermissionRequest,
    permissions: Vec<String>,
) -> Result<Told, Status> {
    let v1::CheckPermissionRequest { subject, portfolio, item, consistency, at, .. } = question;
    let entry = |permission: &String| v1::BatchCheckItem {
        permission: permission.clone(),
        item: item.clone(),
        ..Default::default()
    };
    let request = v1::BatchCheckPermissionsRequest {
        subject,
        portfolio,
        items: permissions.iter().map(entry).collect(),
        consistency,
        at,
        ..Default::default()
    };
    let outcomes = client.policy().batch_check_permissions(request).await?.into_inner().outcomes;
    let told =
        permissions.iter().zip(&outcomes).map(|(permission, outcome)| match &outcome.refusal {
            Some(refusal) => vec![permission.clone(), "REFUSED".to_owned(), short(refusal)],
            None => decision(permission, outcome.allowed, outcome.reason()),
        });
    Ok(Told::Each(told.collect()))
}

fn decision(permission: &str, allowed: bool, reason: v1::DecisionReason) -> Vec<String> {
    let verdict = if allowed { "allowed" } else { "denied" };
    let reason = reason.as_str_name().trim_start_matches("DECISION_REASON_");
    [permission, verdict, reason].map(str::to_owned).into()
}

/// Why an entry of a batch was refused.
pub fn short(refusal: &v1::Refusal) -> String {
    refusal.reason().as_str_name().trim_start_matches("ERROR_REASON_").to_owned()
}

/// `private`, `restricted` or `open`.
pub fn visibility(text: &str) -> Option<v1::Visibility> {
    v1::Visibility::from_str_name(&format!("VISIBILITY_{}", text.to_uppercase()))
}

/// The same the other way round.
pub fn openness(visibility: v1::Visibility) -> String {
    lower(visibility.as_str_name(), "VISIBILITY_")
}

fn lists(doing: Doing, who: Option<String>, does: &[&str]) -> Option<Call> {
    let Doing { client, organization } = doing;
    let (permission, portfolio) = match does {
        ["lists", "portfolios", "with", permission] => (*permission, None),
        ["lists", "who", "may", permission, "on", portfolio] => (*permission, Some(*portfolio)),
        _ => return None,
    };
    let v1::CheckPermissionRequest { subject, permission, portfolio, consistency, .. } =
        question(&who?, permission, portfolio.unwrap_or_default());
    Some(Box::pin(async move {
        let mut policy = client.policy();
        let told = if portfolio.is_empty() {
            let request = v1::ListAccessiblePortfoliosRequest {
                subject,
                permission,
                organization,
                consistency,
                ..Default::default()
            };
            let found = policy.list_accessible_portfolios(request).await?.into_inner();
            found.portfolios.into_iter().map(|found| found.portfolio).collect()
        } else {
            let request = v1::ListSubjectsRequest {
                permission,
                portfolio,
                resolution: v1::SubjectResolution::Users.into(),
                consistency,
                ..Default::default()
            };
            let found = policy.list_subjects(request).await?.into_inner();
            found.subjects.iter().map(|found| name(found.subject.as_ref())).collect()
        };
        Ok(Told::All(told))
    }))
}
