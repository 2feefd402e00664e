//! The rules one by one, on worlds small enough to read. Random worlds: `tests/suite`.

mod administrators;
mod archived;
mod explanations;
mod index;
mod links;
mod lists;

use super::*;
use crate::domain::access_settings::Visibility;
use crate::domain::directory::{SiteRole, Standing};
use crate::domain::fact::{
    GlobalChanges, GlobalFacts, GrantFact, OrganizationChanges, OrganizationFacts, PortfolioFact,
    RoleFact, SubjectFact,
};
use crate::domain::permission::{Effect, Permission};
use crate::domain::role::{Preset, Reach, RoleTable};
use crate::domain::{RoleKey, Subject, Timestamp, UserId};

const HOME: Standing = Standing { home: true, site_role: None, administrator: false };
const EXTERNAL: Standing = Standing { home: false, site_role: None, administrator: false };
const NOW: i64 = 1_000;

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

fn site(home: bool, role: SiteRole) -> Standing {
    Standing { home, site_role: Some(role), administrator: false }
}

fn permission(ordinal: u16, name: &str) -> Permission {
    Permission {
        name: name.parse().unwrap(),
        ordinal,
        effect: match name.split_once('.') {
            Some((_, "view")) => Effect::Read,
            Some((_, "delete" | "remove")) => Effect::Revoke,
            _ => Effect::Change,
        },
        may_be_own: true,
        internal_only: name == "epic.link",
        registered: false,
    }
}

fn catalogue(deactivated: &[&str]) -> Global {
    let manager = Preset::InitiativePlanning.roles().swap_remove(0);
    Global::compile(GlobalFacts {
        permissions: (0..)
            .zip(manager.table.keys())
            .map(|(ordinal, name)| permission(ordinal, name.as_str()))
            .collect(),
        deactivated: deactivated.iter().map(|id| id.parse().unwrap()).collect(),
    })
}

fn knows(text: &str, standing: Standing, groups: &[&str]) -> SubjectFact {
    let groups = groups.iter().map(|id| id.parse().unwrap()).collect();
    SubjectFact { subject: subject(text), standing, active: true, groups }
}

fn grant(text: &str, role: &str) -> GrantFact {
    let role = role.parse().unwrap();
    GrantFact { subject: subject(text), role, start_time: None, expire_time: None }
}

fn during(grant: GrantFact, start: Option<i64>, end: Option<i64>) -> GrantFact {
    GrantFact { start_time: start.map(Timestamp), expire_time: end.map(Timestamp), ..grant }
}

fn portfolio(visibility: Visibility, open_as: &str, grants: Vec<GrantFact>) -> PortfolioFact {
    PortfolioFact {
        id: "roadmap".parse().unwrap(),
        visibility,
        organization_access_role: open_as.parse().unwrap(),
        archived: false,
        link: None,
        grants,
    }
}

fn role(key: &str, cells: &[(&str, Reach)]) -> RoleFact {
    let table: RoleTable =
        cells.iter().map(|(name, reach)| (name.parse().unwrap(), *reach)).collect();
    RoleFact { key: key.parse().unwrap(), table }
}

fn facts(subjects: Vec<SubjectFact>, portfolio: PortfolioFact) -> OrganizationFacts {
    let preset = Preset::InitiativePlanning.roles().into_iter();
    OrganizationFacts {
        organization: "acme".parse().unwrap(),
        roles: preset.map(|role| RoleFact { key: role.key, table: role.table }).collect(),
        subjects,
        portfolios: vec![portfolio],
        items: Vec::new(),
    }
}

/// A world of one portfolio, `roadmap`.
struct World {
    global: Global,
    snapshot: Snapshot,
}

impl World {
    fn new(subjects: Vec<SubjectFact>, portfolio: PortfolioFact) -> Self {
        let global = catalogue(&["gone"]);
        let snapshot = Snapshot::compile(facts(subjects, portfolio), &global);
        Self { global, snapshot }
    }

    fn private(subjects: Vec<SubjectFact>, grants: Vec<GrantFact>) -> Self {
        Self::new(subjects, portfolio(Visibility::Private, "viewer", grants))
    }

    fn decide(&self, who: &str, permission: &str, author: Option<&str>, at: i64) -> Decision {
        let (who, author) = (subject(who), author.map(subject));
        let query = Query {
            subject: &who,
            permission,
            portfolio: "roadmap",
            author: author.as_ref(),
            item: None,
            at: Timestamp(at),
        };
        check(&self.global, &self.snapshot, &query).unwrap()
    }

    fn reason(&self, who: &str, permission: &str) -> Reason {
        self.decide(who, permission, None, NOW).reason
    }

    fn holds(&self, who: &str, at: i64) -> (bool, Option<i64>) {
        let decision = self.decide(who, "portfolio.view", None, at);
        (decision.allowed, decision.hold_until.map(|at| at.0))
    }

    fn lists(&self, who: &str) -> bool {
        may_list(&self.global, &self.snapshot, &subject(who), "roadmap", Timestamp(NOW))
    }
}

fn archived(portfolio: PortfolioFact) -> PortfolioFact {
    PortfolioFact { archived: true, ..portfolio }
}

#[test]
fn dir_1_the_deactivated_are_denied_everything_and_keep_their_grants() {
    let account = SubjectFact { active: false, ..knows("service_account:ci", HOME, &[]) };
    let grants = vec![grant("user:gone", "manager"), grant("service_account:ci", "manager")];
    let world = World::new(
        vec![knows("user:gone", HOME, &[]), account],
        portfolio(Visibility::Open, "viewer", grants),
    );
    for who in ["user:gone", "service_account:ci"] {
        assert_eq!(world.reason(who, "portfolio.view"), Reason::SubjectDeactivated);
        assert!(!world.lists(who));
        assert!(!may_create_portfolios(&world.global, &world.snapshot, &subject(who)));
        let at = Timestamp(NOW);
        let held = holdings(&world.global, &world.snapshot, &subject(who), "roadmap", at);
        assert_eq!(held, Holdings::default());
        assert!(
            !explicit_holdings(&world.global, &world.snapshot, &subject(who), "roadmap", at)
                .table()
                .is_empty()
        );
    }
    let back = world.global.apply(GlobalChanges {
        statuses: vec![("gone".parse().unwrap(), false)],
        ..GlobalChanges::default()
    });
    let world = World { global: back, ..world };
    assert_eq!(world.reason("user:gone", "members.remove"), Reason::DirectGrant);
}

#[test]
fn dir_4_a_group_as_the_subject_has_its_own_and_its_ancestors_grants_only() {
    let groups = vec![
        knows("group:all", HOME, &[]),
        knows("group:engineering", HOME, &["all"]),
        knows("group:release", HOME, &["engineering"]),
        knows("user:ann", EXTERNAL, &["release"]),
    ];
    let grants = vec![grant("group:engineering", "contributor")];
    let world = World::new(groups, portfolio(Visibility::Open, "viewer", grants));
    assert_eq!(world.reason("group:engineering", "initiative.edit"), Reason::DirectGrant);
    assert_eq!(world.reason("group:release", "initiative.edit"), Reason::GroupGrant);
    assert_eq!(world.reason("group:all", "portfolio.view"), Reason::NoAccess, "no openness");
    assert_eq!(world.reason("group:release", "epic.link"), Reason::GroupGrant, "internal");
    assert_eq!(world.reason("user:ann", "epic.link"), Reason::InternalOnly);
    let found = routes(&world.snapshot, &subject("user:ann"), "roadmap", Timestamp(NOW));
    assert_eq!(found, [Route::Group("engineering".parse().unwrap())]);
}

#[test]
fn dir_4_a_cycle_of_groups_in_the_facts_still_ends() {
    let world = World::private(
        vec![
            knows("group:a", HOME, &["b"]),
            knows("group:b", HOME, &["c"]),
            knows("group:c", HOME, &["a", "c"]),
            knows("user:ann", HOME, &["a"]),
        ],
        vec![grant("group:c", "viewer")],
    );
    assert_eq!(world.reason("user:ann", "portfolio.view"), Reason::GroupGrant);
    assert_eq!(world.reason("group:c", "portfolio.view"), Reason::DirectGrant);
}

#[test]
fn dir_4_a_group_that_moves_takes_those_below_it_along() {
    let world = World::private(
        vec![knows("group:release", HOME, &["engineering"]), knows("user:ann", HOME, &["release"])],
        vec![grant("group:company", "viewer")],
    );
    assert_eq!(world.reason("user:ann", "portfolio.view"), Reason::NoAccess);
    let moved = |groups: &[&str]| OrganizationChanges {
        subjects: vec![(
            subject("group:engineering"),
            Some(knows("group:engineering", HOME, groups)),
        )],
        ..OrganizationChanges::default()
    };
    let snapshot = world.snapshot.apply(moved(&["company"]), &world.global);
    let inside = World { snapshot, global: world.global.clone() };
    assert_eq!(inside.reason("user:ann", "portfolio.view"), Reason::GroupGrant);
    let snapshot = inside.snapshot.apply(moved(&[]), &inside.global);
    let outside = World { snapshot, global: world.global };
    assert_eq!(outside.reason("user:ann", "portfolio.view"), Reason::NoAccess);
    let again = outside.snapshot.apply(moved(&["company"]), &outside.global);
    assert_eq!(again.bytes(), inside.snapshot.bytes(), "moving leaves nothing behind");
}

#[test]
fn dir_8_the_site_role_says_what_openness_gives() {
    let world = World::new(
        vec![
            knows("user:home", HOME, &[]),
            knows("user:viewer", site(false, SiteRole::Viewer), &[]),
            knows("user:guest", site(false, SiteRole::Guest), &[]),
            knows("user:home-guest", site(true, SiteRole::Guest), &[]),
            knows("service_account:ci", HOME, &[]),
        ],
        portfolio(Visibility::Open, "contributor", vec![]),
    );
    let openness = Reason::OrganizationAccess;
    assert_eq!(world.reason("user:home", "initiative.edit"), openness);
    assert_eq!(world.reason("service_account:ci", "initiative.edit"), openness);
    assert_eq!(world.reason("user:viewer", "portfolio.view"), openness);
    assert_eq!(world.reason("user:viewer", "initiative.edit"), Reason::PermissionMissing);
    assert_eq!(world.reason("user:guest", "portfolio.view"), Reason::NoAccess);
    assert_eq!(world.reason("user:home-guest", "portfolio.view"), Reason::NoAccess);
    let viewer = role("viewer", &[("initiative.edit", Reach::Own)]);
    let changed = OrganizationChanges {
        roles: vec![(viewer.key.clone(), Some(viewer))],
        ..OrganizationChanges::default()
    };
    let snapshot = world.snapshot.apply(changed, &world.global);
    let world = World { snapshot, ..world };
    let lower = world.decide("user:viewer", "initiative.edit", Some("user:home"), NOW);
    assert_eq!(lower.reason, Reason::NotAuthor, "the lower reach of the two roles");
    assert_eq!(world.reason("user:viewer", "portfolio.view"), Reason::PermissionMissing);
    let creates = |who| may_create_portfolios(&world.global, &world.snapshot, &subject(who));
    assert!(creates("user:home") && creates("service_account:ci"));
    assert!(!creates("user:viewer") && !creates("user:guest") && !creates("user:nobody"));
    let internal = |who| is_internal(&world.snapshot, &subject(who));
    assert!(internal("user:home-guest") && internal("user:viewer"));
    assert!(!internal("user:guest") && !internal("user:nobody"));
}

#[test]
fn rol_1_an_unknown_permission_comes_with_the_nearest_known_name() {
    let world = World::private(vec![], vec![]);
    let ann = subject("user:ann");
    let ask = |permission, portfolio| {
        let at = Timestamp(NOW);
        let query = Query { subject: &ann, permission, portfolio, author: None, item: None, at };
        check(&world.global, &world.snapshot, &query).unwrap_err()
    };
    let error = ask("comment.edti", "no-such-portfolio");
    assert_eq!(error.nearest.as_ref().unwrap().as_str(), "comment.edit");
    assert_eq!(
        error.to_string(),
        "`comment.edti` is not in the permission catalogue; the nearest known name is \
         `comment.edit`"
    );
    assert_eq!(Global::default().nearest("comment.edit"), None);
}

#[test]
fn rol_1_a_name_that_is_far_from_every_known_one_comes_without_a_hint() {
    let world = World::private(vec![], vec![]);
    let nearest = |name: &str| world.global.nearest(name);
    // A third of the longer name may differ, and no more.
    assert_eq!(nearest("comment.xxxx"), Some("comment.edit"));
    assert_eq!(nearest("commen_.xxxx"), None);
    let far = "é".repeat(10_000);
    for name in ["x.y0", "", "x", "comment", &far] {
        assert_eq!(nearest(name), None, "{name}");
    }
    assert_eq!(
        world.global.unknown("x.y0").to_string(),
        "`x.y0` is not in the permission catalogue"
    );
}

#[test]
fn rol_1_a_permission_registered_after_the_role_was_compiled_is_found() {
    let mut custom = facts(
        vec![knows("user:ann", HOME, &[])],
        portfolio(Visibility::Private, "viewer", vec![grant("user:ann", "custom")]),
    );
    custom.roles.push(role("custom", &[("budget.sign", Reach::Any), ("a.b", Reach::Own)]));
    let before = catalogue(&[]);
    let snapshot = Snapshot::compile(custom, &before);
    let global = before.apply(GlobalChanges {
        permissions: vec![permission(640, "budget.sign"), permission(641, "budget.view")],
        ..GlobalChanges::default()
    });
    let world = World { global, snapshot };
    assert_eq!(world.reason("user:ann", "budget.sign"), Reason::DirectGrant);
    assert_eq!(world.reason("user:ann", "budget.view"), Reason::PermissionMissing);
}

#[test]
fn rol_2_acc_3_the_union_decides_and_any_beats_own() {
    let mut both = facts(
        vec![knows("user:ann", HOME, &["g"])],
        portfolio(
            Visibility::Open,
            "contributor",
            vec![grant("user:ann", "mine"), grant("group:g", "all"), grant("user:ann", "viewer")],
        ),
    );
    both.roles.push(role("mine", &[("view.delete", Reach::Own)]));
    both.roles.push(role("all", &[("view.delete", Reach::Any)]));
    let global = catalogue(&[]);
    let world = World { snapshot: Snapshot::compile(both, &global), global };
    let other = world.decide("user:ann", "view.delete", Some("user:bob"), NOW);
    assert_eq!(other.reason, Reason::GroupGrant);
    let own = world.decide("user:ann", "view.delete", Some("user:ann"), NOW);
    assert_eq!(own.reason, Reason::DirectGrant, "the first that allows is named");
    assert_eq!(world.reason("user:ann", "initiative.edit"), Reason::OrganizationAccess);
}

#[test]
fn rol_7_holdings_cover_tables_and_name_the_excess() {
    let world = World::private(
        vec![knows("user:ann", HOME, &[]), knows("user:max", EXTERNAL, &[])],
        vec![
            grant("user:ann", "contributor"),
            grant("user:max", "manager"),
            during(grant("user:ann", "manager"), Some(NOW + 1), None),
            during(grant("user:ann", "manager"), None, Some(NOW)),
        ],
    );
    let at = Timestamp(NOW);
    let held = |who| holdings(&world.global, &world.snapshot, &subject(who), "roadmap", at);
    let of = |key| role_holdings(&world.global, &world.snapshot, key).unwrap();
    assert_eq!(held("user:ann").covers(of("viewer").table()), Ok(()));
    let excess = held("user:ann").covers(of("manager").table()).unwrap_err();
    assert!(excess.iter().any(|name| name.as_str() == "access.manage"));
    assert!(!excess.iter().any(|name| name.as_str() == "initiative.edit"));
    assert_eq!(held("user:max").covers(of("manager").table()), Ok(()), "internal-only ignored");
    let own_only = Holdings::default().covers(&role("x", &[("a.b", Reach::Own)]).table);
    assert_eq!(own_only.unwrap_err().len(), 1);
    let any = role("x", &[("comment.edit", Reach::Any)]).table;
    assert!(of("manager").covers(&any).is_err(), "own does not cover any");
    let coming =
        explicit_holdings(&world.global, &world.snapshot, &subject("user:ann"), "roadmap", at);
    assert_eq!(coming.covers(of("manager").table()), Ok(()), "a grant yet to begin counts");
    let after =
        explicit_holdings(&world.global, &world.snapshot, &subject("user:max"), "elsewhere", at);
    assert_eq!(after, Holdings::default());
    assert_eq!(role_holdings(&world.global, &world.snapshot, "undefined"), None);
}

#[test]
fn vis_2_listing_needs_a_grant_in_force_or_visibility_and_a_site_role() {
    let subjects = || {
        vec![
            knows("user:home", HOME, &[]),
            knows("user:guest", site(false, SiteRole::Guest), &[]),
            knows("group:g", HOME, &[]),
        ]
    };
    let on = |visibility, grants| World::new(subjects(), portfolio(visibility, "viewer", grants));
    assert!(!on(Visibility::Private, vec![]).lists("user:home"));
    let restricted = on(Visibility::Restricted, vec![]);
    assert!(restricted.lists("user:home"));
    assert_eq!(restricted.reason("user:home", "portfolio.view"), Reason::NoAccess);
    for outsider in ["user:guest", "user:nobody", "group:g"] {
        assert!(!on(Visibility::Open, vec![]).lists(outsider), "{outsider}");
    }
    let granted = |grant| on(Visibility::Private, vec![grant]).lists("user:guest");
    assert!(granted(grant("user:guest", "a-role-that-permits-nothing")));
    assert!(!granted(during(grant("user:guest", "viewer"), Some(NOW + 1), None)));
}

#[test]
fn acc_1_what_is_unknown_is_denied_with_its_reason() {
    let ended = during(grant("user:past", "viewer"), None, Some(NOW));
    let world = World::private(vec![knows("user:ann", EXTERNAL, &["g"])], vec![ended]);
    assert_eq!(world.reason("user:ann", "portfolio.view"), Reason::NoAccess);
    assert_eq!(world.reason("user:past", "portfolio.view"), Reason::NoAccess);
    assert_eq!(world.reason("user:nobody", "portfolio.view"), Reason::SubjectUnknown);
    assert_eq!(world.reason("group:g", "portfolio.view"), Reason::SubjectUnknown);
    let ann = subject("user:ann");
    let query = Query {
        subject: &ann,
        permission: "portfolio.view",
        portfolio: "elsewhere",
        author: None,
        item: None,
        at: Timestamp(NOW),
    };
    let decision = check(&world.global, &world.snapshot, &query).unwrap();
    assert_eq!((decision.allowed, decision.reason), (false, Reason::PortfolioUnknown));
}

#[test]
fn acc_2_access_begins_and_ends_to_the_millisecond() {
    let world = World::private(
        vec![],
        vec![
            during(grant("user:ann", "viewer"), Some(1_000), Some(2_000)),
            during(grant("user:bob", "viewer"), Some(2_000), Some(1_000)),
        ],
    );
    assert_eq!(world.holds("user:ann", 999), (false, Some(1_000)));
    assert_eq!(world.holds("user:ann", 1_000), (true, Some(2_000)));
    assert_eq!(world.holds("user:ann", 1_999), (true, Some(2_000)));
    assert_eq!(world.holds("user:ann", 2_000), (false, None));
    assert_eq!(world.holds("user:bob", 500), (false, None), "ends before it begins");
}

#[test]
fn acc_4_own_needs_an_author_and_it_must_be_the_subject() {
    let world = World::private(vec![], vec![grant("user:ann", "viewer")]);
    let by = |author| world.decide("user:ann", "comment.edit", author, NOW).reason;
    assert_eq!(by(Some("user:ann")), Reason::DirectGrant);
    assert_eq!(by(Some("user:bob")), Reason::NotAuthor);
    assert_eq!(by(Some("group:ann")), Reason::NotAuthor);
    assert_eq!(by(None), Reason::AuthorUnknown);
}

#[test]
fn acc_10_an_answer_holds_over_periods_that_overlap_or_touch() {
    let viewer = |who, start, end| during(grant(who, "viewer"), Some(start), Some(end));
    let world = World::private(
        vec![knows("user:ann", EXTERNAL, &["g"])],
        vec![
            viewer("user:ann", 100, 200),
            viewer("group:g", 200, 300),
            viewer("user:ann", 150, 180),
            viewer("group:g", 301, 400),
            viewer("user:max", 100, 200),
            during(grant("user:max", "viewer"), Some(150), None),
        ],
    );
    assert_eq!(world.holds("user:ann", 120), (true, Some(300)));
    assert_eq!(world.holds("user:ann", 300), (false, Some(301)));
    assert_eq!(world.holds("user:ann", 50), (false, Some(100)));
    assert_eq!(world.holds("user:max", 120), (true, None), "an unending one takes over");
    let never = world.decide("user:ann", "epic.link", None, 50);
    assert_eq!((never.reason, never.hold_until), (Reason::NoAccess, None));
}

#[test]
fn a_change_leaves_the_bytes_of_a_fresh_compile_and_the_old_snapshot_alone() {
    let world = World::private(
        vec![knows("group:g", HOME, &[]), knows("user:ann", HOME, &["g"])],
        vec![grant("group:g", "viewer")],
    );
    let gone = OrganizationChanges {
        items: Vec::new(),
        roles: vec![("viewer".parse().unwrap(), None)],
        subjects: vec![(subject("user:ann"), None), (subject("user:nobody"), None)],
        portfolios: vec![("roadmap".parse().unwrap(), None)],
    };
    let empty = world.snapshot.apply(gone, &world.global);
    assert!(empty.bytes() < world.snapshot.bytes());
    assert!(!empty.contains_portfolio("roadmap"));
    assert_eq!(role_holdings(&world.global, &empty, "viewer"), None);
    let again = facts(
        vec![knows("user:ann", HOME, &["g"])],
        portfolio(Visibility::Private, "viewer", vec![grant("group:g", "viewer")]),
    );
    let back = OrganizationChanges {
        items: Vec::new(),
        roles: again.roles.into_iter().map(|fact| (fact.key.clone(), Some(fact))).collect(),
        subjects: again.subjects.into_iter().map(|f| (f.subject.clone(), Some(f))).collect(),
        portfolios: again.portfolios.into_iter().map(|f| (f.id.clone(), Some(f))).collect(),
    };
    let restored = empty.apply(back, &world.global);
    assert_eq!(restored.bytes(), world.snapshot.bytes());
    assert_eq!(world.reason("user:ann", "portfolio.view"), Reason::GroupGrant);
    assert_eq!(restored.portfolio_ids().count(), 1);
    assert_eq!(restored.organization().as_str(), "acme");
}
