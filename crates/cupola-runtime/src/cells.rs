//! The instances on this host: a task for each, and what all of them look like.
//!
//! Invariant: decides nothing about restarts, routes or numbers of instances.

mod environment;
mod health;
mod instance;
mod listening;
mod usage;
mod words;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use cupola_domain::ids::InstanceId;
use cupola_ports::{
    cells::{ActualInstance, ActualState, CellError, Cells, DesiredInstance, Phase, Usage},
    clock::Clock,
    logs::{LogLine, LogSink, LogStream},
};
use instance::{InstanceTask, Origin};
use tokio::sync::watch;

use crate::{
    error::RuntimeError,
    layers::blocking,
    records::{self, InstanceRecord, Kind, Launch},
    runtime::Runtime,
    shim::names,
    teardown,
};

/// The `Cells` port on this host.
pub struct NativeCells {
    shared: Arc<Shared>,
}

impl fmt::Debug for NativeCells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeCells").finish_non_exhaustive()
    }
}

struct Shared {
    runtime: Runtime,
    sink: Arc<dyn LogSink>,
    clock: Arc<dyn Clock>,
    actual: watch::Sender<Arc<ActualState>>,
    tasks: Mutex<HashMap<InstanceId, TaskHandle>>,
    readings: Mutex<HashMap<InstanceId, usage::Reading>>,
}

/// What the others know of the task of an instance.
struct TaskHandle {
    /// Turns true when the instance is no longer desired.
    forget: watch::Sender<bool>,
    log_bytes: Arc<AtomicU64>,
}

impl NativeCells {
    /// Takes over what outlived the last control process.
    pub(crate) async fn adopt(
        runtime: Runtime,
        sink: Arc<dyn LogSink>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RuntimeError> {
        let state = ActualState { adopted: false, ..ActualState::default() };
        let shared = Arc::new(Shared {
            runtime,
            sink,
            clock,
            actual: watch::Sender::new(Arc::new(state)),
            tasks: Mutex::default(),
            readings: Mutex::default(),
        });
        shared.adopt_all().await?;
        shared.change(|state| state.adopted = true);
        Ok(Self { shared })
    }
}

#[async_trait]
impl Cells for NativeCells {
    async fn apply(&self, desired: Vec<DesiredInstance>) -> Result<(), CellError> {
        let wanted: HashSet<InstanceId> = desired.iter().map(|instance| instance.id).collect();
        let new: Vec<DesiredInstance> = {
            let tasks = self.shared.tasks.lock().expect("no panic while it is held");
            for (id, task) in tasks.iter().filter(|(id, _)| !wanted.contains(id)) {
                tracing::debug!(instance.id = %id, "instance is no longer desired");
                task.forget.send_replace(true);
            }
            desired.into_iter().filter(|instance| !tasks.contains_key(&instance.id)).collect()
        };
        for instance in new {
            self.shared.start_task(instance, Origin::New);
        }
        Ok(())
    }

    fn watch(&self) -> watch::Receiver<Arc<ActualState>> {
        self.shared.actual.subscribe()
    }

    async fn usage(&self) -> HashMap<InstanceId, Usage> {
        let shared = self.shared.clone();
        blocking(move || Ok(shared.read_usage())).await.unwrap_or_default()
    }
}

impl Shared {
    async fn adopt_all(self: &Arc<Self>) -> Result<(), RuntimeError> {
        let paths = self.runtime.inner.paths.clone();
        let entries: Vec<_> =
            std::fs::read_dir(paths.instances()).into_iter().flatten().flatten().collect();
        for entry in entries {
            let folder = entry.path();
            let launch = records::read::<Launch>(&folder.join(names::LAUNCH));
            let record = records::read::<InstanceRecord>(&folder.join(names::INSTANCE));
            match (launch, record) {
                (Ok(Some(launch)), Ok(Some(record))) if launch.kind == Kind::Instance => {
                    let is_same_boot = launch.boot_id == self.runtime.inner.boot_id;
                    let origin = Origin::Adopted { address: record.address, is_same_boot };
                    self.start_task(record.desired, origin);
                }
                (Err(error), _) | (_, Err(error)) => {
                    // A newer version's container: better alive than known.
                    tracing::error!(%error, "cannot adopt a container; it is left alone");
                }
                _ => self.remove_remains(&folder).await?,
            }
        }
        Ok(())
    }

    /// Sandboxes end with the process that wanted their result, and so do half-made instances.
    async fn remove_remains(&self, folder: &Path) -> Result<(), RuntimeError> {
        let (inner, folder) = (self.runtime.inner.clone(), folder.to_owned());
        blocking(move || {
            teardown::end_now(&inner.oci.program, &inner.paths, &folder);
            let _ = std::fs::remove_dir_all(&folder);
            Ok(())
        })
        .await
    }

    fn start_task(self: &Arc<Self>, desired: DesiredInstance, origin: Origin) {
        let (forget, is_forgotten) = watch::channel(false);
        let log_bytes = Arc::new(AtomicU64::new(0));
        let id = desired.id;
        let task = InstanceTask::new(self.clone(), desired, is_forgotten, log_bytes.clone());
        self.put(task.first_sight(origin));
        let mut tasks = self.tasks.lock().expect("no panic while it is held");
        tasks.insert(id, TaskHandle { forget, log_bytes });
        tokio::spawn(task.run(origin));
    }

    fn change(&self, change: impl FnOnce(&mut ActualState)) {
        self.actual.send_modify(|state| change(Arc::make_mut(state)));
    }

    fn put(&self, instance: ActualInstance) {
        self.change(|state| {
            state.instances.insert(instance.id, instance);
        });
    }

    fn remove(&self, id: InstanceId) {
        self.tasks.lock().expect("no panic while it is held").remove(&id);
        self.readings.lock().expect("no panic while it is held").remove(&id);
        self.change(|state| {
            state.instances.remove(&id);
        });
    }

    /// A line of the platform about an instance, for those who read the app's log.
    fn tell(&self, desired: &DesiredInstance, source_type: &str, stream: LogStream, text: String) {
        self.sink.append(LogLine {
            at: self.clock.now(),
            source_id: desired.app_id.to_string(),
            source_type: source_type.to_owned(),
            instance: desired.index.to_string(),
            stream,
            message: text.into_bytes(),
        });
    }

    fn read_usage(&self) -> HashMap<InstanceId, Usage> {
        let running: Vec<ActualInstance> = self
            .actual
            .borrow()
            .instances
            .values()
            .filter(|instance| !matches!(instance.phase, Phase::Exited(_)))
            .cloned()
            .collect();
        let logged: HashMap<InstanceId, u64> = {
            let tasks = self.tasks.lock().expect("no panic while it is held");
            tasks.iter().map(|(id, task)| (*id, task.log_bytes.load(Ordering::Relaxed))).collect()
        };
        let (now, at) = (self.clock.now(), self.clock.monotonic());
        let mut readings = self.readings.lock().expect("no panic while it is held");
        running
            .into_iter()
            .filter_map(|instance| {
                let folder = self.runtime.inner.paths.instance(&instance.id.to_string());
                let parent = self.runtime.inner.config.cgroup_parent();
                let log_bytes = logged.get(&instance.id).copied().unwrap_or_default();
                let reading = usage::Reading::take(&instance, &folder, &parent, log_bytes, at)?;
                let previous = readings.insert(instance.id, reading.clone());
                Some((instance.id, reading.usage(previous.as_ref(), instance.started_at, now)))
            })
            .collect()
    }
}
