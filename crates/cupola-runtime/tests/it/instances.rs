//! Instances from their start to their end, and how each end is told.

use cupola_domain::{
    instances::{ExitCause, ListenDetail},
    processes::{Check, HealthCheck},
};
use cupola_ports::cells::{Cells, Phase};

use crate::host::{Host, get, instance, shell, test_app};

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_becomes_healthy_answers_and_is_logged() {
    let host = Host::new().await;
    let desired = instance(test_app(&["serve", "0.0.0.0:8080"]), Check::Port);

    host.start(&desired).await;
    let actual = host.running(desired.id).await;

    let answer = get(actual.address.unwrap()).await;
    assert!(answer.ends_with("hello"), "{answer}");
    host.lines.wait_for("listening on 0.0.0.0:8080").await;
    let told = host.lines.of("CELL");
    assert!(told.iter().any(|line| line.starts_with("creating container")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("container is healthy after")), "{told:?}");
    host.stop_all().await;
    assert!(!host.instance_folder(desired.id).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_check_wants_200() {
    let host = Host::new().await;
    let check = || Check::Http { endpoint: "/health".to_owned() };
    let good = instance(test_app(&["serve", "0.0.0.0:8080"]), check());
    let mut bad = instance(test_app(&["serve", "0.0.0.0:8080", "503 Busy"]), check());
    bad.health_check.start_timeout_s = Some(1);

    host.cells.apply(vec![good.clone(), bad.clone()]).await.unwrap();
    host.running(good.id).await;
    let report = host.exited(bad.id).await;

    let detail = "GET /health answered 503 where 200 is wanted".to_owned();
    let detail = ListenDetail::Answered { detail };
    assert_eq!(report.cause, ExitCause::NeverHealthy { timeout_s: 1, detail });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_is_reported_until_it_is_no_longer_desired() {
    let host = Host::new().await;
    let desired = instance(shell("echo bye; echo trouble >&2; exit 7"), Check::Process);

    host.start(&desired).await;
    let report = host.exited(desired.id).await;

    assert_eq!(report.cause, ExitCause::Exited { code: 7 });
    assert!(!report.killed);
    assert!(report.memory_peak_bytes.unwrap() > 0);
    host.lines.wait_for("bye").await;
    host.lines.wait_for("trouble").await;
    host.start(&desired).await;
    assert_eq!(host.exited(desired.id).await, report);
    host.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_and_a_signal_are_told_apart() {
    let host = Host::new().await;
    let missing = instance(vec!["/no/such/program".to_owned()], Check::Process);
    let signal = instance(shell("kill -SEGV $$"), Check::Process);

    host.cells.apply(vec![missing.clone(), signal.clone()]).await.unwrap();

    assert_eq!(host.exited(missing.id).await.cause, ExitCause::Exited { code: 127 });
    assert_eq!(host.exited(signal.id).await.cause, ExitCause::Signaled { signal: 11 });
    host.lines.wait_for("cannot run `/no/such/program`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eating_too_much_memory_is_told_as_out_of_memory() {
    let host = Host::new().await;
    let desired = instance(test_app(&["eat-memory"]), Check::Process);

    host.start(&desired).await;
    let report = host.exited(desired.id).await;

    assert_eq!(report.cause, ExitCause::OutOfMemory { limit_mib: 64 });
    assert!(report.memory_peak_bytes.unwrap() > 60 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_ate_too_much_is_told_beside_the_exit_code() {
    let host = Host::new().await;
    let script = format!("{} test-app eat-memory; exit 4", cupola_runtime::SELF_IN_CONTAINER);
    let desired = instance(shell(&script), Check::Process);

    host.start(&desired).await;
    let report = host.exited(desired.id).await;

    assert_eq!(report.cause, ExitCause::Exited { code: 4 });
    let told = host.lines.of("CELL");
    assert!(told.iter().any(|line| line.contains("out of memory: the kernel ended")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_ends_at_its_limit_and_the_log_says_so() {
    let host = Host::new().await;
    let script = "dd if=/dev/zero of=big bs=1M; stat -c %s big; exit 3";
    let desired = instance(shell(script), Check::Process);

    host.start(&desired).await;
    let report = host.exited(desired.id).await;

    assert_eq!(report.cause, ExitCause::Exited { code: 3 });
    host.lines.wait_for("No space left on device").await;
    let size: u64 = host
        .lines
        .of("APP/PROC/WEB")
        .iter()
        .find_map(|line| line.parse().ok())
        .expect("the size is printed");
    assert!((60 << 20..72 << 20).contains(&size), "{size}");
    assert!(host.lines.of("CELL").iter().any(|line| line.contains("disk of 64 MiB was full")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_ignores_sigterm_is_killed_and_one_that_heeds_it_is_not() {
    let host = Host::new().await;
    let deaf = instance(shell("trap '' TERM; echo up; while :; do sleep 1; done"), Check::Process);
    let heeding = instance(
        shell("trap 'echo leaving; exit 0' TERM; echo up; while :; do sleep 0.1; done"),
        Check::Process,
    );
    host.cells.apply(vec![deaf.clone(), heeding.clone()]).await.unwrap();
    host.lines
        .wait_until(|| (host.lines.of("APP/PROC/WEB").len() == 2).then_some(()))
        .await
        .unwrap();

    host.stop_all().await;

    host.lines.wait_for("leaving").await;
    let ends: Vec<String> =
        host.lines.of("CELL").into_iter().filter(|line| line.contains(" stopped")).collect();
    assert!(ends.contains(&"instance stopped".to_owned()), "{ends:?}");
    assert!(
        ends.contains(&"instance stopped (killed after the grace time)".to_owned()),
        "{ends:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_first_moment_is_not_lost() {
    let host = Host::new().await;
    let desired = instance(shell("exec sleep 1000"), Check::Process);

    host.start(&desired).await;
    host.wait_for(desired.id, |actual| actual.started_at.is_some()).await;
    host.stop_all().await;

    let told = host.lines.of("CELL");
    assert!(told.contains(&"instance stopped".to_owned()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_an_instance_is_not_reached_is_told_apart() {
    let host = Host::new().await;
    let start = |args: &[&str]| {
        let mut desired = instance(test_app(args), Check::Port);
        desired.health_check.start_timeout_s = Some(1);
        desired
    };
    let nowhere = start(&["idle"]);
    let loopback = start(&["serve", "127.0.0.1:8080"]);
    let other = start(&["serve", "0.0.0.0:3000"]);

    host.cells.apply(vec![nowhere.clone(), loopback.clone(), other.clone()]).await.unwrap();

    let cause = |detail| ExitCause::NeverHealthy { timeout_s: 1, detail };
    assert_eq!(host.exited(nowhere.id).await.cause, cause(ListenDetail::Nowhere));
    assert_eq!(host.exited(loopback.id).await.cause, cause(ListenDetail::LoopbackOnly));
    let ports = ListenDetail::OtherPorts { ports: vec![3000], more: 0 };
    assert_eq!(host.exited(other.id).await.cause, cause(ports));
    let told = host.lines.of("HEALTH").join("\n");
    assert!(told.contains("listens on no port"), "{told}");
    assert!(told.contains("only on 127.0.0.1"), "{told}");
    assert!(told.contains("listens on port 3000"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_its_own_check() {
    let host = Host::new().await;
    let mut desired = instance(test_app(&["idle"]), Check::Process);
    desired.readiness_check = HealthCheck::with_defaults(Check::Port);

    host.start(&desired).await;
    let actual = host
        .wait_for(desired.id, |actual| {
            matches!(&actual.phase, Phase::Running { ready: false, failing: Some(_) })
        })
        .await;

    assert!(matches!(actual.phase, Phase::Running { .. }));
    assert!(host.lines.of("HEALTH")[0].starts_with("readiness check failed: cannot connect"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_stops_answering_is_ended() {
    let host = Host::new().await;
    let script = format!(
        "{} test-app serve 0.0.0.0:8080 & sleep 1; kill $!; exec sleep 1000",
        cupola_runtime::SELF_IN_CONTAINER
    );
    let mut desired = instance(shell(&script), Check::Port);
    desired.health_check.interval_s = Some(1);

    host.start(&desired).await;
    host.running(desired.id).await;
    let report = host.exited(desired.id).await;

    assert!(matches!(report.cause, ExitCause::Unhealthy { .. }), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn output_over_the_rate_limit_is_dropped_and_counted() {
    let host = Host::new().await;
    let mut desired = instance(test_app(&["chatter", "10000"]), Check::Process);
    desired.limits.log_rate_bytes_per_s = 1000;

    host.start(&desired).await;
    host.exited(desired.id).await;

    let lines = host.lines.of("APP/PROC/WEB");
    let kept = lines.iter().filter(|line| line.starts_with("line ")).count() as u64;
    assert!((5..500).contains(&kept), "{kept}");
    assert_eq!(kept + host.lines.lost_count(), 10_000);
    assert!(lines.iter().any(|line| line.contains("log rate limit of 1000 bytes/s")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_without_a_limit_or_they_are_counted() {
    let host = Host::new().await;
    let desired = instance(test_app(&["chatter", "200000"]), Check::Process);

    host.start(&desired).await;
    host.exited(desired.id).await;

    let lines = host.lines.of("APP/PROC/WEB");
    let kept = lines.iter().filter(|line| line.starts_with("line ")).count() as u64;
    assert_eq!(kept + host.lines.lost_count(), 200_000);
    assert!(kept > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_read_and_the_environment_is_whole() {
    let host = Host::new().await;
    let script = "echo $PORT $CF_INSTANCE_INDEX $VCAP_APP_HOST $(id -un) $(pwd) $CF_INSTANCE_ADDR; \
                  echo $VCAP_APPLICATION; head -c 1000000 /dev/zero > file; echo written; exec sleep 1000";
    let mut desired = instance(shell(script), Check::Process);
    desired.environment = vec![("VCAP_APPLICATION".to_owned(), "{\"name\":\"one\"}".to_owned())];

    host.start(&desired).await;
    let actual = host.running(desired.id).await;
    let line = host.lines.wait_for("8080 0 0.0.0.0 vcap /home/vcap/app").await;
    let application = host.lines.wait_for("\"name\":\"one\"").await;
    host.lines.wait_for("written").await;
    let usage = host.cells.usage().await[&desired.id];

    assert!(line.ends_with(&actual.address.unwrap().to_string()), "{line}");
    assert!(application.contains(&format!("\"instance_id\":\"{}\"", desired.id)));
    assert!(usage.memory_bytes > 10_000, "{usage:?}");
    assert!(usage.disk_bytes > 100_000, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_without_idmapped_mounts_gets_shifted_copies() {
    let host = Host::with(|config| config.idmapped_layers = false).await;
    let script = "id -un; stat -c %U /home/vcap/app; touch file && stat -c %U file";
    let desired = instance(shell(script), Check::Process);

    host.start(&desired).await;

    assert_eq!(host.exited(desired.id).await.cause, ExitCause::Exited { code: 0 });
    assert_eq!(host.lines.of("APP/PROC/WEB"), ["vcap", "vcap", "vcap"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_layer_is_told_and_leaves_nothing() {
    let host = Host::new().await;
    let mut desired = instance(shell("true"), Check::Process);
    let layer = cupola_domain::droplets::LayerDigest::from_sha256([7; 32]);
    desired.layers = vec![layer.clone()];

    host.start(&desired).await;
    let report = host.exited(desired.id).await;

    let ExitCause::NotStarted { detail } = report.cause else { panic!("{report:?}") };
    assert_eq!(detail, format!("the layer {layer} is not there"));
    host.stop_all().await;
    assert!(!host.instance_folder(desired.id).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_instances_start_side_by_side_with_addresses_of_their_own() {
    let host = Host::new().await;
    let all: Vec<_> =
        (0..20).map(|_| instance(test_app(&["serve", "0.0.0.0:8080"]), Check::Port)).collect();

    host.cells.apply(all.clone()).await.unwrap();
    let mut addresses = Vec::new();
    for desired in &all {
        addresses.push(host.running(desired.id).await.address.unwrap());
    }

    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 20);
    host.stop_all().await;
}
