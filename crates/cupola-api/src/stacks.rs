//! `/v3/stacks`: the one stack there is.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::ControlError;
use cupola_ports::store::{Direction, Page};
use cupola_wire::{metadata::MetadataBody, stacks::Stack};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Guid},
    list::{ListQuery, labels},
};

/// A stack is no row yet, so that its id and times are fixed.
const STACK_GUID: &str = "00000000-0000-4000-8000-00000057ac4c";
const EPOCH: &str = "1970-01-01T00:00:00Z";

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/stacks", get(list).post(refuse_change))
        .route("/v3/stacks/{guid}", get(show).patch(refuse_change).delete(refuse_change))
}

async fn list(
    State(api): State<Api>,
    Authenticated(_): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let names = query.take_list("names");
    let guids = query.take_list("guids");
    let labels = query.take_labels()?;
    let is_default = query.take("default").is_none_or(|text| text == "true");
    let (request, presenter) = query
        .finish(&["created_at", "updated_at", "name"], ("created_at", Direction::Ascending))?;
    let stack = stack(&api);
    let is_wanted = names.is_none_or(|names| names.contains(&stack.name))
        && guids.is_none_or(|guids| guids.contains(&stack.guid))
        && labels::select_unlabelled(&labels)
        && is_default;
    let page: Page<Stack> = request.cut(is_wanted.then_some(stack).into_iter().collect());
    Ok(Json(presenter.present(&api, page, |stack| stack)).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(_): Authenticated,
    Guid(guid): Guid,
) -> Result<Response, ApiFailure> {
    if guid != STACK_GUID {
        return Err(ControlError::NotFound { noun: "Stack" }.into());
    }
    Ok(Json(stack(&api)).into_response())
}

async fn refuse_change(Authenticated(caller): Authenticated) -> Result<Response, ApiFailure> {
    if !caller.admin {
        return Err(ControlError::NotAuthorized.into());
    }
    let detail = "stacks are chosen in the platform's configuration, not by the API";
    Err(ControlError::unprocessable(detail).into())
}

fn stack(api: &Api) -> Stack {
    let name = api.control.settings().stack.clone();
    Stack {
        guid: STACK_GUID.to_owned(),
        description: format!("The root file system `{name}` of this platform"),
        state: "ACTIVE".to_owned(),
        state_reason: None,
        default: true,
        build_rootfs_image: name.clone(),
        run_rootfs_image: name.clone(),
        name,
        metadata: MetadataBody::default(),
        created_at: EPOCH.to_owned(),
        updated_at: EPOCH.to_owned(),
        links: api.links([("self", format!("/v3/stacks/{STACK_GUID}"))]),
    }
}
