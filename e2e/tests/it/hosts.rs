//! Hosts on which something is missing or in the way, made of namespaces.

use std::process::Command;

use crate::platform::Platform;

/// A shell in a mount namespace where these programs are no files.
fn without(programs: &[&str]) -> String {
    let hide = |program: &&str| {
        format!(
            "for it in $(type -ap {program}); do mount --bind /dev/null $(readlink -f $it); done; "
        )
    };
    let hidden: String = programs.iter().map(hide).collect();
    format!("{hidden}exec \"$@\"")
}

#[test]
fn a_host_without_nft_or_a_runtime_is_refused_with_what_to_install() {
    let mut platform = Platform::prepare();
    let in_namespace = ["unshare", "--mount", "bash", "-c"];

    let script = without(&["nft"]);
    platform.launch_by(&[&in_namespace[..], &[&script, "bash"]].concat());
    platform.is_refused().says("nftables").says("apt-get install nftables").does_not_say("runc");

    let script = without(&["runc", "crun"]);
    platform.launch_by(&[&in_namespace[..], &[&script, "bash"]].concat());
    platform.is_refused().says("OCI runtime").says("apt-get install runc");

    let script = without(&["runc", "crun", "nft"]);
    platform.launch_by(&[&in_namespace[..], &[&script, "bash"]].concat());
    platform.is_refused().says("apt-get install runc").says("apt-get install nftables");
    assert!(!platform.run_dir().exists());
}

#[test]
fn a_firewall_that_drops_forwarded_packets_is_noticed_with_the_remedy() {
    let platform = Platform::prepare();
    let rules = "add table ip filter; add chain ip filter FORWARD { type filter hook forward \
                 priority 0; policy drop; }";
    let cupola = platform.cupola();
    let doctor = |before: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sh", "-c", &format!("{before} exec \"$@\""), "sh"]);
        unshare.arg(&cupola.program).arg("doctor").args(platform.place());
        String::from_utf8(unshare.output().unwrap().stdout).unwrap()
    };

    let said = doctor(&format!("nft '{rules}';"));
    assert!(
        said.contains("forwarded packets are dropped by chain FORWARD of table ip filter"),
        "{said}"
    );
    assert!(said.contains("hint: let those of apps pass: `iptables -I FORWARD -i cu"), "{said}");
    assert!(said.contains("ufw default allow routed"), "{said}");

    let said = doctor("");
    assert!(said.contains("none drops forwarded packets"), "{said}");
}
