//! Turns the data plane's access lines into log lines of the apps they are about.

use cupola_ports::logs::{LogLine, LogStream};

use crate::Control;

/// Runs until the data plane's log ends or it is dropped.
pub(super) async fn run(control: Control) {
    let Some(mut lines) = control.ports.data_plane.access_log() else { return };
    while let Some(line) = lines.recv().await {
        control.ports.logs.append(LogLine {
            at: line.at,
            source_id: line.app_id.to_string(),
            source_type: "RTR".to_owned(),
            instance: line.index.to_string(),
            stream: LogStream::Out,
            message: line.text.into_bytes(),
        });
    }
}
