//! `/cupola/v1`: what the platform tells beyond the Cloud Foundry API.

mod changes;
mod cost;
mod dora;
mod pull;
mod restore;

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cupola_control::why::{ExplainedInstance, Explanation, PlatformStatus};
use cupola_domain::{
    apps::AppState,
    builds::{Build, BuildState},
    ids::AppId,
    instances::{Exit, ExitCause, InstanceState},
};
use cupola_wire::{
    status::{Status, StatusApps, StatusLogs, StatusRouter},
    why::{Why, WhyBuild, WhyExit, WhyInstance, WhyReleasePhase},
};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Id},
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/cupola/v1/status", get(status))
        .route("/cupola/v1/apps/{guid}/changes", get(changes::list))
        .route("/cupola/v1/apps/{guid}/dora", get(dora::show))
        .route("/cupola/v1/apps/{guid}/pull", get(pull::show))
        .route("/cupola/v1/apps/{guid}/pull/{rung}", post(pull::pull).delete(pull::put_back))
        .route("/cupola/v1/apps/{guid}/why", get(why))
        .route("/cupola/v1/deployments/{guid}/cost", get(cost::show))
        .route("/cupola/v1/revisions/{guid}/restore", get(restore::preview).post(restore::restore))
}

async fn why(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
) -> Result<Response, ApiFailure> {
    let explanation = api.control.explain(&caller, id).await?;
    Ok(Json(present_why(explanation)).into_response())
}

async fn status(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
) -> Result<Response, ApiFailure> {
    let status = api.control.status(&caller).await?;
    Ok(Json(present_status(&api, &status)).into_response())
}

fn present_why(explanation: Explanation) -> Why {
    Why {
        app: explanation.app.name,
        desired: match explanation.app.desired {
            AppState::Started => "STARTED",
            AppState::Stopped => "STOPPED",
        }
        .to_owned(),
        instances: explanation.instances.into_iter().map(instance).collect(),
        exits: explanation.exits.into_iter().map(exit).collect(),
        failed_build: explanation.failed_build.and_then(failed_build),
        last_deployment: explanation.deployment.as_ref().map(cost::present),
        release_phase: explanation.release_phase.map(|phase| WhyReleasePhase {
            state: phase.progress.name().to_owned(),
            task: phase.task.to_string(),
            detail: phase.failure(),
        }),
    }
}

fn instance(instance: ExplainedInstance) -> WhyInstance {
    WhyInstance {
        process: instance.process_type,
        index: instance.row.index,
        state: state(instance.row.state).to_owned(),
        since: instance.row.updated_at.rfc3339(),
        routable: instance.routable,
        detail: instance.failing.or(instance.row.detail),
    }
}

const fn state(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Starting => "starting",
        InstanceState::Running => "running",
        InstanceState::Draining => "draining",
        InstanceState::Stopping => "stopping",
        InstanceState::Crashed => "crashed",
        InstanceState::Down => "down",
    }
}

/// Whatever is shorter is no delay of the crash policy: noticing an exit takes a moment.
const AT_ONCE: Duration = Duration::from_secs(5);

fn exit(exit: Exit) -> WhyExit {
    let uptime_s = exit.ended_at.since(exit.started_at).as_secs();
    let reaction = match exit.restart_at {
        Some(at) if at.since(exit.ended_at) < AT_ONCE => "started again at once".to_owned(),
        Some(at) => format!("started again at {at}, after {} crashes in a row", exit.crash_count),
        None if exit.cause == ExitCause::Stopped => "it was to end".to_owned(),
        None => "not started again; `restart` tries anew".to_owned(),
    };
    let killed = if exit.killed { "; it did not end on SIGTERM and was killed" } else { "" };
    WhyExit {
        process: exit.process_type,
        index: exit.index,
        at: exit.ended_at.rfc3339(),
        cause: format!("{}{killed}", exit.cause),
        uptime_s,
        memory_peak_bytes: exit.memory_peak_bytes,
        crash_count: exit.crash_count,
        reaction,
    }
}

fn failed_build(build: Build) -> Option<WhyBuild> {
    match build.state {
        BuildState::Failed { message, .. } => {
            Some(WhyBuild { at: build.updated_at.rfc3339(), error: message })
        }
        BuildState::Staging | BuildState::Staged { .. } => None,
    }
}

fn present_status(api: &Api, status: &PlatformStatus) -> Status {
    let settings = api.control.settings();
    let count = |wanted: &[InstanceState]| {
        status.instances.iter().filter(|state| wanted.contains(state)).count() as u64
    };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: settings.external_url.clone(),
        apps_domain: settings.apps_domain.clone(),
        apps: StatusApps {
            started: status.apps_started,
            stopped: status.apps_stopped,
            instances_running: count(&[InstanceState::Running]),
            instances_starting: count(&[InstanceState::Starting]),
            instances_crashed: count(&[InstanceState::Crashed, InstanceState::Down]),
            builds_running: status.builds_running,
        },
        router: StatusRouter {
            is_serving: status.traffic.serving.is_some(),
            table_version: status.traffic.serving.map(|(_, version)| version),
            in_flight: status.traffic.instances.values().map(|traffic| traffic.in_flight).sum(),
            restarts: status.traffic.restarts,
            access_lines_lost: status.traffic.access_lines_lost,
        },
        logs: StatusLogs {
            taken: status.logs.taken,
            lost: status.logs.lost,
            evicted: status.logs.evicted,
        },
        limits: vec![
            "everything runs on this machine: when it is down, all apps are".to_owned(),
            "the database is one SQLite file without a replica: back up the data directory"
                .to_owned(),
        ],
    }
}
