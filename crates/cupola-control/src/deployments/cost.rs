//! What a deployment cost the users of its app: begun with it, read at any time, and summed up by
//! the loop of traffic.

use cupola_domain::{
    deployments::Deployment,
    ids::{AppId, DeploymentId},
    traffic::{Cost, CostPhase, Stretch},
};
use serde_json::{Value, json};

use crate::{Control, ControlError, caller::Caller};

impl Control {
    pub(crate) fn cost_of_new_deployment(&self, app: AppId) -> Cost {
        let before = self.meter().recent(self.meter_now(), app);
        Cost { before, ..Cost::default() }
    }

    /// The deployment with its cost, the stretch that is being counted included as far as it got.
    pub async fn deployment_cost(
        &self,
        caller: &Caller,
        id: DeploymentId,
    ) -> Result<Deployment, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (_, mut deployment) = self.readable_deployment(&mut *tx, &access, id).await?;
        self.add_present_cost(&mut deployment);
        Ok(deployment)
    }

    pub(crate) fn add_present_cost(&self, deployment: &mut Deployment) {
        let Some(cost) = &mut deployment.cost else { return };
        let name = (deployment.id, cost.phase);
        let so_far = || self.meter().so_far(self.meter_now(), name);
        match cost.phase {
            CostPhase::During => cost.during = so_far(),
            CostPhase::After => cost.after = so_far(),
            CostPhase::Final => {}
        }
    }
}

/// What the audit event tells. What is not known is null.
pub(crate) fn event_data(deployment: &Deployment, cost: &Cost) -> Value {
    json!({
        "deployment_guid": deployment.id.to_string(),
        "status": deployment.state.name(),
        "before": cost.before.as_ref().map(stretch),
        "during": cost.during.as_ref().map(stretch),
        "after": cost.after.as_ref().map(stretch),
    })
}

fn stretch(stretch: &Stretch) -> Value {
    json!({
        "seconds": stretch.lasted_ms as f64 / 1e3,
        "counted_seconds": stretch.counted_ms as f64 / 1e3,
        "served": stretch.served(),
        "app_errors": stretch.answers[4],
        "failed": stretch.failed,
        "abandoned": stretch.abandoned,
        "tunnels": stretch.tunnels,
        "p50_ms": stretch.p50_us.map(|us| us as f64 / 1e3),
        "p99_ms": stretch.p99_us.map(|us| us as f64 / 1e3),
    })
}
