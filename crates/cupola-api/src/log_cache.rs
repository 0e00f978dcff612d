//! Log-cache: the logs of apps, read back and followed.

use std::collections::BTreeMap;

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

/// Clients take a version below 2 for one that lacks most of this.
const VERSION: &str = "3.0.0";
const LINES_DEFAULT: usize = 100;
const LINES_MAX: usize = 1000;

async fn info() -> Json<Info> {
    Json(Info { version: VERSION.to_owned(), vm_uptime: "0".to_owned() })
}

/// The apps that the caller sees, with the times of their oldest and newest lines.
async fn meta(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
) -> Result<Response, ApiFailure> {
    let spans = api.control.log_spans(&caller).await?;
    let meta: BTreeMap<String, serde_json::Value> = spans
        .into_iter()
        .map(|span| {
            let times = json!({
                "oldest_timestamp": span.oldest.nanos().to_string(),
                "newest_timestamp": span.newest.nanos().to_string(),
            });
            (span.app.to_string(), times)
        })
        .collect();
    Ok(Json(json!({ "meta": meta })).into_response())
}

async fn read(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Path(source_id): Path<String>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let not_found = ControlError::NotFound { noun: "App" };
    let app: AppId = source_id.parse().map_err(|_| not_found)?;
    let wants_logs = wants_logs(&mut query);
    let wanted = wanted(&source_id, &mut query)?;
    let lines = if wants_logs {
        api.control.read_log(&caller, app, &wanted).await?
    } else {
        // There are no other envelopes, but whether the app may be seen is checked all the same.
        api.control.app(&caller, app).await?;
        Vec::new()
    };
    let batch = lines.into_iter().map(envelope).collect();
    Ok(Json(Read { envelopes: Batch { batch } }).into_response())
}

fn wants_logs(query: &mut ListQuery) -> bool {
    let mut kinds = Vec::new();
    while let Some(kind) = query.take("envelope_types") {
        kinds.push(kind);
    }
    kinds.is_empty() || kinds.iter().any(|kind| matches!(kind.as_str(), "LOG" | "ANY"))
}

/// Nanoseconds on the wire, microseconds in the store: the begin is included and rounded up, so
/// that a client that goes on after the last line does not get it twice; the end is excluded.
fn wanted(source_id: &str, query: &mut ListQuery) -> Result<LogQuery, ControlError> {
    let mut nanos = |name: &str| match query.take(name) {
        None => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| {
            ControlError::BadQuery(format!("{name} must be a number of nanoseconds: '{text}'"))
        }),
    };
    let (start, end) = (nanos("start_time")?, nanos("end_time")?);
    let limit = query.take("limit").and_then(|text| text.parse::<usize>().ok());
    let from =
        start.map_or(0, |start| start.div_euclid(1000) + i64::from(start.rem_euclid(1000) > 0));
    let until = end.map_or(i64::MAX / 1000, |end| end.saturating_sub(1).div_euclid(1000));
    Ok(LogQuery {
        source_id: source_id.to_owned(),
        from: Timestamp::from_micros(from.max(0)),
        until: Timestamp::from_micros(until),
        lines_max: limit.unwrap_or(LINES_DEFAULT).clamp(1, LINES_MAX),
        descending: query.take("descending").is_some_and(|text| text == "true"),
    })
}

fn envelope(line: LogLine) -> Envelope {
    let tags = [
        ("source_type", line.source_type.clone()),
        ("instance_id", line.instance.clone()),
        ("app_id", line.source_id.clone()),
    ];
    Envelope {
        timestamp: line.at.nanos().to_string(),
        source_id: line.source_id,
        instance_id: line.instance,
        deprecated_tags: BTreeMap::new(),
        tags: tags.map(|(name, value)| (name.to_owned(), value)).into(),
        log: Log {
            payload: BASE64_STANDARD.encode(&line.message),
            kind: match line.stream {
                LogStream::Out => "OUT",
                LogStream::Err => "ERR",
            }
            .to_owned(),
        },
    }
}
