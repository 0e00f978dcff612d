//! Why an app is as it is, and how the platform is: what `cupola why` and `cupola status` tell.

use cupola_domain::{
    apps::{App, AppState},
    builds::{Build, BuildState},
    deployments::{Deployment, DeploymentState},
    ids::AppId,
    instances::{Exit, Instance, InstanceState},
    processes::Process,
    release_phase::ReleasePhase,
    spaces::Space,
};
use cupola_ports::{
    cells::{ActualState, Phase},
    data_plane::TrafficReport,
    logs::LogTotals,
    store::{self, Direction, Query},
};

use crate::{Control, ControlError, caller::Caller};

/// How many exits are told.
const EXITS_TOLD: u64 = 5;

/// What is known of an app's runs and builds.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub app: App,
    pub instances: Vec<ExplainedInstance>,
    /// Newest first.
    pub exits: Vec<Exit>,
    /// The last build, if it failed.
    pub failed_build: Option<Build>,
    /// The last one, with what it cost so far.
    pub deployment: Option<Deployment>,
    /// That of what was started or deployed last, if it has not succeeded.
    pub release_phase: Option<ReleasePhase>,
}

#[derive(Clone, Debug)]
pub struct ExplainedInstance {
    pub process_type: String,
    pub row: Instance,
    pub routable: bool,
    /// The last failed check of an instance that runs.
    pub failing: Option<String>,
}

/// How the platform is.
#[derive(Clone, Debug)]
pub struct PlatformStatus {
    pub apps_started: u64,
    pub apps_stopped: u64,
    pub instances: Vec<InstanceState>,
    pub builds_running: u64,
    pub traffic: TrafficReport,
    pub logs: LogTotals,
}

impl Control {
    pub async fn explain(&self, caller: &Caller, id: AppId) -> Result<Explanation, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let not_found = || ControlError::NotFound { noun: "App" };
        let app = store::get::<App>(&mut *tx, id).await?.ok_or_else(not_found)?;
        let space = store::get::<Space>(&mut *tx, app.space_id).await?.ok_or_else(not_found)?;
        if !access.can_read_space(space.org_id, space.id) {
            return Err(not_found());
        }
        let of_app = || Query::by("app_id", id.to_string());
        let newest = |limit| Query {
            limit: Some(limit),
            ..of_app().ordered("created_at", Direction::Descending)
        };
        let processes = store::list::<Process>(&mut *tx, &of_app()).await?.items;
        let rows = store::list::<Instance>(&mut *tx, &of_app()).await?.items;
        let exits = store::list::<Exit>(&mut *tx, &newest(EXITS_TOLD)).await?.items;
        let last_build = store::list::<Build>(&mut *tx, &newest(1)).await?.items.pop();
        let mut deployment = store::list::<Deployment>(&mut *tx, &newest(1)).await?.items.pop();
        deployment.iter_mut().for_each(|deployment| self.add_present_cost(deployment));
        let actual = self.ports.cells.watch().borrow().clone();
        let mut instances: Vec<_> =
            rows.into_iter().map(|row| explained(row, &processes, &actual)).collect();
        instances
            .sort_by(|a, b| (&a.process_type, a.row.index).cmp(&(&b.process_type, b.row.index)));
        // A cancelled deployment counts as long as the app runs what that went back to.
        let counts = |one: &Deployment| {
            one.state.is_active()
                || (one.state == DeploymentState::Canceled && one.oldest() == Some(app.generation))
        };
        let of_deployment = deployment.clone().filter(counts).and_then(|one| one.release_phase);
        let release_phase = [of_deployment, app.release_phase.clone()]
            .into_iter()
            .flatten()
            .find(|phase| !phase.has_succeeded());
        Ok(Explanation {
            app,
            release_phase,
            instances,
            exits,
            failed_build: last_build
                .filter(|build| matches!(build.state, BuildState::Failed { .. })),
            deployment,
        })
    }

    /// For administrators: it tells about everybody's apps.
    pub async fn status(&self, caller: &Caller) -> Result<PlatformStatus, ControlError> {
        if !caller.admin {
            return Err(ControlError::NotAuthorized);
        }
        let mut tx = self.read().await?;
        let none = |query: Query| Query { limit: Some(0), ..query };
        let count = none(Query::by("state", state_name(AppState::Started)));
        let apps_started = store::list::<App>(&mut *tx, &count).await?.total;
        let count = none(Query::by("state", state_name(AppState::Stopped)));
        let apps_stopped = store::list::<App>(&mut *tx, &count).await?.total;
        let builds = store::list::<Build>(&mut *tx, &none(Query::by("state", "STAGING"))).await?;
        let instances = store::list::<Instance>(&mut *tx, &Query::all()).await?.items;
        let traffic = TrafficReport::clone(&self.ports.data_plane.report().borrow());
        Ok(PlatformStatus {
            apps_started,
            apps_stopped,
            instances: instances.into_iter().map(|row| row.state).collect(),
            builds_running: builds.total,
            traffic,
            logs: self.ports.logs.totals(),
        })
    }
}

const fn state_name(state: AppState) -> &'static str {
    match state {
        AppState::Started => "STARTED",
        AppState::Stopped => "STOPPED",
    }
}

fn explained(row: Instance, processes: &[Process], actual: &ActualState) -> ExplainedInstance {
    let process = processes.iter().find(|process| process.id == row.process_id);
    let phase = actual.instances.get(&row.id).map(|seen| &seen.phase);
    let (ready, failing) = match phase {
        Some(Phase::Running { ready, failing }) => (*ready, failing.clone()),
        _ => (false, None),
    };
    ExplainedInstance {
        process_type: process.map_or_else(String::new, |process| process.kind.clone()),
        routable: ready && row.state == InstanceState::Running,
        failing,
        row,
    }
}
