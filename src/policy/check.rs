//! May this subject do this, here, now?

use crate::domain::{Subject, Timestamp};

use super::evaluation::Evaluation;
use super::global::{Global, UnknownPermission};
use super::snapshot::{Portfolio, Resolved, Snapshot};
use super::source::is_deactivated;

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
    let (portfolio, subject) = match find(global, snapshot, query.subject, query.portfolio) {
        Ok(found) => found,
        Err(reason) => return Ok(Decision::denied(reason)),
    };
    let mut evaluation = Evaluation::new(permission, subject, query);
    for source in snapshot.sources(portfolio, subject) {
        evaluation.weigh(&source);
        if evaluation.is_settled() {
            break;
        }
    }
    Ok(evaluation.decide())
}

/// The portfolio and the subject, or why nobody needs to look any further.
pub(super) fn find<'a>(
    global: &Global,
    snapshot: &'a Snapshot,
    subject: &Subject,
    portfolio: &str,
) -> Result<(&'a Portfolio, Resolved<'a>), Reason> {
    let portfolio = snapshot.portfolio(portfolio).ok_or(Reason::PortfolioUnknown)?;
    let found = snapshot.resolve(subject).ok_or(Reason::SubjectUnknown)?;
    if !is_deactivated(global, subject, Some(found)) {
        return Ok((portfolio, found));
    }
    let named = portfolio.grants_of(found.id).next().is_some();
    Err(if named || found.party.is_known() {
        Reason::SubjectDeactivated
    } else {
        Reason::SubjectUnknown
    })
}

impl Decision {
    /// A denial that the clock does not change.
    pub(super) fn denied(reason: Reason) -> Self {
        Self { allowed: false, reason, hold_until: None }
    }
}
