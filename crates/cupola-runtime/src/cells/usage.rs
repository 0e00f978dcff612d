//! What an instance uses, as the difference between two readings.

use std::{path::Path, time::Duration};

use cupola_domain::time::Timestamp;
use cupola_ports::cells::{ActualInstance, Usage};

use crate::{
    cgroups::Cgroup,
    records::{self, Started},
    shim::names,
};

/// Counters of one instance at one time.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    at: Duration,
    cpu_ns: u64,
    log_bytes: u64,
    memory_bytes: u64,
    disk_bytes: u64,
}

impl Reading {
    /// None if the instance has no container now.
    pub(super) fn take(
        instance: &ActualInstance,
        folder: &Path,
        cgroup_parent: &str,
        log_bytes: u64,
        at: Duration,
    ) -> Option<Self> {
        let cgroup = Cgroup::new(&format!("{cgroup_parent}/{}", instance.id));
        Some(Self {
            at,
            cpu_ns: cgroup.cpu_ns()?,
            memory_bytes: cgroup.memory_bytes()?,
            disk_bytes: disk_bytes(folder).unwrap_or(0),
            log_bytes,
        })
    }

    pub(super) fn usage(
        &self,
        previous: Option<&Self>,
        started_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Usage {
        let uptime = started_at.map_or(Duration::ZERO, |started| now.since(started));
        // Without an earlier reading: the average over its whole life.
        let (since, cpu_ns, log_bytes) = match previous {
            Some(previous) if self.at > previous.at => (
                self.at.saturating_sub(previous.at),
                self.cpu_ns.saturating_sub(previous.cpu_ns),
                self.log_bytes.saturating_sub(previous.log_bytes),
            ),
            _ => (uptime.max(Duration::from_millis(1)), self.cpu_ns, self.log_bytes),
        };
        let seconds = since.as_secs_f64();
        Usage {
            cpu_cores: Duration::from_nanos(cpu_ns).as_secs_f64() / seconds,
            memory_bytes: self.memory_bytes,
            disk_bytes: self.disk_bytes,
            log_bytes_per_s: per_second(log_bytes, seconds),
            uptime_s: uptime.as_secs(),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people; it is never negative"
)]
fn per_second(count: u64, seconds: f64) -> u64 {
    (count as f64 / seconds) as u64
}

/// Blocks in use on the container's disk, which only its own mount table shows.
fn disk_bytes(folder: &Path) -> Option<u64> {
    let started: Started = records::read(&folder.join(names::STARTED)).ok()??;
    let disk = rustix::fs::statvfs(format!("/proc/{}/root", started.pid)).ok()?;
    Some(disk.f_blocks.saturating_sub(disk.f_bfree).saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_the_difference_of_two_readings() {
        let reading = |at_s, cpu_ms: u64, log_bytes| Reading {
            at: Duration::from_secs(at_s),
            cpu_ns: cpu_ms * 1_000_000,
            log_bytes,
            memory_bytes: 10,
            disk_bytes: 20,
        };
        let now = Timestamp::from_micros(60_000_000);

        let usage = reading(14, 1500, 300).usage(
            Some(&reading(10, 500, 100)),
            Some(Timestamp::from_micros(50_000_000)),
            now,
        );

        assert!((usage.cpu_cores - 0.25).abs() < 1e-9);
        assert_eq!(usage.log_bytes_per_s, 50);
        assert_eq!(usage.uptime_s, 10);
    }
}
