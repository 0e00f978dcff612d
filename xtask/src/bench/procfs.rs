//! What the kernel tells about processes: memory, CPU time, command lines.

use std::{fs, path::Path};

use anyhow::Context;

/// Proportional set size: each shared page counts once, divided among those who share it.
pub(crate) fn pss_mib(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = kib.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("{path} has no Pss"))? / 1024.0)
}

/// What a process and its children have computed so far, in nanoseconds.
pub(super) fn cpu_ns(pid: u32) -> anyhow::Result<u64> {
    let mut total = 0;
    for process in family(pid) {
        for task in fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat"))?;
            let ns = text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
            total += ns.context("a schedstat begins with a number")?;
        }
    }
    Ok(total)
}

/// The process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    [pid].into_iter().chain(children).collect()
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) arguments: Vec<String>,
}

/// Every process that names this path in its command line.
pub(super) fn naming(path: &Path) -> Vec<Process> {
    let path = path.to_string_lossy();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let arguments = line.split_terminator('\0').map(str::to_owned).collect();
        line.contains(path.as_ref()).then_some(Process { pid, arguments })
    });
    processes.collect()
}
