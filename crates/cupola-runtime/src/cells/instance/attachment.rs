//! The way from an instance's task to its shim: finding it, replacing it, passing on what it says.

use std::{fs::File, net::Ipv4Addr, sync::atomic::Ordering, time::Duration};

use cupola_ports::logs::{LogLine, LogStream};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::InstanceTask;
use crate::{
    protocol::{Event, Loss, Request},
    records::{self, End, ExitRecord, Started},
    shim::names,
    shim_client::{ShimClient, ShimMode},
};

/// How often a shim is looked for, and replaced, before the container counts as lost.
const ATTEMPTS: u32 = 60;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

/// A container that is watched by a shim.
pub(super) struct Attached {
    pub(super) shim: ShimClient,
    pub(super) started: Started,
    pub(super) address: Ipv4Addr,
}

pub(super) enum Found {
    Attached(Box<Attached>),
    Ended(ExitRecord),
}

impl InstanceTask {
    /// Connects to the shim, or puts a new one beside the container.
    pub(super) async fn find(&self, address: Ipv4Addr) -> Found {
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
        let attached = async {
            let mut shim = ShimClient::connect(&self.folder).await?;
            let answer = shim.attach().await?;
            std::io::Result::Ok((shim, answer))
        };
        let patience = self.shared.runtime.inner.config.shim_patience;
        let (shim, answer) = timeout(patience, attached).await??;
        match answer {
            Event::Status { started, .. } => Ok(Attached { shim, started, address }),
            other => Err(std::io::Error::other(format!("unexpected answer {other:?}"))),
        }
    }

    /// Takes what the shim says until the container has ended, and passes requests on to it.
    pub(super) async fn pump(
        &self,
        mut shim: ShimClient,
        mut asked: mpsc::Receiver<Request>,
    ) -> ExitRecord {
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
        let sidecars = u16::try_from(self.desired.sidecars.len()).unwrap_or(u16::MAX);
        let programs = [None].into_iter().chain((0..sidecars).map(Some));
        let names = programs
            .flat_map(|one| [names::OUT, names::ERR].map(|name| names::of_stream(name, one)));
        let open = |name| File::options().read(true).write(true).open(self.folder.join(name)).ok();
        names.filter_map(open).collect()
    }

    /// As lines of the instance, or of one of its sidecars, have it.
    fn source_of(&self, sidecar: Option<u16>) -> String {
        match sidecar {
            None => self.source_type.clone(),
            Some(number) => {
                let name = self.name_of_sidecar(number).to_uppercase();
                format!("{}/SIDECAR/{name}", self.source_type)
            }
        }
    }

    fn take(&self, event: Event) {
        let app = self.desired.app_id.to_string();
        match event {
            Event::Line { at, stderr, sidecar, message } => {
                let message = message.into_bytes();
                self.log_bytes.fetch_add(message.len() as u64 + 1, Ordering::Relaxed);
                self.shared.sink.append(LogLine {
                    at,
                    source_id: app,
                    source_type: self.source_of(sidecar),
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

    pub(super) fn lost_record(&self) -> ExitRecord {
        let now = self.shared.clock.now();
        ExitRecord {
            version: records::VERSION,
            end: End::Unknown,
            sidecar: None,
            oom_kills: 0,
            stop_asked: false,
            killed: false,
            disk_full: false,
            memory_peak_bytes: None,
            started_at: now,
            ended_at: now,
        }
    }
}
