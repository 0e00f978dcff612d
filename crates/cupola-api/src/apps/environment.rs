//! The environment of an app.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::ControlError;
use cupola_domain::ids::AppId;
use cupola_wire::apps::{AppEnv, EnvironmentVariables, EnvironmentVariablesPatch};
use serde_json::{Value, json};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/apps/{guid}/env", get(env))
        .route("/v3/apps/{guid}/environment_variables", get(variables).patch(change_variables))
}

async fn env(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
) -> Result<Response, ApiFailure> {
    let environment = api.control.app_environment(&caller, id).await?;
    let body = AppEnv {
        staging_env_json: json!({}),
        running_env_json: json!({}),
        environment_variables: environment.own,
        system_env_json: environment.system,
        application_env_json: environment.application,
    };
    Ok(Json(body).into_response())
}

async fn variables(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
) -> Result<Response, ApiFailure> {
    let var = api.control.environment_variables(&caller, id).await?;
    Ok(Json(present(&api, id, var)).into_response())
}

async fn change_variables(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
    Body(body): Body<EnvironmentVariablesPatch>,
) -> Result<Response, ApiFailure> {
    let change = body.var.into_iter().map(|(name, value)| (name, text(value))).collect();
    let var = api.control.change_environment_variables(&caller, id, change).await?;
    Ok(Json(present(&api, id, var)).into_response())
}

fn present(api: &Api, app: AppId, var: BTreeMap<String, String>) -> EnvironmentVariables {
    EnvironmentVariables {
        var,
        links: api.links([
            ("self", format!("/v3/apps/{app}/environment_variables")),
            ("app", format!("/v3/apps/{app}")),
        ]),
    }
}

/// A value as instances see it; none for `null`.
pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// Refuses the names that belong to the platform.
pub(super) fn check<'a>(names: impl Iterator<Item = &'a String>) -> Result<(), ControlError> {
    cupola_control::apps::check_names(names.map(String::as_str), "Environment variables")
}
