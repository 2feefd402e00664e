//! The one decider. Pure and synchronous: facts and an instant in, an answer out.
//!
//! ```text
//!   GlobalFacts        -> Global    ─┐
//!   OrganizationFacts  -> Snapshot  ─┼─> check, explain, lists, holdings
//!   who, what, where, when          ─┘
//! ```
//!
//! Ann is in the group `release`, which is in the group `engineering`; `engineering` has been made
//! contributor on the portfolio `roadmap`, which is open to viewers. Everything that gives Ann
//! anything there is one *source*: the grant through `engineering`, and openness. [`check`] is the
//! union over the sources in force (ACC-2, ACC-3); listing, holdings and routes walk the same
//! sources, so they cannot disagree with it.
//!
//! Where things are: what is compiled in `snapshot`, `party`, `portfolio` and `role`, of what in
//! `pages` and `names`, how in `compiler` (all of it) and `apply` (what changed), the sources in
//! `source`, whose settings are in force in `links`, the one evaluation in `evaluation`, the
//! questions in `check`, `explain`, `item` (about registered items, ACC-5), `item_explain`,
//! `item_list` (who sees which), `reach` (the check asked the other way round), `rows` (portfolios
//! in lists), `list` and `holdings`; in `walk` which portfolios a list has to look at.

mod apply;
mod check;
mod compare;
mod compiler;
mod evaluation;
mod excerpt;
mod explain;
mod givers;
mod global;
mod holdings;
mod item;
mod item_explain;
mod item_list;
mod links;
mod list;
mod names;
mod pages;
mod party;
mod period;
mod portfolio;
mod reach;
mod role;
mod rows;
mod snapshot;
mod source;
mod walk;

#[cfg(test)]
mod tests;

pub use check::{Asked, Decision, Query, Reason, check};
pub use compare::{AccessDifference, Comparison, TimedRole, compare, settings_in_effect};
pub use compiler::Compiler;
pub use evaluation::RouteEffect;
pub use excerpt::Excerpt;
pub use explain::{ExplainedRoute, Explanation, Origin, Way, explain};
pub use givers::{Giver, Givers};
pub use global::{Global, UnknownPermission};
pub use holdings::{Holdings, explicit_holdings, holdings, item_holdings, role_holdings};
pub use item_list::{VisibleItems, manages_item, sees_item, visible_items, withheld_items};
pub use list::{
    Route, is_administrator, is_in_group, is_internal, links, may_create_portfolios, may_list,
    next_change, routes,
};
pub use reach::{
    EffectivePermission, EffectivePermissions, Whom, accessible_portfolios, effective_permissions,
    subjects_with,
};
pub use rows::{
    PortfolioRow, View, is_managed, lasting_managers, listed_portfolios, portfolio_row,
    unmanaged_portfolios,
};
pub use snapshot::Snapshot;
