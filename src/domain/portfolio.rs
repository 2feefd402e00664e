//! A portfolio (VIS-1).

use serde::{Deserialize, Serialize};

use super::access_settings::AccessSettings;
use super::ids::{OrganizationId, PortfolioId, Subject, UserId};
use super::timestamp::Timestamp;

/// How many links lead from a portfolio to the one whose access settings are in force, at most
/// (INH-1).
pub const MOST_LINKS: usize = 16;

/// Where a portfolio is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortfolioState {
    /// In use.
    Active,
    /// Kept, but nothing is added or changed in it (VIS-8).
    Archived,
    /// Gone for good; only its id and its audit trail remain.
    Deleted,
}

/// A portfolio without its grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portfolio {
    /// Unique in the installation, never reused.
    pub id: PortfolioId,
    /// Whose portfolio it is; never changes.
    pub organization: OrganizationId,
    /// What people call it.
    pub display_name: String,
    /// A word of the client's, such as `roadmap`; may be empty.
    pub portfolio_type: String,
    /// Who created it; gives nothing by itself. None for the system.
    pub author: Option<Subject>,
    /// Who holds the ownership grant; none after a deactivated owner was removed.
    pub owner: Option<UserId>,
    /// Where it is in its life.
    pub state: PortfolioState,
    /// The portfolio that it lies in, also after that was deleted; none at the top.
    #[serde(default)]
    pub parent: Option<PortfolioId>,
    /// Whether its access settings are those of its parent (INH-1), which it then has.
    #[serde(default)]
    pub linked: bool,
    /// Its own access settings; suspended while it is linked.
    pub settings: AccessSettings,
    /// When it was created.
    pub create_time: Timestamp,
    /// When the portfolio or its settings were last changed.
    pub update_time: Timestamp,
    /// Grows with every change of the portfolio or its settings; what an etag names.
    pub version: i64,
}

impl Portfolio {
    /// What a client passes back to change just this state of the portfolio and its settings.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("v{}", self.version)
    }
}
