//! Builds wait for each other, and no more of them than the platform takes.

use std::time::Duration;

use cupola_testkit::{
    TestPlatform,
    http::{Answer, Client},
};
use serde_json::json;

use crate::push::{app_named, apply, form, new_package, to, upload};

async fn new_build(client: &Client<'_>, space: &str, app: &str) -> Answer {
    apply(client, space, &format!("applications:\n- name: {app}\n")).await.expect(200);
    let package = new_package(client, &app_named(client, app).await).await;
    upload(client, &package, form(&[("bits", "zip")])).await.expect(200);
    client.post("/v3/builds", json!({ "package": { "guid": package } })).await
}

/// Waits until so many builds were begun. Each look changes a row, which wakes the staging loop.
async fn begun(platform: &TestPlatform, client: &Client<'_>, count: usize) {
    let flag = "/v3/feature_flags/route_sharing";
    let waits = async {
        while platform.stager.staged().len() < count {
            client.patch(flag, json!({ "enabled": true })).await.expect(200);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waits).await.expect("the build begins");
}

#[tokio::test]
async fn builds_are_run_one_after_the_other_and_a_full_queue_is_told() {
    let mut platform = TestPlatform::start_with(|settings| {
        settings.hold = Duration::from_secs(20);
        settings.staging.concurrency = 1;
        settings.staging.queue_max = 2;
    })
    .await;
    platform.start_loops().await;
    let (admin, space) = (platform.as_admin().await, platform.space.to_string());
    platform.stager.hold_builds(true);

    let first = new_build(&admin, &space, "first").await;
    let second = new_build(&admin, &space, "second").await;
    let third = new_build(&admin, &space, "third").await;

    first.expect(201);
    second.expect(201);
    assert_eq!(
        third.detail(503),
        "The platform has 2 builds waiting, which is as many as it takes. Try again in a minute."
    );
    assert_eq!(third.body["errors"][0]["title"], "CF-ServiceUnavailable");
    begun(&platform, &admin, 1).await;
    // The loop was woken by everything since; it left the second one alone.
    let staged = platform.stager.staged();
    assert_eq!(staged.len(), 1);
    let first_app = app_named(&admin, "first").await;
    assert_eq!(staged[0].app_id.to_string(), first_app);

    platform.stager.hold_builds(false);

    let first = admin.get(&format!("/v3/builds/{}", first.guid())).await;
    let second = admin.get(&format!("/v3/builds/{}", second.guid())).await;
    assert_eq!(first.expect(200)["state"], "STAGED");
    assert_eq!(second.expect(200)["state"], "STAGED");
    new_build(&admin, &space, "third").await.expect(201);
}

#[tokio::test]
async fn build_that_cannot_be_told_of_its_services_fails_and_says_why() {
    let mut platform = TestPlatform::start_with(|settings| {
        settings.hold = Duration::from_secs(20);
        settings.staging.concurrency = 1;
    })
    .await;
    platform.start_loops().await;
    let (admin, space) = (platform.as_admin().await, platform.space.to_string());
    platform.stager.hold_builds(true);
    new_build(&admin, &space, "first").await.expect(201);
    begun(&platform, &admin, 1).await;
    let waiting = new_build(&admin, &space, "second").await;
    waiting.expect(201);
    let app = app_named(&admin, "second").await;
    let new = json!({
        "type": "user-provided",
        "name": "db",
        "credentials": { "certificate": "x".repeat(200_000) },
        "relationships": { "space": to(&space) },
    });
    let instance = admin.post("/v3/service_instances", new).await.guid();
    let relationships = json!({ "service_instance": to(&instance), "app": to(&app) });
    let bind = json!({ "type": "app", "relationships": relationships });
    admin.post("/v3/service_credential_bindings", bind).await.expect(201);

    platform.stager.hold_builds(false);
    let ended = admin.get(&format!("/v3/builds/{}", waiting.guid())).await;

    assert_eq!(ended.expect(200)["state"], "FAILED", "{}", ended.text());
    let error = ended.body["error"].as_str().unwrap();
    assert!(error.contains("VCAP_SERVICES is too large"), "{error}");
    assert_eq!(platform.stager.staged().len(), 1);
    let third = new_build(&admin, &space, "third").await;
    let third = admin.get(&format!("/v3/builds/{}", third.guid())).await;
    assert_eq!(third.expect(200)["state"], "STAGED");
}
