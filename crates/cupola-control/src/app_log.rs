//! The platform's own lines in the log of an app, as source `API`.

use cupola_domain::ids::AppId;
use cupola_ports::logs::{LogLine, LogStream};

use crate::Control;

impl Control {
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
}
