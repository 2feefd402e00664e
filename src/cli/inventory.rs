//! Everything that an organization has, read through the API: what `export` writes, and what
//! `apply --prune` compares with.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _};

use super::{output, text};
use crate::clock::Clock;
use crate::domain::{Subject, Timestamp};
use crate::grpc::client::{CallError, Client};
use crate::proto::v1;

/// Reads on their way at once.
const CONCURRENCY: usize = 32;
const PAGE_SIZE: i32 = 1_000;

/// What an organization has. Every list is by id in byte order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory {
    pub organization: v1::Organization,
    pub roles: Vec<v1::Role>,
    /// Users at home in the organization.
    pub users: Vec<v1::User>,
    /// What users are in the organization, at home there or not.
    pub affiliations: Vec<v1::Affiliation>,
    pub service_accounts: Vec<v1::ServiceAccount>,
    pub groups: Vec<HeldGroup>,
    pub portfolios: Vec<HeldPortfolio>,
    pub function_ceilings: Vec<v1::FunctionCeiling>,
    /// By type, then by id; of their grants those that are in force or scheduled.
    pub items: Vec<v1::Item>,
}

/// A group and its direct members, sorted.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldGroup {
    pub group: v1::Group,
    pub members: Vec<Subject>,
}

/// A portfolio, its settings, and those who have a grant in force or scheduled.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldPortfolio {
    pub portfolio: v1::Portfolio,
    pub settings: v1::AccessSettings,
    pub members: BTreeMap<Subject, v1::Member>,
}

impl Inventory {
    /// Reads it all. What is written meanwhile may be in it or not.
    ///
    /// # Errors
    /// There is no such organization, or the caller may not read all of it.
    pub async fn read(client: &Client, organization: &str) -> Result<Self, CallError> {
        let request = v1::GetOrganizationRequest { organization: organization.to_owned() };
        let found = client.get_organization(request).await?.organization.unwrap_or_default();
        let roles = roles(client, organization).await?;
        let users = users(client, organization).await?;
        let service_accounts = service_accounts(client, organization).await?;
        let groups = groups(client, organization).await?;
        let portfolios = portfolios(client, organization).await?;
        let affiliations = affiliations(client, organization).await?;
        let function_ceilings = function_ceilings(client, organization).await?;

        let bar = output::progress("reading", groups.len() + portfolios.len());
        let calls = groups.iter().map(|found| group(client, &found.id));
        let mut groups: Vec<_> = futures::stream::iter(calls)
            .buffered(CONCURRENCY)
            .inspect(|_| bar.inc(1))
            .map_ok(|(group, members)| HeldGroup { group, members })
            .try_collect()
            .await?;
        let items = items(client, &portfolios).await?;
        let calls = portfolios.into_iter().map(|found| portfolio(client, found));
        let portfolios = futures::stream::iter(calls).buffered(CONCURRENCY);
        let portfolios = portfolios.inspect(|_| bar.inc(1)).try_collect().await?;
        bar.finish_and_clear();
        for held in &mut groups {
            held.members.sort_unstable();
        }
        Ok(Self {
            organization: found,
            roles,
            users,
            affiliations,
            service_accounts,
            groups,
            portfolios,
            function_ceilings,
            items,
        })
    }

    /// The users at home elsewhere, or nowhere, who are in a group, hold a grant, made or own an
    /// item or have a function here.
    pub fn outsiders(&self) -> BTreeSet<String> {
        let home: BTreeSet<&str> = self.users.iter().map(|user| user.id.as_str()).collect();
        let members = self.groups.iter().flat_map(|held| &held.members);
        let holders = self.portfolios.iter().flat_map(|held| held.members.keys());
        let on_items = self.items.iter().flat_map(|item| {
            let grants = item.grants.iter().filter_map(|grant| grant.subject.as_ref());
            item.author.iter().chain(grants).filter_map(text::subject_of)
        });
        let subjects = members.chain(holders).cloned().chain(on_items);
        let users = subjects.filter_map(|subject| match subject {
            Subject::User(id) if !home.contains(id.as_str()) => Some(id.to_string()),
            _ => None,
        });
        let owners = self.items.iter().map(|item| &item.owner).filter(|owner| !owner.is_empty());
        let owners = owners.filter(|owner| !home.contains(owner.as_str())).cloned();
        let affiliated = self.affiliations.iter().map(|affiliation| &affiliation.user);
        let affiliated = affiliated.filter(|user| !home.contains(user.as_str())).cloned();
        users.chain(owners).chain(affiliated).collect()
    }
}

impl HeldPortfolio {
    /// The grants of a member that have not ended.
    pub fn grants(member: &v1::Member) -> impl Iterator<Item = &v1::Grant> + Clone {
        let ended = v1::AccessState::Ended as i32;
        member.grants.iter().filter(move |grant| grant.state != ended)
    }
}

/// All pages of a list. `page` asks for the page of a token, and gives its entries and the token
/// of the next.
pub(crate) async fn pages<T>(
    mut page: impl AsyncFnMut(String) -> Result<(Vec<T>, String), CallError>,
) -> Result<Vec<T>, CallError> {
    let mut all = Vec::new();
    let mut token = String::new();
    loop {
        let (entries, next) = page(token).await?;
        all.extend(entries);
        if next.is_empty() {
            return Ok(all);
        }
        token = next;
    }
}

/// The roles of an organization.
pub(crate) async fn roles(client: &Client, organization: &str) -> Result<Vec<v1::Role>, CallError> {
    pages(async |page_token| {
        let organization = organization.to_owned();
        let request = v1::ListRolesRequest { organization, page_size: PAGE_SIZE, page_token };
        let answer = client.list_roles(request).await?;
        Ok((answer.roles, answer.next_page_token))
    })
    .await
}

async fn users(client: &Client, organization: &str) -> Result<Vec<v1::User>, CallError> {
    pages(async |page_token| {
        let request = v1::ListUsersRequest {
            organization: organization.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
            ..v1::ListUsersRequest::default()
        };
        let answer = client.list_users(request).await?;
        Ok((answer.users, answer.next_page_token))
    })
    .await
}

/// What users are in an organization, wherever they are at home.
async fn affiliations(
    client: &Client,
    organization: &str,
) -> Result<Vec<v1::Affiliation>, CallError> {
    let all = pages(async |page_token| {
        let filter = Some(v1::UserFilter { affiliated: true, ..v1::UserFilter::default() });
        let organization = organization.to_owned();
        let request =
            v1::ListUsersRequest { organization, filter, page_size: PAGE_SIZE, page_token };
        let answer = client.list_users(request).await?;
        Ok((answer.affiliations, answer.next_page_token))
    });
    let mut all = all.await?;
    all.retain(|affiliation| affiliation.organization == organization);
    Ok(all)
}

/// The ceilings of an organization's functions.
pub(crate) async fn function_ceilings(
    client: &Client,
    organization: &str,
) -> Result<Vec<v1::FunctionCeiling>, CallError> {
    pages(async |page_token| {
        let request = v1::ListFunctionCeilingsRequest {
            organization: organization.to_owned(),
            page_size: PAGE_SIZE,
            page_token,
            ..v1::ListFunctionCeilingsRequest::default()
        };
        let answer = client.list_function_ceilings(request).await?;
        Ok((answer.function_ceilings, answer.next_page_token))
    })
    .await
}

/// The service accounts of an organization, deactivated ones too.
pub(crate) async fn service_accounts(
    client: &Client,
    organization: &str,
) -> Result<Vec<v1::ServiceAccount>, CallError> {
    pages(async |page_token| {
        let organization = organization.to_owned();
        let request =
            v1::ListServiceAccountsRequest { organization, page_size: PAGE_SIZE, page_token };
        let answer = client.list_service_accounts(request).await?;
        Ok((answer.service_accounts, answer.next_page_token))
    })
    .await
}

async fn groups(client: &Client, organization: &str) -> Result<Vec<v1::Group>, CallError> {
    pages(async |page_token| {
        let organization = organization.to_owned();
        let request = v1::ListGroupsRequest { organization, page_size: PAGE_SIZE, page_token };
        let answer = client.list_groups(request).await?;
        Ok((answer.groups, answer.next_page_token))
    })
    .await
}

/// A group and its direct members.
pub(crate) async fn group(
    client: &Client,
    id: &str,
) -> Result<(v1::Group, Vec<Subject>), CallError> {
    let mut group = v1::Group::default();
    let members = pages(async |page_token| {
        let request =
            v1::GetGroupRequest { group: id.to_owned(), page_size: PAGE_SIZE, page_token };
        let answer = client.get_group(request).await?;
        group = answer.group.unwrap_or_default();
        Ok((answer.members, answer.next_page_token))
    })
    .await?;
    Ok((group, members.iter().filter_map(text::subject_of).collect()))
}

async fn portfolios(client: &Client, organization: &str) -> Result<Vec<v1::Portfolio>, CallError> {
    let summaries = pages(async |page_token| {
        let request = v1::ListPortfoliosRequest {
            organization: organization.to_owned(),
            consistency: Some(text::fully_consistent()),
            page_size: PAGE_SIZE,
            page_token,
            ..v1::ListPortfoliosRequest::default()
        };
        let answer = client.list_portfolios(request).await?;
        Ok((answer.portfolios, answer.next_page_token))
    })
    .await?;
    Ok(summaries.into_iter().filter_map(|summary| summary.portfolio).collect())
}

/// The items that the portfolios show, each once.
async fn items(client: &Client, portfolios: &[v1::Portfolio]) -> Result<Vec<v1::Item>, CallError> {
    let shown = portfolios.iter().map(|portfolio| {
        pages(async |page_token| {
            let portfolio = portfolio.id.clone();
            let r#type = String::new();
            let request =
                v1::ListItemsRequest { portfolio, r#type, page_size: PAGE_SIZE, page_token };
            let answer = client.list_items(request).await?;
            Ok((answer.items, answer.next_page_token))
        })
    });
    let shown: Vec<Vec<v1::Item>> =
        futures::stream::iter(shown).buffered(CONCURRENCY).try_collect().await?;
    let now = Clock::system().read().wall;
    let named = |item: v1::Item| ((item.r#type.clone(), item.id.clone()), in_force(item, now));
    let items: BTreeMap<_, _> = shown.into_iter().flatten().map(named).collect();
    Ok(items.into_values().collect())
}

/// The item without the grants that have ended, and without the starts that have passed.
pub(crate) fn in_force(mut item: v1::Item, now: Timestamp) -> v1::Item {
    let passed = |instant: &prost_types::Timestamp| text::time_of(instant) <= now;
    item.grants.retain(|grant| !grant.expire_time.as_ref().is_some_and(passed));
    for grant in &mut item.grants {
        grant.start_time = grant.start_time.filter(|start| !passed(start));
    }
    item
}

async fn portfolio(client: &Client, found: v1::Portfolio) -> Result<HeldPortfolio, CallError> {
    let request = v1::GetAccessSettingsRequest { portfolio: found.id.clone() };
    let settings = client.get_access_settings(request).await?.access_settings.unwrap_or_default();
    let members = pages(async |page_token| {
        let request = v1::ListMembersRequest {
            portfolio: found.id.clone(),
            page_size: PAGE_SIZE,
            page_token,
            ..v1::ListMembersRequest::default()
        };
        let answer = client.list_members(request).await?;
        Ok((answer.members, answer.next_page_token))
    })
    .await?;
    let subject = |member: v1::Member| {
        let subject = member.subject.as_ref().and_then(text::subject_of)?;
        Some((subject, member))
    };
    let members = members.into_iter().filter_map(subject).collect();
    Ok(HeldPortfolio { portfolio: found, settings, members })
}
