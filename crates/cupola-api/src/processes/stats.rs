//! What the instances of a process do and use.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use cupola_control::processes::{IndexState, InstanceStats, ProcessStats};
use cupola_domain::{processes::APP_PORT, time::Timestamp};
use cupola_wire::processes::{self, InstancePort, ProcessInstance, ProcessInstances, Stats, Usage};

use super::Named;
use crate::{Api, error::ApiFailure, extract::Authenticated};

/// Descriptors that an instance may have open.
const DESCRIPTORS_MAX: u64 = 16_384;

pub(super) async fn stats(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Named(process): Named,
) -> Result<Response, ApiFailure> {
    let stats = api.control.process_stats(&caller, process).await?;
    let resources = stats.instances.iter().map(|one| present(&stats, one)).collect();
    Ok(Json(Stats { resources }).into_response())
}

pub(super) async fn instances(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Named(process): Named,
) -> Result<Response, ApiFailure> {
    let process = api.control.process(&caller, process).await?.process;
    let mut all = api.control.instances_of(std::slice::from_ref(&process)).await?;
    let instances = all.remove(&process.id).unwrap_or_default();
    let own = format!("/v3/processes/{}", process.id);
    let body = ProcessInstances {
        resources: present_instances(&instances, api.control.now()),
        links: api.links([("self", format!("{own}/process_instances")), ("process", own.clone())]),
    };
    Ok(Json(body).into_response())
}

pub(super) fn present_instances(
    instances: &[InstanceStats],
    now: Timestamp,
) -> Vec<ProcessInstance> {
    let present = |one: &InstanceStats| ProcessInstance {
        index: one.index,
        state: one.state.name().to_owned(),
        since: one.since.map_or(0, |since| now.since(since).as_secs()),
    };
    instances.iter().map(present).collect()
}

fn present(stats: &ProcessStats, one: &InstanceStats) -> processes::InstanceStats {
    let down = processes::InstanceStats {
        kind: stats.process.kind.clone(),
        index: one.index,
        state: one.state.name().to_owned(),
        instance_guid: None,
        routable: None,
        host: None,
        instance_internal_ip: None,
        instance_ports: None,
        uptime: 0,
        mem_quota: None,
        disk_quota: None,
        log_rate_limit: None,
        fds_quota: None,
        isolation_segment: None,
        details: one.details.clone(),
        usage: None,
    };
    if one.state == IndexState::Down {
        return down;
    }
    let limits = stats.process.limits;
    let address = one.actual.as_ref().and_then(|actual| actual.address);
    let host = address.map_or_else(String::new, |address| address.ip().to_string());
    let port = |port| InstancePort {
        external: port,
        internal: APP_PORT,
        external_tls_proxy_port: None,
        internal_tls_proxy_port: None,
    };
    let since = one.actual.as_ref().and_then(|actual| actual.started_at).or(one.since);
    processes::InstanceStats {
        instance_guid: one.id.map(|id| id.to_string()),
        routable: one.is_routable(),
        host: Some(host.clone()),
        instance_internal_ip: Some(host),
        instance_ports: Some(address.map(|address| port(address.port())).into_iter().collect()),
        uptime: since.map_or(0, |since| stats.at.since(since).as_secs()),
        mem_quota: Some(u64::from(limits.memory_mib) << 20),
        disk_quota: Some(u64::from(limits.disk_mib) << 20),
        log_rate_limit: Some(limits.log_rate_bytes_per_s),
        fds_quota: Some(DESCRIPTORS_MAX),
        usage: Some(usage(stats, one)),
        ..down
    }
}

fn usage(stats: &ProcessStats, one: &InstanceStats) -> Usage {
    one.usage.map_or_else(Usage::default, |usage| Usage {
        time: Some(stats.at.rfc3339()),
        cpu: Some(usage.cpu_cores),
        mem: Some(usage.memory_bytes),
        disk: Some(usage.disk_bytes),
        log_rate: Some(usage.log_bytes_per_s),
    })
}
