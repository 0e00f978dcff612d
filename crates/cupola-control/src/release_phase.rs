//! The release phase: begun with what it is for, carried out as a task, and its end taken over by
//! whatever waits for it.
//!
//! Its task is made in the transaction that wants the new version, and its end is written with the
//! end of the task: there is no moment at which a kill of control would lose or repeat it. A task
//! that was begun is never begun again (its command may not bear that), so that a host which went
//! down meanwhile makes the phase fail.

use cupola_domain::{
    access::Access,
    apps::App,
    audit::Party,
    deployments::Deployment,
    droplets::Droplet,
    generations::Generation,
    ids::{AppId, TaskId},
    orgs::Metadata,
    processes::{InstanceLimits, WEB},
    release_phase::{Due, Progress, RELEASE, ReleasePhase, due},
    tasks::{Task, TaskState},
};
use cupola_ports::store::{self, Query, WriteTx};

use crate::{
    Control, ControlError, apps::PlacedApp, caller::Caller, services::SnapshotOf,
    tasks::next_sequence,
};

impl Control {
    /// The release phase of a generation that is about to take the place of the app's own, with the
    /// task that carries it out.
    pub(crate) async fn begin_release_phase(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        generation: &Generation,
    ) -> Result<Option<ReleasePhase>, ControlError> {
        let app = &placed.app;
        let droplet = store::get::<Droplet>(tx, generation.release.droplet).await?;
        let command = droplet.and_then(|mut one| one.contents.process_types.remove(RELEASE));
        let before = store::get::<Generation>(tx, app.generation).await?;
        let before = before.as_ref().map(|one| (&one.release, app.release_phase.as_ref()));
        let command = match due(command.is_some(), &generation.release, before) {
            Due::Nothing => return Ok(None),
            Due::Kept(phase) => return Ok(Some(phase)),
            Due::Run => command.unwrap_or_default(),
        };
        let mut task = self.release_task(next_sequence(tx, app.id).await?, command, generation);
        task.services = self.snapshot_services(tx, app, SnapshotOf::Task(task.id)).await?;
        let phase = ReleasePhase::of(task.id);
        self.insert_task(tx, caller, placed, &task).await?;
        Ok(Some(phase))
    }

    /// It gets as much as an instance of the `web` process does: it runs the same code.
    fn release_task(&self, sequence: u32, command: String, generation: &Generation) -> Task {
        let defaults = &self.settings().instances;
        let limits = generation.release.processes.get(WEB).map_or(
            InstanceLimits {
                memory_mib: defaults.memory_mib_default,
                disk_mib: defaults.disk_mib_default,
                log_rate_bytes_per_s: defaults.log_rate_bytes_per_s_default,
            },
            |web| web.limits,
        );
        let now = self.ports.clock.now();
        Task {
            id: TaskId::random(),
            app_id: generation.app_id,
            sequence,
            name: RELEASE.to_owned(),
            command,
            limits,
            droplet: generation.release.droplet,
            environment: generation.release.environment.clone(),
            services: None,
            generation: Some(generation.id),
            state: TaskState::Pending,
            metadata: Metadata::default(),
            created_at: now,
            updated_at: now,
        }
    }

    /// Ends the app's own phase, because the app is stopped or started as something else.
    pub(crate) async fn end_release_phase_of_app(
        &self,
        tx: &mut dyn WriteTx,
        actor: Party,
        app: &mut App,
        because: &str,
    ) -> Result<(), ControlError> {
        if let Some(phase) = app.release_phase.as_mut().filter(|phase| phase.is_pending()) {
            phase.progress = Progress::Failed { reason: because.to_owned() };
            let task = phase.task;
            self.end_release_task(tx, actor, task).await?;
        }
        Ok(())
    }

    /// Ends the task of a deployment's phase, unless the app itself waits for the same one.
    pub(crate) async fn end_release_phase_of(
        &self,
        tx: &mut dyn WriteTx,
        actor: Party,
        deployment: &Deployment,
    ) -> Result<(), ControlError> {
        let Some(phase) = deployment.release_phase.as_ref().filter(|phase| phase.is_pending())
        else {
            return Ok(());
        };
        let app = store::get::<App>(tx, deployment.app_id).await?;
        let own = app.and_then(|app| app.release_phase).map(|phase| phase.task);
        if own == Some(phase.task) {
            return Ok(());
        }
        self.end_release_task(tx, actor, phase.task).await
    }

    async fn end_release_task(
        &self,
        tx: &mut dyn WriteTx,
        actor: Party,
        id: TaskId,
    ) -> Result<(), ControlError> {
        let task = store::get::<Task>(tx, id).await?;
        let Some(task) = task.filter(|task| !task.state.has_ended()) else { return Ok(()) };
        let placed = self.readable_app(tx, &Access::admin(), task.app_id).await?;
        self.cancel_task_row(tx, actor, &placed, task).await?;
        Ok(())
    }

    /// Tells whoever waits for this task that it has ended.
    pub(crate) async fn settle_release_phase(
        &self,
        tx: &mut dyn WriteTx,
        task: &Task,
    ) -> Result<(), ControlError> {
        let progress = match &task.state {
            TaskState::Succeeded => Progress::Succeeded,
            TaskState::Failed { reason } => Progress::Failed { reason: reason.clone() },
            TaskState::Pending | TaskState::Running | TaskState::Canceling => return Ok(()),
        };
        let settle = |phase: &mut Option<ReleasePhase>| match phase {
            Some(phase) if phase.task == task.id && phase.is_pending() => {
                phase.progress = progress.clone();
                true
            }
            _ => false,
        };
        if let Some(mut app) = store::get::<App>(tx, task.app_id).await?
            && settle(&mut app.release_phase)
        {
            store::update(tx, &app).await?;
        }
        let of_app = Query::by("app_id", task.app_id.to_string());
        for mut deployment in store::list::<Deployment>(tx, &of_app).await?.items {
            if settle(&mut deployment.release_phase) {
                store::update(tx, &deployment).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn tell_release_phase(&self, app: AppId, progress: &TaskState) {
        match progress {
            TaskState::Succeeded => self.tell(app, "Release phase succeeded"),
            TaskState::Failed { reason } => self.tell(
                app,
                format!("Release phase failed: {reason}. No instance of this release is started"),
            ),
            TaskState::Running => self.tell(app, "Release phase is running"),
            TaskState::Pending | TaskState::Canceling => {}
        }
    }
}
