//! Generated worlds, written straight into a migrated database by a few set-based statements, for
//! measurements and tests that need more than comes through the front door in their time.
//!
//! It needs a URL of a user who may switch foreign keys off, and nothing else of the bench. All is
//! arithmetic on row numbers, so that a world of one size is the same in every run. Write before a
//! server has loaded the organization: as far as the change log says, it was created just now.

use std::fmt::Write as _;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use portcullis::domain::OrganizationId;
use portcullis::domain::revision::Shard;
use portcullis::domain::role::Preset;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Grants on a portfolio, and those of them that are to groups.
const GRANTS_PER_PORTFOLIO: usize = 100;
const GROUP_GRANTS: usize = 20;
/// Direct grants of a user, and groups that a user is directly in.
const GRANTS_PER_USER: usize = 10;
const GROUPS_PER_USER: usize = 10;
/// A group and its ancestors.
const CHAIN: usize = 4;
/// Users for each chain of groups: each chain's first group has ten times as many members.
const USERS_PER_CHAIN: usize = 20;

/// An organization in which every user has 10 direct grants and is directly in 10 groups, each
/// below 3 ancestors, and every portfolio has an owner and 100 grants, 20 of them to groups. All
/// portfolios are private, and everybody is at home.
#[derive(Clone, Debug)]
pub struct Stored {
    organization: String,
    /// How many portfolios: `portfolio` names those below this number. The rest likewise.
    pub portfolios: usize,
    pub users: usize,
}

impl Stored {
    /// Writes it, with this many grants: a multiple of a thousand. Ids begin with that of the
    /// organization, so that several find room in one database.
    pub async fn write(url: &str, organization: &str, grants: usize) -> Outcome<Self> {
        if grants == 0 || !grants.is_multiple_of(1_000) {
            return Err("the number of grants is no multiple of a thousand".into());
        }
        let portfolios = grants / GRANTS_PER_PORTFOLIO;
        let direct = GRANTS_PER_PORTFOLIO - GROUP_GRANTS;
        let users = portfolios * direct / GRANTS_PER_USER;
        let chains = (users / USERS_PER_CHAIN).max(2 * GROUPS_PER_USER);
        let groups = chains * CHAIN;
        // Steps that have no divisor in common with any of the sizes scatter what they number.
        let sql = format!(
            "{users_and_groups}
             INSERT INTO group_members (group_id, member_kind, member_id)
             SELECT '{organization}-group-' || (c + {chains}), 'group', '{organization}-group-' || c
             FROM generate_series(0, {groups} - {chains} - 1) AS c;
             INSERT INTO group_members (group_id, member_kind, member_id)
             SELECT '{organization}-group-' || (u * 7919 + j * 104729) % {chains},
                    'user', '{organization}-user-' || u
             FROM generate_series(0::bigint, {users} - 1) AS u,
                  generate_series(0, {GROUPS_PER_USER} - 1) AS j;
             {portfolio_rows}
             {INSERT_GRANTS}
             SELECT md5('{organization} user ' || k)::uuid,
                    '{organization}-portfolio-'
                        || (k * 7919 + (k / {portfolios}) * 104729) % {portfolios},
                    '{organization}', 'user', '{organization}-user-' || k / {GRANTS_PER_USER},
                    CASE WHEN k < {portfolios} THEN 'manager'
                         ELSE (ARRAY['contributor', 'viewer', 'assessor'])[1 + k / 7 % 3] END,
                    CASE WHEN k < {portfolios} THEN 'creation' ELSE 'hand' END,
                    k < {portfolios}, now()
             FROM generate_series(0::bigint, {portfolios}::bigint * {direct} - 1) AS k;
             {INSERT_GRANTS}
             SELECT md5('{organization} group ' || k)::uuid,
                    '{organization}-portfolio-' || k % {portfolios}, '{organization}', 'group',
                    '{organization}-group-' || (k * 7919 + (k / {portfolios}) * 104729) % {groups},
                    (ARRAY['contributor', 'viewer', 'assessor'])[1 + k / 7 % 3], 'hand', false,
                    now()
             FROM generate_series(0::bigint, {portfolios}::bigint * {GROUP_GRANTS} - 1) AS k;",
            users_and_groups = users_and_groups(organization, users, groups),
            portfolio_rows = portfolio_rows(organization, portfolios),
        );
        write(url, organization, &sql).await?;
        Ok(Self { organization: organization.to_owned(), portfolios, users })
    }

    /// The id of a user.
    pub fn user(&self, number: usize) -> String {
        format!("{}-user-{number}", self.organization)
    }

    /// The id of a portfolio.
    pub fn portfolio(&self, number: usize) -> String {
        format!("{}-portfolio-{number}", self.organization)
    }
}

/// Groups that a member of a [`Crowd`] is directly in; each is below three ancestors.
const CROWDED: usize = 5;

/// An organization with one portfolio, on which all its users have a grant each and all its 20
/// groups have one. User 0 is in no group; all others are in all 20, 5 of them directly.
#[derive(Clone, Debug)]
pub struct Crowd {
    organization: String,
}

impl Crowd {
    /// Writes it, with this many users.
    pub async fn write(url: &str, organization: &str, users: usize) -> Outcome<Self> {
        let groups = CROWDED * CHAIN;
        let grants = [("user", users), ("group", groups)].map(|(kind, count)| {
            format!(
                "{INSERT_GRANTS}
                 SELECT md5('{organization} {kind} ' || k)::uuid, '{organization}-portfolio-0',
                        '{organization}', '{kind}', '{organization}-{kind}-' || k, 'viewer', 'hand',
                        false, now()
                 FROM generate_series(0, {count} - 1) AS k;"
            )
        });
        let sql = format!(
            "{users_and_groups}
             INSERT INTO group_members (group_id, member_kind, member_id)
             SELECT '{organization}-group-' || (c + {CROWDED}), 'group',
                    '{organization}-group-' || c
             FROM generate_series(0, {groups} - {CROWDED} - 1) AS c;
             INSERT INTO group_members (group_id, member_kind, member_id)
             SELECT '{organization}-group-' || c, 'user', '{organization}-user-' || u
             FROM generate_series(0, {CROWDED} - 1) AS c, generate_series(1, {users} - 1) AS u;
             {portfolio_rows}
             {grants}",
            users_and_groups = users_and_groups(organization, users, groups),
            portfolio_rows = portfolio_rows(organization, 1),
            grants = grants.join("\n"),
        );
        write(url, organization, &sql).await?;
        Ok(Self { organization: organization.to_owned() })
    }

    /// The id of a user.
    pub fn user(&self, number: usize) -> String {
        format!("{}-user-{number}", self.organization)
    }

    /// The id of the portfolio.
    pub fn portfolio(&self) -> String {
        format!("{}-portfolio-0", self.organization)
    }
}

/// An organization with a portfolio below another, each with so many grants to users, of whom half
/// are the same, and with so many further ones that are linked to the lower.
#[derive(Clone, Debug)]
pub struct Family {
    organization: String,
}

impl Family {
    /// Writes it: portfolio 0 at the top, 1 below it, the rest below that.
    pub async fn write(
        url: &str,
        organization: &str,
        grants: usize,
        descendants: usize,
    ) -> Outcome<Self> {
        let portfolios = descendants + 2;
        let granted = [(0, 0, "contributor"), (1, grants / 2, "viewer")].map(|(at, from, role)| {
            format!(
                "{INSERT_GRANTS}
                 SELECT md5('{organization} {at} ' || k)::uuid, '{organization}-portfolio-{at}',
                        '{organization}', 'user', '{organization}-user-' || k, '{role}', 'hand',
                        false, now()
                 FROM generate_series({from} + 1, {from} + {grants} - 1) AS k;"
            )
        });
        let sql = format!(
            "{users_and_groups}
             {portfolio_rows}
             UPDATE portfolios SET parent = '{organization}-portfolio-0'
             WHERE id = '{organization}-portfolio-1';
             UPDATE portfolios SET parent = '{organization}-portfolio-1', linked = true
             WHERE organization = '{organization}' AND parent IS NULL
               AND id <> '{organization}-portfolio-0';
             {granted}
             {INSERT_GRANTS}
             SELECT md5('{organization} owner ' || p)::uuid, '{organization}-portfolio-' || p,
                    '{organization}', 'user',
                    '{organization}-user-' || CASE p WHEN 1 THEN {grants} / 2 ELSE 0 END,
                    'manager', 'creation', true, now()
             FROM generate_series(0, {portfolios} - 1) AS p;",
            users_and_groups = users_and_groups(organization, grants + grants / 2, 1),
            portfolio_rows = portfolio_rows(organization, portfolios),
            granted = granted.join("\n"),
        );
        write(url, organization, &sql).await?;
        Ok(Self { organization: organization.to_owned() })
    }

    /// The id of a user: of the first half, but for user 0, each has a grant at the top alone.
    pub fn user(&self, number: usize) -> String {
        format!("{}-user-{number}", self.organization)
    }

    /// The id of the portfolio that lies below another.
    pub fn child(&self) -> String {
        format!("{}-portfolio-1", self.organization)
    }

    /// The id of one that is linked to it.
    pub fn descendant(&self, number: usize) -> String {
        format!("{}-portfolio-{}", self.organization, number + 2)
    }
}

const INSERT_GRANTS: &str = "INSERT INTO grants (id, portfolio, organization, subject_kind, \
                             subject_id, role, source, ownership, create_time)";

fn users_and_groups(organization: &str, users: usize, groups: usize) -> String {
    format!(
        "INSERT INTO users (id, email, display_name, picture_uri, home_organization, create_time)
         SELECT '{organization}-user-' || u, 'user-' || u || '@{organization}.example',
                'User ' || u, '', '{organization}', now()
         FROM generate_series(0, {users} - 1) AS u;
         INSERT INTO groups (id, organization, display_name, create_time)
         SELECT '{organization}-group-' || g, '{organization}', 'Group ' || g, now()
         FROM generate_series(0, {groups} - 1) AS g;"
    )
}

fn portfolio_rows(organization: &str, portfolios: usize) -> String {
    format!(
        "INSERT INTO portfolios (id, organization, display_name, portfolio_type, visibility,
                                 organization_access_role, create_time, update_time, version)
         SELECT '{organization}-portfolio-' || p, '{organization}', 'Portfolio ' || p, '',
                'private', 'viewer', now(), now(), 1
         FROM generate_series(0, {portfolios} - 1) AS p;"
    )
}

/// The organization with its roles and its place in the change log, around the rest of it.
async fn write(url: &str, organization: &str, rest: &str) -> Outcome<()> {
    let shard = Shard::assign(&organization.parse::<OrganizationId>()?).number();
    let mut sql = format!(
        "BEGIN;
         -- Nothing here refers to what is not there: looking it all up would take half of the time.
         SET LOCAL session_replication_role = replica;
         INSERT INTO organizations (id, shard, display_name, domains, preset, default_visibility,
                                    create_time)
         VALUES ('{organization}', {shard}, '{organization}', '{{}}', 'initiative_planning',
                 'private', now());"
    );
    for role in Preset::InitiativePlanning.roles() {
        let (key, name) = (&role.key, &role.display_name);
        write!(sql, "INSERT INTO roles VALUES ('{organization}', '{key}', '{name}');")?;
        for (permission, reach) in &role.table {
            let reach = format!("{reach:?}").to_lowercase();
            let cell = format!("'{organization}', '{key}', '{permission}', '{reach}'");
            write!(sql, "INSERT INTO role_permissions VALUES ({cell});")?;
        }
    }
    sql.push_str(rest);
    write!(
        sql,
        "WITH head AS (
             UPDATE feed_heads SET sequence = sequence + 1, commit_id = gen_random_uuid()
             WHERE shard = {shard} RETURNING sequence, commit_id)
         INSERT INTO change_log (shard, sequence, commit_id, organization, what, object, keys,
                                 caller, actor, request_id, at)
         SELECT {shard}, sequence, commit_id, '{organization}', 'organization.created',
                '{organization}', '[\"organization\"]', 'stored', 'system', 'stored', now()
         FROM head;
         COMMIT;
         ANALYZE;"
    )?;
    let mut connection = AsyncPgConnection::establish(url).await?;
    Ok(connection.batch_execute(&sql).await?)
}
