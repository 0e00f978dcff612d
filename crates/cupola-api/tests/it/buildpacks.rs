//! Buildpacks and the stack.

use cupola_testkit::TestPlatform;
use serde_json::json;

#[tokio::test]
async fn builtin_buildpacks_are_listed_in_the_order_of_detection() {
    let platform = TestPlatform::start().await;
    let ada = platform.as_user("ada", &[]).await;

    let list = ada.get("/v3/buildpacks?order_by=position&lifecycle=buildpack").await;

    let wanted = [
        "staticfile_buildpack",
        "nodejs_buildpack",
        "go_buildpack",
        "python_buildpack",
        "binary_buildpack",
    ];
    assert_eq!(list.names(), wanted);
    assert_eq!(ada.get("/v3/buildpacks?lifecycle=cnb").await.names(), [""; 0]);
}

#[tokio::test]
async fn administrators_move_and_disable_buildpacks() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let found = admin.get("/v3/buildpacks?names=go_buildpack").await;
    let guid = found.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();
    let path = format!("/v3/buildpacks/{guid}");

    let moved = admin.patch(&path, json!({ "position": 1, "enabled": false })).await;

    assert_eq!(moved.expect(200)["position"], 1);
    assert_eq!(moved.body["enabled"], false);
    let list = admin.get("/v3/buildpacks").await;
    assert_eq!(list.names()[..3], ["go_buildpack", "staticfile_buildpack", "nodejs_buildpack"]);
    let past_the_end = admin.patch(&path, json!({ "position": 99 })).await;
    assert_eq!(past_the_end.expect(200)["position"], 5);
}

#[tokio::test]
async fn builtin_buildpacks_cannot_be_deleted_and_none_uploaded() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = platform.as_user("ada", &[]).await;
    let found = admin.get("/v3/buildpacks?names=go_buildpack").await;
    let guid = found.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();
    let path = format!("/v3/buildpacks/{guid}");

    assert!(admin.delete(&path).await.detail(422).contains("--disable"));
    ada.delete(&path).await.expect(403);
    ada.patch(&path, json!({ "enabled": false })).await.expect(403);
    let new = json!({ "name": "mine" });
    ada.post("/v3/buildpacks", new.clone()).await.expect(403);
    assert!(admin.post("/v3/buildpacks/", new).await.detail(422).contains("git"));
}

#[tokio::test]
async fn a_second_start_keeps_what_was_changed() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let found = admin.get("/v3/buildpacks?names=go_buildpack").await;
    let guid = found.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();
    let path = format!("/v3/buildpacks/{guid}");
    admin.patch(&path, json!({ "enabled": false })).await.expect(200);
    let accepted = admin.delete(&format!("/v3/organizations/{}", platform.org)).await;
    admin.finish(&accepted).await.expect(200);

    platform.control.bootstrap("another password").await.unwrap();

    assert_eq!(admin.get(&path).await.expect(200)["enabled"], false);
    assert_eq!(admin.get("/v3/buildpacks").await.names().len(), 5);
    assert_eq!(admin.get("/v3/organizations").await.names(), [""; 0]);
}

#[tokio::test]
async fn there_is_one_stack() {
    let platform = TestPlatform::start().await;
    let ada = platform.as_user("ada", &[]).await;
    let admin = platform.as_admin().await;

    let list = ada.get("/v3/stacks?names=host").await;
    assert_eq!(list.names(), ["host"]);
    let guid = list.body["resources"][0]["guid"].as_str().unwrap();
    let path = format!("/v3/stacks/{guid}");
    assert_eq!(ada.get(&path).await.expect(200)["name"], "host");
    assert_eq!(ada.get("/v3/stacks?names=cflinuxfs4").await.names(), [""; 0]);
    assert_eq!(ada.get("/v3/stacks/other").await.detail(404), "Stack not found");
    ada.delete(&path).await.expect(403);
    admin.delete(&path).await.expect(422);
}
