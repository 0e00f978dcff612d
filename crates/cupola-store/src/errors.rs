//! What a failed statement means for the port.

use cupola_ports::store::{StoreError, Table};

/// The unique set that every table has.
const ID: &[&str] = &["id"];

/// A query named a column that its table has not: a mistake of the caller.
#[derive(Debug, thiserror::Error)]
#[error("the table {table} has no column {column}")]
pub(crate) struct UnknownColumn {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
}

impl From<UnknownColumn> for StoreError {
    fn from(unknown: UnknownColumn) -> Self {
        database(unknown)
    }
}

/// A transaction in which a statement failed cannot be committed.
#[derive(Debug, thiserror::Error)]
#[error("an earlier statement of this transaction failed")]
pub(crate) struct AlreadyFailed;

pub(crate) fn database(source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Database(Box::new(source))
}

/// The error of an insert or update: a conflict, if a unique index refused it.
pub(crate) fn of_write(error: sqlx::Error, table: &'static Table) -> StoreError {
    match violated_set(&error, table) {
        Some(columns) => StoreError::Conflict { table: table.name, columns },
        None => database(error),
    }
}

fn violated_set(error: &sqlx::Error, table: &Table) -> Option<&'static [&'static str]> {
    let error = error.as_database_error().filter(|error| error.is_unique_violation())?;
    std::iter::once(ID).chain(table.unique.iter().copied()).find(|columns| {
        // PostgreSQL names the index, SQLite the columns.
        error.constraint().map_or_else(
            || error.message() == sqlite_message(table.name, columns),
            |index| index == index_name(table.name, columns),
        )
    })
}

/// How the migrations name the index of a unique set.
pub(crate) fn index_name(table: &str, columns: &[&str]) -> String {
    format!("{table}_{}_unique", columns.join("_"))
}

fn sqlite_message(table: &str, columns: &[&str]) -> String {
    let columns: Vec<_> = columns.iter().map(|column| format!("{table}.{column}")).collect();
    format!("UNIQUE constraint failed: {}", columns.join(", "))
}
