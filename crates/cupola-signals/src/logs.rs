//! `LogStore` on compressed chunks of about 64 KiB, kept as rows of an SQLite file of their own.
//!
//! A line is put into the open lines of its source, in memory, and is visible to readers from then
//! on. A writer task moves the open lines of all sources into the file once a second, or earlier
//! when many are waiting. `kill -9` therefore loses at most about the last second; a power cut may
//! lose what the kernel had not written yet, because commits are not synced one by one.
//!
//! Invariant: within one source no two lines have the same time, because clients of log-cache page
//! by "the last time plus one" and would never see the second. `sources` says how.

mod chunk;
mod rows;
mod shelf;
mod sources;
mod taken;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cupola_ports::{
    clock::Clock,
    logs::{LogError, LogLine, LogQuery, LogSink, LogStore, LogTotals},
};
use tokio::sync::Notify;
use tracing::{error, info};

use self::{
    rows::Reader,
    shelf::{Shelf, WriteError},
    sources::Sources,
};

/// How long a line may stay in memory only.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// How often lines that are too old are looked for.
const EVICT_EVERY: Duration = Duration::from_secs(60);

/// How much is kept, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes on disk per source, compressed. The oldest chunks go first.
    pub bytes_per_source_max: u64,
    /// Chunks whose newest line is older than this are removed.
    pub age_max: Duration,
    /// Lines of all sources that may wait to be written. One source may use half of it.
    pub queue_lines_max: usize,
    /// Bytes of all sources that may wait to be written. One source may use half of it.
    pub queue_bytes_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            bytes_per_source_max: 64 << 20,
            age_max: Duration::from_hours(7 * 24),
            queue_lines_max: 65_536,
            queue_bytes_max: 16 << 20,
        }
    }
}

/// Why the log file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the log file {path} has format {found}, and this version of cupola knows only up to \
         {known}; start the newer version again, or move the file away to begin with empty logs"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("cannot create the log file {path}; is its directory there, and writable?")]
    Create { path: PathBuf, source: std::io::Error },
    #[error("cannot open the log file {path}; if it is damaged, move it away to begin anew")]
    Open { path: PathBuf, source: sqlx::Error },
}

/// Logs in one SQLite file.
pub struct SqliteLogs {
    shared: Arc<Shared>,
    writer: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

struct Shared {
    sources: Mutex<Sources>,
    shelf: tokio::sync::Mutex<Shelf>,
    reader: Reader,
    clock: Arc<dyn Clock>,
    limits: LogLimits,
    /// Tells the writer that much is waiting, or that it shall end.
    wake: Notify,
    stopping: AtomicBool,
}

impl SqliteLogs {
    /// Opens or creates the file, and starts the writer on the current runtime.
    pub async fn open(
        path: &Path,
        limits: LogLimits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let started = (clock.now(), clock.monotonic());
        let (shelf, newest) = Shelf::open(path, limits, started).await?;
        let shared = Arc::new(Shared {
            sources: Mutex::new(Sources::new(limits, newest)),
            shelf: tokio::sync::Mutex::new(shelf),
            reader: Reader::new(path),
            clock,
            limits,
            wake: Notify::new(),
            stopping: AtomicBool::new(false),
        });

        let writer = tokio::spawn(write_until_stopped(Arc::clone(&shared)));
        Ok(Self { shared, writer: tokio::sync::Mutex::new(Some(writer)) })
    }

    /// Writes what was taken so far. Nothing needs to call this: it is done once a second.
    pub async fn flush(&self) -> Result<(), LogError> {
        self.shared.flush().await.map_err(log_error)
    }

    /// Writes what was taken so far and ends the writer. Lines that come later count as lost.
    pub async fn close(&self) {
        self.shared.stop();
        if let Some(writer) = self.writer.lock().await.take()
            && let Err(failure) = writer.await
        {
            error!(error = %failure, "the log writer ended badly");
        }
        self.shared.reader.close().await;
    }
}

impl Drop for SqliteLogs {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl LogSink for SqliteLogs {
    fn append(&self, line: LogLine) {
        if self.shared.stopping.load(Ordering::Acquire) {
            self.shared.sources().lost(&line.source_id, 1);
            return;
        }
        let much_waits = self.shared.sources().append(line);
        if much_waits {
            self.shared.wake.notify_one();
        }
    }

    fn lost(&self, source_id: &str, lines: u64) {
        self.shared.sources().lost(source_id, lines);
    }
}

#[async_trait]
impl LogStore for SqliteLogs {
    async fn read(&self, query: &LogQuery) -> Result<Vec<LogLine>, LogError> {
        if query.lines_max == 0 || query.from > query.until {
            return Ok(Vec::new());
        }
        // Memory first: a line that is written in between is then seen twice, and never missed.
        let unwritten = self.shared.sources().read(query);
        self.shared.reader.read(query, unwritten).await.map_err(log_error)
    }

    async fn forget(&self, source_id: &str) -> Result<(), LogError> {
        // While the shelf is held no line is on its way from memory to the file.
        let mut shelf = self.shared.shelf.lock().await;
        self.shared.sources().forget(source_id, self.shared.clock.monotonic());
        shelf.forget(source_id).await.map_err(log_error)
    }

    fn totals(&self) -> LogTotals {
        self.shared.sources().totals()
    }
}

impl Shared {
    fn sources(&self) -> MutexGuard<'_, Sources> {
        // The state behind the lock holds no invariant that a panic in between could break badly.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    async fn flush(&self) -> Result<(), WriteError> {
        let mut shelf = self.shelf.lock().await;
        let batches = {
            let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
            self.sources().seal(now, monotonic)
        };
        if batches.is_empty() {
            return Ok(());
        }

        // Should this fail or be cancelled, the next `seal` takes the lines again.
        let evicted = shelf.write(&batches).await?;
        self.sources().written(&batches, evicted);
        Ok(())
    }

    async fn evict_old(&self) -> Result<(), WriteError> {
        let evicted = self.shelf.lock().await.evict_old(self.clock.monotonic()).await?;
        self.sources().evicted(evicted);
        Ok(())
    }
}

/// Writes open lines to the file whenever it is time, until the store is closed.
async fn write_until_stopped(shared: Arc<Shared>) {
    let mut evicted_at: Option<Duration> = None;
    let mut failing = false;
    loop {
        // Ends early when much waits; the time itself needs no precision.
        let _ = tokio::time::timeout(FLUSH_EVERY, shared.wake.notified()).await;
        let stopping = shared.stopping.load(Ordering::Acquire);

        let now = shared.clock.monotonic();
        let mut outcome = shared.flush().await;
        if outcome.is_ok() && evicted_at.is_none_or(|at| now.saturating_sub(at) >= EVICT_EVERY) {
            evicted_at = Some(now);
            outcome = shared.evict_old().await;
        }
        failing = told(failing, &outcome, &shared.limits);

        if stopping {
            return;
        }
        if failing {
            // Do not spin on a full disk: a full queue would wake us at once.
            tokio::time::sleep(FLUSH_EVERY).await;
        }
    }
}

/// Logs the first failure of a row of failures, and the end of it. Says whether it fails now.
fn told(failing: bool, outcome: &Result<(), WriteError>, limits: &LogLimits) -> bool {
    match outcome {
        Ok(()) if failing => info!("app logs are written again"),
        Err(failure) if !failing => error!(
            error = %failure,
            queue.lines_max = limits.queue_lines_max,
            "app logs cannot be written; they wait in memory, and are dropped and counted when \
             the queue is full; is the disk full?"
        ),
        _ => {}
    }
    outcome.is_err()
}

fn log_error(failure: impl std::error::Error + Send + Sync + 'static) -> LogError {
    LogError(Box::new(failure))
}
