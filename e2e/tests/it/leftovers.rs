//! `cupola down` leaves nothing behind.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    apps::push_misfit,
    platform::{Platform, command_lines, wait_for},
};

#[test]
fn nothing_is_left_after_down() {
    let mut platform = Platform::start();
    let installation = installation(&platform);
    let cf = platform.cf_admin();
    push_misfit(&platform, &cf, "gone", &["-i", "2"]);
    assert!(!traces(&platform, &installation).is_empty(), "this test looks in the wrong places");

    let namespaces = namespaces(&platform, &installation);
    assert!(namespaces.len() > 2 * 5, "this test looks in the wrong places: {namespaces:?}");
    assert_ne!(users_of(&namespaces), Vec::<String>::new());

    platform.down();

    assert_eq!(traces(&platform, &installation), Vec::<String>::new());
    // The kernel gives their numbers out again: a use by somebody else ends.
    wait_for("the namespaces to end", || users_of(&namespaces).is_empty().then_some(()));
    assert!(!platform.run_dir().exists());

    platform.down();
    platform.up();
    assert_eq!(platform.cf_admin().ok(&["apps"]).code, Some(0));
    wait_for("the app after the next start", || {
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
    let down = cupola.fails(&["down", "--data-dir", thesis, "--run-dir", "/nonexistent"]);
    down.says("no data directory of Cupola").says("--data-dir");
    let down = cupola.fails(&["down", "--data-dir", data_dir, "--run-dir", "/nonexistent"]);
    down.says("nothing runs in /nonexistent").says("--run-dir");
    let other = platform.folder().join("other");
    let other = other.to_str().unwrap();
    let down = cupola.fails(&["down", "--data-dir", other, "--run-dir", run_dir]);
    down.says("another data directory");
    let up = platform.refused_up(&["--data-dir", other, "--run-dir", run_dir]);
    up.says("another data directory").says("--run-dir");
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

const KINDS: [&str; 7] = ["cgroup:[", "ipc:[", "mnt:[", "net:[", "pid:[", "user:[", "uts:["];

/// The namespaces of the installation's containers, and those that control keeps for the next.
fn namespaces(platform: &Platform, installation: &str) -> BTreeSet<String> {
    let cgroup = format!("cupola-{installation}/");
    let is_in_container = |process: &PathBuf| {
        fs::read_to_string(process.join("cgroup")).is_ok_and(|text| text.contains(&cgroup))
    };
    let containers = processes().filter(is_in_container).map(|process| process.join("ns"));
    let control = PathBuf::from(format!("/proc/{}/fd", platform.control()));
    let ours: BTreeSet<_> = containers.chain([control]).flat_map(|it| links(&it)).collect();
    let host: BTreeSet<_> = links(Path::new("/proc/self/ns")).collect();
    ours.difference(&host).cloned().collect()
}

/// Processes that are in one of these namespaces or hold it open, and mounts of one.
fn users_of(namespaces: &BTreeSet<String>) -> Vec<String> {
    let mut users = Vec::new();
    for folder in processes().flat_map(|process| [process.join("ns"), process.join("fd")]) {
        let used = links(&folder).filter(|link| namespaces.contains(link));
        users.extend(used.map(|link| format!("{link} by {}", folder.display())));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_ours = |line: &&str| line.split(' ').any(|word| namespaces.contains(word));
    users.extend(mounts.lines().filter(is_ours).map(|line| format!("mount {line}")));
    users
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let is_pid = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    entries.filter(move |it| it.file_name().to_str().is_some_and(is_pid)).map(|it| it.path())
}

/// Where the links of a folder lead that are namespaces, like `net:[4026531840]`.
fn links(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let links = fs::read_dir(folder).into_iter().flatten().flatten();
    let links = links.filter_map(|link| fs::read_link(link.path()).ok());
    let links = links.filter_map(|link| link.into_os_string().into_string().ok());
    links.filter(|link| KINDS.iter().any(|kind| link.starts_with(kind)))
}

/// Two installations in a network of their own, so that no others hold the switch meanwhile. Prints
/// its value after each step.
const TWO_INSTALLATIONS: &str = r#"
set -e
mount -t tmpfs tmpfs /run
ip link set lo up
forwarding() { echo "$1 $(cat /proc/sys/net/ipv4/ip_forward)"; }
down() { "$CUPOLA" down --data-dir "$FOLDER/$1" --run-dir "/run/$1"; }
up() {
    "$CUPOLA" up --data-dir "$FOLDER/$1" --run-dir "/run/$1" --instance-subnet "10.$2.0.0/20" \
        --api-addr "127.0.0.1:$2" --router-addr "127.0.0.1:1$2" > "$FOLDER/$1.log" 2>&1 &
    pid=$!
    until "$CUPOLA" status --run-dir "/run/$1" > /dev/null 2>&1; do
        kill -0 "$pid" || { cat "$FOLDER/$1.log"; exit 1; }
        sleep 0.05
    done
}
trap 'down first; down second' EXIT
echo "$BEFORE" > /proc/sys/net/ipv4/ip_forward
up first 101
up second 102
forwarding both
down first
forwarding one
down second
forwarding none
"#;

#[test]
fn packet_forwarding_is_put_back_by_the_last_installation() {
    let platform = Platform::prepare();
    let switched = |before: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--mount", "timeout", "60", "bash", "-c", TWO_INSTALLATIONS]);
        unshare.env("CUPOLA", &platform.cupola().program).env("BEFORE", before);
        let ran = unshare.env("FOLDER", platform.folder()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };

    assert_eq!(switched("0"), "both 1\none 1\nnone 0\n");
    assert_eq!(switched("1"), "both 1\none 1\nnone 1\n");
}
