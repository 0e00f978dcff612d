//! Cells whose instances are healthy at once, until a test lets them crash.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use cupola_domain::{
    ids::{InstanceId, ProcessId},
    instances::ExitCause,
};
use cupola_ports::{
    cells::{
        ActualInstance, ActualState, CellError, Cells, DesiredInstance, ExitReport, Phase, Usage,
    },
    clock::Clock,
};
use tokio::sync::watch;

use super::ManualClock;

pub struct FakeCells {
    clock: Arc<ManualClock>,
    actual: watch::Sender<Arc<ActualState>>,
    desired: watch::Sender<Vec<DesiredInstance>>,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    /// Instances of these processes end at their start.
    crashing: HashMap<ProcessId, ExitCause>,
    /// Instances of these processes stay `Starting`.
    slow: HashSet<ProcessId>,
    started: u16,
}

impl FakeCells {
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        let state = ActualState { adopted: true, instances: HashMap::new() };
        let (actual, _) = watch::channel(Arc::new(state));
        Self { clock, actual, desired: watch::Sender::default(), script: Mutex::default() }
    }

    /// Instances of this process end at their start from now on.
    pub fn let_crash(&self, process: ProcessId, cause: ExitCause) {
        self.script().crashing.insert(process, cause);
    }

    /// Instances of this process are not healthy until `let_run`.
    pub fn let_start_slowly(&self, process: ProcessId) {
        self.script().slow.insert(process);
    }

    /// Instances of this process run from now on; those that were slow are healthy now.
    pub fn let_run(&self, process: ProcessId) {
        let mut script = self.script();
        script.crashing.remove(&process);
        script.slow.remove(&process);
        drop(script);
        self.change(|instance| {
            if instance.process_id == process && instance.phase == Phase::Starting {
                instance.phase = Phase::Running { ready: true, failing: None };
            }
        });
    }

    /// Ends one instance.
    pub fn end(&self, id: InstanceId, cause: ExitCause) {
        let now = self.clock.now();
        self.change(|instance| {
            if instance.id == id {
                let started_at = instance.started_at.unwrap_or(now);
                instance.phase = Phase::Exited(ExitReport {
                    cause: cause.clone(),
                    killed: false,
                    memory_peak_bytes: None,
                    started_at,
                    ended_at: now,
                });
            }
        });
    }

    /// What was asked for last.
    pub fn desired(&self) -> Vec<DesiredInstance> {
        self.desired.borrow().clone()
    }

    /// The same, for waiting on.
    pub fn watch_desired(&self) -> watch::Receiver<Vec<DesiredInstance>> {
        self.desired.subscribe()
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, mut change: impl FnMut(&mut ActualInstance)) {
        self.actual.send_modify(|state| {
            Arc::make_mut(state).instances.values_mut().for_each(&mut change);
        });
    }

    fn begin(&self, script: &mut Script, desired: &DesiredInstance) -> ActualInstance {
        script.started += 1;
        let now = self.clock.now();
        let phase = match script.crashing.get(&desired.process_id) {
            Some(cause) => Phase::Exited(ExitReport {
                cause: cause.clone(),
                killed: false,
                memory_peak_bytes: None,
                started_at: now,
                ended_at: now,
            }),
            None if script.slow.contains(&desired.process_id) => Phase::Starting,
            None => Phase::Running { ready: true, failing: None },
        };
        ActualInstance {
            id: desired.id,
            app_id: desired.app_id,
            process_id: desired.process_id,
            index: desired.index,
            phase,
            address: Some(SocketAddr::from(([10, 0, 0, 1], 10_000 + script.started))),
            started_at: Some(now),
        }
    }
}

#[async_trait]
impl Cells for FakeCells {
    async fn apply(&self, desired: Vec<DesiredInstance>) -> Result<(), CellError> {
        let mut script = self.script();
        let mut state = ActualState::clone(&self.actual.borrow());
        let wanted: HashSet<InstanceId> = desired.iter().map(|one| one.id).collect();
        let before = state.instances.len();
        state.instances.retain(|id, _| wanted.contains(id));
        let mut changed = state.instances.len() != before;
        for one in &desired {
            if let Entry::Vacant(missing) = state.instances.entry(one.id) {
                missing.insert(self.begin(&mut script, one));
                changed = true;
            }
        }
        drop(script);
        self.desired.send_replace(desired);
        if changed {
            self.actual.send_replace(Arc::new(state));
        }
        Ok(())
    }

    fn watch(&self) -> watch::Receiver<Arc<ActualState>> {
        self.actual.subscribe()
    }

    async fn usage(&self) -> HashMap<InstanceId, Usage> {
        let usage = Usage {
            cpu_cores: 0.25,
            memory_bytes: 32 << 20,
            disk_bytes: 8 << 20,
            log_bytes_per_s: 100,
            uptime_s: 60,
        };
        let state = self.actual.borrow().clone();
        let runs = |one: &&ActualInstance| matches!(one.phase, Phase::Running { .. });
        state.instances.values().filter(runs).map(|one| (one.id, usage)).collect()
    }
}
