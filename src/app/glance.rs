//! What a cold check looks at.

use super::Context;
use super::asker::{Asker, Undecided};
use super::check::{CheckPermission, decide};
use crate::domain::Timestamp;
use crate::domain::permission::{MEMBERS_VIEW, PORTFOLIO_VIEW};
use crate::policy::{Decision, Global, Snapshot};
use crate::storage::facts::CheckFacts;

/// The few facts of one check, compiled.
///
/// INVARIANT (partial roles): its roles have no more of their tables than this check asks for, the
/// asked permission, `members.view` and `portfolio.view`. Nobody else may take them for whole, as a
/// ceiling would (ROL-7), so nothing leaves this module but the decision.
pub(super) struct Glance {
    global: Global,
    snapshot: Snapshot,
    now: Timestamp,
}

impl Glance {
    /// The permissions that a check looks at: the asked one, the one that lets others be asked
    /// about (AUT-3), and the one that reaching an independent item takes (ACC-5).
    pub(super) fn permissions(request: &CheckPermission) -> [&str; 3] {
        [&request.permission, MEMBERS_VIEW, PORTFOLIO_VIEW]
    }

    pub(super) fn compile(facts: CheckFacts) -> Self {
        let now = facts.now;
        let facts = facts.into_partial_facts();
        let global = Global::compile(facts.global);
        let snapshot = Snapshot::compile(facts.organization, &global);
        Self { global, snapshot, now }
    }

    /// Decides the check that the facts were read for. An unknown permission comes without the
    /// nearest known one: the catalogue is not whole either.
    pub(super) fn decide(
        &self,
        context: &Context,
        request: &CheckPermission,
    ) -> Result<Decision, Undecided> {
        let actor = context.principal.actor.subject();
        let asker = Asker {
            global: &self.global,
            snapshot: Some(&self.snapshot),
            caller: &context.principal.caller,
            actor: actor.as_ref(),
            now: self.now,
        };
        decide(&asker, request)
    }
}
