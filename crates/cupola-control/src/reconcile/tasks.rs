//! Runs tasks: each once, whatever happens to control meanwhile.
//!
//! Part of the instances' pass, because the cell is told of everything it shall have at once.
//!
//! Invariant: a task that was seen running is never started a second time, and of the release phases
//! of one app there is never more than one that runs.

use std::collections::{HashMap, HashSet};

use cupola_domain::{
    ids::{InstanceId, TaskId},
    instances::ExitCause,
    tasks::{Task, TaskState},
};
use cupola_ports::{
    cells::{ActualState, DesiredInstance, Phase},
    store::{self, Lease},
};

use super::write;
use crate::{Control, ControlError, launch_spec, tasks::unfinished};

/// Notes what became of the tasks and returns what the cell shall have of them.
pub(super) async fn pass(
    control: &Control,
    lease: &Lease,
    specs: &mut HashMap<InstanceId, DesiredInstance>,
    actual: &ActualState,
) -> Result<Vec<DesiredInstance>, ControlError> {
    let mut tx = control.read().await?;
    let tasks = store::list::<Task>(&mut *tx, &unfinished()).await?.items;
    drop(tx);
    let mut desired = Vec::with_capacity(tasks.len());
    let is_known: HashSet<InstanceId> = tasks.iter().map(Task::instance).collect();
    specs.retain(|id, _| is_known.contains(id));
    let waiting: HashSet<TaskId> = tasks.iter().filter(|one| waits(one, &tasks)).map(id).collect();
    for task in tasks {
        let phase = actual.instances.get(&task.instance()).map(|instance| &instance.phase);
        let mut next = next(&task.state, phase);
        let may_run = !waiting.contains(&task.id);
        if may_run && matches!(next, TaskState::Pending | TaskState::Running) {
            let spec = match specs.get(&task.instance()) {
                Some(spec) => Some(spec.clone()),
                None => launch_spec::read_desired_task(control, &task).await?,
            };
            match spec {
                Some(spec) => {
                    specs.insert(spec.id, spec.clone());
                    desired.push(spec);
                }
                None => next = failed("its app or its droplet is gone"),
            }
        }
        if next != task.state {
            settle(control, lease, &task, next).await?;
        }
    }
    Ok(desired)
}

const fn id(task: &Task) -> TaskId {
    task.id
}

/// Release phases of an app never run beside each other: both may change the same database.
fn waits(task: &Task, unfinished: &[Task]) -> bool {
    let is_before = |other: &Task| {
        other.app_id == task.app_id && other.generation.is_some() && other.sequence < task.sequence
    };
    task.generation.is_some() && unfinished.iter().any(is_before)
}

fn next(state: &TaskState, phase: Option<&Phase>) -> TaskState {
    match (state, phase) {
        (TaskState::Canceling, None | Some(Phase::Exited(_))) => failed("task was cancelled"),
        (_, Some(Phase::Exited(report))) => match &report.cause {
            ExitCause::Exited { code: 0 } => TaskState::Succeeded,
            cause => failed(&cause.to_string()),
        },
        (TaskState::Running, None) => failed("it was lost: its end was not seen"),
        (TaskState::Pending, Some(_)) => TaskState::Running,
        (state, _) => state.clone(),
    }
}

fn failed(reason: &str) -> TaskState {
    TaskState::Failed { reason: reason.to_owned() }
}

async fn settle(
    control: &Control,
    lease: &Lease,
    seen: &Task,
    next: TaskState,
) -> Result<(), ControlError> {
    let mut tx = write(control, lease).await?;
    // Somebody may have cancelled it meanwhile; the next pass looks at what it is then.
    let task = store::get::<Task>(&mut *tx, seen.id).await?;
    if let Some(mut task) = task.filter(|task| task.state == seen.state) {
        task.state = next;
        task.updated_at = control.ports.clock.now();
        store::update(&mut *tx, &task).await?;
        if task.generation.is_some() {
            control.settle_release_phase(&mut *tx, &task).await?;
            tx.commit().await?;
            control.tell_release_phase(task.app_id, &task.state);
            return Ok(());
        }
        tx.commit().await?;
        if let TaskState::Failed { reason } = &task.state {
            control.tell(task.app_id, format!("Task {} failed: {reason}", task.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cupola_domain::{
        ids::{AppId, DropletId, GenerationId},
        orgs::Metadata,
        processes::InstanceLimits,
        time::Timestamp,
    };
    use cupola_ports::cells::ExitReport;

    use super::*;

    fn exited(cause: ExitCause) -> Phase {
        let at = Timestamp::from_micros(0);
        Phase::Exited(ExitReport {
            cause,
            killed: false,
            memory_peak_bytes: None,
            started_at: at,
            ended_at: at,
        })
    }

    #[test]
    fn exit_code_decides() {
        let good = next(&TaskState::Running, Some(&exited(ExitCause::Exited { code: 0 })));
        let bad = next(&TaskState::Pending, Some(&exited(ExitCause::Exited { code: 3 })));

        assert_eq!(good, TaskState::Succeeded);
        assert_eq!(bad, failed("Exited with status 3"));
    }

    #[test]
    fn task_that_ran_and_is_gone_is_not_started_again() {
        assert_eq!(next(&TaskState::Pending, None), TaskState::Pending);
        assert_eq!(next(&TaskState::Pending, Some(&Phase::Starting)), TaskState::Running);
        assert!(next(&TaskState::Running, None).has_ended());
        assert_eq!(next(&TaskState::Canceling, None), failed("task was cancelled"));
        let killed = exited(ExitCause::Signaled { signal: 15 });
        assert_eq!(next(&TaskState::Canceling, Some(&killed)), failed("task was cancelled"));
        assert_eq!(next(&TaskState::Canceling, Some(&Phase::Stopping)), TaskState::Canceling);
    }
    fn task(sequence: u32, generation: Option<GenerationId>) -> Task {
        Task {
            id: TaskId::random(),
            app_id: AppId::from_uuid(uuid::Uuid::nil()),
            sequence,
            name: "release".to_owned(),
            command: "./migrate".to_owned(),
            limits: InstanceLimits { memory_mib: 64, disk_mib: 64, log_rate_bytes_per_s: -1 },
            droplet: DropletId::random(),
            environment: BTreeMap::new(),
            services: None,
            generation,
            state: TaskState::Pending,
            metadata: Metadata::default(),
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn release_phase_waits_for_the_one_before_it_and_for_nothing_else() {
        let phase = |sequence| task(sequence, Some(GenerationId::random()));
        let all = [task(1, None), phase(2), phase(3), task(4, None)];
        let of_other = Task { app_id: AppId::random(), ..phase(5) };

        let waiting: Vec<u32> =
            all.iter().filter(|one| waits(one, &all)).map(|one| one.sequence).collect();

        assert_eq!(waiting, [3]);
        assert!(!waits(&of_other, &all));
    }
}
