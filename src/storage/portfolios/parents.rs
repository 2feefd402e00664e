//! Portfolios below portfolios, and whose settings are in effect (INH-1).

use std::collections::BTreeSet;

use diesel::sql_types::{BigInt, Bool, Text, Timestamptz};
use diesel_async::RunQueryDsl;

use crate::domain::access_settings::{AccessSettings, Visibility};
use crate::domain::nesting::{Ancestor, Below, MOST_NESTED};
use crate::domain::portfolio::MOST_LINKS;
use crate::domain::role::MANAGER;
use crate::domain::{PortfolioId, RoleKey, Timestamp};
use crate::storage::facts::parse;
use crate::storage::{Error, Transaction, timestamps};

/// The settings in effect on a portfolio, apart from its grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InEffect {
    /// Whose they are: its own, or those of the last portfolio that it is linked to.
    pub portfolio: PortfolioId,
    /// What they are.
    pub settings: AccessSettings,
}

#[derive(diesel::QueryableByName)]
struct AncestorRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Bool)]
    linked: bool,
}

#[derive(diesel::QueryableByName)]
struct BelowRow {
    #[diesel(sql_type = BigInt)]
    nested: i64,
    #[diesel(sql_type = BigInt)]
    linked: i64,
}

#[derive(diesel::QueryableByName)]
struct InEffectRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    visibility: String,
    #[diesel(sql_type = Text)]
    organization_access_role: String,
}

#[derive(diesel::QueryableByName)]
struct ManagedRow {
    #[diesel(sql_type = Bool)]
    is_managed: bool,
}

#[derive(diesel::QueryableByName)]
struct RoleRow {
    #[diesel(sql_type = Text)]
    role: String,
}

/// From a portfolio (`$1`) upwards, as far as there is a parent that is not deleted. The limits are
/// those of the writes, and here so that the walk ends whatever is there.
const ANCESTORS: &str = "
    WITH RECURSIVE above (id, parent, linked, level) AS (
        SELECT id, parent, linked, 1::bigint FROM portfolios WHERE id = $1 AND NOT deleted
        UNION ALL
        SELECT p.id, p.parent, p.linked, a.level + 1
        FROM above AS a JOIN portfolios AS p ON p.id = a.parent
        WHERE NOT p.deleted AND a.level <= $2)
    SELECT id, linked FROM above ORDER BY level";

/// How far it goes down below a portfolio (`$1`): at all, and by links alone.
const BELOW: &str = "
    WITH RECURSIVE below (id, linked, level) AS (
        SELECT $1::text, true, 0::bigint
        UNION ALL
        SELECT p.id, b.linked AND p.linked, b.level + 1
        FROM below AS b JOIN portfolios AS p ON p.parent = b.id
        WHERE NOT p.deleted AND b.level <= $2)
    SELECT max(level) AS nested, coalesce(max(level) FILTER (WHERE linked), 0) AS linked
    FROM below";

/// From a portfolio (`$1`) along its links to the one whose settings are in effect, at level 0 and
/// up; at most `$2` of them.
pub(super) const CHAIN: &str = "
    WITH RECURSIVE chain (id, parent, linked, level) AS (
        SELECT id, parent, linked, 0::bigint FROM portfolios WHERE id = $1
        UNION ALL
        SELECT p.id, p.parent, p.linked, c.level + 1
        FROM chain AS c JOIN portfolios AS p ON p.id = c.parent
        WHERE c.linked AND c.level <= $2)";

/// As many steps as any walk along links may take, and as any along parents.
#[allow(clippy::cast_possible_wrap, reason = "small numbers")]
pub(super) const LINKS: i64 = MOST_LINKS as i64;
#[allow(clippy::cast_possible_wrap, reason = "small numbers")]
const NESTED: i64 = MOST_NESTED as i64;

impl Transaction {
    /// The portfolio itself, its parent, and so on to the top.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn ancestors(&mut self, id: &PortfolioId) -> Result<Vec<Ancestor>, Error> {
        let rows: Vec<AncestorRow> = diesel::sql_query(ANCESTORS)
            .bind::<Text, _>(id.as_str())
            .bind::<BigInt, _>(NESTED)
            .load(self.connection())
            .await?;
        let ancestor = |row: AncestorRow| {
            Ok(Ancestor { id: parse("portfolios", &row.id)?, linked: row.linked })
        };
        rows.into_iter().map(ancestor).collect()
    }

    /// How far portfolios go down below this one.
    ///
    /// # Errors
    /// As [`Transaction::ancestors`].
    pub async fn below(&mut self, id: &PortfolioId) -> Result<Below, Error> {
        let row: BelowRow = diesel::sql_query(BELOW)
            .bind::<Text, _>(id.as_str())
            .bind::<BigInt, _>(NESTED)
            .get_result(self.connection())
            .await?;
        let count = |levels: i64| usize::try_from(levels).unwrap_or(usize::MAX);
        Ok(Below { nested: count(row.nested), linked: count(row.linked) })
    }

    /// The settings in effect on a portfolio that is there.
    ///
    /// # Errors
    /// As [`Transaction::ancestors`].
    pub async fn settings_in_effect(&mut self, id: &PortfolioId) -> Result<InEffect, Error> {
        let sql = format!(
            "{CHAIN}
             SELECT p.id, p.visibility, p.organization_access_role
             FROM chain AS c JOIN portfolios AS p ON p.id = c.id WHERE NOT c.linked"
        );
        let row: InEffectRow = diesel::sql_query(sql)
            .bind::<Text, _>(id.as_str())
            .bind::<BigInt, _>(LINKS)
            .get_result(self.connection())
            .await?;
        let visibility = Visibility::parse(&row.visibility);
        let corrupt = || Error::corrupt("portfolios", &row.id, "unknown visibility");
        Ok(InEffect {
            settings: AccessSettings {
                visibility: visibility.ok_or_else(corrupt)?,
                organization_access_role: parse("portfolios", &row.organization_access_role)?,
            },
            portfolio: parse("portfolios", &row.id)?,
        })
    }

    /// The roles of the grants in effect on a portfolio, in force or to begin, apart from its own
    /// ownership, which nothing but a transfer gives or takes away.
    ///
    /// # Errors
    /// As [`Transaction::ancestors`].
    pub async fn roles_in_effect(
        &mut self,
        id: &PortfolioId,
        now: Timestamp,
    ) -> Result<BTreeSet<RoleKey>, Error> {
        let sql = format!(
            "{CHAIN}
             SELECT DISTINCT g.role
             FROM chain AS c JOIN grants AS g ON g.portfolio = c.id
             WHERE g.revoke_time IS NULL AND coalesce(g.expire_time > $3, true)
               AND (g.ownership OR NOT c.linked) AND NOT (g.ownership AND c.level = 0)"
        );
        let rows: Vec<RoleRow> = diesel::sql_query(sql)
            .bind::<Text, _>(id.as_str())
            .bind::<BigInt, _>(LINKS)
            .bind::<Timestamptz, _>(timestamps::to_sql(now))
            .load(self.connection())
            .await?;
        rows.iter().map(|row| parse("grants", &row.role)).collect()
    }

    /// Whether an active user is a manager by what is in effect on a portfolio, begun and without
    /// an end (MEM-6). `now` is the write's clock.
    ///
    /// # Errors
    /// As [`Transaction::ancestors`].
    pub async fn is_managed(&mut self, id: &PortfolioId, now: Timestamp) -> Result<bool, Error> {
        let sql = format!(
            "{CHAIN}
             SELECT EXISTS (
                 SELECT FROM chain AS c JOIN grants AS g ON g.portfolio = c.id
                 JOIN users AS u ON u.id = g.subject_id
                 WHERE g.subject_kind = 'user' AND g.role = $4 AND NOT u.deactivated
                   AND g.revoke_time IS NULL AND g.expire_time IS NULL
                   AND coalesce(g.start_time <= $3, true) AND (g.ownership OR NOT c.linked))
                 AS is_managed"
        );
        let row: ManagedRow = diesel::sql_query(sql)
            .bind::<Text, _>(id.as_str())
            .bind::<BigInt, _>(LINKS)
            .bind::<Timestamptz, _>(timestamps::to_sql(now))
            .bind::<Text, _>(MANAGER)
            .get_result(self.connection())
            .await?;
        Ok(row.is_managed)
    }
}
