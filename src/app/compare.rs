//! What linking would change (INH-5).

use super::authorize::Acting;
use super::memory::{Memory, aside};
use super::parents::own_parent;
use super::{App, Context, Error, Listed, refuse_deactivated};
use crate::domain::access_settings::AccessSettings;
use crate::domain::page::Page;
use crate::domain::permission::{ACCESS_MANAGE, MEMBERS_VIEW};
use crate::domain::portfolio::Portfolio;
use crate::domain::refusal::Refusal;
use crate::domain::{PortfolioId, Subject};
use crate::policy::{self, AccessDifference, Comparison};
use crate::storage::Failure;

/// A portfolio to compare with its parent.
#[derive(Clone, Debug)]
pub struct CompareAccessSettings {
    /// Which.
    pub portfolio: PortfolioId,
    /// Which part of the list.
    pub page: Page<Subject>,
}

/// What a comparison says beside its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparedAccessSettings {
    /// What it was compared with.
    pub parent: PortfolioId,
    /// Whether it is linked already, so that nothing would change.
    pub linked: bool,
    /// What is in effect.
    pub before: AccessSettings,
    /// What would be.
    pub after: AccessSettings,
}

impl App {
    /// Compares what is in effect on a portfolio with what would be if it were linked to its
    /// parent: by subject, in the order of [`Subject`].
    ///
    /// # Errors
    /// No such portfolio, `access.manage` missing, or `members.view` on the parent; no parent or a
    /// deleted one; the database, where memory cannot answer.
    pub async fn compare_access_settings(
        &self,
        context: &Context,
        request: &CompareAccessSettings,
    ) -> Result<(ComparedAccessSettings, Listed<AccessDifference, Subject>), Error> {
        let ((child, parent), heads) = self
            .storage
            .read(context.deadline, async |read| {
                let (principal, now) = (&context.principal, read.heads().now);
                refuse_deactivated(read, principal).await?;
                let id = &request.portfolio;
                let acting =
                    Acting::with_even_archived(read, principal, now, id, ACCESS_MANAGE).await?;
                let parent = own_parent(read, principal, now, &acting.portfolio).await?;
                parent.require(read, MEMBERS_VIEW)?;
                Ok::<_, Failure>((acting.portfolio, parent.portfolio.id))
            })
            .await?;
        // Not before what was just read: a parent that it has meanwhile is another's to compare.
        let organization = std::slice::from_ref(&child.organization);
        let memory = self.memory_of(context, heads, organization).await?;
        let (token, page) = (memory.token.clone(), request.page.clone());
        let compared = aside(context, move |_| compare(&memory, &child, parent, &page)).await??;
        let (compared, differences) = compared;
        Ok((compared, Listed::of(differences, token, |row| row.subject.clone())))
    }
}

type Compared = (ComparedAccessSettings, policy::Excerpt<AccessDifference>);

fn compare(
    memory: &Memory,
    child: &Portfolio,
    parent: PortfolioId,
    page: &Page<Subject>,
) -> Result<Compared, Refusal> {
    let asker = memory.asker_about(&child.id);
    let compared = asker.snapshot.and_then(|snapshot| {
        let owner = child.owner.as_ref();
        policy::compare(asker.global, snapshot, (&child.id, owner), &parent, asker.now, page)
    });
    let Comparison { linked, before, after, differences } =
        compared.ok_or_else(|| Refusal::portfolio_not_found(&child.id))?;
    Ok((ComparedAccessSettings { parent, linked, before, after }, differences))
}
