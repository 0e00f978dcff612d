//! A Procfile's `release` command, and sidecars: what runs before and beside an app.

use std::{fs, path::Path};

use crate::{
    apps::{are_all_running, files, guid, misfit, push, recent_logs},
    load::Load,
    platform::{Platform, command_lines, send_signal, wait_for},
};

/// Answers `VERSION`; what the release phase wrote is asked of a file beside it.
const SERVER: &str = r#"
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"VERSION\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"#;

fn set(folder: &Path, version: &str, release: &str) {
    fs::write(folder.join("server.py"), SERVER.replace("VERSION", version)).unwrap();
    let procfile = format!("web: python3 server.py\nrelease: {release}\n");
    fs::write(folder.join("Procfile"), procfile).unwrap();
}

#[test]
fn release_phase_runs_before_a_version_and_a_failed_one_leaves_the_old_version() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = files(&platform, "shop", &[]);
    set(&folder, "VERSION-1", "sh -c 'echo migrating to 1'");
    let pushed = push(&cf, "shop", &folder, &["-i", "2"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    let first = recent_logs(&cf, "shop");
    first.says("[APP/TASK/release/0] OUT migrating to 1").says("Release phase succeeded");
    let log = &first.stdout;
    let succeeded = log.find("Release phase succeeded").unwrap();
    let containers: Vec<usize> =
        log.match_indices("creating container").map(|(place, _)| place).collect();
    // The task's own, and then those of both instances.
    assert_eq!(containers.len(), 3, "{log}");
    assert!(containers[0] < succeeded && succeeded < containers[1], "{log}");
    cf.types("tasks shop").says("release").says("SUCCEEDED");
    assert!(!cf.types("app shop").stdout.contains("type:           release"));
    wait_for("both instances", || are_all_running(&cf, "shop").then_some(()));

    let load = Load::start(&platform, "shop");
    load.wait_for_more(20);
    set(&folder, "VERSION-2", "sh -c 'echo cannot migrate; exit 7'");
    let broken = push(&cf, "shop", &folder, &["--strategy", "rolling"]);
    assert_eq!(broken.code, Some(1), "{broken}");
    broken.says("Deployment has been canceled").says("Exited with status 7");
    assert!(platform.get("shop", "/").body.contains("VERSION-1"));
    set(&folder, "VERSION-3", "sh -c 'echo migrating to 3'");
    let rolled = push(&cf, "shop", &folder, &["--strategy", "rolling"]);
    assert_eq!(rolled.code, Some(0), "{rolled}");
    assert!(platform.get("shop", "/").body.contains("VERSION-3"));
    load.wait_for_more(20);
    load.expect_no_failure();
    cf.types("restart shop").says("running");
    assert!(!cf.types("tasks shop").stdout.lines().any(|line| line.starts_with("4 ")));

    set(&folder, "VERSION-4", "sh -c 'exit 9'");
    let plain = push(&cf, "shop", &folder, &[]);
    assert_eq!(plain.code, Some(1), "{plain}");
    plain.says("Start unsuccessful");
    let why = platform.cupola().ok(&["why", "shop"]);
    why.says("The release phase failed: Exited with status 9");
    cf.types("app shop").says("crashed");
}

#[test]
fn sidecar_of_a_manifest_answers_logs_and_ends_its_instance_when_it_dies() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = misfit(&platform, "shop");
    let script =
        "echo beside $CF_INSTANCE_INDEX; until [ -e /tmp/end ]; do sleep 0.2; done; exit 5";
    fs::write(folder.join("beside-61207.sh"), script).unwrap();
    let manifest = "applications:\n- name: shop\n  memory: 64M\n  disk_quota: 64M\n  \
                    buildpacks: [binary_buildpack]\n  sidecars:\n  - name: tail\n    \
                    process_types: [web]\n    command: sh beside-61207.sh\n    memory: 16M\n";
    fs::write(folder.join("manifest.yml"), manifest).unwrap();
    let (at, path) = (folder.join("manifest.yml"), folder.to_str().unwrap());

    let pushed = cf.run(&["push", "-f", at.to_str().unwrap(), "-p", path]);

    assert_eq!(pushed.code, Some(0), "{pushed}");
    assert_eq!(platform.get("shop", "/").status, 200);
    wait_for("the line of the sidecar", || {
        let log = recent_logs(&cf, "shop").stdout;
        log.contains("[APP/PROC/WEB/SIDECAR/TAIL/0] OUT beside 0").then_some(())
    });
    cf.types("app shop").says("sidecars:       tail");
    let sidecars = cf.json(&format!("/v3/apps/{}/sidecars", guid(&cf, "shop")));
    assert_eq!(sidecars["resources"][0]["memory_in_mb"], 16);

    let mut lines = command_lines().into_iter();
    let found = lines.find(|(_, line)| line.starts_with("sh\0beside-61207.sh"));
    send_signal("KILL", found.expect("the sidecar runs").0);
    wait_for("the end of the instance", || {
        let why = platform.cupola().ok(&["why", "shop"]).stdout;
        why.contains("Its sidecar `tail` was ended by signal 9").then_some(())
    });
    wait_for("the instance again", || {
        (platform.get("shop", "/").status == 200 && are_all_running(&cf, "shop")).then_some(())
    });
}
