//! Who asks a question, and what they may be told (ACC-1, AUT-2, AUT-3). Every question of
//! `PolicyService` looks through these eyes, so that no answer tells more than another.

use super::authorize::permission_missing;
use crate::domain::caller::Caller;
use crate::domain::permission::{MEMBERS_VIEW, PermissionName};
use crate::domain::refusal::{Reason, Refusal};
use crate::domain::{ItemKey, PortfolioId, Subject, Timestamp};
use crate::policy::{self, Decision, Global, Query, Snapshot};

/// Who asks, and the facts they ask about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub global: &'a Global,
    /// Of the portfolio's organization; none if no organization has it.
    pub snapshot: Option<&'a Snapshot>,
    pub caller: &'a Caller,
    /// None for a service that asks for nobody: it sees all of its organizations.
    pub actor: Option<&'a Subject>,
    pub now: Timestamp,
}

/// What an asker sees of a portfolio.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'a> {
    /// The facts to look for it in; none if it does not exist for the asker (VIS-4).
    pub snapshot: Option<&'a Snapshot>,
    /// Until when the clock alone lets them see the same.
    pub hold_until: Option<Timestamp>,
}

/// Why memory did not decide.
#[derive(Debug)]
pub(super) enum Undecided {
    /// The name may have been registered since: look it up before refusing it (ROL-1).
    UnknownPermission(Refusal),
    Refused(Refusal),
}

impl From<Refusal> for Undecided {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Undecided> for Refusal {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::UnknownPermission(refusal) | Undecided::Refused(refusal) => refusal,
        }
    }
}

impl<'a> Asker<'a> {
    /// What the asker sees of a portfolio. Their own access is judged now, whatever instant the
    /// question names.
    pub(super) fn sight(&self, portfolio: &str) -> Sight<'a> {
        let reached = self.snapshot.filter(|it| self.caller.reaches(it.organization()));
        let Some((snapshot, actor)) = reached.zip(self.actor) else {
            return Sight { snapshot: reached, hold_until: None };
        };
        let listed = policy::may_list(self.global, snapshot, actor, portfolio, self.now);
        let hold_until = policy::next_change(snapshot, actor, portfolio, self.now);
        Sight { snapshot: listed.then_some(snapshot), hold_until }
    }

    /// Whether the asker sees who has access to a portfolio that they see.
    pub(super) fn sees_members(&self, snapshot: &Snapshot, portfolio: &str) -> bool {
        let Some(actor) = self.actor else { return true };
        let (permission, author, at) = (MEMBERS_VIEW, None, self.now);
        let query = Query { subject: actor, permission, portfolio, author, item: None, at };
        policy::check(self.global, snapshot, &query).is_ok_and(|view| view.allowed)
    }

    /// Whether an independent item exists for the asker (ACC-5).
    pub(super) fn sees_item(&self, snapshot: &Snapshot, key: &ItemKey) -> bool {
        let sees = |actor| policy::sees_item(self.global, snapshot, actor, key, self.now);
        self.actor.is_none_or(sees)
    }

    /// Others are asked about with `members.view` (AUT-3).
    pub(super) fn may_ask_about(
        &self,
        snapshot: &Snapshot,
        subject: &Subject,
        portfolio: &PortfolioId,
    ) -> Result<(), Refusal> {
        let oneself = self.actor.is_none_or(|actor| actor == subject);
        if oneself || self.sees_members(snapshot, portfolio.as_str()) {
            return Ok(());
        }
        Err(permission_missing(MEMBERS_VIEW, portfolio))
    }

    /// Refuses a name that the catalogue does not have.
    pub(super) fn require_permission(&self, name: &str) -> Result<(), Undecided> {
        match self.global.permission(name) {
            Some(_) => Ok(()),
            None => Err(self.unknown(name)),
        }
    }

    /// The refusal of a name that the catalogue does not have.
    fn unknown(&self, name: &str) -> Undecided {
        Undecided::UnknownPermission(unknown_permission(name, self.global.nearest(name)))
    }

    /// Decides, for the asker's eyes: what they do not see is unknown, and nothing of the subject's
    /// shows in the answer. All that shows is the next instant at which a grant to the asker, their
    /// own or a group's, begins or ends: there the clock alone may change the answer (ACC-10).
    pub(super) fn decide(
        &self,
        query: &Query<'_>,
        portfolio: &PortfolioId,
    ) -> Result<Decision, Undecided> {
        let sight = self.sight(query.portfolio);
        let Some(snapshot) = sight.snapshot else {
            // What is no permission is a mistake of the program, whoever asks.
            return self.require_permission(query.permission).map(|()| sight.unknown());
        };
        let decided = policy::check(self.global, snapshot, query);
        let decision = decided.map_err(|unknown| {
            let nearest = unknown.nearest.as_ref().map(PermissionName::as_str);
            Undecided::UnknownPermission(unknown_permission(&unknown.name, nearest))
        })?;
        self.may_ask_about(snapshot, query.subject, portfolio)?;
        Ok(sight.bounded(decision))
    }
}

impl Sight<'_> {
    /// The answer about what is not seen.
    pub(super) fn unknown(&self) -> Decision {
        let (reason, hold_until) = (policy::Reason::PortfolioUnknown, self.hold_until);
        Decision { allowed: false, reason, hold_until }
    }

    /// An answer holds no longer than what the asker sees.
    pub(super) fn bounded(&self, decision: Decision) -> Decision {
        Decision { hold_until: earliest(decision.hold_until, self.hold_until), ..decision }
    }
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The instant that is asked about: now or later (ACC-10).
pub(super) fn instant(at: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Refusal> {
    match at {
        Some(at) if at < now => {
            let description = "lies in the past; leave it out for now, or name a later instant";
            Err(Refusal::field_because(Reason::AtInThePast, "at", description))
        }
        Some(at) => Ok(at),
        None => Ok(now),
    }
}

pub(super) fn unknown_permission(name: &str, nearest: Option<&str>) -> Refusal {
    unknown_permission_at("permission", name, nearest)
}

/// The same of a name in another field of the request.
pub(super) fn unknown_permission_at(field: &str, name: &str, nearest: Option<&str>) -> Refusal {
    let hint = nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"));
    let description = format!("names `{name}`, which is not in the permission catalogue{hint}");
    let reason = Reason::PermissionNameUnknown;
    let refusal = Refusal::field_because(reason, field, description).with("permission", name);
    match nearest {
        Some(nearest) => refusal.with("nearest", nearest),
        None => refusal,
    }
}
