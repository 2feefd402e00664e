//! Linked portfolios (INH-1, INH-2, INH-4).

use super::*;
use crate::domain::PortfolioId;
use crate::domain::page::Page;
use crate::domain::portfolio::MOST_LINKS;

const PERMISSIONS: [&str; 4] = ["portfolio.view", "initiative.edit", "members.view", "epic.link"];

/// A portfolio, its owner, and the one that it is linked to.
fn node(id: &str, owner: Option<&str>, link: Option<&str>) -> PortfolioFact {
    let grants = owner.map(|owner| grant(&format!("user:{owner}"), "manager"));
    PortfolioFact {
        id: id.parse().unwrap(),
        link: link.map(|link| link.parse().unwrap()),
        ..portfolio(Visibility::Private, "viewer", grants.into_iter().collect())
    }
}

struct Forest {
    global: Global,
    snapshot: Snapshot,
}

impl Forest {
    fn of(portfolios: Vec<PortfolioFact>) -> Self {
        let global = catalogue(&[]);
        let mut all = facts(
            vec![
                knows("user:ann", HOME, &[]),
                knows("user:bob", HOME, &[]),
                knows("user:cid", HOME, &[]),
                knows("user:hugo", HOME, &["crew"]),
                knows("group:crew", HOME, &[]),
            ],
            portfolio(Visibility::Private, "viewer", vec![]),
        );
        all.portfolios = portfolios;
        let snapshot = Snapshot::compile(all, &global);
        Self { global, snapshot }
    }

    fn with(&self, changed: Vec<PortfolioFact>) -> Self {
        let changed = changed.into_iter().map(|fact| (fact.id.clone(), Some(fact))).collect();
        self.change(changed)
    }

    fn without(&self, id: &str) -> Self {
        self.change(vec![(id.parse().unwrap(), None)])
    }

    fn change(&self, portfolios: Vec<(PortfolioId, Option<PortfolioFact>)>) -> Self {
        let changes = OrganizationChanges { portfolios, ..OrganizationChanges::default() };
        let snapshot = self.snapshot.apply(changes, &self.global);
        Self { global: self.global.clone(), snapshot }
    }

    fn allows(&self, who: &str, permission: &str, portfolio: &str) -> bool {
        let (subject, at) = (subject(&format!("user:{who}")), Timestamp(NOW));
        let query =
            Query { subject: &subject, permission, portfolio, author: None, item: None, at };
        check(&self.global, &self.snapshot, &query).unwrap().allowed
    }

    /// The portfolios on which these may edit initiatives.
    fn edits(&self, who: &str) -> Vec<String> {
        let who = subject(&format!("user:{who}"));
        let page = Page { size: 100, after: None };
        let (permission, at) = ("initiative.edit", Timestamp(NOW));
        let found =
            accessible_portfolios(&self.global, &self.snapshot, &who, permission, at, &page);
        found.unwrap().rows.into_iter().map(|(id, _)| id.to_string()).collect()
    }

    fn explain(&self, who: &str, portfolio: &str) -> Explanation {
        let (subject, at) = (subject(&format!("user:{who}")), Timestamp(NOW));
        let permission = "initiative.edit";
        let query =
            Query { subject: &subject, permission, portfolio, author: None, item: None, at };
        explain(&self.global, &self.snapshot, &query, 10).unwrap()
    }

    fn row(&self, who: &str, portfolio: &str) -> PortfolioRow {
        let who = subject(&format!("user:{who}"));
        let (global, snapshot) = (&self.global, &self.snapshot);
        portfolio_row(global, snapshot, Some(&who), portfolio, Timestamp(NOW)).unwrap()
    }

    /// Everything that is decided about everybody everywhere.
    fn decisions(&self) -> Vec<bool> {
        let mut decisions = Vec::new();
        for who in ["ann", "bob", "cid", "hugo"] {
            for permission in PERMISSIONS {
                for portfolio in ["root", "mid", "leaf"] {
                    decisions.push(self.allows(who, permission, portfolio));
                }
            }
        }
        decisions
    }
}

/// `leaf`, which is Cid's, is linked to `mid`, which is Bob's, and that to `root`, which is Ann's;
/// on the root the crew are contributors, and the organization are viewers.
fn family() -> Vec<PortfolioFact> {
    let mut root = node("root", Some("ann"), None);
    root.grants.push(grant("group:crew", "contributor"));
    root.visibility = Visibility::Open;
    vec![node("leaf", Some("cid"), Some("mid")), node("mid", Some("bob"), Some("root")), root]
}

#[test]
fn inh_1_a_chain_of_links_ends_in_the_settings_that_are_in_force() {
    let forest = Forest::of(family());
    for portfolio in ["root", "mid", "leaf"] {
        assert!(forest.allows("hugo", "initiative.edit", portfolio), "{portfolio}");
        assert!(forest.allows("ann", "access.manage", portfolio), "{portfolio}");
    }
    assert_eq!(forest.edits("hugo"), ["leaf", "mid", "root"]);
    let row = forest.row("bob", "leaf");
    assert_eq!((row.view, row.visibility), (View::Mine, Visibility::Open));
}

#[test]
fn inh_1_what_is_a_linked_portfolios_own_is_suspended() {
    let mut family = family();
    family[0].visibility = Visibility::Open;
    family[0].organization_access_role = "manager".parse().unwrap();
    family[2].visibility = Visibility::Private;
    let forest = Forest::of(family);
    assert!(!forest.allows("bob", "portfolio.view", "root"));
    assert!(!forest.allows("cid", "portfolio.view", "mid"));
    let row = forest.row("ann", "leaf");
    assert_eq!(row.visibility, Visibility::Private);
}

#[test]
fn inh_2_the_owners_along_a_chain_keep_what_is_below_them() {
    let forest = Forest::of(family());
    assert_eq!(forest.edits("ann"), ["leaf", "mid", "root"]);
    assert_eq!(forest.edits("bob"), ["leaf", "mid"]);
    assert_eq!(forest.edits("cid"), ["leaf"]);
    let managers = forest.row("ann", "leaf").managers;
    assert_eq!(managers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ann", "bob", "cid"]);
    // Ann, Bob, Cid, and Hugo, who is of the crew.
    assert_eq!(forest.row("ann", "leaf").member_count, 4);
    let ann = subject("user:ann");
    let found = subjects_with(
        &forest.global,
        &forest.snapshot,
        "access.manage",
        "leaf",
        Whom::Granted,
        Timestamp(NOW),
        &Page { size: 9, after: None },
    );
    let found: Vec<Subject> = found.unwrap().rows.into_iter().map(|(who, _)| who).collect();
    assert_eq!(found, [ann, subject("user:bob"), subject("user:cid")]);
}

#[test]
fn mem_6_a_linked_portfolio_is_managed_by_the_settings_in_force_and_by_its_own_owner() {
    let managed = |forest: &Forest, id: &str| {
        is_managed(&forest.global, &forest.snapshot, id, Timestamp(NOW))
    };
    let ownerless = [node("root", None, None), node("leaf", Some("cid"), Some("root"))];
    let forest = Forest::of(ownerless.to_vec());
    assert!(!managed(&forest, "root") && managed(&forest, "leaf"));
    let forest =
        forest.with(vec![node("root", Some("ann"), None), node("leaf", None, Some("root"))]);
    assert!(managed(&forest, "root") && managed(&forest, "leaf"));
}

/// What unlinking leaves: a copy of the settings in force, with the owners' grants as managers'.
fn copied(of: &[PortfolioFact], id: &str) -> PortfolioFact {
    let find = |id: &PortfolioId| of.iter().find(|it| it.id == *id).unwrap();
    let own = find(&id.parse().unwrap());
    let (mut at, mut grants) = (own, Vec::new());
    loop {
        grants.extend(at.grants.clone());
        match &at.link {
            Some(link) => at = find(link),
            None => return PortfolioFact { id: own.id.clone(), grants, ..at.clone() },
        }
    }
}

#[test]
fn inh_4_nobody_gains_or_loses_by_unlinking_wherever_it_is() {
    let family = family();
    let forest = Forest::of(family.clone());
    let before = forest.decisions();
    for id in ["leaf", "mid"] {
        let unlinked = forest.with(vec![copied(&family, id)]);
        assert_eq!(unlinked.decisions(), before, "{id}");
        assert!(unlinked.explain("cid", id).links.is_empty());
    }
    let copies = vec![copied(&family, "mid"), copied(&family, "leaf")];
    assert_eq!(forest.with(copies).decisions(), before);
}

#[test]
fn inh_1_what_changes_in_the_middle_changes_everything_below() {
    let forest = Forest::of(family());
    // Linked to nothing any more, with nobody but its owner.
    let alone = forest.with(vec![node("mid", Some("bob"), None)]);
    assert_eq!(
        (alone.edits("hugo"), alone.edits("ann")),
        (vec!["root".to_owned()], vec!["root".to_owned()])
    );
    assert_eq!(alone.edits("bob"), ["leaf", "mid"]);
    // To another root.
    let moved = alone
        .with(vec![node("other", Some("hugo"), None), node("mid", Some("bob"), Some("other"))]);
    assert_eq!(moved.edits("hugo"), ["leaf", "mid", "other", "root"]);
    // Another owner.
    let sold = forest.with(vec![node("mid", Some("hugo"), Some("root"))]);
    assert_eq!(sold.edits("bob"), [""; 0]);
    // The visibility of the root.
    assert!(forest.allows("bob", "portfolio.view", "root"));
    let closed = forest.with(vec![node("root", Some("ann"), None)]);
    let mine = closed.edits("bob");
    assert_eq!(mine, ["leaf", "mid"]);
    assert!(!closed.allows("cid", "portfolio.view", "mid"));
    // And everything as it was.
    let back = closed.with(family());
    assert_eq!(back.decisions(), forest.decisions());
    assert_eq!(back.snapshot.bytes(), forest.snapshot.bytes());
}

#[test]
fn inh_1_the_order_of_changes_does_not_matter() {
    let forest = Forest::of(vec![node("root", Some("ann"), None)]);
    let mut family = family();
    let down = forest.with(family.clone());
    family.reverse();
    let up = forest.with(family.clone());
    let apart = family.into_iter().fold(forest, |forest, fact| forest.with(vec![fact]));
    for forest in [down, up, apart] {
        assert_eq!(forest.decisions(), Forest::of(self::family()).decisions());
    }
}

#[test]
fn inh_1_a_chain_that_leads_nowhere_leaves_the_owners() {
    let forest = Forest::of(family());
    for gone in [forest.without("root"), Forest::of(family()[..2].to_vec())] {
        assert_eq!(gone.edits("ann"), [""; 0]);
        assert_eq!(gone.edits("bob"), ["leaf", "mid"]);
        assert_eq!(gone.edits("cid"), ["leaf"]);
        assert_eq!(gone.edits("hugo"), [""; 0]);
        // It comes back.
        assert_eq!(gone.with(vec![family().remove(2)]).decisions(), forest.decisions());
    }
    let circle =
        vec![node("mid", Some("bob"), Some("leaf")), node("leaf", Some("cid"), Some("mid"))];
    let forest = Forest::of(circle);
    assert_eq!(
        (forest.edits("bob"), forest.edits("cid")),
        (forest.edits("cid"), forest.edits("bob"))
    );
    assert_eq!(forest.edits("bob"), ["leaf", "mid"]);
}

#[test]
fn inh_1_a_chain_has_sixteen_links_at_most() {
    let id = |n: usize| format!("p{n:02}");
    let link = |n: usize| node(&id(n), None, Some(&id(n + 1)));
    let chain = |links: usize| {
        let mut chain: Vec<PortfolioFact> = (0..links).map(link).collect();
        chain.push(node(&id(links), Some("ann"), None));
        Forest::of(chain)
    };
    assert!(chain(MOST_LINKS).allows("ann", "portfolio.view", "p00"));
    assert_eq!(chain(MOST_LINKS).explain("ann", "p00").links.len(), MOST_LINKS);
    assert!(!chain(MOST_LINKS + 1).allows("ann", "portfolio.view", "p00"));
    assert!(chain(MOST_LINKS + 1).allows("ann", "portfolio.view", "p01"));
}

#[test]
fn acc_8_a_route_says_whose_settings_or_ownership_it_is() {
    let forest = Forest::of(family());
    let linked = |id: &str| Origin::Linked(id.parse().unwrap());
    let origins = |who: &str, on: &str| {
        let explanation = forest.explain(who, on);
        let links: Vec<String> =
            explanation.links.iter().flatten().map(ToString::to_string).collect();
        let of = |route: ExplainedRoute| (route.way, route.origin);
        (explanation.routes.into_iter().map(of).collect::<Vec<_>>(), links)
    };
    let (open, direct) = (Way::OrganizationAccess { bounded: false }, Way::Direct);
    let chain = vec!["mid".to_owned(), "root".to_owned()];
    assert_eq!(
        origins("bob", "leaf"),
        (vec![(direct.clone(), linked("mid")), (open.clone(), linked("root"))], chain.clone())
    );
    assert_eq!(
        origins("cid", "leaf"),
        (vec![(direct.clone(), Origin::Itself), (open.clone(), linked("root"))], chain.clone())
    );
    let (routes, _) = origins("hugo", "leaf");
    assert_eq!(
        routes.iter().map(|(_, of)| of.clone()).collect::<Vec<_>>(),
        [linked("root"), linked("root")]
    );
    assert_eq!(
        origins("ann", "root"),
        (vec![(direct, Origin::Itself), (open, Origin::Itself)], vec![])
    );
    // Who may not list the middle is not told of it.
    let told = forest.explain("bob", "leaf").telling(|id| id.as_str() != "mid");
    assert_eq!(told.links, [None, Some("root".parse().unwrap())]);
    assert_eq!(told.routes[0].origin, Origin::Untold);
}

#[test]
fn acc_8_who_could_give_it_gives_it_where_the_settings_are() {
    let mut family = family();
    family[2].visibility = Visibility::Private;
    let forest = Forest::of(family.clone());
    let givers = |forest: &Forest| {
        let users = forest.explain("dora", "leaf").givers.users;
        users.into_iter().map(|giver| giver.user.to_string()).collect::<Vec<_>>()
    };
    // Bob and Cid manage what is below, but nobody is added there (INH-3).
    assert_eq!(givers(&forest), ["ann"]);
    family[2].archived = true;
    assert_eq!(givers(&Forest::of(family)), [""; 0]);
}

#[test]
fn vis_8_archived_is_what_is_archived_and_not_what_is_linked_to_it() {
    let mut family = family();
    family[2].archived = true;
    let forest = Forest::of(family);
    assert!(!forest.allows("hugo", "initiative.edit", "root"));
    assert!(forest.allows("hugo", "initiative.edit", "leaf"));
    let mut leaf = node("leaf", Some("cid"), Some("mid"));
    leaf.archived = true;
    let forest = forest.with(vec![leaf]);
    assert!(!forest.allows("hugo", "initiative.edit", "leaf"));
    assert!(forest.allows("hugo", "initiative.edit", "mid"));
}

/// One key, whatever the number of those below.
#[test]
fn inh_1_one_change_reaches_ten_thousand_followers() {
    let below = (0..10_000).map(|n| node(&format!("p{n}"), None, Some("mid")));
    let mut all: Vec<PortfolioFact> = below.collect();
    all.extend(family());
    let forest = Forest::of(all);
    assert!(forest.allows("hugo", "initiative.edit", "p9999"));
    let closed = forest.with(vec![node("root", Some("ann"), None)]);
    assert!(!closed.allows("hugo", "portfolio.view", "p9999"));
    let alone = forest.with(vec![node("mid", Some("hugo"), None)]);
    assert!(alone.allows("hugo", "access.manage", "p9999"));
    assert!(!alone.allows("ann", "portfolio.view", "p9999"));
    let page = Page { size: 2, after: Some("p9998".parse().unwrap()) };
    let hugo = subject("user:hugo");
    let (global, at) = (&alone.global, Timestamp(NOW));
    let found =
        accessible_portfolios(global, &alone.snapshot, &hugo, "access.manage", at, &page).unwrap();
    let found: Vec<String> = found.rows.into_iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(found, ["p9999"]);
}
