//! What an instance and a build are started with: command, environment, limits.
//!
//! Invariant: what is made of the rows is pure, so that the same rows always yield the same
//! instance; the two `read_` functions only fetch them.

use std::collections::BTreeMap;

use cupola_domain::{
    apps::App,
    buildpacks::Buildpack,
    builds::Build,
    domains::Domain,
    droplets::Droplet,
    generations::Generation,
    ids::{AppId, ProcessId},
    instances::{Instance, InstanceState},
    launch::{self, launch_argv, launch_environment},
    orgs::{Metadata, Org},
    packages::{Package, PackageState},
    processes::{APP_PORT, Check, HealthCheck, Process},
    routes::{Destination, Route},
    services::Materialized,
    sidecars::{SidecarSpec, of_process},
    spaces::Space,
    tasks::Task,
};
use cupola_ports::{
    cells::{DesiredInstance, DesiredSidecar, Work},
    stager::StagingRequest,
    store::{self, Condition, Direction, Query, ReadTx},
};
use serde_json::{Value, json};

use crate::{Control, ControlError, Settings, control::ids, services::SnapshotOf};

/// Descriptors that one instance may have open, as apps are told.
const DESCRIPTORS_MAX: u32 = 16_384;

/// An app with what its environment tells about where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppPlace<'a> {
    pub app: &'a App,
    pub space: &'a Space,
    pub org: &'a Org,
    /// Host, domain and path of each of its routes: see `route_address`.
    pub addresses: &'a [String],
    /// What it is told of the services that it is bound to.
    pub services: &'a Materialized,
}

/// The start command of a process: the user's own, or the one that the droplet names.
pub(crate) fn command<'a>(process: &'a Process, droplet: &'a Droplet) -> Option<&'a str> {
    let own = process.command.as_deref().filter(|command| !command.is_empty());
    own.or_else(|| droplet.contents.process_types.get(&process.kind).map(String::as_str))
}

/// One instance as the cell has to start it. None: neither user nor droplet say with which command.
pub(crate) fn desired_instance(
    place: AppPlace<'_>,
    process: &Process,
    droplet: &Droplet,
    instance: &Instance,
    settings: &Settings,
) -> Option<DesiredInstance> {
    let command = command(process, droplet)?;
    Some(DesiredInstance {
        sidecars: Vec::new(),
        id: instance.id,
        app_id: process.app_id,
        process_id: process.id,
        process_type: process.kind.clone(),
        work: Work::Process,
        index: instance.index,
        layers: droplet.contents.layers.clone(),
        stack: droplet.contents.stack.clone(),
        argv: launch_argv(command),
        environment: instance_environment(place, process, instance, settings),
        working_directory: launch::APP_DIR.to_owned(),
        limits: process.limits,
        port: APP_PORT,
        health_check: process.health_check.clone(),
        readiness_check: process.readiness_check.clone(),
        files: place.services.files.clone(),
    })
}

/// What runs beside the instances of a process, started as the app is.
fn desired_sidecars(all: &[SidecarSpec], kind: &str) -> Vec<DesiredSidecar> {
    let desired = |one: &SidecarSpec| DesiredSidecar {
        name: one.name.clone(),
        argv: launch_argv(&one.command),
    };
    of_process(all, kind).map(desired).collect()
}

/// The environment of a running instance, later ones winning: the host's proxies and certificates,
/// the launch defaults that an app may choose otherwise, the app's own variables, and what the
/// platform says.
fn instance_environment(
    place: AppPlace<'_>,
    process: &Process,
    instance: &Instance,
    settings: &Settings,
) -> Vec<(String, String)> {
    let mut environment = settings.host_environment.clone();
    let (choices, fixed): (Vec<_>, Vec<_>) =
        launch_environment().into_iter().partition(|(name, _)| is_users_choice(name));
    environment.extend(choices);
    environment.extend(place.app.environment.clone());
    environment.extend(fixed);

    let mut about =
        vcap_application(place, process.limits.memory_mib, process.limits.disk_mib, settings);
    let extra = json!({
        "process_id": process.id.to_string(),
        "process_type": process.kind,
        "instance_id": instance.id.to_string(),
        "instance_index": instance.index,
        "host": "0.0.0.0",
        "port": APP_PORT,
    });
    merge(&mut about, extra);
    let platform = [
        ("CF_INSTANCE_GUID", instance.id.to_string()),
        ("CF_INSTANCE_INDEX", instance.index.to_string()),
        ("INSTANCE_GUID", instance.id.to_string()),
        ("INSTANCE_INDEX", instance.index.to_string()),
        ("MEMORY_LIMIT", format!("{}m", process.limits.memory_mib)),
        ("PORT", APP_PORT.to_string()),
        ("VCAP_APPLICATION", about.to_string()),
        ("VCAP_APP_HOST", "0.0.0.0".to_owned()),
        ("VCAP_APP_PORT", APP_PORT.to_string()),
    ];
    environment.extend(platform.map(|(name, value)| (name.to_owned(), value)));
    environment.extend(place.services.variables.clone());
    environment.into_iter().collect()
}

/// What a build sees: the app's own variables, and what the platform says of the app.
pub(crate) fn staging_environment(
    place: AppPlace<'_>,
    stack: &str,
    memory_mib: u32,
    disk_mib: u32,
    settings: &Settings,
) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::from([("LANG".to_owned(), "en_US.UTF-8".to_owned())]);
    environment.extend(place.app.environment.clone());
    let about = vcap_application(place, memory_mib, disk_mib, settings);
    let platform = [
        ("CF_STACK", stack.to_owned()),
        ("MEMORY_LIMIT", format!("{memory_mib}m")),
        ("VCAP_APPLICATION", about.to_string()),
    ];
    environment.extend(platform.map(|(name, value)| (name.to_owned(), value)));
    environment.extend(place.services.variables.clone());
    // Last: a version that is pinned is the one that the build takes.
    let pinned = place.app.pulled.pinned_runtime.as_ref();
    environment.extend(pinned.map(|runtime| (runtime.pin.clone(), runtime.version.clone())));
    environment
}

/// The value of `VCAP_APPLICATION` that is the same for every instance
/// (upstream: lib/vcap/vars_builder.rb).
pub(crate) fn vcap_application(
    place: AppPlace<'_>,
    memory_mib: u32,
    disk_mib: u32,
    settings: &Settings,
) -> Value {
    let AppPlace { app, space, org, addresses, .. } = place;
    let version = app.generation.to_string();
    json!({
        "cf_api": settings.external_url,
        "limits": { "fds": DESCRIPTORS_MAX, "mem": memory_mib, "disk": disk_mib },
        "application_id": app.id.to_string(),
        "application_name": app.name,
        "application_uris": addresses,
        "application_version": version,
        "name": app.name,
        "uris": addresses,
        "version": version,
        "space_id": space.id.to_string(),
        "space_name": space.name,
        "organization_id": org.id.to_string(),
        "organization_name": org.name,
        "users": null,
    })
}

/// The address of a route without a scheme, as `urls` and the `uris` of an app have it.
pub(crate) fn route_address(route: &Route, domain: &Domain) -> String {
    if route.host.is_empty() {
        format!("{}{}", domain.name, route.path)
    } else {
        format!("{}.{}{}", route.host, domain.name, route.path)
    }
}

/// Reads what one instance needs to be started. None: its process, droplet or command is gone, or
/// its services cannot be read.
pub(crate) async fn read_desired_instance(
    control: &Control,
    instance: &Instance,
) -> Result<Option<DesiredInstance>, ControlError> {
    let mut tx = control.read().await?;
    let Some(mut process) = store::get::<Process>(&mut *tx, instance.process_id).await? else {
        return Ok(None);
    };
    let Some(mut rows) = PlaceRows::read(&mut *tx, process.app_id).await? else { return Ok(None) };
    let mut sealed = None;
    let mut sidecars = Vec::new();
    // None: the instance was started before generations were written down.
    if let Some(generation) = store::get::<Generation>(&mut *tx, instance.generation).await? {
        sidecars = desired_sidecars(&generation.release.sidecars, &process.kind);
        generation.release.restore(&mut rows.app, &mut process);
        rows.app.generation = generation.id;
        sealed = generation.services;
    }
    let of = SnapshotOf::Generation(instance.generation);
    let services = control.services_of_snapshot(rows.app.id, sealed.as_ref(), of);
    let Some(services) = services else { return Ok(None) };
    rows.services = services;
    let Some(droplet_id) = rows.app.current_droplet else { return Ok(None) };
    let Some(droplet) = store::get::<Droplet>(&mut *tx, droplet_id).await? else {
        return Ok(None);
    };
    let desired = desired_instance(rows.place(), &process, &droplet, instance, control.settings());
    Ok(desired.map(|desired| DesiredInstance { sidecars, ..desired }))
}

/// Reads what a task needs to be run. None: its app or its droplet is gone, or its services cannot
/// be read.
pub(crate) async fn read_desired_task(
    control: &Control,
    task: &Task,
) -> Result<Option<DesiredInstance>, ControlError> {
    let mut tx = control.read().await?;
    let Some(mut rows) = PlaceRows::read(&mut *tx, task.app_id).await? else { return Ok(None) };
    let Some(droplet) = store::get::<Droplet>(&mut *tx, task.droplet).await? else {
        return Ok(None);
    };
    rows.app.environment.clone_from(&task.environment);
    let (sealed, of) = (task.services.as_ref(), SnapshotOf::Task(task.id));
    let Some(services) = control.services_of_snapshot(task.app_id, sealed, of) else {
        return Ok(None);
    };
    rows.services = services;
    let id = task.instance();
    let process = Process {
        id: ProcessId::from_uuid(id.uuid()),
        app_id: task.app_id,
        kind: task.name.clone(),
        command: Some(task.command.clone()),
        instances: 1,
        limits: task.limits,
        health_check: HealthCheck::with_defaults(Check::Process),
        readiness_check: HealthCheck::with_defaults(Check::Process),
        generation: rows.app.generation,
        metadata: Metadata::default(),
        created_at: task.created_at,
        updated_at: task.updated_at,
    };
    let instance = Instance {
        id,
        app_id: task.app_id,
        process_id: process.id,
        index: 0,
        generation: rows.app.generation,
        state: InstanceState::Starting,
        was_ready: false,
        crash_count: 0,
        restart_at: None,
        detail: None,
        created_at: task.created_at,
        updated_at: task.updated_at,
    };
    let desired = desired_instance(rows.place(), &process, &droplet, &instance, control.settings());
    Ok(desired.map(|desired| DesiredInstance { work: Work::Task, ..desired }))
}

/// Reads what one build needs to be run. None: its app is gone, or its package is not there.
pub(crate) async fn read_staging_request(
    control: &Control,
    build: &Build,
) -> Result<Option<StagingRequest>, ControlError> {
    let mut tx = control.read().await?;
    let Some(mut rows) = PlaceRows::read(&mut *tx, build.app_id).await? else { return Ok(None) };
    let services = control.bound_services(&mut *tx, &rows.app).await?.materialize();
    rows.services = services.map_err(|error| ControlError::Unprocessable(error.to_string()))?;
    let package = store::get::<Package>(&mut *tx, build.package_id).await?;
    let Some(PackageState::Ready { layer }) = package.map(|package| package.state) else {
        return Ok(None);
    };
    let order = Query::all().ordered("position", Direction::Ascending);
    let buildpacks = store::list::<Buildpack>(&mut *tx, &order).await?.items;
    let settings = control.settings();
    let Build { memory_mib, disk_mib, .. } = *build;
    let stack = &build.lifecycle.stack;
    Ok(Some(StagingRequest {
        build_id: build.id,
        app_id: build.app_id,
        package: layer,
        stack: stack.clone(),
        buildpacks: build.lifecycle.buildpacks.clone(),
        detect_order: buildpacks.into_iter().filter(|b| b.enabled).map(|b| b.name).collect(),
        environment: staging_environment(rows.place(), stack, memory_mib, disk_mib, settings),
        files: rows.services.files.clone(),
        memory_mib,
        disk_mib,
        time_max: settings.staging.time_max,
        log: control.ports.logs.clone(),
    }))
}

/// An app with its space, organisation and addresses, as read.
pub(crate) struct PlaceRows {
    pub(crate) app: App,
    space: Space,
    org: Org,
    addresses: Vec<String>,
    services: Materialized,
}

impl PlaceRows {
    pub(crate) async fn read(
        tx: &mut (impl ReadTx + ?Sized),
        app: AppId,
    ) -> Result<Option<Self>, ControlError> {
        let Some(app) = store::get::<App>(tx, app).await? else { return Ok(None) };
        let Some(space) = store::get::<Space>(tx, app.space_id).await? else { return Ok(None) };
        let Some(org) = store::get::<Org>(tx, space.org_id).await? else { return Ok(None) };
        let addresses = addresses(tx, app.id).await?;
        let services = Materialized::default();
        Ok(Some(Self { app, space, org, addresses, services }))
    }

    pub(crate) fn place(&self) -> AppPlace<'_> {
        let Self { app, space, org, addresses, services } = self;
        AppPlace { app, space, org, addresses, services }
    }
}

/// The addresses of every route that leads to the app, oldest route first.
async fn addresses(
    tx: &mut (impl ReadTx + ?Sized),
    app: AppId,
) -> Result<Vec<String>, ControlError> {
    let by_app = Query::by("app_id", app.to_string());
    let destinations = store::list::<Destination>(tx, &by_app).await?.items;
    let mut route_ids: Vec<_> = destinations.iter().map(|one| one.route_id).collect();
    route_ids.sort_unstable();
    route_ids.dedup();
    let of_app = Query::all().and(Condition::In("id", ids(&route_ids)));
    let routes = store::list::<Route>(tx, &of_app).await?.items;
    let mut addresses = Vec::with_capacity(routes.len());
    for route in routes {
        if let Some(domain) = store::get::<Domain>(tx, route.domain_id).await? {
            addresses.push(route_address(&route, &domain));
        }
    }
    Ok(addresses)
}

/// A locale and further folders for programs are the app's own business.
fn is_users_choice(name: &str) -> bool {
    matches!(name, "LANG" | "PATH")
}

fn merge(target: &mut Value, extra: Value) {
    if let (Value::Object(target), Value::Object(extra)) = (target, extra) {
        target.extend(extra);
    }
}

#[cfg(test)]
mod tests;
