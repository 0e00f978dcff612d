//! Manifests: applied to a space, compared with it, and written from an app.

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cupola_control::{ControlError, manifest};
use cupola_domain::ids::{AppId, SpaceId};
use cupola_wire::manifests::{Difference, ManifestDiff};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Id},
    jobs::accepted,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/spaces/{guid}/actions/apply_manifest", post(apply))
        .route("/v3/spaces/{guid}/manifest_diff", post(diff))
        .route("/v3/apps/{guid}/manifest", get(of_app))
}

async fn apply(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(space): Id<SpaceId>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiFailure> {
    api.control.check_may_develop(&caller, space).await?;
    let manifest = text(&headers, body)?;
    let job = api.control.apply_manifest(&caller, space, manifest).await?;
    Ok(accepted(&api, &job))
}

async fn diff(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(space): Id<SpaceId>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiFailure> {
    api.control.check_may_develop(&caller, space).await?;
    let manifest = text(&headers, body)?;
    let differences = api.control.manifest_diff(&caller, space, &manifest).await?;
    let body = ManifestDiff { diff: differences.into_iter().map(present).collect() };
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

async fn of_app(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
) -> Result<Response, ApiFailure> {
    let manifest = api.control.app_manifest(&caller, app).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-yaml")], manifest).into_response())
}

/// The manifest of a body that says it is one.
fn text(headers: &HeaderMap, body: Bytes) -> Result<String, ControlError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !matches!(kind, "application/x-yaml" | "application/yaml" | "text/yaml" | "text/x-yaml") {
        return Err(ControlError::Refused("Content-Type must be yaml".to_owned()));
    }
    String::from_utf8(body.into()).map_err(|_| {
        let detail = "Request invalid due to parse error: the manifest is not UTF-8";
        ControlError::BadRequest(detail.to_owned())
    })
}

fn present(difference: manifest::Difference) -> Difference {
    Difference {
        op: difference.operation.name().to_owned(),
        path: difference.path,
        was: difference.was,
        value: difference.value,
    }
}
