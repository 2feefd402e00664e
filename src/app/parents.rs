//! Portfolios below portfolios, and what an actor may know of it (INH-1, VIS-4).

use super::authorize::Acting;
use crate::domain::caller::Principal;
use crate::domain::nesting::{self, Ancestor, MOST_NESTED, Misplaced};
use crate::domain::portfolio::{MOST_LINKS, Portfolio};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{OrganizationId, PortfolioId, Timestamp};
use crate::storage::{Failure, Transaction};

/// A portfolio that another is to be below: one that the actor knows of, of the same organization.
/// Any other does not exist.
pub(super) async fn parent_to_be(
    transaction: &mut Transaction,
    principal: &Principal,
    at: Timestamp,
    id: &PortfolioId,
    organization: &OrganizationId,
) -> Result<Acting, Failure> {
    let parent = Acting::on(transaction, principal, at, id, &[]).await?;
    match parent.portfolio.organization == *organization {
        true => Ok(parent),
        false => Err(Refusal::portfolio_not_found(id).into()),
    }
}

/// The parent of a portfolio. One that the actor may not list is none.
pub(super) async fn own_parent(
    transaction: &mut Transaction,
    principal: &Principal,
    at: Timestamp,
    portfolio: &Portfolio,
) -> Result<Acting, Failure> {
    let Some(parent) = &portfolio.parent else { return Err(no_parent(portfolio).into()) };
    if transaction.ancestors(parent).await?.is_empty() {
        let id = &portfolio.id;
        let message =
            format!("the parent of portfolio `{id}` was deleted; move it below another first");
        return Err(Refusal::new(Reason::ParentDeleted, message).with("portfolio", id).into());
    }
    match Acting::on(transaction, principal, at, parent, &[]).await {
        Err(Failure::Refused(_)) => Err(no_parent(portfolio).into()),
        found => found,
    }
}

fn no_parent(portfolio: &Portfolio) -> Refusal {
    let id = &portfolio.id;
    let message =
        format!("the portfolio `{id}` has no parent to link it to; move it below one first");
    Refusal::new(Reason::NoParent, message).with("portfolio", id)
}

/// Refuses a portfolio below another where that would close a cycle, or go too deep; with `link`
/// also as the end of too many links. `id` need not be there yet.
pub(super) async fn admit(
    transaction: &mut Transaction,
    principal: &Principal,
    at: Timestamp,
    id: &PortfolioId,
    parent: &PortfolioId,
    link: bool,
) -> Result<(), Failure> {
    let above: Vec<Ancestor> = transaction.ancestors(parent).await?;
    let below = transaction.below(id).await?;
    let mut admitted = nesting::admit(id, below, &above);
    if link {
        admitted = admitted.and_then(|()| nesting::admit_link(id, below, &above));
    }
    let refusal = match admitted {
        Ok(()) => return Ok(()),
        Err(Misplaced::TooDeep(depth)) => {
            let message = format!(
                "portfolio `{id}` below `{parent}` would nest portfolios {depth} deep; at most \
                 {MOST_NESTED} are accepted"
            );
            Refusal::new(Reason::NestingTooDeep, message).with("limit", MOST_NESTED)
        }
        Err(Misplaced::Cycle(cycle)) => {
            let cycle = known(transaction, principal, at, cycle).await?;
            let message = format!("portfolio `{id}` below `{parent}` would close a cycle: {cycle}");
            Refusal::new(Reason::ParentCycle, message).with("cycle", cycle)
        }
        Err(Misplaced::TooManyLinks(links, chain)) => {
            let chain = known(transaction, principal, at, chain).await?;
            let message = format!(
                "linked to `{parent}`, portfolio `{id}` would make a chain of {links} links; at \
                 most {MOST_LINKS} are accepted: {chain}"
            );
            let refusal = Refusal::new(Reason::LinkTooDeep, message);
            refusal.with("limit", MOST_LINKS).with("chain", chain)
        }
    };
    Err(refusal.into())
}

/// Those of the portfolios that the actor may list, as text.
async fn known(
    transaction: &mut Transaction,
    principal: &Principal,
    at: Timestamp,
    ids: Vec<PortfolioId>,
) -> Result<String, Failure> {
    let mut known: Vec<String> = Vec::new();
    let last = ids.len().saturating_sub(1);
    for (place, id) in ids.into_iter().enumerate() {
        // The first is the one that is to be placed, and a cycle ends with it: it may be new.
        let own = place == 0 || (place == last && known.first() == Some(&id.to_string()));
        if own || is_known(transaction, principal, at, &id).await? {
            known.push(id.to_string());
        }
    }
    Ok(known.join(" > "))
}

async fn is_known(
    transaction: &mut Transaction,
    principal: &Principal,
    at: Timestamp,
    id: &PortfolioId,
) -> Result<bool, Failure> {
    match Acting::on(transaction, principal, at, id, &[]).await {
        Ok(_) => Ok(true),
        Err(Failure::Refused(_)) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// A portfolio as the actor is shown it: its parent only if they may list that (VIS-4), and its
/// settings those that are in effect (INH-1).
pub(super) async fn shown(
    transaction: &mut Transaction,
    principal: &Principal,
    at: Timestamp,
    mut portfolio: Portfolio,
) -> Result<Portfolio, Failure> {
    if portfolio.linked {
        portfolio.settings = transaction.settings_in_effect(&portfolio.id).await?.settings;
    }
    if let Some(parent) = &portfolio.parent
        && !is_known(transaction, principal, at, parent).await?
    {
        portfolio.parent = None;
    }
    Ok(portfolio)
}

/// Whose settings are in effect on a portfolio, if the actor may list that one (VIS-4).
pub(super) async fn used_portfolio(
    transaction: &mut Transaction,
    principal: &Principal,
    at: Timestamp,
    id: &PortfolioId,
) -> Result<Option<PortfolioId>, Failure> {
    let used = transaction.settings_in_effect(id).await?.portfolio;
    Ok(is_known(transaction, principal, at, &used).await?.then_some(used))
}

/// Refuses to change settings or members that are another portfolio's (INH-3). To be asked once it
/// is known that the actor might change them otherwise.
pub(super) async fn refuse_linked(
    transaction: &mut Transaction,
    principal: &Principal,
    at: Timestamp,
    portfolio: &Portfolio,
) -> Result<(), Failure> {
    if !portfolio.linked {
        return Ok(());
    }
    let id = &portfolio.id;
    if let Some(used) = used_portfolio(transaction, principal, at, id).await? {
        let message = format!(
            "the access settings of portfolio `{id}` are those of `{used}`; change them there, or \
             unlink them with UnlinkAccessSettings"
        );
        return Err(Refusal::new(Reason::SettingsLinked, message).with("portfolio", used).into());
    }
    let message = format!(
        "the access settings of portfolio `{id}` are those of another; unlink them with \
         UnlinkAccessSettings first"
    );
    Err(Refusal::new(Reason::SettingsLinked, message).into())
}
