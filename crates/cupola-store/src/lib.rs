//! Store on SQLite and on PostgreSQL, and blobs in a local directory.
//!
//! Both databases share one implementation: `statements` builds the SQL of a table and a query,
//! `session` runs it on either, `transactions` gives it the meaning of the port. What differs is in
//! `dialect` and in the two files that open a database.
//!
//! Invariant: knows tables and rows, never a noun.

mod blobs;
mod dialect;
mod errors;
mod lock;
mod migrations;
mod postgres;
mod session;
mod sql_store;
mod sqlite;
mod statements;
mod transactions;

pub use crate::{
    blobs::LocalBlobs,
    lock::{DirLock, LockError, lock_data_dir},
    migrations::OpenError,
    postgres::PostgresStore,
    sqlite::SqliteStore,
};
