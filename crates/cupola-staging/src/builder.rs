//! The role `builder`: stages an app with ordinary buildpacks, confined in a sandbox.

pub(crate) mod files;
mod lifecycle;
pub(crate) mod processes;
mod script;
mod sources;

use std::{ffi::OsString, fs, io::Write, path::Path, process::ExitCode};

use lifecycle::Lifecycle;

use crate::orders::{self, BuildOrder, BuildOutcome, BuildStep, Shortage};

/// Kept free until the end, so that a build that filled its disk can still say so.
const RESERVE_BYTES: usize = 1 << 20;
/// A write may fail while there is still less than this, for it is reserved in large pieces.
const DISK_FULL_BYTES: u64 = 8 << 20;
const RESERVE_NAME: &str = "reserve";

/// Why there is no droplet, as the result tells it.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Failure {
    step: BuildStep,
    buildpack: Option<String>,
    /// A half sentence about the buildpack if there is one, or a whole one.
    cause: String,
}

impl Failure {
    fn new(step: BuildStep, cause: impl Into<String>) -> Self {
        Self { step, buildpack: None, cause: cause.into() }
    }

    fn of(step: BuildStep, buildpack: &str, cause: impl Into<String>) -> Self {
        Self { step, buildpack: Some(buildpack.to_owned()), cause: cause.into() }
    }
}

/// Runs the role. Its one argument is the path of the order; the result is written where the order
/// says. Exits with the codes of Cloud Foundry's builder.
pub fn builder_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(order_path) = arguments.into_iter().next() else {
        return ExitCode::from(2);
    };
    let Ok(order) = orders::read::<BuildOrder>(Path::new(&order_path)) else {
        return ExitCode::from(2);
    };
    let outcome = build(&order, &mut std::io::stdout());
    let code = match &outcome {
        BuildOutcome::Staged { .. } => 0,
        BuildOutcome::Failed { step, .. } => step.exit_code(),
    };
    match orders::write(&order.paths.result, outcome) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::from(code.max(1)),
    }
}

pub(crate) fn build(order: &BuildOrder, out: &mut dyn Write) -> BuildOutcome {
    let outcome = prepare(order).and_then(|()| Lifecycle::new(order, out).run());
    let shortage = shortage(&order.paths.work);
    let _ = fs::remove_file(order.paths.work.join(RESERVE_NAME));
    match outcome {
        Ok(staged) => staged,
        Err(Failure { step, buildpack, cause }) => {
            BuildOutcome::Failed { step, buildpack, cause, shortage }
        }
    }
}

fn prepare(order: &BuildOrder) -> Result<(), Failure> {
    let paths = &order.paths;
    let folders = [
        &paths.app,
        &paths.deps,
        &paths.cache,
        &paths.profile,
        &paths.logs,
        &paths.tmp,
        &paths.work,
    ];
    for folder in folders {
        fs::create_dir_all(folder).map_err(|e| {
            Failure::new(BuildStep::Prepare, format!("cannot make {}: {e}", folder.display()))
        })?;
    }
    let reserve = paths.work.join(RESERVE_NAME);
    fs::write(reserve, vec![0x5a; RESERVE_BYTES])
        .map_err(|e| Failure::new(BuildStep::Prepare, format!("there is no disk to build on: {e}")))
}

/// What ran out, as far as it can be told from inside.
fn shortage(work: &Path) -> Option<Shortage> {
    if oom_kills() > 0 {
        return Some(Shortage::Memory);
    }
    let disk = rustix::fs::statvfs(work).ok()?;
    let is_full = disk.f_bavail.saturating_mul(disk.f_frsize) < DISK_FULL_BYTES
        || (disk.f_files > 0 && disk.f_favail == 0);
    is_full.then_some(Shortage::Disk)
}

/// How often the kernel killed a process of this container for lack of memory.
fn oom_kills() -> u64 {
    ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .filter_map(|text| oom_kills_in(&text))
        .max()
        .unwrap_or(0)
}

fn oom_kills_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oom_kills_are_read_from_both_forms() {
        assert_eq!(oom_kills_in("low 0\nhigh 0\nmax 5\noom 1\noom_kill 2\n"), Some(2));
        assert_eq!(oom_kills_in("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
        assert_eq!(oom_kills_in("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
