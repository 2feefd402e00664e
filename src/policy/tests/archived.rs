use super::*;

const ADMINISTRATOR: Standing = Standing { administrator: true, ..HOME };

fn organization() -> Vec<SubjectFact> {
    vec![
        knows("user:ada", ADMINISTRATOR, &[]),
        knows("user:ann", HOME, &[]),
        knows("user:con", HOME, &[]),
        knows("user:ext", EXTERNAL, &["g"]),
        knows("group:g", HOME, &[]),
        knows("user:open", HOME, &[]),
    ]
}

/// The same world twice: in use, and archived.
fn worlds(grants: &[GrantFact]) -> [World; 2] {
    let fact = || portfolio(Visibility::Open, "contributor", grants.to_vec());
    [World::new(organization(), fact()), World::new(organization(), archived(fact()))]
}

fn grants() -> Vec<GrantFact> {
    vec![
        grant("user:ann", "manager"),
        grant("user:con", "viewer"),
        during(grant("user:late", "manager"), Some(NOW + 5), None),
        during(grant("user:soon", "manager"), None, Some(NOW + 5)),
        grant("group:g", "assessor"),
    ]
}

const WHO: [&str; 8] = [
    "user:ada",
    "user:ann",
    "user:con",
    "user:ext",
    "user:open",
    "user:late",
    "user:soon",
    "user:nobody",
];

#[test]
fn vis_8_what_would_be_allowed_and_changes_something_is_denied_as_archived() {
    let [in_use, archived] = worlds(&grants());
    let catalogue = catalogue(&[]);
    for (who, entry) in WHO.iter().flat_map(|who| catalogue.permissions().map(move |it| (who, it)))
    {
        let name = entry.name.as_str();
        for author in [None, Some(*who), Some("user:other")] {
            let before = in_use.decide(who, name, author, NOW);
            let halted = entry.effect == Effect::Change && name != "comment.create";
            let expected = match (halted, before.allowed) {
                (true, true) => Decision::denied(Reason::Archived),
                // The clock alone allows nothing either.
                (true, false) => Decision { hold_until: None, ..before },
                (false, _) => before,
            };
            assert_eq!(
                archived.decide(who, name, author, NOW),
                expected,
                "{who} {name} {author:?}"
            );
        }
        assert_eq!(in_use.lists(who), archived.lists(who), "{who}");
    }
    assert_eq!(archived.reason("user:ann", "comment.create"), Reason::DirectGrant);
    assert_eq!(archived.reason("user:ada", "members.remove"), Reason::Administrator);
    assert_eq!(archived.reason("user:ada", "members.invite"), Reason::Archived);
}

#[test]
fn vis_8_what_stays_possible_is_asked_as_if_it_were_in_use() {
    let [in_use, archived] = worlds(&grants());
    let catalogue = catalogue(&[]);
    for (who, entry) in WHO.iter().flat_map(|who| catalogue.permissions().map(move |it| (who, it)))
    {
        let (who, name) = (subject(who), entry.name.as_str());
        let decide = |world: &World| {
            let asked = Asked::about(&world.global, &world.snapshot, &who, name).unwrap();
            asked.ignoring_archived().decide("roadmap", None, Timestamp(NOW))
        };
        assert_eq!(decide(&archived), decide(&in_use), "{who} {name}");
    }
}

#[test]
fn rol_7_the_ceiling_ignores_archived() {
    let [in_use, archived] = worlds(&grants());
    for who in WHO.map(subject) {
        let held = |world: &World| {
            let (global, snapshot, at) = (&world.global, &world.snapshot, Timestamp(NOW));
            (
                holdings(global, snapshot, &who, "roadmap", at),
                explicit_holdings(global, snapshot, &who, "roadmap", at),
            )
        };
        assert_eq!(held(&archived), held(&in_use), "{who}");
    }
}

#[test]
fn acc_8_acc_9_explanations_and_lists_say_what_the_check_says() {
    let [_, archived] = worlds(&grants());
    let (global, snapshot, at) = (&archived.global, &archived.snapshot, Timestamp(NOW));
    let ask = |who: &str, permission: &str| {
        let who = subject(who);
        let query =
            Query { subject: &who, permission, portfolio: "roadmap", author: None, item: None, at };
        explain(global, snapshot, &query, 5).unwrap()
    };
    let found = ask("user:soon", "initiative.edit");
    assert_eq!(found.decision, Decision::denied(Reason::Archived));
    assert_eq!(found.routes[0].effect, RouteEffect::Archived);
    assert_eq!((found.allowed_from(), &found.givers), (None, &Givers::default()));
    // Nobody gives what is missing for another reason either: not before it is restored.
    let found = ask("user:con", "members.view");
    assert!(found.decision.allowed);
    let found = ask("user:nobody", "portfolio.view");
    assert_eq!(
        (found.decision.reason, &found.givers),
        (Reason::SubjectUnknown, &Givers::default())
    );
    assert!(!found.roles.is_empty(), "they would do once it is restored");

    let ann = subject("user:ann");
    let effective = effective_permissions(global, snapshot, &ann, "roadmap", at).unwrap();
    for permission in &effective.permissions {
        let entry = global.permission(permission.name.as_str()).unwrap();
        assert!(!entry.is_halted_by_archiving(), "{}", entry.name);
    }
    assert!(effective.permissions.iter().any(|it| it.name.as_str() == "comment.create"));
    let page = || crate::domain::page::Page { size: 10, after: None };
    for (name, count) in [("initiative.edit", 0), ("initiative.view", 1), ("view.delete", 1)] {
        let found = accessible_portfolios(global, snapshot, &ann, name, at, &page()).unwrap();
        assert_eq!(found.rows.len(), count, "{name}");
    }
    let page = crate::domain::page::Page { size: 10, after: None };
    let with = |name| {
        let whom = Whom::Resolved;
        subjects_with(global, snapshot, name, "roadmap", whom, at, &page).unwrap().rows.len()
    };
    assert_eq!((with("members.invite"), with("members.remove")), (0, 3), "ada, ann, soon");
}

#[test]
fn mem_6_what_is_archived_needs_no_manager() {
    let [in_use, archived] = worlds(&[]);
    let unmanaged = |world: &World| {
        let page = crate::domain::page::Page { size: 10, after: None };
        unmanaged_portfolios(&world.global, &world.snapshot, Timestamp(NOW), &page).rows.len()
    };
    assert_eq!((unmanaged(&in_use), unmanaged(&archived)), (1, 0));
}

#[test]
fn vis_8_archiving_and_restoring_are_changes_like_others() {
    let [in_use, _] = worlds(&grants());
    let fact = portfolio(Visibility::Open, "contributor", grants());
    let apply = |snapshot: &Snapshot, fact: PortfolioFact| {
        let changes = OrganizationChanges {
            portfolios: vec![(fact.id.clone(), Some(fact))],
            ..OrganizationChanges::default()
        };
        snapshot.apply(changes, &in_use.global)
    };
    let global = catalogue(&["gone"]);
    let then = World { snapshot: apply(&in_use.snapshot, archived(fact.clone())), global };
    assert_eq!(then.reason("user:ann", "access.manage"), Reason::Archived);
    assert_eq!(in_use.reason("user:ann", "access.manage"), Reason::DirectGrant, "the old one");
    let again = World { snapshot: apply(&then.snapshot, fact), ..then };
    assert_eq!(again.reason("user:ann", "access.manage"), Reason::DirectGrant);
    assert_eq!(again.snapshot.bytes(), in_use.snapshot.bytes());
}
