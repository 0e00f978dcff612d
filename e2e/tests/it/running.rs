//! What a running instance gets and may: processor, log, checks, signals, addresses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    apps::{
        are_all_running, compile_misfit, instance_ids, misfit, push, recent_logs, stats, whole_log,
    },
    cli::Cli,
    platform::{Platform, init_pid, send_signal, wait_for},
};

/// An address of the internet as far as an app can know (one for documentation, so that no real one
/// is hidden meanwhile), and two of a company behind the host.
const PUBLIC: &str = "203.0.113.77";
const ALLOWED: &str = "172.30.77.1";
const FORBIDDEN: &str = "172.30.77.2";

const MANIFEST: &str = "
applications:
- name: watched
  memory: 256M
  log-rate-limit-per-second: 2K
  health-check-type: http
  health-check-http-endpoint: /live
  health-check-interval: 1
  readiness-health-check-type: http
  readiness-health-check-http-endpoint: /ready
  readiness-health-check-interval: 1
";

#[test]
fn running_instance_is_watched_measured_and_confined() {
    let mut platform = Platform::start_with(&["--egress-allow", &format!("{ALLOWED}/32")]);
    let outside = Outside::start(&platform);
    let cf = platform.cf_admin();
    let manifest = platform.folder().join("watched.yml");
    fs::write(&manifest, MANIFEST).unwrap();
    let folder = misfit(&platform, "watched");
    let more = ["-f", manifest.to_str().unwrap(), "-m", "256M"];
    let pushed = push(&cf, "watched", &folder, &more);
    assert_eq!(pushed.code, Some(0), "{pushed}");

    addresses_are_reached_or_not(&platform);
    drop(outside);
    process_one_reaps_and_forwards(&platform, &cf);
    usage_is_told(&platform, &cf);
    log_over_its_rate_is_dropped(&platform, &cf);
    unready_instance_gets_no_requests_and_stays(&platform, &cf);
    ill_instance_is_replaced(&platform, &cf);
    platform.down();
}

/// A machine beyond the host: a network namespace in which a program listens on every address.
struct Outside {
    name: String,
    server: Child,
}

impl Outside {
    fn start(platform: &Platform) -> Self {
        let name = format!("cupola-e2e-{}", std::process::id());
        let link = format!("e2e{}", std::process::id());
        let inner = format!("{link}i");
        let in_it = ["netns", "exec", &name, "ip"];
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &link, "type", "veth", "peer", "name", &inner, "netns", &name]);
        ip(&["address", "add", "198.51.100.1/30", "dev", &link]);
        ip(&["link", "set", &link, "up"]);
        ip(&[&in_it[..], &["link", "set", "lo", "up"]].concat());
        ip(&[&in_it[..], &["address", "add", "198.51.100.2/30", "dev", &inner]].concat());
        ip(&[&in_it[..], &["link", "set", &inner, "up"]].concat());
        for address in [PUBLIC, ALLOWED, FORBIDDEN] {
            ip(&[&in_it[..], &["address", "add", &format!("{address}/32"), "dev", "lo"]].concat());
            ip(&["route", "add", &format!("{address}/32"), "via", "198.51.100.2"]);
        }
        let program = misfit(platform, "outside").join("misfit");
        let mut server = Command::new("ip");
        server.args(["netns", "exec", &name]).arg(program).env("PORT", "8080");
        let server = server.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let outside = Self { name, server };
        for address in [PUBLIC, ALLOWED, FORBIDDEN] {
            let address: std::net::SocketAddr = format!("{address}:8080").parse().unwrap();
            wait_for("the listener outside", || std::net::TcpStream::connect(address).ok());
        }
        outside
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        // The link and the routes over it go with the namespace.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let ended = Command::new("ip").args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "ip {}: {error}", arguments.join(" "));
}

fn reached(platform: &Platform, address: &str) -> String {
    let answer = platform.get("watched", &format!("/reach/{address}/8080")).body;
    answer.split("reached ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
}

fn addresses_are_reached_or_not(platform: &Platform) {
    assert_eq!(reached(platform, PUBLIC), "open", "an app can reach the rest");
    assert_eq!(reached(platform, ALLOWED), "open", "--egress-allow opens a private address");
    assert_eq!(reached(platform, FORBIDDEN), "closed", "its neighbour stays closed");
}

fn process_one_reaps_and_forwards(platform: &Platform, cf: &Cli) {
    for _ in 0..5 {
        platform.get("watched", "/orphan");
    }
    wait_for("the orphans to be taken away", || {
        let answer = platform.get("watched", "/").body;
        answer.contains(" zombies 0 ").then_some(())
    });

    // A signal to process 1 of the container, which is not the app itself.
    send_signal("HUP", init_pid(&instance_ids(cf, "watched")[0]));
    wait_for("the signal", || {
        platform.get("watched", "/").body.contains("reloads 1").then_some(())
    });
}

fn usage_is_told(platform: &Platform, cf: &Cli) {
    let usage = wait_for("the processor time in the stats", || {
        assert_eq!(platform.get("watched", "/burn").status, 200);
        let usage = stats(cf, "watched")[0]["usage"].clone();
        (usage["cpu"].as_f64()? > 0.01).then_some(usage)
    });
    // One static program: more than its pages, less than its quota.
    let memory = usage["mem"].as_u64().unwrap();
    assert!((10_000..64 << 20).contains(&memory), "{usage}");
    let disk = usage["disk"].as_u64().unwrap();
    assert!(disk > 0 && disk < 64 << 20, "{usage}");

    let shown = wait_for("the same in `cf app`", || {
        platform.get("watched", "/burn");
        let shown = cf.ok(&["app", "watched"]).stdout;
        let line = shown.lines().find(|line| line.starts_with("#0"))?.to_owned();
        (!line.contains(" 0.0%")).then_some(line)
    });
    // #0   running   2026-01-01T00:00:00Z   12.3%   1.2M of 256M   64K of 64M   0B/s of 2K/s
    assert!(shown.contains(" of 256M") && shown.contains(" of 64M"), "{shown}");
    assert!(!shown.contains(" 0B of") && !shown.contains(" 0 of"), "{shown}");

    // 256 MiB of 8 GiB, in the unit of the first control groups.
    let shares = cpu_shares(init_pid(&instance_ids(cf, "watched")[0]));
    assert!((30..60).contains(&shares), "{shares}");
}

/// The weight of a process's control group, in the unit of the first control groups (1024 is usual).
pub fn cpu_shares(pid: u32) -> u64 {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for line in groups.lines() {
        let (controllers, path) = line.split_once(':').unwrap().1.split_once(':').unwrap();
        let root = Path::new("/sys/fs/cgroup");
        let read = |folder: PathBuf, file: &str| {
            let text = fs::read_to_string(folder.join(path.trim_start_matches('/')).join(file));
            text.ok().map(|text| text.trim().parse::<u64>().unwrap())
        };
        if controllers.split(',').any(|one| one == "cpu") {
            return read(root.join("cpu"), "cpu.shares").unwrap();
        }
        if controllers.is_empty()
            && let Some(weight) = read(root.to_owned(), "cpu.weight")
        {
            // As OCI runtimes convert it.
            return 2 + (weight - 1) * 262_142 / 9_999;
        }
    }
    panic!("no weight: {groups}");
}

fn log_over_its_rate_is_dropped(platform: &Platform, cf: &Cli) {
    assert_eq!(platform.get("watched", "/flood").status, 200);

    let told = "over the log rate limit of 2048 bytes/s";
    let log = wait_for(told, || {
        let log = whole_log(cf, "watched");
        log.contains(told).then_some(log)
    });

    let kept = log.lines().filter(|line| line.starts_with("flood ")).count();
    assert!((1..1000).contains(&kept), "{kept}");
    platform.cupola().ok(&["status", "--json"]).does_not_say("\"lost\": 0");
    recent_logs(cf, "watched").says("lines were dropped");
}

fn unready_instance_gets_no_requests_and_stays(platform: &Platform, cf: &Cli) {
    let before = instance_ids(cf, "watched");
    assert_eq!(stats(cf, "watched")[0]["routable"], true);

    assert_eq!(platform.get("watched", "/unready/6").status, 200);

    platform.wait_for_status("watched", 503);
    let unready = &stats(cf, "watched")[0];
    assert_eq!((&unready["state"], &unready["routable"]), (&"RUNNING".into(), &false.into()));
    let why = platform.cupola().ok(&["why", "watched"]);
    why.says("GET /ready answered 503").does_not_say("gets requests");
    platform.wait_for_status("watched", 200);
    assert_eq!(stats(cf, "watched")[0]["routable"], true);
    assert_eq!(instance_ids(cf, "watched"), before);
    assert!(whole_log(cf, "watched").contains("readiness check failed"));
    cf.ok(&["events", "watched"]).does_not_say("crash");
}

fn ill_instance_is_replaced(platform: &Platform, cf: &Cli) {
    let before = instance_ids(cf, "watched");

    assert_eq!(platform.get("watched", "/ill").status, 200);

    wait_for("another instance", || {
        (instance_ids(cf, "watched") != before && are_all_running(cf, "watched")).then_some(())
    });
    assert_eq!(platform.get("watched", "/live").status, 200);
    cf.ok(&["events", "watched"]).says("app.crash");
    platform.cupola().ok(&["why", "watched"]).says("Failed its health check: GET /live");
}

#[test]
fn cupola_is_static_and_its_init_needs_no_c_library() {
    let binary = std::env::var_os("CUPOLA_BIN").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(&binary, folder.path().join("cupola")).unwrap();
    compile_misfit(&folder.path().join("misfit"));

    assert!(!has_interpreter(&fs::read(&binary).unwrap()), "the binary asks for a loader");
    // Nothing else is in this root: no loader, no C library, no shell.
    let record = fs::File::create(folder.path().join("record")).unwrap();
    let mut init = Command::new("sh");
    init.args(["-c", "exec chroot \"$0\" /cupola init -- /misfit exit 7 3>&0"]).arg(folder.path());
    let ended = init.stdin(record).output().unwrap();

    assert_eq!(String::from_utf8_lossy(&ended.stdout), "misfit: exit\n");
    let record = fs::read_to_string(folder.path().join("record")).unwrap();
    assert_eq!(record, "ready\nexit 7\n");
}

/// Whether a 64-bit ELF file names a program that has to load it.
fn has_interpreter(elf: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let short = |at: usize| usize::from(u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()));
    let table = u64::from_le_bytes(elf[0x20..0x28].try_into().unwrap());
    let (size, count) = (short(0x36), short(0x38));
    let kinds = (0..count).map(|index| usize::try_from(table).unwrap() + index * size);
    kinds
        .map(|at| u32::from_le_bytes(elf[at..at + 4].try_into().unwrap()))
        .any(|kind| kind == INTERPRETER)
}
