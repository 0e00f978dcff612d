//! `/cupola/v1/revisions/{guid}/restore`.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use cupola_control::restoring::{RestorePreview, RestoreRequest};
use cupola_domain::{
    ids::RevisionId,
    restoring::{BindingSetting, ProcessSetting, ProcessStep, RouteSetting},
};
use cupola_wire::restore::{LostPart, Restore, RestoreRevision, RestoredProcess, Scale};

use crate::{
    Api, deployments,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
};

pub(super) async fn preview(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RevisionId>,
) -> Result<Response, ApiFailure> {
    let preview = api.control.preview_restore(&caller, id).await?;
    Ok(Json(present(preview)).into_response())
}

pub(super) async fn restore(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RevisionId>,
    Body(body): Body<RestoreRevision>,
) -> Result<Response, ApiFailure> {
    let request = RestoreRequest {
        strategy: deployments::strategy(body.strategy.as_deref(), None)?,
        max_in_flight: deployments::max_in_flight(body.max_in_flight)?,
        partial: body.partial,
    };
    let deployment = api.control.restore_revision(&caller, id, request).await?;
    Ok((StatusCode::CREATED, Json(deployments::present(&api, &deployment))).into_response())
}

fn present(preview: RestorePreview) -> Restore {
    let restoration = preview.restoration;
    let addresses = |routes: &[RouteSetting]| routes.iter().map(RouteSetting::address).collect();
    Restore {
        app: preview.app.name,
        revision: preview.revision,
        present: preview.present,
        code: preview.code,
        environment: preview.environment,
        commands: preview.commands,
        sidecars: preview.sidecars,
        routes_added: addresses(&restoration.routes_added),
        routes_removed: addresses(&restoration.routes_removed),
        routes_changed: restoration.routes_changed.iter().map(|step| step.to.address()).collect(),
        bindings_added: instances(&restoration.bindings_added),
        bindings_removed: instances(&restoration.bindings_removed),
        processes: restoration.processes.into_iter().map(process).collect(),
        lost: restoration
            .lost
            .into_iter()
            .map(|lost| LostPart { what: lost.what, why: lost.why })
            .collect(),
        refusal: preview.refusal,
    }
}

fn instances(bindings: &[BindingSetting]) -> Vec<String> {
    bindings.iter().map(|binding| binding.instance.clone()).collect()
}

fn process(step: ProcessStep) -> RestoredProcess {
    let checks =
        |setting: &ProcessSetting| (setting.health_check.clone(), setting.readiness_check.clone());
    RestoredProcess {
        checks: step.from.as_ref().is_some_and(|from| checks(from) != checks(&step.to)),
        from: step.from.as_ref().map(scale),
        to: scale(&step.to),
        process: step.kind,
    }
}

fn scale(setting: &ProcessSetting) -> Scale {
    Scale {
        instances: setting.instances,
        memory_in_mb: setting.limits.memory_mib,
        disk_in_mb: setting.limits.disk_mib,
        log_rate_limit_in_bytes_per_second: setting.limits.log_rate_bytes_per_s,
    }
}
