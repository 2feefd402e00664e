//! Portfolios and their access settings (VIS-1).

mod life;
mod links;
mod parents;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::facts::parse;
use super::schema::{grants, portfolios};
use super::{Change, Error, Failure, Scope, Transaction, Write, timestamps};
use crate::domain::access_settings::{AccessSettings, Visibility};
use crate::domain::fact::FactKey;
use crate::domain::portfolio::{Portfolio, PortfolioState};
use crate::domain::{OrganizationId, PortfolioId, Subject};

#[derive(Queryable)]
struct Row {
    id: String,
    organization: String,
    display_name: String,
    portfolio_type: String,
    author_kind: Option<String>,
    author_id: Option<String>,
    deleted: bool,
    archived: bool,
    parent: Option<String>,
    linked: bool,
    visibility: String,
    organization_access_role: String,
    create_time: OffsetDateTime,
    update_time: OffsetDateTime,
    version: i64,
    owner: Option<String>,
}

/// Portfolios as they are read, each with its owner.
macro_rules! rows {
    () => {
        portfolios::table
            .left_join(
                grants::table.on(grants::portfolio
                    .eq(portfolios::id)
                    .and(grants::ownership)
                    .and(grants::revoke_time.is_null())),
            )
            .select((
                portfolios::id,
                portfolios::organization,
                portfolios::display_name,
                portfolios::portfolio_type,
                portfolios::author_kind,
                portfolios::author_id,
                portfolios::deleted,
                portfolios::archived,
                portfolios::parent,
                portfolios::linked,
                portfolios::visibility,
                portfolios::organization_access_role,
                portfolios::create_time,
                portfolios::update_time,
                portfolios::version,
                grants::subject_id.nullable(),
            ))
    };
}

impl Transaction {
    /// The organization of a portfolio; none for an id that was never used.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn organization_of(
        &mut self,
        portfolio: &PortfolioId,
    ) -> Result<Option<OrganizationId>, Error> {
        let organization: Option<String> = portfolios::table
            .find(portfolio.as_str())
            .select(portfolios::organization)
            .first(self.connection())
            .await
            .optional()?;
        organization.map(|id| parse("portfolios", &id)).transpose()
    }

    /// A portfolio, also a deleted one; none for an id that was never used.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn portfolio(&mut self, id: &PortfolioId) -> Result<Option<Portfolio>, Error> {
        let row: Option<Row> = rows!()
            .filter(portfolios::id.eq(id.as_str()))
            .first(self.connection())
            .await
            .optional()?;
        row.map(portfolio).transpose()
    }

    /// Those of these portfolios that are there and not deleted, in no order.
    ///
    /// # Errors
    /// As [`Transaction::portfolio`].
    pub async fn portfolios(&mut self, ids: &[PortfolioId]) -> Result<Vec<Portfolio>, Error> {
        let rows: Vec<Row> = rows!()
            .filter(portfolios::id.eq_any(ids.iter().map(PortfolioId::as_str)))
            .filter(diesel::dsl::not(portfolios::deleted))
            .load(self.connection())
            .await?;
        rows.into_iter().map(portfolio).collect()
    }

    /// The portfolios that are linked to this one directly, by id.
    ///
    /// # Errors
    /// As [`Transaction::portfolio`].
    pub async fn linked_children(&mut self, id: &PortfolioId) -> Result<Vec<Portfolio>, Error> {
        let rows: Vec<Row> = rows!()
            .filter(portfolios::parent.eq(id.as_str()))
            .filter(portfolios::linked.and(diesel::dsl::not(portfolios::deleted)))
            .order(portfolios::id)
            .load(self.connection())
            .await?;
        rows.into_iter().map(portfolio).collect()
    }

    /// The organizations of these portfolios, deleted ones too; nothing for ids never used.
    ///
    /// # Errors
    /// As [`Transaction::portfolio`].
    pub async fn organizations_of(
        &mut self,
        ids: &[PortfolioId],
    ) -> Result<Vec<OrganizationId>, Error> {
        let organizations: Vec<String> = portfolios::table
            .filter(portfolios::id.eq_any(ids.iter().map(PortfolioId::as_str)))
            .select(portfolios::organization)
            .distinct()
            .load(self.connection())
            .await?;
        organizations.iter().map(|id| parse("portfolios", id)).collect()
    }
}

fn portfolio(row: Row) -> Result<Portfolio, Error> {
    let corrupt = |what: String| Error::corrupt("portfolios", &row.id, what);
    let author = match (&row.author_kind, &row.author_id) {
        (Some(kind), Some(id)) => {
            Some(Subject::from_parts(kind, id).map_err(|error| corrupt(error.to_string()))?)
        }
        _ => None,
    };
    let visibility = Visibility::parse(&row.visibility);
    Ok(Portfolio {
        organization: parse("portfolios", &row.organization)?,
        display_name: row.display_name,
        portfolio_type: row.portfolio_type,
        author,
        owner: row.owner.map(|owner| parse("grants", &owner)).transpose()?,
        state: match (row.deleted, row.archived) {
            (true, _) => PortfolioState::Deleted,
            (false, true) => PortfolioState::Archived,
            (false, false) => PortfolioState::Active,
        },
        parent: row.parent.map(|parent| parse("portfolios", &parent)).transpose()?,
        linked: row.linked,
        settings: AccessSettings {
            visibility: visibility.ok_or_else(|| corrupt("unknown visibility".to_owned()))?,
            organization_access_role: parse("portfolios", &row.organization_access_role)?,
        },
        create_time: timestamps::from_sql(row.create_time),
        update_time: timestamps::from_sql(row.update_time),
        version: row.version,
        id: parse("portfolios", &row.id)?,
    })
}

impl Write {
    /// Creates a portfolio, its ownership grant apart; false if the id is or ever was taken.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn insert_portfolio(&mut self, portfolio: &Portfolio) -> Result<bool, Failure> {
        self.require(&Scope::Organization(portfolio.organization.clone()))?;
        let settings = &portfolio.settings;
        let author = portfolio.author.as_ref();
        let inserted = diesel::insert_into(portfolios::table)
            .values((
                portfolios::id.eq(portfolio.id.as_str()),
                portfolios::organization.eq(portfolio.organization.as_str()),
                portfolios::display_name.eq(&portfolio.display_name),
                portfolios::portfolio_type.eq(&portfolio.portfolio_type),
                portfolios::author_kind.eq(author.map(Subject::kind)),
                portfolios::author_id.eq(author.map(Subject::id)),
                portfolios::parent.eq(portfolio.parent.as_ref().map(PortfolioId::as_str)),
                portfolios::linked.eq(portfolio.linked),
                portfolios::visibility.eq(settings.visibility.as_str()),
                portfolios::organization_access_role.eq(settings.organization_access_role.as_str()),
                portfolios::create_time.eq(timestamps::to_sql(portfolio.create_time)),
                portfolios::update_time.eq(timestamps::to_sql(portfolio.update_time)),
                portfolios::version.eq(portfolio.version),
            ))
            .on_conflict_do_nothing()
            .execute(self.connection())
            .await?;
        if inserted == 0 {
            return Ok(false);
        }
        let after = json!(portfolio);
        self.record(change("portfolio.created", portfolio, Value::Null, after));
        Ok(true)
    }

    /// Replaces a portfolio's access settings; returns the portfolio as it then is.
    ///
    /// # Errors
    /// As [`Write::insert_portfolio`].
    pub async fn update_access_settings(
        &mut self,
        before: &Portfolio,
        settings: AccessSettings,
    ) -> Result<Portfolio, Failure> {
        self.require(&Scope::Organization(before.organization.clone()))?;
        let mut after = before.clone();
        after.settings = settings;
        after.update_time = self.now();
        after.version += 1;
        let role = after.settings.organization_access_role.as_str();
        diesel::update(portfolios::table.find(before.id.as_str()))
            .set((
                portfolios::visibility.eq(after.settings.visibility.as_str()),
                portfolios::organization_access_role.eq(role),
                portfolios::update_time.eq(timestamps::to_sql(after.update_time)),
                portfolios::version.eq(after.version),
            ))
            .execute(self.connection())
            .await?;
        let values = (json!(before.settings), json!(after.settings));
        self.record(change("access_settings.updated", before, values.0, values.1));
        Ok(after)
    }

    /// Changes a portfolio's display name and type; returns the portfolio as it then is.
    ///
    /// # Errors
    /// As [`Write::insert_portfolio`].
    pub async fn update_portfolio(
        &mut self,
        before: &Portfolio,
        display_name: &str,
        portfolio_type: &str,
    ) -> Result<Portfolio, Failure> {
        self.require(&Scope::Organization(before.organization.clone()))?;
        let after = Portfolio {
            display_name: display_name.to_owned(),
            portfolio_type: portfolio_type.to_owned(),
            update_time: self.now(),
            version: before.version + 1,
            ..before.clone()
        };
        diesel::update(portfolios::table.find(before.id.as_str()))
            .set((
                portfolios::display_name.eq(display_name),
                portfolios::portfolio_type.eq(portfolio_type),
                portfolios::update_time.eq(timestamps::to_sql(after.update_time)),
                portfolios::version.eq(after.version),
            ))
            .execute(self.connection())
            .await?;
        let named = |portfolio: &Portfolio| {
            let Portfolio { display_name, portfolio_type, .. } = portfolio;
            json!({ "display_name": display_name, "portfolio_type": portfolio_type })
        };
        let (was, is) = (named(before), named(&after));
        // Decisions look at neither.
        let keys = Vec::new();
        self.record(Change { keys, ..change("portfolio.updated", before, was, is) });
        Ok(after)
    }
}

fn change(what: &'static str, portfolio: &Portfolio, before: Value, after: Value) -> Change {
    Change {
        scope: Scope::Organization(portfolio.organization.clone()),
        what,
        object: portfolio.id.to_string(),
        portfolio: Some(portfolio.id.clone()),
        subject: None,
        keys: vec![FactKey::Portfolio(portfolio.id.clone())],
        before,
        after,
    }
}
