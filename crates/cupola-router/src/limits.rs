//! The bounds that keep one client, one app or one fault from taking the router down.
//!
//! Deadlines are checked by one sweep per worker (`sweep_ms`), never by a timer per read, so that
//! they are late by up to one sweep.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Every bound of the data plane, with the defaults of gorouter where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A request head larger than this is answered with 431.
    pub header_bytes_max: usize,
    /// From the first byte of a head (or from accept) to its end.
    pub header_deadline_ms: u64,
    /// How long a kept-alive connection of a client may be silent between requests.
    pub keep_alive_idle_ms: u64,
    /// Bytes per second that an upload must reach while the router waits for the client.
    pub body_rate_min: u64,
    /// How long an upload may stay below `body_rate_min`.
    pub body_rate_window_ms: u64,
    /// How long a client may leave an answer untouched while its socket is full.
    pub write_stall_ms: u64,
    /// How long an app may take to begin its answer, and then to go on with it.
    pub app_silence_ms: u64,
    /// How long an upgraded connection may be silent in both directions.
    pub tunnel_idle_ms: u64,
    /// How long connecting to an instance may take.
    pub dial_ms: u64,
    /// Instances that are tried for one request.
    pub attempts_max: usize,
    /// How long an instance that could not be dialled is passed over.
    pub failed_ms: u64,
    /// Requests and tunnels that one instance is given at a time.
    pub endpoint_in_flight_max: u64,
    /// Connections of clients. For more, those without a request make way; if none can, they wait.
    /// Each worker holds one that waits, the others are in the kernel's queue.
    pub connections_max: usize,
    /// Idle connections kept per instance and worker.
    pub upstream_idle_max: usize,
    pub upstream_idle_ms: u64,
    /// How long `Expect: 100-continue` is left to the app before the body is sent anyway.
    pub expect_wait_ms: u64,
    /// What is read and thrown away of an upload whose answer is already complete.
    pub linger_bytes_max: u64,
    pub linger_ms: u64,
    /// Access lines that wait while control is away; the oldest are dropped and counted.
    pub spool_bytes_max: usize,
    /// How long requests may still run once the router was told to stop.
    pub drain_ms: u64,
    /// How long a connection on which nothing was asked yet is waited for then, since it was made.
    pub drain_unasked_ms: u64,
    /// How often deadlines are checked.
    pub sweep_ms: u64,
    /// How often traffic is reported to control.
    pub report_ms: u64,
    /// How long a changed route table may wait before it is saved.
    pub save_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes_max: 64 << 10,
            header_deadline_ms: 15_000,
            keep_alive_idle_ms: 900_000,
            body_rate_min: 128,
            body_rate_window_ms: 30_000,
            write_stall_ms: 60_000,
            app_silence_ms: 900_000,
            tunnel_idle_ms: 3_600_000,
            dial_ms: 5_000,
            attempts_max: 3,
            failed_ms: 30_000,
            endpoint_in_flight_max: 500,
            connections_max: 16_384,
            upstream_idle_max: 100,
            upstream_idle_ms: 60_000,
            expect_wait_ms: 1_000,
            linger_bytes_max: 16 << 20,
            linger_ms: 5_000,
            spool_bytes_max: 8 << 20,
            drain_ms: 30_000,
            drain_unasked_ms: 1_000,
            sweep_ms: 1_000,
            report_ms: 250,
            save_ms: 250,
        }
    }
}

impl Limits {
    pub(crate) fn dial(&self) -> Duration {
        Duration::from_millis(self.dial_ms)
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }

    pub(crate) fn sweep(&self) -> Duration {
        Duration::from_millis(self.sweep_ms.max(10))
    }
}
