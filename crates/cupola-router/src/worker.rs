//! One core of the data plane: accepts connections, serves them, and sweeps over their deadlines.
//!
//! Every worker accepts from a duplicate of the same listening socket: whoever is idle takes the
//! next connection, and none is lost in the queue of a worker that ends, as it would be with
//! `SO_REUSEPORT`. Nothing but the route table and counters is shared between workers.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    task::Poll,
    time::{Duration, SystemTime},
};

use cupola_domain::{ids::AppId, traffic::Ending};
use http::HeaderValue;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::{AbortHandle, spawn_local},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    access_log::{AccessBuffer, Draft, Outcome, Stamp},
    accounts::Accounts,
    client_io::{ClientIo, ConnState, UploadWindow, Verdict},
    clock::CoarseClock,
    limits::Limits,
    proxy,
    table::Index,
    trusted::AddressRange,
    upstream::Pool,
};

/// Ordered: each stage includes the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving,
    /// No new connections; what is under way goes on.
    Draining,
    /// Tunnels are closed, with 1001 where they are WebSockets.
    Closing,
    /// Everything else is cut.
    Ended,
}

/// What all workers and the control side share.
pub(crate) struct Shared {
    pub(crate) index: Arc<Index>,
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: Vec<AddressRange>,
    pub(crate) clock: CoarseClock,
    pub(crate) stage: watch::Receiver<Stage>,
    /// One per worker.
    pub(crate) access: Vec<AccessBuffer>,
    pub(crate) accounts: Accounts,
    /// Something happened that control waits for.
    pub(crate) report_now: Notify,
    pub(crate) connections: Arc<Semaphore>,
    /// Of the connections, those that are tunnels.
    pub(crate) tunnels: AtomicUsize,
}

impl Shared {
    pub(crate) fn open_connections(&self) -> usize {
        self.limits.connections_max.saturating_sub(self.connections.available_permits())
    }

    /// Without tunnels, which end when they are told to.
    pub(crate) fn connections_of_requests(&self) -> usize {
        self.open_connections().saturating_sub(self.tunnels.load(Relaxed))
    }
}

pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: RefCell<Pool>,
    pub(crate) stamp: RefCell<Stamp>,
    number: usize,
    random: Cell<u64>,
    connections: RefCell<HashMap<u64, Connection>>,
    next_connection: Cell<u64>,
    drafts: RefCell<Vec<Draft>>,
    line: RefCell<String>,
}

struct Connection {
    state: Arc<ConnState>,
    task: AbortHandle,
    window: UploadWindow,
}

/// The client at the other end of a connection.
pub(crate) struct Client {
    pub(crate) state: Arc<ConnState>,
    pub(crate) address: SocketAddr,
    /// `address` as text, and its part that goes into `X-Forwarded-For`.
    pub(crate) peer: String,
    pub(crate) ip: HeaderValue,
    /// What it says of the client before it is passed on.
    pub(crate) is_trusted: bool,
}

impl Client {
    fn new(state: Arc<ConnState>, address: SocketAddr, trusted: &[AddressRange]) -> Self {
        let ip = address.ip().to_canonical();
        let value = HeaderValue::try_from(ip.to_string()).expect("an address is visible ASCII");
        Self {
            state,
            address,
            peer: SocketAddr::new(ip, address.port()).to_string(),
            ip: value,
            is_trusted: trusted.iter().any(|range| range.contains(ip)),
        }
    }
}

/// Runs until everything is drained. Blocks the thread. Says on `begun` whether it serves.
pub(crate) fn run(
    shared: Arc<Shared>,
    number: usize,
    listeners: Vec<std::net::TcpListener>,
    begun: &mpsc::Sender<io::Result<()>>,
) {
    let say = |result| {
        // The other side waits for every worker; if it is gone the process ends anyway.
        let _gone = begun.send(result);
    };
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return say(Err(error)),
    };
    runtime.block_on(async {
        let worker = match begin(shared, number, listeners) {
            Ok(worker) => worker,
            Err(error) => return say(Err(error)),
        };
        say(Ok(()));
        let sweep = spawn_local(sweep(worker.clone()));
        let mut stage = worker.shared.stage.clone();
        // The other side is gone only when the process ends.
        drop(stage.wait_for(|stage| *stage >= Stage::Draining).await);
        worker.for_each_connection(|connection| connection.state.begin_drain());
        drop(stage.wait_for(|stage| *stage == Stage::Ended).await);
        sweep.abort();
        worker.for_each_connection(|connection| connection.task.abort());
        // Lets the aborted tasks drop what they hold while the runtime still runs.
        sleep(Duration::from_millis(1)).await;
    });
    // Dropping the runtime would drop what is left outside of it, where nothing can be spawned.
    std::mem::forget(runtime);
}

fn begin(
    shared: Arc<Shared>,
    number: usize,
    listeners: Vec<std::net::TcpListener>,
) -> io::Result<Rc<Worker>> {
    let worker = Rc::new(Worker::new(shared, number)?);
    for listener in listeners {
        listener.set_nonblocking(true)?;
        spawn_local(accept(worker.clone(), TcpListener::from_std(listener)?));
    }
    Ok(worker)
}

async fn accept(worker: Rc<Worker>, listener: TcpListener) {
    let mut stage = worker.shared.stage.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stage.wait_for(|stage| *stage >= Stage::Draining) => return,
        };
        match accepted {
            Ok((stream, address)) => {
                // Served even if the drain has begun meanwhile: nobody else has this connection.
                let Some(permit) = worker.place_for_connection().await else { return };
                worker.spawn_connection(stream, address, permit);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: the queue waits, retrying at once would spin.
                tracing::error!(%error, "cannot accept a connection; trying again");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

async fn sweep(worker: Rc<Worker>) {
    let limits = &worker.shared.limits;
    let mut ticks = interval(limits.sweep());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        worker.shared.clock.tick();
        worker.for_each_connection(|connection| {
            if let Verdict::Close(why) = connection.state.judge(&mut connection.window, limits) {
                tracing::debug!("closing a connection: {why}");
                connection.task.abort();
            }
        });
        worker.pool.borrow_mut().sweep(worker.shared.clock.now_ms(), limits.upstream_idle_ms);
    }
}

impl Worker {
    fn new(shared: Arc<Shared>, number: usize) -> io::Result<Self> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        Ok(Self {
            shared,
            pool: RefCell::default(),
            stamp: RefCell::default(),
            number,
            random: Cell::new(u64::from_le_bytes(seed)),
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            drafts: RefCell::default(),
            line: RefCell::default(),
        })
    }

    fn for_each_connection(&self, each: impl FnMut(&mut Connection)) {
        self.connections.borrow_mut().values_mut().for_each(each);
    }

    /// When all places are taken, connections without a request make way, the longest idle first,
    /// so that nobody can shut others out by holding connections open.
    async fn place_for_connection(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            let places = self.shared.connections.clone();
            if places.available_permits() == 0 {
                self.close_longest_idle();
            }
            // Again and again: at first every connection may have had a request in flight.
            match timeout(self.shared.limits.sweep(), places.acquire_owned()).await {
                Ok(permit) => return permit.ok(),
                Err(_elapsed) => {}
            }
        }
    }

    fn close_longest_idle(&self) {
        let connections = self.connections.borrow();
        // The clock is coarse; of two that are idle since one tick the older makes way.
        let idle = connections.iter().filter_map(|(id, connection)| {
            Some(((connection.state.idle_since_ms()?, *id), connection))
        });
        if let Some((_, longest_idle)) = idle.min_by_key(|(key, _)| *key) {
            longest_idle.task.abort();
        }
    }

    fn spawn_connection(
        self: &Rc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a client went away before it was served");
            return;
        }
        let state = Arc::new(ConnState::new(self.shared.clock.clone()));
        let client = Rc::new(Client::new(state.clone(), address, &self.shared.trusted_proxies));
        let io = ClientIo::new(stream, state.clone(), permit);
        self.spawn_watched(state, serve(self.clone(), client, io));
    }

    /// Runs `task` under the eyes of the sweep.
    pub(crate) fn spawn_watched(
        self: &Rc<Self>,
        state: Arc<ConnState>,
        task: impl Future<Output = ()> + 'static,
    ) {
        let id = self.next_connection.replace(self.next_connection.get() + 1);
        let watched = Watched { worker: self.clone(), id };
        let task = spawn_local(async move {
            let _watched = watched;
            task.await;
        });
        let connection =
            Connection { state, task: task.abort_handle(), window: UploadWindow::default() };
        self.connections.borrow_mut().insert(id, connection);
    }

    /// Good enough to spread load and to tell requests apart; nothing secret hangs on it.
    pub(crate) fn random(&self) -> u64 {
        // SplitMix64.
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn draft(&self) -> Draft {
        self.drafts.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn put_back(&self, draft: Draft) {
        const KEPT_MAX: usize = 256;
        let mut drafts = self.drafts.borrow_mut();
        if drafts.len() < KEPT_MAX {
            drafts.push(draft);
        }
    }

    pub(crate) fn count(&self, app_id: AppId, ending: Ending) {
        self.shared.accounts.record(self.number, app_id, ending);
    }

    pub(crate) fn log_access(&self, at: SystemTime, draft: &Draft, outcome: &Outcome<'_>) {
        let mut line = self.line.borrow_mut();
        line.clear();
        draft.finish(&mut line, outcome);
        self.shared.access[self.number].push(at, outcome.app_id, outcome.index(), &line);
    }
}

/// Forgets a connection when its task ends or is aborted.
struct Watched {
    worker: Rc<Worker>,
    id: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        // An abort may come from the sweep, which holds the map.
        if let Ok(mut connections) = self.worker.connections.try_borrow_mut() {
            connections.remove(&self.id);
        }
    }
}

async fn serve(worker: Rc<Worker>, client: Rc<Client>, io: ClientIo) {
    let limits = &worker.shared.limits;
    let state = client.state.clone();
    if *worker.shared.stage.borrow() >= Stage::Draining {
        state.begin_drain();
    }
    let service = service_fn(|request| {
        let answer = proxy::answer(worker.clone(), client.clone(), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .title_case_headers(true)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size((limits.header_bytes_max * 2).max(128 << 10))
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let (mut is_registered, mut is_told) = (false, false);
    let ended = poll_fn(|cx| {
        if !is_registered {
            state.register(cx.waker());
            is_registered = true;
        }
        loop {
            if state.must_end() && !is_told {
                is_told = true;
                connection.as_mut().graceful_shutdown();
            }
            let polled = connection.as_mut().poll(cx);
            // Again if the first request of a drain came just now, so that its answer says that it
            // is the last.
            if polled.is_ready() || is_told || !state.must_end() {
                return polled;
            }
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(client = %client.address, %error, "a connection of a client ended");
    }
}

/// Lets `future` go on only until the app was too slow.
pub(crate) async fn unless_too_slow<F: Future>(state: &ConnState, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    state.await_app();
    let output = poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if state.app_is_too_slow() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    state.app_answered();
    output
}
