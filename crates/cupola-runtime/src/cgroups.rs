//! Readings of a container's cgroup: version 1, version 2, and both mixed.
//!
//! The OCI runtime writes the limits. Reading goes through the files, because asking the runtime
//! costs a process of several milliseconds each time.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Which hierarchies a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CgroupLayout {
    V1,
    V2,
    /// Controllers in version 1, and a version 2 tree beside them.
    Hybrid,
}

const ROOT: &str = "/sys/fs/cgroup";

impl CgroupLayout {
    /// What this machine has.
    pub(crate) fn of_host() -> Self {
        if Path::new(ROOT).join("cgroup.controllers").exists() {
            Self::V2
        } else if Path::new(ROOT).join("unified/cgroup.controllers").exists() {
            Self::Hybrid
        } else {
            Self::V1
        }
    }
}

/// The cgroup of one container, by its absolute path such as `/cupola-abc/ID`.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    layout: CgroupLayout,
    path: String,
}

impl Cgroup {
    pub(crate) fn new(path: &str) -> Self {
        Self { layout: CgroupLayout::of_host(), path: path.trim_start_matches('/').to_owned() }
    }

    /// The time that its processes ran on cores, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> Option<u64> {
        match self.layout {
            CgroupLayout::V2 => {
                keyed(&self.file("", "cpu.stat"), "usage_usec").map(|micros| micros * 1000)
            }
            _ => number(&self.file("cpuacct", "cpuacct.usage")),
        }
    }

    /// Memory in use, without the file cache that can be dropped at once.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let (usage, stat, inactive) = match self.layout {
            CgroupLayout::V2 => ("memory.current", self.file("", "memory.stat"), "inactive_file"),
            _ => {
                ("memory.usage_in_bytes", self.file("memory", "memory.stat"), "total_inactive_file")
            }
        };
        let used = number(&self.file("memory", usage))?;
        Some(used.saturating_sub(keyed(&stat, inactive).unwrap_or(0)))
    }

    pub(crate) fn memory_peak_bytes(&self) -> Option<u64> {
        match self.layout {
            CgroupLayout::V2 => number(&self.file("", "memory.peak")),
            _ => number(&self.file("memory", "memory.max_usage_in_bytes")),
        }
    }

    /// How many processes the kernel ended because of the memory limit.
    pub(crate) fn oom_kills(&self) -> u64 {
        match self.layout {
            CgroupLayout::V2 => keyed(&self.file("", "memory.events"), "oom_kill"),
            _ => keyed(&self.file("memory", "memory.oom_control"), "oom_kill"),
        }
        .unwrap_or(0)
    }

    fn file(&self, controller: &str, name: &str) -> PathBuf {
        let root = Path::new(ROOT);
        let tree = match self.layout {
            CgroupLayout::V2 => root.to_owned(),
            _ => root.join(controller),
        };
        tree.join(&self.path).join(name)
    }
}

/// Removes a cgroup and those below it from every hierarchy, after ending what is left in it.
pub(crate) fn remove_tree(path: &str) {
    let path = path.trim_start_matches('/');
    for tree in hierarchies() {
        let top = tree.join(path);
        let _ = fs::write(top.join("cgroup.kill"), "1");
        remove_below(&top);
    }
}

fn remove_below(folder: &Path) {
    for child in fs::read_dir(folder).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&child.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

/// Every cgroup file system of the machine.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(target))
        })
        .collect()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn keyed(path: &Path, key: &str) -> Option<u64> {
    value_of(&fs::read_to_string(path).ok()?, key)
}

fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_mistaken_for_a_longer_one() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";

        assert_eq!(value_of(text, "oom_kill"), Some(3));
        assert_eq!(value_of(text, "missing"), None);
    }
}
