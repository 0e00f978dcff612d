//! Keeps the route table true: every route with the instances that may be sent requests.
//!
//! Part of the instances' pass, because a stop depends on the table that came before it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use cupola_domain::{
    domains::Domain,
    ids::{AppId, DomainId, InstanceId, RouteId},
    instances::{Instance, InstanceState},
    processes::Process,
    route_table::{
        Endpoint, ReleaseGroup, RequestMatch, RouteEntry, RouteKey, RouteRule, RouteTable,
    },
    routes::{Destination, Route, shares},
};
use cupola_ports::{
    cells::{ActualState, Phase},
    store::{self, Lease, Query},
};

use crate::{Control, ControlError};

/// The last table that was handed over, and which instances were ever in one.
#[derive(Default)]
pub(super) struct Memory {
    table: Arc<RouteTable>,
    routed: HashSet<InstanceId>,
}

impl Memory {
    pub(super) fn was_routed(&self, id: InstanceId) -> bool {
        self.routed.contains(&id)
    }

    /// Notes instances that may be in a table which an earlier process handed over.
    pub(super) fn routed_before(&mut self, ids: impl IntoIterator<Item = InstanceId>) {
        self.routed.extend(ids);
    }

    pub(super) fn forget_all_but(&mut self, keep: impl Fn(&InstanceId) -> bool) {
        self.routed.retain(keep);
    }
}

/// Hands over the table, if it changed, and returns its version.
pub(super) async fn apply(
    control: &Control,
    memory: &mut Memory,
    lease: &Lease,
    actual: &ActualState,
    instances: &HashMap<InstanceId, Instance>,
) -> Result<u64, ControlError> {
    let routes = read(control, actual, instances).await?;
    let last = &memory.table;
    let version = if routes == last.routes { last.version } else { last.version + 1 };
    if version != last.version || last.epoch != lease.epoch {
        memory.table = Arc::new(RouteTable { epoch: lease.epoch, version, routes });
        memory.routed.extend(endpoint_ids(&memory.table));
    }
    // Handed over at each pass: the adapter knows what the data plane has, and sends what differs.
    control.ports.data_plane.apply(memory.table.clone()).await.map_err(|source| {
        ControlError::Outside { action: "handing over the route table", source: Box::new(source) }
    })?;
    Ok(version)
}

fn endpoint_ids(table: &RouteTable) -> impl Iterator<Item = InstanceId> + '_ {
    let rules = table.routes.values().flat_map(|entry| &entry.rules);
    rules.flat_map(|rule| &rule.groups).flat_map(|group| &group.endpoints).map(|e| e.instance_id)
}

async fn read(
    control: &Control,
    actual: &ActualState,
    instances: &HashMap<InstanceId, Instance>,
) -> Result<BTreeMap<RouteKey, RouteEntry>, ControlError> {
    let mut tx = control.read().await?;
    let domains = store::list::<Domain>(&mut *tx, &Query::all()).await?.items;
    let domains: HashMap<DomainId, String> = domains.into_iter().map(|d| (d.id, d.name)).collect();
    let routes = store::list::<Route>(&mut *tx, &Query::all()).await?.items;
    let mut destinations: HashMap<RouteId, Vec<Destination>> = HashMap::new();
    for destination in store::list::<Destination>(&mut *tx, &Query::all()).await?.items {
        destinations.entry(destination.route_id).or_default().push(destination);
    }
    let processes = store::list::<Process>(&mut *tx, &Query::all()).await?.items;
    drop(tx);

    let endpoints = endpoints(actual, instances, &processes);
    let entry = |route: &Route| {
        let key = RouteKey {
            host: host(route, domains.get(&route.domain_id)?),
            path: route.path.clone(),
        };
        let of_route = destinations.get(&route.id).map_or(&[][..], Vec::as_slice);
        let rule = rule(of_route, &endpoints);
        Some((key, RouteEntry { rules: vec![rule], load_balancing: route.load_balancing() }))
    };
    Ok(routes.iter().filter_map(entry).collect())
}

fn host(route: &Route, domain: &str) -> String {
    if route.host.is_empty() { domain.to_owned() } else { format!("{}.{domain}", route.host) }
}

fn rule(destinations: &[Destination], endpoints: &Endpoints) -> RouteRule {
    let weights: Vec<_> = destinations.iter().map(|one| one.weight).collect();
    let shares = shares(&weights);
    let mut groups: Vec<_> = destinations.iter().map(|one| group(one, endpoints)).collect();
    for (group, share) in groups.iter_mut().zip(shares.iter().flatten()) {
        group.weight = *share;
    }
    let is_pooled = shares.is_none() && groups.len() > 1;
    RouteRule { matches: RequestMatch::Any, groups, mirror: None, is_pooled }
}

fn group(destination: &Destination, endpoints: &Endpoints) -> ReleaseGroup {
    let key = (destination.app_id, destination.process_type.clone());
    let mut endpoints = endpoints.get(&key).cloned().unwrap_or_default();
    for endpoint in &mut endpoints {
        endpoint.address.set_port(destination.port.unwrap_or(endpoint.address.port()));
    }
    ReleaseGroup {
        app_id: destination.app_id,
        process_type: destination.process_type.clone(),
        weight: 1,
        endpoints,
    }
}

type Endpoints = HashMap<(AppId, String), Vec<Endpoint>>;

/// The instances that may be sent requests, by app and process type, in the order of their index.
fn endpoints(
    actual: &ActualState,
    instances: &HashMap<InstanceId, Instance>,
    processes: &[Process],
) -> Endpoints {
    let kinds: HashMap<_, _> = processes.iter().map(|p| (p.id, p.kind.as_str())).collect();
    let mut endpoints: Endpoints = HashMap::new();
    for row in instances.values().filter(|row| row.state == InstanceState::Running) {
        let Some(seen) = actual.instances.get(&row.id) else { continue };
        let (Phase::Running { ready: true, .. }, Some(address)) = (&seen.phase, seen.address)
        else {
            continue;
        };
        let Some(kind) = kinds.get(&row.process_id) else { continue };
        let endpoint =
            Endpoint { instance_id: row.id, process_id: row.process_id, index: row.index, address };
        endpoints.entry((row.app_id, (*kind).to_owned())).or_default().push(endpoint);
    }
    for list in endpoints.values_mut() {
        list.sort_by_key(|endpoint| (endpoint.index, endpoint.instance_id));
    }
    endpoints
}
