//! Items: what other services own and portfolios show (ACC-5).

mod change;
mod departure;
mod roles;

use diesel::deserialize::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use time::OffsetDateTime;

use super::facts::parse;
use super::{Error, Transaction, timestamps};
use crate::domain::access_settings::Visibility;
use crate::domain::item::{Item, ItemGrant, OwnSettings};
use crate::domain::page::Page;
use crate::domain::{ItemKey, ItemType, OrganizationId, PortfolioId, Subject};

/// The ownership is told by the owner.
const ITEMS: &str = "
    SELECT i.item_type, i.id, i.display_name, i.author_kind, i.author_id, i.owner, i.visibility,
           i.organization_access_role, i.archived, i.create_time, i.update_time, i.version,
           s.portfolios, g.kinds, g.ids, g.roles, g.starts, g.ends
    FROM unnest($2::text[], $3::text[]) AS k (item_type, id)
    JOIN items AS i ON i.organization = $1 AND i.item_type = k.item_type AND i.id = k.id
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
          AND g.item_id = i.id AND g.revoke_time IS NULL AND NOT g.ownership) AS g
    WHERE NOT i.deleted";

/// By type, then by id, in byte order.
const SHOWN: &str = r#"
    SELECT item_type, item_id AS id FROM item_portfolios
    WHERE portfolio = $1 AND ($2 IS NULL OR item_type = $2)
      AND ($3 IS NULL OR (item_type COLLATE "C", item_id COLLATE "C") > ($3, $4))
    ORDER BY item_type COLLATE "C", item_id COLLATE "C" LIMIT $5"#;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    item_type: String,
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    display_name: String,
    #[diesel(sql_type = Nullable<Text>)]
    author_kind: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    author_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    owner: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    visibility: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    organization_access_role: Option<String>,
    #[diesel(sql_type = Bool)]
    archived: bool,
    #[diesel(sql_type = Timestamptz)]
    create_time: OffsetDateTime,
    #[diesel(sql_type = Timestamptz)]
    update_time: OffsetDateTime,
    #[diesel(sql_type = BigInt)]
    version: i64,
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

#[derive(QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = Text)]
    item_type: String,
    #[diesel(sql_type = Text)]
    id: String,
}

impl Transaction {
    /// An item; none if it was never registered, or was deleted.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn item(
        &mut self,
        organization: &OrganizationId,
        key: &ItemKey,
    ) -> Result<Option<Item>, Error> {
        Ok(self.items(organization, std::slice::from_ref(key)).await?.pop())
    }

    /// Those of these items that there are, by type, then by id.
    ///
    /// # Errors
    /// As [`Transaction::item`].
    pub async fn items(
        &mut self,
        organization: &OrganizationId,
        keys: &[ItemKey],
    ) -> Result<Vec<Item>, Error> {
        let types: Vec<&str> = keys.iter().map(|key| key.item_type.as_str()).collect();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        let rows: Vec<Row> = diesel::sql_query(ITEMS)
            .bind::<Text, _>(organization.as_str())
            .bind::<Array<Text>, _>(types)
            .bind::<Array<Text>, _>(ids)
            .load(self.connection())
            .await?;
        let items = rows.into_iter().map(|row| item(organization, row));
        let mut items = items.collect::<Result<Vec<Item>, Error>>()?;
        items.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(items)
    }

    /// A page of what a portfolio shows, by type, then by id in byte order.
    ///
    /// # Errors
    /// As [`Transaction::item`].
    pub async fn items_shown(
        &mut self,
        portfolio: &PortfolioId,
        item_type: Option<&ItemType>,
        page: &Page<ItemKey>,
    ) -> Result<Vec<ItemKey>, Error> {
        let after = page.after.as_ref();
        let rows: Vec<KeyRow> = diesel::sql_query(SHOWN)
            .bind::<Text, _>(portfolio.as_str())
            .bind::<Nullable<Text>, _>(item_type.map(ItemType::as_str))
            .bind::<Nullable<Text>, _>(after.map(|key| key.item_type.as_str()))
            .bind::<Nullable<Text>, _>(after.map(|key| key.id.as_str()))
            .bind::<BigInt, _>(page.limit())
            .load(self.connection())
            .await?;
        rows.iter().map(|row| key(&row.item_type, &row.id)).collect()
    }
}

fn key(item_type: &str, id: &str) -> Result<ItemKey, Error> {
    Ok(ItemKey { item_type: parse("items", item_type)?, id: parse("items", id)? })
}

fn item(organization: &OrganizationId, row: Row) -> Result<Item, Error> {
    let subject = |kind: &str, id: &str| {
        Subject::from_parts(kind, id).map_err(|error| Error::corrupt("items", &row.id, error))
    };
    let author = row.author_kind.as_deref().zip(row.author_id.as_deref());
    let subjects = row.kinds.iter().zip(&row.ids);
    let periods = row.starts.iter().zip(&row.ends);
    let grants = subjects.zip(&row.roles).zip(periods).map(|(((kind, id), role), (start, end))| {
        Ok(ItemGrant {
            subject: subject(kind, id)?,
            role: parse("item_grants", role)?,
            start_time: start.map(timestamps::from_sql),
            expire_time: end.map(timestamps::from_sql),
        })
    });
    let mut grants = grants.collect::<Result<Vec<ItemGrant>, Error>>()?;
    grants.sort_unstable();
    let unknown = || Error::corrupt("items", &row.id, "unknown visibility");
    let settings = match row.visibility.as_deref().zip(row.organization_access_role.as_deref()) {
        None => None,
        Some((visibility, role)) => Some(OwnSettings {
            visibility: Visibility::parse(visibility).ok_or_else(unknown)?,
            organization_access_role: parse("items", role)?,
            grants,
        }),
    };
    let portfolios = row.portfolios.iter().map(|id| parse("item_portfolios", id));
    let mut portfolios = portfolios.collect::<Result<Vec<PortfolioId>, Error>>()?;
    portfolios.sort_unstable();
    Ok(Item {
        key: key(&row.item_type, &row.id)?,
        organization: organization.clone(),
        author: author.map(|(kind, id)| subject(kind, id)).transpose()?,
        owner: row.owner.as_deref().map(|owner| parse("items", owner)).transpose()?,
        display_name: row.display_name,
        portfolios,
        settings,
        archived: row.archived,
        create_time: timestamps::from_sql(row.create_time),
        update_time: timestamps::from_sql(row.update_time),
        version: row.version,
    })
}
