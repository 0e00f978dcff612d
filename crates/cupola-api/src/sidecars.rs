//! `/v3/sidecars`, and the sidecars of an app and of a process.

mod present;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::sidecars::SidecarChange;
use cupola_domain::ids::{AppId, SidecarId};
use cupola_ports::store::Direction;
use cupola_wire::sidecars::SidecarBody;

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    list::ListQuery,
    processes::Named,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/apps/{guid}/sidecars", get(list_of_app).post(create))
        .route("/v3/processes/{guid}/sidecars", get(list_of_process))
        .route("/v3/sidecars/{guid}", get(show).patch(update).delete(delete))
}

const ORDERABLE: &[&str] = &["created_at", "updated_at"];

async fn list_of_app(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let (request, presenter) = query.finish(ORDERABLE, ("created_at", Direction::Ascending))?;
    let page = api.control.list_sidecars_of_app(&caller, app, &request).await?;
    let present = |one| present::shown(&api, &one);
    Ok(Json(presenter.present(&api, page, present)).into_response())
}

async fn list_of_process(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Named(process): Named,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let (request, presenter) = query.finish(ORDERABLE, ("created_at", Direction::Ascending))?;
    let page = api.control.list_sidecars_of_process(&caller, &process, &request).await?;
    let present = |one| present::shown(&api, &one);
    Ok(Json(presenter.present(&api, page, present)).into_response())
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    Body(body): Body<SidecarBody>,
) -> Result<Response, ApiFailure> {
    let sidecar = api.control.create_sidecar(&caller, app, change(body)).await?;
    Ok((StatusCode::CREATED, Json(present::sidecar(&api, &sidecar))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SidecarId>,
) -> Result<Response, ApiFailure> {
    let sidecar = api.control.sidecar(&caller, id).await?;
    Ok(Json(present::shown(&api, &sidecar)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SidecarId>,
    Body(body): Body<SidecarBody>,
) -> Result<Response, ApiFailure> {
    let sidecar = api.control.update_sidecar(&caller, id, change(body)).await?;
    Ok(Json(present::sidecar(&api, &sidecar)).into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SidecarId>,
) -> Result<StatusCode, ApiFailure> {
    api.control.delete_sidecar(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn change(body: SidecarBody) -> SidecarChange {
    SidecarChange {
        name: body.name,
        command: body.command,
        process_types: body.process_types,
        memory_mib: body.memory_in_mb,
    }
}
