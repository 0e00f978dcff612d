//! Instances: single runs of a process, and how they ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, GenerationId, InstanceId, ProcessId},
    time::Timestamp,
};

/// Why an instance is no longer running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum ExitCause {
    /// It ended by itself.
    Exited { code: i32 },
    /// One of its sidecars ended by itself, with a code or by a signal, and it with that.
    SidecarEnded {
        sidecar: String,
        #[serde(default)]
        code: Option<i32>,
        #[serde(default)]
        signal: Option<i32>,
    },
    /// It was ended by a signal that the platform did not send.
    Signaled { signal: i32 },
    /// The kernel ended it because it used more than its memory limit.
    OutOfMemory { limit_mib: u32 },
    /// It did not become healthy within its start timeout.
    NeverHealthy { timeout_s: u32, detail: ListenDetail },
    /// It was healthy and then failed its liveness check.
    Unhealthy { detail: String },
    /// The platform could not start it.
    NotStarted { detail: String },
    /// The platform stopped it on purpose.
    Stopped,
    /// Its end was not seen: the host was restarted, or its init was killed.
    Unknown,
}

/// What was seen of the ports of an instance that failed its check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "listens", rename_all = "snake_case")]
pub enum ListenDetail {
    /// On no port at all.
    Nowhere,
    /// On other ports than the one it was told: the lowest, and how many more.
    OtherPorts {
        ports: Vec<u16>,
        #[serde(default)]
        more: usize,
    },
    /// On the right port, but only on the loopback address of its container.
    LoopbackOnly,
    /// On the right port; the check itself failed.
    Answered { detail: String },
}

/// How one run of a process ended. Kept for `why`. Version 1 of the exit record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub instance_id: InstanceId,
    pub app_id: AppId,
    pub process_id: ProcessId,
    pub process_type: String,
    pub index: u32,
    pub cause: ExitCause,
    /// The instance left on SIGTERM (false) or had to be killed after the grace time (true).
    pub killed: bool,
    pub memory_peak_bytes: Option<u64>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    /// Crashes in a row of this index, this one included; 0 if it was stopped on purpose.
    pub crash_count: u32,
    /// When the platform starts it again; none if it was stopped or given up.
    pub restart_at: Option<Timestamp>,
}

/// Where an instance is between being wanted and being gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Wanted of the cell, or seen by it and not yet healthy.
    Starting,
    /// Healthy.
    Running,
    /// Its route is taken away; it is told to end when its requests are answered.
    Draining,
    /// Told to end.
    Stopping,
    /// Ended by itself; waits for `restart_at`.
    Crashed,
    /// Given up after too many crashes in a row.
    Down,
}

/// The platform's memory of one index of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    pub app_id: AppId,
    pub process_id: ProcessId,
    pub index: u32,
    pub generation: GenerationId,
    pub state: InstanceState,
    /// It was told that this run gets requests.
    #[serde(default)]
    pub was_ready: bool,
    pub crash_count: u32,
    pub restart_at: Option<Timestamp>,
    /// Why it is in this state, for users: the last failed check, the exit.
    pub detail: Option<String>,
    pub created_at: Timestamp,
    /// When `state` was entered.
    pub updated_at: Timestamp,
}

impl fmt::Display for ExitCause {
    /// What happened, for people: in events, in `why` and in the details of an instance.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "Exited with status {code}"),
            Self::SidecarEnded { sidecar, code: Some(code), .. } => {
                write!(f, "Its sidecar `{sidecar}` exited with status {code}")
            }
            Self::SidecarEnded { sidecar, signal: Some(signal), .. } => {
                write!(f, "Its sidecar `{sidecar}` was ended by signal {signal}")
            }
            Self::SidecarEnded { sidecar, .. } => write!(f, "Its sidecar `{sidecar}` ended"),
            Self::Signaled { signal } => write!(f, "Ended by signal {signal}"),
            Self::OutOfMemory { limit_mib } => {
                write!(f, "Exited with status 137 (out of memory: more than its {limit_mib} MiB)")
            }
            Self::NeverHealthy { timeout_s, detail } => {
                write!(f, "Failed to become healthy within {timeout_s} s: {detail}")
            }
            Self::Unhealthy { detail } => write!(f, "Failed its health check: {detail}"),
            Self::NotStarted { detail } => write!(f, "Could not be started: {detail}"),
            Self::Stopped => f.write_str("Stopped by the platform"),
            Self::Unknown => f.write_str("Ended unseen"),
        }
    }
}

/// As in `3000, 9000 and 7 more`.
pub fn list_of_ports(ports: &[u16], more: usize) -> String {
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let list = list.join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

impl fmt::Display for ListenDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => {
                f.write_str("it listens on no port; listen on the port that $PORT names")
            }
            Self::OtherPorts { ports, more } => {
                let ports = list_of_ports(ports, *more);
                write!(f, "it listens on port {ports}; listen on the port that $PORT names")
            }
            Self::LoopbackOnly => {
                f.write_str("it listens on 127.0.0.1 only; listen on 0.0.0.0 instead")
            }
            Self::Answered { detail } => f.write_str(detail),
        }
    }
}
