//! What of a file's content the server holds already.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;

use super::file::{File, Item};
use super::validate::is_owner;
use crate::cli::{inventory, output, text};
use crate::clock::Clock;
use crate::domain::{OrganizationId, PortfolioId, Subject};
use crate::grpc::client::{CallError, Client};
use crate::proto::v1;
use crate::proto::v1::ErrorReason;

/// Reads on their way at once.
const CONCURRENCY: usize = 32;

/// Everything that the file names, and that exists, by id.
#[derive(Debug, Default)]
pub(super) struct Present {
    /// The file's own organization, and those it names as homes.
    pub organizations: HashMap<String, v1::Organization>,
    /// Those of the file's organization, by key.
    pub roles: BTreeMap<String, v1::Role>,
    pub users: HashMap<String, v1::User>,
    /// The site roles that were set in the file's organization, by user.
    pub site_roles: HashMap<String, i32>,
    /// The functions in the file's organization, by user.
    pub affiliations: HashMap<String, HashSet<String>>,
    /// The roles of the ceilings of the file's organization, by function and portfolio type.
    pub function_ceilings: HashMap<(String, String), String>,
    /// Those of the file's organization.
    pub service_accounts: HashMap<String, v1::ServiceAccount>,
    pub groups: HashMap<String, PresentGroup>,
    pub portfolios: HashMap<String, PresentPortfolio>,
    /// The portfolios that the file's items name, and whose they are.
    pub places: HashMap<String, String>,
    /// By name, such as `board:b1`; of their grants those that have not ended.
    pub items: HashMap<String, v1::Item>,
    /// Whether what the actor changes of a visibility is asked of the administrators (VIS-7).
    pub asks: bool,
}

#[derive(Debug, Default)]
pub(super) struct PresentGroup {
    pub group: v1::Group,
    pub members: HashSet<Subject>,
}

#[derive(Debug, Default)]
pub(super) struct PresentPortfolio {
    pub portfolio: v1::Portfolio,
    pub settings: v1::AccessSettings,
    /// The change of visibility that waits for approval.
    pub pending: Option<v1::PrivacyRequest>,
    /// Those of the file's subjects that are or were members.
    pub members: HashMap<Subject, v1::Member>,
}

/// The users and groups that a file names, whether it describes them or not.
struct Named {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
    service_accounts: bool,
}

impl Named {
    fn of(file: &File) -> Self {
        let mut users: BTreeSet<_> = file.users().iter().map(|user| user.id.to_string()).collect();
        let mut groups: BTreeSet<_> = file.groups().iter().map(|g| g.id.to_string()).collect();
        let mut service_accounts = !file.service_accounts().is_empty();
        for (_, subject) in file.named() {
            match subject {
                Subject::User(id) => users.insert(id.to_string()),
                Subject::Group(id) => groups.insert(id.to_string()),
                Subject::ServiceAccount(_) => std::mem::replace(&mut service_accounts, true),
            };
        }
        Self { users, groups, service_accounts }
    }
}

impl Present {
    /// Reads it all; what does not exist is left out.
    ///
    /// # Errors
    /// Anything but *not found*.
    pub async fn read(
        client: &Client,
        file: &File,
        actor: Option<&Subject>,
    ) -> Result<Self, CallError> {
        let named = Named::of(file);
        let homes = file.users().iter().filter_map(|user| user.home_organization.as_ref());
        let organizations: BTreeSet<_> =
            homes.chain([&file.organization.id]).map(OrganizationId::as_str).collect();
        let grants: usize = file.portfolios().iter().map(|portfolio| portfolio.grants.len()).sum();
        let things = file.portfolios().len() + file.items().len();
        let steps = named.users.len() + named.groups.len() + things + grants;
        let bar = output::progress("reading", steps);

        let found = organizations.into_iter().map(|id| organization(client, id));
        let organizations = found_by_id(futures::stream::iter(found), &bar).await?;
        let ours = file.organization.id.as_str();
        let roles = match organizations.contains_key(ours) {
            true => inventory::roles(client, ours).await?,
            false => Vec::new(),
        };
        let roles = roles.into_iter().map(|role| (role.key.clone(), role)).collect();
        let found = named.users.iter().map(|id| user(client, id));
        let found = found_by_id(futures::stream::iter(found), &bar).await?;
        let affiliations = functions(&found, ours);
        let (users, site_roles) = users_and_site_roles(found, ours);
        let found = named.groups.iter().map(|id| group(client, id));
        let groups = found_by_id(futures::stream::iter(found), &bar).await?;
        let service_accounts = match named.service_accounts && organizations.contains_key(ours) {
            true => inventory::service_accounts(client, ours).await?,
            false => Vec::new(),
        };
        let service_accounts =
            service_accounts.into_iter().map(|account| (account.id.clone(), account)).collect();
        let function_ceilings = function_ceilings(client, file, &organizations).await?;
        let found = file.portfolios().iter().map(|p| portfolio(client, p.id.as_str()));
        let mut portfolios = found_by_id(futures::stream::iter(found), &bar).await?;
        read_members(client, file, &mut portfolios, &bar).await?;
        let places = file.items().iter().flat_map(|item| &item.portfolios);
        let places: BTreeSet<_> = places.map(PortfolioId::as_str).collect();
        let found = places.into_iter().map(|id| place(client, id));
        let places = found_by_id(futures::stream::iter(found), &bar).await?;
        let found = file.items().iter().filter(|_| organizations.contains_key(ours));
        let found = found.map(|entry| item(client, ours, entry));
        let items = found_by_id(futures::stream::iter(found), &bar).await?;
        bar.finish_and_clear();
        let asks = organizations.get(ours).is_some_and(|found| asks(file, found, actor));
        Ok(Self {
            organizations,
            roles,
            users,
            site_roles,
            affiliations,
            function_ceilings,
            service_accounts,
            groups,
            portfolios,
            places,
            items,
            asks,
        })
    }
}

/// What the users are in this organization.
fn functions(
    found: &HashMap<String, v1::GetUserResponse>,
    organization: &str,
) -> HashMap<String, HashSet<String>> {
    let functions = |answer: &v1::GetUserResponse| {
        let ours = answer.affiliations.iter().filter(|held| held.organization == organization);
        ours.map(|held| held.function.clone()).collect()
    };
    found.iter().map(|(user, answer)| (user.clone(), functions(answer))).collect()
}

/// The ceilings of the file's organization, if the file says anything of any.
async fn function_ceilings(
    client: &Client,
    file: &File,
    organizations: &HashMap<String, v1::Organization>,
) -> Result<HashMap<(String, String), String>, CallError> {
    let ours = file.organization.id.as_str();
    if file.function_ceilings().is_empty() || !organizations.contains_key(ours) {
        return Ok(HashMap::new());
    }
    let found = inventory::function_ceilings(client, ours).await?;
    Ok(found.into_iter().map(|it| ((it.function, it.portfolio_type), it.role)).collect())
}

/// The system and administrators set a visibility at once (VIS-7).
fn asks(file: &File, found: &v1::Organization, actor: Option<&Subject>) -> bool {
    let Some(actor) = actor else { return false };
    let approved = file.organization.privacy_approval.unwrap_or(found.privacy_approval);
    let administers = |id: &String| matches!(actor, Subject::User(user) if user.as_str() == id);
    approved && !found.administrators.iter().any(administers)
}

/// Takes the answers apart: the users, and what they are in this organization.
fn users_and_site_roles(
    found: HashMap<String, v1::GetUserResponse>,
    organization: &str,
) -> (HashMap<String, v1::User>, HashMap<String, i32>) {
    let mut users = HashMap::new();
    let mut site_roles = HashMap::new();
    for (id, answer) in found {
        let set = answer.site_roles.iter().find(|set| set.organization == organization);
        if let Some(set) = set {
            site_roles.insert(id.clone(), set.site_role);
        }
        users.extend(answer.user.map(|user| (id, user)));
    }
    (users, site_roles)
}

async fn found_by_id<T>(
    calls: impl Stream<Item = impl Future<Output = Result<Option<(String, T)>, CallError>>>,
    bar: &ProgressBar,
) -> Result<HashMap<String, T>, CallError> {
    let found = calls.buffer_unordered(CONCURRENCY).inspect(|_| bar.inc(1));
    found.try_filter_map(|found| async { Ok(found) }).try_collect().await
}

/// The answer; none if the server says that there is no such thing.
fn unless<T>(missing: ErrorReason, answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is(missing) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn organization(
    client: &Client,
    id: &str,
) -> Result<Option<(String, v1::Organization)>, CallError> {
    let request = v1::GetOrganizationRequest { organization: id.to_owned() };
    let answer = client.get_organization(request).await;
    let answer = unless(ErrorReason::OrganizationNotFound, answer)?;
    Ok(answer.and_then(|answer| answer.organization).map(|found| (id.to_owned(), found)))
}

async fn user(
    client: &Client,
    id: &str,
) -> Result<Option<(String, v1::GetUserResponse)>, CallError> {
    let answer = client.get_user(v1::GetUserRequest { user: id.to_owned() }).await;
    let answer = unless(ErrorReason::UserNotFound, answer)?;
    Ok(answer.map(|found| (id.to_owned(), found)))
}

async fn group(client: &Client, id: &str) -> Result<Option<(String, PresentGroup)>, CallError> {
    let found = unless(ErrorReason::GroupNotFound, inventory::group(client, id).await)?;
    let found = found
        .map(|(group, members)| PresentGroup { group, members: members.into_iter().collect() });
    Ok(found.map(|found| (id.to_owned(), found)))
}

async fn portfolio(
    client: &Client,
    id: &str,
) -> Result<Option<(String, PresentPortfolio)>, CallError> {
    let answer = client.get_portfolio(v1::GetPortfolioRequest { portfolio: id.to_owned() }).await;
    let Some(found) = unless(ErrorReason::PortfolioNotFound, answer)? else { return Ok(None) };
    let request = v1::GetAccessSettingsRequest { portfolio: id.to_owned() };
    let settings = client.get_access_settings(request).await?;
    let found = PresentPortfolio {
        portfolio: found.portfolio.unwrap_or_default(),
        settings: settings.access_settings.unwrap_or_default(),
        pending: settings.privacy_request,
        members: HashMap::new(),
    };
    Ok(Some((id.to_owned(), found)))
}

/// Whose the portfolio is.
async fn place(client: &Client, id: &str) -> Result<Option<(String, String)>, CallError> {
    let answer = client.get_portfolio(v1::GetPortfolioRequest { portfolio: id.to_owned() }).await;
    let found = unless(ErrorReason::PortfolioNotFound, answer)?;
    let found = found.and_then(|answer| answer.portfolio);
    Ok(found.map(|found| (id.to_owned(), found.organization)))
}

async fn item(
    client: &Client,
    organization: &str,
    entry: &Item,
) -> Result<Option<(String, v1::Item)>, CallError> {
    let request = v1::GetItemRequest {
        organization: organization.to_owned(),
        r#type: entry.item_type.to_string(),
        id: entry.id.to_string(),
    };
    let answer = unless(ErrorReason::ItemNotFound, client.get_item(request).await)?;
    let found = answer.and_then(|answer| answer.item);
    let now = Clock::system().read().wall;
    Ok(found.map(|found| (entry.key().to_string(), inventory::in_force(found, now))))
}

async fn read_members(
    client: &Client,
    file: &File,
    portfolios: &mut HashMap<String, PresentPortfolio>,
    bar: &ProgressBar,
) -> Result<(), CallError> {
    let mut calls = Vec::new();
    for portfolio in file.portfolios().iter().filter(|p| portfolios.contains_key(p.id.as_str())) {
        for grant in portfolio.grants.iter().filter(|grant| !is_owner(portfolio, grant)) {
            calls.push(member(client, portfolio.id.as_str(), &grant.subject));
        }
    }
    let mut found = futures::stream::iter(calls).buffer_unordered(CONCURRENCY);
    while let Some(member) = found.try_next().await? {
        bar.inc(1);
        let Some((id, subject, mut member)) = member else { continue };
        if let Some(portfolio) = portfolios.get_mut(&id) {
            if portfolio.portfolio.linked {
                // The copy that it is left with when it is unlinked has another.
                member.etag.clear();
            }
            portfolio.members.insert(subject, member);
        }
    }
    Ok(())
}

async fn member(
    client: &Client,
    portfolio: &str,
    subject: &Subject,
) -> Result<Option<(String, Subject, v1::Member)>, CallError> {
    let message = Some(text::subject_message(subject));
    let request = v1::GetMemberRequest { portfolio: portfolio.to_owned(), subject: message };
    // A subject that does not exist yet is no member either.
    let answer = match client.get_member(request).await {
        Err(error) if error.code == "NOT_FOUND" => return Ok(None),
        answer => answer?,
    };
    Ok(answer.member.map(|found| (portfolio.to_owned(), subject.clone(), found)))
}
