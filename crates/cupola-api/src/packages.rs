//! `/v3/packages`, the packages of an app, and the matching of resources.

mod present;
pub(crate) mod upload;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cupola_control::{ControlError, Owners, caller::Caller, packages::NewPackage};
use cupola_domain::ids::{AppId, PackageId};
use cupola_ports::{stager, store::Direction};
use cupola_wire::packages::{CreatePackage, Resources, UpdateMetadata};

pub(crate) use upload::UploadSlots;

use crate::{
    Api, droplets,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    jobs::accepted,
    list::ListQuery,
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    // The upload has a limit of its own, which counts while it is written to disk.
    let upload = post(upload::upload).layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/v3/packages", get(list).post(create))
        .route("/v3/apps/{guid}/packages", get(list_of_app))
        .route("/v3/packages/{guid}", get(show).patch(update).delete(delete))
        .route("/v3/packages/{guid}/upload", upload)
        .route("/v3/packages/{guid}/droplets", get(droplets::list_of_package))
        .route("/v3/resource_matches", post(match_resources))
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
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    // There are only bits.
    let kinds = query.take_list("types");
    let query = query.filter("guids", "id").filter("states", "state");
    let query = match kinds {
        Some(kinds) if !kinds.iter().any(|kind| kind == "bits") => query.nothing("id"),
        _ => query,
    };
    let orderable: &[&str] = &["created_at", "updated_at"];
    let (request, presenter) =
        query.labels()?.finish(orderable, ("created_at", Direction::Ascending))?;
    let page = api.control.list_packages(caller, owners, &request).await?;
    Ok(Json(presenter.present(api, page, |package| present::package(api, &package)))
        .into_response())
}

/// A new package, or with `source_guid` a copy.
async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
    Body(body): Body<CreatePackage>,
) -> Result<Response, ApiFailure> {
    let app = body.relationships.app.data.and_then(|data| data.guid.parse().ok());
    let app: AppId = app.ok_or_else(|| {
        let detail = "App is invalid. Ensure it exists and you have access to it.";
        ControlError::unprocessable(detail)
    })?;
    let package = match query.take("source_guid") {
        Some(source) => {
            let not_found = ControlError::NotFound { noun: "Package" };
            let source: PackageId = source.parse().map_err(|_| not_found)?;
            api.control.copy_package(&caller, app, source).await?
        }
        None => {
            let kind = body.kind.unwrap_or_default();
            let metadata = metadata::initial(body.metadata)?;
            api.control.create_package(&caller, NewPackage { app, kind, metadata }).await?
        }
    };
    Ok((StatusCode::CREATED, Json(present::package(&api, &package))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<PackageId>,
) -> Result<Response, ApiFailure> {
    let package = api.control.package(&caller, id).await?;
    Ok(Json(present::package(&api, &package)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<PackageId>,
    Body(body): Body<UpdateMetadata>,
) -> Result<Response, ApiFailure> {
    let change = metadata::change(body.metadata)?;
    let package = api.control.update_package(&caller, id, change).await?;
    Ok(Json(present::package(&api, &package)).into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<PackageId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.delete_package(&caller, id).await?;
    Ok(accepted(&api, &job))
}

async fn match_resources(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<Resources>,
) -> Result<Response, ApiFailure> {
    const FILES_MAX: usize = 5000;
    if body.resources.len() > FILES_MAX {
        let detail = format!("Resources is too long (maximum is {FILES_MAX} files)");
        return Err(ControlError::Unprocessable(detail).into());
    }
    let wanted = body.resources.into_iter().map(resource).collect::<Result<_, _>>()?;
    let known = api.control.match_resources(&caller, wanted).await?;
    let body = Resources { resources: known.into_iter().map(present::resource).collect() };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// A file that a body names.
fn resource(file: cupola_wire::packages::Resource) -> Result<stager::Resource, ControlError> {
    let sha1 = file.checksum.value.to_ascii_lowercase();
    if sha1.len() != 40 || !sha1.bytes().all(|b| b.is_ascii_hexdigit()) {
        let detail = "At least one checksum is not a valid SHA-1";
        return Err(ControlError::unprocessable(detail));
    }
    let mode = if file.mode.is_empty() {
        0
    } else {
        u32::from_str_radix(&file.mode, 8).map_err(|_| {
            let detail = format!("File mode '{}' with path '{}' is invalid", file.mode, file.path);
            ControlError::Unprocessable(detail)
        })?
    };
    Ok(stager::Resource { sha1, bytes: file.size_in_bytes, path: file.path, mode: mode & 0o777 })
}
