//! Processes of the platform die, at the worst time, and no running app is lost.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::{
    apps::{
        are_all_running, binary_app, guid, instance_ids, misfit, push, push_misfit, recent_logs,
        whole_log,
    },
    cli::Cli,
    load::Load,
    platform::{PATIENCE, Platform, send_signal, wait_for},
};

/// Waits until the log of an app has a line with this text.
#[track_caller]
fn wait_for_line(cf: &Cli, app: &str, text: &str) {
    wait_for(text, || whole_log(cf, app).contains(text).then_some(()));
}

#[test]
fn apps_outlive_the_death_of_control_and_are_adopted_by_the_next() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    push_misfit(&platform, &cf, "steady", &["-i", "2"]);
    wait_for("both instances", || are_all_running(&cf, "steady").then_some(()));
    let ids = instance_ids(&cf, "steady");
    let load = Load::start(&platform, "steady");
    load.wait_for_more(50);

    platform.kill_control();
    load.wait_for_more(200);
    assert_eq!(platform.get("steady", "/while-away").status, 200);

    platform.up();
    assert_eq!(instance_ids(&cf, "steady"), ids);
    wait_for_line(&cf, "steady", "asked for /while-away");
    assert_eq!(platform.get("steady", "/after-adoption").status, 200);
    wait_for_line(&cf, "steady", "asked for /after-adoption");

    let said = platform.interrupt_control();
    assert!(said.contains("Apps and routing go on"), "{said}");
    assert!(said.contains("cupola down"), "{said}");
    load.wait_for_more(200);

    platform.up();
    wait_for("both instances", || are_all_running(&cf, "steady").then_some(()));
    assert_eq!(instance_ids(&cf, "steady"), ids);
    load.wait_for_more(50);
    load.expect_no_failure();
    cf.ok(&["events", "steady"]).does_not_say("crash");
    cf.ok(&["delete", "steady", "-f", "-r"]);
    platform.wait_for_status("steady", 404);
}

#[test]
fn database_that_was_put_back_from_a_copy_routes_again() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    push_misfit(&platform, &cf, "before", &[]);
    platform.interrupt_control();
    let copy = platform.folder().join("copy");
    copy_database(&platform.data_dir(), &copy);
    // The router serves a table of an epoch that the copy has not seen, and keeps it on disk.
    platform.up();
    cf.ok(&["map-route", "before", "apps.localhost", "-n", "forgotten"]);
    platform.wait_for_status("forgotten", 200);
    platform.interrupt_control();

    copy_database(&copy, &platform.data_dir());
    platform.up();

    platform.wait_for_status("forgotten", 404);
    cf.ok(&["map-route", "before", "apps.localhost", "-n", "after"]);
    platform.wait_for_status("after", 200);

    platform.down();
    copy_database(&copy, &platform.data_dir());
    platform.up();
    cf.ok(&["map-route", "before", "apps.localhost", "-n", "again"]);
    platform.wait_for_status("again", 200);
}

fn copy_database(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["cupola.db", "cupola.db-wal", "cupola.db-shm"] {
        let _none = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn router_shim_and_app_are_replaced_when_they_die() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    push_misfit(&platform, &cf, "tough", &[]);

    router_dies(&mut platform);
    shim_dies(&platform, &cf);
    instance_crashes(&platform, &cf);
}

fn router_dies(platform: &mut Platform) {
    let before = platform.pids("router");
    assert_eq!(before.len(), 1);
    send_signal("KILL", before[0]);

    wait_for("another router", || {
        let now = platform.pids("router");
        (now.len() == 1 && now != before).then_some(())
    });
    // The table may be younger than the last save, a moment ago: then control hands it over.
    wait_for("the app behind it", || {
        platform.try_get("tough", "/").filter(|answer| answer.status == 200)
    });

    // Control, which would start it again, is dead too: the next one does.
    let before = platform.pids("router");
    platform.kill_control();
    send_signal("KILL", before[0]);
    platform.up();
    wait_for("the app", || platform.try_get("tough", "/").filter(|answer| answer.status == 200));
}

fn shim_dies(platform: &Platform, cf: &Cli) {
    let ids = instance_ids(cf, "tough");
    let before = platform.pids("shim");
    let load = Load::start(platform, "tough");
    before.iter().for_each(|pid| send_signal("KILL", *pid));

    wait_for("another shim", || {
        let now = platform.pids("shim");
        (now.len() == 1 && now != before).then_some(())
    });
    load.wait_for_more(100);
    load.expect_no_failure();
    assert_eq!(platform.get("tough", "/after-the-shim").status, 200);
    wait_for_line(cf, "tough", "asked for /after-the-shim");
    assert_eq!(instance_ids(cf, "tough"), ids);
    assert!(are_all_running(cf, "tough"));
}

fn instance_crashes(platform: &Platform, cf: &Cli) {
    let ids = instance_ids(cf, "tough");
    assert_eq!(platform.get("tough", "/exit/3").status, 200);

    wait_for("the instance after it", || {
        (are_all_running(cf, "tough") && instance_ids(cf, "tough") != ids).then_some(())
    });
    assert_eq!(platform.get("tough", "/").status, 200);
    cf.ok(&["events", "tough"]).says("app.crash").says("Exited with status 3");
    let why = platform.cupola().ok(&["why", "tough"]);
    why.says("Exited with status 3").says("started again at once").says("running");
    recent_logs(cf, "tough").says("exited with code 3");
}

#[test]
fn job_survives_the_death_of_control() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    cf.ok(&["create-org", "doomed"]);
    for space in ["one", "two", "three"] {
        cf.ok(&["create-space", space, "-o", "doomed"]);
    }
    let org = cf.ok(&["org", "doomed", "--guid"]).stdout.trim().to_owned();

    let answer = cf.ok(&["curl", "-i", "-X", "DELETE", &format!("/v3/organizations/{org}")]);
    platform.kill_control();
    answer.says("202 Accepted");
    let job = answer.stdout.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
    let job = job[job.find("/v3/jobs/").unwrap()..].trim().to_owned();
    platform.up();

    wait_for("the job to be at its end", || {
        let state = cf.json(&job)["state"].as_str().unwrap().to_owned();
        assert_ne!(state, "FAILED");
        (state == "COMPLETE").then_some(())
    });
    cf.fails(&["org", "doomed"]).says("Organization 'doomed' not found");
    cf.ok(&["orgs"]).says("default").does_not_say("doomed");
}

#[test]
fn push_works_after_control_was_killed_in_the_middle_of_one() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    push_misfit(&platform, &cf, "old", &[]);
    let folder = misfit(&platform, "new");

    for moment in ["Waiting for API to complete", "Staging app", "Waiting for app"] {
        let arguments = ["push", "new", "-p", folder.to_str().unwrap(), "-b", "binary_buildpack"];
        let mut child = cf.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let child = child.as_mut().unwrap();
        wait_until_it_says(child, moment);
        platform.kill_control();
        end(child);
        assert_eq!(platform.get("old", "/").status, 200);

        platform.up();
        let again = push(&cf, "new", &folder, &[]);
        assert_eq!(again.code, Some(0), "after `{moment}`: {again}");
        assert_eq!(platform.get("new", "/").status, 200);
        cf.ok(&["delete", "new", "-f", "-r"]);
    }
    cf.ok(&["apps"]).says("old").does_not_say("new");
    assert_eq!(stale_uploads(&platform), 0);
}

fn wait_until_it_says(child: &mut Child, text: &str) {
    let mut output = child.stdout.take().unwrap();
    let (mut said, mut piece) = (Vec::new(), [0; 512]);
    while !String::from_utf8_lossy(&said).contains(text) {
        let length = output.read(&mut piece).unwrap();
        assert_ne!(length, 0, "`{text}` is not in:\n{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&piece[..length]);
    }
    // What it says from now on is of no interest, but it must not fail on a closed pipe.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
}

/// Lets a client notice that nobody answers, or ends it.
fn end(child: &mut Child) {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    assert!(!child.wait().unwrap().success());
}

fn stale_uploads(platform: &Platform) -> usize {
    std::fs::read_dir(platform.data_dir().join("uploads")).map_or(0, Iterator::count)
}

#[test]
fn stopping_waits_for_an_app_that_ignores_sigterm_and_then_kills_it() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let deaf = push(&cf, "deaf", &misfit(&platform, "deaf"), &["-c", "./misfit deaf"]);
    assert_eq!(deaf.code, Some(0), "{deaf}");
    let polite = binary_app(&platform, "polite");
    assert_eq!(push(&cf, "polite", &polite, &[]).code, Some(0));
    let app = guid(&cf, "deaf");

    let started = Instant::now();
    cf.ok(&["stop", "polite"]);
    wait_for_line(&cf, "polite", "stopping");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());

    let started = Instant::now();
    cf.ok(&["stop", "deaf"]);
    wait_for_line(&cf, "deaf", "killed after the grace time");
    assert!(started.elapsed() > Duration::from_secs(9), "{:?}", started.elapsed());
    assert!(started.elapsed() < PATIENCE);
    let stats = cf.json(&format!("/v3/apps/{app}/processes/web/stats"));
    assert_ne!(stats["resources"][0]["state"], "RUNNING", "{stats}");
    cf.ok(&["events", "deaf"]).does_not_say("crash");
    let cupola = platform.cupola();
    wait_for("the platform to tell why it took so long", || {
        let why = cupola.ok(&["why", "deaf"]).stdout;
        why.contains("it did not end on SIGTERM and was killed").then_some(())
    });
    cupola.ok(&["why", "polite"]).does_not_say("SIGTERM");
}
