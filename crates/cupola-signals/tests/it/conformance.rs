//! The suite of the port, on lines in memory and on lines in the file.

use async_trait::async_trait;
use cupola_ports::{
    conformance,
    logs::{LogError, LogLine, LogQuery, LogSink, LogStore, LogTotals},
};
use cupola_signals::{LogLimits, SqliteLogs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_logs_conform() {
    let directory = tempfile::tempdir().unwrap();
    let logs = crate::open(directory.path(), LogLimits::default()).await;

    conformance::logs::all(&logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_logs_conform_when_all_lines_are_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let logs = crate::open(directory.path(), LogLimits::default()).await;

    conformance::logs::all(&FlushedLogs(logs)).await;
}

/// Writes everything before each read.
struct FlushedLogs(SqliteLogs);

impl LogSink for FlushedLogs {
    fn append(&self, line: LogLine) {
        self.0.append(line);
    }

    fn lost(&self, source_id: &str, lines: u64) {
        self.0.lost(source_id, lines);
    }
}

#[async_trait]
impl LogStore for FlushedLogs {
    async fn read(&self, query: &LogQuery) -> Result<Vec<LogLine>, LogError> {
        self.0.flush().await?;
        self.0.read(query).await
    }

    async fn forget(&self, source_id: &str) -> Result<(), LogError> {
        self.0.forget(source_id).await
    }

    fn totals(&self) -> LogTotals {
        self.0.totals()
    }
}
