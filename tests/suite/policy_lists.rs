//! Explanations and lists against the oracle and against the check, on random worlds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use portcullis::domain::page::Page;
use portcullis::domain::role::Reach;
use portcullis::domain::{PortfolioId, Subject, Timestamp};
use portcullis::policy::{self, Excerpt, Explanation, Global, Query, RouteEffect, Snapshot, View};
use portcullis::policy::{Origin, PortfolioRow, Way, Whom};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::oracle::{Model, Question, Why};
use crate::oracle_lists::{Route, Row};
use crate::policy_properties::{any_world, changes, compile, config, decide, strange_world};
use crate::worlds::{PORTFOLIOS, administered_world, question, subjects};

const VIEWS: [Option<View>; 4] =
    [None, Some(View::Mine), Some(View::Organization), Some(View::Administered)];

/// All pages of a list, one after the other.
fn pages<T: Debug, K>(
    size: usize,
    list: impl Fn(&Page<K>) -> Excerpt<T>,
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let Excerpt { rows, more } = list(&Page { size, after });
        assert!(rows.len() == size || (rows.len() < size && !more), "{rows:?} {more}");
        after = rows.last().map(&key);
        all.extend(rows);
        if !more {
            return all;
        }
    }
}

fn explain(g: &Global, s: &Snapshot, q: &Question, most: usize) -> Option<Explanation> {
    let query = Query {
        subject: &q.subject,
        permission: &q.permission,
        portfolio: &q.portfolio,
        author: q.author.as_ref(),
        item: q.item.as_ref(),
        at: Timestamp(q.at),
    };
    policy::explain(g, s, &query, most).ok()
}

fn plain_route(route: &policy::ExplainedRoute) -> Route {
    let way = match &route.way {
        Way::Direct => "direct".to_owned(),
        Way::Group { group, .. } => format!("[{group}]"),
        Way::OrganizationAccess { bounded: false } => "open".to_owned(),
        Way::OrganizationAccess { bounded: true } => "open as viewer".to_owned(),
        Way::Administrator => "administrator".to_owned(),
    };
    Route {
        way,
        role: route.role.as_ref().map(ToString::to_string),
        start: route.start_time.map(|at| at.0),
        expire: route.expire_time.map(|at| at.0),
        reach: route.reach,
        effect: format!("{:?}", route.effect),
        of: match &route.origin {
            Origin::Itself => None,
            Origin::Linked(id) => Some(id.to_string()),
            Origin::Untold => panic!("everything is told"),
        },
    }
}

fn plain_row(row: &PortfolioRow) -> Row {
    let view = match row.view {
        View::Mine => "Mine",
        View::Organization => "Organization",
        View::Administered => "Administered",
    };
    Row {
        id: row.id.to_string(),
        view,
        roles: row.roles.iter().map(ToString::to_string).collect(),
        visibility: row.visibility,
        managers: row.managers.iter().map(ToString::to_string).collect(),
        member_count: row.member_count,
    }
}

fn agree_on_chains(model: &Model, explanation: &Explanation, q: &Question) {
    for route in &explanation.routes {
        let Way::Group { group, chain } = &route.way else { continue };
        assert_eq!(chain.last(), Some(group));
        assert_eq!(chain.len(), model.distance(&q.subject, group.as_str()), "{chain:?} {q:?}");
        let mut inner = q.subject.clone();
        for outer in chain {
            let found = model.groups.iter().find(|g| g.id == outer.as_str()).unwrap();
            assert!(found.members.contains(&inner), "{inner} in {outer}");
            inner = Subject::Group(outer.clone());
        }
    }
}

/// What the routes alone say about the decision.
fn agree_with_its_routes(explanation: &Explanation, q: &Question) {
    let decision = explanation.decision;
    let first = explanation.routes.iter().find(|route| route.effect == RouteEffect::Allows);
    assert_eq!(decision.allowed, first.is_some(), "{q:?}");
    let halted = explanation.routes.iter().any(|route| route.effect == RouteEffect::Archived);
    assert_eq!(decision.reason == policy::Reason::Archived, halted, "{q:?}");
    let Some(first) = first else { return };
    let reason = match first.way {
        Way::Direct => policy::Reason::DirectGrant,
        Way::Group { .. } => policy::Reason::GroupGrant,
        Way::OrganizationAccess { .. } => policy::Reason::OrganizationAccess,
        Way::Administrator => policy::Reason::Administrator,
    };
    assert_eq!(decision.reason, reason, "{q:?}");
    assert!(first.in_force && explanation.allowed_from().is_none());
}

fn all_rows(g: &Global, s: &Snapshot, who: Option<&Subject>, at: i64) -> Vec<Vec<PortfolioRow>> {
    let list = |view: Option<View>| {
        let list = |page: &Page<PortfolioId>| {
            policy::listed_portfolios(g, s, who, view, Timestamp(at), page)
        };
        pages(2, list, |row| row.id.clone())
    };
    VIEWS.into_iter().map(list).collect()
}

fn with(g: &Global, s: &Snapshot, q: &Question, whom: Whom, size: usize) -> Vec<Subject> {
    let list = |page: &Page<Subject>| {
        let (permission, portfolio) = (q.permission.as_str(), q.portfolio.as_str());
        policy::subjects_with(g, s, permission, portfolio, whom, Timestamp(q.at), page).unwrap()
    };
    let rows = pages(size, list, |(subject, _)| subject.clone());
    for (subject, decision) in &rows {
        let q = Question { subject: subject.clone(), author: None, ..q.clone() };
        assert_eq!(decide(g, s, &q), Some(*decision));
    }
    rows.into_iter().map(|(subject, _)| subject).collect()
}

fn accessible(g: &Global, s: &Snapshot, q: &Question, size: usize) -> Vec<String> {
    let list = |page: &Page<PortfolioId>| {
        let (who, permission) = (&q.subject, q.permission.as_str());
        policy::accessible_portfolios(g, s, who, permission, Timestamp(q.at), page).unwrap()
    };
    let rows = pages(size, list, |(id, _)| id.clone());
    for (id, decision) in &rows {
        let q = Question { portfolio: id.to_string(), author: None, ..q.clone() };
        assert_eq!(decide(g, s, &q), Some(*decision));
    }
    rows.into_iter().map(|(id, _)| id.to_string()).collect()
}

fn unmanaged(g: &Global, s: &Snapshot, at: i64) -> Vec<String> {
    let list = |page: &Page<PortfolioId>| policy::unmanaged_portfolios(g, s, Timestamp(at), page);
    pages(1, list, PortfolioId::clone).iter().map(ToString::to_string).collect()
}

fn is_known(model: &Model, permission: &str) -> bool {
    model.catalogue.iter().any(|entry| entry.name == permission)
}

fn agree_on_effective(model: &Model, g: &Global, s: &Snapshot, q: &Question) {
    let at = |at: i64| {
        let answer = policy::effective_permissions(g, s, &q.subject, &q.portfolio, Timestamp(at));
        answer.map_err(|reason| format!("{reason:?}"))
    };
    let ours = at(q.at);
    let any = Question { permission: "portfolio.view".to_owned(), ..q.clone() };
    let why = model.check(&any).unwrap().1;
    let refused =
        matches!(why, Why::PortfolioUnknown | Why::SubjectUnknown | Why::SubjectDeactivated);
    if refused {
        assert_eq!(ours, Err(format!("{why:?}")));
        return;
    }
    let ours = ours.unwrap();
    let plain: Vec<(String, Reach)> =
        ours.permissions.iter().map(|p| (p.name.to_string(), p.reach)).collect();
    let expected = model.effective(&q.subject, &q.portfolio, q.at);
    assert_eq!(plain, expected.clone().into_iter().collect::<Vec<_>>(), "{q:?}");
    let change = (q.at + 1..115)
        .map(|at| (at, model.effective(&q.subject, &q.portfolio, at)))
        .find(|(_, then)| *then != expected);
    let first = change.as_ref().map(|(at, _)| *at);
    assert_eq!(ours.hold_until.map(|at| at.0), first, "{q:?}");
    for permission in &ours.permissions {
        let author = Some(q.subject.clone()).filter(|_| permission.reach == Reach::Own);
        let asked = Question { permission: permission.name.to_string(), author, ..q.clone() };
        assert_eq!(decide(g, s, &asked).map(|d| d.reason), Some(permission.reason));
        let end = permission.hold_until.map_or(115, |at| at.0);
        let name = permission.name.as_str();
        let reach = |at: i64| model.effective(&q.subject, &q.portfolio, at).get(name).copied();
        assert_eq!(reach(end - 1), Some(permission.reach));
        if permission.hold_until.is_some() {
            assert_ne!(reach(end), Some(permission.reach));
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn acc_8_explanations_are_the_decision_and_the_oracles_routes(
        model in any_world(),
        questions in vec(question(), 20),
        most in 0..4usize,
    ) {
        let (global, snapshot) = compile(&model);
        for q in &questions {
            let decision = decide(&global, &snapshot, q);
            let explanation = explain(&global, &snapshot, q, most);
            prop_assert_eq!(explanation.as_ref().map(|e| e.decision), decision);
            let Some(explanation) = explanation else { continue };
            agree_with_its_routes(&explanation, q);
            agree_on_chains(&model, &explanation, q);
            let above = model.chain(&q.portfolio).into_iter().skip(1).map(|p| p.id.as_str());
            let links = explanation.links.iter().flatten().map(PortfolioId::as_str);
            // What is linked to, but not there, is named all the same.
            prop_assert!(links.take(above.clone().count()).eq(above), "{:?}", q);
            let routes: BTreeSet<Route> = explanation.routes.iter().map(plain_route).collect();
            prop_assert_eq!(routes, model.explained(q), "{:?}", q);
            let roles: Vec<String> =
                explanation.roles.iter().map(ToString::to_string).collect();
            prop_assert_eq!(roles, model.helpful_roles(q), "{:?}", q);
            let expected = model.givers(q, &subjects());
            let givers: Vec<(String, bool)> = explanation
                .givers
                .users
                .iter()
                .map(|giver| (giver.user.to_string(), giver.administrator))
                .collect();
            prop_assert_eq!(explanation.givers.more, expected.len() > most);
            prop_assert_eq!(
                givers,
                expected.into_iter().take(most).collect::<Vec<_>>(),
                "{:?}",
                q
            );
        }
    }

    #[test]
    fn acc_9_portfolios_and_subjects_are_those_that_the_check_allows(
        model in any_world(),
        questions in vec(question(), 12),
        size in 1..4usize,
    ) {
        let (global, snapshot) = compile(&model);
        for q in questions.iter().filter(|q| is_known(&model, &q.permission)) {
            let q = Question { author: None, ..q.clone() };
            let on = |id: &&str| {
                model.allows(&Question { portfolio: (**id).to_owned(), ..q.clone() })
            };
            let ids: BTreeSet<&str> = model.portfolios.iter().map(|p| p.id.as_str()).collect();
            let expected: Vec<&str> = ids.into_iter().filter(on).collect();
            prop_assert_eq!(accessible(&global, &snapshot, &q, size), expected, "{:?}", q);
            let mut allowed = subjects();
            allowed.retain(|who| model.allows(&Question { subject: who.clone(), ..q.clone() }));
            allowed.sort();
            let named = |who: &&Subject| {
                model.grants_on(&q.portfolio).iter().any(|(_, grant)| grant.subject == **who)
            };
            let granted: Vec<Subject> = allowed.iter().filter(named).cloned().collect();
            prop_assert_eq!(with(&global, &snapshot, &q, Whom::Granted, size), granted);
            allowed.retain(|who| who.kind() != "group");
            prop_assert_eq!(with(&global, &snapshot, &q, Whom::Resolved, size), allowed);
        }
    }

    #[test]
    fn vis_10_mem_6_rows_and_unmanaged_portfolios_are_the_oracles(
        model in any_world(),
        who in vec(option::weighted(0.8, select(subjects())), 8),
        at in 88..112i64,
    ) {
        let (global, snapshot) = compile(&model);
        for who in who.iter().map(Option::as_ref) {
            for (view, rows) in VIEWS.iter().zip(all_rows(&global, &snapshot, who, at)) {
                let plain: Vec<Row> = rows.iter().map(plain_row).collect();
                let view = view.map(|view| format!("{view:?}"));
                prop_assert_eq!(plain, model.listed(who, view.as_deref(), at), "{:?}", view);
            }
        }
        let expected = model.unmanaged(at);
        let in_use = |id: &&&str| model.portfolio(id).is_some_and(|portfolio| !portfolio.archived);
        for id in PORTFOLIOS.iter().filter(in_use) {
            let managed = policy::is_managed(&global, &snapshot, id, Timestamp(at));
            prop_assert_eq!(managed, !expected.iter().any(|unmanaged| unmanaged == id));
        }
        prop_assert_eq!(unmanaged(&global, &snapshot, at), expected);
    }

    #[test]
    fn a_world_changed_into_another_lists_and_explains_like_that_one_compiled_anew(
        from in any_world(),
        to in any_world(),
        gone in vec(any::<bool>(), 3),
        questions in vec(question(), 12),
    ) {
        let mut to = to;
        let is_gone = |id: &str| PORTFOLIOS.iter().zip(&gone).any(|(p, gone)| *gone && *p == id);
        to.portfolios.retain(|p| !is_gone(&p.id));
        let (global, snapshot) = compile(&from);
        let (of_all, of_organization) = changes(from.facts(), to.facts());
        let global = global.apply(of_all);
        let changed = snapshot.apply(of_organization, &global);
        let (anew_global, anew) = compile(&to);
        let answers = |g: &Global, s: &Snapshot, q: &Question| {
            let lists = is_known(&to, &q.permission).then(|| (
                accessible(g, s, q, 2),
                with(g, s, q, Whom::Resolved, 2),
                with(g, s, q, Whom::Granted, 2),
            ));
            let rows = all_rows(g, s, Some(&q.subject), q.at);
            (explain(g, s, q, 2), lists, rows, unmanaged(g, s, q.at))
        };
        for q in &questions {
            prop_assert_eq!(answers(&global, &changed, q), answers(&anew_global, &anew, q));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..config() })]

    #[test]
    fn acc_9_effective_permissions_are_those_that_the_check_allows(
        model in any_world(),
        questions in vec(question(), 2),
    ) {
        let (global, snapshot) = compile(&model);
        for q in &questions {
            agree_on_effective(&model, &global, &snapshot, q);
        }
    }
}

/// As for the reasons: whatever explanations and rows may say must come up.
#[test]
fn the_random_worlds_reach_every_route_and_row() {
    let mut runner = TestRunner::deterministic();
    let worlds = (prop_oneof![administered_world(), strange_world()], vec(question(), 30));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut note = |what: String| *seen.entry(what).or_default() += 1;
    for _ in 0..40 {
        let (model, questions) = worlds.new_tree(&mut runner).unwrap().current();
        let (global, snapshot) = compile(&model);
        for q in &questions {
            let explanation = explain(&global, &snapshot, q, 2);
            for route in explanation.iter().flat_map(|explanation| &explanation.routes) {
                note(format!("{:?}", route.effect));
                note(match &route.way {
                    Way::Group { chain, .. } => format!("a chain of {}", chain.len().min(3)),
                    way => format!("{way:?}"),
                });
            }
            for givers in explanation.iter().map(|explanation| &explanation.givers) {
                note(format!("more givers: {}", givers.more));
                for giver in &givers.users {
                    note(format!("a giver, administrator: {}", giver.administrator));
                }
            }
            for row in all_rows(&global, &snapshot, Some(&q.subject), q.at).into_iter().flatten() {
                note(format!("{:?}", row.view));
            }
        }
    }
    let rare: Vec<_> = seen.iter().filter(|(_, count)| **count < 15).collect();
    assert!(seen.len() == 21 && rare.is_empty(), "{seen:#?}");
}
