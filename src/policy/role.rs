//! A role compiled for checks: two sets of bits over the catalogue's ordinals.

use crate::domain::permission::{Permission, PermissionName};
use crate::domain::role::{Reach, RoleTable};

use super::global::Global;

/// A role as checks look at it. The default is a role that nobody has defined: it permits nothing,
/// so that a snapshot of only some facts never gives too much.
#[derive(Clone, Debug, Default)]
pub(super) struct Role {
    /// The table, by name; none while the role is only named by other facts.
    table: Option<RoleTable>,
    any: Box<[u64]>,
    own: Box<[u64]>,
    /// Whether the table has names that the catalogue did not have when this was compiled. They
    /// are looked up by name: the catalogue and an organization advance independently.
    unresolved: bool,
}

impl Role {
    pub fn compile(table: RoleTable, global: &Global) -> Self {
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
        Self { table: Some(table), any: any.into(), own: own.into(), unresolved }
    }

    /// How far the role reaches with this permission; none if it does not have it.
    pub fn reach(&self, permission: &Permission) -> Option<Reach> {
        if has(&self.any, permission.ordinal) {
            Some(Reach::Any)
        } else if has(&self.own, permission.ordinal) {
            Some(Reach::Own)
        } else if self.unresolved {
            self.table.as_ref()?.get(&permission.name).copied()
        } else {
            None
        }
    }

    /// The table by name; none for a role that nobody has defined.
    pub fn table(&self) -> Option<&RoleTable> {
        self.table.as_ref()
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
