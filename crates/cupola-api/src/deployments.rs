//! `/v3/deployments`.

mod present;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cupola_control::{
    ControlError,
    deployments::{NewDeployment, Target},
};
use cupola_domain::{
    deployments::{DeploymentState, Strategy, WebOptions},
    ids::DeploymentId,
};
use cupola_ports::store::{Condition, Direction, Value};
use cupola_wire::{
    deployments::{Canary, CreateDeployment, Options},
    packages::UpdateMetadata,
};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    list::ListQuery,
    metadata,
};

pub(crate) use present::deployment as present;

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/deployments", get(list).post(create))
        .route("/v3/deployments/{guid}", get(show).patch(update))
        .route("/v3/deployments/{guid}/actions/cancel", post(cancel))
        .route("/v3/deployments/{guid}/actions/continue", post(go_on))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let owners = query.take_owners();
    if let Some(values) = query.take_list("status_values") {
        let is_asked_for = |state: &DeploymentState| {
            values.iter().any(|value| value == present::status_value(*state))
        };
        query = query.and(in_states(is_asked_for));
    }
    if let Some(reasons) = query.take_list("status_reasons") {
        query = query.and(in_states(|state| reasons.iter().any(|one| one == state.name())));
    }
    let orderable: &[&str] = &["created_at", "updated_at"];
    let (request, presenter) = query
        .filter("app_guids", "app_id")
        .filter("states", "state")
        .finish(orderable, ("created_at", Direction::Ascending))?;
    let page = api.control.list_deployments(&caller, &owners, &request).await?;
    let present = |deployment| present::deployment(&api, &deployment);
    Ok(Json(presenter.present(&api, page, present)).into_response())
}

fn in_states(is_asked_for: impl Fn(&DeploymentState) -> bool) -> Condition {
    let names = DeploymentState::ALL.iter().filter(|state| is_asked_for(state));
    Condition::In("state", names.map(|state| Value::from(state.name())).collect())
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<CreateDeployment>,
) -> Result<Response, ApiFailure> {
    let request = serde_json::to_value(&body).unwrap_or_default();
    let app = body.relationships.app.data.and_then(|app| app.guid.parse().ok());
    let app = app.ok_or_else(|| {
        let detail = "Unable to use app. Ensure that the app exists and you have access to it.";
        ControlError::unprocessable(detail)
    })?;
    let options = body.options.unwrap_or_default();
    let new = NewDeployment {
        app,
        target: target(body.droplet.map(|one| one.guid), body.revision.map(|one| one.guid))?,
        max_in_flight: max_in_flight(options.max_in_flight)?,
        web: web_options(&options)?,
        strategy: strategy(body.strategy.as_deref(), options.canary)?,
        metadata: metadata::initial(body.metadata)?,
        request,
    };
    let deployment = api.control.create_deployment(&caller, new).await?;
    Ok((StatusCode::CREATED, Json(present::deployment(&api, &deployment))).into_response())
}

fn target(droplet: Option<String>, revision: Option<String>) -> Result<Target, ControlError> {
    match (droplet, revision) {
        (Some(_), Some(_)) => {
            Err(ControlError::unprocessable("Cannot set both fields 'droplet' and 'revision'"))
        }
        (None, None) => Ok(Target::Droplet(None)),
        (Some(droplet), None) => {
            let droplet = droplet.parse().map_err(|_| {
                let detail = "Unable to assign current droplet. \
                              Ensure the droplet exists and belongs to this app.";
                ControlError::unprocessable(detail)
            })?;
            Ok(Target::Droplet(Some(droplet)))
        }
        (None, Some(revision)) => revision
            .parse()
            .map(Target::Revision)
            .map_err(|_| ControlError::unprocessable("The revision does not exist")),
    }
}

pub(crate) fn max_in_flight(wanted: Option<i64>) -> Result<u32, ControlError> {
    let wanted = u32::try_from(wanted.unwrap_or(1)).ok().filter(|number| *number > 0);
    wanted.ok_or_else(|| {
        ControlError::unprocessable("Max in flight must be an integer greater than 0")
    })
}

fn web_options(options: &Options) -> Result<WebOptions, ControlError> {
    let positive = |what: &str, wanted: Option<i64>| {
        let number = |wanted| u32::try_from(wanted).ok().filter(|number| *number > 0);
        wanted
            .map(|wanted| {
                number(wanted).ok_or_else(|| {
                    ControlError::Unprocessable(format!("{what} must be greater than 0"))
                })
            })
            .transpose()
    };
    Ok(WebOptions {
        instances: positive("Web instances", options.web_instances)?,
        memory_mib: positive("Memory in mb", options.memory_in_mb)?,
        disk_mib: positive("Disk in mb", options.disk_in_mb)?,
        log_rate_bytes_per_s: options.log_rate_limit_in_bytes_per_second,
    })
}

/// Upstream's words: app/messages/deployment_create_message.rb.
pub(crate) fn strategy(
    name: Option<&str>,
    canary: Option<Canary>,
) -> Result<Strategy, ControlError> {
    match (name.unwrap_or("rolling"), canary) {
        ("rolling", None) => Ok(Strategy::Rolling),
        ("rolling", Some(_)) => {
            let detail = "Options.canary are only valid for Canary deployments";
            Err(ControlError::unprocessable(detail))
        }
        ("canary", canary) => {
            let steps = canary.unwrap_or_default().steps;
            let weights: Vec<i64> = steps.iter().map(|step| step.instance_weight).collect();
            Ok(Strategy::Canary { weights: checked_weights(&weights)? })
        }
        (other, _) => {
            let detail = format!("Strategy '{other}' is not a supported deployment strategy");
            Err(ControlError::Unprocessable(detail))
        }
    }
}

fn checked_weights(weights: &[i64]) -> Result<Vec<u8>, ControlError> {
    let what = "Options.canary.steps.instance weight";
    let percent = |weight: &i64| u8::try_from(*weight).ok().filter(|one| (1..=100).contains(one));
    let percents: Option<Vec<u8>> = weights.iter().map(percent).collect();
    let Some(percents) = percents else {
        let detail = format!("{what} must be an Integer between 1-100 (inclusive)");
        return Err(ControlError::Unprocessable(detail));
    };
    if !percents.is_sorted() {
        let detail = format!("{what} must be sorted in ascending order");
        return Err(ControlError::Unprocessable(detail));
    }
    Ok(percents)
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DeploymentId>,
) -> Result<Response, ApiFailure> {
    let deployment = api.control.deployment(&caller, id).await?;
    let body = Json(present::deployment(&api, &deployment));
    Ok((warnings(deployment.error.as_deref()), body).into_response())
}

/// The header whose texts the `cf` CLI shows: it says of a deployment that failed only that it was
/// cancelled.
fn warnings(error: Option<&str>) -> Option<[(HeaderName, String); 1]> {
    let text = format!("The new instances do not run: {}", error?);
    let encoded = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
    Some([(HeaderName::from_static("x-cf-warnings"), encoded.to_string())])
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DeploymentId>,
    Body(body): Body<UpdateMetadata>,
) -> Result<Response, ApiFailure> {
    let change = metadata::change(body.metadata)?;
    let deployment = api.control.update_deployment(&caller, id, change).await?;
    Ok(Json(present::deployment(&api, &deployment)).into_response())
}

async fn cancel(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DeploymentId>,
) -> Result<Response, ApiFailure> {
    let deployment = api.control.cancel_deployment(&caller, id).await?;
    Ok(Json(present::deployment(&api, &deployment)).into_response())
}

async fn go_on(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DeploymentId>,
) -> Result<Response, ApiFailure> {
    let deployment = api.control.continue_deployment(&caller, id).await?;
    Ok(Json(present::deployment(&api, &deployment)).into_response())
}
