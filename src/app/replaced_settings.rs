//! Settings that take the place of others, all at once: what binds linking, and restoring what was
//! before (INH-5). It is decided on what is in effect before and after the change, in its
//! transaction, by the decider itself.

use std::collections::BTreeSet;

use super::authorize::{Acting, Scene};
use super::privacy_requests::awaits_approval;
use crate::domain::RoleKey;
use crate::domain::access_settings::Visibility;
use crate::domain::permission::ACCESS_MANAGE;
use crate::domain::refusal::{Reason, Refusal};
use crate::policy::{self, Asked};
use crate::storage::facts::Question;
use crate::storage::{Failure, Transaction, Write};

/// What is in effect on a portfolio, as far as replacing it is bound by it.
struct State {
    visibility: Visibility,
    access_role: RoleKey,
    roles: BTreeSet<RoleKey>,
    is_managed: bool,
}

impl State {
    async fn read(write: &mut Write, acting: &Acting) -> Result<Self, Failure> {
        let (id, now) = (&acting.portfolio.id, write.now());
        let settings = write.settings_in_effect(id).await?.settings;
        Ok(Self {
            visibility: settings.visibility,
            access_role: settings.organization_access_role,
            roles: write.roles_in_effect(id, now).await?,
            is_managed: write.is_managed(id, now).await?,
        })
    }
}

/// A change of all settings that are in effect on a portfolio.
pub(super) struct Replacement<'a> {
    acting: &'a Acting,
    before: State,
}

impl<'a> Replacement<'a> {
    /// Looks at what is in effect now. The change is to come next.
    pub(super) async fn begin(write: &mut Write, acting: &'a Acting) -> Result<Self, Failure> {
        Ok(Self { acting, before: State::read(write, acting).await? })
    }

    /// Looks at what is in effect after the change, and refuses what may not come of it.
    pub(super) async fn end(
        self,
        write: &mut Write,
        allow_losing_access: bool,
    ) -> Result<(), Failure> {
        let Self { acting, before } = self;
        let after = State::read(write, acting).await?;
        // The ceiling (ROL-7): what comes is given, and those whose grants cease are changed.
        let open = (after.visibility == Visibility::Open).then_some(&after.access_role);
        for role in before.roles.union(&after.roles).chain(open) {
            acting.may_give(write, role)?;
        }
        refuse_unapproved(write, &acting.scene, before.visibility, after.visibility).await?;
        if before.is_managed && !after.is_managed {
            return Err(last_manager(acting).into());
        }
        let Some(actor) = &acting.actor else { return Ok(()) };
        let question = Question {
            organization: &acting.portfolio.organization,
            portfolio: Some(&acting.portfolio.id),
            subjects: std::slice::from_ref(actor),
        };
        let scene = Scene::load(write, &question, acting.scene.at).await?;
        refuse_prolonging(write, acting, &scene)?;
        if !allow_losing_access && !holds_access_manage(acting, &scene) {
            return Err(access_manage_lost(acting).into());
        }
        Ok(())
    }
}

/// Where administrators approve visibility (VIS-7) it does not change by the way.
pub(super) async fn refuse_unapproved(
    write: &mut Write,
    scene: &Scene,
    before: Visibility,
    after: Visibility,
) -> Result<(), Failure> {
    if before == after || !awaits_approval(write, scene).await? {
        return Ok(());
    }
    let (before, after) = (before.as_str(), after.as_str());
    let message = format!(
        "the portfolio would become {after} by that, and was to be {before}; an administrator has \
         to approve it, so ask for that visibility first, or let an administrator do this"
    );
    let refusal = Refusal::new(Reason::PrivacyApprovalRequired, message);
    Err(refusal.with("from_visibility", before).with("to_visibility", after).into())
}

/// Nobody prolongs their own access (MEM-9): at no instant to come does the actor hold more by the
/// new settings than by the old ones.
fn refuse_prolonging(
    transaction: &mut Transaction,
    acting: &Acting,
    after: &Scene,
) -> Result<(), Refusal> {
    let (Some(actor), id) = (&acting.actor, acting.portfolio.id.as_str()) else { return Ok(()) };
    let holdings =
        |scene: &Scene, at| policy::holdings(&scene.global, &scene.snapshot, actor, id, at);
    let mut at = acting.scene.at;
    loop {
        let changes = [&acting.scene, after]
            .into_iter()
            .filter_map(|scene| policy::next_change(&scene.snapshot, actor, id, at));
        let Some(next) = changes.min() else { return Ok(()) };
        at = next;
        let given = holdings(after, at);
        if holdings(&acting.scene, at).covers(given.table()).is_err() {
            break;
        }
    }
    if acting.is_excepted(transaction) {
        return Ok(());
    }
    let message = "nobody prolongs their own access; ask another manager";
    Err(Refusal::new(Reason::OwnAccessProlonged, message).with("portfolio", id))
}

fn holds_access_manage(acting: &Acting, scene: &Scene) -> bool {
    let Some(actor) = &acting.actor else { return true };
    let asked = Asked::about(&scene.global, &scene.snapshot, actor, ACCESS_MANAGE);
    let id = acting.portfolio.id.as_str();
    asked.is_ok_and(|asked| asked.ignoring_archived().decide(id, None, scene.at).allowed)
}

fn access_manage_lost(acting: &Acting) -> Refusal {
    let id = &acting.portfolio.id;
    let message = format!(
        "you would not hold `{ACCESS_MANAGE}` on portfolio `{id}` any more; say \
         `allow_losing_access` if that is meant"
    );
    Refusal::new(Reason::AccessManageLost, message).with("portfolio", id)
}

fn last_manager(acting: &Acting) -> Refusal {
    let id = &acting.portfolio.id;
    let message = format!(
        "nobody would manage portfolio `{id}` any more; make an active user a manager without an \
         end first, where the settings are that would be in effect"
    );
    Refusal::new(Reason::LastManager, message).with("portfolio", id)
}
