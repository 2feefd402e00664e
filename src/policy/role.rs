//! A role compiled for checks: two sets of bits over the catalogue's ordinals.

use crate::domain::RoleKey;
use crate::domain::permission::{Permission, PermissionName};
use crate::domain::role::{MANAGER, Reach, RoleTable};

use super::global::Global;

/// A role as checks look at it.
#[derive(Clone, Debug)]
pub(super) struct Role {
    key: RoleKey,
    /// The table, by name; none while the role is only named by other facts.
    table: Option<RoleTable>,
    any: Box<[u64]>,
    own: Box<[u64]>,
    /// Whether the table has names that the catalogue did not have when this was compiled. They
    /// are looked up by name: the catalogue and an organization advance independently.
    unresolved: bool,
    /// Whether it holds whatever services register, beside its table (ROL-1): the manager.
    holds_registered: bool,
}

impl Role {
    /// A role that nobody has defined: it permits nothing, so that a snapshot of only some facts
    /// never gives too much.
    pub fn undefined(key: RoleKey) -> Self {
        let (any, own) = (Box::default(), Box::default());
        Self { key, table: None, any, own, unresolved: false, holds_registered: false }
    }

    pub fn compile(key: RoleKey, table: RoleTable, global: &Global) -> Self {
        let holds_registered = key.as_str() == MANAGER;
        let mut any = Vec::new();
        let mut own = Vec::new();
        let mut unresolved = false;
        for (name, reach) in &table {
            match (global.permission(name.as_str()), reach) {
                (Some(permission), Reach::Any) => set(&mut any, permission.ordinal),
                (Some(permission), Reach::Own) => set(&mut own, permission.ordinal),
                (None, _) => unresolved = true,
            }
        }
        let (any, own) = (any.into(), own.into());
        Self { key, table: Some(table), any, own, unresolved, holds_registered }
    }

    pub fn key(&self) -> &RoleKey {
        &self.key
    }

    /// How far the role reaches with this permission; none if it does not have it.
    pub fn reach(&self, permission: &Permission) -> Option<Reach> {
        let registered = permission.registered && self.holds_registered;
        if registered || has(&self.any, permission.ordinal) {
            Some(Reach::Any)
        } else if has(&self.own, permission.ordinal) {
            Some(Reach::Own)
        } else if self.unresolved {
            self.table.as_ref()?.get(&permission.name).copied()
        } else {
            None
        }
    }

    /// Whether the organization has this role.
    pub fn is_defined(&self) -> bool {
        self.table.is_some()
    }

    /// What `reach` answers, for every permission at once, names that the catalogue does not have
    /// included. Of a name that comes twice the greater reach counts.
    pub fn cells<'a>(
        &'a self,
        global: &'a Global,
    ) -> impl Iterator<Item = (&'a PermissionName, Reach)> {
        let own = self.table.iter().flatten().map(|(name, reach)| (name, *reach));
        let catalogue = self.holds_registered.then(|| global.permissions());
        let registered = catalogue.into_iter().flatten().filter(|entry| entry.registered);
        own.chain(registered.map(|entry| (&entry.name, Reach::Any)))
    }

    /// An estimate of the memory held, in bytes.
    pub fn weight(&self) -> usize {
        let entry = size_of::<(PermissionName, Reach)>();
        let names: usize =
            self.table.iter().flat_map(RoleTable::keys).map(|n| entry + n.as_str().len()).sum();
        size_of::<Self>() + names + 8 * (self.any.len() + self.own.len())
    }
}

fn set(words: &mut Vec<u64>, ordinal: u16) {
    let word = usize::from(ordinal / 64);
    if words.len() <= word {
        words.resize(word + 1, 0);
    }
    if let Some(bits) = words.get_mut(word) {
        *bits |= 1 << (ordinal % 64);
    }
}

fn has(words: &[u64], ordinal: u16) -> bool {
    words.get(usize::from(ordinal / 64)).is_some_and(|bits| bits & (1 << (ordinal % 64)) != 0)
}
