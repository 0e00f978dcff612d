//! Processes as manifests write them, at the top of an application or in its list.

use serde_json::{Map, Value};

use super::{size, yaml::to_text};
use crate::{
    ControlError,
    processes::{CheckChange, CheckKind, ProcessChange, Scale},
};

/// What a manifest says of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct ManifestProcess {
    pub kind: String,
    pub change: ProcessChange,
    pub scale: Scale,
}

/// The keys of a process.
pub(super) const KEYS: &[&str] = &[
    "command",
    "disk-quota",
    "disk_quota",
    "health-check-http-endpoint",
    "health-check-interval",
    "health-check-invocation-timeout",
    "health-check-type",
    "instances",
    "log-rate-limit-per-second",
    "memory",
    "readiness-health-check-http-endpoint",
    "readiness-health-check-interval",
    "readiness-health-check-invocation-timeout",
    "readiness-health-check-type",
    "timeout",
];

impl ManifestProcess {
    pub(super) fn read(kind: &str, map: &Map<String, Value>) -> Result<Self, ControlError> {
        let read = Self::read_keys(kind, map);
        read.map_err(|error| ControlError::Unprocessable(format!("Process \"{kind}\": {error}")))
    }

    fn read_keys(kind: &str, map: &Map<String, Value>) -> Result<Self, ControlError> {
        Ok(Self {
            kind: kind.to_owned(),
            change: ProcessChange {
                command: command(map),
                health_check: CheckChange {
                    start_timeout_s: seconds(map, "timeout", "Timeout")?,
                    ..check(map, "health-check", "Health check")?
                },
                readiness_check: check(map, "readiness-health-check", "Readiness health check")?,
                ..ProcessChange::default()
            },
            scale: Scale {
                instances: instances(map)?,
                memory_mib: mebibytes(map, &["memory"], "Memory")?,
                disk_mib: mebibytes(map, &["disk_quota", "disk-quota"], "Disk quota")?,
                log_rate_bytes_per_s: log_rate(map)?,
            },
        })
    }
}

/// The words that go back to the droplet's command are those of upstream.
fn command(map: &Map<String, Value>) -> Option<Option<String>> {
    let command = to_text(map.get("command")?);
    Some(Some(command).filter(|text| !matches!(text.as_str(), "" | "null" | "default")))
}

fn check(map: &Map<String, Value>, prefix: &str, what: &str) -> Result<CheckChange, ControlError> {
    let key = |suffix: &str| format!("{prefix}-{suffix}");
    let kind = match map.get(&key("type")).and_then(Value::as_str) {
        None => None,
        Some("port") => Some(CheckKind::Port),
        Some("http") => Some(CheckKind::Http),
        // `none` is the name of old.
        Some("process" | "none") => Some(CheckKind::Process),
        Some(_) => {
            let detail = format!("{what} type must be \"port\", \"process\", or \"http\"");
            return Err(ControlError::Unprocessable(detail));
        }
    };
    let endpoint = map.get(&key("http-endpoint")).map(|value| Some(to_text(value)));
    Ok(CheckChange {
        kind,
        endpoint,
        start_timeout_s: None,
        invocation_timeout_s: seconds(
            map,
            &key("invocation-timeout"),
            &format!("{what} invocation timeout"),
        )?,
        interval_s: seconds(map, &key("interval"), &format!("{what} interval"))?,
    })
}

fn seconds(
    map: &Map<String, Value>,
    key: &str,
    what: &str,
) -> Result<Option<Option<u32>>, ControlError> {
    let Some(value) = map.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let number = whole_number(value).and_then(|number| u32::try_from(number).ok());
    match number.filter(|number| *number >= 1) {
        Some(number) => Ok(Some(Some(number))),
        None => {
            let detail = format!("{what} must be an integer greater than or equal to 1");
            Err(ControlError::Unprocessable(detail))
        }
    }
}

fn instances(map: &Map<String, Value>) -> Result<Option<i64>, ControlError> {
    let Some(value) = map.get("instances").filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    match whole_number(value) {
        Some(number) if number >= 0 => Ok(Some(number)),
        Some(_) => {
            let detail = "Instances must be greater than or equal to 0";
            Err(ControlError::unprocessable(detail))
        }
        None => Err(ControlError::unprocessable("Instances is not a number")),
    }
}

fn mebibytes(
    map: &Map<String, Value>,
    keys: &[&str],
    what: &str,
) -> Result<Option<i64>, ControlError> {
    let value = keys.iter().find_map(|key| map.get(*key)).filter(|value| !value.is_null());
    let Some(value) = value else { return Ok(None) };
    let mebibytes = size::bytes(&to_text(value), what)? >> 20;
    if mebibytes == 0 {
        return Err(ControlError::Unprocessable(format!("{what} must be greater than 0MB")));
    }
    Ok(Some(mebibytes))
}

fn log_rate(map: &Map<String, Value>) -> Result<Option<i64>, ControlError> {
    let value = map.get("log-rate-limit-per-second").filter(|value| !value.is_null());
    let Some(value) = value else { return Ok(None) };
    match to_text(value).as_str() {
        "-1" => Ok(Some(-1)),
        "0" => Ok(Some(0)),
        text => size::bytes(text, "Log rate limit per second").map(Some),
    }
}

/// Manifests may quote numbers.
fn whole_number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
