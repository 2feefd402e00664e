//! What the entries of an apply file get wrong together. All mistakes are told at once, by path.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

use super::file::{File, FunctionCeiling, Grant, Group, Portfolio};
use super::{items, links};
use crate::domain::directory::MAX_GROUP_DEPTH;
use crate::domain::role::MANAGER;
use crate::domain::{Subject, UserId};

const MAX_NAME: usize = 200;
const MAX_DESCRIPTION: usize = 1_000;
/// The longest type of a portfolio or of an item, in bytes.
pub(super) const MAX_TYPE: usize = 64;
/// More would scroll the first ones away.
const MOST_TOLD: usize = 20;

/// Checks the whole file.
///
/// # Errors
/// The mistakes, one a line.
pub(super) fn validate(file: &File) -> Result<(), String> {
    let mut problems = Problems(Vec::new());
    problems.name("organization.display_name", 1, file.organization.display_name.as_deref());
    if let Some(administrators) = &file.organization.administrators {
        problems.twice("organization.administrators", "", administrators.iter());
    }
    if let Some(partners) = &file.organization.partner_organizations {
        problems.twice("organization.partner_organizations", "", partners.iter());
    }
    roles(file, &mut problems);
    users(file, &mut problems);
    service_accounts(file, &mut problems);
    groups(file, &mut problems);
    problems.twice("portfolios", "id", file.portfolios().iter().map(|portfolio| &portfolio.id));
    for (index, portfolio) in file.portfolios().iter().enumerate() {
        self::portfolio(&format!("portfolios[{index}]"), portfolio, &mut problems);
    }
    parents(file.portfolios(), &mut problems);
    items::validate(file, &mut problems);
    function_ceilings(file, &mut problems);
    problems.told()
}

fn roles(file: &File, problems: &mut Problems) {
    problems.twice("roles", "key", file.roles().iter().map(|role| &role.key));
    for (index, role) in file.roles().iter().enumerate() {
        let path = format!("roles[{index}]");
        problems.name(&format!("{path}.display_name"), 1, role.display_name.as_deref());
        let length = role.description.as_ref().map_or(0, |text| text.chars().count());
        if length > MAX_DESCRIPTION {
            let text = format!("has {length} characters; at most {MAX_DESCRIPTION} are accepted");
            problems.add(&format!("{path}.description"), &text);
        }
    }
}

fn users(file: &File, problems: &mut Problems) {
    problems.twice("users", "id", file.users().iter().map(|user| &user.id));
    problems.twice("users", "email", file.users().iter().map(|user| user.email.as_str()));
    for (index, user) in file.users().iter().enumerate() {
        problems.name(&format!("users[{index}].display_name"), 0, user.display_name.as_deref());
        if let Some(functions) = &user.affiliations {
            problems.twice(&format!("users[{index}].affiliations"), "", functions.iter());
        }
    }
}

fn service_accounts(file: &File, problems: &mut Problems) {
    let entries = file.service_accounts();
    problems.twice("service_accounts", "id", entries.iter().map(|entry| &entry.id));
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("service_accounts[{index}].display_name");
        problems.name(&path, 1, entry.display_name.as_deref());
    }
}

fn groups(file: &File, problems: &mut Problems) {
    problems.twice("groups", "id", file.groups().iter().map(|group| &group.id));
    for (index, group) in file.groups().iter().enumerate() {
        let path = format!("groups[{index}]");
        problems.name(&format!("{path}.display_name"), 1, group.display_name.as_deref());
        problems.twice(&format!("{path}.members"), "", group.members.iter());
    }
    nesting(file.groups(), problems);
}

/// Refuses cycles and too deep nesting (DIR-4) as far as the file shows them.
fn nesting(groups: &[Group], problems: &mut Problems) {
    let children: HashMap<&str, Vec<&str>> = groups
        .iter()
        .map(|group| {
            let child = |member: &'_ Subject| matches!(member, Subject::Group(_));
            let children = group.members.iter().filter(|m| child(m)).map(Subject::id);
            (group.id.as_str(), children.collect())
        })
        .collect();
    let mut depths = HashMap::new();
    for (index, group) in groups.iter().enumerate() {
        if let Err(text) = depth(group.id.as_str(), &children, &mut depths, &mut Vec::new()) {
            // Every group around it would find the same: one mention is enough.
            return problems.add(&format!("groups[{index}].members"), &text);
        }
    }
}

/// How many groups the longest chain from this one down has.
fn depth<'a>(
    group: &'a str,
    children: &HashMap<&'a str, Vec<&'a str>>,
    known: &mut HashMap<&'a str, usize>,
    path: &mut Vec<&'a str>,
) -> Result<usize, String> {
    let too_deep = || format!("nests groups more than {MAX_GROUP_DEPTH} deep (DIR-4)");
    if let Some(depth) = known.get(group) {
        return Ok(*depth);
    }
    if let Some(start) = path.iter().position(|ancestor| *ancestor == group) {
        let cycle: Vec<_> = path.iter().skip(start).copied().chain([group]).collect();
        return Err(format!("contains itself: {}", cycle.join(" > ")));
    }
    // Before the recursion gets as deep as the file says.
    if path.len() >= MAX_GROUP_DEPTH {
        return Err(too_deep());
    }
    path.push(group);
    let mut deepest = 0;
    for child in children.get(group).into_iter().flatten() {
        deepest = deepest.max(depth(child, children, known, path)?);
    }
    path.pop();
    known.insert(group, deepest + 1);
    if deepest < MAX_GROUP_DEPTH { Ok(deepest + 1) } else { Err(too_deep()) }
}

fn portfolio(path: &str, portfolio: &Portfolio, problems: &mut Problems) {
    problems.name(&format!("{path}.display_name"), 1, portfolio.display_name.as_deref());
    problems.twice(
        &format!("{path}.grants"),
        "subject",
        portfolio.grants.iter().map(|g| &g.subject),
    );
    for (index, grant) in portfolio.grants.iter().enumerate() {
        let path = format!("{path}.grants[{index}]");
        problems.times(&path, grant);
        if is_owner(portfolio, grant) && !is_ownership(grant) {
            let text = "the owner is manager from the beginning and without an end (VIS-1); \
                        leave this grant out";
            problems.add(&path, text);
        }
    }
}

/// Refuses portfolios below themselves (INH-1), and settings of what has its parent's.
fn parents(portfolios: &[Portfolio], problems: &mut Problems) {
    if let Some(cycle) = links::cycle(portfolios) {
        let cycle: Vec<_> = cycle.iter().map(|id| id.as_str()).collect();
        problems.add("portfolios", &format!("one is below itself: {}", cycle.join(" > ")));
    }
    let linked = portfolios.iter().enumerate().filter(|(_, entry)| entry.linked == Some(true));
    for (index, entry) in linked {
        let path = format!("portfolios[{index}]");
        if entry.below().is_none() {
            problems.add(&format!("{path}.linked"), "needs a `parent` beside it");
        }
        let text = "is that of the parent while `linked` is true; leave it out";
        if entry.visibility.is_some() {
            problems.add(&format!("{path}.visibility"), text);
        }
        if entry.organization_access_role.is_some() {
            problems.add(&format!("{path}.organization_access_role"), text);
        }
        if let Some(place) = entry.grants.iter().position(|grant| !is_owner(entry, grant)) {
            problems.add(&format!("{path}.grants[{place}]"), text);
        }
    }
}

fn function_ceilings(file: &File, problems: &mut Problems) {
    let entries = file.function_ceilings();
    let key = |entry: &FunctionCeiling| format!("{} {}", entry.function, entry.portfolio_type);
    problems.twice("function_ceilings", "", entries.iter().map(key));
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("function_ceilings[{index}]");
        let portfolio_type = entry.portfolio_type.as_str();
        let fits = portfolio_type.len() <= MAX_TYPE && portfolio_type.parse::<UserId>().is_ok();
        if !portfolio_type.is_empty() && !fits {
            let text = format!("is no type: at most {MAX_TYPE} letters, digits and `-_.@~+|:`");
            problems.add(&format!("{path}.portfolio_type"), &text);
        }
    }
}

/// Whether the grant is the owner's.
pub(super) fn is_owner(portfolio: &Portfolio, grant: &Grant) -> bool {
    let Subject::User(user) = &grant.subject else { return false };
    portfolio.owner.as_ref() == Some(user)
}

fn is_ownership(grant: &Grant) -> bool {
    grant.role.as_str() == MANAGER && grant.start_time.is_none() && grant.expire_time.is_none()
}

pub(super) struct Problems(Vec<String>);

impl Problems {
    pub fn add(&mut self, path: &str, text: &str) {
        self.0.push(format!("`{path}`: {text}"));
    }

    pub fn name(&mut self, path: &str, least: usize, name: Option<&str>) {
        let length = name.map_or(least, |name| name.chars().count());
        if length < least || length > MAX_NAME {
            self.add(path, &format!("has {length} characters; {least} to {MAX_NAME} are accepted"));
        }
        if name.is_some_and(|name| name.contains(char::is_control)) {
            self.add(path, "contains a control character");
        }
    }

    /// A grant ends after it starts.
    pub fn times(&mut self, path: &str, grant: &Grant) {
        if grant.start_time.zip(grant.expire_time).is_some_and(|(start, end)| end <= start) {
            self.add(&format!("{path}.expire_time"), "must be after `start_time`");
        }
    }

    pub fn twice<T: Display + Eq + Hash>(
        &mut self,
        path: &str,
        field: &str,
        values: impl Iterator<Item = T>,
    ) {
        let mut seen = HashMap::new();
        for (index, value) in values.enumerate() {
            let text = format!("`{value}`");
            if let Some(first) = seen.insert(value, index) {
                let dot = if field.is_empty() { "" } else { "." };
                let place = format!("{path}[{index}]{dot}{field}");
                self.add(&place, &format!("{text} comes twice; `{path}[{first}]` has it too"));
            }
        }
    }

    fn told(self) -> Result<(), String> {
        let Self(problems) = self;
        let mut seen = HashSet::new();
        let lines: Vec<_> = problems.into_iter().filter(|p| seen.insert(p.clone())).collect();
        match lines.len() {
            0 => Ok(()),
            1 => Err(lines.concat()),
            count => {
                let told = lines.iter().take(MOST_TOLD).map(|line| format!("\n  {line}"));
                let rest = count.saturating_sub(MOST_TOLD);
                let rest = if rest > 0 { format!("\n  and {rest} more") } else { String::new() };
                Err(format!("{count} mistakes{}{rest}", told.collect::<String>()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::File;

    fn mistakes(content: &str) -> String {
        let content = format!("organization: {{id: acme}}\n{content}");
        File::parse("a.yaml", &content).map_or_else(|error| error.message, |_| String::new())
    }

    fn portfolio(keys: &str) -> String {
        mistakes(&format!("portfolios: [{{id: p, owner: ann, {keys}}}]"))
    }

    fn nested(depth: usize) -> String {
        let group = |n| format!("  - {{id: g{n}, members: [\"group:g{}\"]}}\n", n + 1);
        mistakes(&format!("groups:\n{}", (1..depth).map(group).collect::<String>()))
    }

    #[test]
    fn what_comes_twice_is_named_with_both_places() {
        let users = "users: [{id: a, email: x@y.z}, {id: b, email: X@y.z}, {id: a, email: a@y.z}]";
        let told = mistakes(users);
        assert!(told.starts_with("2 mistakes\n"), "{told}");
        assert!(told.contains("`users[2].id`: `a` comes twice; `users[0]` has it too"), "{told}");
        assert!(told.contains("`users[1].email`: `x@y.z` comes twice"), "{told}");
        let told = mistakes("groups: [{id: g, members: [\"user:a\", \"user:a\"]}]");
        assert!(told.starts_with("`groups[0].members[1]`: `user:a` comes twice"), "{told}");
        let grants =
            "grants: [{subject: 'user:a', role: viewer}, {subject: 'user:a', role: manager}]";
        assert!(portfolio(grants).starts_with("`portfolios[0].grants[1].subject`: `user:a`"));
    }

    #[test]
    fn inh_1_a_cycle_is_named_and_what_is_linked_has_no_settings() {
        let told = mistakes(
            "portfolios: [{id: a, parent: b}, {id: b, parent: c}, {id: c, parent: a}, \
             {id: d, parent: b}]",
        );
        assert_eq!(told, "`portfolios`: one is below itself: a > b > c > a");
        assert_eq!(mistakes("portfolios: [{id: a, parent: b}, {id: b, parent: c}]"), "");
        assert_eq!(portfolio("parent: p"), "`portfolios`: one is below itself: p > p");
        assert_eq!(portfolio("linked: true"), "`portfolios[0].linked`: needs a `parent` beside it");
        assert_eq!(portfolio("linked: false, visibility: open"), "");
        let told = portfolio(
            "parent: q, linked: true, visibility: open, organization_access_role: viewer, \
             grants: [{subject: 'user:ann', role: manager}, {subject: 'user:a', role: viewer}]",
        );
        assert!(told.starts_with("3 mistakes\n"), "{told}");
        for path in ["visibility", "organization_access_role", "grants[1]"] {
            assert!(
                told.contains(&format!("`portfolios[0].{path}`: is that of the parent")),
                "{told}"
            );
        }
    }

    #[test]
    fn vis_1_the_owner_needs_no_grant_and_gets_no_lesser_one() {
        assert_eq!(portfolio("grants: [{subject: 'user:ann', role: manager}]"), "");
        let told = portfolio("grants: [{subject: 'user:ann', role: viewer}]");
        assert!(told.contains("the owner is manager"), "{told}");
        let told = portfolio(
            "grants: [{subject: 'user:ann', role: manager, expire_time: 2030-01-01T00:00:00Z}]",
        );
        assert!(told.contains("the owner is manager"), "{told}");
    }

    #[test]
    fn a_grant_ends_after_it_starts() {
        let times = "start_time: 2030-01-01T00:00:00Z, expire_time: 2030-01-01T00:00:00Z";
        let told = portfolio(&format!("grants: [{{subject: 'user:a', role: viewer, {times}}}]"));
        assert_eq!(told, "`portfolios[0].grants[0].expire_time`: must be after `start_time`");
    }

    #[test]
    fn dir_4_groups_do_not_contain_themselves_nor_nest_too_deep() {
        let told = mistakes(
            "groups: [{id: a, members: ['group:b']}, {id: b, members: ['group:c']}, \
             {id: c, members: ['group:b']}]",
        );
        assert_eq!(told, "`groups[0].members`: contains itself: b > c > b");
        assert_eq!(nested(16), "");
        let told = "`groups[0].members`: nests groups more than 16 deep (DIR-4)";
        assert_eq!(nested(17), told);
        assert_eq!(nested(100_000), told);
    }

    #[test]
    fn names_have_a_length() {
        let told = portfolio("display_name: ''");
        assert!(told.contains("has 0 characters; 1 to 200 are accepted"), "{told}");
        assert_eq!(portfolio(&format!("display_name: {}", "ä".repeat(200))), "");
        assert_ne!(portfolio(&format!("display_name: {}", "ä".repeat(201))), "");
        let told = mistakes(&format!("roles: [{{key: r, description: {}}}]", "ä".repeat(1_001)));
        assert!(told.starts_with("`roles[0].description`: has 1001 characters"), "{told}");
        let told = portfolio(r#"display_name: "a\e[31mb""#);
        assert!(told.contains("contains a control character"), "{told}");
    }

    #[test]
    fn functions_come_once_and_their_ceilings_name_types() {
        let told = mistakes("users: [{id: a, email: x@y.z, affiliations: [tutor, tutor]}]");
        assert!(told.starts_with("`users[0].affiliations[1]`: `tutor` comes twice"), "{told}");
        let ceiling = |keys: &str| {
            let keys = format!("{{function: tutor, role: viewer}}, {{function: tutor, {keys}}}");
            mistakes(&format!("function_ceilings: [{keys}]"))
        };
        assert_eq!(ceiling("portfolio_type: plan, role: viewer"), "");
        assert!(ceiling("role: manager").starts_with("`function_ceilings[1]`: `tutor ` comes"));
        for odd in ["a b".to_owned(), "x".repeat(65)] {
            let told = ceiling(&format!("portfolio_type: {odd}, role: viewer"));
            assert!(told.starts_with("`function_ceilings[1].portfolio_type`: is no type"));
        }
    }

    #[test]
    fn service_accounts_administrators_and_roles_come_once() {
        let told = mistakes("roles: [{key: a}, {key: a, display_name: ''}]");
        assert!(told.contains("`roles[1].key`: `a` comes twice"), "{told}");
        assert!(told.contains("`roles[1].display_name`: has 0 characters"), "{told}");
        let told = mistakes("service_accounts: [{id: ci, display_name: ''}, {id: ci}]");
        assert!(told.contains("`service_accounts[1].id`: `ci` comes twice"), "{told}");
        assert!(told.contains("`service_accounts[0].display_name`: has 0 characters"), "{told}");
        let content = "organization: {id: acme, administrators: [ann, ann]}";
        let told = File::parse("a.yaml", content).unwrap_err().message;
        assert!(told.starts_with("`organization.administrators[1]`: `ann` comes"), "{told}");
    }
}
