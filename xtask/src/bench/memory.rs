//! Memory of the idle platform, and what each instance adds to it beside the app.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use serde_json::Value;

use super::{
    platform::Platform,
    procfs,
    report::{Row, Verdict},
    sleeper::Sleeper,
};

const IDLE_MIB_MAX: f64 = 60.0;
const INSTANCE_MIB_MAX: f64 = 3.0;
const INSTANCES: usize = 20;
/// From the start to a platform that has nothing left to do, and between readings.
const SETTLE: Duration = Duration::from_secs(3);

/// A platform that has just started and has no app.
pub(super) fn idle(platform: &Platform) -> anyhow::Result<Row> {
    std::thread::sleep(SETTLE);
    let memory = Memory::read(platform)?;
    Ok(Row {
        what: "idle platform, all processes",
        budget: format!("{IDLE_MIB_MAX:.0} MiB PSS"),
        measured: memory.told(),
        n: 1,
        verdict: Verdict::at_most(memory.total(), IDLE_MIB_MAX, "MiB"),
        method: "PSS of `cupola up` and `cupola router` from `/proc/PID/smaps_rollup`, 3 s after the API answered \
                 and `cf` had logged in. The binary's pages are among them. The rows of the \
                 same after work are of these two processes, without shims."
            .to_owned(),
    })
}

/// The same platform after work.
pub(super) fn after(platform: &Platform, what: &'static str) -> anyhow::Result<Row> {
    std::thread::sleep(SETTLE);
    let memory = Memory::read(platform)?;
    Ok(Row {
        what,
        budget: "-".to_owned(),
        measured: memory.told(),
        n: 1,
        verdict: Verdict::Information,
        method: String::new(),
    })
}

struct Memory {
    control: f64,
    router: f64,
}

impl Memory {
    fn read(platform: &Platform) -> anyhow::Result<Self> {
        let control = procfs::pss_mib(platform.control_pid())?;
        Ok(Self { control, router: procfs::pss_mib(platform.router_pid()?)? })
    }

    fn total(&self) -> f64 {
        self.control + self.router
    }

    fn told(&self) -> String {
        let Self { control, router } = self;
        format!("{:.1} MiB (control {control:.1}, router {router:.1})", self.total())
    }
}

pub(super) fn per_instance(platform: &mut Platform, sleeper: &Sleeper) -> anyhow::Result<Row> {
    platform.scale(&sleeper.process, 1)?;
    std::thread::sleep(SETTLE);
    let before = Memory::read(platform)?;
    platform.scale(&sleeper.process, INSTANCES)?;
    std::thread::sleep(SETTLE);
    let after = Memory::read(platform)?;
    let (mut shims, mut inits) = (0.0, 0.0);
    for folder in platform.instance_folders() {
        shims += procfs::pss_mib(shim_pid(&folder)?)?;
        inits += procfs::pss_mib(init_pid(&folder)?)?;
    }
    platform.scale(&sleeper.process, 1)?;
    let (shim, init) = (shims / INSTANCES as f64, inits / INSTANCES as f64);
    let growth = (after.total() - before.total()) / (INSTANCES - 1) as f64;
    let total = shim + init + growth;
    Ok(Row {
        what: "per instance beyond the app itself",
        budget: format!("{INSTANCE_MIB_MAX:.0} MiB PSS"),
        measured: format!(
            "{total:.2} MiB (shim {shim:.2}, init {init:.2}, growth of control and router {growth:.2})"
        ),
        n: INSTANCES,
        verdict: Verdict::at_most(total, INSTANCE_MIB_MAX, "MiB"),
        method: format!(
            "{INSTANCES} instances of a static program that sleeps, health check `process`. PSS of each shim and of \
             each container's process 1, divided by the instances, and what control and router grew by from 1 to \
             {INSTANCES} of them. What the kernel keeps for namespaces, mounts and cgroups has no PSS and is not in it."
        ),
    })
}

/// The process that watches the container of this instance folder.
pub(super) fn shim_pid(folder: &Path) -> anyhow::Result<u32> {
    let processes = procfs::naming(folder);
    let shim = processes
        .iter()
        .find(|process| process.arguments.get(1).is_some_and(|role| role == "shim"));
    Ok(shim.with_context(|| format!("{} has no shim", folder.display()))?.pid)
}

fn init_pid(folder: &Path) -> anyhow::Result<u32> {
    let text = fs::read_to_string(folder.join("started.json"))?;
    let started: Value = serde_json::from_str(&text)?;
    let pid = started["pid"].as_u64().context("started.json has no pid")?;
    Ok(u32::try_from(pid)?)
}
