//! The sentences that the `cf` CLI compares letter by letter (its `api/cloudcontroller/ccv3/errors.go`).

use cupola_domain::roles::RoleKind;
use cupola_testkit::TestPlatform;
use serde_json::json;

use crate::push::{new_package, platform, push, to};

#[tokio::test]
async fn what_is_not_there_is_told_in_the_words_that_cf_compares() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let instance = format!("/v3/apps/{app}/processes/web/instances/7");

    assert_eq!(admin.get("/v3/apps/none").await.detail(404), "App not found");
    assert_eq!(admin.get("/v3/droplets/none").await.detail(404), "Droplet not found");
    assert_eq!(admin.get("/v3/feature_flags/none").await.detail(404), "Feature flag not found");
    assert_eq!(admin.delete(&instance).await.detail(404), "Instance not found");
    assert_eq!(admin.get("/v3/processes/none").await.detail(404), "Process not found");
    assert_eq!(admin.get("/v3/users/none").await.detail(404), "User not found");
    assert_eq!(admin.get("/v3/none").await.detail(404), "Unknown request");
}

#[tokio::test]
async fn what_cannot_be_is_told_in_the_words_that_cf_compares() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;
    let (org, space) = (platform.org.to_string(), platform.space.to_string());
    let new_app = json!({ "name": "shop", "relationships": { "space": to(&space) } });
    let app = admin.post("/v3/apps", new_app.clone()).await;
    let new_space = json!({ "name": "dev", "relationships": { "organization": to(&org) } });
    let role = json!({
        "type": "space_developer",
        "relationships": { "user": { "data": { "username": "ada" } }, "space": to(&space) },
    });
    let start = format!("/v3/apps/{}/actions/start", app.guid());
    let package = new_package(&admin, &app.guid()).await;
    let build = json!({ "package": { "guid": package } });

    let refused = |answer: cupola_testkit::http::Answer| answer.detail(422).to_owned();

    assert_eq!(
        refused(admin.post("/v3/apps", new_app).await),
        "App with the name 'shop' already exists."
    );
    assert_eq!(
        refused(admin.post("/v3/organizations", json!({ "name": "default" })).await),
        "Organization 'default' already exists."
    );
    assert_eq!(
        refused(admin.post("/v3/spaces", new_space).await),
        "Name must be unique per organization"
    );
    assert_eq!(
        refused(admin.post("/v3/roles", role).await),
        "User 'ada' already has 'space_developer' role in space 'dev'."
    );
    assert_eq!(
        refused(admin.post(&start, json!({})).await),
        "Assign a droplet before starting this app."
    );
    assert_eq!(
        admin.post("/v3/builds", build).await.detail(400),
        "Bad request: Cannot stage package whose state is not ready."
    );
}
