use super::parse::{self, Violations};
use crate::domain::function::Affiliation;
use crate::domain::refusal::Refusal;
use crate::proto::v1;

pub(super) fn set(request: v1::SetAffiliationRequest) -> Result<Affiliation, Refusal> {
    let v1::SetAffiliationRequest { request_id: _, organization, user, function } = request;
    affiliation(&organization, &user, &function)
}

pub(super) fn remove(request: v1::RemoveAffiliationRequest) -> Result<Affiliation, Refusal> {
    let v1::RemoveAffiliationRequest { request_id: _, organization, user, function } = request;
    affiliation(&organization, &user, &function)
}

fn affiliation(organization: &str, user: &str, function: &str) -> Result<Affiliation, Refusal> {
    let mut violations = Violations::default();
    let organization = violations.check(parse::id("organization", organization));
    let user = violations.check(parse::id("user", user));
    let function = violations.check(parse::id("function", function));
    violations.finish((|| {
        Some(Affiliation { organization: organization?, user: user?, function: function? })
    })())
}

pub(super) fn render(affiliation: Affiliation) -> v1::Affiliation {
    let Affiliation { organization, user, function } = affiliation;
    v1::Affiliation {
        organization: organization.to_string(),
        user: user.to_string(),
        function: function.to_string(),
    }
}
