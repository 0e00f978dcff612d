//! The process beside each container: starts it, takes its output, knows how it ended.
//!
//! A shim must outlive control, so that restarting or upgrading the platform touches no app, and a
//! container must outlive its shim: whatever only the shim knows is also in a file, and a second
//! shim can take over (`adopt`).
//! Invariant: one thread, and always drains the app's output, whoever listens.

mod clients;
mod launch;
mod output;
mod rootfs;
mod watch;

use std::{
    ffi::OsString,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

pub(crate) use launch::start_ticks;
use rustix::fs::{FlockOperation, flock};

use crate::{
    error::{Doing, RuntimeError, chain},
    records::{self, End, ExitRecord, Launch},
    time_now,
};

/// The names of files in an instance's folder.
pub(crate) mod names {
    pub(crate) const LAUNCH: &str = "launch.json";
    pub(crate) const INSTANCE: &str = "instance.json";
    pub(crate) const STARTED: &str = "started.json";
    pub(crate) const EXIT: &str = "exit.json";
    pub(crate) const EXIT_RAW: &str = "exit.raw";
    pub(crate) const SOCKET: &str = "ctl.sock";
    pub(crate) const LOCK: &str = "shim.lock";
    pub(crate) const PID: &str = "pid";
    pub(crate) const OUT: &str = "out";
    pub(crate) const ERR: &str = "err";
    pub(crate) const RUNTIME_LOG: &str = "runc.log";
    pub(crate) const SHIM_LOG: &str = "shim.log";
    pub(crate) const CONFIG: &str = "config.json";

    /// A sidecar's pipe has its number behind the name.
    pub(crate) fn of_stream(base: &str, sidecar: Option<u16>) -> String {
        sidecar.map_or_else(|| base.to_owned(), |number| format!("{base}.{number}"))
    }
}

/// What a shim says on its standard output once it watches the container.
pub(crate) const READY: &str = "ready";

/// Runs `start FOLDER` or `adopt FOLDER` and never returns.
pub fn shim_main(args: Vec<OsString>) -> ! {
    let outcome = match args.as_slice() {
        [mode, folder] => run(mode == "adopt", Path::new(folder)),
        _ => Err(RuntimeError::ProgramFailed {
            program: "shim".to_owned(),
            detail: "expected `start FOLDER` or `adopt FOLDER`".to_owned(),
        }),
    };
    let code = match outcome {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", chain(&error));
            1
        }
    };
    std::process::exit(code)
}

fn run(adopt: bool, folder: &Path) -> Result<(), RuntimeError> {
    let _ = rustix::process::setsid();
    std::env::set_current_dir(folder).doing(|| format!("enter `{}`", folder.display()))?;
    // First of all, because it takes descriptor 3.
    let record = launch::open_exit_raw()?;
    let _lock = lock()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .doing(|| "become the parent of orphans".to_owned())?;
    let launch: Launch = records::read(Path::new(names::LAUNCH))?.ok_or_else(|| {
        RuntimeError::Format { what: names::LAUNCH.to_owned(), detail: "it is missing".to_owned() }
    })?;
    let container = if adopt { launch::adopt(&launch) } else { launch::start(&launch, record) };
    match container {
        Ok(container) => watch::watch(launch, container),
        // Whatever this shim could not do, the next one may: a running app is not ended for it.
        Err(error) if adopt && launch::may_run() => Err(error),
        Err(error) => {
            launch::delete(&launch);
            rootfs::release();
            record_not_started(&error)?;
            Err(error)
        }
    }
}

/// Held as long as the shim lives: there are never two for one container.
fn lock() -> Result<File, RuntimeError> {
    let path = PathBuf::from(names::LOCK);
    let what = || "create the lock of the shim".to_owned();
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .doing(what)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .doing(|| "lock the container: another shim watches it".to_owned())?;
    file.set_len(0).doing(what)?;
    write!(file, "{}", std::process::id()).doing(what)?;
    Ok(file)
}

/// The process id of the shim of the container in `folder`, if there is one.
pub(crate) fn holder(folder: &Path) -> Option<i32> {
    let file = File::options().read(true).open(folder.join(names::LOCK)).ok()?;
    // Nobody holds it if it can be had.
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    std::io::read_to_string(file).ok()?.parse().ok()
}

fn record_not_started(error: &RuntimeError) -> Result<(), RuntimeError> {
    let now = time_now();
    let record = ExitRecord {
        version: records::VERSION,
        end: End::NotStarted { detail: chain(error) },
        sidecar: None,
        oom_kills: 0,
        stop_asked: false,
        killed: false,
        disk_full: false,
        memory_peak_bytes: None,
        started_at: now,
        ended_at: now,
    };
    records::write(Path::new(names::EXIT), &record)
}
