//! Roles.

use cupola_domain::roles::RoleKind;
use cupola_testkit::{TestPlatform, http::Client};
use insta::assert_snapshot;
use serde_json::{Value, json};

fn role(kind: &str, user: Value, scope: (&str, String)) -> Value {
    json!({
        "type": kind,
        "relationships": {
            "user": { "data": user },
            scope.0: { "data": { "guid": scope.1 } },
        },
    })
}

fn of_org(platform: &TestPlatform) -> (&'static str, String) {
    ("organization", platform.org.to_string())
}

fn of_space(platform: &TestPlatform) -> (&'static str, String) {
    ("space", platform.space.to_string())
}

async fn account(admin: &Client<'_>, name: &str) -> Value {
    let created = admin.post("/Users", json!({ "userName": name, "password": "secret" })).await;
    created.expect(201);
    json!({ "username": name })
}

#[tokio::test]
async fn role_is_written_as_upstream_does() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = account(&admin, "ada").await;

    let body = role("organization_manager", ada, of_org(&platform));
    let created = admin.post("/v3/roles", body).await;

    let user = created.body["relationships"]["user"]["data"]["guid"].as_str().unwrap();
    created.expect(201);
    assert_snapshot!(created.pretty(&[(&created.guid(), "ROLE"), (user, "USER"), (&platform.org.to_string(), "ORG")]), @r#"
    {
      "created_at": "2028-02-29T12:00:00Z",
      "guid": "ROLE",
      "links": {
        "organization": {
          "href": "https://api.cupola.test/v3/organizations/ORG"
        },
        "self": {
          "href": "https://api.cupola.test/v3/roles/ROLE"
        },
        "user": {
          "href": "https://api.cupola.test/v3/users/USER"
        }
      },
      "relationships": {
        "organization": {
          "data": {
            "guid": "ORG"
          }
        },
        "space": {
          "data": null
        },
        "user": {
          "data": {
            "guid": "USER"
          }
        }
      },
      "type": "organization_manager",
      "updated_at": "2028-02-29T12:00:00Z"
    }
    "#);
    let path = format!("/v3/roles/{}?include=user,organization", created.guid());
    let shown = admin.get(&path).await;
    assert_eq!(shown.expect(200)["included"]["users"][0]["username"], "ada");
    assert_eq!(shown.body["included"]["organizations"][0]["name"], "default");
}

#[tokio::test]
async fn a_role_in_a_space_needs_one_in_its_organisation() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = account(&admin, "ada").await;
    let in_space = role("space_developer", ada.clone(), of_space(&platform));

    let refused = admin.post("/v3/roles", in_space.clone()).await;
    let text = "Users cannot be assigned roles in a space if they do not have a role in that \
                space's organization.";
    assert_eq!(refused.detail(422), text);

    admin.post("/v3/roles", role("organization_user", ada, of_org(&platform))).await.expect(201);
    admin.post("/v3/roles", in_space).await.expect(201);
}

#[tokio::test]
async fn a_role_is_given_once() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = account(&admin, "ada").await;
    let body = role("organization_user", ada.clone(), of_org(&platform));
    admin.post("/v3/roles", body.clone()).await.expect(201);

    let again = admin.post("/v3/roles", body).await;
    let text = "User 'ada' already has 'organization_user' role in organization 'default'.";
    assert_eq!(again.detail(422), text);

    let body = role("space_auditor", ada, of_space(&platform));
    admin.post("/v3/roles", body.clone()).await.expect(201);
    let again = admin.post("/v3/roles", body).await;
    assert_eq!(again.detail(422), "User 'ada' already has 'space_auditor' role in space 'dev'.");
}

#[tokio::test]
async fn the_role_in_the_organisation_stays_while_there_is_one_in_a_space() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;
    let found = admin.get("/v3/roles?types=organization_user,space_developer").await;
    let guid = |kind: &str| {
        let all = found.body["resources"].as_array().unwrap();
        let one = all.iter().find(|role| role["type"] == kind).unwrap();
        format!("/v3/roles/{}", one["guid"].as_str().unwrap())
    };
    let (in_org, in_space) = (guid("organization_user"), guid("space_developer"));

    let refused = admin.delete(&in_org).await;
    let text = "Cannot delete organization_user role while user has roles in spaces in that \
                organization.";
    assert_eq!(refused.detail(422), text);
    for path in [in_space, in_org] {
        let accepted = admin.delete(&path).await;
        assert_eq!(admin.finish(&accepted).await.expect(200)["state"], "COMPLETE");
        assert_eq!(admin.get(&path).await.detail(404), "Role not found");
    }
    let events = admin.get("/v3/audit_events?types=audit.user.space_developer_remove").await;
    assert_eq!(events.expect(200)["pagination"]["total_results"], 1);
}

#[tokio::test]
async fn managers_give_roles_where_they_manage_and_others_nowhere() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = account(&admin, "ada").await;
    let org_manager = platform.as_user("om", &[RoleKind::OrganizationManager]).await;
    let space_manager = platform.as_user("sm", &[RoleKind::SpaceManager]).await;
    let developer = platform.as_user("dev", &[RoleKind::SpaceDeveloper]).await;
    let stranger = platform.as_user("stranger", &[]).await;
    let in_org = role("organization_user", ada.clone(), of_org(&platform));
    let in_space = role("space_auditor", ada.clone(), of_space(&platform));

    space_manager.post("/v3/roles", in_org.clone()).await.expect(403);
    developer.post("/v3/roles", in_org.clone()).await.expect(403);
    let hidden = stranger.post("/v3/roles", in_org.clone()).await;
    let text = "Invalid organization. Ensure that the organization exists and you have access to \
                it.";
    assert_eq!(hidden.detail(422), text);
    org_manager.post("/v3/roles", in_org).await.expect(201);

    developer.post("/v3/roles", in_space.clone()).await.expect(403);
    let hidden = stranger.post("/v3/roles", in_space.clone()).await;
    let text = "Invalid space. Ensure that the space exists and you have access to it.";
    assert_eq!(hidden.detail(422), text);
    let given = space_manager.post("/v3/roles", in_space).await;
    given.expect(201);

    let path = format!("/v3/roles/{}", given.guid());
    stranger.delete(&path).await.expect(404);
    developer.delete(&path).await.expect(403);
    space_manager.delete(&path).await.expect(202);
}

#[tokio::test]
async fn roles_by_name_can_be_switched_off() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = account(&admin, "ada").await;
    let manager = platform.as_user("manager", &[RoleKind::OrganizationManager]).await;
    let flag = json!({ "enabled": false, "custom_error_message": "ask the help desk" });
    admin.patch("/v3/feature_flags/set_roles_by_username", flag).await.expect(200);

    let body = role("organization_user", ada, of_org(&platform));
    let refused = manager.post("/v3/roles", body.clone()).await;
    assert_eq!(refused.detail(403), "Feature Disabled: ask the help desk");
    admin.post("/v3/roles", body).await.expect(201);
}

#[tokio::test]
async fn holders_who_are_not_there_or_not_clear_are_refused() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    account(&admin, "ada").await;
    admin.post("/Users", json!({ "userName": "ada", "origin": "ldap" })).await.expect(201);
    let give = |user: Value| {
        let body = role("organization_user", user, of_org(&platform));
        let admin = admin.clone();
        async move { admin.post("/v3/roles", body).await }
    };

    let nobody = give(json!({ "username": "nobody" })).await;
    assert_eq!(nobody.detail(422), "No user exists with the username 'nobody'.");
    let elsewhere = give(json!({ "username": "ada", "origin": "saml" })).await;
    let text = "No user exists with the username 'ada' and origin 'saml'.";
    assert_eq!(elsewhere.detail(422), text);
    let unclear = give(json!({ "username": "ada" })).await;
    assert!(unclear.detail(422).contains("exists in the following origins: ldap, uaa."));
    give(json!({ "username": "ada", "origin": "ldap" })).await.expect(201);
    give(json!({ "username": "ada", "guid": "x" })).await.expect(422);
    give(json!({})).await.expect(422);
}

#[tokio::test]
async fn type_and_place_must_fit() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = account(&admin, "ada").await;

    let unknown = role("space_cadet", ada.clone(), of_space(&platform));
    assert!(admin.post("/v3/roles", unknown).await.detail(422).contains("allowed types"));
    let misplaced = role("space_developer", ada.clone(), of_org(&platform));
    admin.post("/v3/roles", misplaced).await.expect(422);
    let misplaced = role("organization_user", ada, of_space(&platform));
    admin.post("/v3/roles", misplaced).await.expect(422);
}

#[tokio::test]
async fn roles_of_places_that_the_caller_does_not_see_are_not_listed() {
    let platform = TestPlatform::start().await;
    platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;
    let neighbour = platform.as_user("neighbour", &[RoleKind::OrganizationUser]).await;
    let stranger = platform.as_user("stranger", &[]).await;

    let seen = neighbour.get("/v3/roles?include=user").await;
    let kinds: Vec<&str> = seen.expect(200)["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| role["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["organization_user", "organization_user"]);
    assert_eq!(stranger.get("/v3/roles").await.expect(200)["pagination"]["total_results"], 0);
}
