//! CPU per proxied request of the router and of Debian's nginx, in turns, both with an access log.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    child::{Guarded, finish, wait_for},
    http::Client,
    platform::free_address,
    procfs,
    report::{Row, Verdict},
    stats::Samples,
};
use crate::prepare;

const ROUTES: usize = 10_000;
const BACKENDS: usize = 4;
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 7;
const WARM_UP_S: u64 = 1;
const ROUND_S: u64 = 4;
/// What is under way when the load ends, and lines that are handed on in batches.
const SETTLE: Duration = Duration::from_millis(400);
const START_WITHIN: Duration = Duration::from_secs(20);
const BUDGET: f64 = 1.3;

pub(super) fn measure(scratch: &Path) -> anyhow::Result<Vec<Row>> {
    let folder = scratch.join("router");
    fs::create_dir_all(&folder)?;
    let wrk = PathBuf::from("wrk");
    let nginx = prepare::nginx()?;
    let backend = Backend::start(&nginx, &folder)?;
    let router = Router::start(&folder, &backend.addresses)?;
    let peer = Peer::start(&nginx, &folder, &backend.addresses)?;
    let script = folder.join("load.lua");
    fs::write(&script, load_script())?;
    let load = Load { wrk, script };
    let (mut ours, mut theirs) = (Runs::default(), Runs::default());
    for _ in 0..ROUNDS {
        ours.push(load.run(router.address, router.process.pid())?);
        theirs.push(load.run(peer.address, peer.process.pid())?);
    }
    Ok(vec![row(&ours, &theirs, router.lines_lost(), &nginx)])
}

#[derive(Default)]
struct Runs {
    cpu_us: Vec<f64>,
    per_second: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
}

impl Runs {
    fn push(&mut self, run: Run) {
        self.cpu_us.push(run.cpu_us);
        self.per_second.push(run.per_second);
        self.p50_us.push(run.p50_us);
        self.p99_us.push(run.p99_us);
    }

    fn told(&self) -> String {
        let cpu = Samples::new(self.cpu_us.clone());
        let of = |values: &Vec<f64>| Samples::new(values.clone()).median();
        format!(
            "{:.1} µs [{:.1}, {:.1}] at {:.0} requests/s, p50 {:.1} ms, p99 {:.1} ms",
            cpu.median(),
            cpu.min(),
            cpu.max(),
            of(&self.per_second),
            of(&self.p50_us) / 1e3,
            of(&self.p99_us) / 1e3
        )
    }
}

fn row(ours: &Runs, theirs: &Runs, lines_lost: u64, nginx: &Path) -> Row {
    let ratios = ours.cpu_us.iter().zip(&theirs.cpu_us).map(|(ours, theirs)| ours / theirs);
    let ratio = Samples::new(ratios.collect());
    Row {
        what: "router CPU per request against nginx, small HTTP/1.1 bodies",
        budget: format!("{BUDGET}x"),
        measured: format!(
            "{:.2}x [{:.2}, {:.2}]; router {}; nginx {}",
            ratio.median(),
            ratio.min(),
            ratio.max(),
            ours.told(),
            theirs.told()
        ),
        n: ratio.n(),
        verdict: ratio_verdict(ratio.median()),
        method: format!(
            "The router role alone (`cupola router`, one worker) and {}, one worker, `access_log` in the format \
             `combined`, both pinned to core 0; {ROUTES} hosts that lead to {BACKENDS} instances or upstreams, kept \
             connections upstream. wrk with {CONNECTIONS} connections in a closed loop and the backend, another nginx, \
             are pinned to the last core; requests have five headers and go to random hosts of all {ROUTES}, answers \
             have 14 bytes. {WARM_UP_S} s warm-up, then {ROUND_S} s, the two in turns; the ratio is the median of the \
             ratios of neighbouring runs. CPU is the difference of `/proc/PID/task/*/schedstat` by completed requests. \
             A client takes the router's access lines as control does ({lines_lost} lines were lost); what control \
             spends to keep them is in the row of log ingest.",
            version(nginx),
        ),
    }
}

fn ratio_verdict(ratio: f64) -> Verdict {
    if ratio <= BUDGET {
        return Verdict::Met;
    }
    Verdict::Missed(format!("by {:.2}x", ratio - BUDGET))
}

fn version(nginx: &Path) -> String {
    let output = Command::new(nginx).arg("-v").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    let text = text.unwrap_or_default();
    text.trim().trim_start_matches("nginx version: ").replace('/', " ")
}

/// The core of the measured proxy.
const PROXY_CORE: usize = 0;

/// The core of load and backend.
fn load_core() -> usize {
    std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1)
}

/// The program, tied to one core.
fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(core.to_string()).arg(program);
    command.stdout(Stdio::null());
    command
}

fn host(number: usize) -> String {
    format!("app{number}.apps.test")
}

struct Backend {
    _process: Guarded,
    addresses: Vec<SocketAddr>,
}

impl Backend {
    fn start(nginx: &Path, folder: &Path) -> anyhow::Result<Self> {
        let addresses = (0..BACKENDS).map(|_| free_address()).collect::<Result<Vec<_>, _>>()?;
        let listens = addresses.iter().fold(String::new(), |mut text, address| {
            let _ = writeln!(text, "    listen {address};");
            text
        });
        let http = format!(
            "  access_log off;\n  server {{\n{listens}    location / {{ return 200 \"hello, world!\\n\"; }}\n  }}\n"
        );
        let process = start_nginx(nginx, &folder.join("backend"), load_core(), &http)?;
        addresses.iter().try_for_each(|address| wait_for_answer(*address, "any"))?;
        Ok(Self { _process: process, addresses })
    }
}

/// The nginx that the router is compared with.
struct Peer {
    process: Guarded,
    address: SocketAddr,
}

impl Peer {
    fn start(nginx: &Path, folder: &Path, backends: &[SocketAddr]) -> anyhow::Result<Self> {
        let address = free_address()?;
        let folder = folder.join("nginx");
        let mut http = format!("  access_log {}/access.log combined;\n", folder.display());
        http += "  map_hash_max_size 65536;\n  map_hash_bucket_size 128;\n  map $host $backend {\n";
        for number in 0..ROUTES {
            let _ = writeln!(http, "    {} b{};", host(number), number % BACKENDS);
        }
        http += "  }\n";
        for (number, backend) in backends.iter().enumerate() {
            let _ = writeln!(
                http,
                "  upstream b{number} {{ server {backend}; keepalive {CONNECTIONS}; }}"
            );
        }
        let _ = write!(
            http,
            "  server {{\n    listen {address};\n    location / {{\n      proxy_pass http://$backend;\n\
             \x20     proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n\
             \x20     proxy_set_header Host $host;\n\
             \x20     proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             \x20     proxy_set_header X-Forwarded-Proto $scheme;\n    }}\n  }}\n"
        );
        let process = start_nginx(nginx, &folder, PROXY_CORE, &http)?;
        wait_for_answer(address, &host(0))?;
        Ok(Self { process, address })
    }
}

fn start_nginx(nginx: &Path, folder: &Path, core: usize, http: &str) -> anyhow::Result<Guarded> {
    fs::create_dir_all(folder)?;
    let at = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("  {kind}_temp_path {at}/{kind};\n")).concat();
    let text = format!(
        "daemon off;\nworker_processes 1;\nuser nobody nogroup;\npid {at}/pid;\nerror_log {at}/error.log;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n{temporary}  keepalive_requests 1000000000;\n{http}}}\n"
    );
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, text)?;
    let mut command = pinned(core, nginx);
    command.arg("-p").arg(folder).arg("-c").arg(&configuration);
    command.arg("-e").arg(folder.join("error.log"));
    Guarded::spawn(&mut command)
}

fn wait_for_answer(address: SocketAddr, host: &str) -> anyhow::Result<()> {
    wait_for(&format!("an answer of {address}"), START_WITHIN, || {
        let answer = Client::new(address).get(host, "/");
        Ok(answer.ok().filter(|answer| answer.status == 200).map(|_| ()))
    })
}

/// The router role with a saved table, and the client that takes its access lines.
struct Router {
    process: Guarded,
    address: SocketAddr,
    lost: Arc<AtomicU64>,
}

impl Router {
    fn start(folder: &Path, backends: &[SocketAddr]) -> anyhow::Result<Self> {
        let state = folder.join("state");
        fs::create_dir_all(&state)?;
        let table = state.join("routes.json");
        fs::write(&table, saved_table(backends).to_string())?;
        // It gives up root's rights before it reads the table.
        fs::set_permissions(&table, fs::Permissions::from_mode(0o644))?;
        let address = free_address()?;
        let socket = folder.join("router.sock");
        let mut command = pinned(PROXY_CORE, &super::binary());
        command.arg("router").arg("--listen").arg(address.to_string());
        command.arg("--state-dir").arg(&state).arg("--control-socket").arg(&socket);
        command.args(["--workers", "1"]).stderr(fs::File::create(folder.join("router.log"))?);
        let process = Guarded::spawn(&mut command)?;
        let lost = Arc::<AtomicU64>::default();
        let router = Self { process, address, lost };
        wait_for_answer(address, &host(ROUTES - 1))?;
        router.take_lines(&socket)?;
        Ok(router)
    }

    /// Access lines are taken off the control socket as control does it.
    fn take_lines(&self, socket: &Path) -> anyhow::Result<()> {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(&frame(&json!({ "hello": { "protocol": 1 } }))?)?;
        let lost = self.lost.clone();
        std::thread::spawn(move || while let Ok(()) = take_frame(&mut stream, &lost) {});
        Ok(())
    }

    fn lines_lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// Length, kind and JSON, as the router's control socket wants it.
fn frame(message: &Value) -> anyhow::Result<Vec<u8>> {
    let text = message.to_string();
    let mut frame = u32::try_from(text.len())?.to_le_bytes().to_vec();
    frame.push(1);
    frame.extend(text.into_bytes());
    Ok(frame)
}

fn take_frame(stream: &mut UnixStream, lost: &AtomicU64) -> std::io::Result<()> {
    let mut header = [0; 5];
    stream.read_exact(&mut header)?;
    let [a, b, c, d, kind] = header;
    let mut payload = vec![0; u32::from_le_bytes([a, b, c, d]) as usize];
    stream.read_exact(&mut payload)?;
    if kind == 1
        && let Ok(message) = serde_json::from_slice::<Value>(&payload)
        && let Some(count) = message["report"]["access_lines_lost"].as_u64()
    {
        lost.store(count, Relaxed);
    }
    Ok(())
}

fn saved_table(backends: &[SocketAddr]) -> Value {
    let id = |kind: usize, number: usize| format!("{kind:08x}-0000-4000-8000-{number:012x}");
    let route = |number: usize| {
        // Pools of connections are by instance; as with the peer's upstreams there are few.
        let backend = number % backends.len();
        let endpoint = json!({
            "instance_id": id(1, backend), "process_id": id(2, backend), "index": 0,
            "address": backends[backend],
        });
        let group = json!({
            "app_id": id(3, backend), "process_type": "web", "weight": 1, "endpoints": [endpoint],
        });
        let rule = json!({ "matches": "any", "groups": [group], "mirror": null });
        json!([{ "host": host(number), "path": "" }, { "rules": [rule] }])
    };
    let routes: Vec<Value> = (0..ROUTES).map(route).collect();
    let table = json!({ "epoch": 1, "version": 1, "routes": routes });
    json!({ "format": "cupola-route-table", "version": 1, "table": table })
}

/// A closed loop of requests to random hosts.
struct Load {
    wrk: PathBuf,
    script: PathBuf,
}

struct Run {
    cpu_us: f64,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Load {
    fn run(&self, proxy: SocketAddr, pid: u32) -> anyhow::Result<Run> {
        self.wrk(proxy, WARM_UP_S)?;
        std::thread::sleep(SETTLE);
        let before = procfs::cpu_ns(pid)?;
        let told = self.wrk(proxy, ROUND_S)?;
        std::thread::sleep(SETTLE);
        let cpu_ns = procfs::cpu_ns(pid)? - before;
        let [requests, failed, micros, p50_us, p99_us] = told;
        if failed > 0.0 || requests < 1.0 {
            bail!("{failed} of {requests} requests through {proxy} failed");
        }
        let cpu_us = cpu_ns as f64 / 1e3 / requests;
        Ok(Run { cpu_us, per_second: requests / micros * 1e6, p50_us, p99_us })
    }

    fn wrk(&self, proxy: SocketAddr, seconds: u64) -> anyhow::Result<[f64; 5]> {
        let mut wrk = pinned(load_core(), &self.wrk);
        wrk.arg("-t1").arg(format!("-c{CONNECTIONS}")).arg(format!("-d{seconds}s"));
        wrk.arg("-s").arg(&self.script).arg(format!("http://{proxy}/"));
        let output = finish(&mut wrk, Duration::from_secs(seconds + 20))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("told "));
        let numbers = line.with_context(|| format!("wrk said no more than:\n{text}"))?;
        let numbers = numbers.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        numbers.try_into().ok().context("wrk tells five numbers")
    }
}

/// For wrk: prepared requests, and a line with the numbers at the end.
fn load_script() -> String {
    let headers = "User-Agent: bench\\r\\nAccept: */*\\r\\nAccept-Language: en\\r\\nX-One: 1\\r\\n";
    format!(
        "local requests = {{}}\n\
         for number = 0, {last} do\n\
         \x20 requests[number] = 'GET / HTTP/1.1\\r\\nHost: app' .. number .. '.apps.test\\r\\n{headers}\\r\\n'\n\
         end\n\
         request = function() return requests[math.random(0, {last})] end\n\
         done = function(summary, latency)\n\
         \x20 local errors = summary.errors\n\
         \x20 local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout\n\
         \x20 io.write(string.format('told %d %d %d %d %d\\n', summary.requests, failed, summary.duration,\n\
         \x20   latency:percentile(50), latency:percentile(99)))\n\
         end\n",
        last = ROUTES - 1,
    )
}
