//! Groups within groups: no cycle, no chain of more than sixteen (DIR-4).

use std::collections::BTreeMap;

use super::directory::MAX_GROUP_DEPTH;
use super::ids::GroupId;
use super::refusal::{Reason, Refusal};

/// Which groups of an organization are directly within which.
///
/// INVARIANT (group nesting): there is no cycle, so every walk ends.
#[derive(Clone, Debug, Default)]
pub struct GroupNesting {
    inner: BTreeMap<GroupId, Vec<GroupId>>,
    outer: BTreeMap<GroupId, Vec<GroupId>>,
}

impl GroupNesting {
    /// The nesting made of (group, group within it) pairs.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = (GroupId, GroupId)>) -> Self {
        let mut nesting = Self::default();
        for (outer, inner) in pairs {
            nesting.insert(outer, inner);
        }
        nesting
    }

    fn insert(&mut self, outer: GroupId, inner: GroupId) {
        self.inner.entry(outer.clone()).or_default().push(inner.clone());
        self.outer.entry(inner).or_default().push(outer);
    }

    /// Puts a group into another.
    ///
    /// # Errors
    /// It would close a cycle, which is named; or a chain would grow beyond the limit.
    pub fn admit(&mut self, outer: &GroupId, inner: &GroupId) -> Result<(), Refusal> {
        if let Some(path) = self.path(inner, outer) {
            let cycle: Vec<&str> =
                std::iter::once(outer).chain(path).map(GroupId::as_str).collect();
            let cycle = cycle.join(" > ");
            let message = format!("group `{inner}` within `{outer}` would close a cycle: {cycle}");
            return Err(Refusal::new(Reason::GroupCycle, message).with("cycle", cycle));
        }
        let depth = height(&self.outer, outer) + height(&self.inner, inner);
        if depth > MAX_GROUP_DEPTH {
            let message = format!(
                "group `{inner}` within `{outer}` would make a chain of {depth} groups; at most \
                 {MAX_GROUP_DEPTH} are accepted"
            );
            return Err(Refusal::new(Reason::GroupTooDeep, message).with("limit", MAX_GROUP_DEPTH));
        }
        self.insert(outer.clone(), inner.clone());
        Ok(())
    }

    /// A way down from a group to another, both named.
    fn path<'a>(&'a self, from: &'a GroupId, to: &GroupId) -> Option<Vec<&'a GroupId>> {
        let mut came_from: BTreeMap<&GroupId, Option<&GroupId>> = BTreeMap::from([(from, None)]);
        let mut waiting = vec![from];
        while let Some(group) = waiting.pop() {
            if group == to {
                let mut path = vec![group];
                let mut step = group;
                while let Some(Some(previous)) = came_from.get(step) {
                    path.push(previous);
                    step = previous;
                }
                path.reverse();
                return Some(path);
            }
            for next in self.inner.get(group).into_iter().flatten() {
                if !came_from.contains_key(next) {
                    came_from.insert(next, Some(group));
                    waiting.push(next);
                }
            }
        }
        None
    }
}

/// How many groups the longest chain from a group on has, itself included.
fn height(edges: &BTreeMap<GroupId, Vec<GroupId>>, group: &GroupId) -> usize {
    let mut level: Vec<&GroupId> = vec![group];
    let mut height = 0;
    // Level by level: at most as many levels as the limit allows are ever stored.
    while !level.is_empty() && height <= MAX_GROUP_DEPTH {
        height += 1;
        level =
            level.into_iter().flat_map(|group| edges.get(group).into_iter().flatten()).collect();
        level.sort_unstable();
        level.dedup();
    }
    height
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> GroupId {
        text.parse().unwrap()
    }

    #[test]
    fn dir_4_a_cycle_is_refused_and_named() {
        let mut nesting = GroupNesting::new([(id("a"), id("b")), (id("b"), id("c"))]);
        let refusal = nesting.admit(&id("c"), &id("a")).unwrap_err();
        assert_eq!(refusal.reason, Reason::GroupCycle);
        assert!(refusal.message.ends_with("c > a > b > c"), "{}", refusal.message);
        let own = nesting.admit(&id("a"), &id("a")).unwrap_err();
        assert_eq!(own.reason, Reason::GroupCycle);
    }

    #[test]
    fn dir_4_a_chain_of_sixteen_is_accepted_and_of_seventeen_refused() {
        let mut nesting = GroupNesting::default();
        for n in 1..16 {
            nesting.admit(&id(&format!("g{n}")), &id(&format!("g{}", n + 1))).unwrap();
        }
        let below = nesting.admit(&id("g16"), &id("g17")).unwrap_err();
        assert_eq!(below.reason, Reason::GroupTooDeep);
        let above = nesting.admit(&id("g0"), &id("g1")).unwrap_err();
        assert_eq!(above.reason, Reason::GroupTooDeep);
        assert!(nesting.admit(&id("g15"), &id("x")).is_ok());
    }
}
