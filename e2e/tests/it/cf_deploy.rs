//! New versions while requests come in: rolling, canary, cancelled, rolled back.

use std::{fs, path::Path};

use crate::{
    apps::{are_all_running, files, push},
    cli::Cli,
    load::Load,
    platform::{Platform, wait_for},
};

/// A server in Python of the host's stack that answers with its version, after a start that takes
/// as long as one of an ordinary app.
const SERVER: &str = r#"
import http.server, os, signal, sys, threading, time
time.sleep(0.3)
VERSION = "VERSION-1"
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(1)
        body = (VERSION + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        body = (str(size) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"#;

fn versioned_app(platform: &Platform, name: &str) -> std::path::PathBuf {
    let command = "web: python3 server.py\n";
    files(platform, name, &[("server.py", SERVER), ("Procfile", command)])
}

fn set_version(folder: &Path, version: &str) {
    let code = SERVER.replace("VERSION-1", version);
    fs::write(folder.join("server.py"), code).unwrap();
}

fn push_version(cf: &Cli, folder: &Path, version: &str, more: &[&str]) -> crate::cli::Ran {
    set_version(folder, version);
    push(cf, "shop", folder, more)
}

/// The router follows what the API shows by a moment.
#[track_caller]
fn only_answers(platform: &Platform, version: &str) {
    wait_for(version, || {
        let is_of_it = |_| platform.get("shop", "/").body.contains(version);
        (0..20).all(is_of_it).then_some(())
    });
}

#[test]
fn deployment_goes_on_after_control_was_killed() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = versioned_app(&platform, "shop");
    let pushed = push_version(&cf, &folder, "VERSION-1", &["-i", "3"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    wait_for("all instances", || are_all_running(&cf, "shop").then_some(()));
    let load = Load::start(&platform, "shop");
    load.wait_for_more(50);
    let again = push_version(&cf, &folder, "VERSION-2", &["--strategy", "canary"]);
    again.says("Active deployment with status PAUSED");
    let guid = crate::apps::guid(&cf, "shop");
    let active = format!("/v3/deployments?app_guids={guid}&status_values=ACTIVE");
    let deployment = cf.json(&active)["resources"][0]["guid"].as_str().unwrap().to_owned();
    let path = format!("/v3/deployments/{deployment}");

    cf.ok(&["curl", "-X", "POST", &format!("{path}/actions/continue")]);
    platform.kill_control();
    load.wait_for_more(50);
    platform.up();

    wait_for("the deployment to end", || {
        (cf.json(&path)["status"]["reason"] == "DEPLOYED").then_some(())
    });
    only_answers(&platform, "VERSION-2");
    load.wait_for_more(50);
    what_the_dead_control_counted_is_unknown(&platform);
    load.expect_no_failure();
}

/// What was known when the deployment began is kept; of the rest only a part was counted.
fn what_the_dead_control_counted_is_unknown(platform: &Platform) {
    let why = platform.cupola().ok(&["why", "shop", "--json"]).stdout;
    let why: serde_json::Value = serde_json::from_str(&why).unwrap();
    let cost = &why["last_deployment"];
    assert!(cost["before"]["served"].as_u64().unwrap() > 0, "{cost}");
    let during = &cost["during"];
    let seconds = |key: &str| during[key].as_f64().unwrap();
    assert!(seconds("counted_seconds") < seconds("seconds"), "{cost}");
    assert_eq!(during["failed"], 0, "{cost}");
}

#[test]
fn cf_deploys_without_a_failed_request_and_goes_back() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = versioned_app(&platform, "shop");
    let pushed = push_version(&cf, &folder, "VERSION-1", &["-i", "2"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    wait_for("both instances", || are_all_running(&cf, "shop").then_some(()));
    let load = Load::start(&platform, "shop");
    load.wait_for_more(50);

    let rolled = push_version(&cf, &folder, "VERSION-2", &["--strategy", "rolling"]);
    assert_eq!(rolled.code, Some(0), "{rolled}");
    rolled.says("Waiting for app to deploy...").says("instances:       2/2");
    only_answers(&platform, "VERSION-2");

    canary(&platform, &cf, &folder);
    cf.types("restage shop --strategy rolling").says("running");
    broken_version(&platform, &cf, &folder);

    cf.types("revisions shop").says("New droplet deployed.").says("Initial revision.");
    cf.types("rollback shop --version 1 -f").says("Rolling back to revision 1 for app shop");
    only_answers(&platform, "VERSION-1");
    cf.types("revisions shop").says("Rolled back to revision 1.");
    cf.is_refused("rollback shop --version 1 -f").says("Unable to rollback.");
    cf.is_refused("rollback shop --version 99 -f").says("Revision '99' not found");
    cf.types("revision shop --version 1").says("Initial revision.");

    cf.types("restart shop --strategy rolling").says("running");
    cf.types("scale shop -i 1").says("Scaling app shop");
    wait_for("one instance", || are_all_running(&cf, "shop").then_some(()));
    cf.types("restart shop --strategy rolling").says("running");
    load.wait_for_more(50);
    load.expect_no_failure();
    let events = cf.types("events shop");
    events.says("audit.app.deployment.create").says("audit.app.deployment.cancel");
    events.says("audit.app.deployment.continue").says("audit.app.revision.create");
}

/// One new instance beside the old ones, until somebody decides.
fn canary(platform: &Platform, cf: &Cli, folder: &Path) {
    let paused = push_version(
        cf,
        folder,
        "VERSION-3",
        &["--strategy", "canary", "--instance-steps", "50,100"],
    );
    assert_eq!(paused.code, Some(0), "{paused}");
    paused.says("Active deployment with status PAUSED").says("canary-steps:    1/2");
    paused.says("Please run `cf continue-deployment shop` to promote the canary deployment");
    let bodies: Vec<String> = (0..40).map(|_| platform.get("shop", "/").body).collect();
    assert!(bodies.iter().any(|body| body.contains("VERSION-2")), "{bodies:?}");
    assert!(bodies.iter().any(|body| body.contains("VERSION-3")), "{bodies:?}");

    cf.types("cancel-deployment shop").says("OK");
    wait_for("the old version alone", || {
        let is_old = |_| platform.get("shop", "/").body.contains("VERSION-2");
        (0..20).all(is_old).then_some(())
    });
    cf.is_refused("continue-deployment shop").says("No active deployment found for app.");

    let again = push_version(cf, folder, "VERSION-3", &["--strategy", "canary"]);
    again.says("Active deployment with status PAUSED");
    cf.types("continue-deployment shop").says("running");
    only_answers(platform, "VERSION-3");
}

/// A version that ends at once leaves the one before it serving, and the CLI says so.
fn broken_version(platform: &Platform, cf: &Cli, folder: &Path) {
    let broken = push_version(cf, folder, "\" + nonsense + \"", &["--strategy", "rolling"]);
    assert_eq!(broken.code, Some(1), "{broken}");
    broken.says("Deployment has been canceled").says("Exited with status 1");
    only_answers(platform, "VERSION-3");
    let guid = crate::apps::guid(cf, "shop");
    let newest = format!("/v3/deployments?app_guids={guid}&order_by=-created_at&per_page=1");
    let details = &cf.json(&newest)["resources"][0]["status"]["details"];
    assert_eq!(details["error"], "Exited with status 1");
}
