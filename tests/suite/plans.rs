//! The plans of the statements that decisions wait for: look-ups by index, whatever is asked, also
//! where an organization has very many of everything. `UPDATE_GOLDEN=1` writes the file anew.

use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use portcullis::storage::facts::statements;

use crate::authorization::compare;
use crate::cluster::database;
use crate::stored::Stored;

const GOLDEN: &str = "tests/golden/plans.txt";
/// What grows with what customers have: read as a whole, it makes a question slow.
const LARGE: [&str; 13] = [
    "grants",
    "roles",
    "role_permissions",
    "group_members",
    "groups",
    "users",
    "portfolios",
    "site_roles",
    "service_accounts",
    "organization_administrators",
    "items",
    "item_portfolios",
    "item_grants",
];
/// What the statements are planned for, types and values; a generic plan is the same for every
/// question. All have the first; some an item, and some permissions.
const ASKED: [&str; 2] =
    ["text[], text[], text, text", "ARRAY['user'], ARRAY['acme-user-7'], NULL, 'acme-portfolio-7'"];
const ITEM: [&str; 2] = [", text, text", ", 'board', 'acme-board-7'"];
const PERMISSIONS: [&str; 2] = [", text[]", ", ARRAY['portfolio.view', 'members.view']"];

/// What the generated world has none of; and that plans are as the pools ask for them.
const OTHERS: &str = "
    INSERT INTO site_roles SELECT 'acme', id, 'viewer' FROM users;
    INSERT INTO organization_administrators SELECT 'acme', id FROM users;
    INSERT INTO service_accounts
    SELECT 'acme-robot-' || n, 'acme', '', false FROM generate_series(1, 10000) AS n;
    SET session_replication_role = replica;
    INSERT INTO items
    SELECT 'acme', 'board', 'acme-board-' || n, '', NULL, NULL, NULL, true, 'private', 'viewer',
           false, false, now(), now(), 1
    FROM generate_series(1, 10000) AS n;
    INSERT INTO item_portfolios
    SELECT 'acme', 'board', 'acme-board-' || n, 'acme-portfolio-' || n % 1000
    FROM generate_series(1, 10000) AS n;
    INSERT INTO item_grants
    SELECT gen_random_uuid(), 'acme', 'board', 'acme-board-' || n % 10000, 'user',
           'acme-user-' || n, 'viewer', false, NULL, NULL, now(), NULL
    FROM generate_series(1, 50000) AS n;
    INSERT INTO roles
    SELECT 'other-' || n, key, display_name FROM roles, generate_series(1, 500) AS n;
    INSERT INTO role_permissions
    SELECT 'other-' || n, role, permission, reach
    FROM role_permissions, generate_series(1, 500) AS n;
    ANALYZE;
    SET plan_cache_mode = force_generic_plan;
    SET jit = off;";

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    #[diesel(column_name = "QUERY PLAN")]
    line: String,
}

/// How each table is read, in the order of the plan: without what differs from run to run, and from
/// one version of PostgreSQL to the next.
fn accesses(plan: &[String]) -> Vec<String> {
    let of = |line: &String| {
        let node = line.trim().trim_start_matches("->").trim().trim_start_matches("Parallel ");
        let node = node.split("  (").next().unwrap_or(node);
        let is_index =
            ["Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Bitmap Index Scan", "Seq Scan"];
        is_index.iter().any(|kind| node.starts_with(kind)).then(|| node.to_owned())
    };
    plan.iter().filter_map(of).collect()
}

#[tokio::test]
async fn what_decisions_wait_for_is_read_by_index() {
    let database = database().await;
    Stored::write(&database.url, "acme", 100_000).await.expect("writes");
    let mut connection = AsyncPgConnection::establish(&database.url).await.expect("connects");
    connection.batch_execute(OTHERS).await.expect("sets");
    let mut table = String::new();
    for (name, text) in statements() {
        let further: &[[&str; 2]] = match name {
            "whole" => &[ITEM],
            "narrow" => &[PERMISSIONS],
            _ => &[ITEM, PERMISSIONS],
        };
        let [types, asked] = [0, 1].map(|which| {
            ASKED[which].to_owned() + &further.iter().map(|more| more[which]).collect::<String>()
        });
        let prepare = format!("PREPARE {name} ({types}) AS {text}");
        connection.batch_execute(&prepare).await.expect("prepares");
        let explain = format!("EXPLAIN (COSTS OFF) EXECUTE {name} ({asked})");
        let lines: Vec<Line> =
            diesel::sql_query(explain).load(&mut connection).await.expect("explains");
        let plan: Vec<String> = lines.into_iter().map(|line| line.line).collect();
        let found = accesses(&plan);
        for large in LARGE {
            let whole = format!("Seq Scan on {large} ");
            let whole: Vec<_> =
                found.iter().filter(|node| format!("{node} ").starts_with(&whole)).collect();
            assert!(whole.is_empty(), "{name}: {whole:?}\n{}", plan.join("\n"));
        }
        table += &format!("{name}\n");
        for node in &found {
            table += &format!("  {node}\n");
        }
    }
    compare(GOLDEN, &table);
}
