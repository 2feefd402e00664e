//! The one evaluation: sources are weighed one after the other, and then there is a decision. The
//! check stops as soon as nothing can change it, the explanation weighs everything (ACC-8).

use crate::domain::Timestamp;
use crate::domain::permission::Permission;
use crate::domain::role::Reach;

use super::check::{Decision, Reason};
use super::period::{Period, end_of_stretch, next_begin};
use super::snapshot::Resolved;
use super::source::{Source, Via};

/// What the sources weighed so far amount to.
pub(super) struct Evaluation<'a> {
    permission: &'a Permission,
    subject: Resolved<'a>,
    /// Whether the subject is the author; none if nobody knows who is.
    authorship: Option<bool>,
    at: Timestamp,
    /// The least reach that allows: *own* if the subject is the author, else *any*. None: the
    /// subject is external and the permission is not for externals (ROL-8).
    needed: Option<Reach>,
    found: Found,
    /// The portfolio is archived, and this adds or changes something: nothing allows it (VIS-8).
    halted: bool,
    /// The first that allows.
    reason: Option<Reason>,
    /// The periods of what allows, now or at another time. Empty, and so never allocated, as long
    /// as no grant involved has a begin or an end.
    periods: Vec<Period>,
    settled: bool,
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

/// What one source does to the question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight {
    pub reach: Option<Reach>,
    pub effect: RouteEffect,
}

/// What a route does to the question that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteEffect {
    /// It allows.
    Allows,
    /// It would allow, but has not begun.
    NotBegun,
    /// It would allow, but has ended, or ends before it begins.
    Ended,
    /// It has the permission for own things only, and the subject is not known to be the author
    /// (ACC-4).
    OwnOnly,
    /// It has the permission, but externals never do (ROL-8).
    InternalOnly,
    /// It would allow, but the portfolio is archived (VIS-8).
    Archived,
    /// It does not have the permission.
    Lacks,
}

impl<'a> Evaluation<'a> {
    pub fn new(
        permission: &'a Permission,
        subject: Resolved<'a>,
        authorship: Option<bool>,
        at: Timestamp,
        halted: bool,
    ) -> Self {
        let needed = match authorship {
            _ if permission.internal_only && !subject.party.standing.is_internal() => None,
            Some(true) => Some(Reach::Own),
            Some(false) | None => Some(Reach::Any),
        };
        Self {
            permission,
            subject,
            authorship,
            at,
            needed,
            found: Found::default(),
            halted,
            reason: None,
            periods: Vec::new(),
            settled: false,
        }
    }

    #[inline]
    pub fn weigh(&mut self, source: &Source<'_>) -> Weight {
        let reach = source.reach(self.permission);
        let in_force = source.in_force(self.at);
        self.found.named |= source.via == Via::Direct;
        self.found.any |= in_force;
        self.found.permitted |= in_force && reach.is_some();
        let effect = match (reach, self.needed) {
            (None, _) => RouteEffect::Lacks,
            (Some(_), None) => RouteEffect::InternalOnly,
            (Some(reach), Some(needed)) if reach < needed => RouteEffect::OwnOnly,
            (Some(_), Some(_)) => self.allow(source, in_force),
        };
        Weight { reach, effect }
    }

    fn allow(&mut self, source: &Source<'_>, in_force: bool) -> RouteEffect {
        if in_force {
            self.reason.get_or_insert(Reason::allowed_by(source.via));
            self.settled |= source.period.is_unending();
        }
        if !self.settled {
            self.periods.push(source.period);
        }
        if in_force && self.halted {
            RouteEffect::Archived
        } else if in_force {
            RouteEffect::Allows
        } else if source.period.has_future(self.at) {
            RouteEffect::NotBegun
        } else {
            RouteEffect::Ended
        }
    }

    /// Weighs as many of the sources as can change the decision, and decides.
    #[inline]
    pub fn decide_by<'s>(mut self, sources: impl Iterator<Item = Source<'s>>) -> Decision {
        for source in sources {
            self.weigh(&source);
            if self.settled {
                break;
            }
        }
        self.decide()
    }

    pub fn decide(mut self) -> Decision {
        match self.reason {
            // Whatever begins or ends, nothing is allowed.
            Some(_) if self.halted => Decision::denied(Reason::Archived),
            None if self.halted => Decision::denied(self.denial()),
            Some(reason) if self.settled => Decision { allowed: true, reason, hold_until: None },
            Some(reason) => {
                let hold_until = end_of_stretch(&mut self.periods, self.at);
                Decision { allowed: true, reason, hold_until }
            }
            None => Decision {
                allowed: false,
                reason: self.denial(),
                hold_until: next_begin(&self.periods, self.at),
            },
        }
    }

    fn denial(&self) -> Reason {
        if self.found.permitted {
            match self.authorship {
                _ if self.needed.is_none() => Reason::InternalOnly,
                Some(_) => Reason::NotAuthor,
                None => Reason::AuthorUnknown,
            }
        } else if self.found.any {
            Reason::PermissionMissing
        } else if self.found.named || self.subject.party.is_known() {
            Reason::NoAccess
        } else {
            Reason::SubjectUnknown
        }
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
