//! Linking, unlinking, moving and comparing on the wire.

use super::parse::{self, Violations};
use super::questions::bound;
use super::render;
use crate::app::{
    AccessDifference, CompareAccessSettings, ComparedAccessSettings, LinkAccessSettings,
    MovePortfolio, TimedRole, UnlinkAccessSettings,
};
use crate::config::Limits;
use crate::domain::PortfolioId;
use crate::domain::access_settings::AccessSettings;
use crate::domain::caller::Actor;
use crate::domain::permission::PermissionName;
use crate::domain::refusal::Refusal;
use crate::domain::revision::Token;
use crate::domain::role::Reach;
use crate::proto::v1;

pub(super) fn link(request: v1::LinkAccessSettingsRequest) -> Result<LinkAccessSettings, Refusal> {
    let v1::LinkAccessSettingsRequest { request_id: _, portfolio, allow_losing_access, etag } =
        request;
    let mut violations = Violations::default();
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    let etag = violations.check(parse::etag("etag", etag));
    violations.finish((|| {
        Some(LinkAccessSettings { portfolio: portfolio?, allow_losing_access, etag: etag? })
    })())
}

pub(super) fn unlink(
    request: v1::UnlinkAccessSettingsRequest,
) -> Result<UnlinkAccessSettings, Refusal> {
    let v1::UnlinkAccessSettingsRequest {
        request_id: _,
        portfolio,
        restore,
        allow_losing_access,
        etag,
    } = request;
    let mut violations = Violations::default();
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    let etag = violations.check(parse::etag("etag", etag));
    violations.finish((|| {
        let (portfolio, etag) = (portfolio?, etag?);
        Some(UnlinkAccessSettings { portfolio, restore, allow_losing_access, etag })
    })())
}

pub(super) fn move_portfolio(request: v1::MovePortfolioRequest) -> Result<MovePortfolio, Refusal> {
    let v1::MovePortfolioRequest {
        request_id: _,
        portfolio,
        parent,
        link,
        allow_losing_access,
        etag,
    } = request;
    let mut violations = Violations::default();
    let portfolio = violations.check(parse::id("portfolio", &portfolio));
    let parent = violations.check(parse::optional_id("parent", &parent));
    let etag = violations.check(parse::etag("etag", etag));
    violations.finish((|| {
        let (portfolio, parent, etag) = (portfolio?, parent?, etag?);
        Some(MovePortfolio { portfolio, parent, link, allow_losing_access, etag })
    })())
}

/// The question, and what its page tokens are bound to.
pub(super) fn compare(
    request: v1::CompareAccessSettingsRequest,
    actor: &Actor,
    limits: &Limits,
) -> Result<(CompareAccessSettings, String), Refusal> {
    let v1::CompareAccessSettingsRequest { portfolio, page_size, page_token } = request;
    let mut violations = Violations::default();
    let portfolio: Option<PortfolioId> = violations.check(parse::id("portfolio", &portfolio));
    let query =
        portfolio.as_ref().map(|id| bound("CompareAccessSettings", actor, None, &[id.as_str()]));
    let query = query.unwrap_or_default();
    let page = (page_size, page_token.as_str());
    let page = parse::page(&mut violations, &query, page, limits.max_page_size);
    violations
        .finish((|| Some((CompareAccessSettings { portfolio: portfolio?, page: page? }, query)))())
}

pub(super) fn compared(
    compared: ComparedAccessSettings,
    differences: &[AccessDifference],
    next_page_token: String,
    token: &Token,
) -> v1::CompareAccessSettingsResponse {
    let ComparedAccessSettings { parent, linked, before, after } = compared;
    v1::CompareAccessSettingsResponse {
        parent: parent.to_string(),
        linked,
        before: Some(openness(&before)),
        after: Some(openness(&after)),
        differences: differences.iter().map(difference).collect(),
        next_page_token,
        consistency_token: token.encode(),
    }
}

fn openness(settings: &AccessSettings) -> v1::Openness {
    let AccessSettings { visibility, organization_access_role } = settings;
    v1::Openness {
        visibility: render::visibility(*visibility).into(),
        organization_access_role: organization_access_role.to_string(),
    }
}

fn difference(difference: &AccessDifference) -> v1::AccessDifference {
    let AccessDifference { subject, before, after, gained, lost } = difference;
    let kind = match (before.is_empty(), after.is_empty()) {
        (true, _) => v1::AccessDifferenceKind::Gains,
        (_, true) => v1::AccessDifferenceKind::Loses,
        (false, false) => v1::AccessDifferenceKind::Changes,
    };
    v1::AccessDifference {
        subject: Some(render::subject(subject)),
        kind: kind.into(),
        before: before.iter().map(timed_role).collect(),
        after: after.iter().map(timed_role).collect(),
        gained: gained.iter().map(permission).collect(),
        lost: lost.iter().map(permission).collect(),
    }
}

fn timed_role(role: &TimedRole) -> v1::TimedRole {
    let TimedRole { role, start_time, expire_time } = role;
    v1::TimedRole {
        role: role.to_string(),
        start_time: start_time.map(render::timestamp),
        expire_time: expire_time.map(render::timestamp),
    }
}

fn permission((name, reach): &(PermissionName, Reach)) -> v1::RolePermission {
    let reach = match reach {
        Reach::Own => v1::Reach::Own,
        Reach::Any => v1::Reach::Any,
    };
    v1::RolePermission { permission: name.to_string(), reach: reach.into() }
}
