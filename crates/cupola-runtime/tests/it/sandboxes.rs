//! Confined programs and the layers made of what they wrote.

use std::{fs, os::unix::fs::MetadataExt, time::Duration};

use cupola_ports::sandbox::{
    Bind, Freeze, HandBack, Layers, OutputLine, Sandbox, SandboxError, SandboxExit, SandboxOutcome,
    SandboxSpec,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{mpsc, watch};

use crate::host::{Host, sandbox, shell};

async fn run(
    host: &Host,
    spec: SandboxSpec,
) -> (Result<SandboxOutcome, SandboxError>, Vec<String>) {
    let (output, mut lines) = mpsc::channel::<OutputLine>(10_000);
    let (_keep, cancel) = watch::channel(false);
    let outcome = host.runtime.sandbox().run(spec, output, cancel).await;
    let mut texts = Vec::new();
    while let Some(line) = lines.recv().await {
        texts.push(String::from_utf8_lossy(&line.message).into_owned());
    }
    (outcome, texts)
}

fn keeping(script: &str, paths: &[&str]) -> SandboxSpec {
    let paths = paths.iter().map(ToString::to_string).collect();
    SandboxSpec { freeze: vec![Freeze { name: "app".to_owned(), paths }], ..sandbox(shell(script)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_tree_is_the_same_layer_whenever_it_was_made() {
    let host = Host::new().await;
    let script = |time: &str| {
        format!(
            "cd app; mkdir -p a/b; echo one > a/b/one; ln a/b/one two; ln -s ../nowhere link; \
             echo x > run; chmod 755 run; touch -d '{time}' a/b/one run a"
        )
    };

    let (first, _) = run(&host, keeping(&script("2001-01-01"), &["/home/vcap/app"])).await;
    let (second, _) = run(&host, keeping(&script("2020-02-29"), &["/home/vcap/app"])).await;
    let (other, _) = run(&host, keeping("echo 1 > app/a", &["/home/vcap/app", "/none"])).await;

    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.exit, SandboxExit::Exited { code: 0 });
    assert_eq!(first.frozen[0].name, "app");
    assert_eq!(first.frozen, second.frozen);
    assert_ne!(first.frozen[0].digest, other.unwrap().frozen[0].digest);
    let layers = host.runtime.layers();
    assert!(layers.exists(&first.frozen[0].digest).await);
    let files = layers.files(&first.frozen[0].digest, "home/vcap/app").await.unwrap();
    let names: Vec<(&str, u32)> =
        files.iter().map(|file| (file.path.as_str(), file.mode & 0o777)).collect();
    assert_eq!(names, [("a/b/one", 0o644), ("run", 0o755), ("two", 0o644)]);
    let owner = fs::metadata(&files[0].host_path).unwrap();
    assert_eq!((owner.uid(), owner.gid(), owner.nlink()), (2000, 2000, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_the_file_system_of_the_next_container() {
    let host = Host::new().await;
    let (made, _) = run(&host, keeping("echo hello > app/file", &["/home/vcap/app"])).await;
    let layer = made.unwrap().frozen[0].digest.clone();

    let mut spec =
        keeping("id -un; ls -ld app; cat app/file; echo more >> app/file; cat app/file", &[]);
    spec.layers = vec![layer.clone()];
    let (outcome, lines) = run(&host, spec).await;

    assert_eq!(outcome.unwrap().exit, SandboxExit::Exited { code: 0 });
    assert_eq!(lines[0], "vcap");
    assert!(lines[1].contains(" vcap vcap "), "{lines:?}");
    assert_eq!(lines[2..], ["hello", "hello", "more"]);
    let files = host.runtime.layers().files(&layer, "/home/vcap/app").await.unwrap();
    assert_eq!(fs::read_to_string(&files[0].host_path).unwrap(), "hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_sockets_and_privileged_bits_do_not_survive_a_freeze() {
    let host = Host::new().await;
    fs::write(host.folder.path().join("secret"), "host secret").unwrap();
    let secret = host.folder.path().join("secret").display().to_string();
    let script = format!(
        "cd app; ln -s {secret} file; ln -s / root; mkdir real; ln -s /etc real/etc; \
         cp /bin/true suid; chmod 6755 suid; mkfifo pipe; mkdir -p ../deps; rmdir ../deps; \
         ln -s /home/vcap/app/real ../deps"
    );
    let paths = ["/home/vcap/app", "/home/vcap/deps/etc", "/home/vcap/app/../../../etc/passwd"];

    let (outcome, _) = run(&host, keeping(&script, &paths)).await;

    let frozen = outcome.unwrap().frozen[0].clone();
    let layers = host.runtime.layers();
    let files = layers.files(&frozen.digest, "").await.unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["home/vcap/app/suid"]);
    assert_eq!(files[0].mode, 0o755);
    for through_link in ["home/vcap/app/root", "home/vcap/app/real/etc", "../../.."] {
        assert_eq!(layers.files(&frozen.digest, through_link).await.unwrap(), []);
    }
    let tree = files[0].host_path.parent().unwrap();
    assert!(fs::symlink_metadata(tree.join("file")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(tree.join("pipe")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_hole_larger_than_the_disk_is_refused() {
    let host = Host::new().await;

    let spec = keeping("truncate -s 1T app/hole", &["/home/vcap/app"]);
    let (outcome, _) = run(&host, spec).await;

    assert!(matches!(outcome, Err(SandboxError::DiskFull { limit_mib: 64 })), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_handed_back_within_their_bound_whatever_the_exit_code() {
    let host = Host::new().await;
    let mut spec = sandbox(shell(
        "echo '{}' > /tmp/result; head -c 100 /dev/zero > /tmp/big; ln -s /etc/passwd /tmp/link; exit 222",
    ));
    let hand_back = |path: &str| HandBack { path: path.to_owned(), bytes_max: 50 };
    spec.hand_back = ["/tmp/result", "/tmp/big", "/tmp/link", "/tmp/none"].map(hand_back).to_vec();

    let (outcome, _) = run(&host, spec).await;

    let outcome = outcome.unwrap();
    assert_eq!(outcome.exit, SandboxExit::Exited { code: 222 });
    assert_eq!(outcome.handed_back, [("/tmp/result".to_owned(), b"{}\n".to_vec())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn binds_show_what_is_given_and_a_writable_one_is_vcaps() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::new().await;
    let cache = host.config.data_dir.join("cache");
    fs::create_dir(&cache).unwrap();
    let upload = host.config.data_dir.join("upload");
    fs::write(&upload, "bits").unwrap();
    fs::set_permissions(&upload, fs::Permissions::from_mode(0o600)).unwrap();
    let mut spec =
        sandbox(shell("cat /tmp/upload; echo; echo kept > /tmp/cache/file; echo x >> /tmp/upload"));
    spec.binds = vec![
        Bind { source: upload.clone(), target: "/tmp/upload".to_owned(), writable: false },
        Bind { source: cache.clone(), target: "/tmp/cache".to_owned(), writable: true },
    ];

    let (outcome, lines) = run(&host, spec).await;

    assert_ne!(outcome.unwrap().exit, SandboxExit::Exited { code: 0 });
    assert_eq!(lines[0], "bits");
    assert_eq!(fs::read_to_string(cache.join("file")).unwrap(), "kept\n");
    assert_eq!(fs::metadata(cache.join("file")).unwrap().uid(), 2000);
    assert_eq!(fs::read_to_string(&upload).unwrap(), "bits");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_memory_disk_and_cancel_end_a_sandbox() {
    let host = Host::new().await;
    let mut slow = sandbox(shell("sleep 1000"));
    slow.limits.time_max = Duration::from_millis(300);
    let full = sandbox(shell("dd if=/dev/zero of=/home/vcap/app/big bs=1M"));
    let hungry = sandbox(crate::host::test_app(&["eat-memory"]));

    let (slow, _) = run(&host, slow).await;
    let (full, _) = run(&host, full).await;
    let (hungry, _) = run(&host, hungry).await;

    assert_eq!(slow.unwrap().exit, SandboxExit::TimeUp);
    assert!(matches!(full, Err(SandboxError::DiskFull { limit_mib: 64 })), "{full:?}");
    assert_eq!(hungry.unwrap().exit, SandboxExit::OutOfMemory);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_sandbox_is_killed_and_a_dropped_one_leaves_nothing() {
    let host = Host::new().await;
    let start = |spec: SandboxSpec, cancel: watch::Receiver<bool>| {
        let (output, mut lines) = mpsc::channel::<OutputLine>(10);
        let sandboxes = host.runtime.sandbox();
        let task = tokio::spawn(async move { sandboxes.run(spec, output, cancel).await });
        async move {
            lines.recv().await.unwrap();
            Some(task)
        }
    };
    let (cancel, is_cancelled) = watch::channel(false);

    let cancelled =
        start(sandbox(shell("echo up; sleep 1000")), is_cancelled.clone()).await.unwrap();
    cancel.send(true).unwrap();
    let outcome = cancelled.await.unwrap().unwrap();
    let (_keep, never) = watch::channel(false);
    let dropped = start(sandbox(shell("echo up; sleep 1000")), never).await.unwrap();
    dropped.abort();

    assert_eq!(outcome.exit, SandboxExit::Cancelled);
    let instances = host.config.run_dir.join("instances");
    let is_empty = || fs::read_dir(&instances).unwrap().next().is_none();
    let deadline = tokio::time::Instant::now() + crate::host::PATIENCE;
    while !is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the dropped sandbox is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_ended_though_its_shim_hangs() {
    let host = Host::with(|config| config.shim_patience = Duration::from_secs(1)).await;
    let mut spec = sandbox(shell("echo up; sleep 1000"));
    spec.limits.time_max = Duration::from_secs(2);
    let folder = host.config.run_dir.join("instances").join(&spec.id);
    let (output, mut lines) = mpsc::channel::<OutputLine>(10);
    let (_keep, cancel) = watch::channel(false);
    let sandboxes = host.runtime.sandbox();
    let running = tokio::spawn(async move { sandboxes.run(spec, output, cancel).await });
    lines.recv().await.unwrap();

    let shim = fs::read_to_string(folder.join("shim.lock")).unwrap();
    let shim = Pid::from_raw(shim.parse().unwrap()).unwrap();
    kill_process(shim, Signal::STOP).unwrap();
    let outcome = tokio::time::timeout(crate::host::PATIENCE, running).await.unwrap().unwrap();

    assert!(matches!(outcome, Err(SandboxError::Host { .. })), "{outcome:?}");
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_layers_are_kept_for_a_day() {
    let host = Host::new().await;
    let (made, _) = run(&host, keeping("echo hello > app/file", &["/home/vcap/app"])).await;
    let layer = made.unwrap().frozen[0].digest.clone();
    let layers = host.runtime.layers();

    assert_eq!(layers.retain(&[]).await.unwrap(), 0);
    let record = host.config.data_dir.join("layers/sha256").join(layer.hex()).join("layer.json");
    let old = fs::metadata(&record).unwrap().modified().unwrap() - Duration::from_secs(90_000);
    fs::File::options().write(true).open(record).unwrap().set_modified(old).unwrap();

    assert_eq!(layers.retain(std::slice::from_ref(&layer)).await.unwrap(), 0);
    assert!(layers.exists(&layer).await);
    assert_eq!(layers.retain(&[]).await.unwrap(), 6);
    assert!(!layers.exists(&layer).await);
}
