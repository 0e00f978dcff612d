//! The router's end of the control socket: takes tables, sends reports and access lines.
//!
//! Invariant: whatever happens here, requests go on. A session that ends or says nonsense changes
//! nothing of what is served.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cupola_domain::{ids::InstanceId, route_table::RouteTable};
use cupola_ports::data_plane::InstanceTraffic;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, Interest},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    task::{AbortHandle, JoinHandle, spawn_local},
    time::{MissedTickBehavior, interval, timeout},
};

use super::protocol::{self, Frame, FromRouter, PROTOCOL, Report, ToRouter};
use crate::{
    access_log::{Batch, Spool},
    accounts::{Accounts, Told},
    saved::SavedTable,
    table_owner::{ApplyError, TableOwner},
    worker::Shared,
};

/// How often access lines are collected.
const COLLECT_EVERY: Duration = Duration::from_millis(100);
/// How long a retired, idle instance is still reported: control must be able to see the zero.
const FORGET_AFTER_MS: u64 = 60_000;
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(5);
const LAST_WORD_WITHIN: Duration = Duration::from_secs(2);

pub(crate) struct Control {
    shared: Arc<Shared>,
    owner: RefCell<TableOwner>,
    spool: RefCell<Spool>,
    listeners: RefCell<Vec<OwnedFd>>,
    addresses: Vec<SocketAddr>,
    saved: SavedTable,
    is_unsaved: Notify,
    /// Grows with every session; only the newest is served.
    session: Cell<u64>,
    /// Tells the session's writer that there may be something to send.
    news: Notify,
    gone: RefCell<Vec<InstanceId>>,
    refusal: RefCell<Option<String>>,
    /// Here and not in the task that accepts, so that closing it takes effect at once.
    socket: RefCell<Option<UnixListener>>,
    /// What ends when the drain begins.
    tasks: RefCell<Vec<AbortHandle>>,
    /// Writes to the newest session.
    writer: RefCell<Option<JoinHandle<()>>>,
    drain: Notify,
    drain_within: Cell<Duration>,
}

impl Control {
    pub(crate) fn new(
        shared: Arc<Shared>,
        owner: TableOwner,
        saved: SavedTable,
        listeners: Vec<OwnedFd>,
        addresses: Vec<SocketAddr>,
    ) -> Rc<Self> {
        let spool = RefCell::new(Spool::new(shared.limits.spool_bytes_max));
        let drain_within = Cell::new(shared.limits.drain());
        Rc::new(Self {
            shared,
            owner: RefCell::new(owner),
            spool,
            listeners: RefCell::new(listeners),
            addresses,
            saved,
            is_unsaved: Notify::new(),
            session: Cell::new(0),
            news: Notify::new(),
            gone: RefCell::default(),
            refusal: RefCell::default(),
            socket: RefCell::default(),
            tasks: RefCell::default(),
            writer: RefCell::default(),
            drain: Notify::new(),
            drain_within,
        })
    }

    pub(crate) fn start(self: &Rc<Self>, socket: UnixListener) {
        self.socket.replace(Some(socket));
        let tasks = [spawn_local(self.clone().accept()), spawn_local(self.clone().save())];
        self.tasks.borrow_mut().extend(tasks.iter().map(JoinHandle::abort_handle));
        spawn_local(self.clone().collect());
    }

    /// Until somebody asks for the end; then how long it may take.
    pub(crate) async fn asked_to_drain(&self) -> Duration {
        self.drain.notified().await;
        self.drain_within.get()
    }

    pub(crate) fn drain_within(&self) -> Duration {
        self.drain_within.get()
    }

    /// Makes way for a successor: it finds the table saved, the control socket free, and control
    /// without a session. New connections are refused unless somebody else holds the sockets too.
    pub(crate) fn begin_drain(&self) {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        if tasks.is_empty() {
            return;
        }
        tasks.iter().for_each(AbortHandle::abort);
        self.socket.take();
        self.listeners.borrow_mut().clear();
        if let Err(error) = self.saved.save_last(&self.owner.borrow().table()) {
            tracing::error!(%error, "the route table is not saved");
        }
        self.session.set(self.session.get() + 1);
        self.news.notify_waiters();
    }

    /// Until control has the last report, or does not take it.
    pub(crate) async fn last_word(&self) {
        let writer = self.writer.take();
        if let Some(writer) = writer
            && timeout(LAST_WORD_WITHIN, writer).await.is_err()
        {
            tracing::warn!("control does not take the last report");
        }
    }

    fn makes_way(&self) -> bool {
        self.socket.borrow().is_none()
    }

    async fn accept(self: Rc<Self>) {
        loop {
            match poll_fn(|cx| self.poll_accept(cx)).await {
                Ok(Some(stream)) => drop(spawn_local(self.clone().serve(stream))),
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "cannot accept on the control socket");
                    tokio::time::sleep(COLLECT_EVERY).await;
                }
            }
        }
    }

    /// None once the socket was closed for a successor.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<UnixStream>>> {
        match &*self.socket.borrow() {
            Some(socket) => socket.poll_accept(cx).map_ok(|(stream, _)| Some(stream)),
            None => Poll::Ready(Ok(None)),
        }
    }

    async fn serve(self: Rc<Self>, mut stream: UnixStream) {
        let first = timeout(FIRST_MESSAGE_WITHIN, protocol::read::<ToRouter>(&mut stream)).await;
        let result = match first {
            Ok(Ok(Frame::Json(message))) => self.answer(stream, message).await,
            Ok(Ok(Frame::Access(_))) | Err(_) => Ok(()),
            Ok(Err(error)) => Err(error),
        };
        if let Err(error) = result
            && error.kind() != io::ErrorKind::UnexpectedEof
        {
            tracing::warn!(%error, "a connection of control ended");
        }
    }

    async fn answer(self: Rc<Self>, mut stream: UnixStream, first: ToRouter) -> io::Result<()> {
        let pid = std::process::id();
        match first {
            ToRouter::Hello { protocol } => {
                let serving = self.owner.borrow().serving();
                let hello = FromRouter::Hello { protocol: PROTOCOL, pid, serving };
                protocol::write(&mut stream, &hello).await?;
                if protocol != PROTOCOL {
                    tracing::error!(
                        protocol,
                        "control speaks another protocol; it must replace me"
                    );
                    return Ok(());
                }
                let session = self.session.get() + 1;
                self.session.set(session);
                self.news.notify_waiters();
                let (from, to) = stream.into_split();
                let sending = spawn_local(self.clone().send(session, to));
                let writer = sending.abort_handle();
                self.writer.replace(Some(sending));
                let result = self.clone().receive(session, from).await;
                writer.abort();
                result
            }
            ToRouter::Listeners => {
                let addresses = self.addresses.clone();
                let serving = self.owner.borrow().serving();
                let trusted_proxies = self.shared.trusted_proxies.clone();
                let answer = FromRouter::Listeners {
                    protocol: PROTOCOL,
                    pid,
                    addresses,
                    serving,
                    trusted_proxies,
                };
                stream.writable().await?;
                let listeners = self.listeners.borrow();
                let fds: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
                stream
                    .try_io(Interest::WRITABLE, || protocol::send_with_fds(&stream, &answer, &fds))
            }
            ToRouter::Attend => {
                let attend = async move {
                    // Whoever attends may go away; nothing else comes.
                    let _gone = stream.read(&mut [0]).await;
                };
                let attending = spawn_local(attend).abort_handle();
                let mut tasks = self.tasks.borrow_mut();
                tasks.retain(|task| !task.is_finished());
                tasks.push(attending);
                Ok(())
            }
            other => {
                self.clone().take(other);
                protocol::write(&mut stream, &FromRouter::Draining).await
            }
        }
    }

    async fn receive(self: Rc<Self>, session: u64, mut from: OwnedReadHalf) -> io::Result<()> {
        tracing::info!("control is connected");
        loop {
            let frame = protocol::read::<ToRouter>(&mut from).await;
            if self.session.get() != session {
                return Ok(());
            }
            match frame {
                Ok(Frame::Json(message)) => self.take(message),
                Ok(Frame::Access(_)) => {}
                Err(error) => {
                    tracing::info!("control is gone; serving goes on");
                    return Err(error);
                }
            }
        }
    }

    fn take(&self, message: ToRouter) {
        match message {
            ToRouter::Snapshot { table } => {
                self.applied(|owner, now| owner.apply_snapshot(&table, now));
            }
            ToRouter::Delta(delta) => self.applied(|owner, now| owner.apply_delta(delta, now)),
            ToRouter::CloseTunnels { instance } => {
                if let Some(instance) = self.owner.borrow().instance(instance) {
                    instance.close_tunnels();
                }
            }
            ToRouter::Drain { deadline_ms } => {
                if let Some(deadline_ms) = deadline_ms {
                    self.drain_within.set(Duration::from_millis(deadline_ms));
                }
                self.begin_drain();
                self.drain.notify_one();
            }
            ToRouter::Hello { .. } | ToRouter::Listeners | ToRouter::Attend => {}
        }
    }

    fn applied(&self, apply: impl FnOnce(&mut TableOwner, u64) -> Result<(), ApplyError>) {
        match apply(&mut self.owner.borrow_mut(), self.shared.clock.now_ms()) {
            Ok(()) => self.is_unsaved.notify_one(),
            Err(error) => {
                tracing::warn!(%error, "a route table is refused");
                self.refusal.replace(Some(error.to_string()));
            }
        }
        self.shared.report_now.notify_one();
    }

    /// Collects access lines whether or not somebody takes them.
    async fn collect(self: Rc<Self>) {
        let mut ticks = interval(COLLECT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.spool.borrow_mut().collect(&self.shared.access);
            let now_ms = self.shared.clock.now_ms();
            let forgotten = self.owner.borrow_mut().forget_idle(now_ms, FORGET_AFTER_MS);
            self.gone.borrow_mut().extend(forgotten);
            self.news.notify_waiters();
        }
    }

    async fn send(self: Rc<Self>, session: u64, mut to: OwnedWriteHalf) {
        let mut sent = Sent::default();
        let every = Duration::from_millis(self.shared.limits.report_ms);
        while self.session.get() == session {
            let (is_urgent, refusal) = (sent.is_first(), self.refusal.take());
            let result = self.send_news(&mut to, &mut sent, is_urgent, every, refusal).await;
            if let Err(error) = result {
                tracing::debug!(%error, "cannot write to control");
                return;
            }
            tokio::select! {
                () = self.news.notified() => {}
                () = self.shared.report_now.notified() => sent.at = None,
            }
        }
        let was_newest = self.session.get() == session + 1;
        if was_newest
            && self.makes_way()
            && let Err(error) = self.send_last(&mut to, &sent).await
        {
            tracing::debug!(%error, "cannot write the last report to control");
        }
    }

    /// All that is known when the drain begins. What ends during the drain is told to nobody: control
    /// talks to the next router by then.
    async fn send_last(&self, to: &mut OwnedWriteHalf, sent: &Sent) -> io::Result<()> {
        self.spool.borrow_mut().collect(&self.shared.access);
        send_lines(&self.spool, to).await?;
        let told = self.shared.accounts.take();
        let report = Report { is_last: true, ..self.report(sent, &told) };
        protocol::write(to, &FromRouter::Report(report)).await
    }

    async fn send_news(
        &self,
        to: &mut OwnedWriteHalf,
        sent: &mut Sent,
        is_first: bool,
        every: Duration,
        refusal: Option<String>,
    ) -> io::Result<()> {
        let serving = self.owner.borrow().serving();
        if let Some(reason) = refusal {
            protocol::write(to, &FromRouter::Refused { reason, serving }).await?;
        }
        send_lines(&self.spool, to).await?;
        if sent.is_due(every) {
            let mut untold = Untold { accounts: &self.shared.accounts, told: Told::default() };
            untold.told = untold.accounts.take();
            let report = self.report(sent, &untold.told);
            if is_first || report.is_news(sent) {
                sent.remember(&report);
                protocol::write(to, &FromRouter::Report(report)).await?;
                untold.told = Told::default();
            }
        }
        Ok(())
    }

    fn report(&self, sent: &Sent, told: &Told) -> Report {
        let owner = self.owner.borrow();
        let changed = owner.instances().filter_map(|instance| {
            let traffic = instance.traffic();
            (sent.instances.get(&instance.id) != Some(&traffic)).then_some((instance.id, traffic))
        });
        Report {
            serving: owner.serving(),
            instances: changed.collect(),
            gone: std::mem::take(&mut self.gone.borrow_mut()),
            access_lines_lost: self.spool.borrow().lost(),
            counts: told.counts.clone(),
            counted_ms: Some(u64::try_from(told.period.as_millis()).unwrap_or(u64::MAX)),
            is_last: false,
        }
    }

    /// Saves after a change, at most once per `save_ms`.
    async fn save(self: Rc<Self>) {
        loop {
            self.is_unsaved.notified().await;
            tokio::time::sleep(Duration::from_millis(self.shared.limits.save_ms)).await;
            let (saved, table) = (self.saved.clone(), self.owner.borrow().table());
            let result = tokio::task::spawn_blocking(move || saved.save(&table)).await;
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the route table is not saved"),
                Err(error) => tracing::error!(%error, "saving the route table failed"),
            }
        }
    }
}

/// A batch leaves the spool when it is written whole: until then its reader cannot have it, and the
/// next session gets it, however this one ends.
async fn send_lines(spool: &RefCell<Spool>, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    loop {
        let Some(batch) = spool.borrow_mut().pop() else { return Ok(()) };
        let mut unwritten = Unwritten { spool, batch };
        protocol::write_access(to, &unwritten.batch.bytes).await?;
        unwritten.batch = Batch::default();
    }
}

struct Unwritten<'a> {
    spool: &'a RefCell<Spool>,
    batch: Batch,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        if self.batch.lines > 0 {
            self.spool.borrow_mut().put_back(std::mem::take(&mut self.batch));
        }
    }
}

/// What was counted goes back unless the report is written whole, so that the next one has it,
/// however this session ends.
struct Untold<'a> {
    accounts: &'a Accounts,
    told: Told,
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        self.accounts.put_back(&self.told);
    }
}

/// What the session's other end knows.
#[derive(Default)]
struct Sent {
    at: Option<Instant>,
    serving: Option<(u64, u64)>,
    lost: u64,
    instances: HashMap<InstanceId, InstanceTraffic>,
    is_begun: bool,
}

impl Sent {
    fn is_first(&self) -> bool {
        !self.is_begun
    }

    fn is_due(&self, every: Duration) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= every)
    }

    fn remember(&mut self, report: &Report) {
        self.is_begun = true;
        self.at = Some(Instant::now());
        self.serving = report.serving;
        self.lost = report.access_lines_lost;
        self.instances.extend(report.instances.iter().copied());
        for id in &report.gone {
            self.instances.remove(id);
        }
    }
}

impl Report {
    fn is_news(&self, sent: &Sent) -> bool {
        !self.instances.is_empty()
            || !self.gone.is_empty()
            || !self.counts.is_empty()
            || self.serving != sent.serving
            || self.access_lines_lost != sent.lost
    }
}

/// Loads what was served last, so that serving begins before control answers.
pub(crate) fn restore(owner: &mut TableOwner, saved: &SavedTable, now_ms: u64) {
    let table: Option<RouteTable> = saved.load().unwrap_or_else(|error| {
        tracing::error!(%error, "the saved route table is unusable; waiting for control");
        None
    });
    if let Some(table) = table {
        let routes = table.routes.len();
        match owner.apply_snapshot(&table, now_ms) {
            Ok(()) => tracing::info!(
                routes,
                table.epoch,
                table.version,
                "serving from the saved route table"
            ),
            Err(error) => tracing::error!(%error, "the saved route table is unusable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use cupola_domain::ids::AppId;
    use futures_util::FutureExt;

    use super::*;
    use crate::access_log::AccessBuffer;

    #[test]
    fn batch_that_was_not_written_whole_is_kept_for_the_next_session() {
        let buffer = AccessBuffer::default();
        buffer.push(SystemTime::UNIX_EPOCH, AppId::random(), 0, "a line");
        let spool = RefCell::new(Spool::new(1_000));
        spool.borrow_mut().collect(&[buffer]);
        let (mut stuck, _unread) = tokio::io::duplex(8);

        let written = send_lines(&spool, &mut stuck).now_or_never();

        assert!(written.is_none(), "8 bytes hold no batch");
        assert_eq!(spool.borrow_mut().pop().map(|batch| batch.lines), Some(1));
    }
}
