//! What decisions are made of. Storage reads facts, the policy compiles them, the change log names
//! them by key; a decision sees nothing else.

use serde::{Deserialize, Serialize};

use super::access_settings::Visibility;
use super::directory::Standing;
use super::ids::{GroupId, OrganizationId, PortfolioId, RoleKey, Subject, UserId};
use super::item::ItemKey;
use super::permission::{Permission, PermissionName};
use super::role::RoleTable;
use super::timestamp::Timestamp;

/// The name of one fact: the unit in which changes are logged and facts are read again.
///
/// INVARIANT (fact keys): a write that changes a row of a fact table logs the key of the fact the
/// row belongs to, in the same transaction. Reading a fact again by its key is idempotent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactKey {
    /// Global: whether a user is deactivated.
    UserStatus(UserId),
    /// Global: an entry of the permission catalogue.
    Permission(PermissionName),
    /// Of an organization: that it exists.
    Organization,
    /// Of an organization: a role and its table.
    Role(RoleKey),
    /// Of an organization: how a subject stands to it, and the groups it is directly in.
    Subject(Subject),
    /// Of an organization: a portfolio, its settings and its grants.
    Portfolio(PortfolioId),
    /// Of an organization: an item, the portfolios that show it, its settings and its grants.
    Item(ItemKey),
}

/// The facts of no organization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalFacts {
    /// The permission catalogue.
    pub permissions: Vec<Permission>,
    /// The users who are deactivated.
    pub deactivated: Vec<UserId>,
}

/// Facts of one organization: all of them, or as many as a question needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationFacts {
    /// Whose facts they are.
    pub organization: OrganizationId,
    /// Its roles.
    pub roles: Vec<RoleFact>,
    /// Everyone and everything it knows.
    pub subjects: Vec<SubjectFact>,
    /// Its portfolios, without the deleted ones.
    pub portfolios: Vec<PortfolioFact>,
    /// Its items, without the deleted ones.
    pub items: Vec<ItemFact>,
}

/// A part of an organization's facts. A large organization is read part by part, so that its rows
/// are never all in memory at once; the parts may come in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactsPart {
    /// Roles, each in one part only.
    pub roles: Vec<RoleFact>,
    /// How subjects stand to the organization, each in one part only.
    pub standings: Vec<StandingFact>,
    /// Who is directly in which group, each pair in one part only.
    pub memberships: Vec<MembershipFact>,
    /// Portfolios with all their grants, each in one part only.
    pub portfolios: Vec<PortfolioFact>,
    /// Items with all their grants, each in one part only.
    pub items: Vec<ItemFact>,
}

impl FactsPart {
    /// An estimate of the memory that it holds, in bytes: every entry, and the text of its own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // What an id costs beside its text: two counters, and what the allocator adds.
        const TEXT: usize = 24;
        let text = |subject: &Subject| TEXT + subject.id().len();
        let role = |fact: &RoleFact| size_of::<RoleFact>() + 64 * fact.table.len();
        let standing = |fact: &StandingFact| size_of::<StandingFact>() + text(&fact.subject);
        let membership = |fact: &MembershipFact| size_of::<MembershipFact>() + text(&fact.member);
        let grant = |fact: &GrantFact| size_of::<GrantFact>() + text(&fact.subject);
        let portfolio = |fact: &PortfolioFact| {
            let own = size_of::<PortfolioFact>() + TEXT + fact.id.as_str().len();
            let link = fact.link.as_ref().map_or(0, |link| TEXT + link.as_str().len());
            own + link + fact.grants.iter().map(grant).sum::<usize>()
        };
        let item = |fact: &ItemFact| {
            let shown = fact.portfolios.iter().map(|id| TEXT + id.as_str().len()).sum::<usize>();
            let grants = fact.settings.iter().flat_map(|settings| &settings.grants);
            let own = size_of::<ItemFact>() + 2 * TEXT + fact.key.len();
            own + shown + grants.map(grant).sum::<usize>()
        };
        self.roles.iter().map(role).sum::<usize>()
            + self.standings.iter().map(standing).sum::<usize>()
            + self.memberships.iter().map(membership).sum::<usize>()
            + self.portfolios.iter().map(portfolio).sum::<usize>()
            + self.items.iter().map(item).sum::<usize>()
    }
}

/// How a subject stands to the organization, apart from its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingFact {
    /// Who.
    pub subject: Subject,
    /// As [`SubjectFact::standing`].
    pub standing: Standing,
    /// As [`SubjectFact::active`].
    pub active: bool,
}

/// That a subject is directly in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipFact {
    /// The group.
    pub group: GroupId,
    /// Who is in it.
    pub member: Subject,
}

/// A role and what it permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFact {
    /// The role.
    pub key: RoleKey,
    /// What it permits.
    pub table: RoleTable,
}

/// How a subject stands to the organization. A subject of which nothing here is true has no fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectFact {
    /// Who.
    pub subject: Subject,
    /// For a user: home and site role. Groups and service accounts of the organization have
    /// `home` set: they belong to it. Externals have neither.
    pub standing: Standing,
    /// False for a deactivated service account; a user's status is a global fact.
    pub active: bool,
    /// The groups the subject is directly in, any order, no duplicates.
    pub groups: Vec<GroupId>,
}

/// A portfolio's own settings, and whether others take their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortfolioFact {
    /// Which portfolio.
    pub id: PortfolioId,
    /// The portfolio whose settings it uses instead of its own (INH-1); none: its own.
    pub link: Option<PortfolioId>,
    /// What internal users without a grant may do; suspended by a link.
    pub visibility: Visibility,
    /// The role that openness gives; suspended by a link.
    pub organization_access_role: RoleKey,
    /// Whether nothing is added or changed in it (VIS-8).
    pub archived: bool,
    /// Every grant that nobody has ended; begins and ends are for the decision to look at (ACC-2).
    /// Of a linked portfolio the ownership alone, since a link suspends all others (INH-2).
    pub grants: Vec<GrantFact>,
}

/// An item: what another service owns and portfolios show (ACC-5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemFact {
    /// Which item.
    pub key: ItemKey,
    /// The portfolios that show it, any order, no duplicates; of the facts of one question no other
    /// than the portfolio asked about.
    pub portfolios: Vec<PortfolioId>,
    /// Who made it, for what is held as *own* (ACC-4).
    pub author: Option<Subject>,
    /// Whether nothing is added or changed in it (VIS-8).
    pub archived: bool,
    /// Its own settings; none: it follows its portfolio.
    pub settings: Option<ItemSettings>,
}

/// An independent item's own settings, of the shape of a portfolio's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemSettings {
    /// What internal users without a grant may do.
    pub visibility: Visibility,
    /// The role that openness gives.
    pub organization_access_role: RoleKey,
    /// Every grant that nobody has ended.
    pub grants: Vec<GrantFact>,
}

/// A grant, as far as decisions look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantFact {
    /// To whom.
    pub subject: Subject,
    /// As what.
    pub role: RoleKey,
    /// In force from this instant on.
    pub start_time: Option<Timestamp>,
    /// In force until just before this instant.
    pub expire_time: Option<Timestamp>,
}

impl GrantFact {
    /// Whether the grant gives anything at `now` (ACC-2).
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.start_time.is_none_or(|start| start <= now)
            && self.expire_time.is_none_or(|expire| now < expire)
    }
}

/// Facts of an organization, read again by their keys; `None`: the fact is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrganizationChanges {
    /// Roles of the organization.
    pub roles: Vec<(RoleKey, Option<RoleFact>)>,
    /// Subjects as the organization knows them.
    pub subjects: Vec<(Subject, Option<SubjectFact>)>,
    /// Portfolios of the organization.
    pub portfolios: Vec<(PortfolioId, Option<PortfolioFact>)>,
    /// Items of the organization.
    pub items: Vec<(ItemKey, Option<ItemFact>)>,
}

/// Global facts, read again by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalChanges {
    /// Entries of the catalogue; they are never removed.
    pub permissions: Vec<Permission>,
    /// Users, and whether they are deactivated.
    pub statuses: Vec<(UserId, bool)>,
}
