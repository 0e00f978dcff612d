//! Several programs in one container: their output, and what the end of one means.

use cupola_domain::{instances::ExitCause, processes::Check};
use cupola_ports::cells::{Cells, DesiredInstance, DesiredSidecar};

use crate::host::{Host, get, instance, shell, test_app};

fn with_sidecars<const N: usize>(
    desired: DesiredInstance,
    sidecars: [(&str, &str); N],
) -> DesiredInstance {
    let sidecar = |(name, script): (&str, &str)| DesiredSidecar {
        name: name.to_owned(),
        argv: shell(script),
    };
    DesiredInstance { sidecars: sidecars.map(sidecar).into(), ..desired }
}

const TAIL: &str = "APP/PROC/WEB/SIDECAR/TAIL";
/// Takes its leave when it is told to end; `/tmp/up` says that it is ready to be told.
const UNTIL_TOLD: &str =
    "trap 'echo leaving; exit 0' TERM; touch /tmp/up; echo up; while :; do sleep 0.1; done";
const ONCE_UP: &str = "until [ -e /tmp/up ]; do sleep 0.05; done";

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_run_in_the_container_of_the_app_and_have_logs_of_their_own() {
    let host = Host::new().await;
    let app = instance(test_app(&["serve", "0.0.0.0:8080"]), Check::Port);
    let talk = "echo from tail; echo trouble of tail >&2; cat /proc/sys/kernel/hostname; "
        .to_owned()
        + UNTIL_TOLD;
    let desired = with_sidecars(app, [("tail", &talk), ("second", "echo from second; sleep 1000")]);

    host.start(&desired).await;
    let actual = host.running(desired.id).await;

    assert!(get(actual.address.unwrap()).await.ends_with("hello"));
    host.lines.wait_for_of(TAIL, "trouble of tail").await;
    host.lines.wait_for_of("APP/PROC/WEB/SIDECAR/SECOND", "from second").await;
    host.lines.wait_for_of(TAIL, "up").await;
    let of_tail = host.lines.of(TAIL);
    assert!(of_tail.contains(&"from tail".to_owned()), "{of_tail:?}");
    assert!(of_tail.contains(&desired.id.to_string()), "one container: {of_tail:?}");
    assert_eq!(host.lines.of("APP/PROC/WEB/SIDECAR/SECOND"), ["from second"]);
    assert!(host.lines.of("APP/PROC/WEB").iter().all(|line| !line.contains("from")));
    // A stop is told to all.
    host.stop_all().await;
    host.lines.wait_for_of(TAIL, "leaving").await;
    assert!(!host.instance_folder(desired.id).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn end_of_a_sidecar_ends_the_instance_and_says_which_it_was() {
    let host = Host::new().await;
    let app = || instance(shell(UNTIL_TOLD), Check::Process);
    let codes =
        with_sidecars(app(), [("good", "sleep 1000"), ("bad", &format!("{ONCE_UP}; exit 3"))]);
    let signals = with_sidecars(app(), [("bad", "kill -SEGV $$")]);
    let missing = with_sidecars(app(), []);
    let argv = vec!["/no/such/program".to_owned()];
    let sidecars = vec![DesiredSidecar { name: "gone".to_owned(), argv }];
    let missing = DesiredInstance { sidecars, ..missing };

    host.cells.apply(vec![codes.clone(), signals.clone(), missing.clone()]).await.unwrap();

    let ended = |sidecar: &str, code, signal| ExitCause::SidecarEnded {
        sidecar: sidecar.to_owned(),
        code,
        signal,
    };
    let report = host.exited(codes.id).await;
    assert_eq!((report.cause, report.killed), (ended("bad", Some(3), None), false));
    // The app was told, and could take its leave.
    host.lines.wait_for("leaving").await;
    assert_eq!(host.exited(signals.id).await.cause, ended("bad", None, Some(11)));
    assert_eq!(host.exited(missing.id).await.cause, ended("gone", Some(127), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn end_of_the_app_ends_its_sidecars() {
    let host = Host::new().await;
    let app = instance(shell(&format!("{ONCE_UP}; exit 7")), Check::Process);
    let desired = with_sidecars(app, [("tail", UNTIL_TOLD)]);

    host.start(&desired).await;
    let report = host.exited(desired.id).await;

    assert_eq!(report.cause, ExitCause::Exited { code: 7 });
    host.lines.wait_for_of(TAIL, "leaving").await;
}
