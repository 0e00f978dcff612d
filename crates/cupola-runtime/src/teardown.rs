//! Takes away everything that runs or was set up, whether control is there or not.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{
    cgroups,
    config::{Paths, installation_of},
    error::RuntimeError,
    network,
    protocol::Request,
    records::{self, Description},
    shim::names,
    shim_client::ShimClient,
};

/// How long apps may take to end on SIGTERM, and their shims to clean up after them.
const GRACE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Whether an installation uses this run directory: it has run and was not torn down.
pub fn is_set_up(run_dir: &Path) -> bool {
    Paths::of(Path::new(""), run_dir).description().exists()
}

/// Whether the installation in this run directory is one of another data directory.
pub fn is_of_another(run_dir: &Path, data_dir: &Path) -> Result<bool, RuntimeError> {
    let description = records::read::<Description>(&Paths::of(data_dir, run_dir).description())?;
    Ok(description.is_some_and(|it| it.installation != installation_of(data_dir)))
}

/// Stops every container and shim of the installation in these folders and removes its namespaces,
/// mounts, cgroups and rules. Layers and stacks stay. A folder without an installation is fine.
pub async fn teardown(run_dir: &Path, data_dir: &Path) -> Result<(), RuntimeError> {
    let paths = Paths::of(data_dir, run_dir);
    let Some(description) = records::read::<Description>(&paths.description())? else {
        return Ok(());
    };
    let folders: Vec<_> = fs::read_dir(paths.instances())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    let stops: Vec<_> = folders.iter().map(|folder| stop(folder)).collect();
    futures_util::future::join_all(stops).await;
    for folder in &folders {
        end_now(&description.runtime, &paths, folder);
    }
    cgroups::remove_tree(&format!("/cupola-{}", description.installation));
    network::remove_links(&description.installation).await;
    network::remove_table(&description.nft, &description.installation).await?;
    network::release_forwarding(&description.installation)?;
    let _ = fs::remove_dir_all(paths.instances());
    let _ = fs::remove_dir_all(paths.runtime_root());
    let _ = fs::remove_dir_all(paths.scratch());
    let _ = fs::remove_dir_all(paths.layers_unfinished());
    let _ = fs::remove_file(paths.description());
    Ok(())
}

/// Lets the shim stop its container in the proper way, within the grace time.
async fn stop(folder: &Path) {
    let Ok(mut shim) = ShimClient::connect(folder).await else { return };
    let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
    if shim.send(&Request::Stop { grace_ms }).await.is_err() {
        return;
    }
    let deadline = Instant::now() + GRACE + Duration::from_secs(2);
    while !folder.join(names::EXIT).exists() && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
    }
    let _ = shim.send(&Request::Quit).await;
    // The shim closes the connection when it is gone.
    let _ =
        tokio::time::timeout(Duration::from_secs(2), async { while shim.next().await.is_ok() {} })
            .await;
}

/// Kills the container in this folder and its shim, and makes the OCI runtime forget it.
pub(crate) fn end_now(oci_runtime: &Path, paths: &Paths, folder: &Path) {
    kill_shims(folder);
    delete(oci_runtime, paths, folder);
}

/// Ends what holds the lock of a shim, and the container's first process.
fn kill_shims(folder: &Path) {
    let started = records::read::<records::Started>(&folder.join(names::STARTED));
    if let Ok(Some(started)) = started
        && crate::shim::start_ticks(started.pid) == Some(started.start_ticks)
    {
        kill(started.pid);
    }
    if let Some(shim) = crate::shim::holder(folder) {
        kill(shim);
    }
}

fn kill(pid: i32) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    let _ = rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 2, tv_nsec: 0 }));
}

/// Lets the OCI runtime forget a container whose shim could not say so.
fn delete(oci_runtime: &Path, paths: &Paths, folder: &Path) {
    let Some(id) = folder.file_name() else { return };
    if !paths.runtime_root().join(id).exists() {
        return;
    }
    let _ = std::process::Command::new(oci_runtime)
        .arg("--root")
        .arg(paths.runtime_root())
        .args(["delete", "--force"])
        .arg(id)
        .output();
}
