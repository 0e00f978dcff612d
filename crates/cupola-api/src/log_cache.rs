//! Log-cache: the logs of apps, read back and followed.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use cupola_control::ControlError;
use cupola_domain::{ids::AppId, time::Timestamp};
use cupola_ports::logs::{LogLine, LogQuery, LogStream};
use cupola_wire::log_cache::{Batch, Envelope, Info, Log, Read};
use serde_json::json;

use crate::{Api, error::ApiFailure, extract::Authenticated, list::ListQuery};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/info", get(info))
        .route("/api/v1/meta", get(meta))
        .route("/api/v1/read/{source_id}", get(read))
}
