//! `/v3/processes`, and the processes of an app.

mod present;
mod stats;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use cupola_control::{
    ControlError, Owners,
    caller::Caller,
    processes::{CheckChange, CheckKind, ProcessChange, ProcessRef, Scale},
};
use cupola_domain::ids::AppId;
use cupola_ports::store::Direction;
use cupola_wire::processes::{HealthCheckPatch, ScaleProcess, UpdateProcess};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    list::ListQuery,
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    let of_app = "/v3/apps/{guid}/processes/{type}";
    Router::new()
        .route("/v3/processes", get(list))
        .route("/v3/apps/{guid}/processes", get(list_of_app))
        .route("/v3/processes/{guid}", get(show).patch(update))
        .route(of_app, get(show).patch(update))
        .route("/v3/processes/{guid}/actions/scale", post(scale))
        .route(&format!("{of_app}/actions/scale"), post(scale))
        .route("/v3/processes/{guid}/stats", get(stats::stats))
        .route(&format!("{of_app}/stats"), get(stats::stats))
        .route("/v3/processes/{guid}/instances/{index}", delete(restart_instance))
        .route(&format!("{of_app}/instances/{{index}}"), delete(restart_instance))
        .route("/v3/processes/{guid}/process_instances", get(stats::instances))
}

/// The process that a path names: by its id, or by its app and type.
pub(crate) struct Named(pub ProcessRef);

impl axum::extract::FromRequestParts<Api> for Named {
    type Rejection = ApiFailure;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        api: &Api,
    ) -> Result<Self, ApiFailure> {
        let pairs = Path::<Vec<(String, String)>>::from_request_parts(parts, api).await;
        let kind = pairs.ok().and_then(|Path(pairs)| {
            pairs.into_iter().find(|(name, _)| name == "type").map(|(_, kind)| kind)
        });
        Ok(Self(match kind {
            Some(kind) => ProcessRef::Of(Id::from_request_parts(parts, api).await?.0, kind),
            None => ProcessRef::Id(Id::from_request_parts(parts, api).await?.0),
        }))
    }
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let owners = query.take_owners();
    page(&api, &caller, &owners, query.filter("app_guids", "app_id").filter("guids", "id")).await
}

async fn list_of_app(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    api.control.app(&caller, app).await?;
    page(&api, &caller, &Owners::default(), query.filter("guids", "id").only("app_id", app)).await
}

async fn page(
    api: &Api,
    caller: &Caller,
    owners: &Owners,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let embeds = query.take_list("embed").unwrap_or_default();
    if let Some(unknown) = embeds.iter().find(|embed| *embed != "process_instances") {
        let detail = format!(
            "Invalid embedded resource: '{unknown}'. Valid embedded resources are: \
             'process_instances'"
        );
        return Err(ControlError::BadQuery(detail).into());
    }
    let orderable: &[&str] = &["created_at", "updated_at"];
    let (request, presenter) = query
        .filter("types", "kind")
        .labels()?
        .finish(orderable, ("created_at", Direction::Ascending))?;
    let page = api.control.list_processes(caller, owners, &request).await?;
    let mut embedded =
        if embeds.is_empty() { None } else { Some(api.control.instances_of(&page.items).await?) };
    let now = api.control.now();
    let list = presenter.present(api, page, |process| {
        let instances = embedded.as_mut().and_then(|all| all.remove(&process.id));
        let mut body = present::listed(api, &process);
        body.process_instances = instances.map(|all| stats::present_instances(&all, now));
        body
    });
    Ok(Json(list).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Named(process): Named,
) -> Result<Response, ApiFailure> {
    let shown = api.control.process(&caller, process).await?;
    Ok(Json(present::process(&api, &shown)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Named(process): Named,
    Body(body): Body<UpdateProcess>,
) -> Result<Response, ApiFailure> {
    let change = ProcessChange {
        command: body.command,
        health_check: check(body.health_check, "Health check")?,
        readiness_check: check(body.readiness_health_check, "Readiness health check")?,
        metadata: metadata::change(body.metadata)?,
    };
    let shown = api.control.update_process(&caller, process, change).await?;
    Ok(Json(present::process(&api, &shown)).into_response())
}

async fn scale(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Named(process): Named,
    Body(body): Body<ScaleProcess>,
) -> Result<Response, ApiFailure> {
    let scale = Scale {
        instances: body.instances,
        memory_mib: body.memory_in_mb,
        disk_mib: body.disk_in_mb,
        log_rate_bytes_per_s: body.log_rate_limit_in_bytes_per_second,
    };
    let shown = api.control.scale_process(&caller, process, scale).await?;
    Ok((StatusCode::ACCEPTED, Json(present::process(&api, &shown))).into_response())
}

async fn restart_instance(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Named(process): Named,
    Path(path): Path<Vec<(String, String)>>,
) -> Result<StatusCode, ApiFailure> {
    let index = path.into_iter().find(|(name, _)| name == "index").map(|(_, index)| index);
    api.control.restart_instance(&caller, process, &index.unwrap_or_default()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check(patch: Option<HealthCheckPatch>, what: &str) -> Result<CheckChange, ControlError> {
    let Some(HealthCheckPatch { kind, data }) = patch else { return Ok(CheckChange::default()) };
    let kind = match kind.as_deref() {
        None => None,
        Some("port") => Some(CheckKind::Port),
        Some("http") => Some(CheckKind::Http),
        Some("process" | "none") => Some(CheckKind::Process),
        Some(_) => {
            let detail = format!("{what} type must be \"port\", \"process\", or \"http\"");
            return Err(ControlError::Unprocessable(detail));
        }
    };
    let seconds = |given: Option<Option<i64>>, name: &str| match given {
        None => Ok(None),
        Some(None) => Ok(Some(None)),
        Some(Some(number)) => match u32::try_from(number) {
            Ok(number) if number >= 1 => Ok(Some(Some(number))),
            _ => {
                let detail = format!("{what} {name} must be an integer greater than or equal to 1");
                Err(ControlError::Unprocessable(detail))
            }
        },
    };
    Ok(CheckChange {
        kind,
        endpoint: data.endpoint,
        start_timeout_s: seconds(data.timeout, "timeout")?,
        invocation_timeout_s: seconds(data.invocation_timeout, "invocation timeout")?,
        interval_s: seconds(data.interval, "interval")?,
    })
}
