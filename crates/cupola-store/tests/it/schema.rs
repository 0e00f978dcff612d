//! The migrated schemas are the one that the ports describe.

use std::collections::{BTreeMap, BTreeSet};

use cupola_domain::{
    apps::App, audit::AuditEvent, buildpacks::Buildpack, builds::Build, deployments::Deployment,
    domains::Domain, droplets::Droplet, feature_flags::FeatureFlag, generations::Generation,
    instances::Exit, instances::Instance, jobs::Job, orgs::Org, packages::Package,
    processes::Process, revisions::Revision, roles::Role, routes::Destination, routes::Route,
    services::ServiceBinding, services::ServiceInstance, sidecars::Sidecar, spaces::Space,
    tasks::Task, users::User,
};
use cupola_ports::{
    nouns::TABLES,
    store::{self, ColumnKind, Noun, Query, Store as _, Table},
};
use cupola_store::{PostgresStore, SqliteStore};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions,
};

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

    let by_locale: Vec<(String,)> = sqlx::query_as(
        "SELECT table_name || '.' || column_name FROM information_schema.columns \
         WHERE table_schema = 'public' AND table_name NOT IN ('leases', '_sqlx_migrations') \
         AND data_type = 'text' AND column_name <> 'body' AND collation_name IS DISTINCT FROM 'C'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();

    assert_eq!(found.into_iter().map(|(line,)| line).collect::<Schema>(), expected("BIGINT"));
    assert_eq!(by_locale, [], "text is compared by code point, as SQLite does");
    store.close().await;
}

/// Every row of a noun can be read and is written back as it was read: how many there are.
async fn rewrite<N: Noun>(store: &SqliteStore) -> (&'static str, usize) {
    let mut tx = store.write(None).await.unwrap();
    let rows = store::list::<N>(&mut *tx, &Query::all()).await.unwrap().items;
    for row in &rows {
        store::update(&mut *tx, row).await.unwrap();
    }
    tx.commit().await.unwrap();
    (N::TABLE.name, rows.len())
}

#[tokio::test]
async fn database_of_version_2_is_upgraded_and_every_row_of_it_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cupola.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(include_str!("../golden/version-2.sql")).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let store = SqliteStore::open(&path).await.unwrap();

    macro_rules! counts {
        ($($noun:ty),* $(,)?) => { BTreeMap::from([$(rewrite::<$noun>(&store).await),*]) };
    }
    let older = counts![
        Org,
        Space,
        User,
        Role,
        App,
        Process,
        Package,
        Build,
        Droplet,
        Buildpack,
        Domain,
        Route,
        Destination,
        Instance,
        Exit,
        Job,
        AuditEvent,
        FeatureFlag,
        Deployment,
        Generation,
        Revision,
        Task,
    ];
    let newer = counts![ServiceInstance, ServiceBinding, Sidecar];
    assert!(older.values().all(|rows| *rows > 0), "{older:?}");
    assert!(newer.values().all(|rows| *rows == 0), "{newer:?}");
    assert_eq!(older.len() + newer.len(), TABLES.len(), "a noun is missing here");
    let staged = Query::by("state", "STAGED");
    let mut tx = store.read().await.unwrap();
    assert_eq!(store::list::<Droplet>(&mut *tx, &staged).await.unwrap().total, 1);
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
