//! The queue of builds, which spaces share.

use std::time::Duration;

use cupola_testkit::{
    TestPlatform,
    http::{Answer, Client},
};
use serde_json::json;

use crate::push::{form, new_package, to, upload};

/// A platform on which builds wait until the test lets them go on.
async fn platform() -> TestPlatform {
    let mut platform = TestPlatform::start_with(|settings| {
        settings.staging.queue_max = 100;
        settings.hold = Duration::from_secs(20);
    })
    .await;
    platform.stager.hold_builds(true);
    platform.start_loops().await;
    platform
}

async fn other_space(client: &Client<'_>, platform: &TestPlatform) -> String {
    let organization = to(&platform.org.to_string());
    let body = json!({ "name": "other", "relationships": { "organization": organization } });
    client.post("/v3/spaces", body).await.guid()
}

/// Asks for the build of a new app.
async fn build(client: &Client<'_>, space: &str, name: &str) -> Answer {
    let body = json!({ "name": name, "relationships": { "space": to(space) } });
    let app = client.post("/v3/apps", body).await.guid();
    let package = new_package(client, &app).await;
    upload(client, &package, form(&[("resources", "[]"), ("bits", name)])).await.expect(200);
    client.post("/v3/builds", json!({ "package": { "guid": package } })).await
}

#[tokio::test]
async fn one_space_does_not_fill_the_queue_of_all() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (space, other) = (platform.space.to_string(), other_space(&admin, &platform).await);
    for number in 0..10 {
        build(&admin, &space, &format!("app-{number}")).await.expect(201);
    }

    let refused = build(&admin, &space, "one-more").await;
    let of_other = build(&admin, &other, "theirs").await;

    assert!(refused.detail(503).starts_with("This space has 10 builds waiting"));
    of_other.expect(201);
}

#[tokio::test]
async fn spaces_take_turns() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (space, other) = (platform.space.to_string(), other_space(&admin, &platform).await);
    for number in 0..6 {
        build(&admin, &space, &format!("app-{number}")).await.expect(201);
    }
    let theirs = build(&admin, &other, "theirs").await;
    let path = format!("/v3/builds/{}", theirs.guid());

    platform.stager.hold_builds(false);
    let built = admin.get(&path).await;

    assert_eq!(built.expect(200)["state"], "STAGED");
    let app = built.body["relationships"]["app"]["data"]["guid"].as_str().unwrap();
    let staged = platform.stager.staged();
    let at = staged.iter().position(|request| request.app_id.to_string() == app);
    // Two ran already, and one of the first space may be taken up beside it.
    assert!(at.is_some_and(|at| at <= 3), "{at:?} of {}", staged.len());
}
