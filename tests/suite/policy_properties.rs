//! The decider against the oracle, on random worlds.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use portcullis::domain::fact::{
    GlobalChanges, GlobalFacts, OrganizationChanges, OrganizationFacts,
};
use portcullis::domain::role::Reach;
use portcullis::domain::{Subject, Timestamp};
use portcullis::policy::{self, Global, Holdings, Query, Route, Snapshot};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::oracle::{Grant, Model, Question, Role, in_force};
use crate::worlds::{
    PORTFOLIOS, administered_world, linked, linked_world, operation, question, relinking, subjects,
};

/// A world with what a write would refuse but a decision must survive: roles of any table, grants
/// of roles that nobody has defined, to subjects that nobody knows, a group in itself, and an
/// organization access role of any kind.
pub fn strange_world() -> impl Strategy<Value = Model> {
    let reach = prop_oneof![Just(None), Just(Some(Reach::Own)), Just(Some(Reach::Any))];
    let cells = vec(reach, 34);
    let role = || select(vec!["custom", "undefined", "viewer"]);
    let grants = vec((select(PORTFOLIOS.to_vec()), select(subjects()), role()), 0..8);
    let loops = vec((0..6usize, 0..6usize), 0..3);
    let open_as = select(vec!["custom", "undefined", "viewer", "manager"]);
    (administered_world(), cells.clone(), cells, grants, loops, open_as).prop_map(
        |(mut model, custom, viewer, grants, loops, open_as)| {
            let names: Vec<String> = model.catalogue.iter().map(|e| e.name.clone()).collect();
            let table = |cells: Vec<Option<Reach>>| {
                names.iter().cloned().zip(cells).filter_map(|(n, r)| Some((n, r?))).collect()
            };
            model.roles.retain(|role| role.key != "viewer");
            model.roles.push(Role { key: "viewer".to_owned(), cells: table(viewer) });
            model.roles.push(Role { key: "custom".to_owned(), cells: table(custom) });
            for (portfolio, subject, role) in grants {
                for p in model.portfolios.iter_mut().filter(|p| p.id == portfolio) {
                    let subject = subject.clone();
                    let role = role.to_owned();
                    p.grants.push(Grant { subject, role, start: None, expire: None });
                }
            }
            for (inner, outer) in loops {
                let inner = crate::oracle::group(&format!("g{inner}"));
                if !model.groups[outer].members.contains(&inner) {
                    model.groups[outer].members.push(inner);
                }
            }
            open_as.clone_into(&mut model.portfolios[0].organization_access_role);
            model
        },
    )
}

pub fn any_world() -> impl Strategy<Value = Model> {
    prop_oneof![administered_world(), linked_world(), strange_world(), strangely_linked_world()]
}

/// A strange world with links that lead anywhere: in circles, too far, to what is not there.
fn strangely_linked_world() -> impl Strategy<Value = Model> {
    let links = vec((option::of(0..6usize), option::of(0..4usize), 0..17usize), 3);
    (strange_world(), links).prop_map(|(model, links)| linked(model, links))
}

pub fn compile(model: &Model) -> (Global, Snapshot) {
    let (global, organization) = model.facts();
    let global = Global::compile(global);
    let snapshot = Snapshot::compile(organization, &global);
    (global, snapshot)
}

pub fn decide(global: &Global, snapshot: &Snapshot, q: &Question) -> Option<policy::Decision> {
    let query = Query {
        subject: &q.subject,
        permission: &q.permission,
        portfolio: &q.portfolio,
        author: q.author.as_ref(),
        item: q.item.as_ref(),
        at: Timestamp(q.at),
    };
    policy::check(global, snapshot, &query).ok()
}

fn plain(holdings: &Holdings) -> BTreeMap<String, Reach> {
    holdings.table().iter().map(|(name, reach)| (name.to_string(), *reach)).collect()
}

pub fn agree_on_check(model: &Model, global: &Global, snapshot: &Snapshot, q: &Question) {
    let ours = decide(global, snapshot, q);
    let expected = model.check(q);
    let answer = ours.map(|decision| (decision.allowed, format!("{:?}", decision.reason)));
    assert_eq!(answer, expected.map(|(allowed, why)| (allowed, format!("{why:?}"))), "{q:?}");
    let hold_until = ours.and_then(|decision| decision.hold_until);
    assert_eq!(hold_until.map(|at| at.0), model.hold_until(q), "hold_until of {q:?}");
}

fn agree_on_the_rest(model: &Model, global: &Global, snapshot: &Snapshot, q: &Question) {
    let (who, on, at) = (&q.subject, q.portfolio.as_str(), Timestamp(q.at));
    let listed = policy::may_list(global, snapshot, who, on, at);
    assert_eq!(listed, model.may_list(who, on, q.at), "may_list {q:?}");
    let held = plain(&policy::holdings(global, snapshot, who, on, at));
    assert_eq!(held, model.holdings(who, on, q.at), "holdings {q:?}");
    let administers = policy::is_administrator(global, snapshot, who);
    let expected = model.is_administrator(who) && !model.is_deactivated(who);
    assert_eq!(administers, expected, "is_administrator {who}");
    let internal = policy::is_internal(snapshot, who);
    assert_eq!(internal, model.is_internal(who), "is_internal {who}");
    let creates = policy::may_create_portfolios(global, snapshot, who);
    assert_eq!(creates, model.may_create_portfolios(who), "may_create_portfolios {who}");
    let routes: BTreeSet<String> =
        policy::routes(snapshot, who, on, at).into_iter().map(route).collect();
    assert_eq!(routes, model.routes(who, on, q.at), "routes {q:?}");
    let kept = plain(&policy::explicit_holdings(global, snapshot, who, on, at));
    assert_eq!(kept, explicit_holdings(model, who, on, q.at), "explicit_holdings {q:?}");
}

fn route(route: Route) -> String {
    match route {
        Route::Direct => "direct".to_owned(),
        Route::Group(id) => format!("[{id}]"),
        Route::OrganizationAccess => "open".to_owned(),
        Route::Administrator => "administrator".to_owned(),
    }
}

/// By what the oracle finds held at any instant from `at` on, in a world without openness, where
/// nobody is deactivated.
fn explicit_holdings(
    model: &Model,
    subject: &Subject,
    portfolio: &str,
    at: i64,
) -> BTreeMap<String, Reach> {
    let mut model = model.clone();
    model.users.iter_mut().for_each(|user| user.deactivated = false);
    model.service_accounts.iter_mut().for_each(|account| account.active = true);
    model.users.iter_mut().for_each(|user| user.administrator = false);
    for p in &mut model.portfolios {
        p.visibility = portcullis::domain::access_settings::Visibility::Private;
        for grant in &mut p.grants {
            let ever = (at..=112).any(|then| in_force(grant, then));
            (grant.start, grant.expire) = if ever { (None, None) } else { (None, Some(at)) };
        }
    }
    model.holdings(subject, portfolio, at)
}

/// What changed between two sets of facts, as the feed would name it.
pub fn changes(
    before: (GlobalFacts, OrganizationFacts),
    after: (GlobalFacts, OrganizationFacts),
) -> (GlobalChanges, OrganizationChanges) {
    let statuses = [(&before.0, false), (&after.0, true)]
        .into_iter()
        .flat_map(|(facts, now)| facts.deactivated.iter().map(move |user| (user.clone(), now)))
        .collect();
    let global = GlobalChanges { permissions: after.0.permissions, statuses };
    let (old, new) = (before.1, after.1);
    let organization = OrganizationChanges {
        roles: difference(old.roles, new.roles, |fact| fact.key.clone()),
        subjects: difference(old.subjects, new.subjects, |fact| fact.subject.clone()),
        portfolios: difference(old.portfolios, new.portfolios, |fact| fact.id.clone()),
        items: difference(old.items, new.items, |fact| fact.key.clone()),
    };
    (global, organization)
}

fn difference<K: Clone + Eq + Hash, F: PartialEq>(
    old: Vec<F>,
    new: Vec<F>,
    key: impl Fn(&F) -> K,
) -> Vec<(K, Option<F>)> {
    let kept: Vec<K> = new.iter().map(&key).collect();
    let gone = old.iter().map(&key).filter(|k| !kept.contains(k)).map(|k| (k, None));
    let mut changed: Vec<(K, Option<F>)> = gone.collect();
    let fresh = new.into_iter().filter(|fact| !old.contains(fact));
    changed.extend(fresh.map(|fact| (key(&fact), Some(fact))));
    changed
}

/// The properties are worth what the worlds are worth: every reason must come up, and answers that
/// hold for a while both ways.
#[test]
fn the_random_worlds_reach_every_reason() {
    let mut runner = TestRunner::deterministic();
    let worlds = (prop_oneof![administered_world(), strange_world()], vec(question(), 60));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..60 {
        let (model, questions) = worlds.new_tree(&mut runner).unwrap().current();
        let (global, snapshot) = compile(&model);
        for q in &questions {
            let Some(decision) = decide(&global, &snapshot, q) else {
                *seen.entry("UnknownPermission".to_owned()).or_default() += 1;
                continue;
            };
            *seen.entry(format!("{:?}", decision.reason)).or_default() += 1;
            if decision.hold_until.is_some() {
                let what = if decision.allowed { "allowed" } else { "denied" };
                *seen.entry(format!("{what} for a while")).or_default() += 1;
            }
        }
    }
    let rare: Vec<_> = seen.iter().filter(|(_, count)| **count < 15).collect();
    assert!(seen.len() == 16 && rare.is_empty(), "{seen:#?}");
}

pub fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn acc_2_acc_3_acc_4_acc_10_every_decision_is_the_oracles(
        model in any_world(),
        questions in vec(question(), 30),
    ) {
        let (global, snapshot) = compile(&model);
        for q in &questions {
            agree_on_check(&model, &global, &snapshot, q);
        }
    }

    #[test]
    fn vis_2_rol_7_dir_8_lists_holdings_and_routes_are_the_oracles(
        model in any_world(),
        questions in vec(question(), 12),
    ) {
        let (global, snapshot) = compile(&model);
        for q in &questions {
            agree_on_the_rest(&model, &global, &snapshot, q);
        }
    }

    #[test]
    fn changes_applied_one_by_one_decide_like_everything_compiled_anew(
        model in any_world(),
        operations in vec(prop_oneof![3 => operation(), 2 => relinking()], 1..12),
        questions in vec(question(), 30),
    ) {
        let mut model = model;
        let (mut global, mut snapshot) = compile(&model);
        let first = snapshot.clone();
        let answers = |g: &Global, s: &Snapshot| -> Vec<_> {
            questions.iter().map(|q| decide(g, s, q)).collect()
        };
        let first_global = global.clone();
        let first_answers = answers(&global, &snapshot);
        for operation in &operations {
            let before = model.facts();
            model.perform(operation);
            let (of_all, of_organization) = changes(before, model.facts());
            global = global.apply(of_all);
            snapshot = snapshot.apply(of_organization, &global);
        }
        let (anew_global, anew) = compile(&model);
        prop_assert_eq!(answers(&global, &snapshot), answers(&anew_global, &anew));
        for q in questions.iter().take(4) {
            agree_on_check(&model, &global, &snapshot, q);
            agree_on_the_rest(&model, &global, &snapshot, q);
        }
        // Whoever still holds the first snapshot sees nothing of all that.
        prop_assert_eq!(answers(&first_global, &first), first_answers);
    }

    /// Unlinked with a copy of what is in force, a portfolio and everything linked to it decide as
    /// before: for the oracle as for us.
    #[test]
    fn inh_4_nobody_gains_or_loses_by_unlinking(
        model in linked_world(),
        which in any::<proptest::sample::Index>(),
        questions in vec(question(), 40),
    ) {
        let (global, snapshot) = compile(&model);
        let linked: Vec<&str> =
            model.portfolios.iter().filter(|p| p.link.is_some()).map(|p| p.id.as_str()).collect();
        prop_assume!(!linked.is_empty());
        let id = *which.get(&linked);
        let mut copied = model.clone();
        let copy = model.unlinked(id).unwrap();
        for portfolio in copied.portfolios.iter_mut().filter(|p| p.id == id) {
            *portfolio = copy.clone();
        }
        let (_, of_organization) = changes(model.facts(), copied.facts());
        let unlinked = snapshot.apply(of_organization, &global);
        for q in &questions {
            prop_assert_eq!(copied.check(q), model.check(q), "the oracle: {:?}", q);
            prop_assert_eq!(decide(&global, &unlinked, q), decide(&global, &snapshot, q));
            let (who, on, at) = (&q.subject, q.portfolio.as_str(), Timestamp(q.at));
            let listed = |of| policy::may_list(&global, of, who, on, at);
            prop_assert_eq!(listed(&unlinked), listed(&snapshot));
        }
    }

    #[test]
    fn acc_10_an_answer_holds_until_the_instant_it_names_and_no_longer(
        model in administered_world(),
        questions in vec(question(), 10),
    ) {
        let (global, snapshot) = compile(&model);
        for q in &questions {
            let Some(decision) = decide(&global, &snapshot, q) else { continue };
            let end = decision.hold_until.map_or(120, |at| at.0);
            for at in q.at..end {
                let then = decide(&global, &snapshot, &Question { at, ..q.clone() });
                prop_assert_eq!(then.map(|d| d.allowed), Some(decision.allowed));
            }
            if decision.hold_until.is_some() {
                let then = decide(&global, &snapshot, &Question { at: end, ..q.clone() });
                prop_assert_eq!(then.map(|d| d.allowed), Some(!decision.allowed));
            }
        }
    }
}
