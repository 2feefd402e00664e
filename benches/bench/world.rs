//! The generated world: 10 grants per user; 100 per portfolio, of which 20 to groups; every user in
//! 10 groups, each below 3 ancestors. Everything is a function of its number, so that a world of
//! any size is made part by part and never held, and every run asks the same questions.

use portcullis::domain::access_settings::Visibility;
use portcullis::domain::directory::Standing;
use portcullis::domain::fact::{
    FactsPart, GlobalFacts, GrantFact, MembershipFact, PortfolioFact, RoleFact, StandingFact,
};
use portcullis::domain::permission::{Effect, Permission};
use portcullis::domain::role::Preset;
use portcullis::domain::{GroupId, PortfolioId, Subject, Timestamp};

pub const GRANTS_PER_PORTFOLIO: usize = 100;
const GROUP_GRANTS: usize = 20;
const GRANTS_PER_USER: usize = 10;
pub const GROUPS_PER_USER: usize = 10;
/// The levels of groups above those that users are in.
const ANCESTORS: usize = 3;
/// How many users, or portfolios, a part has.
const PART: usize = 1_000;

/// A world of so many grants.
#[derive(Clone, Copy)]
pub struct World {
    pub grants: usize,
    pub users: usize,
    pub groups: usize,
    pub portfolios: usize,
}

impl World {
    pub fn of(grants: usize) -> Self {
        let users = grants / GRANTS_PER_USER;
        // Few enough to be reached by many, enough for 40 different ones.
        let groups = (users / 100).max(400);
        Self { grants, users, groups, portfolios: grants / GRANTS_PER_PORTFOLIO }
    }

    /// All its facts.
    pub fn parts(self) -> impl Iterator<Item = FactsPart> {
        let of = |count: usize| {
            (0..count.div_ceil(PART)).map(move |n| n * PART..count.min((n + 1) * PART))
        };
        let portfolios = of(self.portfolios).map(move |range| FactsPart {
            portfolios: range.map(|n| self.portfolio(n)).collect(),
            ..FactsPart::default()
        });
        let users = of(self.users).map(move |range| FactsPart {
            standings: range.clone().map(|n| at_home(user(n))).collect(),
            memberships: range.flat_map(|n| self.memberships_of(n)).collect(),
            ..FactsPart::default()
        });
        std::iter::once(self.roles_and_groups()).chain(portfolios).chain(users)
    }

    /// The catalogue; one user of a hundred is deactivated.
    pub fn global(self) -> GlobalFacts {
        let manager = Preset::InitiativePlanning.roles().swap_remove(0);
        let entry = |(ordinal, name)| Permission {
            name,
            ordinal,
            effect: Effect::Read,
            may_be_own: true,
            internal_only: false,
            registered: false,
        };
        GlobalFacts {
            permissions: (0..).zip(manager.table.into_keys()).map(entry).collect(),
            deactivated: (0..self.users)
                .filter(|n| is_deactivated(*n))
                .filter_map(|n| user(n).user().cloned())
                .collect(),
        }
    }

    fn roles_and_groups(self) -> FactsPart {
        let roles = Preset::InitiativePlanning.roles().into_iter();
        let parents = (0..self.groups).filter_map(|n| {
            let parent = self.parent_of(n)?;
            Some(MembershipFact { group: group(parent), member: Subject::Group(group(n)) })
        });
        FactsPart {
            roles: roles.map(|role| RoleFact { key: role.key, table: role.table }).collect(),
            standings: (0..self.groups).map(|n| at_home(Subject::Group(group(n)))).collect(),
            memberships: parents.collect(),
            portfolios: Vec::new(),
            items: Vec::new(),
        }
    }

    /// Groups come in levels, the users' own first; each is in one of the next level.
    pub fn parent_of(self, group: usize) -> Option<usize> {
        let level = self.groups / (ANCESTORS + 1);
        let above = (group / level + 1) * level;
        (above < level * (ANCESTORS + 1)).then(|| above + pick(1, group, 0, level))
    }

    /// The groups that a user is directly in, each once.
    pub fn groups_of(self, user: usize) -> Vec<usize> {
        let level = self.groups / (ANCESTORS + 1);
        distinct(GROUPS_PER_USER, |n| pick(2, user, n, level))
    }

    fn memberships_of(self, number: usize) -> impl Iterator<Item = MembershipFact> {
        let groups = self.groups_of(number).into_iter();
        groups.map(move |n| MembershipFact { group: group(n), member: user(number) })
    }

    pub fn portfolio(self, number: usize) -> PortfolioFact {
        let users = self.users_of(number).into_iter().map(user);
        let groups = distinct(GROUP_GRANTS, |n| pick(4, number, n, self.groups)).into_iter();
        let subjects = users.chain(groups.map(|n| Subject::Group(group(n))));
        let mut grants: Vec<GrantFact> =
            subjects.enumerate().map(|(n, subject)| grant(subject, number, n)).collect();
        grants.extend(self.extra(number));
        PortfolioFact {
            id: portfolio(number),
            visibility: Visibility::Private,
            organization_access_role: "viewer".parse().expect("a key"),
            archived: false,
            link: None,
            grants,
        }
    }

    /// The users with a grant of their own.
    pub fn users_of(self, portfolio: usize) -> Vec<usize> {
        distinct(GRANTS_PER_PORTFOLIO - GROUP_GRANTS, |n| pick(3, portfolio, n, self.users))
    }

    /// Beside the hundred: lists of a known length. A tenth of a portfolio's share or less.
    fn extra(self, portfolio: usize) -> Vec<GrantFact> {
        let step = (self.portfolios / LISTED).max(1);
        if !portfolio.is_multiple_of(step) {
            return Vec::new();
        }
        let few = few(portfolio / step % FEW);
        [few, many()].map(|subject| grant(subject, portfolio, 0)).into()
    }
}

/// How many portfolios are listed to [`many`], and to all of [`few`] together; where there are as
/// many.
const LISTED: usize = 10_000;
/// How many there are of [`few`]: to each, ten portfolios are listed.
pub const FEW: usize = 1_000;

/// One of those to whom ten portfolios are listed.
pub fn few(number: usize) -> Subject {
    Subject::User(format!("few-{number}").parse().expect("an id"))
}

/// To whom ten thousand portfolios are listed.
pub fn many() -> Subject {
    Subject::User("many".parse().expect("an id"))
}

/// Grants with an end that is far away: one of twenty.
fn grant(subject: Subject, portfolio: usize, n: usize) -> GrantFact {
    let role = ["viewer", "contributor", "manager"][pick(5, portfolio, n, 3)];
    let ends = pick(6, portfolio, n, 20) == 0;
    GrantFact {
        subject,
        role: role.parse().expect("a key"),
        start_time: None,
        expire_time: ends.then_some(Timestamp(i64::MAX / 2)),
    }
}

fn at_home(subject: Subject) -> StandingFact {
    let standing = Standing { home: true, ..Standing::default() };
    StandingFact { subject, standing, active: true }
}

pub fn is_deactivated(user: usize) -> bool {
    user % 100 == 99
}

pub fn user(number: usize) -> Subject {
    Subject::User(format!("user-{number:08}").parse().expect("an id"))
}

pub fn group(number: usize) -> GroupId {
    format!("group-{number:06}").parse().expect("an id")
}

pub fn portfolio(number: usize) -> PortfolioId {
    // In another order than that of the numbers, as ids of clients are.
    format!("portfolio-{:016x}", mix(number as u64)).parse().expect("an id")
}

/// So many different numbers, of the first that are drawn.
fn distinct(count: usize, draw: impl Fn(usize) -> usize) -> Vec<usize> {
    let mut found = Vec::with_capacity(count);
    for number in (0..).map(draw) {
        if !found.contains(&number) {
            found.push(number);
        }
        if found.len() == count {
            break;
        }
    }
    found
}

/// The `n`th number below `below` that belongs to something.
pub fn pick(kind: u64, of: usize, n: usize, below: usize) -> usize {
    let drawn = mix(mix(mix(kind) ^ of as u64) ^ n as u64);
    ((u128::from(drawn) * below as u128) >> 64) as usize
}

/// Mixes the bits of a number (the finalizer of splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
