//! What transactions see of each other, and who may write.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use cupola_domain::{apps::App, feature_flags::FeatureFlag};

use super::{get, ids, insert_all, row};
use crate::store::{Lease, Noun as _, Query, Row, Store, StoreError};

pub async fn a_dropped_transaction_leaves_nothing(store: Arc<dyn Store>) {
    let table = App::TABLE;
    insert_all(&store, table, vec![row(table, "kept", 1)]).await;

    let mut tx = store.write(None).await.expect("a write begins");
    tx.insert_row(table, row(table, "new", 2)).await.expect("a row is inserted");
    tx.delete_rows(table, &[]).await.expect("all rows are deleted");
    drop(tx);

    assert_eq!(ids(&store, table, &Query::all()).await, "kept");
    insert_all(&store, table, vec![row(table, "new", 2)]).await;
    assert_eq!(ids(&store, table, &Query::all()).await, "kept new");
}

pub async fn a_cancelled_statement_leaves_nothing(store: Arc<dyn Store>) {
    let table = App::TABLE;

    let mut tx = store.write(None).await.expect("a write begins");
    tx.insert_row(table, row(table, "first", 1)).await.expect("a row is inserted");
    begin_only(tx.insert_row(table, row(table, "second", 2))).await;
    drop(tx);
    begin_only(store.write(None)).await;

    insert_all(&store, table, vec![row(table, "after", 3)]).await;
    assert_eq!(ids(&store, table, &Query::all()).await, "after");
}

/// Polls a future once and drops it.
async fn begin_only<T>(future: impl Future<Output = T>) {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _begun = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

pub async fn a_transaction_reads_what_it_wrote(store: Arc<dyn Store>) {
    let table = App::TABLE;

    let mut tx = store.write(None).await.expect("a write begins");
    tx.insert_row(table, row(table, "a", 1)).await.expect("a row is inserted");
    let own = tx.get_row(table, "a").await.expect("the row is read");
    let page = tx.list_rows(table, &Query::all()).await.expect("the rows are listed");

    assert_eq!(own, Some(row(table, "a", 1)));
    assert_eq!(page.total, 1);
    assert_eq!(get(&store, table, "a").await, None, "another sees it only after the commit");
}

pub async fn a_reader_sees_one_state_while_others_commit(store: Arc<dyn Store>) {
    let table = App::TABLE;
    insert_all(&store, table, vec![row(table, "a", 1)]).await;
    let mut reader = store.read().await.expect("a read begins");
    let before = reader.list_rows(table, &Query::all()).await.expect("the rows are listed");

    insert_all(&store, table, vec![row(table, "b", 2)]).await;
    let later = reader.list_rows(table, &Query::all()).await.expect("the rows are listed");
    let newer = reader.get_row(table, "b").await.expect("the row is looked for");

    assert_eq!(later, before);
    assert_eq!(newer, None);
    assert_eq!(ids(&store, table, &Query::all()).await, "a b");
}

pub async fn commits_are_counted_and_rollbacks_are_not(store: Arc<dyn Store>) {
    let table = App::TABLE;
    let mut commits = store.commits();
    let before = *commits.borrow_and_update();

    let mut dropped = store.write(None).await.expect("a write begins");
    dropped.insert_row(table, row(table, "a", 1)).await.expect("a row is inserted");
    drop(dropped);
    let moved_by_rollback = commits.has_changed().expect("the store is alive");
    insert_all(&store, table, vec![row(table, "b", 1)]).await;
    let moved_by_commit = commits.has_changed().expect("the store is alive");

    assert!(!moved_by_rollback, "a rollback is not counted");
    assert!(moved_by_commit, "a commit is counted before it is answered");
    assert!(*commits.borrow_and_update() > before, "the number grows");
}

pub async fn epochs_of_a_lease_grow(store: Arc<dyn Store>) {
    let first = store.take_lease("instances", 0).await.expect("a lease is taken");
    let other = store.take_lease("builds", 0).await.expect("another lease is taken");
    let second = store.take_lease("instances", 0).await.expect("the lease is taken over");

    assert!(second.epoch > first.epoch, "{second:?} is newer than {first:?}");
    assert_eq!((second.name.as_str(), other.name.as_str()), ("instances", "builds"));
}

pub async fn epoch_of_a_lease_is_above_what_is_known_outside(store: Arc<dyn Store>) {
    let first = store.take_lease("instances", 41).await.expect("a lease is taken");
    let higher = store.take_lease("instances", 99).await.expect("the lease is taken over");
    let next = store.take_lease("instances", 7).await.expect("the lease is taken over");

    assert_eq!((first.epoch, higher.epoch, next.epoch), (42, 100, 101));
    assert_eq!(write_with(&store, &higher, "old").await, Err(("instances".to_owned(), 100)));
    assert_eq!(write_with(&store, &next, "new").await, Ok(()));
}

pub async fn a_lease_that_was_taken_over_cannot_write(store: Arc<dyn Store>) {
    let old = store.take_lease("instances", 0).await.expect("a lease is taken");
    let other = store.take_lease("builds", 0).await.expect("another lease is taken");
    let unknown = Lease { name: "unknown".to_owned(), epoch: 1 };
    assert_eq!(write_with(&store, &old, "before").await, Ok(()));

    let new = store.take_lease("instances", 0).await.expect("the lease is taken over");

    assert_eq!(write_with(&store, &old, "old").await, Err(("instances".to_owned(), old.epoch)));
    assert_eq!(write_with(&store, &unknown, "unknown").await, Err(("unknown".to_owned(), 1)));
    assert_eq!(write_with(&store, &new, "new").await, Ok(()));
    assert_eq!(write_with(&store, &other, "other").await, Ok(()));
    assert_eq!(ids(&store, App::TABLE, &Query::all()).await, "before new other");
}

/// Writes a row under a lease, or says which lease was refused.
async fn write_with(store: &Arc<dyn Store>, lease: &Lease, id: &str) -> Result<(), (String, u64)> {
    let table = App::TABLE;
    let outcome = async {
        let mut tx = store.write(Some(lease)).await?;
        tx.insert_row(table, row(table, id, 1)).await?;
        tx.commit().await
    };
    match outcome.await {
        Ok(()) => Ok(()),
        Err(StoreError::Fenced { name, epoch }) => Err((name, epoch)),
        Err(error) => panic!("a write under a lease failed otherwise: {error:?}"),
    }
}

pub async fn a_takeover_and_an_open_write_exclude_each_other(store: Arc<dyn Store>) {
    let table = App::TABLE;
    let old = store.take_lease("instances", 0).await.expect("a lease is taken");
    let mut tx = store.write(Some(&old)).await.expect("a write begins");
    tx.insert_row(table, row(table, "a", 1)).await.expect("a row is inserted");

    let taker = Arc::clone(&store);
    let takeover = tokio::spawn(async move { taker.take_lease("instances", 0).await });
    tokio::task::yield_now().await;
    let committed = tx.commit().await;
    let new = takeover.await.expect("the task ends").expect("the lease is taken over");

    assert!(new.epoch > old.epoch, "{new:?} is newer than {old:?}");
    let written = get(&store, table, "a").await.is_some();
    assert_eq!(written, committed.is_ok(), "the row is there if its commit was answered");
    assert!(matches!(committed, Ok(()) | Err(StoreError::Fenced { .. })), "{committed:?}");
}

pub async fn fifty_writers_lose_no_update(store: Arc<dyn Store>) {
    let table = FeatureFlag::TABLE;
    let counter = Row { body: "0".to_owned(), ..row(table, "counter", 1) };
    insert_all(&store, table, vec![counter]).await;
    let mut writers = tokio::task::JoinSet::<Result<(), StoreError>>::new();
    for _ in 0..50 {
        writers.spawn(increment(Arc::clone(&store)));
    }
    for outcome in writers.join_all().await {
        outcome.expect("each writer gets its turn");
    }

    let found = get(&store, table, "counter").await.expect("the counter is there");
    assert_eq!(found.body, "50");
}

async fn increment(store: Arc<dyn Store>) -> Result<(), StoreError> {
    let table = FeatureFlag::TABLE;
    let mut tx = store.write(None).await?;
    let counter = tx.get_row(table, "counter").await?.expect("the counter is there");
    let number: u32 = counter.body.parse().expect("the counter is a number");
    tx.update_row(table, Row { body: (number + 1).to_string(), ..counter }).await?;
    tx.commit().await
}
