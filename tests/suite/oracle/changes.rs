//! The changes of a world, as the rules have them.

use portcullis::domain::Subject;

use super::{Model, Operation, Portfolio, group};

impl Model {
    /// Makes the change. False, and nothing changes, where the rules refuse it (a cycle of groups,
    /// an archived portfolio) or where it changes nothing.
    pub fn perform(&mut self, operation: &Operation) -> bool {
        let before = self.clone();
        match operation {
            Operation::AddGroupMember { group: id, member } => {
                let cycle =
                    *member == group(id) || self.groups_of(&group(id)).contains(&group_id(member));
                for g in self.groups.iter_mut().filter(|g| g.id == *id && !cycle) {
                    if !g.members.contains(member) {
                        g.members.push(member.clone());
                    }
                }
            }
            Operation::RemoveGroupMember { group: id, member } => {
                for g in self.groups.iter_mut().filter(|g| g.id == *id) {
                    g.members.retain(|known| known != member);
                }
            }
            Operation::SetDeactivated { user: id, deactivated } => {
                for user in self.users.iter_mut().filter(|user| user.id == *id) {
                    user.deactivated = *deactivated;
                }
            }
            Operation::AddGrant { portfolio, grant } => {
                self.edit_in_use(portfolio, |p| p.grants.push(grant.clone()));
            }
            Operation::RemoveGrants { portfolio, subject } => {
                self.edit(portfolio, |p| p.grants.retain(|grant| grant.subject != *subject));
            }
            Operation::SetSettings { portfolio, visibility, organization_access_role } => {
                self.edit_in_use(portfolio, |p| {
                    p.visibility = *visibility;
                    p.organization_access_role.clone_from(organization_access_role);
                });
            }
            Operation::CreatePortfolio { portfolio } => {
                if self.portfolio(&portfolio.id).is_none() {
                    self.portfolios.push(portfolio.clone());
                }
            }
            Operation::SetArchived { portfolio, archived } => {
                self.edit(portfolio, |p| p.archived = *archived);
            }
            Operation::DeletePortfolio { portfolio } => self.delete_portfolio(portfolio),
            Operation::SetRole { role } => {
                for known in self.roles.iter_mut().filter(|known| known.key == role.key) {
                    known.cells.clone_from(&role.cells);
                }
            }
            Operation::SetLink { portfolio, link } => {
                self.edit(portfolio, |p| p.link.clone_from(link));
            }
            Operation::Unlink { portfolio } => self.unlink_copying(portfolio),
            Operation::SetOwner { portfolio, owner } => {
                self.edit(portfolio, |p| p.owner.clone_from(owner));
            }
            Operation::PutItem { item } => {
                self.items.retain(|known| known.key != item.key);
                self.items.push(item.clone());
            }
            Operation::DeleteItem { key } => self.items.retain(|known| known.key != *key),
        }
        *self != before
    }

    /// What is linked to it keeps a copy; an item that nothing shows any more stays, as nobody's.
    fn delete_portfolio(&mut self, id: &str) {
        let linked = self.portfolios.iter().filter(|known| known.link.as_deref() == Some(id));
        for below in linked.map(|below| below.id.clone()).collect::<Vec<_>>() {
            self.unlink_copying(&below);
        }
        self.portfolios.retain(|known| known.id != id);
        for item in &mut self.items {
            item.portfolios.retain(|known| known != id);
        }
    }

    /// Leaves what is in force as the portfolio's own; its owner goes on owning it.
    fn unlink_copying(&mut self, id: &str) {
        let Some(copy) = self.unlinked(id) else { return };
        self.edit(id, |p| {
            if p.link.is_some() {
                *p = Portfolio { owner: p.owner.clone(), ..copy };
            }
        });
    }

    fn edit_in_use(&mut self, id: &str, change: impl FnOnce(&mut Portfolio)) {
        if self.portfolio(id).is_some_and(|portfolio| !portfolio.archived) {
            self.edit(id, change);
        }
    }

    fn edit(&mut self, id: &str, change: impl FnOnce(&mut Portfolio)) {
        if let Some(portfolio) = self.portfolios.iter_mut().find(|p| p.id == id) {
            change(portfolio);
        }
    }
}

fn group_id(subject: &Subject) -> String {
    match subject {
        Subject::Group(id) => id.as_str().to_owned(),
        Subject::User(_) | Subject::ServiceAccount(_) => String::new(),
    }
}
