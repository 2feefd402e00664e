//! Items: what is registered, changed, taken away, and refused before anything is done.

use super::*;
use crate::cli::apply::prune::prune;
use crate::cli::inventory::{Inventory, in_force};

const ITEMS: &str = "
items:
  - type: board
    id: sky
    portfolios: [zeus, apollo]
    author: user:bob
    owner: ann
    independent: true
    visibility: restricted
    grants:
      - {subject: 'user:bob', role: contributor, expire_time: 2030-01-01T00:00:00Z}
      - {subject: 'group:outer', role: viewer}
  - {type: goal, id: moon, display_name: The moon, portfolios: [apollo], archived: true}
";

fn with_items(replace: &[(&str, &str)]) -> File {
    let mut content = format!("{FILE}  - {{id: zeus, owner: ann, visibility: private}}\n{ITEMS}");
    for (old, new) in replace {
        assert!(content.contains(old), "{old}");
        content = content.replace(old, new);
    }
    File::parse("f.yaml", &content).unwrap()
}

/// A server that holds what the file says.
fn held() -> Present {
    applied(&plan(&with_items(&[]), &Present::default(), NOW))
}

fn mistakes(item: &str) -> String {
    let content = format!("organization: {{id: acme}}\nitems: [{item}]");
    File::parse("f.yaml", &content).map_or_else(|error| error.message, |_| String::new())
}

#[test]
fn acc_5_items_come_after_what_they_name_each_with_its_grants_in_one_call() {
    let plan = plan(&with_items(&[]), &Present::default(), NOW);
    let told: Vec<_> = plan.changes.iter().map(ToString::to_string).collect();
    let first = told.iter().position(|line| line.starts_with("+ item")).unwrap();
    assert_eq!(told[first - 1], "+ portfolio zeus, private, owner ann");
    assert_eq!(
        told[first..first + 4],
        [
            "+ item board:sky on zeus apollo, independent, restricted, owner ann",
            "+ item board:sky: user:bob as contributor until 2030-01-01T00:00:00Z",
            "+ item board:sky: group:outer as viewer",
            "+ item goal:moon on apollo, archived",
        ]
    );
    let calls = plan.changes.chunk_by(Change::joins).map(<[Change]>::len);
    let calls: Vec<_> = calls.collect();
    assert_eq!(calls.iter().filter(|length| **length == 3).count(), 1, "{calls:?}");
    assert_eq!(plan.count(Kind::Item, Action::Add), 2);
}

#[test]
fn items_that_are_there_are_not_changed() {
    assert_eq!(lines(&with_items(&[]), &held()), Vec::<String>::new());
    // Left out, so left alone.
    let silent = with_items(&[
        ("    author: user:bob\n    owner: ann\n", ""),
        ("    visibility: restricted\n", ""),
        ("      - {subject: 'group:outer', role: viewer}\n  - {type", "  - {type"),
        ("display_name: The moon, ", ""),
        (", archived: true", ""),
    ]);
    assert_eq!(lines(&silent, &held()), Vec::<String>::new());
}

#[test]
fn what_differs_on_items_is_told_with_old_and_new() {
    let changed = with_items(&[
        ("[zeus, apollo]", "[zeus]"),
        ("    owner: ann\n    independent", "    owner: bob\n    independent"),
        ("visibility: restricted", "visibility: private"),
        (
            "role: contributor, expire_time: 2030-01-01T00:00:00Z}\n      - {subject: \
             'group:outer', role: viewer}\n  - {type",
            "role: viewer}\n      - {subject: 'user:ann', role: manager}\n  - {type",
        ),
        ("The moon", "Moon"),
        ("archived: true", "archived: false"),
    ]);
    let present = held();
    assert_eq!(
        lines(&changed, &present),
        [
            "~ item board:sky: portfolios apollo zeus -> zeus, owner ann -> bob, \
             visibility restricted -> private",
            "+ item board:sky: user:ann as manager",
            "~ item board:sky: user:bob: contributor until 2030-01-01T00:00:00Z -> viewer",
            "~ item goal:moon: display name The moon -> Moon, archived on -> off",
        ]
    );
    let plan = plan(&changed, &present, NOW);
    let calls: Vec<_> = plan.changes.chunk_by(Change::joins).map(<[Change]>::len).collect();
    assert_eq!(calls, [3, 1]);
}

#[test]
fn rol_7_items_change_before_a_role_manages_access_and_before_portfolios_go() {
    let mut plan = Plan {
        changes: vec![
            Change::DeletePortfolio { portfolio: "p".to_owned(), etag: String::new() },
            Change::DeleteItem(v1::Item::default()),
            Change::UpdateItem(v1::Item::default(), Differences::default()),
        ],
        ..Plan::default()
    };
    let cell = v1::RolePermission { permission: "access.manage".to_owned(), ..Default::default() };
    let role = v1::Role { permissions: vec![cell], ..v1::Role::default() };
    plan.changes.insert(0, Change::UpdateRole(role, Differences::default()));
    plan.sort();
    let kinds: Vec<_> = plan.changes.iter().map(Change::kind).collect();
    assert_eq!(kinds, [Kind::Item, Kind::Role, Kind::Item, Kind::Portfolio]);
}

#[test]
fn acc_5_what_never_changes_on_an_item_stops_everything() {
    let told = conflict(&with_items(&[("author: user:bob", "author: user:ann")]), &held());
    assert!(told.starts_with("item `board:sky`: author user:bob -> user:ann: this"), "{told}");
    let following = "{type: goal, id: moon, independent: true, display_name";
    let told =
        conflict(&with_items(&[("{type: goal, id: moon, display_name", following)]), &held());
    assert!(told.starts_with("item `goal:moon`: independent off -> on: this"), "{told}");
}

#[test]
fn vis_8_what_is_archived_and_stays_so_is_not_changed() {
    let told = conflict(&with_items(&[("The moon", "Moon")]), &held());
    assert!(told.starts_with("item `goal:moon` is archived, so nothing else of it"), "{told}");
}

#[test]
fn whoever_and_whatever_items_name_must_be_known() {
    let (place, text) = ("`items[0].portfolios[0]`: ", "is neither in the file nor in the");
    let told = conflict(&with_items(&[("[zeus, apollo]", "[hera, apollo]")]), &Present::default());
    assert!(told.starts_with(&format!("{place}`hera` {text}")), "{told}");
    // On the server is known too, if it is of the organization.
    let elsewhere = with_items(&[("[zeus, apollo]", "[hera, apollo]")]);
    for (organization, conflicts) in [("acme", 0), ("other", 1)] {
        let places = HashMap::from([("hera".to_owned(), organization.to_owned())]);
        let plan = plan(&elsewhere, &Present { places, ..Present::default() }, NOW);
        assert_eq!(plan.conflicts.len(), conflicts, "{:?}", plan.conflicts);
    }
    for (old, new, told) in [
        ("author: user:bob", "author: user:zoe", "`items[0].author`: `user:zoe` is neither in"),
        (
            "    owner: ann\n    independent",
            "    owner: zoe\n    independent",
            "`items[0].owner`: `user:zoe` is neither",
        ),
        (
            "visibility: restricted",
            "organization_access_role: scout",
            "`items[0].organization_access_role`: there is no role `scout`",
        ),
        (
            "visibility: restricted",
            "organization_access_role: manager",
            "`items[0].organization_access_role`: `manager` holds",
        ),
        (
            "role: contributor, expire_time: 2030-01-01T00:00:00Z}\n      - {subject: \
             'group:outer', role: viewer}\n  - {type",
            "role: scout}\n  - {type",
            "`items[0].grants[0].role`: there is no role `scout`",
        ),
    ] {
        let conflict = conflict(&with_items(&[(old, new)]), &Present::default());
        assert!(conflict.starts_with(told), "{conflict}");
    }
}

#[test]
fn mem_9_access_to_an_item_that_has_ended_is_not_given_again() {
    let later = plan(&with_items(&[]), &Present::default(), "2030-01-01T00:00:00Z");
    let told: Vec<_> = later.changes.iter().map(ToString::to_string).collect();
    assert!(!told.iter().any(|line| line.contains("board:sky: user:bob")), "{told:?}");
    assert!(later.notes.contains(
        &"item board:sky: the access of user:bob has ended by its date; not given again".to_owned()
    ));
    // As it is read, one that has begun says no more when.
    let [past, now] = ["2025-01-01T00:00:00Z", NOW].map(|time| text::parse_time(time).unwrap());
    let grant = |start: Option<_>, expire: Option<_>| v1::ItemGrant {
        start_time: start.map(text::time_message),
        expire_time: expire.map(text::time_message),
        ..v1::ItemGrant::default()
    };
    let grants = vec![grant(Some(past), None), grant(None, Some(now))];
    let read = in_force(v1::Item { grants, ..v1::Item::default() }, now);
    assert_eq!(read.grants, [grant(None, None)]);
}

#[test]
fn bad_1_what_an_item_gets_wrong_is_told_with_its_place() {
    assert_eq!(mistakes("{type: board, id: b, portfolios: [p]}"), "");
    for (entry, told) in [
        ("{type: 'a:b', id: b, portfolios: [p]}", "`a:b` is no type of an item"),
        ("{type: '', id: b, portfolios: [p]}", "`` is no type of an item"),
        ("{type: board, id: 'b b', portfolios: [p]}", "`b b` contains ' '"),
        ("{type: board, id: b}", "missing field `portfolios`"),
        ("{type: board, id: b, portfolios: []}", "`items[0].portfolios`: has 0; 1 to 100"),
        (
            "{type: board, id: b, portfolios: [p, q]}",
            "`items[0].portfolios`: has 2; an item that is not `independent` follows exactly one",
        ),
        (
            "{type: board, id: b, independent: true, portfolios: [p, q, p]}",
            "`items[0].portfolios[2]`: `p` comes twice",
        ),
        (
            "{type: board, id: b, portfolios: [p]}, {type: board, id: b, portfolios: [q]}",
            "`items[1].id`: `board:b` comes twice; `items[0]` has it too",
        ),
        (
            "{type: board, id: b, portfolios: [p], visibility: open}",
            "`items[0].visibility`: needs `independent: true` beside it",
        ),
        (
            "{type: board, id: b, portfolios: [p], grants: [{subject: 'user:a', role: r}]}",
            "`items[0].grants`: needs `independent: true` beside it",
        ),
        (
            "{type: board, id: b, portfolios: [p], author: 'group:g'}",
            "`items[0].author`: must be a user or a service account",
        ),
        (
            "{type: board, id: b, portfolios: [p], independent: true, grants: [{subject: \
             'user:a', role: r}, {subject: 'user:a', role: r}]}",
            "`items[0].grants[1]`: `user:a as r` comes twice",
        ),
        (
            "{type: board, id: b, portfolios: [p], independent: true, grants: [{subject: \
             'user:a', role: r, start_time: 2030-01-01T00:00:00Z, expire_time: \
             2030-01-01T00:00:00Z}]}",
            "`items[0].grants[0].expire_time`: must be after",
        ),
    ] {
        let mistakes = mistakes(entry);
        assert!(mistakes.contains(told), "{entry}: {mistakes}");
    }
    // Several roles of one subject are fine.
    let several = "grants: [{subject: 'user:a', role: r}, {subject: 'user:a', role: s}]";
    let several = format!("{{type: board, id: b, portfolios: [p], independent: true, {several}}}");
    assert_eq!(mistakes(&several), "");
}

/// What is taken away from a server that holds the file's items, and more.
fn removals(file: &File) -> Plan {
    let mut present = held();
    let extra = Change::SetItemGrants {
        organization: "acme".to_owned(),
        item: "board:sky".parse().unwrap(),
        subject: "user:zoe".parse().unwrap(),
        was: Vec::new(),
        terms: vec![Terms { role: "viewer".to_owned(), start: None, expire: None }],
    };
    apply(extra, &mut present);
    let sun = v1::Item { r#type: "goal".to_owned(), id: "sun".to_owned(), ..v1::Item::default() };
    let items = present.items.into_values().chain([sun]).collect();
    let mut plan = Plan::default();
    prune(file, &Inventory { items, ..Inventory::default() }, &mut plan);
    plan
}

#[test]
fn items_and_grants_on_them_that_the_file_does_not_have_are_taken_away() {
    let pruned = removals(&with_items(&[]));
    let told: Vec<_> = pruned.changes.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["- item board:sky: user:zoe as viewer", "- item goal:sun, for good"]);
    assert_eq!(pruned.removals(), 2);
    let without = format!("{FILE}  - {{id: zeus, owner: ann, visibility: private}}\n");
    let without = File::parse("f.yaml", &without).unwrap();
    assert_eq!(removals(&without).changes, [], "a list that is left out is left alone");
    let archived = "visibility: restricted\n    archived: true";
    let archived = removals(&with_items(&[("visibility: restricted", archived)]));
    let told: Vec<_> = archived.changes.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], "- item board:sky: user:zoe as viewer", "it becomes so in the same call");
}
