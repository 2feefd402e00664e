//! The apply file: its shape. What one entry can get wrong is found here, by the parser, which
//! knows line and column; what entries can get wrong together is found in `validate`.

use serde::{Deserialize, Deserializer, Serialize};

use super::validate;
use crate::cli::text::{self, FileError, Text};
use crate::domain::access_settings::Visibility;
use crate::domain::directory::{Email, ExternalsJoin, SiteRole, is_domain};
use crate::domain::role::{Preset, RoleTable};
use crate::domain::{
    FunctionKey, GroupId, ItemId, ItemKey, ItemType, OrganizationId, PortfolioId, RoleKey,
    ServiceAccountId, Subject, Timestamp, UserId,
};

/// What a server is to hold. A key that is left out leaves alone what is there.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Where the content comes from: a remark for people.
    #[serde(default, rename = "source", skip_serializing)]
    pub _source: Option<String>,
    pub organization: Organization,
    /// Users, whether at home in the organization or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<User>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<Vec<ServiceAccount>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<Group>>,
    /// Roles of the organization's own, and what differs from the preset in those that it brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<Role>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portfolios: Option<Vec<Portfolio>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<Item>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_ceilings: Option<Vec<FunctionCeiling>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Organization {
    #[serde(deserialize_with = "text::parsed")]
    pub id: OrganizationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, deserialize_with = "domains", skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_visibility: Option<Visibility>,
    /// The users who administer it (DIR-7).
    #[serde(default, deserialize_with = "text::parsed_list_option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub administrators: Option<Vec<UserId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outsider_site_role: Option<SiteRole>,
    #[serde(default, deserialize_with = "text::parsed_list_option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_organizations: Option<Vec<OrganizationId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub externals_join: Option<ExternalsJoin>,
    /// Whether changes of visibility wait for an administrator's approval (VIS-7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy_approval: Option<bool>,
}

/// Whether a user or a service account may do anything at all (DIR-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Active,
    Deactivated,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    #[serde(deserialize_with = "text::parsed")]
    pub id: UserId,
    #[serde(deserialize_with = "email")]
    pub email: Email,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture_uri: Option<String>,
    #[serde(default, deserialize_with = "text::parsed_option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home_organization: Option<OrganizationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// In the organization of the file, home or not (DIR-8).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_role: Option<SiteRole>,
    /// Their functions in the organization of the file, home or not (DIR-3).
    #[serde(default, deserialize_with = "text::parsed_list_option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affiliations: Option<Vec<FunctionKey>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceAccount {
    #[serde(deserialize_with = "text::parsed")]
    pub id: ServiceAccountId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    #[serde(deserialize_with = "text::parsed")]
    pub id: GroupId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, deserialize_with = "text::parsed_list")]
    pub members: Vec<Subject>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Role {
    #[serde(deserialize_with = "text::parsed")]
    pub key: RoleKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All that it holds: `portfolio.view: any`, `comment.edit: own`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<RoleTable>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Portfolio {
    #[serde(deserialize_with = "text::parsed")]
    pub id: PortfolioId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub portfolio_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    #[serde(default, deserialize_with = "text::parsed_option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_access_role: Option<RoleKey>,
    #[serde(default, deserialize_with = "text::parsed_option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    /// Where it lies.
    #[serde(default, deserialize_with = "parent", skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Whether its access settings are those of its parent (INH-1): then it has none here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked: Option<bool>,
    #[serde(default)]
    pub grants: Vec<Grant>,
}

/// Where a portfolio lies: `null` is the top.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Parent {
    Top,
    /// Directly below this one.
    Below(PortfolioId),
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    #[serde(deserialize_with = "text::parsed")]
    pub subject: Subject,
    #[serde(deserialize_with = "text::parsed")]
    pub role: RoleKey,
    #[serde(default, deserialize_with = "text::instant", serialize_with = "text::write_instant")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "text::instant", serialize_with = "text::write_instant")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_time: Option<Timestamp>,
}

/// What another service owns and portfolios show (ACC-5).
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    #[serde(rename = "type", deserialize_with = "item_type")]
    pub item_type: ItemType,
    #[serde(deserialize_with = "text::parsed")]
    pub id: ItemId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// All that show it; of one that is not independent just one.
    #[serde(deserialize_with = "text::parsed_list")]
    pub portfolios: Vec<PortfolioId>,
    /// Who made it, a user or a service account (ACC-4); never changes.
    #[serde(default, deserialize_with = "text::parsed_option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<Subject>,
    #[serde(default, deserialize_with = "text::parsed_option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    /// Whether it has access settings of its own, which are here; never changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub independent: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    #[serde(default, deserialize_with = "text::parsed_option")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_access_role: Option<RoleKey>,
    /// One may hold several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
}

/// Which role a function gets on the organization's portfolios of a type (MEM-10).
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionCeiling {
    #[serde(deserialize_with = "text::parsed")]
    pub function: FunctionKey,
    /// Empty: portfolios without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub portfolio_type: String,
    #[serde(deserialize_with = "text::parsed")]
    pub role: RoleKey,
}

impl File {
    /// The users that the file lists.
    pub fn users(&self) -> &[User] {
        self.users.as_deref().unwrap_or_default()
    }

    /// The service accounts that the file lists.
    pub fn service_accounts(&self) -> &[ServiceAccount] {
        self.service_accounts.as_deref().unwrap_or_default()
    }

    /// The groups that the file lists.
    pub fn groups(&self) -> &[Group] {
        self.groups.as_deref().unwrap_or_default()
    }

    /// The roles that the file lists.
    pub fn roles(&self) -> &[Role] {
        self.roles.as_deref().unwrap_or_default()
    }

    /// The portfolios that the file lists.
    pub fn portfolios(&self) -> &[Portfolio] {
        self.portfolios.as_deref().unwrap_or_default()
    }

    /// The items that the file lists.
    pub fn items(&self) -> &[Item] {
        self.items.as_deref().unwrap_or_default()
    }

    /// The ceilings of functions that the file lists.
    pub fn function_ceilings(&self) -> &[FunctionCeiling] {
        self.function_ceilings.as_deref().unwrap_or_default()
    }

    /// The users whom the file lets administer the organization.
    pub fn administrators(&self) -> &[UserId] {
        self.organization.administrators.as_deref().unwrap_or_default()
    }

    /// Every subject that the file names, with its place: as an administrator, a member of a
    /// group, an owner, the author of an item or the holder of a grant.
    pub fn named(&self) -> impl Iterator<Item = (String, Subject)> {
        let administrators = self.administrators().iter().enumerate().map(|(index, user)| {
            (format!("organization.administrators[{index}]"), Subject::User(user.clone()))
        });
        let members = self.groups().iter().enumerate().flat_map(|(index, group)| {
            let place = move |place| format!("groups[{index}].members[{place}]");
            group.members.iter().enumerate().map(move |(at, member)| (place(at), member.clone()))
        });
        let portfolios = self.portfolios().iter().enumerate().flat_map(|(index, portfolio)| {
            let path = format!("portfolios[{index}]");
            let owner = portfolio.owner.iter().cloned().map(Subject::User);
            let owner = owner.map(|owner| (format!("{path}.owner"), owner)).collect::<Vec<_>>();
            let grants = portfolio.grants.iter().enumerate().map(move |(place, grant)| {
                (format!("{path}.grants[{place}].subject"), grant.subject.clone())
            });
            owner.into_iter().chain(grants)
        });
        let items = self.items().iter().enumerate().flat_map(|(index, item)| {
            let path = format!("items[{index}]");
            let author =
                item.author.iter().map(|author| (format!("{path}.author"), author.clone()));
            let owner = item.owner.iter().cloned().map(Subject::User);
            let owner = owner.map(|owner| (format!("{path}.owner"), owner));
            let makers = author.chain(owner).collect::<Vec<_>>();
            let grants = item.grants.iter().enumerate().map(move |(place, grant)| {
                (format!("{path}.grants[{place}].subject"), grant.subject.clone())
            });
            makers.into_iter().chain(grants)
        });
        administrators.chain(members).chain(portfolios).chain(items)
    }

    /// Reads and validates a file: JSON if it is named so or begins with `{`, else YAML.
    pub fn parse(name: &str, content: &str) -> Result<Self, FileError> {
        let json = std::path::Path::new(name).extension().is_some_and(|e| e == "json");
        let file: Self = if json || content.trim_start().starts_with('{') {
            serde_json::from_str(content)
                .map_err(|error| FileError::parser(name, error.line(), error.column(), &error))?
        } else {
            serde_yaml_ng::from_str(content).map_err(|error| match error.location() {
                Some(at) => FileError::parser(name, at.line(), at.column(), &error),
                None => {
                    FileError { file: name.to_owned(), place: None, message: error.to_string() }
                }
            })?
        };
        validate::validate(&file).map_err(|problems| FileError {
            file: name.to_owned(),
            place: None,
            message: problems,
        })?;
        Ok(file)
    }
}

impl Portfolio {
    /// The portfolio that the file puts it directly below.
    pub fn below(&self) -> Option<&PortfolioId> {
        match &self.parent {
            Some(Parent::Below(parent)) => Some(parent),
            Some(Parent::Top) | None => None,
        }
    }
}

impl Item {
    /// Its name in the organization.
    pub fn key(&self) -> ItemKey {
        ItemKey { item_type: self.item_type.clone(), id: self.id.clone() }
    }
}

/// Reads a portfolio's id, or that there is none, which is not the same as saying nothing.
fn parent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Parent>, D::Error> {
    text::parsed_option(deserializer).map(|id| Some(id.map_or(Parent::Top, Parent::Below)))
}

/// Reads a type of items. Its colon would part the two in `board:b1`.
fn item_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ItemType, D::Error> {
    deserializer.deserialize_str(Text(|text: &str| {
        let fits = text.len() <= validate::MAX_TYPE && !text.contains(':');
        text.parse().ok().filter(|_| fits).ok_or_else(|| {
            let most = validate::MAX_TYPE;
            format!("`{text}` is no type of an item: 1 to {most} letters, digits and `-_.@~+|`")
        })
    }))
}

fn email<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Email, D::Error> {
    deserializer.deserialize_str(Text(|text: &str| {
        Email::parse(text).map_err(|error| format!("`{text}` is no e-mail address: it {error}"))
    }))
}

/// Reads domains in the form in which the server keeps them: lower case, sorted.
fn domains<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct Domain(String);

    impl<'de> Deserialize<'de> for Domain {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(Text(|text: &str| match is_domain(text) {
                true => Ok(Self(text.to_ascii_lowercase())),
                false => Err(format!("`{text}` is no domain; write `example.com`, in ASCII form")),
            }))
        }
    }

    let domains: Option<Vec<Domain>> = Option::deserialize(deserializer)?;
    let Some(mut domains) = domains else { return Ok(None) };
    domains.sort_unstable();
    Ok(Some(domains.into_iter().map(|Domain(text)| text).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, content: &str) -> FileError {
        File::parse(name, content).unwrap_err()
    }

    const YAML: &str = "
source: by hand
organization: {id: acme, domains: [Example.org, a.example]}
users:
  - {id: ann, email: Ann@Example.org, home_organization: acme}
groups:
  - {id: all, members: [user:ann]}
portfolios:
  - id: apollo
    owner: ann
    visibility: open
    grants:
      - {subject: group:all, role: viewer, start_time: 2030-01-01T00:00:00Z}
";

    #[test]
    fn yaml_and_json_are_read_alike() {
        let yaml = File::parse("a.yaml", YAML).unwrap();
        let value: serde_json::Value = serde_yaml_ng::from_str(YAML).unwrap();
        for name in ["a.json", "a"] {
            let json = File::parse(name, &value.to_string()).unwrap();
            assert_eq!(format!("{json:?}"), format!("{yaml:?}"));
        }
        assert_eq!(yaml.users()[0].email.as_str(), "ann@example.org");
        assert_eq!(yaml.organization.domains.as_deref().unwrap(), ["a.example", "example.org"]);
        assert_eq!(yaml.portfolios()[0].grants[0].start_time, Some(Timestamp(1_893_456_000_000)));
    }

    #[test]
    fn a_mistake_is_named_with_line_column_and_what_is_accepted() {
        let cases = [
            ("visibility: open", "visibility: public", (11, 17), "expected one of `private`"),
            ("owner: ann", "owner: 'ann '", (10, 12), "`ann ` contains ' '; ASCII letters"),
            ("[user:ann]", "[ann]", (7, 25), "`ann` is no subject; write `user:ann`"),
            ("owner: ann", "owner: ann\n    colour: red", (11, 5), "unknown field `colour`"),
            ("2030-01-01T00:00:00Z", "soon", (13, 56), "`soon` is no instant; write RFC 3339"),
            ("Ann@Example.org", "ann", (5, 22), "`ann` is no e-mail address: it must be `local@"),
            ("a.example", "-a", (3, 49), "`-a` is no domain; write `example.com`"),
            ("domains", "preset: agile, domains", (3, 34), "one of `initiative_planning`, `board_"),
            ("users:", "roles: [{key: r, permissions: {a.b: all}}]\nusers:", (4, 37), "`any`"),
            ("users:", "roles: [{key: r, permissions: {ab: any}}]\nusers:", (4, 31), "`noun.verb`"),
        ];
        for (right, wrong, place, message) in cases {
            let error = refused("a.yaml", &YAML.replace(right, wrong));
            assert!(error.message.contains(message), "{error}");
            assert_eq!(error.place, Some(place), "{error}");
        }
    }

    #[test]
    fn json_mistakes_have_line_and_column_too() {
        let error = refused("a.json", "{\n \"organization\": {\"id\": \"a b\"}\n}");
        assert_eq!(error.place, Some((2, 29)), "{error}");
        assert!(error.to_string().starts_with("`a.json`, line 2, column 29: `a b` contains ' '"));
        let error = refused("a.json", "{");
        assert_eq!(error.place, Some((1, 1)), "{error}");
        let error = refused("a.yaml", "organization: [");
        assert!(error.place.is_some(), "{error}");
        assert!(refused("a.yaml", "").message.contains("organization"));
    }
}
