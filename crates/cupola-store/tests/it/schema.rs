//! The migrated schemas are the one that the ports describe.

use std::collections::BTreeSet;

use cupola_ports::{
    nouns::TABLES,
    store::{ColumnKind, Table},
};
use cupola_store::{PostgresStore, SqliteStore};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::cluster::new_database;

/// Lines as `apps.name TEXT` and `apps_space_id_name_lower_unique (space_id,name_lower)`.
type Schema = BTreeSet<String>;

#[tokio::test]
async fn sqlite_has_the_columns_and_unique_sets_of_the_nouns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cupola.db");
    let store = SqliteStore::open(&path).await.unwrap();

    let mut connection = SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
    let found: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT t.name || '.' || c.name || ' ' || c.type || CASE c.\"notnull\" WHEN 1 THEN ' NOT NULL' \
         ELSE '' END FROM sqlite_schema t, pragma_table_info(t.name) c \
         WHERE t.type = 'table' AND {tables} AND c.name <> 'seq' \
         UNION ALL \
         SELECT i.name || ' (' || (SELECT group_concat(k.name, ',') FROM pragma_index_info(i.name) k) \
         || ')' FROM sqlite_schema t, pragma_index_list(t.name) i \
         WHERE t.type = 'table' AND {tables} AND i.\"unique\"",
        tables = "t.name NOT IN ('leases', '_sqlx_migrations', 'sqlite_sequence')",
    )))
    .fetch_all(&mut connection)
    .await
    .unwrap();

    assert_eq!(found.into_iter().map(|(line,)| line).collect::<Schema>(), expected("INTEGER"));
    store.close().await;
}

#[tokio::test]
async fn postgresql_has_the_columns_and_unique_sets_of_the_nouns() {
    let url = new_database().await;
    let store = PostgresStore::connect(&url).await.unwrap();

    let mut connection = PgConnection::connect(&url).await.unwrap();
    let found: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT table_name || '.' || column_name || ' ' || upper(data_type) \
         || CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END \
         FROM information_schema.columns \
         WHERE table_schema = 'public' AND column_name <> 'seq' AND {tables} \
         UNION ALL \
         SELECT indexname || ' (' || replace(substring(indexdef from '\\((.*)\\)'), ' ', '') || ')' \
         FROM (SELECT *, tablename AS table_name FROM pg_indexes) AS indexes \
         WHERE schemaname = 'public' AND indexdef LIKE 'CREATE UNIQUE %' \
         AND indexname NOT LIKE '%_pkey' AND {tables}",
        tables = "table_name NOT IN ('leases', '_sqlx_migrations')",
    )))
    .fetch_all(&mut connection)
    .await
    .unwrap();

    assert_eq!(found.into_iter().map(|(line,)| line).collect::<Schema>(), expected("BIGINT"));
    store.close().await;
}

fn expected(integer: &str) -> Schema {
    TABLES.iter().flat_map(|table| lines(table, integer)).collect()
}

fn lines(table: &Table, integer: &str) -> Vec<String> {
    let kind = |kind| match kind {
        ColumnKind::Text => "TEXT",
        ColumnKind::Integer => integer,
    };
    let always = [
        "id TEXT NOT NULL".to_owned(),
        format!("created_at {integer} NOT NULL"),
        format!("updated_at {integer} NOT NULL"),
        "body TEXT NOT NULL".to_owned(),
    ];
    let own = table.columns.iter().map(|column| format!("{} {}", column.name, kind(column.kind)));
    let columns = always.into_iter().chain(own).map(|column| format!("{}.{column}", table.name));
    let sets = std::iter::once(&["id"] as &[&str]).chain(table.unique.iter().copied());
    let indexes =
        sets.map(|set| format!("{}_{}_unique ({})", table.name, set.join("_"), set.join(",")));
    columns.chain(indexes).collect()
}
