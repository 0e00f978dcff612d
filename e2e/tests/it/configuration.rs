//! What the operator can say to `cupola up`, by flags and by a file.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use serde_json::Value;

use crate::{
    apps::{binary_app, push},
    cli::{Cli, Ran},
    http,
    platform::{Platform, free_address, wait_for},
};

/// The platform's binary with nothing in its environment.
fn cupola_alone(platform: &Platform) -> Cli {
    let mut cupola = platform.cupola();
    cupola.environment = vec![("HOME".to_owned(), platform.folder().to_str().unwrap().to_owned())];
    cupola
}

/// What `doctor --json` says about one property of the host.
fn finding(doctor: &Ran, name: &str) -> Value {
    let findings: Vec<Value> = serde_json::from_str(&doctor.stdout).unwrap();
    findings.into_iter().find(|finding| finding["name"] == name).expect("it is looked at")
}

#[test]
fn a_file_is_all_that_up_down_and_doctor_need() {
    let mut platform = Platform::prepare();
    let v6: SocketAddr = format!("[::1]:{}", free_address().port()).parse().unwrap();
    let external = format!("http://localhost:{}", platform.api.port());
    platform.add("--router-addr", &v6.to_string());
    platform.add("--apps-domain", "apps.example.test");
    platform.add("--external-url", &external);
    platform.use_file();
    platform.up();
    platform.url.clone_from(&external);
    let cf = platform.cf_admin();

    // Each link begins with the external URL, and routes end with the domain.
    let answer = http::get(platform.api, "any-host", "/").unwrap();
    let root: Value = serde_json::from_str(&answer.body).unwrap();
    let hrefs: Vec<_> = root["links"].as_object().unwrap().values().map(|it| &it["href"]).collect();
    let is_external =
        |href: &&&Value| href.as_str().is_none_or(|href| href.starts_with(external.as_str()));
    assert!(hrefs.iter().filter(|href| href.is_string()).count() > 3, "{root}");
    assert_eq!(hrefs.iter().filter(is_external).count(), hrefs.len(), "{root}");
    let space = cf.json("/v3/spaces")["resources"][0].clone();
    assert!(space["links"]["self"]["href"].as_str().unwrap().starts_with(&external), "{space}");
    assert_eq!(push(&cf, "hello", &binary_app(&platform, "hello"), &[]).code, Some(0));
    for router in [platform.router, v6] {
        let answer = http::get(router, "hello.apps.example.test", "/").unwrap();
        assert_eq!(answer.status, 200, "by {router}");
    }

    let file = platform.file();
    let cupola = cupola_alone(&platform);
    let doctor = cupola.ok(&["doctor", "--config", file.to_str().unwrap(), "--json"]);
    let subnet = finding(&doctor, "instance subnet");
    assert_eq!(subnet["detail"], format!("{} is free", platform.subnet()));
    platform.down();
    assert!(!platform.run_dir().exists());
}

#[test]
fn doctor_and_down_do_what_flags_and_the_environment_say() {
    let mut platform = Platform::start();
    let cupola = cupola_alone(&platform);

    let doctor = cupola.fails(&["doctor", "--runtime", "/opt/no-such-runtime"]);
    doctor.says("/opt/no-such-runtime").says("MISSING").says("`cupola up` cannot run here");
    // Another installation has it as soon as its first interface is there.
    let subnet = wait_for("the subnet to be in use", || {
        let doctor = cupola.run(&["doctor", "--instance-subnet", &platform.subnet(), "--json"]);
        let subnet = finding(&doctor, "instance subnet");
        (subnet["result"] == "missing").then_some(subnet)
    });
    assert!(subnet["hint"].as_str().unwrap().contains("--instance-subnet"), "{subnet}");

    let data_dir = platform.data_dir();
    platform.cupola().ok(&["down", "--data-dir", data_dir.to_str().unwrap()]);
    assert!(!platform.run_dir().exists());
    platform.down();
}

#[test]
fn mistakes_of_a_file_are_told_together_before_anything_begins() {
    let mut platform = Platform::prepare();
    platform.add("--apps-domain", "Not A Domain");
    platform.add("--tls-cert", "/no/certificate.pem");
    platform.use_file();

    platform.is_refused().says("2 mistakes").says("--apps-domain").says("--tls-key");

    fs::write(platform.file(), "router-adr = \"127.0.0.1:1\"\n").unwrap();
    platform.is_refused().says("`router-adr` is not a flag").says("cupola.toml");
    assert!(!platform.data_dir().exists());
    platform.use_file();
}

#[test]
fn an_api_on_every_address_is_served_with_tls_of_its_own_authority() {
    let mut platform = Platform::prepare();
    let port = platform.api.port();
    platform.url = format!("https://127.0.0.1:{port}");
    platform.replace("--api-addr", &format!("0.0.0.0:{port}"));
    platform.up();
    let authority = platform.data_dir().join("tls/authority.pem");
    let authority = authority.to_str().unwrap();
    let (url, password) = (platform.url.clone(), platform.admin_password());
    let said = platform.output();
    assert!(said.contains(authority) && said.contains("--skip-ssl-validation"), "{said}");

    assert!(http::get(platform.api, "api", "/").is_err(), "it answers without TLS");
    let cf = platform.cf_without_api("admin");
    cf.fails(&["api", &url]).says("SSL");
    cf.ok(&["api", &url, "--skip-ssl-validation"]);
    cf.ok(&["auth", "admin", &password]);
    cf.ok(&["target", "-o", "default", "-s", "dev"]);

    let mut trusting = platform.cf_without_api("trusting");
    trusting.environment.push(("SSL_CERT_FILE".to_owned(), authority.to_owned()));
    trusting.ok(&["api", &url]);
    trusting.ok(&["auth", "admin", &password]);

    let cupola = cupola_alone(&platform);
    let file = platform.password_file();
    let login = ["login", &url, "--password-file", file.to_str().unwrap()];
    cupola.fails(&login).says("--ca-file");
    cupola.ok(&[&login[..], &["--ca-file", authority]].concat());
    cupola.ok(&["apps"]);

    // Another name: the same authority signs for it, and clients that trust it see no difference.
    let other = format!("https://localhost:{port}");
    platform.interrupt_control();
    platform.add("--external-url", &other);
    platform.up();
    trusting.ok(&["api", &other]);
    trusting.ok(&["api", &url]);
}

#[test]
fn an_api_is_served_with_the_certificate_that_is_given() {
    let mut platform = Platform::prepare();
    let (certificate, key) = certificate(platform.folder());
    platform.url = format!("https://{}", platform.api);
    platform.add("--tls-cert", &certificate);
    platform.is_refused().says("--tls-key");
    platform.add("--tls-key", &key);
    platform.up();

    let mut cf = platform.cf_without_api("admin");
    cf.environment.push(("SSL_CERT_FILE".to_owned(), certificate));
    cf.ok(&["api", &platform.url]);
    cf.ok(&["auth", "admin", &platform.admin_password()]);
    assert!(!platform.data_dir().join("tls").exists());
    assert!(!platform.output().contains("--skip-ssl-validation"));

    platform.interrupt_control();
    fs::write(&key, "no key").unwrap();
    platform.is_refused().says(&key).says("TLS");
}

/// A certificate for 127.0.0.1, and its key.
fn certificate(folder: &Path) -> (String, String) {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("given.pem"), path("given-key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-nodes", "-subj", "/CN=given", "-addext", "subjectAltName=IP:127.0.0.1"]);
    let made = openssl.args(["-out", &certificate, "-keyout", &key]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

#[test]
fn password_of_the_administrator_is_taken_from_a_file_or_printed_once() {
    let mut given = Platform::prepare();
    fs::write(given.password_file(), "correct horse battery\n").unwrap();
    given.up();
    assert!(given.output().contains("password read from"), "{}", given.output());
    given.cf("admin", "correct horse battery");

    let mut printed = Platform::prepare();
    printed.remove("--admin-password-file");
    printed.up();
    let said = printed.output();
    let line = said.lines().find(|line| line.contains("shown this once")).expect("it is printed");
    let password = line.split_whitespace().nth(1).unwrap();
    assert_eq!(password.len(), 24, "{line}");
    printed.cf("admin", password);
    printed.interrupt_control();
    printed.up();
    assert_eq!(printed.output().matches(password).count(), 1, "{}", printed.output());
    assert!(printed.output().contains("the password of the first start"));
}

#[test]
fn limits_of_the_operator_are_those_of_apps_and_uploads() {
    let platform = Platform::start_with(&[
        "--instance-memory-mib-max",
        "128",
        "--instance-disk-mib-max",
        "512",
        "--upload-mib-max",
        "1",
    ]);
    let cf = platform.cf_admin();
    let folder = binary_app(&platform, "hello");
    let with = |flag: &str, value: &str| {
        push(&cf, "hello", &folder, &["-m", "64M", "-k", "256M", flag, value])
    };

    with("-m", "129M").says("128").says("FAILED");
    with("-k", "513M").says("512").says("FAILED");
    cf.ok(&["create-app", "large"]);
    let large = platform.app_folder("large");
    let noise: Vec<u8> =
        (0..3_u32 << 18).flat_map(|it| it.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(large.join("noise"), noise).unwrap();
    push(&cf, "large", &large, &["-m", "64M", "-k", "256M"]).says("FAILED").says("1 MiB");
    assert_eq!(with("-i", "1").code, Some(0));
}

#[test]
fn soft_limit_of_open_files_is_raised_and_printed() {
    let mut platform = Platform::prepare();
    platform.launch_by(&["sh", "-c", "ulimit -Sn 256; ulimit -Hn 4096; exec \"$@\"", "sh"]);
    platform.up();

    let said = platform.output();
    assert!(said.lines().any(|line| line.trim() == "open files 4096"), "{said}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", platform.control())).unwrap();
    let limit = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(limit.split_whitespace().nth(3), Some("4096"), "{limits}");
}

#[test]
fn sigterm_ends_control_only_and_says_so() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    assert_eq!(push(&cf, "hello", &binary_app(&platform, "hello"), &[]).code, Some(0));

    let said = platform.end_control("TERM");

    assert!(said.contains("Control has ended. Apps and routing go on without it"), "{said}");
    assert!(said.contains("cupola down --data-dir"), "{said}");
    assert_eq!(platform.get("hello", "/").status, 200);
    platform.up();
    wait_for("the app", || platform.try_get("hello", "/").filter(|answer| answer.status == 200));
}
