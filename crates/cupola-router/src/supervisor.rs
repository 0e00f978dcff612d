//! Starts the router process, keeps its listening sockets, and starts it again if it dies.
//!
//! The sockets are bound here and handed over, so that they stay open while the router is replaced:
//! clients wait in the kernel's queue instead of being refused. A router that outlived an earlier
//! control is adopted: it gives copies of its sockets back.
//!
//! Invariant: dropping a `RouterProcess` leaves the router running. Only `stop` ends it.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with,
    sockopt::{Timeout, set_socket_timeout, socket_peercred},
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    sync::watch,
    task::{AbortHandle, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    args::{Listen, RouterArgs},
    control::protocol::{self, FromRouter, PROTOCOL, ToRouter},
    limits::Limits,
    role::listen_on,
    trusted::AddressRange,
};

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const READY_WITHIN: Duration = Duration::from_secs(10);
/// A router that has let go of its socket and still runs after so long drains.
const DIES_WITHIN: Duration = Duration::from_millis(50);
/// Added to a drain before the router is killed.
const KILL_AFTER: Duration = Duration::from_secs(5);
/// How often is asked whether a router that was just started listens.
const ATTEND_AGAIN_AFTER: Duration = Duration::from_millis(20);
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How to start a router.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// The program and what makes it take the role, usually this program and `router`.
    pub exe: PathBuf,
    pub role: Vec<OsString>,
    pub addresses: Vec<SocketAddr>,
    pub state_dir: PathBuf,
    pub control_socket: PathBuf,
    /// User and group to become when started as root.
    pub uid: u32,
    pub workers: Option<usize>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are passed on; at least one.
    pub trusted_proxies: Vec<AddressRange>,
    pub limits: Limits,
    /// Where its own log goes, appended; else to this process's standard error.
    pub log_file: Option<PathBuf>,
}

impl RouterConfig {
    /// `exe router`, with defaults for the rest.
    pub fn new(
        exe: impl Into<PathBuf>,
        addresses: Vec<SocketAddr>,
        state_dir: impl Into<PathBuf>,
        control_socket: impl Into<PathBuf>,
    ) -> Self {
        let args = RouterArgs::new(Listen::Stdin, state_dir.into(), control_socket.into());
        Self {
            exe: exe.into(),
            role: vec!["router".into()],
            addresses,
            state_dir: args.state_dir,
            control_socket: args.control_socket,
            uid: args.uid,
            workers: None,
            trusted_proxies: args.trusted_proxies,
            limits: args.limits,
            log_file: None,
        }
    }

    fn args(&self) -> RouterArgs {
        RouterArgs {
            listen: Listen::Stdin,
            state_dir: self.state_dir.clone(),
            control_socket: self.control_socket.clone(),
            uid: self.uid,
            workers: self.workers,
            trusted_proxies: self.trusted_proxies.clone(),
            limits: self.limits.clone(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RouterProcessError {
    #[error(
        "cannot listen on {address}: another program does; stop it, or choose another --router-addr"
    )]
    Occupied { address: SocketAddr },
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("cannot start the router {}", exe.display())]
    Spawn {
        exe: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the router ended with {status} before it answered; its log says why")]
    Ended { status: String },
    #[error(
        "the router does not answer on \"{}\" within {} s; its log says why",
        socket.display(),
        READY_WITHIN.as_secs()
    )]
    NotReady { socket: PathBuf },
    #[error(
        "what has \"{}\" does not answer as a router does; end it, or choose another --run-dir",
        socket.display()
    )]
    NotARouter {
        socket: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot stop the router with process id {pid}")]
    Stop {
        pid: u32,
        #[source]
        source: io::Error,
    },
}

/// Said on the standard input of a new router, with the listening sockets.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Handover {}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterStatus {
    /// None while it is being started again.
    pub pid: Option<u32>,
    /// How often it died and was started again.
    pub restarts: u64,
    /// It was running already.
    pub was_adopted: bool,
}

/// A running router under supervision.
pub struct RouterProcess {
    config: Arc<RouterConfig>,
    addresses: Vec<SocketAddr>,
    served_epoch: u64,
    has_replaced: bool,
    status: watch::Receiver<RouterStatus>,
    supervision: AbortHandle,
}

impl RouterProcess {
    /// Adopts the router that answers on the control socket, or starts one. One that hangs is ended
    /// first. Returns when it serves.
    pub async fn start(config: RouterConfig) -> Result<Self, RouterProcessError> {
        let (mut served_epoch, mut has_replaced) = (0, false);
        let (listeners, adopted) = match find(&config.control_socket).await? {
            Found::Router(running) => {
                served_epoch = running.served_epoch();
                has_replaced = !running.fits(&config);
                match has_replaced {
                    false => (running.listeners, Some(running.pid)),
                    true => (replace(running, &config).await?, None),
                }
            }
            Found::Silent(pid) => {
                end_silent(pid).await?;
                (bind(&config.addresses, Vec::new())?, None)
            }
            Found::Nobody => (bind(&config.addresses, Vec::new())?, None),
        };
        let addresses = listeners.iter().filter_map(|it| it.local_addr().ok()).collect();
        let (sender, status) = watch::channel(RouterStatus::default());
        let config = Arc::new(config);
        let supervisor = Supervisor { config: config.clone(), listeners, status: sender };
        let router = match adopted {
            Some(pid) => {
                tracing::info!(pid, "adopted the running router");
                supervisor.publish(|status| status.was_adopted = true);
                Running::Adopted(Process::open(pid).map_err(|source| stop_error(pid, source))?, pid)
            }
            None => {
                let mut child = supervisor.spawn()?;
                let ready = wait_until_ready(&config.control_socket, &mut child).await?;
                served_epoch = served_epoch.max(ready.served_epoch());
                Running::Child(child)
            }
        };
        supervisor.publish(|status| status.pid = router.pid());
        let supervision = tokio::spawn(supervisor.run(router)).abort_handle();
        Ok(Self { config, addresses, served_epoch, has_replaced, status, supervision })
    }

    /// Where it listens, with the port numbers that were chosen for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The epoch of the route table that it served when it was found or started, 0 without one.
    /// It refuses tables of older epochs, whatever the database says that they are.
    pub fn served_epoch(&self) -> u64 {
        self.served_epoch
    }

    /// It took over from another at its start, which may still answer requests.
    pub fn has_replaced(&self) -> bool {
        self.has_replaced
    }

    pub fn status(&self) -> watch::Receiver<RouterStatus> {
        self.status.clone()
    }

    /// Drains and ends the router. Its listening sockets are closed.
    pub async fn stop(self, within: Duration) -> Result<(), RouterProcessError> {
        self.supervision.abort();
        Self::stop_running(&self.config.control_socket, within).await.map(drop)
    }

    /// Drains and ends whatever router has `control_socket`; false if none does. For `cupola down`,
    /// which did not start it.
    pub async fn stop_running(
        control_socket: &Path,
        within: Duration,
    ) -> Result<bool, RouterProcessError> {
        let pid = match find(control_socket).await? {
            Found::Router(running) => running.pid,
            Found::Silent(pid) => return end_silent(pid).await.map(|()| true),
            Found::Nobody => return Ok(false),
        };
        let mut process = match Process::open(pid) {
            Ok(process) => process,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                return Ok(true);
            }
            Err(source) => return Err(stop_error(pid, source)),
        };
        tell_to_drain(control_socket, within).await;
        if timeout(within + KILL_AFTER, process.ended()).await.is_err() {
            tracing::warn!(pid, "the router did not end in time; killing it");
            process.kill().map_err(|source| stop_error(pid, source))?;
            process.ended().await;
        }
        Ok(true)
    }
}

impl Drop for RouterProcess {
    fn drop(&mut self) {
        self.supervision.abort();
    }
}

fn stop_error(pid: u32, source: io::Error) -> RouterProcessError {
    RouterProcessError::Stop { pid, source }
}

/// Who has the control socket.
enum Found {
    Nobody,
    Router(Answered),
    /// The process with this id, which takes questions and does not answer.
    Silent(u32),
}

/// A router that answered.
struct Answered {
    protocol: u32,
    pid: u32,
    addresses: Vec<SocketAddr>,
    serving: Option<(u64, u64)>,
    trusted_proxies: Vec<AddressRange>,
    listeners: Vec<TcpListener>,
}

impl Answered {
    fn served_epoch(&self) -> u64 {
        self.serving.map_or(0, |(epoch, _)| epoch)
    }

    fn fits(&self, config: &RouterConfig) -> bool {
        let wanted = &config.addresses;
        let is_wanted = |actual: &SocketAddr| wanted.iter().any(|wanted| is_same(wanted, actual));
        self.protocol == PROTOCOL
            && self.addresses.len() == wanted.len()
            && self.addresses.iter().all(is_wanted)
            && self.trusted_proxies == config.trusted_proxies
    }
}

/// Port 0 asks for any.
fn is_same(wanted: &SocketAddr, actual: &SocketAddr) -> bool {
    wanted.ip() == actual.ip() && (wanted.port() == 0 || wanted.port() == actual.port())
}

async fn find(control_socket: &Path) -> Result<Found, RouterProcessError> {
    let socket = control_socket.to_owned();
    let found = spawn_blocking(move || find_blocking(&socket)).await;
    found.map_err(io::Error::other).flatten().map_err(|source| {
        let socket = control_socket.to_owned();
        RouterProcessError::NotARouter { socket, source }
    })
}

fn find_blocking(control_socket: &Path) -> io::Result<Found> {
    let stream = match connect(control_socket) {
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => return Ok(Found::Nobody),
            _ => return Err(error),
        },
        Ok(stream) => stream,
    };
    let (answer, fds) = match ask(&stream, &ToRouter::Listeners) {
        Ok(answered) => answered,
        Err(error) => return unanswered(&stream, error),
    };
    let FromRouter::Listeners { protocol, pid, addresses, serving, trusted_proxies } = answer
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let listeners = fds.into_iter().map(TcpListener::from).collect();
    Ok(Found::Router(Answered { protocol, pid, addresses, serving, trusted_proxies, listeners }))
}

fn unanswered(stream: &UnixStream, error: io::Error) -> io::Result<Found> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let pid = socket_peercred(stream)?.pid.as_raw_nonzero().get();
            Ok(Found::Silent(pid.unsigned_abs()))
        }
        // It drains, and has let go of its sockets.
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => Ok(Found::Nobody),
        _ => Err(error),
    }
}

/// With a time limit on everything: while the queue of a process that hangs is full, connecting
/// blocks too.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    for timeout in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&stream, timeout, Some(ANSWER_WITHIN))?;
    }
    rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(UnixStream::from(stream))
}

fn ask(mut stream: &UnixStream, question: &ToRouter) -> io::Result<(FromRouter, Vec<OwnedFd>)> {
    stream.write_all(&protocol::encode(question)?)?;
    protocol::receive_with_fds(stream)
}

/// Its sockets cannot be had: whoever connects until the next one listens is refused.
async fn end_silent(pid: u32) -> Result<(), RouterProcessError> {
    tracing::warn!(pid, "the router does not answer control; killing it");
    let failed = |source| stop_error(pid, source);
    let mut process = Process::open(pid).map_err(failed)?;
    process.kill().map_err(failed)?;
    process.ended().await;
    Ok(())
}

/// Returns when the router closes the connection.
async fn attend(control_socket: &Path) -> io::Result<()> {
    let socket = control_socket.to_owned();
    let begin = move || {
        let mut stream = connect(&socket)?;
        stream.write_all(&protocol::encode(&ToRouter::Attend)?)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let stream = spawn_blocking(begin).await.map_err(io::Error::other).flatten()?;
    let mut stream = tokio::net::UnixStream::from_std(stream)?;
    // A reset is an end too.
    let _end = stream.read(&mut [0]).await;
    Ok(())
}

async fn tell_to_drain(control_socket: &Path, within: Duration) {
    let socket = control_socket.to_owned();
    let deadline_ms = u64::try_from(within.as_millis()).ok();
    let told =
        spawn_blocking(move || ask(&connect(&socket)?, &ToRouter::Drain { deadline_ms })).await;
    if let Ok(Err(error)) = told {
        tracing::warn!(%error, "the router could not be told to drain");
    }
}

/// The old router does not fit: it drains on its own while a new one takes over what both listen on.
async fn replace(
    running: Answered,
    config: &RouterConfig,
) -> Result<Vec<TcpListener>, RouterProcessError> {
    tracing::info!(pid = running.pid, "replacing a router with other settings or another protocol");
    // Bound first: if that fails, the router that runs goes on.
    let listeners = bind(&config.addresses, running.listeners)?;
    let process = Process::open(running.pid);
    tell_to_drain(&config.control_socket, config.limits.drain()).await;
    // Without a process it has ended already.
    if let Ok(process) = process {
        let old = Running::Adopted(process, running.pid);
        tokio::spawn(old.end_within(config.limits.drain()));
    }
    Ok(listeners)
}

fn bind(
    wanted: &[SocketAddr],
    mut at_hand: Vec<TcpListener>,
) -> Result<Vec<TcpListener>, RouterProcessError> {
    let mut taken = HashSet::new();
    let mut bind_one = |address: &SocketAddr| {
        let fits = |held: &TcpListener| {
            held.local_addr().is_ok_and(|held| is_same(address, &held) && taken.insert(held))
        };
        if let Some(position) = at_hand.iter().position(fits) {
            return Ok(at_hand.swap_remove(position));
        }
        listen_on(address).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => RouterProcessError::Occupied { address: *address },
            _ => RouterProcessError::Listen { address: *address, source },
        })
    };
    wanted.iter().map(&mut bind_one).collect()
}

/// A process that is not a child of this one.
struct Process {
    pidfd: Arc<OwnedFd>,
    has_ended: watch::Receiver<bool>,
}

impl Process {
    fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let pidfd = Arc::new(pidfd_open(pid, PidfdFlags::empty())?);
        let (sender, has_ended) = watch::channel(false);
        let watched = pidfd.clone();
        // A thread of its own: a blocking task would hold up the end of the runtime.
        thread::Builder::new().name("router-watch".to_owned()).spawn(move || {
            let mut fds = [PollFd::new(&watched, PollFlags::IN)];
            while matches!(poll(&mut fds, None), Err(rustix::io::Errno::INTR)) {}
            sender.send_replace(true);
        })?;
        Ok(Self { pidfd, has_ended })
    }

    async fn ended(&mut self) {
        drop(self.has_ended.wait_for(|has_ended| *has_ended).await);
    }

    fn kill(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::KILL)?)
    }
}

async fn wait_until_ready(
    socket: &Path,
    child: &mut Child,
) -> Result<Answered, RouterProcessError> {
    let deadline = Instant::now() + READY_WITHIN;
    while Instant::now() < deadline {
        if let Ok(Found::Router(answered)) = find(socket).await
            && Some(answered.pid) == child.id()
        {
            return Ok(answered);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(RouterProcessError::Ended { status: status.to_string() });
        }
        sleep(Duration::from_millis(5)).await;
    }
    // Half started is worse than not started.
    if let Err(error) = child.start_kill() {
        tracing::warn!(%error, "cannot kill a router that does not answer");
    }
    Err(RouterProcessError::NotReady { socket: socket.to_owned() })
}

enum Running {
    Child(Child),
    Adopted(Process, u32),
}

impl Running {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Child(child) => child.id(),
            Self::Adopted(_, pid) => Some(*pid),
        }
    }

    async fn ended(&mut self) -> String {
        match self {
            Self::Child(child) => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            },
            Self::Adopted(process, _) => {
                process.ended().await;
                "unknown status".to_owned()
            }
        }
    }

    fn kill(&mut self) -> io::Result<()> {
        match self {
            Self::Child(child) => child.start_kill(),
            Self::Adopted(process, _) => process.kill(),
        }
    }

    /// Waits for one that drains, and kills it if it hangs.
    async fn end_within(mut self, drain: Duration) {
        if timeout(drain + KILL_AFTER, self.ended()).await.is_ok() {
            return;
        }
        let pid = self.pid();
        tracing::warn!(pid, "the router that drains did not end in time; killing it");
        if let Err(error) = self.kill() {
            tracing::warn!(pid, %error, "the router that drains cannot be killed");
        }
        self.ended().await;
    }
}

struct Supervisor {
    config: Arc<RouterConfig>,
    listeners: Vec<TcpListener>,
    status: watch::Sender<RouterStatus>,
}

impl Supervisor {
    fn publish(&self, change: impl FnOnce(&mut RouterStatus)) {
        self.status.send_modify(change);
    }

    async fn run(self, mut router: Running) {
        let mut backoff = Duration::ZERO;
        loop {
            let started = Instant::now();
            let pid = router.pid();
            let status = tokio::select! {
                status = router.ended() => status,
                () = self.drains(pid) => "it drains".to_owned(),
            };
            // At once, unless it cannot stay up.
            backoff = match started.elapsed() {
                lived if lived > BACKOFF_MAX => Duration::ZERO,
                _ if backoff.is_zero() => BACKOFF,
                _ => (backoff * 2).min(BACKOFF_MAX),
            };
            tracing::error!(?pid, status, "the router ends; starting another");
            self.publish(|status| {
                status.pid = None;
                status.restarts += 1;
            });
            let another = self.spawn_again(&mut backoff).await;
            // One that drains is a child still, and wants to be waited for.
            let old = std::mem::replace(&mut router, another);
            tokio::spawn(old.end_within(self.config.limits.drain()));
            self.publish(|status| {
                (status.pid, status.was_adopted) = (router.pid(), false);
            });
        }
    }

    /// Until the router has let go of its sockets by itself, as at SIGTERM: the next one takes over
    /// while it finishes what it was given. Never for one that does not tell.
    async fn drains(&self, pid: Option<u32>) {
        let socket = &self.config.control_socket;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Err(error) = attend(socket).await {
                // One that was just started does not listen yet, unless it let go of its socket
                // before it was attended.
                if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() > deadline {
                    return;
                }
                sleep(ATTEND_AGAIN_AFTER).await;
                continue;
            }
            match find(socket).await {
                Ok(Found::Router(answered)) if Some(answered.pid) == pid => {
                    // An older one closes what it does not understand.
                    return std::future::pending().await;
                }
                Ok(Found::Nobody) => return sleep(DIES_WITHIN).await,
                _ => sleep(BACKOFF_MAX).await,
            }
        }
    }

    async fn spawn_again(&self, backoff: &mut Duration) -> Running {
        loop {
            if *backoff > BACKOFF {
                sleep(*backoff).await;
            }
            match self.spawn() {
                Ok(child) => return Running::Child(child),
                Err(error) => {
                    tracing::error!(%error, "the router cannot be started; trying again");
                    *backoff = (*backoff * 2).clamp(BACKOFF * 2, BACKOFF_MAX);
                }
            }
        }
    }

    fn spawn(&self) -> Result<Child, RouterProcessError> {
        self.try_spawn().map_err(|source| {
            let exe = self.config.exe.clone();
            RouterProcessError::Spawn { exe, source }
        })
    }

    fn try_spawn(&self) -> io::Result<Child> {
        let (ours, theirs) = UnixStream::pair()?;
        let fds: Vec<_> = self.listeners.iter().map(AsFd::as_fd).collect();
        protocol::send_with_fds(&ours, &Handover {}, &fds)?;
        let stderr = match &self.config.log_file {
            Some(path) => fs::OpenOptions::new().create(true).append(true).open(path)?.into(),
            None => Stdio::inherit(),
        };
        Command::new(&self.config.exe)
            .args(&self.config.role)
            .args(self.config.args().to_args())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(stderr)
            // Ctrl-C at the terminal is for control only.
            .process_group(0)
            .spawn()
    }
}
