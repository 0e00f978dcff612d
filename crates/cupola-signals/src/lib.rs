//! Logs of apps: ingest, retention, query and tail.
//!
//! Invariant: app logs are product data. They never pass through `tracing`, and taking a line never
//! waits for the disk.

mod logs;

pub use logs::{LogLimits, OpenError, SqliteLogs};
