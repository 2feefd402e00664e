//! From facts to a snapshot, all at once or a few at a time: the same road.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::directory::Standing;
use crate::domain::fact::{
    GrantFact, OrganizationChanges, OrganizationFacts, PortfolioFact, RoleFact, SubjectFact,
};
use crate::domain::role::VIEWER;
use crate::domain::{OrganizationId, PortfolioId, RoleKey, Subject};

use super::global::Global;
use super::period::Period;
use super::role::Role;
use super::snapshot::{Granted, GroupNode, Party, Portfolio, Snapshot};

/// What an entry of a tree costs beside itself: its share of the nodes and of the text's header.
const ENTRY: usize = 48;
/// What an entry in the set of administrators costs.
const ADMINISTRATOR: usize = 8;

impl Snapshot {
    /// Compiles an organization's facts, all of them or as many as a question needs.
    #[must_use]
    pub fn compile(facts: OrganizationFacts, global: &Global) -> Self {
        let keyed = OrganizationChanges {
            roles: facts.roles.into_iter().map(|f| (f.key.clone(), Some(f))).collect(),
            subjects: facts.subjects.into_iter().map(|f| (f.subject.clone(), Some(f))).collect(),
            portfolios: facts.portfolios.into_iter().map(|f| (f.id.clone(), Some(f))).collect(),
        };
        let mut snapshot = Self::empty(facts.organization);
        snapshot.change(keyed, global);
        snapshot
    }

    /// These facts with some of them changed; of several changes of one fact the last counts. Costs
    /// what the change names, and for a group that moved the groups below it; the rest is shared
    /// with this snapshot.
    #[must_use]
    pub fn apply(&self, changes: OrganizationChanges, global: &Global) -> Self {
        let mut next = self.clone();
        next.change(changes, global);
        next
    }

    fn empty(organization: OrganizationId) -> Self {
        Self {
            organization,
            role_ids: imbl::HashMap::new(),
            roles: Arc::default(),
            viewer: Arc::new(Role::undefined(RoleKey::viewer())),
            subject_ids: imbl::HashMap::new(),
            parties: imbl::Vector::new(),
            portfolios: imbl::HashMap::new(),
            portfolio_order: imbl::OrdSet::new(),
            administrators: imbl::OrdSet::new(),
            bytes: size_of::<Self>(),
        }
    }

    fn change(&mut self, changes: OrganizationChanges, global: &Global) {
        for (key, fact) in changes.roles {
            self.put_role(&key, fact, global);
        }
        let mut moved = BTreeSet::new();
        for (subject, fact) in changes.subjects {
            self.put_subject(&subject, fact, &mut moved);
        }
        self.refresh_closures(moved);
        for (id, fact) in changes.portfolios {
            self.put_portfolio(id, fact);
        }
        let viewer = self.role_ids.get(VIEWER).and_then(|id| self.roles.get(*id as usize));
        if let Some(viewer) = viewer {
            self.viewer = Arc::clone(viewer);
        }
    }

    // --- roles ---

    fn put_role(&mut self, key: &RoleKey, fact: Option<RoleFact>, global: &Global) {
        let id = self.role_id(key);
        let role = match fact {
            Some(fact) => Role::compile(key.clone(), fact.table, global),
            None => Role::undefined(key.clone()),
        };
        if let Some(place) = Arc::make_mut(&mut self.roles).get_mut(id as usize) {
            self.bytes = self.bytes.saturating_sub(place.weight()) + role.weight();
            *place = Arc::new(role);
        }
    }

    fn role_id(&mut self, key: &RoleKey) -> u32 {
        if let Some(id) = self.role_ids.get(key) {
            return *id;
        }
        let id = next_id(self.roles.len());
        let role = Role::undefined(key.clone());
        self.bytes += ENTRY + size_of::<RoleKey>() + key.as_str().len() + role.weight();
        self.role_ids.insert(key.clone(), id);
        Arc::make_mut(&mut self.roles).push(Arc::new(role));
        id
    }

    // --- subjects ---

    fn put_subject(
        &mut self,
        subject: &Subject,
        fact: Option<SubjectFact>,
        moved: &mut BTreeSet<u32>,
    ) {
        if fact.is_none() && !self.subject_ids.contains_key(subject) {
            return;
        }
        let id = self.subject_id(subject);
        let (standing, active, groups) = fact
            .map_or((Standing::default(), true, Vec::new()), |fact| {
                (fact.standing, fact.active, fact.groups)
            });
        let groups: Arc<[u32]> =
            groups.into_iter().map(|group| self.subject_id(&Subject::Group(group))).collect();
        let is_group = matches!(subject, Subject::Group(_));
        self.move_between_groups(id, is_group, &groups);
        if is_group {
            moved.insert(id);
        }
        self.edit(id, |party| {
            party.standing = standing;
            party.active = active;
            party.groups = groups;
        });
        self.note_administrator(id);
    }

    fn note_administrator(&mut self, id: u32) {
        self.bytes -= ADMINISTRATOR * self.administrators.len();
        if self.party(id).is_some_and(Party::is_administrator) {
            self.administrators.insert(id);
        } else {
            self.administrators.remove(&id);
        }
        self.bytes += ADMINISTRATOR * self.administrators.len();
    }

    fn subject_id(&mut self, subject: &Subject) -> u32 {
        if let Some(id) = self.subject_ids.get(subject) {
            return *id;
        }
        let id = next_id(self.parties.len());
        let node = match subject {
            Subject::Group(_) => Some(Arc::new(GroupNode {
                children: Vec::new(),
                members: imbl::OrdSet::new(),
                closure: Box::new([id]),
            })),
            Subject::User(_) | Subject::ServiceAccount(_) => None,
        };
        let party = Party::unknown(subject.clone(), node);
        self.bytes += 2 * ENTRY + size_of::<Subject>() + subject.id().len() + party.weight();
        self.subject_ids.insert(subject.clone(), id);
        self.parties.push_back(party);
        id
    }

    /// Notes in the groups that it was in, and is in now, that it is their child or member.
    fn move_between_groups(&mut self, id: u32, is_group: bool, groups: &[u32]) {
        let before = self.party(id).map(|party| Arc::clone(&party.groups)).unwrap_or_default();
        for parent in before.iter().filter(|parent| !groups.contains(parent)) {
            self.edit_node(*parent, |node| {
                node.members.remove(&id);
                node.children.retain(|child| *child != id);
            });
        }
        for parent in groups.iter().filter(|parent| !before.contains(parent)) {
            self.edit_node(*parent, |node| match is_group {
                true => node.children.push(id),
                false => {
                    node.members.insert(id);
                }
            });
        }
    }

    /// Computes anew what the groups that moved, and all groups below them, are in.
    fn refresh_closures(&mut self, moved: BTreeSet<u32>) {
        let children = |id: u32| {
            self.party(id)
                .and_then(|party| party.node.as_ref())
                .map(|node| node.children.as_slice())
        };
        let parents = |id: u32| self.party(id).map(|party| party.groups.as_ref());
        let below = reachable(moved, children);
        let closures: Vec<(u32, Box<[u32]>)> = below
            .into_iter()
            .map(|id| (id, reachable(BTreeSet::from([id]), parents).into_iter().collect()))
            .collect();
        for (id, closure) in closures {
            self.edit_node(id, |node| node.closure = closure);
        }
    }

    fn edit(&mut self, id: u32, change: impl FnOnce(&mut Party)) {
        if let Some(party) = self.parties.get_mut(id as usize) {
            let before = party.weight();
            change(party);
            self.bytes = self.bytes.saturating_sub(before) + party.weight();
        }
    }

    fn edit_node(&mut self, id: u32, change: impl FnOnce(&mut GroupNode)) {
        self.edit(id, |party| {
            if let Some(node) = &mut party.node {
                change(Arc::make_mut(node));
            }
        });
    }

    // --- portfolios ---

    fn put_portfolio(&mut self, id: PortfolioId, fact: Option<PortfolioFact>) {
        let weight = |id: &PortfolioId, portfolio: &Portfolio| {
            2 * (ENTRY + size_of::<PortfolioId>()) + id.as_str().len() + portfolio.weight()
        };
        if let Some(old) = self.portfolios.remove(&id) {
            self.bytes = self.bytes.saturating_sub(weight(&id, &old));
            self.portfolio_order.remove(&id);
        }
        if let Some(fact) = fact {
            let access_role = self.role_id(&fact.organization_access_role);
            let grants = fact.grants.iter().map(|grant| self.granted(grant)).collect();
            let portfolio = Portfolio::new(fact.visibility, access_role, grants);
            self.bytes += weight(&id, &portfolio);
            self.portfolio_order.insert(id.clone());
            self.portfolios.insert(id, Arc::new(portfolio));
        }
    }

    fn granted(&mut self, grant: &GrantFact) -> Granted {
        Granted {
            subject: self.subject_id(&grant.subject),
            role: self.role_id(&grant.role),
            period: Period::of(grant),
        }
    }
}

/// The number of the next entry. Two to the power of 31 entries do not fit into any memory that
/// this runs in, so the number never saturates.
fn next_id(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Everything that is reached from the start along the edges, the start included. Ends on any
/// input: facts with a cycle cannot be stored (DIR-4), but a hang would be a poor answer to one.
pub(super) fn reachable<'a>(
    start: BTreeSet<u32>,
    edges: impl Fn(u32) -> Option<&'a [u32]>,
) -> BTreeSet<u32> {
    let mut open: Vec<u32> = start.iter().copied().collect();
    let mut seen = start;
    while let Some(id) = open.pop() {
        for next in edges(id).unwrap_or_default() {
            if seen.insert(*next) {
                open.push(*next);
            }
        }
    }
    seen
}
