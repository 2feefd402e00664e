//! What uses a role, and moving it to another before the role is deleted (ROL-6).

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::facts::parse;
use super::function_ceilings::set_ceiling;
use super::schema::{function_ceilings, portfolios};
use super::{Change, Error, Failure, Scope, Write, timestamps};
use crate::domain::access_settings::{AccessSettings, Visibility};
use crate::domain::fact::FactKey;
use crate::domain::function::FunctionCeiling;
use crate::domain::membership::{Grant, GrantSource};
use crate::domain::role::RoleUses;
use crate::domain::{OrganizationId, PortfolioId, RoleKey, Subject};

/// $1: organization, $2: role, $3: now.
const USES: &str = "
    SELECT (SELECT count(*) FROM grants
            WHERE organization = $1 AND role = $2 AND revoke_time IS NULL
              AND coalesce(expire_time > $3, true)) AS grants,
           (SELECT count(*) FROM portfolios
            WHERE organization = $1 AND organization_access_role = $2 AND NOT deleted)
               AS organization_access_roles,
           (SELECT count(*) FROM function_ceilings WHERE organization = $1 AND role = $2)
               AS function_ceilings,
           (SELECT count(*) FROM item_grants
            WHERE organization = $1 AND role = $2 AND revoke_time IS NULL
              AND coalesce(expire_time > $3, true)) AS item_grants,
           (SELECT count(*) FROM items
            WHERE organization = $1 AND organization_access_role = $2 AND NOT deleted)
               AS item_access_roles";

#[derive(QueryableByName)]
struct Uses {
    #[diesel(sql_type = BigInt)]
    grants: i64,
    #[diesel(sql_type = BigInt)]
    organization_access_roles: i64,
    #[diesel(sql_type = BigInt)]
    function_ceilings: i64,
    #[diesel(sql_type = BigInt)]
    item_grants: i64,
    #[diesel(sql_type = BigInt)]
    item_access_roles: i64,
}

/// Each grant ends, and another one takes its place: as when a member's role is changed by hand.
/// $1: organization, $2: role, $3: now, $4: the other role.
const MOVE_GRANTS: &str = "
    WITH ended AS (
        UPDATE grants SET revoke_time = $3
        WHERE organization = $1 AND role = $2 AND revoke_time IS NULL
          AND coalesce(expire_time > $3, true)
        RETURNING *
    ), moved AS MATERIALIZED (
        SELECT *, gen_random_uuid() AS new_id FROM ended
    ), given AS (
        INSERT INTO grants (id, portfolio, organization, subject_kind, subject_id, role, source,
                            ownership, start_time, expire_time, create_time)
        SELECT new_id, portfolio, organization, subject_kind, subject_id, $4, source,
               ownership, start_time, expire_time, $3
        FROM moved
    )
    SELECT id, new_id, portfolio, subject_kind, subject_id, source, start_time, expire_time,
           create_time
    FROM moved";

#[derive(QueryableByName)]
struct Moved {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    new_id: Uuid,
    #[diesel(sql_type = Text)]
    portfolio: String,
    #[diesel(sql_type = Text)]
    subject_kind: String,
    #[diesel(sql_type = Text)]
    subject_id: String,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    start_time: Option<OffsetDateTime>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    expire_time: Option<OffsetDateTime>,
    #[diesel(sql_type = Timestamptz)]
    create_time: OffsetDateTime,
}

impl Moved {
    /// The grant as it was.
    fn grant(&self, role: &RoleKey) -> Result<Grant, Error> {
        let corrupt = |what: String| Error::corrupt("grants", &self.id.to_string(), what);
        let subject = Subject::from_parts(&self.subject_kind, &self.subject_id);
        let source = GrantSource::parse(&self.source);
        Ok(Grant {
            id: self.id,
            portfolio: parse("grants", &self.portfolio)?,
            subject: subject.map_err(|error| corrupt(error.to_string()))?,
            role: role.clone(),
            source: source.ok_or_else(|| corrupt("unknown source".to_owned()))?,
            // Of the manager alone, which is built in.
            ownership: false,
            start_time: self.start_time.map(timestamps::from_sql),
            expire_time: self.expire_time.map(timestamps::from_sql),
            create_time: timestamps::from_sql(self.create_time),
            revoke_time: None,
        })
    }
}

impl Write {
    /// What uses a role now.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn role_uses(
        &mut self,
        organization: &OrganizationId,
        role: &RoleKey,
    ) -> Result<RoleUses, Error> {
        let now = timestamps::to_sql(self.now());
        let found: Uses = diesel::sql_query(USES)
            .bind::<Text, _>(organization.as_str())
            .bind::<Text, _>(role.as_str())
            .bind::<Timestamptz, _>(now)
            .get_result(self.connection())
            .await?;
        let count = |count: i64| u64::try_from(count).unwrap_or_default();
        Ok(RoleUses {
            grants: count(found.grants),
            organization_access_roles: count(found.organization_access_roles),
            function_ceilings: count(found.function_ceilings),
            item_grants: count(found.item_grants),
            item_access_roles: count(found.item_access_roles),
        })
    }

    /// Moves everything that uses a role to another one, by a few statements, however much it is.
    /// An audit event tells of each member, each portfolio, each ceiling and each item. Needs the
    /// organization's scope.
    ///
    /// More portfolios than the feed follows key by key make it load the organization anew.
    ///
    /// # Errors
    /// The database cannot be asked; a scope that is not held.
    pub async fn move_role_uses(
        &mut self,
        organization: &OrganizationId,
        from: &RoleKey,
        to: &RoleKey,
    ) -> Result<(), Failure> {
        self.require(&Scope::Organization(organization.clone()))?;
        self.move_grants(organization, from, to).await?;
        self.move_access_roles(organization, from, to).await?;
        self.move_function_ceilings(organization, from, to).await?;
        self.move_on_items(organization, from, to).await
    }

    async fn move_grants(
        &mut self,
        organization: &OrganizationId,
        from: &RoleKey,
        to: &RoleKey,
    ) -> Result<(), Failure> {
        let now = self.now();
        let rows: Vec<Moved> = diesel::sql_query(MOVE_GRANTS)
            .bind::<Text, _>(organization.as_str())
            .bind::<Text, _>(from.as_str())
            .bind::<Timestamptz, _>(timestamps::to_sql(now))
            .bind::<Text, _>(to.as_str())
            .load(self.connection())
            .await?;
        let mut members: BTreeMap<(PortfolioId, Subject), [Vec<Grant>; 2]> = BTreeMap::new();
        for row in rows {
            let before = row.grant(from)?;
            let after =
                Grant { id: row.new_id, role: to.clone(), create_time: now, ..before.clone() };
            let member = (before.portfolio.clone(), before.subject.clone());
            let [ended, given] = members.entry(member).or_default();
            ended.push(before);
            given.push(after);
        }
        for ((portfolio, subject), [ended, given]) in members {
            self.record(Change {
                subject: Some(subject),
                ..change("member.updated", organization, portfolio, [json!(ended), json!(given)])
            });
        }
        Ok(())
    }

    async fn move_access_roles(
        &mut self,
        organization: &OrganizationId,
        from: &RoleKey,
        to: &RoleKey,
    ) -> Result<(), Failure> {
        let now = timestamps::to_sql(self.now());
        let rows: Vec<(String, String)> = diesel::update(portfolios::table)
            .filter(portfolios::organization.eq(organization.as_str()))
            .filter(portfolios::organization_access_role.eq(from.as_str()))
            .filter(diesel::dsl::not(portfolios::deleted))
            .set((
                portfolios::organization_access_role.eq(to.as_str()),
                portfolios::update_time.eq(now),
                portfolios::version.eq(portfolios::version + 1),
            ))
            .returning((portfolios::id, portfolios::visibility))
            .get_results(self.connection())
            .await?;
        let mut moved = rows
            .into_iter()
            .map(|(id, visibility)| {
                let unknown = || Error::corrupt("portfolios", &id, "unknown visibility");
                let visibility = Visibility::parse(&visibility).ok_or_else(unknown)?;
                Ok((parse::<PortfolioId>("portfolios", &id)?, visibility))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        moved.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (portfolio, visibility) in moved {
            let giving = |role: &RoleKey| {
                json!(AccessSettings { visibility, organization_access_role: role.clone() })
            };
            let values = [giving(from), giving(to)];
            self.record(change("access_settings.updated", organization, portfolio, values));
        }
        Ok(())
    }

    async fn move_function_ceilings(
        &mut self,
        organization: &OrganizationId,
        from: &RoleKey,
        to: &RoleKey,
    ) -> Result<(), Failure> {
        let mut moved: Vec<(String, String)> = diesel::update(function_ceilings::table)
            .filter(function_ceilings::organization.eq(organization.as_str()))
            .filter(function_ceilings::role.eq(from.as_str()))
            .set(function_ceilings::role.eq(to.as_str()))
            .returning((function_ceilings::function, function_ceilings::portfolio_type))
            .get_results(self.connection())
            .await?;
        moved.sort_unstable();
        for (function, portfolio_type) in moved {
            let before = FunctionCeiling {
                organization: organization.clone(),
                function: parse("function_ceilings", &function)?,
                portfolio_type,
                role: from.clone(),
            };
            let after = FunctionCeiling { role: to.clone(), ..before.clone() };
            self.record(set_ceiling(Some(&before), &after));
        }
        Ok(())
    }
}

fn change(
    what: &'static str,
    organization: &OrganizationId,
    portfolio: PortfolioId,
    [before, after]: [serde_json::Value; 2],
) -> Change {
    Change {
        scope: Scope::Organization(organization.clone()),
        what,
        object: portfolio.to_string(),
        portfolio: Some(portfolio.clone()),
        subject: None,
        keys: vec![FactKey::Portfolio(portfolio)],
        before,
        after,
    }
}
