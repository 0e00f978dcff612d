//! The release phase, at plain starts and at deployments, with every loop running.

use std::time::Duration;

use cupola_domain::{
    ids::{InstanceId, TaskId},
    instances::ExitCause,
};
use cupola_ports::cells::{DesiredInstance, Work};
use cupola_testkit::{
    TestPlatform,
    http::{Answer, Client},
};
use serde_json::{Value, json};

use crate::push::{YAML, platform, push, staged, to};

/// A platform whose droplets name a release phase.
async fn releasing() -> TestPlatform {
    let platform = platform().await;
    platform.stager.build_processes(&[("web", "./start"), ("release", "./migrate")]);
    platform
}

/// What the cell was asked for, once `is_right`.
async fn wanted(
    platform: &TestPlatform,
    is_right: impl Fn(&[DesiredInstance]) -> bool,
) -> Vec<DesiredInstance> {
    let mut desired = platform.cells.watch_desired();
    let found = desired.wait_for(|desired| is_right(desired));
    let found = tokio::time::timeout(Duration::from_secs(10), found).await;
    found.expect("the cell is asked for it").unwrap().clone()
}

fn has_task(desired: &[DesiredInstance]) -> bool {
    desired.iter().any(|one| one.work == Work::Task)
}

/// The task of the release phase that runs now, which has begun.
async fn phase(platform: &TestPlatform) -> InstanceId {
    let desired = wanted(platform, has_task).await;
    desired.iter().find(|one| one.work == Work::Task).unwrap().id
}

async fn end(platform: &TestPlatform, code: i32) {
    platform.cells.end(phase(platform).await, ExitCause::Exited { code });
    wanted(platform, |desired| !has_task(desired)).await;
}

async fn stats(client: &Client<'_>, app: &str) -> Value {
    let stats = client.get(&format!("/v3/processes/{app}/stats")).await;
    stats.expect(200)["resources"][0].clone()
}

async fn act(client: &Client<'_>, app: &str, verb: &str) {
    client.post(&format!("/v3/apps/{app}/actions/{verb}"), json!({})).await.expect(200);
}

async fn tasks(client: &Client<'_>, app: &str) -> Vec<Value> {
    let tasks = client.get(&format!("/v3/apps/{app}/tasks")).await;
    tasks.expect(200)["resources"].as_array().unwrap().clone()
}

async fn deploy(client: &Client<'_>, app: &str, droplet: &str) -> Answer {
    let body = json!({ "relationships": { "app": to(app) }, "droplet": { "guid": droplet } });
    let deployment = client.post("/v3/deployments", body).await;
    deployment.expect(201);
    deployment
}

async fn current_droplet(client: &Client<'_>, app: &str) -> Value {
    let current = client.get(&format!("/v3/apps/{app}/relationships/current_droplet")).await;
    current.expect(200)["data"]["guid"].clone()
}

/// A running app whose first release phase has succeeded.
async fn released(platform: &TestPlatform, client: &Client<'_>) -> String {
    let app = push(client, &platform.space.to_string(), "shop").await;
    end(platform, 0).await;
    assert_eq!(stats(client, &app).await["state"], "RUNNING");
    app
}

#[tokio::test]
async fn release_phase_runs_as_a_task_before_the_first_instance() {
    let platform = releasing().await;
    let admin = platform.as_admin().await;

    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let desired = wanted(&platform, has_task).await;
    let task = &tasks(&admin, &app).await[0];
    let during = admin.get(&format!("/cupola/v1/apps/{app}/why")).await;
    end(&platform, 0).await;
    let running = stats(&admin, &app).await;

    assert_eq!(desired.len(), 1, "no instance beside the release phase");
    assert_eq!(desired[0].process_type, "release");
    assert!(desired[0].argv.iter().any(|argument| argument == "./migrate"));
    assert_eq!((&task["name"], &task["sequence_id"]), (&json!("release"), &json!(1)));
    assert_eq!(during.expect(200)["release_phase"]["state"], "PENDING");
    assert_eq!(running["state"], "RUNNING");
    let processes = admin.get(&format!("/v3/apps/{app}/processes")).await;
    assert_eq!(processes.expect(200)["pagination"]["total_results"], 1);
    let why = admin.get(&format!("/cupola/v1/apps/{app}/why")).await;
    assert_eq!(why.expect(200)["release_phase"], Value::Null);
    let lines = platform.logs.lines(&app);
    assert!(lines.contains(&"Release phase succeeded".to_owned()), "{lines:?}");
    let events = admin.get("/v3/audit_events?types=audit.app.task.create").await;
    assert_eq!(events.expect(200)["resources"][0]["data"]["task_guid"], task["guid"]);
}

#[tokio::test]
async fn new_code_and_new_variables_run_it_again_and_a_restart_does_not() {
    let platform = releasing().await;
    let admin = platform.as_admin().await;
    let app = released(&platform, &admin).await;

    act(&admin, &app, "restart").await;
    assert_eq!(stats(&admin, &app).await["state"], "RUNNING");
    act(&admin, &app, "stop").await;
    act(&admin, &app, "start").await;
    assert_eq!(stats(&admin, &app).await["state"], "RUNNING");
    let after_restarts = tasks(&admin, &app).await.len();
    let path = format!("/v3/apps/{app}/environment_variables");
    admin.patch(&path, json!({ "var": { "A": "1" } })).await.expect(200);
    act(&admin, &app, "restart").await;
    let desired = wanted(&platform, has_task).await;
    end(&platform, 0).await;

    assert_eq!(after_restarts, 1);
    let task = desired.iter().find(|one| one.work == Work::Task).unwrap();
    assert!(task.environment.contains(&("A".to_owned(), "1".to_owned())));
    assert_eq!(stats(&admin, &app).await["state"], "RUNNING");
    assert_eq!(tasks(&admin, &app).await.len(), 2);
}

#[tokio::test]
async fn failed_release_phase_starts_nothing_and_says_so_at_once() {
    let platform = releasing().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;

    end(&platform, 7).await;
    let crashed = stats(&admin, &app).await;
    let why = admin.get(&format!("/cupola/v1/apps/{app}/why")).await;
    act(&admin, &app, "restart").await;
    end(&platform, 0).await;

    let told = "The release phase failed: Exited with status 7. Its output is in the app's log, \
                as APP/TASK/release";
    assert_eq!(crashed["state"], "CRASHED");
    assert_eq!(crashed["details"], told);
    assert_eq!(why.expect(200)["release_phase"]["state"], "FAILED");
    assert_eq!(why.body["release_phase"]["detail"], told);
    assert_eq!(why.body["instances"], json!([]));
    // A restart tries again.
    assert_eq!(stats(&admin, &app).await["state"], "RUNNING");
}

#[tokio::test]
async fn deployment_waits_for_its_release_phase() {
    let platform = releasing().await;
    let admin = platform.as_admin().await;
    let app = released(&platform, &admin).await;
    let (_, droplet) = staged(&admin, &app).await;

    let deployment = deploy(&admin, &app, &droplet).await;
    let during = wanted(&platform, has_task).await;
    let list = admin.get(&format!("/v3/deployments?app_guids={app}")).await;
    end(&platform, 0).await;
    let ended = admin.get(&format!("/v3/deployments/{}", deployment.guid())).await;

    assert_eq!(during.len(), 2, "the old instance and the release phase");
    let status = &list.expect(200)["resources"][0]["status"];
    assert_eq!((&status["value"], &status["reason"]), (&json!("ACTIVE"), &json!("DEPLOYING")));
    assert_eq!(ended.expect(200)["status"]["reason"], "DEPLOYED");
    assert_eq!(tasks(&admin, &app).await.len(), 2);
    act(&admin, &app, "restart").await;
    assert_eq!(stats(&admin, &app).await["state"], "RUNNING");
    assert_eq!(tasks(&admin, &app).await.len(), 2, "the deployment's phase counts for the app");
}

#[tokio::test]
async fn failed_release_phase_cancels_the_deployment_and_the_old_version_stays() {
    let platform = releasing().await;
    let admin = platform.as_admin().await;
    let app = released(&platform, &admin).await;
    let before = current_droplet(&admin, &app).await;
    let (_, droplet) = staged(&admin, &app).await;
    let old = wanted(&platform, |desired| desired.len() == 1).await;

    let deployment = deploy(&admin, &app, &droplet).await;
    end(&platform, 3).await;
    let ended = admin.get(&format!("/v3/deployments/{}", deployment.guid())).await;

    let status = &ended.expect(200)["status"];
    assert_eq!(status["reason"], "CANCELED");
    let error = status["details"]["error"].as_str().unwrap();
    assert!(
        error.contains("Exited with status 3") && error.contains("APP/TASK/release"),
        "{error}"
    );
    let left = wanted(&platform, |desired| desired.len() == 1).await;
    assert_eq!(left, old);
    assert_eq!(current_droplet(&admin, &app).await, before);
    assert_eq!(stats(&admin, &app).await["state"], "RUNNING");
    let why = admin.get(&format!("/cupola/v1/apps/{app}/why")).await;
    assert_eq!(why.expect(200)["release_phase"]["state"], "FAILED");
}

#[tokio::test]
async fn cancel_during_the_release_phase_ends_its_task() {
    let platform = releasing().await;
    let admin = platform.as_admin().await;
    let app = released(&platform, &admin).await;
    let (_, droplet) = staged(&admin, &app).await;
    let deployment = deploy(&admin, &app, &droplet).await;
    let task = TaskId::from_uuid(phase(&platform).await.uuid());

    let path = format!("/v3/deployments/{}", deployment.guid());
    admin.post(&format!("{path}/actions/cancel"), json!({})).await.expect(200);
    let ended = admin.get(&path).await;
    let task = admin.get(&format!("/v3/tasks/{task}")).await;

    assert_eq!(ended.expect(200)["status"]["reason"], "CANCELED");
    assert_eq!(task.expect(200)["state"], "FAILED");
    wanted(&platform, |desired| desired.len() == 1 && !has_task(desired)).await;
}

#[tokio::test]
async fn newer_deployment_ends_the_release_phase_of_the_one_before() {
    let platform = releasing().await;
    let admin = platform.as_admin().await;
    let app = released(&platform, &admin).await;
    let (_, droplet) = staged(&admin, &app).await;
    let (_, newer) = staged(&admin, &app).await;
    deploy(&admin, &app, &droplet).await;
    let first = phase(&platform).await;

    let deployment = deploy(&admin, &app, &newer).await;
    let others = |desired: &[DesiredInstance]| {
        has_task(desired) && desired.iter().all(|one| one.id != first)
    };
    wanted(&platform, others).await;
    end(&platform, 0).await;

    let ended = admin.get(&format!("/v3/deployments/{}", deployment.guid())).await;
    assert_eq!(ended.expect(200)["status"]["reason"], "DEPLOYED");
    assert_eq!(current_droplet(&admin, &app).await, json!(newer));
    let states: Vec<Value> =
        tasks(&admin, &app).await.iter().map(|task| task["state"].clone()).collect();
    assert_eq!(states, ["SUCCEEDED", "FAILED", "SUCCEEDED"]);
}

#[tokio::test]
async fn stop_during_the_release_phase_ends_it_and_the_next_start_runs_it() {
    let platform = releasing().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let first = phase(&platform).await;

    act(&admin, &app, "stop").await;
    wanted(&platform, |desired| desired.is_empty()).await;
    act(&admin, &app, "start").await;
    let second = phase(&platform).await;
    end(&platform, 0).await;

    assert_ne!(first, second);
    assert_eq!(stats(&admin, &app).await["state"], "RUNNING");
}

#[tokio::test]
async fn release_phase_goes_on_after_a_restart_of_control() {
    let mut platform = releasing().await;
    let space = platform.space.to_string();
    let app = push(&platform.as_admin().await, &space, "shop").await;
    let before = phase(&platform).await;

    platform.restart_loops().await;
    let after = phase(&platform).await;
    end(&platform, 0).await;

    let admin = platform.as_admin().await;
    assert_eq!(before, after);
    assert_eq!(stats(&admin, &app).await["state"], "RUNNING");
    assert_eq!(tasks(&admin, &app).await.len(), 1);
}

#[tokio::test]
async fn release_is_no_process_that_a_manifest_could_scale() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let manifest =
        "applications:\n- name: shop\n  processes:\n  - type: release\n    instances: 1\n";

    let path = format!("/v3/spaces/{}/actions/apply_manifest", platform.space);
    let body = manifest.as_bytes().to_vec();
    let refused = admin.send(http::Method::POST, &path, YAML, body).await;

    assert!(refused.detail(422).contains("is the release phase"), "{}", refused.text());
}
