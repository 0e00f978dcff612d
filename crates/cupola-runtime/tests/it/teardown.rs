//! `cupola down` leaves nothing behind, whatever state things are in.

use std::{fs, process::Command};

use cupola_domain::processes::Check;
use cupola_ports::cells::Cells;
use cupola_runtime::teardown;

use crate::host::{Host, instance, shell};

#[tokio::test(flavor = "multi_thread")]
async fn teardown_leaves_no_process_mount_interface_cgroup_or_rule() {
    let host = Host::new().await;
    let one = instance(shell("exec sleep 4242"), Check::Process);
    let two = instance(shell("exec sleep 4242"), Check::Process);
    host.cells.apply(vec![one.clone(), two.clone()]).await.unwrap();
    host.running(one.id).await;
    host.running(two.id).await;
    let folder = host.folder.path().display().to_string();
    let name = &host.config.installation;
    assert!(processes_with(&folder) > 0);

    teardown(&host.config.run_dir, &host.config.data_dir).await.unwrap();

    assert_eq!(processes_with(&folder), 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&folder), "{mounts}");
    let interfaces = fs::read_dir("/sys/class/net").unwrap().flatten();
    let left: Vec<_> = interfaces
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|interface| interface.starts_with(&format!("cu{name}-")))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let cgroups = Command::new("find")
        .args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", &format!("cupola-{name}")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(cgroups.stdout).unwrap(), "");
    let tables = Command::new("nft").args(["list", "tables"]).output().unwrap();
    assert!(!String::from_utf8(tables.stdout).unwrap().contains(&format!("cupola-{name}")));
    assert!(!host.config.run_dir.join("instances").exists());
    teardown(&host.config.run_dir, &host.config.data_dir).await.unwrap();
}

/// Processes whose command line names this folder.
fn processes_with(text: &str) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(text)
        })
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_finds_what_apps_need_on_this_host() {
    let host = Host::new().await;

    let probe = cupola_runtime::probe_host(&host.config).await.unwrap();

    assert!(probe.is_good(), "{probe:#?}");
    assert!(probe.findings.iter().any(|finding| finding.name == "OCI runtime"));
    let mut without = host.config.clone();
    without.runtime_path = "/no/such/runtime".into();
    let probe = cupola_runtime::probe_host(&without).await.unwrap();
    assert!(!probe.is_good());
    let refused = cupola_runtime::Runtime::open(without).await.unwrap_err().to_string();
    assert!(refused.contains("apt-get install runc"), "{refused}");
}
