//! Commands that run once beside an app.

use crate::{
    apps::{binary_app, push, recent_logs},
    platform::{Platform, command_lines, wait_for},
};

#[test]
fn cf_runs_tasks_and_tells_how_they_ended() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    let pushed = push(&cf, "shop", &binary_app(&platform, "shop"), &["--task"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");

    let good = "echo from $VCAP_APPLICATION $MEMORY_LIMIT; cat /proc/1/comm";
    let ran =
        cf.ok(&["run-task", "shop", "--command", good, "--name", "migrate", "-m", "48M", "--wait"]);
    ran.says("Task has been submitted successfully for execution.").says("migrate");
    let logs = recent_logs(&cf, "shop");
    logs.says("[APP/TASK/migrate/0] OUT from {").says("48m");

    let bad = cf.run(&["run-task", "shop", "--command", "exit 3", "--name", "bad", "--wait"]);
    assert_eq!(bad.code, Some(1), "{bad}");
    cf.types("task shop 2").says("FAILED").says("Exited with status 3");
    let hungry = "head -c 200m /dev/zero | tail -n 1 > /dev/null";
    cf.run(&["run-task", "shop", "--command", hungry, "--name", "hungry", "-m", "32M", "--wait"]);
    cf.types("task shop 3").says("FAILED").says("out of memory");

    cf.ok(&["run-task", "shop", "--command", "sleep 60731", "--name", "long"]);
    let sleeping = wait_for("the task to run", sleeper);
    platform.kill_control();
    platform.up();
    assert_eq!(sleeper(), Some(sleeping));
    let tasks = cf.types("tasks shop");
    tasks.says("long").says("RUNNING").says("SUCCEEDED").says("FAILED");
    cf.types("terminate-task shop 4").says("OK");
    wait_for("the task to end", || {
        cf.types("task shop 4").stdout.contains("task was cancelled").then_some(())
    });
    assert_eq!(sleeper(), None);
    cf.is_refused("terminate-task shop 4").says("cannot be canceled");
    cf.is_refused("terminate-task shop 99").says("Task sequence ID 99 not found.");
    cf.types("events shop").says("audit.app.task.create").says("audit.app.task.cancel");
    cf.types("delete -f -r shop").says("OK");
}

/// The process that the long task consists of.
fn sleeper() -> Option<u32> {
    let mut lines = command_lines().into_iter();
    lines.find(|(_, line)| line.starts_with("sleep\x0060731")).map(|(pid, _)| pid)
}
