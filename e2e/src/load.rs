//! Load that notices every failed request: clients that ask an app again and again, each in one of
//! the ways that a change of instances could break.
//!
//! A client asks again what was not answered on a connection that it had used before and that was
//! idle: the other side may close such a connection at any time (RFC 9112, section 9.3.1). Those are
//! counted, and so are WebSockets that were told to go away. Everything else that goes wrong is a
//! failure.

mod exchange;
mod tunnel;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What one client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Small requests on a connection that is kept.
    Plain,
    /// Answers whose head comes at once and whose body takes a second.
    Slow,
    /// Uploads in pieces, with pauses between.
    Chunked,
    /// Uploads of 2 MiB.
    Large,
    /// A WebSocket whose messages come back.
    Tunnel,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Plain, Self::Slow, Self::Chunked, Self::Large, Self::Tunnel];

    /// Between two requests: the load shall find gaps, not measure speed.
    const fn pause(self) -> Duration {
        Duration::from_millis(match self {
            Self::Plain => 2,
            Self::Slow => 0,
            Self::Chunked | Self::Tunnel => 20,
            Self::Large => 50,
        })
    }
}

/// What went wrong with one request.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody took the connection.
    Refused(std::io::Error),
    /// The connection ended before a byte of the answer came.
    Unanswered(String),
    /// It ended later.
    Broken(String),
    /// An answer came, of another kind than it should be.
    Wrong(String),
    /// The WebSocket was closed with 1001, going away.
    GoneAway,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "refused: {error}"),
            Self::Unanswered(why) => write!(f, "unanswered on a new connection: {why}"),
            Self::Broken(why) => write!(f, "broken off: {why}"),
            Self::Wrong(what) => write!(f, "wrong answer: {what}"),
            Self::GoneAway => f.write_str("closed with 1001"),
        }
    }
}

/// What came of the requests so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By what the client does; of tunnels, messages that came back.
    pub served: BTreeMap<Kind, u64>,
    /// Unanswered on an idle connection, and asked again.
    pub retried: u64,
    /// WebSockets that were closed with 1001.
    pub gone_away: u64,
    /// Connections that nobody took. They are among the failures.
    pub refused: u64,
    /// Answers that were not what was asked for. They are among the failures.
    pub wrong: u64,
    pub failed: u64,
    /// The first of them, in words.
    pub failures: Vec<String>,
}

impl Report {
    pub fn total(&self) -> u64 {
        self.served.values().sum()
    }
}

const FAILURES_TOLD: usize = 20;

/// Clients at work. Dropping it ends them.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    kinds: Vec<Kind>,
}

pub(crate) struct Shared {
    pub(crate) router: SocketAddr,
    pub(crate) host: String,
    is_over: AtomicBool,
    started: Instant,
    report: Mutex<Report>,
}

impl Load {
    /// One client for each of `kinds`, all asking the app behind `host`.
    pub fn start(router: SocketAddr, host: &str, kinds: &[Kind]) -> Self {
        let shared = Arc::new(Shared {
            router,
            host: host.to_owned(),
            is_over: AtomicBool::new(false),
            started: Instant::now(),
            report: Mutex::default(),
        });
        let client = |kind: &Kind| {
            let (kind, shared) = (*kind, shared.clone());
            thread::spawn(move || shared.work(kind))
        };
        let clients = kinds.iter().map(client).collect();
        Self { shared, clients, kinds: kinds.to_vec() }
    }

    pub fn report(&self) -> Report {
        self.shared.report().clone()
    }

    /// Waits until so many more requests of each kind were served, or for so long; false if they
    /// were not.
    pub fn wait_for_more(&self, count: u64, at_most: Duration) -> bool {
        let before = self.report();
        let deadline = Instant::now() + at_most;
        let of = |report: &Report, kind| report.served.get(kind).copied().unwrap_or_default();
        while Instant::now() < deadline {
            let now = self.report();
            if self.kinds.iter().all(|kind| of(&now, kind) >= of(&before, kind) + count) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Lets every client finish what it does, and returns what came of all.
    pub fn finish(mut self) -> Report {
        self.end();
        self.report()
    }

    fn end(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        for client in self.clients.drain(..) {
            if client.join().is_err() {
                self.shared.fail(&Trouble::Broken("a client of the load panicked".to_owned()));
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    pub(crate) fn served(&self, kind: Kind) {
        *self.report().served.entry(kind).or_default() += 1;
    }

    fn work(&self, kind: Kind) {
        let mut connection = None;
        while !self.is_over() {
            let was_used = connection.is_some();
            let outcome = match kind {
                Kind::Tunnel => tunnel::run(self),
                _ => exchange::run(self, kind, &mut connection),
            };
            match outcome {
                Ok(()) => self.served(kind),
                Err(Trouble::Unanswered(_)) if was_used => self.report().retried += 1,
                Err(Trouble::GoneAway) => self.report().gone_away += 1,
                Err(trouble) => self.fail(&trouble),
            }
            thread::sleep(kind.pause());
        }
    }

    fn fail(&self, trouble: &Trouble) {
        let after = self.started.elapsed().as_secs_f64();
        let mut report = self.report();
        report.failed += 1;
        report.refused += u64::from(matches!(trouble, Trouble::Refused(_)));
        report.wrong += u64::from(matches!(trouble, Trouble::Wrong(_)));
        if report.failures.len() < FAILURES_TOLD {
            report.failures.push(format!("after {after:.3} s: {trouble}"));
        }
    }
}
