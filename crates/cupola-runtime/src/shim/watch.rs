//! The loop of a shim: output, requests, the end of the container.

use std::{
    fs,
    io::Write,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, WaitOptions, pidfd_send_signal, waitpid},
};

use super::{
    clients::Clients,
    launch::{self, Container},
    names,
    output::{self, Lines, OverRate, RateLimit, Spool},
    rootfs,
};
use crate::{
    cgroups::Cgroup,
    error::{RuntimeError, chain},
    freeze::{self, FreezeError},
    protocol::{Event, Request},
    records::{self, End, ExitRecord, Kind, Launch},
    sys, time_now,
};

/// How often the record of the init is looked at while a stop waits for it.
const READY_POLL: Duration = Duration::from_millis(5);
const READ_BYTES: usize = 64 * 1024;

/// Watches the container until it has ended and control has taken everything.
pub(super) fn watch(launch: Launch, container: Container) -> Result<(), RuntimeError> {
    // Only now: a mask that was set earlier would be inherited by the app.
    sys::block_signals();
    let clients = Clients::listen()?;
    launch::say_ready();
    let now = Instant::now();
    let mut watcher = Watcher {
        rate: RateLimit::new(launch.log_rate_bytes_per_s, now),
        spool: Spool::new(launch.spool_bytes_max),
        over_rate: OverRate::default(),
        lines: container.pipes.iter().map(|_| Lines::default()).collect(),
        buffer: vec![0; READ_BYTES],
        stop: None,
        killed: false,
        is_ready: false,
        exit: None,
        quits: false,
        launch,
        container,
        clients,
    };
    while !watcher.quits {
        watcher.turn();
    }
    rootfs::release();
    Ok(())
}

struct Watcher {
    launch: Launch,
    container: Container,
    clients: Clients,
    spool: Spool,
    rate: RateLimit,
    over_rate: OverRate,
    /// One for each pipe.
    lines: Vec<Lines>,
    buffer: Vec<u8>,
    stop: Option<Stop>,
    killed: bool,
    is_ready: bool,
    exit: Option<ExitRecord>,
    quits: bool,
}

/// A stop that was asked for.
struct Stop {
    kill_at: Instant,
    is_told: bool,
}

impl Watcher {
    /// One round: wait for something to happen, then deal with all of it.
    fn turn(&mut self) {
        let Ok(happened) = self.wait() else { return };
        if happened.output {
            self.drain(1);
        }
        self.tell_over_rate(false);
        if happened.connection {
            self.clients.accept();
        }
        for (client, request) in self.clients.requests() {
            self.answer(client, request);
        }
        self.go_on_stopping();
        if self.exit.is_none() && (happened.ended || self.container.pidfd.is_none()) {
            self.finish();
        }
        self.reap_orphans();
        self.clients.write(&mut self.spool);
    }

    fn wait(&self) -> rustix::io::Result<Happened> {
        let pipes = self.container.pipes.iter().map(|pipe| &pipe.reader);
        let mut fds: Vec<PollFd<'_>> =
            pipes.map(|reader| PollFd::new(reader, PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(self.clients.listener(), PollFlags::IN));
        for (socket, wants_write) in self.clients.sockets() {
            let write = if wants_write { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::from_borrowed_fd(socket, PollFlags::IN | write));
        }
        if let (Some(pidfd), None) = (&self.container.pidfd, &self.exit) {
            fds.push(PollFd::new(pidfd, PollFlags::IN));
        }
        let watches_process = self.container.pidfd.is_some() && self.exit.is_none();
        poll(&mut fds, self.timeout().as_ref())?;
        let is_set = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let pipes_count = self.container.pipes.len();
        Ok(Happened {
            output: fds[..pipes_count].iter().any(is_set),
            connection: is_set(&fds[pipes_count]),
            ended: watches_process && fds.last().is_some_and(is_set),
        })
    }

    /// None waits for ever.
    fn timeout(&self) -> Option<Timespec> {
        let wait = match &self.stop {
            _ if self.exit.is_some() => None,
            _ if self.container.pidfd.is_none() => Some(Duration::ZERO),
            Some(stop) if !stop.is_told => Some(READY_POLL),
            Some(stop) if !self.killed => {
                Some(stop.kill_at.saturating_duration_since(Instant::now()))
            }
            _ => None,
        };
        let wait = match (wait, self.over_rate.wants_timer()) {
            (Some(wait), true) => Some(wait.min(Duration::from_secs(1))),
            (None, true) => Some(Duration::from_secs(1)),
            (wait, false) => wait,
        };
        wait.and_then(|wait| Timespec::try_from(wait).ok())
    }

    /// Takes output: so many times the buffer's size of each stream.
    fn drain(&mut self, rounds: usize) {
        for number in 0..self.lines.len() {
            for _ in 0..rounds {
                let pipe = &self.container.pipes[number].reader;
                let Ok(count) = rustix::io::read(pipe, &mut self.buffer) else { break };
                if count == 0 {
                    break;
                }
                self.take(number, count);
            }
        }
    }

    fn take(&mut self, number: usize, count: usize) {
        let stream = self.container.pipes[number].stream;
        let Self { lines, buffer, rate, spool, over_rate, clients, .. } = self;
        let (at, now, keep) = (time_now(), Instant::now(), clients.in_flight());
        lines[number].push(&buffer[..count], |text| {
            if rate.allows(text.len(), now) {
                spool.push(&output::line(at, stream, text), keep);
            } else {
                over_rate.count();
            }
        });
    }

    fn tell_over_rate(&mut self, at_once: bool) {
        if let Some(event) = self.over_rate.take(Instant::now(), at_once) {
            self.spool.push(&event, self.clients.in_flight());
        }
    }

    fn answer(&mut self, client: u64, request: Request) {
        match request {
            Request::Attach { .. } => {
                let status = self.status();
                self.clients.reply(client, &status);
                self.clients.attach(client);
            }
            Request::Status => {
                let status = self.status();
                self.clients.reply(client, &status);
            }
            Request::Stop { grace_ms } => {
                let kill_at = Instant::now() + Duration::from_millis(grace_ms);
                self.stop.get_or_insert(Stop { kill_at, is_told: false });
            }
            Request::Kill => {
                self.stop.get_or_insert(Stop { kill_at: Instant::now(), is_told: true });
                self.kill();
            }
            Request::Freeze { paths, into, bytes_max } => {
                let event = self.freeze(&paths, &into, bytes_max);
                self.clients.reply(client, &event);
            }
            Request::HandBack { path, into, bytes_max } => {
                let event = self.hand_back(&path, &into, bytes_max);
                self.clients.reply(client, &event);
            }
            Request::Quit if self.exit.is_some() => self.quits = true,
            Request::Quit => {
                self.clients.reply(client, &failed("the container has not ended".to_owned()));
            }
        }
    }

    fn status(&mut self) -> Event {
        Event::Status {
            version: records::VERSION,
            started: self.container.started,
            ready: self.look_whether_ready(),
            ended: self.exit.is_some(),
        }
    }

    /// Whether the init takes signals. Before that, a SIGTERM would be dropped by the kernel.
    fn look_whether_ready(&mut self) -> bool {
        self.is_ready = self.is_ready
            || fs::read(names::EXIT_RAW).is_ok_and(|record| record.starts_with(b"ready\n"));
        self.is_ready
    }

    fn go_on_stopping(&mut self) {
        let Some(stop) = &self.stop else { return };
        if self.exit.is_some() || self.killed {
            return;
        }
        let is_over = Instant::now() >= stop.kill_at;
        if is_over {
            self.kill();
        } else if !stop.is_told && self.look_whether_ready() {
            self.signal(Signal::TERM);
            if let Some(stop) = &mut self.stop {
                stop.is_told = true;
            }
        }
    }

    fn kill(&mut self) {
        if self.exit.is_none() {
            self.killed = true;
            self.signal(Signal::KILL);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pidfd) = &self.container.pidfd {
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    /// The container has ended: all its output, then how it ended, then what it leaves.
    fn finish(&mut self) {
        self.drain(usize::MAX);
        let Self { lines, container, spool, clients, .. } = self;
        for (lines, pipe) in lines.iter_mut().zip(&container.pipes) {
            let (at, keep) = (time_now(), clients.in_flight());
            lines.finish(|text| spool.push(&output::line(at, pipe.stream, text), keep));
        }
        self.tell_over_rate(true);
        if let (true, Some(pid)) =
            (self.container.is_child, Pid::from_raw(self.container.started.pid))
        {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        let record = self.exit_record();
        launch::delete(&self.launch);
        if self.launch.kind == Kind::Instance {
            rootfs::release();
        }
        if let Err(error) = records::write(Path::new(names::EXIT), &record) {
            log(&chain(&error));
        }
        self.spool.push(&Event::Exit { record: record.clone() }, self.clients.in_flight());
        self.exit = Some(record);
    }

    /// Reads the cgroup, so before the OCI runtime removes it.
    fn exit_record(&self) -> ExitRecord {
        let cgroup = Cgroup::new(&self.launch.cgroup);
        let raw = fs::read_to_string(names::EXIT_RAW).unwrap_or_default();
        let (end, sidecar) = end_of(&raw, self.killed);
        ExitRecord {
            version: records::VERSION,
            end,
            sidecar,
            oom_kills: cgroup.oom_kills(),
            stop_asked: self.stop.is_some(),
            killed: self.killed,
            disk_full: rootfs::disk_is_full(),
            memory_peak_bytes: cgroup.memory_peak_bytes(),
            started_at: self.container.started.at,
            ended_at: time_now(),
        }
    }

    /// Ends of processes that became this one's children, except the container's first.
    fn reap_orphans(&self) {
        while let Some(pid) = sys::peek_ended_child() {
            if pid == self.container.started.pid && self.exit.is_none() {
                return;
            }
            let Some(pid) = Pid::from_raw(pid) else { return };
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    fn freeze(&self, paths: &[String], into: &Path, bytes_max: u64) -> Event {
        let root = match self.ended_root() {
            Ok(root) => root,
            Err(detail) => return failed(detail),
        };
        let tree = into.join("tree");
        let frozen = freeze::freeze(root.as_fd(), paths, &tree, self.launch.uid_base, bytes_max);
        match frozen {
            Ok(frozen) => Event::Frozen {
                digest: frozen.digest,
                bytes: frozen.bytes,
                entries: frozen.entries,
            },
            Err(error) => Event::Failed {
                too_large: matches!(error, FreezeError::TooLarge { .. }),
                detail: chain(&error),
            },
        }
    }

    fn hand_back(&self, path: &str, into: &Path, bytes_max: u64) -> Event {
        let read = self.ended_root().and_then(|root| {
            freeze::read_file(root.as_fd(), path, bytes_max).map_err(|error| error.to_string())
        });
        match read {
            Ok(None) => Event::HandedBack { found: false },
            Ok(Some(bytes)) => match fs::write(into, bytes) {
                Ok(()) => Event::HandedBack { found: true },
                Err(error) => failed(format!("cannot write `{}`: {error}", into.display())),
            },
            Err(detail) => failed(detail),
        }
    }

    /// The file system of the container, in which nothing moves any more.
    fn ended_root(&self) -> Result<OwnedFd, String> {
        if self.exit.is_none() {
            return Err("the container has not ended".to_owned());
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(rootfs::ROOTFS, flags, Mode::empty()).map_err(|error| error.to_string())
    }
}

struct Happened {
    output: bool,
    connection: bool,
    ended: bool,
}

fn failed(detail: String) -> Event {
    Event::Failed { detail, too_large: false }
}

/// What the init wrote: the first end, and of which sidecar it was. After `ready` alone, the init was
/// killed itself.
fn end_of(raw: &str, killed: bool) -> (End, Option<u16>) {
    let number = |text: &str| text.parse().ok();
    let mut sidecar = None;
    for line in raw.lines() {
        if let Some(code) = line.strip_prefix("exit ").and_then(number) {
            return (End::Exited { code }, sidecar);
        }
        if let Some(signal) = line.strip_prefix("signal ").and_then(number) {
            return (End::Signaled { signal }, sidecar);
        }
        if let Some(number) = line.strip_prefix("sidecar ") {
            sidecar = number.parse().ok();
        }
    }
    let end = if killed { End::Signaled { signal: Signal::KILL.as_raw() } } else { End::Unknown };
    (end, None)
}

/// For those who debug: the shim's standard error is long gone.
fn log(text: &str) {
    if let Ok(mut log) = fs::File::options().append(true).create(true).open(names::SHIM_LOG) {
        let _ = writeln!(log, "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_the_init_tells_the_end() {
        assert_eq!(end_of("ready\nexit 7\n", false), (End::Exited { code: 7 }, None));
        assert_eq!(end_of("ready\nsignal 11\n", true), (End::Signaled { signal: 11 }, None));
        assert_eq!(end_of("ready\n", true), (End::Signaled { signal: 9 }, None));
        assert_eq!(end_of("ready\n", false), (End::Unknown, None));
    }

    #[test]
    fn the_end_of_a_sidecar_says_which_it_was() {
        assert_eq!(end_of("ready\nsidecar 1\nexit 3\n", true), (End::Exited { code: 3 }, Some(1)));
    }
}
