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

/// A platform in a network of its own with a firewall; prints what it said.
const UP_BEHIND_A_FIREWALL: &str = r#"
set -e
mount -t tmpfs tmpfs /run
ip link set lo up
nft "$RULES"
place="--data-dir $FOLDER/data --run-dir /run/cupola"
"$CUPOLA" up $place > "$FOLDER/log" 2>&1 &
pid=$!
trap '"$CUPOLA" down $place' EXIT
until "$CUPOLA" status --run-dir /run/cupola > /dev/null 2>&1; do
    kill -0 "$pid" || break
    sleep 0.05
done
cat "$FOLDER/log"
"#;

#[test]
fn a_firewall_that_drops_forwarded_packets_is_noticed_with_the_remedy() {
    let platform = Platform::prepare();
    let rules = "add table ip filter; add chain ip filter FORWARD { type filter hook forward \
                 priority 0; policy drop; }";
    let cupola = platform.cupola();
    let in_network = |shell: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--mount", "timeout", "60"]).args(shell);
        unshare.env("CUPOLA", &cupola.program).env("FOLDER", platform.folder());
        let ran = unshare.env("RULES", rules).output().unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };

    let doctor = in_network(&["sh", "-c", r#"nft "$RULES"; "$CUPOLA" doctor"#]);
    let up = in_network(&["bash", "-c", UP_BEHIND_A_FIREWALL]);
    for said in [&doctor, &up] {
        let seen = "forwarded packets are dropped by chain FORWARD of table ip filter";
        assert!(said.contains(seen), "{said}");
        assert!(said.contains("let those of apps pass: `iptables -I FORWARD -i cu"), "{said}");
        assert!(said.contains("ufw default allow routed"), "{said}");
    }
    assert!(up.contains("is up."), "{up}");

    let doctor = in_network(&["sh", "-c", r#""$CUPOLA" doctor"#]);
    assert!(doctor.contains("none drops forwarded packets"), "{doctor}");
}
