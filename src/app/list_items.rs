use super::asker::instant;
use super::authorize::{Acting, Scene};
use super::item_acting::{manages, sees};
use super::item_places::Places;
use super::items::SeenItem;
use super::memory::{Memory, aside};
use super::{Answer, App, Context, Error, Failure, Listed, Read};
use crate::cache::Requirement;
use crate::domain::fact::FactKey;
use crate::domain::page::{Listed as ListedPage, Page};
use crate::domain::permission::ACCESS_MANAGE;
use crate::domain::refusal::Refusal;
use crate::domain::{ItemKey, ItemType, PortfolioId, Subject, Timestamp};
use crate::policy::{self, Decision, Excerpt, Query, VisibleItems};

/// How many items are looked at together, at least, where the first did not fill the page.
const PIECE: usize = 500;

/// The question which items a portfolio shows.
#[derive(Clone, Debug)]
pub struct ListItems {
    /// The portfolio.
    pub portfolio: PortfolioId,
    /// Of this type only.
    pub item_type: Option<ItemType>,
    /// Which part of the list.
    pub page: Page<ItemKey>,
}

/// The question which items of a portfolio a subject sees (ACC-6).
#[derive(Clone, Debug)]
pub struct ListVisibleItems {
    /// Who.
    pub subject: Subject,
    /// The portfolio that shows them.
    pub portfolio: PortfolioId,
    /// Of this type only.
    pub item_type: Option<ItemType>,
    /// How fresh the answer must be.
    pub requirement: Requirement,
    /// When; now if not given (ACC-10).
    pub at: Option<Timestamp>,
    /// Which part of the list.
    pub page: Page<ItemKey>,
}

/// An item that a check lets somebody see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleItem {
    /// Which.
    pub key: ItemKey,
    /// The check's answer.
    pub decision: Decision,
}

/// The items that somebody sees, and how many are withheld, if whoever asks is told.
pub type Visible = (Listed<VisibleItem, ItemKey>, Option<usize>);

impl App {
    /// The items that a portfolio shows and the actor sees, by type, then by id.
    ///
    /// # Errors
    /// No such portfolio, as far as the actor may know.
    pub async fn list_items(
        &self,
        context: &Context,
        request: &ListItems,
    ) -> Result<Answer<ListedPage<SeenItem, ItemKey>>, Error> {
        self.read(context, async |read| {
            let now = read.heads().now;
            let acting = Acting::on(read, &context.principal, now, &request.portfolio, &[]).await?;
            let actor = context.principal.actor.subject();
            let wanted = request.page.wider();
            let mut page = wanted.clone();
            let mut found: Vec<SeenItem> = Vec::new();
            // What the actor does not see makes no page shorter, and a short one little slower.
            while found.len() < wanted.size {
                let keys =
                    read.items_shown(&request.portfolio, request.item_type.as_ref(), &page).await?;
                let Some(last) = keys.last().cloned() else { break };
                let is_last = keys.len() < page.size;
                found.extend(seen(read, &acting, actor.as_ref(), &keys).await?);
                if is_last {
                    break;
                }
                page = Page { after: Some(last), size: wanted.size.max(PIECE) };
            }
            let mut listed = request.page.listed(found, |seen| seen.item.key.clone());
            let organization = &acting.portfolio.organization;
            let mut places = Places::new(organization, actor.as_ref(), now);
            let mut told = Vec::with_capacity(listed.rows.len());
            for SeenItem { item, manages } in listed.rows {
                told.push(SeenItem { item: places.told(read, item).await?, manages });
            }
            listed.rows = told;
            Ok(listed)
        })
        .await
    }

    /// The items that a portfolio shows and a check lets the subject see, by type, then by id
    /// (ACC-6); how many others it shows is told to those who hold `access.manage` on it.
    ///
    /// # Errors
    /// No such portfolio; `members.view` missing to ask about others; an instant in the past; the
    /// database, where memory cannot answer.
    pub async fn list_visible_items(
        &self,
        context: &Context,
        request: &ListVisibleItems,
    ) -> Result<Visible, Error> {
        let ListVisibleItems { portfolio, requirement, .. } = request;
        let memory = self.memory_about(context, requirement, &[], &[portfolio]).await?;
        let (token, request) = (memory.token.clone(), request.clone());
        let (found, withheld) = aside(context, move |_| visible(&memory, &request)).await??;
        Ok((Listed::of(found, token, |row| row.key.clone()), withheld))
    }
}

/// Those of these items that the actor sees, decided on the facts in this transaction.
async fn seen(
    read: &mut Read,
    acting: &Acting,
    actor: Option<&Subject>,
    keys: &[ItemKey],
) -> Result<Vec<SeenItem>, Failure> {
    let (portfolio, scene) = (&acting.portfolio, &acting.scene);
    let items = read.items(&portfolio.organization, keys).await?;
    let Some(actor) = actor else {
        return Ok(items.into_iter().map(|item| SeenItem { item, manages: true }).collect());
    };
    let named: Vec<FactKey> = keys.iter().cloned().map(FactKey::Item).collect();
    let changes = read.organization_facts_of(&portfolio.organization, &named).await?;
    let snapshot = scene.snapshot.apply(changes, &scene.global);
    let scene = Scene { global: scene.global.clone(), snapshot, at: scene.at };
    let seen = items.into_iter().filter_map(|item| {
        let managed = manages(&scene, &item, actor, &portfolio.id);
        let shown = managed || sees(&scene, actor, &portfolio.id, &item.key);
        shown.then_some(SeenItem { item, manages: managed })
    });
    Ok(seen.collect())
}

type Seen = (Excerpt<VisibleItem>, Option<usize>);

fn visible(memory: &Memory, request: &ListVisibleItems) -> Result<Seen, Refusal> {
    let ListVisibleItems { subject, portfolio, item_type, page, .. } = request;
    let asker = memory.asker_about(portfolio);
    let (id, at) = (portfolio.as_str(), instant(request.at, asker.now)?);
    let sight = asker.sight(id);
    let snapshot = sight.snapshot.filter(|snapshot| snapshot.contains_portfolio(id));
    let snapshot = snapshot.ok_or_else(|| Refusal::portfolio_not_found(portfolio))?;
    asker.may_ask_about(snapshot, subject, portfolio)?;
    let item_type = item_type.as_ref();
    let question = VisibleItems { subject, portfolio: id, item_type, at };
    let unknown =
        |unknown: policy::UnknownPermission| super::asker::unknown_permission(&unknown.name, None);
    let found = policy::visible_items(asker.global, snapshot, &question, page).map_err(unknown)?;
    let tells = asker.actor.is_none_or(|actor| {
        let (permission, author, item, at) = (ACCESS_MANAGE, None, None, asker.now);
        let query = Query { subject: actor, permission, portfolio: id, author, item, at };
        policy::check(asker.global, snapshot, &query).is_ok_and(|decision| decision.allowed)
    });
    let withheld = match tells {
        true => Some(policy::withheld_items(asker.global, snapshot, &question).map_err(unknown)?),
        false => None,
    };
    let Excerpt { rows, more } = found;
    memory.count_decisions(rows.len());
    let row = |(key, decision)| VisibleItem { key, decision: sight.bounded(decision) };
    Ok((Excerpt { rows: rows.into_iter().map(row).collect(), more }, withheld))
}
