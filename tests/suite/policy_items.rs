//! Decisions about registered items against the oracle, on random worlds (ACC-5).

use std::collections::BTreeMap;

use portcullis::domain::page::Page;
use portcullis::domain::{ItemKey, ItemType, Timestamp};
use portcullis::policy::{self, Global, Query, RouteEffect, Snapshot, VisibleItems};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::oracle::{Model, Question};
use crate::policy_properties::{
    agree_on_check, any_world, changes, compile, config, decide, strange_world,
};
use crate::worlds::{
    administered_world, linked_world, operation_on_items, question, question_on_item, relinking,
    world_with_items,
};

fn some_world() -> impl Strategy<Value = Model> {
    world_with_items(prop_oneof![administered_world(), linked_world(), strange_world()])
}

/// The permission that lets an item be seen.
fn view_permission(key: &ItemKey) -> &'static str {
    match key.item_type.as_str() {
        "initiative" => "initiative.view",
        "assessment" => "assessment.view",
        _ => "portfolio.view",
    }
}

/// By asking the oracle about every item there is.
fn visible(model: &Model, q: &Question, item_type: Option<&ItemType>) -> (Vec<ItemKey>, usize) {
    let shown = model.items.iter().filter(|item| item.portfolios.contains(&q.portfolio));
    let mut keys: Vec<ItemKey> = shown.map(|item| item.key.clone()).collect();
    keys.retain(|key| item_type.is_none_or(|wanted| key.item_type == *wanted));
    keys.sort_unstable();
    let all = keys.len();
    keys.retain(|key| {
        let permission = view_permission(key).to_owned();
        let item = Some(key.clone());
        let asked = Question { permission, item, author: None, ..q.clone() };
        model.check(&asked).is_some_and(|(allowed, _)| allowed)
    });
    let seen = keys.len();
    (keys, all - seen)
}

pub fn listed(
    (global, snapshot): (&Global, &Snapshot),
    q: &Question,
    item_type: Option<&ItemType>,
    size: usize,
) -> (Vec<ItemKey>, usize) {
    let question = VisibleItems {
        subject: &q.subject,
        portfolio: &q.portfolio,
        item_type,
        at: Timestamp(q.at),
    };
    let mut keys: Vec<ItemKey> = Vec::new();
    loop {
        let page = Page { after: keys.last().cloned(), size };
        let found = policy::visible_items(global, snapshot, &question, &page).unwrap();
        keys.extend(found.rows.into_iter().map(|(key, _)| key));
        if !found.more {
            break;
        }
    }
    (keys, policy::withheld_items(global, snapshot, &question).unwrap())
}

/// The properties are worth what the worlds are worth.
#[test]
fn the_worlds_with_items_reach_every_reason() {
    let mut runner = TestRunner::deterministic();
    let worlds = (world_with_items(administered_world()), vec(question_on_item(), 60));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..150 {
        let (model, questions) = worlds.new_tree(&mut runner).unwrap().current();
        let (global, snapshot) = compile(&model);
        for q in questions.iter().filter(|q| model.item(q).is_some()) {
            let Some(decision) = decide(&global, &snapshot, q) else { continue };
            *seen.entry(format!("{:?}", decision.reason)).or_default() += 1;
            let independent = model.item(q).is_some_and(|item| item.settings.is_some());
            if independent && decision.hold_until.is_some() {
                let what = if decision.allowed { "allowed" } else { "denied" };
                *seen.entry(format!("{what} for a while")).or_default() += 1;
            }
        }
    }
    let rare: Vec<_> = seen.iter().filter(|(_, count)| **count < 2).collect();
    let needed = ["ItemUnknown", "ItemNoAccess", "allowed for a while", "denied for a while"];
    let reached = needed.iter().all(|what| seen.contains_key(*what));
    assert!(seen.len() >= 15 && rare.is_empty() && reached, "{seen:#?}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn acc_4_acc_5_acc_10_every_decision_about_an_item_is_the_oracles(
        model in some_world(),
        questions in vec(question_on_item(), 30),
    ) {
        let (global, snapshot) = compile(&model);
        for q in &questions {
            agree_on_check(&model, &global, &snapshot, q);
        }
    }

    #[test]
    fn acc_5_what_names_no_item_is_decided_as_if_there_were_none(
        model in any_world(),
        items in some_world(),
        questions in vec(question(), 20),
    ) {
        let with = Model { items: items.items, ..model.clone() };
        let ((global, snapshot), (_, shown)) = (compile(&model), compile(&with));
        for q in &questions {
            prop_assert_eq!(decide(&global, &shown, q), decide(&global, &snapshot, q));
        }
    }

    #[test]
    fn acc_5_changes_of_items_decide_like_everything_compiled_anew(
        model in some_world(),
        operations in vec(prop_oneof![4 => operation_on_items(), 1 => relinking()], 1..12),
        questions in vec(question_on_item(), 30),
    ) {
        let mut model = model;
        let (mut global, mut snapshot) = compile(&model);
        for operation in &operations {
            let before = model.facts();
            model.perform(operation);
            let (of_all, of_organization) = changes(before, model.facts());
            global = global.apply(of_all);
            snapshot = snapshot.apply(of_organization, &global);
        }
        let (anew_global, anew) = compile(&model);
        for q in &questions {
            prop_assert_eq!(decide(&global, &snapshot, q), decide(&anew_global, &anew, q));
            agree_on_check(&model, &global, &snapshot, q);
            let patched = listed((&global, &snapshot), q, None, 2);
            prop_assert_eq!(patched, visible(&model, q, None), "{:?}", q);
        }
    }

    #[test]
    fn acc_6_the_visible_items_are_those_that_the_check_allows(
        model in some_world(),
        questions in vec(question_on_item(), 12),
    ) {
        let (global, snapshot) = compile(&model);
        for q in &questions {
            let item_type = q.item.as_ref().map(|key| &key.item_type);
            for size in [1, 50] {
                let found = listed((&global, &snapshot), q, item_type, size);
                prop_assert_eq!(found, visible(&model, q, item_type), "{:?}", q);
            }
        }
    }

    #[test]
    fn acc_8_explanations_of_items_say_what_the_check_says(
        model in some_world(),
        questions in vec(question_on_item(), 20),
    ) {
        let (global, snapshot) = compile(&model);
        for q in &questions {
            let query = Query {
                subject: &q.subject,
                permission: &q.permission,
                portfolio: &q.portfolio,
                author: q.author.as_ref(),
                item: q.item.as_ref(),
                at: Timestamp(q.at),
            };
            let Ok(decision) = policy::check(&global, &snapshot, &query) else { continue };
            let found = policy::explain(&global, &snapshot, &query, 5).unwrap();
            prop_assert_eq!(found.decision, decision, "{:?}", q);
            let allows = |on_item: bool| {
                let routes = found.routes.iter().filter(|route| route.on_item == on_item);
                routes.filter(|route| route.effect == RouteEffect::Allows).count() > 0
            };
            let explained = match found.independent_item {
                true => allows(true) && allows(false),
                false => allows(false),
            };
            prop_assert_eq!(explained, decision.allowed, "{:?} {:?}", q, found);
        }
    }
}
