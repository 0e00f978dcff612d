//! What the platform does not have yet, and quotas.

use cupola_testkit::TestPlatform;
use serde_json::json;

#[tokio::test]
async fn lists_of_what_is_not_there_are_empty_for_every_filter() {
    let platform = TestPlatform::start().await;
    let ada = platform.as_user("ada", &[]).await;
    let lists = [
        "/v3/isolation_segments?organization_guids=a",
        "/v3/security_groups",
        "/v3/service_brokers",
        "/v3/service_offerings",
        "/v3/service_plans?include=service_offering",
        "/v3/service_route_bindings",
        "/v3/space_quotas",
    ];

    for path in lists {
        let list = ada.get(path).await;
        assert_eq!(list.expect(200)["pagination"]["total_results"], 0, "{path}");
    }
    let one = ada.get("/v3/service_plans/none").await;
    assert_eq!(one.detail(404), "Service plan not found");
    let new = ada.post("/v3/service_brokers", json!({})).await;
    assert_eq!(new.detail(422), "this platform has no service brokers yet");
}

#[tokio::test]
async fn environment_variable_groups_are_empty_and_stay_so() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = platform.as_user("ada", &[]).await;
    let path = "/v3/environment_variable_groups/running";

    assert_eq!(ada.get(path).await.expect(200)["var"], json!({}));
    ada.patch(path, json!({ "var": { "A": "1" } })).await.expect(403);
    admin.patch(path, json!({ "var": { "A": "1" } })).await.expect(422);
    admin.get("/v3/environment_variable_groups/other").await.expect(404);
}

#[tokio::test]
async fn every_organisation_has_the_one_quota() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = platform.as_user("ada", &[]).await;
    let org = admin.get(&format!("/v3/organizations/{}", platform.org)).await;
    let quota = org.expect(200)["relationships"]["quota"]["data"]["guid"].as_str().unwrap();
    let path = format!("/v3/organization_quotas/{quota}");

    assert_eq!(admin.get("/v3/organization_quotas?names=default").await.names(), ["default"]);
    let shown = admin.get(&path).await;
    assert!(shown.expect(200)["apps"]["total_memory_in_mb"].is_null());
    // Others learn nothing of organisations that they do not see.
    let seen = ada.get(&path).await;
    assert_eq!(seen.expect(200)["relationships"]["organizations"]["data"], json!([]));

    let apply = format!("{path}/relationships/organizations");
    let body = json!({ "data": [{ "guid": platform.org.to_string() }] });
    admin.post(&apply, body.clone()).await.expect(200);
    ada.post(&apply, body).await.expect(403);
    admin.post("/v3/organization_quotas", json!({ "name": "small" })).await.expect(422);
    admin.get("/v3/organization_quotas/other").await.expect(404);
}
