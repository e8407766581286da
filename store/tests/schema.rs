//! The two schemas say the same, and every statement fits them.

mod common;

use dalsegno_store::conformance::statements;
use dalsegno_store::{Durability, SqliteStore, Store as _};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqlSafeStr as _,
    SqliteConnection,
};
use std::fmt::Write as _;

#[tokio::test]
async fn sqlite_has_the_schema_and_prepares_every_statement() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state.db");
    let store = SqliteStore::open(&file, Durability::Full)
        .await
        .expect("opens");
    store.migrate().await.expect("migrates");
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .expect("connects");
    for statement in statements::sqlite() {
        let prepared = connection
            .prepare(AssertSqlSafe(statement.clone()).into_sql_str())
            .await;
        assert!(prepared.is_ok(), "{statement}\n{:?}", prepared.err());
    }
    insta::assert_snapshot!("schema", sqlite_schema(&mut connection).await);
}

#[tokio::test]
async fn postgres_has_the_schema_and_prepares_every_statement() {
    common::with_postgres(|url| async move {
        let store = dalsegno_store::PostgresStore::open(&url)
            .await
            .expect("connects");
        store.migrate().await.expect("migrates");
        let mut connection = PgConnection::connect(&url).await.expect("connects");
        for statement in statements::postgres() {
            let prepared = connection
                .prepare(AssertSqlSafe(statement.clone()).into_sql_str())
                .await;
            assert!(prepared.is_ok(), "{statement}\n{:?}", prepared.err());
        }
        insta::assert_snapshot!("schema", postgres_schema(&mut connection).await);
    })
    .await;
}

/// Tables that stay small, or of which a statement needs all rows anyway.
const SCANNED: &[&str] = &[
    "lease",
    "flow",
    "half_match",
    "flow_version",
    // One row for each channel that is configured, at most.
    "channel_stop",
    "json_each",
    "CONSTANT ROW",
    // Pages of a page: what their LIMIT leaves.
    "part",
    "newest",
];

#[tokio::test]
async fn no_statement_looks_through_all_rows_of_a_table_that_grows() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state.db");
    let store = SqliteStore::open(&file, Durability::Full)
        .await
        .expect("opens");
    store.migrate().await.expect("migrates");
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .expect("connects");
    let mut plans = String::new();
    for statement in statements::sqlite()
        .into_iter()
        .filter(|it| it.starts_with("SELECT"))
    {
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
            .fetch_all(&mut connection)
            .await
            .expect("explains");
        let _ = writeln!(
            plans,
            "{}",
            statement.split_once(" FROM ").map_or("", |(_, rest)| rest)
        );
        for row in plan {
            let step: String = row.get(3);
            let _ = writeln!(plans, "    {step}");
            if let Some(scanned) = step.strip_prefix("SCAN ") {
                let by_part = [
                    "run_unfinished",
                    "occurrence_expected",
                    "backfill_unfinished",
                    "sla_open",
                    "silence_open",
                ]
                .iter()
                .any(|it| scanned.contains(it));
                assert!(
                    by_part || SCANNED.iter().any(|it| scanned.starts_with(it)),
                    "{statement}\n{step}"
                );
            }
        }
    }
    insta::assert_snapshot!("plans", plans);
}

/// Index and CHECK words and column lists of both databases in the same words.
async fn sqlite_schema(connection: &mut SqliteConnection) -> String {
    let mut text = String::new();
    let tables =
        sqlx::query("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
            .fetch_all(&mut *connection)
            .await
            .expect("reads");
    for table in tables {
        let (name, sql): (String, String) = (table.get(0), table.get(1));
        let _ = writeln!(text, "table {name}");
        let columns = sqlx::query(
            "SELECT name, type, \"notnull\", pk FROM pragma_table_info($1) ORDER BY cid",
        )
        .bind(&name)
        .fetch_all(&mut *connection)
        .await
        .expect("reads");
        let mut key: Vec<(i64, String)> = vec![];
        for column in columns {
            let (name, kind, not_null, pk): (String, String, bool, i64) =
                (column.get(0), column.get(1), column.get(2), column.get(3));
            let not_null = if not_null || pk > 0 { " not null" } else { "" };
            let words = sql
                .split_once(&format!("CHECK ({name} IN"))
                .map(|(_, rest)| rest.split_once("))").map_or(rest, |(words, _)| words))
                .map(words)
                .unwrap_or_default();
            let _ = writeln!(text, "  {name} {}{not_null}{words}", neutral(&kind));
            if pk > 0 {
                key.push((pk, name));
            }
        }
        key.sort();
        let key: Vec<String> = key.into_iter().map(|(_, name)| name).collect();
        let _ = writeln!(text, "  key {}", key.join(", "));
        let references =
            sqlx::query("SELECT \"from\", \"table\", \"to\" FROM pragma_foreign_key_list($1)")
                .bind(&name)
                .fetch_all(&mut *connection)
                .await
                .expect("reads");
        for row in references {
            let (from, table, to): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            let _ = writeln!(text, "  {from} references {table} ({to})");
        }
        let indexes = sqlx::query("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = $1 AND sql IS NOT NULL ORDER BY name")
            .bind(&name)
            .fetch_all(&mut *connection)
            .await
            .expect("reads");
        for index in indexes {
            let (name, sql): (String, String) = (index.get(0), index.get(1));
            let _ = writeln!(text, "  {}", neutral_index(&name, &sql));
        }
    }
    text
}

async fn postgres_schema(connection: &mut PgConnection) -> String {
    let mut text = String::new();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name::text COLLATE \"C\"",
    )
    .fetch_all(&mut *connection)
    .await
    .expect("reads");
    for table in tables {
        let _ = writeln!(text, "table {table}");
        let columns = sqlx::query(
            "SELECT column_name::text, data_type::text, is_nullable = 'NO' FROM information_schema.columns \
             WHERE table_name = $1 AND table_schema = 'public' ORDER BY ordinal_position",
        )
        .bind(&table)
        .fetch_all(&mut *connection)
        .await
        .expect("reads");
        let constraints: Vec<String> = constraints(connection, &table, "c").await;
        for column in columns {
            let (name, kind, not_null): (String, String, bool) =
                (column.get(0), column.get(1), column.get(2));
            let not_null = if not_null { " not null" } else { "" };
            let words = constraints
                .iter()
                .find(|it| it.contains(&format!("({name} =")))
                .map(|it| words(it))
                .unwrap_or_default();
            let _ = writeln!(text, "  {name} {}{not_null}{words}", neutral(&kind));
        }
        for key in self::constraints(connection, &table, "p").await {
            let key = key
                .trim_start_matches("PRIMARY KEY (")
                .trim_end_matches(')');
            let _ = writeln!(text, "  key {key}");
        }
        for reference in self::constraints(connection, &table, "f").await {
            let reference = reference
                .trim_start_matches("FOREIGN KEY (")
                .replace(") REFERENCES ", " references ");
            let _ = writeln!(text, "  {}", reference.replace("event(", "event ("));
        }
        let indexes = sqlx::query(
            "SELECT c.relname::text, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             WHERE i.indrelid = $1::regclass AND NOT i.indisprimary ORDER BY c.relname::text COLLATE \"C\"",
        )
        .bind(&table)
        .fetch_all(&mut *connection)
        .await;
        for index in indexes.expect("reads") {
            let (name, sql): (String, String) = (index.get(0), index.get(1));
            let _ = writeln!(text, "  {}", neutral_index(&name, &sql));
        }
    }
    text
}

async fn constraints(connection: &mut PgConnection, table: &str, kind: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype::text = $2 ORDER BY conname",
    )
    .bind(table)
    .bind(kind)
    .fetch_all(connection)
    .await
    .expect("reads")
}

/// SQLite keeps true and false as whole numbers.
fn neutral(kind: &str) -> &'static str {
    match kind.to_lowercase().as_str() {
        "integer" | "bigint" | "boolean" => "integer",
        "text" => "text",
        _ => panic!("an unexpected type: {kind}"),
    }
}

fn neutral_index(name: &str, sql: &str) -> String {
    let (columns, condition) = match sql.split_once(" WHERE ") {
        Some((columns, condition)) => (columns, condition),
        None => (sql, ""),
    };
    let columns = columns
        .split_once('(')
        .map_or("", |(_, columns)| columns.trim_end_matches(')'));
    let condition = match condition.contains(" IS ") {
        true => format!(
            " where {}",
            condition.trim_matches(['(', ')']).to_lowercase()
        ),
        false => words(condition),
    };
    format!("index {name} on {columns}{condition}")
}

/// The quoted words of a condition.
fn words(condition: &str) -> String {
    let words: Vec<&str> = condition.split('\'').skip(1).step_by(2).collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(" of {}", words.join(" "))
    }
}
