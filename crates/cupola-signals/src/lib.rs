//! Logs of apps: ingest, retention and query.
//!
//! Invariant: app logs are product data. They never pass through `tracing`, and taking a line never
//! waits for the disk.

mod logs;

pub use logs::{LogLimits, OpenError, SqliteLogs};
