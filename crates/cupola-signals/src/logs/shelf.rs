//! The writing side of the file: adds chunks, merges small ones, and removes the oldest.
//!
//! Each write of a source makes a chunk of what is open, however small. As soon as the small ones
//! together fill a chunk, or are many, they are merged with the new lines in the same transaction.
//! So nothing waits in memory to become a full chunk, and each line is written twice on the whole.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use cupola_domain::time::Timestamp;
use cupola_ports::logs::LogLine;
use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};
use tracing::error;

use super::{
    LogLimits, OpenError,
    chunk::{self, Chunk, SEAL_BYTES},
    rows,
    sources::{Batch, Lines},
};

/// So many small chunks of one source are merged even if they do not fill one.
const SMALL_CHUNKS_MAX: usize = 128;

/// Chunks that one transaction removes for their age.
const EVICT_STEP: i64 = 256;

/// Free pages that one eviction gives back to the file system.
const VACUUM_PAGES: &str = "PRAGMA incremental_vacuum(4096)";

#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("the log file cannot be written")]
    Sqlite(#[from] sqlx::Error),
    #[error("encoding log lines was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

pub(super) struct Shelf {
    connection: SqliteConnection,
    limits: LogLimits,
    /// Wall-clock and monotonic time of the same moment. Age is counted from it on the monotonic
    /// clock, so that a clock that jumps ahead does not throw everything away.
    started: (Timestamp, Duration),
    /// What the file holds per source. `None` after a failed write, until it is read again.
    kept: Option<HashMap<String, Kept>>,
}

#[derive(Default)]
struct Kept {
    bytes: u64,
    small: Vec<Small>,
}

/// A chunk that is not sealed.
#[derive(Clone, Copy)]
struct Small {
    id: i64,
    raw_bytes: i64,
    bytes: i64,
}

struct Old {
    id: i64,
    source_id: String,
    lines: i64,
    bytes: i64,
}

impl Shelf {
    /// Opens the file. Tells each source that it holds, with the time of its newest line.
    pub(super) async fn open(
        path: &Path,
        limits: LogLimits,
        started: (Timestamp, Duration),
    ) -> Result<(Self, Vec<(String, i64)>), OpenError> {
        let failed = |source| OpenError::Open { path: path.to_owned(), source };
        let mut connection = rows::open(path).await?;
        let newest =
            sqlx::query_as("SELECT source_id, MAX(last_at) FROM chunks GROUP BY source_id")
                .fetch_all(&mut connection)
                .await
                .map_err(failed)?;
        let kept = Some(kept(&mut connection).await.map_err(failed)?);
        Ok((Self { connection, limits, started, kept }, newest))
    }

    /// Writes the lines and says how many old ones had to go for them.
    pub(super) async fn write(&mut self, batches: &[Batch]) -> Result<u64, WriteError> {
        let mut kept = self.take_kept().await?;
        let mut tx = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut jobs = Vec::with_capacity(batches.len());
        for batch in batches {
            let kept = kept.entry(batch.source_id.clone()).or_default();
            let merged = if is_merge_due(kept, &batch.lines) {
                take_small(&mut tx, kept, &batch.source_id).await?
            } else {
                Vec::new()
            };
            jobs.push((merged, Arc::clone(&batch.lines)));
        }

        let mut evicted = 0;
        for (batch, chunks) in batches.iter().zip(encode(jobs).await?) {
            let kept = kept.entry(batch.source_id.clone()).or_default();
            for chunk in chunks {
                insert(&mut tx, kept, &batch.source_id, chunk).await?;
            }
            if kept.bytes > self.limits.bytes_per_source_max {
                evicted += shrink(&mut tx, kept, &batch.source_id, self.limits).await?;
            }
        }
        tx.commit().await?;
        self.kept = Some(kept);
        Ok(evicted)
    }

    /// Removes chunks whose newest line is too old, and says how many lines went.
    pub(super) async fn evict_old(&mut self, monotonic: Duration) -> Result<u64, WriteError> {
        let (wall, at) = self.started;
        let now = wall + monotonic.saturating_sub(at);
        let age_max = i64::try_from(self.limits.age_max.as_micros()).unwrap_or(i64::MAX);
        let oldest = now.micros().saturating_sub(age_max);

        let mut evicted = 0;
        loop {
            let mut kept = self.take_kept().await?;
            let mut tx = self.connection.begin_with("BEGIN IMMEDIATE").await?;
            let olds = older_than(&mut tx, oldest).await?;
            for old in &olds {
                evicted +=
                    remove(&mut tx, kept.entry(old.source_id.clone()).or_default(), old).await?;
            }
            tx.commit().await?;
            self.kept = Some(kept);
            if olds.is_empty() {
                break;
            }
        }
        sqlx::query(VACUUM_PAGES).execute(&mut self.connection).await?;
        Ok(evicted)
    }

    pub(super) async fn forget(&mut self, source_id: &str) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM chunks WHERE source_id = ?")
            .bind(source_id)
            .execute(&mut self.connection)
            .await?;
        if let Some(kept) = &mut self.kept {
            kept.remove(source_id);
        }
        Ok(())
    }

    /// What the file holds. It is put back only after a commit, so that it cannot be wrong.
    async fn take_kept(&mut self) -> Result<HashMap<String, Kept>, sqlx::Error> {
        match self.kept.take() {
            Some(known) => Ok(known),
            None => kept(&mut self.connection).await,
        }
    }
}

async fn kept(connection: &mut SqliteConnection) -> Result<HashMap<String, Kept>, sqlx::Error> {
    let sums: Vec<(String, i64)> =
        sqlx::query_as("SELECT source_id, SUM(bytes) FROM chunks GROUP BY source_id")
            .fetch_all(&mut *connection)
            .await?;
    let mut kept: HashMap<_, _> = sums
        .into_iter()
        .map(|(source_id, bytes)| {
            (source_id, Kept { bytes: bytes.unsigned_abs(), small: Vec::new() })
        })
        .collect();
    let small: Vec<(String, i64, i64, i64)> = sqlx::query_as(
        "SELECT source_id, id, raw_bytes, bytes FROM chunks WHERE sealed = 0 ORDER BY id",
    )
    .fetch_all(connection)
    .await?;
    for (source_id, id, raw_bytes, bytes) in small {
        kept.entry(source_id).or_default().small.push(Small { id, raw_bytes, bytes });
    }
    Ok(kept)
}

fn is_merge_due(kept: &Kept, lines: &Lines) -> bool {
    let small: i64 = kept.small.iter().map(|small| small.raw_bytes).sum();
    let new: usize = lines.values().map(|line| line.message.len() + 8).sum();
    kept.small.len() >= SMALL_CHUNKS_MAX
        || (!kept.small.is_empty() && small.unsigned_abs() + new as u64 >= SEAL_BYTES as u64)
}

/// Takes the small chunks out of the file, and returns their lines.
async fn take_small(
    tx: &mut Transaction<'_, Sqlite>,
    kept: &mut Kept,
    source_id: &str,
) -> Result<Vec<LogLine>, WriteError> {
    let bodies: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT id, body FROM chunks WHERE source_id = ? AND sealed = 0")
            .bind(source_id)
            .fetch_all(&mut **tx)
            .await?;
    let mut lines = Vec::new();
    for (id, body) in bodies {
        match chunk::decode(source_id, &body) {
            Ok(decoded) => lines.extend(decoded),
            Err(failure) => {
                error!(chunk.id = id, error = %failure, "a log chunk is unreadable");
                let keep_it_apart = sqlx::query("UPDATE chunks SET sealed = 1 WHERE id = ?");
                keep_it_apart.bind(id).execute(&mut **tx).await?;
                kept.small.retain(|small| small.id != id);
            }
        }
    }
    sqlx::query("DELETE FROM chunks WHERE source_id = ? AND sealed = 0")
        .bind(source_id)
        .execute(&mut **tx)
        .await?;
    let freed: i64 = std::mem::take(&mut kept.small).iter().map(|small| small.bytes).sum();
    kept.bytes = kept.bytes.saturating_sub(freed.unsigned_abs());
    Ok(lines)
}

/// Compresses away from the threads that serve requests. Each job is of one source: the lines of
/// small chunks, and the new ones.
async fn encode(jobs: Vec<(Vec<LogLine>, Arc<Lines>)>) -> Result<Vec<Vec<Chunk>>, WriteError> {
    let encoding = tokio::task::spawn_blocking(move || jobs.into_iter().map(encode_job).collect());
    Ok(encoding.await?)
}

fn encode_job((mut merged, lines): (Vec<LogLine>, Arc<Lines>)) -> Vec<Chunk> {
    if merged.is_empty() {
        return chunk::encode(lines.values());
    }
    merged.extend(lines.values().cloned());
    merged.sort_by_key(|line| line.at);
    chunk::encode(&merged)
}

async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    kept: &mut Kept,
    source_id: &str,
    chunk: Chunk,
) -> Result<(), sqlx::Error> {
    let is_sealed = chunk.raw_bytes >= SEAL_BYTES;
    let (bytes, raw_bytes) = (chunk.body.len() as i64, chunk.raw_bytes as i64);
    let inserted = sqlx::query(
        "INSERT INTO chunks (source_id, first_at, last_at, lines, raw_bytes, bytes, sealed, body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(source_id)
    .bind(chunk.first_at)
    .bind(chunk.last_at)
    .bind(chunk.lines as i64)
    .bind(raw_bytes)
    .bind(bytes)
    .bind(is_sealed)
    .bind(chunk.body)
    .execute(&mut **tx)
    .await?;

    kept.bytes += bytes.unsigned_abs();
    if !is_sealed {
        kept.small.push(Small { id: inserted.last_insert_rowid(), raw_bytes, bytes });
    }
    Ok(())
}

/// Removes the oldest chunks of a source until it fits again.
async fn shrink(
    tx: &mut Transaction<'_, Sqlite>,
    kept: &mut Kept,
    source_id: &str,
    limits: LogLimits,
) -> Result<u64, sqlx::Error> {
    let mut evicted = 0;
    for old in &oldest_of(tx, source_id).await? {
        if kept.bytes <= limits.bytes_per_source_max {
            break;
        }
        evicted += remove(tx, kept, old).await?;
    }
    Ok(evicted)
}

async fn older_than(tx: &mut Transaction<'_, Sqlite>, at: i64) -> Result<Vec<Old>, sqlx::Error> {
    let olds: Vec<(i64, String, i64, i64)> = sqlx::query_as(
        "SELECT id, source_id, lines, bytes FROM chunks
         WHERE last_at < ? ORDER BY last_at LIMIT ?",
    )
    .bind(at)
    .bind(EVICT_STEP)
    .fetch_all(&mut **tx)
    .await?;
    let old = |(id, source_id, lines, bytes)| Old { id, source_id, lines, bytes };
    Ok(olds.into_iter().map(old).collect())
}

async fn oldest_of(
    tx: &mut Transaction<'_, Sqlite>,
    source_id: &str,
) -> Result<Vec<Old>, sqlx::Error> {
    let olds: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT id, lines, bytes FROM chunks WHERE source_id = ? ORDER BY last_at LIMIT ?",
    )
    .bind(source_id)
    .bind(EVICT_STEP)
    .fetch_all(&mut **tx)
    .await?;
    let old = |(id, lines, bytes)| Old { id, source_id: source_id.to_owned(), lines, bytes };
    Ok(olds.into_iter().map(old).collect())
}

async fn remove(
    tx: &mut Transaction<'_, Sqlite>,
    kept: &mut Kept,
    old: &Old,
) -> Result<u64, sqlx::Error> {
    delete(tx, old.id).await?;
    kept.bytes = kept.bytes.saturating_sub(old.bytes.unsigned_abs());
    kept.small.retain(|small| small.id != old.id);
    Ok(old.lines.unsigned_abs())
}

async fn delete(tx: &mut Transaction<'_, Sqlite>, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM chunks WHERE id = ?").bind(id).execute(&mut **tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::sources::notice, *};

    const START: Timestamp = Timestamp::from_micros(1_795_510_800_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    async fn shelf_with_lines_of_each_hour(path: &Path, hours: u32) -> Shelf {
        let limits = LogLimits { age_max: 10 * HOUR, ..LogLimits::default() };
        let (mut shelf, _) = Shelf::open(path, limits, (START, Duration::ZERO)).await.unwrap();
        for hour in 0..hours {
            let line = notice(START + hour * HOUR, "app", hour.to_string());
            let lines = Arc::new(Lines::from([(line.at.micros(), line)]));
            shelf.write(&[Batch { source_id: "app".to_owned(), lines }]).await.unwrap();
        }
        shelf
    }

    #[tokio::test]
    async fn chunks_go_when_their_newest_line_is_too_old() {
        let directory = tempfile::tempdir().unwrap();
        let mut shelf = shelf_with_lines_of_each_hour(&directory.path().join("logs.db"), 5).await;

        let early = shelf.evict_old(10 * HOUR).await.unwrap();
        let later = shelf.evict_old(13 * HOUR).await.unwrap();

        assert_eq!((early, later), (0, 3));
    }

    #[tokio::test]
    async fn what_the_file_holds_is_known_again_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs.db");
        let before = shelf_with_lines_of_each_hour(&path, 5).await.kept.unwrap();

        let (shelf, newest) =
            Shelf::open(&path, LogLimits::default(), (START, Duration::ZERO)).await.unwrap();

        let after = shelf.kept.unwrap();
        assert_eq!(newest, [("app".to_owned(), (START + 4 * HOUR).micros())]);
        assert_eq!(after["app"].bytes, before["app"].bytes);
        assert_eq!(after["app"].small.len(), 5);
    }
}
