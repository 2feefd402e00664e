//! The members of a portfolio as a list (MEM-4): by keyset, in the order of `grants_by_member`.

use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;

use super::groups::rank;
use super::search::containing;
use super::{Error, Transaction, timestamps};
use crate::domain::membership::{AccessState, MemberFilter};
use crate::domain::page::Page;
use crate::domain::{PortfolioId, RoleKey, Subject, Timestamp};

/// Who a member is, as people see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProfile {
    /// Who.
    pub subject: Subject,
    /// What people call them; empty where that is unknown.
    pub display_name: String,
    /// A user's e-mail address; empty for others.
    pub email: String,
    /// The display name of a user's home organization; empty for others.
    pub company: String,
    /// Whether the user or service account is deactivated.
    pub deactivated: bool,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    subject_kind: String,
    #[diesel(sql_type = Text)]
    subject_id: String,
    #[diesel(sql_type = Text)]
    display_name: String,
    #[diesel(sql_type = Text)]
    email: String,
    #[diesel(sql_type = Text)]
    company: String,
    #[diesel(sql_type = Bool)]
    deactivated: bool,
}

/// The grants are read in the order of the index and stop where the page is full, so they are
/// grouped by its columns and no other; the fences (`OFFSET 0`) keep the planner from joining whole
/// tables first, which would cost each page as much as the whole list. Of ended members whom the
/// organization knows no more only the id is told: what has become of them is others' to tell. Who
/// is what: `$1` portfolio, `$2`, `$3` the last row of the page before, `$4` now, `$5` to `$8` the
/// filter, `$9` the size, `$10` the portfolios whose owners are members besides.
const MEMBERS: &str = r#"
    SELECT CASE m.rank WHEN 0 THEN 'user' WHEN 1 THEN 'group' ELSE 'service_account' END
               AS subject_kind,
           m.subject_id, p.display_name, p.email, p.company,
           coalesce(p.deactivated, false) AS deactivated
    FROM (
        SELECT rank, subject_id,
               CASE WHEN bool_or(active) THEN 'active'
                    WHEN bool_or(NOT ended) THEN 'scheduled' ELSE 'ended' END AS state,
               bool_or(role = $5 AND NOT ended) AS has_role,
               bool_or(role = $5) AS had_role
        FROM (
            SELECT CASE subject_kind WHEN 'user' THEN 0 WHEN 'group' THEN 1 ELSE 2 END AS rank,
                   subject_id COLLATE "C" AS subject_id, role,
                   revoke_time IS NOT NULL OR coalesce(expire_time <= $4, false) AS ended,
                   revoke_time IS NULL AND coalesce(start_time <= $4, true)
                       AND coalesce(expire_time > $4, true) AS active
            FROM grants
            WHERE portfolio = $1
              AND (CASE subject_kind WHEN 'user' THEN 0 WHEN 'group' THEN 1 ELSE 2 END,
                   subject_id COLLATE "C") > ($2, $3)
              OWNERS) AS g
        GROUP BY rank, subject_id
        ORDER BY rank, subject_id
        OFFSET 0) AS m,
    LATERAL (
        SELECT coalesce(u.display_name, g.display_name, s.display_name, '') AS display_name,
               coalesce(u.email, '') AS email,
               coalesce(o.display_name, '') AS company,
               coalesce(u.deactivated, s.deactivated) AS deactivated
        FROM (SELECT m.subject_id COLLATE "default" AS id) AS i
        LEFT JOIN users AS u ON m.rank = 0 AND u.id = i.id AND (m.state <> 'ended' OR EXISTS (
            SELECT FROM portfolios AS t
            WHERE t.id = $1 AND (
                u.home_organization = t.organization
                OR EXISTS (SELECT FROM site_roles AS r
                           WHERE r.user_id = u.id AND r.organization = t.organization)
                OR EXISTS (SELECT FROM affiliations AS a
                           WHERE a.user_id = u.id AND a.organization = t.organization)
                OR EXISTS (SELECT FROM group_members AS k JOIN groups AS o ON o.id = k.group_id
                           WHERE k.member_kind = 'user' AND k.member_id = u.id
                             AND o.organization = t.organization)
                OR EXISTS (SELECT FROM grants AS x
                           WHERE x.subject_kind = 'user' AND x.subject_id = u.id
                             AND x.revoke_time IS NULL AND coalesce(x.expire_time > $4, true)
                             AND x.organization = t.organization))))
        LEFT JOIN organizations AS o ON o.id = u.home_organization
        LEFT JOIN groups AS g ON m.rank = 1 AND g.id = i.id
        LEFT JOIN service_accounts AS s ON m.rank = 2 AND s.id = i.id
        OFFSET 0) AS p
    WHERE CASE WHEN $6 IS NULL THEN m.state <> 'ended' ELSE m.state = $6 END
      AND CASE WHEN $5 IS NULL THEN true WHEN m.state = 'ended' THEN m.had_role
               ELSE m.has_role END
      AND ($7 IS NULL OR p.deactivated = $7)
      AND ($8 IS NULL OR p.display_name ILIKE $8 OR p.email ILIKE $8 OR p.company ILIKE $8)
    ORDER BY m.rank, m.subject_id
    LIMIT $9"#;

/// In the place of `OWNERS` where there are some: a union of nothing would cost the order of the
/// index.
const OWNERS: &str = r#"
          UNION ALL
            SELECT 0, subject_id COLLATE "C", role, false, true
            FROM grants
            WHERE portfolio = ANY ($10) AND ownership AND revoke_time IS NULL
              AND (0, subject_id COLLATE "C") > ($2, $3)"#;

impl Transaction {
    /// A page of the subjects that have or had direct grants that count on a portfolio, as
    /// [`Transaction::grants_in_effect`] has them: users first, then groups, then service accounts,
    /// each by id in byte order. `now` tells which grants are over.
    ///
    /// # Errors
    /// The database cannot be asked, or holds what it should not.
    pub async fn members(
        &mut self,
        portfolio: &PortfolioId,
        links: &[PortfolioId],
        filter: &MemberFilter,
        page: &Page<Subject>,
        now: Timestamp,
    ) -> Result<Vec<MemberProfile>, Error> {
        let MemberFilter { search, role, state, deactivated } = filter;
        let (root, owned) = match links.split_last() {
            None => (portfolio, Vec::new()),
            Some((root, between)) => {
                let owned = std::iter::once(portfolio).chain(between);
                (root, owned.map(PortfolioId::as_str).collect())
            }
        };
        let (after_rank, after_id) = match &page.after {
            Some(subject) => (rank(subject.kind()), subject.id()),
            None => (-1, ""),
        };
        let owners = if owned.is_empty() { "" } else { OWNERS };
        let state = state.map(|state| match state {
            AccessState::Scheduled => "scheduled",
            AccessState::Active => "active",
            AccessState::Ended => "ended",
        });
        let rows: Vec<Row> = diesel::sql_query(MEMBERS.replace("OWNERS", owners))
            .bind::<Text, _>(root.as_str())
            .bind::<Integer, _>(after_rank)
            .bind::<Text, _>(after_id)
            .bind::<Timestamptz, _>(timestamps::to_sql(now))
            .bind::<Nullable<Text>, _>(role.as_ref().map(RoleKey::as_str))
            .bind::<Nullable<Text>, _>(state)
            .bind::<Nullable<Bool>, _>(*deactivated)
            .bind::<Nullable<Text>, _>(search.as_deref().map(containing))
            .bind::<BigInt, _>(page.limit())
            .bind::<Array<Text>, _>(owned)
            .load(self.connection())
            .await?;
        rows.into_iter().map(profile).collect()
    }
}

fn profile(row: Row) -> Result<MemberProfile, Error> {
    let Row { subject_kind, subject_id, display_name, email, company, deactivated } = row;
    let subject = Subject::from_parts(&subject_kind, &subject_id)
        .map_err(|error| Error::corrupt("grants", &subject_id, error))?;
    Ok(MemberProfile { subject, display_name, email, company, deactivated })
}
