//! Logs and container metrics of apps, kept for a while and read back.
//!
//! Invariant: taking a line never waits. A full queue drops and counts, and the count is told in
//! the log of the same app.

use async_trait::async_trait;
use cupola_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LogStream {
    Out,
    Err,
}

/// One line of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub at: Timestamp,
    /// The id of the app that it is about: the `source_id` of log-cache.
    pub source_id: String,
    /// `API`, `STG`, `APP/PROC/WEB`, `RTR`, `CELL`, `HEALTH`.
    pub source_type: String,
    /// The index of the instance, `0` where there is none.
    pub instance: String,
    pub stream: LogStream,
    /// Without its line end. Not always UTF-8.
    pub message: Vec<u8>,
}

/// Where lines go. Cheap to clone behind an `Arc`.
pub trait LogSink: Send + Sync {
    /// Takes the line, or drops and counts it when the queue is full.
    fn append(&self, line: LogLine);

    /// Counts lines of this source that were lost before they came here.
    fn lost(&self, source_id: &str, lines: u64);
}

/// Which lines to read. Both ends are included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    pub source_id: String,
    pub from: Timestamp,
    pub until: Timestamp,
    pub lines_max: usize,
    /// The newest lines first.
    pub descending: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the log store failed")]
pub struct LogError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Lines kept within a bound of size and age per app, oldest dropped first.
#[async_trait]
pub trait LogStore: LogSink {
    /// Lines in the order of their time, also those that were appended just before.
    async fn read(&self, query: &LogQuery) -> Result<Vec<LogLine>, LogError>;

    /// Removes what is kept of this source, and takes no line of it for a while: whatever it was is
    /// still ending then. A name is not used again.
    async fn forget(&self, source_id: &str) -> Result<(), LogError>;

    /// How many lines were taken, dropped and evicted since the start.
    fn totals(&self) -> LogTotals;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTotals {
    pub taken: u64,
    pub lost: u64,
    pub evicted: u64,
}
