use super::*;
use crate::domain::permission::HELD_BY_ADMINISTRATORS;

const ADMINISTRATOR: Standing = Standing { administrator: true, ..HOME };

fn registered(ordinal: u16, name: &str) -> Permission {
    Permission { registered: true, ..permission(ordinal, name) }
}

fn organization() -> Vec<SubjectFact> {
    vec![
        knows("user:ada", ADMINISTRATOR, &[]),
        knows("user:gone", ADMINISTRATOR, &[]),
        knows("user:moved", Standing { administrator: true, ..EXTERNAL }, &[]),
        knows("group:g", ADMINISTRATOR, &[]),
        knows("user:ann", HOME, &[]),
    ]
}

#[test]
fn dir_7_an_administrator_manages_members_and_sees_no_content() {
    let world = World::private(organization(), vec![grant("user:ann", "manager")]);
    for permission in catalogue(&[]).permissions() {
        let name = permission.name.as_str();
        let expected = if HELD_BY_ADMINISTRATORS.contains(&name) {
            Reason::Administrator
        } else {
            Reason::PermissionMissing
        };
        assert_eq!(world.reason("user:ada", name), expected, "{name}");
    }
    assert_eq!(world.reason("user:ada", "portfolio.view"), Reason::PermissionMissing);
    assert_eq!(world.decide("user:ada", "members.view", None, NOW).hold_until, None);
    assert!(world.lists("user:ada"));
    let found = routes(&world.snapshot, &subject("user:ada"), "roadmap", Timestamp(NOW));
    assert_eq!(found, [Route::Administrator]);
    let held =
        holdings(&world.global, &world.snapshot, &subject("user:ada"), "roadmap", Timestamp(NOW));
    assert_eq!(held.table().len(), HELD_BY_ADMINISTRATORS.len());
}

#[test]
fn dir_7_dir_9_only_active_users_at_home_administer() {
    let world = World::private(organization(), vec![]);
    let administers = |who| is_administrator(&world.global, &world.snapshot, &subject(who));
    assert!(administers("user:ada"));
    for who in ["user:gone", "user:moved", "group:g", "user:ann", "user:nobody"] {
        assert!(!administers(who) && !world.lists(who), "{who}");
    }
    assert_eq!(world.reason("user:gone", "members.view"), Reason::SubjectDeactivated);
    assert_eq!(world.reason("user:moved", "members.view"), Reason::NoAccess);
    assert_eq!(world.reason("group:g", "members.view"), Reason::NoAccess);
}

#[test]
fn dir_7_what_else_allows_an_administrator_is_named_first() {
    let grants = vec![
        grant("user:ada", "viewer"),
        during(grant("user:ada", "manager"), Some(NOW + 1), Some(NOW + 2)),
    ];
    let world =
        World::new(organization(), portfolio(Visibility::Open, "contributor", grants.clone()));
    assert_eq!(world.reason("user:ada", "members.view"), Reason::DirectGrant);
    assert_eq!(world.reason("user:ada", "initiative.edit"), Reason::OrganizationAccess);
    assert_eq!(world.reason("user:ada", "members.remove"), Reason::Administrator);
    let later = world.decide("user:ada", "members.remove", None, NOW + 1);
    assert_eq!((later.reason, later.hold_until), (Reason::DirectGrant, None));
    let explicit = explicit_holdings(
        &world.global,
        &World::private(organization(), vec![]).snapshot,
        &subject("user:ada"),
        "roadmap",
        Timestamp(NOW),
    );
    assert_eq!(explicit, Holdings::default(), "no grant of theirs");
}

#[test]
fn rol_1_managers_hold_what_services_register_and_others_do_not() {
    let mut custom = facts(
        vec![knows("user:ada", ADMINISTRATOR, &[])],
        portfolio(
            Visibility::Private,
            "viewer",
            vec![
                grant("user:max", "manager"),
                grant("user:con", "contributor"),
                grant("user:sig", "signer"),
            ],
        ),
    );
    custom.roles.push(role("signer", &[("budget.sign", Reach::Own)]));
    let before = catalogue(&[]);
    let snapshot = Snapshot::compile(custom, &before);
    let global = before.apply(GlobalChanges {
        permissions: vec![registered(640, "budget.sign")],
        ..GlobalChanges::default()
    });
    let world = World { global, snapshot };
    assert_eq!(world.reason("user:max", "budget.sign"), Reason::DirectGrant);
    assert_eq!(world.reason("user:con", "budget.sign"), Reason::PermissionMissing);
    assert_eq!(world.reason("user:ada", "budget.sign"), Reason::PermissionMissing);
    assert_eq!(world.reason("user:sig", "budget.sign"), Reason::AuthorUnknown);
    let of = |key| role_holdings(&world.global, &world.snapshot, key).unwrap();
    assert_eq!(of("manager").table().get("budget.sign"), Some(&Reach::Any));
    assert_eq!(of("manager").covers(of("signer").table()), Ok(()), "the ceiling covers it");
    assert!(of("contributor").covers(of("signer").table()).is_err());
    let held =
        holdings(&world.global, &world.snapshot, &subject("user:max"), "roadmap", Timestamp(NOW));
    assert_eq!(held.covers(of("signer").table()), Ok(()));
    let gone = OrganizationChanges {
        roles: vec![("manager".parse().unwrap(), None)],
        ..OrganizationChanges::default()
    };
    let snapshot = world.snapshot.apply(gone, &world.global);
    assert_eq!(role_holdings(&world.global, &snapshot, "manager"), None);
    let undefined = World { snapshot, ..world };
    assert_eq!(undefined.reason("user:max", "budget.sign"), Reason::PermissionMissing);
}

#[test]
fn dir_1_acc_1_the_deactivated_of_others_are_unknown() {
    let known = vec![knows("user:gone", EXTERNAL, &["g"]), knows("group:g", HOME, &[])];
    let in_a_group = World::private(known, vec![]);
    assert_eq!(in_a_group.reason("user:gone", "portfolio.view"), Reason::SubjectDeactivated);
    let named = vec![during(grant("user:gone", "viewer"), None, Some(NOW - 1))];
    let named = World::private(vec![], named);
    assert_eq!(named.reason("user:gone", "portfolio.view"), Reason::SubjectDeactivated);
    let unknown = World::private(vec![], vec![]);
    assert_eq!(unknown.reason("user:gone", "portfolio.view"), Reason::SubjectUnknown);
    // Known by number, from a fact that is gone, and of no interest any more.
    let left = OrganizationChanges {
        subjects: vec![(subject("user:gone"), None)],
        ..OrganizationChanges::default()
    };
    let snapshot = in_a_group.snapshot.apply(left, &in_a_group.global);
    let left = World { snapshot, ..in_a_group };
    assert_eq!(left.reason("user:gone", "portfolio.view"), Reason::SubjectUnknown);
}
