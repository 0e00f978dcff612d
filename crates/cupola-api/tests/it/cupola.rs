//! `/cupola/v1`, asked by those who may not.

use cupola_domain::roles::RoleKind;
use cupola_testkit::TestPlatform;
use serde_json::json;

use crate::push::to;

#[tokio::test]
async fn status_of_the_platform_is_for_administrators() {
    let platform = TestPlatform::start().await;
    let manager = platform.as_user("ada", &[RoleKind::OrganizationManager]).await;

    let admin = platform.as_admin().await.get("/cupola/v1/status").await;
    let second = manager.get("/cupola/v1/status").await;
    let anonymous = platform.anonymous().get("/cupola/v1/status").await;

    admin.expect(200);
    assert_eq!(second.detail(403), "You are not authorized to perform the requested action");
    assert_eq!(anonymous.detail(401), "Authentication error");
}

#[tokio::test]
async fn why_of_an_app_is_for_those_who_see_it() {
    let platform = TestPlatform::start().await;
    let developer = platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;
    let auditor = platform.as_user("bob", &[RoleKind::SpaceAuditor]).await;
    let stranger = platform.as_user("eve", &[]).await;
    let space = to(&platform.space.to_string());
    let body = json!({ "name": "shop", "relationships": { "space": space } });
    let path = format!("/cupola/v1/apps/{}/why", developer.post("/v3/apps", body).await.guid());

    assert_eq!(developer.get(&path).await.expect(200)["app"], "shop");
    assert_eq!(auditor.get(&path).await.expect(200)["app"], "shop");
    assert_eq!(stranger.get(&path).await.detail(404), "App not found");
    assert_eq!(platform.anonymous().get(&path).await.detail(401), "Authentication error");
}

#[tokio::test]
async fn cost_of_a_deployment_is_for_those_who_see_its_app() {
    let platform = crate::push::platform().await;
    let admin = platform.as_admin().await;
    let auditor = platform.as_user("bob", &[RoleKind::SpaceAuditor]).await;
    let stranger = platform.as_user("eve", &[]).await;
    let app = crate::push::push(&admin, &platform.space.to_string(), "shop").await;
    let body = json!({ "relationships": { "app": to(&app) } });
    let deployment = admin.post("/v3/deployments", body).await;
    let path = format!("/cupola/v1/deployments/{}/cost", deployment.guid());

    assert_eq!(auditor.get(&path).await.expect(200)["deployment"], deployment.guid());
    assert_eq!(stranger.get(&path).await.detail(404), "Deployment not found");
    assert_eq!(platform.anonymous().get(&path).await.detail(401), "Authentication error");
}
