//! `/v3/users`.

mod present;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::{ControlError, ListRequest, caller::Caller, users::Account};
use cupola_domain::ids::UserId;
use cupola_ports::store::{Condition, Direction, Value};
use cupola_wire::users::{CreateUser, UpdateUser, User};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    jobs::accepted,
    list::ListQuery,
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/users", get(list).post(create))
        .route("/v3/users/{guid}", get(show).patch(update).delete(delete))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    page(&api, &caller, query, None).await
}

/// The users who hold a role where `column` of the role has this value.
pub(crate) async fn with_roles(
    api: &Api,
    caller: &Caller,
    query: ListQuery,
    (column, value): (&'static str, String),
) -> Result<Response, ApiFailure> {
    let conditions = vec![Condition::In(column, vec![Value::Text(value)])];
    let (page_number, per_page) = (1, ListRequest::PER_PAGE_MAX);
    let request = ListRequest { page: page_number, per_page, order: None, conditions };
    let roles = api.control.list_roles(caller, &request).await?.items;
    let ids = roles.iter().map(|role| Value::Text(role.user_id.to_string())).collect();
    page(api, caller, query, Some(Condition::In("id", ids))).await
}

async fn page(
    api: &Api,
    caller: &Caller,
    mut query: ListQuery,
    limited_to: Option<Condition>,
) -> Result<Response, ApiFailure> {
    let partial = query.take_list("partial_usernames");
    let mut query = query
        .filter("guids", "id")
        .filter_lower("usernames", "username_lower")
        .filter("origins", "origin");
    if let Some(partial) = partial {
        let contains = |text: String| Condition::Contains("username", text);
        query = query.and(Condition::Any(partial.into_iter().map(contains).collect()));
    }
    if let Some(limit) = limited_to {
        query = query.and(limit);
    }
    let (request, presenter) = query
        .labels()?
        .finish(&["created_at", "updated_at"], ("created_at", Direction::Ascending))?;
    let page = api.control.list_users(caller, &request).await?;
    Ok(Json(presenter.present(api, page, |user| present::user(api, &user))).into_response())
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<CreateUser>,
) -> Result<Response, ApiFailure> {
    let account = match (body.guid, body.username, body.origin) {
        (Some(guid), None, None) => Account::Id(guid.parse().map_err(|_| {
            ControlError::Unprocessable(format!("'{guid}' is not the guid of an account"))
        })?),
        (None, Some(_), Some(origin)) if origin == "uaa" => {
            let detail = "Origin cannot be 'uaa' when creating a user by username";
            return Err(ControlError::unprocessable(detail).into());
        }
        (None, Some(username), Some(origin)) => Account::Named { username, origin },
        _ => {
            let detail = "a user is created by guid, or by username and origin";
            return Err(ControlError::unprocessable(detail).into());
        }
    };
    let metadata = metadata::initial(body.metadata)?;
    let user = api.control.register_user(&caller, account, metadata).await?;
    Ok((StatusCode::CREATED, Json(present::user(&api, &user))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<UserId>,
) -> Result<Response, ApiFailure> {
    let user = api.control.user(&caller, id).await?;
    Ok(Json(present::user(&api, &user)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<UserId>,
    Body(body): Body<UpdateUser>,
) -> Result<Response, ApiFailure> {
    let change = metadata::change(body.metadata)?;
    let user = api.control.update_user(&caller, id, change).await?;
    Ok(Json(present::user(&api, &user)).into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<UserId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.delete_user(&caller, id).await?;
    Ok(accepted(&api, &job))
}

/// The users with these ids that the caller sees, for what a list includes.
pub(crate) async fn included(
    api: &Api,
    caller: &Caller,
    ids: &[UserId],
) -> Result<Vec<User>, ApiFailure> {
    let page = api.control.list_users(caller, &ListRequest::of_ids(ids)).await?;
    Ok(page.items.iter().map(|user| present::user(api, user)).collect())
}
