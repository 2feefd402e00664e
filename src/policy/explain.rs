//! Why a decision is what it is, and what would make it another (ACC-8).

use std::collections::{BTreeMap, VecDeque};

use crate::domain::role::Reach;
use crate::domain::{GroupId, PortfolioId, RoleKey, Timestamp};

use super::check::{Decision, Query, find, is_halted};
use super::evaluation::{Evaluation, RouteEffect, Weight};
use super::givers::{Givers, givers, helpful_roles};
use super::global::{Global, UnknownPermission};
use super::item_explain::explain_item;
use super::period::Period;
use super::portfolio::NOWHERE;
use super::snapshot::{Resolved, Snapshot};
use super::source::{Reached, Source, Via};

/// A decision, everything that it rests on, and who could make it another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The answer of [`check`](super::check): the same evaluation gave both.
    pub decision: Decision,
    /// Whether it is about an independent item: then what the portfolio gives counts for
    /// `portfolio.view` alone (ACC-5).
    pub independent_item: bool,
    /// Every way by which anything reaches the subject here, in force or not: sorted, each once, in
    /// the order in which reasons are preferred. Empty where the decision looks at none: the
    /// portfolio or the subject is unknown, or the subject is deactivated.
    pub routes: Vec<ExplainedRoute>,
    /// If the portfolio is linked, those above it, from its parent to the one whose settings are in
    /// force (INH-1); none in the place of one that is not told.
    pub links: Vec<Option<PortfolioId>>,
    /// The organization's roles with which this would be allowed, were the portfolio not archived,
    /// sorted. Those that hold it as *own* are among them only if the subject is named as the
    /// author (ACC-4).
    pub roles: Vec<RoleKey>,
    /// Who could give such a role, on the portfolio whose settings are in force; nobody where it is
    /// allowed, where no role would help, or where that portfolio is archived.
    pub givers: Givers,
}

/// One way by which something reaches the subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExplainedRoute {
    /// By what.
    pub way: Way,
    /// The role that it gives; none for an administrator.
    pub role: Option<RoleKey>,
    /// In force from this instant on; none: always been.
    pub start_time: Option<Timestamp>,
    /// In force until just before this instant; none: for good.
    pub expire_time: Option<Timestamp>,
    /// Whether it is in force at the instant asked about.
    pub in_force: bool,
    /// How far it reaches with the permission asked about; none if it does not have it.
    pub reach: Option<Reach>,
    /// What that does to the question.
    pub effect: RouteEffect,
    /// Whose settings, or whose ownership, it comes from.
    pub origin: Origin,
    /// Whether it is a way to the independent item that is asked about, and not to the portfolio.
    /// Of the portfolio's ways to such an item the effect is on `portfolio.view`: to be seen there
    /// is all that they give (ACC-5).
    pub on_item: bool,
}

/// From where a route comes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// From the portfolio itself.
    Itself,
    /// From one that it is linked to, directly or not.
    Linked(PortfolioId),
    /// From one that it is linked to, and that is not told.
    Untold,
}

/// What a route leads through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// A grant to the subject itself.
    Direct,
    /// A grant to a group that the subject is in.
    Group {
        /// The group that is granted.
        group: GroupId,
        /// From the group that the subject is directly in to the granted one, each in the next; of
        /// several chains a shortest, and of those the first in the alphabet.
        chain: Vec<GroupId>,
    },
    /// The portfolio is open to the subject.
    OrganizationAccess {
        /// Whether only what viewers may do comes of the role (DIR-8: site viewers).
        bounded: bool,
    },
    /// The subject administers the organization (DIR-7).
    Administrator,
}

impl Explanation {
    /// For a denial: the instant from which on it would be allowed if nothing is written.
    #[must_use]
    pub fn allowed_from(&self) -> Option<Timestamp> {
        if self.decision.allowed { None } else { self.decision.hold_until }
    }

    /// What those may read who may not know of every portfolio along the chain (VIS-4).
    #[must_use]
    pub fn telling(mut self, is_told: impl Fn(&PortfolioId) -> bool) -> Self {
        for link in &mut self.links {
            *link = link.take().filter(&is_told);
        }
        for route in &mut self.routes {
            if matches!(&route.origin, Origin::Linked(id) if !is_told(id)) {
                route.origin = Origin::Untold;
            }
        }
        self
    }

    /// What those may read who may not see the members: nothing about who could give it.
    #[must_use]
    pub fn without_givers(self) -> Self {
        Self { givers: Givers::default(), ..self }
    }

    /// What those may read about others for whom the item does not exist: nothing about who could
    /// give it, nor by what they reach the item.
    #[must_use]
    pub fn without_item(mut self) -> Self {
        self.routes.retain(|route| !route.on_item);
        self.without_givers()
    }
}

/// Decides and explains. Names at most `most_givers` of those who could give what is missing.
///
/// A snapshot of the facts of just one question knows nobody else, and so finds no givers.
///
/// # Errors
/// The catalogue does not have the permission.
pub fn explain(
    global: &Global,
    snapshot: &Snapshot,
    query: &Query<'_>,
    most_givers: usize,
) -> Result<Explanation, UnknownPermission> {
    if let Some(item) = query.item.and_then(|key| snapshot.item(key)) {
        return explain_item(global, snapshot, query, item, most_givers);
    }
    let permission =
        global.permission(query.permission).ok_or_else(|| global.unknown(query.permission))?;
    let mut routes = Vec::new();
    let number = snapshot.portfolio_names.find(query.portfolio);
    let decision = match find(global, snapshot, query.subject, query.portfolio) {
        Err(reason) => Decision::denied(reason),
        Ok((portfolio, subject)) => {
            let authorship = query.author.map(|author| author == query.subject);
            let halted = is_halted(portfolio, permission);
            let mut evaluation = Evaluation::new(permission, subject, authorship, query.at, halted);
            let reached = Reached::by(snapshot, subject);
            let number = number.unwrap_or(NOWHERE);
            for (of, source) in snapshot.attributed_sources(number, &reached) {
                let weight = evaluation.weigh(&source);
                let origin = snapshot.origin(number, of);
                let place = (query.at, origin, false);
                routes.extend(snapshot.explained(subject, &source, weight, place));
            }
            evaluation.decide()
        }
    };
    routes.sort_unstable();
    routes.dedup();
    let roles = match snapshot.contains_portfolio(query.portfolio) {
        true => helpful_roles(snapshot, permission, query),
        false => Vec::new(),
    };
    let givers = givers(global, snapshot, query, (&decision, &roles), most_givers);
    let roles = roles.into_iter().map(|role| role.key().clone()).collect();
    let links = number.into_iter().flat_map(|number| snapshot.links_of(number)).map(Some);
    let (links, independent_item) = (links.collect(), false);
    Ok(Explanation { decision, independent_item, routes, links, roles, givers })
}

impl Snapshot {
    pub(super) fn explained(
        &self,
        subject: Resolved<'_>,
        source: &Source<'_>,
        weight: Weight,
        (at, origin, on_item): (Timestamp, Origin, bool),
    ) -> Option<ExplainedRoute> {
        let way = match source.via {
            Via::Direct => Way::Direct,
            Via::Group(id) => {
                Way::Group { group: self.group_id(id)?.clone(), chain: self.chain(subject, id) }
            }
            Via::OrganizationAccess => Way::OrganizationAccess { bounded: source.is_bounded() },
            Via::Administrator => Way::Administrator,
        };
        let Period { start, end } = source.period;
        Some(ExplainedRoute {
            way,
            role: source.role().map(|role| role.key().clone()),
            start_time: (start != Period::ALWAYS.start).then_some(start),
            expire_time: (end != Period::ALWAYS.end).then_some(end),
            in_force: source.in_force(at),
            reach: weight.reach,
            effect: weight.effect,
            origin,
            on_item,
        })
    }

    pub(super) fn origin(&self, number: u32, of: u32) -> Origin {
        match self.portfolio_names.key(of) {
            Some(id) if of != number => Origin::Linked(id.clone()),
            Some(_) | None => Origin::Itself,
        }
    }

    /// Breadth first, so that the chain is a shortest; groups in the order of their ids, so that it
    /// does not depend on how the facts were read.
    fn chain(&self, subject: Resolved<'_>, granted: u32) -> Vec<GroupId> {
        let leads_there = |id: &u32| self.closure(*id).contains(&granted);
        let above = |groups: &[u32]| {
            let mut groups: Vec<u32> = groups.iter().copied().filter(leads_there).collect();
            groups.sort_unstable_by_key(|id| self.group_id(*id));
            groups
        };
        let mut open: VecDeque<u32> = above(subject.party.groups()).into();
        let mut below: BTreeMap<u32, Option<u32>> = open.iter().map(|id| (*id, None)).collect();
        while !below.contains_key(&granted)
            && let Some(id) = open.pop_front()
        {
            for next in above(self.group(id).map_or(&[], |group| group.party.groups())) {
                below.entry(next).or_insert_with(|| {
                    open.push_back(next);
                    Some(id)
                });
            }
        }
        let step = |id: &u32| below.get(id).copied().flatten();
        let mut chain: Vec<GroupId> = std::iter::successors(Some(granted), step)
            .filter_map(|id| self.group_id(id).cloned())
            .collect();
        chain.reverse();
        chain
    }
}
