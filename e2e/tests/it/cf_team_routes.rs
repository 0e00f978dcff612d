//! Routes as a team uses them, from the command line to the answer of the router: blue and green,
//! options, weights, sharing and moving between spaces, domains that organisations share.

use crate::{
    apps::{binary_app, push},
    http,
    load::Load,
    platform::{Platform, wait_for},
};

/// The app that answers a request of a host, if one does.
fn who_answers(platform: &Platform, host: &str) -> Option<String> {
    let answer = http::get(platform.router, host, "/env").unwrap();
    let (_, rest) = answer.body.split_once("\"application_name\":\"")?;
    rest.split_once('"').map(|(name, _)| name.to_owned())
}

#[track_caller]
fn only_answers(platform: &Platform, host: &str, app: &str) {
    let is_app = |_| who_answers(platform, host).as_deref() == Some(app);
    wait_for(&format!("{app} at {host}"), || (0..20).all(is_app).then_some(()));
}

#[track_caller]
fn nobody_answers(platform: &Platform, host: &str) {
    wait_for(&format!("nobody at {host}"), || {
        (http::get(platform.router, host, "/").unwrap().status != 200).then_some(())
    });
}

#[test]
fn cf_blue_green_by_map_and_unmap_loses_no_request() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = binary_app(&platform, "app");
    let host = "site.apps.localhost";
    let pushed = push(&cf, "blue", &folder, &["--no-route"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    cf.types("map-route blue apps.localhost --hostname site");
    only_answers(&platform, host, "blue");
    let load = Load::start(&platform, "site");
    load.wait_for_more(50);

    let pushed = push(&cf, "green", &folder, &["--no-route"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    cf.types("map-route green apps.localhost --hostname site").says("OK");
    cf.types("unmap-route blue apps.localhost --hostname site").says("OK");
    cf.types("stop blue");

    only_answers(&platform, host, "green");
    load.wait_for_more(50);
    // And back, in the same way.
    cf.types("start blue");
    cf.types("map-route blue apps.localhost --hostname site");
    cf.types("unmap-route green apps.localhost --hostname site");
    cf.types("delete -f green");
    only_answers(&platform, host, "blue");
    load.wait_for_more(50);
    load.expect_no_failure();
}

#[test]
fn cf_route_options_decide_who_answers() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = binary_app(&platform, "app");
    for app in ["blue", "green"] {
        let pushed = push(&cf, app, &folder, &["--no-route"]);
        assert_eq!(pushed.code, Some(0), "{pushed}");
    }
    let host = "site.apps.localhost";
    let options = || cf.json("/v3/routes?hosts=site")["resources"][0]["options"].clone();

    cf.types("create-route apps.localhost --hostname site --option loadbalancing=least-connection")
        .says("Route site.apps.localhost has been created");
    cf.types("route apps.localhost --hostname site").says("least-connection");
    cf.is_refused("update-route apps.localhost --hostname site --option loadbalancing=hash")
        .says("must be one of 'round-robin, least-connection'");
    cf.types("enable-feature-flag hash_based_routing");
    cf.types(
        "update-route apps.localhost --hostname site --option loadbalancing=hash \
         --option hash_header=X-User --option hash_balance=1.5",
    )
    .says("Route site.apps.localhost has been updated");
    assert_eq!(options()["hash_balance"], "1.5");
    cf.types("update-route apps.localhost --hostname site --remove-option hash_balance");
    cf.types("update-route apps.localhost --hostname site --option loadbalancing=round-robin");
    assert_eq!(options(), serde_json::json!({ "loadbalancing": "round-robin" }));
    cf.types("update-route apps.localhost --hostname site --remove-option loadbalancing");
    assert_eq!(options(), serde_json::json!({}));

    // A weight of 100 leaves nothing to the app without one.
    cf.types("map-route blue apps.localhost --hostname site");
    let cupola = platform.cupola();
    cupola.ok(&["map-route", "green", host, "--weight", "100"]);
    only_answers(&platform, host, "green");
    let option = "loadbalancing=least-connection";
    cupola.ok(&["map-route", "green", host, "--weight", "50", "--option", option]);
    wait_for("both apps", || {
        let answers: Vec<_> = (0..40).filter_map(|_| who_answers(&platform, host)).collect();
        ["blue", "green"].iter().all(|app| answers.iter().any(|it| it == app)).then_some(())
    });
    assert_eq!(options()["loadbalancing"], "least-connection");
    cf.types("unmap-route green apps.localhost --hostname site");
    only_answers(&platform, host, "blue");
}

#[test]
fn cf_route_is_shared_with_another_space_moved_there_and_taken_back() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = binary_app(&platform, "app");
    let host = "site.apps.localhost";
    let pushed = push(&cf, "blue", &folder, &["--no-route"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    cf.types("map-route blue apps.localhost --hostname site");
    let own = cf.json("/v3/spaces")["resources"][0]["name"].as_str().unwrap().to_owned();
    cf.types("create-space other -o default");
    cf.is_refused("share-route apps.localhost --hostname site -s other").says("route_sharing");
    cf.types("enable-feature-flag route_sharing");
    cf.types("share-route apps.localhost --hostname site -s other").says("OK");
    cf.types("target -s other");
    let pushed = push(&cf, "green", &folder, &["--no-route"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    only_answers(&platform, host, "blue");
    let load = Load::start(&platform, "site");

    // The app of the other space joins, the route moves to it, and the first one leaves.
    cf.types("map-route green apps.localhost --hostname site").says("OK");
    cf.types(&format!("target -s {own}"));
    cf.types("move-route apps.localhost --hostname site -s other").says("OK");
    cf.types("target -s other");
    cf.types("routes").says("site").says("blue, green");
    cf.types(&format!("unshare-route apps.localhost --hostname site -s {own}")).says("OK");
    only_answers(&platform, host, "green");
    load.wait_for_more(50);
    load.expect_no_failure();

    cf.is_refused(&format!("move-route apps.localhost --hostname none -s {own}"))
        .says("Route with host 'none'");
    cf.types("delete-route -f apps.localhost --hostname site");
    nobody_answers(&platform, host);
}

#[test]
fn cf_domains_are_private_shared_and_taken_back() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = binary_app(&platform, "app");
    cf.types("create-org guest");
    cf.types("create-space dev -o guest");

    cf.types("create-private-domain default team.example").says("OK");
    cf.types("create-private-domain default team.example").says("already in use");
    // The command line takes this for success; the domain is not there all the same.
    cf.types("create-private-domain guest a.team.example").says("already in use");
    cf.types("create-shared-domain all.example").says("OK");
    let domains = cf.types("domains");
    domains.says("team.example").says("private").says("all.example");
    domains.does_not_say("a.team.example");
    cf.types("target -o guest -s dev");
    cf.types("domains").does_not_say("team.example");
    cf.is_refused("create-route team.example --hostname shop");
    cf.types("share-private-domain guest team.example").says("OK");
    cf.types("domains").says("team.example");
    let pushed = push(&cf, "shop", &folder, &["--no-route"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    cf.types("map-route shop team.example");
    only_answers(&platform, "team.example", "shop");

    let kept = cf.answers("unshare-private-domain guest team.example", &["y"]);
    kept.says("associated routes");
    assert_eq!(kept.code, Some(1), "{kept}");
    cf.types("delete-route -f team.example");
    nobody_answers(&platform, "team.example");
    cf.answers("unshare-private-domain guest team.example", &["y"]).says("OK");
    cf.types("domains").does_not_say("team.example");
    cf.types("target -o default");
    cf.types("delete-private-domain -f team.example").says("OK");
    cf.types("delete-shared-domain -f all.example").says("OK");
    cf.types("domains").does_not_say("team.example").does_not_say("all.example");
}
