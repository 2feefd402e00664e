//! Items on the wire.

use super::parse::{self, Violations};
use super::questions::bound;
use super::render;
use crate::app::{
    DeleteItem, ItemName, ListItems, NewSettings, RegisterItem, SeenItem, UpdateItem,
};
use crate::config::Limits;
use crate::domain::caller::Actor;
use crate::domain::item::{Item, ItemGrant, MAX_ITEM_GRANTS, MAX_ITEM_PORTFOLIOS, OwnSettings};
use crate::domain::refusal::Refusal;
use crate::domain::{ItemId, ItemKey, PortfolioId, Subject};
use crate::proto::v1;

const DISPLAY_NAME: &str = "display_name";
const PORTFOLIOS: &str = "portfolios";
const OWNER: &str = "owner";
const VISIBILITY: &str = "visibility";
const ROLE: &str = "organization_access_role";
const GRANTS: &str = "grants";
const ARCHIVED: &str = "archived";

pub(super) fn register(
    request: v1::RegisterItemRequest,
    max_string_bytes: usize,
) -> Result<RegisterItem, Refusal> {
    let v1::RegisterItemRequest { request_id: _, item, copy_settings_of } = request;
    let Some(item) = item else { return Err(Refusal::field("item", "must be given")) };
    let v1::Item {
        organization,
        r#type,
        id,
        display_name,
        portfolios,
        author,
        owner,
        independent,
        visibility,
        organization_access_role: role,
        grants,
        archived,
        // Output only.
        create_time: _,
        update_time: _,
        etag: _,
    } = item;
    let mut violations = Violations::default();
    let name = name(&mut violations, "item.", &organization, &r#type, &id);
    let display_name = violations.check(parse::optional_display_name(
        "item.display_name",
        display_name,
        max_string_bytes,
    ));
    let inherits = !independent && copy_settings_of.is_empty();
    let portfolios = self::portfolios(&mut violations, &portfolios);
    if inherits && portfolios.as_ref().is_some_and(|portfolios| portfolios.len() > 1) {
        let description = "must name one: an item that is not independent follows it";
        violations.check::<()>(Err(Refusal::field("item.portfolios", description)));
    }
    let author = violations.check(author.map(|author| self::author(&author)).transpose());
    let owner = violations.check(parse::optional_id("item.owner", &owner));
    let has_settings = visibility != 0 || !role.is_empty() || !grants.is_empty();
    let own = (visibility, role.as_str(), grants);
    let settings = match (copy_settings_of.as_str(), has_settings) {
        ("", true) if inherits => {
            let description = "must be set where visibility, role or grants are given";
            violations.check(Err(Refusal::field("item.independent", description)))
        }
        ("", _) if inherits => Some(NewSettings::Inherited),
        ("", _) => own_settings(&mut violations, own),
        (_, true) => {
            let description = "copies visibility, role and grants, which must not be given too";
            violations.check(Err(Refusal::field("copy_settings_of", description)))
        }
        (of, false) => copy(&mut violations, of, portfolios.as_deref()),
    };
    violations.finish((|| {
        Some(RegisterItem {
            name: name?,
            display_name: display_name?,
            portfolios: portfolios?,
            author: author?,
            owner: owner?,
            archived,
            settings: settings?,
        })
    })())
}

fn own_settings(
    violations: &mut Violations,
    (visibility, role, grants): (i32, &str, Vec<v1::ItemGrant>),
) -> Option<NewSettings> {
    let visibility = (visibility != 0).then(|| parse::visibility("item.visibility", visibility));
    let visibility = violations.check(visibility.transpose());
    let role = violations.check(parse::optional_id("item.organization_access_role", role));
    let grants = self::grants(violations, grants);
    Some(NewSettings::Own {
        visibility: visibility?,
        organization_access_role: role?,
        grants: grants?,
    })
}

fn copy(
    violations: &mut Violations,
    of: &str,
    portfolios: Option<&[PortfolioId]>,
) -> Option<NewSettings> {
    let of: PortfolioId = violations.check(parse::id("copy_settings_of", of))?;
    if portfolios.is_some_and(|portfolios| !portfolios.contains(&of)) {
        let description = "must be one of the portfolios that show the item";
        return violations.check(Err(Refusal::field("copy_settings_of", description)));
    }
    Some(NewSettings::CopyOf(of))
}

pub(super) fn get(request: v1::GetItemRequest) -> Result<ItemName, Refusal> {
    let v1::GetItemRequest { organization, r#type, id } = request;
    let mut violations = Violations::default();
    let name = name(&mut violations, "", &organization, &r#type, &id);
    violations.finish(name)
}

pub(super) fn delete(request: v1::DeleteItemRequest) -> Result<DeleteItem, Refusal> {
    let v1::DeleteItemRequest { request_id: _, organization, r#type, id, etag } = request;
    let mut violations = Violations::default();
    let name = name(&mut violations, "", &organization, &r#type, &id);
    let etag = violations.check(parse::etag("etag", etag));
    violations.finish((|| Some(DeleteItem { name: name?, etag: etag? }))())
}

/// The question, and what its page tokens are bound to.
pub(super) fn list(
    request: v1::ListItemsRequest,
    actor: &Actor,
    limits: &Limits,
) -> Result<(ListItems, String), Refusal> {
    let v1::ListItemsRequest { portfolio, r#type, page_size, page_token } = request;
    let mut violations = Violations::default();
    let id: Option<PortfolioId> = violations.check(parse::id("portfolio", &portfolio));
    let item_type = violations.check(parse::optional_item_type("type", &r#type));
    let query = bound("ListItems", actor, None, &[&portfolio, &r#type]);
    let page = (page_size, page_token.as_str());
    let page = parse::page(&mut violations, &query, page, limits.max_page_size);
    violations.finish((|| {
        Some((ListItems { portfolio: id?, item_type: item_type?, page: page? }, query))
    })())
}

pub(super) fn update(
    request: v1::UpdateItemRequest,
    max_string_bytes: usize,
) -> Result<UpdateItem, Refusal> {
    let v1::UpdateItemRequest { request_id: _, item, update_mask } = request;
    let Some(item) = item else { return Err(Refusal::field("item", "must be given")) };
    let v1::Item {
        organization,
        r#type,
        id,
        display_name,
        portfolios,
        owner,
        visibility,
        organization_access_role: role,
        grants,
        archived,
        etag,
        // Never changed, or output only.
        author: _,
        independent: _,
        create_time: _,
        update_time: _,
    } = item;
    let mut violations = Violations::default();
    let name = name(&mut violations, "item.", &organization, &r#type, &id);
    let etag = violations.check(parse::etag("item.etag", etag));
    let fields = [
        (DISPLAY_NAME, !display_name.is_empty()),
        (PORTFOLIOS, !portfolios.is_empty()),
        (OWNER, !owner.is_empty()),
        (VISIBILITY, visibility != 0),
        (ROLE, !role.is_empty()),
        (GRANTS, !grants.is_empty()),
        (ARCHIVED, archived),
    ];
    let changed = violations.check(parse::update_mask(update_mask.as_ref(), &fields));
    let changes = |field| changed.as_ref().is_some_and(|changed| changed.contains(&field));
    let display_name = changes(DISPLAY_NAME)
        .then(|| parse::optional_display_name("item.display_name", display_name, max_string_bytes));
    let display_name = violations.check(display_name.transpose());
    let portfolios = changes(PORTFOLIOS)
        .then(|| self::portfolios(&mut violations, &portfolios).unwrap_or_default());
    let owner = changes(OWNER).then(|| parse::optional_id("item.owner", &owner));
    let owner = violations.check(owner.transpose());
    let visibility = changes(VISIBILITY).then(|| parse::visibility("item.visibility", visibility));
    let visibility = violations.check(visibility.transpose());
    let role = changes(ROLE).then(|| parse::id("item.organization_access_role", &role));
    let role = violations.check(role.transpose());
    let grants = changes(GRANTS).then(|| self::grants(&mut violations, grants).unwrap_or_default());
    let archived = changes(ARCHIVED).then_some(archived);
    violations.finish((|| {
        Some(UpdateItem {
            name: name?,
            display_name: display_name?,
            portfolios,
            owner: owner?,
            visibility: visibility?,
            organization_access_role: role?,
            grants,
            archived,
            etag: etag?,
        })
    })())
}

fn name(
    violations: &mut Violations,
    path: &str,
    organization: &str,
    item_type: &str,
    id: &str,
) -> Option<ItemName> {
    let organization =
        violations.check(parse::id(format_args!("{path}organization"), organization));
    let item_type = violations.check(parse::item_type(format_args!("{path}type"), item_type));
    let id: Option<ItemId> = violations.check(parse::id(format_args!("{path}id"), id));
    let key = ItemKey { item_type: item_type?, id: id? };
    Some(ItemName { organization: organization?, key })
}

/// Sorted, none twice.
fn portfolios(violations: &mut Violations, ids: &[String]) -> Option<Vec<PortfolioId>> {
    let field = "item.portfolios";
    violations.check(parse::batch(field, ids.len(), MAX_ITEM_PORTFOLIOS))?;
    let parsed = ids.iter().enumerate();
    let parsed = parsed.map(|(index, id)| parse::id(format_args!("{field}[{index}]"), id));
    let parsed: Result<Vec<PortfolioId>, Refusal> = parsed.collect();
    let mut portfolios = violations.check(parsed)?;
    portfolios.sort_unstable();
    portfolios.dedup();
    if portfolios.len() < ids.len() {
        return violations.check(Err(Refusal::field(field, "names one of them twice")));
    }
    Some(portfolios)
}

/// Sorted, none twice.
fn grants(violations: &mut Violations, given: Vec<v1::ItemGrant>) -> Option<Vec<ItemGrant>> {
    let field = "item.grants";
    let count = given.len();
    if count > MAX_ITEM_GRANTS {
        return violations.check(Err(parse::too_many(field, count, MAX_ITEM_GRANTS)));
    }
    let parsed = given.into_iter().enumerate();
    let parsed = parsed.map(|(index, grant)| self::grant(&format!("{field}[{index}]"), grant));
    let parsed: Vec<Option<ItemGrant>> = parsed.map(|it| violations.check(it)).collect();
    let mut grants = parsed.into_iter().collect::<Option<Vec<ItemGrant>>>()?;
    grants.sort_unstable();
    grants.dedup();
    if grants.len() < count {
        return violations.check(Err(Refusal::field(field, "has a grant twice")));
    }
    Some(grants)
}

fn grant(path: &str, grant: v1::ItemGrant) -> Result<ItemGrant, Refusal> {
    let v1::ItemGrant { subject, role, start_time, expire_time } = grant;
    let mut violations = Violations::default();
    let subject =
        violations.check(parse::subject(format_args!("{path}.subject"), subject.as_ref()));
    let role = violations.check(parse::id(format_args!("{path}.role"), &role));
    let (start, end) = (format!("{path}.start_time"), format!("{path}.expire_time"));
    let start_time = violations.check(parse::optional_timestamp(&start, start_time));
    let expire_time = violations.check(parse::optional_timestamp(&end, expire_time));
    if let (Some(Some(start)), Some(Some(expire))) = (start_time, expire_time)
        && expire <= start
    {
        violations.check::<()>(Err(Refusal::field(end, "must lie after start_time")));
    }
    violations.finish((|| {
        Some(ItemGrant {
            subject: subject?,
            role: role?,
            start_time: start_time?,
            expire_time: expire_time?,
        })
    })())
}

/// A group makes nothing.
fn author(author: &v1::Subject) -> Result<Subject, Refusal> {
    match parse::subject("item.author", Some(author))? {
        Subject::Group(_) => {
            Err(Refusal::field("item.author", "must be a user or a service account"))
        }
        author => Ok(author),
    }
}

/// As those see it who manage it.
pub(super) fn item(item: &Item) -> v1::Item {
    let Item {
        key,
        organization,
        display_name,
        portfolios,
        author,
        owner,
        settings,
        archived,
        create_time,
        update_time,
        version: _,
    } = item;
    let own = settings.as_ref();
    let grants = own.map_or(&[][..], |OwnSettings { grants, .. }| grants.as_slice());
    let role = own.map(|settings| settings.organization_access_role.to_string());
    v1::Item {
        organization: organization.to_string(),
        r#type: key.item_type.to_string(),
        id: key.id.to_string(),
        display_name: display_name.clone(),
        portfolios: portfolios.iter().map(ToString::to_string).collect(),
        author: author.as_ref().map(render::subject),
        owner: owner.as_ref().map(ToString::to_string).unwrap_or_default(),
        independent: settings.is_some(),
        visibility: own.map_or(0, |settings| render::visibility(settings.visibility).into()),
        organization_access_role: role.unwrap_or_default(),
        grants: grants.iter().map(item_grant).collect(),
        archived: *archived,
        create_time: Some(render::timestamp(*create_time)),
        update_time: Some(render::timestamp(*update_time)),
        etag: item.etag(),
    }
}

/// The settings are for those who manage it.
pub(super) fn seen(SeenItem { item, manages }: &SeenItem) -> v1::Item {
    let shown = self::item(item);
    if *manages {
        return shown;
    }
    v1::Item { visibility: 0, organization_access_role: String::new(), grants: Vec::new(), ..shown }
}

fn item_grant(grant: &ItemGrant) -> v1::ItemGrant {
    let ItemGrant { subject, role, start_time, expire_time } = grant;
    v1::ItemGrant {
        subject: Some(render::subject(subject)),
        role: role.to_string(),
        start_time: start_time.map(render::timestamp),
        expire_time: expire_time.map(render::timestamp),
    }
}
