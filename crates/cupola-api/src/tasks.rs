//! `/v3/tasks`, and the tasks of an app.

mod present;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use cupola_control::{ControlError, Owners, caller::Caller, tasks::NewTask};
use cupola_domain::ids::{AppId, TaskId};
use cupola_ports::store::{Condition, Direction, Value};
use cupola_wire::{packages::UpdateMetadata, tasks::CreateTask};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    list::ListQuery,
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/tasks", get(list))
        .route("/v3/apps/{guid}/tasks", get(list_of_app).post(create))
        .route("/v3/tasks/{guid}", get(show).patch(update))
        .route("/v3/tasks/{guid}/actions/cancel", post(cancel).put(cancel))
        .route("/v3/tasks/{guid}/cancel", put(cancel))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let owners = query.take_owners();
    // Commands are shown only where one app is asked for, as upstream does.
    page(&api, &caller, &owners, query.filter("app_guids", "app_id"), false).await
}

async fn list_of_app(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let shows_commands = api.control.sees_secrets(&caller, app).await?;
    let of_app = Condition::In("app_id", vec![app.to_string().into()]);
    page(&api, &caller, &Owners::default(), query.and(of_app), shows_commands).await
}

async fn page(
    api: &Api,
    caller: &Caller,
    owners: &Owners,
    mut query: ListQuery,
    shows_commands: bool,
) -> Result<Response, ApiFailure> {
    if let Some(numbers) = query.take_list("sequence_ids") {
        let numbers = numbers.iter().flat_map(|text| text.parse::<i64>());
        query = query.and(Condition::In("sequence", numbers.map(Value::Integer).collect()));
    }
    let orderable: &[&str] = &["created_at", "updated_at"];
    let (request, presenter) = query
        .filter("names", "name")
        .filter("states", "state")
        .finish(orderable, ("created_at", Direction::Ascending))?;
    let page = api.control.list_tasks(caller, owners, &request).await?;
    let present = |task| present::task(api, &task, shows_commands);
    Ok(Json(presenter.present(api, page, present)).into_response())
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    Body(body): Body<CreateTask>,
) -> Result<Response, ApiFailure> {
    let unusable = |what: &str| {
        let detail =
            format!("Unable to use {what}. Ensure the {what} exists and belongs to this app.");
        ControlError::Unprocessable(detail)
    };
    let droplet = body.droplet_guid.map(|guid| guid.parse().map_err(|_| unusable("droplet")));
    let template =
        body.template.map(|named| named.process.guid.parse().map_err(|_| unusable("process")));
    let new = NewTask {
        app,
        command: body.command,
        name: body.name,
        memory_mib: body.memory_in_mb,
        disk_mib: body.disk_in_mb,
        log_rate_bytes_per_s: body.log_rate_limit_in_bytes_per_second,
        droplet: droplet.transpose()?,
        template: template.transpose()?,
        metadata: metadata::initial(body.metadata)?,
    };
    let task = api.control.create_task(&caller, new).await?;
    Ok((StatusCode::ACCEPTED, Json(present::task(&api, &task, true))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<TaskId>,
) -> Result<Response, ApiFailure> {
    let shown = api.control.task(&caller, id).await?;
    Ok(Json(present::task(&api, &shown.task, shown.shows_command)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<TaskId>,
    Body(body): Body<UpdateMetadata>,
) -> Result<Response, ApiFailure> {
    let change = metadata::change(body.metadata)?;
    let task = api.control.update_task(&caller, id, change).await?;
    Ok(Json(present::task(&api, &task, true)).into_response())
}

async fn cancel(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<TaskId>,
) -> Result<Response, ApiFailure> {
    let task = api.control.cancel_task(&caller, id).await?;
    Ok((StatusCode::ACCEPTED, Json(present::task(&api, &task, true))).into_response())
}
