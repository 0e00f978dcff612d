//! What this host can do, and what stands in the way: the findings of `cupola doctor`.
//!
//! Modules are not loaded by themselves everywhere, so everything is tried rather than looked up.

use std::{
    fs::{self, File},
    os::fd::AsFd,
    path::Path,
    process::Command,
};

use serde::Serialize;

use crate::{
    cgroups::{self, CgroupLayout},
    config::RuntimeConfig,
    error::RuntimeError,
    layers::blocking,
    network, programs, sys,
};

/// Everything that was found, in the order in which it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    pub findings: Vec<Finding>,
}

/// One property of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub name: &'static str,
    pub result: ProbeResult,
    /// What was seen.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeResult {
    Good,
    /// It works, with a drawback.
    Warning,
    /// Apps cannot run.
    Missing,
}

impl Probe {
    /// Whether apps can run here.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.result != ProbeResult::Missing)
    }
}

/// Looks at the host. Changes nothing that stays.
pub async fn probe_host(config: &RuntimeConfig) -> Result<Probe, RuntimeError> {
    let config = config.clone();
    blocking(move || {
        let findings = vec![
            oci_runtime(&config.runtime_path),
            nft(&config.nft_path),
            cgroup_version(),
            overlay(),
            disk_images(),
            idmapped_mounts(&config.data_dir),
            namespaces(config.uid_base),
            pressure(),
            project_quota(),
            forwarding(),
            firewall(&config.nft_path, &config.installation),
            resolvers(&config),
            subnet(&config),
            open_files(config.open_files_max),
        ];
        Ok(Probe { findings })
    })
    .await
}

fn good(name: &'static str, detail: impl Into<String>) -> Finding {
    Finding { name, result: ProbeResult::Good, detail: detail.into(), hint: None }
}

fn warning(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Finding {
    let hint = Some(hint.into());
    Finding { name, result: ProbeResult::Warning, detail: detail.into(), hint }
}

fn missing(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Finding {
    let hint = Some(hint.into());
    Finding { name, result: ProbeResult::Missing, detail: detail.into(), hint }
}

fn output(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(programs::find(program)).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn oci_runtime(program: &Path) -> Finding {
    let name = "OCI runtime";
    let Some(text) = output(program, &["--version"]) else {
        return missing(
            name,
            format!("`{}` is not there", program.display()),
            "install it: `apt-get install runc`",
        );
    };
    let version = text.lines().next().unwrap_or_default().to_owned();
    if is_before_escape_fixes(&version) {
        return warning(
            name,
            version,
            "older than the fixes of the container escapes CVE-2025-31133, CVE-2025-52565 and \
             CVE-2025-52881 (runc 1.2.8, 1.3.3): upgrade it, unless your distribution has put \
             the fixes into its package",
        );
    }
    good(name, version)
}

/// A distribution may have fixed an old version: hence a warning only.
fn is_before_escape_fixes(version: &str) -> bool {
    let Some(rest) = version.strip_prefix("runc version ") else { return false };
    let numbers: Vec<u32> =
        rest.split(['.', '-', '+', '~']).map_while(|part| part.parse().ok()).take(3).collect();
    match numbers.as_slice() {
        [1, minor, patch] => match minor {
            0 | 1 => true,
            2 => *patch < 8,
            3 => *patch < 3,
            _ => false,
        },
        _ => false,
    }
}

fn nft(program: &Path) -> Finding {
    let name = "nftables";
    let Some(version) = output(program, &["--version"]) else {
        return missing(
            name,
            format!("`{}` is not there", program.display()),
            "install it: `apt-get install nftables`",
        );
    };
    if output(program, &["list", "tables"]).is_none() {
        return missing(
            name,
            "the kernel does not take its rules",
            "run as root, and load the module: `modprobe nf_tables`",
        );
    }
    good(name, version.trim())
}

fn cgroup_version() -> Finding {
    let name = "cgroups";
    let detail = match CgroupLayout::of_host() {
        CgroupLayout::V2 => "version 2",
        CgroupLayout::Hybrid => "version 1 with a version 2 tree beside it",
        CgroupLayout::V1 => "version 1",
    };
    if cgroups::hierarchies().is_empty() {
        let hint = "mount them: the package cgroupfs-mount, or systemd, does it";
        return missing(name, "not mounted", hint);
    }
    good(name, detail)
}

fn has_file_system(kind: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.split_whitespace().next_back() == Some(kind))
}

fn overlay() -> Finding {
    if has_file_system("overlay") {
        return good("overlay", "known to the kernel");
    }
    missing("overlay", "not known to the kernel", "load it: `modprobe overlay`")
}

fn disk_images() -> Finding {
    let name = "disk images";
    if output(Path::new("mkfs.ext4"), &["-V"]).is_none() {
        return missing(
            name,
            "`mkfs.ext4` is not there",
            "install it: `apt-get install e2fsprogs`",
        );
    }
    if File::options().read(true).write(true).open("/dev/loop-control").is_err() {
        return missing(name, "no loop devices", "load the module: `modprobe loop`");
    }
    good(name, "loop devices and mkfs.ext4")
}

fn idmapped_mounts(data_dir: &Path) -> Finding {
    let name = "id-mapped mounts";
    let existing = data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let tried = sys::user_namespace_of_one(0, 1)
        .and_then(|namespace| sys::idmapped_tree(existing, namespace.as_fd(), false));
    match tried {
        Ok(_) => good(name, format!("at `{}`", existing.display())),
        Err(error) => warning(
            name,
            format!("not at `{}`: {error}", existing.display()),
            "layers are copied once more; a data directory on ext4, xfs or btrfs avoids it",
        ),
    }
}

fn namespaces(uid_base: u32) -> Finding {
    match sys::namespace_pair(uid_base) {
        Ok(_) => good("user namespaces", "can be made"),
        Err(error) => missing(
            "user namespaces",
            error.to_string(),
            "raise user.max_user_namespaces and user.max_net_namespaces with sysctl, and run as root",
        ),
    }
}

fn pressure() -> Finding {
    if Path::new("/proc/pressure/cpu").exists() {
        return good("pressure readings", "the kernel has them (PSI)");
    }
    warning(
        "pressure readings",
        "the kernel has none",
        "boot it with `psi=1` to see which app waits for what",
    )
}

fn project_quota() -> Finding {
    let has_quota = Path::new("/proc/sys/fs/quota").exists();
    let detail = if has_quota { "the kernel has quotas" } else { "the kernel has no quotas" };
    good("project quota", format!("{detail}; disk limits use images and need none"))
}

fn forwarding() -> Finding {
    let value = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
    match value.trim() {
        "1" => good("packet forwarding", "on"),
        "0" => good("packet forwarding", "off; it is switched on while the platform runs"),
        _ => missing("packet forwarding", "unknown", "net.ipv4.ip_forward must be there"),
    }
}

/// Docker and ufw drop what the host forwards; an accept in our table cannot overrule that.
fn firewall(nft: &Path, installation: &str) -> Finding {
    let name = "other firewalls";
    let rules = output(nft, &["list", "ruleset"]).unwrap_or_default();
    let mut droppers = dropping_chains(&rules, installation);
    let legacy = output(Path::new("iptables-legacy"), &["-S", "FORWARD"]).unwrap_or_default();
    if legacy.contains("-P FORWARD DROP") {
        droppers.push("FORWARD of iptables-legacy".to_owned());
    }
    if droppers.is_empty() {
        return good(name, "none drops forwarded packets");
    }
    let interfaces = format!("cu{installation}-+");
    let is_docker = rules.contains("DOCKER-USER");
    let chain = if is_docker { "DOCKER-USER" } else { "FORWARD" };
    warning(
        name,
        format!("forwarded packets are dropped by {}", droppers.join(", ")),
        format!(
            "let those of apps pass: `iptables -I {chain} -i {interfaces} -j ACCEPT` and \
             `iptables -I {chain} -o {interfaces} -m conntrack --ctstate RELATED,ESTABLISHED -j \
             ACCEPT`; with ufw `ufw default allow routed`"
        ),
    )
}

/// Chains of others at the forward hook whose policy is to drop.
fn dropping_chains(rules: &str, installation: &str) -> Vec<String> {
    let own = format!("cupola-{installation}");
    let (mut table, mut chain) = (String::new(), String::new());
    let mut found = Vec::new();
    for line in rules.lines().map(str::trim) {
        let name = |prefix: &str| {
            line.strip_prefix(prefix).map(|rest| rest.trim_end_matches(" {").to_owned())
        };
        if let Some(name) = name("table ") {
            table = name;
        } else if let Some(name) = name("chain ") {
            chain = name;
        } else if line.contains("hook forward")
            && line.contains("policy drop")
            && !table.ends_with(&own)
        {
            found.push(format!("chain {chain} of table {table}"));
        }
    }
    found
}

fn resolvers(config: &RuntimeConfig) -> Finding {
    let resolvers = if config.resolvers.is_empty() {
        network::host_resolvers()
    } else {
        config.resolvers.clone()
    };
    if resolvers.is_empty() {
        return warning(
            "resolvers",
            "none that a container can reach",
            "name an IPv4 resolver in /etc/resolv.conf that is not on a loopback address",
        );
    }
    let list: Vec<String> = resolvers.iter().map(ToString::to_string).collect();
    good("resolvers", list.join(", "))
}

fn subnet(config: &RuntimeConfig) -> Finding {
    let subnet = config.instance_subnet;
    match network::occupant(subnet, &config.installation) {
        None => good("instance subnet", format!("{subnet} is free")),
        Some(other) => missing(
            "instance subnet",
            format!("{subnet} overlaps {other}"),
            "choose another one with --instance-subnet",
        ),
    }
}

fn open_files(wanted: u64) -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.maximum {
        Some(maximum) if maximum < wanted => warning(
            "open files",
            format!("at most {maximum}"),
            format!("apps get {wanted} when the hard limit allows it: raise it with `ulimit -Hn`"),
        ),
        Some(maximum) => good("open files", format!("at most {maximum}")),
        None => good("open files", "no limit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_the_escape_fixes_are_known() {
        assert!(is_before_escape_fixes("runc version 1.1.5+ds1"));
        assert!(is_before_escape_fixes("runc version 1.2.7"));
        assert!(!is_before_escape_fixes("runc version 1.2.8"));
        assert!(is_before_escape_fixes("runc version 1.3.2-rc1"));
        assert!(!is_before_escape_fixes("runc version 1.5.2"));
        assert!(!is_before_escape_fixes("crun version 1.8.1"));
    }

    #[test]
    fn a_foreign_chain_that_drops_forwarded_packets_is_found_and_ours_is_not() {
        let rules = "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority \
                     filter; policy drop;\n\t}\n}\ntable inet cupola-x {\n\tchain forward {\n\t\ttype \
                     filter hook forward priority filter; policy drop;\n\t}\n}\n";

        let found = dropping_chains(rules, "x");

        assert_eq!(found, ["chain FORWARD of table ip filter"]);
    }
}
