//! How a change reads in a printed plan.

use std::fmt;

use super::change::{Change, Terms, ceiling_text, cell_text, visibility_text};
use super::differences::none;
use crate::cli::text;
use crate::proto::v1;

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.action().mark())?;
        match self {
            Self::CreateOrganization(organization) => {
                write!(f, "organization {}", organization.id)
            }
            Self::UpdateOrganization(organization, was)
            | Self::SetAdministrators { organization, was, .. } => {
                write!(f, "organization {}: {was}", organization.id)
            }
            Self::CreateRole(role) => write!(f, "role {}: {}", role.key, cells_text(role)),
            Self::UpdateRole(role, was) => write!(f, "role {}: {was}", role.key),
            Self::DeleteRole { role, .. } => write!(f, "role {role}"),
            Self::CreateUser(user) => write!(f, "user {} <{}>", user.id, user.email),
            Self::UpdateUser(user, was) => write!(f, "user {}: {was}", user.id),
            Self::ReactivateUser(user) => {
                write!(f, "user {user}: status deactivated -> active")
            }
            Self::DeactivateUser { user, .. } => {
                write!(f, "user {user}: status active -> deactivated")
            }
            Self::SetSiteRole { site_role, was } => write!(f, "user {}: {was}", site_role.user),
            Self::AddAffiliation(affiliation) | Self::RemoveAffiliation(affiliation) => {
                write!(f, "user {}: affiliation {}", affiliation.user, affiliation.function)
            }
            Self::CreateServiceAccount(account) => write!(f, "service account {}", account.id),
            Self::UpdateServiceAccount(account, was) => {
                write!(f, "service account {}: {was}", account.id)
            }
            Self::DeactivateServiceAccount { service_account, .. } => {
                write!(f, "service account {service_account}: status active -> deactivated")
            }
            Self::CreateGroup(group) => write!(f, "group {}", group.id),
            Self::UpdateGroup(group, was) => write!(f, "group {}: {was}", group.id),
            Self::DeleteGroup(group) => write!(f, "group {group}"),
            Self::AddGroupMember { group, member } | Self::RemoveGroupMember { group, member } => {
                write!(f, "group {group}: member {member}")
            }
            _ => self.on_portfolios(f),
        }
    }
}

impl Change {
    fn on_portfolios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreatePortfolio { portfolio, .. } => created(portfolio, f),
            Self::UpdatePortfolio(portfolio, was) => {
                write!(f, "portfolio {}: {was}", portfolio.id)
            }
            Self::MovePortfolio { portfolio, link, was, .. } => {
                write!(f, "portfolio {portfolio}: {was}{}", if *link { ", linked" } else { "" })
            }
            Self::LinkSettings(portfolio) => write!(f, "portfolio {portfolio}: linked"),
            Self::UnlinkSettings(portfolio) => {
                write!(f, "portfolio {portfolio}: no longer linked")
            }
            Self::DeletePortfolio { portfolio, .. } => {
                write!(f, "portfolio {portfolio}, for good")
            }
            Self::UpdateSettings(settings, was) => {
                write!(f, "portfolio {}: {was}", settings.portfolio)
            }
            Self::RemoveMember { portfolio, subject, roles, .. } => {
                write!(f, "portfolio {portfolio}: {subject} as {roles}")
            }
            Self::AddMember { portfolio, subject, terms } => {
                write!(f, "portfolio {portfolio}: {subject} as {terms}")
            }
            Self::UpdateMember { portfolio, subject, was, .. } => {
                write!(f, "portfolio {portfolio}: {subject}: {was}")
            }
            Self::RegisterItem(item) => registered(item, f),
            Self::UpdateItem(item, was) => write!(f, "item {}:{}: {was}", item.r#type, item.id),
            Self::SetItemGrants { item, subject, was, terms, .. } => {
                write!(f, "item {item}: {subject}")?;
                match (was.as_slice(), terms.as_slice()) {
                    ([], terms) | (terms, []) => write!(f, " as {}", several(terms)),
                    (was, terms) => write!(f, ": {} -> {}", several(was), several(terms)),
                }
            }
            Self::DeleteItem(item) => write!(f, "item {}:{}, for good", item.r#type, item.id),
            Self::SetFunctionCeiling { ceiling, was } => write_ceiling(f, ceiling, was.as_deref()),
            Self::DeleteFunctionCeiling(ceiling) => write_ceiling(f, ceiling, None),
            // The others are told above.
            _ => Ok(()),
        }
    }
}

fn created(portfolio: &v1::Portfolio, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "portfolio {}", portfolio.id)?;
    let visibility = portfolio.visibility.map(visibility_text);
    visibility.iter().try_for_each(|text| write!(f, ", {text}"))?;
    write!(f, ", owner {}", portfolio.owner)?;
    match (portfolio.parent.as_str(), portfolio.linked) {
        ("", _) => Ok(()),
        (parent, false) => write!(f, ", below {parent}"),
        (parent, true) => write!(f, ", linked to {parent}"),
    }
}

fn registered(item: &v1::Item, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "item {}:{} on {}", item.r#type, item.id, item.portfolios.join(" "))?;
    if item.independent {
        // What a server makes of none.
        let visibility = item.visibility.max(v1::Visibility::Private as i32);
        write!(f, ", independent, {}", visibility_text(visibility))?;
    }
    if !item.owner.is_empty() {
        write!(f, ", owner {}", item.owner)?;
    }
    f.write_str(if item.archived { ", archived" } else { "" })
}

/// What a subject holds on an item.
fn several(terms: &[Terms]) -> String {
    let terms: Vec<String> = terms.iter().map(ToString::to_string).collect();
    terms.join(" and ")
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, start, expire } = self;
        f.write_str(role)?;
        start.iter().try_for_each(|start| write!(f, " from {}", text::time_text(*start)))?;
        expire.iter().try_for_each(|expire| write!(f, " until {}", text::time_text(*expire)))
    }
}

/// `was` is the role before, if there was one.
fn write_ceiling(
    f: &mut fmt::Formatter<'_>,
    ceiling: &v1::FunctionCeiling,
    was: Option<&str>,
) -> fmt::Result {
    let was = was.map(|was| format!("role {was} -> ")).unwrap_or_default();
    write!(f, "function ceiling {}: {was}{}", ceiling_text(ceiling), ceiling.role)
}

/// All that a role holds.
fn cells_text(role: &v1::Role) -> String {
    let cells: Vec<String> = role.permissions.iter().map(cell_text).collect();
    none(&cells.join(", ")).to_owned()
}
