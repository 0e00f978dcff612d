//! Builds that fail, hang or flood their output: told to the user, and no harm to anything else.

use std::{path::PathBuf, process::Stdio, time::Instant};

use crate::{
    apps::{files, guid, push_misfit, recent_logs, whole_log},
    cli::Cli,
    load::Load,
    platform::{Platform, command_lines, wait_for},
    running::cpu_shares,
};

const SERVER: &str =
    "require('http').createServer((_, answer) => answer.end('up\\n')).listen(process.env.PORT)\n";

/// A Node.js app whose build runs this shell command.
fn app_with_build(platform: &Platform, name: &str, build: &str) -> PathBuf {
    let scripts = serde_json::json!({ "heroku-prebuild": build, "start": "node server.js" });
    let package = serde_json::json!({ "name": name, "version": "1.0.0", "scripts": scripts });
    files(platform, name, &[("package.json", &package.to_string()), ("server.js", SERVER)])
}

#[test]
fn builds_that_fail_hang_or_flood_harm_nobody_else() {
    let platform = Platform::start_with(&["--staging-minutes-max", "1"]);
    let cf = platform.cf_admin();
    push_misfit(&platform, &cf, "bystander", &[]);
    let load = Load::start(&platform, "bystander");

    std::thread::scope(|scope| {
        scope.spawn(|| hangs(&platform));
        scope.spawn(|| {
            fails(&platform);
            floods(&platform);
            is_deleted_while_it_is_staged(&platform);
        });
    });

    load.expect_no_failure();
    let status = platform.cupola().ok(&["status"]);
    status.says("0 builds");
    assert!(sandboxes(&platform).is_empty(), "{:?}", sandboxes(&platform));
}

fn fails(platform: &Platform) {
    let cf = platform.cf_admin_beside("fails");
    let folder = app_with_build(platform, "fails", "echo the reason is here && exit 9");

    let pushed = cf.fails(&["push", "fails", "-p", folder.to_str().unwrap(), "-m", "64M"]);

    pushed.says("BuildpackCompileFailed");
    recent_logs(&cf, "fails").says("the reason is here");
    let why = platform.cupola().ok(&["why", "fails"]);
    why.says("last build failed").says("nodejs_buildpack");
    cf.ok(&["app", "fails"]).does_not_say("running");
    platform.wait_for_status("fails", 503);
    cf.fails(&["start", "fails"]);
}

fn hangs(platform: &Platform) {
    let cf = platform.cf_admin_beside("hangs");
    let folder = app_with_build(platform, "hangs", "echo now it hangs && sleep 3600");
    let started = Instant::now();

    let pushed = cf.fails(&["push", "hangs", "-p", folder.to_str().unwrap(), "-m", "64M"]);

    assert!((60..90).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    pushed.says("now it hangs").says("Staging took longer than the 60 seconds");
    platform.cupola().ok(&["why", "hangs"]).says("Staging took longer than the 60 seconds");
}

fn floods(platform: &Platform) {
    let cf = platform.cf_admin_beside("floods");
    let flood = "yes flood | head -c 4000000; sleep 3 && echo the flood is over";
    let folder = app_with_build(platform, "floods", flood);

    cf.ok(&["push", "floods", "-p", folder.to_str().unwrap(), "-m", "64M"]).says("running");

    assert_eq!(platform.get("floods", "/").status, 200);
    let log = wait_for("the last line of the build", || {
        let log = recent_logs(&cf, "floods");
        log.contains("Staging complete").then_some(log)
    });
    log.says("the flood is over");
}

fn is_deleted_while_it_is_staged(platform: &Platform) {
    let cf = platform.cf_admin_beside("deleted");
    let beside = platform.cf_admin_beside("deletes");
    let folder = app_with_build(platform, "deleted", "echo it waits && sleep 3600");
    let folder = folder.to_str().unwrap();
    let mut push = cf.command(&["push", "deleted", "-p", folder, "-m", "64M"]);
    let mut push = push.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the build to be where it hangs", || hangs_in_build(&beside, "deleted"));
    assert!(!sandboxes(platform).is_empty(), "this test looks in the wrong place");
    builds_have_a_low_weight();

    beside.ok(&["delete", "deleted", "-f", "-r"]);

    // The other one that hangs may go on.
    wait_for("the build to end", || (sandboxes(platform).len() <= 1).then_some(()));
    assert!(!push.wait().unwrap().success());
    beside.ok(&["apps"]).does_not_say("deleted");
}

/// A fifth of what an instance of 1 GiB has, which is 128.
fn builds_have_a_low_weight() {
    let is_build = |line: &str| line.split('\0').take(2).eq(["sleep", "3600"]);
    let builds = command_lines().into_iter().filter(|(_, line)| is_build(line));
    let weights: Vec<u64> = builds.map(|(pid, _)| cpu_shares(pid)).collect();
    assert!(!weights.is_empty(), "this test looks in the wrong place");
    assert!(weights.iter().all(|weight| *weight < 30), "{weights:?}");
}

fn hangs_in_build(cf: &Cli, app: &str) -> Option<()> {
    let is_there = cf.run(&["app", app, "--guid"]).code == Some(0);
    (is_there && !guid(cf, app).is_empty() && whole_log(cf, app).contains("it waits")).then_some(())
}

/// Builds that still run: their shims name the build.
fn sandboxes(platform: &Platform) -> Vec<String> {
    let run_dir = platform.run_dir().to_str().unwrap();
    let lines = command_lines().into_iter().map(|(_, line)| line);
    lines.filter(|line| line.contains(run_dir) && line.contains("build-")).collect()
}
