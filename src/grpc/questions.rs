//! The questions of `PolicyService`, from the wire.

use std::fmt::Display;
use std::sync::Arc;

use super::parse::{self, Violations};
use crate::app::{
    BatchCheckItem, BatchCheckPermissions, CheckPermission, ListAccessiblePortfolios,
    ListEffectivePermissions, ListSubjects, ListVisibleItems, Requirement, Whom,
};
use crate::config::Limits;
use crate::domain::caller::Actor;
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::revision::Token;
use crate::domain::{ItemId, ItemKey, PortfolioId, Subject, Timestamp};
use crate::proto::v1;

/// The longest name that is looked for in the catalogue, in bytes.
const MAX_PERMISSION_BYTES: usize = 128;

pub(super) fn check(request: v1::CheckPermissionRequest) -> Result<CheckPermission, Refusal> {
    let v1::CheckPermissionRequest { subject, permission, portfolio, item, consistency, at } =
        request;
    let mut violations = Violations::default();
    let subject = violations.check(parse::subject("subject", subject.as_ref()));
    let permission = violations.check(self::permission("permission", permission));
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    let item = violations.check(self::item("item", item));
    let requirement = violations.check(requirement(consistency));
    let at = violations.check(parse::optional_timestamp("at", at));
    violations.finish((|| {
        Some(CheckPermission {
            subject: subject?,
            permission: permission?,
            portfolio: portfolio?,
            author: item.clone()?.1,
            item: item?.0,
            requirement: requirement?,
            at: at?,
        })
    })())
}

/// The same question.
pub(super) fn explain(request: v1::ExplainPermissionRequest) -> Result<CheckPermission, Refusal> {
    let v1::ExplainPermissionRequest { subject, permission, portfolio, item, consistency, at } =
        request;
    check(v1::CheckPermissionRequest { subject, permission, portfolio, item, consistency, at })
}

/// What the items of a batch share.
struct Shared {
    subject: Option<Subject>,
    permission: Option<Arc<str>>,
    portfolio: Option<PortfolioId>,
}

/// A malformed item spoils itself alone; what all share, all.
pub(super) fn batch(
    request: v1::BatchCheckPermissionsRequest,
    limits: &Limits,
) -> Result<BatchCheckPermissions, Refusal> {
    use v1::BatchCheckPermissionsRequest as Wire;
    let Wire { subject, permission, portfolio, items, consistency, at } = request;
    parse::batch("items", items.len(), limits.max_batch)?;
    let mut violations = Violations::default();
    let subject = subject.map(|subject| parse::subject("subject", Some(&subject)));
    let subject = violations.check(subject.transpose());
    let permission = Some(permission).filter(|name| !name.is_empty());
    let permission = permission.map(|name| self::permission("permission", name));
    let permission = violations.check(permission.transpose());
    let portfolio = violations.check(parse::optional_id("portfolio", &portfolio));
    let requirement = violations.check(requirement(consistency));
    let at = violations.check(parse::optional_timestamp("at", at));
    violations.finish((|| {
        let permission = permission?.map(Arc::from);
        let shared = Shared { subject: subject?, permission, portfolio: portfolio? };
        let item = |(index, item)| batch_item(format_args!("items[{index}]"), item, &shared);
        Some(BatchCheckPermissions {
            items: items.into_iter().enumerate().map(item).collect(),
            requirement: requirement?,
            at: at?,
        })
    })())
}

fn batch_item(
    path: impl Display,
    item: v1::BatchCheckItem,
    shared: &Shared,
) -> Result<BatchCheckItem, Refusal> {
    let v1::BatchCheckItem { subject, permission, portfolio, item } = item;
    let missing = |field: &str| {
        Refusal::field(
            format!("{path}.{field}"),
            format!("must be given here, or `{field}` for all"),
        )
    };
    let mut violations = Violations::default();
    let subject = violations.check(match (subject, &shared.subject) {
        (Some(subject), _) => parse::subject(format_args!("{path}.subject"), Some(&subject)),
        (None, shared) => shared.clone().ok_or_else(|| missing("subject")),
    });
    let permission = violations.check(match (permission, &shared.permission) {
        (own, shared) if own.is_empty() => shared.clone().ok_or_else(|| missing("permission")),
        (own, _) => self::permission(format_args!("{path}.permission"), own).map(Arc::from),
    });
    let portfolio = violations.check(match (portfolio, &shared.portfolio) {
        (own, shared) if own.is_empty() => shared.clone().ok_or_else(|| missing("portfolio")),
        (own, _) => parse::id(format_args!("{path}.portfolio"), &own),
    });
    let item = violations.check(self::item(format_args!("{path}.item"), item));
    violations.finish((|| {
        Some(BatchCheckItem {
            subject: subject?,
            permission: permission?,
            portfolio: portfolio?,
            author: item.clone()?.1,
            item: item?.0,
        })
    })())
}

pub(super) fn effective(
    request: v1::ListEffectivePermissionsRequest,
) -> Result<ListEffectivePermissions, Refusal> {
    let v1::ListEffectivePermissionsRequest { subject, portfolio, consistency, at } = request;
    let mut violations = Violations::default();
    let subject = violations.check(parse::subject("subject", subject.as_ref()));
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    let requirement = violations.check(requirement(consistency));
    let at = violations.check(parse::optional_timestamp("at", at));
    violations.finish((|| {
        Some(ListEffectivePermissions {
            subject: subject?,
            portfolio: portfolio?,
            requirement: requirement?,
            at: at?,
        })
    })())
}

/// The question, and what its page tokens are bound to.
pub(super) fn accessible(
    request: v1::ListAccessiblePortfoliosRequest,
    actor: &Actor,
    limits: &Limits,
) -> Result<(ListAccessiblePortfolios, String), Refusal> {
    let v1::ListAccessiblePortfoliosRequest {
        subject,
        permission,
        organization,
        consistency,
        at,
        page_size,
        page_token,
    } = request;
    let mut violations = Violations::default();
    let subject = violations.check(parse::subject("subject", subject.as_ref()));
    let permission = violations.check(self::permission("permission", permission));
    let organization = violations.check(parse::optional_id("organization", &organization));
    let requirement = violations.check(requirement(consistency));
    let at = violations.check(parse::optional_timestamp("at", at));
    let query = (|| {
        let parts = [
            &subject.as_ref()?.to_string(),
            permission.as_ref()?,
            &organization.as_ref()?.as_ref().map(ToString::to_string).unwrap_or_default(),
        ];
        Some(bound("ListAccessiblePortfolios", actor, at?, &parts.map(String::as_str)))
    })();
    let query = query.unwrap_or_default();
    let page = (page_size, page_token.as_str());
    let page = parse::page(&mut violations, &query, page, limits.max_page_size);
    violations.finish((|| {
        let question = ListAccessiblePortfolios {
            subject: subject?,
            permission: permission?,
            organization: organization?,
            requirement: requirement?,
            at: at?,
            page: page?,
        };
        Some((question, query))
    })())
}

/// The question, and what its page tokens are bound to.
pub(super) fn subjects(
    request: v1::ListSubjectsRequest,
    actor: &Actor,
    limits: &Limits,
) -> Result<(ListSubjects, String), Refusal> {
    let v1::ListSubjectsRequest {
        permission,
        portfolio,
        resolution,
        consistency,
        at,
        page_size,
        page_token,
    } = request;
    let mut violations = Violations::default();
    let permission = violations.check(self::permission("permission", permission));
    let portfolio: Option<PortfolioId> = violations.check(parse::id("portfolio", &portfolio));
    let whom = violations.check(whom(resolution));
    let requirement = violations.check(requirement(consistency));
    let at = violations.check(parse::optional_timestamp("at", at));
    let query = (|| {
        let whom = format!("{:?}", whom?);
        let parts = [permission.as_deref()?, portfolio.as_ref()?.as_str(), &whom];
        Some(bound("ListSubjects", actor, at?, &parts))
    })();
    let query = query.unwrap_or_default();
    let page = (page_size, page_token.as_str());
    let page = parse::page(&mut violations, &query, page, limits.max_page_size);
    violations.finish((|| {
        let question = ListSubjects {
            permission: permission?,
            portfolio: portfolio?,
            whom: whom?,
            requirement: requirement?,
            at: at?,
            page: page?,
        };
        Some((question, query))
    })())
}

/// The question, and what its page tokens are bound to.
pub(super) fn visible_items(
    request: v1::ListVisibleItemsRequest,
    actor: &Actor,
    limits: &Limits,
) -> Result<(ListVisibleItems, String), Refusal> {
    let v1::ListVisibleItemsRequest {
        subject,
        portfolio,
        r#type,
        consistency,
        at,
        page_size,
        page_token,
    } = request;
    let mut violations = Violations::default();
    let subject = violations.check(parse::subject("subject", subject.as_ref()));
    let portfolio: Option<PortfolioId> = violations.check(parse::id("portfolio", &portfolio));
    let item_type = violations.check(parse::optional_item_type("type", &r#type));
    let requirement = violations.check(requirement(consistency));
    let at = violations.check(parse::optional_timestamp("at", at));
    let query = (|| {
        let parts = [&subject.as_ref()?.to_string(), portfolio.as_ref()?.as_str(), &r#type];
        Some(bound("ListVisibleItems", actor, at?, &parts))
    })();
    let query = query.unwrap_or_default();
    let page = (page_size, page_token.as_str());
    let page = parse::page(&mut violations, &query, page, limits.max_page_size);
    violations.finish((|| {
        let question = ListVisibleItems {
            subject: subject?,
            portfolio: portfolio?,
            item_type: item_type?,
            requirement: requirement?,
            at: at?,
            page: page?,
        };
        Some((question, query))
    })())
}

fn whom(resolution: i32) -> Result<Whom, Refusal> {
    match v1::SubjectResolution::try_from(resolution) {
        Ok(v1::SubjectResolution::Unspecified | v1::SubjectResolution::Users) => Ok(Whom::Resolved),
        Ok(v1::SubjectResolution::Granted) => Ok(Whom::Granted),
        Err(_) => {
            let description = "must be `SUBJECT_RESOLUTION_USERS` or `SUBJECT_RESOLUTION_GRANTED`";
            Err(Refusal::field("resolution", description))
        }
    }
}

/// What a page token is bound to: the method, who sees the list, and every argument but the
/// consistency, which may grow from page to page. None of the parts contains a line break.
pub(super) fn bound(method: &str, actor: &Actor, at: Option<Timestamp>, parts: &[&str]) -> String {
    let at = at.map(|Timestamp(millis)| millis.to_string()).unwrap_or_default();
    format!("{method}\n{actor}\n{at}\n{}", parts.join("\n"))
}

/// Whether the catalogue has it is for the decider to say; this only keeps nonsense away.
fn permission(field: impl Display, name: String) -> Result<String, Refusal> {
    if name.is_empty() {
        return Err(Refusal::field(field.to_string(), "must not be empty; write `noun.verb`"));
    }
    if name.len() > MAX_PERMISSION_BYTES || name.chars().any(char::is_control) {
        let description =
            format!("must be at most {MAX_PERMISSION_BYTES} bytes, without control characters");
        return Err(Refusal::field(field.to_string(), description));
    }
    Ok(name)
}

/// The item, if it is named, and who made the thing that is acted on.
type Item = (Option<ItemKey>, Option<Subject>);

fn item(path: impl Display, item: Option<v1::ItemReference>) -> Result<Item, Refusal> {
    let Some(v1::ItemReference { r#type, id, author }) = item else { return Ok((None, None)) };
    let mut violations = Violations::default();
    if r#type.is_empty() && !id.is_empty() {
        let missing = Refusal::field(format!("{path}.type"), "must be given where an id is");
        violations.check::<()>(Err(missing));
    }
    let item_type =
        violations.check(parse::optional_item_type(format_args!("{path}.type"), &r#type));
    let id = violations.check(parse::optional_id::<ItemId>(format_args!("{path}.id"), &id));
    let author = author.map(|author| parse::subject(format_args!("{path}.author"), Some(&author)));
    let author = violations.check(author.transpose());
    violations.finish((|| {
        let key = item_type?.zip(id?).map(|(item_type, id)| ItemKey { item_type, id });
        Some((key, author?))
    })())
}

/// How fresh an answer must be; by default within the staleness bound.
pub(super) fn requirement(consistency: Option<v1::Consistency>) -> Result<Requirement, Refusal> {
    use v1::consistency::Requirement as Wire;
    let untrue = |field: &str| {
        Refusal::field(format!("consistency.{field}"), "must be true; or name another requirement")
    };
    let requirement = consistency.and_then(|v1::Consistency { requirement }| requirement);
    match requirement {
        None | Some(Wire::MinimizeLatency(true)) => Ok(Requirement::MinimizeLatency),
        Some(Wire::MinimizeLatency(false)) => Err(untrue("minimize_latency")),
        Some(Wire::FullyConsistent(true)) => Ok(Requirement::FullyConsistent),
        Some(Wire::FullyConsistent(false)) => Err(untrue("fully_consistent")),
        Some(Wire::AtLeastAsFresh(token)) => match Token::decode(&token) {
            Ok(token) => Ok(Requirement::AtLeast(token)),
            Err(error) => Err(Refusal::field_because(
                Reason::TokenMalformed,
                "consistency.at_least_as_fresh",
                error,
            )),
        },
    }
}
