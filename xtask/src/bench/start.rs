//! From the cell's decision to an app's first byte, against the OCI runtime on the same bundle.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    child::{Guarded, finish, wait_for},
    memory,
    platform::{PATIENCE, Platform},
    report::{Row, Verdict},
    sleeper::Sleeper,
    stats::Samples,
};

const ROUNDS: usize = 20;
const BEYOND_RUNTIME_MS: f64 = 20.0;
/// The kernel takes a network apart in the background, and the platform prepares the next one.
const SETTLE: Duration = Duration::from_millis(300);
const RUNTIME: &str = "runc";

pub(super) fn measure(platform: &mut Platform, sleeper: &Sleeper) -> anyhow::Result<Vec<Row>> {
    platform.scale(&sleeper.process, 1)?;
    let peer = Peer::beside(platform)?;
    let (mut ours, mut asked, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = start_second(platform, sleeper)?;
        ours.push(start.from_cell_ms);
        asked.push(start.from_request_ms);
        platform.scale(&sleeper.process, 1)?;
        std::thread::sleep(SETTLE);
        theirs.push(peer.run_ms()?);
        std::thread::sleep(SETTLE);
    }
    Ok(vec![row(&Samples::new(ours), &Samples::new(theirs)), asked_row(&Samples::new(asked))])
}

fn row(ours: &Samples, theirs: &Samples) -> Row {
    let beyond = ours.median() - theirs.median();
    Row {
        what: "container start to first byte",
        budget: format!("`{RUNTIME} run` + {BEYOND_RUNTIME_MS:.0} ms"),
        measured: format!("{RUNTIME} + {beyond:.1} ms: {} against {}", told(ours), told(theirs)),
        n: ours.n(),
        verdict: Verdict::at_most(beyond, BEYOND_RUNTIME_MS, "ms"),
        method: format!(
            "The sleeper is scaled from 1 to 2, again and again. Ours: from the cell's log line `creating container`, \
             which is written before network, disk and file system are made, to the app's first line, as stamped by \
             the shim. The peer, in turns with it: `{RUNTIME} run --detach` on a copy of the first instance's own \
             `config.json` (same root file system, seccomp profile, init, namespaces of user and network), run in the \
             mount namespace of its shim, from the exec of {RUNTIME} to the app's first byte. 0.3 s of rest before each. Medians are compared. Ours is a chain of processes that hand over to each other, so \
             that busy cores stretch it more than the runtime alone."
        ),
    }
}

fn asked_row(asked: &Samples) -> Row {
    Row {
        what: "the same from the request to scale",
        budget: "-".to_owned(),
        measured: told(asked),
        n: asked.n(),
        verdict: Verdict::Information,
        method: "From before the POST to the app's first line: the API, a transaction, the loop of instances and the \
                 start."
            .to_owned(),
    }
}

fn told(samples: &Samples) -> String {
    format!("{:.1} ms [{:.1}, {:.1}]", samples.median(), samples.min(), samples.max())
}

struct Start {
    from_cell_ms: f64,
    from_request_ms: f64,
}

/// Scales to two instances and reads from the app's log when what happened.
fn start_second(platform: &mut Platform, sleeper: &Sleeper) -> anyhow::Result<Start> {
    let asked_ns = now_ns()?;
    platform.ask_to_scale(&sleeper.process, 2)?;
    platform.wait_until_scaled(&sleeper.process, 2)?;
    let path =
        format!("/api/v1/read/{}?start_time={asked_ns}&limit=100&envelope_types=LOG", sleeper.app);
    let (created, first) = wait_for("the first line of an instance", PATIENCE, || {
        let read = platform.get(&path)?;
        let lines = read["envelopes"]["batch"].as_array().cloned().unwrap_or_default();
        let created = first_line(&lines, "CELL");
        let first = first_line(&lines, "APP/PROC/WEB");
        Ok(created.zip(first))
    })?;
    let ms = |from: u64| first.saturating_sub(from) as f64 / 1e6;
    Ok(Start { from_cell_ms: ms(created), from_request_ms: ms(asked_ns) })
}

/// When the earliest line of the second instance from this source was written.
fn first_line(lines: &[Value], source: &str) -> Option<u64> {
    let of_second =
        |line: &&Value| line["instance_id"] == "1" && line["tags"]["source_type"] == source;
    let times = lines.iter().filter(of_second);
    times.filter_map(|line| line["timestamp"].as_str()?.parse().ok()).min()
}

#[expect(clippy::disallowed_methods, reason = "compared with stamps of the platform's clock")]
fn now_ns() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

/// The OCI runtime on the bundle of a running instance, without anything around it.
struct Peer {
    folder: PathBuf,
    shim: u32,
}

const PEER: &str = "cupola-bench-peer";

impl Peer {
    fn beside(platform: &Platform) -> anyhow::Result<Self> {
        let instances = platform.instance_folders();
        let [instance] = instances.as_slice() else { bail!("there is not one instance") };
        let folder = platform.folder.join("peer");
        fs::create_dir_all(folder.join("bundle"))?;
        let text = fs::read_to_string(instance.join("config.json"))?;
        let mut config: Value = serde_json::from_str(&text)?;
        config["root"]["path"] = json!(instance.join("rootfs"));
        let cgroup = config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
        config["linux"]["cgroupsPath"] = json!(format!("{cgroup}-peer"));
        fs::write(folder.join("bundle/config.json"), config.to_string())?;
        Ok(Self { folder, shim: memory::shim_pid(instance)? })
    }

    /// A container from start to first byte, and removed again.
    fn run_ms(&self) -> anyhow::Result<f64> {
        let measured = self.first_byte_ms();
        let removed = self.remove();
        let measured = measured?;
        removed?;
        Ok(measured)
    }

    fn first_byte_ms(&self) -> anyhow::Result<f64> {
        let script = format!(
            "read -r _; exec {RUNTIME} --root '{at}/state' run --detach --preserve-fds 1 --pid-file '{at}/pid' \
             --bundle '{at}/bundle' {PEER} 3>>'{at}/record' </dev/null",
            at = self.folder.display(),
        );
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.shim)).args(["sh", "-c", &script]);
        let errors = fs::File::create(self.folder.join("errors"))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = Guarded(command.spawn().context("cannot run nsenter")?);
        let mut go = child.0.stdin.take().context("the shell has no input")?;
        let stdout = child.0.stdout.take().context("the shell has no output")?;
        // The shell waits for its line by now; what comes after it is the runtime's time alone.
        std::thread::sleep(Duration::from_millis(50));
        let started = Instant::now();
        go.write_all(b"go\n")?;
        let mut first = String::new();
        BufReader::new(stdout).read_line(&mut first)?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let status = child.0.wait()?;
        if first != "up\n" || !status.success() {
            let errors = fs::read_to_string(self.folder.join("errors")).unwrap_or_default();
            bail!("{RUNTIME} said {first:?} and ended with {status}: {errors}");
        }
        Ok(ms)
    }

    fn remove(&self) -> anyhow::Result<()> {
        let runtime = |arguments: &[&str]| {
            let mut command = Command::new(RUNTIME);
            command.arg("--root").arg(self.folder.join("state")).args(arguments);
            command
        };
        // The container may not be there after a failed start.
        let _ = finish(&mut runtime(&["kill", PEER, "KILL"]), PATIENCE);
        finish(&mut runtime(&["delete", "--force", PEER]), PATIENCE)?;
        Ok(())
    }
}
