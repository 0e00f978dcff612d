//! Logs in memory.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use cupola_ports::logs::{LogError, LogLine, LogQuery, LogSink, LogStore, LogTotals};

#[derive(Default)]
pub struct FakeLogs {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: Vec<LogLine>,
    lost: u64,
}

impl FakeLogs {
    /// The lines of one source as text, in the order in which they came.
    pub fn lines(&self, source_id: &str) -> Vec<String> {
        let kept = self.kept();
        let of_source = kept.lines.iter().filter(|line| line.source_id == source_id);
        of_source.map(|line| String::from_utf8_lossy(&line.message).into_owned()).collect()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogSink for FakeLogs {
    fn append(&self, line: LogLine) {
        self.kept().lines.push(line);
    }

    fn lost(&self, _: &str, lines: u64) {
        self.kept().lost += lines;
    }
}

#[async_trait]
impl LogStore for FakeLogs {
    async fn read(&self, query: &LogQuery) -> Result<Vec<LogLine>, LogError> {
        let kept = self.kept();
        let is_wanted = |line: &&LogLine| {
            line.source_id == query.source_id && (query.from..=query.until).contains(&line.at)
        };
        let mut lines: Vec<LogLine> = kept.lines.iter().filter(is_wanted).cloned().collect();
        lines.sort_by_key(|line| line.at);
        if query.descending {
            lines.reverse();
        }
        lines.truncate(query.lines_max);
        Ok(lines)
    }

    async fn forget(&self, source_id: &str) -> Result<(), LogError> {
        self.kept().lines.retain(|line| line.source_id != source_id);
        Ok(())
    }

    fn totals(&self) -> LogTotals {
        let kept = self.kept();
        let taken = u64::try_from(kept.lines.len()).unwrap_or(u64::MAX);
        LogTotals { taken, lost: kept.lost, evicted: 0 }
    }
}
