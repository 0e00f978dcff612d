//! `make demo`: the whole platform on its defaults, two samples pushed and shown.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    prepare,
    run::{command, cupola, root, run, target},
};

/// How long the platform may take to accept pushes.
const START_MAX: Duration = Duration::from_secs(60);

struct Sample {
    /// The app's name, and its folder below `samples/`.
    name: &'static str,
    /// A part of its answer to `GET /`.
    answer: &'static str,
}

const RUN_DIR: &str = "/run/cupola-demo";

const HOW_TO_STOP: &str = "Ctrl-C stops it and removes everything.";

const SAMPLES: &[Sample] =
    &[Sample { name: "static", answer: "static" }, Sample { name: "express", answer: "express" }];

/// The show; ends at once with `DEMO_EXIT=1`, or else at Ctrl-C. The Makefile keeps Ctrl-C from
/// this process, so that it outlives the platform and can clean up behind it.
pub(crate) fn start() -> anyhow::Result<()> {
    let ends = std::env::var_os("DEMO_EXIT").is_some_and(|value| value == "1");
    show(!ends)
}

/// The show as a test: with its end, and as somebody at a terminal who presses Ctrl-C.
pub(crate) fn check() -> anyhow::Result<()> {
    show(false)?;
    press_ctrl_c()
}

/// Runs `make demo` in a process group of its own, as a shell does, and interrupts the group once
/// it serves.
fn press_ctrl_c() -> anyhow::Result<()> {
    println!("\n== make demo, then Ctrl-C");
    let mut make = command("make", &["demo"]);
    make.env_remove("DEMO_EXIT").stdout(Stdio::piped()).process_group(0);
    let mut make = make.spawn().context("cannot run make demo")?;
    let output = make.stdout.take().context("make has no output")?;
    let mut installation = None;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("  {line}");
        if line.starts_with(HOW_TO_STOP) {
            installation = Some(installation_of(Path::new(RUN_DIR))?);
            let group = format!("-{}", make.id());
            run(Command::new("kill").args(["-INT", "--", &group]))?;
        }
    }
    make.wait()?;
    let installation = installation.context("make demo ended before it served")?;
    let data_dir = target().join("demo");
    if data_dir.exists() {
        bail!("{} is left", data_dir.display());
    }
    no_leftovers(Path::new(RUN_DIR), &installation)
}

/// The platform without the show, in the demo's folders.
pub(crate) fn platform() -> anyhow::Result<()> {
    let mut platform = Platform::start()?;
    platform.serve_until_stopped()
}

fn show(goes_on: bool) -> anyhow::Result<()> {
    let mut platform = Platform::start()?;
    for sample in SAMPLES {
        platform.push(sample)?;
    }
    for sample in SAMPLES {
        platform.present(sample)?;
    }
    if goes_on {
        platform.say_how_to_go_on();
        platform.serve_until_stopped()?;
    }
    platform.remove()
}

struct Platform {
    up: Child,
    binary: PathBuf,
    data_dir: PathBuf,
    run_dir: PathBuf,
    router: SocketAddr,
    is_removed: bool,
}

impl Platform {
    fn start() -> anyhow::Result<Self> {
        prepare::platform()?;
        run(&mut command("cargo", &["build", "--release", "--package", "cupola", "--locked"]))?;
        let binary = cupola("release");
        let data_dir = target().join("demo");
        let run_dir = PathBuf::from(RUN_DIR);
        fs::create_dir_all(&data_dir).context("cannot make the folder of the demo")?;
        let mut up = Command::new(&binary);
        up.arg("up").arg("--data-dir").arg(&data_dir).arg("--run-dir").arg(&run_dir);
        up.arg("--admin-password-file").arg(data_dir.join("admin-password"));
        let up = up.spawn().context("cannot start the platform")?;
        let router = SocketAddr::from(([127, 0, 0, 1], 8080));
        let mut platform = Self { up, binary, data_dir, run_dir, router, is_removed: false };
        platform.wait_until_ready()?;
        Ok(platform)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let api = SocketAddr::from(([127, 0, 0, 1], 8081));
        let started = Instant::now();
        while get(api, "127.0.0.1:8081", "/").is_err() {
            if let Some(status) = self.up.try_wait()? {
                bail!("the platform ended: {status}");
            }
            if started.elapsed() > START_MAX {
                bail!("the platform did not answer within {} s", START_MAX.as_secs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut client = Command::new(&self.binary);
        client.args(arguments).env("CUPOLA_RUN_DIR", &self.run_dir).current_dir(root());
        client
    }

    fn push(&self, sample: &Sample) -> anyhow::Result<()> {
        println!("\n== cupola push {0} --path samples/{0}", sample.name);
        let path = format!("samples/{}", sample.name);
        run(&mut self.client(&["push", sample.name, "--path", &path]))
    }

    /// URL, answer and first log lines; fails unless the answer is right.
    fn present(&self, sample: &Sample) -> anyhow::Result<()> {
        let host = format!("{}.apps.localhost", sample.name);
        let answer = get(self.router, &host, "/")?;
        println!("\n== http://{host}:{}", self.router.port());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        for line in body.lines().take(8) {
            println!("  {line}");
        }
        println!("-- first log lines");
        let logs = self.client(&["logs", sample.name, "--recent"]).output()?;
        let logs = String::from_utf8_lossy(&logs.stdout);
        for line in logs.lines().filter(|line| !line.contains("[API/")).take(6) {
            println!("  {line}");
        }
        if !answer.contains("200 OK") || !answer.to_lowercase().contains(sample.answer) {
            bail!("{} does not answer as it should:\n{answer}", sample.name);
        }
        Ok(())
    }

    fn say_how_to_go_on(&self) {
        let binary = self.binary.display();
        let run_dir = self.run_dir.display();
        let password = self.data_dir.join("admin-password");
        println!(
            "\nThe platform is yours:\n\
             \x20 export CUPOLA_RUN_DIR={run_dir}\n\
             \x20 {binary} apps                      no login is needed on this machine\n\
             \x20 {binary} push NAME --path FOLDER   push your own\n\
             \x20 cf api http://127.0.0.1:8081 && cf auth admin \"$(cat {password})\"\n\
             \x20 cf target -o default -s dev && cf push\n\
             {HOW_TO_STOP}",
            password = password.display(),
        );
    }

    fn serve_until_stopped(&mut self) -> anyhow::Result<()> {
        let status = self.up.wait().context("cannot wait for the platform")?;
        if !status.success() {
            bail!("the platform ended: {status}");
        }
        Ok(())
    }

    fn remove(mut self) -> anyhow::Result<()> {
        self.take_down()
    }

    fn take_down(&mut self) -> anyhow::Result<()> {
        self.is_removed = true;
        let installation = installation_of(&self.run_dir)?;
        let mut down = Command::new(&self.binary);
        down.arg("down").arg("--data-dir").arg(&self.data_dir).arg("--run-dir").arg(&self.run_dir);
        run(&mut down)?;
        // It has ended by then; this only collects its status.
        self.up.wait().context("cannot wait for the platform")?;
        fs::remove_dir_all(&self.data_dir).context("cannot remove the folder of the demo")?;
        no_leftovers(&self.run_dir, &installation)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if !self.is_removed
            && let Err(error) = self.take_down()
        {
            eprintln!("demo: {error:#}");
        }
    }
}

/// Fails if anything of the platform is still there.
fn no_leftovers(run_dir: &Path, installation: &str) -> anyhow::Result<()> {
    if run_dir.exists() {
        bail!("{} is left", run_dir.display());
    }
    let run_dir = run_dir.to_str().context("the run directory is not UTF-8")?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    if mounts.contains(run_dir) || mounts.contains(installation) {
        bail!("mounts of {run_dir} are left");
    }
    let tables = crate::run::output("nft", &["list", "tables"]).context("nft lists no tables")?;
    if tables.contains(installation) {
        bail!("a table of nft is left:\n{tables}");
    }
    let processes = fs::read_dir("/proc")?.flatten();
    let left = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    if left.into_iter().any(|line| String::from_utf8_lossy(&line).contains(run_dir)) {
        bail!("processes are left that name {run_dir}");
    }
    Ok(())
}

/// The name of an installation in everything that it sets up on the host.
fn installation_of(run_dir: &Path) -> anyhow::Result<String> {
    let description = fs::read(run_dir.join("runtime.json"));
    let description = description.context("cannot read what the platform has set up")?;
    let description: serde_json::Value = serde_json::from_slice(&description)?;
    let name = description["installation"].as_str();
    Ok(name.context("runtime.json does not name the installation")?.to_owned())
}

/// The whole answer to a GET, head included.
fn get(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
