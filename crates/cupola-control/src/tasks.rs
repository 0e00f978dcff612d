//! Tasks: begun, watched and cancelled. The loop of instances runs them.

use cupola_domain::{
    access::Access,
    audit::Party,
    droplets::Droplet,
    ids::{AppId, DropletId, ProcessId, TaskId},
    orgs::Metadata,
    processes::{InstanceLimits, Process},
    tasks::{Task, TaskState},
};
use cupola_ports::store::{self, Condition, Direction, Page, Query, ReadTx, WriteTx};
use serde_json::json;

use crate::{
    Control, ControlError, ListRequest, Owners,
    apps::{PlacedApp, told::HIDDEN},
    caller::Caller,
    launch_spec,
    orgs::MetadataChange,
    processes::Scale,
    services::SnapshotOf,
};

/// What a client says of a new task.
#[derive(Clone, Debug)]
pub struct NewTask {
    pub app: AppId,
    /// None takes the one of `template`.
    pub command: Option<String>,
    /// Named by the platform if the client does not.
    pub name: Option<String>,
    pub memory_mib: Option<i64>,
    pub disk_mib: Option<i64>,
    pub log_rate_bytes_per_s: Option<i64>,
    /// The app's current one if none is named.
    pub droplet: Option<DropletId>,
    /// A process of the app whose command and limits are taken where the client says none.
    pub template: Option<ProcessId>,
    pub metadata: Metadata,
}

/// A task, and whether the caller may see its command.
#[derive(Clone, Debug)]
pub struct ShownTask {
    pub task: Task,
    pub shows_command: bool,
}

/// An app may have so many tasks that have not ended.
const UNFINISHED_MAX: usize = 50;
/// Tasks that have ended are kept per app.
const TASKS_MAX: i64 = 100;
/// Bytes, as upstream.
const COMMAND_BYTES_MAX: usize = 4096;

impl Control {
    pub async fn create_task(&self, caller: &Caller, new: NewTask) -> Result<Task, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, new.app).await?;
        placed.may_develop(&access)?;
        self.require_flag_or_admin(&mut *tx, caller, "task_creation").await?;
        let droplet = droplet_of(&mut *tx, &placed, new.droplet).await?;
        let template = self.template(&mut *tx, &placed, new.template).await?;
        let limits = self.task_limits(template.as_ref(), &new)?;
        let command = new
            .command
            .or_else(|| launch_spec::command(template.as_ref()?, &droplet).map(str::to_owned));
        let command = checked_command(command)?;
        require_room(&mut *tx, new.app).await?;
        let sequence = next_sequence(&mut *tx, new.app).await?;
        let id = TaskId::random();
        let name = new.name.filter(|name| !name.trim().is_empty());
        let now = self.ports.clock.now();
        let services = self.snapshot_services(&mut *tx, &placed.app, SnapshotOf::Task(id)).await?;
        let task = Task {
            id,
            app_id: new.app,
            sequence,
            name: name.unwrap_or_else(|| id.to_string()[..8].to_owned()),
            command,
            limits,
            droplet: droplet.id,
            environment: placed.app.environment.clone(),
            services,
            generation: None,
            state: TaskState::Pending,
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        check_name(&task.name)?;
        self.insert_task(&mut *tx, caller, &placed, &task).await?;
        tx.commit().await?;
        self.tell(new.app, format!("Creating task with guid {id}"));
        Ok(task)
    }

    /// Writes a new task with its event, and removes the oldest that have ended.
    pub(crate) async fn insert_task(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        task: &Task,
    ) -> Result<(), ControlError> {
        store::insert(tx, task).await?;
        let too_old = Condition::Less("sequence", i64::from(task.sequence) - TASKS_MAX + 1);
        let of_app = Condition::In("app_id", vec![task.app_id.to_string().into()]);
        let ended = Condition::In("state", vec!["SUCCEEDED".into(), "FAILED".into()]);
        tx.delete_rows(<Task as store::Noun>::TABLE, &[of_app, too_old, ended]).await?;
        self.record(tx, caller.party(), placed.event("audit.app.task.create", about(task))).await
    }

    async fn template(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        placed: &PlacedApp,
        named: Option<ProcessId>,
    ) -> Result<Option<Process>, ControlError> {
        let Some(id) = named else { return Ok(None) };
        let process = store::get::<Process>(tx, id).await?;
        let process = process.filter(|process| process.app_id == placed.app.id);
        process.map(Some).ok_or_else(|| {
            let detail = "Unable to use process. Ensure that the process belongs to the app.";
            ControlError::unprocessable(detail)
        })
    }

    /// What is asked for, else the platform's defaults; a template's own where one is named.
    fn task_limits(
        &self,
        template: Option<&Process>,
        new: &NewTask,
    ) -> Result<InstanceLimits, ControlError> {
        let defaults = &self.settings().instances;
        let limits = template.map_or(
            InstanceLimits {
                memory_mib: defaults.memory_mib_default,
                disk_mib: defaults.disk_mib_default,
                log_rate_bytes_per_s: defaults.log_rate_bytes_per_s_default,
            },
            |process| process.limits,
        );
        let scale = Scale {
            instances: None,
            memory_mib: new.memory_mib,
            disk_mib: new.disk_mib,
            log_rate_bytes_per_s: new.log_rate_bytes_per_s,
        };
        self.limited(limits, scale)
    }

    /// The task, as soon as it has ended or the time to hold a request is over.
    pub async fn task(&self, caller: &Caller, id: TaskId) -> Result<ShownTask, ControlError> {
        let mut hold = self.hold();
        loop {
            let mut tx = self.read().await?;
            let access = self.access(&mut *tx, caller).await?;
            let (placed, task) = self.readable_task(&mut *tx, &access, id).await?;
            drop(tx);
            if task.state.has_ended() || !hold.changed().await {
                let shows_command = access.can_read_secrets(placed.space.id);
                return Ok(ShownTask { task, shows_command });
            }
        }
    }

    pub async fn list_tasks(
        &self,
        caller: &Caller,
        owners: &Owners,
        request: &ListRequest,
    ) -> Result<Page<Task>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let visible = self.of_apps(&mut *tx, &access, owners).await?;
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    pub async fn update_task(
        &self,
        caller: &Caller,
        id: TaskId,
        metadata: MetadataChange,
    ) -> Result<Task, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut task) = self.readable_task(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        metadata.apply(&mut task.metadata);
        task.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &task).await?;
        tx.commit().await?;
        Ok(task)
    }

    pub async fn cancel_task(&self, caller: &Caller, id: TaskId) -> Result<Task, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, task) = self.readable_task(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        if task.state.has_ended() {
            let state = task.state.name();
            let detail = format!("Task state is {state} and therefore cannot be canceled");
            return Err(ControlError::Unprocessable(detail));
        }
        let task = self.cancel_task_row(&mut *tx, caller.party(), &placed, task).await?;
        tx.commit().await?;
        self.tell(task.app_id, format!("Cancelling task with guid {id}"));
        Ok(task)
    }

    /// Tells a task that has not ended to end, with the event of that.
    pub(crate) async fn cancel_task_row(
        &self,
        tx: &mut dyn WriteTx,
        actor: Party,
        placed: &PlacedApp,
        mut task: Task,
    ) -> Result<Task, ControlError> {
        task.state = TaskState::Canceling;
        task.updated_at = self.ports.clock.now();
        store::update(tx, &task).await?;
        let event = placed.event("audit.app.task.cancel", about(&task));
        self.record(tx, actor, event).await?;
        Ok(task)
    }

    async fn readable_task(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: TaskId,
    ) -> Result<(PlacedApp, Task), ControlError> {
        let task = store::get::<Task>(tx, id).await?;
        let task = task.ok_or(ControlError::NotFound { noun: "Task" })?;
        let placed = self.readable_app(tx, access, task.app_id).await;
        Ok((placed.map_err(|error| error.not_found_as("Task"))?, task))
    }
}

/// What an audit event tells of a task.
fn about(task: &Task) -> serde_json::Value {
    json!({
        "task_guid": task.id.to_string(),
        "request": {
            "name": task.name,
            "command": HIDDEN,
            "environment_variables": HIDDEN,
            "memory_in_mb": task.limits.memory_mib,
        },
    })
}

/// The tasks that have not ended, of all apps.
pub(crate) fn unfinished() -> Query {
    let states = [TaskState::Pending, TaskState::Running, TaskState::Canceling];
    Query::all().and(Condition::In("state", states.map(|state| state.name().into()).into()))
}

/// Refuses one more task where there are too many.
async fn require_room(tx: &mut (impl ReadTx + ?Sized), app: AppId) -> Result<(), ControlError> {
    let open = unfinished().and_by("app_id", app.to_string());
    if store::list::<Task>(tx, &open).await?.items.len() < UNFINISHED_MAX {
        return Ok(());
    }
    let detail = format!(
        "The app has {UNFINISHED_MAX} tasks that have not ended, which is as many as it may have. \
         Wait for one, or end one with `cf terminate-task`."
    );
    Err(ControlError::Unprocessable(detail))
}

/// The number of the next task of the app.
pub(crate) async fn next_sequence(
    tx: &mut (impl ReadTx + ?Sized),
    app: AppId,
) -> Result<u32, ControlError> {
    let newest = Query::by("app_id", app.to_string()).ordered("sequence", Direction::Descending);
    let newest = store::first::<Task>(tx, &newest).await?;
    Ok(newest.map_or(0, |task| task.sequence) + 1)
}

async fn droplet_of(
    tx: &mut (impl ReadTx + ?Sized),
    placed: &PlacedApp,
    named: Option<DropletId>,
) -> Result<Droplet, ControlError> {
    let Some(id) = named.or(placed.app.current_droplet) else {
        let detail = "Task must have a droplet. Assign current droplet to app.";
        return Err(ControlError::unprocessable(detail));
    };
    let droplet = store::get::<Droplet>(tx, id).await?;
    let of_app = |droplet: &Droplet| droplet.app_id == placed.app.id && droplet.is_staged();
    droplet.filter(of_app).ok_or_else(|| {
        let detail = "Unable to use droplet. Ensure the droplet exists and belongs to this app.";
        ControlError::unprocessable(detail)
    })
}

fn checked_command(command: Option<String>) -> Result<String, ControlError> {
    let command = command.filter(|command| !command.trim().is_empty()).ok_or_else(|| {
        ControlError::unprocessable("Must provide a command, or a template that has one.")
    })?;
    if command.len() > COMMAND_BYTES_MAX {
        let detail = format!("Command must be shorter than {} characters.", COMMAND_BYTES_MAX + 1);
        return Err(ControlError::Unprocessable(detail));
    }
    Ok(command)
}

/// The name is part of the source type of the task's log lines.
fn check_name(name: &str) -> Result<(), ControlError> {
    let is_good = |c: char| c.is_ascii_graphic() || c == ' ';
    if name.len() <= 255 && name.chars().all(is_good) {
        return Ok(());
    }
    let detail = "Name must have at most 255 characters, all of them printable ASCII";
    Err(ControlError::unprocessable(detail))
}
