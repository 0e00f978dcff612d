//! Moves deployments on: decides how many instances of which generation are wanted next.
//!
//! Part of the instances' pass, because what is ready is seen there. A change is written before
//! anything follows from it, so that a deployment goes on where it was after a kill.

use std::collections::{HashMap, HashSet};

use cupola_domain::{
    apps::App,
    deployments::{
        Deployment, DeploymentState,
        plan::{Sight, advance},
    },
    ids::ProcessId,
    instances::{Instance, InstanceState},
    processes::Process,
};
use cupola_ports::{
    cells::{ActualState, Phase},
    store::{self, Lease, WriteTx},
};

use super::{state::State, write};
use crate::{Control, ControlError, caller::Caller};

/// Moves every deployment on by as many steps as are due, and says whether any moved.
pub(super) async fn pass(
    control: &Control,
    lease: &Lease,
    state: &State,
    actual: &ActualState,
    is_served: &(dyn Fn(&Instance) -> bool + Sync),
) -> Result<bool, ControlError> {
    if state.deployments.is_empty() {
        return Ok(false);
    }
    let mut moved = Vec::new();
    let instances = by_process(state);
    for deployment in state.deployments.values() {
        let Some(process) = state.web_of(deployment.app_id) else { continue };
        let rows = instances.get(&process.id).map_or(&[][..], Vec::as_slice);
        let next = next(deployment, process, rows, actual, is_served);
        if next != *deployment {
            moved.push((deployment, next));
        }
    }
    if moved.is_empty() {
        return Ok(false);
    }
    for (seen, next) in moved {
        let mut tx = write(control, lease).await?;
        // A user may have changed it meanwhile; the next pass looks at what it is then.
        let now = store::get::<Deployment>(&mut *tx, seen.id).await?;
        if now.as_ref() != Some(seen) {
            continue;
        }
        // One that cannot be moved on must not keep the pass from all other apps.
        match carry_out(control, &mut *tx, seen, next).await {
            Ok(()) => tx.commit().await?,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, deployment.id = %seen.id, "cannot move a deployment on");
            }
        }
    }
    Ok(true)
}

/// Once for all deployments of a pass.
fn by_process(state: &State) -> HashMap<ProcessId, Vec<&Instance>> {
    let mut instances: HashMap<_, Vec<_>> = HashMap::new();
    for row in state.instances.values() {
        instances.entry(row.process_id).or_default().push(row);
    }
    instances
}

fn next(
    deployment: &Deployment,
    process: &Process,
    rows: &[&Instance],
    actual: &ActualState,
    is_served: &(dyn Fn(&Instance) -> bool + Sync),
) -> Deployment {
    let is_up = |row: &&&Instance| row.state == InstanceState::Running && is_routable(actual, row);
    let ready: HashSet<_> =
        rows.iter().filter(is_up).map(|row| (row.generation, row.index)).collect();
    let is_ready = |generation, index| ready.contains(&(generation, index));
    let failure = rows
        .iter()
        .filter(|row| row.generation == deployment.new.generation)
        .find_map(|row| failure(row));
    let mut next = deployment.clone();
    if let Some(failing) = rows.iter().find_map(|row| failing(deployment, actual, row)) {
        next.error = Some(failing);
    }
    let mut old = rows.iter().filter(|row| row.generation != deployment.new.generation);
    let is_old_served = old.any(|row| is_served(row));
    let sight = Sight { is_ready: &is_ready, is_old_served, failure };
    advance(&mut next, process.instances, &sight);
    next
}

/// The last failed check of a new instance that runs and is not ready.
fn failing(deployment: &Deployment, actual: &ActualState, row: &Instance) -> Option<String> {
    if row.generation != deployment.new.generation {
        return None;
    }
    match &actual.instances.get(&row.id)?.phase {
        Phase::Running { ready: false, failing } => failing.clone(),
        _ => None,
    }
}

fn is_routable(actual: &ActualState, row: &Instance) -> bool {
    let seen = actual.instances.get(&row.id).map(|instance| &instance.phase);
    matches!(seen, Some(Phase::Running { ready: true, .. }))
}

/// Why an instance will not run, or not soon: the platform has stopped trying at once.
fn failure(row: &Instance) -> Option<&str> {
    let waits = cupola_domain::crash_policy::waits(row.crash_count) || row.restart_at.is_none();
    let gave_up = match row.state {
        InstanceState::Crashed => waits,
        InstanceState::Down => true,
        _ => false,
    };
    gave_up.then(|| row.detail.as_deref().unwrap_or("The new instances crash"))
}

async fn carry_out(
    control: &Control,
    tx: &mut dyn WriteTx,
    seen: &Deployment,
    mut next: Deployment,
) -> Result<(), ControlError> {
    let now = control.ports.clock.now();
    next.updated_at = now;
    // New instances come only when those before them are healthy.
    let grew = next.new.indices.len() > seen.new.indices.len() && !seen.new.indices.is_empty();
    let arrived = matches!(next.state, DeploymentState::Paused | DeploymentState::Deployed);
    if seen.state == DeploymentState::Deploying && (grew || arrived) {
        next.healthy_at = Some(now);
        next.error = None;
    }
    if next.state != seen.state {
        next.state_changed_at = now;
        let Some(mut app) = store::get::<App>(tx, next.app_id).await? else { return Ok(()) };
        match next.state {
            DeploymentState::Deployed => {
                control.finish_deployment(tx, &mut app, &next).await?;
                control.tell(app.id, "Deployment finished".to_owned());
            }
            DeploymentState::Canceling => {
                let reason = next.error.as_deref().unwrap_or("the new instances do not run");
                control.tell(app.id, format!("Cancelling the deployment: {reason}"));
                let platform = Caller::platform();
                let access = cupola_domain::access::Access::admin();
                let placed = control.readable_app(tx, &access, app.id).await?;
                control.begin_cancel(tx, platform.party(), &placed, &mut next).await?;
            }
            _ => {}
        }
    }
    Ok(store::update(tx, &next).await?)
}
