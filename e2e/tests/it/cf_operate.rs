//! A day with a pushed app: look, scale, restart, change, log, delete.

use std::{fs, process::Stdio};

use crate::{
    apps::{are_all_running, binary_app, instance_ids, push},
    cli::Cli,
    platform::{Platform, wait_for},
};

#[test]
fn cf_app_is_looked_at_scaled_stopped_started_and_deleted() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let pushed = push(&cf, "shop", &binary_app(&platform, "shop"), &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");

    cf.types("scale shop").says("instances:      1/1").says("memory usage:   32M");
    cf.types("scale shop -i 2").says("Scaling app shop");
    wait_for("both instances to run", || are_all_running(&cf, "shop").then_some(()));
    cf.types("apps").says("web:2/2");
    cf.types("scale shop -f -m 48M -k 96M").says("memory usage:   48M").says("of 96M");
    cf.is_refused("scale shop -i -2");
    cf.is_refused("scale shop --process nothing -i 1").says("Process nothing not found");

    let before = instance_ids(&cf, "shop");
    cf.types("restart-app-instance shop 1").says("Restarting instance 1 of process web").says("OK");
    wait_for("another instance with the index 1", || {
        let now = instance_ids(&cf, "shop");
        (now[0] == before[0] && now[1] != before[1] && are_all_running(&cf, "shop")).then_some(())
    });
    cf.is_refused("restart-app-instance shop 7").says("Instance 7 of process web not found");

    cf.types("stop shop").says("OK");
    cf.types("stop shop").says("App shop is already stopped.");
    wait_for("the route to answer no more", || {
        (platform.get("shop", "/").status != 200).then_some(())
    });
    cf.types("apps").says("stopped").says("web:0/2");
    cf.types("start shop").says("Starting app shop").says("running");
    cf.types("start shop").says("App 'shop' is already started.");
    assert_eq!(platform.get("shop", "/").status, 200);
    cf.types("restart shop").says("Stopping app").says("running");
    cf.types("restage shop").says("Staging app and tracing logs").says("running");
    assert_eq!(platform.get("shop", "/").status, 200);

    cf.types("rename shop store").says("OK");
    cf.is_refused("app shop").says("App 'shop' not found");
    cf.types("app store").says("name:              store");
    // A route of the space stays with the app that it leads to.
    cf.types("delete -f -r store").says("OK");
    platform.wait_for_status("shop", 404);
    cf.types("routes").says("No routes found");
    cf.types("delete -f store").says("App 'store' does not exist");
    cf.types("apps").says("No apps found");
}

#[test]
fn cf_app_gets_variables_checks_labels_and_tells_events_and_logs() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let pushed = push(&cf, "notes", &binary_app(&platform, "notes"), &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");

    environment(&platform, &cf);
    cf.types("set-health-check notes http --endpoint /").says("OK");
    cf.types("get-health-check notes").says("web       http           /");
    cf.types("set-health-check notes process").says("OK");
    cf.is_refused("set-health-check notes http --endpoint nonsense");
    cf.types("set-label app notes team=blue tier=one").says("OK");
    cf.types("labels app notes").says("team").says("blue");
    let selected = cf.run(&["apps", "--labels", "team in (blue,red),!legacy"]);
    assert_eq!(selected.code, Some(0), "{selected}");
    selected.says("notes");
    cf.types("apps --labels team!=blue").does_not_say("notes");
    cf.types("unset-label app notes tier").says("OK");
    cf.types("labels app notes").does_not_say("tier");

    let file = platform.folder().join("notes.yml");
    cf.types(&format!("create-app-manifest notes -p {}", file.display())).says("OK");
    let manifest = fs::read_to_string(&file).unwrap();
    for line in ["- name: notes", "team: blue", "GREETING: hello", "route: notes.apps.localhost"] {
        assert!(manifest.contains(line), "{line} is not in {manifest}");
    }

    let events = cf.types("events notes");
    for kind in [
        "app.create",
        "app.map-route",
        "app.package.upload",
        "app.build.create",
        "app.restart",
        "app.update",
    ] {
        events.says(&format!("audit.{kind}"));
    }
    events.says("admin");
    logs(&platform, &cf);
}

fn environment(platform: &Platform, cf: &Cli) {
    cf.types("env notes").says("VCAP_APPLICATION").says("No user-provided env variables");
    cf.types("set-env notes GREETING hello").says("OK").says("cf restage notes");
    cf.types("set-env notes GONE soon");
    cf.types("env notes").says("GREETING: hello").says("GONE:");
    cf.types("unset-env notes GONE").says("OK");
    cf.types("unset-env notes GONE").says("Env variable GONE was not set");
    cf.types("env notes").does_not_say("GONE");
    cf.is_refused("set-env notes VCAP_SERVICES x").says("VCAP_");
    assert!(!platform.get("notes", "/env").body.contains("GREETING"));
    cf.types("restart notes");
    assert!(platform.get("notes", "/env").body.contains("GREETING=hello"));
}

/// Recent ones, and those that come while one looks.
fn logs(platform: &Platform, cf: &Cli) {
    let recent = cf.types("logs notes --recent");
    recent.says("[API/0]").says("[STG/0]").says("[CELL/0]").says("[APP/PROC/WEB/0]");
    let file = platform.folder().join("followed.log");
    let mut command = cf.command(&["logs", "notes"]);
    command.stdin(Stdio::null()).stdout(fs::File::create(&file).unwrap());
    let mut following = command.spawn().unwrap();
    wait_for("a request in the followed logs", || {
        let status = platform.get("notes", "/followed").status;
        assert_eq!(status, 404, "the sample has no such page");
        fs::read_to_string(&file).unwrap().contains("GET /followed").then_some(())
    });
    following.kill().unwrap();
    following.wait().unwrap();
    cf.is_refused("logs nothing --recent").says("App 'nothing' not found");
}
