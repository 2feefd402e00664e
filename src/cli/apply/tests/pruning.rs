//! What `--prune` takes away, and in which order.

use super::*;
use crate::cli::apply::prune::prune;
use crate::cli::inventory::{HeldGroup, HeldPortfolio, Inventory};

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

fn user(id: &str) -> v1::User {
    v1::User { id: id.to_owned(), ..v1::User::default() }
}

fn group(id: &str, members: &[&str]) -> HeldGroup {
    let group = v1::Group { id: id.to_owned(), ..v1::Group::default() };
    HeldGroup { group, members: members.iter().map(|text| subject(text)).collect() }
}

fn member(role: &str, ownership: bool) -> v1::Member {
    let active = v1::AccessState::Active as i32;
    let grant =
        v1::Grant { role: role.to_owned(), ownership, state: active, ..v1::Grant::default() };
    v1::Member { grants: vec![grant], ..v1::Member::default() }
}

/// What `FILE` describes, and more.
fn more() -> Inventory {
    let account = |id: &str, status: v1::UserStatus| v1::ServiceAccount {
        id: id.to_owned(),
        status: status as i32,
        ..v1::ServiceAccount::default()
    };
    let portfolio = |id: &str, members: &[(&str, v1::Member)]| HeldPortfolio {
        portfolio: v1::Portfolio { id: id.to_owned(), ..v1::Portfolio::default() },
        members: members.iter().map(|(text, held)| (subject(text), held.clone())).collect(),
        ..HeldPortfolio::default()
    };
    let gone = v1::User { status: v1::UserStatus::Deactivated as i32, ..user("gone") };
    Inventory {
        organization: v1::Organization {
            id: "acme".to_owned(),
            administrators: vec!["ann".to_owned(), "zoe".to_owned()],
            ..v1::Organization::default()
        },
        roles: [("scout", false), ("scribe", false), ("viewer", true)]
            .map(|(key, built_in)| v1::Role {
                key: key.to_owned(),
                built_in,
                ..v1::Role::default()
            })
            .to_vec(),
        users: vec![user("ann"), gone, user("zoe")],
        service_accounts: vec![
            account("ci", v1::UserStatus::Active),
            account("old", v1::UserStatus::Deactivated),
        ],
        groups: vec![
            group("extra", &["group:inner", "user:zoe"]),
            group("inner", &["group:outer", "user:bob", "user:zoe"]),
            group("outer", &["group:inner", "user:ann"]),
        ],
        portfolios: vec![
            portfolio(
                "apollo",
                &[
                    ("user:ann", member("manager", true)),
                    ("user:bob", member("contributor", false)),
                    ("user:zoe", member("viewer", false)),
                ],
            ),
            portfolio("zeus", &[("user:zoe", member("manager", true))]),
        ],
        affiliations: vec![affiliation("bob", "coach"), affiliation("zoe", "coach")],
        function_ceilings: vec![v1::FunctionCeiling {
            organization: "acme".to_owned(),
            function: "coach".to_owned(),
            portfolio_type: "plan".to_owned(),
            role: "viewer".to_owned(),
        }],
        items: Vec::new(),
    }
}

fn affiliation(user: &str, function: &str) -> v1::Affiliation {
    let (organization, user) = ("acme".to_owned(), user.to_owned());
    v1::Affiliation { organization, user, function: function.to_owned() }
}

#[test]
fn dir_3_mem_10_functions_and_ceilings_that_the_file_does_not_have_are_taken_away() {
    let bob = "bob@acme.example";
    let removed = |replace: &[(&str, &str)]| {
        let mut told = removals(&file(replace), &more());
        told.retain(|line| line.contains("coach"));
        told
    };
    assert_eq!(removed(&[]), Vec::<String>::new(), "the file says nothing of them");
    assert_eq!(removed(&[(bob, &format!("{bob}, affiliations: [coach]"))]), Vec::<String>::new());
    let none = [
        (bob, &*format!("{bob}, affiliations: [tutor]")),
        ("groups:", "function_ceilings: [{function: coach, role: viewer}]\ngroups:"),
    ];
    let expected = ["- function ceiling coach on plan: viewer", "- user bob: affiliation coach"];
    assert_eq!(removed(&none), expected);
}

fn removals(file: &File, inventory: &Inventory) -> Vec<String> {
    let mut plan = Plan::default();
    prune(file, inventory, &mut plan);
    assert!(plan.changes.iter().all(|change| change.action() == Action::Remove));
    plan.changes.iter().map(ToString::to_string).collect()
}

#[test]
fn what_the_file_does_not_have_is_taken_away_in_an_order_that_works() {
    let file = file(&[
        ("Acme}", "Acme, administrators: [ann]}"),
        ("groups:", "service_accounts: []\nroles: [{key: scribe}]\ngroups:"),
    ]);
    assert_eq!(
        removals(&file, &more()),
        [
            "- organization acme: administrators ann zoe -> ann",
            // Groups leave groups first: the file's nesting could be the other way round.
            "- group extra: member group:inner",
            "- group inner: member group:outer",
            "- portfolio apollo: user:zoe as viewer",
            "- group inner: member user:zoe",
            "- group extra",
            "- portfolio zeus, for good",
            "- role scout",
            "- service account ci: status active -> deactivated",
            "- user zoe: status active -> deactivated",
        ]
    );
}

#[test]
fn lists_that_the_file_leaves_out_are_left_alone() {
    let file = File::parse("f.yaml", "organization: {id: acme}").unwrap();
    assert_eq!(removals(&file, &more()), Vec::<String>::new());
    let file = File::parse("f.yaml", "organization: {id: acme}\nportfolios: []").unwrap();
    let expected = ["- portfolio apollo, for good", "- portfolio zeus, for good"];
    assert_eq!(removals(&file, &more()), expected);
}

#[test]
fn who_is_named_anywhere_stays() {
    let file = file(&[
        ("'user:bob', role", "'user:zoe', role"),
        ("'group:outer', role", "'group:extra', role"),
    ]);
    let told = removals(&file, &more()).join("\n");
    assert!(!told.contains("user zoe: status"), "{told}");
    assert!(!told.contains("group extra"), "{told}");
    assert!(told.contains("- portfolio apollo: user:bob as contributor"), "{told}");
}

#[test]
fn mem_6_managers_come_before_others_stop_being_one() {
    let terms = |role: &str, expire| Terms { role: role.to_owned(), start: None, expire };
    let update = |name: &str, terms: Terms| Change::UpdateMember {
        portfolio: "apollo".to_owned(),
        subject: subject(name),
        terms,
        etag: String::new(),
        was: Differences::default(),
    };
    let end = text::parse_time("2030-01-01T00:00:00Z").ok();
    let mut plan = Plan {
        changes: vec![
            Change::RemoveMember {
                portfolio: "apollo".to_owned(),
                subject: subject("user:a"),
                roles: "manager".to_owned(),
                etag: String::new(),
            },
            update("user:b", terms("viewer", None)),
            update("user:c", terms("manager", end)),
            update("user:d", terms("manager", None)),
            Change::AddMember {
                portfolio: "apollo".to_owned(),
                subject: subject("user:e"),
                terms: terms("manager", None),
            },
        ],
        ..Plan::default()
    };
    plan.sort();
    let order = |change: &Change| match change {
        Change::AddMember { subject, .. }
        | Change::UpdateMember { subject, .. }
        | Change::RemoveMember { subject, .. } => subject.id().to_owned(),
        _ => String::new(),
    };
    let order: Vec<_> = plan.changes.iter().map(order).collect();
    assert_eq!(order, ["e", "d", "b", "c", "a"]);
}

#[test]
fn a_run_that_was_cut_off_takes_away_the_rest() {
    let file = file(&[("groups:", "service_accounts: []\ngroups:")]);
    let mut inventory = more();
    let before = removals(&file, &inventory);
    inventory.portfolios.pop();
    inventory.groups.remove(0);
    let after = removals(&file, &inventory);
    let done = |line: &&String| line.contains("zeus") || line.contains("group extra");
    assert_eq!(after, before.iter().filter(|line| !done(line)).cloned().collect::<Vec<_>>());
}
