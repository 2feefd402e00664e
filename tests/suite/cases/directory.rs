//! What people do with who there is.
//!
//! ```text
//! WHO enrols USER with ADDRESS called NAME [from outside]                                [CREATED]
//! WHO deactivates | reactivates USER
//! WHO puts SUBJECT into GROUP, WHO takes SUBJECT out of GROUP
//! WHO sees user USER                                       [e-mail, site role ROLE, each function]
//! WHO lists users [matching TEXT | who are active | with a function]                       [users]
//! WHO sets the site role of USER to editor | viewer | guest
//! WHO affiliates USER as FUNCTION, WHO ends USER as FUNCTION
//! WHO sets the ceiling of FUNCTION on TYPE to ROLE
//! WHO lists ceilings                                                          [FUNCTION TYPE ROLE]
//! WHO sees the organization                                                         [its settings]
//! WHO makes new portfolios VISIBILITY                                               [its settings]
//! ```

use portcullis::proto::v1;
use prost_types::FieldMask;

use super::steps::{Call, Doing, full, openness, short, visibility};
use super::told::{Told, lower};
use crate::harness::{Client, subject};

pub fn call(doing: Doing, does: &[&str]) -> Option<Call> {
    people(&doing, does).or_else(|| functions(&doing, does)).or_else(|| settings(&doing, does))
}

fn people(doing: &Doing, does: &[&str]) -> Option<Call> {
    let (client, organization) = (doing.client.clone(), doing.organization.clone());
    match does {
        ["enrols", id, "with", email, "called", display_name, home @ ..] => {
            let home_organization = match home {
                [] => organization,
                ["from", "outside"] => String::new(),
                _ => return None,
            };
            let (id, email) = ((*id).to_owned(), (*email).to_owned());
            let display_name = (*display_name).to_owned();
            let user =
                v1::User { id, email, display_name, home_organization, ..Default::default() };
            Some(enrol(client, user))
        }
        ["deactivates", user] => {
            let user = (*user).to_owned();
            let request = v1::DeactivateUserRequest { user, ..Default::default() };
            Some(Box::pin(async move {
                client.directory().deactivate_user(request).await?;
                Ok(done())
            }))
        }
        ["reactivates", user] => {
            let user = (*user).to_owned();
            let request = v1::ReactivateUserRequest { user, ..Default::default() };
            Some(Box::pin(async move {
                client.directory().reactivate_user(request).await?;
                Ok(done())
            }))
        }
        ["puts", who, "into", group] => {
            let (group, members) = ((*group).to_owned(), vec![subject(&full(who))]);
            let request = v1::AddGroupMembersRequest { group, members, ..Default::default() };
            Some(Box::pin(async move {
                let done = client.directory().add_group_members(request).await?.into_inner();
                Ok(Told::Each(done.outcomes.iter().map(joined).collect()))
            }))
        }
        ["takes", who, "out", "of", group] => {
            let (group, members) = ((*group).to_owned(), vec![subject(&full(who))]);
            let request = v1::RemoveGroupMembersRequest { group, members, ..Default::default() };
            Some(Box::pin(async move {
                let done = client.directory().remove_group_members(request).await?.into_inner();
                Ok(Told::Each(done.outcomes.iter().map(joined).collect()))
            }))
        }
        ["sees", "user", user] => {
            let request = v1::GetUserRequest { user: (*user).to_owned() };
            Some(Box::pin(async move {
                Ok(told(client.directory().get_user(request).await?.into_inner()))
            }))
        }
        ["lists", "users", filter @ ..] => list(client, organization, filter),
        _ => None,
    }
}

fn enrol(client: Client, user: v1::User) -> Call {
    let request = v1::UpsertUsersRequest { users: vec![user], ..Default::default() };
    Box::pin(async move {
        let outcomes = client.directory().upsert_users(request).await?.into_inner().outcomes;
        let told = |outcome: &v1::UpsertUserOutcome| {
            let status = outcome.status().as_str_name().trim_start_matches("UPSERT_STATUS_");
            [status.to_owned()].into_iter().chain(outcome.refusal.as_ref().map(short)).collect()
        };
        Ok(Told::Each(outcomes.iter().map(told).collect()))
    })
}

fn list(client: Client, organization: String, filters: &[&str]) -> Option<Call> {
    let filter = match filters {
        [] => v1::UserFilter::default(),
        ["matching", text] => v1::UserFilter { search: (*text).to_owned(), ..Default::default() },
        ["who", "are", "active"] => {
            let status = v1::UserStatus::Active.into();
            v1::UserFilter { status, ..Default::default() }
        }
        ["with", "a", "function"] => v1::UserFilter { affiliated: true, ..Default::default() },
        _ => return None,
    };
    let filter = Some(filter);
    let request = v1::ListUsersRequest { organization, filter, ..Default::default() };
    Some(Box::pin(async move {
        let found = client.directory().list_users(request).await?.into_inner().users;
        Ok(Told::All(found.into_iter().map(|user| user.id).collect()))
    }))
}

fn functions(doing: &Doing, does: &[&str]) -> Option<Call> {
    let (client, organization) = (doing.client.clone(), doing.organization.clone());
    match does {
        ["affiliates", user, "as", function] => {
            let (user, function) = ((*user).to_owned(), (*function).to_owned());
            let request =
                v1::SetAffiliationRequest { organization, user, function, ..Default::default() };
            Some(Box::pin(async move {
                client.directory().set_affiliation(request).await?;
                Ok(done())
            }))
        }
        ["ends", user, "as", function] => {
            let (user, function) = ((*user).to_owned(), (*function).to_owned());
            let request =
                v1::RemoveAffiliationRequest { organization, user, function, ..Default::default() };
            Some(Box::pin(async move {
                client.directory().remove_affiliation(request).await?;
                Ok(done())
            }))
        }
        ["sets", "the", "ceiling", "of", function, "on", portfolio_type, "to", role] => {
            let (function, role) = ((*function).to_owned(), (*role).to_owned());
            let portfolio_type = (*portfolio_type).to_owned();
            let request = v1::SetFunctionCeilingRequest {
                organization,
                function,
                portfolio_type,
                role,
                ..Default::default()
            };
            Some(Box::pin(async move {
                client.directory().set_function_ceiling(request).await?;
                Ok(done())
            }))
        }
        ["lists", "ceilings"] => Some(Box::pin(async move {
            let request = v1::ListFunctionCeilingsRequest { organization, ..Default::default() };
            let found = client.directory().list_function_ceilings(request).await?.into_inner();
            let line = |ceiling: v1::FunctionCeiling| {
                format!("{} {} {}", ceiling.function, ceiling.portfolio_type, ceiling.role)
            };
            Ok(Told::All(found.function_ceilings.into_iter().map(line).collect()))
        })),
        _ => None,
    }
}

fn settings(doing: &Doing, does: &[&str]) -> Option<Call> {
    let (client, organization) = (doing.client.clone(), doing.organization.clone());
    match does {
        ["sets", "the", "site", "role", "of", user, "to", site_role] => {
            let name = format!("SITE_ROLE_{}", site_role.to_uppercase());
            let site_role = v1::SiteRole::from_str_name(&name)?.into();
            let user = (*user).to_owned();
            let request =
                v1::SetSiteRoleRequest { organization, user, site_role, ..Default::default() };
            Some(Box::pin(async move {
                client.directory().set_site_role(request).await?;
                Ok(done())
            }))
        }
        ["sees", "the", "organization"] => Some(Box::pin(async move {
            let request = v1::GetOrganizationRequest { organization };
            let found = client.directory().get_organization(request).await?.into_inner();
            Ok(organization_told(&found.organization.expect("an organization")))
        })),
        ["makes", "new", "portfolios", openness] => {
            let default_visibility = Some(visibility(openness)?.into());
            let organization =
                v1::Organization { id: organization, default_visibility, ..Default::default() };
            let paths = vec!["default_visibility".to_owned()];
            let request = v1::UpdateOrganizationRequest {
                organization: Some(organization),
                update_mask: Some(FieldMask { paths }),
                ..Default::default()
            };
            Some(Box::pin(async move {
                let updated = client.directory().update_organization(request).await?.into_inner();
                Ok(organization_told(&updated.organization.expect("an organization")))
            }))
        }
        _ => None,
    }
}

/// There is nothing more to say.
fn done() -> Told {
    Told::One(vec!["done".to_owned()])
}

fn joined(outcome: &v1::GroupMemberOutcome) -> Vec<String> {
    let status = outcome.status().as_str_name().trim_start_matches("GROUP_MEMBER_STATUS_");
    [status.to_owned()].into_iter().chain(outcome.refusal.as_ref().map(short)).collect()
}

fn told(found: v1::GetUserResponse) -> Told {
    let v1::User { email, display_name, .. } = found.user.expect("a user");
    let mut words = vec![format!("e-mail {email}"), format!("name {display_name}")];
    let site_role = |role: &v1::UserSiteRole| {
        format!("site role {}", lower(role.site_role().as_str_name(), "SITE_ROLE_"))
    };
    words.extend(found.site_roles.iter().map(site_role));
    words.extend(found.affiliations.into_iter().map(|affiliation| affiliation.function));
    Told::One(words)
}

fn organization_told(organization: &v1::Organization) -> Told {
    let outsiders = lower(organization.outsider_site_role().as_str_name(), "SITE_ROLE_");
    let join = lower(organization.externals_join().as_str_name(), "EXTERNALS_JOIN_");
    let partners = organization.partner_organizations.iter();
    let words = [
        format!("preset {}", organization.preset),
        format!("new portfolios {}", openness(organization.default_visibility())),
        format!("outsiders {outsiders}"),
        format!("externals {join}"),
    ];
    Told::One(words.into_iter().chain(partners.map(|id| format!("partner {id}"))).collect())
}
