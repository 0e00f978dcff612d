//! Input that must be refused with a clear error, and leave nothing half-made.

use std::process::Command;

use crate::{
    apps::{files, sample_copy},
    cli::Cli,
    http,
    platform::Platform,
};

/// Makes zips that no well-behaved client makes.
const EVIL_ZIPS: &str = r#"
import stat, sys, zipfile
kind, path = sys.argv[1:]
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    if kind == "traversal":
        archive.writestr("../../escaped", "x")
    elif kind == "absolute":
        archive.writestr("/etc/escaped", "x")
    elif kind == "link":
        link = zipfile.ZipInfo("out")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc")
        archive.writestr("out/escaped", "x")
    elif kind == "bomb":
        with archive.open("zeros", "w", force_zip64=True) as zeros:
            for _ in range(2048):
                zeros.write(bytes(1 << 20))
"#;

/// One package of a stopped app, and what is needed to upload to it.
struct Upload<'a> {
    platform: &'a Platform,
    cf: &'a Cli,
    token: String,
}

impl Upload<'_> {
    fn new_package(&self) -> String {
        let app = self.cf.ok(&["app", "victim", "--guid"]).stdout.trim().to_owned();
        let body =
            format!(r#"{{"type":"bits","relationships":{{"app":{{"data":{{"guid":"{app}"}}}}}}}}"#);
        let made = self.cf.ok(&["curl", "/v3/packages", "-X", "POST", "-d", &body]);
        let package: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
        package["guid"].as_str().unwrap().to_owned()
    }

    /// Uploads the zip that `kind` names; returns the package as it is afterwards.
    fn evil(&self, kind: &str) -> serde_json::Value {
        let zip = self.platform.app_folder("zips").join(format!("{kind}.zip"));
        let made =
            Command::new("python3").args(["-c", EVIL_ZIPS, kind]).arg(&zip).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let package = self.new_package();
        self.send(&package, &std::fs::read(&zip).unwrap());
        crate::platform::wait_for("the verdict on an upload", || {
            let shown = self.cf.ok(&["curl", &format!("/v3/packages/{package}")]);
            let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
            (shown["state"] != "PROCESSING_UPLOAD").then_some(shown)
        })
    }

    fn send(&self, package: &str, zip: &[u8]) {
        let mut body = b"--cut\r\nContent-Disposition: form-data; name=\"bits\"; \
            filename=\"app.zip\"\r\n\r\n"
            .to_vec();
        body.extend_from_slice(zip);
        body.extend_from_slice(b"\r\n--cut--\r\n");
        let headers = [
            ("Authorization", self.token.as_str()),
            ("Content-Type", "multipart/form-data; boundary=cut"),
        ];
        let (api, path) = (self.platform.api, format!("/v3/packages/{package}/upload"));
        http::request(api, &api.to_string(), "POST", &path, &headers, &body).unwrap();
    }
}

#[test]
fn evil_archives_fail_their_package_and_say_why() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    cf.ok(&["create-app", "victim"]);
    let token = cf.ok(&["oauth-token"]).stdout.trim().to_owned();
    let upload = Upload { platform: &platform, cf: &cf, token };

    let traversal = upload.evil("traversal");
    let absolute = upload.evil("absolute");
    let link = upload.evil("link");
    let bomb = upload.evil("bomb");

    for package in [&traversal, &absolute, &link, &bomb] {
        assert_eq!(package["state"], "FAILED", "{package}");
        assert!(package["data"]["error"].as_str().is_some_and(|e| !e.is_empty()), "{package}");
    }
    assert!(!std::path::Path::new("/etc/escaped").exists());
}

#[test]
fn mistakes_are_told_and_leave_nothing_half_made() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = sample_copy(&platform, "static");
    let path = folder.to_str().unwrap();

    let yaml = files(&platform, "yaml", &[("manifest.yml", "applications: [\n"), ("a", "a")]);
    cf.in_directory(&yaml).fails(&["push"]);
    cf.fails(&["push", "one", "-p", path, "-b", "no_such_buildpack"]).says("no_such_buildpack");
    cf.fails(&["create-route", "no.such.domain"]).says("no.such.domain");
    cf.ok(&["push", "first", "-p", path, "--no-start"]);
    cf.fails(&["scale", "first", "--process", "nothing", "-i", "2"]).says("nothing");
    let broken = files(&platform, "broken", &[("package.json", "{ this is no JSON")]);
    cf.fails(&["push", "broken", "-p", broken.to_str().unwrap(), "-b", "nodejs_buildpack"])
        .says("BuildpackCompileFailed");
    cf.ok(&["logs", "broken", "--recent"]).says("package.json");

    cf.ok(&["apps"]).says("first").does_not_say("running");
}

#[test]
fn tokens_that_are_missing_forged_or_cut_are_refused() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let token = cf.ok(&["oauth-token"]).stdout.trim().to_owned();
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    let ask = |headers: &[(&str, &str)]| {
        let api = platform.api;
        http::request(api, &api.to_string(), "GET", "/v3/apps", headers, b"").unwrap().status
    };

    assert_eq!(ask(&[("Authorization", &token)]), 200);
    assert_eq!(ask(&[]), 401);
    assert_eq!(ask(&[("Authorization", &forged)]), 401);
    assert_eq!(ask(&[("Authorization", "bearer none")]), 401);
}
