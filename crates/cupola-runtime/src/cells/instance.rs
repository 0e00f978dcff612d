//! The life of one instance: start or adopt, watch, stop, report, forget.

mod attachment;
mod condition;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use attachment::{Attached, Found};
use condition::HEALTHY;
use cupola_domain::{instances::ExitCause, time::Timestamp};
use cupola_ports::{
    cells::{ActualInstance, DesiredInstance, ExitReport, Phase, Work},
    logs::LogStream,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{Shared, environment, health::Subject, words};
use crate::{
    bundle::cpu_shares_by_memory,
    containers::ContainerSpec,
    error::{Doing, RuntimeError, chain},
    layers::blocking,
    network::Slot,
    protocol::Request,
    records::{self, End, ExitRecord, InstanceRecord, Kind, Started},
    shim::names,
    shim_client::{ShimClient, ShimMode},
    teardown,
};

/// Where an instance comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    New,
    /// It was started by an earlier control process.
    Adopted {
        address: Ipv4Addr,
        is_same_boot: bool,
    },
}

/// How long the end of a stopped instance is told, if nobody asks for anything meanwhile.
const STOPPED_TOLD_FOR: Duration = Duration::from_secs(1);

/// Everything that the task of one instance needs.
pub(super) struct InstanceTask {
    shared: Arc<Shared>,
    desired: DesiredInstance,
    is_forgotten: watch::Receiver<bool>,
    log_bytes: Arc<AtomicU64>,
    folder: PathBuf,
    /// As lines have it: `APP/PROC/WEB`, `APP/TASK/migrate`.
    source_type: String,
    /// Held until the instance is forgotten: somebody may still send to it.
    address: Option<Ipv4Addr>,
}

impl InstanceTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        desired: DesiredInstance,
        is_forgotten: watch::Receiver<bool>,
        log_bytes: Arc<AtomicU64>,
    ) -> Self {
        let folder = shared.runtime.inner.paths.instance(&desired.id.to_string());
        let source_type = match desired.work {
            Work::Process => format!("APP/PROC/{}", desired.process_type.to_uppercase()),
            Work::Task => format!("APP/TASK/{}", desired.process_type),
        };
        Self { shared, desired, is_forgotten, log_bytes, folder, source_type, address: None }
    }

    /// What is known before the task has looked.
    pub(super) fn first_sight(&self, origin: Origin) -> ActualInstance {
        let (address, was_healthy) = match origin {
            Origin::New => (None, false),
            Origin::Adopted { address, .. } => (Some(address), self.folder.join(HEALTHY).exists()),
        };
        let phase = if was_healthy {
            Phase::Running { ready: true, failing: None }
        } else {
            Phase::Starting
        };
        let started: Option<Started> =
            records::read(&self.folder.join(names::STARTED)).ok().flatten();
        ActualInstance {
            id: self.desired.id,
            app_id: self.desired.app_id,
            process_id: self.desired.process_id,
            index: self.desired.index,
            phase,
            address: address.map(|ip| SocketAddr::new(ip.into(), self.desired.port)),
            started_at: started.map(|started| started.at),
        }
    }

    pub(super) async fn run(mut self, origin: Origin) {
        let began_at = self.shared.clock.now();
        let report = match self.live(origin).await {
            Ok(report) => report,
            Err(error) => {
                let detail = chain(&error);
                tracing::error!(instance.id = %self.desired.id, %detail, "instance did not start");
                self.report_of(ExitCause::NotStarted { detail }, began_at)
            }
        };
        let text = words::of_end(&report);
        let is_wanted = !*self.is_forgotten.borrow();
        self.tell_cell(if is_wanted { LogStream::Err } else { LogStream::Out }, text);
        self.is_forgotten.mark_unchanged();
        self.set_phase(Phase::Exited(report));
        // Reported until it is no longer desired. One that was told to stop is reported until the
        // next word of control, which may want to know how it ended.
        if is_wanted {
            turns_true(&mut self.is_forgotten).await;
            self.give_back().await;
        } else {
            self.give_back().await;
            let _ = timeout(STOPPED_TOLD_FOR, self.is_forgotten.changed()).await;
        }
        self.shared.remove(self.desired.id);
    }

    async fn live(&mut self, origin: Origin) -> Result<ExitReport, RuntimeError> {
        if let Origin::Adopted { address, .. } = origin {
            self.address = Some(address);
        }
        let attached = match origin {
            Origin::New => self.start().await?,
            Origin::Adopted { is_same_boot: false, .. } => {
                return Ok(self.report_of(ExitCause::Unknown, self.shared.clock.now()));
            }
            Origin::Adopted { address, .. } => match self.find(address).await {
                Found::Attached(attached) => *attached,
                Found::Ended(record) => return Ok(self.report(&record, None)),
            },
        };
        Ok(self.watch(attached).await)
    }

    async fn start(&mut self) -> Result<Attached, RuntimeError> {
        let inner = self.shared.runtime.inner.clone();
        let permit = inner.starts.acquire().await.map_err(std::io::Error::other);
        let _permit = permit.doing(|| "wait for other starts".to_owned())?;
        self.tell_cell(
            LogStream::Out,
            format!("creating container for instance {}", self.desired.id),
        );
        let slot = inner.network.app_slot().await?;
        self.address = slot.address;
        self.start_in(&slot, slot.address.unwrap_or(Ipv4Addr::UNSPECIFIED)).await
    }

    async fn start_in(&self, slot: &Slot, address: Ipv4Addr) -> Result<Attached, RuntimeError> {
        let inner = &self.shared.runtime.inner;
        let desired = &self.desired;
        let id = desired.id.to_string();
        let folder = inner
            .prepare_container(
                &ContainerSpec {
                    id: &id,
                    kind: Kind::Instance,
                    layers: &desired.layers,
                    stack: &desired.stack,
                    argv: &desired.argv,
                    sidecars: &desired.sidecars,
                    environment: environment::of(desired, address),
                    working_directory: &desired.working_directory,
                    binds: &[],
                    files: &desired.files,
                    memory_mib: desired.limits.memory_mib,
                    disk_mib: desired.limits.disk_mib,
                    pids_max: inner.config.pids_max,
                    cpu_shares: cpu_shares_by_memory(desired.limits.memory_mib),
                    log_rate_bytes_per_s: desired.limits.log_rate_bytes_per_s,
                },
                slot,
            )
            .await?;
        let record =
            InstanceRecord { version: records::VERSION, desired: desired.clone(), address };
        records::write(&folder.join(names::INSTANCE), &record)?;
        ShimClient::spawn(&inner.config.self_exe, &folder, ShimMode::Start).await?;
        let not_there = || RuntimeError::NotStarted { detail: "its shim is gone".to_owned() };
        match self.find(address).await {
            Found::Attached(attached) => Ok(*attached),
            Found::Ended(_) => Err(not_there()),
        }
    }

    /// From the start of the container to its end.
    async fn watch(&mut self, attached: Attached) -> ExitReport {
        let Attached { shim, started, address } = attached;
        let address = SocketAddr::new(address.into(), self.desired.port);
        self.shared.change(|state| {
            if let Some(actual) = state.instances.get_mut(&self.desired.id) {
                actual.address = Some(address);
                actual.started_at = Some(started.at);
            }
        });
        let subject = Subject { address, pid: started.pid };
        let mut is_forgotten = self.is_forgotten.clone();
        let (requests, asked) = mpsc::channel(4);
        let pump = self.pump(shim, asked);
        let health = self.watch_health(subject);
        tokio::pin!(pump, health);
        let mut verdict = None;
        let mut is_stopping = false;
        let mut give_up_at: Option<Instant> = None;
        loop {
            let give_up = async {
                match give_up_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                record = &mut pump => return self.report(&record, verdict),
                () = give_up => {
                    tracing::warn!(instance.id = %self.desired.id, "its shim does not answer");
                    return self.report(&self.lost_record(), verdict);
                }
                cause = &mut health, if verdict.is_none() && !is_stopping => {
                    self.tell_unhealthy(&cause);
                    verdict = Some(cause);
                    give_up_at.get_or_insert(Instant::now() + self.stop_time_max());
                    let _ = requests.send(self.stop_request()).await;
                }
                () = turns_true(&mut is_forgotten), if !is_stopping => {
                    is_stopping = true;
                    give_up_at.get_or_insert(Instant::now() + self.stop_time_max());
                    self.set_phase(Phase::Stopping);
                    let text = format!("stopping instance {}", self.desired.id);
                    self.tell_cell(LogStream::Out, text);
                    let _ = requests.send(self.stop_request()).await;
                }
            }
        }
    }

    /// From the request to stop to the word of the end, if the shim is well.
    fn stop_time_max(&self) -> Duration {
        let config = &self.shared.runtime.inner.config;
        config.stop_grace + config.shim_patience
    }

    fn stop_request(&self) -> Request {
        let grace = self.shared.runtime.inner.config.stop_grace;
        Request::Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) }
    }

    fn tell_cell(&self, stream: LogStream, text: String) {
        self.shared.tell(&self.desired, "CELL", stream, text);
    }

    fn report_of(&self, cause: ExitCause, started_at: Timestamp) -> ExitReport {
        let ended_at = self.shared.clock.now();
        ExitReport { cause, killed: false, memory_peak_bytes: None, started_at, ended_at }
    }

    /// What the record of the shim means. `verdict` is why the cell itself ended it.
    fn report(&self, record: &ExitRecord, verdict: Option<ExitCause>) -> ExitReport {
        let was_asked = record.stop_asked || *self.is_forgotten.borrow();
        let sidecar = record.sidecar.map(|number| self.name_of_sidecar(number));
        let limit_mib = self.desired.limits.memory_mib;
        let cause = match verdict {
            Some(verdict) => verdict,
            None if was_asked => ExitCause::Stopped,
            None => cause_of(record, sidecar, limit_mib),
        };
        if record.oom_kills > 0 && !matches!(cause, ExitCause::OutOfMemory { .. }) {
            let text = format!(
                "out of memory: the kernel ended {} of its processes at {} MiB",
                record.oom_kills, self.desired.limits.memory_mib
            );
            self.tell_cell(LogStream::Err, text);
        }
        if record.disk_full {
            let text = format!("its disk of {} MiB was full", self.desired.limits.disk_mib);
            self.tell_cell(LogStream::Err, text);
        }
        ExitReport {
            cause,
            killed: record.killed,
            memory_peak_bytes: record.memory_peak_bytes,
            started_at: record.started_at,
            ended_at: record.ended_at,
        }
    }

    fn name_of_sidecar(&self, number: u16) -> String {
        let sidecar = self.desired.sidecars.get(usize::from(number));
        sidecar.map_or_else(|| number.to_string(), |sidecar| sidecar.name.clone())
    }

    /// Gives back what the instance held.
    async fn give_back(&self) {
        let inner = self.shared.runtime.inner.clone();
        let id = self.desired.id.to_string();
        let (for_files, folder) = (inner.clone(), self.folder.clone());
        let _ = blocking(move || {
            // Whatever a shim that did not end properly has left.
            teardown::end_now(&for_files.oci.program, &for_files.paths, &folder);
            for_files.remove_container(&id);
            Ok(())
        })
        .await;
        if let Some(address) = self.address {
            inner.network.release(address).await;
        }
    }
}

/// Why an instance ended that nobody told to: by its memory, by `sidecar`, or by the app itself.
fn cause_of(record: &ExitRecord, sidecar: Option<String>, limit_mib: u32) -> ExitCause {
    let (code, signal) = match record.end {
        End::Exited { code } => (Some(code), None),
        End::Signaled { signal } => (None, Some(signal)),
        End::NotStarted { .. } | End::Unknown => (None, None),
    };
    let was_killed = code == Some(137) || signal == Some(9);
    match (&record.end, sidecar) {
        _ if was_killed && record.oom_kills > 0 => ExitCause::OutOfMemory { limit_mib },
        (_, Some(sidecar)) => ExitCause::SidecarEnded { sidecar, code, signal },
        (End::Exited { code }, None) => ExitCause::Exited { code: *code },
        (End::Signaled { signal }, None) => ExitCause::Signaled { signal: *signal },
        (End::NotStarted { detail }, None) => ExitCause::NotStarted { detail: detail.clone() },
        (End::Unknown, None) => ExitCause::Unknown,
    }
}

/// Waits for it. A sender that is gone counts: nobody wants the instance any more.
async fn turns_true(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|is_set| *is_set).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(end: End, oom_kills: u64) -> ExitRecord {
        let now = Timestamp::from_micros(0);
        ExitRecord {
            version: records::VERSION,
            end,
            sidecar: None,
            oom_kills,
            stop_asked: false,
            killed: false,
            disk_full: false,
            memory_peak_bytes: None,
            started_at: now,
            ended_at: now,
        }
    }

    #[test]
    fn end_of_a_sidecar_is_its_own_though_memory_ran_out_elsewhere() {
        let tail = || Some("tail".to_owned());
        let cause = |end, oom_kills, sidecar| cause_of(&record(end, oom_kills), sidecar, 64);

        let of_itself = cause(End::Exited { code: 1 }, 1, tail());
        let of_memory = cause(End::Signaled { signal: 9 }, 1, tail());
        let of_app = cause(End::Exited { code: 1 }, 1, None);
        let killed = cause(End::Exited { code: 137 }, 0, None);

        let (sidecar, code) = ("tail".to_owned(), Some(1));
        assert_eq!(of_itself, ExitCause::SidecarEnded { sidecar, code, signal: None });
        assert_eq!(of_memory, ExitCause::OutOfMemory { limit_mib: 64 });
        assert_eq!(of_app, ExitCause::Exited { code: 1 });
        assert_eq!(killed, ExitCause::Exited { code: 137 });
    }
}
