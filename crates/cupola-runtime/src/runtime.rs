//! What a host has to run containers: folders, stack, layers, network, OCI runtime.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use cupola_ports::{cells::CellError, clock::Clock, logs::LogSink};
use tokio::{process::Command, sync::Semaphore};

use crate::{
    cells::NativeCells,
    config::{Paths, RuntimeConfig},
    disks,
    error::{Doing, RuntimeError},
    layers::{self, LayerStore, NativeLayers, make_private},
    network::Network,
    programs,
    records::{self, Description, InstanceRecord},
    sandbox::NativeSandbox,
    shim::names,
    stack,
};

/// The container runtime of one installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: RuntimeConfig,
    pub(crate) paths: Paths,
    pub(crate) layers: Arc<LayerStore>,
    pub(crate) network: Arc<Network>,
    /// The lowest tree of every container.
    pub(crate) skeleton: PathBuf,
    pub(crate) stack_digest: String,
    pub(crate) oci: OciRuntime,
    pub(crate) boot_id: String,
    /// Bounds how many containers are started at the same time.
    pub(crate) starts: Semaphore,
}

/// The program that makes containers.
#[derive(Clone, Debug)]
pub(crate) struct OciRuntime {
    pub(crate) program: PathBuf,
    /// runc before 1.2 and crun want the mappings of a user namespace repeated.
    pub(crate) name_mappings: bool,
}

impl Runtime {
    /// Prepares the host. Containers that outlived the last process are left alone; they are
    /// adopted by [`Runtime::cells`].
    pub async fn open(mut config: RuntimeConfig) -> Result<Self, RuntimeError> {
        config.check()?;
        config.runtime_path = programs::find(&config.runtime_path);
        config.nft_path = programs::find(&config.nft_path);
        let paths = config.paths();
        make_folders(&paths)?;
        let oci = OciRuntime::find(&config.runtime_path).await?;
        describe(&config, &paths, &oci)?;
        let layers = LayerStore::open(paths.clone(), config.uid_base, config.idmapped_layers)?;
        let used: Vec<Ipv4Addr> = instance_records(&paths).map(|record| record.address).collect();
        let network = Arc::new(Network::open(&config, &used).await?);
        network.refill();
        let (stacks, self_exe) = (paths.stacks(), config.self_exe.clone());
        let skeleton = layers::blocking(move || stack::prepare(&stacks, &self_exe)).await?;
        let skeleton = layers.shifted_stack(skeleton)?;
        let in_use = layers.mounted().into_iter().chain([skeleton.clone()]).collect();
        stack::remove_unused(&paths.stacks(), &in_use);
        Ok(Self {
            inner: Arc::new(Inner {
                starts: Semaphore::new(config.starts_max.max(1)),
                stack_digest: stack::host_digest(),
                boot_id: boot_id(),
                layers: Arc::new(layers),
                config,
                paths,
                network,
                skeleton,
                oci,
            }),
        })
    }

    /// The instances on this host, those included that run already.
    pub async fn cells(
        &self,
        sink: Arc<dyn LogSink>,
        clock: Arc<dyn Clock>,
    ) -> Result<NativeCells, CellError> {
        Ok(NativeCells::adopt(self.clone(), sink, clock).await?)
    }

    pub fn sandbox(&self) -> NativeSandbox {
        NativeSandbox::new(self.clone())
    }

    pub fn layers(&self) -> NativeLayers {
        NativeLayers {
            store: self.inner.layers.clone(),
            stack_digest: self.inner.stack_digest.clone(),
        }
    }
}

impl OciRuntime {
    async fn find(program: &Path) -> Result<Self, RuntimeError> {
        let missing = || RuntimeError::ProgramMissing {
            program: program.to_owned(),
            hint: "install an OCI runtime, for example with `apt-get install runc`".to_owned(),
        };
        let output =
            Command::new(program).arg("--version").output().await.map_err(|_| missing())?;
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(missing());
        }
        Ok(Self { program: program.to_owned(), name_mappings: wants_mappings(&version) })
    }
}

/// runc 1.2 and later read them from the namespace, and warn when they are given as well.
fn wants_mappings(version: &str) -> bool {
    let Some(rest) = version.strip_prefix("runc version ") else { return true };
    let mut numbers = rest.split(['.', '-', '+', '~', '\n']).map(|part| part.parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (1, 2),
        _ => true,
    }
}

/// The kernel's name for the time since the last boot.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// What control wrote about each instance that is there.
pub(crate) fn instance_records(paths: &Paths) -> impl Iterator<Item = InstanceRecord> + use<> {
    fs::read_dir(paths.instances())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| records::read(&entry.path().join(names::INSTANCE)).ok().flatten())
}

/// Containers' root must be able to pass through the folders of the run directory, but not list
/// them.
fn make_folders(paths: &Paths) -> Result<(), RuntimeError> {
    make_private(&paths.scratch())?;
    make_private(&paths.stacks())?;
    for entry in fs::read_dir(paths.scratch()).into_iter().flatten().flatten() {
        let is_template =
            entry.file_name().to_str().is_some_and(|name| name.starts_with(disks::TEMPLATE));
        if !is_template {
            let _ = fs::remove_file(entry.path());
        }
    }
    for folder in [paths.run().to_owned(), paths.runtime_root(), paths.instances()] {
        fs::create_dir_all(&folder)
            .and_then(|()| fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)))
            .doing(|| format!("create `{}`", folder.display()))?;
    }
    check_passable(paths.run())
}

/// A parent folder that only root may enter makes the OCI runtime fail with a riddle.
fn check_passable(folder: &Path) -> Result<(), RuntimeError> {
    let folder =
        fs::canonicalize(folder).doing(|| format!("find the folder `{}`", folder.display()))?;
    for parent in folder.ancestors() {
        let metadata =
            fs::metadata(parent).doing(|| format!("find the folder `{}`", parent.display()))?;
        if metadata.permissions().mode() & 0o001 == 0 {
            return Err(RuntimeError::Format {
                what: format!("the run directory below `{}`", parent.display()),
                detail: "others may not pass through that folder, but containers must: choose \
                         another --run-dir or run `chmod o+x` on it"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

fn describe(config: &RuntimeConfig, paths: &Paths, oci: &OciRuntime) -> Result<(), RuntimeError> {
    let description = Description {
        version: records::VERSION,
        installation: config.installation.clone(),
        runtime: oci.program.clone(),
        nft: config.nft_path.clone(),
        subnet: config.instance_subnet,
    };
    records::write(&paths.description(), &description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_repeated_for_old_runc_and_for_crun() {
        assert!(wants_mappings("runc version 1.1.5+ds1\ncommit: x\n"));
        assert!(!wants_mappings("runc version 1.5.2\n"));
        assert!(!wants_mappings("runc version 1.2.0-rc.1\n"));
        assert!(wants_mappings("crun version 1.8.1\n"));
    }
}
