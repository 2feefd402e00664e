use super::asker::{instant, unknown_permission};
use super::check::CheckPermission;
use super::memory::{Memory, aside};
use super::{App, Context, Error};
use crate::cache::Requirement;
use crate::domain::permission::PermissionName;
use crate::domain::refusal::Refusal;
use crate::domain::revision::Token;
use crate::domain::{PortfolioId, Subject, Timestamp};
use crate::policy::{
    self, EffectivePermission, EffectivePermissions, Explanation, Givers, Query, RouteEffect,
};

/// How many of those who could give what is missing are named.
const MOST_GIVERS: usize = 20;

/// An explanation, and the position it is true at.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The decision, and what it rests on; the routes that allow come first.
    pub explanation: Explanation,
    /// The instant asked about.
    pub at: Timestamp,
    /// Where.
    pub token: Token,
}

/// The question what a subject may do on a portfolio.
#[derive(Clone, Debug)]
pub struct ListEffectivePermissions {
    /// Whose permissions.
    pub subject: Subject,
    /// Where.
    pub portfolio: PortfolioId,
    /// How fresh the answer must be.
    pub requirement: Requirement,
    /// When; now if not given (ACC-10).
    pub at: Option<Timestamp>,
}

/// What a subject may do.
#[derive(Clone, Debug)]
pub struct Effective {
    /// By name.
    pub permissions: Vec<EffectivePermission>,
    /// Why there are none; none if there are.
    pub reason: Option<policy::Reason>,
    /// Until when the clock alone does not change it.
    pub hold_until: Option<Timestamp>,
    /// Where.
    pub token: Token,
}

impl App {
    /// The decision of a check, and why (ACC-8): from the same evaluation.
    ///
    /// # Errors
    /// As [`App::check_permission`].
    pub async fn explain_permission(
        &self,
        context: &Context,
        request: &CheckPermission,
    ) -> Result<Explained, Error> {
        let CheckPermission { permission, portfolio, requirement, .. } = request;
        let memory = self.memory_about(context, requirement, &[permission], &[portfolio]).await?;
        let (token, request) = (memory.token.clone(), request.clone());
        let at = instant(request.at, memory.now)?;
        memory.count_decisions(1);
        let explanation = aside(context, move |_| explain(&memory, &request, at)).await??;
        Ok(Explained { explanation, at, token })
    }

    /// Every permission that a check allows to the subject on the portfolio (ACC-9).
    ///
    /// # Errors
    /// An instant in the past, an actor who may not ask about others; the database, where memory
    /// cannot answer.
    pub async fn list_effective_permissions(
        &self,
        context: &Context,
        request: &ListEffectivePermissions,
    ) -> Result<Effective, Error> {
        let ListEffectivePermissions { portfolio, requirement, .. } = request;
        let memory = self.memory_about(context, requirement, &[], &[portfolio]).await?;
        let request = request.clone();
        Ok(aside(context, move |_| effective(&memory, &request)).await??)
    }
}

fn explain(
    memory: &Memory,
    request: &CheckPermission,
    at: Timestamp,
) -> Result<Explanation, Refusal> {
    let CheckPermission { subject, permission, portfolio, author, item, .. } = request;
    let asker = memory.asker_about(portfolio);
    let (author, item) = (author.as_ref(), item.as_ref());
    let query = Query { subject, permission, portfolio: portfolio.as_str(), author, item, at };
    let sight = asker.sight(query.portfolio);
    let Some(snapshot) = sight.snapshot else {
        asker.require_permission(permission)?;
        let (decision, givers) = (sight.unknown(), Givers::default());
        let (routes, links, roles) = (Vec::new(), Vec::new(), Vec::new());
        let independent_item = false;
        return Ok(Explanation { decision, independent_item, routes, links, roles, givers });
    };
    let explained = policy::explain(asker.global, snapshot, &query, MOST_GIVERS);
    let mut explanation = explained.map_err(|unknown| {
        let nearest = unknown.nearest.as_ref().map(PermissionName::as_str);
        unknown_permission(&unknown.name, nearest)
    })?;
    asker.may_ask_about(snapshot, subject, portfolio)?;
    explanation.decision = sight.bounded(explanation.decision);
    explanation.routes.sort_by_key(|route| route.effect != RouteEffect::Allows);
    if explanation.decision.allowed {
        // Nothing is missing.
        explanation.roles.clear();
    }
    let explanation = explanation.telling(|id| asker.sight(id.as_str()).snapshot.is_some());
    let unseen = |key| explanation.independent_item && !asker.sees_item(snapshot, key);
    let oneself = asker.actor == Some(subject);
    match item.is_some_and(unseen) {
        true if !oneself => Ok(explanation.without_item()),
        false if asker.sees_members(snapshot, query.portfolio) => Ok(explanation),
        _ => Ok(explanation.without_givers()),
    }
}

fn effective(memory: &Memory, request: &ListEffectivePermissions) -> Result<Effective, Refusal> {
    let ListEffectivePermissions { subject, portfolio, at, .. } = request;
    let asker = memory.asker_about(portfolio);
    let at = instant(*at, asker.now)?;
    let sight = asker.sight(portfolio.as_str());
    let found = match sight.snapshot {
        None => Err(policy::Reason::PortfolioUnknown),
        Some(snapshot) => {
            asker.may_ask_about(snapshot, subject, portfolio)?;
            let id = portfolio.as_str();
            policy::effective_permissions(asker.global, snapshot, subject, id, at)
        }
    };
    let (found, reason) = match found {
        Ok(found) if found.permissions.is_empty() => (found, Some(policy::Reason::NoAccess)),
        Ok(found) => (found, None),
        Err(reason) => {
            let nothing = EffectivePermissions { permissions: Vec::new(), hold_until: None };
            (nothing, Some(reason))
        }
    };
    memory.count_decisions(found.permissions.len().max(1));
    let hold_until = sight.hold_until.into_iter().chain(found.hold_until).min();
    Ok(Effective {
        permissions: found.permissions,
        reason,
        hold_until,
        token: memory.token.clone(),
    })
}
