//! Feature flags.

use cupola_testkit::TestPlatform;
use serde_json::json;

#[tokio::test]
async fn flags_have_upstreams_defaults_until_they_are_set() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;

    let docker = admin.get("/v3/feature_flags/diego_docker").await;
    assert_eq!(docker.expect(200)["enabled"], false);
    assert!(docker.body["updated_at"].is_null());
    let list = admin.get("/v3/feature_flags").await;
    assert_eq!(list.names().len(), 19);
    assert_eq!(list.names()[0], "app_bits_upload");

    let set = json!({ "enabled": true });
    admin.patch("/v3/feature_flags/diego_docker", set).await.expect(200);
    let docker = admin.get("/v3/feature_flags/diego_docker").await;
    assert_eq!(docker.expect(200)["enabled"], true);
    assert!(docker.body["updated_at"].is_string());
}

#[tokio::test]
async fn everybody_reads_flags_and_administrators_set_them() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = platform.as_user("ada", &[]).await;

    ada.get("/v3/feature_flags").await.expect(200);
    let set = json!({ "enabled": true });
    ada.patch("/v3/feature_flags/diego_docker", set.clone()).await.expect(403);
    let unknown = admin.patch("/v3/feature_flags/magic", set).await;
    assert_eq!(unknown.detail(404), "Feature flag not found");
}
