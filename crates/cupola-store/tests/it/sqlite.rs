//! The suite of `Store` on SQLite, and what is special to it.

use std::{path::Path, sync::Arc};

use cupola_domain::feature_flags::FeatureFlag;
use cupola_domain::time::Timestamp;
use cupola_ports::store::{Direction, Query, Store, insert, last, list};
use cupola_store::SqliteStore;
use tempfile::TempDir;

cupola_ports::store_conformance!(open);

async fn open() -> (Arc<dyn Store>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("cupola.db")).await.unwrap();
    (Arc::new(store), dir)
}

fn flag(name: &str) -> FeatureFlag {
    FeatureFlag {
        name: name.to_owned(),
        enabled: true,
        custom_error_message: None,
        updated_at: Timestamp::from_micros(1),
    }
}

async fn flags(path: &Path) -> Vec<FeatureFlag> {
    let store = SqliteStore::open(path).await.unwrap();
    let mut tx = store.read().await.unwrap();
    list(&mut *tx, &Query::all()).await.unwrap().items
}

#[tokio::test]
async fn rows_and_epochs_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cupola.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let mut tx = store.write(None).await.unwrap();
    insert(&mut *tx, &flag("diego_docker")).await.unwrap();
    tx.commit().await.unwrap();
    let lease = store.take_lease("instances", 0).await.unwrap();
    store.close().await;

    let again = SqliteStore::open(&path).await.unwrap();

    assert_eq!(flags(&path).await, [flag("diego_docker")]);
    assert!(again.take_lease("instances", 0).await.unwrap().epoch > lease.epoch);
}

#[tokio::test]
async fn last_rows_are_the_end_of_the_list_in_its_order() {
    let (store, _dir) = open().await;
    let mut tx = store.write(None).await.unwrap();
    for name in ["c", "a", "d", "b"] {
        insert(&mut *tx, &flag(name)).await.unwrap();
    }
    let query = Query::all().ordered("id", Direction::Ascending);

    let two = last::<FeatureFlag>(&mut *tx, &query, 2).await.unwrap();
    let all = last::<FeatureFlag>(&mut *tx, &query, 4).await.unwrap();

    assert_eq!((two.items, two.total), (vec![flag("c"), flag("d")], 4));
    assert_eq!(all.items.len(), 4);
}

#[tokio::test]
async fn a_commit_is_in_the_file_when_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cupola.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let mut tx = store.write(None).await.unwrap();
    insert(&mut *tx, &flag("diego_docker")).await.unwrap();
    tx.commit().await.unwrap();

    // As a crash would leave it: the store is not closed, and only its files are taken.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["cupola.db", "cupola.db-wal"] {
        std::fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
    }

    assert_eq!(flags(&crashed.path().join("cupola.db")).await, [flag("diego_docker")]);
}
