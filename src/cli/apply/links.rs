//! Which portfolio is below which, and whose settings it has.

use std::collections::HashMap;

use super::change::Change;
use super::differences::Differences;
use super::file::{File, Parent, Portfolio};
use super::plan::Plan;
use super::present::PresentPortfolio;
use crate::domain::PortfolioId;
use crate::grpc::client::{CallError, Client};
use crate::proto::v1;

/// The portfolios of a file, parents first. There is no cycle: the file was validated.
pub(super) fn parents_first(file: &File) -> Vec<&Portfolio> {
    let parents: HashMap<&PortfolioId, &PortfolioId> =
        file.portfolios().iter().filter_map(|entry| Some((&entry.id, entry.below()?))).collect();
    let depth = |entry: &&Portfolio| {
        let above = std::iter::successors(Some(&entry.id), |id| parents.get(id).copied());
        above.take(parents.len() + 2).count()
    };
    let mut entries: Vec<&Portfolio> = file.portfolios().iter().collect();
    entries.sort_by_key(depth);
    entries
}

/// The portfolios of a file that are below themselves, a cycle for each.
pub(super) fn cycle(portfolios: &[Portfolio]) -> Option<Vec<&PortfolioId>> {
    let parents: HashMap<&PortfolioId, &PortfolioId> =
        portfolios.iter().filter_map(|entry| Some((&entry.id, entry.below()?))).collect();
    portfolios.iter().find_map(|entry| {
        let above = std::iter::successors(parents.get(&entry.id).copied(), |id| {
            parents.get(id).copied().filter(|_| **id != entry.id)
        });
        let path: Vec<_> = above.take(parents.len() + 1).collect();
        let closed = path.last().is_some_and(|last| **last == entry.id);
        closed.then(|| std::iter::once(&entry.id).chain(path).collect())
    })
}

/// Compares where a portfolio that is there lies, and whether it is linked.
pub(super) fn place(entry: &Portfolio, found: &PresentPortfolio, plan: &mut Plan) {
    let portfolio = entry.id.to_string();
    let is_linked = found.portfolio.linked;
    let mut was = Differences::default();
    let parent = match &entry.parent {
        Some(Parent::Below(parent)) => parent.as_str(),
        Some(Parent::Top) => "",
        None => &found.portfolio.parent,
    };
    was.note("parent", &found.portfolio.parent, parent);
    let link = will_be_linked(entry, is_linked);
    if !was.is_empty() {
        let parent = parent.to_owned();
        plan.changes.push(Change::MovePortfolio { portfolio, parent, link, was });
    } else if link != is_linked {
        plan.changes.push(match is_linked {
            true => Change::UnlinkSettings(portfolio),
            false => Change::LinkSettings(portfolio),
        });
    }
}

/// Whether the portfolio is linked afterwards. At the top there is nothing to be linked to.
pub(super) fn will_be_linked(entry: &Portfolio, is_linked: bool) -> bool {
    entry.parent != Some(Parent::Top) && entry.linked.unwrap_or(is_linked)
}

/// Whether the portfolio is linked on the server, and stays so: what the file says of its settings
/// and grants could not be done.
pub(super) fn stays_linked(entry: &Portfolio, found: Option<&PresentPortfolio>) -> bool {
    found.is_some_and(|found| found.portfolio.linked && will_be_linked(entry, true))
}

/// Takes back what was planned from `from` on for a portfolio that stays linked, and says so.
pub(super) fn refuse_settings(entry: &Portfolio, from: usize, plan: &mut Plan) {
    let is_suspended = |change: &Change| {
        matches!(
            change,
            Change::AddMember { .. } | Change::UpdateMember { .. } | Change::UpdateSettings(..)
        )
    };
    let mut place = 0;
    let planned = plan.changes.len();
    plan.changes.retain(|change| {
        place += 1;
        place <= from || !is_suspended(change)
    });
    if plan.changes.len() < planned {
        plan.conflicts.push(format!(
            "portfolio `{}` has the settings and grants of its parent: leave those out, or write \
             `linked: false`",
            entry.id
        ));
    }
}

/// Makes one of these changes.
pub(super) async fn act(
    client: &Client,
    change: &Change,
    request_id: String,
) -> Result<(), CallError> {
    match change {
        Change::MovePortfolio { portfolio, parent, link, .. } => {
            let request = v1::MovePortfolioRequest {
                request_id,
                portfolio: portfolio.clone(),
                parent: parent.clone(),
                link: *link,
                ..v1::MovePortfolioRequest::default()
            };
            client.move_portfolio(request).await?;
        }
        Change::LinkSettings(portfolio) => {
            let portfolio = portfolio.clone();
            let request = v1::LinkAccessSettingsRequest {
                request_id,
                portfolio,
                ..v1::LinkAccessSettingsRequest::default()
            };
            client.link_access_settings(request).await?;
        }
        Change::UnlinkSettings(portfolio) => {
            let portfolio = portfolio.clone();
            let request = v1::UnlinkAccessSettingsRequest {
                request_id,
                portfolio,
                ..v1::UnlinkAccessSettingsRequest::default()
            };
            client.unlink_access_settings(request).await?;
        }
        // The others are about something else.
        _ => {}
    }
    Ok(())
}
