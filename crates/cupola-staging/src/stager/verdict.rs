//! What the end of a build means for the user: the kind that clients compare, and a sentence that
//! says what failed, why, and what to do next.

use cupola_domain::{builds::StagingErrorKind, commits::without_login};
use cupola_ports::{
    sandbox::{SandboxError, SandboxExit},
    stager::{StagingFailure, StagingRequest},
};

use crate::{
    buildpacks::UnusableBuildpack,
    caches::tree,
    orders::{BuildOutcome, BuildStep, Shortage},
};

/// The limits of a build, as messages need them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    memory_mib: u32,
    disk_mib: u32,
    seconds: u64,
}

impl Bounds {
    pub(super) fn of(request: &StagingRequest) -> Self {
        let StagingRequest { memory_mib, disk_mib, time_max, .. } = *request;
        Self { memory_mib, disk_mib, seconds: time_max.as_secs() }
    }

    fn shortage(self, shortage: Shortage) -> StagingFailure {
        let (what, mib, option) = match shortage {
            Shortage::Memory => ("memory", self.memory_mib, "-m"),
            Shortage::Disk => ("disk", self.disk_mib, "-k"),
        };
        failure(
            StagingErrorKind::InsufficientResources,
            format!(
                "Staging needed more than its {mib} MiB of {what}. Give the app more with `cf push {option}`, or build less"
            ),
        )
    }
}

/// The failure that follows from how the sandbox ended and what the builder said about it.
pub(super) fn of_exit(
    exit: SandboxExit,
    outcome: Option<BuildOutcome>,
    bounds: Bounds,
) -> StagingFailure {
    match exit {
        SandboxExit::Cancelled => cancelled(),
        SandboxExit::TimeUp => failure(
            StagingErrorKind::StagingTimeExpired,
            format!(
                "Staging took longer than the {} that are allowed. Look for the step that hangs in `cf logs APP --recent`, then push again",
                duration(bounds.seconds)
            ),
        ),
        SandboxExit::OutOfMemory => bounds.shortage(Shortage::Memory),
        SandboxExit::Signaled { signal } => failure(
            StagingErrorKind::StagingError,
            format!("The build was killed by signal {signal}. Push again"),
        ),
        SandboxExit::Exited { code } => match outcome {
            Some(BuildOutcome::Failed { shortage: Some(shortage), .. }) => {
                bounds.shortage(shortage)
            }
            Some(BuildOutcome::Failed { step, buildpack, cause, .. }) => {
                of_step(step, &sentence(buildpack.as_deref(), &cause))
            }
            Some(BuildOutcome::Staged { .. }) | None => {
                of_step(BuildStep::from_exit_code(code), &format!("The builder exited with {code}"))
            }
        },
    }
}

fn of_step(step: BuildStep, cause: &str) -> StagingFailure {
    let logs = "See what it printed in `cf logs APP --recent`, then push again";
    match step {
        BuildStep::Detect => failure(
            StagingErrorKind::NoAppDetectedError,
            format!(
                "An app was not successfully detected by any available buildpack: {cause}. Push the folder that holds the app's package.json, requirements.txt, go.mod or Staticfile, or name a buildpack with `cf push -b`"
            ),
        ),
        BuildStep::Supply | BuildStep::Compile | BuildStep::Finalize => failure(
            StagingErrorKind::BuildpackCompileFailed,
            format!("App staging failed in the buildpack compile phase: {cause}. {logs}"),
        ),
        BuildStep::Release => failure(
            StagingErrorKind::BuildpackReleaseFailed,
            format!("App staging failed in the buildpack release phase: {cause}. {logs}"),
        ),
        BuildStep::Prepare | BuildStep::Processes => {
            failure(StagingErrorKind::StagingError, format!("App staging failed: {cause}"))
        }
    }
}

pub(super) fn of_sandbox_error(error: &SandboxError, bounds: Bounds) -> StagingFailure {
    match error {
        SandboxError::DiskFull { .. } => bounds.shortage(Shortage::Disk),
        SandboxError::LayerMissing { .. } => failure(
            StagingErrorKind::StagingError,
            "The files of this package are no longer kept. Push again".to_owned(),
        ),
        SandboxError::Host { action, .. } => platform(action),
    }
}

pub(super) fn of_unusable(error: &UnusableBuildpack) -> StagingFailure {
    failure(StagingErrorKind::StagingError, format!("App staging failed: {error}"))
}

pub(super) fn cancelled() -> StagingFailure {
    failure(StagingErrorKind::StagingError, "Staging was cancelled".to_owned())
}

pub(super) fn cache_full(limit_mib: u64) -> StagingFailure {
    failure(
        StagingErrorKind::InsufficientResources,
        format!(
            "The build wrote more than {limit_mib} MiB to its cache, or folders deeper than {} levels; the cache was removed. Keep less in it, then push again",
            tree::DEPTH_MAX
        ),
    )
}

/// The host is at fault. Its operator finds more in the platform's log.
pub(super) fn platform(action: &str) -> StagingFailure {
    failure(
        StagingErrorKind::StagingError,
        format!("The platform could not run the build: {action}. Push again, or tell its operator"),
    )
}

fn sentence(buildpack: Option<&str>, cause: &str) -> String {
    // It came from inside the sandbox.
    let cause: String = cause.chars().filter(|c| !c.is_control()).take(1000).collect();
    match buildpack {
        Some(name) => {
            let name = without_login(name);
            let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
            format!("{name}: {cause}")
        }
        None => cause,
    }
}

fn duration(seconds: u64) -> String {
    if seconds >= 120 && seconds.is_multiple_of(60) {
        format!("{} minutes", seconds / 60)
    } else {
        format!("{seconds} seconds")
    }
}

fn failure(kind: StagingErrorKind, message: String) -> StagingFailure {
    StagingFailure { kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { memory_mib: 1024, disk_mib: 2048, seconds: 900 };

    fn exited(code: i32, outcome: Option<BuildOutcome>) -> (StagingErrorKind, String) {
        let failure = of_exit(SandboxExit::Exited { code }, outcome, BOUNDS);
        (failure.kind, failure.message)
    }

    #[test]
    fn exit_codes_alone_name_the_phase() {
        let (kind, message) = exited(222, None);
        assert_eq!(kind, StagingErrorKind::NoAppDetectedError);
        assert!(
            message.starts_with("An app was not successfully detected by any available buildpack")
        );
        assert_eq!(exited(223, None).0, StagingErrorKind::BuildpackCompileFailed);
        assert_eq!(exited(224, None).0, StagingErrorKind::BuildpackReleaseFailed);
        assert_eq!(exited(225, None).0, StagingErrorKind::BuildpackCompileFailed);
        assert_eq!(exited(226, None).0, StagingErrorKind::BuildpackCompileFailed);
        assert_eq!(exited(137, None).0, StagingErrorKind::StagingError);
    }

    #[test]
    fn cause_of_the_builder_is_told_without_control_characters() {
        let outcome = BuildOutcome::Failed {
            step: BuildStep::Finalize,
            buildpack: Some("go_buildpack".into()),
            cause: "`bin/finalize` exited\u{1b}[31m with 1".into(),
            shortage: None,
        };

        let (_, message) = exited(226, Some(outcome));

        assert_eq!(
            message,
            "App staging failed in the buildpack compile phase: go_buildpack: `bin/finalize` exited[31m with 1. See what it printed in `cf logs APP --recent`, then push again"
        );
    }

    #[test]
    fn a_shortage_is_told_instead_of_the_script_that_met_it() {
        let outcome = BuildOutcome::Failed {
            step: BuildStep::Supply,
            buildpack: Some("go".into()),
            cause: "`bin/supply` exited with 1".into(),
            shortage: Some(Shortage::Disk),
        };

        let (kind, message) = exited(225, Some(outcome));

        assert_eq!(kind, StagingErrorKind::InsufficientResources);
        assert!(message.contains("2048 MiB of disk"));
    }

    #[test]
    fn time_memory_and_cancellation_are_told_apart() {
        let of = |exit| of_exit(exit, None, BOUNDS);

        assert_eq!(of(SandboxExit::TimeUp).kind, StagingErrorKind::StagingTimeExpired);
        assert!(of(SandboxExit::TimeUp).message.contains("15 minutes"));
        assert_eq!(of(SandboxExit::OutOfMemory).kind, StagingErrorKind::InsufficientResources);
        assert_eq!(of(SandboxExit::Cancelled).message, "Staging was cancelled");
    }
}
