//! Instances of a process, as users see them: states, usage, and replacing a single one.

use std::collections::HashMap;

use cupola_domain::{
    apps::AppState,
    ids::{InstanceId, ProcessId},
    instances::{Instance, InstanceState},
    processes::Process,
    time::Timestamp,
};
use cupola_ports::{
    cells::{ActualInstance, Phase, Usage},
    store::{self, Condition, Query, ReadTx},
};
use serde_json::json;

use super::ProcessRef;
use crate::{Control, ControlError, caller::Caller, control::ids};

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
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (_, process) = self.readable_process(&mut *tx, &access, &process).await?;
        drop(tx);
        let id = process.id;
        let settled = self.hold(async |tx| {
            let (process, instances) = read_instances(tx, id).await?;
            Ok(is_settled(&instances).then_some((process, instances)))
        });
        let (process, instances) = match settled.await? {
            Some(settled) => settled,
            None => read_instances(&mut *self.read().await?, id).await?,
        };
        self.observed(process, instances).await
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
        let mut by_process = HashMap::new();
        for process in processes {
            let rows = rows.remove(&process.id).unwrap_or_default();
            let wanted = is_wanted(&mut *tx, process).await?;
            by_process.insert(process.id, of_process(process, wanted, &rows));
        }
        Ok(by_process)
    }

    async fn observed(
        &self,
        process: Process,
        mut instances: Vec<InstanceStats>,
    ) -> Result<ProcessStats, ControlError> {
        let mut usage = self.ports.cells.usage().await;
        let actual = self.ports.cells.watch().borrow().clone();
        for one in &mut instances {
            let Some(id) = one.id else { continue };
            one.usage = usage.remove(&id);
            one.actual = actual.instances.get(&id).cloned();
        }
        Ok(ProcessStats { process, instances, at: self.ports.clock.now() })
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
        for mut row in rows.into_iter().filter(|row| row.index == index) {
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

async fn read_instances(
    tx: &mut dyn ReadTx,
    id: ProcessId,
) -> Result<(Process, Vec<InstanceStats>), ControlError> {
    let process = store::get::<Process>(tx, id).await?;
    let process = process.ok_or(ControlError::NotFound { noun: "Process" })?;
    let query = Query::by("process_id", id.to_string());
    let rows = store::list::<Instance>(tx, &query).await?.items;
    let wanted = is_wanted(tx, &process).await?;
    let instances = of_process(&process, wanted, &rows);
    Ok((process, instances))
}

async fn is_wanted(
    tx: &mut (impl ReadTx + ?Sized),
    process: &Process,
) -> Result<bool, ControlError> {
    let app = store::get::<cupola_domain::apps::App>(tx, process.app_id).await?;
    Ok(app.is_some_and(|app| app.desired == AppState::Started && app.current_droplet.is_some()))
}

/// Every index that the process should have, and what is known of it.
fn of_process(process: &Process, is_wanted: bool, rows: &[Instance]) -> Vec<InstanceStats> {
    let of_index = |index| {
        let mut of_index = rows.iter().filter(|row| row.index == index);
        let current = of_index.clone().find(|row| {
            row.generation == process.generation && !is_leaving(row.state)
        });
        let (state, row) = match current {
            Some(row) if is_wanted => (state_of(row.state), Some(row)),
            _ if is_wanted => (IndexState::Starting, None),
            _ => match of_index.next() {
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
            details: row.filter(|_| explains).and_then(|row| row.detail.clone()),
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
