//! Resources that the platform does not have yet: their lists are empty, so that clients that look
//! at them on the way to something else go on, and making one is refused with what to do instead.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::ControlError;
use cupola_ports::store::{Direction, Page};
use serde_json::{Value, json};

use crate::{Api, error::ApiFailure, extract::Authenticated, list::ListQuery};

/// When what cannot be changed was changed.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Path, and what clients compare or show when one of them is asked for.
const NOUNS: &[(&str, &str, &str)] = &[
    ("/v3/isolation_segments", "/v3/isolation_segments/{guid}", "Isolation segment"),
    ("/v3/security_groups", "/v3/security_groups/{guid}", "Security group"),
    ("/v3/service_brokers", "/v3/service_brokers/{guid}", "Service broker"),
    ("/v3/service_offerings", "/v3/service_offerings/{guid}", "Service offering"),
    ("/v3/service_plans", "/v3/service_plans/{guid}", "Service plan"),
    ("/v3/service_route_bindings", "/v3/service_route_bindings/{guid}", "Service route binding"),
    ("/v3/space_quotas", "/v3/space_quotas/{guid}", "Space quota"),
];

pub(crate) fn routes() -> Router<Api> {
    let mut router = Router::new()
        .route("/v3/environment_variable_groups/{name}", get(group).patch(set_group))
        .route("/v3/isolation_segments/{guid}/organizations", missing("Isolation segment"));
    for (list, one, noun) in NOUNS {
        let refuse = move |Authenticated(_): Authenticated| async move {
            let noun = noun.to_lowercase();
            let detail = format!("this platform has no {noun}s yet");
            Err::<Response, ApiFailure>(ControlError::Unprocessable(detail).into())
        };
        router = router.route(list, get(empty).post(refuse)).route(one, missing(noun));
    }
    router
}

fn missing(noun: &'static str) -> axum::routing::MethodRouter<Api> {
    let answer = move |Authenticated(_): Authenticated| async move {
        Err::<Response, ApiFailure>(ControlError::NotFound { noun }.into())
    };
    get(answer).patch(answer).delete(answer)
}

async fn empty(
    State(api): State<Api>,
    Authenticated(_): Authenticated,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    empty_list(&api, query)
}

/// An empty page for whatever filters.
pub(crate) fn empty_list(api: &Api, query: ListQuery) -> Result<Response, ApiFailure> {
    let (_, presenter) = query.ignore_rest().finish(&[], ("created_at", Direction::Ascending))?;
    let page = Page::<Value> { items: Vec::new(), total: 0 };
    Ok(Json(presenter.present(api, page, |value| value)).into_response())
}

/// `{"data": null}` is the only isolation segment there is.
pub(crate) fn require_no_isolation_segment(body: &Value) -> Result<(), ControlError> {
    if body.get("data").is_some_and(Value::is_null) {
        Ok(())
    } else {
        let detail = "this platform has no isolation segments yet";
        Err(ControlError::unprocessable(detail))
    }
}

async fn group(
    State(api): State<Api>,
    Authenticated(_): Authenticated,
    Path(name): Path<String>,
) -> Result<Response, ApiFailure> {
    require_group(&name)?;
    let path = format!("/v3/environment_variable_groups/{name}");
    Ok(Json(json!({
        "name": name,
        "var": {},
        "updated_at": EPOCH,
        "links": api.links([("self", path)]),
    }))
    .into_response())
}

async fn set_group(
    Authenticated(caller): Authenticated,
    Path(name): Path<String>,
) -> Result<Response, ApiFailure> {
    require_group(&name)?;
    if !caller.admin {
        return Err(ControlError::NotAuthorized.into());
    }
    let detail = "environment variable groups cannot be set on this platform yet; set variables \
                  of single apps with cf set-env";
    Err(ControlError::unprocessable(detail).into())
}

fn require_group(name: &str) -> Result<(), ControlError> {
    if ["running", "staging"].contains(&name) {
        Ok(())
    } else {
        Err(ControlError::NotFound { noun: "Environment variable group" })
    }
}
