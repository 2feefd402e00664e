//! Lists of portfolios on the wire.

use super::parse::{self, Violations};
use super::portfolios::portfolio;
use super::questions::{bound, requirement};
use super::render::index;
use crate::app::{ListPortfolios, ListUnmanagedPortfolios, PortfolioSummary, View};
use crate::config::Limits;
use crate::domain::OrganizationId;
use crate::domain::caller::Actor;
use crate::domain::refusal::Refusal;
use crate::proto::v1;

/// The question, and what its page tokens are bound to.
pub(super) fn list(
    request: v1::ListPortfoliosRequest,
    actor: &Actor,
    limits: &Limits,
) -> Result<(ListPortfolios, String), Refusal> {
    let v1::ListPortfoliosRequest { organization, view, consistency, page_size, page_token } =
        request;
    let mut violations = Violations::default();
    let organization: Option<Option<OrganizationId>> =
        violations.check(parse::optional_id("organization", &organization));
    if *actor == Actor::System && organization == Some(None) {
        let missing = Refusal::field("organization", "must be given where there is no actor");
        violations.check::<()>(Err(missing));
    }
    let view = violations.check(self::view(view, actor));
    let requirement = violations.check(requirement(consistency));
    let query = (|| {
        let organization = organization.as_ref()?.as_ref().map(OrganizationId::as_str);
        let view = format!("{:?}", view?);
        Some(bound("ListPortfolios", actor, None, &[organization.unwrap_or_default(), &view]))
    })();
    let query = query.unwrap_or_default();
    let page = (page_size, page_token.as_str());
    let page = parse::page(&mut violations, &query, page, limits.max_page_size);
    violations.finish((|| {
        let question = ListPortfolios {
            organization: organization?,
            view: view?,
            requirement: requirement?,
            page: page?,
        };
        Some((question, query))
    })())
}

fn view(view: i32, actor: &Actor) -> Result<Option<View>, Refusal> {
    let view = match v1::PortfolioView::try_from(view) {
        Ok(v1::PortfolioView::Unspecified) => return Ok(None),
        Ok(v1::PortfolioView::Mine) => View::Mine,
        Ok(v1::PortfolioView::Organization) => View::Organization,
        Ok(v1::PortfolioView::Administered) => View::Administered,
        Err(_) => {
            let description = "must be unspecified, `PORTFOLIO_VIEW_MINE`, \
                               `PORTFOLIO_VIEW_ORGANIZATION` or `PORTFOLIO_VIEW_ADMINISTERED`";
            return Err(Refusal::field("view", description));
        }
    };
    if *actor == Actor::System {
        let description = "must be unspecified where there is no actor, whose view it would be";
        return Err(Refusal::field("view", description));
    }
    Ok(Some(view))
}

/// The question, and what its page tokens are bound to.
pub(super) fn list_unmanaged(
    request: v1::ListUnmanagedPortfoliosRequest,
    actor: &Actor,
    limits: &Limits,
) -> Result<(ListUnmanagedPortfolios, String), Refusal> {
    let v1::ListUnmanagedPortfoliosRequest { organization, consistency, page_size, page_token } =
        request;
    let mut violations = Violations::default();
    let organization: Option<OrganizationId> =
        violations.check(parse::id("organization", &organization));
    let requirement = violations.check(requirement(consistency));
    let query = organization
        .as_ref()
        .map(|id| bound("ListUnmanagedPortfolios", actor, None, &[id.as_str()]));
    let query = query.unwrap_or_default();
    let page = (page_size, page_token.as_str());
    let page = parse::page(&mut violations, &query, page, limits.max_page_size);
    violations.finish((|| {
        let question = ListUnmanagedPortfolios {
            organization: organization?,
            requirement: requirement?,
            page: page?,
        };
        Some((question, query))
    })())
}

pub(super) fn summary(row: &PortfolioSummary) -> v1::PortfolioSummary {
    let PortfolioSummary { portfolio: found, view, roles, managers, member_count } = row;
    let view = match view {
        None => v1::PortfolioView::Unspecified,
        Some(View::Mine) => v1::PortfolioView::Mine,
        Some(View::Organization) => v1::PortfolioView::Organization,
        Some(View::Administered) => v1::PortfolioView::Administered,
    };
    let manager = |(user, display_name): &(crate::domain::UserId, String)| v1::PortfolioManager {
        user: user.to_string(),
        display_name: display_name.clone(),
    };
    v1::PortfolioSummary {
        portfolio: Some(portfolio(found)),
        view: view.into(),
        roles: roles.iter().map(ToString::to_string).collect(),
        managers: managers.iter().map(manager).collect(),
        member_count: index(*member_count),
    }
}
