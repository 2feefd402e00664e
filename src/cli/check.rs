//! `portcullis check`: one question, one answer.

use clap::Args;
use serde_json::json;

use super::{ClientArguments, Failure, Outcome, output, text};
use crate::domain::{ItemKey, PortfolioId, Subject, Timestamp};
use crate::proto::v1;
use crate::proto::v1::DecisionReason;

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

/// A question as text; `verify` has many of them.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub subject: &'a Subject,
    pub permission: &'a str,
    pub portfolio: &'a PortfolioId,
    pub item: Option<&'a ItemKey>,
    pub item_author: Option<&'a Subject>,
    pub at: Option<Timestamp>,
}

impl Question<'_> {
    /// The question as the wire has it.
    pub fn request(&self, consistency: &v1::Consistency) -> v1::CheckPermissionRequest {
        v1::CheckPermissionRequest {
            subject: Some(text::subject_message(self.subject)),
            permission: self.permission.to_owned(),
            portfolio: self.portfolio.to_string(),
            item: self.item(),
            consistency: Some(consistency.clone()),
            at: self.at.map(text::time_message),
        }
    }

    /// The same, to be explained.
    pub fn explain_request(&self, consistency: &v1::Consistency) -> v1::ExplainPermissionRequest {
        v1::ExplainPermissionRequest {
            subject: Some(text::subject_message(self.subject)),
            permission: self.permission.to_owned(),
            portfolio: self.portfolio.to_string(),
            item: self.item(),
            consistency: Some(consistency.clone()),
            at: self.at.map(text::time_message),
        }
    }

    fn item(&self) -> Option<v1::ItemReference> {
        let Self { item, item_author, .. } = self;
        (item.is_some() || item_author.is_some()).then(|| v1::ItemReference {
            r#type: item.map(|item| item.item_type.to_string()).unwrap_or_default(),
            id: item.map(|item| item.id.to_string()).unwrap_or_default(),
            author: item_author.map(text::subject_message),
        })
    }
}

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis check user:ann initiative.edit apollo
  portcullis check user:ann comment.edit apollo --item-author user:ann
  portcullis check user:ann comment.create apollo --item board:b1
  portcullis check user:ann portfolio.view apollo --at 2030-01-01T00:00:00Z --json

Status 0: allowed. 1: denied. 2: error. `portcullis explain` says why.";

/// Asks, prints the answer; denied is a *no*.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Arguments { subject, permission, portfolio, item, item_author, at, .. } = arguments;
    let (item, item_author) = (item.as_ref(), item_author.as_ref());
    let question = Question { subject, permission, portfolio, item, item_author, at: *at };
    let request = question.request(&arguments.consistency);
    let answer = arguments.client.connect().await?.check_permission(request).await?;
    let until = answer.hold_until.as_ref().map(|until| text::time_text(text::time_of(until)));
    if arguments.client.json {
        output::line(json!({
            "allowed": answer.allowed,
            "reason": text::reason_text(answer.reason),
            "hold_until": until,
            "consistency_token": answer.consistency_token,
        }));
    } else {
        let verdict = if answer.allowed { "allowed" } else { "denied" };
        let verdict = output::verdict(answer.allowed, verdict);
        let reason = text::reason_text(answer.reason);
        output::line(format_args!("{verdict}: {} ({reason})", sentence(answer.reason)));
        if let Some(until) = until {
            output::line(format_args!("unless something is written, until {until}"));
        }
    }
    Ok(if answer.allowed { Outcome::Yes } else { Outcome::No })
}

/// What the reason means, for people.
pub(crate) fn sentence(reason: i32) -> &'static str {
    use DecisionReason as Reason;
    match DecisionReason::try_from(reason).unwrap_or(Reason::Unspecified) {
        Reason::Unspecified => "for a reason that this program is too old to know",
        Reason::DirectGrant => "by a grant of their own",
        Reason::GroupGrant => "by a grant of a group they are in",
        Reason::OrganizationAccess => "the portfolio is open to the organization",
        Reason::Administrator => "as an administrator of the organization",
        Reason::PortfolioUnknown => "there is no such portfolio, or none the actor may see",
        Reason::SubjectUnknown => "the portfolio's organization knows no such subject",
        Reason::SubjectDeactivated => "the subject is deactivated",
        Reason::NoAccess => "nothing that is in force gives them access to the portfolio",
        Reason::PermissionMissing => "none of their roles holds the permission",
        Reason::NotAuthor => "their role allows it on their own things only, and this is another's",
        Reason::AuthorUnknown => {
            "their role allows it on their own things only; name the author with `--item-author`"
        }
        Reason::InternalOnly => "the permission is not for externals, whatever their role",
        Reason::Archived => {
            "the portfolio or the item is archived: nothing is added or changed in it"
        }
        Reason::ItemUnknown => "the portfolio does not show the item",
        Reason::ItemNoAccess => {
            "nothing in force on the item itself holds the permission, whatever the portfolio gives"
        }
    }
}
