//! What becomes of a portfolio: archived and restored (VIS-8), owned by another (MEM-12), deleted
//! (VIS-9).

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::change;
use crate::domain::UserId;
use crate::domain::portfolio::{Portfolio, PortfolioState};
use crate::storage::schema::{grants, portfolios};
use crate::storage::{Failure, Scope, Write, timestamps};

impl Write {
    /// Archives a portfolio, or restores an archived one; returns the portfolio as it then is.
    ///
    /// # Errors
    /// As [`Write::insert_portfolio`].
    pub async fn set_archived(
        &mut self,
        before: &Portfolio,
        archived: bool,
    ) -> Result<Portfolio, Failure> {
        self.require(&Scope::Organization(before.organization.clone()))?;
        let (what, state) = match archived {
            true => ("portfolio.archived", PortfolioState::Archived),
            false => ("portfolio.restored", PortfolioState::Active),
        };
        let after = Portfolio {
            state,
            update_time: self.now(),
            version: before.version + 1,
            ..before.clone()
        };
        diesel::update(portfolios::table.find(before.id.as_str()))
            .set((
                portfolios::archived.eq(archived),
                portfolios::update_time.eq(timestamps::to_sql(after.update_time)),
                portfolios::version.eq(after.version),
            ))
            .execute(self.connection())
            .await?;
        let values = (json!({ "state": before.state }), json!({ "state": after.state }));
        self.record(change(what, before, values.0, values.1));
        Ok(after)
    }

    /// Notes that a portfolio has another owner since their grant was written, which is what the
    /// trail tells of; returns the portfolio as it then is.
    ///
    /// # Errors
    /// As [`Write::insert_portfolio`].
    pub async fn note_owner(
        &mut self,
        before: &Portfolio,
        owner: &UserId,
    ) -> Result<Portfolio, Failure> {
        self.require(&Scope::Organization(before.organization.clone()))?;
        let after = Portfolio {
            owner: Some(owner.clone()),
            update_time: self.now(),
            version: before.version + 1,
            ..before.clone()
        };
        diesel::update(portfolios::table.find(before.id.as_str()))
            .set((
                portfolios::update_time.eq(timestamps::to_sql(after.update_time)),
                portfolios::version.eq(after.version),
            ))
            .execute(self.connection())
            .await?;
        Ok(after)
    }

    /// Deletes a portfolio for good: its grants end, what only it shows is deleted, what waits for
    /// approval is closed (VIS-7), the row and the audit trail stay (VIS-9). Nothing is linked to
    /// it any more.
    ///
    /// # Errors
    /// As [`Write::insert_portfolio`].
    pub async fn delete_portfolio(&mut self, before: &Portfolio) -> Result<Portfolio, Failure> {
        self.require(&Scope::Organization(before.organization.clone()))?;
        let now = timestamps::to_sql(self.now());
        let mut after = before.clone();
        after.state = PortfolioState::Deleted;
        after.owner = None;
        after.parent = None;
        after.linked = false;
        after.update_time = self.now();
        after.version += 1;
        diesel::update(portfolios::table.find(before.id.as_str()))
            .set((
                portfolios::deleted.eq(true),
                // So that nobody is ever below it by way of what is below itself.
                portfolios::parent.eq(None::<&str>),
                portfolios::linked.eq(false),
                portfolios::update_time.eq(now),
                portfolios::version.eq(after.version),
            ))
            .execute(self.connection())
            .await?;
        let ended: Vec<(String, String, String)> = diesel::update(grants::table)
            .filter(grants::portfolio.eq(before.id.as_str()))
            .filter(grants::revoke_time.is_null())
            .set(grants::revoke_time.eq(now))
            .returning((grants::subject_kind, grants::subject_id, grants::role))
            .get_results(self.connection())
            .await?;
        let grant = |(kind, id, role)| json!({ "subject": format!("{kind}:{id}"), "role": role });
        let ended: Vec<Value> = ended.into_iter().map(grant).collect();
        let was = json!({ "portfolio": before, "grants": ended });
        self.record(change("portfolio.deleted", before, was, Value::Null));
        self.close_privacy_request(&before.id).await?;
        self.hide_items_of(before).await?;
        Ok(after)
    }
}
