//! What a deployment cost the users of its app.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use cupola_domain::{
    deployments::Deployment,
    ids::DeploymentId,
    traffic::{Cost, Stretch},
};
use cupola_wire::costs::{CostStretch, DeploymentCost};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Id},
};

pub(super) async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DeploymentId>,
) -> Result<Response, ApiFailure> {
    let deployment = api.control.deployment_cost(&caller, id).await?;
    Ok(Json(present(&deployment)).into_response())
}

pub(super) fn present(deployment: &Deployment) -> DeploymentCost {
    let of = |choose: fn(&Cost) -> &Option<Stretch>| {
        deployment.cost.as_ref().and_then(|cost| choose(cost).as_ref()).map(stretch)
    };
    DeploymentCost {
        deployment: deployment.id.to_string(),
        status: deployment.state.name().to_owned(),
        is_final: !deployment.is_cost_due(),
        before: of(|cost| &cost.before),
        during: of(|cost| &cost.during),
        after: of(|cost| &cost.after),
    }
}

fn stretch(stretch: &Stretch) -> CostStretch {
    CostStretch {
        seconds: thousandth(stretch.lasted_ms),
        counted_seconds: thousandth(stretch.counted_ms),
        served: stretch.served(),
        app_errors: stretch.answers[4],
        failed: stretch.failed,
        abandoned: stretch.abandoned,
        tunnels: stretch.tunnels,
        p50_ms: stretch.p50_us.map(thousandth),
        p99_ms: stretch.p99_us.map(thousandth),
    }
}

fn thousandth(of: u64) -> f64 {
    of as f64 / 1e3
}
