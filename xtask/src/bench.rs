//! `make bench`: the budgets of the design, measured on the release binary.
//!
//! Load goes to loopback only, folders and processes are gone at the end. All parts together write
//! docs/benchmarks.md; a part that is named is only printed.

mod api;
pub(crate) mod child;
pub(crate) mod http;
mod ingest;
mod memory;
pub(crate) mod platform;
pub(crate) mod procfs;
mod push;
pub(crate) mod report;
mod router;
mod sleeper;
mod start;
pub(crate) mod stats;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    prepare,
    run::{command, cupola, output, root, run},
};
use platform::Platform;
use report::{Row, Setting};
use sleeper::Sleeper;

pub(crate) const PAGE: &str = "docs/benchmarks.md";
const PARTS: [&str; 5] = ["router", "containers", "push", "api", "ingest"];

/// Names another binary of the platform, to compare one with another.
pub(crate) const BINARY: &str = "CUPOLA_BIN";

pub(crate) fn bench(parts: &[String]) -> anyhow::Result<()> {
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("there is no part `{unknown}`: {}", PARTS.join(", "));
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    prepare::platform()?;
    prepare::bench()?;
    if std::env::var_os(BINARY).is_none() {
        run(&mut command("cargo", &["build", "--release", "--package", "cupola", "--locked"]))?;
    }
    let ingest = if wanted("ingest") { Some(ingest::build()?) } else { None };

    let setting =
        Setting { date: date(), machine: machine(), busy_cores: busy_cores()?, minutes: 0.0 };
    let started = Instant::now();
    let scratch = Scratch::make()?;
    let mut rows = Vec::new();
    if ["containers", "push", "api"].into_iter().any(&wanted) {
        rows.extend(on_platform(&scratch, wanted)?);
    }
    if wanted("router") {
        println!("measuring the router");
        rows.extend(router::measure(&scratch.0)?);
    }
    if let Some(ingest) = &ingest {
        println!("measuring log ingest");
        rows.push(ingest::measure(ingest)?);
    }
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    let page = report::page(&Setting { minutes, ..setting }, &rows);
    let before = fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let page = report::with_soak(&page, report::soak_of(&before));
    println!("\n{page}");
    if parts.is_empty() {
        fs::write(root().join(PAGE), page).with_context(|| format!("cannot write {PAGE}"))?;
        println!("written to {PAGE}");
    }
    Ok(())
}

/// The binary that is measured.
fn binary() -> PathBuf {
    std::env::var_os(BINARY).map_or_else(|| cupola("release"), PathBuf::from)
}

/// Everything that needs a whole platform.
fn on_platform(scratch: &Scratch, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<Row>> {
    let mut platform = Platform::start(&scratch.0)?;
    let measured = parts_of_platform(&mut platform, wanted);
    if measured.is_err() {
        eprintln!("the platform said:\n{}", platform.log());
    }
    let removed = platform.remove();
    let rows = measured?;
    removed?;
    Ok(rows)
}

fn parts_of_platform(
    platform: &mut Platform,
    wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    if wanted("containers") {
        println!("measuring memory and container starts");
        rows.push(memory::idle(platform)?);
        let sleeper = Sleeper::push(platform)?;
        rows.push(memory::per_instance(platform, &sleeper)?);
        rows.extend(start::measure(platform, &sleeper)?);
        sleeper.delete(platform)?;
    }
    if wanted("push") || wanted("api") {
        println!("measuring pushes");
        platform.renew_token()?;
        rows.extend(push::measure(platform)?);
        rows.push(memory::after(platform, "the platform's memory after these pushes")?);
    }
    if wanted("api") {
        println!("measuring the API");
        platform.renew_token()?;
        rows.push(api::route_change(platform)?);
        rows.extend(api::lists(platform)?);
        rows.push(memory::after(platform, "the platform's memory after these lists")?);
    }
    Ok(rows)
}

/// A folder that is gone at the end. Not below /tmp, which may be memory: what is on the disk when
/// the API answers is part of what is measured.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> anyhow::Result<Self> {
        let folder = PathBuf::from(format!("/var/tmp/cupola-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)))
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("bench: cannot remove {}: {error}", self.0.display());
        }
    }
}

pub(crate) fn date() -> String {
    output("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default().trim().to_owned()
}

/// How many cores other programs keep busy, watched for two seconds. The load average would count
/// the build that has just ended.
fn busy_cores() -> anyhow::Result<f64> {
    let watched = Duration::from_secs(2);
    let before = busy_ticks()?;
    thread::sleep(watched);
    let ticks = busy_ticks()?.saturating_sub(before);
    Ok(ticks as f64 / TICKS_PER_SECOND / watched.as_secs_f64())
}

/// The unit of `/proc/stat`, the same on every architecture that Linux shows to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the cores did so far besides nothing and waiting for a disk: proc_stat(5).
fn busy_ticks() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let cpu = text.lines().next().context("/proc/stat begins with a line of all cores")?;
    let ticks: Vec<u64> = cpu.split_whitespace().skip(1).flat_map(str::parse).collect();
    let (idle, waiting) = (ticks.get(3).unwrap_or(&0), ticks.get(4).unwrap_or(&0));
    Ok(ticks.iter().take(8).sum::<u64>() - idle - waiting)
}

/// What was measured on and with.
pub(crate) fn machine() -> Vec<String> {
    let field = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once([':', '='])
            .map_or_else(String::new, |(_, value)| value.trim().trim_matches('"').to_owned())
    };
    let version = |program: &str, argument: &str| {
        let text = output(program, &[argument]).unwrap_or_default();
        text.lines().next().unwrap_or("missing").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse::<f64>();
    let kernel = output("uname", &["-r"]).unwrap_or_default();
    vec![
        format!(
            "Machine: {cores} cores of {}, {:.0} GiB, {}, Linux {}",
            field("/proc/cpuinfo", "model name"),
            memory.unwrap_or_default() / f64::from(1 << 20),
            field("/etc/os-release", "PRETTY_NAME"),
            kernel.trim()
        ),
        format!(
            "With: {}, node {}, npm {}, {}",
            version("runc", "--version"),
            version("node", "--version"),
            version("npm", "--version"),
            version("rustc", "--version")
        ),
    ]
}
