//! The release phase: the command that a droplet names `release` is run once, as a task, before any
//! instance of a new release is started. Known from Heroku's platform under the same name.
//!
//! Invariant: as long as it has not succeeded, nothing of its release is started.

use serde::{Deserialize, Serialize};

use crate::{generations::Release, ids::TaskId};

/// The process type whose command is the release phase. It is no process of its own.
pub const RELEASE: &str = "release";

/// The release phase of a generation. One whose droplet names no such command has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasePhase {
    /// The task that runs the command.
    pub task: TaskId,
    #[serde(flatten)]
    pub progress: Progress,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Progress {
    /// Its task has not ended.
    Pending,
    Succeeded,
    Failed {
        reason: String,
    },
}

impl Progress {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed { .. } => "FAILED",
        }
    }
}

impl ReleasePhase {
    pub const fn of(task: TaskId) -> Self {
        Self { task, progress: Progress::Pending }
    }

    pub fn is_pending(&self) -> bool {
        self.progress == Progress::Pending
    }

    pub fn has_succeeded(&self) -> bool {
        self.progress == Progress::Succeeded
    }

    /// Why nothing of the release is started, for users.
    pub fn failure(&self) -> Option<String> {
        match &self.progress {
            Progress::Failed { reason } => Some(format!(
                "The release phase failed: {reason}. Its output is in the app's log, as \
                 APP/TASK/{RELEASE}"
            )),
            Progress::Pending | Progress::Succeeded => None,
        }
    }
}

/// What a start has to do about the release phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// The droplet names no command for it.
    Nothing,
    /// The same code and configuration had its phase before, or is having it.
    Kept(ReleasePhase),
    Run,
}

/// Whether the release phase of `new` runs, after `before`: what the app was started as last.
///
/// It runs for new code and new environment variables; a restart, a scale, another command or limit
/// is no new release. One that failed is tried again by whatever starts the app next.
pub fn due(
    names_command: bool,
    new: &Release,
    before: Option<(&Release, Option<&ReleasePhase>)>,
) -> Due {
    if !names_command {
        return Due::Nothing;
    }
    match before {
        Some((old, Some(phase)))
            if old.droplet == new.droplet
                && old.environment == new.environment
                && phase.failure().is_none() =>
        {
            Due::Kept(phase.clone())
        }
        _ => Due::Run,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ids::DropletId;

    fn release() -> Release {
        Release {
            droplet: DropletId::random(),
            environment: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            processes: BTreeMap::new(),
            sidecars: Vec::new(),
        }
    }

    fn phase(progress: Progress) -> ReleasePhase {
        ReleasePhase { task: TaskId::random(), progress }
    }

    #[test]
    fn first_start_and_every_change_of_code_or_variables_runs_it() {
        let (old, done) = (release(), phase(Progress::Succeeded));
        let new_code = Release { droplet: DropletId::random(), ..old.clone() };
        let new_variables = Release { environment: BTreeMap::new(), ..old.clone() };

        assert_eq!(due(true, &old, None), Due::Run);
        assert_eq!(due(true, &new_code, Some((&old, Some(&done)))), Due::Run);
        assert_eq!(due(true, &new_variables, Some((&old, Some(&done)))), Due::Run);
        // Started by a platform that knew no release phase.
        assert_eq!(due(true, &old, Some((&old, None))), Due::Run);
    }

    #[test]
    fn restart_of_the_same_release_keeps_the_phase_it_had() {
        let same = release();
        let (done, runs) = (phase(Progress::Succeeded), phase(Progress::Pending));

        assert_eq!(due(true, &same, Some((&same, Some(&done)))), Due::Kept(done.clone()));
        assert_eq!(due(true, &same, Some((&same, Some(&runs)))), Due::Kept(runs.clone()));
    }

    #[test]
    fn failed_phase_is_tried_again() {
        let same = release();
        let failed = phase(Progress::Failed { reason: "Exited with status 7".to_owned() });

        assert_eq!(due(true, &same, Some((&same, Some(&failed)))), Due::Run);
        assert!(failed.failure().unwrap().contains("Exited with status 7"));
    }

    #[test]
    fn droplet_without_the_command_has_no_phase() {
        let same = release();

        assert_eq!(due(false, &same, Some((&same, Some(&phase(Progress::Pending))))), Due::Nothing);
    }

    #[test]
    fn phase_is_written_with_its_state_beside_its_task() {
        let failed = phase(Progress::Failed { reason: "x".to_owned() });

        let written = serde_json::to_value(&failed).unwrap();

        assert_eq!(written["state"], "FAILED");
        assert_eq!(written["task"], failed.task.to_string());
        assert_eq!(serde_json::from_value::<ReleasePhase>(written).unwrap(), failed);
    }
}
