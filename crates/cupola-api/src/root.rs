//! `/`, `/v3` and `/v3/info`: where a client finds everything else.

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::Api;

/// The version of Cloud Controller whose API this one follows. Clients switch on what they do by
/// it, so that it must not promise more than is there: 3.211.0 promises `embed=process_instances`,
/// with which `cf apps` asks once instead of once per process.
pub(crate) const API_VERSION: &str = "3.211.0";

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/", get(root))
        .route("/v3", get(resources))
        .route("/v3/", get(resources))
        .route("/v3/info", get(info))
        .route("/healthz", get(healthz))
}

/// What is not there is null: clients then refuse what needs it.
async fn root(State(api): State<Api>) -> Json<Value> {
    let base = &api.control.settings().external_url;
    Json(json!({
        "links": {
            "self": { "href": base },
            "cloud_controller_v2": null,
            "cloud_controller_v3": {
                "href": format!("{base}/v3"),
                "meta": { "version": API_VERSION },
            },
            "network_policy_v0": null,
            "network_policy_v1": null,
            "login": { "href": base },
            "uaa": { "href": base },
            "credhub": null,
            "routing": null,
            "logging": null,
            "log_cache": { "href": base },
            "log_stream": null,
            "app_ssh": null,
        }
    }))
}

async fn resources(State(api): State<Api>) -> Json<Value> {
    const RESOURCES: &[&str] = &[
        "apps",
        "audit_events",
        "builds",
        "buildpacks",
        "deployments",
        "domains",
        "droplets",
        "environment_variable_groups",
        "feature_flags",
        "info",
        "isolation_segments",
        "organization_quotas",
        "organizations",
        "packages",
        "processes",
        "resource_matches",
        "roles",
        "routes",
        "security_groups",
        "service_brokers",
        "service_credential_bindings",
        "service_instances",
        "service_offerings",
        "service_plans",
        "service_route_bindings",
        "space_quotas",
        "spaces",
        "stacks",
        "tasks",
        "users",
    ];
    let base = &api.control.settings().external_url;
    let mut links = serde_json::Map::new();
    links.insert("self".to_owned(), json!({ "href": format!("{base}/v3") }));
    for name in RESOURCES {
        links.insert((*name).to_owned(), json!({ "href": format!("{base}/v3/{name}") }));
    }
    Json(json!({ "links": links }))
}

async fn info(State(api): State<Api>) -> Json<Value> {
    let base = &api.control.settings().external_url;
    Json(json!({
        "build": env!("CARGO_PKG_VERSION"),
        "cli_version": { "minimum": "8.0.0", "recommended": "8.18.3" },
        "custom": {},
        "description": "Cupola",
        "name": "cupola",
        "version": 0,
        "osbapi_version": "2.15",
        "rate_limits": {
            "enabled": false,
            "general_limit": null,
            "reset_interval_in_minutes": null,
        },
        "links": {
            "self": { "href": format!("{base}/v3/info") },
            "support": { "href": "" },
        },
    }))
}

async fn healthz() -> &'static str {
    "ok"
}
