//! Things that a program in a container must not be able to do.

use cupola_domain::{instances::ExitCause, processes::Check};

use crate::host::{Host, instance, shell, table, test_app};

/// Each line: a name, and a command that must fail.
const FORBIDDEN: &str = r#"
mount mount -t tmpfs none /mnt
bind-mount mount --bind /etc /mnt
umount umount /proc
new-user-namespace unshare -U true
new-mount-namespace unshare -m true
new-net-namespace unshare -n true
mapped-root unshare -r true
chroot chroot / true
write-usr touch /usr/file
write-etc touch /etc/file
write-root touch /file
write-sysctl sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
write-sysrq sh -c 'echo h > /proc/sysrq-trigger'
read-kcore head -c 1 /proc/kcore
read-kallsyms grep -q . /proc/kallsyms
mknod mknod /tmp/null c 1 3
hostname hostname other
set-time date -s 2001-01-01
raise-files sh -c 'ulimit -n 1000000'
oom-protection sh -c 'echo -1000 > /proc/self/oom_score_adj'
cgroup-write sh -c 'echo 1 > /sys/fs/cgroup/pids/cgroup.procs'
init-environment cat /proc/1/environ
init-files ls /proc/1/fd/
init-program readlink /proc/1/exe
host-processes sh -c 'test $(ls -d /proc/[0-9]* | wc -l) -gt 20'
dmesg dmesg
device-vda ls /dev/vda
device-sda ls /dev/sda
device-loop ls /dev/loop0
device-loop-control ls /dev/loop-control
device-mem ls /dev/mem
device-kmsg ls /dev/kmsg
set-uid su root -c true
tmp-of-host sh -c 'ls /tmp | grep -q .'
pip-settings ls /etc/pip.conf
npm-settings ls /etc/npmrc
new-address ip address add 10.1.2.3/32 dev eth0
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_fails() {
    let host = Host::new().await;
    let mut script = String::from("cd /tmp\n");
    for line in FORBIDDEN.lines().filter(|line| !line.is_empty()) {
        let (name, command) = line.split_once(' ').unwrap();
        let (tool, _) = command.split_once(' ').unwrap_or((command, ""));
        // A tool that is not there would be refused nothing.
        script.push_str(&format!(
            "if ! command -v {tool} >/dev/null; then echo {name} untried; \
             elif ({command}) >/dev/null 2>&1; then echo {name} allowed; \
             else echo {name} denied; fi\n"
        ));
    }
    let desired = instance(shell(&script), Check::Process);

    host.start(&desired).await;
    host.exited(desired.id).await;

    let seen = table(&host.lines.of("APP/PROC/WEB"));
    assert_eq!(seen.len(), FORBIDDEN.lines().count() - 1, "{seen:?}");
    let wrong: Vec<_> = seen.iter().filter(|(_, value)| *value != "denied").collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dangerous_system_calls_are_refused() {
    let host = Host::new().await;
    let desired = instance(test_app(&["forbidden-calls"]), Check::Process);

    host.start(&desired).await;
    let report = host.exited(desired.id).await;

    assert_eq!(report.cause, ExitCause::Exited { code: 0 });
    let seen = table(&host.lines.of("APP/PROC/WEB"));
    assert_eq!(seen.len(), 34, "{seen:?}");
    let by_the_filter = |error: &str| {
        ["Operation not permitted", "Function not implemented"]
            .iter()
            .any(|text| error.starts_with(text))
    };
    // The kernel knows no such protocol family in some builds.
    let by_the_kernel = |name: &str, error: &str| {
        name.starts_with("socket-") && error.starts_with("Address family not supported")
    };
    let wrong: Vec<_> = seen
        .iter()
        .filter(|(name, error)| !by_the_filter(error) && !by_the_kernel(name, error))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_has_no_rights_and_sees_no_host_path() {
    let host = Host::new().await;
    let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups)' /proc/self/status; \
                  cat /proc/self/mountinfo; ls /proc/self/fd | sed 's/^/fd /'; cat /proc/1/comm";
    let desired = instance(shell(script), Check::Process);

    host.start(&desired).await;
    host.exited(desired.id).await;

    let lines = host.lines.of("APP/PROC/WEB").join("\n");
    let run_dir = host.folder.path().display().to_string();
    assert!(!lines.contains(&run_dir), "{lines}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(lines.contains(&format!("{set}:\t0000000000000000")), "{lines}");
    }
    assert!(lines.contains("NoNewPrivs:\t1") && lines.contains("Seccomp:\t2"), "{lines}");
    assert!(lines.contains("Uid:\t2000\t2000\t2000\t2000"), "{lines}");
    // The fourth is the folder that is being listed.
    let descriptors: Vec<&str> = lines.lines().filter(|line| line.starts_with("fd ")).collect();
    assert_eq!(descriptors, ["fd 0", "fd 1", "fd 2", "fd 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_ends_at_the_limit_of_processes() {
    let host = Host::with(|config| config.pids_max = 32).await;
    let script = "for i in $(seq 100); do (sleep 5 &) 2>/dev/null && echo forked $i; done";
    let desired = instance(shell(script), Check::Process);

    host.start(&desired).await;
    let report = host.exited(desired.id).await;

    let lines = host.lines.of("APP/PROC/WEB");
    let forked = lines.iter().filter(|line| line.starts_with("forked ")).count();
    assert!((16..32).contains(&forked), "{forked}: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_app_takes_the_inotify_instances_of_all() {
    let host = Host::new().await;
    let desired = instance(test_app(&["inotify"]), Check::Process);

    host.start(&desired).await;
    host.exited(desired.id).await;

    assert_eq!(table(&host.lines.of("APP/PROC/WEB"))["instances"], "16");
}
