//! Items as decisions look at them (ACC-5): all of an organization, or those of given keys, by the
//! same statement. A deleted one is an item that no portfolio shows: what it kept from people must
//! not be decided by the portfolio from then on, as it is for what was never registered.

use diesel::deserialize::QueryableByName;
use diesel::sql_types::{Array, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use time::OffsetDateTime;

use super::parse;
use super::portfolios::grant_fact;
use crate::domain::access_settings::Visibility;
use crate::domain::fact::{GrantFact, ItemFact, ItemSettings};
use crate::domain::{ItemKey, OrganizationId, Subject};
use crate::storage::{Error, Transaction};

macro_rules! items {
    ($where:literal) => {
        concat!(
            "
    SELECT i.item_type, i.id, i.author_kind, i.author_id, i.archived, i.visibility,
           i.organization_access_role, s.portfolios, g.kinds, g.ids, g.roles, g.starts, g.ends
    FROM items AS i
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(s.portfolio), '{}') AS portfolios
        FROM item_portfolios AS s
        WHERE s.organization = i.organization AND s.item_type = i.item_type
          AND s.item_id = i.id) AS s
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(g.subject_kind), '{}') AS kinds,
               coalesce(array_agg(g.subject_id), '{}') AS ids,
               coalesce(array_agg(g.role), '{}') AS roles,
               coalesce(array_agg(g.start_time), '{}') AS starts,
               coalesce(array_agg(g.expire_time), '{}') AS ends
        FROM item_grants AS g
        WHERE g.organization = i.organization AND g.item_type = i.item_type
          AND g.item_id = i.id AND g.revoke_time IS NULL) AS g
    WHERE i.organization = $1",
            $where
        )
    };
}

/// All of an organization.
pub(super) const ITEMS: &str = items!("");

const OF_KEYS: &str =
    items!(" AND (i.item_type, i.id) IN (SELECT * FROM unnest($2::text[], $3::text[]))");

#[derive(QueryableByName)]
pub(super) struct ItemRow {
    #[diesel(sql_type = Text)]
    item_type: String,
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Nullable<Text>)]
    author_kind: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    author_id: Option<String>,
    #[diesel(sql_type = Bool)]
    archived: bool,
    #[diesel(sql_type = Nullable<Text>)]
    visibility: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    organization_access_role: Option<String>,
    #[diesel(sql_type = Array<Text>)]
    portfolios: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    kinds: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    ids: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    roles: Vec<String>,
    #[diesel(sql_type = Array<Nullable<Timestamptz>>)]
    starts: Vec<Option<OffsetDateTime>>,
    #[diesel(sql_type = Array<Nullable<Timestamptz>>)]
    ends: Vec<Option<OffsetDateTime>>,
}

impl Transaction {
    /// Those of these items that an organization has, with their portfolios and grants.
    pub(super) async fn item_facts(
        &mut self,
        organization: &OrganizationId,
        keys: &[ItemKey],
    ) -> Result<Vec<ItemFact>, Error> {
        let types: Vec<&str> = keys.iter().map(|key| key.item_type.as_str()).collect();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        let query = diesel::sql_query(OF_KEYS)
            .bind::<Text, _>(organization.as_str())
            .bind::<Array<Text>, _>(types)
            .bind::<Array<Text>, _>(ids);
        let rows: Vec<ItemRow> = query.load(self.connection()).await?;
        rows.into_iter().map(item_fact).collect()
    }
}

pub(super) fn item_fact(row: ItemRow) -> Result<ItemFact, Error> {
    let author = row.author_kind.as_deref().zip(row.author_id.as_deref());
    let portfolios = row.portfolios.iter().map(|id| parse("item_portfolios", id));
    let subjects = row.kinds.iter().zip(&row.ids);
    let periods = row.starts.into_iter().zip(row.ends);
    let grants = subjects
        .zip(&row.roles)
        .zip(periods)
        .map(|(((kind, id), role), (start, end))| grant_fact(kind, id, role, start, end))
        .collect::<Result<_, _>>()?;
    Ok(ItemFact {
        portfolios: portfolios.collect::<Result<_, _>>()?,
        author: author.map(|(kind, id)| self::author(&row.id, kind, id)).transpose()?,
        archived: row.archived,
        settings: settings(&row.id, row.visibility, row.organization_access_role, grants)?,
        key: ItemKey { item_type: parse("items", &row.item_type)?, id: parse("items", &row.id)? },
    })
}

pub(super) fn author(item: &str, kind: &str, id: &str) -> Result<Subject, Error> {
    Subject::from_parts(kind, id).map_err(|error| Error::corrupt("items", item, error))
}

/// The settings of an independent item; none of one that follows its portfolio.
pub(super) fn settings(
    item: &str,
    visibility: Option<String>,
    role: Option<String>,
    grants: Vec<GrantFact>,
) -> Result<Option<ItemSettings>, Error> {
    let Some((visibility, role)) = visibility.zip(role) else { return Ok(None) };
    let known = Visibility::parse(&visibility);
    Ok(Some(ItemSettings {
        visibility: known.ok_or_else(|| Error::corrupt("items", item, "unknown visibility"))?,
        organization_access_role: parse("items", &role)?,
        grants,
    }))
}
