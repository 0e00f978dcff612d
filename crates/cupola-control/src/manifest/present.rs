//! An app as the manifest that would make it.

use std::collections::BTreeMap;

use cupola_domain::{
    apps::App,
    domains::Domain,
    ids::SpaceId,
    processes::{Check, HealthCheck, Process},
    routes::{Destination, Route},
    services::ServiceInstance,
    sidecars::SidecarSpec,
};
use cupola_ports::store::{self, Query, ReadTx};
use serde_yaml_ng::{Mapping, Value};

use super::size;
use crate::{
    ControlError, apps::actions::AppFeature, launch_spec::route_address, services::bindings,
    sidecars::specs,
};

/// The app of this name in a space, with its keys as the diff compares them.
pub(super) async fn by_name(
    tx: &mut (impl ReadTx + ?Sized),
    space: SpaceId,
    name: &str,
) -> Result<Option<Mapping>, ControlError> {
    let query =
        Query::by("space_id", space.to_string()).and_by("name_lower", name.to_lowercase().as_str());
    match store::first::<App>(tx, &query).await? {
        Some(app) => of_app(tx, &app).await.map(Some),
        None => Ok(None),
    }
}

pub(super) async fn of_app(
    tx: &mut (impl ReadTx + ?Sized),
    app: &App,
) -> Result<Mapping, ControlError> {
    let mut map = Mapping::new();
    put(&mut map, "name", app.name.as_str());
    put(&mut map, "lifecycle", "buildpack");
    if !app.lifecycle.buildpacks.is_empty() {
        let names = app.lifecycle.buildpacks.iter().map(|name| Value::from(name.as_str()));
        put(&mut map, "buildpacks", names.collect::<Vec<_>>());
    }
    put(&mut map, "stack", app.lifecycle.stack.as_str());
    if !app.environment.is_empty() {
        put(&mut map, "env", texts(&app.environment));
    }
    let mut features = Mapping::new();
    for feature in AppFeature::ALL {
        put(&mut features, feature.name(), feature.is_enabled(app));
    }
    put(&mut map, "features", features);
    let routes = routes(tx, app).await?;
    if !routes.is_empty() {
        put(&mut map, "routes", routes);
    }
    let services = services(tx, app).await?;
    if !services.is_empty() {
        put(&mut map, "services", services);
    }
    let mut metadata = Mapping::new();
    if !app.metadata.labels.is_empty() {
        put(&mut metadata, "labels", texts(&app.metadata.labels));
    }
    if !app.metadata.annotations.is_empty() {
        put(&mut metadata, "annotations", texts(&app.metadata.annotations));
    }
    if !metadata.is_empty() {
        put(&mut map, "metadata", metadata);
    }
    let sidecars: Vec<Value> = specs(tx, app.id).await?.iter().map(sidecar).collect();
    if !sidecars.is_empty() {
        put(&mut map, "sidecars", sidecars);
    }
    put(&mut map, "processes", processes(tx, app).await?);
    Ok(map)
}

async fn routes(tx: &mut (impl ReadTx + ?Sized), app: &App) -> Result<Vec<Value>, ControlError> {
    let query = Query::by("app_id", app.id.to_string());
    let mut routes = Vec::new();
    for destination in store::list::<Destination>(tx, &query).await?.items {
        let Some(route) = store::get::<Route>(tx, destination.route_id).await? else { continue };
        let Some(domain) = store::get::<Domain>(tx, route.domain_id).await? else { continue };
        let mut map = Mapping::new();
        put(&mut map, "route", route_address(&route, &domain));
        put(&mut map, "protocol", destination.protocol);
        if !route.options.is_empty() {
            let options = serde_yaml_ng::to_value(&route.options).unwrap_or(Value::Null);
            put(&mut map, "options", options);
        }
        routes.push(Value::Mapping(map));
    }
    Ok(routes)
}

/// By name: only that, or with the name of the binding where it has one.
async fn services(tx: &mut (impl ReadTx + ?Sized), app: &App) -> Result<Vec<Value>, ControlError> {
    let mut services = BTreeMap::new();
    for binding in bindings::of_app(tx, app.id).await? {
        let instance = store::get::<ServiceInstance>(tx, binding.service_instance_id).await?;
        let Some(instance) = instance else { continue };
        let service = match &binding.name {
            None => Value::from(instance.name.as_str()),
            Some(name) => {
                let mut map = Mapping::new();
                put(&mut map, "name", instance.name.as_str());
                put(&mut map, "binding_name", name.as_str());
                Value::Mapping(map)
            }
        };
        services.insert(instance.name.to_lowercase(), service);
    }
    Ok(services.into_values().collect())
}

/// `web` first, the others by type.
async fn processes(tx: &mut (impl ReadTx + ?Sized), app: &App) -> Result<Vec<Value>, ControlError> {
    let query = Query::by("app_id", app.id.to_string());
    let mut processes = store::list::<Process>(tx, &query).await?.items;
    processes.sort_by_key(|process| (process.kind != "web", process.kind.clone()));
    Ok(processes.iter().map(|one| Value::Mapping(process(one))).collect())
}

fn sidecar(sidecar: &SidecarSpec) -> Value {
    let mut map = Mapping::new();
    put(&mut map, "name", sidecar.name.as_str());
    put(&mut map, "process_types", sidecar.process_types.clone());
    put(&mut map, "command", sidecar.command.as_str());
    if let Some(memory_mib) = sidecar.memory_mib {
        put(&mut map, "memory", format!("{memory_mib}M"));
    }
    Value::Mapping(map)
}

fn process(process: &Process) -> Mapping {
    let mut map = Mapping::new();
    put(&mut map, "type", process.kind.as_str());
    put(&mut map, "instances", process.instances);
    put(&mut map, "memory", format!("{}M", process.limits.memory_mib));
    put(&mut map, "disk_quota", format!("{}M", process.limits.disk_mib));
    let rate = size::text(process.limits.log_rate_bytes_per_s);
    put(&mut map, "log-rate-limit-per-second", rate);
    if let Some(command) = &process.command {
        put(&mut map, "command", command.as_str());
    }
    check(&mut map, "health-check", &process.health_check);
    if let Some(timeout) = process.health_check.start_timeout_s {
        put(&mut map, "timeout", timeout);
    }
    check(&mut map, "readiness-health-check", &process.readiness_check);
    map
}

fn check(map: &mut Mapping, prefix: &str, check: &HealthCheck) {
    let kind = match &check.check {
        Check::Port => "port",
        Check::Http { .. } => "http",
        Check::Process => "process",
    };
    put(map, &format!("{prefix}-type"), kind);
    if let Check::Http { endpoint } = &check.check {
        put(map, &format!("{prefix}-http-endpoint"), endpoint.as_str());
    }
    if let Some(seconds) = check.invocation_timeout_s {
        put(map, &format!("{prefix}-invocation-timeout"), seconds);
    }
    if let Some(seconds) = check.interval_s {
        put(map, &format!("{prefix}-interval"), seconds);
    }
}

fn texts(pairs: &std::collections::BTreeMap<String, String>) -> Mapping {
    pairs.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

fn put(map: &mut Mapping, key: &str, value: impl Into<Value>) {
    map.insert(key.into(), value.into());
}
