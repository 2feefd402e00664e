//! The rules once more, as naively as they can be written: lists and loops, nothing compiled,
//! nothing shared with the decider. Where the two disagree, one of them is wrong.

mod changes;
mod facts;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use portcullis::domain::Subject;
use portcullis::domain::access_settings::Visibility;
use portcullis::domain::directory::SiteRole;
use portcullis::domain::permission::Effect;
use portcullis::domain::role::Reach;

pub use self::world::{
    CatalogueEntry, Grant, Group, Item, Model, Operation, Portfolio, Question, Role,
    ServiceAccount, User, Why,
};

pub const ADMINISTRATORS_HOLD: [&str; 7] = [
    "members.view",
    "members.invite",
    "members.update",
    "members.remove",
    "requests.decide",
    "invitations.view",
    "portfolio.delete",
];

pub fn group(id: &str) -> Subject {
    Subject::from_parts("group", id).unwrap()
}

impl Model {
    /// Allowed or not, and why; none if the catalogue has no such permission.
    pub fn check(&self, question: &Question) -> Option<(bool, Why)> {
        if let Some(item) = self.item(question) {
            return self.check_item(question, item);
        }
        match self.check_in_use(question)? {
            (true, _) if self.is_halted(question) => Some((false, Why::Archived)),
            answer => Some(answer),
        }
    }

    /// What is archived allows nothing that adds or changes, but comments.
    pub fn is_halted(&self, question: &Question) -> bool {
        let named = |entry: &&CatalogueEntry| entry.name == question.permission;
        let changes = |entry: &CatalogueEntry| entry.effect == Effect::Change;
        self.portfolio(&question.portfolio).is_some_and(|portfolio| portfolio.archived)
            && self.catalogue.iter().find(named).is_some_and(changes)
            && question.permission != "comment.create"
    }

    /// The registered item that the question names.
    pub fn item(&self, question: &Question) -> Option<&Item> {
        self.items.iter().find(|item| Some(&item.key) == question.item.as_ref())
    }

    fn check_item(&self, question: &Question, item: &Item) -> Option<(bool, Why)> {
        let entry = self.catalogue.iter().find(|entry| entry.name == question.permission)?;
        let Some(portfolio) = self.portfolio(&question.portfolio) else {
            return Some((false, Why::PortfolioUnknown));
        };
        if !item.portfolios.contains(&question.portfolio) {
            return Some((false, Why::ItemUnknown));
        }
        let of_its_type = question.permission.starts_with(&format!("{}.", item.key.item_type));
        let author = match &item.author {
            Some(author) if of_its_type => Some(author.clone()),
            _ => question.author.clone(),
        };
        let plain = Question { author, item: None, ..question.clone() };
        let halted = (item.archived || portfolio.archived)
            && entry.effect == Effect::Change
            && question.permission != "comment.create";
        let answer = match &item.settings {
            None => self.check_in_use(&plain)?,
            Some((visibility, role, grants)) => {
                let view = Question { permission: "portfolio.view".to_owned(), ..plain.clone() };
                let seen = self.check_in_use(&Question { author: None, ..view })?;
                if !seen.0 {
                    return Some(seen);
                }
                // The item's settings, as if they were a portfolio's that nobody administers.
                let mut alone = self.clone();
                alone.users.iter_mut().for_each(|user| user.administrator = false);
                alone.portfolios = vec![Portfolio {
                    id: question.portfolio.clone(),
                    visibility: *visibility,
                    organization_access_role: role.clone(),
                    archived: false,
                    link: None,
                    owner: None,
                    grants: grants.clone(),
                }];
                match alone.check_in_use(&plain)? {
                    (false, Why::NoAccess | Why::PermissionMissing | Why::SubjectUnknown) => {
                        (false, Why::ItemNoAccess)
                    }
                    answer => answer,
                }
            }
        };
        if answer.0 && halted { Some((false, Why::Archived)) } else { Some(answer) }
    }

    /// As if nothing were archived.
    fn check_in_use(&self, question: &Question) -> Option<(bool, Why)> {
        let entry = self.catalogue.iter().find(|entry| entry.name == question.permission)?;
        let Some(portfolio) = &self.unlinked(&question.portfolio) else {
            return Some((false, Why::PortfolioUnknown));
        };
        let subject = &question.subject;
        let nobody = !self.knows(subject) && !names(portfolio, subject);
        if self.is_deactivated(subject) {
            let why = if nobody { Why::SubjectUnknown } else { Why::SubjectDeactivated };
            return Some((false, why));
        }
        let barred = entry.internal_only && !self.is_internal(subject);
        let mut denial = if nobody { Why::SubjectUnknown } else { Why::NoAccess };
        for (why, table) in self.tables(portfolio, subject, question.at) {
            match table.get(&question.permission) {
                Some(_) if barred => denial = Why::InternalOnly,
                Some(Reach::Any) => return Some((true, why)),
                Some(Reach::Own) => match &question.author {
                    Some(author) if author == subject => return Some((true, why)),
                    Some(_) => denial = Why::NotAuthor,
                    None => denial = Why::AuthorUnknown,
                },
                None if matches!(denial, Why::NoAccess | Why::SubjectUnknown) => {
                    denial = Why::PermissionMissing;
                }
                None => {}
            }
        }
        Some((false, denial))
    }

    /// By trying every instant at which anything on the portfolio begins or ends.
    pub fn hold_until(&self, question: &Question) -> Option<i64> {
        let now = self.check(question)?.0;
        let grants = self.unlinked(&question.portfolio)?.grants;
        let of_item = self.item(question).and_then(|item| item.settings.as_ref());
        let of_item = of_item.into_iter().flat_map(|(_, _, grants)| grants);
        let mut instants: Vec<i64> = grants
            .iter()
            .chain(of_item)
            .flat_map(|grant| [grant.start, grant.expire])
            .flatten()
            .filter(|instant| *instant > question.at)
            .collect();
        instants.sort_unstable();
        let then = |at: i64| self.check(&Question { at, ..question.clone() });
        instants.into_iter().find(|at| then(*at).is_some_and(|(allowed, _)| allowed != now))
    }

    pub fn may_list(&self, subject: &Subject, portfolio: &str, at: i64) -> bool {
        let Some(portfolio) = self.unlinked(portfolio) else { return false };
        if self.is_deactivated(subject) {
            return false;
        }
        let visible = portfolio.visibility != Visibility::Private
            && matches!(self.site_role(subject), Some(SiteRole::Editor | SiteRole::Viewer));
        visible
            || self.is_administrator(subject)
            || portfolio.grants.iter().any(|grant| {
                in_force(grant, at)
                    && (grant.subject == *subject
                        || self.groups_of(subject).iter().any(|id| grant.subject == group(id)))
            })
    }

    pub fn may_create_portfolios(&self, subject: &Subject) -> bool {
        !self.is_deactivated(subject) && self.site_role(subject) == Some(SiteRole::Editor)
    }

    pub fn is_internal(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Group(_) | Subject::ServiceAccount(_) => self.knows(subject),
            Subject::User(id) => {
                self.users.iter().filter(|user| user.id == id.as_str()).any(|user| {
                    user.home || matches!(user.site_role, Some(SiteRole::Viewer | SiteRole::Editor))
                })
            }
        }
    }

    /// Everything that is held, *any* beating *own*.
    pub fn holdings(&self, subject: &Subject, portfolio: &str, at: i64) -> BTreeMap<String, Reach> {
        let mut held = BTreeMap::new();
        let Some(portfolio) = &self.unlinked(portfolio) else { return held };
        if self.is_deactivated(subject) {
            return held;
        }
        for (_, table) in self.tables(portfolio, subject, at) {
            for (name, reach) in table {
                if held.get(&name) != Some(&Reach::Any) {
                    held.insert(name, reach);
                }
            }
        }
        held
    }

    /// The routes in force, as text: `direct`, a group's id in brackets, `open`, `administrator`.
    pub fn routes(&self, subject: &Subject, portfolio: &str, at: i64) -> BTreeSet<String> {
        let mut routes = BTreeSet::new();
        let Some(portfolio) = self.unlinked(portfolio) else { return routes };
        let groups = self.groups_of(subject);
        for grant in portfolio.grants.iter().filter(|grant| in_force(grant, at)) {
            if grant.subject == *subject {
                routes.insert("direct".to_owned());
            } else if groups.iter().any(|id| grant.subject == group(id)) {
                routes.insert(format!("[{}]", grant.subject.id()));
            }
        }
        let open = portfolio.visibility == Visibility::Open;
        if open && matches!(self.site_role(subject), Some(SiteRole::Editor | SiteRole::Viewer)) {
            routes.insert("open".to_owned());
        }
        if self.is_administrator(subject) {
            routes.insert("administrator".to_owned());
        }
        routes
    }

    /// What each thing in force gives: direct grants, then groups', then openness, then being an
    /// administrator.
    fn tables(
        &self,
        portfolio: &Portfolio,
        subject: &Subject,
        at: i64,
    ) -> Vec<(Why, BTreeMap<String, Reach>)> {
        let mut tables = Vec::new();
        let live = || portfolio.grants.iter().filter(|grant| in_force(grant, at));
        for grant in live().filter(|grant| grant.subject == *subject) {
            tables.push((Why::DirectGrant, self.table(&grant.role)));
        }
        for id in self.groups_of(subject) {
            for grant in live().filter(|grant| grant.subject == group(&id)) {
                tables.push((Why::GroupGrant, self.table(&grant.role)));
            }
        }
        if portfolio.visibility == Visibility::Open {
            let full = self.table(&portfolio.organization_access_role);
            match self.site_role(subject) {
                Some(SiteRole::Editor) => tables.push((Why::OrganizationAccess, full)),
                Some(SiteRole::Viewer) => {
                    let viewer = self.table("viewer");
                    let mut least = BTreeMap::new();
                    for (name, reach) in full {
                        match (reach, viewer.get(&name)) {
                            (_, None) => {}
                            (Reach::Any, Some(Reach::Any)) => {
                                least.insert(name, Reach::Any);
                            }
                            _ => {
                                least.insert(name, Reach::Own);
                            }
                        }
                    }
                    tables.push((Why::OrganizationAccess, least));
                }
                Some(SiteRole::Guest) | None => {}
            }
        }
        if self.is_administrator(subject) {
            let held = ADMINISTRATORS_HOLD.iter().map(|name| ((*name).to_owned(), Reach::Any));
            tables.push((Why::Administrator, held.collect()));
        }
        tables
    }

    pub fn portfolio(&self, id: &str) -> Option<&Portfolio> {
        self.portfolios.iter().find(|portfolio| portfolio.id == id)
    }

    /// The portfolio, and those that it is linked to, each by the one before: sixteen at most.
    pub fn chain(&self, id: &str) -> Vec<&Portfolio> {
        let mut chain: Vec<&Portfolio> = self.portfolio(id).into_iter().collect();
        while let Some(link) = chain.last().and_then(|last| last.link.as_ref())
            && let Some(next) = self.portfolio(link)
            && chain.len() < 17
        {
            chain.push(next);
        }
        chain
    }

    /// The portfolio whose settings are in force on this one.
    pub fn root(&self, id: &str) -> Option<&Portfolio> {
        self.chain(id).pop().filter(|last| last.link.is_none())
    }

    /// Every grant in force or not that counts on a portfolio, and whose it is: the root's, and the
    /// ownerships of all along the way there.
    pub fn grants_on(&self, id: &str) -> Vec<(String, Grant)> {
        let mut grants = Vec::new();
        for portfolio in self.chain(id) {
            if let Some(owner) = &portfolio.owner {
                grants.push((portfolio.id.clone(), ownership(owner)));
            }
        }
        if let Some(root) = self.root(id) {
            let id = || root.id.clone();
            grants.extend(root.grants.iter().map(|grant| (id(), grant.clone())));
        }
        grants
    }

    /// The portfolio as if what is in force on it were its own: what unlinking leaves of it.
    pub fn unlinked(&self, id: &str) -> Option<Portfolio> {
        let mut portfolio = self.portfolio(id)?.clone();
        let root = self.root(id);
        portfolio.visibility = root.map_or(Visibility::Private, |root| root.visibility);
        if let Some(root) = root {
            portfolio.organization_access_role.clone_from(&root.organization_access_role);
        }
        portfolio.grants = self.grants_on(id).into_iter().map(|(_, grant)| grant).collect();
        portfolio.owner = None;
        portfolio.link = None;
        Some(portfolio)
    }

    pub fn table(&self, role: &str) -> BTreeMap<String, Reach> {
        let role = self.roles.iter().find(|known| known.key == role);
        let mut table: BTreeMap<String, Reach> =
            role.map(|role| role.cells.iter().cloned().collect()).unwrap_or_default();
        if role.is_some_and(|role| role.key == "manager") {
            let registered = self.catalogue.iter().filter(|entry| entry.registered);
            table.extend(registered.map(|entry| (entry.name.clone(), Reach::Any)));
        }
        table
    }

    /// Named so, and at home; apart from whether they are active.
    pub fn is_administrator(&self, subject: &Subject) -> bool {
        let who = |user: &&User| *subject == Subject::User(user.id.parse().unwrap());
        self.users.iter().find(who).is_some_and(|user| user.home && user.administrator)
    }

    /// The groups a subject is in, directly or not; itself left out.
    pub fn groups_of(&self, subject: &Subject) -> BTreeSet<String> {
        let mut found: BTreeSet<String> = BTreeSet::new();
        loop {
            let mut more = found.clone();
            for g in &self.groups {
                let has = |member: &Subject| {
                    member == subject || found.iter().any(|id| *member == group(id))
                };
                if g.members.iter().any(has) {
                    more.insert(g.id.clone());
                }
            }
            if more == found {
                found.remove(match subject {
                    Subject::Group(id) => id.as_str(),
                    Subject::User(_) | Subject::ServiceAccount(_) => "",
                });
                return found;
            }
            found = more;
        }
    }

    pub fn site_role(&self, subject: &Subject) -> Option<SiteRole> {
        match subject {
            Subject::Group(_) => None,
            Subject::ServiceAccount(_) => self.knows(subject).then_some(SiteRole::Editor),
            Subject::User(id) => {
                let user = self.users.iter().find(|user| user.id == id.as_str())?;
                match (user.site_role, user.home) {
                    (Some(set), _) => Some(set),
                    (None, true) => Some(SiteRole::Editor),
                    (None, false) => None,
                }
            }
        }
    }

    pub fn is_deactivated(&self, subject: &Subject) -> bool {
        match subject {
            Subject::User(id) => self.users.iter().any(|u| u.id == id.as_str() && u.deactivated),
            Subject::ServiceAccount(id) => {
                self.service_accounts.iter().any(|s| s.id == id.as_str() && !s.active)
            }
            Subject::Group(_) => false,
        }
    }

    /// Whether the organization knows anything of the subject but its grants.
    fn knows(&self, subject: &Subject) -> bool {
        let by_itself = match subject {
            Subject::User(id) => self.users.iter().any(|user| {
                user.id == id.as_str()
                    && (user.home || user.site_role.is_some() || user.administrator)
            }),
            Subject::ServiceAccount(id) => {
                self.service_accounts.iter().any(|account| account.id == id.as_str())
            }
            Subject::Group(id) => self.groups.iter().any(|group| group.id == id.as_str()),
        };
        by_itself || self.groups.iter().any(|group| group.members.contains(subject))
    }
}

/// What the owner of a portfolio has.
pub fn ownership(owner: &str) -> Grant {
    let subject = Subject::from_parts("user", owner).unwrap();
    Grant { subject, role: "manager".to_owned(), start: None, expire: None }
}

fn names(portfolio: &Portfolio, subject: &Subject) -> bool {
    portfolio.grants.iter().any(|grant| grant.subject == *subject)
}

pub fn in_force(grant: &Grant, at: i64) -> bool {
    grant.start.is_none_or(|start| start <= at) && grant.expire.is_none_or(|end| at < end)
}
