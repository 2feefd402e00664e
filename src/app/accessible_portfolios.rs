use tokio_util::sync::CancellationToken;

use super::asker::instant;
use super::memory::{Memory, aside};
use super::merged::merged;
use super::{App, Context, Error, Listed};
use crate::cache::Requirement;
use crate::domain::page::Page;
use crate::domain::refusal::Refusal;
use crate::domain::{OrganizationId, PortfolioId, Subject, Timestamp};
use crate::policy::{self, Decision, Excerpt};

/// The question where a subject may do something.
#[derive(Clone, Debug)]
pub struct ListAccessiblePortfolios {
    /// Who.
    pub subject: Subject,
    /// To do what.
    pub permission: String,
    /// The only organization to look in; none for all.
    pub organization: Option<OrganizationId>,
    /// How fresh the answer must be.
    pub requirement: Requirement,
    /// When; now if not given (ACC-10).
    pub at: Option<Timestamp>,
    /// Which part of the list.
    pub page: Page<PortfolioId>,
}

/// A portfolio on which a check allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessiblePortfolio {
    /// Which one.
    pub portfolio: PortfolioId,
    /// Whose.
    pub organization: OrganizationId,
    /// The check's answer.
    pub decision: Decision,
}

impl App {
    /// The portfolios on which a check allows something to the subject (ACC-9), by id; for an actor
    /// who asks about others, those where they see the members.
    ///
    /// # Errors
    /// An unknown permission, an instant in the past; the database, where memory cannot answer.
    pub async fn list_accessible_portfolios(
        &self,
        context: &Context,
        request: &ListAccessiblePortfolios,
    ) -> Result<Listed<AccessiblePortfolio>, Error> {
        let permission = request.permission.as_str();
        let mut memory = self.memory(context, &request.requirement, &[permission]).await?;
        memory.asker(None).require_permission(permission).map_err(Refusal::from)?;
        instant(request.at, memory.now)?;
        let only = request.organization.as_ref();
        let organizations = match only {
            Some(id) if !context.principal.caller.reaches(id) => Vec::new(),
            Some(id) if memory.is_open(id) => vec![id.clone()],
            _ => {
                let (mut known, heads) =
                    self.organizations_knowing(context, &request.subject).await?;
                known.retain(|id| only.is_none_or(|only| only == id));
                // Whoever is not loaded yet: what the primary knows is waited for.
                if known.iter().any(|id| memory.snapshot(id).is_none()) {
                    memory = self.memory_of(context, heads, &known).await?;
                }
                known
            }
        };
        let (token, request) = (memory.token.clone(), request.clone());
        let work =
            move |gone: &CancellationToken| accessible(&memory, &organizations, &request, gone);
        let found = aside(context, work).await??;
        Ok(Listed::of(found, token, |row| row.portfolio.clone()))
    }
}

fn accessible(
    memory: &Memory,
    organizations: &[OrganizationId],
    request: &ListAccessiblePortfolios,
    gone: &CancellationToken,
) -> Result<Excerpt<AccessiblePortfolio>, Refusal> {
    let ListAccessiblePortfolios { subject, permission, page, .. } = request;
    // The moment may have passed while something was loaded.
    let at = instant(request.at, memory.now)?;
    memory.asker(None).require_permission(permission)?;
    let snapshots = organizations.iter().filter_map(|id| memory.snapshot(id));
    let found = merged(snapshots, page, |snapshot, page| {
        if gone.is_cancelled() {
            return Excerpt { rows: Vec::new(), more: false };
        }
        let asker = memory.asker(Some(snapshot));
        let row = |(id, decision): (PortfolioId, Decision)| {
            let sight = asker.sight(id.as_str());
            let oneself = asker.actor.is_none_or(|actor| actor == subject);
            let seen =
                sight.snapshot.is_some_and(|seen| oneself || asker.sees_members(seen, id.as_str()));
            let row = seen.then(|| AccessiblePortfolio {
                portfolio: id.clone(),
                organization: snapshot.organization().clone(),
                decision: sight.bounded(decision),
            });
            (id, row)
        };
        let part =
            policy::accessible_portfolios(asker.global, snapshot, subject, permission, at, page);
        // The catalogue has the permission: that was looked at.
        let Excerpt { rows, more } = part.unwrap_or(Excerpt { rows: Vec::new(), more: false });
        Excerpt { rows: rows.into_iter().map(row).collect(), more }
    });
    memory.count_decisions(found.rows.len());
    Ok(found)
}
