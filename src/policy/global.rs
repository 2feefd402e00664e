//! What belongs to no organization: the permission catalogue and the deactivated users.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use imbl::shared_ptr::DefaultSharedPtr;

use crate::domain::UserId;
use crate::domain::fact::{GlobalChanges, GlobalFacts};
use crate::domain::permission::{Permission, PermissionName};

/// The bytes of an asked name that count when the nearest known one is looked for; as long as the
/// longest permission name, so that a longer text costs nothing.
const COMPARED_BYTES: usize = 128;

/// A name is near to another if at most one character in so many differs, of the longer one's.
const NEAR: usize = 3;

/// The compiled global facts. Immutable and persistent: a clone or a change of statuses is cheap;
/// the catalogue is short, and copied when it changes.
#[derive(Clone, Debug, Default)]
pub struct Global {
    permissions: Arc<HashMap<PermissionName, Permission, RandomState>>,
    deactivated: imbl::GenericHashSet<UserId, RandomState, DefaultSharedPtr>,
}

/// A permission that the catalogue does not have (ROL-1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not in the permission catalogue{}", hint(.nearest.as_ref()))]
pub struct UnknownPermission {
    /// What was asked for.
    pub name: String,
    /// The known name that is nearest to it, if one is near.
    pub nearest: Option<PermissionName>,
}

fn hint(nearest: Option<&PermissionName>) -> String {
    nearest.map_or_else(String::new, |name| format!("; the nearest known name is `{name}`"))
}

// === impl Global ===

impl Global {
    /// Compiles the global facts.
    #[must_use]
    pub fn compile(facts: GlobalFacts) -> Self {
        Self::default().apply(GlobalChanges {
            permissions: facts.permissions,
            statuses: facts.deactivated.into_iter().map(|user| (user, true)).collect(),
        })
    }

    /// These facts with some of them changed. Of several changes of one fact the last counts.
    #[must_use]
    pub fn apply(&self, changes: GlobalChanges) -> Self {
        let mut next = self.clone();
        for permission in changes.permissions {
            Arc::make_mut(&mut next.permissions).insert(permission.name.clone(), permission);
        }
        for (user, deactivated) in changes.statuses {
            if deactivated {
                next.deactivated.insert(user);
            } else {
                next.deactivated.remove(&user);
            }
        }
        next
    }

    /// The catalogue's entry of this name.
    #[must_use]
    pub fn permission(&self, name: &str) -> Option<&Permission> {
        self.permissions.get(name)
    }

    /// The whole catalogue, in no order.
    pub(super) fn permissions(&self) -> impl Iterator<Item = &Permission> {
        self.permissions.values()
    }

    /// The known name nearest to this one, the first in the alphabet of several as near; none if
    /// more than a third of the longer name would have to change, for that is no slip of the pen.
    /// Looks at every entry: for refusals, not for checks.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&str> {
        self.nearest_name(name).map(PermissionName::as_str)
    }

    /// Whether the user is deactivated (DIR-1).
    #[must_use]
    pub fn is_deactivated(&self, user: &str) -> bool {
        !self.deactivated.is_empty() && self.deactivated.contains(user)
    }

    /// An estimate of the memory held, in bytes: the entries, their text, and as much again as half
    /// of them for the tree around. Looks at every entry.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let permission = |p: &Permission| {
            size_of::<PermissionName>() + size_of::<Permission>() + p.name.as_str().len()
        };
        let user = |id: &UserId| size_of::<UserId>() + id.as_str().len();
        let entries = self.permissions.values().map(permission).sum::<usize>()
            + self.deactivated.iter().map(user).sum::<usize>();
        entries + entries / 2
    }

    /// The refusal of a name that the catalogue does not have.
    pub(super) fn unknown(&self, name: &str) -> UnknownPermission {
        UnknownPermission { name: name.to_owned(), nearest: self.nearest_name(name).cloned() }
    }

    fn nearest_name(&self, name: &str) -> Option<&PermissionName> {
        let end = (0..=COMPARED_BYTES.min(name.len())).rev().find(|&i| name.is_char_boundary(i));
        let asked = name.get(..end.unwrap_or(0)).unwrap_or("");
        let length = asked.chars().count();
        let distance = |known: &str| strsim::damerau_levenshtein(asked, known);
        let known = self.permissions.keys().map(|known| (distance(known.as_str()), known));
        let is_near = |distance: usize, known: &str| distance * NEAR <= length.max(known.len());
        let near = known.filter(|(distance, known)| is_near(*distance, known.as_str()));
        near.min_by_key(|(distance, known)| (*distance, known.as_str())).map(|(_, known)| known)
    }
}
