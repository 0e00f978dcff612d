//! The log store as its users see it, on real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod conformance;
mod retention;
mod survival;

use std::{path::Path, sync::Arc};

use cupola_domain::time::Timestamp;
use cupola_ports::{
    clock::SystemClock,
    logs::{LogLine, LogQuery, LogStore, LogStream},
};
use cupola_signals::{LogLimits, SqliteLogs};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

const START: i64 = 1_795_510_800_000_000;

async fn open(directory: &Path, limits: LogLimits) -> SqliteLogs {
    let path = directory.join("logs.db");
    SqliteLogs::open(&path, limits, Arc::new(SystemClock::new())).await.unwrap()
}

/// A connection to the file behind the back of the store.
async fn connect(directory: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.join("logs.db"));
    SqliteConnection::connect_with(&options).await.unwrap()
}

fn line(source_id: &str, at: i64, message: impl Into<Vec<u8>>) -> LogLine {
    LogLine {
        at: Timestamp::from_micros(START + at),
        source_id: source_id.to_owned(),
        source_type: "APP/PROC/WEB".to_owned(),
        instance: "0".to_owned(),
        stream: LogStream::Out,
        message: message.into(),
    }
}

async fn read(logs: &SqliteLogs, source_id: &str) -> Vec<LogLine> {
    logs.read(&LogQuery {
        source_id: source_id.to_owned(),
        from: Timestamp::from_micros(0),
        until: Timestamp::from_micros(i64::MAX),
        lines_max: 1_000_000,
        descending: false,
    })
    .await
    .unwrap()
}

/// Bytes that do not compress, the same in each run.
fn noise(seed: i64, length: usize) -> Vec<u8> {
    let mut state = seed.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
