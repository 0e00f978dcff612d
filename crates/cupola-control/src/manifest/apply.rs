//! Makes an app what its manifest says. Applied twice, the second time changes nothing.

use cupola_domain::{
    apps::App,
    domains::Domain,
    ids::{AppId, RouteId},
    orgs::{Metadata, Org},
    processes::Process,
    routes::{Destination, Route},
    services::BindingStrategy,
    spaces::Space,
};
use cupola_ports::store::{self, Query, ReadTx, WriteTx};
use serde_json::{Map, json};

use super::{
    parse::{ManifestApp, ManifestService},
    process::ManifestProcess,
    route::{ManifestRoute, Resolved},
    words::random_host,
};
use crate::{
    Control, ControlError,
    apps::{LifecycleChange, NewApp, PlacedApp, change_environment, told, unknown_buildpack},
    caller::Caller,
    domains::default_domain,
    processes::{Scale, new_process},
    routes::{FoundRoute, NewDestination, NewRoute},
    services::{
        bindings::{self, NewBinding},
        instance_by_name,
    },
};

/// An app that is what its manifest says.
pub(super) struct Applied {
    pub app: AppId,
    pub is_new: bool,
}

impl Control {
    /// Applies one application of a manifest within `tx`.
    pub(super) async fn apply_app(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        space: &Space,
        org: &Org,
        wanted: &ManifestApp,
    ) -> Result<Applied, ControlError> {
        let present = by_name(tx, space, &wanted.name).await?;
        let is_new = present.is_none();
        let mut placed = match present {
            Some(app) => PlacedApp { app, space: space.clone(), org: org.clone() },
            None => self.create_empty(tx, caller, space, org, &wanted.name).await?,
        };
        self.note_before_manifest(tx, &placed.app).await?;
        self.apply_own(tx, caller, &mut placed, wanted).await?;
        for process in &wanted.processes {
            self.apply_process(tx, caller, &placed, process).await?;
        }
        for sidecar in &wanted.sidecars {
            let name = sidecar.name.as_deref().unwrap_or_default();
            let applied = self.apply_sidecar(tx, caller, &placed, sidecar.clone()).await;
            applied.map_err(|error| prefixed(&format!("For sidecar '{name}'"), error))?;
        }
        self.apply_routes(tx, caller, &placed, wanted).await?;
        for service in &wanted.services {
            self.apply_service(tx, caller, &placed, service)
                .await
                .map_err(|error| prefixed(&format!("For service '{}'", service.name), error))?;
        }
        let data = json!({ "request": { "manifest": wanted.name } });
        self.record(tx, caller.party(), placed.event("audit.app.apply_manifest", data)).await?;
        Ok(Applied { app: placed.app.id, is_new })
    }

    async fn create_empty(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        space: &Space,
        org: &Org,
        name: &str,
    ) -> Result<PlacedApp, ControlError> {
        let new = NewApp {
            space: space.id,
            name: name.to_owned(),
            lifecycle: LifecycleChange::default(),
            environment: std::collections::BTreeMap::new(),
            metadata: Metadata::default(),
        };
        self.insert_app(tx, caller, space.clone(), org.clone(), new).await
    }

    /// What belongs to the app's own row.
    async fn apply_own(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &mut PlacedApp,
        wanted: &ManifestApp,
    ) -> Result<(), ControlError> {
        let before = placed.app.clone();
        let app = &mut placed.app;
        if let Some(buildpacks) = &wanted.lifecycle.buildpacks
            && let Some(unknown) = unknown_buildpack(tx, buildpacks).await?
        {
            let detail = format!("Specified unknown buildpack name: \"{unknown}\"");
            return Err(ControlError::Unprocessable(detail));
        }
        self.change_lifecycle(tx, caller, app, wanted.lifecycle.clone()).await?;
        change_environment(app, wanted.environment.clone(), "Env")?;
        app.names_commit |= wanted.metadata.names_commit();
        wanted.metadata.clone().apply(&mut app.metadata);
        for (feature, enabled) in &wanted.features {
            feature.set(app, *enabled)?;
        }
        self.update_app_row(tx, app).await?;
        let changed = told::changed(&before, app);
        if changed.is_empty() {
            return Ok(());
        }
        let mut data = told::data(json!({}), changed);
        data["manifest_triggered"] = true.into();
        self.record(tx, caller.party(), placed.event("audit.app.update", data)).await
    }

    async fn apply_process(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        wanted: &ManifestProcess,
    ) -> Result<(), ControlError> {
        let kind = wanted.kind.as_str();
        let query = Query::by("app_id", placed.app.id.to_string()).and_by("kind", kind);
        let mut process = match store::first::<Process>(tx, &query).await? {
            Some(process) => process,
            None => {
                let now = self.ports.clock.now();
                let new = new_process(&placed.app, kind, &self.settings().instances, now);
                store::insert(tx, &new).await?;
                let data = json!({ "process_guid": new.id.to_string(), "process_type": kind });
                let event = placed.event("audit.app.process.create", data);
                self.record(tx, caller.party(), event).await?;
                new
            }
        };
        self.change_process(tx, caller, placed, &mut process, wanted.change.clone()).await?;
        if wanted.scale != Scale::default() {
            self.scale_row(tx, caller, placed, &mut process, wanted.scale).await?;
        }
        Ok(())
    }

    /// Binds the app, unless it is bound already, under whatever name.
    async fn apply_service(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        wanted: &ManifestService,
    ) -> Result<(), ControlError> {
        let instance = instance_by_name(tx, placed.space.id, &wanted.name).await?;
        let Some(instance) = instance else {
            let detail = format!("Service instance '{}' not found", wanted.name);
            return Err(ControlError::Unprocessable(detail));
        };
        let present = bindings::of_app(tx, placed.app.id).await?;
        if present.iter().any(|binding| binding.service_instance_id == instance.id) {
            return Ok(());
        }
        if wanted.has_parameters {
            let detail = "Binding parameters are not supported for user-provided service instances";
            return Err(ControlError::unprocessable(detail));
        }
        let new = NewBinding {
            name: wanted.binding_name.clone(),
            strategy: BindingStrategy::Single,
            metadata: Metadata::default(),
        };
        self.bind(tx, caller, placed, &instance, new, true).await.map(drop)
    }

    async fn apply_routes(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        wanted: &ManifestApp,
    ) -> Result<(), ControlError> {
        let mapped = routes_of(tx, placed.app.id).await?;
        if wanted.no_route {
            for destination in mapped {
                if let Some(found) = self.found(tx, placed, destination.route_id).await? {
                    self.unmap(tx, caller, &found, &destination).await?;
                }
            }
            return Ok(());
        }
        for route in &wanted.routes {
            self.apply_route(tx, caller, placed, route)
                .await
                .map_err(|error| for_route(&route.text, error))?;
        }
        if wanted.routes.is_empty() && mapped.is_empty() {
            if wanted.random_route {
                self.apply_random_route(tx, caller, placed).await?;
            } else if wanted.default_route {
                let host = placed.app.name.clone();
                self.apply_host(tx, caller, placed, host).await.map_err(|error| {
                    prefixed("Failed to create default route from app name", error)
                })?;
            }
        }
        Ok(())
    }

    /// Two words may be taken already; a few more tries make a clash unlikely enough.
    async fn apply_random_route(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
    ) -> Result<(), ControlError> {
        let domain = self.default_domain_of(tx, placed).await?;
        let mut host = random_host(&placed.app.name, uuid::Uuid::new_v4());
        for _ in 0..10 {
            let query = Query::by("domain_id", domain.id.to_string()).and_by("host", host.as_str());
            if store::first::<Route>(tx, &query).await?.is_none() {
                break;
            }
            host = random_host(&placed.app.name, uuid::Uuid::new_v4());
        }
        let host = host.trim_start_matches('-').to_owned();
        self.apply_host(tx, caller, placed, host).await
    }

    /// A route of the default domain.
    async fn apply_host(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        host: String,
    ) -> Result<(), ControlError> {
        let domain = self.default_domain_of(tx, placed).await?;
        let text = format!("{host}.{}", domain.name);
        let host = host.to_lowercase();
        let resolved = Resolved { host, domain };
        self.apply_resolved(tx, caller, placed, resolved, &text, "", None, Map::new()).await
    }

    async fn default_domain_of(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        placed: &PlacedApp,
    ) -> Result<Domain, ControlError> {
        let domain = default_domain(tx, placed.org.id).await?;
        domain.ok_or_else(|| ControlError::unprocessable("No default domains available"))
    }

    async fn apply_route(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        wanted: &ManifestRoute,
    ) -> Result<(), ControlError> {
        let resolved = wanted.resolve(tx, placed.org.id).await?;
        let (protocol, options) = (wanted.protocol.clone(), wanted.options.clone());
        let path = wanted.path.as_str();
        self.apply_resolved(tx, caller, placed, resolved, &wanted.text, path, protocol, options)
            .await
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a route and who maps it")]
    async fn apply_resolved(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        resolved: Resolved,
        text: &str,
        path: &str,
        protocol: Option<String>,
        options: Map<String, serde_json::Value>,
    ) -> Result<(), ControlError> {
        let Resolved { host, domain } = resolved;
        let query = Query::by("domain_id", domain.id.to_string())
            .and_by("host", host.as_str())
            .and_by("path", path);
        let route = match store::first::<Route>(tx, &query).await? {
            Some(route) if !route.serves(placed.space.id) => {
                let detail = format!(
                    "Routes cannot be mapped to destinations in different spaces. \
                     The route '{text}' belongs to another space"
                );
                return Err(ControlError::Unprocessable(detail));
            }
            Some(route) => self.apply_options(tx, caller, placed, &domain, route, options).await?,
            None => {
                self.require_flag_or_admin(tx, caller, "route_creation").await?;
                let new = NewRoute {
                    space: placed.space.id,
                    domain: domain.id,
                    host,
                    path: path.to_owned(),
                    has_port: false,
                    options,
                    metadata: Metadata::default(),
                };
                self.insert_route(tx, caller, &placed.space, &domain, new).await?
            }
        };
        let found =
            FoundRoute { route, domain, space: placed.space.clone(), org: placed.org.clone() };
        let destination = NewDestination::web(placed.app.id, protocol);
        self.map(tx, caller, &found, placed.app.clone(), destination).await
    }

    /// Sets the options that a manifest names for a route that is there. Those of a route that
    /// another space shares are not the app's to set.
    async fn apply_options(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        domain: &Domain,
        route: Route,
        options: Map<String, serde_json::Value>,
    ) -> Result<Route, ControlError> {
        let mut changed = route.clone();
        self.change_options(tx, &mut changed, options.clone()).await?;
        if changed.options != route.options && route.space_id != placed.space.id {
            let detail = "The route belongs to another space, which alone sets its options. \
                          Leave them out of the manifest";
            return Err(ControlError::unprocessable(detail));
        }
        let (space, org) = (placed.space.clone(), placed.org.clone());
        let mut found = FoundRoute { route, domain: domain.clone(), space, org };
        self.set_options(tx, caller, &mut found, options).await?;
        Ok(found.route)
    }

    /// A route that leads to the app, for taking it away.
    async fn found(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        placed: &PlacedApp,
        id: RouteId,
    ) -> Result<Option<FoundRoute>, ControlError> {
        let Some(route) = store::get::<Route>(tx, id).await? else { return Ok(None) };
        let Some(domain) = store::get(tx, route.domain_id).await? else { return Ok(None) };
        let (space, org) = (placed.space.clone(), placed.org.clone());
        Ok(Some(FoundRoute { route, domain, space, org }))
    }
}

/// The app of this name in the space.
async fn by_name(
    tx: &mut (impl ReadTx + ?Sized),
    space: &Space,
    name: &str,
) -> Result<Option<App>, ControlError> {
    let query = Query::by("space_id", space.id.to_string())
        .and_by("name_lower", name.to_lowercase().as_str());
    Ok(store::first::<App>(tx, &query).await?)
}

async fn routes_of(
    tx: &mut (impl ReadTx + ?Sized),
    app: AppId,
) -> Result<Vec<Destination>, ControlError> {
    let query = Query::by("app_id", app.to_string());
    Ok(store::list::<Destination>(tx, &query).await?.items)
}

fn for_route(route: &str, error: ControlError) -> ControlError {
    prefixed(&format!("For route '{route}'"), error)
}

fn prefixed(prefix: &str, error: ControlError) -> ControlError {
    match error {
        ControlError::Unprocessable(detail) | ControlError::NameTaken { detail } => {
            ControlError::Unprocessable(format!("{prefix}: {detail}"))
        }
        other => other,
    }
}
