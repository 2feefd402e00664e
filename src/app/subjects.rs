use super::asker::instant;
use super::authorize::permission_missing;
use super::memory::{Memory, aside};
use super::{App, Context, Error, Listed};
use crate::cache::Requirement;
use crate::domain::page::Page;
use crate::domain::permission::{MEMBERS_VIEW, PermissionName};
use crate::domain::refusal::Refusal;
use crate::domain::{PortfolioId, Subject, Timestamp};
use crate::policy::{self, Decision, Excerpt, Whom};

/// The question who may do something on a portfolio.
#[derive(Clone, Debug)]
pub struct ListSubjects {
    /// What.
    pub permission: String,
    /// Where.
    pub portfolio: PortfolioId,
    /// Groups resolved, or as the grants name them.
    pub whom: Whom,
    /// How fresh the answer must be.
    pub requirement: Requirement,
    /// When; now if not given (ACC-10).
    pub at: Option<Timestamp>,
    /// Which part of the list.
    pub page: Page<Subject>,
}

/// A subject to whom a check allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectAccess {
    /// Who.
    pub subject: Subject,
    /// The check's answer.
    pub decision: Decision,
}

impl App {
    /// The subjects to whom a check allows something on a portfolio (ACC-9): users, groups, service
    /// accounts, each by id.
    ///
    /// # Errors
    /// No such portfolio, `members.view` missing, an unknown permission, an instant in the past;
    /// the database, where memory cannot answer.
    pub async fn list_subjects(
        &self,
        context: &Context,
        request: &ListSubjects,
    ) -> Result<Listed<SubjectAccess, Subject>, Error> {
        let ListSubjects { permission, portfolio, requirement, .. } = request;
        let memory = self.memory_about(context, requirement, &[permission], &[portfolio]).await?;
        let (token, request) = (memory.token.clone(), request.clone());
        let found = aside(context, move |_| subjects(&memory, &request)).await??;
        Ok(Listed::of(found, token, |row| row.subject.clone()))
    }
}

fn subjects(memory: &Memory, request: &ListSubjects) -> Result<Excerpt<SubjectAccess>, Refusal> {
    let ListSubjects { permission, portfolio, whom, page, .. } = request;
    let asker = memory.asker_about(portfolio);
    asker.require_permission(permission)?;
    let (id, at) = (portfolio.as_str(), instant(request.at, asker.now)?);
    let sight = asker.sight(id);
    let snapshot = sight.snapshot.filter(|snapshot| snapshot.contains_portfolio(id));
    let snapshot = snapshot.ok_or_else(|| Refusal::portfolio_not_found(portfolio))?;
    if !asker.sees_members(snapshot, id) {
        return Err(permission_missing(MEMBERS_VIEW, portfolio));
    }
    let found = policy::subjects_with(asker.global, snapshot, permission, id, *whom, at, page);
    let Excerpt { rows, more } = found.map_err(|unknown| {
        let nearest = unknown.nearest.as_ref().map(PermissionName::as_str);
        super::asker::unknown_permission(&unknown.name, nearest)
    })?;
    memory.count_decisions(rows.len());
    let row = |(subject, decision)| SubjectAccess { subject, decision: sight.bounded(decision) };
    Ok(Excerpt { rows: rows.into_iter().map(row).collect(), more })
}
