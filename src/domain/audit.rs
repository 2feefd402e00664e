//! The audit trail (EVT-4).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::caller::Actor;
use super::ids::{OrganizationId, PortfolioId, Subject};
use super::timestamp::Timestamp;

/// Whose changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trail {
    /// Those that concern a portfolio.
    Portfolio(PortfolioId),
    /// Everything in an organization, and what happened globally to the users who were at home
    /// there.
    Organization(OrganizationId),
}

/// Which changes of a trail; what is left out does not narrow it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// On whose behalf.
    pub actor: Option<Actor>,
    /// Whose access, or whose entry in the directory.
    pub subject: Option<Subject>,
    /// Any of these kinds; empty: all.
    pub kinds: Vec<String>,
    /// Not before this instant.
    pub from_time: Option<Timestamp>,
    /// Before this instant.
    pub until_time: Option<Timestamp>,
}

/// Where an event stands in its trail; trails are read from the greatest place to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AuditPlace {
    /// When it happened, by the database's clock.
    pub at: Timestamp,
    /// The shard of the change log.
    pub shard: i16,
    /// Its place in the shard.
    pub sequence: i64,
}

/// A change of access, as it was recorded in the transaction that made it (EVT-1).
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEvent {
    /// When, and where in the change log.
    pub place: AuditPlace,
    /// The kind of change: `noun.participle`.
    pub kind: String,
    /// On what: the id of the portfolio, group, user, service account or organization.
    pub object: String,
    /// Whose trail it is part of.
    pub organization: Option<OrganizationId>,
    /// The portfolio concerned.
    pub portfolio: Option<PortfolioId>,
    /// Whose access, or whose entry in the directory, was changed.
    pub subject: Option<Subject>,
    /// The program or person on the connection.
    pub caller: String,
    /// On whose behalf; `system` for nobody's.
    pub actor: String,
    /// Whether the actor could do it only as an administrator (DIR-7).
    pub as_administrator: bool,
    /// The request that did it.
    pub request_id: String,
    /// What was; none for what is new.
    pub before: Option<Value>,
    /// What is; none for what is gone.
    pub after: Option<Value>,
}
