//! The life of one instance: start or adopt, watch, stop, report, forget.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cupola_domain::{
    instances::{ExitCause, ListenDetail},
    time::Timestamp,
};
use cupola_ports::{
    cells::{ActualInstance, DesiredInstance, ExitReport, Phase},
    logs::{LogLine, LogStream},
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::{
    Shared, environment,
    health::{self, Subject},
};
use crate::{
    bundle::cpu_shares_by_memory,
    containers::ContainerSpec,
    error::{Doing, RuntimeError, chain},
    layers::blocking,
    protocol::{Event, Loss, Request},
    records::{self, End, ExitRecord, InstanceRecord, Kind, Started},
    shim::names,
    shim_client::{ShimClient, ShimMode},
};

/// Written when an instance was healthy for the first time, so that its adoption keeps its route.
const HEALTHY: &str = "healthy";

/// How often a shim is looked for, and replaced, before the container counts as lost.
const ATTEMPTS: u32 = 60;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

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

/// Everything that the task of one instance needs.
pub(super) struct InstanceTask {
    shared: Arc<Shared>,
    desired: DesiredInstance,
    is_forgotten: watch::Receiver<bool>,
    log_bytes: Arc<AtomicU64>,
    folder: PathBuf,
    /// Process types as they are in the source type of a line: `APP/PROC/WEB`.
    source_type: String,
    /// Held until the instance is forgotten: somebody may still send to it.
    address: Option<Ipv4Addr>,
}

/// A container that is watched by a shim.
struct Attached {
    shim: ShimClient,
    started: Started,
    address: Ipv4Addr,
}

impl InstanceTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        desired: DesiredInstance,
        is_forgotten: watch::Receiver<bool>,
        log_bytes: Arc<AtomicU64>,
    ) -> Self {
        let folder = shared.runtime.inner.paths.instance(&desired.id.to_string());
        let source_type = format!("APP/PROC/{}", desired.process_type.to_uppercase());
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
        let text = describe(&report);
        let is_wanted = !*self.is_forgotten.borrow();
        self.tell_cell(if is_wanted { LogStream::Err } else { LogStream::Out }, text);
        self.set_phase(Phase::Exited(report));
        // Reported until it is no longer desired.
        turns_true(&mut self.is_forgotten).await;
        self.remove().await;
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

    async fn start_in(
        &self,
        slot: &crate::network::Slot,
        address: Ipv4Addr,
    ) -> Result<Attached, RuntimeError> {
        let inner = &self.shared.runtime.inner;
        let desired = &self.desired;
        let id = desired.id.to_string();
        let folder = inner.prepare_container(
            &ContainerSpec {
                id: &id,
                kind: Kind::Instance,
                layers: &desired.layers,
                stack: &desired.stack,
                argv: &desired.argv,
                environment: environment::of(desired, address),
                working_directory: &desired.working_directory,
                binds: &[],
                memory_mib: desired.limits.memory_mib,
                disk_mib: desired.limits.disk_mib,
                pids_max: inner.config.pids_max,
                cpu_shares: cpu_shares_by_memory(desired.limits.memory_mib),
                log_rate_bytes_per_s: desired.limits.log_rate_bytes_per_s,
            },
            slot,
        )?;
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

    /// Connects to the shim, or puts a new one beside the container.
    async fn find(&self, address: Ipv4Addr) -> Found {
        for _ in 0..ATTEMPTS {
            if let Ok(attached) = self.connect(address).await {
                return Found::Attached(Box::new(attached));
            }
            if let Ok(Some(record)) = records::read::<ExitRecord>(&self.folder.join(names::EXIT)) {
                return Found::Ended(record);
            }
            let self_exe = &self.shared.runtime.inner.config.self_exe;
            // Fails while another shim is just starting it.
            if ShimClient::spawn(self_exe, &self.folder, ShimMode::Adopt).await.is_err() {
                sleep(BETWEEN_ATTEMPTS).await;
            }
        }
        Found::Ended(self.lost_record())
    }

    async fn connect(&self, address: Ipv4Addr) -> std::io::Result<Attached> {
        let mut shim = ShimClient::connect(&self.folder).await?;
        match shim.attach().await? {
            Event::Status { started, .. } => Ok(Attached { shim, started, address }),
            other => Err(std::io::Error::other(format!("unexpected answer {other:?}"))),
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
        loop {
            tokio::select! {
                record = &mut pump => return self.report(&record, verdict),
                cause = &mut health, if verdict.is_none() && !is_stopping => {
                    self.tell_unhealthy(&cause);
                    verdict = Some(cause);
                    let _ = requests.send(self.stop_request()).await;
                }
                () = turns_true(&mut is_forgotten), if !is_stopping => {
                    is_stopping = true;
                    self.set_phase(Phase::Stopping);
                    let text = format!("stopping instance {}", self.desired.id);
                    self.tell_cell(LogStream::Out, text);
                    let _ = requests.send(self.stop_request()).await;
                }
            }
        }
    }

    fn stop_request(&self) -> Request {
        let grace = self.shared.runtime.inner.config.stop_grace;
        Request::Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) }
    }

    /// Takes what the shim says until the container has ended, and passes requests on to it.
    async fn pump(&self, mut shim: ShimClient, mut asked: mpsc::Receiver<Request>) -> ExitRecord {
        // Held so that nothing in the pipes is lost if the shim dies.
        let mut pipes = self.open_pipes();
        let mut unanswered: Option<Request> = None;
        loop {
            let event = tokio::select! {
                event = shim.next() => event,
                Some(request) = asked.recv() => {
                    let sent = shim.send(&request).await;
                    unanswered = Some(request);
                    if sent.is_ok() {
                        continue;
                    }
                    Err(std::io::ErrorKind::BrokenPipe.into())
                }
            };
            match event {
                Ok(Event::Exit { record }) => {
                    let _ = shim.send(&Request::Quit).await;
                    return record;
                }
                Ok(event) => self.take(event),
                Err(error) => {
                    tracing::warn!(instance.id = %self.desired.id, %error, "shim is gone");
                    match self.find(Ipv4Addr::UNSPECIFIED).await {
                        Found::Attached(attached) => shim = attached.shim,
                        Found::Ended(record) => return record,
                    }
                    self.tell_cell(
                        LogStream::Err,
                        "the process that watches this instance was replaced; \
                         lines of output may be missing"
                            .to_owned(),
                    );
                    if let Some(request) = &unanswered {
                        let _ = shim.send(request).await;
                    }
                }
            }
            if pipes.is_empty() {
                pipes = self.open_pipes();
            }
        }
    }

    fn open_pipes(&self) -> Vec<File> {
        [names::OUT, names::ERR]
            .iter()
            .filter_map(|name| {
                File::options().read(true).write(true).open(self.folder.join(name)).ok()
            })
            .collect()
    }

    fn take(&self, event: Event) {
        let app = self.desired.app_id.to_string();
        match event {
            Event::Line { at, stderr, message } => {
                let message = message.into_bytes();
                self.log_bytes.fetch_add(message.len() as u64 + 1, Ordering::Relaxed);
                self.shared.sink.append(LogLine {
                    at,
                    source_id: app,
                    source_type: self.source_type.clone(),
                    instance: self.desired.index.to_string(),
                    stream: if stderr { LogStream::Err } else { LogStream::Out },
                    message,
                });
            }
            Event::Lost { lines, why } => {
                self.shared.sink.lost(&app, lines);
                let text = match why {
                    Loss::RateLimit => format!(
                        "{lines} lines were dropped: over the log rate limit of {} bytes/s",
                        self.desired.limits.log_rate_bytes_per_s
                    ),
                    Loss::Spool => {
                        format!("{lines} lines were dropped: they came faster than they were taken")
                    }
                };
                self.shared.tell(&self.desired, &self.source_type, LogStream::Err, text);
            }
            _ => {}
        }
    }

    async fn watch_health(&self, subject: Subject) -> ExitCause {
        let (liveness, readiness) = (&self.desired.health_check, &self.desired.readiness_check);
        let was_healthy = self.folder.join(HEALTHY).exists();
        if !was_healthy {
            let began = self.shared.clock.monotonic();
            if let Err(cause) = health::first_success(liveness, subject).await {
                return cause;
            }
            let took = self.shared.clock.monotonic().saturating_sub(began).as_secs_f64();
            let _ = std::fs::write(self.folder.join(HEALTHY), "");
            self.tell_cell(LogStream::Out, format!("container is healthy after {took:.2} s"));
            let ready = readiness.check == cupola_domain::processes::Check::Process;
            self.set_phase(Phase::Running { ready, failing: None });
        }
        tokio::select! {
            cause = health::until_unhealthy(liveness, subject, |failing| self.set_failing(failing)) => cause,
            cause = health::follow_readiness(readiness, subject, |result| self.set_ready(result)) => cause,
        }
    }

    fn set_failing(&self, now: Option<String>) {
        if let Some(detail) = &now {
            let text = format!("health check failed: {detail}");
            self.shared.tell(&self.desired, "HEALTH", LogStream::Err, text);
        }
        self.change_running(|_, failing| *failing = now);
    }

    fn set_ready(&self, result: Result<(), String>) {
        if let Err(detail) = &result {
            let text = format!("readiness check failed: {detail}");
            self.shared.tell(&self.desired, "HEALTH", LogStream::Err, text);
        }
        self.change_running(|ready, failing| {
            *ready = result.is_ok();
            *failing = result.err();
        });
    }

    fn change_running(&self, change: impl FnOnce(&mut bool, &mut Option<String>)) {
        self.shared.change(|state| {
            let actual = state.instances.get_mut(&self.desired.id);
            if let Some(Phase::Running { ready, failing }) = actual.map(|actual| &mut actual.phase)
            {
                change(ready, failing);
            }
        });
    }

    fn tell_unhealthy(&self, cause: &ExitCause) {
        let text = match cause {
            ExitCause::NeverHealthy { timeout_s, detail } => {
                format!(
                    "not healthy within {timeout_s} s: {}",
                    describe_listening(detail, self.desired.port)
                )
            }
            ExitCause::Unhealthy { detail } => format!("no longer healthy: {detail}"),
            _ => return,
        };
        self.shared.tell(&self.desired, "HEALTH", LogStream::Err, text);
    }

    fn set_phase(&self, phase: Phase) {
        self.shared.change(|state| {
            if let Some(actual) = state.instances.get_mut(&self.desired.id) {
                actual.phase = phase;
            }
        });
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
        let cause = verdict.unwrap_or_else(|| match &record.end {
            _ if was_asked => ExitCause::Stopped,
            End::Exited { code: 137 } | End::Signaled { signal: 9 } if record.oom_kills > 0 => {
                ExitCause::OutOfMemory { limit_mib: self.desired.limits.memory_mib }
            }
            End::Exited { code } => ExitCause::Exited { code: *code },
            End::Signaled { signal } => ExitCause::Signaled { signal: *signal },
            End::NotStarted { detail } => ExitCause::NotStarted { detail: detail.clone() },
            End::Unknown => ExitCause::Unknown,
        });
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

    fn lost_record(&self) -> ExitRecord {
        let now = self.shared.clock.now();
        ExitRecord {
            version: records::VERSION,
            end: End::Unknown,
            oom_kills: 0,
            stop_asked: false,
            killed: false,
            disk_full: false,
            memory_peak_bytes: None,
            started_at: now,
            ended_at: now,
        }
    }

    /// Gives back what the instance held.
    async fn remove(&self) {
        let inner = self.shared.runtime.inner.clone();
        let id = self.desired.id.to_string();
        let for_files = inner.clone();
        let _ = blocking(move || {
            for_files.remove_container(&id);
            Ok(())
        })
        .await;
        self.shared.remove(self.desired.id);
        if let Some(address) = self.address {
            inner.network.release(address).await;
        }
    }
}

/// Waits for it. A sender that is gone counts: nobody wants the instance any more.
async fn turns_true(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|is_set| *is_set).await;
}

enum Found {
    Attached(Box<Attached>),
    Ended(ExitRecord),
}

/// The end of an instance in words.
fn describe(report: &ExitReport) -> String {
    let killed = if report.killed { " (killed after the grace time)" } else { "" };
    let cause = match &report.cause {
        ExitCause::Exited { code } => format!("exited with code {code}"),
        ExitCause::Signaled { signal } => format!("ended by signal {signal}"),
        ExitCause::OutOfMemory { limit_mib } => {
            format!("out of memory: it used more than its {limit_mib} MiB")
        }
        ExitCause::NeverHealthy { .. } => "ended because it did not become healthy".to_owned(),
        ExitCause::Unhealthy { .. } => "ended because it was no longer healthy".to_owned(),
        ExitCause::NotStarted { detail } => format!("could not be started: {detail}"),
        ExitCause::Stopped => "stopped".to_owned(),
        ExitCause::Unknown => "ended; nobody saw how".to_owned(),
    };
    format!("instance {cause}{killed}")
}

fn describe_listening(detail: &ListenDetail, port: u16) -> String {
    match detail {
        ListenDetail::Nowhere => {
            format!("it listens on no port; it should on {port}, the value of $PORT")
        }
        ListenDetail::OtherPorts { ports } => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            format!(
                "it listens on port {}; it should on {port}, the value of $PORT",
                ports.join(", ")
            )
        }
        ListenDetail::LoopbackOnly => {
            format!("it listens on port {port} only on 127.0.0.1; it should on 0.0.0.0")
        }
        ListenDetail::Answered { detail } => detail.clone(),
    }
}
