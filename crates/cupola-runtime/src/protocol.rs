//! What control and a shim say to each other on `ctl.sock`: one JSON object per line.
//!
//! Control asks, the shim tells. Lines of output come in their order, and the exit after the last
//! of them. Both sides name their version; fields that are not known are skipped.

use std::path::PathBuf;

use cupola_domain::{droplets::LayerDigest, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::records::{ExitRecord, Started};

/// What control asks of a shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Send output and the exit to this connection, and to no other, from now on.
    Attach { version: u32 },
    /// Say how it is.
    Status,
    /// SIGTERM as soon as the init takes signals, SIGKILL after the grace time.
    Stop { grace_ms: u64 },
    /// SIGKILL.
    Kill,
    /// Make a layer of these trees of the ended container in the folder `into`.
    Freeze { paths: Vec<String>, into: PathBuf, bytes_max: u64 },
    /// Copy a file of the ended container to `into`.
    HandBack { path: String, into: PathBuf, bytes_max: u64 },
    /// Clean up and end. Only after the container has ended.
    Quit,
}

/// What a shim tells control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The answer to `Attach` and `Status`.
    Status { version: u32, started: Started, ready: bool, ended: bool },
    /// A line of output.
    Line {
        at: Timestamp,
        stderr: bool,
        /// Whose it is, counted from 0. None: the instance's first program.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sidecar: Option<u16>,
        message: Message,
    },
    /// Lines that were dropped.
    Lost { lines: u64, why: Loss },
    /// The container has ended, and all its output was sent.
    Exit { record: ExitRecord },
    /// The answer to `Freeze`.
    Frozen { digest: LayerDigest, bytes: u64, entries: u64 },
    /// The answer to `HandBack`: whether there was such a file within its bound.
    HandedBack { found: bool },
    /// The answer to a request that failed.
    Failed { detail: String, too_large: bool },
}

/// Why lines were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Loss {
    /// The app wrote more than its log rate limit.
    RateLimit,
    /// Control did not take them in time.
    Spool,
}

/// A line of output: text as it is, other bytes in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    Text(String),
    Hex(String),
}

impl Message {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        use std::fmt::Write;
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Self::Text(text.to_owned());
        }
        let mut hex = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(hex, "{byte:02x}");
        }
        Self::Hex(hex)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Hex(hex) => hex
                .as_bytes()
                .chunks(2)
                .filter_map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
                .collect(),
        }
    }
}

/// A message as the line that goes over the socket.
pub(crate) fn to_line<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_text_survives() {
        let bytes = b"caf\xe9 \x00\xff".to_vec();

        let message = Message::of(&bytes);

        assert_eq!(message, Message::Hex("636166e92000ff".to_owned()));
        assert_eq!(message.into_bytes(), bytes);
    }

    #[test]
    fn requests_and_events_keep_the_form_of_version_1() {
        let requests = include_str!("../tests/golden/requests-v1.jsonl");
        let events = include_str!("../tests/golden/events-v1.jsonl");

        let read_requests: Vec<Request> =
            requests.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let read_events: Vec<Event> =
            events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();

        let written: Vec<u8> = read_requests.iter().flat_map(to_line).collect();
        assert_eq!(String::from_utf8(written).unwrap(), requests);
        let written: Vec<u8> = read_events.iter().flat_map(to_line).collect();
        assert_eq!(String::from_utf8(written).unwrap(), events);
    }
}
