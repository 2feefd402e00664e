//! Who is on the connection, and for whom they act.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ids::{OrganizationId, ServiceAccountId, Subject, UserId};

/// The program or person on the connection. A clone is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(Arc<Identity>);

#[derive(Debug, PartialEq, Eq)]
struct Identity {
    id: String,
    kind: CallerKind,
    retries_as: String,
}

/// What a caller is, and so what it may do at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// A program: does what its scopes allow, in the organizations it reaches, and may name an
    /// actor (AUT-2).
    Service {
        /// What it may do.
        scopes: BTreeSet<Scope>,
        /// Where.
        organizations: Organizations,
    },
    /// A person, who acts for themselves alone, and holds what the rules give them (AUT-3).
    EndUser(UserId),
}

/// What a service may do (AUT-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Asks who may do what, and reads portfolios, members and roles.
    PolicyRead,
    /// Changes portfolios and access on behalf of an actor.
    AccessWrite,
    /// Keeps users, groups and service accounts.
    DirectoryWrite,
    /// Everything, also without an actor. Includes the other scopes.
    Operator,
}

/// The organizations that a service reaches. Any other does not exist for it (AUT-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Organizations {
    /// All, those to come too, and what belongs to none.
    All,
    /// These.
    These(BTreeSet<OrganizationId>),
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] =
        [Self::PolicyRead, Self::AccessWrite, Self::DirectoryWrite, Self::Operator];

    /// The name in credentials.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PolicyRead => "policy.read",
            Self::AccessWrite => "access.write",
            Self::DirectoryWrite => "directory.write",
            Self::Operator => "operator",
        }
    }

    /// The scope of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl Organizations {
    /// Whether the organization is one of them.
    #[must_use]
    pub fn contains(&self, organization: &OrganizationId) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(organization),
        }
    }
}

impl Caller {
    /// Whoever reaches a server that does not authenticate: a trusted service with all scopes.
    #[must_use]
    pub fn trusted() -> Self {
        let scopes = BTreeSet::from([Scope::Operator]);
        let organizations = Organizations::All;
        Self::new("loopback".to_owned(), CallerKind::Service { scopes, organizations })
    }

    /// A caller whose credential was verified. The id tells it apart from every other: it names
    /// the kind of credential first, `service:planner`.
    #[must_use]
    pub fn new(id: String, kind: CallerKind) -> Self {
        let retries_as = match &kind {
            CallerKind::Service { organizations: Organizations::These(these), .. } => {
                let mut hash = Sha256::new();
                for organization in these {
                    hash.update(organization.as_str());
                    // No id contains a NUL: two lists cannot run into one another.
                    hash.update([0]);
                }
                let short: String =
                    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
                format!("{id} in {short}")
            }
            _ => id.clone(),
        };
        Self(Arc::new(Identity { id, kind, retries_as }))
    }

    /// Whose request ids its own are (BAD-3): those of a service with another reach are others', so
    /// that a credential that was narrowed gets no outcome from beyond its reach.
    #[must_use]
    pub fn retries_as(&self) -> &str {
        &self.0.retries_as
    }

    /// Who it is, as the audit trail names it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &CallerKind {
        &self.0.kind
    }

    /// Whether it may do what the scope names. A person has no scopes: what they may do, the rules
    /// say.
    #[must_use]
    pub fn has_scope(&self, scope: Scope) -> bool {
        match self.kind() {
            CallerKind::Service { scopes, .. } => {
                scopes.contains(&scope) || scopes.contains(&Scope::Operator)
            }
            CallerKind::EndUser(_) => false,
        }
    }

    /// Whether the organization exists for the caller (AUT-2). For a person any does: what they
    /// see of it, the rules say.
    #[must_use]
    pub fn reaches(&self, organization: &OrganizationId) -> bool {
        match self.kind() {
            CallerKind::Service { organizations, .. } => organizations.contains(organization),
            CallerKind::EndUser(_) => true,
        }
    }

    /// Whether the caller reaches every organization, and what belongs to none.
    #[must_use]
    pub fn reaches_all(&self) -> bool {
        match self.kind() {
            CallerKind::Service { organizations, .. } => *organizations == Organizations::All,
            CallerKind::EndUser(_) => false,
        }
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

/// Who asks: the caller, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The program or person on the connection.
    pub caller: Caller,
    /// On whose behalf.
    pub actor: Actor,
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
