//! What apps can reach, and what they cannot.

use std::os::unix::fs::PermissionsExt;

use cupola_domain::processes::Check;
use cupola_ports::{cells::Cells, sandbox::Sandbox};
use tokio::sync::{mpsc, watch};

use crate::{
    host::{Host, get, instance, sandbox, shell, table, test_app},
    peer::Peer,
};

/// What the packet filter says, and nobody else: a port without a listener refuses, and an address
/// without a machine is silent.
const REJECTED: &str = "closed (HostUnreachable)";

#[tokio::test(flavor = "multi_thread")]
async fn apps_reach_neither_each_other_nor_the_host_nor_private_ranges() {
    let host = Host::new().await;
    // All addresses of this machine, so that the gateway's is among them.
    let on_host = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let host_port = on_host.local_addr().unwrap().port();
    let server = instance(test_app(&["serve", "0.0.0.0:8080"]), Check::Port);
    host.start(&server).await;
    let address = host.running(server.id).await.address.unwrap();
    let gateway = host.config.instance_subnet.address(1);
    let targets = [
        address.to_string(),
        format!("{gateway}:{host_port}"),
        "169.254.169.254:80".to_owned(),
        "192.168.77.7:80".to_owned(),
        "100.64.0.9:443".to_owned(),
        "203.0.113.9:25".to_owned(),
    ];

    let mut args = vec!["connect", "127.0.0.1:1"];
    args.extend(targets.iter().map(String::as_str));
    let client = instance(test_app(&args), Check::Process);
    host.cells.apply(vec![server.clone(), client.clone()]).await.unwrap();
    host.exited(client.id).await;

    let seen = table(&host.lines.of("APP/PROC/WEB"));
    for target in &targets {
        assert_eq!(seen[target], REJECTED, "{target}: {seen:?}");
    }
    assert!(get(address).await.ends_with("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_range_is_reached_by_those_who_are_allowed() {
    let peer = Peer::new();
    let range = || format!("{}/32", peer.address.ip()).parse().unwrap();
    let for_apps = Host::with(|config| config.egress_allow = vec![range()]).await;
    let for_builds = Host::with(|config| config.staging_egress_allow = vec![range()]).await;
    let target = peer.address.to_string();

    let by_app = connect_as_app(&for_apps, &target).await;
    let by_build = connect_as_build(&for_apps, &target).await;
    let by_other_app = connect_as_app(&for_builds, &target).await;
    let by_other_build = connect_as_build(&for_builds, &target).await;

    assert_eq!(by_app, "open");
    assert_eq!(by_build, REJECTED);
    assert_eq!(by_other_app, REJECTED);
    assert_eq!(by_other_build, "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_counted_for_each_instance() {
    let peer = Peer::new();
    let host = Host::with(|config| {
        config.egress_allow = vec![format!("{}/32", peer.address.ip()).parse().unwrap()];
        config.connections_max = 10;
    })
    .await;
    let target = peer.address.to_string();
    let connect = || instance(test_app(&["connect-often", &target, "15"]), Check::Process);
    let (first, second) = (connect(), connect());

    host.cells.apply(vec![first.clone(), second.clone()]).await.unwrap();
    host.exited(first.id).await;
    host.exited(second.id).await;

    let lines = host.lines.of("APP/PROC/WEB");
    let count = |outcome: &str| lines.iter().filter(|line| *line == outcome).count();
    assert_eq!((count("open"), count(REJECTED)), (20, 10), "{lines:?}");
}

async fn connect_as_app(host: &Host, target: &str) -> String {
    let client = instance(test_app(&["connect", target]), Check::Process);
    host.start(&client).await;
    host.exited(client.id).await;
    table(&host.lines.of("APP/PROC/WEB"))[target].clone()
}

async fn connect_as_build(host: &Host, target: &str) -> String {
    let mut spec = sandbox(test_app(&["connect", target]));
    spec.network = true;
    let (output, mut lines) = mpsc::channel(10);
    let (_keep, cancel) = watch::channel(false);
    host.runtime.sandbox().run(spec, output, cancel).await.unwrap();
    let line = String::from_utf8(lines.recv().await.unwrap().message).unwrap();
    table(&[line])[target].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_without_network_has_only_its_loopback() {
    let host = Host::new().await;
    let mut spec = sandbox(shell("cat /proc/net/dev | cut -d: -f1 | tail -n +3 | tr -d ' '"));
    spec.network = false;
    let (output, mut lines) = mpsc::channel(10);
    let (_keep, cancel) = watch::channel(false);

    host.runtime.sandbox().run(spec, output, cancel).await.unwrap();

    assert_eq!(lines.recv().await.unwrap().message, b"lo");
    assert!(lines.recv().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resolver_of_the_host_answers() {
    let resolvers = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    let resolver = resolvers.lines().find_map(|line| line.strip_prefix("nameserver ")).unwrap();
    let host = Host::new().await;
    let client = instance(test_app(&["resolve", resolver.trim()]), Check::Process);

    host.start(&client).await;
    host.exited(client.id).await;

    assert_eq!(table(&host.lines.of("APP/PROC/WEB"))[resolver.trim()], "answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_installation_on_the_same_subnet_is_refused() {
    let host = Host::new().await;
    let folder = tempfile::TempDir::new().unwrap();
    let mut config = crate::host::config_in(folder.path());
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    config.instance_subnet = host.config.instance_subnet;

    let refused = cupola_runtime::Runtime::open(config).await;

    let text = refused.unwrap_err().to_string();
    assert!(text.contains("choose another one with --instance-subnet"), "{text}");
}
