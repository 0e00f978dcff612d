//! `cupola up`: from a configuration to a platform that accepts pushes.

mod admin;
mod banner;
mod host;
mod sealing;
mod tls;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use cupola_api::Listeners;
use cupola_control::{Control, InstanceSettings, Loops, Ports, Settings, StagingSettings};
use cupola_ports::clock::{Clock, SystemClock};
use cupola_router::{RouterClient, RouterConfig, RouterProcess};
use cupola_runtime::{NativeLayers, Runtime, RuntimeConfig};
use cupola_signals::{LogLimits, SqliteLogs};
use cupola_staging::{
    BuildpackStager, HostEnvironment, HostFiles, StagerConfig, host_registry_environment,
};
use cupola_store::{LocalBlobs, SqliteStore};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    config::{self, Config, Options},
    run_dir,
};

/// How long control may take to end its requests and loops.
const STOP_MAX: Duration = Duration::from_secs(10);

pub(crate) use host::start_logging;

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let config = Config::resolve(options)?;
    start_logging();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(up(config))
}

async fn up(config: Config) -> anyhow::Result<()> {
    let open_files = host::raise_open_files()?;
    let _lock = cupola_store::lock_data_dir(&config.data_dir)?;
    run_dir::check(&config.run_dir, &config.data_dir)?;
    let mut begun = Begun::beside(&config);
    match start(&config, open_files, &mut begun).await {
        Ok(()) => {
            // The router goes on without us: only its supervision ends.
            drop(begun);
            banner::left(&config);
            Ok(())
        }
        Err(error) => {
            begun.undo(&config).await;
            Err(error)
        }
    }
}

async fn start(config: &Config, open_files: u64, begun: &mut Begun) -> anyhow::Result<()> {
    run_dir::take(&config.run_dir)?;
    let runtime_config = config.for_runtime()?;
    let warnings = host::check(&runtime_config).await?;
    let doors = Doors {
        listener: bind_api(config.api_addr).await?,
        acceptor: tls::acceptor(config)?,
        runtime_config,
    };
    let router = start_router(config).await?;
    let router = begun.router.insert(router);
    run_control(config, doors, router, open_files, &warnings).await
}

/// What a start began, for the case that it fails: it leaves nothing behind then, and touches
/// nothing that went on without control.
struct Begun {
    /// Apps of an earlier start are there, and need a router, whoever started that.
    had_apps: bool,
    router: Option<RouterProcess>,
}

impl Begun {
    fn beside(config: &Config) -> Self {
        Self { had_apps: cupola_runtime::is_set_up(&config.run_dir), router: None }
    }

    /// Takes it back, last things first. What fails here is logged only: the caller has an error to
    /// tell that says why it came to this.
    async fn undo(self, config: &Config) {
        if self.had_apps {
            return;
        }
        let torn_down = cupola_runtime::teardown(&config.run_dir, &config.data_dir).await;
        warn_of("remove every trace of a start that failed", torn_down);
        match self.router {
            Some(router) if router.status().borrow().was_adopted => return,
            Some(router) => warn_of("stop the router", router.stop(STOP_MAX).await),
            None => {}
        }
        warn_of("remove the run directory", run_dir::give_up(&config.run_dir));
    }
}

fn warn_of<E: Into<anyhow::Error>>(action: &str, outcome: Result<(), E>) {
    if let Err(error) = outcome.map_err(Into::into) {
        tracing::warn!("cannot {action}: {error:#}");
    }
}

/// What control needs of the machine, checked before anything is started that outlives it.
struct Doors {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    runtime_config: RuntimeConfig,
}

/// Runs control until SIGTERM or Ctrl-C.
async fn run_control(
    config: &Config,
    doors: Doors,
    router: &RouterProcess,
    open_files: u64,
    warnings: &[String],
) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let logs = open_logs(config, clock.clone()).await?;
    let control = control(config, doors.runtime_config, router, logs.clone(), clock).await?;
    let password = admin::bootstrap(&control, config).await?;
    control.fail_interrupted_uploads().await?;

    let (stop, stopped) = watch::channel(false);
    let loops = Loops::start(&control, router.served_epoch(), stopped.clone()).await?;
    let admin = (admin::bind_socket(&config.run_dir)?, control.admin_caller().await?);
    let listeners = Listeners { tcp: doors.listener, tls: doors.acceptor, admin };
    let api = tokio::spawn(cupola_api::serve(cupola_api::router(control), listeners, stopped));
    banner::up(config, &password, open_files, warnings);
    wait_for_end().await?;

    stop.send_replace(true);
    let ended = async {
        loops.ended().await;
        api.await
    };
    if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
        tracing::warn!("some requests did not end within {} s", STOP_MAX.as_secs());
    }
    logs.close().await;
    Ok(())
}

/// The use cases on this machine's adapters. The runtime comes last: it is what changes the machine.
async fn control(
    config: &Config,
    runtime_config: RuntimeConfig,
    router: &RouterProcess,
    logs: Arc<SqliteLogs>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Control> {
    let store = SqliteStore::open(&config.data_dir.join("cupola.db")).await?;
    let vault = sealing::vault(&config.sealing_key_file, &store).await?;
    let runtime = Runtime::open(runtime_config).await?;
    let cells = runtime.cells(logs.clone(), clock.clone()).await?;
    let layers = Arc::new(runtime.layers());
    let host = host_registry_environment(config::environment(), &HostFiles::read(&config::home()));
    let settings = settings(config, host.for_apps());
    let ports = Ports {
        store: Arc::new(store),
        cells: Arc::new(cells),
        stager: Arc::new(stager(config, host, &runtime, layers.clone(), clock.clone())?),
        layers,
        data_plane: Arc::new(data_plane(config, router)),
        logs,
        clock,
    };
    Ok(Control::new(ports, settings, admin::token_keys(&config.data_dir)?, vault))
}

fn data_plane(config: &Config, router: &RouterProcess) -> RouterClient {
    let socket = run_dir::router_socket(&config.run_dir);
    match router.has_replaced() {
        true => RouterClient::start_after_handover(socket),
        false => RouterClient::start(socket),
    }
}

async fn bind_api(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| {
        format!(
            "the API cannot listen on {addr}: is the port in use? choose another with --api-addr"
        )
    })
}

async fn open_logs(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<SqliteLogs>> {
    let limits = LogLimits {
        bytes_per_source_max: config.log_mib_per_app_max << 20,
        age_max: Duration::from_secs(config.log_days_max * 24 * 60 * 60),
        ..LogLimits::default()
    };
    Ok(Arc::new(SqliteLogs::open(&config.data_dir.join("logs.db"), limits, clock).await?))
}

fn stager(
    config: &Config,
    host: HostEnvironment,
    runtime: &Runtime,
    layers: Arc<NativeLayers>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<BuildpackStager> {
    let blobs = LocalBlobs::open(&config.data_dir.join("blobs")).with_context(|| {
        format!("cannot make the folder of files below {}", config.data_dir.display())
    })?;
    let stager_config = StagerConfig::below(&config.data_dir, host);
    let sandbox = Arc::new(runtime.sandbox());
    Ok(BuildpackStager::new(stager_config, sandbox, layers, Arc::new(blobs), clock)?)
}

/// Adopts the router of an earlier start, or starts one. It outlives this process.
async fn start_router(config: &Config) -> anyhow::Result<RouterProcess> {
    let router = RouterConfig {
        trusted_proxies: config.trusted_proxies.clone(),
        log_file: Some(config.data_dir.join("router.log")),
        ..RouterConfig::new(
            config::self_exe()?,
            config.router_addrs.clone(),
            config.data_dir.join("router"),
            run_dir::router_socket(&config.run_dir),
        )
    };
    Ok(RouterProcess::start(router).await?)
}

fn settings(config: &Config, host_environment: BTreeMap<String, String>) -> Settings {
    Settings {
        external_url: config.external_url.clone(),
        apps_domain: config.apps_domain.clone(),
        stack: cupola_runtime::HOST_STACK.to_owned(),
        hold: Duration::from_secs(20),
        staging: StagingSettings {
            concurrency: config.staging_concurrency,
            queue_max: 100,
            memory_mib: config.staging_memory_mib,
            disk_mib: config.staging_disk_mib,
            time_max: config.staging_timeout,
        },
        instances: InstanceSettings {
            memory_mib_default: 1024,
            memory_mib_max: config.instance_memory_mib_max,
            disk_mib_default: 1024,
            disk_mib_max: config.instance_disk_mib_max,
            log_rate_bytes_per_s_default: 1 << 20,
            drain: Duration::from_secs(30),
        },
        host_environment,
        uploads_dir: config.data_dir.join("uploads"),
        upload_bytes_max: config.upload_mib_max << 20,
        upload_free_bytes_min: 512 << 20,
        events_age_max: Duration::from_secs(config.event_days_max.saturating_mul(24 * 60 * 60)),
        access_token_lifetime: Duration::from_secs(20 * 60),
    }
}

/// Returns at SIGTERM or Ctrl-C.
async fn wait_for_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
