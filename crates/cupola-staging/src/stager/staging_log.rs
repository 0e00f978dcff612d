//! The `STG` lines of one build.

use std::sync::Arc;

use cupola_ports::{
    clock::Clock,
    logs::{LogLine, LogSink, LogStream},
    sandbox::OutputLine,
    stager::StagingRequest,
};
use tokio::sync::mpsc;

#[derive(Clone)]
pub(super) struct StagingLog {
    sink: Arc<dyn LogSink>,
    clock: Arc<dyn Clock>,
    source_id: String,
}

impl StagingLog {
    pub(super) fn new(request: &StagingRequest, clock: Arc<dyn Clock>) -> Self {
        Self { sink: Arc::clone(&request.log), clock, source_id: request.app_id.to_string() }
    }

    pub(super) fn say(&self, text: &str) {
        self.append(LogStream::Out, text.as_bytes().to_vec());
    }

    pub(super) fn complain(&self, text: &str) {
        self.append(LogStream::Err, text.as_bytes().to_vec());
    }

    pub(super) fn lost(&self, lines: u64) {
        if lines > 0 {
            self.sink.lost(&self.source_id, lines);
        }
    }

    fn append(&self, stream: LogStream, message: Vec<u8>) {
        self.sink.append(LogLine {
            at: self.clock.now(),
            source_id: self.source_id.clone(),
            source_type: "STG".to_owned(),
            instance: "0".to_owned(),
            stream,
            message,
        });
    }
}

/// Passes on what a build prints, until it ends.
pub(super) async fn pump(mut lines: mpsc::Receiver<OutputLine>, log: StagingLog) {
    while let Some(line) = lines.recv().await {
        let stream = if line.is_stderr { LogStream::Err } else { LogStream::Out };
        log.append(stream, line.message);
    }
}
