//! May this subject do this, here, now?

use crate::domain::permission::{HELD_BY_ADMINISTRATORS, Permission};
use crate::domain::{ItemKey, PortfolioId, Subject, Timestamp};

use super::evaluation::Evaluation;
use super::global::{Global, UnknownPermission};
use super::links::Effective;
use super::portfolio::Portfolio;
use super::snapshot::{Resolved, Shelf, Snapshot};
use super::source::{Reached, is_deactivated};
use super::walk::Walk;

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
    /// The item that it is done to or in. One that is not registered changes nothing (ACC-5).
    pub item: Option<&'a ItemKey>,
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
    /// Denied: it would be allowed, but the portfolio or the item is archived, and this adds or
    /// changes something (VIS-8).
    Archived,
    /// Denied: the item is registered, but the portfolio does not show it (ACC-5).
    ItemUnknown,
    /// Denied: the subject sees the portfolio, but nothing in force on the independent item itself
    /// has the permission; what the portfolio gives does not count there (ACC-5).
    ItemNoAccess,
}

/// Decides (ACC-1 to ACC-5, ACC-10). Allocates nothing unless a grant that would allow begins or
/// ends.
///
/// # Errors
/// The catalogue does not have the permission; everything else unknown is a denial (ACC-1).
pub fn check(
    global: &Global,
    snapshot: &Snapshot,
    query: &Query<'_>,
) -> Result<Decision, UnknownPermission> {
    // Before anything waits for the subject: memory then fetches both at once.
    let portfolio = snapshot.portfolio(query.portfolio);
    let asked = Asked::about(global, snapshot, query.subject, query.permission)?;
    match query.item.and_then(|key| snapshot.item(key)) {
        None => Ok(asked.decide_on(portfolio, query.author, query.at)),
        Some(item) => Ok(asked.decide_on_item(global, portfolio, item, query)),
    }
}

/// A subject and a permission, looked up once to be asked about on any number of portfolios.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) subject: &'a Subject,
    pub(super) permission: &'a Permission,
    /// None: no fact of the organization and no grant names the subject.
    pub(super) reached: Option<Reached<'a>>,
    pub(super) deactivated: bool,
    pub(super) ignoring_archived: bool,
}

impl<'a> Asked<'a> {
    /// Looks them up.
    ///
    /// # Errors
    /// The catalogue does not have the permission; everything else unknown is a denial (ACC-1).
    #[inline]
    pub fn about(
        global: &'a Global,
        snapshot: &'a Snapshot,
        subject: &'a Subject,
        permission: &str,
    ) -> Result<Self, UnknownPermission> {
        let permission = global.permission(permission).ok_or_else(|| global.unknown(permission))?;
        let found = snapshot.resolve(subject);
        let deactivated = is_deactivated(global, subject, found);
        let reached = found.map(|found| Reached::by(snapshot, found));
        let ignoring_archived = false;
        Ok(Self { snapshot, subject, permission, reached, deactivated, ignoring_archived })
    }

    /// The same, as if no portfolio were archived: what is asked for an act that stays possible on
    /// an archived one, though it is bound to a permission that changes things (VIS-8).
    #[must_use]
    pub fn ignoring_archived(self) -> Self {
        Self { ignoring_archived: true, ..self }
    }

    /// As [`check`] decides it.
    #[must_use]
    pub fn decide(&self, portfolio: &str, author: Option<&Subject>, at: Timestamp) -> Decision {
        self.decide_on(self.snapshot.portfolio(portfolio), author, at)
    }

    #[inline]
    pub(super) fn decide_on(
        &self,
        portfolio: Option<&Portfolio>,
        author: Option<&Subject>,
        at: Timestamp,
    ) -> Decision {
        let Some(portfolio) = portfolio else {
            return Decision::denied(Reason::PortfolioUnknown);
        };
        let Some(reached) = &self.reached else {
            return Decision::denied(Reason::SubjectUnknown);
        };
        if self.deactivated {
            let effective = self.snapshot.effective(portfolio);
            return Decision::denied(deactivated(effective, reached.subject));
        }
        let authorship = author.map(|author| author == self.subject);
        let halted = self.is_halted(portfolio);
        Evaluation::new(self.permission, reached.subject, authorship, at, halted)
            .decide_by(self.snapshot.sources(portfolio, reached))
    }

    pub(super) fn is_halted(&self, portfolio: &Portfolio) -> bool {
        is_halted(portfolio, self.permission) && !self.ignoring_archived
    }

    /// The portfolios behind `after` on which anything may be allowed, in the order of their ids,
    /// and some on which nothing is.
    pub(super) fn candidates(&self, after: Option<&PortfolioId>) -> Walk<'a> {
        let mut walk = Walk::begin(self.snapshot, after);
        if let Some(subject) = self.reached.as_ref().map(|reached| reached.subject) {
            let name = self.permission.name.as_str();
            if subject.is_administrator() && HELD_BY_ADMINISTRATORS.contains(&name) {
                walk.add_all();
            } else {
                walk.add_granted(subject);
                if subject.open_to().is_some() {
                    let role = |number| self.snapshot.role(number);
                    walk.add_shelves(|shelf| match shelf {
                        Shelf::Open(number) => {
                            role(number).and_then(|role| role.reach(self.permission)).is_some()
                        }
                        Shelf::Restricted => false,
                    });
                }
            }
        }
        walk
    }
}

/// Whether the portfolio is archived and the permission therefore nobody's there (VIS-8).
pub(super) fn is_halted(portfolio: &Portfolio, permission: &Permission) -> bool {
    portfolio.archived && permission.is_halted_by_archiving()
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
    Err(deactivated(snapshot.effective(portfolio), found))
}

/// Why a deactivated subject is denied.
pub(super) fn deactivated(effective: Effective<'_>, subject: Resolved<'_>) -> Reason {
    if subject.party.is_known() || effective.names(subject.id) {
        Reason::SubjectDeactivated
    } else {
        Reason::SubjectUnknown
    }
}

impl Decision {
    /// A denial that the clock does not change.
    pub(super) fn denied(reason: Reason) -> Self {
        Self { allowed: false, reason, hold_until: None }
    }
}
