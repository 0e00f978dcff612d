//! `cupola down`: control, router and every app end, and nothing is left of them.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use cupola_router::RouterProcess;
use cupola_store::{DirLock, LockError, lock_data_dir};
use rustix::process::{Pid, Signal, kill_process};

use crate::{config::Place, run_dir};

/// How long control may take to end.
const CONTROL_MAX: Duration = Duration::from_secs(20);
/// How long the router may take for the requests that it is answering.
const ROUTER_MAX: Duration = Duration::from_secs(10);

pub(crate) fn run(place: Place) -> anyhow::Result<()> {
    let place = place.resolve()?;
    let (data_dir, run_dir) = (place.data_dir(), place.run_dir());
    if !rustix::process::geteuid().is_root() {
        bail!("containers need root: run `cupola down` as root");
    }
    run_dir::check(&run_dir, &data_dir)?;
    let _lock = end_control(&data_dir, &run_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the async runtime")?;
    runtime.block_on(async {
        let socket = run_dir::router_socket(&run_dir);
        RouterProcess::stop_running(&socket, ROUTER_MAX).await.context("cannot stop the router")?;
        let removed = cupola_runtime::teardown(&run_dir, &data_dir).await;
        removed.context("cannot remove every trace of the apps")
    })?;
    run_dir::give_up(&run_dir)
}

/// Takes the data directory, so that no control runs or starts; none if there never was one.
fn end_control(data_dir: &Path, run_dir: &Path) -> anyhow::Result<Option<DirLock>> {
    if !data_dir.exists() {
        return Ok(None);
    }
    if !data_dir.join("lock").exists() {
        bail!("{} is no data directory of Cupola; is --data-dir right?", data_dir.display());
    }
    let started = Instant::now();
    let mut told = None;
    loop {
        match lock_data_dir(data_dir) {
            Ok(lock) => return Ok(Some(lock)),
            Err(LockError::Held { holder: Some(pid), .. }) if started.elapsed() < CONTROL_MAX => {
                if told != Some(pid) {
                    // Its apps and its router could not be found there.
                    if !run_dir.exists() {
                        bail!(
                            "process {pid} uses {}, but nothing runs in {}: name its --run-dir",
                            data_dir.display(),
                            run_dir.display()
                        );
                    }
                    end(pid)?;
                    told = Some(pid);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error).context("control did not end"),
        }
    }
}

fn end(pid: u32) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a lock names no process")?;
    match kill_process(pid, Signal::TERM) {
        // It ended by itself in between.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("cannot end control"),
    }
}
