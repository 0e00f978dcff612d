//! `cupola up`: from a configuration to a platform that accepts pushes.

mod admin;
mod banner;
mod host;
mod tls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use cupola_control::{
    Control, InstanceSettings, Loops, Ports, Settings, StagingSettings, identity::TokenKeys,
};
use cupola_ports::{clock::Clock, clock::SystemClock, logs::LogStore};
use cupola_router::{RouterClient, RouterProcess};
use cupola_runtime::{NativeCells, Runtime};
use cupola_signals::{LogLimits, SqliteLogs};
use cupola_staging::{BuildpackStager, StagerConfig};
use cupola_store::{LocalBlobs, SqliteStore};
use tokio::{
    net::{TcpListener, UnixListener},
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::config::{self, Config, Options};

/// How long control may take to end its requests and loops.
const STOP_MAX: Duration = Duration::from_secs(10);

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let config = Config::resolve(options)?;
    host::start_logging();
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
    host::make_run_dir(&config.run_dir)?;
    let runtime_config = host::runtime_config(&config)?;
    let warnings = host::check(&runtime_config)?;
    let listener = bind_api(config.api_addr).await?;
    let acceptor = tls::acceptor(&config)?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = SqliteStore::open(&config.data_dir.join("cupola.db"), clock.clone()).await?;
    let logs = open_logs(&config, clock.clone()).await?;
    let mut router = start_router(&config).await?;
    let runtime = Runtime::open(runtime_config, clock.clone()).await?;
    let cells = NativeCells::start(runtime.clone(), logs.clone()).await?;
    let runtime = Arc::new(runtime);
    let blobs = Arc::new(LocalBlobs::open(&config.data_dir.join("blobs"))?);
    let stager_config =
        StagerConfig::below(&config.data_dir, host::registry_environment(config::environment()));
    let stager =
        BuildpackStager::new(stager_config, runtime.clone(), runtime.clone(), blobs, clock.clone())?;
    let ports = Ports {
        store: Arc::new(store),
        cells: Arc::new(cells),
        stager: Arc::new(stager),
        layers: runtime,
        data_plane: Arc::new(router.client()),
        logs: logs.clone(),
        clock,
    };
    let keys = TokenKeys::load_or_create(&config.data_dir.join("keys"))?;
    let control = Control::new(ports, settings(&config), keys);
    let password = admin::bootstrap(&control, &config).await?;

    let (stop, stopped) = watch::channel(false);
    let loops = Loops::start(&control, stopped.clone()).await?;
    let admin_socket = admin::bind_socket(&config.run_dir)?;
    let admin = control.admin_caller().await?;
    let api = tokio::spawn(cupola_api::serve(
        cupola_api::router(control.clone()),
        cupola_api::Listeners { tcp: listener, tls: acceptor, admin: (admin_socket, admin) },
        stopped,
    ));
    banner::up(&config, &password, open_files, &warnings);
    wait_for_end(&mut router).await?;

    stop.send_replace(true);
    let ended = async {
        loops.ended().await;
        api.await
    };
    if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
        tracing::warn!("some requests did not end within {} s", STOP_MAX.as_secs());
    }
    logs.close().await;
    router.release();
    banner::left(&config);
    Ok(())
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

async fn start_router(config: &Config) -> anyhow::Result<RouterProcess> {
    let self_exe = config::self_exe()?;
    Ok(RouterProcess::start(&self_exe, &config.run_dir, &config.data_dir, &config.router_addrs).await?)
}

fn settings(config: &Config) -> Settings {
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
        uploads_dir: config.data_dir.join("uploads"),
        upload_bytes_max: config.upload_mib_max << 20,
        access_token_lifetime: Duration::from_secs(20 * 60),
    }
}

/// Returns at SIGTERM or Ctrl-C. The router is kept alive meanwhile.
async fn wait_for_end(router: &mut RouterProcess) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        error = router.supervise() => Err(error).context("the router cannot be kept running"),
    }
}
