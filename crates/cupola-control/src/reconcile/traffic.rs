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
    traffic::{AFTER, CostPhase, StretchName},
};
use cupola_ports::store::{self, Lease, Query};
use tokio::time::Instant;

use super::{AFTER_FAILURE, rest_after, write};
use crate::{
    Control, ControlError,
    caller::Caller,
    deployments::{active, cost::event_data},
};

/// How long nothing is due when no cost is.
const IDLE: Duration = Duration::from_secs(3_600);

/// Commits within this time are looked at together: few of them are about deployments.
const TOGETHER: Duration = Duration::from_millis(100);

/// What the app of an ended deployment ran of when it was first looked at.
type After = HashMap<DeploymentId, GenerationId>;

/// Runs until it is dropped.
pub(super) async fn run(control: Control, lease: Lease) {
    let Some(mut counted) = control.ports.data_plane.request_counts() else { return };
    let mut report = control.ports.data_plane.report();
    // What it reports by now counts, too: it may have been there before this process.
    report.mark_changed();
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
                Ok(()) = commits.changed() => {
                    let soon = due.deadline().min(Instant::now() + TOGETHER);
                    due.as_mut().reset(soon);
                }
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
    control.meter().close_all_but(|name| deployments.iter().any(|one| stretch(one) == Some(name)));
    after.retain(|id, _| deployments.iter().any(|one| one.id == *id));
    let mut next = IDLE;
    for deployment in &deployments {
        // One that fails again and again must not keep the others from being summed up.
        next = next.min(match look_at(control, lease, after, deployment).await {
            Ok(due) => due,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                let id = deployment.id;
                tracing::error!(error, deployment = %id, "cannot sum up what a deployment cost");
                AFTER_FAILURE
            }
        });
    }
    Ok(next)
}

/// The stretch of a deployment that is to be counted now.
fn stretch(deployment: &Deployment) -> Option<StretchName> {
    let phase = deployment.cost.as_ref()?.phase;
    (phase != CostPhase::Final).then_some((deployment.id, phase))
}

/// Sees to it that the stretch is counted, and says for how long it has lasted.
fn open(control: &Control, deployment: &Deployment) -> Option<(CostPhase, Duration)> {
    let name = stretch(deployment)?;
    let begun = match name.1 {
        CostPhase::During => deployment.created_at,
        CostPhase::After | CostPhase::Final => deployment.state_changed_at,
    };
    let now = control.meter_now();
    let elapsed = control.ports.clock.now().since(begun);
    let since = now.saturating_sub(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
    control.meter().open(name, deployment.app_id, since);
    Some((name.1, elapsed))
}

/// Returns how long to wait for what is due of it next.
async fn look_at(
    control: &Control,
    lease: &Lease,
    after: &mut After,
    deployment: &Deployment,
) -> Result<Duration, ControlError> {
    let Some((phase, elapsed)) = open(control, deployment) else { return Ok(IDLE) };
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
    let stretch = control.meter().so_far(control.meter_now(), (seen.id, phase));
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
    // At once: what is told before the next pass is of the stretch that begins now.
    open(control, &deployment);
    Ok(())
}
