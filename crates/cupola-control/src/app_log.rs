//! Logs of apps: the platform's own lines in them, and reading them back.

use cupola_domain::{apps::App, ids::AppId, time::Timestamp};
use cupola_ports::{
    logs::{LogLine, LogQuery, LogStream},
    store::{self, Query},
};

use crate::{Control, ControlError, Owners, caller::Caller};

/// From when to when there are lines of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSpan {
    pub app: AppId,
    pub oldest: Timestamp,
    pub newest: Timestamp,
}

/// Spans are told for this many apps.
const SPANS_MAX: u64 = 1000;

impl Control {
    /// What the clock says, for telling how long ago something was.
    pub fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// Tells in the app's log what was done to it.
    pub(crate) fn tell(&self, app: AppId, line: impl Into<String>) {
        self.ports.logs.append(LogLine {
            at: self.ports.clock.now(),
            source_id: app.to_string(),
            source_type: "API".to_owned(),
            instance: "0".to_owned(),
            stream: LogStream::Out,
            message: line.into().into_bytes(),
        });
    }

    /// Lines of an app that the caller sees.
    pub async fn read_log(
        &self,
        caller: &Caller,
        app: AppId,
        query: &LogQuery,
    ) -> Result<Vec<LogLine>, ControlError> {
        self.app(caller, app).await?;
        self.lines(query).await
    }

    /// The apps with lines that the caller sees.
    pub async fn log_spans(&self, caller: &Caller) -> Result<Vec<LogSpan>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let conditions = self.in_spaces(&mut *tx, &access, &Owners::default()).await?;
        let query = Query { conditions, limit: Some(SPANS_MAX), ..Query::all() };
        let apps = store::list::<App>(&mut *tx, &query).await?.items;
        drop(tx);
        let mut spans = Vec::new();
        for app in apps {
            let end = |descending| LogQuery {
                source_id: app.id.to_string(),
                from: Timestamp::from_micros(0),
                until: Timestamp::from_micros(i64::MAX / 1000),
                lines_max: 1,
                descending,
            };
            let (oldest, newest) = (self.lines(&end(false)).await?, self.lines(&end(true)).await?);
            if let (Some(oldest), Some(newest)) = (oldest.first(), newest.first()) {
                spans.push(LogSpan { app: app.id, oldest: oldest.at, newest: newest.at });
            }
        }
        Ok(spans)
    }

    async fn lines(&self, query: &LogQuery) -> Result<Vec<LogLine>, ControlError> {
        self.ports.logs.read(query).await.map_err(|source| ControlError::Outside {
            action: "reading a log",
            source: Box::new(source),
        })
    }
}
