//! Users of the v3 API.

use cupola_domain::roles::RoleKind;
use cupola_testkit::TestPlatform;
use insta::assert_snapshot;
use serde_json::json;

#[tokio::test]
async fn account_becomes_a_user_and_stops_being_one() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let account = admin.post("/Users", json!({ "userName": "ada", "password": "secret" })).await;
    let guid = account.expect(201)["id"].as_str().unwrap().to_owned();
    let path = format!("/v3/users/{guid}");
    assert_eq!(admin.get(&path).await.detail(404), "User not found");

    let created = admin.post("/v3/users", json!({ "guid": guid })).await;

    created.expect(201);
    assert_snapshot!(created.pretty(&[(&guid, "USER")]), @r#"
    {
      "created_at": "2028-02-29T12:00:00Z",
      "guid": "USER",
      "links": {
        "self": {
          "href": "https://api.cupola.test/v3/users/USER"
        }
      },
      "metadata": {
        "annotations": {},
        "labels": {}
      },
      "origin": "uaa",
      "presentation_name": "ada",
      "updated_at": "2028-02-29T12:00:00Z",
      "username": "ada"
    }
    "#);
    let again = admin.post("/v3/users", json!({ "guid": guid })).await;
    assert_eq!(again.detail(422), format!("User with guid '{guid}' already exists."));
    let accepted = admin.delete(&path).await;
    assert_eq!(admin.finish(&accepted).await.expect(200)["state"], "COMPLETE");
    admin.get(&path).await.expect(404);
    // The `cf` CLI deletes the account afterwards.
    admin.delete(&format!("/Users/{guid}")).await.expect(200);
}

#[tokio::test]
async fn users_are_found_by_name_and_origin() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    platform.as_user("ada", &[]).await;
    admin.post("/v3/users", json!({ "username": "ada", "origin": "ldap" })).await.expect(201);

    let total = async |query: &str| {
        let list = admin.get(&format!("/v3/users?{query}")).await;
        list.expect(200)["pagination"]["total_results"].clone()
    };
    assert_eq!(total("usernames=ADA").await, 2);
    assert_eq!(total("usernames=ada&origins=uaa").await, 1);
    assert_eq!(total("partial_usernames=d").await, 3);
    assert_eq!(total("usernames=nobody").await, 0);
    assert_eq!(total("per_page=1").await, 3);
}

#[tokio::test]
async fn a_user_knows_those_with_whom_it_shares_an_organisation() {
    let platform = TestPlatform::start().await;
    let ada = platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;
    let bob = platform.as_user("bob", &[RoleKind::OrganizationAuditor]).await;
    let eve = platform.as_user("eve", &[]).await;
    let path = format!("/v3/users/{}", ada.user_id());

    bob.get(&path).await.expect(200);
    eve.get(&path).await.expect(404);
    let seen = eve.get("/v3/users").await;
    assert_eq!(seen.expect(200)["pagination"]["total_results"], 1);
    assert_eq!(seen.body["resources"][0]["username"], "eve");
}

#[tokio::test]
async fn only_administrators_make_change_and_delete_users() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = platform.as_user("ada", &[RoleKind::OrganizationManager]).await;
    let path = format!("/v3/users/{}", ada.user_id());
    let labels = json!({ "metadata": { "labels": { "team": "blue" } } });

    ada.post("/v3/users", json!({ "username": "x", "origin": "ldap" })).await.expect(403);
    ada.patch(&path, labels.clone()).await.expect(403);
    ada.delete(&path).await.expect(403);
    let changed = admin.patch(&path, labels).await;
    assert_eq!(changed.expect(200)["metadata"]["labels"]["team"], "blue");
    let local = json!({ "username": "x", "origin": "uaa" });
    admin.post("/v3/users", local).await.expect(422);
}
