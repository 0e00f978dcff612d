//! What is still there after a restart, a `kill -9`, a failing disk or a damaged file.

use std::sync::Arc;

use cupola_ports::{
    clock::SystemClock,
    logs::{LogSink, LogStore},
};
use cupola_signals::{LogLimits, OpenError, SqliteLogs};

use crate::{connect, line, open, read};

#[tokio::test]
async fn closing_writes_everything_and_opening_finds_it() {
    let directory = tempfile::tempdir().unwrap();
    let logs = open(directory.path(), LogLimits::default()).await;
    for at in 0..3_000 {
        logs.append(line("app", at, format!("line {at}")));
    }
    let before = read(&logs, "app").await;

    logs.close().await;
    let logs = open(directory.path(), LogLimits::default()).await;

    assert_eq!(read(&logs, "app").await, before);
    logs.append(line("app", 2_999, "a time that is taken in the file"));
    let after = read(&logs, "app").await;
    assert!(after[3_000].at > after[2_999].at);
}

#[tokio::test]
async fn lines_come_into_the_file_by_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let logs = open(directory.path(), LogLimits::default()).await;
    logs.append(line("app", 0, "written soon"));

    let mut behind = connect(directory.path()).await;
    let lines = async {
        loop {
            let chunks: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM chunks")
                .fetch_one(&mut behind)
                .await
                .unwrap();
            if chunks > 0 {
                break chunks;
            }
            tokio::task::yield_now().await;
        }
    };

    let deadline = std::time::Duration::from_secs(20);
    assert_eq!(tokio::time::timeout(deadline, lines).await.unwrap(), 1);
}

/// The second store sees what a process would find that starts after the first was killed.
#[tokio::test]
async fn written_lines_need_no_orderly_end() {
    let directory = tempfile::tempdir().unwrap();
    let killed = open(directory.path(), LogLimits::default()).await;
    killed.append(line("app", 0, "written"));
    killed.flush().await.unwrap();

    let logs = open(directory.path(), LogLimits::default()).await;

    assert_eq!(read(&logs, "app").await, [line("app", 0, "written")]);
}

#[tokio::test]
async fn lines_wait_in_memory_while_the_file_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let logs = open(directory.path(), LogLimits::default()).await;
    let mut behind = connect(directory.path()).await;
    let mut break_it = "ALTER TABLE chunks RENAME TO hidden";
    sqlx::query(break_it).execute(&mut behind).await.unwrap();
    logs.append(line("app", 0, "waits"));
    logs.flush().await.unwrap_err();

    break_it = "ALTER TABLE hidden RENAME TO chunks";
    sqlx::query(break_it).execute(&mut behind).await.unwrap();
    logs.append(line("app", 1, "comes later"));
    logs.flush().await.unwrap();

    let read = read(&logs, "app").await;
    assert_eq!(read, [line("app", 0, "waits"), line("app", 1, "comes later")]);
    assert_eq!(logs.totals().lost, 0);
}

#[tokio::test]
async fn a_damaged_chunk_is_told_and_hides_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let logs = open(directory.path(), LogLimits::default()).await;
    logs.append(line("app", 0, "damaged"));
    logs.flush().await.unwrap();
    let damage = "UPDATE chunks SET body = x'0100ff'";
    sqlx::query(damage).execute(&mut connect(directory.path()).await).await.unwrap();
    logs.append(line("app", 1, "whole"));
    logs.flush().await.unwrap();

    let read = read(&logs, "app").await;

    assert_eq!(read.len(), 2);
    assert!(read[0].message.starts_with(b"1 lines cannot be read"));
    assert_eq!(read[1], line("app", 1, "whole"));
}

#[tokio::test]
async fn lines_after_the_close_are_counted_as_lost() {
    let directory = tempfile::tempdir().unwrap();
    let logs = open(directory.path(), LogLimits::default()).await;
    logs.close().await;

    logs.append(line("app", 0, "too late"));

    assert_eq!(logs.totals().lost, 1);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path(), LogLimits::default()).await.close().await;
    sqlx::query("PRAGMA user_version = 2")
        .execute(&mut connect(directory.path()).await)
        .await
        .unwrap();

    let path = directory.path().join("logs.db");
    let refused =
        SqliteLogs::open(&path, LogLimits::default(), Arc::new(SystemClock::new())).await.err();

    assert!(matches!(refused, Some(OpenError::Newer { found: 2, known: 1, .. })));
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/logs.db");

    let refused =
        SqliteLogs::open(&path, LogLimits::default(), Arc::new(SystemClock::new())).await.err();

    let text = refused.unwrap().to_string();
    assert!(text.contains("missing/logs.db"), "{text}");
}

#[tokio::test]
async fn the_file_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let logs = open(directory.path(), LogLimits::default()).await;
    logs.append(line("app", 0, "secret"));
    logs.flush().await.unwrap();

    for name in ["logs.db", "logs.db-wal"] {
        let mode = directory.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
