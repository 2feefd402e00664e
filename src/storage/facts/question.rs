use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use time::OffsetDateTime;

use super::portfolios::grant_fact;
use super::subjects::{Edge, arrays, subject};
use crate::domain::fact::{GlobalFacts, OrganizationFacts};
use crate::domain::{OrganizationId, PortfolioId, Subject};
use crate::storage::schema::portfolios;
use crate::storage::{Error, Transaction};

/// What a decision about some subjects on one portfolio needs to be known.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose portfolio, or whose directory if there is no portfolio yet.
    pub organization: &'a OrganizationId,
    /// Which portfolio, if the question is about one.
    pub portfolio: Option<&'a PortfolioId>,
    /// About whom.
    pub subjects: &'a [Subject],
}

/// Just the facts that a question needs.
#[derive(Debug)]
pub struct Answer {
    /// The catalogue, and which of the subjects are deactivated.
    pub global: GlobalFacts,
    /// The portfolio with the subjects' grants, the subjects with their groups, and the roles.
    pub organization: OrganizationFacts,
}

const REACHED: &str = "
    WITH RECURSIVE reached (member_kind, member_id, group_id) AS (
        SELECT m.member_kind, m.member_id, m.group_id
        FROM unnest($2, $3) AS s (kind, id)
        JOIN group_members AS m ON m.member_kind = s.kind AND m.member_id = s.id
        JOIN groups AS g ON g.id = m.group_id AND g.organization = $1
      UNION
        SELECT m.member_kind, m.member_id, m.group_id
        FROM reached AS r
        JOIN group_members AS m ON m.member_kind = 'group' AND m.member_id = r.group_id
    )
    SELECT member_kind, member_id, group_id FROM reached";

const GRANTS: &str = "
    SELECT g.portfolio, g.subject_kind, g.subject_id, g.role, g.start_time, g.expire_time
    FROM unnest($2, $3) AS s (kind, id)
    JOIN grants AS g ON g.portfolio = $1 AND g.subject_kind = s.kind AND g.subject_id = s.id
    WHERE g.revoke_time IS NULL";

#[derive(diesel::QueryableByName)]
struct GrantRow {
    #[diesel(sql_type = Text)]
    portfolio: String,
    #[diesel(sql_type = Text)]
    subject_kind: String,
    #[diesel(sql_type = Text)]
    subject_id: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    start_time: Option<OffsetDateTime>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    expire_time: Option<OffsetDateTime>,
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
        organization.map(|id| super::parse("portfolios", &id)).transpose()
    }

    /// Reads just the facts that a question needs. The statements are the same whatever is found,
    /// so that an invisible portfolio takes as long as an unknown one (VIS-4).
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn facts_for(&mut self, question: &Question<'_>) -> Result<Answer, Error> {
        let organization = question.organization;
        let edges = self.reached(organization, question.subjects).await?;
        let mut known: BTreeSet<Subject> = question.subjects.iter().cloned().collect();
        for edge in &edges {
            known.insert(subject("group", &edge.group_id)?);
        }
        let known: Vec<Subject> = known.into_iter().collect();
        let ids: Vec<PortfolioId> = question.portfolio.into_iter().cloned().collect();
        let mut portfolios = self.portfolio_settings(organization, Some(&ids)).await?;
        let mut grants = self.grants_of(question.portfolio, &known).await?;
        for portfolio in &mut portfolios {
            portfolio.grants = std::mem::take(&mut grants);
        }
        let users: Vec<&str> = question
            .subjects
            .iter()
            .filter(|subject| matches!(subject, Subject::User(_)))
            .map(Subject::id)
            .collect();
        let statuses = self.statuses(&users).await?;
        let deactivated = |(id, deactivated)| if deactivated { Some(id) } else { None };
        Ok(Answer {
            global: GlobalFacts {
                permissions: self.permissions(None).await?,
                deactivated: statuses.into_iter().filter_map(deactivated).collect(),
            },
            organization: OrganizationFacts {
                organization: organization.clone(),
                roles: self.role_facts(organization, None).await?,
                subjects: self.subject_facts_with(organization, &known, &edges).await?,
                portfolios,
            },
        })
    }

    async fn reached(
        &mut self,
        organization: &OrganizationId,
        subjects: &[Subject],
    ) -> Result<Vec<Edge>, Error> {
        let (kinds, ids) = arrays(subjects);
        let edges = diesel::sql_query(REACHED)
            .bind::<Text, _>(organization.as_str())
            .bind::<Array<Text>, _>(kinds)
            .bind::<Array<Text>, _>(ids)
            .load(self.connection())
            .await?;
        Ok(edges)
    }

    async fn grants_of(
        &mut self,
        portfolio: Option<&PortfolioId>,
        subjects: &[Subject],
    ) -> Result<Vec<crate::domain::fact::GrantFact>, Error> {
        let (kinds, ids) = arrays(subjects);
        let rows: Vec<GrantRow> = diesel::sql_query(GRANTS)
            .bind::<Text, _>(portfolio.map_or("", PortfolioId::as_str))
            .bind::<Array<Text>, _>(kinds)
            .bind::<Array<Text>, _>(ids)
            .load(self.connection())
            .await?;
        let fact = |row: GrantRow| {
            let GrantRow { portfolio, subject_kind, subject_id, role, start_time, expire_time } =
                row;
            let row = (portfolio, subject_kind, subject_id, role, start_time, expire_time);
            grant_fact(row).map(|(_, fact)| fact)
        };
        rows.into_iter().map(fact).collect()
    }
}
