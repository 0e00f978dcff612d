//! The conformance suites on the real databases and directories, and what is special to each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blobs;
mod cluster;
mod postgres;
mod schema;
mod sqlite;
