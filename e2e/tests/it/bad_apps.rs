//! Apps that misbehave, each told apart by `cf push`, `cf app`, `cf events`, the log and `cupola why`.

use crate::{
    apps::{misfit, push, push_misfit, recent_logs, stats},
    cli::{Cli, Ran},
    platform::{Platform, wait_for},
};

/// Pushes an app that cannot become healthy, and what every such app has in common.
fn push_in_vain(platform: &Platform, name: &str, way: &str) -> (Cli, Ran) {
    let cf = platform.cf_admin_beside(name);
    let command = format!("./misfit {way}");
    // -t is the time to become healthy.
    let more = ["-c", command.as_str(), "-t", "2"];
    let pushed = push(&cf, name, &misfit(platform, name), &more);
    assert_eq!(pushed.code, Some(1), "{pushed}");
    pushed.says("TIP").says(&format!("cf logs {name} --recent"));
    wait_for("a crash event", || cf.ok(&["events", name]).contains("app.crash").then_some(()));
    (cf, pushed)
}

/// The same sentence is told wherever somebody may look for it.
#[track_caller]
fn is_told_everywhere(platform: &Platform, cf: &Cli, name: &str, sentence: &str) {
    cf.ok(&["events", name]).says(sentence);
    platform.cupola().ok(&["why", name]).says(sentence);
    let told = wait_for("the details of the crashed instance", || {
        let stats = stats(cf, name);
        let details = stats.first()?["details"].as_str()?.to_owned();
        Some((details, cf.ok(&["app", name])))
    });
    let (details, shown) = told;
    assert!(details.contains(sentence), "{details:?}");
    // A column of the instance's own line is the same text, whole.
    let line = shown.stdout.lines().find(|line| line.starts_with("#0")).expect("a line of #0");
    let columns: Vec<&str> = line.split("   ").map(str::trim).collect();
    assert_eq!(columns[1], "crashed", "{line:?}");
    assert!(columns.contains(&details.as_str()), "{line:?}, {details:?}");
}

#[test]
fn apps_that_do_not_start_are_told_apart() {
    let platform = Platform::start();

    std::thread::scope(|scope| {
        scope.spawn(|| exits_at_once(&platform));
        scope.spawn(|| listens_nowhere(&platform));
        scope.spawn(|| listens_elsewhere(&platform));
        scope.spawn(|| listens_on_loopback_only(&platform));
        scope.spawn(|| has_no_such_command(&platform));
    });
}

fn exits_at_once(platform: &Platform) {
    let (cf, _) = push_in_vain(platform, "leaves", "exit 7");

    is_told_everywhere(platform, &cf, "leaves", "Exited with status 7");
    recent_logs(&cf, "leaves").says("misfit: exit").says("exited with code 7");
    platform.cupola().ok(&["why", "leaves"]).says("started again at once");
}

fn listens_nowhere(platform: &Platform) {
    let (cf, _) = push_in_vain(platform, "silent", "silent");

    is_told_everywhere(platform, &cf, "silent", "it listens on no port");
    recent_logs(&cf, "silent").says("it listens on no port");
}

fn listens_elsewhere(platform: &Platform) {
    let (cf, _) = push_in_vain(platform, "elsewhere", "elsewhere");

    is_told_everywhere(platform, &cf, "elsewhere", "it listens on port 9999");
    recent_logs(&cf, "elsewhere").says("9999").says("$PORT");
}

fn listens_on_loopback_only(platform: &Platform) {
    let (cf, _) = push_in_vain(platform, "inward", "loopback");

    is_told_everywhere(platform, &cf, "inward", "it listens on 127.0.0.1 only");
    recent_logs(&cf, "inward").says("0.0.0.0");
}

fn has_no_such_command(platform: &Platform) {
    let cf = platform.cf_admin_beside("nothing");
    let more = ["-c", "./not-there", "-t", "2"];
    let pushed = push(&cf, "nothing", &misfit(platform, "nothing"), &more);

    assert_eq!(pushed.code, Some(1), "{pushed}");
    is_told_everywhere(platform, &cf, "nothing", "Exited with status 127");
    recent_logs(&cf, "nothing").says("not-there");
}

#[test]
fn app_that_eats_its_memory_is_told_to_have_done_so() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    push_misfit(&platform, &cf, "hungry", &[]);

    assert_eq!(platform.get("hungry", "/eat").status, 200);
    wait_for("the crash", || cf.ok(&["events", "hungry"]).contains("app.crash").then_some(()));

    cf.ok(&["events", "hungry"]).says("out of memory: more than its 32 MiB");
    let why = platform.cupola().ok(&["why", "hungry"]);
    why.says("out of memory: more than its 32 MiB").says("memory peak");
    recent_logs(&cf, "hungry").says("out of memory: it used more than its 32 MiB");
    wait_for("it to run again", || (stats(&cf, "hungry")[0]["state"] == "RUNNING").then_some(()));
    assert_eq!(platform.get("hungry", "/").status, 200);

    let more = ["-c", "./misfit eat", "-t", "5"];
    let starved = push(&cf, "starved", &misfit(&platform, "starved"), &more);
    assert_eq!(starved.code, Some(1), "{starved}");
    is_told_everywhere(&platform, &cf, "starved", "out of memory: more than its 32 MiB");
}
