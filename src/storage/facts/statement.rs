//! The one statement that reads just the facts that a question needs.
//!
//! It is written so that its *generic* plan, made once a connection and good for all questions,
//! does nothing but look-ups by index. `LATERAL ... OFFSET 0` and scalar subqueries keep the
//! planner from joining by a hash of a whole table, `MATERIALIZED` from looking the same up twice;
//! an array on the right of `= ANY` is sought element by element. What it costs grows with the
//! groups that the subjects are in, not with members, portfolios or organizations.
//! `tests/golden/plans.txt` holds the plans.
//!
//! A `sql_query` would be planned anew each time, which costs ten times what running it does. This
//! is a query of its own type, so the connection keeps it prepared.

use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{AstPass, Query, QueryBuilder as _, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid};
use time::OffsetDateTime;

/// Whom and what a question is about, as the statement takes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked<'a> {
    /// None: that of the portfolio.
    pub organization: Option<&'a str>,
    /// Empty: none. Any id is an id of an organization too: that of an unknown portfolio is taken
    /// as one, in which nothing is found (VIS-4).
    pub portfolio: &'a str,
    /// The type and the id of an item of that organization; empty: none.
    pub item: (&'a str, &'a str),
    /// The kinds and the ids of the subjects, side by side, each subject once.
    pub subjects: (Vec<&'a str>, Vec<&'a str>),
}

/// With the whole catalogue, and all roles of the organization with their whole tables.
#[derive(Clone, Debug)]
pub(super) struct Whole<'a>(pub Asked<'a>);

/// With these permissions' entries of the catalogue, and just these cells of just the roles that
/// give the subjects anything here. Says where the change feed stands, and whether the server would
/// take a write.
///
/// `ITEM`: with an item. Few questions name one, and the others are spared its part.
#[derive(Clone, Debug)]
pub(super) struct Narrow<'a, const ITEM: bool> {
    pub asked: Asked<'a>,
    pub permissions: &'a [&'a str],
}

/// A row of the answer. What the columns hold depends on the first.
pub(super) type Row = (
    i32,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<bool>,
    Option<bool>,
    Option<bool>,
    Option<OffsetDateTime>,
    Option<OffsetDateTime>,
    Option<uuid::Uuid>,
    Option<Vec<i64>>,
);

type Columns = (
    Integer,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Bool>,
    Nullable<Bool>,
    Nullable<Bool>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Uuid>,
    Nullable<Array<BigInt>>,
);

/// Organization; visibility and role in force on the portfolio, and whether it is archived, if
/// there is one. Narrow: read-only, the clock, the epoch and the heads.
pub(super) const PLACE: i32 = 0;
/// Kind and id of a subject, and site role; at home, deactivated, administrator.
pub(super) const PARTY: i32 = 1;
/// Kind and id of a member, and the group.
pub(super) const EDGE: i32 = 2;
/// Kind and id of a subject, and the role; begin and end. On the portfolio whose settings are in
/// force.
pub(super) const GRANT: i32 = 3;
/// Role, permission and reach; a role alone, where none of its cells was asked for.
pub(super) const CELL: i32 = 4;
/// Name, effect and ordinal of a permission; may be own, internal only, registered.
pub(super) const PERMISSION: i32 = 5;
/// A linked portfolio, and the one that it is linked to.
pub(super) const LINK: i32 = 6;
/// A linked portfolio, the user who owns it, and the role; begin and end.
pub(super) const OWNERSHIP: i32 = 7;
/// Visibility and role of an independent item, and the author of any; archived, shown by the
/// portfolio.
pub(super) const ITEM: i32 = 10;
/// As `GRANT`, on the item.
pub(super) const ITEM_GRANT: i32 = 11;

const ASKED: &str = "
WITH RECURSIVE asked (kind, id) AS MATERIALIZED (
    SELECT a.kind, a.id FROM unnest(";

const PLACED: &str = ") AS a (kind, id)
), place (organization, visibility, role, archived, link) AS MATERIALIZED (
    SELECT coalesce(";

// $1: kinds, $2: ids, $3: organization, $4: portfolio. The chain is as long as what is compiled
// looks along: MOST_LINKS.
const FOUND: &str = "), p.visibility, p.organization_access_role, p.archived,
           CASE WHEN p.linked THEN p.parent END
    FROM (SELECT) AS one
    LEFT JOIN portfolios AS p
        ON p.id = $4 AND NOT p.deleted AND p.organization = coalesce($3, p.organization)
), chain (id, visibility, role, link, links) AS (
    SELECT $4, visibility, role, link, 0 FROM place
  UNION ALL
    SELECT p.id, p.visibility, p.role, p.link, c.links + 1
    FROM chain AS c,
         LATERAL (SELECT p.id, p.organization, p.visibility, p.organization_access_role AS role,
                         CASE WHEN p.linked THEN p.parent END AS link
                  FROM portfolios AS p WHERE p.id = c.link AND NOT p.deleted OFFSET 0) AS p
    WHERE c.links < 16 AND p.organization = (SELECT organization FROM place)
), root (id, visibility, role) AS MATERIALIZED (
    SELECT id, visibility, role FROM chain WHERE link IS NULL
), reached (kind, id, group_id) AS (
    SELECT a.kind, a.id, m.group_id
    FROM asked AS a,
         LATERAL (SELECT m.group_id FROM group_members AS m
                  WHERE m.member_kind = a.kind AND m.member_id = a.id OFFSET 0) AS m,
         LATERAL (SELECT FROM groups AS g
                  WHERE g.id = m.group_id
                    AND g.organization = (SELECT organization FROM place) OFFSET 0) AS g
  UNION
    SELECT 'group', r.group_id, m.group_id
    FROM reached AS r,
         LATERAL (SELECT m.group_id FROM group_members AS m
                  WHERE m.member_kind = 'group' AND m.member_id = r.group_id OFFSET 0) AS m
), given (kind, id, role, start_time, expire_time) AS MATERIALIZED (
    SELECT a.kind, a.id, g.role, g.start_time, g.expire_time
    FROM asked AS a,
         LATERAL (SELECT g.role, g.start_time, g.expire_time FROM grants AS g
                  WHERE g.portfolio = (SELECT id FROM root) AND g.subject_kind = a.kind
                    AND g.subject_id = a.id AND g.revoke_time IS NULL OFFSET 0) AS g
    WHERE a.kind <> 'group'
  UNION ALL
    SELECT 'group', g.subject_id, g.role, g.start_time, g.expire_time
    FROM grants AS g
    WHERE g.portfolio = (SELECT id FROM root) AND g.subject_kind = 'group'
      AND g.revoke_time IS NULL
      AND g.subject_id = ANY (ARRAY(SELECT group_id FROM reached
                                    UNION ALL SELECT id FROM asked WHERE kind = 'group'))
), owned (portfolio, owner, role, start_time, expire_time) AS MATERIALIZED (
    SELECT c.id, g.subject_id, g.role, g.start_time, g.expire_time
    FROM chain AS c,
         LATERAL (SELECT g.subject_id, g.role, g.start_time, g.expire_time FROM grants AS g
                  WHERE g.portfolio = c.id AND g.ownership AND g.revoke_time IS NULL
                    AND g.subject_kind = 'user'
                    AND g.subject_id = ANY (ARRAY(SELECT id FROM asked WHERE kind = 'user'))
                  OFFSET 0) AS g
    WHERE c.link IS NOT NULL
";

const ITEM_TYPE: &str = "), item (visibility, role, author, archived, shown) AS MATERIALIZED (
    SELECT i.visibility, i.organization_access_role, i.author_kind || ':' || i.author_id,
           i.archived,
           EXISTS (SELECT FROM item_portfolios AS s
                   WHERE s.organization = i.organization AND s.item_type = i.item_type
                     AND s.item_id = i.id AND s.portfolio = $4)
    FROM items AS i
    WHERE i.organization = (SELECT organization FROM place) AND i.item_type = ";

// $5: the type of the item, $6: its id.
const ITEM_FOUND: &str = "
), given_item (kind, id, role, start_time, expire_time) AS MATERIALIZED (
    SELECT a.kind, a.id, g.role, g.start_time, g.expire_time
    FROM asked AS a,
         LATERAL (SELECT g.role, g.start_time, g.expire_time FROM item_grants AS g
                  WHERE g.organization = (SELECT organization FROM place)
                    AND g.item_type = $5 AND g.item_id = $6
                    AND g.subject_kind = a.kind AND g.subject_id = a.id
                    AND g.revoke_time IS NULL OFFSET 0) AS g
    WHERE a.kind <> 'group'
  UNION ALL
    SELECT 'group', g.subject_id, g.role, g.start_time, g.expire_time
    FROM item_grants AS g
    WHERE g.organization = (SELECT organization FROM place)
      AND g.item_type = $5 AND g.item_id = $6
      AND g.subject_kind = 'group' AND g.revoke_time IS NULL
      AND g.subject_id = ANY (ARRAY(SELECT group_id FROM reached
                                    UNION ALL SELECT id FROM asked WHERE kind = 'group'))
)
    SELECT 10, visibility, role, author, archived, shown, null::boolean, null::timestamptz,
           null::timestamptz, null::uuid, null::bigint[]
    FROM item
  UNION ALL
    SELECT 11, kind, id, role, null, null, null, start_time, expire_time, null, null
    FROM given_item
  UNION ALL";

const PARTIES: &str = "
    SELECT 1, a.kind, a.id,
           (SELECT s.role FROM site_roles AS s
            WHERE a.kind = 'user' AND s.user_id = a.id
              AND s.organization = (SELECT organization FROM place)),
           d.organization = (SELECT organization FROM place), d.deactivated,
           (SELECT true FROM organization_administrators AS o
            WHERE a.kind = 'user' AND o.user_id = a.id
              AND o.organization = (SELECT organization FROM place)),
           null::timestamptz, null::timestamptz, null::uuid, null::bigint[]
    FROM asked AS a
    LEFT JOIN LATERAL (
        SELECT u.home_organization AS organization, u.deactivated FROM users AS u
        WHERE a.kind = 'user' AND u.id = a.id
      UNION ALL
        SELECT g.organization, false FROM groups AS g
        WHERE a.kind = 'group' AND g.id = a.id
      UNION ALL
        SELECT s.organization, s.deactivated FROM service_accounts AS s
        WHERE a.kind = 'service_account' AND s.id = a.id
      OFFSET 0) AS d ON true
  UNION ALL
    SELECT 2, kind, id, group_id, null, null, null, null, null, null, null FROM reached
  UNION ALL
    SELECT 3, kind, id, role, null, null, null, start_time, expire_time, null, null FROM given
  UNION ALL
    SELECT 6, id, link, null, null, null, null, null, null, null, null
    FROM chain WHERE link IS NOT NULL
  UNION ALL
    SELECT 7, portfolio, owner, role, null, null, null, start_time, expire_time, null, null
    FROM owned";

const WHOLE: &str = "
  UNION ALL
    SELECT 0, p.organization, r.visibility, r.role, null, p.archived, null, null, null, null, null
    FROM place AS p LEFT JOIN root AS r ON true
  UNION ALL
    SELECT 4, r.key, t.permission, t.reach, null, null, null, null, null, null, null
    FROM roles AS r
    LEFT JOIN LATERAL (SELECT t.permission, t.reach FROM role_permissions AS t
                       WHERE t.organization = r.organization AND t.role = r.key OFFSET 0) AS t
        ON true
    WHERE r.organization = (SELECT organization FROM place) AND r.delete_time IS NULL
  UNION ALL
    SELECT 5, name, effect, ordinal::text, may_be_own, internal_only, registered, null, null, null,
           null
    FROM permissions";

const NARROW: &str = "
  UNION ALL
    SELECT 0, p.organization, r.visibility, r.role,
           current_setting('transaction_read_only') = 'on', p.archived, null,
           clock_timestamp(), null,
           c.epoch, ARRAY(SELECT sequence FROM feed_heads ORDER BY shard)
    FROM place AS p LEFT JOIN root AS r ON true, cluster AS c
  UNION ALL
    SELECT 5, name, effect, ordinal::text, may_be_own, internal_only, registered, null, null, null,
           null
    FROM permissions WHERE name = ANY (";

// Of a deleted role there are no cells.
const CELLS: &str = ")
  UNION ALL
    SELECT 4, r.role, t.permission, t.reach, null, null, null, null, null, null, null
    FROM (SELECT role FROM given UNION SELECT role FROM owned UNION SELECT role FROM root
          UNION SELECT 'viewer'";

const ITEM_CELLS: &str = " UNION SELECT role FROM given_item UNION SELECT role FROM item";

const REACHES: &str = ") AS r
    LEFT JOIN LATERAL (SELECT t.permission, t.reach FROM role_permissions AS t
                       WHERE t.organization = (SELECT organization FROM place)
                         AND t.role = r.role AND t.permission = ANY (";

const CELLS_END: &str = ") OFFSET 0) AS t
        ON true
    WHERE r.role IS NOT NULL";

impl Asked<'_> {
    fn walk<'b>(&'b self, with_item: bool, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let (kinds, ids) = &self.subjects;
        out.push_sql(ASKED);
        out.push_bind_param::<Array<Text>, _>(kinds)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(ids)?;
        out.push_sql(PLACED);
        out.push_bind_param::<Nullable<Text>, _>(&self.organization)?;
        out.push_sql(", p.organization, ");
        out.push_bind_param::<Text, _>(self.portfolio)?;
        out.push_sql(FOUND);
        if with_item {
            out.push_sql(ITEM_TYPE);
            out.push_bind_param::<Text, _>(self.item.0)?;
            out.push_sql(" AND i.id = ");
            out.push_bind_param::<Text, _>(self.item.1)?;
            out.push_sql(ITEM_FOUND);
        } else {
            out.push_sql(")");
        }
        out.push_sql(PARTIES);
        Ok(())
    }
}

impl QueryFragment<Pg> for Whole<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk(true, &mut out)?;
        out.push_sql(WHOLE);
        Ok(())
    }
}

impl<const ITEM: bool> QueryFragment<Pg> for Narrow<'_, ITEM> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.asked.walk(ITEM, &mut out)?;
        out.push_sql(NARROW);
        out.push_bind_param::<Array<Text>, _>(self.permissions)?;
        out.push_sql(CELLS);
        if ITEM {
            out.push_sql(ITEM_CELLS);
        }
        out.push_sql(REACHES);
        // The same once more.
        out.push_sql(if ITEM { "$7" } else { "$5" });
        out.push_sql(CELLS_END);
        Ok(())
    }
}

impl Query for Whole<'_> {
    type SqlType = Columns;
}

impl<const ITEM: bool> Query for Narrow<'_, ITEM> {
    type SqlType = Columns;
}

// The text is the same whatever is asked: what the connection prepared serves every question.
impl QueryId for Whole<'_> {
    type QueryId = Whole<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const ITEM: bool> QueryId for Narrow<'_, ITEM> {
    type QueryId = Narrow<'static, ITEM>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

/// The statements by name, with `$1` to `$7` for what is asked, for whoever looks at their plans:
/// of kinds and ids of subjects, organization, portfolio, type and id of an item, permissions.
#[must_use]
pub fn statements() -> [(&'static str, String); 3] {
    let text = |query: &dyn QueryFragment<Pg>| {
        let mut builder = PgQueryBuilder::default();
        // Nothing that is pushed here fails.
        let _built = query.to_sql(&mut builder, &Pg);
        builder.finish()
    };
    let asked = Asked::default();
    let item = Narrow::<true> { asked: asked.clone(), permissions: &[] };
    let narrow = Narrow::<false> { asked: asked.clone(), permissions: &[] };
    [("whole", text(&Whole(asked))), ("narrow", text(&narrow)), ("item", text(&item))]
}
