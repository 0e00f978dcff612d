//! Sums what the data plane counts, and writes down what each deployment cost the users.
//!
//! A deployment whose cost is due is counted until it has ended, and then for a minute or until
//! something else changes. The counts are in memory only: after a restart of control the part
//! before is unknown, and the stretch says for how long it was counted.

use std::{collections::HashMap, time::Duration};

use cupola_domain::{
    access::Access,
    apps::{App, AppState},
    deployments::Deployment,
    ids::{DeploymentId, GenerationId},
    traffic::{AFTER, CostPhase},
};
use cupola_ports::store::{self, Lease, Query};

use super::{rest_after, write};
use crate::{
    Control, ControlError,
    caller::Caller,
    deployments::{active, cost::event_data},
};

/// How long nothing is due when no cost is.
const IDLE: Duration = Duration::from_secs(3_600);

/// What the app of an ended deployment ran of when it was first looked at.
type After = HashMap<DeploymentId, GenerationId>;

/// Runs until it is dropped.
pub(super) async fn run(control: Control, lease: Lease) {
    let Some(mut counted) = control.ports.data_plane.request_counts() else { return };
    let mut report = control.ports.data_plane.report();
    let mut commits = control.ports.store.commits();
    let mut after = After::new();
    loop {
        commits.mark_unchanged();
        let due = match pass(&control, &lease, &mut after).await {
            Ok(due) => tokio::time::sleep(due),
            Err(error) => {
                rest_after("traffic", &error).await;
                continue;
            }
        };
        tokio::pin!(due);
        loop {
            // In this order: what was told before the data plane went away was counted.
            tokio::select! {
                biased;
                Some(counted) = counted.recv() => {
                    control.meter().take(control.meter_now(), counted.period, &counted.apps);
                }
                Ok(()) = report.changed() => {
                    let is_counting = report.borrow_and_update().is_counting;
                    control.meter().set_live(control.meter_now(), is_counting);
                }
                _ = commits.changed() => break,
                () = &mut due => break,
            }
        }
    }
}

/// Looks at every deployment whose cost is due, and says when to look again.
async fn pass(
    control: &Control,
    lease: &Lease,
    after: &mut After,
) -> Result<Duration, ControlError> {
    let mut tx = control.read().await?;
    let query = Query::by("is_cost_due", 1);
    let deployments = store::list::<Deployment>(&mut *tx, &query).await?.items;
    drop(tx);
    control.meter().close_all_but(|id| deployments.iter().any(|one| one.id == id));
    after.retain(|id, _| deployments.iter().any(|one| one.id == *id));
    let mut next = IDLE;
    for deployment in &deployments {
        next = next.min(look_at(control, lease, after, deployment).await?);
    }
    Ok(next)
}

/// Returns how long to wait for what is due of it next.
async fn look_at(
    control: &Control,
    lease: &Lease,
    after: &mut After,
    deployment: &Deployment,
) -> Result<Duration, ControlError> {
    let phase = deployment.cost.as_ref().map_or(CostPhase::Final, |cost| cost.phase);
    let begun = match phase {
        CostPhase::During => deployment.created_at,
        CostPhase::After => deployment.state_changed_at,
        CostPhase::Final => return Ok(IDLE),
    };
    let now = control.meter_now();
    let elapsed = control.ports.clock.now().since(begun);
    let since = now.saturating_sub(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
    control.meter().open(deployment.id, deployment.app_id, since);
    if phase == CostPhase::During {
        if !deployment.state.is_active() {
            end_stretch(control, lease, deployment, phase).await?;
        }
        return Ok(IDLE);
    }
    let is_over = elapsed >= AFTER || has_changed(control, after, deployment).await?;
    if is_over {
        end_stretch(control, lease, deployment, phase).await?;
        return Ok(IDLE);
    }
    Ok(AFTER.saturating_sub(elapsed))
}

/// Whether something else than the deployment shows in the app's requests by now: it was stopped,
/// started anew, or is deployed again.
async fn has_changed(
    control: &Control,
    after: &mut After,
    deployment: &Deployment,
) -> Result<bool, ControlError> {
    let mut tx = control.read().await?;
    let Some(app) = store::get::<App>(&mut *tx, deployment.app_id).await? else { return Ok(true) };
    let of_app = active().and_by("app_id", app.id.to_string());
    let is_deployed_again = store::first::<Deployment>(&mut *tx, &of_app).await?.is_some();
    let generation = *after.entry(deployment.id).or_insert(app.generation);
    Ok(is_deployed_again || app.desired == AppState::Stopped || app.generation != generation)
}

/// Writes down the stretch that was counted, and begins the next.
async fn end_stretch(
    control: &Control,
    lease: &Lease,
    seen: &Deployment,
    phase: CostPhase,
) -> Result<(), ControlError> {
    let stretch = control.meter().so_far(control.meter_now(), seen.id);
    let mut tx = write(control, lease).await?;
    let Some(mut deployment) = store::get::<Deployment>(&mut *tx, seen.id).await? else {
        return Ok(());
    };
    let Some(cost) = deployment.cost.as_mut().filter(|cost| cost.phase == phase) else {
        return Ok(());
    };
    if phase == CostPhase::During {
        (cost.during, cost.phase) = (stretch, CostPhase::After);
    } else {
        (cost.after, cost.phase) = (stretch, CostPhase::Final);
        let data = event_data(seen, cost);
        let placed = control.readable_app(&mut *tx, &Access::admin(), seen.app_id).await?;
        let event = placed.event("audit.app.deployment.cost", data);
        control.record(&mut *tx, Caller::platform().party(), event).await?;
    }
    store::update(&mut *tx, &deployment).await?;
    tx.commit().await?;
    control.meter().close(seen.id);
    Ok(())
}
