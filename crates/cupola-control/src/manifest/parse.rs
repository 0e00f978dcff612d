//! Reads a manifest and says what is wrong with it, before anything is changed.

use std::collections::BTreeSet;

use cupola_domain::release_phase::RELEASE;
use serde_json::{Map, Value};

use super::{
    process::{self, ManifestProcess},
    route::ManifestRoute,
    size,
    yaml::{self, to_text},
};
use crate::{
    ControlError,
    apps::{BUILDPACKS_MAX, EnvironmentChange, LifecycleChange, actions::AppFeature, check_names},
    orgs::MetadataChange,
    sidecars::SidecarChange,
};

/// A whole manifest.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub apps: Vec<ManifestApp>,
    /// Keys that mean nothing, told to the user.
    pub warnings: Vec<String>,
}

/// What a manifest says of one app; what it does not say stays as it is.
#[derive(Clone, Debug)]
pub(super) struct ManifestApp {
    pub name: String,
    pub lifecycle: LifecycleChange,
    pub environment: EnvironmentChange,
    pub features: Vec<(AppFeature, bool)>,
    pub metadata: MetadataChange,
    pub routes: Vec<ManifestRoute>,
    pub no_route: bool,
    pub random_route: bool,
    pub default_route: bool,
    pub processes: Vec<ManifestProcess>,
    pub services: Vec<ManifestService>,
    pub sidecars: Vec<SidecarChange>,
}

/// A service instance that an app shall be bound to.
#[derive(Clone, Debug)]
pub(super) struct ManifestService {
    pub name: String,
    pub binding_name: Option<String>,
    /// Something is said to the broker.
    pub has_parameters: bool,
}

/// The keys of an application besides those of a process.
const KEYS: &[&str] = &[
    "buildpack",
    "buildpacks",
    "default-route",
    "docker",
    "env",
    "features",
    "lifecycle",
    "metadata",
    "name",
    "no-route",
    "path",
    "processes",
    "random-route",
    "routes",
    "services",
    "sidecars",
    "stack",
];

/// A manifest is applied in one transaction, during which nobody else writes: these bound it.
const APPLICATIONS_MAX: usize = 100;
const PROCESSES_MAX: usize = 50;
const ROUTES_MAX: usize = 100;
const SERVICES_MAX: usize = 100;

pub(super) fn manifest(text: &str) -> Result<Manifest, ControlError> {
    let mut apps = Vec::new();
    let mut names = BTreeSet::new();
    let mut warnings = Vec::new();
    let applications = yaml::applications(text)?;
    at_most(applications.len(), APPLICATIONS_MAX, "applications")?;
    for (index, map) in applications.iter().enumerate() {
        let name = map.get("name").map(to_text).unwrap_or_default();
        if name.trim().is_empty() {
            let detail = format!("For application at index {index}: Name must not be empty");
            return Err(ControlError::Unprocessable(detail));
        }
        warnings.extend(unknown_keys(&name, map));
        let app = app(name.clone(), map).map_err(|error| super::for_app(&name, error))?;
        if has_web(map) {
            warnings.extend(overridden_keys(&name, map));
        }
        if !names.insert(name.clone()) {
            let detail = format!("For application '{name}': it is in the manifest twice");
            return Err(ControlError::Unprocessable(detail));
        }
        apps.push(app);
    }
    Ok(Manifest { apps, warnings })
}

/// Upstream ignores keys it does not know. So do manifests that carry keys for other tools, which
/// must go on working here; a typing error should not stay unnoticed either.
fn unknown_keys(name: &str, map: &Map<String, Value>) -> Vec<String> {
    let known =
        |key: &&String| KEYS.contains(&key.as_str()) || process::KEYS.contains(&key.as_str());
    let unknown = map.keys().filter(|key| !known(key));
    let warning =
        |key| format!("The key '{key}' of application '{name}' is not known and was ignored.");
    unknown.map(warning).collect()
}

/// As upstream, `web` of the list is the whole of it: keys of the top are not mixed in.
fn overridden_keys(name: &str, map: &Map<String, Value>) -> Vec<String> {
    let overridden = process::KEYS.iter().filter(|key| map.contains_key(**key));
    let warning = |key| {
        format!(
            "The key '{key}' of application '{name}' was ignored, because its list of processes \
             has one of type 'web'."
        )
    };
    overridden.map(warning).collect()
}

/// Whether the list of processes has the one that keys of the top are about.
pub(super) fn has_web(map: &Map<String, Value>) -> bool {
    let processes = map.get("processes").and_then(Value::as_array);
    processes.is_some_and(|all| all.iter().any(|one| one["type"] == "web"))
}

fn app(name: String, map: &Map<String, Value>) -> Result<ManifestApp, ControlError> {
    refuse_what_is_missing(map)?;
    let environment = environment(map)?;
    check_names(environment.keys().map(String::as_str), "Env")?;
    let app = ManifestApp {
        name,
        lifecycle: lifecycle(map)?,
        environment,
        features: features(map)?,
        metadata: metadata(map)?,
        routes: routes(map)?,
        no_route: boolean(map, "no-route", "No-route")?,
        random_route: boolean(map, "random-route", "Random-route")?,
        default_route: boolean(map, "default-route", "Default-route")?,
        processes: processes(map)?,
        services: services(map)?,
        sidecars: sidecars(map)?,
    };
    if app.random_route && app.default_route {
        let detail = "Random-route and default-route may not be used together";
        return Err(ControlError::unprocessable(detail));
    }
    Ok(app)
}

/// What this platform cannot do is refused, not left out silently.
fn refuse_what_is_missing(map: &Map<String, Value>) -> Result<(), ControlError> {
    let is_there = |key: &str| {
        map.get(key).is_some_and(|value| match value {
            Value::Null => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(items) => !items.is_empty(),
            _ => true,
        })
    };
    let missing =
        [("docker", "Docker images cannot be run by this platform yet. Push the source instead.")];
    match missing.iter().find(|(key, _)| is_there(key)) {
        Some((_, detail)) => Err(ControlError::unprocessable(*detail)),
        None => Ok(()),
    }
}

fn lifecycle(map: &Map<String, Value>) -> Result<LifecycleChange, ControlError> {
    let kind = map.get("lifecycle").filter(|value| !value.is_null()).map(to_text);
    if map.contains_key("buildpack") && map.contains_key("buildpacks") {
        let detail = "Buildpack and Buildpacks fields cannot be used together.";
        return Err(ControlError::unprocessable(detail));
    }
    let mut buildpacks = match map.get("buildpacks") {
        None => None,
        Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(items)) => Some(items.iter().map(to_text).collect::<Vec<_>>()),
        Some(_) => {
            return Err(ControlError::unprocessable("Buildpacks must be an array of strings"));
        }
    };
    at_most(buildpacks.as_ref().map_or(0, Vec::len), BUILDPACKS_MAX, "buildpacks")?;
    if let Some(one) = map.get("buildpack") {
        buildpacks = Some(vec![to_text(one)]);
    }
    // These words ask for detection, as in `cf push -b default`.
    let asks_for_detection = |name: &str| matches!(name, "" | "default" | "null");
    if let Some(names) = &mut buildpacks {
        names.retain(|name| !asks_for_detection(name));
    }
    let stack = map.get("stack").map(|stack| Some(to_text(stack)).filter(|name| !name.is_empty()));
    Ok(LifecycleChange { kind, buildpacks, stack })
}

fn environment(map: &Map<String, Value>) -> Result<EnvironmentChange, ControlError> {
    match map.get("env") {
        None | Some(Value::Null) => Ok(EnvironmentChange::new()),
        Some(Value::Object(pairs)) => {
            let pairs = pairs.iter().map(|(name, value)| (name.clone(), Some(to_text(value))));
            Ok(pairs.collect())
        }
        Some(_) => Err(ControlError::unprocessable("Env must be an object of keys and values")),
    }
}

/// Those to be turned off first: they may exclude one that is to be turned on.
fn features(map: &Map<String, Value>) -> Result<Vec<(AppFeature, bool)>, ControlError> {
    let pairs = match map.get("features") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(pairs)) => pairs,
        Some(_) => {
            return Err(ControlError::unprocessable(
                "Features must be a map of valid feature names to booleans",
            ));
        }
    };
    let mut features = Vec::new();
    for (name, value) in pairs {
        let Some(enabled) = value.as_bool() else {
            let detail = format!("Feature '{name}' must be a boolean");
            return Err(ControlError::Unprocessable(detail));
        };
        match AppFeature::ALL.into_iter().find(|feature| feature.name() == name) {
            Some(feature) => features.push((feature, enabled)),
            None if enabled => {
                let known = AppFeature::ALL.map(AppFeature::name).join(", ");
                let detail = format!("Feature '{name}' is not supported. Supported are: {known}");
                return Err(ControlError::Unprocessable(detail));
            }
            None => {}
        }
    }
    features.sort_by_key(|(_, enabled)| *enabled);
    Ok(features)
}

fn services(map: &Map<String, Value>) -> Result<Vec<ManifestService>, ControlError> {
    let invalid = || {
        ControlError::unprocessable(
            "Services must be a list of service instance names, or of objects with a name",
        )
    };
    let items = match map.get("services") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(invalid()),
    };
    at_most(items.len(), SERVICES_MAX, "services")?;
    let is_known = |key: &String| matches!(key.as_str(), "name" | "binding_name" | "parameters");
    let service = |item: &Value| {
        let (name, object) = match item {
            Value::Object(object) if object.keys().all(is_known) => {
                (object.get("name").map(to_text), Some(object))
            }
            Value::Array(_) | Value::Object(_) | Value::Null => return Err(invalid()),
            name => (Some(to_text(name)), None),
        };
        let said = |key: &str| object.and_then(|object| object.get(key)).filter(|v| !v.is_null());
        Ok(ManifestService {
            name: name.filter(|name| !name.is_empty()).ok_or_else(invalid)?,
            binding_name: said("binding_name").map(to_text).filter(|name| !name.is_empty()),
            has_parameters: said("parameters").is_some(),
        })
    };
    items.iter().map(service).collect()
}

fn metadata(map: &Map<String, Value>) -> Result<MetadataChange, ControlError> {
    let object = match map.get("metadata") {
        None | Some(Value::Null) => return Ok(MetadataChange::default()),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(ControlError::unprocessable("Metadata must be an object")),
    };
    let pairs = |key: &str| -> Result<Vec<(String, Option<String>)>, ControlError> {
        match object.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Object(pairs)) => {
                let text = |value: &Value| (!value.is_null()).then(|| to_text(value));
                Ok(pairs.iter().map(|(key, value)| (key.clone(), text(value))).collect())
            }
            Some(_) => {
                let detail = format!("Metadata '{key}' is not an object");
                Err(ControlError::Unprocessable(detail))
            }
        }
    };
    Ok(MetadataChange { labels: pairs("labels")?, annotations: pairs("annotations")? })
}

fn routes(map: &Map<String, Value>) -> Result<Vec<ManifestRoute>, ControlError> {
    let invalid = || ControlError::unprocessable("Routes must be a list of route objects");
    let items = match map.get("routes") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(invalid()),
    };
    at_most(items.len(), ROUTES_MAX, "routes")?;
    let route = |item: &Value| {
        let object = item.as_object().ok_or_else(invalid)?;
        let text = object.get("route").map(to_text).filter(|text| !text.is_empty());
        let text = text.ok_or_else(invalid)?;
        let protocol = object.get("protocol").filter(|value| !value.is_null()).map(to_text);
        if protocol.as_deref().is_some_and(|name| !matches!(name, "http1" | "http2" | "tcp")) {
            let detail = "Route protocol must be 'http1', 'http2' or 'tcp'.";
            return Err(ControlError::unprocessable(detail));
        }
        let options = match object.get("options") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(options)) => options.clone(),
            Some(_) => {
                let detail = format!("Route '{text}': options must be an object");
                return Err(ControlError::Unprocessable(detail));
            }
        };
        ManifestRoute::parse(&text, protocol, options)
    };
    items.iter().map(route).collect()
}

/// The processes of the list, and the `web` process of the top unless the list has it.
fn processes(map: &Map<String, Value>) -> Result<Vec<ManifestProcess>, ControlError> {
    let mut processes: Vec<ManifestProcess> = Vec::new();
    let items = match map.get("processes") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(items)) => items,
        Some(_) => {
            let detail = "Processes must be an array of process configurations";
            return Err(ControlError::unprocessable(detail));
        }
    };
    at_most(items.len(), PROCESSES_MAX, "processes")?;
    for item in items {
        let kind = item.get("type").map(to_text).filter(|kind| !kind.is_empty());
        let (Some(kind), Some(object)) = (kind, item.as_object()) else {
            return Err(ControlError::unprocessable("All Processes must specify a type"));
        };
        check_kind(&kind)?;
        if processes.iter().any(|other| other.kind == kind) {
            let detail = format!("Process \"{kind}\" may only be present once");
            return Err(ControlError::Unprocessable(detail));
        }
        processes.push(ManifestProcess::read(&kind, object)?);
    }
    let says_something = process::KEYS.iter().any(|key| map.contains_key(*key));
    if says_something && !processes.iter().any(|process| process.kind == "web") {
        processes.insert(0, ManifestProcess::read("web", map)?);
    }
    Ok(processes)
}

fn at_most(count: usize, max: usize, what: &str) -> Result<(), ControlError> {
    if count <= max {
        return Ok(());
    }
    let detail = format!("There are {count} {what}, and at most {max} are allowed here");
    Err(ControlError::Unprocessable(detail))
}

fn boolean(map: &Map<String, Value>, key: &str, what: &str) -> Result<bool, ControlError> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(ControlError::Unprocessable(format!("{what} must be a boolean"))),
    }
}

/// The type of a process is part of names and addresses.
/// Each as it would be made; what is missing is said when it is.
fn sidecars(map: &Map<String, Value>) -> Result<Vec<SidecarChange>, ControlError> {
    let items = match map.get("sidecars") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(ControlError::unprocessable("Sidecars must be an array")),
    };
    at_most(items.len(), PROCESSES_MAX, "sidecars")?;
    let text = |item: &Value, key: &str| Some(item.get(key).map(to_text).unwrap_or_default());
    let sidecar = |item: &Value| {
        let kinds = item.get("process_types").and_then(Value::as_array);
        let kinds = kinds.map(|kinds| kinds.iter().map(to_text).collect());
        let memory = item.get("memory").filter(|memory| !memory.is_null());
        let memory = memory.map(|memory| size::bytes(&to_text(memory), "Memory")).transpose()?;
        Ok(SidecarChange {
            name: text(item, "name"),
            command: text(item, "command"),
            process_types: Some(kinds.unwrap_or_default()),
            memory_mib: memory.map(|bytes| Some(bytes >> 20)),
        })
    };
    items.iter().map(sidecar).collect()
}

fn check_kind(kind: &str) -> Result<(), ControlError> {
    if kind == RELEASE {
        let detail = "Process type \"release\" is the release phase: its command comes from the \
                      Procfile and runs as a task. Remove it from the manifest.";
        return Err(ControlError::unprocessable(detail));
    }
    let fits = kind.len() <= 63
        && kind.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if fits {
        return Ok(());
    }
    let detail =
        format!("Process type \"{kind}\" must have at most 63 letters, digits, '-', '_' and '.'");
    Err(ControlError::Unprocessable(detail))
}
