//! `portcullis export`: the apply file of what is there.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};

use super::apply::file::{self, File, Status};
use super::inventory::{HeldGroup, HeldPortfolio, Inventory};
use super::{ClientArguments, Failure, Outcome, output, text};
use crate::domain::access_settings::Visibility;
use crate::domain::directory::{Email, ExternalsJoin, SiteRole};
use crate::domain::role::{MANAGER, Preset, Reach, Role, RoleTable};
use crate::domain::{OrganizationId, Subject};
use crate::grpc::client::{CallError, Client};
use crate::proto::v1;

/// Reads on their way at once.
const CONCURRENCY: usize = 32;

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The id of the organization
    #[arg(env = "PORTCULLIS_ORGANIZATION")]
    organization: Option<OrganizationId>,

    /// Write to this file instead of standard output
    #[arg(long, short, env = "PORTCULLIS_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    client: ClientArguments,
}

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis export acme > acme.yaml
  portcullis export acme --json -o acme.json
  portcullis apply acme.yaml               # here or on another server

The file has what decides: roles that are not just the preset's, people with their status, site role
and affiliations, groups, service accounts, portfolios and their parents, items, grants that are in
force or scheduled, and the ceilings of functions. It has no history: nothing that has ended, and
nothing that a link suspends.";

/// Reads everything, writes it as YAML, or JSON.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let Some(organization) = &arguments.organization else {
        let text = "name the organization: `portcullis export acme`; \
                    a server does not tell which ones it has";
        return Err(Failure::Text(text.to_owned()));
    };
    if arguments.client.actor.is_some() {
        let text = "an actor sees only a part of the organization; leave `--actor` out";
        return Err(Failure::Text(text.to_owned()));
    }
    let client = arguments.client.connect().await?;
    let inventory = Inventory::read(&client, organization.as_str()).await?;
    let home = inventory.users.iter().map(|user| user.id.clone());
    let ids: Vec<_> = home.chain(inventory.outsiders()).collect();
    let users = people(&client, ids).await?;
    let file = file(&inventory, &users).map_err(Failure::Text)?;
    let text = match arguments.client.json {
        true => serde_json::to_string_pretty(&file).map_err(|error| error.to_string()),
        false => serde_yaml_ng::to_string(&file).map_err(|error| error.to_string()),
    };
    let text = text.map_err(Failure::Text)?;
    match &arguments.output {
        Some(path) => write(path, text.trim_end())?,
        None => output::line(text.trim_end()),
    }
    Ok(Outcome::Yes)
}

/// The users with what they are in each organization; those who were deleted meanwhile are left
/// out.
async fn people(client: &Client, ids: Vec<String>) -> Result<Vec<v1::GetUserResponse>, CallError> {
    let bar = output::progress("reading", ids.len());
    let calls = ids.into_iter().map(|user| client.get_user(v1::GetUserRequest { user }));
    let mut answers = futures::stream::iter(calls).buffered(CONCURRENCY);
    let mut people = Vec::new();
    loop {
        match answers.try_next().await {
            Ok(Some(person)) => people.push(person),
            Ok(None) => break,
            Err(error) if error.is(v1::ErrorReason::UserNotFound) => {}
            Err(error) => return Err(error),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(people)
}

/// Whole or not at all: a file that was there is replaced only by a complete one.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let fail = |error: std::io::Error| {
        Failure::Text(format!("cannot write `{}`: {error}", path.display()))
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Pipes and devices cannot be replaced.
    if path.exists() && !path.is_file() {
        let mut target = std::fs::OpenOptions::new().write(true).open(path).map_err(fail)?;
        return writeln!(target, "{text}").map_err(fail);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.{}", std::process::id()));
    let written = std::fs::write(&new, format!("{text}\n"));
    written.and_then(|()| std::fs::rename(&new, path)).map_err(|error| {
        let _gone = std::fs::remove_file(&new);
        fail(error)
    })
}

// === What is there, as a file ===

/// What a server holds that this program does not understand: a newer server's.
fn strange(what: &str, value: impl std::fmt::Display) -> String {
    format!(
        "the server has the {what} `{value}`, which this program does not know; use a newer one"
    )
}

fn id<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| strange("id", text))
}

fn optional<T: std::str::FromStr>(text: &str) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { id(text).map(Some) }
}

/// The inventory in the shape of a file.
fn file(inventory: &Inventory, people: &[v1::GetUserResponse]) -> Result<File, String> {
    let organization = &inventory.organization;
    let mut users = Vec::new();
    for person in people {
        users.extend(user(person, &organization.id)?);
    }
    users.sort_by(|a, b| a.id.cmp(&b.id));
    let accounts = inventory.service_accounts.iter().map(service_account);
    let groups = inventory.groups.iter().map(group);
    let portfolios = inventory.portfolios.iter().map(portfolio);
    let items = inventory.items.iter().map(|found| item(found, inventory, &users));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    let ceilings = inventory.function_ceilings.iter().map(function_ceiling);
    Ok(File {
        _source: None,
        organization: self::organization(organization)?,
        users: Some(users),
        service_accounts: Some(accounts.collect::<Result<_, _>>()?),
        groups: Some(groups.collect::<Result<_, _>>()?),
        roles: Some(roles(organization, &inventory.roles)?).filter(|roles| !roles.is_empty()),
        portfolios: Some(portfolios.collect::<Result<_, _>>()?),
        items: Some(items),
        function_ceilings: Some(ceilings.collect::<Result<_, _>>()?),
    })
}

fn organization(found: &v1::Organization) -> Result<file::Organization, String> {
    let preset = Preset::parse(&found.preset).ok_or_else(|| strange("preset", &found.preset))?;
    let outsider = site_role(found.outsider_site_role)?;
    let join = match v1::ExternalsJoin::try_from(found.externals_join) {
        Ok(v1::ExternalsJoin::PartnersAtOnce) => Some(ExternalsJoin::PartnersAtOnce),
        Ok(v1::ExternalsJoin::AfterAcceptance) => Some(ExternalsJoin::AfterAcceptance),
        Ok(v1::ExternalsJoin::Unspecified) => None,
        Err(error) => return Err(strange("way in which externals join", error)),
    };
    let partners = found.partner_organizations.iter().map(|partner| id(partner));
    let partners = partners.collect::<Result<Vec<_>, _>>()?;
    let administrators = found.administrators.iter().map(|user| id(user));
    let visibility = found.default_visibility.map(visibility).transpose()?;
    Ok(file::Organization {
        id: id(&found.id)?,
        display_name: Some(found.display_name.clone()),
        domains: Some(found.domains.clone()),
        preset: Some(preset),
        default_visibility: visibility,
        administrators: Some(administrators.collect::<Result<_, _>>()?),
        // What the preset says anyway, and what nobody says, is left out.
        outsider_site_role: outsider.filter(|role| *role != preset.outsider_site_role()),
        partner_organizations: Some(partners).filter(|partners| !partners.is_empty()),
        externals_join: join.filter(|join| *join != preset.externals_join()),
        privacy_approval: Some(true).filter(|_| found.privacy_approval),
    })
}

/// Roles of the organization's own, and those of the preset's that were changed.
fn roles(organization: &v1::Organization, found: &[v1::Role]) -> Result<Vec<file::Role>, String> {
    let preset = Preset::parse(&organization.preset);
    let brought = preset.map(Preset::roles).unwrap_or_default();
    let mut roles = Vec::new();
    for role in found {
        let entry = file::Role {
            key: id(&role.key)?,
            display_name: Some(role.display_name.clone()),
            description: Some(role.description.clone()).filter(|text| !text.is_empty()),
            permissions: Some(table(role)?),
        };
        let unchanged = brought.iter().any(|it| {
            let Role { key, display_name, description, table, version: _ } = it;
            entry.key == *key
                && role.display_name == *display_name
                && role.description == *description
                && entry.permissions.as_ref() == Some(table)
        });
        roles.extend((!unchanged).then_some(entry));
    }
    Ok(roles)
}

fn table(role: &v1::Role) -> Result<RoleTable, String> {
    let cell = |cell: v1::RolePermission| {
        let name = cell.permission.parse().map_err(|_| strange("permission", &cell.permission))?;
        match v1::Reach::try_from(cell.reach) {
            Ok(v1::Reach::Own) => Ok((name, Reach::Own)),
            Ok(v1::Reach::Any) => Ok((name, Reach::Any)),
            Ok(v1::Reach::Unspecified) | Err(_) => Err(strange("reach", cell.reach)),
        }
    };
    text::own_permissions(role).into_iter().map(cell).collect()
}

fn user(person: &v1::GetUserResponse, organization: &str) -> Result<Option<file::User>, String> {
    let Some(found) = &person.user else { return Ok(None) };
    let set = person.site_roles.iter().find(|set| set.organization == organization);
    let role = set.map(|set| site_role(set.site_role)).transpose()?.flatten();
    let functions = person.affiliations.iter().filter(|held| held.organization == organization);
    let functions = functions.map(|held| id(&held.function));
    Ok(Some(file::User {
        id: id(&found.id)?,
        email: Email::parse(&found.email).map_err(|_| strange("e-mail address of", &found.id))?,
        display_name: Some(found.display_name.clone()),
        picture_uri: Some(found.picture_uri.clone()).filter(|uri| !uri.is_empty()),
        home_organization: optional(&found.home_organization)?,
        status: Some(status(found.status)?),
        site_role: role,
        affiliations: Some(functions.collect::<Result<_, _>>()?),
    }))
}

fn function_ceiling(found: &v1::FunctionCeiling) -> Result<file::FunctionCeiling, String> {
    Ok(file::FunctionCeiling {
        function: id(&found.function)?,
        portfolio_type: found.portfolio_type.clone(),
        role: id(&found.role)?,
    })
}

fn service_account(found: &v1::ServiceAccount) -> Result<file::ServiceAccount, String> {
    Ok(file::ServiceAccount {
        id: id(&found.id)?,
        display_name: Some(found.display_name.clone()),
        status: Some(status(found.status)?),
    })
}

fn group(held: &HeldGroup) -> Result<file::Group, String> {
    Ok(file::Group {
        id: id(&held.group.id)?,
        display_name: Some(held.group.display_name.clone()),
        members: held.members.clone(),
    })
}

fn portfolio(held: &HeldPortfolio) -> Result<file::Portfolio, String> {
    let HeldPortfolio { portfolio, settings, members } = held;
    // What is linked has none of its own that counted.
    let own = !portfolio.linked;
    let mut grants = Vec::new();
    for (subject, member) in members.iter().filter(|_| own) {
        grants.extend(grant(subject, member)?);
    }
    let visibility = own.then(|| visibility(settings.visibility)).transpose()?;
    let role = own.then(|| id(&settings.organization_access_role)).transpose()?;
    Ok(file::Portfolio {
        id: id(&portfolio.id)?,
        display_name: Some(portfolio.display_name.clone()),
        portfolio_type: Some(portfolio.r#type.clone()).filter(|text| !text.is_empty()),
        visibility,
        organization_access_role: role,
        owner: optional(&portfolio.owner)?,
        // What is at the top, and what nobody says, is left out.
        parent: optional(&portfolio.parent)?.map(file::Parent::Below),
        linked: portfolio.linked.then_some(true),
        grants,
    })
}

fn item(
    found: &v1::Item,
    inventory: &Inventory,
    users: &[file::User],
) -> Result<file::Item, String> {
    let mut grants = Vec::new();
    for grant in &found.grants {
        let Some(subject) = grant.subject.as_ref().and_then(text::subject_of) else { continue };
        grants.push(file::Grant {
            subject,
            role: id(&grant.role)?,
            start_time: grant.start_time.as_ref().map(text::time_of),
            expire_time: grant.expire_time.as_ref().map(text::time_of),
        });
    }
    // The client named them; an account need not have been there.
    let known = |author: &Subject| match author {
        Subject::User(id) => users.iter().any(|user| user.id == *id),
        _ => inventory.service_accounts.iter().any(|account| account.id == author.id()),
    };
    let author = found.author.as_ref().and_then(text::subject_of).filter(known);
    let own = found.independent;
    let visibility = own.then(|| visibility(found.visibility)).transpose()?;
    let role = own.then(|| id(&found.organization_access_role)).transpose()?;
    let portfolios = found.portfolios.iter().map(|portfolio| id(portfolio));
    Ok(file::Item {
        item_type: id(&found.r#type)?,
        id: id(&found.id)?,
        display_name: Some(found.display_name.clone()).filter(|text| !text.is_empty()),
        portfolios: portfolios.collect::<Result<_, _>>()?,
        author,
        owner: optional(&found.owner)?,
        independent: own,
        visibility,
        organization_access_role: role,
        grants,
        archived: found.archived.then_some(true),
    })
}

/// What a member holds; nothing for the owner, whom the portfolio names.
fn grant(subject: &Subject, member: &v1::Member) -> Result<Option<file::Grant>, String> {
    if HeldPortfolio::grants(member).any(|grant| grant.ownership) {
        return Ok(None);
    }
    // By hand one holds one (MEM-2); by a copy perhaps another, as a manager for good (INH-4).
    let lasts = |held: &&v1::Grant| held.role == MANAGER && held.expire_time.is_none();
    let mut held = HeldPortfolio::grants(member);
    let Some(held) = held.clone().find(lasts).or_else(|| held.next()) else { return Ok(None) };
    let scheduled = held.state == v1::AccessState::Scheduled as i32;
    Ok(Some(file::Grant {
        subject: subject.clone(),
        role: id(&held.role)?,
        // When it began does not matter any more.
        start_time: held.start_time.as_ref().filter(|_| scheduled).map(text::time_of),
        expire_time: held.expire_time.as_ref().map(text::time_of),
    }))
}

fn visibility(wire: i32) -> Result<Visibility, String> {
    match v1::Visibility::try_from(wire) {
        Ok(v1::Visibility::Private) => Ok(Visibility::Private),
        Ok(v1::Visibility::Restricted) => Ok(Visibility::Restricted),
        Ok(v1::Visibility::Open) => Ok(Visibility::Open),
        Ok(v1::Visibility::Unspecified) | Err(_) => Err(strange("visibility", wire)),
    }
}

fn site_role(wire: i32) -> Result<Option<SiteRole>, String> {
    match v1::SiteRole::try_from(wire) {
        Ok(v1::SiteRole::Unspecified) => Ok(None),
        Ok(v1::SiteRole::Editor) => Ok(Some(SiteRole::Editor)),
        Ok(v1::SiteRole::Viewer) => Ok(Some(SiteRole::Viewer)),
        Ok(v1::SiteRole::Guest) => Ok(Some(SiteRole::Guest)),
        Err(_) => Err(strange("site role", wire)),
    }
}

fn status(wire: i32) -> Result<Status, String> {
    match v1::UserStatus::try_from(wire) {
        Ok(v1::UserStatus::Active) => Ok(Status::Active),
        Ok(v1::UserStatus::Deactivated) => Ok(Status::Deactivated),
        Ok(v1::UserStatus::Unspecified) | Err(_) => Err(strange("status", wire)),
    }
}
