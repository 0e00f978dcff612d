//! `/v3/builds`, and the builds of an app.

mod present;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::{ControlError, Owners, builds::NewBuild, caller::Caller};
use cupola_domain::ids::{AppId, BuildId};
use cupola_ports::store::Direction;
use cupola_wire::{builds::CreateBuild, packages::UpdateMetadata};

use crate::{
    Api, apps,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    list::ListQuery,
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/builds", get(list).post(create))
        .route("/v3/apps/{guid}/builds", get(list_of_app))
        .route("/v3/builds/{guid}", get(show).patch(update))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let owners = query.take_owners();
    page(&api, &caller, &owners, query.filter("app_guids", "app_id")).await
}

async fn list_of_app(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    api.control.app(&caller, app).await?;
    page(&api, &caller, &Owners::default(), query.only("app_id", app)).await
}

async fn page(
    api: &Api,
    caller: &Caller,
    owners: &Owners,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let orderable: &[&str] = &["created_at", "updated_at"];
    let (request, presenter) = query
        .filter("states", "state")
        .filter("package_guids", "package_id")
        .labels()?
        .finish(orderable, ("created_at", Direction::Ascending))?;
    let page = api.control.list_builds(caller, owners, &request).await?;
    Ok(Json(presenter.present(api, page, |build| present::build(api, &build))).into_response())
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<CreateBuild>,
) -> Result<Response, ApiFailure> {
    let package = body.package.guid.parse().map_err(|_| {
        let detail = "Unable to use package. \
                      Ensure that the package exists and you have access to it.";
        ControlError::unprocessable(detail)
    })?;
    let new = NewBuild {
        package,
        lifecycle: apps::lifecycle(body.lifecycle)?,
        memory_mib: body.staging_memory_in_mb,
        disk_mib: body.staging_disk_in_mb,
        metadata: metadata::initial(body.metadata)?,
    };
    let build = api.control.create_build(&caller, new).await?;
    Ok((StatusCode::CREATED, Json(present::build(&api, &build))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<BuildId>,
) -> Result<Response, ApiFailure> {
    let build = api.control.build(&caller, id).await?;
    Ok(Json(present::build(&api, &build)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<BuildId>,
    Body(body): Body<UpdateMetadata>,
) -> Result<Response, ApiFailure> {
    let change = metadata::change(body.metadata)?;
    let build = api.control.update_build(&caller, id, change).await?;
    Ok(Json(present::build(&api, &build)).into_response())
}
