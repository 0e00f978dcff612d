//! Going back to an earlier revision with what surrounded it: scale, checks, routes and bindings.
//!
//! The plan is made when somebody asks, and told. Limits, checks and bindings are set when the
//! deployment begins, because the new instances are started with them, and set back if it is
//! cancelled or something newer takes its place. Scale and routes follow when the new instances
//! serve, so that a route that comes back never leads to the version that is left.

use std::collections::BTreeSet;

use cupola_domain::{
    apps::App,
    deployments::{Deployment, DeploymentState, Restores, Strategy, WebOptions},
    domains::Domain,
    droplets::Droplet,
    generations::{Generation, Release},
    ids::{AppId, RevisionId, UserId},
    orgs::Metadata,
    processes::{Process, WEB},
    restoring::{
        self, Address, BindingSetting, Bounds, Lost, ProcessSetting, Restoration, RouteSetting,
        RouteStep, Surroundings,
    },
    revisions::{Revision, commands},
    routes::{Destination, Route},
    services::{BindingStrategy, ServiceBinding, ServiceInstance},
    sidecars::SidecarSpec,
    time::Timestamp,
};
use cupola_ports::store::{self, Query, ReadTx, WriteTx};
use serde_json::json;

use crate::{
    Control, ControlError,
    apps::PlacedApp,
    caller::Caller,
    deployments::{self, NewDeployment, Target},
    domains::usable_by,
    processes::{INSTANCES_MAX, Scale},
    routes::{FoundRoute, NewDestination, NewRoute},
    services::bindings::{self, NewBinding},
    sidecars::specs,
};

/// A manifest that was applied within this time before a new droplet is started belongs to the same
/// push. A build takes less unless an operator allows more, or it waits long for others: then the
/// revision that is left is kept with what the new manifest has set.
const PUSH_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(60 * 60);

/// What going back to a revision would do.
#[derive(Clone, Debug)]
pub struct RestorePreview {
    pub app: App,
    pub revision: u32,
    /// The revision that runs now.
    pub present: Option<u32>,
    /// Another droplet.
    pub code: bool,
    /// Names of variables that get another value, come or go.
    pub environment: Vec<String>,
    /// Process types that get another command.
    pub commands: Vec<String>,
    /// Names of sidecars that change, come or go.
    pub sidecars: Vec<String>,
    pub restoration: Restoration,
    /// Why it cannot be done at all.
    pub refusal: Option<String>,
}

impl RestorePreview {
    fn changes_nothing(&self) -> bool {
        let same_release = !self.code
            && self.environment.is_empty()
            && self.commands.is_empty()
            && self.sidecars.is_empty();
        same_release && self.restoration.is_empty()
    }
}

/// How a client wants a revision restored.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    pub strategy: Strategy,
    pub max_in_flight: u32,
    /// Go on although something cannot be as it was.
    pub partial: bool,
}

impl Control {
    /// What `restore_revision` would do, for those who may ask for it.
    pub async fn preview_restore(
        &self,
        caller: &Caller,
        id: RevisionId,
    ) -> Result<RestorePreview, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, revision) = self.readable_revision(&mut *tx, &access, id).await?;
        placed.may_support(&access)?;
        self.preview(&mut *tx, caller, &placed, &revision).await
    }

    /// Begins a deployment of a revision that also restores what surrounded it.
    pub async fn restore_revision(
        &self,
        caller: &Caller,
        id: RevisionId,
        request: RestoreRequest,
    ) -> Result<Deployment, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, revision) = self.readable_revision(&mut *tx, &access, id).await?;
        placed.may_support(&access)?;
        self.require_flag_or_admin(&mut *tx, caller, "app_scaling").await?;
        let preview = self.preview(&mut *tx, caller, &placed, &revision).await?;
        if let Some(refusal) = preview.refusal {
            return Err(ControlError::Unprocessable(refusal));
        }
        if preview.changes_nothing() {
            let detail = format!(
                "Everything is as it was with revision {}: there is nothing to restore.",
                revision.version
            );
            return Err(ControlError::Unprocessable(detail));
        }
        let restoration = preview.restoration;
        if !restoration.lost.is_empty() && !request.partial {
            return Err(not_whole(&revision, &restoration.lost));
        }
        if !restoration.routes_added.is_empty() {
            self.require_flag_or_admin(&mut *tx, caller, "route_creation").await?;
        }
        let new = NewDeployment {
            app: placed.app.id,
            target: Target::Revision(id),
            max_in_flight: request.max_in_flight,
            web: WebOptions { instances: restoration.instances(WEB), ..WebOptions::default() },
            strategy: request.strategy,
            metadata: Metadata::default(),
            request: json!({ "restores": about(&restoration) }),
        };
        let restores = Restores { restoration, actor: caller.party() };
        let deployment = self.deploy(&mut *tx, caller, placed, new, Some(restores)).await?;
        tx.commit().await?;
        let line = format!("Rolling back to revision {} with what surrounded it", revision.version);
        self.tell(deployment.app_id, line);
        Ok(deployment)
    }

    async fn preview(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
        placed: &PlacedApp,
        revision: &Revision,
    ) -> Result<RestorePreview, ControlError> {
        let app = placed.app.clone();
        let by_app = Query::by("app_id", app.id.to_string());
        let processes = store::list::<Process>(tx, &by_app).await?.items;
        let running = running_revision(tx, &app).await?;
        let now = surroundings(tx, &app).await?;
        let is_running = running.as_ref().is_some_and(|one| one.id == revision.id);
        let then = if is_running { Some(now.clone()) } else { revision.as_left.clone() };
        let restoration = match then {
            Some(then) => self.plan_restoration(tx, caller, placed, &then, &now).await?,
            None => Restoration {
                lost: vec![Lost {
                    what: "scale, checks, routes and bindings".to_owned(),
                    why: "the platform did not keep what surrounded this revision".to_owned(),
                }],
                ..Restoration::default()
            },
        };
        let release = &revision.release;
        let is_there = store::get::<Droplet>(tx, release.droplet).await?.is_some();
        let refusal = if !is_there {
            Some(format!(
                "The droplet of revision {} is gone, so that it cannot run any more.",
                revision.version
            ))
        } else if !app.revisions_enabled {
            Some("The app keeps no revisions: turn the feature `revisions` on first.".to_owned())
        } else {
            None
        };
        let names: BTreeSet<&String> =
            app.environment.keys().chain(release.environment.keys()).collect();
        let differs =
            |name: &&&String| app.environment.get(**name) != release.environment.get(**name);
        let wanted = commands(release);
        let present = processes.iter().map(|one| (one.kind.as_str(), one.command.as_deref()));
        let other_command =
            present.filter(|(kind, command)| wanted.get(kind).is_some_and(|one| one != command));
        Ok(RestorePreview {
            code: app.current_droplet != Some(release.droplet),
            environment: names.iter().filter(differs).map(|name| (*name).clone()).collect(),
            commands: other_command.map(|(kind, _)| kind.to_owned()).collect(),
            sidecars: other_sidecars(&specs(tx, app.id).await?, &release.sidecars),
            app: app.clone(),
            revision: revision.version,
            present: running.map(|one| one.version),
            restoration,
            refusal,
        })
    }

    async fn plan_restoration(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
        placed: &PlacedApp,
        then: &Surroundings,
        now: &Surroundings,
    ) -> Result<Restoration, ControlError> {
        let mut addresses = Vec::with_capacity(then.routes.len());
        for route in &then.routes {
            let (address, _) = self.look_up(tx, caller, placed, route).await?;
            // A flag of the platform may be off since.
            let address = match self.checked_options(tx, route.options.clone()).await {
                Ok(_) => address,
                Err(ControlError::Unprocessable(why)) => Address::Refused(why),
                Err(other) => return Err(other),
            };
            addresses.push(address);
        }
        let found = |wanted: &RouteSetting| {
            let at = then.routes.iter().position(|route| route == wanted);
            at.map_or(Address::Free, |at| addresses[at].clone())
        };
        let mut gone = BTreeSet::new();
        for binding in &then.bindings {
            let instance = store::get::<ServiceInstance>(tx, binding.instance_id).await?;
            if instance.is_none_or(|instance| instance.space_id != placed.space.id) {
                gone.insert(binding.instance_id);
            }
        }
        let is_bindable = |binding: &BindingSetting| !gone.contains(&binding.instance_id);
        let settings = &self.settings().instances;
        let bounds = Bounds {
            instances_max: u32::try_from(INSTANCES_MAX).unwrap_or(u32::MAX),
            memory_mib_max: settings.memory_mib_max,
            disk_mib_max: settings.disk_mib_max,
        };
        Ok(restoring::plan(then, now, bounds, found, is_bindable))
    }

    /// What is found now where a route was, with the domain and the route if they are there.
    async fn look_up(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
        placed: &PlacedApp,
        wanted: &RouteSetting,
    ) -> Result<(Address, Option<(Domain, Option<Route>)>), ControlError> {
        // A domain that was deleted and made again has the same name.
        let by_name = Query::by("name", wanted.domain.as_str());
        let Some(domain) = store::first::<Domain>(tx, &by_name).await? else {
            return Ok((Address::Refused("its domain is deleted".to_owned()), None));
        };
        let usable = Query::by("id", domain.id.to_string()).and(usable_by(placed.org.id));
        if store::first::<Domain>(tx, &usable).await?.is_none() {
            let why = format!("its domain is not for the organisation {} now", placed.org.name);
            return Ok((Address::Refused(why), None));
        }
        let (host, path) = (wanted.host.as_str(), wanted.path.as_str());
        let query =
            Query::by("domain_id", domain.id.to_string()).and_by("host", host).and_by("path", path);
        let Some(route) = store::first::<Route>(tx, &query).await? else {
            let may = host != "*" || domain.owner.is_some() || caller.admin;
            let conflicts = self.refuse_conflicts(tx, &placed.space, &domain, host, path).await;
            let address = match conflicts {
                Ok(()) if may => Address::Free,
                Ok(()) => Address::Refused("only administrators may make it".to_owned()),
                Err(ControlError::Unprocessable(why)) => Address::Refused(why),
                Err(other) => return Err(other),
            };
            return Ok((address, Some((domain, None))));
        };
        let space = placed.space.id;
        if route.space_id != space && !route.shared_spaces.contains(&space) {
            let why = "it belongs to another space now".to_owned();
            return Ok((Address::Refused(why), None));
        }
        let beside = others(tx, &route, placed.app.id).await?;
        let is_own = route.space_id == space;
        let address = if is_own { Address::InSpace { beside } } else { Address::Shared { beside } };
        Ok((address, Some((domain, Some(route)))))
    }

    /// Keeps what surrounds the revision that the app leaves for one with this release.
    pub(crate) async fn leave_revision(
        &self,
        tx: &mut dyn WriteTx,
        app: &App,
        release: &Release,
        left: Surroundings,
    ) -> Result<(), ControlError> {
        let Some(mut running) = running_revision(tx, app).await? else { return Ok(()) };
        let is_push = running.release.droplet != release.droplet;
        let noted = running.before_manifest.take().filter(|noted| is_push && self.is_recent(noted));
        running.as_left = Some(noted.map_or(left, |(_, before)| before));
        Ok(store::update(tx, &running).await?)
    }

    /// Keeps what surrounds the running revision before a manifest changes it: the manifest of a push
    /// comes before its revision. A push that is tried again counts from its first time.
    pub(crate) async fn note_before_manifest(
        &self,
        tx: &mut dyn WriteTx,
        app: &App,
    ) -> Result<(), ControlError> {
        let Some(mut running) = running_revision(tx, app).await? else { return Ok(()) };
        if running.before_manifest.as_ref().is_some_and(|noted| self.is_recent(noted)) {
            return Ok(());
        }
        running.before_manifest = Some((self.ports.clock.now(), surroundings(tx, app).await?));
        Ok(store::update(tx, &running).await?)
    }

    fn is_recent(&self, (noted_at, _): &(Timestamp, Surroundings)) -> bool {
        self.ports.clock.now().since(*noted_at) < PUSH_TIME_MAX
    }

    /// Carries out what a deployment restores, now that its instances serve.
    pub(crate) async fn finish_restoration(
        &self,
        tx: &mut dyn WriteTx,
        app: &App,
        restores: &Restores,
    ) -> Result<(), ControlError> {
        let access = cupola_domain::access::Access::admin();
        let placed = self.readable_app(tx, &access, app.id).await?;
        let caller = acting_for(restores);
        // Bindings were restored before the new instances were started.
        let Restoration { processes, routes_added, routes_removed, routes_changed, .. } =
            &restores.restoration;
        for step in processes.iter().filter(|step| step.kind != WEB) {
            let query = Query::by("app_id", app.id.to_string()).and_by("kind", step.kind.as_str());
            let Some(mut process) = store::first::<Process>(tx, &query).await? else { continue };
            let instances = Some(i64::from(step.to.instances));
            let scale = Scale { instances, ..Scale::default() };
            let scaled = self.scale_row(tx, &caller, &placed, &mut process, scale).await;
            self.skip_refused(app.id, &format!("scale of {}", step.kind), scaled)?;
        }
        for route in routes_added {
            let restored = self.restore_route(tx, &caller, &placed, route).await;
            self.skip_refused(app.id, &format!("route {}", route.address()), restored)?;
        }
        for step in routes_changed {
            let changed = self.change_route(tx, &caller, &placed, step).await;
            self.skip_refused(app.id, &format!("route {}", step.to.address()), changed)?;
        }
        for route in routes_removed {
            let Some(found) = found(tx, &placed, route).await? else { continue };
            for destination in of_app(tx, app.id, route).await? {
                self.unmap(tx, &caller, &found, &destination).await?;
            }
        }
        Ok(())
    }

    /// Binds and unbinds, so that the new instances find it so.
    pub(crate) async fn restore_bindings(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        restoration: &Restoration,
    ) -> Result<(), ControlError> {
        self.unbind_from(tx, caller, placed, &restoration.bindings_removed).await?;
        for setting in &restoration.bindings_added {
            self.bind_to(tx, caller, placed, setting).await?;
        }
        Ok(())
    }

    /// Sets limits, checks and bindings back to what they were before the restoration, as far as
    /// nobody has set them to something else since.
    pub(crate) async fn set_back(
        &self,
        tx: &mut dyn WriteTx,
        placed: &PlacedApp,
        restores: &Restores,
    ) -> Result<(), ControlError> {
        let restoration = &restores.restoration;
        undo_processes(tx, placed.app.id, restoration).await?;
        let caller = acting_for(restores);
        self.unbind_from(tx, &caller, placed, &restoration.bindings_added).await?;
        for setting in &restoration.bindings_removed {
            let bound = self.bind_to(tx, &caller, placed, setting).await;
            self.skip_refused(placed.app.id, &format!("binding to {}", setting.instance), bound)?;
        }
        Ok(())
    }

    async fn unbind_from(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        settings: &[BindingSetting],
    ) -> Result<(), ControlError> {
        for binding in bindings::of_app(tx, placed.app.id).await? {
            if settings.iter().any(|setting| is_of(&binding, setting)) {
                self.unbind(tx, caller, &placed.space, &binding).await?;
            }
        }
        Ok(())
    }

    /// Binds the app, unless it is bound so or the instance is gone.
    async fn bind_to(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        setting: &BindingSetting,
    ) -> Result<(), ControlError> {
        let present = bindings::of_app(tx, placed.app.id).await?;
        if present.iter().any(|binding| is_of(binding, setting)) {
            return Ok(());
        }
        let instance = store::get::<ServiceInstance>(tx, setting.instance_id).await?;
        let Some(instance) = instance else { return Ok(()) };
        let new = NewBinding {
            name: setting.name.clone(),
            strategy: BindingStrategy::Multiple,
            metadata: Metadata::default(),
        };
        self.bind(tx, caller, placed, &instance, new, false).await.map(drop)
    }

    /// Tells of a step that is refused instead of failing by it: it would be refused at every other
    /// try too, and the deployment would never end.
    fn skip_refused(
        &self,
        app: AppId,
        what: &str,
        step: Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        match step {
            Err(error @ ControlError::Store(_)) => Err(error),
            Err(refused) => {
                self.tell(app, format!("Rolling back leaves the {what} as it is: {refused}"));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Sets options and weight back, as far as nobody has set them to something else meanwhile.
    async fn change_route(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        step: &RouteStep,
    ) -> Result<(), ControlError> {
        let RouteStep { from, to } = step;
        let Some(mut found) = found(tx, placed, from).await? else { return Ok(()) };
        if found.route.space_id != placed.space.id {
            return Err(ControlError::unprocessable("it belongs to another space now"));
        }
        if found.route.options == from.options {
            let change = options_to(&from.options, &to.options);
            self.set_options(tx, caller, &mut found, change).await?;
        }
        for mut destination in of_app(tx, placed.app.id, from).await? {
            if destination.weight == from.weight {
                self.weigh(tx, caller, &found, &mut destination, to.weight).await?;
            }
        }
        Ok(())
    }

    async fn restore_route(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        wanted: &RouteSetting,
    ) -> Result<(), ControlError> {
        // It may have been taken since the rollback was asked for.
        let (address, at) = self.look_up(tx, caller, placed, wanted).await?;
        let is_ours = match &address {
            Address::Free => true,
            Address::InSpace { beside } | Address::Shared { beside } => {
                beside.is_subset(&wanted.beside)
            }
            Address::Refused(_) => false,
        };
        let Some((domain, route)) = at.filter(|_| is_ours) else {
            let line = format!("The route {} was taken meanwhile and is left", wanted.address());
            self.tell(placed.app.id, line);
            return Ok(());
        };
        let (space, org) = (placed.space.clone(), placed.org.clone());
        let route = match route {
            Some(route) => route,
            None => {
                let new = NewRoute {
                    space: space.id,
                    domain: domain.id,
                    host: wanted.host.clone(),
                    path: wanted.path.clone(),
                    has_port: false,
                    options: wanted.options.clone(),
                    metadata: Metadata::default(),
                };
                self.insert_route(tx, caller, &space, &domain, new).await?
            }
        };
        let destination = NewDestination {
            app: placed.app.id,
            process_type: wanted.process_type.clone(),
            port: wanted.port,
            protocol: Some(wanted.protocol.clone()),
            weight: wanted.weight,
        };
        let found = FoundRoute { route, domain, space, org };
        self.map(tx, caller, &found, placed.app.clone(), destination).await
    }
}

/// What surrounds what the app runs. Limits and checks are those that the instances were started
/// with: what was set since has never run. Neither has what a restoration under way has bound.
pub(crate) async fn surroundings(
    tx: &mut (impl ReadTx + ?Sized),
    app: &App,
) -> Result<Surroundings, ControlError> {
    let mut surroundings = Surroundings::default();
    let generation = store::get::<Generation>(tx, app.generation).await?;
    let by_app = Query::by("app_id", app.id.to_string());
    for process in store::list::<Process>(tx, &by_app).await?.items {
        let started = generation.as_ref().and_then(|one| one.release.processes.get(&process.kind));
        let setting = match started {
            Some(started) => ProcessSetting {
                instances: process.instances,
                limits: started.limits,
                health_check: started.health_check.clone(),
                readiness_check: started.readiness_check.clone(),
            },
            None => ProcessSetting {
                instances: process.instances,
                limits: process.limits,
                health_check: process.health_check,
                readiness_check: process.readiness_check,
            },
        };
        surroundings.processes.insert(process.kind, setting);
    }
    for destination in store::list::<Destination>(tx, &by_app).await?.items {
        let Some(route) = store::get::<Route>(tx, destination.route_id).await? else { continue };
        let Some(domain) = store::get::<Domain>(tx, route.domain_id).await? else { continue };
        surroundings.routes.push(RouteSetting {
            beside: others(tx, &route, app.id).await?,
            route_id: route.id,
            domain_id: domain.id,
            domain: domain.name,
            host: route.host,
            path: route.path,
            options: route.options,
            process_type: destination.process_type,
            port: destination.port,
            protocol: destination.protocol,
            weight: destination.weight,
        });
    }
    for binding in bindings::of_app(tx, app.id).await? {
        let instance = store::get::<ServiceInstance>(tx, binding.service_instance_id).await?;
        let Some(instance) = instance else { continue };
        surroundings.bindings.push(BindingSetting {
            instance_id: instance.id,
            instance: instance.name,
            name: binding.name,
        });
    }
    let deployment = deployments::active().and_by("app_id", app.id.to_string());
    let deployment = store::first::<Deployment>(tx, &deployment).await?;
    if let Some(restores) = deployment.as_ref().and_then(under_way) {
        surroundings.set_bindings_back(&restores.restoration);
    }
    Ok(surroundings)
}

/// What a deployment restores whose limits, checks and bindings are set and may be set back.
pub(crate) fn under_way(deployment: &Deployment) -> Option<&Restores> {
    let is_set = matches!(deployment.state, DeploymentState::Deploying | DeploymentState::Paused);
    deployment.restores.as_ref().filter(|_| is_set)
}

fn is_of(binding: &ServiceBinding, setting: &BindingSetting) -> bool {
    binding.service_instance_id == setting.instance_id && binding.name == setting.name
}

async fn undo_processes(
    tx: &mut dyn WriteTx,
    app: AppId,
    restoration: &Restoration,
) -> Result<(), ControlError> {
    for step in &restoration.processes {
        let Some(from) = &step.from else { continue };
        let query = Query::by("app_id", app.to_string()).and_by("kind", step.kind.as_str());
        if let Some(mut process) = store::first::<Process>(tx, &query).await?
            && step.to.is_set_on(&process)
        {
            from.set_on(&mut process);
            store::update(tx, &process).await?;
        }
    }
    Ok(())
}

/// The revision that the app's instances are of, or would be if they ran.
async fn running_revision(
    tx: &mut (impl ReadTx + ?Sized),
    app: &App,
) -> Result<Option<Revision>, ControlError> {
    let generation = store::get::<Generation>(tx, app.generation).await?;
    match generation.and_then(|generation| generation.revision) {
        Some(id) => Ok(store::get::<Revision>(tx, id).await?),
        None => Ok(None),
    }
}

async fn others(
    tx: &mut (impl ReadTx + ?Sized),
    route: &Route,
    app: AppId,
) -> Result<BTreeSet<AppId>, ControlError> {
    let of_route = Query::by("route_id", route.id.to_string());
    let destinations = store::list::<Destination>(tx, &of_route).await?.items;
    Ok(destinations.iter().map(|one| one.app_id).filter(|other| *other != app).collect())
}

async fn found(
    tx: &mut (impl ReadTx + ?Sized),
    placed: &PlacedApp,
    wanted: &RouteSetting,
) -> Result<Option<FoundRoute>, ControlError> {
    let Some(route) = store::get::<Route>(tx, wanted.route_id).await? else { return Ok(None) };
    let Some(domain) = store::get::<Domain>(tx, route.domain_id).await? else { return Ok(None) };
    let (space, org) = (placed.space.clone(), placed.org.clone());
    Ok(Some(FoundRoute { route, domain, space, org }))
}

async fn of_app(
    tx: &mut (impl ReadTx + ?Sized),
    app: AppId,
    wanted: &RouteSetting,
) -> Result<Vec<Destination>, ControlError> {
    let query = Query::by("route_id", wanted.route_id.to_string())
        .and_by("app_id", app.to_string().as_str())
        .and_by("process_type", wanted.process_type.as_str());
    Ok(store::list::<Destination>(tx, &query).await?.items)
}

/// The change of options that makes these of those.
fn options_to(
    from: &serde_json::Map<String, serde_json::Value>,
    to: &serde_json::Map<String, serde_json::Value>,
) -> serde_json::Map<String, serde_json::Value> {
    let gone = from.keys().filter(|name| !to.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), serde_json::Value::Null));
    gone.chain(to.clone()).collect()
}

/// Whoever asked for a rollback, when it is carried out. What they may do was looked at then.
fn acting_for(restores: &Restores) -> Caller {
    let Restores { actor, .. } = restores;
    let user_id = actor.id.parse().unwrap_or(UserId::from_uuid(uuid::Uuid::nil()));
    Caller { user_id, username: actor.name.clone(), admin: true }
}

/// Names of the sidecars that are not the same in both.
fn other_sidecars(one: &[SidecarSpec], other: &[SidecarSpec]) -> Vec<String> {
    let only_in = |these: &[SidecarSpec], those: &[SidecarSpec]| -> Vec<String> {
        let only = these.iter().filter(|spec| !those.contains(spec));
        only.map(|spec| spec.name.clone()).collect()
    };
    let names: BTreeSet<String> =
        only_in(one, other).into_iter().chain(only_in(other, one)).collect();
    names.into_iter().collect()
}

fn not_whole(revision: &Revision, lost: &[Lost]) -> ControlError {
    let lost: Vec<String> = lost.iter().map(|one| format!("{}: {}", one.what, one.why)).collect();
    ControlError::Unprocessable(format!(
        "Not everything can be as it was with revision {}: {}. Say `partial` to go on without.",
        revision.version,
        lost.join("; ")
    ))
}

fn instances_of(bindings: &[BindingSetting]) -> Vec<&str> {
    bindings.iter().map(|binding| binding.instance.as_str()).collect()
}

/// What an audit event tells of a restoration.
fn about(restoration: &Restoration) -> serde_json::Value {
    let addresses = |routes: &[RouteSetting]| -> Vec<String> {
        routes.iter().map(RouteSetting::address).collect()
    };
    let instances: serde_json::Map<String, serde_json::Value> = restoration
        .processes
        .iter()
        .map(|step| (step.kind.clone(), step.to.instances.into()))
        .collect();
    json!({
        "instances": instances,
        "routes_added": addresses(&restoration.routes_added),
        "routes_removed": addresses(&restoration.routes_removed),
        "routes_changed": restoration.routes_changed.iter().map(|one| one.to.address()).collect::<Vec<_>>(),
        "bindings_added": instances_of(&restoration.bindings_added),
        "bindings_removed": instances_of(&restoration.bindings_removed),
        "lost": restoration.lost,
    })
}
