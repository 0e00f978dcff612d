//! What changed in an app, told from its audit events.
//!
//! The events are the only source: nothing is kept twice, and what is told is what happened. Where
//! Cloud Controller's form of an event says only what was asked for, the event has `changed` beside
//! it, which says what was before.
//!
//! Invariant: of variables and commands it is told that they changed and never what they are.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::audit::AuditEvent;

/// A change for people: of which kind, and what in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub kind: &'static str,
    pub summary: String,
}

/// The key of an event's data under which the fields that changed are.
pub const CHANGED: &str = "changed";

/// The events that tell of a change, and the kind of each.
pub const KINDS: &[(&str, &str)] = &[
    ("audit.app.build.failed", "build"),
    ("audit.app.build.staged", "build"),
    ("audit.app.create", "app"),
    ("audit.app.deployment.cancel", "deployment"),
    ("audit.app.deployment.continue", "deployment"),
    ("audit.app.deployment.cost", "deployment"),
    ("audit.app.deployment.create", "deployment"),
    ("audit.app.droplet.mapped", "droplet"),
    ("audit.app.map-route", "route"),
    ("audit.app.process.crash", "crash"),
    ("audit.app.process.scale", "scale"),
    ("audit.app.process.terminate_instance", "restart"),
    ("audit.app.process.update", "settings"),
    ("audit.app.restart", "restart"),
    ("audit.app.revision.create", "revision"),
    ("audit.app.start", "start"),
    ("audit.app.stop", "stop"),
    ("audit.app.task.cancel", "task"),
    ("audit.app.task.create", "task"),
    ("audit.app.unmap-route", "route"),
    ("audit.app.update", "settings"),
    ("audit.route.share", "route"),
    ("audit.route.transfer-owner", "route"),
    ("audit.route.unshare", "route"),
    ("audit.route.update", "route"),
    ("audit.service_binding.create", "binding"),
    ("audit.service_binding.delete", "binding"),
    ("audit.service_binding.update", "binding"),
];

/// The events that tell that a release began. What ran before a period is known by them alone.
pub const BEGIN_EVENTS: &[&str] =
    &["audit.app.deployment.create", "audit.app.restart", "audit.app.start"];

/// The events that tell when which release began, got requests, crashed and was cancelled.
pub const RELEASE_EVENTS: &[&str] = &[
    "audit.app.deployment.cancel",
    "audit.app.deployment.create",
    "audit.app.process.crash",
    "audit.app.process.ready",
    "audit.app.restart",
    "audit.app.start",
];

/// The fields that differ between two objects, each with what it was and what it is:
/// `{"instances": {"before": 1, "after": 3}}`.
pub fn difference(before: &Value, after: &Value) -> Map<String, Value> {
    let empty = Map::new();
    let (before, after) = (before.as_object(), after.as_object());
    let (before, after) = (before.unwrap_or(&empty), after.unwrap_or(&empty));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let pair = |name: &String| {
        let (old, new) = (before.get(name), after.get(name));
        (old != new).then(|| (name.clone(), json!({ "before": old, "after": new })))
    };
    names.filter_map(pair).collect()
}

/// Which variables differ, by name alone: `{"added": ["A"], "changed": ["B"], "removed": ["C"]}`.
/// None: no one does.
pub fn environment_difference(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Option<Value> {
    let added: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    let removed: Vec<_> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    let differs =
        |(name, value): &(&String, &String)| before.get(*name).is_some_and(|old| old != *value);
    let changed: Vec<_> = after.iter().filter(differs).map(|(name, _)| name).collect();
    let lists = [("added", added), ("changed", changed), ("removed", removed)];
    let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
    let lists: Map<String, Value> =
        lists.map(|(how, names)| (how.to_owned(), json!(names))).collect();
    (!lists.is_empty()).then_some(Value::Object(lists))
}

/// How a value that nobody may read changed: `set`, `changed` or `removed`. None: it did not.
pub fn secret_difference(before: Option<&str>, after: Option<&str>) -> Option<&'static str> {
    match (before, after) {
        (None, Some(_)) => Some("set"),
        (Some(_), None) => Some("removed"),
        (Some(before), Some(after)) if before != after => Some("changed"),
        _ => None,
    }
}

/// What an event tells of a change. None: it tells of none.
pub fn tell(event: &AuditEvent) -> Option<Told> {
    let (_, kind) = KINDS.iter().find(|(name, _)| *name == event.kind)?;
    let changed = event.data.get(CHANGED).and_then(Value::as_object);
    // Variables are what people look for first.
    let only_environment =
        changed.is_some_and(|fields| fields.len() == 1 && fields.contains_key("environment"));
    let kind = if only_environment { "environment" } else { kind };
    Some(Told { kind, summary: summary(event, changed) })
}

fn summary(event: &AuditEvent, changed: Option<&Map<String, Value>>) -> String {
    let data = &event.data;
    let text = |key: &str| data[key].as_str().unwrap_or_default();
    let process = || text("process_type").to_owned();
    match event.kind.as_str() {
        "audit.app.create" => format!("created {}", event.target.name),
        "audit.app.start" | "audit.app.restart" => started(&event.kind, data),
        "audit.app.stop" => "stopped".to_owned(),
        "audit.app.update" => fields(changed),
        "audit.app.process.update" | "audit.app.process.scale" => {
            format!("{}: {}", process(), fields(changed))
        }
        "audit.app.process.terminate_instance" => {
            format!("{}/{} is replaced", process(), data["process_index"])
        }
        "audit.app.process.crash" => crash(event),
        "audit.app.revision.create" => revision(data),
        "audit.app.build.staged" => format!("built{}", from_commit(data)),
        "audit.app.build.failed" => format!("build failed: {}", text("error_message")),
        "audit.app.droplet.mapped" => {
            format!("the next start is of another droplet{}", from_commit(data))
        }
        "audit.app.deployment.cost" => cost(data),
        "audit.app.deployment.create" => deployment(data),
        "audit.app.deployment.continue" => "deployment continued".to_owned(),
        "audit.app.deployment.cancel" => "deployment cancelled".to_owned() + &because(data),
        "audit.app.map-route" => format!("mapped {}", text("route")),
        "audit.app.unmap-route" => format!("unmapped {}", text("route")),
        "audit.app.task.create" => {
            format!("task {} begun", data["request"]["name"].as_str().unwrap_or_default())
        }
        "audit.app.task.cancel" => "task cancelled".to_owned(),
        "audit.service_binding.create" => format!("bound to {}", text("service_instance_name")),
        "audit.service_binding.delete" => format!("unbound from {}", text("service_instance_name")),
        "audit.service_binding.update" => {
            format!("labels of the binding to {} changed", text("service_instance_name"))
        }
        kind => other(kind, &event.target.name, changed),
    }
}

/// Of the routes of an app: `audit.route.share` reads `route shop.example.com: share`.
fn other(kind: &str, name: &str, changed: Option<&Map<String, Value>>) -> String {
    let what = kind.trim_start_matches("audit.").replace('_', " ");
    let (noun, verb) = what.rsplit_once('.').unwrap_or((&what, "changed"));
    let fields =
        changed.map_or_else(String::new, |changed| format!(" ({})", fields(Some(changed))));
    format!("{noun} {name}: {verb}{fields}")
}

fn started(kind: &str, data: &Value) -> String {
    let verb = if kind == "audit.app.start" { "started" } else { "restarted" };
    let revision = data["revision_version"].as_u64();
    let revision = revision.map_or_else(String::new, |version| format!(" as revision {version}"));
    format!("{verb}{revision}{}", from_commit(data))
}

fn revision(data: &Value) -> String {
    let description = data["description"].as_str().unwrap_or_default();
    format!("revision {}: {description}{}", data["revision_version"], from_commit(data))
}

fn deployment(data: &Value) -> String {
    let strategy = data["strategy"].as_str().unwrap_or("rolling");
    let what = if data["type"] == "rollback" { "rollback" } else { "deployment" };
    let version = data["revision_version"].as_u64();
    let version = version.map_or_else(String::new, |version| format!(" of revision {version}"));
    format!("{strategy} {what}{version}{}", from_commit(data))
}

/// What a deployment cost the users, as far as it was counted.
fn cost(data: &Value) -> String {
    let stretch = |name: &str| {
        let counted = data[name].as_object()?;
        let p99 = counted.get("p99_ms").and_then(Value::as_f64);
        let p99 = p99.map_or_else(String::new, |ms| format!(", p99 {ms:.0} ms"));
        let count = |key: &str| counted.get(key).and_then(Value::as_u64).unwrap_or_default();
        let (served, failed) = (count("served"), count("failed"));
        Some(format!("{name} it {served} served, {failed} failed{p99}"))
    };
    let told: Vec<String> = ["before", "during", "after"].into_iter().filter_map(stretch).collect();
    if told.is_empty() {
        return "what the deployment cost is not known".to_owned();
    }
    format!("what the deployment cost: {}", told.join("; "))
}

fn crash(event: &AuditEvent) -> String {
    let data = &event.data;
    let count = match data["crash_count"].as_u64() {
        Some(count) if count > 1 => format!(", {count} times in a row"),
        _ => String::new(),
    };
    let cause = data["exit_description"].as_str().unwrap_or("ended");
    format!("{}/{} crashed: {cause}{count}", event.actor.name, data["index"])
}

fn because(data: &Value) -> String {
    data["error"].as_str().map_or_else(String::new, |error| format!(": {error}"))
}

fn from_commit(data: &Value) -> String {
    let Some(id) = data["commit"]["id"].as_str() else { return String::new() };
    let short: String = id.chars().take(12).collect();
    let dirty = if data["commit"]["dirty"] == true { " (dirty)" } else { "" };
    format!(", commit {short}{dirty}")
}

/// `instances 1 to 3, command changed, variables set A, changed B`.
fn fields(changed: Option<&Map<String, Value>>) -> String {
    let told = changed.into_iter().flatten().map(|(name, value)| field(name, value));
    let told: Vec<String> = told.collect();
    if told.is_empty() { "nothing that is told".to_owned() } else { told.join(", ") }
}

fn field(name: &str, value: &Value) -> String {
    if name == "environment" {
        let list = |how: &str| {
            let names = value[how].as_array()?.iter().filter_map(Value::as_str);
            Some(format!("{how} {}", names.collect::<Vec<_>>().join(" ")))
        };
        let lists: Vec<String> =
            ["added", "changed", "removed"].into_iter().filter_map(list).collect();
        return format!("variables {}", lists.join("; "));
    }
    let name = name.replace('_', " ");
    match value {
        Value::String(how) => format!("{name} {how}"),
        pair => format!("{name} {} to {}", plain(&pair["before"]), plain(&pair["after"])),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("+"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
