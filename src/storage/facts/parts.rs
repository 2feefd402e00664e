//! All facts of an organization, part by part.

use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel::sql_types::{Array, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use futures::TryStreamExt as _;
use time::OffsetDateTime;
use tokio::sync::mpsc::Sender;

use super::items::{ITEMS, ItemRow, item_fact};
use super::parse;
use super::subjects::subject;
use crate::domain::access_settings::Visibility;
use crate::domain::directory::{SiteRole, Standing};
use crate::domain::fact::{FactsPart, GrantFact, MembershipFact, PortfolioFact, StandingFact};
use crate::domain::{GroupId, OrganizationId, RoleKey};
use crate::storage::{Error, Transaction, timestamps};

/// How many facts a part has before it is handed on. A portfolio's grants stay together, so one
/// that has more is a part of its own.
const FACTS: usize = 10_000;

const USERS: &str = "
    SELECT coalesce(u.id, s.user_id, a.user_id) AS id, u.id IS NOT NULL AS home,
           s.role AS site_role, a.user_id IS NOT NULL AS administrator
    FROM (SELECT id FROM users WHERE home_organization = $1) AS u
    FULL JOIN (SELECT user_id, role FROM site_roles WHERE organization = $1) AS s
        ON s.user_id = u.id
    FULL JOIN (SELECT user_id FROM organization_administrators WHERE organization = $1) AS a
        ON a.user_id = coalesce(u.id, s.user_id)";

const ACCOUNTS: &str = "SELECT id, deactivated FROM service_accounts WHERE organization = $1";

const GROUPS: &str = "
    SELECT g.id, m.kinds, m.ids
    FROM groups AS g
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(member_kind), '{}') AS kinds,
               coalesce(array_agg(member_id), '{}') AS ids
        FROM group_members WHERE group_id = g.id) AS m
    WHERE g.organization = $1";

// Arrays: a row for each grant costs twice the time.
const PORTFOLIOS: &str = "
    SELECT p.id, p.visibility, p.organization_access_role, p.archived,
           CASE WHEN p.linked THEN p.parent END AS link,
           g.kinds, g.ids, g.roles, g.starts, g.ends
    FROM portfolios AS p
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(subject_kind), '{}') AS kinds,
               coalesce(array_agg(subject_id), '{}') AS ids,
               coalesce(array_agg(role), '{}') AS roles,
               coalesce(array_agg(start_time), '{}') AS starts,
               coalesce(array_agg(expire_time), '{}') AS ends
        FROM grants
        WHERE portfolio = p.id AND revoke_time IS NULL AND (ownership OR NOT p.linked)) AS g
    WHERE p.organization = $1 AND NOT p.deleted";

#[derive(QueryableByName)]
struct UserRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Bool)]
    home: bool,
    #[diesel(sql_type = Nullable<Text>)]
    site_role: Option<String>,
    #[diesel(sql_type = Bool)]
    administrator: bool,
}

#[derive(QueryableByName)]
struct AccountRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Bool)]
    deactivated: bool,
}

#[derive(QueryableByName)]
struct GroupRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Array<Text>)]
    kinds: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    ids: Vec<String>,
}

#[derive(QueryableByName)]
struct PortfolioRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    visibility: String,
    #[diesel(sql_type = Text)]
    organization_access_role: String,
    #[diesel(sql_type = Bool)]
    archived: bool,
    #[diesel(sql_type = Nullable<Text>)]
    link: Option<String>,
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

/// The part that is being filled, and who takes it.
struct Parts<'a> {
    part: FactsPart,
    facts: usize,
    taker: &'a Sender<FactsPart>,
}

/// Nobody takes parts any more.
struct Gone;

impl Transaction {
    /// Hands all facts of an organization to whoever takes them, part by part, as fast as they are
    /// taken: what the database has sent and nobody has taken waits in the network. If the
    /// taker goes away, whoever waits for this drops it.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn facts_in_parts(
        &mut self,
        organization: &OrganizationId,
        taker: &Sender<FactsPart>,
    ) -> Result<(), Error> {
        let roles = self.role_facts(organization, None).await?;
        let mut known: Vec<RoleKey> = roles.iter().map(|role| role.key.clone()).collect();
        known.sort_unstable();
        let mut parts =
            Parts { part: FactsPart { roles, ..FactsPart::default() }, facts: 0, taker };
        self.each(USERS, organization, &mut parts, |row, parts| parts.user(row)).await?;
        self.each(ACCOUNTS, organization, &mut parts, |row, parts| parts.account(row)).await?;
        self.each(GROUPS, organization, &mut parts, |row, parts| parts.group(row)).await?;
        let portfolio = |row, parts: &mut Parts<'_>| parts.portfolio(row, &known);
        self.each(PORTFOLIOS, organization, &mut parts, portfolio).await?;
        let item = |row, parts: &mut Parts<'_>| parts.item(row);
        self.each(ITEMS, organization, &mut parts, item).await?;
        let _gone = parts.hand_on().await;
        Ok(())
    }

    /// Fills parts with the rows of a statement, as they come.
    async fn each<R>(
        &mut self,
        statement: &'static str,
        organization: &OrganizationId,
        parts: &mut Parts<'_>,
        fill: impl Fn(R, &mut Parts<'_>) -> Result<(), Error>,
    ) -> Result<(), Error>
    where
        R: QueryableByName<Pg> + Send + 'static,
    {
        let query = diesel::sql_query(statement).bind::<Text, _>(organization.as_str().to_owned());
        let mut rows = query.load_stream::<R>(self.connection()).await?;
        while let Some(row) = rows.try_next().await? {
            fill(row, parts)?;
            if parts.facts >= FACTS && parts.hand_on().await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Parts<'_> {
    async fn hand_on(&mut self) -> Result<(), Gone> {
        self.facts = 0;
        self.taker.send(std::mem::take(&mut self.part)).await.map_err(|_| Gone)
    }

    fn user(&mut self, row: UserRow) -> Result<(), Error> {
        let UserRow { id, home, site_role, administrator } = row;
        let unknown = || Error::corrupt("site_roles", &id, "unknown role");
        let site_role =
            site_role.map(|role| SiteRole::parse(&role).ok_or_else(unknown)).transpose()?;
        self.standing("user", &id, Standing { home, site_role, administrator }, true)
    }

    fn account(&mut self, row: AccountRow) -> Result<(), Error> {
        let at_home = Standing { home: true, ..Standing::default() };
        self.standing("service_account", &row.id, at_home, !row.deactivated)
    }

    fn standing(
        &mut self,
        kind: &str,
        id: &str,
        standing: Standing,
        active: bool,
    ) -> Result<(), Error> {
        self.part.standings.push(StandingFact { subject: subject(kind, id)?, standing, active });
        self.facts += 1;
        Ok(())
    }

    fn group(&mut self, row: GroupRow) -> Result<(), Error> {
        let group: GroupId = parse("groups", &row.id)?;
        let at_home = Standing { home: true, ..Standing::default() };
        self.standing("group", &row.id, at_home, true)?;
        for (kind, id) in row.kinds.iter().zip(&row.ids) {
            let member = subject(kind, id)?;
            self.part.memberships.push(MembershipFact { group: group.clone(), member });
        }
        self.facts += row.ids.len();
        Ok(())
    }

    fn item(&mut self, row: ItemRow) -> Result<(), Error> {
        let fact = item_fact(row)?;
        self.facts += 1 + fact.settings.as_ref().map_or(0, |settings| settings.grants.len());
        self.part.items.push(fact);
        Ok(())
    }

    fn portfolio(&mut self, row: PortfolioRow, known: &[RoleKey]) -> Result<(), Error> {
        let unknown = || Error::corrupt("portfolios", &row.id, "unknown visibility");
        let subjects = row.kinds.iter().zip(&row.ids);
        let periods = row.starts.into_iter().zip(row.ends);
        let grants =
            subjects.zip(&row.roles).zip(periods).map(|(((kind, id), role), (start, end))| {
                Ok(GrantFact {
                    subject: subject(kind, id)?,
                    role: shared(role, known)?,
                    start_time: start.map(timestamps::from_sql),
                    expire_time: end.map(timestamps::from_sql),
                })
            });
        let fact = PortfolioFact {
            grants: grants.collect::<Result<_, Error>>()?,
            visibility: Visibility::parse(&row.visibility).ok_or_else(unknown)?,
            organization_access_role: shared(&row.organization_access_role, known)?,
            archived: row.archived,
            link: row.link.map(|link| parse("portfolios", &link)).transpose()?,
            id: parse("portfolios", &row.id)?,
        };
        self.facts += 1 + fact.grants.len();
        self.part.portfolios.push(fact);
        Ok(())
    }
}

/// A role's key: of a million grants' each role once.
fn shared(role: &str, known: &[RoleKey]) -> Result<RoleKey, Error> {
    match known.binary_search_by(|key| key.as_str().cmp(role)) {
        Ok(place) => known.get(place).cloned().map_or_else(|| parse("grants", role), Ok),
        Err(_) => parse("grants", role),
    }
}
