//! Functions: what people are in organizations (DIR-3), and what that may give (MEM-10).

use serde::{Deserialize, Serialize};

use super::ids::{FunctionKey, OrganizationId, RoleKey, UserId};

/// How many functions a user has in an organization at the most.
pub const MAX_AFFILIATIONS: usize = 100;

/// That a user is something in an organization, at home there or not. A blueprint, not access: it
/// grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Affiliation {
    /// Who.
    pub user: UserId,
    /// Where.
    pub organization: OrganizationId,
    /// As what.
    pub function: FunctionKey,
}

/// The role that a function gets on portfolios of a type; an organization has one at most for each
/// of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCeiling {
    /// Whose portfolios.
    pub organization: OrganizationId,
    /// Of those who are this.
    pub function: FunctionKey,
    /// On portfolios of just this type; empty: on those without one, and on no others.
    pub portfolio_type: String,
    /// A role of the organization.
    pub role: RoleKey,
}

/// Which ceilings of an organization are listed; what is not given does not narrow the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionCeilingFilter {
    /// Those of this function.
    pub function: Option<FunctionKey>,
    /// Those for portfolios of this type; empty: for those without one.
    pub portfolio_type: Option<String>,
}
