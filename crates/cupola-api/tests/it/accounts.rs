//! Accounts, as `cf create-user`, `passwd` and `delete-user` use them.

use std::time::Duration;

use cupola_domain::roles::RoleKind;
use cupola_testkit::{TestPlatform, http::Client, platform::ADMIN_PASSWORD};
use http::Method;
use serde_json::json;

async fn can_log_in(platform: &TestPlatform, username: &str, password: &str) -> bool {
    let form = format!(
        "grant_type=password&client_id=cf&username={username}&password={}",
        password.replace(' ', "+")
    );
    let client = platform.anonymous();
    client.send(Method::POST, "/oauth/token", &[], form.into()).await.status == 200
}

async fn create(admin: &Client<'_>, name: &str, password: &str) -> String {
    let body = json!({
        "userName": name,
        "password": password,
        "origin": "",
        "name": { "familyName": name, "givenName": name },
        "emails": [{ "value": name, "primary": true }],
    });
    let created = admin.post("/Users", body).await;
    created.expect(201)["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn administrators_create_find_and_delete_accounts() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;

    let id = create(&admin, "ada@example.org", "secret").await;
    assert!(can_log_in(&platform, "ada%40example.org", "secret").await);

    let filter = "/Users?filter=userName+eq+%22ADA%40example.org%22+and+origin+eq+%22uaa%22";
    let found = admin.get(filter).await;
    assert_eq!(found.expect(200)["totalResults"], 1);
    assert_eq!(found.body["resources"][0]["id"], id);
    assert_eq!(found.body["resources"][0]["origin"], "uaa");

    assert_eq!(admin.delete(&format!("/Users/{id}")).await.expect(200)["id"], id);
    assert_eq!(admin.get(filter).await.expect(200)["totalResults"], 0);
    assert!(!can_log_in(&platform, "ada%40example.org", "secret").await);
    admin.delete(&format!("/Users/{id}")).await.expect(404);
}

#[tokio::test]
async fn a_name_is_taken_without_regard_to_case() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    create(&admin, "ada", "secret").await;

    let taken = admin.post("/Users", json!({ "userName": "Ada", "password": "x" })).await;

    assert_eq!(taken.expect(409)["error_description"], "Username already in use: Ada");
}

#[tokio::test]
async fn users_change_their_own_password_and_are_logged_out_everywhere() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let id = create(&admin, "ada", "old").await;
    let form = "grant_type=password&client_id=cf&username=ada&password=old";
    let granted = platform.anonymous().send(Method::POST, "/oauth/token", &[], form.into()).await;
    let ada = platform.anonymous().with_token(granted.body["access_token"].as_str().unwrap());
    platform.clock.advance(Duration::from_millis(1));
    let path = format!("/Users/{id}/password");

    let wrong = json!({ "oldPassword": "wrong", "password": "new" });
    let refused = ada.put(&path, wrong).await;
    assert_eq!(refused.expect(401)["error_description"], "Old password is incorrect");
    let same = json!({ "oldPassword": "old", "password": "old" });
    assert_eq!(ada.put(&path, same).await.expect(422)["error"], "invalid_password");
    let right = json!({ "oldPassword": "old", "password": "new" });
    assert_eq!(ada.put(&path, right).await.expect(200)["status"], "ok");

    assert!(can_log_in(&platform, "ada", "new").await);
    assert!(!can_log_in(&platform, "ada", "old").await);
    ada.get("/v3/organizations").await.expect(401);
}

#[tokio::test]
async fn others_may_neither_list_nor_create_nor_change_accounts() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = create(&admin, "ada", "secret").await;
    let manager = platform.as_user("manager", &[RoleKind::OrganizationManager]).await;

    let new = json!({ "userName": "eve", "password": "x" });
    assert_eq!(manager.post("/Users", new).await.expect(403)["error"], "insufficient_scope");
    manager.get("/Users").await.expect(403);
    manager.get(&format!("/Users/{ada}")).await.expect(403);
    manager.delete(&format!("/Users/{ada}")).await.expect(403);
    let change = json!({ "password": "mine now" });
    manager.put(&format!("/Users/{ada}/password"), change).await.expect(403);
    manager.get("/oauth/clients/ci").await.expect(403);
    admin.get("/oauth/clients/ci").await.expect(404);

    assert!(can_log_in(&platform, "ada", "secret").await);
    assert!(can_log_in(&platform, "admin", ADMIN_PASSWORD).await);
}

#[tokio::test]
async fn everybody_sees_oneself() {
    let platform = TestPlatform::start().await;
    let ada = platform.as_user("ada", &[]).await;

    assert_eq!(ada.get("/userinfo").await.expect(200)["user_name"], "ada");
    let own = format!("/Users/{}", ada.user_id());
    assert_eq!(ada.get(&own).await.expect(200)["userName"], "ada");
}

#[tokio::test]
async fn bad_accounts_are_refused_with_a_reason() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;

    let no_password = admin.post("/Users", json!({ "userName": "ada" })).await;
    assert_eq!(no_password.expect(422)["error_description"], "a password is required");
    let no_name = admin.post("/Users", json!({ "userName": " ", "password": "x" })).await;
    assert_eq!(no_name.expect(400)["error"], "invalid_scim_resource");
    let long = json!({ "userName": "ada", "password": "x".repeat(256) });
    admin.post("/Users", long).await.expect(422);
    let filter = admin.get("/Users?filter=userName+co+%22a%22").await;
    assert!(filter.expect(400)["error_description"].as_str().unwrap().contains("eq"));
    let garbage = admin.send(Method::POST, "/Users", &[], b"{".to_vec()).await;
    garbage.expect(400);
}
