//! The SQLite file: its tables, how it is opened, and how chunks are read from it.

use std::{cmp::Reverse, path::Path, time::Duration};

use cupola_domain::time::Timestamp;
use cupola_ports::logs::{LogLine, LogQuery};
use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{
        SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions,
        SqliteSynchronous,
    },
};
use tracing::error;

use super::{OpenError, chunk, sources::notice};

/// Version of the tables. The chunks have a version of their own.
const FORMAT: i64 = 1;

/// Readers at the same time; each costs a thread while it is used.
const READERS_MAX: u32 = 4;

const READER_IDLE_MAX: Duration = Duration::from_secs(30);

/// `sealed` is 0 while a later write may merge the chunk with its successors. The body is last,
/// so that a scan does not have to walk over it.
const TABLES: &str = "
    CREATE TABLE chunks (
        id INTEGER PRIMARY KEY,
        source_id TEXT NOT NULL,
        first_at BIGINT NOT NULL,
        last_at BIGINT NOT NULL,
        lines BIGINT NOT NULL,
        raw_bytes BIGINT NOT NULL,
        bytes BIGINT NOT NULL,
        sealed INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE INDEX chunks_by_source ON chunks (source_id, last_at, first_at, bytes);
    CREATE INDEX chunks_by_age ON chunks (last_at);
    CREATE INDEX chunks_unsealed ON chunks (source_id, id) WHERE sealed = 0;
    PRAGMA user_version = 1;
";

/// Opens the file for writing, and creates it and its tables where they are missing.
pub(super) async fn open(path: &Path) -> Result<SqliteConnection, OpenError> {
    create_private(path).map_err(|source| OpenError::Create { path: path.to_owned(), source })?;
    let failed = |source| OpenError::Open { path: path.to_owned(), source };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit survives the process, not a power cut: the newest lines are not worth a sync
        // of the disk every second.
        .synchronous(SqliteSynchronous::Normal)
        .pragma("journal_size_limit", "16777216");
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;

    let found: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    match found {
        0 => create_tables(&mut connection).await.map_err(failed)?,
        FORMAT => {}
        _ => return Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT }),
    }
    Ok(connection)
}

/// Logs may hold secrets of apps. SQLite gives its side files the mode of the main file.
fn create_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(|_| ())
}

async fn create_tables(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(TABLES).execute(&mut *tx).await?;
    tx.commit().await
}

/// Reads chunks without disturbing the writer.
pub(super) struct Reader {
    pool: SqlitePool,
}

/// What the index knows of a chunk.
struct Shelved {
    id: i64,
    first_at: i64,
    last_at: i64,
}

impl Reader {
    pub(super) fn new(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .idle_timeout(READER_IDLE_MAX)
            .connect_lazy_with(options);
        Self { pool }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// The lines that the query asks for: those of the file, and the unwritten ones.
    pub(super) async fn read(
        &self,
        query: &LogQuery,
        unwritten: Vec<LogLine>,
    ) -> Result<Vec<LogLine>, sqlx::Error> {
        let mut found = Found { query, lines: unwritten };
        // One snapshot for all statements: the writer merges chunks in between.
        let mut snapshot = self.pool.begin().await?;
        for shelved in candidates(&mut snapshot, query).await? {
            if found.is_complete_before(&shelved) {
                break;
            }
            found.add(load(&mut snapshot, &query.source_id, shelved.id).await?);
        }
        Ok(found.lines)
    }
}

/// The best lines so far, in the order of the query, at most as many as it wants.
struct Found<'q> {
    query: &'q LogQuery,
    lines: Vec<LogLine>,
}

impl Found<'_> {
    /// Whether neither this chunk nor those behind it can hold a line that is wanted.
    fn is_complete_before(&self, next: &Shelved) -> bool {
        let Some(edge) = self.lines.get(self.query.lines_max - 1) else { return false };
        let edge = edge.at.micros();
        if self.query.descending { next.last_at < edge } else { next.first_at > edge }
    }

    fn add(&mut self, lines: Vec<LogLine>) {
        let wanted = self.query.from..=self.query.until;
        self.lines.extend(lines.into_iter().filter(|line| wanted.contains(&line.at)));
        if self.query.descending {
            self.lines.sort_by_key(|line| Reverse(line.at));
        } else {
            self.lines.sort_by_key(|line| line.at);
        }
        // A line that was written while we read is in memory and in the file.
        self.lines.dedup();
        self.lines.truncate(self.query.lines_max);
    }
}

/// Chunks that may hold lines of the query, in the order in which to look.
async fn candidates(
    snapshot: &mut SqliteConnection,
    query: &LogQuery,
) -> Result<Vec<Shelved>, sqlx::Error> {
    let found: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT id, first_at, last_at FROM chunks
         WHERE source_id = ? AND last_at >= ? AND first_at <= ?",
    )
    .bind(&query.source_id)
    .bind(query.from.micros())
    .bind(query.until.micros())
    .fetch_all(snapshot)
    .await?;
    let chunk = |(id, first_at, last_at)| Shelved { id, first_at, last_at };
    let mut candidates: Vec<Shelved> = found.into_iter().map(chunk).collect();
    if query.descending {
        candidates.sort_by_key(|chunk| Reverse((chunk.last_at, chunk.id)));
    } else {
        candidates.sort_by_key(|chunk| (chunk.first_at, chunk.id));
    }
    Ok(candidates)
}

async fn load(
    snapshot: &mut SqliteConnection,
    source_id: &str,
    id: i64,
) -> Result<Vec<LogLine>, sqlx::Error> {
    let (first_at, lines, body): (i64, i64, Vec<u8>) =
        sqlx::query_as("SELECT first_at, lines, body FROM chunks WHERE id = ?")
            .bind(id)
            .fetch_one(snapshot)
            .await?;
    Ok(chunk::decode(source_id, &body).unwrap_or_else(|failure| {
        error!(chunk.id = id, source.id = source_id, error = %failure, "a log chunk is unreadable");
        let message = format!("{lines} lines cannot be read, because their chunk is damaged");
        vec![notice(Timestamp::from_micros(first_at), source_id, message)]
    }))
}
