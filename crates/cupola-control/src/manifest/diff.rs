//! What applying a manifest would change, in the form that the `cf` CLI shows.
//!
//! Paths are those of the manifest that was sent, because the CLI walks it and looks its paths up.
//! Only what applying really changes is told: a variable, label or route that the manifest does not
//! name stays, so that it is no difference.

use serde_json::{Map, Value};
use serde_yaml_ng::Mapping;

use super::{parse::has_web, process, size, yaml::to_json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Add,
    Replace,
    Remove,
}

impl Operation {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Remove => "remove",
        }
    }
}

/// One thing that would change.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub operation: Operation,
    pub path: String,
    pub was: Option<Value>,
    pub value: Option<Value>,
}

/// The keys of an application that are compared, besides those of a process.
const COMPARED: &[&str] = &[
    "buildpack",
    "buildpacks",
    "default-route",
    "env",
    "features",
    "lifecycle",
    "metadata",
    "name",
    "no-route",
    "processes",
    "random-route",
    "routes",
    "services",
    "sidecars",
    "stack",
];

/// The differences of one application from the app as it is; none if there is no such app yet.
pub(super) fn of_app(
    index: usize,
    mut wanted: Map<String, Value>,
    present: Option<&Mapping>,
) -> Vec<Difference> {
    let present = present.map(|map| comparable(map.clone()));
    let has_routes = present.as_ref().map(|app| app.contains_key("routes"));
    let present = present.unwrap_or_default();
    normalize(&mut wanted);
    let mut differences = Vec::new();
    let has_web = has_web(&wanted);
    for (key, value) in &wanted {
        let key = key.as_str();
        let is_of_web = process::KEYS.contains(&key) && !has_web;
        if !COMPARED.contains(&key) && !is_of_web {
            continue;
        }
        if is_met_already(key, value, has_routes) {
            continue;
        }
        let path = format!("/applications/{index}/{key}");
        // What is empty and asks for nothing changes nothing.
        let was = present.get(key).filter(|was| !was.is_null());
        if key == "services" {
            compare_services(&mut differences, path, was, value);
            continue;
        }
        compare(&mut differences, path, was, value, removes_what_is_missing(key));
    }
    differences
}

/// Wishes for a route of any name change nothing in an app that has routes, and the wish for none
/// changes nothing in one without. Nothing is known of an app that is not there yet.
fn is_met_already(key: &str, wanted: &Value, has_routes: Option<bool>) -> bool {
    match (key, wanted) {
        ("default-route" | "random-route" | "no-route", Value::Bool(false)) => true,
        ("default-route" | "random-route", _) => has_routes == Some(true),
        ("no-route", _) => has_routes == Some(false),
        _ => false,
    }
}

/// The app's own keys, with those of its web process among them, as a manifest may write them.
fn comparable(present: Mapping) -> Map<String, Value> {
    let Value::Object(mut present) = to_json(serde_yaml_ng::Value::Mapping(present)) else {
        return Map::new();
    };
    let processes = present.get("processes").and_then(Value::as_array);
    let web = processes.and_then(|all| all.iter().find(|one| one["type"] == "web"));
    if let Some(web) = web.and_then(Value::as_object).cloned() {
        for (key, value) in web {
            if key != "type" {
                present.entry(key).or_insert(value);
            }
        }
    }
    if let Some(disk) = present.get("disk_quota").cloned() {
        present.insert("disk-quota".to_owned(), disk);
    }
    if let Some(Value::Array(names)) = present.get("buildpacks")
        && let [one] = names.as_slice()
    {
        let one = one.clone();
        present.insert("buildpack".to_owned(), one);
    }
    present
}

/// Lists of names are replaced by applying; everything else is only added to.
fn removes_what_is_missing(key: &str) -> bool {
    key == "buildpacks"
}

fn compare(
    differences: &mut Vec<Difference>,
    path: String,
    was: Option<&Value>,
    wanted: &Value,
    removes: bool,
) {
    match (was, wanted) {
        (Some(was), wanted) if was == wanted => {}
        (Some(Value::Object(was)), Value::Object(wanted)) => {
            for (key, value) in wanted {
                compare(differences, format!("{path}/{key}"), was.get(key), value, removes);
            }
        }
        (Some(Value::Array(was)), Value::Array(wanted)) => {
            compare_lists(differences, &path, was, wanted, removes);
        }
        (None, Value::Null) => {}
        (None, wanted) => {
            let value = Some(wanted.clone());
            differences.push(Difference { operation: Operation::Add, path, was: None, value });
        }
        (Some(was), wanted) => {
            let (was, value) = (Some(was.clone()), Some(wanted.clone()));
            differences.push(Difference { operation: Operation::Replace, path, was, value });
        }
    }
}

/// Elements are the same when they have the same identity, wherever they are.
fn compare_lists(
    differences: &mut Vec<Difference>,
    path: &str,
    was: &[Value],
    wanted: &[Value],
    removes: bool,
) {
    for (index, value) in wanted.iter().enumerate() {
        let same = was.iter().find(|old| identity(old) == identity(value));
        compare(differences, format!("{path}/{index}"), same, value, removes);
    }
    let gone = was
        .iter()
        .enumerate()
        .filter(|(_, old)| removes && !wanted.iter().any(|value| identity(value) == identity(old)));
    for (index, old) in gone {
        let (operation, was) = (Operation::Remove, Some(old.clone()));
        differences.push(Difference {
            operation,
            path: format!("{path}/{index}"),
            was,
            value: None,
        });
    }
}

/// An app that is bound already is not bound again, under whatever name; none is unbound.
fn compare_services(
    differences: &mut Vec<Difference>,
    path: String,
    was: Option<&Value>,
    wanted: &Value,
) {
    let Value::Array(items) = wanted else { return };
    let bound = was.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if bound.is_empty() {
        if !items.is_empty() {
            compare(differences, path, None, wanted, false);
        }
        return;
    }
    let is_bound = |item: &Value| bound.iter().any(|one| identity(one) == identity(item));
    for (index, item) in items.iter().enumerate().filter(|(_, item)| !is_bound(item)) {
        compare(differences, format!("{path}/{index}"), None, item, false);
    }
}

fn identity(value: &Value) -> &Value {
    ["type", "route", "name"].iter().find_map(|key| value.get(key)).unwrap_or(value)
}

/// Writes sizes, old names and variables as a stored app has them, so that `1G` is `1024M`.
fn normalize(map: &mut Map<String, Value>) {
    for (key, value) in map.iter_mut() {
        match (key.as_str(), &mut *value) {
            ("memory" | "disk_quota" | "disk-quota", value) => {
                if let Ok(bytes) = size::bytes(&text(value), key) {
                    *value = format!("{}M", bytes >> 20).into();
                }
            }
            ("log-rate-limit-per-second", value) => {
                let written = text(value);
                let bytes = size::bytes(&written, key).map(size::text);
                *value = bytes.unwrap_or(written).into();
            }
            ("health-check-type" | "readiness-health-check-type", value) if *value == "none" => {
                *value = "process".into();
            }
            ("env", Value::Object(variables)) => {
                for value in variables.values_mut() {
                    *value = text(value).into();
                }
            }
            ("processes" | "sidecars", Value::Array(processes)) => {
                for process in processes.iter_mut().filter_map(Value::as_object_mut) {
                    normalize(process);
                }
            }
            _ => {}
        }
    }
}

fn text(value: &Value) -> String {
    super::yaml::to_text(value)
}
