use super::RouteEffect::{Allows, Ended, Lacks, NotBegun};
use super::*;

const ADMINISTRATOR: Standing = Standing { administrator: true, ..HOME };

fn explained(world: &World, who: &str, permission: &str, author: Option<&str>) -> Explanation {
    let (who, author) = (subject(who), author.map(subject));
    let query = Query {
        subject: &who,
        permission,
        portfolio: "roadmap",
        author: author.as_ref(),
        item: None,
        at: Timestamp(NOW),
    };
    explain(&world.global, &world.snapshot, &query, 2).unwrap()
}

fn effects(explanation: &Explanation) -> Vec<RouteEffect> {
    explanation.routes.iter().map(|route| route.effect).collect()
}

fn named(givers: &Givers) -> Vec<(&str, bool)> {
    givers.users.iter().map(|giver| (giver.user.as_str(), giver.administrator)).collect()
}

fn keys(roles: &[RoleKey]) -> Vec<&str> {
    roles.iter().map(RoleKey::as_str).collect()
}

#[test]
fn acc_8_every_route_is_explained_with_its_role_period_and_effect() {
    let subjects = vec![
        knows("user:ann", Standing { administrator: true, ..site(true, SiteRole::Viewer) }, &["g"]),
        knows("group:g", HOME, &[]),
    ];
    let grants = vec![
        during(grant("user:ann", "manager"), Some(NOW + 5), None),
        during(grant("user:ann", "manager"), None, Some(NOW)),
        grant("user:ann", "viewer"),
        grant("user:ann", "viewer"),
        grant("group:g", "contributor"),
    ];
    let world = World::new(subjects, portfolio(Visibility::Open, "contributor", grants));
    let found = explained(&world, "user:ann", "view.delete", None);
    assert_eq!((found.decision.allowed, found.allowed_from()), (false, Some(Timestamp(NOW + 5))));
    assert_eq!(effects(&found), [Ended, NotBegun, Lacks, Lacks, Lacks, Lacks]);
    let [ended, coming, viewer, group, open, administrator] = found.routes.as_slice() else {
        panic!("the two viewer grants are one route: {:?}", found.routes)
    };
    assert_eq!((ended.start_time, ended.expire_time), (None, Some(Timestamp(NOW))));
    assert_eq!((coming.start_time, coming.in_force), (Some(Timestamp(NOW + 5)), false));
    assert_eq!(coming.reach, Some(Reach::Any));
    assert_eq!(viewer.role.as_ref().map(RoleKey::as_str), Some("viewer"));
    let g: crate::domain::GroupId = "g".parse().unwrap();
    assert_eq!(group.way, Way::Group { group: g.clone(), chain: vec![g] });
    assert_eq!(open.way, Way::OrganizationAccess { bounded: true });
    assert_eq!((&administrator.way, &administrator.role), (&Way::Administrator, &None));
    let found = explained(&world, "user:ann", "members.remove", None);
    assert_eq!(effects(&found).last(), Some(&Allows));
    assert_eq!(found.decision.reason, Reason::Administrator);
    assert_eq!((found.allowed_from(), found.givers), (None, Givers::default()));
}

#[test]
fn acc_8_the_chain_of_groups_is_a_shortest() {
    let subjects = vec![
        knows("user:ann", HOME, &["long", "short-z", "short-a", "aside"]),
        knows("group:aside", HOME, &[]),
        knows("group:long", HOME, &["middle"]),
        knows("group:middle", HOME, &["short-a"]),
        knows("group:short-a", HOME, &["top"]),
        knows("group:short-z", HOME, &["top"]),
        knows("group:deep", HOME, &["long"]),
    ];
    let world = World::private(subjects, vec![grant("group:top", "viewer")]);
    let chain = |who| {
        let found = explained(&world, who, "portfolio.view", None);
        assert_eq!(found.routes.len(), 1, "several paths, one route");
        match found.routes.into_iter().next().unwrap().way {
            Way::Group { chain, .. } => chain.iter().map(ToString::to_string).collect::<Vec<_>>(),
            way => panic!("{way:?}"),
        }
    };
    assert_eq!(chain("user:ann"), ["short-a", "top"]);
    assert_eq!(chain("group:deep"), ["long", "middle", "short-a", "top"]);
}

#[test]
fn acc_8_a_denial_names_who_could_give_it_and_with_which_roles() {
    let subjects = vec![
        knows("user:ada", ADMINISTRATOR, &[]),
        knows("user:gone", ADMINISTRATOR, &[]),
        knows("user:con", HOME, &[]),
        knows("user:hr", HOME, &[]),
        knows("user:max", HOME, &["g"]),
        knows("group:g", HOME, &[]),
        knows("service_account:ci", HOME, &[]),
    ];
    let grants = vec![
        grant("group:g", "manager"),
        grant("service_account:ci", "manager"),
        grant("user:con", "contributor"),
        grant("user:hr", "hr"),
        during(grant("user:late", "manager"), Some(NOW + 1), None),
    ];
    let mut facts = facts(subjects, portfolio(Visibility::Private, "viewer", grants));
    facts.roles.push(role("hr", &[("members.invite", Reach::Any), ("progress.view", Reach::Any)]));
    let global = catalogue(&["gone"]);
    let world = World { snapshot: Snapshot::compile(facts, &global), global };
    let found = explained(&world, "user:con", "members.view", None);
    assert!(found.decision.allowed);
    let found = explained(&world, "user:con", "view.delete", None);
    assert_eq!(named(&found.givers), [("ada", true), ("max", false)]);
    assert!(!found.givers.more);
    assert_eq!(keys(&found.roles), ["manager"]);
    let found = explained(&world, "user:nobody", "progress.view", None);
    assert_eq!(named(&found.givers), [("ada", true), ("hr", false)], "at most two");
    assert!(found.givers.more);
    assert_eq!(keys(&found.roles), ["contributor", "hr", "manager", "viewer"]);
    let reduced = found.clone().without_givers();
    assert_eq!((reduced.givers, reduced.decision), (Givers::default(), found.decision));
}

#[test]
fn acc_8_nobody_is_named_where_no_role_would_help() {
    let subjects = vec![
        knows("user:ada", ADMINISTRATOR, &[]),
        knows("user:gone", HOME, &[]),
        knows("user:ext", EXTERNAL, &["g"]),
    ];
    let grants = vec![grant("user:max", "manager"), grant("user:con", "contributor")];
    let world = World::private(subjects, grants);
    let ask = |who: &str, permission: &str, author: Option<&str>, reason: Reason| {
        let found = explained(&world, who, permission, author);
        assert_eq!(found.decision.reason, reason, "{who} {permission}");
        found.givers
    };
    for (who, permission, author, reason) in [
        ("user:gone", "portfolio.view", None, Reason::SubjectDeactivated),
        ("user:con", "comment.edit", None, Reason::AuthorUnknown),
        ("user:con", "comment.edit", Some("user:max"), Reason::NotAuthor),
        ("user:con", "epic.link", None, Reason::InternalOnly),
        ("user:ext", "epic.link", None, Reason::NoAccess),
        ("group:elsewhere", "portfolio.view", None, Reason::SubjectUnknown),
        ("user:ext", "comment.edit", Some("user:max"), Reason::NoAccess),
        ("user:ext", "comment.edit", None, Reason::NoAccess),
    ] {
        assert_eq!(ask(who, permission, author, reason), Givers::default(), "{who} {permission}");
    }
    let own = ask("user:ext", "comment.edit", Some("user:ext"), Reason::NoAccess);
    assert_eq!(named(&own), [("ada", true), ("max", false)], "a role gives what is own");
    let helpful = |author| explained(&world, "user:ext", "comment.edit", author).roles;
    let every = ["assessor", "contributor", "manager", "viewer"];
    assert_eq!(keys(&helpful(Some("user:ext"))), every);
    for author in [None, Some("user:max")] {
        assert!(helpful(author).is_empty(), "the check needs any: {author:?}");
    }
    let ann = subject("user:ann");
    let query = Query {
        subject: &ann,
        permission: "portfolio.view",
        portfolio: "elsewhere",
        author: None,
        item: None,
        at: Timestamp(NOW),
    };
    let found = explain(&world.global, &world.snapshot, &query, 2).unwrap();
    assert_eq!((found.routes, found.roles, found.givers), (vec![], vec![], Givers::default()));
    let unknown = Query { permission: "comment.edti", ..query };
    assert!(explain(&world.global, &world.snapshot, &unknown, 2).is_err());
}
