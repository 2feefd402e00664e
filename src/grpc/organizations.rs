use std::collections::BTreeSet;
use std::str::FromStr;

use super::parse::{self, Violations, too_many};
use super::render::{site_role, timestamp, visibility};
use crate::app::{NewOrganization, UpdateOrganization};
use crate::config::Limits;
use crate::domain::directory::{ExternalsJoin, Organization, is_domain};
use crate::domain::ids::InvalidId;
use crate::domain::refusal::Refusal;
use crate::domain::role::Preset;
use crate::domain::{OrganizationId, UserId};
use crate::proto::v1;

/// The most verified domains of an organization.
const MAX_DOMAINS: usize = 100;
/// The most administrators of an organization.
const MAX_ADMINISTRATORS: usize = 100;
/// The most partners of an organization.
const MAX_PARTNERS: usize = 100;

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
        outsider_site_role,
        partner_organizations,
        externals_join,
        privacy_approval,
        // Output only, or for updates.
        create_time: _,
        administrators: _,
        etag: _,
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
    let outsider_site_role = match outsider_site_role {
        0 => preset.map(Preset::outsider_site_role),
        given => violations.check(parse::site_role("organization.outsider_site_role", given)),
    };
    let externals_join = match externals_join {
        0 => preset.map(Preset::externals_join),
        given => violations.check(self::externals_join(given)),
    };
    let partners = self::partners(&mut violations, &partner_organizations);
    violations.finish((|| {
        Some(NewOrganization {
            id: id?,
            display_name: display_name?,
            domains,
            preset: preset?,
            default_visibility: default_visibility?,
            outsider_site_role: outsider_site_role?,
            partner_organizations: partners,
            externals_join: externals_join?,
            privacy_approval,
        })
    })())
}

/// The fields that an update may name.
const FIELDS: [&str; 8] = [
    "display_name",
    "domains",
    "administrators",
    "default_visibility",
    "outsider_site_role",
    "partner_organizations",
    "externals_join",
    "privacy_approval",
];

/// Fields that the mask does not name are not looked at.
pub(super) fn update(
    request: v1::UpdateOrganizationRequest,
    limits: &Limits,
) -> Result<UpdateOrganization, Refusal> {
    let v1::UpdateOrganizationRequest { request_id: _, organization, update_mask } = request;
    let Some(organization) = organization else {
        return Err(Refusal::field("organization", "must be given"));
    };
    let v1::Organization {
        id,
        display_name,
        domains,
        default_visibility,
        administrators,
        outsider_site_role,
        partner_organizations,
        externals_join,
        privacy_approval,
        etag,
        // Never change.
        preset: _,
        create_time: _,
    } = organization;
    let mut violations = Violations::default();
    let v = &mut violations;
    let id = v.check(parse::id("organization.id", &id));
    let etag = v.check(parse::etag("organization.etag", etag));
    let named = v.check(paths(update_mask.as_ref())).unwrap_or_default();
    let if_named = |field| named.contains(&field).then_some(());
    let display_name = if_named("display_name").and_then(|()| {
        let most = limits.max_string_bytes;
        v.check(parse::display_name("organization.display_name", display_name, most))
    });
    let domains = if_named("domains").map(|()| self::domains(v, &domains));
    let administrators =
        if_named("administrators").map(|()| self::administrators(v, &administrators));
    let default_visibility = if_named("default_visibility").and_then(|()| {
        let given = default_visibility.unwrap_or_default();
        v.check(parse::visibility("organization.default_visibility", given))
    });
    let outsider_site_role = if_named("outsider_site_role").and_then(|()| {
        v.check(parse::site_role("organization.outsider_site_role", outsider_site_role))
    });
    let partners =
        if_named("partner_organizations").map(|()| self::partners(v, &partner_organizations));
    let externals_join =
        if_named("externals_join").and_then(|()| v.check(self::externals_join(externals_join)));
    let privacy_approval = if_named("privacy_approval").map(|()| privacy_approval);
    violations.finish((|| {
        Some(UpdateOrganization {
            id: id?,
            display_name,
            domains,
            administrators,
            default_visibility,
            outsider_site_role,
            partner_organizations: partners,
            externals_join,
            privacy_approval,
            etag: etag?,
        })
    })())
}

/// The mask alone tells an empty list from one that is to stay, so that it must be there.
fn paths(mask: Option<&prost_types::FieldMask>) -> Result<Vec<&'static str>, Refusal> {
    // What is set is not looked at: a mask without paths names nothing.
    parse::update_mask(mask, &FIELDS.map(|field| (field, false)))
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

/// The well-formed ids of a field, sorted and once; at most `most`.
fn ids<T>(violations: &mut Violations, field: &str, given: &[String], most: usize) -> Vec<T>
where
    T: FromStr<Err = InvalidId> + Ord,
{
    if given.len() > most {
        violations.check::<()>(Err(too_many(field, given.len(), most)));
        return Vec::new();
    }
    let mut ids = BTreeSet::new();
    for (at, id) in given.iter().enumerate() {
        ids.extend(violations.check(parse::id(format!("{field}[{at}]"), id)));
    }
    ids.into_iter().collect()
}

fn partners(violations: &mut Violations, given: &[String]) -> Vec<OrganizationId> {
    ids(violations, "organization.partner_organizations", given, MAX_PARTNERS)
}

fn administrators(violations: &mut Violations, given: &[String]) -> Vec<UserId> {
    ids(violations, "organization.administrators", given, MAX_ADMINISTRATORS)
}

fn externals_join(given: i32) -> Result<ExternalsJoin, Refusal> {
    match v1::ExternalsJoin::try_from(given) {
        Ok(v1::ExternalsJoin::AfterAcceptance) => Ok(ExternalsJoin::AfterAcceptance),
        Ok(v1::ExternalsJoin::PartnersAtOnce) => Ok(ExternalsJoin::PartnersAtOnce),
        Ok(v1::ExternalsJoin::Unspecified) | Err(_) => {
            let description = "must be `EXTERNALS_JOIN_AFTER_ACCEPTANCE` or \
                               `EXTERNALS_JOIN_PARTNERS_AT_ONCE`";
            Err(Refusal::field("organization.externals_join", description))
        }
    }
}

fn preset(name: &str) -> Result<Preset, Refusal> {
    if name.is_empty() {
        return Ok(Preset::InitiativePlanning);
    }
    Preset::parse(name).ok_or_else(|| {
        let names = Preset::ALL.map(|preset| format!("`{}`", preset.as_str())).join(", ");
        Refusal::field("organization.preset", format!("must be one of {names}"))
    })
}

pub(super) fn render(organization: Organization) -> v1::Organization {
    let etag = organization.etag();
    let Organization {
        id,
        display_name,
        domains,
        preset,
        default_visibility,
        create_time,
        administrators,
        outsider_site_role,
        partner_organizations,
        externals_join,
        privacy_approval,
        // In the etag.
        version: _,
    } = organization;
    v1::Organization {
        id: id.to_string(),
        display_name,
        domains,
        preset: preset.as_str().to_owned(),
        default_visibility: Some(visibility(default_visibility).into()),
        create_time: Some(timestamp(create_time)),
        administrators: administrators.into_iter().map(String::from).collect(),
        outsider_site_role: site_role(outsider_site_role).into(),
        partner_organizations: partner_organizations.into_iter().map(String::from).collect(),
        externals_join: match externals_join {
            ExternalsJoin::AfterAcceptance => v1::ExternalsJoin::AfterAcceptance,
            ExternalsJoin::PartnersAtOnce => v1::ExternalsJoin::PartnersAtOnce,
        }
        .into(),
        privacy_approval,
        etag,
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
