use super::parse::{self, Violations};
use crate::app::{FunctionCeilingKey, ListFunctionCeilings};
use crate::config::Limits;
use crate::domain::OrganizationId;
use crate::domain::function::{FunctionCeiling, FunctionCeilingFilter};
use crate::domain::refusal::Refusal;
use crate::proto::v1;

pub(super) fn set(request: v1::SetFunctionCeilingRequest) -> Result<FunctionCeiling, Refusal> {
    let v1::SetFunctionCeilingRequest {
        request_id: _,
        organization,
        function,
        portfolio_type,
        role,
    } = request;
    let mut violations = Violations::default();
    let organization = violations.check(parse::id("organization", &organization));
    let function = violations.check(parse::id("function", &function));
    let portfolio_type = violations.check(parse::type_name("portfolio_type", portfolio_type));
    let role = violations.check(parse::id("role", &role));
    violations.finish((|| {
        Some(FunctionCeiling {
            organization: organization?,
            function: function?,
            portfolio_type: portfolio_type?,
            role: role?,
        })
    })())
}

/// What is listed, and what its page tokens are bound to.
pub(super) fn list(
    request: v1::ListFunctionCeilingsRequest,
    limits: &Limits,
) -> Result<(ListFunctionCeilings, String), Refusal> {
    let v1::ListFunctionCeilingsRequest { organization, filter, page_size, page_token } = request;
    let mut violations = Violations::default();
    let filter = filter.unwrap_or_default();
    let query = format!("ListFunctionCeilings {organization:?} {filter:?}");
    let organization = violations.check(parse::id("organization", &organization));
    let filter = self::filter(&mut violations, filter);
    let asked = (page_size, page_token.as_str());
    let page = parse::page(&mut violations, &query, asked, limits.max_page_size);
    violations.finish((|| {
        let (organization, filter, page) = (organization?, filter?, page?);
        Some((ListFunctionCeilings { organization, filter, page }, query))
    })())
}

fn filter(
    violations: &mut Violations,
    filter: v1::FunctionCeilingFilter,
) -> Option<FunctionCeilingFilter> {
    let v1::FunctionCeilingFilter { function, portfolio_type } = filter;
    let function = violations.check(parse::optional_id("filter.function", &function));
    let field = "filter.portfolio_type";
    let portfolio_type = portfolio_type.map(|text| parse::type_name(field, text)).transpose();
    let portfolio_type = violations.check(portfolio_type);
    Some(FunctionCeilingFilter { function: function?, portfolio_type: portfolio_type? })
}

pub(super) fn delete(
    request: v1::DeleteFunctionCeilingRequest,
) -> Result<(OrganizationId, FunctionCeilingKey), Refusal> {
    let v1::DeleteFunctionCeilingRequest { request_id: _, organization, function, portfolio_type } =
        request;
    let mut violations = Violations::default();
    let organization = violations.check(parse::id("organization", &organization));
    let function = violations.check(parse::id("function", &function));
    let portfolio_type = violations.check(parse::type_name("portfolio_type", portfolio_type));
    violations.finish(organization.zip(function.zip(portfolio_type)))
}

pub(super) fn render(ceiling: FunctionCeiling) -> v1::FunctionCeiling {
    let FunctionCeiling { organization, function, portfolio_type, role } = ceiling;
    v1::FunctionCeiling {
        organization: organization.to_string(),
        function: function.to_string(),
        portfolio_type,
        role: role.to_string(),
    }
}
