//! `cupola down` leaves nothing behind.

use std::{fs, path::Path, process::Command};

use crate::{
    apps::push_misfit,
    platform::{Platform, command_lines},
};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

#[test]
fn nothing_is_left_after_down() {
    let mut platform = Platform::start();
    let installation = installation(&platform);
    let cf = platform.cf_admin();
    push_misfit(&platform, &cf, "gone", &["-i", "2"]);
    assert!(!traces(&platform, &installation).is_empty(), "this test looks in the wrong places");

    platform.down();

    assert_eq!(traces(&platform, &installation), Vec::<String>::new());
    assert!(!platform.run_dir().exists());
    assert_forwarding_is_put_back();

    platform.down();
    platform.up();
    assert_eq!(platform.cf_admin().ok(&["apps"]).code, Some(0));
    crate::platform::wait_for("the app after the next start", || {
        platform.try_get("gone", "/").filter(|answer| answer.status == 200)
    });
}

#[test]
fn nothing_is_left_after_down_when_everything_was_killed() {
    let mut platform = Platform::start();
    let installation = installation(&platform);
    let cf = platform.cf_admin();
    push_misfit(&platform, &cf, "gone", &["-i", "2"]);

    platform.kill_control();
    for role in ["router", "shim"] {
        platform.pids(role).into_iter().for_each(|pid| crate::platform::send_signal("KILL", pid));
    }
    platform.down();

    assert_eq!(traces(&platform, &installation), Vec::<String>::new());
    assert!(!platform.run_dir().exists());
}

#[test]
fn folders_of_somebody_else_are_not_touched() {
    let mut platform = Platform::start();
    let thesis = platform.app_folder("thesis");
    fs::write(thesis.join("thesis.tex"), "years of work").unwrap();
    let mode = fs::metadata(&thesis).unwrap().permissions();
    let (thesis, run_dir) = (thesis.to_str().unwrap(), platform.run_dir().to_owned());
    let data_dir = platform.data_dir();
    let (run_dir, data_dir) = (run_dir.to_str().unwrap(), data_dir.to_str().unwrap());

    let cupola = platform.cupola();
    let down = cupola.fails(&["down", "--data-dir", data_dir, "--run-dir", thesis]);
    down.says("thesis.tex").says("--run-dir");
    let down = cupola.fails(&["down", "--data-dir", thesis, "--run-dir", run_dir]);
    down.says("no data directory of Cupola").says("--data-dir");
    assert!(cupola.ok(&["status"]).contains("serving"), "control was ended");
    platform.interrupt_control();
    let up = platform.refused_up(&["--data-dir", data_dir, "--run-dir", thesis]);
    up.says("thesis.tex").says("--run-dir");

    let names: Vec<_> = fs::read_dir(thesis).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["thesis.tex"]);
    assert_eq!(fs::metadata(thesis).unwrap().permissions(), mode);
}

/// The name of an installation in everything that it sets up, as its description says.
fn installation(platform: &Platform) -> String {
    let description = fs::read(platform.run_dir().join("runtime.json")).unwrap();
    let description: serde_json::Value = serde_json::from_slice(&description).unwrap();
    description["installation"].as_str().unwrap().to_owned()
}

fn interfaces_and_tables() -> String {
    let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
    let interfaces = fs::read_dir("/sys/class/net").unwrap().flatten();
    let interfaces = interfaces.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names = String::from_utf8_lossy(&tables.stdout).into_owned();
    interfaces.for_each(|name| names = format!("{names}{name}\n"));
    names
}

/// Everything that names the installation or its run directory.
fn traces(platform: &Platform, installation: &str) -> Vec<String> {
    let run_dir = platform.run_dir().to_str().unwrap();
    let mut traces = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let is_ours = |line: &&str| line.contains(run_dir) || line.contains(installation);
    traces.extend(mounts.lines().filter(is_ours).map(|line| format!("mount {line}")));
    let names = interfaces_and_tables();
    traces.extend(names.lines().filter(is_ours).map(|name| format!("network {name}")));
    let processes = command_lines().into_iter().filter(|(_, line)| line.contains(run_dir));
    traces.extend(processes.map(|(pid, line)| format!("process {pid} {line}")));
    traces.extend(cgroups(Path::new("/sys/fs/cgroup"), installation));
    let holder = format!("/run/cupola-forwarding/holder-{installation}");
    traces.extend(Path::new(&holder).exists().then_some(holder));
    traces
}

/// The cgroups of an installation, in version 2 at the top and in version 1 one level below it.
fn cgroups(root: &Path, installation: &str) -> Vec<String> {
    let name = format!("cupola-{installation}");
    let folders = fs::read_dir(root).unwrap().flatten().map(|entry| entry.path());
    let below = folders.map(|folder| folder.join(&name)).chain([root.join(&name)]);
    let there = below.filter(|folder| folder.exists());
    there.map(|folder| format!("cgroup {}", folder.display())).collect()
}

/// The last installation puts the old value back; others may run at the same time.
fn assert_forwarding_is_put_back() {
    if Path::new("/run/cupola-forwarding/old-value").exists() {
        assert_eq!(fs::read_to_string(FORWARDING).unwrap().trim(), "1");
    }
}
