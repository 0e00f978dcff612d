//! What `cupola up` cannot work with it refuses, and says what, why and what next.

use std::{net::TcpListener, path::Path, process::Command};

use crate::{
    apps::push_misfit,
    platform::{Platform, wait_for},
};

/// Another installation beside the running one: its own folders and free ports.
struct Beside {
    folder: tempfile::TempDir,
}

impl Beside {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Its flags, of which later ones are replaced by `other`.
    fn flags(&self, other: &[(&str, &str)]) -> Vec<String> {
        let below = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let second = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut flags = vec![
            ("--data-dir".to_owned(), below("data")),
            ("--run-dir".to_owned(), below("run")),
            ("--api-addr".to_owned(), port.to_string()),
            ("--router-addr".to_owned(), second.to_string()),
            ("--instance-subnet".to_owned(), format!("10.127.{}.0/24", port.port() % 256)),
        ];
        for (name, value) in other {
            flags.retain(|(known, _)| known != name);
            flags.push(((*name).to_owned(), (*value).to_owned()));
        }
        flags.into_iter().flat_map(|(name, value)| [name, value]).collect()
    }
}

/// Starts it in vain, and returns what it said.
#[track_caller]
fn refused(platform: &Platform, beside: &Beside, other: &[(&str, &str)]) -> crate::cli::Ran {
    let flags = beside.flags(other);
    let ran = platform.refused_up(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    ran.does_not_say("is up.");
    ran.does_not_say("panicked");
    let run_dir = beside.folder.path().join("run");
    let lines = crate::platform::command_lines();
    let left = lines.iter().find(|(_, line)| line.contains(run_dir.to_str().unwrap()));
    assert!(left.is_none(), "{left:?} is left of {ran}");
    assert!(!run_dir.exists(), "a run directory is left of {ran}");
    ran
}

#[test]
fn up_refuses_what_it_cannot_work_with() {
    let mut platform = Platform::start();
    let beside = Beside::new();
    let data_dir = platform.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    let (api, router) = (platform.api.to_string(), platform.router.to_string());

    let second = refused(&platform, &beside, &[("--data-dir", data_dir)]);
    second.says("in use by process").says(data_dir);

    let api_taken = refused(&platform, &beside, &[("--api-addr", &api)]);
    api_taken.says(&api).says("in use").says("--api-addr");

    let router_taken = refused(&platform, &beside, &[("--router-addr", &router)]);
    router_taken.says(&router).says("another program does").says("--router-addr");

    let subnet = platform.subnet();
    platform.cf_admin();
    let subnet_taken = refused(&platform, &beside, &[("--instance-subnet", &subnet)]);
    subnet_taken.says(&subnet).says("--instance-subnet");

    refused(&platform, &beside, &[("--data-dir", "/proc/cupola")])
        .says("/proc/cupola")
        .says("--data-dir");
    refused(&platform, &beside, &[("--run-dir", "/proc/cupola")])
        .says("/proc/cupola")
        .says("--run-dir");
    refused(&platform, &beside, &[("--runtime", "/opt/no-such-runtime")])
        .says("/opt/no-such-runtime")
        .says("apt-get install runc");
    refused(&platform, &beside, &[("--tls-cert", "/no/certificate.pem")]).says("--tls-key");
    refused(&platform, &beside, &[("--trusted-proxy", "lb.example.com")])
        .says("--trusted-proxy: `lb.example.com` is not a range of addresses");
    refused(&platform, &beside, &[("--apps-domain", "Not A Domain")]).says("--apps-domain");

    let password = beside.folder.path().join("short");
    std::fs::write(&password, "short\n").unwrap();
    let short =
        refused(&platform, &beside, &[("--admin-password-file", password.to_str().unwrap())]);
    short.says("shorter than 8 characters");

    platform.interrupt_control();
    make_newer(&platform.data_dir().join("cupola.db"));
    let newer = refused(&platform, &beside, &[("--data-dir", data_dir)]);
    newer.says("version 999").says("start the newer cupola again");
}

#[test]
fn a_start_that_fails_leaves_the_apps_and_the_router_of_the_one_before_alone() {
    let mut platform = Platform::start();
    let beside = Beside::new();
    let cf = platform.cf_admin();
    push_misfit(&platform, &cf, "steady", &[]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_addr = taken.local_addr().unwrap().to_string();
    let (data_dir, run_dir) = (platform.data_dir(), platform.run_dir().to_owned());
    let places =
        [("--data-dir", data_dir.to_str().unwrap()), ("--run-dir", run_dir.to_str().unwrap())];
    let refused_with = |platform: &Platform, addr: &str| {
        let flags = beside.flags(&[&places[..], &[("--router-addr", addr)]].concat());
        platform.refused_up(&flags.iter().map(String::as_str).collect::<Vec<_>>())
    };

    platform.interrupt_control();
    let ran = refused_with(&platform, &taken_addr);
    ran.says(&taken_addr).says("another program does");
    assert_eq!(platform.get("steady", "/").status, 200);

    // The router is replaced because it listens elsewhere, and control fails after that.
    drop(taken);
    let database = data_dir.join("cupola.db");
    make_newer(&database);
    refused_with(&platform, &taken_addr).says("version 999");
    platform.router = taken_addr.parse().unwrap();
    wait_for("the app behind the new router", || {
        platform.try_get("steady", "/").filter(|answer| answer.status == 200)
    });
}

/// As if a later release had upgraded the database.
fn make_newer(database: &Path) {
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1])\n\
        db.execute(\"INSERT INTO _sqlx_migrations SELECT 999, description, installed_on, success, \
        checksum, execution_time FROM _sqlx_migrations LIMIT 1\")\n\
        db.commit()\n";
    let ran = Command::new("python3").arg("-c").arg(script).arg(database).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
