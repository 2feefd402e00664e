//! What has to be done so that the server holds what the file says. Pure: compares, calls nobody.
//! What is only on the server is left alone; see `prune`.

use super::act::waits;
use super::change::{Action, Change, Kind, visibility_text};
use super::differences::Differences;
use super::directory;
use super::file::{File, Portfolio};
use super::functions;
use super::grants;
use super::items;
use super::links;
use super::present::{Present, PresentPortfolio};
use super::roles;
use crate::domain::access_settings::Visibility;
use crate::domain::{RoleKey, Subject, Timestamp, UserId};
use crate::proto::v1;

/// The plan.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In the order in which they are to be made.
    pub changes: Vec<Change>,
    /// What the file wants and no call can do; with any of these nothing is done at all.
    pub conflicts: Vec<String>,
    /// Remarks about what is left alone.
    pub notes: Vec<String>,
}

/// Whether the owner of new portfolios must be named: the system owns nothing (AUT-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerIs {
    Required,
    TheActor,
}

/// Compares. `now` decides only which ends of the file have passed.
pub(super) fn diff(file: &File, present: &Present, owner: OwnerIs, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    references(file, present, &mut plan);
    directory::organization(&file.organization, present, &mut plan);
    roles::references(file, present, &mut plan);
    for entry in file.roles() {
        roles::role(entry, file, present, &mut plan);
    }
    for entry in file.users() {
        directory::user(entry, file, present, &mut plan);
        functions::affiliations(entry, file, present, &mut plan);
    }
    for entry in file.service_accounts() {
        directory::service_account(entry, file, present, &mut plan);
    }
    for entry in file.groups() {
        directory::group(entry, file, present, &mut plan);
    }
    for entry in links::parents_first(file) {
        let planned = plan.changes.len();
        match present.portfolios.get(entry.id.as_str()) {
            Some(found) => {
                let waiting = found.pending.as_ref().filter(|_| present.asks);
                changed_portfolio(entry, file, found, waiting, &mut plan);
            }
            None => new_portfolio(entry, file, owner, &mut plan),
        }
        let found = present.portfolios.get(entry.id.as_str());
        grants::grants(entry, found, now, &mut plan);
        if links::stays_linked(entry, found) {
            links::refuse_settings(entry, planned, &mut plan);
        }
    }
    items::items(file, present, now, &mut plan);
    functions::ceilings(file, present, &mut plan);
    plan.sort();
    plan
}

/// Everybody whom the file names is in the file or on the server.
fn references(file: &File, present: &Present, plan: &mut Plan) {
    let user_known = |id: &str| {
        present.users.contains_key(id) || file.users().iter().any(|user| user.id.as_str() == id)
    };
    let group_known = |id: &str| {
        let ours = |group: &v1::Group| group.organization == file.organization.id.as_str();
        present.groups.get(id).is_some_and(|found| ours(&found.group))
            || file.groups().iter().any(|group| group.id.as_str() == id)
    };
    let account_known = |id: &str| {
        present.service_accounts.contains_key(id)
            || file.service_accounts().iter().any(|account| account.id.as_str() == id)
    };
    for (path, subject) in file.named() {
        let known = match &subject {
            Subject::User(id) => user_known(id.as_str()),
            Subject::Group(id) => group_known(id.as_str()),
            Subject::ServiceAccount(id) => account_known(id.as_str()),
        };
        if !known {
            let text = "is neither in the file nor in the organization on the server";
            plan.conflicts.push(format!("`{path}`: `{subject}` {text}"));
        }
    }
    for (index, user) in file.users().iter().enumerate() {
        let home = user.home_organization.as_ref().filter(|home| {
            **home != file.organization.id && !present.organizations.contains_key(home.as_str())
        });
        if let Some(home) = home {
            let path = format!("users[{index}].home_organization");
            let text = "apply a file with that organization first";
            plan.conflicts.push(format!("`{path}`: there is no organization `{home}`; {text}"));
        }
    }
}

fn new_portfolio(entry: &Portfolio, file: &File, owner: OwnerIs, plan: &mut Plan) {
    let id = entry.id.to_string();
    if entry.owner.is_none() && owner == OwnerIs::Required {
        let text = "is new and names no `owner`; name one, or act for one with `--actor`";
        plan.conflicts.push(format!("portfolio `{id}` {text}"));
    }
    let role = entry.organization_access_role.as_ref();
    plan.changes.push(Change::CreatePortfolio {
        portfolio: v1::Portfolio {
            organization: file.organization.id.to_string(),
            display_name: entry.display_name.clone().unwrap_or_else(|| id.clone()),
            r#type: entry.portfolio_type.clone().unwrap_or_default(),
            owner: entry.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
            visibility: entry.visibility.map(|v| visibility_message(v) as i32),
            parent: entry.below().map(ToString::to_string).unwrap_or_default(),
            linked: entry.linked == Some(true),
            id,
            ..v1::Portfolio::default()
        },
        organization_access_role: role.map(ToString::to_string).unwrap_or_default(),
    });
}

fn changed_portfolio(
    entry: &Portfolio,
    file: &File,
    found: &PresentPortfolio,
    waiting: Option<&v1::PrivacyRequest>,
    plan: &mut Plan,
) {
    let PresentPortfolio { portfolio, settings, .. } = found;
    let mut fixed = Differences::default();
    fixed.note("organization", &portfolio.organization, file.organization.id.as_str());
    note(&mut fixed, "owner", &portfolio.owner, entry.owner.as_ref().map(UserId::as_str));
    cannot_change(plan, &format!("portfolio `{}`", entry.id), &fixed);

    let mut was = Differences::default();
    note(&mut was, "display name", &portfolio.display_name, entry.display_name.as_deref());
    note(&mut was, "type", &portfolio.r#type, entry.portfolio_type.as_deref());
    if !was.is_empty() {
        let or_found = |new: &Option<String>, old: &str| new.as_deref().unwrap_or(old).to_owned();
        let changed = v1::Portfolio {
            display_name: or_found(&entry.display_name, &portfolio.display_name),
            r#type: or_found(&entry.portfolio_type, &portfolio.r#type),
            ..portfolio.clone()
        };
        plan.changes.push(Change::UpdatePortfolio(changed, was));
    }
    links::place(entry, found, plan);
    changed_settings(entry, settings, waiting, plan);
}

/// A visibility that the administrators have been asked for is not asked for again (VIS-7).
fn changed_settings(
    entry: &Portfolio,
    settings: &v1::AccessSettings,
    waiting: Option<&v1::PrivacyRequest>,
    plan: &mut Plan,
) {
    let mut was = Differences::default();
    let mut visibility = entry.visibility.map(|visibility| visibility_message(visibility) as i32);
    let differs = visibility.is_some_and(|wanted| wanted != settings.visibility);
    let asked = |request: &&v1::PrivacyRequest| visibility == Some(request.to_visibility);
    if let Some(request) = waiting.filter(asked).filter(|_| differs) {
        plan.notes.push(waits(request));
        visibility = None;
    }
    let old = visibility_text(settings.visibility);
    note(&mut was, "visibility", old, visibility.map(visibility_text));
    let role = entry.organization_access_role.as_ref().map(RoleKey::as_str);
    note(&mut was, "organization access role", &settings.organization_access_role, role);
    if !was.is_empty() {
        let role = role.unwrap_or(&settings.organization_access_role).to_owned();
        let changed = v1::AccessSettings {
            // Renaming, in the same plan, changes it.
            etag: String::new(),
            visibility: visibility.unwrap_or(settings.visibility),
            organization_access_role: role,
            ..settings.clone()
        };
        plan.changes.push(Change::UpdateSettings(changed, was));
    }
}

/// Notes a difference if the file says anything about the field.
pub(super) fn note(was: &mut Differences, field: &'static str, old: &str, new: Option<&str>) {
    was.note(field, old, new.unwrap_or(old));
}

pub(super) fn cannot_change(plan: &mut Plan, what: &str, was: &Differences) {
    if !was.is_empty() {
        let text = "this version cannot change that; make the file say what is there";
        plan.conflicts.push(format!("{what}: {was}: {text}"));
    }
}

/// A visibility as the wire has it.
pub(super) fn visibility_message(visibility: Visibility) -> v1::Visibility {
    match visibility {
        Visibility::Private => v1::Visibility::Private,
        Visibility::Restricted => v1::Visibility::Restricted,
        Visibility::Open => v1::Visibility::Open,
    }
}

impl Plan {
    /// Brings the changes into the order in which they are to be made. Stable: the file's order
    /// stays where the rank is the same, but all of an item comes together.
    pub fn sort(&mut self) {
        let by_item = |a: &Change, b: &Change| a.item().cmp(&b.item());
        self.changes.sort_by(|a, b| a.rank().cmp(&b.rank()).then_with(|| by_item(a, b)));
    }

    /// How many of a kind come about in this way.
    pub fn count(&self, kind: Kind, action: Action) -> usize {
        let counted = |change: &&Change| change.kind() == kind && change.action() == action;
        self.changes.iter().filter(counted).count()
    }

    /// How many changes take something away.
    pub fn removals(&self) -> usize {
        self.changes.iter().filter(|change| change.action() == Action::Remove).count()
    }
}
