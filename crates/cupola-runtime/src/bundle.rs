//! The OCI runtime configuration of a container.
//!
//! Invariant: always a user namespace, the seccomp profile, no capabilities and no new privileges.
//! The profile is vendored; see `seccomp-x86_64.NOTICE`.

use std::path::Path;

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use crate::{cgroups::CgroupLayout, error::RuntimeError, init::BESIDE};

/// Where the init, which is this very binary, is in every container.
pub const SELF_IN_CONTAINER: &str = "/.cupola/init";
/// The user that apps run as.
pub const VCAP_UID: u32 = 2000;

const SECCOMP: &str = include_str!("seccomp-x86_64.json");

/// What differs from container to container.
#[derive(Debug)]
pub(crate) struct Bundle<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) argv: &'a [String],
    pub(crate) sidecars: Vec<&'a [String]>,
    pub(crate) environment: &'a [(String, String)],
    pub(crate) working_directory: &'a str,
    pub(crate) memory_mib: u32,
    pub(crate) cpu_shares: u64,
    pub(crate) pids_max: u32,
    pub(crate) open_files_max: u64,
    pub(crate) cgroup: &'a str,
    pub(crate) uid_base: u32,
    /// Some runtimes want the id mappings repeated, others warn about it.
    pub(crate) name_mappings: bool,
    /// Target in the container and whether it is writable, in the order of the launch record.
    pub(crate) binds: Vec<(&'a str, bool)>,
    /// The instance's folder, absolute.
    pub(crate) folder: &'a Path,
}

impl Bundle<'_> {
    /// The configuration as `config.json` wants it.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, RuntimeError> {
        let format = |error: serde_json::Error| RuntimeError::Format {
            what: "the container configuration".to_owned(),
            detail: error.to_string(),
        };
        // Through the typed form, so that a key the specification does not know cannot slip in.
        let spec: Spec =
            serde_json::from_value(self.to_value().map_err(format)?).map_err(format)?;
        serde_json::to_vec(&spec).map_err(format)
    }

    fn to_value(&self) -> Result<Value, serde_json::Error> {
        let memory = u64::from(self.memory_mib) << 20;
        let args = self.args();
        let env: Vec<String> =
            self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let files = clamp_to_hard_limit(self.open_files_max);
        let (uid_mappings, gid_mappings) = self.mappings();
        Ok(json!({
            "ociVersion": "1.0.2",
            "hostname": self.hostname,
            "root": { "path": "rootfs", "readonly": false },
            "process": {
                "terminal": false,
                "user": { "uid": VCAP_UID, "gid": VCAP_UID, "umask": 0o022 },
                "args": args,
                "env": env,
                "cwd": self.working_directory,
                "capabilities": {
                    "bounding": [], "effective": [], "permitted": [], "inheritable": [],
                    "ambient": [],
                },
                "noNewPrivileges": true,
                "oomScoreAdj": 500,
                "rlimits": [
                    { "type": "RLIMIT_NOFILE", "soft": files, "hard": files },
                    { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
                ],
            },
            "mounts": self.mounts(),
            "linux": {
                "namespaces": [
                    { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                    { "type": "cgroup" },
                    { "type": "user", "path": self.folder.join("ns/user") },
                    { "type": "network", "path": self.folder.join("ns/net") },
                ],
                "uidMappings": uid_mappings,
                "gidMappings": gid_mappings,
                "rootfsPropagation": "private",
                "cgroupsPath": self.cgroup,
                "sysctl": { "net.ipv4.ip_unprivileged_port_start": "0" },
                "resources": {
                    "memory": { "limit": memory, "swap": limits_swap().then_some(memory) },
                    "cpu": { "shares": self.cpu_shares },
                    "pids": { "limit": self.pids_max },
                    "devices": [{ "allow": false, "access": "rwm" }],
                },
                "maskedPaths": [
                    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                    "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                    "/proc/sched_debug", "/proc/scsi", "/proc/interrupts", "/proc/kallsyms",
                    "/proc/config.gz", "/sys/firmware",
                ],
                "readonlyPaths": [
                    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
                ],
                "seccomp": serde_json::from_str::<Value>(SECCOMP)?,
            },
        }))
    }

    /// The init's arguments: each sidecar with the number of its words, then the program itself.
    fn args(&self) -> Vec<String> {
        let mut args = vec![SELF_IN_CONTAINER.to_owned(), "init".to_owned()];
        for sidecar in &self.sidecars {
            args.extend([BESIDE.to_owned(), sidecar.len().to_string()]);
            args.extend(sidecar.iter().cloned());
        }
        args.push("--".to_owned());
        args.extend(self.argv.iter().cloned());
        args
    }

    fn mappings(&self) -> (Value, Value) {
        if !self.name_mappings {
            return (Value::Null, Value::Null);
        }
        let mapping = json!([{ "containerID": 0, "hostID": self.uid_base, "size": 65_536 }]);
        (mapping.clone(), mapping)
    }

    fn mounts(&self) -> Vec<Value> {
        let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
            json!({
                "destination": destination, "type": kind, "source": source, "options": options,
            })
        };
        let mut mounts = vec![
            mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount(
                "/dev",
                "tmpfs",
                "tmpfs",
                &["nosuid", "noexec", "strictatime", "mode=755", "size=64k"],
            ),
            mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            ),
            mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=64m"],
            ),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/usr", "bind", "/usr", &["rbind", "ro", "nosuid", "nodev"]),
            mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", "ro"],
            ),
        ];
        for (number, (target, writable)) in self.binds.iter().enumerate() {
            let source = self.folder.join("binds").join(number.to_string());
            let access = if *writable { "rw" } else { "ro" };
            mounts.push(mount(
                target,
                "bind",
                &source.to_string_lossy(),
                &["rbind", access, "nosuid", "nodev"],
            ));
        }
        mounts
    }
}

/// A limit above the hard one is refused by the kernel where root lacks `CAP_SYS_RESOURCE`.
fn clamp_to_hard_limit(files: u64) -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.map_or(files, |maximum| files.min(maximum))
}

/// Version 1 without swap accounting has no such limit, and refuses one.
fn limits_swap() -> bool {
    CgroupLayout::of_host() == CgroupLayout::V2
        || Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
}

/// CPU weight by memory, as in Diego: an app of 8 GiB gets 64 times that of one of 128 MiB.
pub(crate) fn cpu_shares_by_memory(memory_mib: u32) -> u64 {
    u64::from(memory_mib.clamp(128, 8192)) / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle<'static> {
        Bundle {
            hostname: "one",
            argv: &[],
            sidecars: Vec::new(),
            environment: &[],
            working_directory: "/home/vcap/app",
            memory_mib: 64,
            cpu_shares: 16,
            pids_max: 64,
            open_files_max: 1024,
            cgroup: "/cupola-t/one",
            uid_base: 100_000,
            name_mappings: true,
            binds: vec![("/cache", true)],
            folder: Path::new("/run/x/instances/one"),
        }
    }

    #[test]
    fn every_bundle_has_the_whole_of_the_isolation() {
        let spec: Value = serde_json::from_slice(&bundle().to_json().unwrap()).unwrap();

        let kinds: Vec<&str> = spec["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|namespace| namespace["type"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["pid", "ipc", "uts", "mount", "cgroup", "user", "network"]);
        assert_eq!(spec["process"]["noNewPrivileges"], true);
        assert_eq!(spec["process"]["capabilities"]["bounding"], json!([]));
        assert_eq!(spec["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
        assert_eq!(spec["linux"]["seccomp"]["defaultErrnoRet"], 1);
    }

    #[test]
    fn cpu_shares_grow_with_memory_within_bounds() {
        assert_eq!(cpu_shares_by_memory(16), 16);
        assert_eq!(cpu_shares_by_memory(1024), 128);
        assert_eq!(cpu_shares_by_memory(100_000), 1024);
    }

    #[test]
    fn sidecars_come_before_the_program_with_their_number_of_words() {
        let (app, tail) = (["/bin/app".to_owned()], ["tail".to_owned(), "--".to_owned()]);

        let alone = Bundle { argv: &app, ..bundle() }.args();
        let beside = Bundle { argv: &app, sidecars: vec![&tail], ..bundle() }.args();

        assert_eq!(alone[1..], ["init", "--", "/bin/app"]);
        assert_eq!(beside[1..], ["init", "--beside", "2", "tail", "--", "--", "/bin/app"]);
    }
}
