//! `cupola pull`: each rung is pulled, seen to work, and put back without a trace.

use serde_json::Value;

use crate::{
    apps::{are_all_running, files, guid},
    cli::Cli,
    load::Load,
    platform::{Platform, wait_for},
};

/// Answers with the version, and after `/break` only with errors.
const SERVER: &str = r#"
import http.server, os, signal, threading
broken = False
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        global broken
        broken = broken or self.path == "/break"
        body = b"VERSION-1\n"
        self.send_response(500 if broken else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"#;

/// What is set on the app, without what every push and start changes: times, droplet, generation.
fn configuration(cf: &Cli, app: &str) -> Vec<Value> {
    let paths = ["", "/processes/web", "/routes", "/environment_variables", "/features"];
    let body = |path: &&str| {
        let mut body = cf.json(&format!("/v3/apps/{app}{path}"));
        without_runs(&mut body);
        body
    };
    paths.iter().map(body).collect()
}

fn without_runs(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("updated_at");
            map.remove("current_droplet");
            map.remove("version");
            map.values_mut().for_each(without_runs);
        }
        Value::Array(list) => list.iter_mut().for_each(without_runs),
        _ => {}
    }
}

fn only_answers(platform: &Platform, version: &str) {
    wait_for(version, || {
        let is_of_it = |_| platform.get("shop", "/").body.contains(version);
        (0..20).all(is_of_it).then_some(())
    });
}

#[test]
fn every_rung_works_and_is_put_back_without_a_trace() {
    let platform = Platform::start();
    let (cf, cupola) = (platform.cf_admin(), platform.cupola());
    let parts = [("app.py", SERVER), ("requirements.txt", "")];
    let folder = files(&platform, "shop", &parts);
    let source = folder.to_str().unwrap().to_owned();
    cupola.ok(&["push", "shop", "--path", &source]);
    let app = guid(&cf, "shop");
    let often = r#"{"health_check":{"type":"port","data":{"interval":1}}}"#;
    cf.ok(&["curl", "-X", "PATCH", &format!("/v3/processes/{app}"), "-d", often]);
    let before = configuration(&cf, &app);
    let shown = cupola.ok(&["pull", "shop"]);
    shown.says("availability").says("next    second-instance (1 instances)");
    shown.says("nothing to pull yet").says("next    pinned-runtime (python 3.");

    cupola.ok(&["pull", "shop", "second-instance"]).says("shop has second-instance");
    wait_for("two instances", || are_all_running(&cf, "shop").then_some(()));
    assert_eq!(cf.json(&format!("/v3/processes/{app}"))["instances"], 2);

    cupola.ok(&["pull", "shop", "health-check", "--endpoint", "/up"]).says("(GET /up)");
    platform.get("shop", "/break");
    wait_for("the broken instance to be replaced", || {
        let why: Value =
            serde_json::from_str(&cupola.ok(&["why", "shop", "--json"]).stdout).unwrap();
        let exits = why["exits"].to_string();
        (exits.contains("health") && are_all_running(&cf, "shop")).then_some(())
    });
    only_answers(&platform, "VERSION-1");

    cupola.ok(&["pull", "shop", "rolling-by-default"]);
    cupola.ok(&["pull", "shop", "pinned-runtime"]).says("from the next build on");
    let load = Load::start(&platform, "shop");
    load.wait_for_more(50);
    std::fs::write(folder.join("app.py"), SERVER.replace("VERSION-1", "VERSION-2")).unwrap();
    let pushed = cupola.ok(&["push", "shop", "--path", &source]);
    pushed.says("replacing the instances one by one").says("BP_PYTHON_VERSION asks for 3.");
    only_answers(&platform, "VERSION-2");
    load.wait_for_more(50);
    load.expect_no_failure();

    for rung in ["pinned-runtime", "rolling-by-default", "health-check", "second-instance"] {
        cupola.ok(&["pull", "shop", rung, "--put-back"]).says("is put back");
    }
    assert_eq!(configuration(&cf, &app), before);
    cupola.fails(&["pull", "shop", "second-instance", "--put-back"]).says("it was not pulled");
}

#[test]
fn health_check_that_the_app_does_not_answer_is_put_back_while_the_old_instance_serves() {
    let platform = Platform::start();
    let (cf, cupola) = (platform.cf_admin(), platform.cupola());
    let parts = [("Procfile", "web: python3 -m http.server $PORT\n"), ("index.html", "old")];
    let folder = files(&platform, "shop", &parts);
    cupola.ok(&["push", "shop", "--path", folder.to_str().unwrap()]);
    let app = guid(&cf, "shop");
    let soon = r#"{"health_check":{"type":"port","data":{"timeout":1}}}"#;
    cf.ok(&["curl", "-X", "PATCH", &format!("/v3/processes/{app}"), "-d", soon]);
    let before = configuration(&cf, &app);
    let load = Load::start(&platform, "shop");
    load.wait_for_more(50);

    let refused = cupola.fails(&["pull", "shop", "health-check", "--endpoint", "/nothing"]);

    refused.says("health-check is put back");
    assert_eq!(configuration(&cf, &app), before);
    load.wait_for_more(50);
    load.expect_no_failure();
}
