//! Tasks, with every loop running.

use cupola_domain::{
    ids::{InstanceId, TaskId},
    instances::ExitCause,
};
use cupola_ports::cells::Work;
use cupola_testkit::{TestPlatform, http::Client};
use serde_json::{Value, json};

use crate::push::{platform, push};

async fn app(platform: &TestPlatform, client: &Client<'_>) -> String {
    let app = push(client, &platform.space.to_string(), "shop").await;
    client.get(&format!("/v3/processes/{app}/stats")).await.expect(200);
    app
}

async fn run(client: &Client<'_>, app: &str, body: Value) -> String {
    let task = client.post(&format!("/v3/apps/{app}/tasks"), body).await;
    assert_eq!(task.expect(202)["state"], "PENDING", "{}", task.text());
    task.guid()
}

fn instance(task: &str) -> InstanceId {
    InstanceId::from_uuid(task.parse::<TaskId>().unwrap().uuid())
}

/// Waits until the cell has the task.
async fn started(platform: &TestPlatform, task: &str) {
    let id = instance(task);
    let mut desired = platform.cells.watch_desired();
    desired.wait_for(|desired| desired.iter().any(|one| one.id == id)).await.unwrap();
}

#[tokio::test]
async fn task_runs_once_with_its_own_limits_and_succeeds() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = app(&platform, &admin).await;

    let body = json!({ "command": "./migrate", "name": "migrate", "memory_in_mb": 128 });
    let task = run(&admin, &app, body).await;
    started(&platform, &task).await;
    let desired = platform.cells.desired();
    let spec = desired.iter().find(|one| one.id == instance(&task)).unwrap().clone();
    platform.cells.end(instance(&task), ExitCause::Exited { code: 0 });
    let ended = admin.get(&format!("/v3/tasks/{task}")).await;

    assert_eq!((spec.work, spec.limits.memory_mib), (Work::Task, 128));
    assert_eq!(spec.process_type, "migrate");
    assert!(spec.argv.iter().any(|argument| argument.contains("./migrate")), "{:?}", spec.argv);
    assert_eq!(ended.expect(200)["state"], "SUCCEEDED", "{}", ended.text());
    assert_eq!(ended.body["sequence_id"], 1);
    assert_eq!(ended.body["result"]["failure_reason"], Value::Null);
    let mut desired = platform.cells.watch_desired();
    desired.wait_for(|all| all.iter().all(|one| one.work == Work::Process)).await.unwrap();
}

#[tokio::test]
async fn failed_task_says_why_and_is_not_run_again() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = app(&platform, &admin).await;
    let task = run(&admin, &app, json!({ "command": "false" })).await;
    started(&platform, &task).await;

    platform.cells.end(instance(&task), ExitCause::Exited { code: 1 });
    let ended = admin.get(&format!("/v3/tasks/{task}")).await;

    assert_eq!(ended.expect(200)["state"], "FAILED");
    assert_eq!(ended.body["result"]["failure_reason"], "Exited with status 1");
    let next = run(&admin, &app, json!({ "command": "true" })).await;
    let list =
        admin.get(&format!("/v3/apps/{app}/tasks?sequence_ids=2&states=RUNNING,PENDING")).await;
    assert_eq!(list.expect(200)["resources"][0]["guid"], next);
    assert_eq!(list.body["resources"][0]["command"], "true");
    let all = admin.get("/v3/tasks").await;
    assert_eq!(all.expect(200)["resources"][0]["command"], Value::Null);
}

#[tokio::test]
async fn cancelled_task_ends_and_cannot_be_cancelled_again() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = app(&platform, &admin).await;
    let task = run(&admin, &app, json!({ "command": "sleep 1000" })).await;
    started(&platform, &task).await;

    let cancelled = admin.post(&format!("/v3/tasks/{task}/actions/cancel"), json!({})).await;
    let ended = admin.get(&format!("/v3/tasks/{task}")).await;
    let again = admin.put(&format!("/v3/tasks/{task}/cancel"), json!({})).await;

    assert_eq!(cancelled.expect(202)["state"], "CANCELING");
    assert_eq!(ended.expect(200)["state"], "FAILED");
    assert_eq!(ended.body["result"]["failure_reason"], "task was cancelled");
    assert_eq!(again.detail(422), "Task state is FAILED and therefore cannot be canceled");
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_the_reason() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = app(&platform, &admin).await;
    let path = format!("/v3/apps/{app}/tasks");
    let unknown = "00000000-0000-0000-0000-000000000000";

    let nothing = admin.post(&path, json!({})).await;
    let large = admin.post(&path, json!({ "command": "a", "memory_in_mb": 99_999_999 })).await;
    let droplet = admin.post(&path, json!({ "command": "a", "droplet_guid": unknown })).await;
    let long = admin.post(&path, json!({ "command": "a".repeat(5000) })).await;
    let template = json!({ "process": { "guid": app } });
    let like_web = admin.post(&path, json!({ "template": template })).await;

    assert!(nothing.detail(422).starts_with("Must provide a command"), "{}", nothing.text());
    assert!(large.detail(422).starts_with("Memory in mb must be at most"), "{}", large.text());
    assert!(droplet.detail(422).starts_with("Unable to use droplet."), "{}", droplet.text());
    assert!(long.detail(422).starts_with("Command must be shorter"), "{}", long.text());
    assert_eq!(like_web.expect(202)["command"], "./start");
}
