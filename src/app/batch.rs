use std::collections::BTreeSet;
use std::sync::Arc;

use super::asker::{instant, unknown_permission};
use super::memory::Memory;
use super::{App, Context, Error};
use crate::cache::Requirement;
use crate::domain::refusal::Refusal;
use crate::domain::revision::Token;
use crate::domain::{PortfolioId, Subject, Timestamp};
use crate::policy::{Decision, Query};

/// Many questions, answered at one position.
#[derive(Clone, Debug)]
pub struct BatchCheckPermissions {
    /// The questions; a malformed one is refused, and spoils no other.
    pub items: Vec<Result<BatchCheckItem, Refusal>>,
    /// How fresh the answers must be.
    pub requirement: Requirement,
    /// When; now if not given (ACC-10).
    pub at: Option<Timestamp>,
}

/// One of the questions.
#[derive(Clone, Debug)]
pub struct BatchCheckItem {
    /// About whom.
    pub subject: Subject,
    /// To do what.
    pub permission: Arc<str>,
    /// Where.
    pub portfolio: PortfolioId,
    /// Who authored the thing acted on (ACC-4).
    pub author: Option<Subject>,
}

/// The answers, and the position of all of them.
#[derive(Clone, Debug)]
pub struct BatchChecked {
    /// One for each question, in their order.
    pub outcomes: Vec<Result<Decision, Refusal>>,
    /// Where.
    pub token: Token,
}

impl App {
    /// Decides many questions in one world, at one instant.
    ///
    /// # Errors
    /// An instant in the past; the database, where memory cannot answer. What is wrong with one
    /// question is its outcome.
    pub async fn batch_check_permissions(
        &self,
        context: &Context,
        request: &BatchCheckPermissions,
    ) -> Result<BatchChecked, Error> {
        let items = || request.items.iter().flatten();
        let permissions: BTreeSet<&str> = items().map(|item| item.permission.as_ref()).collect();
        let portfolios: BTreeSet<&PortfolioId> = items().map(|item| &item.portfolio).collect();
        let permissions: Vec<&str> = permissions.into_iter().collect();
        let portfolios: Vec<&PortfolioId> = portfolios.into_iter().collect();
        let memory =
            self.memory_about(context, &request.requirement, &permissions, &portfolios).await?;
        let at = instant(request.at, memory.now)?;
        let mut hints = MOST_HINTS;
        let decide = |item: &Result<BatchCheckItem, Refusal>| {
            let item = item.as_ref().map_err(Refusal::clone)?;
            decide(&memory, item, at, &mut hints)
        };
        let outcomes = request.items.iter().map(decide).collect();
        memory.count_decisions(request.items.len());
        Ok(BatchChecked { outcomes, token: memory.token })
    }
}

/// For how many unknown names the nearest known one is looked for, which takes long.
const MOST_HINTS: usize = 16;

fn decide(
    memory: &Memory,
    item: &BatchCheckItem,
    at: Timestamp,
    hints: &mut usize,
) -> Result<Decision, Refusal> {
    let asker = memory.asker_about(&item.portfolio);
    if asker.global.permission(&item.permission).is_none() {
        if *hints == 0 {
            return Err(unknown_permission(&item.permission, None));
        }
        *hints -= 1;
    }
    let query = Query {
        subject: &item.subject,
        permission: &item.permission,
        portfolio: item.portfolio.as_str(),
        author: item.author.as_ref(),
        at,
    };
    asker.decide(&query, &item.portfolio).map_err(Refusal::from)
}
