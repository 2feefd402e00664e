//! A world in the form that storage reads it in.

use portcullis::domain::access_settings::Visibility;
use portcullis::domain::directory::Standing;
use portcullis::domain::fact::{
    GlobalFacts, GrantFact, ItemFact, ItemSettings, OrganizationFacts, PortfolioFact, RoleFact,
    SubjectFact,
};
use portcullis::domain::permission::Permission;
use portcullis::domain::role::RoleTable;
use portcullis::domain::{GroupId, Subject, Timestamp};

use super::{
    CatalogueEntry, Grant, Item, Model, Portfolio, Role, ServiceAccount, User, group, ownership,
};

impl Model {
    /// The same world in the form that storage reads it in.
    pub fn facts(&self) -> (GlobalFacts, OrganizationFacts) {
        let permission = |(ordinal, entry): (u16, &CatalogueEntry)| Permission {
            name: entry.name.parse().unwrap(),
            ordinal,
            effect: entry.effect,
            may_be_own: true,
            internal_only: entry.internal_only,
            registered: entry.registered,
        };
        let deactivated = self.users.iter().filter(|user| user.deactivated);
        let global = GlobalFacts {
            permissions: (0..).zip(&self.catalogue).map(permission).collect(),
            deactivated: deactivated.map(|user| user.id.parse().unwrap()).collect(),
        };
        let organization = OrganizationFacts {
            organization: self.organization.parse().unwrap(),
            roles: self.roles.iter().map(role_fact).collect(),
            subjects: self.subject_facts(),
            portfolios: self.portfolios.iter().map(portfolio_fact).collect(),
            items: self.items.iter().map(item_fact).collect(),
        };
        (global, organization)
    }

    fn subject_facts(&self) -> Vec<SubjectFact> {
        let at_home = Standing { home: true, ..Standing::default() };
        let user = |user: &User| {
            let subject = Subject::from_parts("user", &user.id).unwrap();
            let User { home, site_role, administrator, .. } = *user;
            (subject, Standing { home, site_role, administrator }, true)
        };
        let account = |account: &ServiceAccount| {
            let subject = Subject::from_parts("service_account", &account.id).unwrap();
            (subject, at_home, account.active)
        };
        let users = self.users.iter().map(user);
        let accounts = self.service_accounts.iter().map(account);
        let groups = self.groups.iter().map(|g| (group(&g.id), at_home, true));
        users
            .chain(accounts)
            .chain(groups)
            .map(|(subject, standing, active)| {
                let groups = self.direct_groups(&subject);
                SubjectFact { subject, standing, active, groups }
            })
            .filter(|fact| fact.standing != Standing::default() || !fact.groups.is_empty())
            .collect()
    }

    fn direct_groups(&self, subject: &Subject) -> Vec<GroupId> {
        let holding = self.groups.iter().filter(|group| group.members.contains(subject));
        holding.map(|group| group.id.parse().unwrap()).collect()
    }
}

fn role_fact(role: &Role) -> RoleFact {
    let table: RoleTable =
        role.cells.iter().map(|(name, reach)| (name.parse().unwrap(), *reach)).collect();
    RoleFact { key: role.key.parse().unwrap(), table }
}

fn grant_fact(grant: &Grant) -> GrantFact {
    GrantFact {
        subject: grant.subject.clone(),
        role: grant.role.parse().unwrap(),
        start_time: grant.start.map(Timestamp),
        expire_time: grant.expire.map(Timestamp),
    }
}

fn item_fact(item: &Item) -> ItemFact {
    let settings = |(visibility, role, grants): &(Visibility, String, Vec<Grant>)| ItemSettings {
        visibility: *visibility,
        organization_access_role: role.parse().unwrap(),
        grants: grants.iter().map(grant_fact).collect(),
    };
    ItemFact {
        key: item.key.clone(),
        portfolios: item.portfolios.iter().map(|id| id.parse().unwrap()).collect(),
        author: item.author.clone(),
        archived: item.archived,
        settings: item.settings.as_ref().map(settings),
    }
}

fn portfolio_fact(portfolio: &Portfolio) -> PortfolioFact {
    // A link suspends everything but the ownership.
    let own = portfolio.grants.iter().filter(|_| portfolio.link.is_none());
    let owner = portfolio.owner.as_ref().map(|owner| ownership(owner));
    PortfolioFact {
        id: portfolio.id.parse().unwrap(),
        visibility: portfolio.visibility,
        organization_access_role: portfolio.organization_access_role.parse().unwrap(),
        archived: portfolio.archived,
        link: portfolio.link.as_ref().map(|link| link.parse().unwrap()),
        grants: owner.iter().chain(own).map(grant_fact).collect(),
    }
}
