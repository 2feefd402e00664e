//! The migrations, the database they make, and what the program believes of it.

use std::collections::{BTreeMap, BTreeSet};

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Nullable, SmallInt, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use portcullis::domain::role::{Preset, Reach};
use portcullis::storage::{migrate, revert};

use crate::cluster::{TestDatabase, database};

/// Not ours: what the migrator keeps for itself.
const KEPT: [&str; 2] = ["__diesel_schema_migrations", "migration_lock"];

/// Foreign keys without an index, and why none is needed.
const WITHOUT_INDEX: &[(&str, &str)] = &[
    ("items (owner)", "those who own something are found by items_by_owner"),
    ("items (organization, organization_access_role)", "found by items_by_access_role"),
    ("item_grants (organization, item_type, item_id)", "found by item_grants_by_item"),
    ("item_grants (organization, role)", "found by item_grants_by_role"),
    ("role_permissions (permission)", "the catalogue's entries are never removed"),
    (
        "portfolios (organization, organization_access_role)",
        "rows of roles are never removed; portfolios_by_access_role finds those that are there",
    ),
    ("portfolios (parent)", "rows stay; those in a portfolio are found by portfolios_by_parent"),
    ("grants (organization, role)", "as above; grants in force are found by grants_by_role"),
];

async fn connect(database: &TestDatabase) -> AsyncPgConnection {
    AsyncPgConnection::establish(&database.url).await.expect("connects")
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// One text a row; the statement calls it `line`.
async fn lines(connection: &mut AsyncPgConnection, sql: &str) -> Vec<String> {
    let rows: Vec<Line> = diesel::sql_query(sql).load(connection).await.expect("answers");
    rows.into_iter().map(|row| row.line).collect()
}

/// Everything that is in the schema, in words.
async fn inventory(database: &TestDatabase) -> BTreeSet<String> {
    let connection = &mut connect(database).await;
    let mut found = BTreeSet::new();
    for sql in [
        "SELECT format('relation %s %s', relkind, relname) AS line FROM pg_class
         WHERE relnamespace = 'public'::regnamespace",
        "SELECT format('column %s.%s %s %s %s', attrelid::regclass, attname,
                format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)) AS line
         FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE attrelid IN (SELECT oid FROM pg_class WHERE relkind = 'r'
                            AND relnamespace = 'public'::regnamespace)
           AND attnum > 0 AND NOT attisdropped",
        "SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid)) AS line
         FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
        "SELECT indexdef AS line FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT format('function %s', proname) AS line FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace",
        "SELECT format('type %s', typname) AS line FROM pg_type
         WHERE typnamespace = 'public'::regnamespace AND typtype <> 'c' AND typelem = 0",
    ] {
        found.extend(lines(connection, sql).await);
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_go_down_to_nothing_and_up_again_to_the_same() {
    let database = database().await;
    let before = inventory(&database).await;
    assert!(before.contains("relation r grants"), "{before:?}");

    let taken_back = revert(&database.url).await.expect("goes down");
    assert!(taken_back > 0);
    let of_the_migrator = |line: &&String| !KEPT.iter().any(|table| line.contains(table));
    let left = inventory(&database).await;
    let left: Vec<&String> = left.iter().filter(of_the_migrator).collect();
    assert!(left.is_empty(), "left behind: {left:?}");

    assert_eq!(migrate(&database.url).await.expect("goes up"), taken_back);
    assert_eq!(inventory(&database).await, before);
    assert_eq!(migrate(&database.url).await.expect("is up"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_migrators_at_once_all_succeed_and_one_does_the_work() {
    let database = database().await;
    let all = revert(&database.url).await.expect("goes down");
    // Not even the table that they lock is there.
    let connection = &mut connect(&database).await;
    diesel::sql_query("DROP TABLE migration_lock, __diesel_schema_migrations")
        .execute(connection)
        .await
        .expect("drops");
    let migrators = (0..6).map(|_| {
        tokio::spawn({
            let url = database.url.clone();
            async move { migrate(&url).await }
        })
    });
    let mut counts = Vec::new();
    for migrator in migrators.collect::<Vec<_>>() {
        counts.push(migrator.await.expect("ends").expect("succeeds"));
    }
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 0, 0, 0, all]);
}

/// A table as `schema.rs` or the database describes it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    comment: String,
    key: Vec<String>,
    columns: Vec<Column>,
}

#[derive(Debug, PartialEq, Eq)]
struct Column {
    name: String,
    sql_type: String,
    comment: String,
}

/// What `schema.rs` says.
fn believed() -> BTreeMap<String, Table> {
    let text = include_str!("../../src/storage/schema.rs");
    let mut tables = BTreeMap::new();
    for block in text.split("diesel::table! {").skip(1) {
        let (name, table) = believed_table(block);
        assert!(tables.insert(name, table).is_none(), "a table twice");
    }
    tables
}

fn believed_table(block: &str) -> (String, Table) {
    let (mut name, mut table, mut comment) = (String::new(), Table::default(), Vec::new());
    for line in block.lines().map(str::trim).take_while(|line| *line != "}") {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim());
        } else if let Some((column, sql_type)) = line.split_once(" -> ") {
            table.columns.push(Column {
                name: column.to_owned(),
                sql_type: sql_type.trim_end_matches(',').to_owned(),
                comment: std::mem::take(&mut comment).join(" "),
            });
        } else if let Some((head, key)) = line.split_once(" (") {
            head.clone_into(&mut name);
            let key = key.trim_end_matches(") {");
            table.key = key.split(", ").map(str::to_owned).collect();
            table.comment = std::mem::take(&mut comment).join(" ");
        }
    }
    (name, table)
}

#[derive(QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Nullable<Text>)]
    table_comment: Option<String>,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Nullable<Text>)]
    column_comment: Option<String>,
    #[diesel(sql_type = Text)]
    sql_type: String,
    #[diesel(sql_type = Bool)]
    not_null: bool,
    /// The place in the primary key, from 1 on.
    #[diesel(sql_type = Nullable<BigInt>)]
    key_place: Option<i64>,
}

/// What is.
async fn actual(connection: &mut AsyncPgConnection) -> BTreeMap<String, Table> {
    let sql = "SELECT c.relname::text AS table_name, obj_description(c.oid) AS table_comment,
                      a.attname::text AS column_name, col_description(c.oid, a.attnum)
                          AS column_comment,
                      format_type(a.atttypid, a.atttypmod) AS sql_type, a.attnotnull AS not_null,
                      array_position(k.conkey, a.attnum)::bigint AS key_place
               FROM pg_class c
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
               WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
               ORDER BY c.relname, a.attnum";
    let rows: Vec<ColumnRow> = diesel::sql_query(sql).load(connection).await.expect("answers");
    let (mut tables, mut keys) = (BTreeMap::<String, Table>::new(), BTreeMap::new());
    for row in rows.into_iter().filter(|row| !KEPT.contains(&row.table_name.as_str())) {
        let table = tables.entry(row.table_name.clone()).or_default();
        table.comment = row.table_comment.unwrap_or_default();
        if let Some(place) = row.key_place {
            keys.insert((row.table_name, place), row.column_name.clone());
        }
        let sql_type = diesel_type(&row.sql_type);
        let nullable = format!("Nullable<{sql_type}>");
        table.columns.push(Column {
            name: row.column_name,
            sql_type: if row.not_null { sql_type.to_owned() } else { nullable },
            comment: row.column_comment.unwrap_or_default(),
        });
    }
    for ((table, _), column) in keys {
        tables.get_mut(&table).expect("is there").key.push(column);
    }
    tables
}

fn diesel_type(sql_type: &str) -> &'static str {
    match sql_type {
        "boolean" => "Bool",
        "bytea" => "Bytea",
        "smallint" => "Int2",
        "integer" => "Int4",
        "bigint" => "Int8",
        "jsonb" => "Jsonb",
        "text" => "Text",
        "text[]" => "Array<Text>",
        "timestamp with time zone" => "Timestamptz",
        "uuid" => "Uuid",
        other => panic!("say what Diesel calls `{other}`"),
    }
}

#[tokio::test]
async fn schema_rs_is_in_step_and_everything_is_commented() {
    let database = database().await;
    let actual = actual(&mut connect(&database).await).await;
    let believed = believed();
    let names = |tables: &BTreeMap<String, Table>| tables.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&believed), names(&actual));
    for (name, table) in &actual {
        assert_eq!(believed.get(name), Some(table), "the table {name}");
        assert!(!table.comment.is_empty(), "{name} has no comment");
        for column in &table.columns {
            assert!(!column.comment.is_empty(), "{name}.{} has no comment", column.name);
        }
    }
}

#[test]
fn schema_rs_is_read_with_types_keys_and_comments() {
    let block = "\n    /// Who.\n    /// And when.\n    people (id, kind) {\n\
                 /// Which.\n        id -> Text,\n\
                 /// What.\n        kind -> Nullable<Array<Text>>,\n    }\n}\n";
    let column = |name: &str, sql_type: &str, comment: &str| Column {
        name: name.to_owned(),
        sql_type: sql_type.to_owned(),
        comment: comment.to_owned(),
    };
    let expected = Table {
        comment: "Who. And when.".to_owned(),
        key: vec!["id".to_owned(), "kind".to_owned()],
        columns: vec![
            column("id", "Text", "Which."),
            column("kind", "Nullable<Array<Text>>", "What."),
        ],
    };
    assert_eq!(believed_table(block), ("people".to_owned(), expected));
}

#[derive(QueryableByName)]
struct PermissionRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = SmallInt)]
    ordinal: i16,
    #[diesel(sql_type = Bool)]
    may_be_own: bool,
}

#[tokio::test]
async fn rol_1_the_catalogue_ships_with_what_the_preset_names() {
    let database = database().await;
    let sql = "SELECT name, ordinal, may_be_own FROM permissions ORDER BY ordinal";
    let connection = &mut connect(&database).await;
    let rows: Vec<PermissionRow> = diesel::sql_query(sql).load(connection).await.expect("answers");
    let ordinals: Vec<i16> = rows.iter().map(|row| row.ordinal).collect();
    assert_eq!(ordinals, (0..32).collect::<Vec<i16>>(), "dense, from 0 on");

    let catalogue: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let ownable: BTreeSet<&str> =
        rows.iter().filter(|row| row.may_be_own).map(|row| row.name.as_str()).collect();
    for preset in Preset::ALL {
        let roles = preset.roles();
        let cells = || roles.iter().flat_map(|role| &role.table);
        let named: BTreeSet<&str> = cells().map(|(name, _)| name.as_str()).collect();
        assert_eq!(catalogue, named, "{preset:?}");
        assert!(catalogue.iter().all(|name| preset.knows(name)), "{preset:?}");
        for (name, _) in cells().filter(|(_, reach)| **reach == Reach::Own) {
            assert!(ownable.contains(name.as_str()), "{preset:?} gives {name} as own");
        }
    }
}

#[tokio::test]
async fn every_foreign_key_has_an_index_or_a_reason_for_none() {
    let database = database().await;
    // An index serves a key if its first columns are the key's, in whatever order.
    let sql = "SELECT format('%s (%s)', k.conrelid::regclass, columns) AS line
               FROM pg_constraint k, LATERAL (
                   SELECT string_agg(attname, ', ' ORDER BY array_position(k.conkey, attnum))
                       AS columns
                   FROM pg_attribute WHERE attrelid = k.conrelid AND attnum = ANY (k.conkey)) AS a
               WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace
                 AND NOT EXISTS (
                     SELECT FROM pg_index i
                     WHERE i.indrelid = k.conrelid AND i.indpred IS NULL AND i.indisvalid
                       AND (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] @> k.conkey)
               ORDER BY 1";
    let connection = &mut connect(&database).await;
    let found: BTreeSet<String> = lines(connection, sql).await.into_iter().collect();
    let reasoned: BTreeSet<String> =
        WITHOUT_INDEX.iter().map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(found, reasoned, "left: without an index; right: with a reason");
}
