//! What the rules promise of any world, as properties of every decision in random ones: linked,
//! with items, with administrators, strange.

use std::collections::BTreeSet;

use portcullis::domain::permission::Effect;
use portcullis::domain::{ItemKey, Timestamp};
use portcullis::policy::{self, Global, Snapshot};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::oracle::{Model, Question};
use crate::policy_items::listed;
use crate::policy_properties::{any_world, compile, config, decide};
use crate::worlds::{question_on_item, world_with_items};

/// What being an administrator gives, once more, as DIR-7 says it.
fn is_of_administrators(permission: &str) -> bool {
    permission.starts_with("members.")
        || ["requests.decide", "invitations.view", "portfolio.delete"].contains(&permission)
}

fn without_administrators(model: &Model) -> Model {
    let mut model = model.clone();
    model.users.iter_mut().for_each(|user| user.administrator = false);
    model
}

fn archived(model: &Model, portfolios: bool, items: bool) -> Model {
    let mut model = model.clone();
    model.portfolios.iter_mut().for_each(|portfolio| portfolio.archived = portfolios);
    model.items.iter_mut().for_each(|item| item.archived = items);
    model
}

fn permissions(model: &Model) -> Vec<String> {
    model.catalogue.iter().map(|entry| entry.name.clone()).collect()
}

/// What adds or changes something, apart from comments (VIS-8).
fn adds(model: &Model, permission: &str) -> bool {
    let mut entries = model.catalogue.iter();
    entries.any(|entry| entry.name == permission && entry.effect == Effect::Change)
        && permission != "comment.create"
}

fn held(compiled: &(Global, Snapshot), q: &Question) -> BTreeSet<String> {
    let (on, at) = (q.portfolio.as_str(), Timestamp(q.at));
    let held = policy::holdings(&compiled.0, &compiled.1, &q.subject, on, at);
    held.table().keys().map(ToString::to_string).collect()
}

/// The items that are seen, and how many are not.
fn seen(compiled: &(Global, Snapshot), q: &Question) -> (Vec<ItemKey>, usize) {
    listed((&compiled.0, &compiled.1), q, None, 50)
}

proptest! {
    #![proptest_config(config())]

    /// Administrators of an organization see and do no more in its portfolios, and on what these
    /// show, than anybody else with the same grants.
    #[test]
    fn dir_7_administrators_see_no_content(
        model in world_with_items(any_world()),
        questions in vec(question_on_item(), 12),
    ) {
        let (with, without) = (compile(&model), compile(&without_administrators(&model)));
        for q in &questions {
            for permission in permissions(&model) {
                let q = Question { permission, ..q.clone() };
                let allowed = |(global, snapshot): &(Global, Snapshot)| {
                    decide(global, snapshot, &q).map(|decision| decision.allowed)
                };
                let independent = model.item(&q).is_some_and(|item| item.settings.is_some());
                if independent || !is_of_administrators(&q.permission) {
                    prop_assert_eq!(allowed(&with), allowed(&without), "{:?}", q);
                }
            }
            let mut more: Vec<String> = held(&with, q).into_iter().collect();
            more.retain(|name| !held(&without, q).contains(name));
            prop_assert!(more.iter().all(|name| is_of_administrators(name)), "{:?}", more);
            prop_assert_eq!(seen(&with, q), seen(&without, q), "{:?}", q);
        }
    }

    /// Of what is archived, or reached through what is, nobody may do anything that adds or
    /// changes, and for what reads or removes it makes no difference.
    #[test]
    fn vis_8_archived_denies_every_addition_and_no_removal(
        model in world_with_items(any_world()),
        questions in vec(question_on_item(), 12),
    ) {
        let live = compile(&archived(&model, false, false));
        let halted = compile(&archived(&model, true, false));
        let items = compile(&archived(&model, false, true));
        for q in &questions {
            let on_item = model.item(q).is_some();
            for permission in permissions(&model) {
                let adds = adds(&model, &permission);
                let q = Question { permission, ..q.clone() };
                let before = decide(&live.0, &live.1, &q);
                for (compiled, halts) in [(&halted, true), (&items, on_item)] {
                    let after = decide(&compiled.0, &compiled.1, &q);
                    if !(adds && halts) {
                        prop_assert_eq!(after, before, "{:?}", q);
                        continue;
                    }
                    let (Some(before), Some(after)) = (before, after) else { continue };
                    prop_assert!(!after.allowed, "{:?}", q);
                    let reason = format!("{:?}", after.reason);
                    if before.allowed {
                        prop_assert_eq!(reason, "Archived", "{:?}", q);
                    } else {
                        prop_assert_eq!(after.reason, before.reason, "{:?}", q);
                    }
                }
            }
        }
    }
}
