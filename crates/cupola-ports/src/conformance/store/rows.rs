//! What happens to a single row, and what a unique set forbids.

use std::sync::Arc;

use cupola_domain::{
    apps::App, domains::Domain, feature_flags::FeatureFlag, ids::OrgId, orgs::Org,
    routes::Destination, time::Timestamp,
};

use super::{get, ids, insert_all, row, with};
use crate::{
    nouns::TABLES,
    store::{self, Condition, Noun as _, Query, Row, Store, StoreError, Table, Value},
};

pub async fn a_row_reads_back_as_it_was_written(store: Arc<dyn Store>) {
    let table = Destination::TABLE;
    let mut full = row(table, "full", i64::MAX - 1);
    full.body = "{\"text\":\"ärger, 'quotes', \\u0000 and 🦀\"}".to_owned();
    let full = with(table, full, "app_id", "ünïcode 'quoted' \"twice\" \\ and 🦀");
    let mut bare = row(table, "bare", i64::MIN);
    bare.values.fill(Value::Null);

    insert_all(&store, table, vec![full.clone(), bare.clone()]).await;

    assert_eq!(get(&store, table, "full").await, Some(full));
    assert_eq!(get(&store, table, "bare").await, Some(bare));
    assert_eq!(get(&store, table, "none").await, None);
}

pub async fn an_update_replaces_all_but_the_time_of_creation(store: Arc<dyn Store>) {
    let table = Destination::TABLE;
    insert_all(&store, table, vec![row(table, "a", 1), row(table, "b", 2)]).await;
    let changed = Row { id: "a".to_owned(), ..row(table, "changed", 77) };
    let changed = with(table, changed, "process_type", Value::Null);

    let mut tx = store.write(None).await.expect("a write begins");
    tx.update_row(table, changed.clone()).await.expect("the row is updated");
    tx.commit().await.expect("the update is committed");

    let expected = Row { created_at: Timestamp::from_micros(1), ..changed };
    assert_eq!(get(&store, table, "a").await, Some(expected));
    assert_eq!(get(&store, table, "b").await, Some(row(table, "b", 2)));
}

pub async fn a_missing_row_cannot_be_updated(store: Arc<dyn Store>) {
    let mut tx = store.write(None).await.expect("a write begins");

    let missing = tx.update_row(App::TABLE, row(App::TABLE, "none", 1)).await;

    assert!(
        matches!(&missing, Err(StoreError::Missing { table: "apps", id }) if id == "none"),
        "{missing:?}"
    );
}

pub async fn deleting_says_how_many_rows_there_were(store: Arc<dyn Store>) {
    let table = App::TABLE;
    let rows = ["a", "b", "c", "d"].map(|id| row(table, id, 1)).to_vec();
    insert_all(&store, table, rows).await;
    let some = [Condition::In("name", vec!["name-a".into(), "name-c".into(), "else".into()])];

    let mut tx = store.write(None).await.expect("a write begins");
    let first = tx.delete_rows(table, &some).await.expect("rows are deleted");
    let again = tx.delete_rows(table, &some).await.expect("nothing is deleted");
    tx.commit().await.expect("the deletion is committed");

    assert_eq!((first, again), (2, 0));
    assert_eq!(ids(&store, table, &Query::all()).await, "b d");
}

pub async fn two_rows_never_have_one_id(store: Arc<dyn Store>) {
    let table = App::TABLE;
    insert_all(&store, table, vec![row(table, "a", 1)]).await;
    let twin = Row { id: "a".to_owned(), ..row(table, "twin", 2) };

    let mut tx = store.write(None).await.expect("a write begins");
    let refused = tx.insert_row(table, twin).await;

    assert!(
        matches!(&refused, Err(StoreError::Conflict { table: "apps", columns }) if *columns == ["id"]),
        "{refused:?}"
    );
}

pub async fn no_unique_set_is_held_twice(store: Arc<dyn Store>) {
    for table in TABLES {
        let first = row(table, "first", 1);
        insert_all(&store, table, vec![first.clone()]).await;
        for set in table.unique {
            let mut tx = store.write(None).await.expect("a write begins");
            let refused = tx.insert_row(table, sharing(table, set, &first, "twin")).await;

            let Err(StoreError::Conflict { table: name, columns }) = refused else {
                panic!("{} let {set:?} be held twice: {refused:?}", table.name)
            };
            assert_eq!((name, columns), (table.name, *set));
        }
    }
}

pub async fn null_is_never_equal_in_a_unique_set(store: Arc<dyn Store>) {
    for table in TABLES {
        for set in table.unique {
            for column in *set {
                let names = ["first", "second"].map(|name| format!("{name}-{set:?}-{column}"));
                let first = with(table, row(table, &names[0], 1), column, Value::Null);
                let second = sharing(table, set, &first, &names[1]);

                insert_all(&store, table, vec![first, second]).await;
            }
        }
    }
}

/// A row that shares with `other` the values of a unique set, and no more.
fn sharing(table: &Table, set: &[&str], other: &Row, id: &str) -> Row {
    let mut row = row(table, id, 2);
    for (index, column) in table.columns.iter().enumerate() {
        if set.contains(&column.name) {
            row.values[index] = other.values[index].clone();
        }
    }
    row
}

pub async fn an_update_into_a_conflict_changes_nothing(store: Arc<dyn Store>) {
    let table = Domain::TABLE;
    insert_all(&store, table, vec![row(table, "a", 1), row(table, "b", 2)]).await;
    let like_a = with(table, row(table, "b", 3), "name", "name-a");

    let mut tx = store.write(None).await.expect("a write begins");
    let refused = tx.update_row(table, like_a).await;
    tx.commit().await.expect("the rest of the transaction is committed");

    assert!(matches!(refused, Err(StoreError::Conflict { table: "domains", .. })), "{refused:?}");
    assert_eq!(get(&store, table, "b").await, Some(row(table, "b", 2)));
}

pub async fn a_transaction_goes_on_after_a_conflict(store: Arc<dyn Store>) {
    let table = Domain::TABLE;
    let twin = with(table, row(table, "twin", 2), "name", "name-a");

    let mut tx = store.write(None).await.expect("a write begins");
    tx.insert_row(table, row(table, "a", 1)).await.expect("the first row is inserted");
    let refused = tx.insert_row(table, twin).await;
    tx.insert_row(table, row(table, "b", 3)).await.expect("a row after the conflict is inserted");
    tx.commit().await.expect("what was written around the conflict is committed");

    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    assert_eq!(ids(&store, table, &Query::all()).await, "a b");
}

pub async fn nouns_are_stored_and_found(store: Arc<dyn Store>) {
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let org = Org {
        id: OrgId::random(),
        name: "Émile".to_owned(),
        suspended: false,
        metadata: Default::default(),
        created_at: now,
        updated_at: now,
    };
    let suspended = Org { suspended: true, ..org.clone() };

    let mut tx = store.write(None).await.expect("a write begins");
    store::insert(&mut *tx, &org).await.expect("an organisation is inserted");
    store::update(&mut *tx, &suspended).await.expect("it is updated");
    tx.commit().await.expect("it is committed");

    let mut tx = store.read().await.expect("a read begins");
    let by_name = Query::by("name_lower", "émile");
    let by_id = store::get::<Org>(&mut *tx, org.id).await.expect("it is read");
    assert_eq!(by_id.as_ref(), Some(&suspended));
    assert_eq!(store::first::<Org>(&mut *tx, &by_name).await.expect("it is found"), by_id);
    drop(tx);

    let mut tx = store.write(None).await.expect("a write begins");
    assert!(store::delete::<Org>(&mut *tx, org.id).await.expect("it is deleted"));
    assert!(!store::delete::<Org>(&mut *tx, org.id).await.expect("it is gone"));
}

pub async fn a_body_of_another_shape_is_told_with_its_row(store: Arc<dyn Store>) {
    let table = FeatureFlag::TABLE;
    insert_all(&store, table, vec![row(table, "diego_docker", 1)]).await;

    let mut tx = store.read().await.expect("a read begins");
    let unreadable = store::get::<FeatureFlag>(&mut *tx, "diego_docker").await;

    assert!(
        matches!(&unreadable, Err(StoreError::Unreadable { table: "feature_flags", id, .. })
            if id == "diego_docker"),
        "{unreadable:?}"
    );
}
