//! Shims and control may die at any time: apps live on, and nothing that can be known is lost.

use std::{fs, path::Path, sync::Arc, time::Duration};

use cupola_domain::{instances::ExitCause, processes::Check};
use cupola_ports::{
    cells::{Cells, Phase},
    clock::SystemClock,
    sandbox::Sandbox,
};
use cupola_runtime::Runtime;
use rustix::process::{Pid, Signal, kill_process};

use crate::host::{Host, Lines, PATIENCE, exited, get, instance, shell, test_app, wait_for};

/// The process id that the shim writes into its lock.
fn shim_pid(folder: &Path) -> Pid {
    let text = fs::read_to_string(folder.join("shim.lock")).unwrap();
    Pid::from_raw(text.parse().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_is_replaced_and_lines_go_on() {
    let host = Host::new().await;
    let script = "n=0; while :; do n=$((n+1)); echo count $n; sleep 0.05; done";
    let desired = instance(shell(script), Check::Process);
    host.start(&desired).await;
    let first = host.running(desired.id).await;
    host.lines.wait_for("count 3").await;

    kill_process(shim_pid(&host.instance_folder(desired.id)), Signal::KILL).unwrap();
    host.lines.wait_for("count 40").await;

    let actual = host.running(desired.id).await;
    assert_eq!(actual.started_at, first.started_at);
    let lines = host.lines.of("APP/PROC/WEB");
    let counted = lines.iter().filter(|line| line.starts_with("count ")).count();
    assert!(counted >= 39, "{lines:?}");
    host.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_that_cannot_take_over_leaves_the_app_alone() {
    let host = Host::new().await;
    let script = "n=0; while :; do n=$((n+1)); echo count $n; sleep 0.05; done";
    let desired = instance(shell(script), Check::Process);
    host.start(&desired).await;
    let first = host.running(desired.id).await;
    host.lines.wait_for("count 3").await;
    let folder = host.instance_folder(desired.id);

    fs::rename(folder.join("out"), folder.join("out-elsewhere")).unwrap();
    kill_process(shim_pid(&folder), Signal::KILL).unwrap();
    until(|| {
        let log = fs::read_to_string(folder.join("shim.log")).unwrap_or_default();
        log.contains("cannot read the pipe") || log.contains("cannot open the pipe")
    })
    .await;
    fs::rename(folder.join("out-elsewhere"), folder.join("out")).unwrap();
    host.lines.wait_for("count 40").await;

    assert_eq!(host.running(desired.id).await.started_at, first.started_at);
    host.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_ended_though_its_shim_hangs() {
    let host = Host::with(|config| config.shim_patience = Duration::from_secs(1)).await;
    let desired = instance(test_app(&["idle"]), Check::Process);
    host.start(&desired).await;
    host.running(desired.id).await;

    kill_process(shim_pid(&host.instance_folder(desired.id)), Signal::STOP).unwrap();
    host.stop_all().await;

    assert!(!host.instance_folder(desired.id).exists());
}

async fn until(is_so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_without_a_shim_is_known_with_its_code_and_output() {
    let host = Host::new().await;
    let script = "echo up; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo last words; exit 42";
    let desired = instance(shell(script), Check::Process);
    host.start(&desired).await;
    host.lines.wait_for("up").await;

    let folder = host.instance_folder(desired.id);
    let started = fs::read_to_string(folder.join("started.json")).unwrap();
    let started: serde_json::Value = serde_json::from_str(&started).unwrap();
    kill_process(shim_pid(&folder), Signal::KILL).unwrap();
    fs::write(format!("/proc/{}/root/tmp/go", started["pid"]), "").unwrap();

    assert_eq!(host.exited(desired.id).await.cause, ExitCause::Exited { code: 42 });
    host.lines.wait_for("last words").await;
}

/// Runs `work` in a control process of its own, which then dies without a word.
fn in_a_dying_control<T: Send + 'static>(
    work: impl FnOnce() -> futures_util::future::BoxFuture<'static, T> + Send + 'static,
) -> T {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let result = runtime.block_on(work());
        runtime.shutdown_background();
        result
    })
    .join()
    .unwrap()
}

#[test]
fn control_adopts_what_outlived_it() {
    let server = instance(test_app(&["serve", "0.0.0.0:8080"]), Check::Port);
    let ending = instance(
        shell("echo before; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo after; exit 5"),
        Check::Process,
    );
    let (server_then, ending_then) = (server.clone(), ending.clone());
    let (host, before) = in_a_dying_control(move || {
        Box::pin(async move {
            let host = Host::new().await;
            host.cells.apply(vec![server_then.clone(), ending_then.clone()]).await.unwrap();
            let before = host.running(server_then.id).await;
            host.running(ending_then.id).await;
            host.lines.wait_for("before").await;
            (host, before)
        })
    });
    let folder = host.instance_folder(ending.id);
    let started = fs::read_to_string(folder.join("started.json")).unwrap();
    let started: serde_json::Value = serde_json::from_str(&started).unwrap();
    fs::write(format!("/proc/{}/root/tmp/go", started["pid"]), "").unwrap();

    crate::host::block_on(async {
        let runtime = Runtime::open(host.config.clone()).await.unwrap();
        let lines = Arc::new(Lines::default());
        let cells = runtime.cells(lines.clone(), Arc::new(SystemClock::new())).await.unwrap();

        let state = cells.watch().borrow().clone();
        assert!(state.adopted);
        let at_once = &state.instances[&server.id];
        assert_eq!(at_once.phase, Phase::Running { ready: true, failing: None });
        assert_eq!((at_once.address, at_once.started_at), (before.address, before.started_at));
        assert!(get(before.address.unwrap()).await.ends_with("hello"));
        let report = exited(&cells, ending.id).await;
        assert_eq!(report.cause, ExitCause::Exited { code: 5 });
        lines.wait_for("after").await;

        let third = instance(test_app(&["serve", "0.0.0.0:8080"]), Check::Port);
        cells.apply(vec![server.clone(), third.clone()]).await.unwrap();
        let new =
            wait_for(&cells, third.id, |actual| matches!(actual.phase, Phase::Running { .. }))
                .await;
        assert_ne!(new.address, before.address);
        cells.apply(Vec::new()).await.unwrap();
        cells.watch().wait_for(|state| state.instances.is_empty()).await.unwrap();
    });
}

#[test]
fn a_reboot_is_told_as_an_unknown_end_and_a_sandbox_dies_with_its_control() {
    let lost = instance(shell("exec sleep 1000"), Check::Process);
    let lost_then = lost.clone();
    let host = in_a_dying_control(move || {
        Box::pin(async move {
            let host = Host::new().await;
            host.cells.apply(vec![lost_then.clone()]).await.unwrap();
            host.running(lost_then.id).await;
            let (output, mut lines) = tokio::sync::mpsc::channel(10);
            let (_cancel, is_cancelled) = tokio::sync::watch::channel(false);
            let sandboxes = host.runtime.sandbox();
            let spec = crate::host::sandbox(shell("echo up; sleep 1000"));
            tokio::spawn(async move { sandboxes.run(spec, output, is_cancelled).await });
            lines.recv().await.unwrap();
            host
        })
    });
    // As if the machine had been started again since.
    let launch = host.instance_folder(lost.id).join("launch.json");
    let text = fs::read_to_string(&launch).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&launch, text.replace(boot.trim(), "another boot")).unwrap();

    crate::host::block_on(async {
        let runtime = Runtime::open(host.config.clone()).await.unwrap();
        let clock = Arc::new(SystemClock::new());
        let cells = runtime.cells(Arc::new(Lines::default()), clock).await.unwrap();

        assert_eq!(exited(&cells, lost.id).await.cause, ExitCause::Unknown);
        let folders = fs::read_dir(host.config.run_dir.join("instances")).unwrap();
        assert_eq!(folders.count(), 1);
    });
}

#[test]
fn output_while_control_is_away_is_kept_within_a_bound_and_the_rest_counted() {
    let script = format!(
        "echo up; while [ ! -e /tmp/go ]; do sleep 0.05; done; {} test-app chatter 100000",
        cupola_runtime::SELF_IN_CONTAINER
    );
    let desired = instance(shell(&script), Check::Process);
    let desired_then = desired.clone();
    let host = in_a_dying_control(move || {
        Box::pin(async move {
            let host = Host::new().await;
            host.cells.apply(vec![desired_then.clone()]).await.unwrap();
            host.running(desired_then.id).await;
            host.lines.wait_for("up").await;
            host
        })
    });
    let folder = host.instance_folder(desired.id);
    let started = fs::read_to_string(folder.join("started.json")).unwrap();
    let started: serde_json::Value = serde_json::from_str(&started).unwrap();
    fs::write(format!("/proc/{}/root/tmp/go", started["pid"]), "").unwrap();
    let deadline = std::time::Instant::now() + crate::host::PATIENCE;
    while !folder.join("exit.json").exists() {
        assert!(std::time::Instant::now() < deadline, "the app has not ended");
        std::thread::yield_now();
    }

    crate::host::block_on(async {
        let runtime = Runtime::open(host.config.clone()).await.unwrap();
        let lines = Arc::new(Lines::default());
        let cells = runtime.cells(lines.clone(), Arc::new(SystemClock::new())).await.unwrap();
        exited(&cells, desired.id).await;

        let texts = lines.of("APP/PROC/WEB");
        let kept = texts.iter().filter(|line| line.starts_with("line ")).count() as u64;
        assert!(texts.contains(&"line 99999".to_owned()));
        assert!(lines.lost_count() > 0);
        assert_eq!(kept + lines.lost_count(), 100_000);
    });
}

#[test]
fn a_control_that_dies_in_the_middle_of_a_start_leaves_nothing_unknown() {
    let desired = instance(shell("exec sleep 1000"), Check::Process);
    let desired_then = desired.clone();
    let host = in_a_dying_control(move || {
        Box::pin(async move {
            let host = Host::new().await;
            host.cells.apply(vec![desired_then.clone()]).await.unwrap();
            let folder = host.instance_folder(desired_then.id);
            while !folder.join("shim.lock").exists() {
                tokio::task::yield_now().await;
            }
            host
        })
    });

    crate::host::block_on(async {
        let runtime = Runtime::open(host.config.clone()).await.unwrap();
        let clock = Arc::new(SystemClock::new());
        let cells = runtime.cells(Arc::new(Lines::default()), clock).await.unwrap();

        let seen = wait_for(&cells, desired.id, |actual| {
            matches!(actual.phase, Phase::Running { .. } | Phase::Exited(_))
        })
        .await;

        let is_known = match &seen.phase {
            Phase::Running { .. } => true,
            Phase::Exited(report) => matches!(report.cause, ExitCause::NotStarted { .. }),
            _ => false,
        };
        assert!(is_known, "{seen:?}");
        cells.apply(Vec::new()).await.unwrap();
        cells.watch().wait_for(|state| state.instances.is_empty()).await.unwrap();
        assert!(!host.instance_folder(desired.id).exists());
    });
}
