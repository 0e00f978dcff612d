//! The router process: takes its listening sockets, gives up its rights, serves until it is told to
//! stop and then drains.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt, net as unix},
    },
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Gid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, Uid},
    thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use tokio::{
    net::UnixListener,
    runtime::{Builder, LocalOptions},
    signal::unix::{SignalKind, signal},
    sync::{Notify, Semaphore, watch},
    time::sleep,
};

use crate::{
    access_log::AccessBuffer,
    accounts::Accounts,
    args::{Listen, RouterArgs},
    clock::CoarseClock,
    control::{
        protocol,
        server::{self, Control},
    },
    saved::{SavedTable, SavedTableError},
    supervisor::Handover,
    table::Index,
    table_owner::TableOwner,
    worker::{self, Shared, Stage},
};

/// How long tunnels may take to say goodbye once the drain is over.
const GOODBYE: Duration = Duration::from_millis(2_500);

#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "another router answers on \"{}\": stop it with `cupola down`, or choose another run directory",
        path.display()
    )]
    AlreadyRunning { path: PathBuf },
    #[error("no listening sockets were handed to the router")]
    NoListeners,
    #[error("cannot use the saved route table")]
    Saved(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<SavedTableError> for RouterError {
    fn from(error: SavedTableError) -> Self {
        Self::Saved(Box::new(error))
    }
}

fn failed(action: impl Into<String>) -> impl FnOnce(io::Error) -> RouterError {
    let action = action.into();
    move |source| RouterError::Io { action, source }
}

/// Runs the role; returns when it has drained. Call it before any thread is started: rights are
/// given up by the calling thread and inherited by those that follow.
pub fn router_main(args: RouterArgs) -> Result<(), RouterError> {
    let listeners = take_listeners(&args.listen)?;
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()
        .map_err(failed("read the address of a listening socket"))?;
    raise_descriptor_limit();
    fs::create_dir_all(&args.state_dir)
        .map_err(failed(format!("make \"{}\"", args.state_dir.display())))?;
    let socket = bind_control(&args.control_socket)?;
    let saved = SavedTable::open(&args.state_dir)?;
    drop_rights(&args)?;
    let workers =
        args.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    serve(args, workers.max(1), (listeners, addresses), socket, saved)
}

fn serve(
    args: RouterArgs,
    workers: usize,
    (listeners, addresses): (Vec<TcpListener>, Vec<SocketAddr>),
    socket: unix::UnixListener,
    saved: SavedTable,
) -> Result<(), RouterError> {
    let (stage, stage_receiver) = watch::channel(Stage::Serving);
    let shared = Arc::new(Shared {
        index: Arc::new(Index::new()),
        clock: CoarseClock::new(),
        stage: stage_receiver,
        access: (0..workers).map(|_| AccessBuffer::default()).collect(),
        accounts: Accounts::new(workers),
        report_now: Notify::new(),
        tunnels: AtomicUsize::new(0),
        connections: Arc::new(Semaphore::new(args.limits.connections_max)),
        trusted_proxies: args.trusted_proxies,
        limits: args.limits,
    });
    let mut owner = TableOwner::new(shared.index.clone());
    server::restore(&mut owner, &saved, shared.clock.now_ms());
    let threads = spawn_workers(&shared, workers, &listeners)?;
    let kept = listeners.into_iter().map(OwnedFd::from).collect();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(failed("start the router's runtime"))?;
    runtime.block_on(async {
        let control = Control::new(shared.clone(), owner, saved, kept, addresses.clone());
        socket.set_nonblocking(true).map_err(failed("prepare the control socket"))?;
        let socket =
            UnixListener::from_std(socket).map_err(failed("prepare the control socket"))?;
        control.start(socket);
        tracing::info!(?addresses, workers, pid = std::process::id(), "the router serves");
        let within = asked_to_end(&control).await?;
        control.begin_drain();
        tokio::join!(drain(&shared, &stage, within), control.last_word());
        Ok::<_, RouterError>(())
    })?;
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a worker of the router panicked");
        }
    }
    Ok(())
}

fn spawn_workers(
    shared: &Arc<Shared>,
    workers: usize,
    listeners: &[TcpListener],
) -> Result<Vec<thread::JoinHandle<()>>, RouterError> {
    let (begun, has_begun) = mpsc::channel();
    let spawn = |number| {
        let copies = listeners.iter().map(TcpListener::try_clone).collect::<Result<Vec<_>, _>>()?;
        let (shared, begun) = (shared.clone(), begun.clone());
        let name = format!("router-{number}");
        thread::Builder::new().name(name).spawn(move || worker::run(shared, number, copies, &begun))
    };
    let threads: Vec<_> =
        (0..workers).map(spawn).collect::<io::Result<_>>().map_err(failed("start the workers"))?;
    for begun in has_begun.iter().take(threads.len()) {
        begun.map_err(failed("serve with every worker"))?;
    }
    Ok(threads)
}

/// SIGTERM, or control. SIGINT and SIGHUP are for whoever sits at the terminal, not for the router.
async fn asked_to_end(control: &Control) -> Result<Duration, RouterError> {
    let listen = |kind| signal(kind).map_err(failed("listen for signals"));
    let mut terminate = listen(SignalKind::terminate())?;
    let _interrupt = listen(SignalKind::interrupt())?;
    let _hangup = listen(SignalKind::hangup())?;
    Ok(tokio::select! {
        within = control.asked_to_drain() => within,
        _ended = terminate.recv() => control.drain_within(),
    })
}

async fn drain(shared: &Shared, stage: &watch::Sender<Stage>, within: Duration) {
    tracing::info!(connections = shared.open_connections(), "draining");
    stage.send_replace(Stage::Draining);
    wait_for_none(within, || shared.connections_of_requests()).await;
    stage.send_replace(Stage::Closing);
    wait_for_none(GOODBYE, || shared.open_connections()).await;
    tracing::info!(connections_cut = shared.open_connections(), "the router ends");
    stage.send_replace(Stage::Ended);
}

async fn wait_for_none(within: Duration, left: impl Fn() -> usize) {
    let deadline = Instant::now() + within;
    while left() > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
}

fn take_listeners(listen: &Listen) -> Result<Vec<TcpListener>, RouterError> {
    let listeners: Vec<TcpListener> = match listen {
        Listen::Stdin => {
            let (Handover {}, fds) = protocol::receive_with_fds(io::stdin())
                .map_err(failed("receive the listening sockets"))?;
            fds.into_iter().map(TcpListener::from).collect()
        }
        Listen::Inherited(numbers) => inherited(numbers)
            .map_err(failed(format!("take over the listening sockets {numbers:?}")))?,
        Listen::Bind(addresses) => addresses
            .iter()
            .map(|address| listen_on(address).map_err(failed(format!("listen on {address}"))))
            .collect::<Result<_, _>>()?,
    };
    if listeners.is_empty() {
        return Err(RouterError::NoListeners);
    }
    Ok(listeners)
}

/// With a queue that holds a burst: that of the standard library has 128 places.
pub(crate) fn listen_on(address: &SocketAddr) -> io::Result<TcpListener> {
    const WAITING_MAX: i32 = 4_096;
    let listener = TcpListener::bind(address)?;
    // On a socket that listens already this changes the length of its queue.
    rustix::net::listen(&listener, WAITING_MAX)?;
    Ok(listener)
}

/// Duplicates instead of adopting the numbers, which only unsafe code could: the originals stay
/// open until the process ends.
fn inherited(numbers: &[i32]) -> io::Result<Vec<TcpListener>> {
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let take = |number: &i32| {
        let fd = rustix::process::pidfd_getfd(&own, *number, PidfdGetfdFlags::empty())?;
        Ok(TcpListener::from(fd))
    };
    numbers.iter().map(take).collect()
}

/// A socket file that nobody answers on is replaced; it appears with its final mode.
fn bind_control(path: &Path) -> Result<unix::UnixListener, RouterError> {
    if unix::UnixStream::connect(path).is_ok() {
        return Err(RouterError::AlreadyRunning { path: path.to_owned() });
    }
    let action = || format!("make the control socket \"{}\"", path.display());
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let _stale = fs::remove_file(&temporary);
    let socket = unix::UnixListener::bind(&temporary).map_err(failed(action()))?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600)).map_err(failed(action()))?;
    fs::rename(&temporary, path).map_err(failed(action()))?;
    Ok(socket)
}

fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = ?limit.current, "cannot raise the descriptor limit");
    }
}

fn drop_rights(args: &RouterArgs) -> Result<(), RouterError> {
    let errno = |errno: rustix::io::Errno| failed("give up the rights of root")(errno.into());
    set_no_new_privs(true).map_err(errno)?;
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    std::os::unix::fs::chown(&args.state_dir, Some(args.uid), Some(args.uid))
        .map_err(failed(format!("give \"{}\" to the router's user", args.state_dir.display())))?;
    let (uid, gid) = (Uid::from_raw(args.uid), Gid::from_raw(args.uid));
    set_thread_groups(&[]).map_err(errno)?;
    set_thread_res_gid(gid, gid, gid).map_err(errno)?;
    set_thread_res_uid(uid, uid, uid).map_err(errno)
}
