//! The one decider. Pure and synchronous: facts and an instant in, an answer out.
//!
//! ```text
//!   GlobalFacts        -> Global    ─┐
//!   OrganizationFacts  -> Snapshot  ─┼─> check, may_list, holdings, routes
//!   who, what, where, when          ─┘
//! ```
//!
//! Ann is in the group `release`, which is in the group `engineering`; `engineering` has been made
//! contributor on the portfolio `roadmap`, which is open to viewers. Everything that gives Ann
//! anything there is one *source*: the grant through `engineering`, and openness. [`check`] is the
//! union over the sources in force (ACC-2, ACC-3); listing, holdings and routes walk the same
//! sources, so they cannot disagree with it.
//!
//! Where things are: what is compiled in `snapshot` and `role`, how in `compile`, the sources in
//! `source`, the questions in `check`, `list` and `holdings`.

mod check;
mod compile;
mod global;
mod holdings;
mod list;
mod period;
mod role;
mod snapshot;
mod source;

#[cfg(test)]
mod tests;

pub use check::{Decision, Query, Reason, check};
pub use global::{Global, UnknownPermission};
pub use holdings::{Holdings, explicit_holdings, holdings, role_holdings};
pub use list::{
    Route, is_administrator, is_in_group, is_internal, may_create_portfolios, may_list,
    next_change, routes,
};
pub use snapshot::Snapshot;
