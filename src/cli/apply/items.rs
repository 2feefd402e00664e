//! Items: which to register, which to change, which to take away.

use std::collections::{BTreeMap, BTreeSet};

use super::act::{mask, request_id};
use super::change::{Change, Terms, visibility_text};
use super::differences::Differences;
use super::file::{File, Item};
use super::plan::{Plan, cannot_change, note, visibility_message};
use super::present::Present;
use super::validate::Problems;
use crate::cli::inventory::Inventory;
use crate::cli::text;
use crate::domain::item::{MAX_ITEM_GRANTS, MAX_ITEM_PORTFOLIOS};
use crate::domain::{RoleKey, Subject, Timestamp, UserId};
use crate::grpc::client::{CallError, Client};
use crate::proto::v1;

/// What subjects hold on an item.
type Held = BTreeMap<Subject, BTreeSet<Terms>>;

// === What the entries get wrong ===

/// Checks the items of a file.
pub(super) fn validate(file: &File, problems: &mut Problems) {
    problems.twice("items", "id", file.items().iter().map(Item::key));
    for (index, entry) in file.items().iter().enumerate() {
        let path = format!("items[{index}]");
        problems.name(&format!("{path}.display_name"), 0, entry.display_name.as_deref());
        places(&path, entry, problems);
        if matches!(entry.author, Some(Subject::Group(_))) {
            let text = "must be a user or a service account: a group makes nothing";
            problems.add(&format!("{path}.author"), text);
        }
        settings(&path, entry, problems);
    }
}

fn places(path: &str, entry: &Item, problems: &mut Problems) {
    let path = format!("{path}.portfolios");
    let count = entry.portfolios.len();
    if count == 0 || count > MAX_ITEM_PORTFOLIOS {
        problems.add(&path, &format!("has {count}; 1 to {MAX_ITEM_PORTFOLIOS} are accepted"));
    } else if count > 1 && !entry.independent {
        let text = "an item that is not `independent` follows exactly one";
        problems.add(&path, &format!("has {count}; {text}"));
    }
    problems.twice(&path, "", entry.portfolios.iter());
}

fn settings(path: &str, entry: &Item, problems: &mut Problems) {
    if !entry.independent {
        let own = [
            ("visibility", entry.visibility.is_some()),
            ("organization_access_role", entry.organization_access_role.is_some()),
            ("grants", !entry.grants.is_empty()),
        ];
        for (field, _) in own.iter().filter(|(_, given)| *given) {
            problems.add(&format!("{path}.{field}"), "needs `independent: true` beside it");
        }
    }
    let path = format!("{path}.grants");
    let count = entry.grants.len();
    if count > MAX_ITEM_GRANTS {
        problems.add(&path, &format!("has {count}; at most {MAX_ITEM_GRANTS} are accepted"));
    }
    let whole = entry.grants.iter().map(|grant| format!("{} as {}", grant.subject, grant.terms()));
    problems.twice(&path, "", whole);
    for (index, grant) in entry.grants.iter().enumerate() {
        problems.times(&format!("{path}[{index}]"), grant);
    }
}

// === The differences ===

/// Compares the items. `now` decides only which ends and starts of the file have passed.
pub(super) fn items(file: &File, present: &Present, now: Timestamp, plan: &mut Plan) {
    for (index, entry) in file.items().iter().enumerate() {
        references(index, entry, file, present, plan);
        let planned = plan.changes.len();
        let found = present.items.get(&entry.key().to_string());
        match found {
            Some(found) => changed(entry, found, plan),
            None => plan.changes.push(Change::RegisterItem(new(entry, file))),
        }
        grants(entry, found, file, now, plan);
        let refused = found.is_some_and(|found| stays_archived(entry, found));
        if refused && plan.changes.len() > planned {
            plan.changes.truncate(planned);
            plan.conflicts.push(archived(entry));
        }
    }
}

/// Every portfolio that shows it is in the file or on the server.
fn references(index: usize, entry: &Item, file: &File, present: &Present, plan: &mut Plan) {
    let organization = file.organization.id.as_str();
    for (place, id) in entry.portfolios.iter().enumerate() {
        let known = present.places.get(id.as_str()).is_some_and(|whose| whose == organization)
            || file.portfolios().iter().any(|portfolio| portfolio.id == *id);
        if !known {
            let path = format!("items[{index}].portfolios[{place}]");
            let text = "is neither in the file nor in the organization on the server";
            plan.conflicts.push(format!("`{path}`: `{id}` {text}"));
        }
    }
}

fn new(entry: &Item, file: &File) -> v1::Item {
    let visibility = entry.visibility.map(|visibility| visibility_message(visibility) as i32);
    let role = entry.organization_access_role.as_ref();
    v1::Item {
        organization: file.organization.id.to_string(),
        r#type: entry.item_type.to_string(),
        id: entry.id.to_string(),
        display_name: entry.display_name.clone().unwrap_or_default(),
        portfolios: entry.portfolios.iter().map(ToString::to_string).collect(),
        author: entry.author.as_ref().map(text::subject_message),
        owner: entry.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
        independent: entry.independent,
        visibility: visibility.unwrap_or_default(),
        organization_access_role: role.map(ToString::to_string).unwrap_or_default(),
        archived: entry.archived == Some(true),
        ..v1::Item::default()
    }
}

fn changed(entry: &Item, found: &v1::Item, plan: &mut Plan) {
    let mut fixed = Differences::default();
    let author = found.author.as_ref().and_then(text::subject_of);
    let author = author.map(|author| author.to_string()).unwrap_or_default();
    let wanted = entry.author.as_ref().map(ToString::to_string);
    note(&mut fixed, "author", &author, wanted.as_deref());
    fixed.note("independent", on_or_off(found.independent), on_or_off(entry.independent));
    cannot_change(plan, &format!("item `{}`", entry.key()), &fixed);

    let mut was = Differences::default();
    let mut portfolios: Vec<_> = entry.portfolios.iter().map(ToString::to_string).collect();
    portfolios.sort_unstable();
    let visibility = entry.visibility.map(|visibility| visibility_message(visibility) as i32);
    let role = entry.organization_access_role.as_ref().map(RoleKey::as_str);
    let owner = entry.owner.as_ref().map(UserId::as_str);
    note(&mut was, "display name", &found.display_name, entry.display_name.as_deref());
    was.note("portfolios", &found.portfolios.join(" "), &portfolios.join(" "));
    note(&mut was, "owner", &found.owner, owner);
    if entry.independent {
        let old = visibility_text(found.visibility);
        note(&mut was, "visibility", old, visibility.map(visibility_text));
        note(&mut was, "organization access role", &found.organization_access_role, role);
    }
    let archived = entry.archived.unwrap_or(found.archived);
    was.note("archived", on_or_off(found.archived), on_or_off(archived));
    if !was.is_empty() {
        let changed = v1::Item {
            display_name: entry.display_name.clone().unwrap_or_else(|| found.display_name.clone()),
            portfolios,
            owner: owner.unwrap_or(&found.owner).to_owned(),
            visibility: visibility.unwrap_or(found.visibility),
            organization_access_role: role.unwrap_or(&found.organization_access_role).to_owned(),
            archived,
            ..found.clone()
        };
        plan.changes.push(Change::UpdateItem(changed, was));
    }
}

fn on_or_off(set: bool) -> &'static str {
    if set { "on" } else { "off" }
}

fn stays_archived(entry: &Item, found: &v1::Item) -> bool {
    found.archived && entry.archived != Some(false)
}

fn archived(entry: &Item) -> String {
    let text = "is archived, so nothing else of it can be changed; write `archived: false`, or \
                what is there";
    format!("item `{}` {text}", entry.key())
}

/// Compares the grants, subject by subject.
fn grants(entry: &Item, found: Option<&v1::Item>, file: &File, now: Timestamp, plan: &mut Plan) {
    let mut wanted = Held::new();
    for grant in &entry.grants {
        if grant.expire_time.is_some_and(|end| end <= now) {
            plan.notes.push(format!(
                "item {}: the access of {} has ended by its date; not given again",
                entry.key(),
                grant.subject
            ));
            continue;
        }
        let terms = grant.terms();
        let terms = Terms { start: terms.start.filter(|start| *start > now), ..terms };
        wanted.entry(grant.subject.clone()).or_default().insert(terms);
    }
    let mut held = found.map(held).unwrap_or_default();
    for (subject, terms) in wanted {
        let was = held.remove(&subject).unwrap_or_default();
        if was != terms {
            plan.changes.push(set(file, entry, subject, was, terms));
        }
    }
}

/// What is held on an item that was read.
fn held(found: &v1::Item) -> Held {
    let mut held = Held::new();
    for grant in &found.grants {
        if let Some(subject) = grant.subject.as_ref().and_then(text::subject_of) {
            held.entry(subject).or_default().insert(Terms {
                role: grant.role.clone(),
                start: grant.start_time.as_ref().map(text::time_of),
                expire: grant.expire_time.as_ref().map(text::time_of),
            });
        }
    }
    held
}

fn set(
    file: &File,
    entry: &Item,
    subject: Subject,
    was: BTreeSet<Terms>,
    terms: BTreeSet<Terms>,
) -> Change {
    let (organization, item) = (file.organization.id.to_string(), entry.key());
    let [was, terms] = [was, terms].map(|terms| terms.into_iter().collect());
    Change::SetItemGrants { organization, item, subject, was, terms }
}

/// Takes away the items that the file does not have, and the grants that its items do not have,
/// unless it says nothing of any item.
pub(super) fn prune(file: &File, inventory: &Inventory, plan: &mut Plan) {
    if file.items.is_none() {
        return;
    }
    let described: BTreeMap<(&str, &str), &Item> = file
        .items()
        .iter()
        .map(|entry| ((entry.item_type.as_str(), entry.id.as_str()), entry))
        .collect();
    for found in &inventory.items {
        let Some(entry) = described.get(&(found.r#type.as_str(), found.id.as_str())) else {
            plan.changes.push(Change::DeleteItem(found.clone()));
            continue;
        };
        let kept: BTreeSet<&Subject> = entry.grants.iter().map(|grant| &grant.subject).collect();
        let mut gone = held(found);
        gone.retain(|subject, _| !kept.contains(subject));
        if stays_archived(entry, found) && !gone.is_empty() {
            plan.conflicts.push(archived(entry));
            continue;
        }
        let none = BTreeSet::new;
        let gone = gone.into_iter();
        plan.changes.extend(gone.map(|(subject, was)| set(file, entry, subject, was, none())));
    }
}

// === The calls ===

/// Makes one of these changes, or all of one item.
pub(super) async fn act(client: &Client, batch: &[Change]) -> Result<(), CallError> {
    let request_id = request_id();
    match batch {
        [Change::RegisterItem(item), given @ ..] => {
            let item = Some(v1::Item { grants: with(Vec::new(), given), ..item.clone() });
            let request = v1::RegisterItemRequest { request_id, item, ..Default::default() };
            client.register_item(request).await?;
        }
        [Change::UpdateItem(item, was)] => {
            let (item, update_mask) = (Some(item.clone()), Some(update_mask(was)));
            let request = v1::UpdateItemRequest { request_id, item, update_mask };
            client.update_item(request).await?;
        }
        [Change::UpdateItem(item, was), given @ ..] => {
            update(client, item.clone(), was, given).await?;
        }
        [Change::SetItemGrants { organization, item, .. }, ..] => {
            let item = v1::Item {
                organization: organization.clone(),
                r#type: item.item_type.to_string(),
                id: item.id.to_string(),
                ..v1::Item::default()
            };
            update(client, item, &Differences::default(), batch).await?;
        }
        [Change::DeleteItem(item)] => {
            let v1::Item { organization, r#type, id, .. } = item.clone();
            // Without an etag: its name alone was decided about.
            let etag = String::new();
            let request = v1::DeleteItemRequest { request_id, organization, r#type, id, etag };
            client.delete_item(request).await?;
        }
        // The others are about something else.
        _ => {}
    }
    Ok(())
}

/// Changes an item with its grants, of which only whole lists can be set.
async fn update(
    client: &Client,
    item: v1::Item,
    was: &Differences,
    given: &[Change],
) -> Result<(), CallError> {
    let request = v1::GetItemRequest {
        organization: item.organization.clone(),
        r#type: item.r#type.clone(),
        id: item.id.clone(),
    };
    let v1::Item { grants, etag, .. } = client.get_item(request).await?.item.unwrap_or_default();
    let mut update_mask = update_mask(was);
    update_mask.paths.push("grants".to_owned());
    let request = v1::UpdateItemRequest {
        request_id: request_id(),
        item: Some(v1::Item { grants: with(grants, given), etag, ..item }),
        update_mask: Some(update_mask),
    };
    client.update_item(request).await?;
    Ok(())
}

fn update_mask(was: &Differences) -> prost_types::FieldMask {
    let fields = [
        ("display name", "display_name"),
        ("portfolios", "portfolios"),
        ("owner", "owner"),
        ("visibility", "visibility"),
        ("organization access role", "organization_access_role"),
        ("archived", "archived"),
    ];
    mask(was, &fields)
}

/// The grants, with those of each subject that a change is about replaced.
fn with(mut grants: Vec<v1::ItemGrant>, changes: &[Change]) -> Vec<v1::ItemGrant> {
    for change in changes {
        let Change::SetItemGrants { subject, terms, .. } = change else { continue };
        let subject = Some(text::subject_message(subject));
        grants.retain(|grant| grant.subject != subject);
        grants.extend(terms.iter().map(|Terms { role, start, expire }| v1::ItemGrant {
            subject: subject.clone(),
            role: role.clone(),
            start_time: start.map(text::time_message),
            expire_time: expire.map(text::time_message),
        }));
    }
    grants
}
