//! The first thing that ever worked: a prebuilt binary by the real `cf`, from push to delete.

use crate::{
    apps::binary_app,
    platform::{Platform, wait_for},
};

#[test]
fn prebuilt_binary_is_pushed_served_logged_and_deleted() {
    let platform = Platform::start();
    let folder = binary_app(&platform, "hello");
    let cf = platform.cf_admin();

    let push = cf.ok(&["push", "hello", "-p", folder.to_str().unwrap(), "-b", "binary_buildpack"]);
    push.says("running").says("hello.apps.localhost");

    let answer = platform.get("hello", "/");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("binary"), "{answer:?}");
    let logs = wait_for("the request in the logs", || {
        let logs = cf.ok(&["logs", "hello", "--recent"]);
        logs.contains("[RTR/0]").then_some(logs)
    });
    logs.says("[STG/0]").says("[APP/PROC/WEB/0]");
    cf.ok(&["app", "hello"]).says("#0   running");

    cf.ok(&["delete", "hello", "-r", "-f"]);
    platform.wait_for_status("hello", 404);
    cf.ok(&["apps"]).says("No apps found");
}
