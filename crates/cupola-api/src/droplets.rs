//! `/v3/droplets`, and the droplets of an app and of a package.

mod archive;
mod present;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cupola_control::{
    ControlError, Owners,
    caller::Caller,
    droplets::{NewDroplet, ShownDroplet},
};
use cupola_domain::ids::{AppId, DropletId, PackageId};
use cupola_ports::store::Direction;
use cupola_wire::{droplets::CreateDroplet, packages::UpdateMetadata};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    jobs::accepted,
    list::ListQuery,
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    // The upload has a limit of its own, which counts while it is written to disk.
    let upload = post(archive::upload).layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/v3/droplets", get(list).post(create))
        .route("/v3/apps/{guid}/droplets", get(list_of_app))
        .route("/v3/apps/{guid}/droplets/current", get(current))
        .route("/v3/droplets/{guid}", get(show).patch(update).delete(delete))
        .route("/v3/droplets/{guid}/download", get(archive::download))
        .route("/v3/droplets/{guid}/upload", upload)
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
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let placed = api.control.app(&caller, app).await?;
    let only_current = query.take("current").is_some_and(|text| text == "true");
    let query = match placed.app.current_droplet {
        _ if !only_current => query,
        Some(id) => query.only("id", id),
        None => query.nothing("id"),
    };
    page(&api, &caller, &Owners::default(), query.only("app_id", app)).await
}

pub(crate) async fn list_of_package(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(package): Id<PackageId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    api.control.package(&caller, package).await?;
    page(&api, &caller, &Owners::default(), query.only("package_id", package)).await
}

async fn page(
    api: &Api,
    caller: &Caller,
    owners: &Owners,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let query = query.filter("guids", "id").filter("states", "state");
    let orderable: &[&str] = &["created_at", "updated_at"];
    let (request, presenter) =
        query.labels()?.finish(orderable, ("created_at", Direction::Ascending))?;
    let page = api.control.list_droplets(caller, owners, &request).await?;
    let present = |droplet| {
        present::droplet(api, &ShownDroplet { droplet, shows_commands: false }, "IN LISTS")
    };
    Ok(Json(presenter.present(api, page, present)).into_response())
}

/// One to upload, or with `source_guid` a copy, for an app of the same or another space.
async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
    Body(body): Body<CreateDroplet>,
) -> Result<Response, ApiFailure> {
    let app = body.relationships.app.data.and_then(|app| app.guid.parse().ok());
    let app: AppId = app.ok_or_else(|| {
        let detail = "App is invalid. Ensure it exists and you have access to it.";
        ControlError::unprocessable(detail)
    })?;
    let droplet = match query.take("source_guid") {
        Some(source) => api.control.copy_droplet(&caller, app, source.parse().ok()).await?,
        None => {
            let new = NewDroplet { app, process_types: body.process_types };
            api.control.create_droplet(&caller, new).await?
        }
    };
    let shown = ShownDroplet { droplet, shows_commands: true };
    Ok((StatusCode::CREATED, Json(present::droplet(&api, &shown, ""))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DropletId>,
) -> Result<Response, ApiFailure> {
    let shown = api.control.droplet(&caller, id).await?;
    Ok(Json(present::droplet(&api, &shown, "")).into_response())
}

async fn current(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
) -> Result<Response, ApiFailure> {
    let shown = api.control.current_droplet(&caller, app).await?;
    Ok(Json(present::droplet(&api, &shown, "")).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DropletId>,
    Body(body): Body<UpdateMetadata>,
) -> Result<Response, ApiFailure> {
    let change = metadata::change(body.metadata)?;
    let droplet = api.control.update_droplet(&caller, id, change).await?;
    let shown = ShownDroplet { droplet, shows_commands: true };
    Ok(Json(present::droplet(&api, &shown, "")).into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DropletId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.delete_droplet(&caller, id).await?;
    Ok(accepted(&api, &job))
}
