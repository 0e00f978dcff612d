//! Decides what has to change so that an app is set up as it was around an earlier revision.
//!
//! A revision tells what runs. What surrounds it (how many instances, which routes and
//! services) changes without one, so that it is written down when a revision is left.
//!
//! Invariant: never takes an address from somebody else, and never loses a word about what cannot
//! be as it was.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, DomainId, RouteId, ServiceInstanceId},
    processes::{HealthCheck, InstanceLimits, Process},
};

/// What is set around a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// By process type.
    pub processes: BTreeMap<String, ProcessSetting>,
    pub routes: Vec<RouteSetting>,
    #[serde(default)]
    pub bindings: Vec<BindingSetting>,
}

impl Surroundings {
    /// As they are without the bindings of a restoration that is under way.
    pub fn set_bindings_back(&mut self, under_way: &Restoration) {
        self.bindings.retain(|one| !under_way.bindings_added.iter().any(|new| new.is_same(one)));
        for old in &under_way.bindings_removed {
            if !self.bindings.iter().any(|one| one.is_same(old)) {
                self.bindings.push(old.clone());
            }
        }
    }
}

/// A service instance that the app is bound to. Its credentials are its own: they are as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingSetting {
    pub instance_id: ServiceInstanceId,
    pub instance: String,
    /// None takes the instance's.
    pub name: Option<String>,
}

impl BindingSetting {
    fn is_same(&self, other: &Self) -> bool {
        (self.instance_id, &self.name) == (other.instance_id, &other.name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSetting {
    pub instances: u32,
    pub limits: InstanceLimits,
    pub health_check: HealthCheck,
    pub readiness_check: HealthCheck,
}

impl ProcessSetting {
    /// Gives a process these limits and checks, but not this number of instances.
    pub fn set_on(&self, process: &mut Process) {
        process.limits = self.limits;
        process.health_check.clone_from(&self.health_check);
        process.readiness_check.clone_from(&self.readiness_check);
    }

    /// Whether the process has these limits and checks.
    pub fn is_set_on(&self, process: &Process) -> bool {
        process.limits == self.limits
            && process.health_check == self.health_check
            && process.readiness_check == self.readiness_check
    }
}

/// A route that leads to a process of the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSetting {
    pub route_id: RouteId,
    pub domain_id: DomainId,
    pub domain: String,
    pub host: String,
    pub path: String,
    pub options: serde_json::Map<String, serde_json::Value>,
    pub process_type: String,
    pub port: Option<u16>,
    pub protocol: String,
    pub weight: Option<u8>,
    /// Other apps that the route leads to.
    pub beside: BTreeSet<AppId>,
}

impl RouteSetting {
    /// Host, domain and path.
    pub fn address(&self) -> String {
        let dot = if self.host.is_empty() { "" } else { "." };
        format!("{}{dot}{}{}", self.host, self.domain, self.path)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.address() == other.address() && self.process_type == other.process_type
    }
}

/// What is found now under the address of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// No route; one can be made.
    Free,
    /// A route of the app's space, which leads to these other apps.
    InSpace { beside: BTreeSet<AppId> },
    /// A route that another space shares with the app's, which leads to these other apps. It can be
    /// mapped; its options and weights are the other space's.
    Shared { beside: BTreeSet<AppId> },
    /// It cannot be had, and why.
    Refused(String),
}

/// What one instance may be given at most on this platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub instances_max: u32,
    pub memory_mib_max: u32,
    pub disk_mib_max: u32,
}

/// What has to change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoration {
    pub processes: Vec<ProcessStep>,
    pub routes_added: Vec<RouteSetting>,
    pub routes_removed: Vec<RouteSetting>,
    pub routes_changed: Vec<RouteStep>,
    #[serde(default)]
    pub bindings_added: Vec<BindingSetting>,
    #[serde(default)]
    pub bindings_removed: Vec<BindingSetting>,
    /// What cannot be as it was.
    pub lost: Vec<Lost>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStep {
    pub kind: String,
    /// None: the app has no such process now; one comes with the droplet.
    pub from: Option<ProcessSetting>,
    pub to: ProcessSetting,
}

/// Another weight or other options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStep {
    pub from: RouteSetting,
    pub to: RouteSetting,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    pub what: String,
    pub why: String,
}

impl Restoration {
    /// Nothing of what surrounds the release has to change.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
            && self.routes_added.is_empty()
            && self.routes_removed.is_empty()
            && self.routes_changed.is_empty()
            && !self.has_bindings()
    }

    fn has_bindings(&self) -> bool {
        !self.bindings_added.is_empty() || !self.bindings_removed.is_empty()
    }

    /// How many instances of a process there shall be, if another number than now.
    pub fn instances(&self, kind: &str) -> Option<u32> {
        let step = self.processes.iter().find(|step| step.kind == kind)?;
        let is_other = step.from.as_ref().is_none_or(|from| from.instances != step.to.instances);
        is_other.then_some(step.to.instances)
    }

    /// In words, for the description of the revision that comes of it.
    pub fn summary(&self) -> Option<String> {
        let has_routes = !self.routes_added.is_empty()
            || !self.routes_removed.is_empty()
            || !self.routes_changed.is_empty();
        let parts = [
            (!self.processes.is_empty(), "scale"),
            (has_routes, "routes"),
            (self.has_bindings(), "bindings"),
        ];
        let parts: Vec<&str> =
            parts.iter().filter(|(is_part, _)| *is_part).map(|(_, name)| *name).collect();
        let (last, before) = parts.split_last()?;
        let what = if before.is_empty() {
            (*last).to_owned()
        } else {
            format!("{} and {last}", before.join(", "))
        };
        Some(format!("Restored {what}."))
    }
}

/// Compares what surrounded the revision `then` with what is set `now`. `address` tells what is found
/// under the address of a route that does not lead to the app any more, `is_bindable` whether a
/// service instance is there.
pub fn plan(
    then: &Surroundings,
    now: &Surroundings,
    bounds: Bounds,
    address: impl Fn(&RouteSetting) -> Address,
    is_bindable: impl Fn(&BindingSetting) -> bool,
) -> Restoration {
    let mut restoration = Restoration::default();
    plan_processes(&mut restoration, then, now, bounds);
    plan_routes(&mut restoration, then, now, address);
    plan_bindings(&mut restoration, then, now, is_bindable);
    restoration
}

fn plan_routes(
    restoration: &mut Restoration,
    then: &Surroundings,
    now: &Surroundings,
    address: impl Fn(&RouteSetting) -> Address,
) {
    for wanted in &then.routes {
        match now.routes.iter().find(|present| present.is_same(wanted)) {
            Some(present) if is_set_alike(present, wanted) => {}
            Some(present) => match fixed(address(wanted)) {
                None => {
                    let (from, to) = (present.clone(), wanted.clone());
                    restoration.routes_changed.push(RouteStep { from, to });
                }
                Some(why) => {
                    let what = format!("options and weight of the route {}", wanted.address());
                    restoration.lost.push(Lost { what, why });
                }
            },
            None => match refusal(wanted, address(wanted)) {
                None => restoration.routes_added.push(wanted.clone()),
                Some(why) => {
                    let what = format!("route {}", wanted.address());
                    restoration.lost.push(Lost { what, why });
                }
            },
        }
    }
    let is_new = |present: &&RouteSetting| !then.routes.iter().any(|one| one.is_same(present));
    restoration.routes_removed = now.routes.iter().filter(is_new).cloned().collect();
}

fn plan_bindings(
    restoration: &mut Restoration,
    then: &Surroundings,
    now: &Surroundings,
    is_bindable: impl Fn(&BindingSetting) -> bool,
) {
    for wanted in &then.bindings {
        if now.bindings.iter().any(|present| present.is_same(wanted)) {
            continue;
        }
        if is_bindable(wanted) {
            restoration.bindings_added.push(wanted.clone());
        } else {
            let what = format!("binding to {}", wanted.instance);
            let why = "the service instance is deleted".to_owned();
            restoration.lost.push(Lost { what, why });
        }
    }
    let is_new = |present: &&BindingSetting| !then.bindings.iter().any(|one| one.is_same(present));
    restoration.bindings_removed = now.bindings.iter().filter(is_new).cloned().collect();
}

/// Why a route cannot lead to the app again.
fn refusal(wanted: &RouteSetting, address: Address) -> Option<String> {
    match address {
        Address::Free => None,
        Address::Refused(why) => Some(why),
        // Mapped beside another app it would take a part of that one's requests.
        Address::InSpace { beside } | Address::Shared { beside } => (!beside
            .is_subset(&wanted.beside))
        .then(|| "it leads to another app now; unmap it from that one first".to_owned()),
    }
}

/// Why options and weight of a route that leads to the app cannot be set.
fn fixed(address: Address) -> Option<String> {
    match address {
        Address::Free | Address::InSpace { .. } => None,
        Address::Shared { .. } => Some("the space that shares it sets them".to_owned()),
        Address::Refused(why) => Some(why),
    }
}

fn is_set_alike(one: &RouteSetting, other: &RouteSetting) -> bool {
    one.options == other.options && one.weight == other.weight
}

fn plan_processes(
    restoration: &mut Restoration,
    then: &Surroundings,
    now: &Surroundings,
    bounds: Bounds,
) {
    for (kind, wanted) in &then.processes {
        let from = now.processes.get(kind).cloned();
        let (to, lost) = bounded(kind, wanted, bounds);
        restoration.lost.extend(lost);
        if from.as_ref() != Some(&to) {
            restoration.processes.push(ProcessStep { kind: kind.clone(), from, to });
        }
    }
    // What was not there did not run. Its process stays: an app may not have lost its settings.
    for (kind, present) in &now.processes {
        if !then.processes.contains_key(kind) && present.instances > 0 {
            let to = ProcessSetting { instances: 0, ..present.clone() };
            let from = Some(present.clone());
            restoration.processes.push(ProcessStep { kind: kind.clone(), from, to });
        }
    }
}

/// The setting within what the platform allows today, and what is lost by that.
fn bounded(kind: &str, wanted: &ProcessSetting, bounds: Bounds) -> (ProcessSetting, Vec<Lost>) {
    let mut to = wanted.clone();
    let mut lost = Vec::new();
    let mut cap = |value: &mut u32, max: u32, unit: &str| {
        if *value > max {
            let what = format!("{value} {unit} of {kind}");
            let why = format!("the platform allows {max} at most now");
            lost.push(Lost { what, why });
            *value = max;
        }
    };
    cap(&mut to.instances, bounds.instances_max, "instances");
    cap(&mut to.limits.memory_mib, bounds.memory_mib_max, "MiB memory");
    cap(&mut to.limits.disk_mib, bounds.disk_mib_max, "MiB disk");
    (to, lost)
}

#[cfg(test)]
mod tests;
