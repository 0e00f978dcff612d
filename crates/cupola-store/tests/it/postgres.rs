//! The suite of `Store` on PostgreSQL, and what is special to it.

use std::sync::Arc;

use cupola_domain::{apps::App, feature_flags::FeatureFlag, time::Timestamp};
use cupola_ports::store::{Noun as _, Query, Row, Store, StoreError, Value, get, insert};
use cupola_store::{OpenError, PostgresStore};
use sqlx::{Connection as _, PgConnection};

use crate::cluster::new_database;

cupola_ports::store_conformance!(open);

async fn open() -> (Arc<dyn Store>, ()) {
    (Arc::new(PostgresStore::connect(&new_database().await).await.unwrap()), ())
}

async fn run(url: &str, sql: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

fn flag(name: &str) -> FeatureFlag {
    FeatureFlag {
        name: name.to_owned(),
        enabled: true,
        custom_error_message: None,
        updated_at: Timestamp::from_micros(1),
    }
}

#[tokio::test]
async fn two_processes_share_rows_and_leases() {
    let url = new_database().await;
    let (one, two) = tokio::join!(PostgresStore::connect(&url), PostgresStore::connect(&url));
    let (one, two) = (one.unwrap(), two.unwrap());
    let old = one.take_lease("instances", 0).await.unwrap();

    let mut tx = one.write(Some(&old)).await.unwrap();
    insert(&mut *tx, &flag("diego_docker")).await.unwrap();
    tx.commit().await.unwrap();
    let new = two.take_lease("instances", 0).await.unwrap();

    let mut reader = two.read().await.unwrap();
    let found = get::<FeatureFlag>(&mut *reader, "diego_docker").await.unwrap();
    assert_eq!(found, Some(flag("diego_docker")));
    assert!(new.epoch > old.epoch);
    assert!(matches!(one.write(Some(&old)).await.err(), Some(StoreError::Fenced { .. })));
}

#[tokio::test]
async fn a_lease_lost_during_a_write_is_noticed_at_its_commit() {
    let url = new_database().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    let lease = store.take_lease("instances", 0).await.unwrap();
    let mut tx = store.write(Some(&lease)).await.unwrap();
    insert(&mut *tx, &flag("diego_docker")).await.unwrap();

    // An operator's hand, which takes no turns.
    run(&url, "UPDATE leases SET epoch = epoch + 1").await;

    assert!(matches!(tx.commit().await, Err(StoreError::Fenced { .. })));
    let mut reader = store.read().await.unwrap();
    let found = get::<FeatureFlag>(&mut *reader, "diego_docker").await.unwrap();
    assert_eq!(found, None);
}

#[tokio::test]
async fn a_transaction_with_a_failed_statement_is_not_committed() {
    let store = PostgresStore::connect(&new_database().await).await.unwrap();
    let mut tx = store.write(None).await.unwrap();
    insert(&mut *tx, &flag("diego_docker")).await.unwrap();
    let nul = Row {
        id: "app".to_owned(),
        values: vec![Value::from("nul\0"); App::TABLE.columns.len()],
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(1),
        body: "{}".to_owned(),
    };

    let failed = tx.insert_row(App::TABLE, nul).await;
    let committed = tx.commit().await;

    assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
    assert!(matches!(committed, Err(StoreError::Database(_))), "{committed:?}");
    let mut reader = store.read().await.unwrap();
    let page = reader.list_rows(FeatureFlag::TABLE, &Query::all()).await.unwrap();
    assert_eq!(page.total, 0);
}

#[tokio::test]
async fn a_writer_that_lost_its_connection_is_replaced() {
    let url = new_database().await;
    let store = PostgresStore::connect(&url).await.unwrap();
    let mut tx = store.write(None).await.unwrap();
    insert(&mut *tx, &flag("lost")).await.unwrap();

    run(
        &url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = 'cupola' AND datname = current_database()",
    )
    .await;
    assert!(matches!(tx.commit().await, Err(StoreError::Database(_))));

    let mut tx = store.write(None).await.unwrap();
    insert(&mut *tx, &flag("kept")).await.unwrap();
    tx.commit().await.unwrap();
    let mut reader = store.read().await.unwrap();
    let lost = get::<FeatureFlag>(&mut *reader, "lost").await.unwrap();
    assert_eq!(lost, None);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let url = new_database().await;
    PostgresStore::connect(&url).await.unwrap().close().await;
    run(&url, "INSERT INTO _sqlx_migrations SELECT 99, 'newer', now(), true, '', 0").await;

    let error = PostgresStore::connect(&url).await.err().unwrap();

    assert!(matches!(error, OpenError::NewerVersion { found: 99, .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_without_the_password() {
    let url = "postgres://cupola:secret@127.0.0.1:1/cupola";

    let error = PostgresStore::connect(url).await.err().unwrap();

    let text = error.to_string();
    assert!(text.starts_with("cannot connect to the database cupola at 127.0.0.1:1"), "{text}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}
