//! Input that must be refused with a clear error, and leave nothing half-made.

use std::{io::Write, net::TcpStream, process::Command};

use crate::{
    apps::{files, sample_copy},
    cli::Cli,
    http,
    platform::{Platform, wait_for},
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
    elif kind == "good":
        archive.writestr("index.html", "hello")
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

    fn shown(&self, package: &str) -> serde_json::Value {
        self.cf.json(&format!("/v3/packages/{package}"))
    }

    fn zip(&self, kind: &str) -> Vec<u8> {
        let zip = self.platform.app_folder("zips").join(format!("{kind}.zip"));
        let made =
            Command::new("python3").args(["-c", EVIL_ZIPS, kind]).arg(&zip).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        std::fs::read(&zip).unwrap()
    }

    /// Uploads bytes as the zip of a new package; returns the package as it is afterwards.
    fn bytes(&self, zip: &[u8]) -> serde_json::Value {
        let package = self.new_package();
        self.send(&package, zip);
        wait_for("the verdict on an upload", || {
            let shown = self.shown(&package);
            (shown["state"] != "PROCESSING_UPLOAD").then_some(shown)
        })
    }

    /// The zip that `kind` names must be refused with these words.
    #[track_caller]
    fn is_refused(&self, zip: &[u8], words: &str) {
        let package = self.bytes(zip);
        assert_eq!(package["state"], "FAILED", "{package}");
        let error = package["data"]["error"].as_str().unwrap();
        assert!(error.contains(words), "`{words}` is not in `{error}`");
    }

    fn send(&self, package: &str, zip: &[u8]) {
        let (headers, body) = self.form(zip);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (api, path) = (self.platform.api, format!("/v3/packages/{package}/upload"));
        http::request(api, &api.to_string(), "POST", &path, &headers, &body).unwrap();
    }

    fn form(&self, zip: &[u8]) -> ([(&'static str, String); 2], Vec<u8>) {
        let mut body = b"--cut\r\nContent-Disposition: form-data; name=\"bits\"; \
            filename=\"app.zip\"\r\n\r\n"
            .to_vec();
        body.extend_from_slice(zip);
        body.extend_from_slice(b"\r\n--cut--\r\n");
        let headers = [
            ("Authorization", self.token.clone()),
            ("Content-Type", "multipart/form-data; boundary=cut".to_owned()),
        ];
        (headers, body)
    }

    /// Begins an upload, sends a part of it and goes away.
    fn send_a_part(&self, package: &str) {
        let ([authorization, content_type], body) = self.form(&[0; 100_000]);
        let mut stream = TcpStream::connect(self.platform.api).unwrap();
        let head = format!(
            "POST /v3/packages/{package}/upload HTTP/1.1\r\nHost: api\r\n{}: {}\r\n{}: {}\r\n\
             Content-Length: {}\r\n\r\n",
            authorization.0,
            authorization.1,
            content_type.0,
            content_type.1,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body[..50_000]).unwrap();
        wait_for("the part to be written", || (self.received() > 0).then_some(()));
    }

    /// How many uploads are on disk.
    fn received(&self) -> usize {
        let uploads = self.platform.data_dir().join("uploads");
        std::fs::read_dir(uploads).map_or(0, Iterator::count)
    }
}

#[test]
fn uploads_that_must_not_be_unpacked_fail_their_package_and_say_why() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    cf.ok(&["create-app", "victim"]);
    let token = cf.ok(&["oauth-token"]).stdout.trim().to_owned();
    let upload = Upload { platform: &platform, cf: &cf, token };

    upload.is_refused(&upload.zip("traversal"), "`../../escaped` leads out of the app's folder");
    upload.is_refused(&upload.zip("absolute"), "`/etc/escaped` leads out of the app's folder");
    upload.is_refused(&upload.zip("link"), "`out` leads out of the app's folder");
    upload.is_refused(&upload.zip("bomb"), "larger than");
    upload.is_refused(b"this is no zip", "not a whole zip file");
    let good = upload.zip("good");
    upload.is_refused(&good[..good.len() - 10], "not a whole zip file");
    assert!(!std::path::Path::new("/etc/escaped").exists());

    let package = upload.new_package();
    upload.send_a_part(&package);
    wait_for("the part to be removed", || (upload.received() == 0).then_some(()));
    assert_eq!(upload.shown(&package)["state"], "AWAITING_UPLOAD");
    upload.send(&package, &good);
    wait_for("the whole upload", || (upload.shown(&package)["state"] == "READY").then_some(()));
    assert_eq!(upload.received(), 0);
}

#[test]
fn mistakes_are_told_and_leave_nothing_half_made() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = sample_copy(&platform, "static");
    let path = folder.to_str().unwrap();

    let yaml = files(&platform, "yaml", &[("manifest.yml", "applications: [\n"), ("a", "a")]);
    cf.in_directory(&yaml).fails(&["push"]);
    let empty = platform.app_folder("empty");
    cf.fails(&["push", "empty", "-p", empty.to_str().unwrap()]).says("No app files found");
    // The CLI looks at the files only after it has applied the manifest.
    cf.ok(&["delete", "empty", "-f", "-r"]);
    cf.fails(&["push", "one", "-p", path, "-b", "no_such_buildpack"]).says("no_such_buildpack");
    cf.fails(&["create-route", "no.such.domain"]).says("no.such.domain");
    cf.ok(&["push", "first", "-p", path, "--no-start"]);
    cf.fails(&["scale", "first", "--process", "nothing", "-i", "2"]).says("nothing");
    cf.fails(&["push", "no-such-folder", "-p", "/no/such/folder"]);

    a_route_that_the_manifest_cannot_have(&platform, &cf, path);
    the_api_reads_yaml_with_care(&cf);
    cf.ok(&["apps"]).says("first").does_not_say("started").does_not_say("second");
}

fn a_route_that_the_manifest_cannot_have(platform: &Platform, cf: &Cli, path: &str) {
    let manifest = |route: &str| format!("applications:\n- name: second\n  routes: [{route}]\n");
    let push = |route: &str| {
        let text = manifest(&format!("{{route: {route}}}"));
        let folder = files(platform, "second", &[("manifest.yml", &text)]);
        let file = folder.join("manifest.yml");
        cf.fails(&["push", "-f", file.to_str().unwrap(), "-p", path])
    };

    push("second.no.such.domain").says("second.no.such.domain");

    cf.ok(&["create-space", "other"]);
    cf.ok(&["create-route", "apps.localhost", "--hostname", "taken"]);
    cf.ok(&["target", "-s", "other"]);
    push("taken.apps.localhost").says("another space");
    cf.ok(&["target", "-s", "dev"]);
}

fn the_api_reads_yaml_with_care(cf: &Cli) {
    let space = cf.ok(&["space", "dev", "--guid"]).stdout.trim().to_owned();
    let path = format!("/v3/spaces/{space}/actions/apply_manifest");
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\napplications: [{name: c, env: {d: *b}}]\n";
    for yaml in ["applications: [", "[just, a, list]", "applications: {}\n", bomb] {
        let yaml_type = "Content-Type: application/x-yaml";
        let ran = cf.ok(&["curl", &path, "-X", "POST", "-H", yaml_type, "-d", yaml]);
        let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(answer["errors"][0]["detail"].is_string(), "{yaml}: {answer}");
    }
}

#[test]
fn tokens_that_are_missing_forged_expired_or_cut_are_refused() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let header = cf.ok(&["oauth-token"]).stdout.trim().to_owned();
    let token = header.strip_prefix("bearer ").unwrap();
    let ask = |token: Option<&str>| {
        let (api, value) = (platform.api, token.map(|token| format!("bearer {token}")));
        let headers: Vec<_> = value.iter().map(|value| ("Authorization", value.as_str())).collect();
        http::request(api, &api.to_string(), "GET", "/v3/apps", &headers, b"").unwrap()
    };
    let is_refused = |token: &str| {
        let answer = ask(Some(token));
        assert_eq!(answer.status, 401, "{token}");
        assert!(answer.body.contains("CF-InvalidAuthToken"), "{answer:?}");
    };
    let claims: serde_json::Value = jsonwebtoken::dangerous::insecure_decode_claims(token).unwrap();
    let now = claims["iat"].as_i64().unwrap();
    let key = std::fs::read(platform.data_dir().join("token-key.der")).unwrap();

    assert_eq!(ask(Some(token)).status, 200);
    assert_eq!(ask(Some(&signed(&claims, &key))).status, 200, "this test signs in vain");
    let missing = ask(None);
    assert_eq!(missing.status, 401);
    assert!(missing.body.contains("CF-NotAuthenticated"), "{missing:?}");
    is_refused("none");
    is_refused(&format!("{}AAAA", &token[..token.len() - 4]));
    is_refused(&token[..token.len() / 2]);
    is_refused(&without_signature(token));
    is_refused(&signed(&with(&claims, "exp", now - 1), &key));
    let mut other_key = key.clone();
    *other_key.last_mut().unwrap() ^= 1;
    is_refused(&signed(&claims, &other_key));
    let nobody = "00000000-0000-4000-8000-000000000000";
    is_refused(&signed(&with(&with(&claims, "sub", nobody), "user_id", nobody), &key));
}

fn with(
    claims: &serde_json::Value,
    key: &str,
    value: impl Into<serde_json::Value>,
) -> serde_json::Value {
    let mut claims = claims.clone();
    claims[key] = value.into();
    claims
}

/// A token signed as the platform does, with this key.
fn signed(claims: &serde_json::Value, key: &[u8]) -> String {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    let key = EncodingKey::from_ec_der(key);
    jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &key).unwrap()
}

/// The claims of a token under a head that says it needs no signature.
fn without_signature(token: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let head = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    format!("{head}.{}.", token.split('.').nth(1).unwrap())
}
