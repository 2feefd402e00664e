//! Why a decision about a registered item is what it is (ACC-5, ACC-8).

use crate::domain::permission::{ACCESS_MANAGE, PORTFOLIO_VIEW, Permission};
use crate::domain::role::Reach;
use crate::domain::{ItemKey, Subject};

use super::check::{Decision, Query, Reason, check, find, is_halted};
use super::evaluation::Evaluation;
use super::excerpt::Excerpt;
use super::explain::{ExplainedRoute, Explanation, Origin};
use super::givers::{Giver, Givers, givers, helpful_roles};
use super::global::{Global, UnknownPermission};
use super::holdings::{Holdings, item_holdings};
use super::item::Item;
use super::portfolio::{NOWHERE, Portfolio};
use super::reach::in_order;
use super::role::Role;
use super::rows::active_user;
use super::snapshot::Snapshot;
use super::source::Reached;

/// A registered item, and the question about it.
struct Place<'a> {
    global: &'a Global,
    snapshot: &'a Snapshot,
    query: &'a Query<'a>,
    permission: &'a Permission,
    item: &'a Item,
    /// Who made the thing that is acted on, as far as it is known.
    author: Option<&'a Subject>,
}

/// Explains a decision about a registered item. The decision is the check's.
pub(super) fn explain_item(
    global: &Global,
    snapshot: &Snapshot,
    query: &Query<'_>,
    (key, item): (&ItemKey, &Item),
    most_givers: usize,
) -> Result<Explanation, UnknownPermission> {
    let decision = check(global, snapshot, query)?;
    let permission =
        global.permission(query.permission).ok_or_else(|| global.unknown(query.permission))?;
    let author = item.author_for(key, permission, query.author);
    let place = Place { global, snapshot, query, permission, item, author };
    if matches!(decision.reason, Reason::PortfolioUnknown | Reason::ItemUnknown) {
        let (routes, links) = (Vec::new(), Vec::new());
        let (roles, givers) = (Vec::new(), Givers::default());
        let independent_item = false;
        return Ok(Explanation { decision, independent_item, routes, links, roles, givers });
    }
    let routes = place.routes();
    let (roles, givers) = match &item.settings {
        Some(settings) => place.helped_on(settings, &decision, most_givers)?,
        None => {
            let query = Query { author, item: None, ..*query };
            let roles = helpful_roles(snapshot, permission, &query);
            let givers = givers(global, snapshot, &query, (&decision, &roles), most_givers);
            (roles, givers)
        }
    };
    let roles = roles.into_iter().map(|role| role.key().clone()).collect();
    let number = snapshot.portfolio_names.find(query.portfolio);
    let links = number.into_iter().flat_map(|number| snapshot.links_of(number)).map(Some);
    let (links, independent_item) = (links.collect(), item.settings.is_some());
    Ok(Explanation { decision, independent_item, routes, links, roles, givers })
}

impl<'a> Place<'a> {
    /// The ways to the item itself, if it is independent, and those to the portfolio.
    fn routes(&self) -> Vec<ExplainedRoute> {
        let Self { global, snapshot, query, permission, item, author } = *self;
        let found = find(global, snapshot, query.subject, query.portfolio);
        let Ok((portfolio, subject)) = found else { return Vec::new() };
        let reached = Reached::by(snapshot, subject);
        let authorship = author.map(|author| author == query.subject);
        let halted = is_halted(portfolio, permission) || item.is_halted(permission);
        let evaluation = || Evaluation::new(permission, subject, authorship, query.at, halted);
        let mut routes = Vec::new();
        let on_portfolio = match &item.settings {
            None => Some(evaluation()),
            Some(settings) => {
                let mut evaluation = evaluation();
                for source in snapshot.settings_sources(settings, &reached) {
                    let weight = evaluation.weigh(&source);
                    let place = (query.at, Origin::Itself, true);
                    routes.extend(snapshot.explained(subject, &source, weight, place));
                }
                let view = global.permission(PORTFOLIO_VIEW);
                view.map(|view| Evaluation::new(view, subject, None, query.at, false))
            }
        };
        if let Some(mut evaluation) = on_portfolio {
            let number = snapshot.portfolio_names.find(query.portfolio).unwrap_or(NOWHERE);
            for (of, source) in snapshot.attributed_sources(number, &reached) {
                let weight = evaluation.weigh(&source);
                let place = (query.at, snapshot.origin(number, of), false);
                routes.extend(snapshot.explained(subject, &source, weight, place));
            }
        }
        routes.sort_unstable();
        routes.dedup();
        routes
    }

    /// What would help on an independent item: first to see the portfolio, then a role on the item.
    fn helped_on(
        &self,
        settings: &Portfolio,
        decision: &Decision,
        most: usize,
    ) -> Result<(Vec<&'a Role>, Givers), UnknownPermission> {
        let Self { global, snapshot, query, permission, author, .. } = *self;
        let view = Query { permission: PORTFOLIO_VIEW, author: None, item: None, ..*query };
        let seen = check(global, snapshot, &view)?;
        if !seen.allowed
            && let Some(permission) = global.permission(PORTFOLIO_VIEW)
        {
            let roles = helpful_roles(snapshot, permission, &view);
            let givers = givers(global, snapshot, &view, (&seen, &roles), most);
            return Ok((roles, givers));
        }
        let roles = helpful_roles(snapshot, permission, &Query { author, item: None, ..*query });
        let givers = match decision.reason {
            Reason::ItemNoAccess => self.managers(settings, &roles, most),
            _ => Givers::default(),
        };
        Ok((roles, givers))
    }

    /// Those who manage the item and hold all that a helpful role holds (ROL-7). Administrators do
    /// not manage items by being that.
    fn managers(&self, settings: &Portfolio, roles: &[&Role], most: usize) -> Givers {
        let Self { global, snapshot, query, .. } = *self;
        let Some(key) = query.item else { return Givers::default() };
        let tables: Vec<Holdings> =
            roles.iter().map(|role| Holdings::of(role.cells(global))).collect();
        let may_give = |subject: &Subject| {
            let held = item_holdings(global, snapshot, subject, key, query.at);
            held.table().get(ACCESS_MANAGE) == Some(&Reach::Any)
                && tables.iter().any(|role| held.covers(role.table()).is_ok())
        };
        let named = snapshot.reached_by(settings.named());
        let people = named.into_iter().filter_map(|number| snapshot.people_names.key(number));
        let givers = in_order(people.filter(|who| may_give(who)))
            .filter_map(|who| active_user(global, who))
            .map(|user| Giver { user: user.clone(), administrator: false });
        let Excerpt { rows, more } = Excerpt::of(givers, most);
        Givers { users: rows, more }
    }
}
