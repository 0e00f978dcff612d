//! What the pass of instances looks at: everything that is wanted and remembered, read at once.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use cupola_domain::{
    apps::{App, AppState},
    deployments::Deployment,
    generations::Share,
    ids::{AppId, InstanceId, ProcessId},
    instance_plan::{Known, Seen, Step, next_due, plan},
    instances::{Instance, InstanceState},
    processes::{Process, WEB},
    time::Timestamp,
};
use cupola_ports::{
    cells::{ActualState, Phase},
    store::{self, Query, ReadTx},
};

use super::PERIOD;
use crate::{ControlError, deployments::active};

/// How soon to look again while something is draining.
const WHILE_DRAINING: Duration = Duration::from_millis(50);

/// Everything that is wanted and remembered.
pub(super) struct State {
    pub(super) apps: HashMap<AppId, App>,
    pub(super) processes: HashMap<ProcessId, Process>,
    pub(super) instances: HashMap<InstanceId, Instance>,
    /// Those that are under way. There is at most one of an app.
    pub(super) deployments: HashMap<AppId, Deployment>,
}

impl State {
    pub(super) async fn read(tx: &mut dyn ReadTx) -> Result<Self, ControlError> {
        let instances = store::list::<Instance>(tx, &Query::all()).await?.items;
        let apps = store::list::<App>(tx, &Query::by("state", "STARTED")).await?.items;
        let apps: HashMap<_, _> = apps.into_iter().map(|app| (app.id, app)).collect();
        let processes = store::list::<Process>(tx, &Query::all()).await?.items;
        let processes = processes.into_iter().filter(|process| apps.contains_key(&process.app_id));
        let deployments = store::list::<Deployment>(tx, &active()).await?.items;
        Ok(Self {
            deployments: deployments.into_iter().map(|one| (one.app_id, one)).collect(),
            processes: processes.map(|process| (process.id, process)).collect(),
            apps,
            instances: instances.into_iter().map(|row| (row.id, row)).collect(),
        })
    }

    /// The steps of every process that is wanted or remembered.
    pub(super) fn plan(
        &self,
        actual: &ActualState,
        drained: &HashSet<InstanceId>,
        now: Timestamp,
    ) -> Vec<PlannedStep> {
        let mut known: HashMap<ProcessId, Vec<Known<'_>>> = HashMap::new();
        for row in self.instances.values() {
            let seen = seen(actual, row.id);
            let one = Known { row, seen, drained: drained.contains(&row.id) };
            known.entry(row.process_id).or_default().push(one);
        }
        for process in self.processes.keys() {
            known.entry(*process).or_default();
        }
        let steps = known.into_iter().flat_map(|(process_id, known)| {
            let steps = plan(&self.desired(process_id), &known, now);
            steps.into_iter().map(move |step| PlannedStep { process_id, step })
        });
        steps.collect()
    }

    fn desired(&self, process: ProcessId) -> Vec<Share> {
        let Some(process) = self.processes.get(&process) else { return Vec::new() };
        let Some(app) = self.apps.get(&process.app_id) else { return Vec::new() };
        if app.desired != AppState::Started || app.current_droplet.is_none() {
            return Vec::new();
        }
        let mut shares = match self.deployments.get(&app.id) {
            Some(deployment) if process.kind == WEB => deployment.shares().cloned().collect(),
            _ => vec![Share::of(app.generation, process.instances)],
        };
        shares.retain(|share| share.generation != app.generation || app.is_released());
        shares
    }

    /// The `web` process has the same value as its app.
    pub(super) fn web_of(&self, app: AppId) -> Option<&Process> {
        self.processes.get(&ProcessId::from_uuid(app.uuid()))
    }

    pub(super) fn sleep(&self, now: Timestamp) -> Duration {
        let known: Vec<Known<'_>> = self
            .instances
            .values()
            .map(|row| Known { row, seen: Seen::Absent, drained: false })
            .collect();
        let due = next_due(&known).map_or(PERIOD, |at| at.since(now));
        let draining = self.instances.values().any(|row| row.state == InstanceState::Draining);
        // A crash whose time has come is a step of the pass that was just made; the floor keeps a
        // clock that stands still from making this a busy loop.
        let floor = Duration::from_millis(5);
        if draining { WHILE_DRAINING } else { due.clamp(floor, PERIOD) }
    }
}

pub(super) struct PlannedStep {
    pub(super) process_id: ProcessId,
    pub(super) step: Step,
}

impl PlannedStep {
    /// The instance that became healthy.
    pub(super) const fn ran(&self) -> Option<InstanceId> {
        match self.step {
            Step::Ran(id) => Some(id),
            _ => None,
        }
    }
}

fn seen(actual: &ActualState, id: InstanceId) -> Seen {
    match actual.instances.get(&id).map(|instance| &instance.phase) {
        None => Seen::Absent,
        Some(Phase::Starting) => Seen::Starting,
        Some(Phase::Running { .. } | Phase::Stopping) => Seen::Running,
        Some(Phase::Exited(report)) => {
            Seen::Exited { uptime: report.ended_at.since(report.started_at) }
        }
    }
}
