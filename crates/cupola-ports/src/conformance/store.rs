//! What every `Store` must do.
//!
//! Each function takes a store that is empty and its own. The macro `store_conformance` makes a
//! test of each, so that an adapter cannot forget one.

mod queries;
mod rows;
mod transactions;

use std::sync::Arc;

use cupola_domain::time::Timestamp;

pub use self::{queries::*, rows::*, transactions::*};
use crate::store::{ColumnKind, Query, Row, Store, Table, Value};

/// Makes one test per demand of the suite. `$open` is an async function that returns a new, empty
/// store as `Arc<dyn Store>`, and with it whatever must live as long.
#[macro_export]
macro_rules! store_conformance {
    ($open:path) => {
        $crate::store_conformance! { @tests $open;
            a_row_reads_back_as_it_was_written
            an_update_replaces_all_but_the_time_of_creation
            a_missing_row_cannot_be_updated
            deleting_says_how_many_rows_there_were
            two_rows_never_have_one_id
            no_unique_set_is_held_twice
            null_is_never_equal_in_a_unique_set
            an_update_into_a_conflict_changes_nothing
            a_transaction_goes_on_after_a_conflict
            nouns_are_stored_and_found
            a_body_of_another_shape_is_told_with_its_row
            a_column_that_does_not_exist_is_an_error
            conditions_on_values_treat_null_as_one
            conditions_on_numbers_exclude_their_limit
            conditions_on_text_know_no_case_and_no_wildcards
            conditions_on_labels_look_into_bodies
            alternatives_are_joined_within_all_conditions
            rows_come_in_the_wanted_order
            equal_rows_come_in_the_order_of_insertion
            text_is_ordered_by_code_point
            a_page_tells_the_total
            ten_thousand_values_fit_into_one_condition
            a_dropped_transaction_leaves_nothing
            a_cancelled_statement_leaves_nothing
            a_transaction_reads_what_it_wrote
            a_reader_sees_one_state_while_others_commit
            commits_are_counted_and_rollbacks_are_not
            epochs_of_a_lease_grow
            epoch_of_a_lease_is_above_what_is_known_outside
            a_lease_that_was_taken_over_cannot_write
            a_takeover_and_an_open_write_exclude_each_other
            fifty_writers_lose_no_update
        }
    };
    (@tests $open:path; $($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let (store, _guard) = $open().await;
            $crate::conformance::store::$name(store).await;
        }
    )*};
}

/// A row whose every text names its column and `id`, and whose numbers are `number`.
fn row(table: &Table, id: &str, number: i64) -> Row {
    let value = |kind, name| match kind {
        ColumnKind::Text => Value::Text(format!("{name}-{id}")),
        ColumnKind::Integer => Value::Integer(number),
    };
    Row {
        id: id.to_owned(),
        values: table.columns.iter().map(|column| value(column.kind, column.name)).collect(),
        created_at: Timestamp::from_micros(number),
        updated_at: Timestamp::from_micros(number + 1),
        body: format!("{{\"id\":\"{id}\"}}"),
    }
}

/// The row with another value in one column.
fn with(table: &Table, mut row: Row, column: &str, value: impl Into<Value>) -> Row {
    let index = table.columns.iter().position(|known| known.name == column);
    row.values[index.expect("the suite names columns of the table")] = value.into();
    row
}

async fn insert_all(store: &Arc<dyn Store>, table: &'static Table, rows: Vec<Row>) {
    let mut tx = store.write(None).await.expect("a write begins");
    for row in rows {
        tx.insert_row(table, row).await.expect("a row is inserted");
    }
    tx.commit().await.expect("the rows are committed");
}

async fn get(store: &Arc<dyn Store>, table: &'static Table, id: &str) -> Option<Row> {
    let mut tx = store.read().await.expect("a read begins");
    tx.get_row(table, id).await.expect("a row is read")
}

/// The ids of the rows that a query matches, joined by spaces.
async fn ids(store: &Arc<dyn Store>, table: &'static Table, query: &Query) -> String {
    let mut tx = store.read().await.expect("a read begins");
    let page = tx.list_rows(table, query).await.expect("the rows are listed");
    let ids: Vec<_> = page.items.into_iter().map(|row| row.id).collect();
    ids.join(" ")
}
