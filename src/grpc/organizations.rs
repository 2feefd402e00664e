use std::collections::BTreeSet;

use super::parse::{self, Violations, too_many};
use super::render::{timestamp, visibility};
use crate::app::NewOrganization;
use crate::config::Limits;
use crate::domain::directory::{Organization, is_domain};
use crate::domain::refusal::Refusal;
use crate::domain::role::Preset;
use crate::proto::v1;

/// The most verified domains of an organization.
const MAX_DOMAINS: usize = 100;

pub(super) fn create(
    request: v1::CreateOrganizationRequest,
    limits: &Limits,
) -> Result<NewOrganization, Refusal> {
    let v1::CreateOrganizationRequest { request_id: _, organization } = request;
    let Some(organization) = organization else {
        return Err(Refusal::field("organization", "must be given"));
    };
    let v1::Organization {
        id,
        display_name,
        domains,
        preset,
        default_visibility,
        // Output only.
        create_time: _,
    } = organization;
    let mut violations = Violations::default();
    let id = violations.check(parse::optional_id("organization.id", &id));
    let display_name = violations.check(parse::display_name(
        "organization.display_name",
        display_name,
        limits.max_string_bytes,
    ));
    let domains = self::domains(&mut violations, &domains);
    let preset = violations.check(self::preset(&preset));
    let default_visibility =
        default_visibility.map(|given| parse::visibility("organization.default_visibility", given));
    let default_visibility = violations.check(default_visibility.transpose());
    violations.finish((|| {
        Some(NewOrganization {
            id: id?,
            display_name: display_name?,
            domains,
            preset: preset?,
            default_visibility: default_visibility?,
        })
    })())
}

/// The well-formed ones, in lower case and sorted.
fn domains(violations: &mut Violations, given: &[String]) -> Vec<String> {
    if given.len() > MAX_DOMAINS {
        let refusal = too_many("organization.domains", given.len(), MAX_DOMAINS);
        violations.check::<()>(Err(refusal));
        return Vec::new();
    }
    let mut domains = BTreeSet::new();
    for (at, domain) in given.iter().enumerate() {
        let description = if !is_domain(domain) {
            "must be a domain name in its ASCII form, such as `example.com` or `xn--...`"
        } else if !domains.insert(domain.to_ascii_lowercase()) {
            "repeats an earlier one; leave it out"
        } else {
            continue;
        };
        let field = format!("organization.domains[{at}]");
        violations.check::<()>(Err(Refusal::field(field, description)));
    }
    domains.into_iter().collect()
}

fn preset(name: &str) -> Result<Preset, Refusal> {
    if name.is_empty() {
        return Ok(Preset::InitiativePlanning);
    }
    let unknown = || Refusal::field("organization.preset", "must be `initiative_planning`");
    Preset::parse(name).ok_or_else(unknown)
}

pub(super) fn render(organization: Organization) -> v1::Organization {
    let Organization { id, display_name, domains, preset, default_visibility, create_time } =
        organization;
    v1::Organization {
        id: id.to_string(),
        display_name,
        domains,
        preset: preset.as_str().to_owned(),
        default_visibility: Some(visibility(default_visibility).into()),
        create_time: Some(timestamp(create_time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dir_6_domains_are_kept_in_lower_case_sorted_and_once() {
        let given = |domains: &[&str]| v1::CreateOrganizationRequest {
            organization: Some(v1::Organization {
                display_name: "Acme".to_owned(),
                domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
                ..v1::Organization::default()
            }),
            ..v1::CreateOrganizationRequest::default()
        };
        let parsed = create(given(&["b.example", "A.example"]), &Limits::default()).unwrap();
        assert_eq!(parsed.domains, ["a.example", "b.example"]);
        assert_eq!(parsed.preset, Preset::InitiativePlanning);
        let refusal = create(given(&["a.example", "A.EXAMPLE", "ä.example"]), &Limits::default())
            .unwrap_err();
        let fields: Vec<&str> = refusal.violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["organization.domains[1]", "organization.domains[2]"]);
    }
}
