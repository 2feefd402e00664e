use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::asker::{instant, unknown_permission};
use super::memory::Memory;
use super::overload::{Place, for_a_moment};
use super::{App, Context, Error};
use crate::cache::Requirement;
use crate::domain::refusal::Refusal;
use crate::domain::revision::Token;
use crate::domain::{ItemKey, PortfolioId, Subject, Timestamp};
use crate::policy::{self, Decision, Query};

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
    /// The item acted on, or in which (ACC-5).
    pub item: Option<ItemKey>,
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
    /// Decides many questions in one world, at one instant. `place` is the one that it has in the
    /// line of batches; without, it takes one when it is its time.
    ///
    /// # Errors
    /// An instant in the past; the database, where memory cannot answer; too many batches. What is
    /// wrong with one question is its outcome.
    pub async fn batch_check_permissions(
        &self,
        context: &Context,
        request: &BatchCheckPermissions,
        place: Option<Place>,
    ) -> Result<BatchChecked, Error> {
        // As a rule memory has all that is asked about.
        let memory = self.memory(context, &request.requirement, &[]);
        let (place, memory) = match place {
            Some(place) => for_a_moment(place, Duration::ZERO, memory).await,
            None => (None, memory.await),
        };
        let memory = memory?;
        let looking_up = Unknown::IsLookedUp;
        if let Some(outcomes) = self.decide_all(&memory, request, place, looking_up).await? {
            return Ok(answer(&memory, outcomes));
        }
        // Before anything is said to be unknown, it is looked up; all else is decided again, at the
        // position at which that was found or not.
        let items = || request.items.iter().flatten();
        let permissions: BTreeSet<&str> = items().map(|item| item.permission.as_ref()).collect();
        let portfolios: BTreeSet<&PortfolioId> = items().map(|item| &item.portfolio).collect();
        let permissions: Vec<&str> = permissions.into_iter().collect();
        let portfolios: Vec<&PortfolioId> = portfolios.into_iter().collect();
        let memory =
            self.memory_about(context, &request.requirement, &permissions, &portfolios).await?;
        let told = Unknown::IsTold { hints: MOST_HINTS };
        let outcomes = self.decide_all(&memory, request, None, told).await?;
        Ok(answer(&memory, outcomes.unwrap_or_default()))
    }

    /// Every outcome; none if there is something to be looked up first.
    async fn decide_all(
        &self,
        memory: &Memory,
        request: &BatchCheckPermissions,
        place: Option<Place>,
        mut unknown: Unknown,
    ) -> Result<Option<Vec<Result<Decision, Refusal>>>, Error> {
        let at = instant(request.at, memory.now)?;
        let place = place.map_or_else(|| self.batches.join(), Ok)?;
        let mut outcomes = Vec::with_capacity(request.items.len());
        for items in request.items.chunks(AT_A_TURN) {
            let _turn = place.turn().await;
            for item in items {
                let decide = |item| decide(memory, item, at, &mut unknown);
                let refused = |refusal: &Refusal| Some(Err(refusal.clone()));
                let Some(outcome) = item.as_ref().map_or_else(refused, decide) else {
                    return Ok(None);
                };
                outcomes.push(outcome);
            }
        }
        Ok(Some(outcomes))
    }
}

/// How many are decided in a turn: it takes about a millisecond.
const AT_A_TURN: usize = 1_000;

/// For how many unknown names the nearest known one is looked for, which takes long.
const MOST_HINTS: usize = 16;

/// What becomes of a permission or a portfolio that memory does not have, for the asker's eyes.
enum Unknown {
    /// It ends the attempt: nothing is decided.
    IsLookedUp,
    /// It is the outcome of its question; for this many names with the nearest known one.
    IsTold { hints: usize },
}

fn answer(memory: &Memory, outcomes: Vec<Result<Decision, Refusal>>) -> BatchChecked {
    memory.count_decisions(outcomes.len());
    BatchChecked { outcomes, token: memory.token.clone() }
}

/// The outcome of one question; none if there is something to be looked up first.
fn decide(
    memory: &Memory,
    item: &BatchCheckItem,
    at: Timestamp,
    unknown: &mut Unknown,
) -> Option<Result<Decision, Refusal>> {
    let asker = memory.asker_about(&item.portfolio);
    if asker.global.permission(&item.permission).is_none() {
        match unknown {
            Unknown::IsLookedUp => return None,
            Unknown::IsTold { hints: 0 } => {
                return Some(Err(unknown_permission(&item.permission, None)));
            }
            Unknown::IsTold { hints } => *hints -= 1,
        }
    }
    let query = Query {
        subject: &item.subject,
        permission: &item.permission,
        portfolio: item.portfolio.as_str(),
        author: item.author.as_ref(),
        item: item.item.as_ref(),
        at,
    };
    let outcome = asker.decide(&query, &item.portfolio).map_err(Refusal::from);
    let unseen = matches!(&outcome, Ok(it) if it.reason == policy::Reason::PortfolioUnknown);
    if unseen && matches!(unknown, Unknown::IsLookedUp) { None } else { Some(outcome) }
}
