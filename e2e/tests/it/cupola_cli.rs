//! `cupola`, for those without `cf`: as the administrator of the machine, and logged in.

use crate::{
    apps::binary_app,
    platform::{Platform, wait_for},
};

#[test]
fn an_app_lives_its_life_by_cupola_alone() {
    let platform = Platform::start();
    let cupola = platform.cupola();
    let folder = binary_app(&platform, "hello");
    let path = folder.to_str().unwrap();

    cupola.ok(&["push", "hello", "--path", path]).says("hello.apps.localhost");
    assert_eq!(platform.get("hello", "/").status, 200);
    cupola.ok(&["push", "hello", "--path", path]).says("known already");
    cupola.ok(&["apps"]).says("hello").says("started");
    cupola.ok(&["app", "hello"]).says("running");
    cupola.ok(&["logs", "hello", "--recent"]).says("[APP/PROC/WEB/0]").says("[STG/0]");
    cupola.ok(&["env", "hello", "--set", "COLOUR=blue"]).says("COLOUR=blue");
    cupola.ok(&["restart", "hello"]);
    let environment = platform.get("hello", "/env");
    assert!(environment.body.contains("COLOUR=blue"), "{environment:?}");
    cupola.ok(&["env", "hello", "--unset", "COLOUR"]).does_not_say("COLOUR");
    cupola.ok(&["push", "hello", "--path", path, "--rolling"]).says("one by one");
    cupola.ok(&["restart", "hello", "--rolling"]).says("hello is running");
    cupola.ok(&["revisions", "hello"]).says("Initial revision.").says("yes");
    let rolled = cupola.ok(&["rollback", "hello"]);
    rolled.says("hello runs revision");
    cupola.ok(&["rollback", "hello", "--to", "1"]).says("hello runs revision 1 again");
    cupola.fails(&["rollback", "hello", "--to", "77"]).says("there is no revision 77");
    cupola.ok(&["scale", "hello", "--instances", "2"]).says("2 instances");
    cupola.ok(&["map-route", "hello", "other.apps.localhost"]);
    cupola.ok(&["map-route", "hello", "third.apps.localhost/deep"]);
    cupola.ok(&["routes"]).says("other.apps.localhost").says("third.apps.localhost/deep");
    assert_eq!(platform.get("other", "/").status, 200);
    cupola.ok(&["stop", "hello"]);
    wait_for("the route to answer no more", || {
        (platform.get("hello", "/").status == 503).then_some(())
    });
    cupola.ok(&["start", "hello"]);
    assert_eq!(platform.get("hello", "/").status, 200);
    cupola.ok(&["why", "hello"]).says(" running since ");
    cupola.ok(&["status"]).says("serving").says("1 started");
    cupola.fails(&["delete", "hello"]).says("--yes");
    cupola.ok(&["delete", "hello", "--yes"]);
    platform.wait_for_status("hello", 404);
}

#[test]
fn output_for_programs_and_exit_codes_can_be_relied_on() {
    let platform = Platform::start();
    let cupola = platform.cupola();

    let apps = cupola.ok(&["apps", "--json"]).stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&apps).unwrap().is_array());
    let status = cupola.ok(&["status", "--json"]).stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&status).unwrap().is_object());
    cupola.ok(&["completions", "bash"]).says("cupola");
    cupola.ok(&["doctor"]).says("OCI runtime");
    assert_eq!(cupola.run(&["app", "none"]).code, Some(1));
    assert_eq!(cupola.run(&["app"]).code, Some(2));
    assert_eq!(cupola.run(&["no-such-verb"]).code, Some(2));
}

#[test]
fn login_with_a_password_file_works_from_elsewhere() {
    let platform = Platform::start();
    let mut elsewhere = platform.cupola();
    let home = platform.app_folder("home");
    elsewhere.environment = vec![
        ("CUPOLA_RUN_DIR".to_owned(), "/nonexistent".to_owned()),
        ("HOME".to_owned(), home.to_str().unwrap().to_owned()),
    ];
    let password = home.join("password");
    std::fs::write(&password, platform.admin_password()).unwrap();
    let url = format!("http://{}", platform.api);

    elsewhere.fails(&["apps"]).says("not logged in");
    elsewhere.ok(&["login", &url, "--password-file", password.to_str().unwrap()]);
    elsewhere.ok(&["apps"]);

    std::fs::write(&password, "wrong").unwrap();
    elsewhere.fails(&["login", &url, "--password-file", password.to_str().unwrap()]);
}
