//! An installation of its own for each test, and what it is asked about.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cupola_domain::{
    ids::{AppId, InstanceId, ProcessId},
    processes::{Check, HealthCheck, InstanceLimits},
};
use cupola_ports::{
    cells::{ActualInstance, Cells, DesiredInstance, ExitReport, Phase, Work},
    clock::SystemClock,
    logs::{LogLine, LogSink},
    sandbox::{SandboxLimits, SandboxSpec},
};
use cupola_runtime::{
    Cidr, HOST_STACK, NativeCells, Runtime, RuntimeConfig, RuntimeError, SELF_IN_CONTAINER,
    teardown,
};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};

/// Nothing that is waited for takes longer than this, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Lines that were taken, and a way to wait for more.
#[derive(Debug)]
pub(crate) struct Lines {
    taken: Mutex<Vec<LogLine>>,
    lost: AtomicU64,
    count: watch::Sender<usize>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { taken: Mutex::default(), lost: AtomicU64::new(0), count: watch::Sender::new(0) }
    }
}

impl LogSink for Lines {
    fn append(&self, line: LogLine) {
        self.taken.lock().unwrap().push(line);
        self.count.send_modify(|count| *count += 1);
    }

    fn lost(&self, _source_id: &str, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.count.send_modify(|count| *count += 1);
    }
}

impl Lines {
    /// The texts of one source type.
    pub(crate) fn of(&self, source_type: &str) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        taken
            .iter()
            .filter(|line| line.source_type == source_type)
            .map(|line| String::from_utf8_lossy(&line.message).into_owned())
            .collect()
    }

    pub(crate) fn lost_count(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits for a line of the app that contains this.
    pub(crate) async fn wait_for(&self, text: &str) -> String {
        self.wait_for_of("APP/PROC/WEB", text).await
    }

    /// Waits for a line of this source type that contains this.
    pub(crate) async fn wait_for_of(&self, source_type: &str, text: &str) -> String {
        self.wait_until(|| self.of(source_type).into_iter().find(|line| line.contains(text)))
            .await
            .unwrap_or_else(|| panic!("no line with `{text}`: {:?}", self.taken.lock().unwrap()))
    }

    pub(crate) async fn wait_until<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let mut count = self.count.subscribe();
        let found = async {
            loop {
                count.borrow_and_update();
                if let Some(found) = look() {
                    return found;
                }
                count.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, found).await.ok()
    }
}

/// An installation in a folder of its own.
pub(crate) struct Host {
    pub(crate) folder: TempDir,
    pub(crate) config: RuntimeConfig,
    pub(crate) runtime: Runtime,
    pub(crate) cells: NativeCells,
    pub(crate) lines: Arc<Lines>,
}

impl Host {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl Fn(&mut RuntimeConfig)) -> Self {
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let mut config = config_in(folder.path());
        change(&mut config);
        let runtime = loop {
            config.instance_subnet = free_subnet();
            match Runtime::open(config.clone()).await {
                Ok(runtime) => break runtime,
                Err(RuntimeError::SubnetOccupied { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        };
        let lines = Arc::new(Lines::default());
        let cells = runtime.cells(lines.clone(), Arc::new(SystemClock::new())).await.unwrap();
        Self { folder, config, runtime, cells, lines }
    }

    pub(crate) fn instance_folder(&self, id: InstanceId) -> PathBuf {
        self.config.run_dir.join("instances").join(id.to_string())
    }

    /// Applies this one instance and no other.
    pub(crate) async fn start(&self, desired: &DesiredInstance) {
        self.cells.apply(vec![desired.clone()]).await.unwrap();
    }

    pub(crate) async fn wait_for(
        &self,
        id: InstanceId,
        is_it: impl Fn(&ActualInstance) -> bool,
    ) -> ActualInstance {
        wait_for(&self.cells, id, is_it).await
    }

    pub(crate) async fn running(&self, id: InstanceId) -> ActualInstance {
        self.wait_for(id, |actual| {
            assert!(!matches!(actual.phase, Phase::Exited(_)), "{actual:?}");
            matches!(actual.phase, Phase::Running { ready: true, .. })
        })
        .await
    }

    pub(crate) async fn exited(&self, id: InstanceId) -> ExitReport {
        exited(&self.cells, id).await
    }

    /// Stops everything and waits until nothing is left.
    pub(crate) async fn stop_all(&self) {
        self.cells.apply(Vec::new()).await.unwrap();
        let mut actual = self.cells.watch();
        timeout(PATIENCE, actual.wait_for(|state| state.instances.is_empty()))
            .await
            .expect("everything stops")
            .unwrap();
    }
}

pub(crate) async fn exited(cells: &NativeCells, id: InstanceId) -> ExitReport {
    let actual = wait_for(cells, id, |actual| matches!(actual.phase, Phase::Exited(_))).await;
    let Phase::Exited(report) = actual.phase else { unreachable!() };
    report
}

pub(crate) async fn wait_for(
    cells: &NativeCells,
    id: InstanceId,
    is_it: impl Fn(&ActualInstance) -> bool,
) -> ActualInstance {
    let mut actual = cells.watch();
    let found = actual.wait_for(|state| state.instances.get(&id).is_some_and(&is_it));
    match timeout(PATIENCE, found).await {
        Ok(state) => state.unwrap().instances[&id].clone(),
        Err(_) => panic!("never so: {:?}", cells.watch().borrow().instances.get(&id)),
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let (run, data) = (self.config.run_dir.clone(), self.config.data_dir.clone());
        std::thread::spawn(move || block_on(async move { teardown(&run, &data).await }))
            .join()
            .unwrap()
            .unwrap();
    }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}

pub(crate) fn config_in(folder: &Path) -> RuntimeConfig {
    let exe = Path::new(env!("CARGO_BIN_EXE_cupola-runtime-test-roles"));
    let mut config = RuntimeConfig::new(&folder.join("data"), &folder.join("run"), exe);
    // Tests do not wait for apps that will not listen to reason.
    config.stop_grace = Duration::from_millis(500);
    config
}

/// One of 16384 small networks, by chance: other tests run at the same time.
fn free_subnet() -> Cidr {
    let random = InstanceId::random().uuid().as_u128();
    format!("10.{}.{}.0/24", 64 + (random % 64), (random >> 8) % 256).parse().unwrap()
}

/// The small apps in this crate's test binary.
pub(crate) fn test_app(args: &[&str]) -> Vec<String> {
    [SELF_IN_CONTAINER, "test-app"].iter().chain(args).map(ToString::to_string).collect()
}

pub(crate) fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

pub(crate) fn instance(argv: Vec<String>, check: Check) -> DesiredInstance {
    DesiredInstance {
        id: InstanceId::random(),
        app_id: AppId::random(),
        process_id: ProcessId::random(),
        process_type: "web".to_owned(),
        work: Work::Process,
        index: 0,
        layers: Vec::new(),
        stack: HOST_STACK.to_owned(),
        argv,
        sidecars: Vec::new(),
        environment: Vec::new(),
        working_directory: "/home/vcap/app".to_owned(),
        limits: InstanceLimits { memory_mib: 64, disk_mib: 64, log_rate_bytes_per_s: -1 },
        port: 8080,
        health_check: HealthCheck::with_defaults(check),
        readiness_check: HealthCheck::with_defaults(Check::Process),
        files: Vec::new(),
    }
}

pub(crate) fn sandbox(argv: Vec<String>) -> SandboxSpec {
    SandboxSpec {
        id: format!("s-{}", InstanceId::random()),
        layers: Vec::new(),
        stack: HOST_STACK.to_owned(),
        argv,
        environment: Vec::new(),
        working_directory: "/home/vcap".to_owned(),
        binds: Vec::new(),
        limits: SandboxLimits {
            memory_mib: 128,
            disk_mib: 64,
            pids: 64,
            cpu_weight: 20,
            time_max: PATIENCE,
        },
        network: false,
        freeze: Vec::new(),
        hand_back: Vec::new(),
    }
}

/// What an instance answers to a plain request.
pub(crate) async fn get(address: SocketAddr) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

/// `NAME VALUE` lines as a map.
pub(crate) fn table(lines: &[String]) -> HashMap<String, String> {
    lines
        .iter()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
