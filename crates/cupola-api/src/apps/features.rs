//! The switches of an app.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::{ControlError, apps::actions::AppFeature};
use cupola_domain::{apps::App, ids::AppId};
use cupola_ports::store::Direction;
use cupola_wire::{
    apps::SshEnabled,
    spaces::{Feature, UpdateFeature},
};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    list::ListQuery,
};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/apps/{guid}/features", get(list))
        .route("/v3/apps/{guid}/features/{name}", get(show).patch(update))
        .route("/v3/apps/{guid}/ssh_enabled", get(ssh_enabled))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let app = api.control.app(&caller, id).await?.app;
    let (request, presenter) = query.finish(&["name"], ("name", Direction::Ascending))?;
    let page = request.cut(AppFeature::ALL.to_vec());
    Ok(Json(presenter.present(&api, page, |feature| present(feature, &app))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response, ApiFailure> {
    let app = api.control.app(&caller, id).await?.app;
    Ok(Json(present(feature(&name)?, &app)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
    Path((_, name)): Path<(String, String)>,
    Body(body): Body<UpdateFeature>,
) -> Result<Response, ApiFailure> {
    api.control.app(&caller, id).await?;
    let feature = feature(&name)?;
    let placed = api.control.set_app_feature(&caller, id, feature, body.enabled).await?;
    Ok(Json(present(feature, &placed.app)).into_response())
}

/// Whether somebody could log in to an instance. Nobody can yet, and the reason says so.
async fn ssh_enabled(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
) -> Result<Response, ApiFailure> {
    api.control.app(&caller, id).await?;
    let reason = "Disabled globally".to_owned();
    Ok(Json(SshEnabled { enabled: false, reason }).into_response())
}

fn feature(name: &str) -> Result<AppFeature, ControlError> {
    let found = AppFeature::ALL.into_iter().find(|feature| feature.name() == name);
    found.ok_or(ControlError::NotFound { noun: "Feature" })
}

fn present(feature: AppFeature, app: &App) -> Feature {
    Feature {
        name: feature.name().to_owned(),
        description: feature.description().to_owned(),
        enabled: feature.is_enabled(app),
    }
}
