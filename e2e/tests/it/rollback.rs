//! `cupola rollback` and `cf rollback --strategy canary`, while requests come in.

use crate::{
    apps::{are_all_running, files, push},
    cli::Cli,
    load::Load,
    platform::{Platform, wait_for},
};

const PROCFILE: &str = "web: python3 -m http.server $PORT\n";

fn push_version(platform: &Platform, cf: &Cli, version: &str, more: &[&str]) {
    let parts = [("Procfile", PROCFILE), ("index.html", version)];
    let folder = files(platform, version, &parts);
    let pushed = push(cf, "shop", &folder, more);
    assert_eq!(pushed.code, Some(0), "{pushed}");
}

fn routes(cf: &Cli) -> Vec<String> {
    let guid = crate::apps::guid(cf, "shop");
    let routes = cf.json(&format!("/v3/apps/{guid}/routes"));
    let routes = routes["resources"].as_array().unwrap().clone();
    routes.iter().map(|route| route["url"].as_str().unwrap().to_owned()).collect()
}

fn instances(cf: &Cli) -> u64 {
    let guid = crate::apps::guid(cf, "shop");
    cf.json(&format!("/v3/processes/{guid}"))["instances"].as_u64().unwrap()
}

#[track_caller]
fn only_answers(platform: &Platform, version: &str) {
    wait_for(version, || {
        let is_of_it = |_| platform.get("shop", "/").body.contains(version);
        (0..20).all(is_of_it).then_some(())
    });
}

#[test]
fn rollback_restores_scale_routes_and_bindings_without_a_failed_request() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let cupola = platform.cupola();
    push_version(&platform, &cf, "VERSION-1", &["-i", "2"]);
    let before = routes(&cf);
    cf.ok(&["cups", "db", "-p", r#"{"uri":"db://one"}"#]);
    cf.ok(&["bind-service", "shop", "db"]);
    let load = Load::start(&platform, "shop");
    load.wait_for_more(50);
    push_version(&platform, &cf, "VERSION-2", &["-i", "3", "--strategy", "rolling"]);
    let domain = before[0].split_once('.').unwrap().1.to_owned();
    cf.ok(&["map-route", "shop", &domain, "-n", "extra"]);
    cf.ok(&["unbind-service", "shop", "db"]);

    let told = cupola.ok(&["rollback", "shop", "--dry-run"]);
    told.says("shop goes from revision 2 to revision 1:").says("web 3 -> 2 instances");
    told.says(&format!("route away   extra.{domain}")).says("bind         db");
    assert_eq!(instances(&cf), 3);
    let done = cupola.ok(&["rollback", "shop"]);

    done.says("shop runs revision 1 again, as revision 3");
    only_answers(&platform, "VERSION-1");
    assert_eq!(instances(&cf), 2);
    assert_eq!(routes(&cf), before);
    cf.types("env shop").says("db://one");
    cf.types("revision shop --version 3").says("Restored scale, routes and bindings.");
    load.wait_for_more(50);
    load.expect_no_failure();
}

#[test]
fn canary_rollback_waits_beside_the_present_version() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let cupola = platform.cupola();
    push_version(&platform, &cf, "VERSION-1", &[]);
    push_version(&platform, &cf, "VERSION-2", &[]);
    wait_for("the instance", || are_all_running(&cf, "shop").then_some(()));
    let load = Load::start(&platform, "shop");
    load.wait_for_more(50);

    let paused = cf.types("rollback shop --version 1 -f --strategy canary");
    paused.says("Active deployment with status PAUSED");
    cf.types("continue-deployment shop").says("running");
    only_answers(&platform, "VERSION-1");

    let paused = cupola.ok(&["rollback", "shop", "--to", "2", "--canary"]);
    paused.says("shop runs an instance of revision 2, as revision 4");
    cf.types("cancel-deployment shop").says("OK");
    only_answers(&platform, "VERSION-1");
    load.wait_for_more(50);
    load.expect_no_failure();
}
