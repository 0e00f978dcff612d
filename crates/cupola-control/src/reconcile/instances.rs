//! Brings the instances of every process to their desired number, keeps them there, and keeps the
//! routes to them true.
//!
//! The order within a pass is what makes a stop lose no request: rows first (so that the decision
//! survives), then the route table without what is leaving, then the cells.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use cupola_domain::{
    apps::App,
    ids::{GenerationId, InstanceId, ProcessId},
    instance_plan::Step,
    instances::{Exit, ExitCause, Instance, InstanceState},
    processes::Process,
    time::Timestamp,
};
use cupola_ports::{
    cells::{ActualState, DesiredInstance, Phase},
    data_plane::TrafficReport,
    store::{self, Lease, WriteTx},
};
use tokio::sync::watch;

use super::{
    PERIOD, deployments, readiness, rest_after, routes,
    state::{PlannedStep, State},
    tasks, write,
};
use crate::{Control, ControlError, launch_spec};

/// Runs until it is dropped.
pub(super) async fn run(control: Control, lease: Lease) {
    let mut wakers =
        Wakers { commits: control.ports.store.commits(), actual: control.ports.cells.watch() };
    let mut memory = Memory::default();
    loop {
        wakers.mark_seen();
        match pass(&control, &lease, &mut memory).await {
            Ok(next) => wakers.sleep(next).await,
            Err(error) => rest_after("instances", &error).await,
        }
    }
}

/// Everything that may make a pass worth while.
struct Wakers {
    commits: watch::Receiver<u64>,
    actual: watch::Receiver<Arc<ActualState>>,
}

impl Wakers {
    fn mark_seen(&mut self) {
        self.commits.mark_unchanged();
        self.actual.mark_unchanged();
    }

    async fn sleep(&mut self, at_most: Duration) {
        tokio::select! {
            _ = self.commits.changed() => {}
            _ = self.actual.changed() => {}
            // Traffic reports come several times a second and matter only to what is draining,
            // which makes the sleep short.
            () = tokio::time::sleep(at_most) => {}
        }
    }
}

/// What a pass may forget without harm: it is derived, or only delays.
#[derive(Default)]
struct Memory {
    specs: HashMap<InstanceId, DesiredInstance>,
    tasks: HashMap<InstanceId, DesiredInstance>,
    draining: HashMap<InstanceId, Draining>,
    handover: Handover,
    routes: routes::Memory,
    has_begun: bool,
}

/// The last handover of the data plane that was seen: how many there were, and when.
#[derive(Default)]
struct Handover {
    count: u64,
    at: Option<Duration>,
}

impl Handover {
    /// Whether somebody may still answer requests that no report has.
    fn is_going_on(&mut self, report: &TrafficReport, now: Duration, drain: Duration) -> bool {
        if self.count != report.handovers {
            *self = Self { count: report.handovers, at: Some(now) };
        }
        self.at.is_some_and(|at| now.saturating_sub(at) < drain)
    }
}

impl Memory {
    /// After a restart of control nobody knows which instances were sent requests: the data plane
    /// may serve the table that it had.
    fn begin(&mut self, state: &State) {
        if !self.has_begun {
            self.routes.routed_before(state.instances.keys().copied());
            self.has_begun = true;
        }
    }

    /// Whether the data plane, which serves this table, may send requests to an instance.
    fn is_served(&self, row: &Instance, serving: Option<(u64, u64)>) -> bool {
        match row.state {
            InstanceState::Running => true,
            InstanceState::Draining => {
                let left = self.draining.get(&row.id).is_some_and(|it| serving >= Some(it.table));
                self.routes.was_routed(row.id) && !left
            }
            _ => false,
        }
    }
}

/// Since when an instance gets no new requests.
struct Draining {
    since: Duration,
    /// Epoch and version of the first table without it.
    table: (u64, u64),
    tunnels_told: bool,
}

/// How long the start of an instance waits for the data plane.
const SERVED_WITHIN: Duration = Duration::from_millis(200);

/// One look at everything. Returns how long to sleep if nothing happens.
async fn pass(
    control: &Control,
    lease: &Lease,
    memory: &mut Memory,
) -> Result<Duration, ControlError> {
    let actual = control.ports.cells.watch().borrow().clone();
    if !actual.adopted {
        return Ok(PERIOD);
    }
    let mut state = State::read(&mut *control.read().await?).await?;
    let served = control.ports.data_plane.report().borrow().serving;
    let is_served = |row: &Instance| memory.is_served(row, served);
    if deployments::pass(control, lease, &state, &actual, &is_served).await? {
        state = State::read(&mut *control.read().await?).await?;
    }
    memory.begin(&state);
    let drained = drained(control, memory, &state).await;
    let steps = state.plan(&actual, &drained, control.ports.clock.now());
    if !steps.is_empty() || readiness::has_news(&state, &actual) {
        route_before_told(control, lease, memory, &state, &actual, &steps).await?;
        let mut tx = write(control, lease).await?;
        for step in &steps {
            carry_out(control, &mut *tx, &mut state, &actual, step).await?;
        }
        readiness::tell(control, &mut *tx, &mut state, &actual).await?;
        tx.commit().await?;
    }

    let version =
        routes::apply(control, &mut memory.routes, lease, &actual, &state.instances).await?;
    remember_draining(control, memory, &state, (lease.epoch, version));
    let (mut desired, unstartable) = specs(control, memory, &state).await?;
    give_up(control, lease, &mut state, &actual, &unstartable).await?;
    desired.extend(tasks::pass(control, lease, &mut memory.tasks, &actual).await?);
    control.ports.cells.apply(desired).await.map_err(|source| ControlError::Outside {
        action: "applying the desired instances",
        source: Box::new(source),
    })?;
    Ok(state.sleep(control.ports.clock.now()))
}

/// Lets requests reach the instances that became healthy before anybody reads that they run: who
/// waited for that asks them at once. The data plane may be away; then only a moment is lost.
async fn route_before_told(
    control: &Control,
    lease: &Lease,
    memory: &mut Memory,
    state: &State,
    actual: &ActualState,
    steps: &[PlannedStep],
) -> Result<(), ControlError> {
    let healthy: Vec<InstanceId> = steps.iter().filter_map(PlannedStep::ran).collect();
    if healthy.is_empty() {
        return Ok(());
    }
    let mut instances = state.instances.clone();
    for id in healthy {
        if let Some(row) = instances.get_mut(&id) {
            row.state = InstanceState::Running;
        }
    }
    let mut report = control.ports.data_plane.report();
    let version = routes::apply(control, &mut memory.routes, lease, actual, &instances).await?;
    let is_served = |report: &Arc<TrafficReport>| report.serving >= Some((lease.epoch, version));
    let _ = tokio::time::timeout(SERVED_WITHIN, report.wait_for(is_served)).await;
    Ok(())
}

/// Changes the row that a step is about, in the database and in `state`.
async fn carry_out(
    control: &Control,
    tx: &mut dyn WriteTx,
    state: &mut State,
    actual: &ActualState,
    planned: &PlannedStep,
) -> Result<(), ControlError> {
    let now = control.ports.clock.now();
    let (id, to) = match planned.step {
        Step::Start { generation, index, crash_count } => {
            let place = (generation, index, crash_count);
            return start(tx, state, planned.process_id, place, now).await;
        }
        Step::Forget(id) => return forget(tx, state, actual, id, now).await,
        Step::Ran(id) => (id, InstanceState::Running),
        Step::Restarting(id) => (id, InstanceState::Starting),
        Step::Drain(id) => (id, InstanceState::Draining),
        Step::Stop(id) => (id, InstanceState::Stopping),
        Step::Crash(id, after) if after.restart_after.is_some() => (id, InstanceState::Crashed),
        Step::Crash(id, _) => (id, InstanceState::Down),
    };
    // A use case may have changed the row since it was read: `restart-app-instance` drains it. The
    // step was planned for what was; the next pass plans for what is.
    let planned_for = state.instances.get(&id).map(|row| row.state);
    let Some(mut row) = store::get::<Instance>(tx, id).await? else {
        state.instances.remove(&id);
        return Ok(());
    };
    if planned_for != Some(row.state) {
        state.instances.insert(id, row);
        return Ok(());
    }
    row.state = to;
    row.updated_at = now;
    if let Step::Crash(_, after) = planned.step {
        row.crash_count = after.crash_count;
        row.restart_at = after.restart_after.map(|delay| now + delay);
        let process_type = state.processes.get(&planned.process_id).map(|p| p.kind.clone());
        let exit = exit_of(&row, actual, process_type.unwrap_or_default(), now);
        row.detail = Some(exit.cause.to_string());
        control.record_crash(tx, state.apps.get(&exit.app_id), row.generation, exit).await?;
    }
    store::update(tx, &row).await?;
    state.instances.insert(id, row);
    Ok(())
}

async fn start(
    tx: &mut dyn WriteTx,
    state: &mut State,
    process_id: ProcessId,
    (generation, index, crash_count): (GenerationId, u32, u32),
    now: Timestamp,
) -> Result<(), ControlError> {
    let Some(process) = state.processes.get(&process_id) else { return Ok(()) };
    let row = Instance {
        id: InstanceId::random(),
        app_id: process.app_id,
        process_id,
        index,
        generation,
        state: InstanceState::Starting,
        was_ready: false,
        crash_count,
        restart_at: None,
        detail: None,
        created_at: now,
        updated_at: now,
    };
    store::insert(tx, &row).await?;
    state.instances.insert(row.id, row);
    Ok(())
}

/// Removes a row. That an instance had to be killed is kept for `why`: it ignores SIGTERM, and each
/// stop of it takes the whole grace time.
async fn forget(
    tx: &mut dyn WriteTx,
    state: &mut State,
    actual: &ActualState,
    id: InstanceId,
    now: Timestamp,
) -> Result<(), ControlError> {
    if let Some(row) = state.instances.remove(&id)
        && row.state == InstanceState::Stopping
    {
        // Those of stopped apps are not in `state`.
        let process = store::get::<Process>(tx, row.process_id).await?;
        let exit = exit_of(&row, actual, process.map(|one| one.kind).unwrap_or_default(), now);
        let is_new = store::get::<Exit>(tx, id).await?.is_none();
        if exit.killed && is_new && store::get::<App>(tx, row.app_id).await?.is_some() {
            store::insert(tx, &Exit { crash_count: 0, restart_at: None, ..exit }).await?;
        }
    }
    store::delete::<Instance>(tx, id).await?;
    Ok(())
}

/// What is kept of a run that ended.
fn exit_of(row: &Instance, actual: &ActualState, process_type: String, now: Timestamp) -> Exit {
    let phase = actual.instances.get(&row.id).map(|instance| &instance.phase);
    let report = match phase {
        Some(Phase::Exited(report)) => Some(report),
        _ => None,
    };
    Exit {
        instance_id: row.id,
        app_id: row.app_id,
        process_id: row.process_id,
        process_type,
        index: row.index,
        cause: report.map_or(ExitCause::Unknown, |r| r.cause.clone()),
        killed: report.is_some_and(|r| r.killed),
        memory_peak_bytes: report.and_then(|r| r.memory_peak_bytes),
        started_at: report.map_or(row.created_at, |r| r.started_at),
        ended_at: report.map_or(now, |r| r.ended_at),
        crash_count: row.crash_count,
        restart_at: row.restart_at,
    }
}

/// The draining instances that may be stopped: their requests are answered, or their time is up.
/// The data plane tells; as long as it does not, or does not tell all after a handover, only the time
/// counts.
async fn drained(control: &Control, memory: &mut Memory, state: &State) -> HashSet<InstanceId> {
    let report = control.ports.data_plane.report().borrow().clone();
    let now = control.ports.clock.monotonic();
    let drain = control.settings.instances.drain;
    let is_all_told = !memory.handover.is_going_on(&report, now, drain);
    let mut done = HashSet::new();
    for (id, draining) in &mut memory.draining {
        let traffic = report.instances.get(id).copied().unwrap_or_default();
        let is_out = report.serving >= Some(draining.table);
        let time_is_up = now.saturating_sub(draining.since) >= drain;
        if (is_out && is_all_told && traffic.in_flight == 0) || time_is_up {
            if traffic.tunnels == 0 || draining.tunnels_told {
                done.insert(*id);
            } else if let Err(error) = control.ports.data_plane.close_tunnels(*id).await {
                tracing::warn!(instance.id = %id, "cannot close the tunnels of an instance: {error}");
            }
            draining.tunnels_told = true;
        }
    }
    // Only web instances with a route were ever sent a request.
    let never_routed = state
        .instances
        .values()
        .filter(|row| row.state == InstanceState::Draining && !memory.routes.was_routed(row.id));
    done.extend(never_routed.map(|row| row.id));
    done
}

fn remember_draining(control: &Control, memory: &mut Memory, state: &State, table: (u64, u64)) {
    let is_draining = |id: &InstanceId| {
        state.instances.get(id).is_some_and(|row| row.state == InstanceState::Draining)
    };
    memory.draining.retain(|id, _| is_draining(id));
    let since = control.ports.clock.monotonic();
    for id in state.instances.keys().filter(|id| is_draining(id)) {
        let new = || Draining { since, table, tunnels_told: false };
        memory.draining.entry(*id).or_insert_with(new);
    }
    memory.routes.forget_all_but(|id| state.instances.contains_key(id));
}

/// What the cells shall have: every row that is not on its way out. Beside it the rows that nobody
/// said a start command for.
async fn specs(
    control: &Control,
    memory: &mut Memory,
    state: &State,
) -> Result<(Vec<DesiredInstance>, Vec<InstanceId>), ControlError> {
    let wanted = state.instances.values().filter(|row| {
        matches!(
            row.state,
            InstanceState::Starting | InstanceState::Running | InstanceState::Draining
        )
    });
    let wanted: Vec<&Instance> = wanted.collect();
    memory.specs.retain(|id, _| state.instances.contains_key(id));
    let (mut specs, mut unstartable) = (Vec::with_capacity(wanted.len()), Vec::new());
    for row in wanted {
        if let Some(spec) = memory.specs.get(&row.id) {
            specs.push(spec.clone());
        } else if let Some(spec) = launch_spec::read_desired_instance(control, row).await? {
            memory.specs.insert(row.id, spec.clone());
            specs.push(spec);
        } else {
            unstartable.push(row.id);
        }
    }
    Ok((specs, unstartable))
}

/// Marks instances that cannot be started as crashed for good, and says why.
async fn give_up(
    control: &Control,
    lease: &Lease,
    state: &mut State,
    actual: &ActualState,
    unstartable: &[InstanceId],
) -> Result<(), ControlError> {
    // Missing information means hold: what the cell has already is never given up.
    let rows = unstartable.iter().filter_map(|id| state.instances.get(id)).filter(|row| {
        row.state == InstanceState::Starting && !actual.instances.contains_key(&row.id)
    });
    let rows: Vec<Instance> = rows.cloned().collect();
    if rows.is_empty() {
        return Ok(());
    }
    let now = control.ports.clock.now();
    let mut tx = write(control, lease).await?;
    for mut row in rows {
        if store::get::<Instance>(&mut *tx, row.id).await?.as_ref() != Some(&row) {
            continue;
        }
        let cause = ExitCause::NotStarted { detail: NO_COMMAND.to_owned() };
        row.state = InstanceState::Crashed;
        row.detail = Some(cause.to_string());
        row.crash_count += 1;
        row.updated_at = now;
        let kind = state.processes.get(&row.process_id).map(|process| process.kind.clone());
        let exit = Exit { cause, ..exit_of(&row, actual, kind.unwrap_or_default(), now) };
        store::update(&mut *tx, &row).await?;
        let app = state.apps.get(&row.app_id);
        control.record_crash(&mut *tx, app, row.generation, exit).await?;
        state.instances.insert(row.id, row);
    }
    Ok(tx.commit().await?)
}

const NO_COMMAND: &str =
    "it has no start command; name one with `cf push -c COMMAND` or in a Procfile";
