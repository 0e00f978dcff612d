//! Droplets as archives: downloaded and uploaded.

use cupola_domain::{
    droplets::{Droplet, DropletState},
    roles::RoleKind,
};
use cupola_ports::{
    stager::ExportError,
    store::{self, Store},
};
use cupola_testkit::{
    TestPlatform,
    http::{Answer, Client},
};
use http::Method;
use serde_json::{Value, json};

use crate::push::{form, form_type, platform, push, to};

async fn new_app(client: &Client<'_>, platform: &TestPlatform, name: &str) -> String {
    let space = to(&platform.space.to_string());
    let body = json!({ "name": name, "relationships": { "space": space } });
    client.post("/v3/apps", body).await.guid()
}

async fn new_droplet(client: &Client<'_>, app: &str) -> Answer {
    let created = client.post("/v3/droplets", json!({ "relationships": { "app": to(app) } })).await;
    created.expect(201);
    created
}

async fn upload(client: &Client<'_>, droplet: &str, body: Vec<u8>) -> Answer {
    let kind = form_type();
    let path = format!("/v3/droplets/{droplet}/upload");
    client.send(Method::POST, &path, &[("content-type", &kind)], body).await
}

async fn current(client: &Client<'_>, app: &str) -> Answer {
    client.get(&format!("/v3/apps/{app}/droplets/current")).await
}

fn uploads(platform: &TestPlatform) -> usize {
    std::fs::read_dir(&platform.control.settings().uploads_dir).unwrap().count()
}

/// An archive of what an app of this name was staged to.
async fn downloaded(client: &Client<'_>, platform: &TestPlatform) -> (Answer, Answer) {
    let app = push(client, &platform.space.to_string(), "shop").await;
    let source = current(client, &app).await;
    let archive = client.get(&format!("/v3/droplets/{}/download", source.guid())).await;
    archive.expect(200);
    (source, archive)
}

#[tokio::test]
async fn droplet_is_uploaded_for_another_app_and_started() {
    let platform = platform().await;
    let developer = platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;
    let (source, archive) = downloaded(&developer, &platform).await;
    let app = new_app(&developer, &platform, "other").await;

    let created = new_droplet(&developer, &app).await;
    let assign = format!("/v3/apps/{app}/relationships/current_droplet");
    let early = developer.patch(&assign, to(&created.guid())).await;
    let download = format!("/v3/droplets/{}/download", created.guid());
    let unstaged = developer.get(&download).await;
    let body = form(&[("bits", &archive.text())]);
    let uploaded = upload(&developer, &created.guid(), body.clone()).await;
    let job = developer.get(&uploaded.location()).await;
    let again = upload(&developer, &created.guid(), body).await;

    assert_eq!(archive.headers["content-type"], "application/octet-stream");
    assert_eq!(created.body["state"], "AWAITING_UPLOAD");
    assert!(early.detail(422).starts_with("Unable to assign current droplet."));
    assert_eq!(unstaged.detail(422), "Only staged droplets can be downloaded.");
    assert_eq!(uploaded.expect(202)["state"], "PROCESSING_UPLOAD");
    assert_eq!(job.expect(200)["operation"], "droplet.upload");
    assert_eq!(job.body["state"], "COMPLETE");
    let staged = developer.get(&format!("/v3/droplets/{}", created.guid())).await;
    assert_eq!(staged.expect(200)["state"], "STAGED");
    assert_eq!(staged.body["checksum"], source.body["checksum"]);
    assert_eq!(staged.body["process_types"], source.body["process_types"]);
    assert!(again.detail(422).starts_with("Droplet may be uploaded only once."));
    developer.patch(&assign, to(&created.guid())).await.expect(200);
    let start = format!("/v3/apps/{app}/actions/start");
    assert_eq!(developer.post(&start, json!({})).await.expect(200)["state"], "STARTED");
    assert_eq!(uploads(&platform), 0);
}

#[tokio::test]
async fn download_and_upload_are_in_the_history_of_the_app() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (_, archive) = downloaded(&admin, &platform).await;
    let app = new_app(&admin, &platform, "other").await;
    let droplet = new_droplet(&admin, &app).await.guid();
    let uploaded = upload(&admin, &droplet, form(&[("bits", &archive.text())])).await;
    assert_eq!(admin.get(&uploaded.location()).await.expect(200)["state"], "COMPLETE");
    let path = format!("/v3/droplets/{droplet}/download");
    admin.get(&path).await.expect(200);

    let types = "audit.app.droplet.create,audit.app.droplet.download,audit.app.droplet.upload";
    let list = format!("/v3/audit_events?types={types}&target_guids={app}");
    let events = admin.get(&list).await;
    let events = events.expect(200)["resources"].as_array().unwrap();
    let mut kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, types.split(',').collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["data"]["droplet_guid"] == droplet));
}

#[tokio::test]
async fn start_commands_that_are_given_win_over_those_of_the_archive() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (_, archive) = downloaded(&admin, &platform).await;
    let app = new_app(&admin, &platform, "other").await;
    let types = json!({ "worker": "./work" });
    let body = json!({ "relationships": { "app": to(&app) }, "process_types": types });

    let droplet = admin.post("/v3/droplets", body).await.guid();
    let uploaded = upload(&admin, &droplet, form(&[("bits", &archive.text())])).await;
    admin.get(&uploaded.location()).await.expect(200);

    let shown = admin.get(&format!("/v3/droplets/{droplet}")).await;
    assert_eq!(shown.expect(200)["process_types"], json!({ "web": "./start", "worker": "./work" }));
}

#[tokio::test]
async fn upload_that_is_cut_leaves_neither_a_file_nor_a_changed_droplet() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = new_app(&admin, &platform, "shop").await;
    let droplet = new_droplet(&admin, &app).await.guid();
    let mut body = form(&[("bits", &"x".repeat(100_000))]);
    body.truncate(50_000);

    upload(&admin, &droplet, body).await.expect(400);
    let without = upload(&admin, &droplet, form(&[("other", "x")])).await;

    assert!(without.detail(422).contains("must be uploaded as 'bits'"), "{}", without.text());
    let shown = admin.get(&format!("/v3/droplets/{droplet}")).await;
    assert_eq!(shown.expect(200)["state"], "AWAITING_UPLOAD");
    assert_eq!(uploads(&platform), 0);
}

#[tokio::test]
async fn upload_that_is_no_droplet_fails_its_job_and_says_why() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = new_app(&admin, &platform, "shop").await;
    let droplet = new_droplet(&admin, &app).await.guid();

    let uploaded = upload(&admin, &droplet, form(&[("bits", "no archive")])).await;
    let job = admin.get(&uploaded.location()).await;

    let invalid = "it is not a whole tar file";
    assert_eq!(job.expect(200)["state"], "FAILED");
    let detail = job.body["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("Uploaded droplet file is invalid:"), "{detail}");
    assert!(detail.ends_with(invalid), "{detail}");
    let shown = admin.get(&format!("/v3/droplets/{droplet}")).await;
    assert_eq!(shown.expect(200)["state"], "FAILED");
    assert!(shown.body["error"].as_str().unwrap().ends_with(invalid));
    let failed = admin.get("/v3/droplets?states=FAILED").await;
    assert_eq!(failed.expect(200)["resources"][0]["guid"], droplet);
    assert_eq!(admin.get("/v3/droplets?states=STAGED").await.expect(200)["resources"], json!([]));
    assert_eq!(uploads(&platform), 0);
}

#[tokio::test]
async fn droplet_whose_files_are_gone_cannot_be_downloaded_and_says_what_next() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (source, _) = downloaded(&admin, &platform).await;
    let path = format!("/v3/droplets/{}/download", source.guid());

    platform.stager.refuse_exports(ExportError::Gone);
    let gone = admin.get(&path).await;
    platform.stager.refuse_exports(ExportError::Busy);
    let busy = admin.get(&path).await;

    assert!(gone.detail(422).ends_with("push or stage the app again"), "{}", gone.text());
    assert!(busy.detail(503).ends_with("try again in a minute"), "{}", busy.text());
}

#[tokio::test]
async fn interrupted_upload_of_a_droplet_fails_with_its_job_at_the_next_start() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = new_app(&admin, &platform, "shop").await;
    let droplet = new_droplet(&admin, &app).await.guid();
    platform.stager.hold_builds(true);
    let uploaded = upload(&admin, &droplet, form(&[("bits", "x")])).await;
    uploaded.expect(202);

    assert_eq!(platform.control.fail_interrupted_uploads().await.unwrap(), 1);

    let job = admin.get(&uploaded.location()).await;
    assert_eq!(job.expect(200)["state"], "FAILED");
    assert_eq!(state(&platform, &droplet).await.name(), "FAILED");
}

async fn state(platform: &TestPlatform, droplet: &str) -> DropletState {
    let mut tx = platform.store.read().await.unwrap();
    store::get::<Droplet>(&mut *tx, droplet).await.unwrap().unwrap().state
}

#[tokio::test]
async fn row_of_a_droplet_from_before_there_were_states_is_of_a_staged_one() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (source, _) = downloaded(&admin, &platform).await;
    let mut tx = platform.store.read().await.unwrap();
    let row = store::get::<Droplet>(&mut *tx, source.guid()).await.unwrap().unwrap();

    let mut old: Value = serde_json::to_value(&row).unwrap();
    old.as_object_mut().unwrap().remove("state").unwrap();

    assert_eq!(serde_json::from_value::<Droplet>(old).unwrap(), row);
}
