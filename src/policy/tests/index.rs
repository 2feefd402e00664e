//! The reverse index, parts in any order, and changes one after the other, on random facts: against
//! a recount, and against everything compiled anew.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::domain::PortfolioId;
use crate::domain::fact::{FactsPart, MembershipFact, StandingFact};
use crate::domain::page::Page;
use crate::domain::portfolio::MOST_LINKS;
use crate::policy::apply::reachable;
use crate::policy::party::Who;
use crate::policy::portfolio::{NOWHERE, Settings};
use crate::policy::snapshot::{Ordered, Shelf};

const GROUPS: [&str; 5] = ["g0", "g1", "g2", "g3", "g4"];
const ROLES: [&str; 4] = ["manager", "contributor", "viewer", "undefined"];
const PERMISSIONS: [&str; 4] = ["portfolio.view", "members.invite", "initiative.edit", "epic.link"];

fn who() -> impl Strategy<Value = Subject> {
    let people = (0..5).map(|n| subject(&format!("user:u{n}")));
    let groups = GROUPS.map(|id| subject(&format!("group:{id}")));
    let others = ["user:gone", "service_account:ci"].map(subject);
    select(people.chain(groups).chain(others).collect::<Vec<_>>())
}

fn standing() -> impl Strategy<Value = Standing> {
    let role = select(vec![SiteRole::Guest, SiteRole::Viewer, SiteRole::Editor]);
    (any::<bool>(), option::of(role), prop::bool::weighted(0.2))
        .prop_map(|(home, site_role, administrator)| Standing { home, site_role, administrator })
}

fn subject_fact() -> impl Strategy<Value = SubjectFact> {
    let groups = proptest::sample::subsequence(GROUPS.to_vec(), 0..3);
    (who(), standing(), prop::bool::weighted(0.9), groups).prop_map(
        |(subject, standing, active, groups)| {
            let groups = groups.into_iter().map(|id| id.parse().unwrap()).collect();
            SubjectFact { subject, standing, active, groups }
        },
    )
}

/// Twelve portfolios, of which each world has some. Links lead to any of them, there or not, in
/// circles too.
fn portfolio_fact() -> impl Strategy<Value = PortfolioFact> {
    let visibility = select(vec![Visibility::Private, Visibility::Restricted, Visibility::Open]);
    let instant = || option::of((NOW - 2..NOW + 2).prop_map(Timestamp));
    let grants = vec((who(), select(ROLES.to_vec()), instant(), instant()), 0..4);
    let link = option::of(0..12);
    let all = (0..12, visibility, select(ROLES.to_vec()), grants, link);
    all.prop_map(|(n, visibility, role, grants, link)| {
        let grant = |(subject, role, start_time, expire_time): (_, &str, _, _)| GrantFact {
            subject,
            role: role.parse().unwrap(),
            start_time,
            expire_time,
        };
        PortfolioFact {
            id: format!("p{n}").parse().unwrap(),
            link: link.map(|n| format!("p{n}").parse().unwrap()),
            ..portfolio(visibility, role, grants.into_iter().map(grant).collect())
        }
    })
}

/// Facts by their keys: of several the last.
#[derive(Clone, Debug, Default)]
struct Facts {
    subjects: BTreeMap<Subject, SubjectFact>,
    portfolios: BTreeMap<PortfolioId, PortfolioFact>,
}

impl Facts {
    fn of(subjects: Vec<SubjectFact>, portfolios: Vec<PortfolioFact>) -> Self {
        Self {
            subjects: subjects.into_iter().map(|it| (it.subject.clone(), it)).collect(),
            portfolios: portfolios.into_iter().map(|it| (it.id.clone(), it)).collect(),
        }
    }

    fn compile(&self, global: &Global) -> Snapshot {
        let subjects = self.subjects.values().cloned().collect();
        let portfolios = self.portfolios.values().cloned().collect();
        let one = portfolio(Visibility::Private, "viewer", vec![]);
        Snapshot::compile(OrganizationFacts { portfolios, ..facts(subjects, one) }, global)
    }

    fn change(&mut self, change: &OrganizationChanges) {
        for (subject, fact) in &change.subjects {
            self.subjects.remove(subject);
            self.subjects.extend(fact.clone().map(|fact| (subject.clone(), fact)));
        }
        for (id, fact) in &change.portfolios {
            self.portfolios.remove(id);
            self.portfolios.extend(fact.clone().map(|fact| (id.clone(), fact)));
        }
    }

    /// One fact a part.
    fn parts(&self) -> Vec<FactsPart> {
        let role = |fact| FactsPart { roles: vec![fact], ..FactsPart::default() };
        let one = portfolio(Visibility::Private, "viewer", vec![]);
        let roles = facts(vec![], one).roles.into_iter().map(role);
        let standing = |it: &SubjectFact| {
            let (subject, standing, active) = (it.subject.clone(), it.standing, it.active);
            let standings = vec![StandingFact { subject, standing, active }];
            FactsPart { standings, ..FactsPart::default() }
        };
        let membership = |it: &SubjectFact| {
            let member = it.subject.clone();
            let memberships = it.groups.iter().cloned().map(move |group| {
                let memberships = vec![MembershipFact { group, member: member.clone() }];
                FactsPart { memberships, ..FactsPart::default() }
            });
            memberships.collect::<Vec<_>>()
        };
        let portfolios = self
            .portfolios
            .values()
            .cloned()
            .map(|fact| FactsPart { portfolios: vec![fact], ..FactsPart::default() });
        roles
            .chain(self.subjects.values().map(standing))
            .chain(self.subjects.values().flat_map(membership))
            .chain(portfolios)
            .collect()
    }
}

/// Changes of facts that are there, that are not, and that go; some several times.
fn change() -> impl Strategy<Value = OrganizationChanges> {
    let subjects = vec((subject_fact(), prop::bool::weighted(0.8)), 0..3);
    let portfolios = vec((portfolio_fact(), prop::bool::weighted(0.7)), 0..3);
    (subjects, portfolios).prop_map(|(subjects, portfolios)| OrganizationChanges {
        items: Vec::new(),
        roles: Vec::new(),
        subjects: subjects
            .into_iter()
            .map(|(fact, stays)| (fact.subject.clone(), stays.then_some(fact)))
            .collect(),
        portfolios: portfolios
            .into_iter()
            .map(|(fact, stays)| (fact.id.clone(), stays.then_some(fact)))
            .collect(),
    })
}

/// Everything that is kept twice, found out anew from what it is kept of.
fn recount(snapshot: &Snapshot) {
    let everybody = || {
        let people = (0..).zip(snapshot.people_names.keys()).map(|(n, _)| Who::person(n));
        people.chain((0..).zip(snapshot.group_names.keys()).map(|(n, _)| Who::group(n)))
    };
    for who in everybody() {
        let naming = snapshot.portfolios_after(None).filter(|(_, it)| it.names(who));
        let naming: Vec<&PortfolioId> = naming.map(|(id, _)| id).collect();
        let kept = snapshot.party(who).unwrap().portfolios().iter();
        let kept: Vec<_> = kept.map(|n| snapshot.portfolio_names.key(*n).unwrap()).collect();
        assert_eq!(kept, naming, "{:?}", snapshot.subject(who));
    }
    for number in (0..).take(snapshot.groups.len()) {
        let group = snapshot.group(number).unwrap();
        let inside = |who: &Who| snapshot.party(*who).unwrap().groups().contains(&number);
        let (people, children): (Vec<Who>, Vec<Who>) =
            everybody().filter(inside).partition(|who| who.as_group().is_none());
        let people: Vec<u32> = people.into_iter().filter_map(Who::as_person).collect();
        let children: Vec<u32> = children.into_iter().filter_map(Who::as_group).collect();
        assert_eq!((&*group.members, &*group.children), (&*people, &*children));
        let above =
            reachable(BTreeSet::from([number]), |id| Some(snapshot.group(id)?.party.groups()));
        let closure: BTreeSet<u32> = snapshot.closure(number).iter().copied().collect();
        assert_eq!((closure.len(), &closure), (snapshot.closure(number).len(), &above));
    }
    let mut shelves: BTreeMap<Shelf, Ordered> = BTreeMap::new();
    for (id, number) in &snapshot.order {
        let portfolio = snapshot.portfolio_of(*number).unwrap();
        assert_eq!(snapshot.portfolio_names.key(*number), Some(id));
        let root = snapshot.root(*number).and_then(|root| snapshot.portfolio_of(root));
        if let Some(shelf) = root.and_then(|root| Shelf::of(root.settings)) {
            shelves.entry(shelf).or_default().insert(id.clone(), *number);
        }
        assert!(root.is_some() || matches!(portfolio.settings, Settings::Linked { .. }));
    }
    recount_links(snapshot);
    assert_eq!(snapshot.order.len(), snapshot.portfolios.iter().flatten().count());
    assert_eq!(
        snapshot.shelves.iter().map(|(k, v)| (*k, v.clone())).collect::<BTreeMap<_, _>>(),
        shelves
    );
    let administrators = everybody().filter(|who| {
        who.as_person().is_some() && snapshot.party(*who).unwrap().standing.is_administrator()
    });
    let administrators: Vec<u32> = administrators.filter_map(Who::as_person).collect();
    assert_eq!(snapshot.administrators.iter().copied().collect::<Vec<_>>(), administrators);
}

/// The roots, the owners and the followers, found out anew from the links alone.
fn recount_links(snapshot: &Snapshot) {
    let mut followers: BTreeMap<u32, Ordered> = BTreeMap::new();
    for (id, number) in &snapshot.order {
        let portfolio = snapshot.portfolio_of(*number).unwrap();
        let link = snapshot.links.get(number);
        let Settings::Linked { root } = portfolio.settings else {
            assert_eq!(link, None);
            continue;
        };
        let (mut owners, mut at, mut links) = (Vec::new(), *number, 0);
        while let Some(link) = snapshot.links.get(&at).filter(|_| links <= MOST_LINKS) {
            owners.extend(link.owner);
            (at, links) = (link.parent, links + 1);
        }
        let there = links <= MOST_LINKS && snapshot.portfolio_of(at).is_some();
        assert_eq!(root, if there { at } else { NOWHERE });
        owners.sort_by_key(|owner| owner.subject);
        assert_eq!(portfolio.grants().collect::<Vec<_>>(), owners);
        followers.entry(root).or_default().insert(id.clone(), *number);
    }
    let linked = snapshot.links.keys().all(|number| snapshot.portfolio_of(*number).is_some());
    assert!(linked, "a link of what is not there");
    let kept = snapshot.followers.iter().map(|(root, them)| (*root, them.clone()));
    assert_eq!(kept.collect::<BTreeMap<_, _>>(), followers);
}

/// What the lists of a subject say, page by page, is what the check and the row say of each.
fn lists_agree(global: &Global, snapshot: &Snapshot, who: &Subject, size: usize) {
    let at = Timestamp(NOW);
    let ids: Vec<PortfolioId> = (0..12).map(|n| format!("p{n}").parse().unwrap()).collect();
    let ids: BTreeSet<PortfolioId> = ids.into_iter().collect();
    for permission in PERMISSIONS {
        let allowed = |id: &&PortfolioId| {
            let portfolio = id.as_str();
            let query = Query { subject: who, permission, portfolio, author: None, item: None, at };
            check(global, snapshot, &query).unwrap().allowed
        };
        let list = |page: &Page<PortfolioId>| {
            accessible_portfolios(global, snapshot, who, permission, at, page).unwrap()
        };
        let listed = pages(size, list, |(id, _)| id.clone());
        let listed: Vec<PortfolioId> = listed.into_iter().map(|(id, _)| id).collect();
        let expected: Vec<PortfolioId> = ids.iter().filter(allowed).cloned().collect();
        assert_eq!(listed, expected, "{who} {permission}");
    }
    let administers = is_administrator(global, snapshot, who);
    for view in [None, Some(View::Mine), Some(View::Organization), Some(View::Administered)] {
        let row = |id: &PortfolioId| portfolio_row(global, snapshot, Some(who), id.as_str(), at);
        let is_wanted = |row: &PortfolioRow| match view {
            None => true,
            Some(View::Mine) => row.view == View::Mine,
            Some(View::Organization) => row.view != View::Mine,
            Some(View::Administered) => administers,
        };
        let list = |page: &Page<PortfolioId>| {
            listed_portfolios(global, snapshot, Some(who), view, at, page)
        };
        let expected: Vec<_> = ids.iter().filter_map(row).filter(is_wanted).collect();
        assert_eq!(pages(size, list, |row| row.id.clone()), expected, "{who} {view:?}");
    }
}

fn pages<T, K>(
    size: usize,
    list: impl Fn(&Page<K>) -> Excerpt<T>,
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let Excerpt { rows, more } = list(&Page { size, after });
        assert!(rows.len() == size || !more);
        after = rows.last().map(&key);
        all.extend(rows);
        if !more {
            return all;
        }
    }
}

fn everyone() -> impl Iterator<Item = Subject> {
    let groups = GROUPS.map(|id| format!("group:{id}")).into_iter();
    let users = (0..6).map(|n| format!("user:u{n}"));
    let others = ["user:gone", "service_account:ci"].map(str::to_owned);
    users.chain(groups).chain(others).map(|text| subject(&text))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_twice_stays_in_step_and_lists_are_the_check_asked_of_each(
        subjects in vec(subject_fact(), 0..10),
        portfolios in vec(portfolio_fact(), 0..10),
        changes in vec(change(), 0..8),
        size in 1..4_usize,
    ) {
        let global = catalogue(&["gone"]);
        let mut facts = Facts::of(subjects, portfolios);
        let first = facts.compile(&global);
        let mut snapshot = first.clone();
        recount(&first);
        for change in changes {
            facts.change(&change);
            snapshot = snapshot.apply(change, &global);
            recount(&snapshot);
        }
        // The first one has been shared with all of them, and none has touched it.
        recount(&first);
        let anew = facts.compile(&global);
        for who in everyone() {
            lists_agree(&global, &first, &who, size);
            lists_agree(&global, &snapshot, &who, size);
            let rows = |of: &Snapshot| {
                let page = Page { size: 12, after: None };
                listed_portfolios(&global, of, Some(&who), None, Timestamp(NOW), &page)
            };
            prop_assert_eq!(rows(&snapshot), rows(&anew));
        }
    }

    #[test]
    fn parts_in_any_order_compile_to_what_all_at_once_does(
        subjects in vec(subject_fact(), 0..10),
        portfolios in vec(portfolio_fact(), 0..10),
        order in vec(any::<Index>(), 60),
    ) {
        let global = catalogue(&["gone"]);
        let facts = Facts::of(subjects, portfolios);
        let at_once = facts.compile(&global);
        let mut parts = facts.parts();
        let mut compiler = Compiler::new("acme".parse().unwrap());
        for index in order {
            if !parts.is_empty() {
                compiler.add(parts.swap_remove(index.index(parts.len())));
            }
        }
        for part in parts {
            compiler.add(part);
        }
        let by_parts = compiler.finish(&global);
        recount(&by_parts);
        prop_assert_eq!(by_parts.bytes(), at_once.bytes());
        for who in everyone() {
            for permission in PERMISSIONS {
                let list = |of: &Snapshot| {
                    let page = Page { size: 12, after: None };
                    accessible_portfolios(&global, of, &who, permission, Timestamp(NOW), &page)
                };
                prop_assert_eq!(list(&by_parts), list(&at_once));
            }
            let rows = |of: &Snapshot| {
                let page = Page { size: 12, after: None };
                listed_portfolios(&global, of, Some(&who), None, Timestamp(NOW), &page)
            };
            prop_assert_eq!(rows(&by_parts), rows(&at_once));
        }
    }
}

/// Larger than a page of anything, so that pages are filled, shared and copied.
#[test]
fn a_large_world_is_found_again_and_a_change_leaves_the_old_one_alone() {
    let global = catalogue(&[]);
    let name = |n: usize| format!("user:u{n}");
    let on = |n: usize| PortfolioFact {
        id: format!("p{n}").parse().unwrap(),
        ..portfolio(Visibility::Private, "viewer", vec![grant(&name(n), "viewer")])
    };
    let mut all = facts(vec![], on(0));
    all.portfolios = (0..20_000).map(on).collect();
    let snapshot = Snapshot::compile(all, &global);
    let ask = |of: &Snapshot, who: usize, on: usize| {
        let (subject, portfolio) = (subject(&name(who)), format!("p{on}"));
        let at = Timestamp(NOW);
        let query = Query {
            subject: &subject,
            permission: "portfolio.view",
            portfolio: &portfolio,
            author: None,
            item: None,
            at,
        };
        check(&global, of, &query).unwrap().reason
    };
    for n in 0..20_000 {
        assert_eq!(ask(&snapshot, n, n), Reason::DirectGrant);
    }
    assert_eq!(ask(&snapshot, 20_000, 0), Reason::SubjectUnknown);
    let moved = |n: usize| PortfolioFact { id: format!("p{n}").parse().unwrap(), ..on(n + 1) };
    let portfolios = (0..30_000).step_by(77).map(moved).map(|it| (it.id.clone(), Some(it)));
    let changes =
        OrganizationChanges { portfolios: portfolios.collect(), ..OrganizationChanges::default() };
    let next = snapshot.apply(changes, &global);
    for n in 0..20_000 {
        let expected = if n % 77 == 0 { Reason::SubjectUnknown } else { Reason::DirectGrant };
        assert_eq!(ask(&next, n, n), expected, "{n}");
        assert_eq!(ask(&snapshot, n, n), Reason::DirectGrant);
    }
    recount_some(&next);
}

/// The reverse index of those whom few portfolios name.
fn recount_some(snapshot: &Snapshot) {
    let mut naming: BTreeMap<Who, Vec<u32>> = BTreeMap::new();
    for (id, portfolio) in snapshot.portfolios_after(None) {
        let number = snapshot.portfolio_names.find(id).unwrap();
        portfolio.named().for_each(|who| naming.entry(who).or_default().push(number));
    }
    for (number, _) in (0..).zip(snapshot.people_names.keys()) {
        let who = Who::person(number);
        let expected = naming.remove(&who).unwrap_or_default();
        assert_eq!(snapshot.party(who).unwrap().portfolios(), expected);
    }
}

/// So many groups that they are kept otherwise than few are.
#[test]
fn dir_4_somebody_in_many_groups_has_the_grants_of_each_and_of_no_other() {
    let group = |n: usize| format!("group:g{n}");
    let nested = |n: usize| knows(&group(n), HOME, &[format!("g{}", n + 2_000).as_str()]);
    let groups: Vec<String> = (0..1_400).step_by(2).map(|n| format!("g{n}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let mut subjects = vec![knows("user:ann", HOME, &groups)];
    subjects.extend((0..1_400).map(nested));
    let on = |n: usize| PortfolioFact {
        id: format!("p{n}").parse().unwrap(),
        ..portfolio(Visibility::Private, "viewer", vec![grant(&group(n), "viewer")])
    };
    let mut all = facts(subjects, on(0));
    all.portfolios = (0..1_400).chain(2_000..3_400).map(on).collect();
    let global = catalogue(&[]);
    let snapshot = Snapshot::compile(all, &global);
    for n in (0..1_400).chain(2_000..3_400) {
        let listed =
            may_list(&global, &snapshot, &subject("user:ann"), &format!("p{n}"), Timestamp(NOW));
        assert_eq!(listed, n % 2 == 0, "{n}");
    }
}
