//! What files and flags make of each other.

use std::{fs, path::Path};

use clap::{Args, FromArgMatches};

use super::*;

/// The options of a command line.
fn flags(arguments: &[&str]) -> Options {
    let command = Options::augment_args(clap::Command::new("up").no_binary_name(true));
    let matches = command.try_get_matches_from(arguments).unwrap();
    Options::from_arg_matches(&matches).unwrap()
}

/// The configuration that a file and a command line make.
fn resolved(file: &str, arguments: &[&str]) -> anyhow::Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cupola.toml");
    fs::write(&path, file).unwrap();
    let mut options = flags(arguments);
    options.place.config = Some(path);
    Config::resolve(options)
}

#[track_caller]
fn refused(file: &str, arguments: &[&str]) -> String {
    format!("{:#}", resolved(file, arguments).unwrap_err())
}

/// Every key with a value that is not its default.
const EVERY_KEY: &str = r#"
    data-dir = "/a/data"
    run-dir = "/a/run"
    api-addr = "192.0.2.1:1"
    router-addr = ["192.0.2.1:2", "[2001:db8::1]:3"]
    tls-cert = "/a/cert.pem"
    tls-key = "/a/key.pem"
    apps-domain = "apps.example.com"
    external-url = "https://api.example.com/"
    admin-password-file = "/a/password"
    sealing-key-file = "/a/sealing-key"
    instance-subnet = "10.1.0.0/16"
    egress-allow = ["10.2.0.0/16", "10.3.0.0/16"]
    staging-egress-allow = ["10.4.0.0/16"]
    trusted-proxy = ["192.0.2.0/24", "2001:db8::/32"]
    runtime = "/a/crun"
    staging-concurrency = 5
    staging-memory-mib = 6
    staging-disk-mib = 7
    staging-minutes-max = 8
    instance-memory-mib-max = 9
    instance-disk-mib-max = 10
    upload-mib-max = 11
    log-mib-per-app-max = 12
    log-days-max = 13
    event-days-max = 14
"#;

#[track_caller]
fn assert_is_every_key(config: &Config) {
    let ranges =
        |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let tls = config.tls.as_ref().unwrap();
    assert_eq!(config.data_dir, Path::new("/a/data"));
    assert_eq!(config.run_dir, Path::new("/a/run"));
    assert_eq!(config.api_addr.to_string(), "192.0.2.1:1");
    let router_addrs: Vec<_> = config.router_addrs.iter().map(ToString::to_string).collect();
    assert_eq!(router_addrs, ["192.0.2.1:2", "[2001:db8::1]:3"]);
    assert_eq!(tls.certificate, Path::new("/a/cert.pem"));
    assert_eq!(tls.key, Path::new("/a/key.pem"));
    assert_eq!(config.apps_domain, "apps.example.com");
    assert_eq!(config.external_url, "https://api.example.com");
    assert_eq!(config.admin_password_file.as_deref(), Some(Path::new("/a/password")));
    assert_eq!(config.instance_subnet.to_string(), "10.1.0.0/16");
    assert_eq!(config.egress_allow, ranges(&["10.2.0.0/16", "10.3.0.0/16"]));
    assert_eq!(config.staging_egress_allow, ranges(&["10.4.0.0/16"]));
    let proxies: Vec<_> =
        ["192.0.2.0/24", "2001:db8::/32"].map(|range| range.parse().unwrap()).into();
    assert_eq!(config.trusted_proxies, proxies);
    assert_eq!(config.runtime, Path::new("/a/crun"));
    assert_eq!(config.sealing_key_file, Path::new("/a/sealing-key"));
    assert_eq!(config.staging_concurrency, 5);
    assert_eq!(config.staging_memory_mib, 6);
    assert_eq!(config.staging_disk_mib, 7);
    assert_eq!(config.staging_timeout, Duration::from_secs(8 * 60));
    assert_eq!(config.instance_memory_mib_max, 9);
    assert_eq!(config.instance_disk_mib_max, 10);
    assert_eq!(config.upload_mib_max, 11);
    assert_eq!(config.log_mib_per_app_max, 12);
    assert_eq!(config.log_days_max, 13);
    assert_eq!(config.event_days_max, 14);
}

/// The command line that says the same as a file.
fn as_flags(file: &str) -> Vec<String> {
    let table: toml::Table = file.parse().unwrap();
    let text = |value: toml::Value| match value {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        other => panic!("{other:?} is not the value of a flag"),
    };
    let words = table.into_iter().flat_map(|(key, value)| match value {
        toml::Value::Array(values) => values.into_iter().map(|it| (key.clone(), it)).collect(),
        value => vec![(key, value)],
    });
    words.flat_map(|(key, value)| [format!("--{key}"), text(value)]).collect()
}

#[test]
fn every_flag_is_a_key_of_the_file_and_is_read() {
    let command = Options::augment_args(clap::Command::new("up"));
    let mut known: Vec<_> = command.get_arguments().filter_map(|flag| flag.get_long()).collect();
    known.retain(|flag| *flag != "config");
    known.sort_unstable();
    let file: toml::Table = EVERY_KEY.parse().unwrap();

    // The keys of a table come sorted.
    assert_eq!(file.keys().map(String::as_str).collect::<Vec<_>>(), known);
    assert_is_every_key(&resolved(EVERY_KEY, &[]).unwrap());
}

#[test]
fn every_flag_is_read_and_wins_over_the_file() {
    let arguments = as_flags(EVERY_KEY);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let other = r#"
        data-dir = "/b"
        run-dir = "/b"
        api-addr = "127.0.0.1:9"
        router-addr = ["127.0.0.1:9"]
        tls-cert = "/b"
        tls-key = "/b"
        apps-domain = "b"
        external-url = "http://b"
        admin-password-file = "/b"
        sealing-key-file = "/b"
        instance-subnet = "10.99.0.0/16"
        egress-allow = ["10.99.0.0/16"]
        staging-egress-allow = ["10.99.0.0/16"]
        runtime = "/b"
        staging-concurrency = 99
        staging-memory-mib = 99
        staging-disk-mib = 99
        staging-minutes-max = 99
        instance-memory-mib-max = 99
        instance-disk-mib-max = 99
        upload-mib-max = 99
        log-mib-per-app-max = 99
        log-days-max = 99
        event-days-max = 99
    "#;

    assert_is_every_key(&resolved("", &arguments).unwrap());
    assert_is_every_key(&resolved(other, &arguments).unwrap());
}

#[test]
fn defaults_need_no_file_and_no_flags() {
    let config = resolved("", &[]).unwrap();

    assert_eq!(config.data_dir, Path::new("/var/lib/cupola"));
    assert_eq!(config.run_dir, Path::new("/run/cupola"));
    assert_eq!(config.api_addr.to_string(), "127.0.0.1:8081");
    let router_addrs: Vec<_> = config.router_addrs.iter().map(ToString::to_string).collect();
    assert_eq!(router_addrs, ["127.0.0.1:8080", "[::1]:8080"]);
    assert_eq!(config.external_url, "http://127.0.0.1:8081");
    assert_eq!(config.apps_domain, "apps.localhost");
    assert!(!config.needs_tls());
}

#[test]
fn an_address_that_is_not_loopback_needs_tls() {
    let config = resolved("", &["--api-addr", "0.0.0.0:8443"]).unwrap();
    assert!(config.needs_tls());
    assert_eq!(config.external_url, "https://127.0.0.1:8443");

    let config = resolved("", &["--api-addr", "[::]:8443"]).unwrap();
    assert!(config.needs_tls());
    assert_eq!(config.external_url, "https://[::1]:8443");

    assert!(!resolved("", &["--api-addr", "[::1]:8443"]).unwrap().needs_tls());
}

#[test]
fn mistakes_are_told_together_with_what_to_write_instead() {
    let told = refused(
        "apps-domain = \"Not A Domain\"\negress-allow = [\"here\"]",
        &["--tls-cert", "/a.pem", "--external-url", "ftp://x", "--instance-subnet", "there"],
    );

    assert!(told.starts_with("the configuration has 5 mistakes:"), "{told}");
    assert!(told.contains("--tls-cert needs --tls-key"), "{told}");
    assert!(told.contains("--external-url `ftp://x`"), "{told}");
    assert!(told.contains("write it like https://api.example.com"), "{told}");
    assert!(told.contains("--apps-domain `Not A Domain`"), "{told}");
    assert!(told.contains("--instance-subnet: `there`"), "{told}");
    assert!(told.contains("--egress-allow: `here`"), "{told}");
    assert_eq!(
        refused("tls-key = \"/a.pem\"", &[]),
        "--tls-key needs --tls-cert, the certificate of the key"
    );
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_reason() {
    let unknown = refused("data-dir = \"/a\"\nrouter-adr = \"127.0.0.1:1\"", &[]);
    assert!(unknown.contains("cupola.toml cannot be used"), "{unknown}");
    assert!(unknown.contains("`router-adr` is not a flag"), "{unknown}");

    assert!(refused("config = \"/other\"", &[]).contains("`config` is not a flag"));
    assert!(refused("data-dir = ", &[]).contains("cannot be used"));
    let kind = refused("staging-memory-mib = \"much\"", &[]);
    assert!(kind.contains("staging-memory-mib"), "{kind}");

    let none = Config::resolve(flags(&["--config", "/no/such.toml"])).unwrap_err();
    assert_eq!(none.to_string(), "cannot read the configuration file /no/such.toml");
}

#[test]
fn place_is_found_through_the_file_and_flags_win() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cupola.toml");
    fs::write(&path, EVERY_KEY).unwrap();
    let path = path.to_str().unwrap();

    let of_file = flags(&["--config", path]).place.resolve().unwrap();
    let of_flags = flags(&["--config", path, "--run-dir", "/flag"]).place.resolve().unwrap();

    assert_eq!(of_file.data_dir(), Path::new("/a/data"));
    assert_eq!(of_file.run_dir(), Path::new("/a/run"));
    assert_eq!(of_flags.data_dir(), Path::new("/a/data"));
    assert_eq!(of_flags.run_dir(), Path::new("/flag"));
}

#[test]
fn folders_have_one_spelling_wherever_they_are_named_from() {
    let here = std::env::current_dir().unwrap();

    let place = flags(&["--data-dir", "some//data/", "--run-dir", "/run/cupola/"]).place;

    assert_eq!(place.data_dir().as_os_str(), here.join("some/data").as_os_str());
    assert_eq!(place.run_dir().as_os_str(), "/run/cupola");
}
