//! Instances of a process, as users see them: states, usage, and replacing a single one.

use std::collections::HashMap;

use cupola_domain::{
    access::Access,
    apps::{App, AppState},
    deployments::Deployment,
    ids::{AppId, GenerationId, InstanceId, ProcessId},
    instances::{Instance, InstanceState},
    processes::{Process, WEB},
    release_phase::ReleasePhase,
    time::Timestamp,
};
use cupola_ports::{
    cells::{ActualInstance, Phase, Usage},
    store::{self, Condition, Query, ReadTx},
};
use serde_json::json;

use super::ProcessRef;
use crate::{
    Control, ControlError, apps::distinct, caller::Caller, control::ids, deployments::active,
};

/// The state of an index, as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    Starting,
    Running,
    Crashed,
    Stopping,
    Down,
}

impl IndexState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Crashed => "CRASHED",
            Self::Stopping => "STOPPING",
            Self::Down => "DOWN",
        }
    }
}

/// One index of a process.
#[derive(Clone, Debug)]
pub struct InstanceStats {
    pub index: u32,
    pub state: IndexState,
    pub id: Option<InstanceId>,
    /// When the state was entered.
    pub since: Option<Timestamp>,
    pub details: Option<String>,
    pub actual: Option<ActualInstance>,
    pub usage: Option<Usage>,
}

impl InstanceStats {
    /// Whether requests are sent to it; unknown while it is not running.
    pub fn is_routable(&self) -> Option<bool> {
        match self.actual.as_ref()?.phase {
            Phase::Running { ready, .. } => Some(ready),
            Phase::Starting | Phase::Stopping | Phase::Exited(_) => None,
        }
    }
}

/// A process with every index it should have.
#[derive(Clone, Debug)]
pub struct ProcessStats {
    pub process: Process,
    pub instances: Vec<InstanceStats>,
    pub at: Timestamp,
}

impl Control {
    /// What the instances of a process do and use, as soon as one of them runs or none will for
    /// now. A client that waits for a start asks for this again and again, so that the answer is
    /// held while something is still starting.
    pub async fn process_stats(
        &self,
        caller: &Caller,
        process: ProcessRef,
    ) -> Result<ProcessStats, ControlError> {
        let mut hold = self.hold();
        loop {
            let mut tx = self.read().await?;
            let access = self.access(&mut *tx, caller).await?;
            if let Some(stats) = self.stats_of_deployment(&mut *tx, &access, &process).await? {
                drop(tx);
                if is_settled(&stats.1) || !hold.changed().await {
                    return Ok(self.observed(stats.0, stats.1).await);
                }
                continue;
            }
            let (placed, process) = self.readable_process(&mut *tx, &access, &process).await?;
            let query = Query::by("process_id", process.id.to_string());
            let rows = store::list::<Instance>(&mut *tx, &query).await?.items;
            let of_app = active().and_by("app_id", placed.app.id.to_string());
            let deployment = store::first::<Deployment>(&mut *tx, &of_app).await?;
            drop(tx);
            let wanted = wanted(&placed.app, &process, deployment.as_ref());
            let failure = failure(placed.app.release_phase.as_ref());
            let instances = of_process(&process, &wanted, &rows, failure.as_deref());
            if is_settled(&instances) || !hold.changed().await {
                return Ok(self.observed(process, instances).await);
            }
        }
    }

    /// A deployment is named where clients ask for its new process: its new instances are told.
    async fn stats_of_deployment(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        process: &ProcessRef,
    ) -> Result<Option<(Process, Vec<InstanceStats>)>, ControlError> {
        let ProcessRef::Id(id) = process else { return Ok(None) };
        let Some(deployment) = store::get::<Deployment>(tx, id).await? else { return Ok(None) };
        let web = ProcessRef::Of(deployment.app_id, WEB.to_owned());
        let (_, mut process) = self.readable_process(tx, access, &web).await?;
        let query = Query::by("process_id", process.id.to_string());
        let rows = store::list::<Instance>(tx, &query).await?.items;
        let new = u32::try_from(deployment.new.indices.len()).unwrap_or(u32::MAX);
        // The first one is about to come.
        process.instances = new.max(process.instances.min(1));
        let failure = failure(deployment.release_phase.as_ref());
        let wanted = [deployment.new.generation];
        let instances = of_process(&process, &wanted, &rows, failure.as_deref());
        Ok(Some((process, instances)))
    }

    /// As `process_stats`, at once and without usage, for many processes.
    pub async fn instances_of(
        &self,
        processes: &[Process],
    ) -> Result<HashMap<ProcessId, Vec<InstanceStats>>, ControlError> {
        let mut tx = self.read().await?;
        let process_ids: Vec<ProcessId> = processes.iter().map(|process| process.id).collect();
        let query = Query::all().and(Condition::In("process_id", ids(&process_ids)));
        let mut rows: HashMap<ProcessId, Vec<Instance>> = HashMap::new();
        for row in store::list::<Instance>(&mut *tx, &query).await?.items {
            rows.entry(row.process_id).or_default().push(row);
        }
        let app_ids = distinct(processes.iter().map(|process| process.app_id));
        let query = Query::all().and(Condition::In("id", app_ids));
        let apps = store::list::<App>(&mut *tx, &query).await?.items;
        let apps: HashMap<AppId, App> = apps.into_iter().map(|app| (app.id, app)).collect();
        let deployments = store::list::<Deployment>(&mut *tx, &active()).await?.items;
        let deployments: HashMap<AppId, Deployment> =
            deployments.into_iter().map(|one| (one.app_id, one)).collect();
        let of = |process: &Process| {
            let rows = rows.get(&process.id).map_or(&[][..], Vec::as_slice);
            let app = apps.get(&process.app_id);
            let deployment = deployments.get(&process.app_id);
            let wanted = app.map_or_else(Vec::new, |app| wanted(app, process, deployment));
            let failure = app.and_then(|app| failure(app.release_phase.as_ref()));
            (process.id, of_process(process, &wanted, rows, failure.as_deref()))
        };
        Ok(processes.iter().map(of).collect())
    }

    async fn observed(&self, process: Process, mut instances: Vec<InstanceStats>) -> ProcessStats {
        let mut usage = self.ports.cells.usage().await;
        let actual = self.ports.cells.watch().borrow().clone();
        for one in &mut instances {
            let Some(id) = one.id else { continue };
            one.usage = usage.remove(&id);
            one.actual = actual.instances.get(&id).cloned();
        }
        ProcessStats { process, instances, at: self.ports.clock.now() }
    }

    /// Replaces one instance: a new one is started, the old one drained and stopped.
    pub async fn restart_instance(
        &self,
        caller: &Caller,
        process: ProcessRef,
        index: &str,
    ) -> Result<(), ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, process) = self.readable_process(&mut *tx, &access, &process).await?;
        placed.may_support(&access)?;
        let index = index.parse().ok().filter(|index: &u32| *index < process.instances);
        let index = index.ok_or(ControlError::NotFound { noun: "Instance" })?;
        let query = Query::by("process_id", process.id.to_string());
        let rows = store::list::<Instance>(&mut *tx, &query).await?.items;
        let of_app = active().and_by("app_id", placed.app.id.to_string());
        let deployment = store::first::<Deployment>(&mut *tx, &of_app).await?;
        // Of two versions with this index the one that stats show.
        let wanted = wanted(&placed.app, &process, deployment.as_ref());
        let is_shown = |row: &&Instance| row.index == index && !is_leaving(row.state);
        let shown = wanted
            .iter()
            .find_map(|id| rows.iter().filter(is_shown).find(|row| row.generation == *id));
        if let Some(mut row) = shown.cloned() {
            match row.state {
                InstanceState::Starting | InstanceState::Running => {
                    row.state = InstanceState::Draining;
                    row.updated_at = self.ports.clock.now();
                    store::update(&mut *tx, &row).await?;
                }
                // Nothing runs: without its memory the loop starts it at once.
                InstanceState::Crashed | InstanceState::Down => {
                    store::delete::<Instance>(&mut *tx, row.id).await?;
                }
                InstanceState::Draining | InstanceState::Stopping => {}
            }
        }
        let data = json!({
            "process_guid": process.id.to_string(),
            "process_type": process.kind,
            "process_index": index,
        });
        let event = placed.event("audit.app.process.terminate_instance", data);
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        let kind = &process.kind;
        self.tell(process.app_id, format!("Terminating process: \"{kind}\", index: \"{index}\""));
        Ok(())
    }
}

/// The generations whose instances count, the newest first: more than one during a deployment.
fn wanted(app: &App, process: &Process, deployment: Option<&Deployment>) -> Vec<GenerationId> {
    if app.desired != AppState::Started || app.current_droplet.is_none() {
        return Vec::new();
    }
    match deployment {
        Some(one) if process.kind == WEB => {
            one.shares().map(|share| share.generation).rev().collect()
        }
        _ => vec![app.generation],
    }
}

fn failure(phase: Option<&ReleasePhase>) -> Option<String> {
    phase.and_then(ReleasePhase::failure)
}

/// Every index that the process should have, and what is known of it. During a deployment an index
/// is that of the newest generation which has it. Where the release phase has failed, what is not
/// there will not come.
fn of_process(
    process: &Process,
    wanted: &[GenerationId],
    rows: &[Instance],
    release_failure: Option<&str>,
) -> Vec<InstanceStats> {
    let of_index = |index| {
        let of_index = || rows.iter().filter(|row| row.index == index);
        let current = wanted.iter().find_map(|generation| {
            of_index().find(|row| row.generation == *generation && !is_leaving(row.state))
        });
        let (state, row) = match current {
            Some(row) => (state_of(row.state), Some(row)),
            None if !wanted.is_empty() && release_failure.is_some() => (IndexState::Crashed, None),
            None if !wanted.is_empty() => (IndexState::Starting, None),
            None => match of_index().next() {
                Some(row) => (IndexState::Stopping, Some(row)),
                None => (IndexState::Down, None),
            },
        };
        let explains = matches!(state, IndexState::Crashed);
        InstanceStats {
            index,
            state,
            id: row.map(|row| row.id),
            since: row.map(|row| row.updated_at),
            details: match row {
                Some(row) => row.detail.clone().filter(|_| explains),
                None => release_failure.filter(|_| explains).map(str::to_owned),
            },
            actual: None,
            usage: None,
        }
    };
    (0..process.instances).map(of_index).collect()
}

const fn is_leaving(state: InstanceState) -> bool {
    matches!(state, InstanceState::Draining | InstanceState::Stopping)
}

const fn state_of(state: InstanceState) -> IndexState {
    match state {
        InstanceState::Starting => IndexState::Starting,
        InstanceState::Running => IndexState::Running,
        InstanceState::Draining | InstanceState::Stopping => IndexState::Stopping,
        // One that was given up stays crashed for users, as it does in Cloud Foundry.
        InstanceState::Crashed | InstanceState::Down => IndexState::Crashed,
    }
}

/// Whether waiting would tell a client nothing more.
fn is_settled(instances: &[InstanceStats]) -> bool {
    let running = instances.iter().any(|one| one.state == IndexState::Running);
    let starting = instances.iter().any(|one| one.state == IndexState::Starting);
    running || !starting
}
