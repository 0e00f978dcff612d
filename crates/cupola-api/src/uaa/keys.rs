//! What others need to verify tokens without asking the platform.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::Api;

pub(super) async fn token_key(State(api): State<Api>) -> Json<Value> {
    Json(key(&api))
}

pub(super) async fn token_keys(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "keys": [key(&api)] }))
}

fn key(api: &Api) -> Value {
    let key = api.control.public_key();
    json!({
        "kty": "EC",
        "crv": "P-256",
        "alg": "ES256",
        "use": "sig",
        "kid": key.id,
        "x": key.x,
        "y": key.y,
        "value": key.pem,
    })
}

pub(super) async fn openid_configuration(State(api): State<Api>) -> Json<Value> {
    let base = &api.control.settings().external_url;
    Json(json!({
        "issuer": api.control.issuer(),
        "token_endpoint": format!("{base}/oauth/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "userinfo_endpoint": format!("{base}/userinfo"),
        "jwks_uri": format!("{base}/token_keys"),
        "scopes_supported": ["openid"],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "grant_types_supported": ["password", "refresh_token"],
    }))
}
