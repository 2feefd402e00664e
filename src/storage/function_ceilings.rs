//! Ceilings of functions: which role a function gets on which portfolios (MEM-10). No decision
//! looks at them, so that their changes name no facts.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use serde_json::{Value, json};

use super::facts::parse;
use super::schema::function_ceilings;
use super::{Change, Error, Failure, Scope, Transaction, Write};
use crate::domain::function::{FunctionCeiling, FunctionCeilingFilter};
use crate::domain::page::Page;
use crate::domain::{FunctionKey, OrganizationId, RoleKey};

const PAGE: &str = r#"
    SELECT organization, function, portfolio_type, role FROM function_ceilings
    WHERE organization = $1
      AND ($2 IS NULL OR (function COLLATE "C", portfolio_type COLLATE "C") > ($2, $3))
      AND ($4 IS NULL OR function = $4)
      AND ($5 IS NULL OR portfolio_type = $5)
    ORDER BY function COLLATE "C", portfolio_type COLLATE "C" LIMIT $6"#;

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    organization: String,
    #[diesel(sql_type = Text)]
    function: String,
    #[diesel(sql_type = Text)]
    portfolio_type: String,
    #[diesel(sql_type = Text)]
    role: String,
}

impl Transaction {
    /// The role that a function gets on portfolios of a type; none if the organization names none.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn function_ceiling(
        &mut self,
        organization: &OrganizationId,
        function: &FunctionKey,
        portfolio_type: &str,
    ) -> Result<Option<RoleKey>, Error> {
        let role: Option<String> = function_ceilings::table
            .find((organization.as_str(), function.as_str(), portfolio_type))
            .select(function_ceilings::role)
            .first(self.connection())
            .await
            .optional()?;
        role.map(|role| parse("function_ceilings", &role)).transpose()
    }

    /// A page of an organization's ceilings, by function and then type, both in byte order.
    ///
    /// # Errors
    /// As [`Transaction::function_ceiling`].
    pub async fn function_ceilings_of(
        &mut self,
        organization: &OrganizationId,
        filter: &FunctionCeilingFilter,
        page: &Page<(FunctionKey, String)>,
    ) -> Result<Vec<FunctionCeiling>, Error> {
        let after = page.after.as_ref();
        let rows: Vec<Row> = diesel::sql_query(PAGE)
            .bind::<Text, _>(organization.as_str())
            .bind::<Nullable<Text>, _>(after.map(|(function, _)| function.as_str()))
            .bind::<Nullable<Text>, _>(after.map(|(_, portfolio_type)| portfolio_type.as_str()))
            .bind::<Nullable<Text>, _>(filter.function.as_ref().map(FunctionKey::as_str))
            .bind::<Nullable<Text>, _>(filter.portfolio_type.as_deref())
            .bind::<BigInt, _>(page.limit())
            .load(self.connection())
            .await?;
        rows.into_iter().map(ceiling).collect()
    }
}

fn ceiling(row: Row) -> Result<FunctionCeiling, Error> {
    let Row { organization, function, portfolio_type, role } = row;
    Ok(FunctionCeiling {
        organization: parse("function_ceilings", &organization)?,
        function: parse("function_ceilings", &function)?,
        portfolio_type,
        role: parse("function_ceilings", &role)?,
    })
}

impl Write {
    /// Sets a ceiling, in place of the one before. Needs the organization's scope.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn set_function_ceiling(
        &mut self,
        before: Option<RoleKey>,
        after: &FunctionCeiling,
    ) -> Result<(), Failure> {
        self.require(&Scope::Organization(after.organization.clone()))?;
        diesel::insert_into(function_ceilings::table)
            .values((
                function_ceilings::organization.eq(after.organization.as_str()),
                function_ceilings::function.eq(after.function.as_str()),
                function_ceilings::portfolio_type.eq(after.portfolio_type.as_str()),
                function_ceilings::role.eq(after.role.as_str()),
            ))
            .on_conflict((
                function_ceilings::organization,
                function_ceilings::function,
                function_ceilings::portfolio_type,
            ))
            .do_update()
            .set(function_ceilings::role.eq(after.role.as_str()))
            .execute(self.connection())
            .await?;
        let before = before.map(|role| FunctionCeiling { role, ..after.clone() });
        self.record(set_ceiling(before.as_ref(), after));
        Ok(())
    }

    /// Deletes a ceiling. Needs the organization's scope.
    ///
    /// # Errors
    /// As [`Write::set_function_ceiling`].
    pub async fn delete_function_ceiling(&mut self, old: &FunctionCeiling) -> Result<(), Failure> {
        self.require(&Scope::Organization(old.organization.clone()))?;
        let FunctionCeiling { organization, function, portfolio_type, role: _ } = old;
        let key = (organization.as_str(), function.as_str(), portfolio_type.as_str());
        diesel::delete(function_ceilings::table.find(key)).execute(self.connection()).await?;
        self.record(change("function_ceiling.deleted", Some(old), None, old));
        Ok(())
    }
}

/// That a ceiling was set, in place of the one before.
pub(super) fn set_ceiling(before: Option<&FunctionCeiling>, after: &FunctionCeiling) -> Change {
    change("function_ceiling.set", before, Some(after), after)
}

/// `of` is either of the two: what is the same in both.
fn change(
    what: &'static str,
    before: Option<&FunctionCeiling>,
    after: Option<&FunctionCeiling>,
    of: &FunctionCeiling,
) -> Change {
    let value = |ceiling: Option<&FunctionCeiling>| {
        ceiling.map_or(
            Value::Null,
            |ceiling| json!({ "portfolio_type": ceiling.portfolio_type, "role": ceiling.role }),
        )
    };
    Change {
        scope: Scope::Organization(of.organization.clone()),
        what,
        object: of.function.to_string(),
        portfolio: None,
        subject: None,
        keys: Vec::new(),
        before: value(before),
        after: value(after),
    }
}
