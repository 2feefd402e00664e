//! Which items somebody sees: the check, asked about each (ACC-6).

use std::ops::Bound;

use crate::domain::page::Page;
use crate::domain::permission::{ACCESS_MANAGE, PORTFOLIO_VIEW};
use crate::domain::role::Reach;
use crate::domain::{ItemKey, ItemType, PortfolioId, Subject, Timestamp};

use super::check::{Asked, Decision, Query, check};
use super::excerpt::Excerpt;
use super::global::{Global, UnknownPermission};
use super::holdings::item_holdings;
use super::snapshot::Snapshot;

/// Whose eyes look at what.
#[derive(Clone, Copy, Debug)]
pub struct VisibleItems<'a> {
    /// Who sees them.
    pub subject: &'a Subject,
    /// The portfolio that shows them.
    pub portfolio: &'a str,
    /// Items of this type only; none: of all types.
    pub item_type: Option<&'a ItemType>,
    /// When.
    pub at: Timestamp,
}

/// The items that the portfolio shows and the check lets the subject see, by type, then by id.
///
/// # Errors
/// The catalogue does not have a permission that lets items be seen.
pub fn visible_items(
    global: &Global,
    snapshot: &Snapshot,
    question: &VisibleItems<'_>,
    page: &Page<ItemKey>,
) -> Result<Excerpt<(ItemKey, Decision)>, UnknownPermission> {
    let sight = Sight::of(global, snapshot, question)?;
    let after = page.after.as_ref();
    let seen = sight.from(after).filter(|(_, decision)| decision.allowed);
    Ok(Excerpt::of(seen.map(|(key, decision)| (key.clone(), decision)), page.size))
}

/// How many the portfolio shows that the check does not let the subject see.
///
/// # Errors
/// As [`visible_items`].
pub fn withheld_items(
    global: &Global,
    snapshot: &Snapshot,
    question: &VisibleItems<'_>,
) -> Result<usize, UnknownPermission> {
    let sight = Sight::of(global, snapshot, question)?;
    Ok(sight.from(None).filter(|(_, decision)| !decision.allowed).count())
}

/// Whether an independent item exists for the subject: a check lets them see it on a portfolio that
/// shows it, or they manage it (ACC-5). Its owner holds a role on it.
#[must_use]
pub fn sees_item(
    global: &Global,
    snapshot: &Snapshot,
    subject: &Subject,
    key: &ItemKey,
    at: Timestamp,
) -> bool {
    let Some((key, item)) = snapshot.item(key) else { return false };
    let (permission, author) = (key.view_permission(), None);
    let is_seen = |portfolio: &PortfolioId| {
        let portfolio = portfolio.as_str();
        let query = Query { subject, permission, portfolio, author, item: Some(key), at };
        check(global, snapshot, &query).is_ok_and(|decision| decision.allowed)
    };
    let exists = |portfolio: &PortfolioId| {
        is_seen(portfolio) || manages_item(global, snapshot, subject, (key, portfolio.as_str()), at)
    };
    item.author.as_ref() == Some(subject) || item.portfolios().iter().any(exists)
}

/// Whether the subject holds `access.manage` on an item and sees the portfolio, as a check decides
/// it (ACC-5); on an archived one too, where access is still taken away (VIS-8).
#[must_use]
pub fn manages_item(
    global: &Global,
    snapshot: &Snapshot,
    subject: &Subject,
    (key, portfolio): (&ItemKey, &str),
    at: Timestamp,
) -> bool {
    let Some((_, item)) = snapshot.item(key) else { return false };
    let views = || {
        let asked = Asked::about(global, snapshot, subject, PORTFOLIO_VIEW);
        asked.is_ok_and(|asked| asked.decide(portfolio, None, at).allowed)
    };
    let held = || item_holdings(global, snapshot, subject, key, at);
    (item.settings.is_none() || views()) && held().table().get(ACCESS_MANAGE) == Some(&Reach::Any)
}

/// The subject, looked up once with each permission that lets items be seen.
struct Sight<'a> {
    global: &'a Global,
    snapshot: &'a Snapshot,
    question: VisibleItems<'a>,
    asked: [(&'static str, Asked<'a>); 3],
}

impl<'a> Sight<'a> {
    fn of(
        global: &'a Global,
        snapshot: &'a Snapshot,
        question: &VisibleItems<'a>,
    ) -> Result<Self, UnknownPermission> {
        let asked = |permission| {
            Ok((permission, Asked::about(global, snapshot, question.subject, permission)?))
        };
        let asked =
            [asked("portfolio.view")?, asked("initiative.view")?, asked("assessment.view")?];
        Ok(Self { global, snapshot, question: *question, asked })
    }

    /// The items behind `after`, or all, each with the check's answer.
    fn from(&self, after: Option<&ItemKey>) -> impl Iterator<Item = (&ItemKey, Decision)> {
        let VisibleItems { portfolio, item_type, .. } = self.question;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = (start, Bound::Unbounded);
        let shown = self.snapshot.items.shown_by(portfolio).into_iter();
        let items = shown.flat_map(move |shown| shown.range::<_, ItemKey>(behind));
        let wanted = move |key: &ItemKey| item_type.is_none_or(|wanted| key.item_type == *wanted);
        items.filter(move |(key, _)| wanted(key)).filter_map(|(key, number)| {
            let item = self.snapshot.items.of(*number)?;
            let permission = key.view_permission();
            let (_, asked) = self.asked.iter().find(|(name, _)| *name == permission)?;
            let query = Query {
                subject: self.question.subject,
                permission,
                portfolio,
                author: None,
                item: Some(key),
                at: self.question.at,
            };
            let place = self.snapshot.portfolio(portfolio);
            Some((key, asked.decide_on_item(self.global, place, (key, item), &query)))
        })
    }
}
