use super::View::{Administered, Mine, Organization};
use super::*;
use crate::domain::PortfolioId;
use crate::domain::page::Page;

const ADMINISTRATOR: Standing = Standing { administrator: true, ..HOME };

fn first<K>(size: usize) -> Page<K> {
    Page { size, after: None }
}

fn on(id: &str, visibility: Visibility, grants: Vec<GrantFact>) -> PortfolioFact {
    PortfolioFact { id: id.parse().unwrap(), ..portfolio(visibility, "viewer", grants) }
}

fn world(subjects: Vec<SubjectFact>, portfolios: Vec<PortfolioFact>) -> World {
    let global = catalogue(&["gone"]);
    let mut facts = facts(subjects, portfolio(Visibility::Private, "viewer", vec![]));
    facts.portfolios = portfolios;
    World { snapshot: Snapshot::compile(facts, &global), global }
}

/// Four portfolios: `a` is Ann's through a group, `b` is open, `c` and `d` are private.
fn four() -> World {
    let until_soon = during(grant("user:ann", "viewer"), None, Some(NOW));
    world(
        vec![
            knows("user:ada", ADMINISTRATOR, &[]),
            knows("user:ann", HOME, &["inner"]),
            knows("user:ext", EXTERNAL, &["inner"]),
            knows("user:gone", HOME, &["inner"]),
            knows("service_account:ci", HOME, &["outer"]),
            knows("group:inner", HOME, &["outer"]),
        ],
        vec![
            on("d", Visibility::Private, vec![grant("user:gone", "manager")]),
            on("c", Visibility::Private, vec![until_soon, grant("group:outer", "nothing")]),
            on("b", Visibility::Open, vec![grant("user:bob", "manager")]),
            on("a", Visibility::Private, vec![grant("group:outer", "manager")]),
        ],
    )
}

impl World {
    fn listed(&self, who: Option<&str>, view: Option<View>) -> Vec<(String, View)> {
        let who = who.map(subject);
        let (size, at) = (10, Timestamp(NOW));
        let found =
            listed_portfolios(&self.global, &self.snapshot, who.as_ref(), view, at, &first(size));
        found.rows.into_iter().map(|row| (row.id.to_string(), row.view)).collect()
    }
}

fn rows(expected: &[(&str, View)]) -> Vec<(String, View)> {
    expected.iter().map(|(id, view)| ((*id).to_owned(), *view)).collect()
}

#[test]
fn vis_10_mine_organization_and_administered() {
    let world = four();
    let mine = rows(&[("a", Mine), ("c", Mine)]);
    assert_eq!(world.listed(Some("user:ann"), Some(Mine)), mine, "whatever the role");
    assert_eq!(world.listed(Some("user:ann"), Some(Organization)), rows(&[("b", Organization)]));
    assert_eq!(world.listed(Some("user:ann"), Some(Administered)), []);
    let all = rows(&[("a", Mine), ("b", Organization), ("c", Mine)]);
    assert_eq!(world.listed(Some("user:ann"), None), all);
    let administered =
        [("a", Administered), ("b", Organization), ("c", Administered), ("d", Administered)];
    for view in [Some(Administered), Some(Organization), None] {
        assert_eq!(world.listed(Some("user:ada"), view), rows(&administered), "{view:?}");
    }
    assert_eq!(world.listed(Some("user:ada"), Some(Mine)), []);
    assert_eq!(world.listed(Some("user:gone"), None), []);
    assert_eq!(world.listed(None, Some(Mine)), []);
    assert_eq!(world.listed(None, None).len(), 4);
}

#[test]
fn vis_10_a_row_has_roles_managers_and_distinct_active_members() {
    let grants = vec![
        grant("user:ann", "manager"),
        grant("user:ann", "contributor"),
        grant("group:inner", "viewer"),
        grant("user:gone", "manager"),
        grant("service_account:ci", "manager"),
        during(grant("user:late", "manager"), Some(NOW + 1), None),
        during(grant("user:soon", "manager"), None, Some(NOW + 1)),
    ];
    let subjects = vec![
        knows("user:ann", HOME, &["inner"]),
        knows("user:ext", EXTERNAL, &["inner"]),
        knows("user:ada", ADMINISTRATOR, &[]),
    ];
    let world = world(subjects, vec![on("a", Visibility::Open, grants)]);
    let row = |who: Option<&str>| {
        let who = who.map(subject);
        let at = Timestamp(NOW);
        portfolio_row(&world.global, &world.snapshot, who.as_ref(), "a", at)
    };
    let of_ann = row(Some("user:ann")).unwrap();
    let keys = |row: &PortfolioRow| row.roles.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(keys(&of_ann), ["contributor", "manager", "viewer"]);
    let managers: Vec<&str> = of_ann.managers.iter().map(UserId::as_str).collect();
    assert_eq!(managers, ["ann", "soon"], "active users whose grant has begun");
    assert_eq!(of_ann.member_count, 3, "ann once, ext through the group, soon");
    assert_eq!((of_ann.view, of_ann.visibility), (View::Mine, Visibility::Open));
    assert_eq!(keys(&row(Some("user:ada")).unwrap()), ["viewer"], "openness, not administration");
    assert_eq!(keys(&row(None).unwrap()), Vec::<String>::new());
    assert_eq!(row(Some("user:nobody")), None);
}

#[test]
fn vis_10_the_rows_of_a_page_count_their_members_each_for_itself() {
    let letters = ('a'..='e').map(|letter| format!("group:{letter}"));
    let groups: Vec<String> = letters.collect();
    let member = |n: usize| {
        let inside = groups.iter().skip(n).map(|group| group.trim_start_matches("group:"));
        knows(&format!("user:u{n}"), HOME, &inside.collect::<Vec<_>>())
    };
    let mut subjects: Vec<SubjectFact> = (0..groups.len()).map(member).collect();
    subjects.extend(groups.iter().map(|group| knows(group, HOME, &[])));
    // Every set of the groups, so more than are kept, each set twice; `u0` is in all of them.
    let grants = |set: usize| {
        let inside = groups.iter().enumerate().filter(|(n, _)| (set >> n) & 1 == 1);
        let mut grants: Vec<_> = inside.map(|(_, group)| grant(group, "viewer")).collect();
        grants.extend([grant("user:u0", "viewer"), grant("user:gone", "viewer")]);
        grants
    };
    let portfolios = (0..64).map(|n| on(&format!("p{n:02}"), Visibility::Private, grants(n / 2)));
    let world = world(subjects, portfolios.collect());
    let (g, s, at) = (&world.global, &world.snapshot, Timestamp(NOW));
    let rows = listed_portfolios(g, s, None, None, at, &first(100)).rows;
    // Group number n has the users up to number n, and the largest group has the others' as well.
    let expected = |n: u32| (u32::BITS - (n / 2).leading_zeros()).max(1) as usize;
    let counts: Vec<usize> = rows.iter().map(|row| row.member_count).collect();
    assert_eq!(counts, (0..64).map(expected).collect::<Vec<_>>());
    for row in &rows {
        assert_eq!(portfolio_row(g, s, None, row.id.as_str(), at).as_ref(), Some(row));
    }
}

#[test]
fn acc_9_pages_go_on_behind_the_last_row() {
    let world = four();
    let ann = subject("user:ann");
    let page = |size, after: Option<&str>| {
        let page = Page { size, after: after.map(|id| id.parse::<PortfolioId>().unwrap()) };
        let (g, s, at) = (&world.global, &world.snapshot, Timestamp(NOW));
        let found = accessible_portfolios(g, s, &ann, "portfolio.view", at, &page).unwrap();
        let ids: Vec<String> = found.rows.iter().map(|(id, _)| id.to_string()).collect();
        (ids.concat(), found.more)
    };
    assert_eq!(page(10, None), ("ab".to_owned(), false), "c gives nothing, d is not theirs");
    assert_eq!(page(1, None), ("a".to_owned(), true));
    assert_eq!(page(1, Some("a")), ("b".to_owned(), false));
    assert_eq!(page(1, Some("aa")), ("b".to_owned(), false), "the last row may be gone by now");
    assert_eq!(page(0, None), (String::new(), true));
    let (g, s, at) = (&world.global, &world.snapshot, Timestamp(NOW));
    assert!(accessible_portfolios(g, s, &ann, "portfolio.veiw", at, &first(1)).is_err());
}

#[test]
fn acc_9_subjects_are_resolved_or_left_as_the_grants_name_them() {
    let world = four();
    let ask = |portfolio: &str, permission: &str, whom: Whom| -> Vec<String> {
        let (g, s, at) = (&world.global, &world.snapshot, Timestamp(NOW));
        let found = subjects_with(g, s, permission, portfolio, whom, at, &first(10)).unwrap();
        assert!(!found.more);
        found.rows.into_iter().map(|(subject, _)| subject.to_string()).collect()
    };
    let resolved = ["user:ann", "user:ext", "service_account:ci"];
    assert_eq!(ask("a", "portfolio.view", Whom::Resolved), resolved);
    assert_eq!(ask("a", "portfolio.view", Whom::Granted), ["group:outer"]);
    let managers = ["user:ada", "user:ann", "user:ext", "service_account:ci"];
    assert_eq!(ask("a", "members.view", Whom::Resolved), managers, "administrators too");
    let open = ["user:ada", "user:ann", "user:bob", "service_account:ci"];
    assert_eq!(ask("b", "portfolio.view", Whom::Resolved), open);
    assert_eq!(ask("b", "portfolio.view", Whom::Granted), ["user:bob"]);
    assert_eq!(ask("d", "portfolio.view", Whom::Granted), Vec::<String>::new(), "deactivated");
    assert_eq!(ask("elsewhere", "portfolio.view", Whom::Resolved), Vec::<String>::new());
    let (g, s, at) = (&world.global, &world.snapshot, Timestamp(NOW));
    assert!(subjects_with(g, s, "x.y", "a", Whom::Granted, at, &first(1)).is_err());
}

#[test]
fn acc_9_effective_permissions_say_how_far_and_until_when() {
    let grants = vec![
        during(grant("user:ann", "viewer"), None, Some(NOW + 9)),
        during(grant("user:ann", "editor"), Some(NOW + 5), Some(NOW + 7)),
    ];
    let mut facts = facts(
        vec![knows("user:gone", HOME, &[])],
        portfolio(Visibility::Private, "viewer", grants),
    );
    facts.roles.push(role("editor", &[("comment.edit", Reach::Any)]));
    let global = catalogue(&["gone"]);
    let world = World { snapshot: Snapshot::compile(facts, &global), global };
    let ask = |who: &str, on: &str| {
        let at = Timestamp(NOW);
        effective_permissions(&world.global, &world.snapshot, &subject(who), on, at)
    };
    let found = ask("user:ann", "roadmap").unwrap();
    let one = |name: &str| {
        let named = |p: &&EffectivePermission| p.name.as_str() == name;
        found.permissions.iter().find(named).map(|p| (p.reach, p.hold_until.map(|at| at.0)))
    };
    assert_eq!(one("portfolio.view"), Some((Reach::Any, Some(NOW + 9))));
    assert_eq!(one("comment.edit"), Some((Reach::Own, Some(NOW + 5))), "any from then on");
    assert_eq!(one("comment.delete"), Some((Reach::Own, Some(NOW + 9))));
    assert_eq!(one("view.delete"), None);
    assert_eq!(found.hold_until, Some(Timestamp(NOW + 5)));
    assert!(found.permissions.is_sorted_by(|a, b| a.name < b.name));
    assert_eq!(ask("user:ann", "elsewhere"), Err(Reason::PortfolioUnknown));
    assert_eq!(ask("user:gone", "roadmap"), Err(Reason::SubjectDeactivated));
    assert_eq!(ask("user:nobody", "roadmap"), Err(Reason::SubjectUnknown));
}

#[test]
fn mem_6_a_portfolio_is_managed_by_an_active_user_whose_grant_has_begun_and_lasts() {
    let cases = [
        ("user:ext", "manager", None, None, true),
        ("user:ext", "manager", Some(NOW), None, true),
        ("user:ext", "manager", Some(NOW + 1), None, false),
        ("user:ext", "manager", None, Some(NOW + 1), false),
        ("user:ext", "contributor", None, None, false),
        ("user:gone", "manager", None, None, false),
        ("group:inner", "manager", None, None, false),
        ("service_account:ci", "manager", None, None, false),
    ];
    let known = || {
        vec![
            knows("user:ext", EXTERNAL, &["inner"]),
            knows("group:inner", HOME, &[]),
            knows("service_account:ci", HOME, &[]),
        ]
    };
    for (who, role, start, end, managed) in cases {
        let grants = vec![during(grant(who, role), start, end)];
        let world = world(known(), vec![on("a", Visibility::Private, grants)]);
        let (g, s, at) = (&world.global, &world.snapshot, Timestamp(NOW));
        assert_eq!(is_managed(g, s, "a", at), managed, "{who} {role} {start:?} {end:?}");
        let found = unmanaged_portfolios(g, s, at, &first(5));
        assert_eq!(found.rows.is_empty(), managed);
    }
    let world = four();
    let (g, s, at) = (&world.global, &world.snapshot, Timestamp(NOW));
    let found = unmanaged_portfolios(g, s, at, &first(2));
    let ids: Vec<&str> = found.rows.iter().map(PortfolioId::as_str).collect();
    assert_eq!((ids, found.more), (vec!["a", "c"], true));
    assert_eq!(lasting_managers(g, s, "b", at), ["bob".parse().unwrap()]);
}

#[test]
fn what_lists_are_made_from_is_counted_and_leaves_nothing_behind() {
    let before = four();
    let put = |snapshot: &Snapshot, fact: SubjectFact| {
        let change = OrganizationChanges {
            subjects: vec![(fact.subject.clone(), Some(fact))],
            ..OrganizationChanges::default()
        };
        snapshot.apply(change, &before.global)
    };
    let named = put(&before.snapshot, knows("user:ann", ADMINISTRATOR, &["inner"]));
    assert!(named.bytes() > before.snapshot.bytes());
    let out = put(&before.snapshot, knows("user:ann", HOME, &[]));
    assert!(out.bytes() < before.snapshot.bytes());
    for changed in [named, out] {
        let back = put(&changed, knows("user:ann", HOME, &["inner"]));
        assert_eq!(back.bytes(), before.snapshot.bytes());
    }
}
