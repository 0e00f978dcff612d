//! Whatever replaces, stops or moves instances while every kind of request is under way: none fails.

use e2e::load::{Kind, Report};

use crate::{
    apps::{are_all_running, files, guid, instance_ids, push},
    cli::Cli,
    load::Load,
    platform::{Platform, send_signal, wait_for},
};

const SERVER: &str = include_str!("../../apps/steady.py");

fn push_steady(platform: &Platform, cf: &Cli, name: &str, instances: &str) {
    let command = "web: python3 steady.py\n";
    let folder = files(platform, name, &[("steady.py", SERVER), ("Procfile", command)]);
    let pushed = push(cf, name, &folder, &["-i", instances, "-m", "64M"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    wait_for("all instances", || are_all_running(cf, name).then_some(()));
}

/// Does it while requests come in, and looks at what became of them.
#[track_caller]
fn loses_nothing(load: &Load, what: &str, action: impl FnOnce()) {
    let before = load.report();
    load.wait_for_more(1);

    action();

    load.wait_for_more(1);
    let after = load.report();
    assert_eq!(after.failed, before.failed, "{what}: {after:?}");
    assert_eq!(after.retried, before.retried, "{what}: {after:?}");
}

#[test]
fn nothing_that_changes_instances_loses_a_request() {
    let platform = Platform::start();
    let (cf, cupola) = (platform.cf_admin(), platform.cupola());
    push_steady(&platform, &cf, "shop", "2");
    let load = Load::of(&platform, "shop", &Kind::ALL);

    loses_nothing(&load, "rolling", || {
        cf.ok(&["set-env", "shop", "WORD", "second"]);
        let rolled = cupola.ok(&["restart", "shop", "--rolling"]);
        rolled.says("requests of its users").says(" 0 failed").says("p99");
        rolled.does_not_say("unknown");
    });
    loses_nothing(&load, "canary, continued", || {
        cf.ok(&["restart", "shop", "--strategy", "canary"]).says("PAUSED");
        cf.ok(&["continue-deployment", "shop"]).says("running");
    });
    loses_nothing(&load, "canary, cancelled", || {
        let ids = instance_ids(&cf, "shop");
        cf.ok(&["restart", "shop", "--strategy", "canary"]).says("PAUSED");
        cf.ok(&["cancel-deployment", "shop"]).says("OK");
        wait_for("the old instances", || (instance_ids(&cf, "shop") == ids).then_some(()));
    });
    loses_nothing(&load, "rollback", || {
        cupola.ok(&["rollback", "shop"]).says("runs revision 1 again").says(" 0 failed");
    });
    loses_nothing(&load, "scale", || {
        cf.ok(&["scale", "shop", "-i", "1"]);
        wait_for("one instance", || (instance_ids(&cf, "shop").len() == 1).then_some(()));
        cf.ok(&["scale", "shop", "-i", "2"]);
        wait_for("two instances", || are_all_running(&cf, "shop").then_some(()));
    });
    loses_nothing(&load, "restart of one instance", || {
        let ids = instance_ids(&cf, "shop");
        cf.ok(&["restart-app-instance", "shop", "0"]);
        wait_for("another instance", || {
            let is_another = instance_ids(&cf, "shop")[0] != ids[0];
            (is_another && are_all_running(&cf, "shop")).then_some(())
        });
    });
    assert_ne!(load.report().gone_away, 0, "no WebSocket was told to go away");
    load.expect_no_failure();
    let deployments = format!(
        "/v3/audit_events?types=audit.app.deployment.cost&target_guids={}",
        guid(&cf, "shop")
    );
    let events = cf.json(&deployments);
    let events = events["resources"].as_array().unwrap();
    // Each deployment is summed up at the latest when the next one begins.
    assert!(!events.is_empty(), "no deployment says what it cost");
    let failed = |event: &serde_json::Value| event["data"]["during"]["failed"] == 0;
    assert!(events.iter().all(failed), "{events:#?}");
}

#[test]
fn restarts_of_control_and_router_refuse_nobody() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    push_steady(&platform, &cf, "shop", "1");
    let load = Load::of(&platform, "shop", &Kind::ALL);

    loses_nothing(&load, "death of control", || {
        platform.kill_control();
        load.wait_for_more(1);
        platform.up();
    });
    router_ends(&platform, &load);
    router_is_replaced(&mut platform, &load);
    router_is_killed(&platform, &load);
    load.wait_for_more(1);
}

/// A router that is told to end makes way for the next one and finishes what it was given.
fn router_ends(platform: &Platform, load: &Load) {
    let (before, routers) = (load.report(), platform.pids("router"));

    send_signal("TERM", routers[0]);
    load.wait_for_more(1);

    loses_only_idle_connections(platform, load, &before, &routers);
}

/// With other settings a new router takes over what the old one listens on.
fn router_is_replaced(platform: &mut Platform, load: &Load) {
    let (before, routers) = (load.report(), platform.pids("router"));
    platform.end_control("INT");
    platform.add("--trusted-proxy", "192.0.2.1");

    platform.up();
    load.wait_for_more(1);

    loses_only_idle_connections(platform, load, &before, &routers);
}

/// Connections without a request are closed, which clients notice by asking; no request fails.
#[track_caller]
fn loses_only_idle_connections(platform: &Platform, load: &Load, before: &Report, routers: &[u32]) {
    wait_for("the end of the old router", || {
        let now = platform.pids("router");
        (now.len() == 1 && now != routers).then_some(())
    });
    load.wait_for_more(1);
    let after = load.report();
    assert_eq!(after.failed, before.failed, "{after:?}");
    assert!(after.retried - before.retried <= Kind::ALL.len() as u64, "{after:?}");
}

/// A router that is killed takes what is under way with it, one request of each client at most; who
/// connects meanwhile waits for the next one.
fn router_is_killed(platform: &Platform, load: &Load) {
    let (before, routers) = (load.report(), platform.pids("router"));

    send_signal("KILL", routers[0]);
    wait_for("another router", || {
        let now = platform.pids("router");
        (now.len() == 1 && now != routers).then_some(())
    });

    load.wait_for_more(3);
    let after = load.report();
    assert_eq!(after.refused, 0, "{after:?}");
    assert_eq!(after.wrong, before.wrong, "{after:?}");
    assert!(after.failed - before.failed <= Kind::ALL.len() as u64, "{after:?}");
}
