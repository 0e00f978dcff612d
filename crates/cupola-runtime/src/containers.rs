//! What instances and sandboxes have in common: a folder with everything a shim needs.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use cupola_domain::{droplets::LayerDigest, services::ServiceFile};
use cupola_ports::cells::DesiredSidecar;
use cupola_ports::sandbox::Bind;

use crate::{
    bundle::Bundle,
    disks,
    error::{Doing, RuntimeError},
    layers::{blocking, check_stack},
    network::Slot,
    records::{self, Kind, Launch, LaunchBind},
    runtime::Inner,
    shim::names,
};

/// How much output a shim keeps while control is away or slow.
const SPOOL_BYTES_MAX: u64 = 1 << 20;

/// One container to make.
#[derive(Debug)]
pub(crate) struct ContainerSpec<'a> {
    pub(crate) id: &'a str,
    pub(crate) kind: Kind,
    pub(crate) layers: &'a [LayerDigest],
    pub(crate) stack: &'a str,
    pub(crate) argv: &'a [String],
    pub(crate) sidecars: &'a [DesiredSidecar],
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_directory: &'a str,
    pub(crate) binds: &'a [Bind],
    /// What it finds below `ServiceFile::ROOT`, for reading only.
    pub(crate) files: &'a [ServiceFile],
    pub(crate) memory_mib: u32,
    pub(crate) disk_mib: u32,
    pub(crate) pids_max: u32,
    pub(crate) cpu_shares: u64,
    pub(crate) log_rate_bytes_per_s: i64,
}

/// Defaults for what every program expects and nobody set.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/home/vcap/app"),
    ("USER", "vcap"),
    ("LANG", "C.UTF-8"),
    ("TMPDIR", "/home/vcap/tmp"),
];

impl Inner {
    /// Writes the folder of a container that is to start in `slot`.
    pub(crate) async fn prepare_container(
        &self,
        spec: &ContainerSpec<'_>,
        slot: &Slot,
    ) -> Result<PathBuf, RuntimeError> {
        check_stack(spec.stack)?;
        let folder = self.paths.instance(spec.id);
        let lowers = self.lowers(spec.layers).await?;
        make_passable(&folder)?;
        write_files(&folder, spec.files)?;
        let cgroup = format!("{}/{}", self.config.cgroup_parent(), spec.id);
        self.write_launch(spec, slot, &folder, &cgroup, lowers)?;
        self.write_config(spec, &folder, &cgroup)?;
        let (scratch, image) = (self.paths.scratch(), self.disk_image(spec.id));
        let (disk_mib, root) = (spec.disk_mib, self.config.uid_base);
        // The first of a size runs `mkfs.ext4` and waits for the disk.
        blocking(move || disks::make(&scratch, &image, disk_mib, root)).await?;
        Ok(folder)
    }

    /// The trees to mount, lowest first. Without id-mapped mounts the first use of each is a copy.
    async fn lowers(&self, digests: &[LayerDigest]) -> Result<Vec<PathBuf>, RuntimeError> {
        let (layers, digests) = (self.layers.clone(), digests.to_vec());
        let mut lowers = vec![self.skeleton.clone()];
        blocking(move || {
            for digest in &digests {
                lowers.push(layers.tree(digest)?);
            }
            Ok(lowers)
        })
        .await
    }

    fn disk_image(&self, id: &str) -> PathBuf {
        self.paths.scratch().join(format!("{id}.img"))
    }

    fn write_launch(
        &self,
        spec: &ContainerSpec<'_>,
        slot: &Slot,
        folder: &Path,
        cgroup: &str,
        lowers: Vec<PathBuf>,
    ) -> Result<(), RuntimeError> {
        let (user_namespace, net_namespace) = slot.paths();
        let binds = all_binds(spec, folder)
            .into_iter()
            .map(|bind| LaunchBind { source: bind.source, writable: bind.writable })
            .collect();
        let launch = Launch {
            version: records::VERSION,
            id: spec.id.to_owned(),
            kind: spec.kind,
            boot_id: self.boot_id.clone(),
            runtime: self.oci.program.clone(),
            runtime_root: self.paths.runtime_root(),
            cgroup: cgroup.to_owned(),
            user_namespace,
            net_namespace,
            uid_base: self.config.uid_base,
            lowers,
            idmapped: self.layers.idmapped,
            disk_image: self.disk_image(spec.id),
            disk_mib: spec.disk_mib,
            memory_mib: spec.memory_mib,
            hosts: hosts(spec.id, slot.address),
            resolv_conf: resolv_conf(self.network.resolvers(), slot.address),
            binds,
            log_rate_bytes_per_s: spec.log_rate_bytes_per_s,
            spool_bytes_max: SPOOL_BYTES_MAX,
            sidecars: u16::try_from(spec.sidecars.len()).unwrap_or(u16::MAX),
        };
        records::write(&folder.join(names::LAUNCH), &launch)
    }

    fn write_config(
        &self,
        spec: &ContainerSpec<'_>,
        folder: &Path,
        cgroup: &str,
    ) -> Result<(), RuntimeError> {
        let mut environment = spec.environment.clone();
        for (name, value) in ENVIRONMENT {
            if !environment.iter().any(|(set, _)| set == name) {
                environment.push((name.to_owned(), value.to_owned()));
            }
        }
        let binds = all_binds(spec, folder);
        let bundle = Bundle {
            hostname: spec.id,
            argv: spec.argv,
            sidecars: spec.sidecars.iter().map(|one| one.argv.as_slice()).collect(),
            environment: &environment,
            working_directory: spec.working_directory,
            memory_mib: spec.memory_mib,
            cpu_shares: spec.cpu_shares,
            pids_max: spec.pids_max,
            open_files_max: self.config.open_files_max,
            cgroup,
            uid_base: self.config.uid_base,
            name_mappings: self.oci.name_mappings,
            binds: binds.iter().map(|bind| (bind.target.as_str(), bind.writable)).collect(),
            folder,
        };
        let path = folder.join(names::CONFIG);
        fs::write(&path, bundle.to_json()?)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .doing(|| format!("write `{}`", path.display()))
    }

    /// Removes what is left of a container that has ended.
    pub(crate) fn remove_container(&self, id: &str) {
        let _ = fs::remove_dir_all(self.paths.instance(id));
        let _ = fs::remove_file(self.disk_image(id));
    }
}

/// What is asked for, and the folder of its files.
fn all_binds(spec: &ContainerSpec<'_>, folder: &Path) -> Vec<Bind> {
    let mut binds = spec.binds.to_vec();
    if !spec.files.is_empty() {
        let (source, target) = (files_root(folder), ServiceFile::ROOT.to_owned());
        binds.push(Bind { source, target, writable: false });
    }
    binds
}

/// In a folder that root alone can enter: what is in it is open to whom it is mounted for.
fn files_root(folder: &Path) -> PathBuf {
    folder.join("services").join("root")
}

/// Beside the record of the instance, so that they live and go with it.
fn write_files(folder: &Path, files: &[ServiceFile]) -> Result<(), RuntimeError> {
    if files.is_empty() {
        return Ok(());
    }
    let root = files_root(folder);
    let closed = folder.join("services");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    fs::create_dir(&closed)
        .and_then(|()| mode(&closed, 0o700))
        .doing(|| format!("create `{}`", closed.display()))?;
    for file in files {
        let path = root.join(&file.path);
        let parent = path.parent().unwrap_or(&root);
        fs::create_dir_all(parent)
            .and_then(|()| mode(&root, 0o755))
            .and_then(|()| mode(parent, 0o755))
            .and_then(|()| fs::write(&path, &file.content))
            .and_then(|()| mode(&path, 0o444))
            .doing(|| format!("write `{}`", path.display()))?;
    }
    Ok(())
}

fn make_passable(folder: &Path) -> Result<(), RuntimeError> {
    fs::create_dir(folder)
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o711)))
        .doing(|| format!("create `{}`", folder.display()))
}

fn hosts(hostname: &str, address: Option<Ipv4Addr>) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    let own = address.unwrap_or(Ipv4Addr::LOCALHOST);
    text.push_str(&format!("{own} {hostname}\n"));
    text
}

fn resolv_conf(resolvers: &[Ipv4Addr], address: Option<Ipv4Addr>) -> String {
    if address.is_none() {
        return String::new();
    }
    resolvers.iter().map(|resolver| format!("nameserver {resolver}\n")).collect()
}
