//! Who is on the connection, and for whom they act.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{ServiceAccountId, Subject, UserId};

/// The program or person on the connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Caller {
    /// Who it is, as the audit trail names it; request ids are per caller (BAD-3).
    pub id: String,
}

impl Caller {
    /// Whoever reaches a server that does not authenticate: a trusted service with all scopes.
    #[must_use]
    pub fn trusted() -> Self {
        Self { id: "loopback".to_owned() }
    }
}

/// On whose behalf something is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Actor {
    /// Nobody's: an operator's program. Excepted from the ceiling (ROL-7), bound by every other
    /// rule (AUT-2).
    System,
    /// A person.
    User(UserId),
    /// A program of an organization.
    ServiceAccount(ServiceAccountId),
}

impl Actor {
    /// The actor as the subject of a check; none for the system.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::System => None,
            Self::User(id) => Some(Subject::User(id.clone())),
            Self::ServiceAccount(id) => Some(Subject::ServiceAccount(id.clone())),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subject() {
            Some(subject) => subject.fmt(f),
            None => f.write_str("system"),
        }
    }
}
