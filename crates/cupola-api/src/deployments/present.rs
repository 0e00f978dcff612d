//! How a deployment is written.

use cupola_domain::{
    deployments::{Deployment, DeploymentState, Strategy},
    processes::WEB,
};
use cupola_wire::{
    deployments::{
        self, Canary, CanaryStatus, DeploymentRelationships, NewProcess, Options, PreviousDroplet,
        RevisionRef, Status, StatusDetails, Step, StepStatus,
    },
    list::{Guid, ToOne},
};

use crate::{Api, metadata};

pub(crate) fn deployment(api: &Api, deployment: &Deployment) -> deployments::Deployment {
    let own = format!("/v3/deployments/{}", deployment.id);
    let mut links = api.links([
        ("self", own.clone()),
        ("app", format!("/v3/apps/{}", deployment.app_id)),
        ("cancel", format!("{own}/actions/cancel")),
    ]);
    if !deployment.state.is_active() {
        links.remove("cancel");
    }
    if deployment.state == DeploymentState::Paused {
        links.extend(api.links([("continue", format!("{own}/actions/continue"))]));
    }
    deployments::Deployment {
        guid: deployment.id.to_string(),
        state: deployment.state.name().to_owned(),
        status: status(deployment),
        strategy: deployment.strategy.name().to_owned(),
        options: options(deployment),
        droplet: Guid { guid: deployment.droplet.to_string() },
        previous_droplet: PreviousDroplet {
            guid: deployment.before.droplet.map(|id| id.to_string()),
        },
        // The `web` process keeps its guid, under which old and new instances are told. Under this
        // one only the new ones are, for clients that wait for the first of them.
        new_processes: vec![NewProcess { guid: deployment.id.to_string(), kind: WEB.to_owned() }],
        revision: deployment
            .revision
            .map(|(id, version)| RevisionRef { guid: id.to_string(), version }),
        relationships: DeploymentRelationships { app: ToOne::to(deployment.app_id) },
        metadata: metadata::present(&deployment.metadata),
        created_at: deployment.created_at.rfc3339(),
        updated_at: deployment.updated_at.rfc3339(),
        links,
    }
}

pub(super) const fn status_value(state: DeploymentState) -> &'static str {
    if state.is_active() { "ACTIVE" } else { "FINALIZED" }
}

fn status(deployment: &Deployment) -> Status {
    let total = deployment.strategy.steps();
    let canary = matches!(deployment.strategy, Strategy::Canary { .. });
    let current = deployment.step.min(total);
    Status {
        value: status_value(deployment.state).to_owned(),
        reason: deployment.state.name().to_owned(),
        details: StatusDetails {
            last_successful_healthcheck: deployment.healthy_at.map(|at| at.rfc3339()),
            last_status_change: deployment.state_changed_at.rfc3339(),
            error: deployment.error.clone(),
        },
        canary: canary.then_some(CanaryStatus { steps: StepStatus { current, total } }),
    }
}

fn options(deployment: &Deployment) -> Options {
    let canary = match &deployment.strategy {
        Strategy::Rolling => None,
        Strategy::Canary { weights } => Some(Canary {
            steps: weights.iter().map(|w| Step { instance_weight: i64::from(*w) }).collect(),
        }),
    };
    Options {
        max_in_flight: Some(i64::from(deployment.max_in_flight)),
        web_instances: deployment.web.instances.map(i64::from),
        memory_in_mb: deployment.web.memory_mib.map(i64::from),
        disk_in_mb: deployment.web.disk_mib.map(i64::from),
        log_rate_limit_in_bytes_per_second: deployment.web.log_rate_bytes_per_s,
        canary,
    }
}
