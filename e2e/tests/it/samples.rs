//! Every sample, pushed as a user would: its answer, its logs, scaling, restart and deletion.

use std::fs;

use crate::{
    apps::{are_all_running, binary_app, guid, instance_ids, recent_logs, sample_copy},
    cli::Cli,
    platform::{Platform, app_pids, sample, send_signal, wait_for},
    streams,
};

/// A platform with one sample, pushed from its folder with its own manifest.
struct Pushed {
    platform: Platform,
    cf: Cli,
    name: &'static str,
}

impl Pushed {
    fn push(name: &'static str) -> Self {
        let platform = Platform::start();
        let folder = sample_copy(&platform, name);
        let cf = platform.cf_admin().in_directory(folder);
        cf.ok(&["push"]).says("running").says(&format!("{name}.apps.localhost"));
        let pushed = Self { platform, cf, name };
        pushed.answers(&format!("{name} sample"));
        pushed
    }

    #[track_caller]
    fn answers(&self, text: &str) {
        let answer = self.platform.get(self.name, "/");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains(text), "{answer:?}");
    }

    /// Where every sample behaves the same.
    fn lives(self) {
        self.is_logged();
        self.is_scaled();
        self.recovers();
        self.is_restarted();
        self.delete();
    }

    fn is_logged(&self) {
        self.platform.get(self.name, "/a-path-to-look-for");
        let logs = wait_for("the request in the log", || {
            let logs = recent_logs(&self.cf, self.name);
            let has_request = logs.contains("GET /a-path-to-look-for") && logs.contains("[RTR/0]");
            has_request.then_some(logs)
        });
        logs.says("[RTR/0]").says("[STG/0]").says("[CELL/0]").says("[APP/PROC/WEB/0]");
        self.cf.ok(&["events", self.name]).says("audit.app.create").says("audit.app.restart");
    }

    fn is_scaled(&self) {
        let first = instance_ids(&self.cf, self.name);
        self.cf.ok(&["scale", self.name, "-i", "3"]);
        wait_for("three instances", || {
            let ids = instance_ids(&self.cf, self.name);
            (ids.len() == 3 && are_all_running(&self.cf, self.name)).then_some(())
        });
        // Scaling leaves those alone that run already.
        assert_eq!(instance_ids(&self.cf, self.name)[0], first[0]);
        self.cf.ok(&["app", self.name]).says("3/3").says("#2   running");
        self.cf.ok(&["scale", self.name, "-i", "1"]);
        wait_for("one instance", || (instance_ids(&self.cf, self.name) == first).then_some(()));
    }

    /// Whatever language it is in: a signal ends it.
    fn recovers(&self) {
        let before = instance_ids(&self.cf, self.name);
        let pids = app_pids(&before[0]);
        assert!(!pids.is_empty(), "nothing runs");
        // The parent of them all has the lowest number; the others go with it.
        send_signal("KILL", *pids.iter().min().unwrap());
        wait_for("the instance after the crash", || {
            let now = instance_ids(&self.cf, self.name);
            (now != before && are_all_running(&self.cf, self.name)).then_some(())
        });
        self.answers("sample");
        self.cf.ok(&["events", self.name]).says("app.crash").says("signal 9");
    }

    fn is_restarted(&self) {
        let before = instance_ids(&self.cf, self.name);
        self.cf.ok(&["restart", self.name]).says("running");
        assert_ne!(instance_ids(&self.cf, self.name), before);
        self.answers("sample");
    }

    fn delete(self) {
        self.cf.ok(&["delete", self.name, "-r", "-f"]);
        self.platform.wait_for_status(self.name, 404);
        self.cf.ok(&["apps"]).says("No apps found");
        self.cf.ok(&["routes"]).does_not_say(self.name);
    }
}

#[test]
fn static_site_is_served_as_its_staticfile_says() {
    let pushed = Pushed::push("static");

    let missing = pushed.platform.get("static", "/not-there");
    assert_eq!(missing.status, 404, "{missing:?}");
    assert!(missing.body.contains("404") || missing.body.contains("not"), "{missing:?}");
    let style = pushed.platform.get("static", "/css/site.css");
    assert_eq!(style.status, 200, "{style:?}");
    assert!(style.header("content-type").is_some_and(|kind| kind.starts_with("text/css")));
    assert!(style.header("strict-transport-security").is_some(), "{style:?}");
    assert_eq!(style.header("x-sample"), Some("static"), "location_include: {style:?}");

    pushed.lives();
}

#[test]
fn express_app_is_pushed_and_a_repeat_push_sends_what_changed() {
    let pushed = Pushed::push("express");
    let cf = &pushed.cf;
    let environment = pushed.platform.get("express", "/env").body;
    let environment: serde_json::Value = serde_json::from_str(&environment).unwrap();
    assert_eq!(environment["PORT"], "8080", "{environment}");
    assert!(environment["VCAP_APPLICATION"].as_str().unwrap().contains("express"));

    // Small files are sent each time: only of those above 64 KiB does the platform tell that it has
    // them. This one cannot be compressed.
    let noise = (0..2 << 20_u64).scan(1_u64, |state, _| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Some(state.to_be_bytes()[0])
    });
    fs::write(cf.directory.join("noise"), noise.collect::<Vec<u8>>()).unwrap();
    cf.ok(&["push"]).says("running").says("MiB");
    cf.ok(&["push"]).says("running").does_not_say("MiB");
    assert_eq!(packages(cf, "express"), 3);

    let app = cf.directory.join("app.js");
    let changed = fs::read_to_string(&app).unwrap().replace("express sample", "changed sample");
    fs::write(&app, changed).unwrap();
    cf.ok(&["push"]).says("Uploading files").does_not_say("nothing to upload");
    pushed.answers("changed sample");

    let before = instance_ids(cf, "express");
    assert_eq!(pushed.platform.get("express", "/crash").status, 200);
    wait_for("the instance after the crash", || {
        (are_all_running(cf, "express") && instance_ids(cf, "express") != before).then_some(())
    });
    cf.ok(&["events", "express"]).says("app.crash").says("Exited with status 1");

    streams::answer_streams_while_the_request_goes_on(&pushed.platform);
    streams::upload_comes_back_whole(&pushed.platform);
    streams::websocket_echoes_and_goes_away_with_the_app(&pushed.platform, cf);
    pushed.lives();
}

fn packages(cf: &Cli, app: &str) -> usize {
    let answer = cf.json(&format!("/v3/apps/{}/packages", guid(cf, app)));
    answer["resources"].as_array().unwrap().len()
}

#[test]
fn prebuilt_program_is_pushed() {
    let platform = Platform::start();
    let folder = binary_app(&platform, "binary");
    fs::copy(sample("binary").join("manifest.yml"), folder.join("manifest.yml")).unwrap();
    let cf = platform.cf_admin().in_directory(folder);
    cf.ok(&["push"]).says("running");

    Pushed { platform, cf, name: "binary" }.lives();
}

#[test]
fn samples_are_pushed_by_cupola_too() {
    let platform = Platform::start();
    let cupola = platform.cupola();
    for name in ["static", "express", "flask", "worker"] {
        let folder = sample_copy(&platform, name);
        let pushed = cupola.ok(&["push", name, "--path", folder.to_str().unwrap()]);
        pushed.says(&format!("{name} is running")).says(&format!("{name}.apps.localhost"));
        let answer = platform.get(name, "/");
        assert!(answer.status == 200 && answer.body.contains(name), "{answer:?}");
        wait_for("lines of the build and of the app", || {
            let logs = cupola.ok(&["logs", name, "--recent", "--lines", "1000"]);
            (logs.contains("[STG/0]") && logs.contains("[APP/PROC/WEB/0]")).then_some(())
        });
        cupola.ok(&["scale", name, "--instances", "2"]).says("2 instances");
        cupola.ok(&["restart", name]);
        cupola.ok(&["delete", name, "--yes"]);
        platform.wait_for_status(name, 404);
    }
    cupola.ok(&["apps", "--json"]).says("[]");
}

#[test]
fn flask_app_is_pushed() {
    let pushed = Pushed::push("flask");

    let scheme = pushed.platform.get("flask", "/scheme").body;
    assert!(scheme.contains("flask.apps.localhost"), "{scheme}");

    pushed.lives();
}

#[test]
fn go_app_is_pushed() {
    let pushed = Pushed::push("go");

    // Compiling the standard library takes half a minute; the second push has it in its cache.
    let path = pushed.cf.directory.to_str().unwrap();
    let again = pushed.platform.cupola().ok(&["push", "go", "--path", path]);
    again.says("go is running").says("go.apps.localhost");
    pushed.answers("go sample");

    pushed.lives();
}

#[test]
fn web_and_worker_run_side_by_side() {
    let pushed = Pushed::push("worker");
    let cf = &pushed.cf;
    cf.ok(&["app", "worker"]).says("type:           web").says("type:           worker");
    wait_for("a tick", || {
        let logs = recent_logs(cf, "worker");
        (logs.contains("[APP/PROC/WORKER/0]") && logs.contains("tick 1")).then_some(())
    });

    cf.ok(&["scale", "worker", "--process", "worker", "-i", "2"]);
    wait_for("the second worker's tick", || {
        recent_logs(cf, "worker").contains("[APP/PROC/WORKER/1]").then_some(())
    });

    pushed.lives();
}
