//! The part of UAA's API that clients of Cloud Foundry log in with.

mod accounts;
mod error;
mod keys;
mod tokens;

use axum::{
    Json, Router,
    extract::{FromRequestParts, State},
    http::request::Parts,
    routing::{delete, get, post, put},
};
use cupola_control::caller::Caller;
use serde_json::{Value, json};

use crate::{Api, extract::Authenticated};
use error::UaaFailure;

/// The version of UAA whose API this follows, as clients compare it.
const UAA_VERSION: &str = "77.0.0";

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/login", get(login))
        .route("/info", get(login))
        .route("/oauth/token", post(tokens::grant))
        .route("/oauth/token/revoke/{guid}", delete(tokens::revoke))
        .route("/oauth/clients/{guid}", get(tokens::client))
        .route("/token_key", get(keys::token_key))
        .route("/token_keys", get(keys::token_keys))
        .route("/.well-known/openid-configuration", get(keys::openid_configuration))
        .route("/userinfo", get(accounts::user_info))
        .route("/Users", get(accounts::list).post(accounts::create))
        .route("/Users/{guid}", get(accounts::show).delete(accounts::delete))
        .route("/Users/{guid}/password", put(accounts::change_password))
}

/// The caller of an operation of UAA, whose errors look different from those of the v3 API.
struct UaaCaller(Caller);

impl FromRequestParts<Api> for UaaCaller {
    type Rejection = UaaFailure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, UaaFailure> {
        let caller = Authenticated::from_request_parts(parts, api).await;
        caller.map(|Authenticated(caller)| Self(caller)).map_err(UaaFailure::of_token)
    }
}

/// What a client has to ask the user for.
async fn login(State(api): State<Api>) -> Json<Value> {
    let base = &api.control.settings().external_url;
    Json(json!({
        "app": { "version": UAA_VERSION },
        "commit_id": "cupola",
        "zone_name": "uaa",
        "entityID": base,
        "links": { "uaa": base, "login": base, "passwd": "", "register": "" },
        "prompts": {
            "username": ["text", "Username"],
            "password": ["password", "Password"],
        },
    }))
}
