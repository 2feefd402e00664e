//! May this subject do this, here, now?

use crate::domain::permission::Permission;
use crate::domain::role::Reach;
use crate::domain::{Subject, Timestamp};

use super::global::{Global, UnknownPermission};
use super::period::{Period, end_of_stretch, next_begin};
use super::snapshot::{Portfolio, Resolved, Snapshot};
use super::source::{Via, is_deactivated};

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Who.
    pub subject: &'a Subject,
    /// The name of what they want to do.
    pub permission: &'a str,
    /// Where.
    pub portfolio: &'a str,
    /// Who made the thing that it is done to; none if nobody knows (ACC-4).
    pub author: Option<&'a Subject>,
    /// The instant that begins and ends are compared with.
    pub at: Timestamp,
}

/// The answer to a [`Query`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether they may.
    pub allowed: bool,
    /// Why, or why not.
    pub reason: Reason,
    /// The first instant after the query's at which `allowed` is another if nothing is written
    /// (ACC-10); none if the clock alone never changes it.
    pub hold_until: Option<Timestamp>,
}

/// Why a decision is what it is. Several things may allow: the first of the list is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Allowed by a grant to the subject.
    DirectGrant,
    /// Allowed by a grant to a group that the subject is in, directly or not.
    GroupGrant,
    /// Allowed by the organization access role of an open portfolio.
    OrganizationAccess,
    /// Allowed to an administrator of the organization (DIR-7).
    Administrator,
    /// Denied: there is no such portfolio in this organization.
    PortfolioUnknown,
    /// Denied: no fact of the organization says anything of the subject, and no grant on the
    /// portfolio, in force or not, names it.
    SubjectUnknown,
    /// Denied: the user or the service account is deactivated (DIR-1). Only of those who are not
    /// unknown: another organization's people do not exist, deactivated or not.
    SubjectDeactivated,
    /// Denied: nothing that is in force reaches the subject here.
    NoAccess,
    /// Denied: something is in force, but none of it has the permission.
    PermissionMissing,
    /// Denied: the permission is held for own things only, and another is the author (ACC-4).
    NotAuthor,
    /// Denied: the permission is held for own things only, and no author is known (ACC-4).
    AuthorUnknown,
    /// Denied: a role in force has the permission, but externals never do (ROL-8).
    InternalOnly,
}

/// Decides (ACC-1 to ACC-4, ACC-10). Allocates nothing unless a grant that would allow begins or
/// ends.
///
/// # Errors
/// The catalogue does not have the permission; everything else unknown is a denial (ACC-1).
pub fn check(
    global: &Global,
    snapshot: &Snapshot,
    query: &Query<'_>,
) -> Result<Decision, UnknownPermission> {
    let permission =
        global.permission(query.permission).ok_or_else(|| global.unknown(query.permission))?;
    let Some(portfolio) = snapshot.portfolio(query.portfolio) else {
        return Ok(Decision::denied(Reason::PortfolioUnknown));
    };
    let subject = snapshot.resolve(query.subject);
    Ok(match subject {
        Some(found) if is_deactivated(global, query.subject, subject) => {
            Decision::denied(denial_of_deactivated(portfolio, found))
        }
        Some(found) => evaluate(snapshot, portfolio, found, permission, query),
        None => Decision::denied(Reason::SubjectUnknown),
    })
}

fn denial_of_deactivated(portfolio: &Portfolio, subject: Resolved<'_>) -> Reason {
    let named = portfolio.grants_of(subject.id).next().is_some();
    if named || subject.party.is_known() {
        Reason::SubjectDeactivated
    } else {
        Reason::SubjectUnknown
    }
}

/// What the sources amount to, apart from those that allow.
#[derive(Default)]
struct Found {
    /// A grant names the subject itself, in force or not.
    named: bool,
    /// Something is in force.
    any: bool,
    /// Something in force has the permission.
    permitted: bool,
}

fn evaluate(
    snapshot: &Snapshot,
    portfolio: &Portfolio,
    subject: Resolved<'_>,
    permission: &Permission,
    query: &Query<'_>,
) -> Decision {
    let excluded = permission.internal_only && !subject.party.standing.is_internal();
    let own = query.author == Some(query.subject);
    let mut found = Found::default();
    let mut reason = None;
    // The periods of what allows, now or at another time. Empty, and so never allocated, as long
    // as no grant involved has a begin or an end.
    let mut periods: Vec<Period> = Vec::new();
    for source in snapshot.sources(portfolio, subject) {
        let reach = source.reach(permission);
        let in_force = source.in_force(query.at);
        found.named |= source.via == Via::Direct;
        found.any |= in_force;
        found.permitted |= in_force && reach.is_some();
        let allows = match reach {
            Some(Reach::Any) => !excluded,
            Some(Reach::Own) => !excluded && own,
            None => false,
        };
        if !allows {
            continue;
        }
        if in_force {
            let reason = *reason.get_or_insert(Reason::allowed_by(source.via));
            if source.period.is_unending() {
                return Decision { allowed: true, reason, hold_until: None };
            }
        }
        periods.push(source.period);
    }
    match reason {
        Some(reason) => {
            let hold_until = end_of_stretch(&mut periods, query.at);
            Decision { allowed: true, reason, hold_until }
        }
        None => Decision {
            allowed: false,
            reason: denial(&found, excluded, subject, query),
            hold_until: next_begin(&periods, query.at),
        },
    }
}

fn denial(found: &Found, excluded: bool, subject: Resolved<'_>, query: &Query<'_>) -> Reason {
    if found.permitted {
        match query.author {
            _ if excluded => Reason::InternalOnly,
            Some(_) => Reason::NotAuthor,
            None => Reason::AuthorUnknown,
        }
    } else if found.any {
        Reason::PermissionMissing
    } else if found.named || subject.party.is_known() {
        Reason::NoAccess
    } else {
        Reason::SubjectUnknown
    }
}

impl Decision {
    /// A denial that the clock does not change.
    fn denied(reason: Reason) -> Self {
        Self { allowed: false, reason, hold_until: None }
    }
}

impl Reason {
    fn allowed_by(via: Via) -> Self {
        match via {
            Via::Direct => Self::DirectGrant,
            Via::Group(_) => Self::GroupGrant,
            Via::OrganizationAccess => Self::OrganizationAccess,
            Via::Administrator => Self::Administrator,
        }
    }
}
