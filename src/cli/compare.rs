//! `portcullis compare`: what linking a portfolio to its parent would change, as a diff.

use clap::Args;
use serde_json::{Value, json};

use super::apply::change::visibility_text;
use super::inventory::pages;
use super::{ClientArguments, Failure, Outcome, output, text};
use crate::domain::PortfolioId;
use crate::proto::v1;

const PAGE_SIZE: i32 = 1_000;
/// How many permissions a line names.
const NAMED: usize = 3;

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The id of the portfolio that could be linked to its parent
    child: PortfolioId,

    #[command(flatten)]
    client: ClientArguments,
}

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis compare apollo
  portcullis compare apollo --actor user:ann --json

Each line is one whose direct access would change: + gains, - loses, ~ gets other roles; behind it
what they could do then, and what no more. With --json, everything.

Status 0: nothing would change. 1: something would. 2: error.";

/// Asks for all pages, prints a line each; a difference is a *no*.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let client = arguments.client.connect().await?;
    let mut compared = v1::CompareAccessSettingsResponse::default();
    let differences = pages(async |page_token| {
        let portfolio = arguments.child.to_string();
        let request =
            v1::CompareAccessSettingsRequest { portfolio, page_size: PAGE_SIZE, page_token };
        let mut answer = client.compare_access_settings(request).await?;
        let page = (std::mem::take(&mut answer.differences), answer.next_page_token.clone());
        compared = answer;
        Ok(page)
    })
    .await?;
    if arguments.client.json {
        output::line(json(&compared, &differences));
    } else {
        lines(&arguments.child, &compared, &differences).iter().for_each(output::line);
    }
    let same = differences.is_empty() && compared.before == compared.after;
    Ok(if same { Outcome::Yes } else { Outcome::No })
}

fn lines(
    child: &PortfolioId,
    compared: &v1::CompareAccessSettingsResponse,
    differences: &[v1::AccessDifference],
) -> Vec<String> {
    let parent = &compared.parent;
    if compared.linked {
        return vec![format!("{child} is linked to {parent} already: nothing would change")];
    }
    let mut lines = Vec::new();
    let before = compared.before.clone().unwrap_or_default();
    let after = compared.after.clone().unwrap_or_default();
    let [old, new] = [&before, &after].map(|side| visibility_text(side.visibility));
    if old != new {
        lines.push(format!("~ visibility  {old} -> {new}"));
    }
    let [old, new] = [&before, &after].map(|side| &side.organization_access_role);
    if old != new {
        lines.push(format!("~ organization access role  {old} -> {new}"));
    }
    lines.extend(differences.iter().map(line));
    if lines.is_empty() {
        return vec![format!("nothing would change if {child} were linked to {parent}")];
    }
    lines.insert(0, format!("if {child} were linked to {parent}:"));
    lines
}

/// `~ user:eve  contributor -> manager  (+ access.manage)`.
fn line(difference: &v1::AccessDifference) -> String {
    let subject = subject(difference);
    let [before, after] = [&difference.before, &difference.after].map(|roles| self::roles(roles));
    let what = match difference.kind() {
        v1::AccessDifferenceKind::Gains => format!("+ {subject}  {after}"),
        v1::AccessDifferenceKind::Loses => format!("- {subject}  {before}"),
        v1::AccessDifferenceKind::Changes | v1::AccessDifferenceKind::Unspecified => {
            format!("~ {subject}  {before} -> {after}")
        }
    };
    let sides = [("+", &difference.gained), ("-", &difference.lost)];
    let sides = sides.iter().filter(|(_, permissions)| !permissions.is_empty());
    let sides: Vec<_> =
        sides.map(|(mark, permissions)| format!("{mark} {}", named(permissions))).collect();
    if sides.is_empty() { what } else { format!("{what}  ({})", sides.join("; ")) }
}

fn subject(difference: &v1::AccessDifference) -> String {
    let subject = difference.subject.as_ref().and_then(text::subject_of);
    subject.map(|subject| subject.to_string()).unwrap_or_default()
}

fn roles(roles: &[v1::TimedRole]) -> String {
    roles.iter().map(role).collect::<Vec<_>>().join(" and ")
}

fn role(role: &v1::TimedRole) -> String {
    let v1::TimedRole { role, start_time, expire_time } = role;
    let time = |time: &Option<prost_types::Timestamp>, word: &str| {
        let time = time.as_ref().map(|time| text::time_text(text::time_of(time)));
        time.map(|time| format!(" {word} {time}")).unwrap_or_default()
    };
    format!("{role}{}{}", time(start_time, "from"), time(expire_time, "until"))
}

/// The first few, and how many more.
fn named(permissions: &[v1::RolePermission]) -> String {
    let mut names: Vec<String> = permissions.iter().take(NAMED).map(permission).collect();
    match permissions.len().saturating_sub(NAMED) {
        0 => {}
        more => names.push(format!("{more} more")),
    }
    names.join(", ")
}

fn permission(permission: &v1::RolePermission) -> String {
    let own = if permission.reach() == v1::Reach::Own { " (own)" } else { "" };
    format!("{}{own}", permission.permission)
}

fn json(
    compared: &v1::CompareAccessSettingsResponse,
    differences: &[v1::AccessDifference],
) -> Value {
    let openness = |side: &Option<v1::Openness>| {
        let v1::Openness { visibility, organization_access_role } =
            side.clone().unwrap_or_default();
        json!({
            "visibility": visibility_text(visibility),
            "organization_access_role": organization_access_role,
        })
    };
    json!({
        "parent": compared.parent,
        "linked": compared.linked,
        "before": openness(&compared.before),
        "after": openness(&compared.after),
        "differences": differences.iter().map(difference_json).collect::<Vec<_>>(),
        "consistency_token": compared.consistency_token,
    })
}

fn difference_json(difference: &v1::AccessDifference) -> Value {
    let kind = match difference.kind() {
        v1::AccessDifferenceKind::Gains => "gains",
        v1::AccessDifferenceKind::Loses => "loses",
        v1::AccessDifferenceKind::Changes | v1::AccessDifferenceKind::Unspecified => "changes",
    };
    let time = |time: &Option<prost_types::Timestamp>| {
        time.as_ref().map(|time| text::time_text(text::time_of(time)))
    };
    let role = |role: &v1::TimedRole| {
        json!({
            "role": role.role,
            "start_time": time(&role.start_time),
            "expire_time": time(&role.expire_time),
        })
    };
    let permission = |permission: &v1::RolePermission| {
        let reach = if permission.reach() == v1::Reach::Own { "own" } else { "any" };
        json!({ "permission": permission.permission, "reach": reach })
    };
    json!({
        "subject": subject(difference),
        "kind": kind,
        "before": difference.before.iter().map(role).collect::<Vec<_>>(),
        "after": difference.after.iter().map(role).collect::<Vec<_>>(),
        "gained": difference.gained.iter().map(permission).collect::<Vec<_>>(),
        "lost": difference.lost.iter().map(permission).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(
        who: &str,
        kind: v1::AccessDifferenceKind,
        before: &[&str],
        after: &[&str],
    ) -> v1::AccessDifference {
        let role = |role: &&str| v1::TimedRole { role: (*role).to_owned(), ..Default::default() };
        v1::AccessDifference {
            subject: Some(text::subject_message(&who.parse().unwrap())),
            kind: kind.into(),
            before: before.iter().map(role).collect(),
            after: after.iter().map(role).collect(),
            ..Default::default()
        }
    }

    fn permissions(names: &[(&str, v1::Reach)]) -> Vec<v1::RolePermission> {
        let permission = |(name, reach): &(&str, v1::Reach)| v1::RolePermission {
            permission: (*name).to_owned(),
            reach: (*reach).into(),
        };
        names.iter().map(permission).collect()
    }

    #[test]
    fn inh_5_a_comparison_reads_as_a_diff() {
        use v1::AccessDifferenceKind::{Changes, Gains, Loses};
        let openness = |visibility: v1::Visibility| v1::Openness {
            visibility: visibility.into(),
            organization_access_role: "viewer".to_owned(),
        };
        let compared = v1::CompareAccessSettingsResponse {
            parent: "space".to_owned(),
            before: Some(openness(v1::Visibility::Private)),
            after: Some(openness(v1::Visibility::Open)),
            ..Default::default()
        };
        let mut eve = difference("user:eve", Changes, &["contributor"], &["assessor", "manager"]);
        let until = text::parse_time("2030-01-01T00:00:00Z").unwrap();
        eve.after[0].expire_time = Some(text::time_message(until));
        eve.gained = permissions(&[
            ("access.manage", v1::Reach::Any),
            ("comment.edit", v1::Reach::Own),
            ("members.invite", v1::Reach::Any),
            ("members.remove", v1::Reach::Any),
        ]);
        eve.lost = permissions(&[("epic.link", v1::Reach::Any)]);
        let differences = [
            difference("user:ann", Gains, &[], &["viewer"]),
            difference("user:bob", Loses, &["manager"], &[]),
            eve,
        ];
        let child = "apollo".parse().unwrap();
        assert_eq!(
            lines(&child, &compared, &differences),
            [
                "if apollo were linked to space:",
                "~ visibility  private -> open",
                "+ user:ann  viewer",
                "- user:bob  manager",
                "~ user:eve  contributor -> assessor until 2030-01-01T00:00:00Z and manager  \
                 (+ access.manage, comment.edit (own), members.invite, 1 more; - epic.link)",
            ]
        );
        let value = json(&compared, &differences);
        assert_eq!(value["differences"][2]["gained"][1]["reach"], "own");
        let same = v1::CompareAccessSettingsResponse { after: compared.before.clone(), ..compared };
        assert_eq!(
            lines(&child, &same, &[]),
            ["nothing would change if apollo were linked to space"]
        );
        let linked = v1::CompareAccessSettingsResponse { linked: true, ..same };
        assert!(lines(&child, &linked, &[])[0].contains("linked to space already"));
    }
}
