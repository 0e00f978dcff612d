//! A whole push, in the requests that the `cf` CLI sends, with every loop running.

use cupola_domain::{
    builds::StagingErrorKind,
    ids::{AppId, ProcessId},
    instances::ExitCause,
    roles::RoleKind,
};
use cupola_ports::stager::{StagingFailure, UploadError};
use cupola_testkit::{
    TestPlatform,
    http::{Answer, Client},
};
use http::Method;
use serde_json::{Value, json};

const BOUNDARY: &str = "cupola-test-boundary";

pub(crate) const YAML: &[(&str, &str)] = &[("content-type", "application/x-yaml")];

pub(crate) fn to(guid: &str) -> Value {
    json!({ "data": { "guid": guid } })
}

/// A platform whose loops run, and which waits for what it starts.
pub(crate) async fn platform() -> TestPlatform {
    let mut platform = TestPlatform::start_with(|settings| {
        settings.hold = std::time::Duration::from_secs(20);
    })
    .await;
    platform.start_loops().await;
    platform
}

/// Applies a manifest and waits for the job.
pub(crate) async fn apply(client: &Client<'_>, space: &str, manifest: &str) -> Answer {
    let path = format!("/v3/spaces/{space}/actions/apply_manifest");
    let answer = client.send(Method::POST, &path, YAML, manifest.as_bytes().to_vec()).await;
    answer.expect(202);
    client.get(&answer.location()).await
}

/// The form of an upload with these fields.
pub(crate) fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (name, content) in fields {
        let file = if *name == "bits" { "; filename=\"package.zip\"" } else { "" };
        body.push_str(&format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n"
        ));
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    body.into_bytes()
}

pub(crate) fn form_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

pub(crate) async fn upload(client: &Client<'_>, package: &str, body: Vec<u8>) -> Answer {
    let kind = form_type();
    let path = format!("/v3/packages/{package}/upload");
    client.send(Method::POST, &path, &[("content-type", &kind)], body).await
}

pub(crate) async fn new_package(client: &Client<'_>, app: &str) -> String {
    let body = json!({ "type": "bits", "relationships": { "app": to(app) } });
    let answer = client.post("/v3/packages", body).await;
    answer.expect(201);
    answer.guid()
}

/// The app of this name.
pub(crate) async fn app_named(client: &Client<'_>, name: &str) -> String {
    let list = client.get(&format!("/v3/apps?names={name}")).await;
    list.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned()
}

/// Everything up to a droplet that the app could be started from.
pub(crate) async fn staged(client: &Client<'_>, app: &str) -> (String, String) {
    let package = new_package(client, app).await;
    let uploaded = upload(client, &package, form(&[("resources", "[]"), ("bits", "zip")])).await;
    assert_eq!(uploaded.expect(200)["state"], "READY");
    let build = client.post("/v3/builds", json!({ "package": { "guid": package } })).await;
    build.expect(201);
    let built = client.get(&format!("/v3/builds/{}", build.guid())).await;
    assert_eq!(built.expect(200)["state"], "STAGED", "{}", built.text());
    (package, built.body["droplet"]["guid"].as_str().unwrap().to_owned())
}

/// A running app of this name, made from a manifest.
pub(crate) async fn push(client: &Client<'_>, space: &str, name: &str) -> String {
    let manifest = format!("applications:\n- name: {name}\n  default-route: true\n");
    let job = apply(client, space, &manifest).await;
    assert_eq!(job.expect(200)["state"], "COMPLETE", "{}", job.text());
    let app = app_named(client, name).await;
    let (_, droplet) = staged(client, &app).await;
    let path = format!("/v3/apps/{app}/relationships/current_droplet");
    client.patch(&path, to(&droplet)).await.expect(200);
    client.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);
    app
}

#[tokio::test]
async fn developer_pushes_an_app_and_it_runs_at_its_route() {
    let platform = platform().await;
    let developer = platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;

    let app = push(&developer, &platform.space.to_string(), "shop").await;

    let stats = developer.get(&format!("/v3/processes/{app}/stats")).await;
    let instance = &stats.expect(200)["resources"][0];
    assert_eq!(instance["state"], "RUNNING");
    assert_eq!(instance["usage"]["mem"], 32 << 20);
    assert_eq!(instance["mem_quota"], 1024_u64 << 20);
    let routes = developer.get(&format!("/v3/apps/{app}/routes")).await;
    assert_eq!(routes.expect(200)["resources"][0]["url"], "shop.apps.cupola.test");
    let lines = platform.logs.lines(&app);
    assert!(lines.iter().any(|line| line.starts_with("Created app with guid")), "{lines:?}");
    assert!(lines.contains(&"Staging...".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn push_is_told_in_the_events_of_the_app() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;

    let events = admin.get(&format!("/v3/audit_events?target_guids={app}&per_page=100")).await;

    let kinds: Vec<&str> = events.expect(200)["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    for kind in [
        "audit.app.create",
        "audit.app.process.create",
        "audit.app.map-route",
        "audit.app.apply_manifest",
        "audit.app.package.create",
        "audit.app.package.upload",
        "audit.app.build.create",
        "audit.app.droplet.mapped",
        "audit.app.restart",
    ] {
        assert!(kinds.contains(&kind), "{kind} is missing: {kinds:?}");
    }
}

#[tokio::test]
async fn processes_of_the_droplet_are_made_and_wait_for_instances() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    platform.stager.build_processes(&[("web", "./start"), ("worker", "./work")]);

    let app = push(&admin, &platform.space.to_string(), "shop").await;

    let worker = admin.get(&format!("/v3/apps/{app}/processes/worker")).await;
    assert_eq!(worker.expect(200)["instances"], 0);
    assert_eq!(worker.body["command"], "./work");
    assert_eq!(worker.body["health_check"]["type"], "process");
}

#[tokio::test]
async fn failed_build_tells_why() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    platform.stager.fail_builds(StagingFailure {
        kind: StagingErrorKind::NoAppDetectedError,
        message: "no buildpack takes this app".to_owned(),
    });
    apply(&admin, &space, "applications:\n- name: shop\n").await.expect(200);
    let app = app_named(&admin, "shop").await;
    let package = new_package(&admin, &app).await;
    upload(&admin, &package, form(&[("bits", "zip")])).await.expect(200);

    let build = admin.post("/v3/builds", json!({ "package": { "guid": package } })).await;
    let build = admin.get(&format!("/v3/builds/{}", build.guid())).await;

    assert_eq!(build.expect(200)["state"], "FAILED");
    assert_eq!(build.body["error"], "NoAppDetectedError - no buildpack takes this app");
}

#[tokio::test]
async fn refused_upload_makes_the_package_fail_and_says_why() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    platform.stager.refuse_uploads(UploadError::Empty);
    apply(&admin, &platform.space.to_string(), "applications:\n- name: shop\n").await.expect(200);
    let app = app_named(&admin, "shop").await;
    let package = new_package(&admin, &app).await;

    let uploaded = upload(&admin, &package, form(&[("bits", "zip")])).await;

    assert_eq!(uploaded.expect(200)["state"], "FAILED");
    assert_eq!(
        uploaded.body["data"]["error"],
        "the app has no files; push a folder that contains the app"
    );
}

#[tokio::test]
async fn newer_build_takes_the_place_of_one_that_still_runs() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    apply(&admin, &platform.space.to_string(), "applications:\n- name: shop\n").await.expect(200);
    let app = app_named(&admin, "shop").await;
    let package = new_package(&admin, &app).await;
    upload(&admin, &package, form(&[("bits", "zip")])).await.expect(200);
    platform.stager.hold_builds(true);
    let body = json!({ "package": { "guid": package } });

    let first = admin.post("/v3/builds", body.clone()).await;
    let second = admin.post("/v3/builds", body).await;
    platform.stager.hold_builds(false);

    let first = admin.get(&format!("/v3/builds/{}", first.guid())).await;
    let second = admin.get(&format!("/v3/builds/{}", second.guid())).await;
    assert_eq!(first.expect(200)["state"], "FAILED");
    assert_eq!(second.expect(200)["state"], "STAGED", "{}", second.text());
}

#[tokio::test]
async fn stats_wait_for_a_start_and_tell_of_a_crash_at_once() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    let app = push(&admin, &space, "shop").await;
    let stats = format!("/v3/processes/{app}/stats");
    admin.get(&stats).await.expect(200);
    let web = ProcessId::from_uuid(app.parse::<AppId>().unwrap().uuid());
    platform.cells.let_start_slowly(web);
    admin.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);

    let (stats_then, ()) = tokio::join!(admin.get(&stats), async {
        platform.cells.let_run(web);
    });

    assert_eq!(stats_then.expect(200)["resources"][0]["state"], "RUNNING");
    platform.cells.let_crash(web, ExitCause::Exited { code: 3 });
    admin.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);
    let crashed = admin.get(&stats).await;
    assert_eq!(crashed.expect(200)["resources"][0]["state"], "CRASHED");
    assert_eq!(crashed.body["resources"][0]["details"], "Exited with status 3");
}

#[tokio::test]
async fn deleted_app_leaves_no_instance_and_its_route_behind() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    admin.get(&format!("/v3/processes/{app}/stats")).await.expect(200);

    let deleted = admin.delete(&format!("/v3/apps/{app}")).await;
    deleted.expect(202);
    let job = admin.get(&deleted.location()).await;

    assert_eq!(job.expect(200)["state"], "COMPLETE");
    assert_eq!(admin.get(&format!("/v3/apps/{app}")).await.detail(404), "App not found");
    let routes = admin.get("/v3/routes?hosts=shop").await;
    assert_eq!(routes.expect(200)["resources"][0]["destinations"], json!([]));
    assert_eq!(admin.get("/v3/droplets").await.expect(200)["pagination"]["total_results"], 0);
}
