//! What apps can reach, and what they cannot.

use cupola_domain::processes::Check;
use cupola_ports::cells::Cells;

use crate::host::{Host, get, instance, table, test_app};

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
        assert!(seen[target].starts_with("closed"), "{target}: {seen:?}");
    }
    assert!(get(address).await.ends_with("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_range_is_reached_and_so_is_a_resolver() {
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
    std::os::unix::fs::chown(folder.path(), None, None).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    config.instance_subnet = host.config.instance_subnet;

    let refused = cupola_runtime::Runtime::open(config).await;

    let text = refused.unwrap_err().to_string();
    assert!(text.contains("choose another one with --instance-subnet"), "{text}");
}
