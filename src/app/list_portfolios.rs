use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use super::memory::{Memory, aside};
use super::merged::merged;
use super::{App, Context, Error, Listed};
use crate::cache::Requirement;
use crate::domain::page::Page;
use crate::domain::portfolio::Portfolio;
use crate::domain::refusal::Refusal;
use crate::domain::{OrganizationId, PortfolioId, RoleKey, UserId};
use crate::policy::{self, Excerpt, PortfolioRow, View};

/// How many managers a row names.
const MOST_MANAGERS: usize = 20;

/// The question which portfolios there are for the actor.
#[derive(Clone, Debug)]
pub struct ListPortfolios {
    /// The only organization to look in; none for all that know the actor.
    pub organization: Option<OrganizationId>,
    /// Only this view of them.
    pub view: Option<View>,
    /// How fresh the list must be.
    pub requirement: Requirement,
    /// Which part of the list.
    pub page: Page<PortfolioId>,
}

/// A portfolio as a list shows it (VIS-10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortfolioSummary {
    /// The portfolio.
    pub portfolio: Portfolio,
    /// Why it is in the actor's list; none without an actor.
    pub view: Option<View>,
    /// The actor's roles, sorted.
    pub roles: Vec<RoleKey>,
    /// The first of the active managers, by id, with their display names.
    pub managers: Vec<(UserId, String)>,
    /// How many active users grants in force reach.
    pub member_count: usize,
}

/// The question which portfolios of an organization nobody manages (MEM-6).
#[derive(Clone, Debug)]
pub struct ListUnmanagedPortfolios {
    /// Whose.
    pub organization: OrganizationId,
    /// How fresh the list must be.
    pub requirement: Requirement,
    /// Which part of the list.
    pub page: Page<PortfolioId>,
}

impl App {
    /// The portfolios that there are for the actor, by id (VIS-10); without one, all of the
    /// organization.
    ///
    /// # Errors
    /// No such organization, or none that knows the actor; no organization and no actor; a
    /// deactivated actor; the database.
    pub async fn list_portfolios(
        &self,
        context: &Context,
        request: &ListPortfolios,
    ) -> Result<Listed<PortfolioSummary>, Error> {
        let only = request.organization.as_ref();
        let (memory, organizations) = match context.principal.actor.subject() {
            Some(actor) => {
                let (mut known, heads) = self.organizations_knowing(context, &actor).await?;
                if let Some(only) = only {
                    known.retain(|id| id == only);
                    if known.is_empty() {
                        return Err(Refusal::organization_not_found(only).into());
                    }
                }
                // Whoever is not loaded yet: what the primary knows is waited for.
                let memory = self.memory(context, &request.requirement, &[]).await?;
                match known.iter().all(|id| memory.snapshot(id).is_some()) {
                    true => (memory, known),
                    false => (self.memory_of(context, heads, &known).await?, known),
                }
            }
            None => {
                let missing = "must be given where there is no actor";
                let only = only.ok_or_else(|| Refusal::field("organization", missing))?;
                let memory = self.memory_with(context, &request.requirement, only).await?;
                (memory, vec![only.clone()])
            }
        };
        let (token, request, eyes) = (memory.token.clone(), request.clone(), memory.clone());
        let work = move |gone: &CancellationToken| listed(&memory, &organizations, &request, gone);
        let rows = aside(context, work).await?;
        let Listed { rows, next, token } = Listed::of(rows, token, |row| row.id.clone());
        let rows = self.summaries(context, &eyes, rows).await?;
        Ok(Listed { rows, next, token })
    }

    /// The portfolios of an organization that no active user manages for good, by id (MEM-6).
    ///
    /// # Errors
    /// No such organization, or one that the actor is not internal to; an actor who is no
    /// administrator of it, or deactivated; the database.
    pub async fn list_unmanaged_portfolios(
        &self,
        context: &Context,
        request: &ListUnmanagedPortfolios,
    ) -> Result<Listed<Portfolio>, Error> {
        let organization = &request.organization;
        let memory = self.memory_with(context, &request.requirement, organization).await?;
        let (token, request, eyes) = (memory.token.clone(), request.clone(), memory.clone());
        let found = aside(context, move |_| unmanaged(&memory, &request)).await??;
        let Listed { rows, next, token } = Listed::of(found, token, PortfolioId::clone);
        let mut portfolios = self.portfolios(context, &eyes, &rows, &[]).await?.0;
        let rows = rows.iter().filter_map(|id| portfolios.remove(id)).collect();
        Ok(Listed { rows, next, token })
    }

    /// A world that holds one organization, if it exists for the caller and knows the actor.
    async fn memory_with(
        &self,
        context: &Context,
        requirement: &Requirement,
        id: &OrganizationId,
    ) -> Result<Memory, Error> {
        if !context.principal.caller.reaches(id) {
            return Err(Refusal::organization_not_found(id).into());
        }
        let memory = self.memory(context, requirement, &[]).await?;
        if memory.is_open(id) {
            return Ok(memory);
        }
        // Neither loaded nor waited for on behalf of those whom it does not know: by how long it
        // takes nobody learns that it is there (VIS-4).
        let found = self.read(context, async |read| {
            let exists = read.organization_shard(id).await?.is_some();
            let knows = match context.principal.actor.subject() {
                Some(actor) => read.organizations_knowing(&actor).await?.contains(id),
                None => true,
            };
            Ok((exists && knows, *read.heads()))
        });
        match found.await?.value {
            (true, heads) => self.memory_of(context, heads, std::slice::from_ref(id)).await,
            (false, _) => Err(Refusal::organization_not_found(id).into()),
        }
    }

    /// What memory does not have: names. A portfolio that was deleted meanwhile is left out.
    async fn summaries(
        &self,
        context: &Context,
        memory: &Memory,
        rows: Vec<PortfolioRow>,
    ) -> Result<Vec<PortfolioSummary>, Error> {
        let ids: Vec<PortfolioId> = rows.iter().map(|row| row.id.clone()).collect();
        let managers = |row: &PortfolioRow| row.managers.clone().into_iter().take(MOST_MANAGERS);
        let users: BTreeSet<UserId> = rows.iter().flat_map(managers).collect();
        let users: Vec<UserId> = users.into_iter().collect();
        let (mut portfolios, names) = self.portfolios(context, memory, &ids, &users).await?;
        let has_actor = context.principal.actor.subject().is_some();
        let summary = |row: PortfolioRow| {
            let named = |id: UserId| {
                let name = names.get(&id).cloned().unwrap_or_default();
                (id, name)
            };
            Some(PortfolioSummary {
                portfolio: portfolios.remove(&row.id)?,
                view: has_actor.then_some(row.view),
                managers: managers(&row).map(named).collect(),
                roles: row.roles,
                member_count: row.member_count,
            })
        };
        Ok(rows.into_iter().filter_map(summary).collect())
    }

    /// Portfolios by id, as they are shown, and the display names of users, read at once; refuses a
    /// deactivated actor.
    async fn portfolios(
        &self,
        context: &Context,
        memory: &Memory,
        ids: &[PortfolioId],
        users: &[UserId],
    ) -> Result<(BTreeMap<PortfolioId, Portfolio>, BTreeMap<UserId, String>), Error> {
        let read = self.read(context, async |read| {
            let portfolios = read.portfolios(ids).await?;
            let users = if users.is_empty() { vec![] } else { read.users_of(users, &[]).await? };
            Ok((portfolios, users))
        });
        let (portfolios, users) = read.await?.value;
        let shown = portfolios.into_iter().map(|portfolio| shown(memory, portfolio));
        let by_id = shown.map(|portfolio| (portfolio.id.clone(), portfolio));
        let names = users.into_iter().map(|user| (user.id, user.display_name));
        Ok((by_id.collect(), names.collect()))
    }
}

/// A portfolio with the settings that are in effect, and with its parent only where the asker may
/// list that (VIS-4, INH-1).
fn shown(memory: &Memory, mut portfolio: Portfolio) -> Portfolio {
    let snapshot = memory.snapshot(&portfolio.organization);
    let settings = snapshot.and_then(|it| policy::settings_in_effect(it, &portfolio.id));
    if let Some(settings) = settings.filter(|_| portfolio.linked) {
        portfolio.settings = settings;
    }
    portfolio.parent.take_if(|parent| {
        let sight = memory.asker_about(parent).sight(parent.as_str());
        !sight.snapshot.is_some_and(|it| it.contains_portfolio(parent.as_str()))
    });
    portfolio
}

fn listed(
    memory: &Memory,
    organizations: &[OrganizationId],
    request: &ListPortfolios,
    gone: &CancellationToken,
) -> Excerpt<PortfolioRow> {
    let snapshots = organizations.iter().filter_map(|id| memory.snapshot(id));
    merged(snapshots, &request.page, |snapshot, page| {
        if gone.is_cancelled() {
            return Excerpt { rows: Vec::new(), more: false };
        }
        let asker = memory.asker(Some(snapshot));
        let (global, now) = (asker.global, asker.now);
        let part =
            policy::listed_portfolios(global, snapshot, asker.actor, request.view, now, page);
        let row = |row: PortfolioRow| (row.id.clone(), Some(row));
        Excerpt { rows: part.rows.into_iter().map(row).collect(), more: part.more }
    })
}

fn unmanaged(
    memory: &Memory,
    request: &ListUnmanagedPortfolios,
) -> Result<Excerpt<PortfolioId>, Refusal> {
    let id = &request.organization;
    let snapshot = memory.snapshot(id).ok_or_else(|| Refusal::organization_not_found(id))?;
    let asker = memory.asker(Some(snapshot));
    if let Some(actor) = asker.actor {
        if !policy::is_internal(snapshot, actor) {
            return Err(Refusal::organization_not_found(id));
        }
        if !policy::is_administrator(asker.global, snapshot, actor) {
            return Err(Refusal::administrator_required(id));
        }
    }
    Ok(policy::unmanaged_portfolios(asker.global, snapshot, asker.now, &request.page))
}
