//! How a process is written.

use cupola_control::{HIDDEN, processes::PlacedProcess};
use cupola_domain::processes::{Check, HealthCheck, Process};
use cupola_wire::{
    list::ToOne,
    processes::{self, HealthCheckData, ProcessRelationships},
};

use crate::{Api, apps::post_link, metadata};

/// A process that was asked for by itself.
pub(super) fn process(api: &Api, shown: &PlacedProcess) -> processes::Process {
    let mut body = listed(api, &shown.process);
    if shown.shows_command {
        body.command = shown.command.clone();
    } else {
        body.command = Some(HIDDEN.to_owned());
    }
    body.links.extend(api.links([("space", format!("/v3/spaces/{}", shown.placed.space.id))]));
    body
}

/// A process in a list. Commands may hold secrets, and lists are seen by many.
pub(super) fn listed(api: &Api, process: &Process) -> processes::Process {
    let own = format!("/v3/processes/{}", process.id);
    let mut links = api.links([
        ("self", own.clone()),
        ("app", format!("/v3/apps/{}", process.app_id)),
        ("stats", format!("{own}/stats")),
        ("process_instances", format!("{own}/process_instances")),
    ]);
    links.insert("scale".to_owned(), post_link(api, format!("{own}/actions/scale")));
    processes::Process {
        guid: process.id.to_string(),
        kind: process.kind.clone(),
        command: Some("[PRIVATE DATA HIDDEN IN LISTS]".to_owned()),
        user: "vcap".to_owned(),
        instances: process.instances,
        memory_in_mb: process.limits.memory_mib,
        disk_in_mb: process.limits.disk_mib,
        log_rate_limit_in_bytes_per_second: process.limits.log_rate_bytes_per_s,
        health_check: liveness(&process.health_check),
        readiness_health_check: check(&process.readiness_check),
        version: process.generation.to_string(),
        relationships: ProcessRelationships { app: ToOne::to(process.app_id), revision: None },
        metadata: metadata::present(&process.metadata),
        process_instances: None,
        created_at: process.created_at.rfc3339(),
        updated_at: process.updated_at.rfc3339(),
        links,
    }
}

fn liveness(health: &HealthCheck) -> processes::HealthCheck {
    let mut body = check(health);
    body.data.timeout = Some(health.start_timeout_s);
    body
}

fn check(health: &HealthCheck) -> processes::HealthCheck {
    let (kind, endpoint) = match &health.check {
        Check::Port => ("port", None),
        Check::Http { endpoint } => ("http", Some(endpoint.clone())),
        Check::Process => ("process", None),
    };
    processes::HealthCheck {
        kind: kind.to_owned(),
        data: HealthCheckData {
            timeout: None,
            invocation_timeout: health.invocation_timeout_s,
            interval: health.interval_s,
            endpoint,
        },
    }
}
