//! The oracle's lists and explanations: every candidate tried, one by one.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::domain::Subject;
use portcullis::domain::access_settings::Visibility;
use portcullis::domain::directory::SiteRole;
use portcullis::domain::role::Reach;

use crate::oracle::{Grant, Model, Portfolio, Question, Why, group, in_force};

/// A route in the oracle's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `direct`, a group's id in brackets, `open`, `open as viewer`, `administrator`.
    pub way: String,
    pub role: Option<String>,
    pub start: Option<i64>,
    pub expire: Option<i64>,
    pub reach: Option<Reach>,
    pub effect: String,
    /// Whose settings or ownership it is, if not the portfolio's own.
    pub of: Option<String>,
}

/// A row in the oracle's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: String,
    pub view: &'static str,
    pub roles: Vec<String>,
    pub visibility: Visibility,
    pub managers: Vec<String>,
    pub member_count: usize,
}

impl Model {
    pub fn allows(&self, question: &Question) -> bool {
        self.check(question).is_some_and(|(allowed, _)| allowed)
    }

    /// Every route, whether in force or not; none where the decision looks at none.
    pub fn explained(&self, q: &Question) -> BTreeSet<Route> {
        let why = self.check(q).map(|(_, why)| why);
        let Some(portfolio) = self.unlinked(&q.portfolio) else { return BTreeSet::new() };
        if matches!(why, Some(Why::SubjectDeactivated)) || self.is_deactivated(&q.subject) {
            return BTreeSet::new();
        }
        let groups = self.groups_of(&q.subject);
        let mut routes = BTreeSet::new();
        for (of, grant) in self.grants_on(&q.portfolio) {
            let way = if grant.subject == q.subject {
                "direct".to_owned()
            } else if groups.iter().any(|id| grant.subject == group(id)) {
                format!("[{}]", grant.subject.id())
            } else {
                continue;
            };
            let reach = self.table(&grant.role).get(&q.permission).copied();
            let period = (grant.start, grant.expire);
            routes.insert(self.route(q, (way, &of), Some(&grant.role), period, reach));
        }
        let root = self.root(&q.portfolio).map_or("", |root| root.id.as_str());
        let role = &portfolio.organization_access_role;
        let full = self.table(role).get(&q.permission).copied();
        let open = portfolio.visibility == Visibility::Open;
        match self.site_role(&q.subject).filter(|_| open) {
            Some(SiteRole::Editor) => {
                let way = ("open".to_owned(), root);
                routes.insert(self.route(q, way, Some(role), (None, None), full));
            }
            Some(SiteRole::Viewer) => {
                let least = self.table("viewer").get(&q.permission).copied().min(full);
                let way = ("open as viewer".to_owned(), root);
                routes.insert(self.route(q, way, Some(role), (None, None), least));
            }
            Some(SiteRole::Guest) | None => {}
        }
        if self.is_administrator(&q.subject) {
            let held = crate::oracle::ADMINISTRATORS_HOLD.contains(&q.permission.as_str());
            let reach = held.then_some(Reach::Any);
            let way = ("administrator".to_owned(), q.portfolio.as_str());
            routes.insert(self.route(q, way, None, (None, None), reach));
        }
        routes
    }

    fn route(
        &self,
        q: &Question,
        (way, of): (String, &str),
        role: Option<&String>,
        (start, expire): (Option<i64>, Option<i64>),
        reach: Option<Reach>,
    ) -> Route {
        let period = Grant { subject: q.subject.clone(), role: String::new(), start, expire };
        let effect = if reach.is_none() {
            "Lacks"
        } else if self.bars(q) {
            "InternalOnly"
        } else if reach == Some(Reach::Own) && q.author.as_ref() != Some(&q.subject) {
            "OwnOnly"
        } else if in_force(&period, q.at) && self.is_halted(q) {
            "Archived"
        } else if in_force(&period, q.at) {
            "Allows"
        } else if (q.at..200).any(|at| in_force(&period, at)) {
            "NotBegun"
        } else {
            "Ended"
        };
        let of = (of != q.portfolio).then(|| of.to_owned());
        Route { way, role: role.cloned(), start, expire, reach, effect: effect.to_owned(), of }
    }

    fn bars(&self, q: &Question) -> bool {
        let entry = self.catalogue.iter().find(|entry| entry.name == q.permission);
        entry.is_some_and(|entry| entry.internal_only) && !self.is_internal(&q.subject)
    }

    /// The length of the shortest chain of groups from the subject to the group.
    pub fn distance(&self, subject: &Subject, id: &str) -> usize {
        let mut reached = BTreeSet::from([subject.clone()]);
        for length in 1.. {
            let holds = |members: &[Subject]| members.iter().any(|m| reached.contains(m));
            let next: Vec<&str> =
                self.groups.iter().filter(|g| holds(&g.members)).map(|g| g.id.as_str()).collect();
            if next.contains(&id) {
                return length;
            }
            reached.extend(next.into_iter().map(group));
            assert!(length <= self.groups.len(), "{subject} is not in {id}");
        }
        0
    }

    /// The keys of the roles that would do.
    pub fn helpful_roles(&self, q: &Question) -> Vec<String> {
        if self.portfolio(&q.portfolio).is_none() {
            return Vec::new();
        }
        let is_author = q.author.as_ref().is_some_and(|author| *author == q.subject);
        let helps = |key: &&str| match self.table(key).get(&q.permission) {
            Some(Reach::Any) => true,
            Some(Reach::Own) => is_author,
            None => false,
        };
        let keys: BTreeSet<&str> = self.roles.iter().map(|role| role.key.as_str()).collect();
        keys.into_iter().filter(helps).map(str::to_owned).collect()
    }

    /// Who could give what is missing, and whether as an administrator.
    pub fn givers(&self, q: &Question, among: &[Subject]) -> Vec<(String, bool)> {
        let roles = self.helpful_roles(q);
        let (_, why) = self.check(q).unwrap();
        let helps = match why {
            Why::NoAccess | Why::PermissionMissing => true,
            Why::SubjectUnknown => q.subject.kind() == "user",
            _ => false,
        };
        // It is given where the settings are, and helps where the question is about.
        let Some(root) = self.root(&q.portfolio) else { return Vec::new() };
        let halted = self.is_halted(q);
        if self.bars(q) || !helps || roles.is_empty() || root.archived || halted {
            return Vec::new();
        }
        let q = &Question { portfolio: root.id.clone(), ..q.clone() };
        let giver = |subject: &Subject| {
            let ask = |permission: &str| Question {
                subject: subject.clone(),
                permission: permission.to_owned(),
                author: None,
                ..q.clone()
            };
            let held = self.holdings(subject, &q.portfolio, q.at);
            let covers = |role: &String| {
                self.table(role).iter().all(|(name, reach)| held.get(name) >= Some(reach))
            };
            let members =
                self.allows(&ask("members.invite")) || self.allows(&ask("members.update"));
            let administrator = self.is_administrator(subject);
            (administrator || (members && roles.iter().any(covers)))
                .then(|| (subject.id().to_owned(), administrator))
        };
        let users = among.iter().filter(|s| s.kind() == "user" && !self.is_deactivated(s));
        users.filter_map(giver).collect()
    }

    /// What the subject may do, and how far.
    pub fn effective(
        &self,
        subject: &Subject,
        portfolio: &str,
        at: i64,
    ) -> BTreeMap<String, Reach> {
        let reach = |name: &str| {
            let ask = |author: Option<&Subject>| Question {
                subject: subject.clone(),
                permission: name.to_owned(),
                portfolio: portfolio.to_owned(),
                author: author.cloned(),
                item: None,
                at,
            };
            if self.allows(&ask(None)) {
                Some(Reach::Any)
            } else {
                self.allows(&ask(Some(subject))).then_some(Reach::Own)
            }
        };
        let names = self.catalogue.iter().map(|entry| entry.name.clone());
        names.filter_map(|name| Some((name.clone(), reach(&name)?))).collect()
    }

    /// Why the portfolio is listed to the subject.
    pub fn view(
        &self,
        subject: Option<&Subject>,
        portfolio: &str,
        at: i64,
    ) -> Option<&'static str> {
        let found = self.unlinked(portfolio)?;
        let Some(subject) = subject else { return Some("Administered") };
        if !self.may_list(subject, portfolio, at) {
            return None;
        }
        let reaches = |grant: &Grant| {
            grant.subject == *subject
                || self.groups_of(subject).iter().any(|id| grant.subject == group(id))
        };
        if found.grants.iter().any(|grant| in_force(grant, at) && reaches(grant)) {
            return Some("Mine");
        }
        let inside = matches!(self.site_role(subject), Some(SiteRole::Editor | SiteRole::Viewer));
        if found.visibility != Visibility::Private && inside {
            return Some("Organization");
        }
        Some("Administered")
    }

    /// The rows that a view shows, in the order of the ids.
    pub fn listed(&self, subject: Option<&Subject>, view: Option<&str>, at: i64) -> Vec<Row> {
        let administers = subject.is_none_or(|s| self.is_administrator(s));
        let is_shown = |row: &Row| match view {
            None => true,
            Some("Mine") => row.view == "Mine",
            Some("Organization") => row.view != "Mine",
            Some(_) => administers,
        };
        let mut portfolios: Vec<&Portfolio> = self.portfolios.iter().collect();
        portfolios.sort_by_key(|portfolio| &portfolio.id);
        let rows = portfolios.into_iter().filter_map(|p| self.row(subject, &p.id, at));
        rows.filter(is_shown).collect()
    }

    fn row(&self, subject: Option<&Subject>, portfolio: &str, at: i64) -> Option<Row> {
        let view = self.view(subject, portfolio, at)?;
        let portfolio = &self.unlinked(portfolio)?;
        let mut roles = BTreeSet::new();
        let mut managers = BTreeSet::new();
        for grant in portfolio.grants.iter().filter(|grant| in_force(grant, at)) {
            let mine = |s: &Subject| {
                grant.subject == *s || self.groups_of(s).iter().any(|id| grant.subject == group(id))
            };
            if subject.is_some_and(mine) {
                roles.insert(grant.role.clone());
            }
            if grant.role == "manager" && self.is_active_user(&grant.subject) {
                managers.insert(grant.subject.id().to_owned());
            }
        }
        let inside =
            |s: &Subject| matches!(self.site_role(s), Some(SiteRole::Editor | SiteRole::Viewer));
        if portfolio.visibility == Visibility::Open && subject.is_some_and(inside) {
            roles.insert(portfolio.organization_access_role.clone());
        }
        Some(Row {
            id: portfolio.id.clone(),
            view,
            roles: roles.into_iter().collect(),
            visibility: portfolio.visibility,
            managers: managers.into_iter().collect(),
            member_count: self.member_count(portfolio, at),
        })
    }

    fn member_count(&self, portfolio: &Portfolio, at: i64) -> usize {
        let reached = |subject: &&Subject| {
            let groups = self.groups_of(subject);
            portfolio.grants.iter().any(|grant| {
                let through = groups.iter().any(|id| grant.subject == group(id));
                in_force(grant, at) && (grant.subject == **subject || through)
            })
        };
        let everyone = crate::worlds::subjects();
        everyone.iter().filter(|s| self.is_active_user(s)).filter(reached).count()
    }

    fn is_active_user(&self, subject: &Subject) -> bool {
        subject.kind() == "user" && !self.is_deactivated(subject)
    }

    /// The portfolios without a manager who lasts, in the order of their ids.
    pub fn unmanaged(&self, at: i64) -> Vec<String> {
        let lasts = |grant: &Grant| {
            grant.role == "manager"
                && grant.expire.is_none()
                && in_force(grant, at)
                && self.is_active_user(&grant.subject)
        };
        let in_use = self.portfolios.iter().filter(|p| !p.archived);
        let unmanaged =
            in_use.filter(|p| !self.grants_on(&p.id).iter().any(|(_, grant)| lasts(grant)));
        let ids: BTreeSet<String> = unmanaged.map(|p| p.id.clone()).collect();
        ids.into_iter().collect()
    }
}
