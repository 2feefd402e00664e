//! Random worlds, small enough that everything meets everything: six users, six groups that nest
//! up to five deep, two service accounts, three portfolios, and grants that begin and end around
//! the instants that are asked about.

use portcullis::domain::access_settings::Visibility;
use portcullis::domain::directory::SiteRole;
use portcullis::domain::permission::Effect;
use portcullis::domain::role::{Preset, Reach};
use portcullis::domain::{ItemKey, Subject};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::oracle::{
    CatalogueEntry, Grant, Group, Item, Model, Operation, Portfolio, Question, Role,
    ServiceAccount, User,
};

pub const ROLES: [&str; 4] = ["manager", "contributor", "viewer", "assessor"];
pub const PORTFOLIOS: [&str; 4] = ["p0", "p1", "p2", "p3"];
const PERMISSIONS: [&str; 10] = [
    "portfolio.view",
    "access.manage",
    "comment.create",
    "comment.edit",
    "epic.link",
    "assessment.view",
    "assessment.complete",
    "view.delete",
    "members.update",
    "budget.sign",
];
const GROUPS: usize = 6;

/// Every subject of every world, and some that no world has.
pub fn subjects() -> Vec<Subject> {
    [("user", 7), ("group", GROUPS + 1), ("service_account", 3)]
        .into_iter()
        .flat_map(|(kind, count)| (0..count).map(move |n| subject(kind, n)))
        .collect()
}

fn subject(kind: &str, number: usize) -> Subject {
    let letter = kind.get(..1).unwrap();
    Subject::from_parts(kind, &format!("{letter}{number}")).unwrap()
}

/// What can be granted: users, groups and service accounts that the world has.
fn grantee() -> impl Strategy<Value = Subject> {
    prop_oneof![
        5 => (0..6usize).prop_map(|n| subject("user", n)),
        4 => (0..GROUPS).prop_map(|n| subject("group", n)),
        1 => (0..2usize).prop_map(|n| subject("service_account", n)),
    ]
}

/// A world that can be stored: the preset's roles, groups without a cycle.
pub fn world() -> impl Strategy<Value = Model> {
    let users = vec((any::<bool>(), site_role(), prop::bool::weighted(0.15)), 6);
    let accounts = vec(prop::bool::weighted(0.8), 2);
    let groups = vec((vec(prop::bool::weighted(0.35), GROUPS), vec(person(), 0..3)), GROUPS);
    let portfolios = vec(portfolio(), 3);
    (users, accounts, groups, portfolios).prop_map(|(users, accounts, groups, portfolios)| {
        let user = |(n, (home, site_role, deactivated))| User {
            id: format!("u{n}"),
            home,
            site_role,
            administrator: false,
            deactivated,
        };
        let account = |(n, active)| ServiceAccount { id: format!("s{n}"), active };
        let named = |(n, portfolio): (usize, Portfolio)| Portfolio {
            id: PORTFOLIOS[n].to_owned(),
            ..portfolio
        };
        Model {
            organization: "acme".to_owned(),
            catalogue: catalogue(),
            roles: preset_roles(),
            users: users.into_iter().enumerate().map(user).collect(),
            service_accounts: accounts.into_iter().enumerate().map(account).collect(),
            groups: groups.into_iter().enumerate().map(nested_group).collect(),
            portfolios: portfolios.into_iter().enumerate().map(named).collect(),
            items: Vec::new(),
        }
    })
}

/// A world with administrators, some of whom are not at home any more, and with permissions that a
/// service has registered. Contributors sign their own budgets.
pub fn administered_world() -> impl Strategy<Value = Model> {
    (world(), vec(any::<bool>(), 6)).prop_map(|(mut model, administrators)| {
        for (user, administrator) in model.users.iter_mut().zip(administrators) {
            user.administrator = administrator;
        }
        model.catalogue.extend(["budget.sign", "budget.view"].map(|name| CatalogueEntry {
            name: name.to_owned(),
            effect: effect_of(name),
            internal_only: false,
            registered: true,
        }));
        for role in model.roles.iter_mut().filter(|role| role.key == "contributor") {
            role.cells.push(("budget.sign".to_owned(), Reach::Own));
        }
        model
    })
}

/// A world some of whose users at home are administrators.
pub fn with_administrators(of: impl Strategy<Value = Model>) -> impl Strategy<Value = Model> {
    (of, vec(prop::bool::weighted(0.3), 6)).prop_map(|(mut model, administrators)| {
        for (user, administrator) in model.users.iter_mut().zip(administrators) {
            user.administrator = administrator && user.home;
        }
        model
    })
}

/// A world in which portfolios have owners, and some are linked to others: a forest, as deep as it
/// may be.
pub fn linked_world() -> impl Strategy<Value = Model> {
    with_links(administered_world())
}

/// The same, of other worlds.
pub fn with_links(of: impl Strategy<Value = Model>) -> impl Strategy<Value = Model> {
    let length = prop_oneof![3 => Just(0), 1 => 0..8usize];
    let links = vec((option::of(0..6usize), option::weighted(0.8, 0..3usize), length), 3);
    (of, links).prop_map(|(model, links)| {
        let up = |(n, (owner, to, length)): (usize, (Option<usize>, Option<usize>, usize))| {
            (owner, to.filter(|to| *to > n), length)
        };
        linked(model, links.into_iter().enumerate().map(up).collect())
    })
}

/// Gives portfolios owners, and links them to others by a number of portfolios between, each of
/// which has an owner and suspended settings of its own.
pub fn linked(mut model: Model, links: Vec<(Option<usize>, Option<usize>, usize)>) -> Model {
    for (n, (owner, to, length)) in links.into_iter().enumerate() {
        let id = |place: usize| if place == 0 { format!("p{n}") } else { format!("p{n}-{place}") };
        let Some(portfolio) = model.portfolios.iter().position(|p| p.id == id(0)) else { continue };
        model.portfolios[portfolio].owner = owner.map(|owner| format!("u{owner}"));
        let Some(to) = to else { continue };
        let next = |place: usize| if place == length { format!("p{to}") } else { id(place + 1) };
        let alike = model.portfolios[portfolio].clone();
        model.portfolios[portfolio].link = Some(next(0));
        model.portfolios.extend((1..=length).map(|place| Portfolio {
            id: id(place),
            owner: (place % 3 == 1).then(|| format!("u{}", (n + place) % 6)),
            link: Some(next(place)),
            ..alike.clone()
        }));
    }
    model
}

/// A change of a link or of an owner.
pub fn relinking() -> impl Strategy<Value = Operation> {
    let on = || select(PORTFOLIOS.to_vec()).prop_map(str::to_owned);
    let to = option::weighted(0.7, on());
    let owner = option::weighted(0.8, (0..6usize).prop_map(|n| format!("u{n}")));
    prop_oneof![
        2 => (on(), to).prop_map(|(portfolio, link)| Operation::SetLink { portfolio, link }),
        1 => on().prop_map(|portfolio| Operation::Unlink { portfolio }),
        1 => (on(), owner).prop_map(|(portfolio, owner)| Operation::SetOwner { portfolio, owner }),
    ]
}

/// Group `n` may contain only groups with a higher number: no cycle, chains and diamonds galore.
fn nested_group((n, (inner, people)): (usize, (Vec<bool>, Vec<Subject>))) -> Group {
    let mut members: Vec<Subject> = Vec::new();
    for person in people {
        if !members.contains(&person) {
            members.push(person);
        }
    }
    let chosen = inner.into_iter().enumerate().filter(|(m, chosen)| *m > n && *chosen);
    members.extend(chosen.map(|(m, _)| subject("group", m)));
    Group { id: format!("g{n}"), members }
}

fn person() -> impl Strategy<Value = Subject> {
    prop_oneof![
        5 => (0..6usize).prop_map(|n| subject("user", n)),
        1 => (0..2usize).prop_map(|n| subject("service_account", n)),
    ]
}

fn site_role() -> impl Strategy<Value = Option<SiteRole>> {
    option::of(select(vec![SiteRole::Guest, SiteRole::Viewer, SiteRole::Editor]))
}

fn visibility() -> impl Strategy<Value = Visibility> {
    select(vec![Visibility::Private, Visibility::Restricted, Visibility::Open])
}

fn access_role() -> impl Strategy<Value = String> {
    select(vec!["contributor", "viewer", "assessor"]).prop_map(str::to_owned)
}

fn instant() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![2 => Just(None), 3 => (90..110i64).prop_map(Some)]
}

fn grant() -> impl Strategy<Value = Grant> {
    (grantee(), select(ROLES.to_vec()), instant(), instant()).prop_map(
        |(subject, role, start, expire)| Grant { subject, role: role.to_owned(), start, expire },
    )
}

fn portfolio() -> impl Strategy<Value = Portfolio> {
    (visibility(), access_role(), prop::bool::weighted(0.2), vec(grant(), 0..12)).prop_map(
        |(visibility, organization_access_role, archived, grants)| Portfolio {
            id: String::new(),
            visibility,
            organization_access_role,
            archived,
            link: None,
            owner: None,
            grants,
        },
    )
}

/// A question about this world or beside it: unknown subjects and portfolios are asked about too.
pub fn question() -> impl Strategy<Value = Question> {
    let permission = prop_oneof![
        20 => select(PERMISSIONS.to_vec()),
        4 => Just("epic.link"),
        1 => Just("budget.view"),
        3 => Just("members.remove"),
        1 => Just("comment.edti"),
    ];
    let asked = prop_oneof![8 => grantee(), 2 => select(subjects())];
    let portfolio = prop_oneof![12 => select(PORTFOLIOS[..3].to_vec()), 1 => Just(PORTFOLIOS[3])];
    let author = option::of(select(subjects()));
    (asked, permission, portfolio, author, any::<bool>(), 88..112i64).prop_map(
        |(subject, permission, portfolio, author, own, at)| Question {
            author: if own { Some(subject.clone()) } else { author },
            subject,
            permission: permission.to_owned(),
            portfolio: portfolio.to_owned(),
            item: None,
            at,
        },
    )
}

/// Items of every world with items; the last is of none.
pub const ITEMS: [&str; 4] = ["board:b0", "board:b1", "assessment:a0", "board:none"];

fn item() -> impl Strategy<Value = Item> {
    let settings = (visibility(), access_role(), vec(grant(), 4..20));
    let author = option::of(select(subjects()));
    let shown = vec(select(PORTFOLIOS[..3].to_vec()), 1..7);
    let archived = prop::bool::weighted(0.2);
    (select(ITEMS[..3].to_vec()), shown, author, archived, option::weighted(0.7, settings))
        .prop_map(|(key, shown, author, archived, settings)| {
            let mut portfolios: Vec<String> = shown.into_iter().map(str::to_owned).collect();
            portfolios.sort_unstable();
            portfolios.dedup();
            if settings.is_none() {
                portfolios.truncate(1);
            }
            Item { key: key.parse().unwrap(), portfolios, author, archived, settings }
        })
}

/// A world that shows items.
pub fn world_with_items(of: impl Strategy<Value = Model>) -> impl Strategy<Value = Model> {
    (of, vec(item(), 0..6)).prop_map(|(mut model, items)| {
        for item in items {
            model.perform(&Operation::PutItem { item });
        }
        model
    })
}

/// A question that names an item as a rule.
pub fn question_on_item() -> impl Strategy<Value = Question> {
    let item = prop_oneof![4 => select(ITEMS[..3].to_vec()), 1 => Just(ITEMS[3])];
    let item = option::weighted(0.9, item.prop_map(|key| key.parse::<ItemKey>().unwrap()));
    (question(), item).prop_map(|(question, item)| Question { item, ..question })
}

/// A change of a world with items.
pub fn operation_on_items() -> impl Strategy<Value = Operation> {
    let key = select(ITEMS.to_vec()).prop_map(|key| key.parse().unwrap());
    prop_oneof![
        3 => item().prop_map(|item| Operation::PutItem { item }),
        1 => key.prop_map(|key| Operation::DeleteItem { key }),
        4 => operation(),
    ]
}

/// A change of a world. One that the rules refuse is refused by [`Model::perform`] too.
pub fn operation() -> impl Strategy<Value = Operation> {
    let on = || select(PORTFOLIOS.to_vec()).prop_map(str::to_owned);
    let in_group = || (0..GROUPS).prop_map(|n| format!("g{n}"));
    prop_oneof![
        3 => (in_group(), grantee())
            .prop_map(|(group, member)| Operation::AddGroupMember { group, member }),
        3 => (in_group(), grantee())
            .prop_map(|(group, member)| Operation::RemoveGroupMember { group, member }),
        1 => (0..6usize, any::<bool>()).prop_map(|(n, deactivated)| {
            Operation::SetDeactivated { user: format!("u{n}"), deactivated }
        }),
        3 => (on(), grant()).prop_map(|(portfolio, grant)| {
            Operation::AddGrant { portfolio, grant }
        }),
        2 => (on(), grantee())
            .prop_map(|(portfolio, subject)| Operation::RemoveGrants { portfolio, subject }),
        2 => (on(), visibility(), access_role()).prop_map(
            |(portfolio, visibility, organization_access_role)| Operation::SetSettings {
                portfolio,
                visibility,
                organization_access_role,
            }
        ),
        1 => (on(), portfolio()).prop_map(|(id, portfolio)| Operation::CreatePortfolio {
            portfolio: Portfolio { id, ..portfolio },
        }),
        2 => (on(), any::<bool>())
            .prop_map(|(portfolio, archived)| Operation::SetArchived { portfolio, archived }),
        1 => on().prop_map(|portfolio| Operation::DeletePortfolio { portfolio }),
        1 => role().prop_map(|role| Operation::SetRole { role }),
    ]
}

/// A role that openness may give, with some of what the questions are about.
fn role() -> impl Strategy<Value = Role> {
    const NAMES: [&str; 6] = [
        "assessment.complete",
        "assessment.view",
        "comment.edit",
        "epic.link",
        "portfolio.view",
        "view.delete",
    ];
    let reach = prop_oneof![Just(None), Just(Some(Reach::Own)), Just(Some(Reach::Any))];
    let key = select(vec!["contributor", "viewer", "assessor"]);
    (key, vec(reach, NAMES.len())).prop_map(|(key, reaches)| {
        // As the catalogue says, nobody has these for their own things only.
        let far = |name: &str, reach| match name {
            "epic.link" | "portfolio.view" => Reach::Any,
            _ => reach,
        };
        let cells = NAMES.iter().zip(reaches);
        let cells = cells.filter_map(|(name, reach)| Some(((*name).to_owned(), far(name, reach?))));
        Role { key: key.to_owned(), cells: cells.collect() }
    })
}

/// The shipped catalogue, as far as decisions look at it.
pub fn catalogue() -> Vec<CatalogueEntry> {
    let manager = preset_roles().swap_remove(0);
    let entry = |(name, _): (String, Reach)| CatalogueEntry {
        internal_only: name == "epic.link",
        registered: false,
        effect: effect_of(&name),
        name,
    };
    manager.cells.into_iter().map(entry).collect()
}

/// What the catalogue says, by the verb.
fn effect_of(permission: &str) -> Effect {
    match permission.split_once('.') {
        Some((_, "view")) => Effect::Read,
        Some((_, "delete" | "remove")) => Effect::Revoke,
        _ => Effect::Change,
    }
}

pub fn preset_roles() -> Vec<Role> {
    roles_of(Preset::InitiativePlanning)
}

pub fn roles_of(preset: Preset) -> Vec<Role> {
    let role = |role: portcullis::domain::role::Role| Role {
        key: role.key.to_string(),
        cells: role.table.iter().map(|(name, reach)| (name.to_string(), *reach)).collect(),
    };
    preset.roles().into_iter().map(role).collect()
}
