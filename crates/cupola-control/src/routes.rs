//! Routes: the addresses under which apps answer.

mod address;
mod destinations;
mod sharing;

use std::collections::BTreeSet;

use cupola_domain::{
    access::Access,
    changes::difference,
    domains::Domain,
    ids::{AppId, DomainId, RouteId, SpaceId},
    jobs::Job,
    orgs::{Metadata, Org},
    routes::{Destination, Route},
    spaces::Space,
};
use cupola_ports::store::{self, Condition, Page, Query, ReadTx, Value, WriteTx};
use serde_json::{Map, json};

pub use destinations::{NewDestination, Others};

use crate::{
    Control, ControlError, ListRequest,
    apps::{distinct, may, told},
    caller::Caller,
    domains::{can_read, usable_by},
    events::{NewEvent, target},
    jobs::JobInput,
    launch_spec::route_address,
    orgs::MetadataChange,
    scope::Owners,
};

/// What a client says of a new route.
#[derive(Clone, Debug)]
pub struct NewRoute {
    pub space: SpaceId,
    pub domain: DomainId,
    pub host: String,
    pub path: String,
    pub has_port: bool,
    pub options: Map<String, serde_json::Value>,
    pub metadata: Metadata,
}

/// A route with what is needed to show it.
#[derive(Clone, Debug)]
pub struct ShownRoute {
    pub route: Route,
    /// Host, domain and path.
    pub address: String,
    pub destinations: Vec<Destination>,
}

/// What a list of routes is limited to, besides its conditions.
#[derive(Clone, Debug, Default)]
pub struct RouteFilter {
    pub owners: Owners,
    pub apps: Option<Vec<String>>,
}

/// Where a route may be, for `cf check-route`.
#[derive(Clone, Debug, Default)]
pub struct Reservation {
    pub host: String,
    pub path: String,
    pub has_port: bool,
}

impl Control {
    pub async fn create_route(
        &self,
        caller: &Caller,
        new: NewRoute,
    ) -> Result<ShownRoute, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (space, org) = self.place_for_new(&mut *tx, &access, new.space).await?;
        may(&access, &org, access.can_support(space.id))?;
        self.require_flag_or_admin(&mut *tx, caller, "route_creation").await?;
        let query = Query::by("id", new.domain.to_string()).and(usable_by(org.id));
        let Some(domain) = store::first::<Domain>(&mut *tx, &query).await? else {
            return Err(refused_domain(
                store::get::<Domain>(&mut *tx, new.domain).await?,
                &access,
                &org,
            ));
        };
        let route = self.insert_route(&mut *tx, caller, &space, &domain, new).await?;
        tx.commit().await?;
        let address = route_address(&route, &domain);
        Ok(ShownRoute { route, address, destinations: Vec::new() })
    }

    /// Writes a route of a domain that the space may use, with its event.
    pub(crate) async fn insert_route(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        space: &Space,
        domain: &Domain,
        new: NewRoute,
    ) -> Result<Route, ControlError> {
        if new.has_port {
            let name = &domain.name;
            let detail =
                format!("Ports are not supported for domains that use the HTTP protocol: {name}.");
            return Err(ControlError::Unprocessable(detail));
        }
        let host = address::checked_host(&new.host, domain)?;
        let path = address::checked_path(&new.path)?;
        // It takes the requests of every host of the domain that has no route.
        if host == "*" && domain.owner.is_none() && !caller.admin {
            return Err(ControlError::NotAuthorized);
        }
        let options = self.checked_options(tx, new.options).await?;
        self.refuse_conflicts(tx, space, domain, &host, &path).await?;
        let now = self.ports.clock.now();
        let route = Route {
            id: RouteId::random(),
            space_id: space.id,
            domain_id: domain.id,
            host,
            path,
            options,
            shared_spaces: BTreeSet::new(),
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        store::insert(tx, &route).await.map_err(|error| {
            ControlError::taken(error, || address::taken(&route.host, &route.path, domain))
        })?;
        let request = json!({ "request": { "host": route.host, "path": route.path } });
        let event = event("audit.route.create", &route, domain, space, request);
        self.record(tx, caller.party(), event).await?;
        Ok(route)
    }

    pub(crate) async fn refuse_conflicts(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        space: &Space,
        domain: &Domain,
        host: &str,
        path: &str,
    ) -> Result<(), ControlError> {
        if host.is_empty() {
            if domain.owner.is_none() {
                let detail = "Missing host. Routes in shared domains must have a host defined.";
                return Err(ControlError::unprocessable(detail));
            }
        } else {
            let full = format!("{host}.{}", domain.name);
            if self.is_reserved(&full) {
                let detail = "Route conflicts with a reserved system route.";
                return Err(ControlError::unprocessable(detail));
            }
            if store::first::<Domain>(tx, &Query::by("name", full.as_str())).await?.is_some() {
                let detail = format!("Route conflicts with domain '{full}'.");
                return Err(ControlError::Unprocessable(detail));
            }
        }
        // On a shared domain a host belongs to the space that took it first, with every path.
        if domain.owner.is_none() {
            let query = Query::by("domain_id", domain.id.to_string())
                .and_by("host", host)
                .and(Condition::NotIn("space_id", vec![space.id.to_string().into()]));
            if let Some(other) = store::first::<Route>(tx, &query).await?
                && other.path != path
            {
                return Err(ControlError::Unprocessable(address::reserved(host, domain)));
            }
        }
        Ok(())
    }

    pub async fn route(&self, caller: &Caller, id: RouteId) -> Result<ShownRoute, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let found = self.readable_route(&mut *tx, &access, id).await?;
        shown(&mut *tx, found.route).await
    }

    pub async fn list_routes(
        &self,
        caller: &Caller,
        filter: &RouteFilter,
        request: &ListRequest,
    ) -> Result<Page<ShownRoute>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut visible = self.in_spaces(&mut *tx, &access, &filter.owners).await?;
        if let Some(apps) = &filter.apps {
            let apps = apps.iter().cloned().map(Value::Text).collect();
            visible.push(routes_of(&mut *tx, apps).await?);
        }
        let page = store::list::<Route>(&mut *tx, &request.query(visible)).await?;
        Ok(Page { items: shown_all(&mut *tx, page.items).await?, total: page.total })
    }

    /// The routes that lead to an app.
    pub async fn list_app_routes(
        &self,
        caller: &Caller,
        app: AppId,
        request: &ListRequest,
    ) -> Result<Page<ShownRoute>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.readable_app(&mut *tx, &access, app).await?;
        let of_app = routes_of(&mut *tx, vec![app.to_string().into()]).await?;
        let page = store::list::<Route>(&mut *tx, &request.query([of_app])).await?;
        Ok(Page { items: shown_all(&mut *tx, page.items).await?, total: page.total })
    }

    /// Whether a route is taken already, for a domain that the caller sees.
    pub async fn is_route_taken(
        &self,
        caller: &Caller,
        domain: DomainId,
        wanted: &Reservation,
    ) -> Result<bool, ControlError> {
        let domain = self.domain(caller, domain).await?;
        let mut tx = self.read().await?;
        let query = Query::by("domain_id", domain.id.to_string())
            .and_by("host", wanted.host.to_lowercase().as_str())
            .and_by("path", wanted.path.trim_end_matches('/'));
        Ok(!wanted.has_port && store::first::<Route>(&mut *tx, &query).await?.is_some())
    }

    pub async fn update_route(
        &self,
        caller: &Caller,
        id: RouteId,
        options: Map<String, serde_json::Value>,
        metadata: MetadataChange,
    ) -> Result<ShownRoute, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut found = self.readable_route(&mut *tx, &access, id).await?;
        found.may_map(&access)?;
        let before = found.route.options.clone();
        let mut request = json!({ "options": options });
        if let Some(metadata) = told::metadata(&metadata) {
            request["metadata"] = metadata;
        }
        self.change_options(&mut *tx, &mut found.route, options).await?;
        metadata.apply(&mut found.route.metadata);
        self.keep_changed(&mut *tx, caller, &mut found, before, request).await?;
        tx.commit().await?;
        shown(&mut *self.read().await?, found.route).await
    }

    /// Sets options of a route, or with null removes them, and records it, unless they are so.
    pub(crate) async fn set_options(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        found: &mut FoundRoute,
        options: Map<String, serde_json::Value>,
    ) -> Result<(), ControlError> {
        let before = found.route.options.clone();
        let request = json!({ "options": options });
        self.change_options(tx, &mut found.route, options).await?;
        if found.route.options == before {
            return Ok(());
        }
        self.keep_changed(tx, caller, found, before, request).await
    }

    /// Writes a route that was changed and had other options `before`, and records it.
    async fn keep_changed(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        found: &mut FoundRoute,
        before: Map<String, serde_json::Value>,
        request: serde_json::Value,
    ) -> Result<(), ControlError> {
        found.route.updated_at = self.ports.clock.now();
        store::update(tx, &found.route).await?;
        let changed = difference(&before.into(), &found.route.options.clone().into());
        let event = found.event("audit.route.update", told::data(request, changed));
        self.record(tx, caller.party(), event).await
    }

    /// Options to set, or with null to remove.
    pub(crate) async fn change_options(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        route: &mut Route,
        change: Map<String, serde_json::Value>,
    ) -> Result<(), ControlError> {
        if change.is_empty() {
            return Ok(());
        }
        let mut options = route.options.clone();
        let names_hash = change.keys().any(|name| name.starts_with("hash_"));
        for (name, value) in change {
            if value.is_null() {
                options.remove(&name);
            } else {
                options.insert(name, value);
            }
        }
        // What belonged to hashing goes with it.
        if !names_hash && options.get("loadbalancing").is_none_or(|value| value != "hash") {
            options.retain(|name, _| !name.starts_with("hash_"));
        }
        route.options = self.checked_options(tx, options).await?;
        Ok(())
    }

    /// The options as they are kept. A balance is kept as text, because the `cf` CLI reads every
    /// option as text.
    pub(crate) async fn checked_options(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        mut options: Map<String, serde_json::Value>,
    ) -> Result<Map<String, serde_json::Value>, ControlError> {
        if options.is_empty() {
            return Ok(options);
        }
        let is_hash_allowed = self.is_flag_set(tx, "hash_based_routing").await?;
        address::check_options(&options, is_hash_allowed)?;
        if let Some(balance) = options.get_mut("hash_balance")
            && balance.is_number()
        {
            *balance = balance.to_string().into();
        }
        Ok(options)
    }

    /// Begins to delete a route, and answers with the job.
    pub async fn delete_route(&self, caller: &Caller, id: RouteId) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let found = self.readable_route(&mut *tx, &access, id).await?;
        found.may_map(&access)?;
        let data = json!({ "request": { "recursive": true } });
        let event = found.event("audit.route.delete-request", data);
        self.record(&mut *tx, caller.party(), event).await?;
        for destination in destinations::destinations_of(&mut *tx, id).await? {
            self.record_unmapping(&mut *tx, caller, &found, &destination).await?;
        }
        let job = self.enqueue(&mut *tx, caller, JobInput::DeleteRoute { route: id }).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_delete_route(
        &self,
        id: RouteId,
    ) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        delete_route_rows(&mut *tx, id).await?;
        tx.commit().await?;
        Ok(Vec::new())
    }

    /// Whether the caller may delete the routes of a space. Asked before the rest of a request is
    /// looked at, so that those who may not learn nothing else.
    pub async fn check_may_delete_routes(
        &self,
        caller: &Caller,
        space: SpaceId,
    ) -> Result<(), ControlError> {
        self.operable_space(&mut *self.read().await?, caller, space).await
    }

    /// Refuses callers who may not operate what is in the space.
    async fn operable_space(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
        space: SpaceId,
    ) -> Result<(), ControlError> {
        let access = self.access(tx, caller).await?;
        let space = self.readable_space(tx, &access, space).await?;
        let org = store::get::<Org>(tx, space.org_id).await?;
        let org = org.ok_or(ControlError::NotFound { noun: "Space" })?;
        may(&access, &org, access.can_support(space.id))
    }

    /// Begins to delete the routes of a space that lead nowhere.
    pub async fn delete_unmapped_routes(
        &self,
        caller: &Caller,
        space: SpaceId,
    ) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        self.operable_space(&mut *tx, caller, space).await?;
        let input = JobInput::DeleteUnmappedRoutes { space };
        let job = self.enqueue(&mut *tx, caller, input).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_delete_unmapped_routes(
        &self,
        space: SpaceId,
    ) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        let query = Query::by("space_id", space.to_string());
        for route in store::list::<Route>(&mut *tx, &query).await?.items {
            let leads_to = Query::by("route_id", route.id.to_string());
            if store::first::<Destination>(&mut *tx, &leads_to).await?.is_none() {
                delete_route_rows(&mut *tx, route.id).await?;
            }
        }
        tx.commit().await?;
        Ok(Vec::new())
    }

    pub(crate) async fn readable_route(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: RouteId,
    ) -> Result<FoundRoute, ControlError> {
        let not_found = || ControlError::NotFound { noun: "Route" };
        let route = store::get::<Route>(tx, id).await?.ok_or_else(not_found)?;
        let space = store::get::<Space>(tx, route.space_id).await?.ok_or_else(not_found)?;
        let org = store::get::<Org>(tx, space.org_id).await?.ok_or_else(not_found)?;
        let domain = store::get::<Domain>(tx, route.domain_id).await?.ok_or_else(not_found)?;
        if access.can_read_space(org.id, space.id) {
            Ok(FoundRoute { route, domain, space, org })
        } else {
            Err(not_found())
        }
    }
}

/// A route and everything it hangs from.
pub(crate) struct FoundRoute {
    pub(crate) route: Route,
    pub(crate) domain: Domain,
    pub(crate) space: Space,
    pub(crate) org: Org,
}

impl FoundRoute {
    fn may_change(&self, access: &Access) -> Result<(), ControlError> {
        may(access, &self.org, access.can_develop(self.space.id))
    }

    /// Making, mapping and deleting routes is part of operating apps.
    fn may_map(&self, access: &Access) -> Result<(), ControlError> {
        may(access, &self.org, access.can_support(self.space.id))
    }

    fn event<'a>(&self, kind: &'a str, data: serde_json::Value) -> NewEvent<'a> {
        event(kind, &self.route, &self.domain, &self.space, data)
    }
}

pub(crate) async fn delete_route_rows(
    tx: &mut dyn WriteTx,
    id: RouteId,
) -> Result<(), ControlError> {
    let of_route = Condition::In("route_id", vec![id.to_string().into()]);
    tx.delete_rows(<Destination as store::Noun>::TABLE, &[of_route]).await?;
    store::delete::<Route>(tx, id).await?;
    Ok(())
}

async fn routes_of(
    tx: &mut (impl ReadTx + ?Sized),
    apps: Vec<Value>,
) -> Result<Condition, ControlError> {
    let query = Query::all().and(Condition::In("app_id", apps));
    let destinations = store::list::<Destination>(tx, &query).await?.items;
    Ok(Condition::In("id", distinct(destinations.iter().map(|one| one.route_id))))
}

async fn shown(tx: &mut (impl ReadTx + ?Sized), route: Route) -> Result<ShownRoute, ControlError> {
    let mut shown = shown_all(tx, vec![route]).await?;
    shown.pop().ok_or(ControlError::NotFound { noun: "Route" })
}

async fn shown_all(
    tx: &mut (impl ReadTx + ?Sized),
    routes: Vec<Route>,
) -> Result<Vec<ShownRoute>, ControlError> {
    let domain_ids = distinct(routes.iter().map(|route| route.domain_id));
    let query = Query::all().and(Condition::In("id", domain_ids));
    let domains = store::list::<Domain>(tx, &query).await?.items;
    let route_ids = distinct(routes.iter().map(|route| route.id));
    let query = Query::all().and(Condition::In("route_id", route_ids));
    let destinations = store::list::<Destination>(tx, &query).await?.items;
    let shown = routes.into_iter().filter_map(|route| {
        let domain = domains.iter().find(|domain| domain.id == route.domain_id)?;
        let of_route = destinations.iter().filter(|one| one.route_id == route.id);
        let destinations = of_route.cloned().collect();
        Some(ShownRoute { address: route_address(&route, domain), route, destinations })
    });
    Ok(shown.collect())
}

/// Why a route cannot be made under this domain.
fn refused_domain(domain: Option<Domain>, access: &Access, org: &Org) -> ControlError {
    let seen = domain.filter(|domain| can_read(access, domain));
    let detail = match seen {
        Some(domain) => format!(
            "Invalid domain. Domain '{}' is not available in organization '{}'.",
            domain.name, org.name
        ),
        None => {
            "Invalid domain. Ensure that the domain exists and you have access to it.".to_owned()
        }
    };
    ControlError::Unprocessable(detail)
}

fn event<'a>(
    kind: &'a str,
    route: &Route,
    domain: &Domain,
    space: &Space,
    data: serde_json::Value,
) -> NewEvent<'a> {
    NewEvent {
        kind,
        target: target("route", route.id, &route_address(route, domain)),
        data,
        space_id: Some(space.id),
        org_id: Some(space.org_id),
    }
}
