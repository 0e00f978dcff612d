//! Opens the database file: one writer, some readers, upgraded and copied before.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    SqliteConnection,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    migrations::{self, OpenError},
    sql_store::{Pools, SqlStore, store_by_sql},
};

const READERS_MAX: u32 = 4;

/// How long to wait for another program that holds the database, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The `Store` in a file of SQLite, for one process.
///
/// Every commit is on disk before it is answered (WAL with `synchronous=FULL`).
pub struct SqliteStore(SqlStore);

store_by_sql!(SqliteStore);

impl SqliteStore {
    /// Opens the database at `path` and makes it where it is missing. One with an older schema is
    /// copied to `PATH.before-vN` and then upgraded to version N.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, &migrations::sqlite()).await
    }

    /// Waits for the open transactions and closes the file.
    pub async fn close(&self) {
        self.0.close().await;
    }

    async fn open_with(path: &Path, migrator: &Migrator) -> Result<Self, OpenError> {
        make_private(path)
            .map_err(|source| OpenError::Unwritable { path: path.to_owned(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = || {
            SqlitePoolOptions::new()
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let unreachable =
            |source| OpenError::Unreachable { database: path.display().to_string(), source };
        let writer =
            pool().max_connections(1).connect_with(options.clone()).await.map_err(unreachable)?;
        let mut connection = writer.acquire().await.map_err(unreachable)?;
        upgrade(path, &mut connection, migrator).await?;
        drop(connection);
        let readers = pool()
            .max_connections(READERS_MAX)
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(unreachable)?;
        Ok(Self(SqlStore::new(Pools::Sqlite { readers, writer })))
    }
}

async fn upgrade(
    path: &Path,
    connection: &mut SqliteConnection,
    migrator: &Migrator,
) -> Result<(), OpenError> {
    let database = path.display().to_string();
    let target = migrations::target(migrator);
    let version = migrations::version(&mut *connection, migrator).await.map_err(|source| {
        OpenError::Upgrade { database: database.clone(), version: target, source }
    })?;
    migrations::refuse_newer(&database, version, migrator)?;
    if version.is_some_and(|version| version < target) {
        copy_before(path, target, connection).await?;
    }
    migrations::upgrade(&database, connection, migrator).await
}

async fn copy_before(
    path: &Path,
    target: i64,
    connection: &mut SqliteConnection,
) -> Result<(), OpenError> {
    let copy = beside(path, &format!(".before-v{target}"));
    let unfinished = beside(path, &format!(".before-v{target}.unfinished"));
    let outcome = copy_whole(connection, &unfinished, &copy).await;
    outcome.map_err(|source| OpenError::Copy { copy: copy.clone(), source })?;
    tracing::info!(copy = %copy.display(), "copied the database before its upgrade");
    Ok(())
}

/// Writes a consistent copy; the file alone would lack what is still in the write-ahead log.
async fn copy_whole(
    connection: &mut SqliteConnection,
    unfinished: &Path,
    copy: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match std::fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => make_private(unfinished)?,
    }
    let target = unfinished.to_str().ok_or("its path is not UTF-8")?;
    sqlx::query("VACUUM INTO ?").bind(target).execute(connection).await?;
    // SQLite does not sync what VACUUM INTO has written.
    File::open(unfinished)?.sync_all()?;
    std::fs::rename(unfinished, copy)?;
    Ok(sync_directory_of(copy)?)
}

/// Makes the file where it is missing, readable by this user only. SQLite gives the same mode to
/// the files it keeps beside it.
fn make_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map(drop)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if directory != Path::new("") => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use cupola_domain::{feature_flags::FeatureFlag, time::Timestamp};
    use cupola_ports::store::{Store as _, get, insert};

    use super::*;

    const FIRST: (i64, &str, &str) =
        (1, "nouns", include_str!("../migrations/sqlite/0001_nouns.sql"));
    const SECOND: (i64, &str, &str) = (2, "more", "CREATE TABLE more (id TEXT NOT NULL)");
    const BROKEN: (i64, &str, &str) =
        (2, "broken", "CREATE TABLE half (id TEXT); INSERT INTO nothing VALUES (1)");

    async fn write_flag(path: &Path, name: &str) {
        let store = SqliteStore::open_with(path, &migrations::migrator(&[FIRST])).await.unwrap();
        let flag = FeatureFlag {
            name: name.to_owned(),
            enabled: true,
            custom_error_message: None,
            updated_at: Timestamp::from_micros(1),
        };
        let mut tx = store.write(None).await.unwrap();
        insert(&mut *tx, &flag).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
    }

    async fn has_flag(store: &SqliteStore, name: &str) -> bool {
        let mut tx = store.read().await.unwrap();
        get::<FeatureFlag>(&mut *tx, name).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn a_database_is_copied_before_it_is_upgraded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cupola.db");
        write_flag(&path, "kept").await;

        let upgraded =
            SqliteStore::open_with(&path, &migrations::migrator(&[FIRST, SECOND])).await.unwrap();

        assert!(has_flag(&upgraded, "kept").await);
        let copy = dir.path().join("cupola.db.before-v2");
        let before = SqliteStore::open_with(&copy, &migrations::migrator(&[FIRST])).await.unwrap();
        assert!(has_flag(&before, "kept").await);
    }

    #[tokio::test]
    async fn a_new_database_is_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cupola.db");

        SqliteStore::open(&path).await.unwrap().close().await;

        let names: Vec<_> =
            dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["cupola.db"]);
    }

    #[tokio::test]
    async fn a_database_of_a_newer_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cupola.db");
        let newer = migrations::migrator(&[FIRST, SECOND]);
        SqliteStore::open_with(&path, &newer).await.unwrap().close().await;

        let refused = SqliteStore::open_with(&path, &migrations::migrator(&[FIRST])).await;

        let error = refused.err().unwrap();
        assert!(matches!(error, OpenError::NewerVersion { found: 2, known: 1, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("has version 2, and this cupola knows versions up to 1"), "{text}");
    }

    #[tokio::test]
    async fn a_failed_upgrade_leaves_the_older_version_usable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cupola.db");
        write_flag(&path, "kept").await;

        let failed = SqliteStore::open_with(&path, &migrations::migrator(&[FIRST, BROKEN])).await;

        assert!(matches!(failed.err(), Some(OpenError::Upgrade { version: 2, .. })));
        let older = SqliteStore::open_with(&path, &migrations::migrator(&[FIRST])).await.unwrap();
        assert!(has_flag(&older, "kept").await);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_written_is_told() {
        let error = SqliteStore::open(Path::new("/proc/self/cupola.db")).await.err().unwrap();

        assert!(matches!(error, OpenError::Unwritable { .. }), "{error:?}");
        assert!(error.to_string().contains("--data-dir"), "{error}");
    }

    #[tokio::test]
    async fn the_database_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cupola.db");

        let _store = SqliteStore::open(&path).await.unwrap();

        for file in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm")] {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
