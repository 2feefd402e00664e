use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use time::OffsetDateTime;

use super::parse;
use super::subjects::subject;
use crate::domain::access_settings::Visibility;
use crate::domain::fact::{GrantFact, PortfolioFact};
use crate::domain::{OrganizationId, PortfolioId};
use crate::storage::schema::{grants, portfolios};
use crate::storage::{Error, Transaction, timestamps};

/// Id, visibility, role, whether it is archived, its parent and whether it is linked.
type PortfolioRow = (String, String, String, bool, Option<String>, bool);
type GrantRow = (String, String, String, String, Option<OffsetDateTime>, Option<OffsetDateTime>);

impl Transaction {
    /// Those of these portfolios that an organization has, with their grants.
    pub(super) async fn portfolio_facts(
        &mut self,
        organization: &OrganizationId,
        ids: &[PortfolioId],
    ) -> Result<Vec<PortfolioFact>, Error> {
        let query = grants::table
            .inner_join(portfolios::table.on(portfolios::id.eq(grants::portfolio)))
            .filter(grants::ownership.or(diesel::dsl::not(portfolios::linked)))
            .filter(grants::organization.eq(organization.as_str()))
            .filter(grants::revoke_time.is_null())
            .filter(grants::portfolio.eq_any(ids.iter().map(PortfolioId::as_str)))
            .select((
                grants::portfolio,
                grants::subject_kind,
                grants::subject_id,
                grants::role,
                grants::start_time,
                grants::expire_time,
            ));
        let rows: Vec<GrantRow> = query.load(self.connection()).await?;
        let mut by_portfolio: HashMap<String, Vec<GrantFact>> = HashMap::new();
        for row in rows {
            let (portfolio, kind, id, role, start, expire) = row;
            let fact = grant_fact(&kind, &id, &role, start, expire)?;
            by_portfolio.entry(portfolio).or_default().push(fact);
        }
        let mut facts = self.portfolio_settings(organization, Some(ids)).await?;
        for fact in &mut facts {
            fact.grants = by_portfolio.remove(fact.id.as_str()).unwrap_or_default();
        }
        Ok(facts)
    }

    /// The portfolios of an organization without their grants: all, or those of the ids.
    pub(super) async fn portfolio_settings(
        &mut self,
        organization: &OrganizationId,
        ids: Option<&[PortfolioId]>,
    ) -> Result<Vec<PortfolioFact>, Error> {
        let mut query = portfolios::table
            .filter(portfolios::organization.eq(organization.as_str()))
            .filter(diesel::dsl::not(portfolios::deleted))
            .select((
                portfolios::id,
                portfolios::visibility,
                portfolios::organization_access_role,
                portfolios::archived,
                portfolios::parent,
                portfolios::linked,
            ))
            .into_boxed();
        if let Some(ids) = ids {
            query = query.filter(portfolios::id.eq_any(ids.iter().map(PortfolioId::as_str)));
        }
        let rows: Vec<PortfolioRow> = query.load(self.connection()).await?;
        rows.into_iter().map(portfolio_fact).collect()
    }
}

pub(super) fn portfolio_fact(
    (id, visibility, role, archived, parent, linked): PortfolioRow,
) -> Result<PortfolioFact, Error> {
    let known = Visibility::parse(&visibility);
    let parent = parent.map(|parent| parse("portfolios", &parent)).transpose()?;
    Ok(PortfolioFact {
        link: parent.filter(|_| linked),
        visibility: known.ok_or_else(|| Error::corrupt("portfolios", &id, "unknown visibility"))?,
        organization_access_role: parse("portfolios", &role)?,
        archived,
        id: parse("portfolios", &id)?,
        grants: Vec::new(),
    })
}

pub(super) fn grant_fact(
    kind: &str,
    id: &str,
    role: &str,
    start: Option<OffsetDateTime>,
    expire: Option<OffsetDateTime>,
) -> Result<GrantFact, Error> {
    Ok(GrantFact {
        subject: subject(kind, id)?,
        role: parse("grants", role)?,
        start_time: start.map(timestamps::from_sql),
        expire_time: expire.map(timestamps::from_sql),
    })
}
