//! Starting a container, and finding one that another shim started.

use std::{
    fs::{self, File},
    io::Write,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{names, output::Stream, rootfs};
use crate::{
    bundle::VCAP_UID,
    error::{Doing, RuntimeError},
    records::{self, Launch, Started},
    sys, time_now,
};

/// A container that runs, or did until just now.
pub(super) struct Container {
    pub(super) started: Started,
    /// None if the process is gone.
    pub(super) pidfd: Option<OwnedFd>,
    /// Its output, and that of its sidecars.
    pub(super) pipes: Vec<Pipe>,
    /// Whether its init is a child of this process.
    pub(super) is_child: bool,
}

/// One stream of output.
pub(super) struct Pipe {
    pub(super) stream: Stream,
    pub(super) reader: OwnedFd,
    /// The own end for writing, so that the pipe never reports its end.
    writer: File,
}

/// Opens the record of the init for appending, as descriptor 3.
pub(super) fn open_exit_raw() -> Result<OwnedFd, RuntimeError> {
    let file = File::options()
        .append(true)
        .create(true)
        .open(names::EXIT_RAW)
        .doing(|| "open the record of the init".to_owned())?;
    sys::place_at_three(file.into()).doing(|| "hand over the record of the init".to_owned())
}

/// Makes the file system, starts the container, and finds its first process.
pub(super) fn start(launch: &Launch, record: OwnedFd) -> Result<Container, RuntimeError> {
    rootfs::prepare(launch)?;
    make_pipes(launch)?;
    let pipes = open_pipes(launch)?;
    run_runtime(launch, &pipes)?;
    // The record is the init's from here on.
    drop(record);
    let started = find_started()?;
    records::write(Path::new(names::STARTED), &started)?;
    Ok(Container { started, pidfd: open_process(&started), pipes, is_child: true })
}

/// Takes over from a shim that died.
pub(super) fn adopt(launch: &Launch) -> Result<Container, RuntimeError> {
    let known = records::read::<Started>(Path::new(names::STARTED))?;
    let started = match known {
        Some(started) => started,
        None => {
            let started = find_started().map_err(|_| RuntimeError::NotStarted {
                detail: format!("the shim of `{}` died while it started it", launch.id),
            })?;
            records::write(Path::new(names::STARTED), &started)?;
            started
        }
    };
    let pipes = open_pipes(launch)?;
    Ok(Container { started, pidfd: open_process(&started), pipes, is_child: false })
}

/// Whether the container's first process is there, as far as its records can be read.
pub(super) fn may_run() -> bool {
    let started = match records::read::<Started>(Path::new(names::STARTED)) {
        Ok(Some(started)) => Ok(started),
        Ok(None) | Err(_) => find_started(),
    };
    started.is_ok_and(|started| start_ticks(started.pid) == Some(started.start_ticks))
}

/// Removes what the OCI runtime keeps of the container.
pub(super) fn delete(launch: &Launch) {
    for force in [false, true] {
        let mut delete = runtime(launch);
        delete.arg("delete");
        if force {
            // Sleeps a tenth of a second, so only where it has to be.
            delete.arg("--force");
        }
        delete.arg(&launch.id).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if delete.status().is_ok_and(|status| status.success()) {
            return;
        }
    }
}

/// A handle to the process, if it is still the one that was started.
fn open_process(started: &Started) -> Option<OwnedFd> {
    let pid = Pid::from_raw(started.pid)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    (start_ticks(started.pid)? == started.start_ticks).then_some(pidfd)
}

fn find_started() -> Result<Started, RuntimeError> {
    let what = || "the process id of the container".to_owned();
    let text = fs::read_to_string(names::PID).doing(|| format!("read {}", what()))?;
    let wrong = |detail: &str| RuntimeError::Format { what: what(), detail: detail.to_owned() };
    let pid: i32 = text.trim().parse().map_err(|_| wrong("not a number"))?;
    let start_ticks = start_ticks(pid).ok_or_else(|| wrong("there is no such process"))?;
    Ok(Started { version: records::VERSION, pid, start_ticks, at: time_now() })
}

/// When the process was started: field 22 of its `stat`, counted behind the name in brackets.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

fn make_pipes(launch: &Launch) -> Result<(), RuntimeError> {
    // The app may open /dev/stdout again by its name, so the pipes are its own.
    let vcap = launch.uid_base + VCAP_UID;
    for (name, _) in streams(launch) {
        let path = Path::new(&name);
        sys::make_fifo(path).doing(|| format!("make the pipe `{name}`"))?;
        std::os::unix::fs::chown(path, Some(vcap), Some(vcap))
            .doing(|| format!("hand over the pipe `{name}`"))?;
    }
    Ok(())
}

/// The pipes of the container by name: output and errors of its first program, then of each sidecar.
fn streams(launch: &Launch) -> Vec<(String, Stream)> {
    let programs = [None].into_iter().chain((0..launch.sidecars).map(Some));
    let of_program = |sidecar: Option<u16>| {
        let name = |base: &str| names::of_stream(base, sidecar);
        [
            (name(names::OUT), Stream { sidecar, stderr: false }),
            (name(names::ERR), Stream { sidecar, stderr: true }),
        ]
    };
    programs.flat_map(of_program).collect()
}

fn open_pipes(launch: &Launch) -> Result<Vec<Pipe>, RuntimeError> {
    let open_pipe = |(name, stream): (String, Stream)| {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let reader =
            open(&name, flags, Mode::empty()).doing(|| format!("read the pipe `{name}`"))?;
        let writer = File::options()
            .read(true)
            .write(true)
            .open(&name)
            .doing(|| format!("open the pipe `{name}`"))?;
        Ok(Pipe { stream, reader, writer })
    };
    streams(launch).into_iter().map(open_pipe).collect()
}

fn runtime(launch: &Launch) -> Command {
    let mut command = Command::new(&launch.runtime);
    command.arg("--root").arg(&launch.runtime_root).args([
        "--log",
        names::RUNTIME_LOG,
        "--log-format",
        "json",
    ]);
    command
}

fn run_runtime(launch: &Launch, pipes: &[Pipe]) -> Result<(), RuntimeError> {
    let clone = |pipe: &Pipe| {
        pipe.writer.as_fd().try_clone_to_owned().doing(|| "hand over a pipe".to_owned())
    };
    let [out, err, of_sidecars @ ..] = pipes else {
        return Err(RuntimeError::NotStarted { detail: "it has no pipes".to_owned() });
    };
    // The record of the init, and the pipes of the sidecars behind it.
    let preserved = (1 + of_sidecars.len()).to_string();
    let mut run = runtime(launch);
    run.args(["run", "--detach", "--preserve-fds", &preserved, "--pid-file", names::PID])
        .arg(&launch.id)
        .stdin(Stdio::null())
        .stdout(clone(out)?)
        .stderr(clone(err)?)
        .process_group(0);
    // Otherwise a container could appear that nobody waits for.
    sys::die_with_parent(&mut run);
    if !of_sidecars.is_empty() {
        let pipes = of_sidecars.iter().map(clone).collect::<Result<Vec<_>, _>>()?;
        sys::hand_over(&mut run, pipes).doing(|| "hand over the pipes of sidecars".to_owned())?;
    }
    let status = run.status().doing(|| format!("run `{}`", launch.runtime.display()))?;
    if status.success() {
        return Ok(());
    }
    Err(RuntimeError::NotStarted { detail: last_error().unwrap_or_else(|| status.to_string()) })
}

/// The last error in the log of the OCI runtime.
fn last_error() -> Option<String> {
    let log = fs::read_to_string(names::RUNTIME_LOG).ok()?;
    log.lines().rev().find_map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        (entry["level"] == "error").then(|| entry["msg"].as_str().map(str::to_owned))?
    })
}

/// Says that the container is watched, and lets go of the streams that control gave.
pub(super) fn say_ready() {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{}", super::READY);
    let _ = out.flush();
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        sys::replace_output(&null);
    }
}
