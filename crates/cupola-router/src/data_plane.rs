//! Control's side: the `DataPlane` port over the router's control socket.
//!
//! Level-triggered: the newest wanted table is what counts. After every connect the whole table is
//! sent, then what changed. While the router cannot be reached the report says so: what it served
//! and how busy instances are is unknown, not zero.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use cupola_domain::{ids::InstanceId, route_table::RouteTable};
use cupola_ports::data_plane::{
    AccessLine, Counted, DataPlane, DataPlaneError, InstanceTraffic, TrafficReport,
};
use tokio::{
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, mpsc, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};

use crate::{
    access_log,
    control::protocol::{self, Frame, FromRouter, PROTOCOL, Report, ToRouter},
    table_owner::Delta,
};

const ACCESS_LINES_MAX: usize = 16_384;
/// A minute of reports; more are summed while nobody takes them.
const COUNTED_MAX: usize = 240;
const COMMANDS_MAX: usize = 256;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_millis(50);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(1);

/// The data plane of this machine. Reconnects for as long as it lives.
pub struct RouterClient {
    wanted: watch::Sender<Option<Arc<RouteTable>>>,
    close_tunnels: mpsc::Sender<InstanceId>,
    report: watch::Receiver<Arc<TrafficReport>>,
    access: Mutex<Option<mpsc::Receiver<AccessLine>>>,
    counted: Mutex<Option<mpsc::Receiver<Counted>>>,
    is_connected: Arc<AtomicBool>,
    task: AbortHandle,
}

impl RouterClient {
    /// Begins to connect to the router behind `control_socket`. Call it within a tokio runtime.
    pub fn start(control_socket: impl Into<PathBuf>) -> Self {
        Self::start_with(control_socket.into(), 0)
    }

    /// Of a router that has just replaced another, which may still answer requests.
    pub fn start_after_handover(control_socket: impl Into<PathBuf>) -> Self {
        Self::start_with(control_socket.into(), 1)
    }

    fn start_with(socket: PathBuf, handovers: u64) -> Self {
        let (wanted, wanted_receiver) = watch::channel(None);
        let (close_tunnels, commands) = mpsc::channel(COMMANDS_MAX);
        let (report_sender, report) = watch::channel(Arc::default());
        let (access_sender, access) = mpsc::channel(ACCESS_LINES_MAX);
        let (counted_sender, counted) = mpsc::channel(COUNTED_MAX);
        let is_connected = Arc::<AtomicBool>::default();
        let link = Link {
            socket,
            wanted: wanted_receiver,
            commands,
            report: report_sender,
            access: access_sender,
            access_lines_lost: AtomicU64::new(0),
            counted: counted_sender,
            untaken: None,
            pid: None,
            restarts: 0,
            handovers,
            is_connected: is_connected.clone(),
        };
        let task = tokio::spawn(link.run()).abort_handle();
        let (access, counted) = (Mutex::new(Some(access)), Mutex::new(Some(counted)));
        Self { wanted, close_tunnels, report, access, counted, is_connected, task }
    }
}

impl Drop for RouterClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl DataPlane for RouterClient {
    async fn apply(&self, table: Arc<RouteTable>) -> Result<(), DataPlaneError> {
        self.wanted.send_replace(Some(table));
        Ok(())
    }

    fn report(&self) -> watch::Receiver<Arc<TrafficReport>> {
        self.report.clone()
    }

    fn access_log(&self) -> Option<mpsc::Receiver<AccessLine>> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn request_counts(&self) -> Option<mpsc::Receiver<Counted>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn close_tunnels(&self, instance: InstanceId) -> Result<(), DataPlaneError> {
        let failed = |why: &str| DataPlaneError {
            action: format!("close the tunnels of instance {instance}"),
            source: why.into(),
        };
        if !self.is_connected.load(Relaxed) {
            return Err(failed("the router does not answer; it is started again if it died"));
        }
        self.close_tunnels.send(instance).await.map_err(|_| failed("the connection has ended"))
    }
}

struct Link {
    socket: PathBuf,
    wanted: watch::Receiver<Option<Arc<RouteTable>>>,
    commands: mpsc::Receiver<InstanceId>,
    report: watch::Sender<Arc<TrafficReport>>,
    access: mpsc::Sender<AccessLine>,
    /// Lines that came while nobody took them, of this side only.
    access_lines_lost: AtomicU64,
    counted: mpsc::Sender<Counted>,
    /// What waits until there is room.
    untaken: Option<Counted>,
    /// Of the router that answered last.
    pid: Option<u32>,
    restarts: u64,
    handovers: u64,
    is_connected: Arc<AtomicBool>,
}

impl Link {
    async fn run(mut self) {
        let mut retry_after = RETRY_AFTER;
        loop {
            match connect(&self.socket).await {
                Ok((stream, pid)) => {
                    retry_after = RETRY_AFTER;
                    let is_another = self.pid.replace(pid).is_some_and(|last| last != pid);
                    self.restarts += u64::from(is_another);
                    self.is_connected.store(true, Relaxed);
                    let error = self.session(stream).await;
                    self.is_connected.store(false, Relaxed);
                    self.forget_report();
                    tracing::warn!(%error, "the connection to the router ended");
                }
                Err(error) => {
                    tracing::debug!(%error, "the router does not answer yet");
                    retry_after = (retry_after * 2).min(RETRY_AFTER_MAX);
                }
            }
            sleep(retry_after).await;
        }
    }

    /// Missing is not zero.
    fn forget_report(&self) {
        let access_lines_lost = self.report.borrow().access_lines_lost;
        let (restarts, handovers) = (self.restarts, self.handovers);
        self.report.send_replace(Arc::new(TrafficReport {
            restarts,
            handovers,
            access_lines_lost,
            ..TrafficReport::default()
        }));
    }

    async fn session(&mut self, stream: UnixStream) -> io::Error {
        let (from, to) = stream.into_split();
        let resync = Notify::new();
        let mut reader = Reader {
            report: &self.report,
            access: &self.access,
            lost: &self.access_lines_lost,
            counted: &self.counted,
            untaken: &mut self.untaken,
            restarts: self.restarts,
            handovers: &mut self.handovers,
            instances: HashMap::new(),
            resync: &resync,
        };
        self.wanted.mark_changed();
        let ended = tokio::select! {
            ended = reader.run(from) => ended,
            ended = write(to, &mut self.wanted, &mut self.commands, &resync) => ended,
        };
        ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// The connection, and the process id of the router at its other end.
async fn connect(socket: &Path) -> io::Result<(UnixStream, u32)> {
    let mut stream = UnixStream::connect(socket).await?;
    let hello = async {
        protocol::write(&mut stream, &ToRouter::Hello { protocol: PROTOCOL }).await?;
        protocol::read::<FromRouter>(&mut stream).await
    };
    let answer = timeout(ANSWER_WITHIN, hello).await.map_err(|_| io::ErrorKind::TimedOut)??;
    match answer {
        Frame::Json(FromRouter::Hello { protocol: PROTOCOL, pid, serving }) => {
            tracing::info!(pid, ?serving, "connected to the router");
            Ok((stream, pid))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the router speaks another protocol")),
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    wanted: &mut watch::Receiver<Option<Arc<RouteTable>>>,
    commands: &mut mpsc::Receiver<InstanceId>,
    resync: &Notify,
) -> io::Result<()> {
    let mut sent: Option<Arc<RouteTable>> = None;
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let table = wanted.borrow_and_update().clone();
                if let Some(table) = table
                    && sent.as_deref() != Some(&table)
                {
                    protocol::write(&mut to, &message(sent.as_deref(), &table)).await?;
                    sent = Some(table);
                }
            }
            Some(instance) = commands.recv() => {
                protocol::write(&mut to, &ToRouter::CloseTunnels { instance }).await?;
            }
            () = resync.notified() => {
                if let Some(table) = &sent {
                    protocol::write(&mut to, &ToRouter::Snapshot { table: table.clone() }).await?;
                }
            }
        }
    }
}

fn message(sent: Option<&RouteTable>, wanted: &Arc<RouteTable>) -> ToRouter {
    match sent {
        Some(sent) if sent.epoch == wanted.epoch => ToRouter::Delta(Delta::between(sent, wanted)),
        _ => ToRouter::Snapshot { table: wanted.clone() },
    }
}

struct Reader<'a> {
    report: &'a watch::Sender<Arc<TrafficReport>>,
    access: &'a mpsc::Sender<AccessLine>,
    lost: &'a AtomicU64,
    counted: &'a mpsc::Sender<Counted>,
    untaken: &'a mut Option<Counted>,
    restarts: u64,
    handovers: &'a mut u64,
    instances: HashMap<InstanceId, InstanceTraffic>,
    resync: &'a Notify,
}

impl Reader<'_> {
    async fn run(&mut self, mut from: OwnedReadHalf) -> io::Result<()> {
        // Of a table that was refused once, so that a stale one is not offered without end.
        let mut has_resynced = false;
        loop {
            match protocol::read::<FromRouter>(&mut from).await? {
                Frame::Access(batch) => self.take_lines(&batch)?,
                Frame::Json(FromRouter::Report(report)) => {
                    has_resynced = false;
                    self.publish(report);
                }
                Frame::Json(FromRouter::Refused { reason, serving }) => {
                    tracing::error!(reason, ?serving, "the router refused a route table");
                    if !has_resynced {
                        has_resynced = true;
                        self.resync.notify_one();
                    }
                }
                Frame::Json(_) => {}
            }
        }
    }

    fn take_lines(&self, batch: &[u8]) -> io::Result<()> {
        let lines = access_log::decode(batch).ok_or(io::ErrorKind::InvalidData)?;
        for line in lines {
            if self.access.try_send(line).is_err() {
                self.lost.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    fn publish(&mut self, report: Report) {
        *self.handovers += u64::from(report.is_last);
        let is_counting = report.counted_ms.is_some();
        if let Some(counted_ms) = report.counted_ms {
            let period = Duration::from_millis(counted_ms);
            self.hand_over(Counted { period, apps: report.counts });
        }
        for id in &report.gone {
            self.instances.remove(id);
        }
        self.instances.extend(report.instances);
        self.report.send_replace(Arc::new(TrafficReport {
            serving: report.serving,
            instances: self.instances.clone(),
            restarts: self.restarts,
            handovers: *self.handovers,
            access_lines_lost: report.access_lines_lost + self.lost.load(Relaxed),
            is_counting,
        }));
    }

    fn hand_over(&mut self, counted: Counted) {
        let counted = match self.untaken.take() {
            Some(untaken) => sum(untaken, counted),
            None => counted,
        };
        if let Err(error) = self.counted.try_send(counted) {
            *self.untaken = Some(error.into_inner());
        }
    }
}

fn sum(mut first: Counted, next: Counted) -> Counted {
    first.period += next.period;
    for (app, counts) in next.apps {
        match first.apps.iter_mut().find(|(known, _)| *known == app) {
            Some((_, sum)) => sum.add(&counts),
            None => first.apps.push((app, counts)),
        }
    }
    first
}
