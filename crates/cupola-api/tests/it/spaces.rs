//! Spaces.

use cupola_domain::{ids::OrgId, roles::RoleKind};
use cupola_testkit::TestPlatform;
use insta::assert_snapshot;
use serde_json::{Value, json};

fn new_space(name: &str, org: OrgId) -> Value {
    let organization = json!({ "data": { "guid": org.to_string() } });
    json!({ "name": name, "relationships": { "organization": organization } })
}

#[tokio::test]
async fn space_is_written_as_upstream_does() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;

    let created = admin.post("/v3/spaces", new_space("test", platform.org)).await;

    created.expect(201);
    assert_snapshot!(created.pretty(&[(&created.guid(), "SPACE"), (&platform.org.to_string(), "ORG")]), @r#"
    {
      "created_at": "2028-02-29T12:00:00Z",
      "guid": "SPACE",
      "links": {
        "apply_manifest": {
          "href": "https://api.cupola.test/v3/spaces/SPACE/actions/apply_manifest",
          "method": "POST"
        },
        "features": {
          "href": "https://api.cupola.test/v3/spaces/SPACE/features"
        },
        "organization": {
          "href": "https://api.cupola.test/v3/organizations/ORG"
        },
        "self": {
          "href": "https://api.cupola.test/v3/spaces/SPACE"
        }
      },
      "metadata": {
        "annotations": {},
        "labels": {}
      },
      "name": "test",
      "relationships": {
        "organization": {
          "data": {
            "guid": "ORG"
          }
        },
        "quota": {
          "data": null
        }
      },
      "updated_at": "2028-02-29T12:00:00Z"
    }
    "#);
}

#[tokio::test]
async fn managers_of_the_organisation_create_spaces_and_others_do_not() {
    let platform = TestPlatform::start().await;
    let manager = platform.as_user("manager", &[RoleKind::OrganizationManager]).await;
    let developer = platform.as_user("developer", &[RoleKind::SpaceDeveloper]).await;
    let stranger = platform.as_user("stranger", &[]).await;

    manager.post("/v3/spaces", new_space("test", platform.org)).await.expect(201);
    developer.post("/v3/spaces", new_space("mine", platform.org)).await.expect(403);
    let hidden = stranger.post("/v3/spaces", new_space("mine", platform.org)).await;
    let text = "Invalid organization. Ensure the organization exists and you have access to it.";
    assert_eq!(hidden.detail(422), text);

    let taken = manager.post("/v3/spaces", new_space("TEST", platform.org)).await;
    assert_eq!(taken.detail(422), "Name must be unique per organization");
    let nowhere = manager.post("/v3/spaces", new_space("test", OrgId::random())).await;
    assert_eq!(nowhere.detail(422), text);
}

#[tokio::test]
async fn a_space_is_seen_by_its_members_and_by_managers_of_the_organisation() {
    let platform = TestPlatform::start().await;
    let path = format!("/v3/spaces/{}", platform.space);
    let manager = platform.as_user("manager", &[RoleKind::OrganizationManager]).await;
    let auditor = platform.as_user("auditor", &[RoleKind::SpaceAuditor]).await;
    let neighbour = platform.as_user("neighbour", &[RoleKind::OrganizationUser]).await;

    manager.get(&path).await.expect(200);
    auditor.get(&path).await.expect(200);
    assert_eq!(manager.get("/v3/spaces").await.names(), ["dev"]);
    assert_eq!(auditor.get("/v3/spaces").await.names(), ["dev"]);
    assert_eq!(neighbour.get("/v3/spaces").await.names(), [""; 0]);
    assert_eq!(neighbour.get(&path).await.detail(404), "Space not found");
}

#[tokio::test]
async fn space_managers_change_a_space_and_its_auditors_do_not() {
    let platform = TestPlatform::start().await;
    let path = format!("/v3/spaces/{}", platform.space);
    let manager = platform.as_user("manager", &[RoleKind::SpaceManager]).await;
    let auditor = platform.as_user("auditor", &[RoleKind::SpaceAuditor]).await;

    let renamed = manager.patch(&path, json!({ "name": "renamed" })).await;
    assert_eq!(renamed.expect(200)["name"], "renamed");
    auditor.patch(&path, json!({ "name": "mine" })).await.expect(403);
    auditor.delete(&path).await.expect(403);
    // Only who manages the organisation may delete it.
    manager.delete(&path).await.expect(403);
}

#[tokio::test]
async fn deleted_space_is_gone_with_its_roles() {
    let platform = TestPlatform::start().await;
    let manager = platform.as_user("manager", &[RoleKind::OrganizationManager]).await;
    platform.as_user("developer", &[RoleKind::SpaceDeveloper]).await;
    let path = format!("/v3/spaces/{}", platform.space);

    let accepted = manager.delete(&path).await;
    let job = manager.finish(&accepted).await;

    assert_eq!(job.expect(200)["operation"], "space.delete");
    assert_eq!(job.body["state"], "COMPLETE");
    manager.get(&path).await.expect(404);
    let roles = manager.get("/v3/roles?types=space_developer").await;
    assert_eq!(roles.expect(200)["pagination"]["total_results"], 0);
}

#[tokio::test]
async fn organisations_come_along_when_they_are_asked_for() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;

    let list = admin.get("/v3/spaces?names=dev&include=organization").await;
    assert_eq!(list.expect(200)["included"]["organizations"][0]["name"], "default");
    let one = admin.get(&format!("/v3/spaces/{}?include=org", platform.space)).await;
    assert_eq!(one.expect(200)["included"]["organizations"][0]["name"], "default");
    let other = admin.get("/v3/spaces?include=apps").await;
    assert!(other.detail(400).contains("Invalid included resource: 'apps'"));
}

#[tokio::test]
async fn ssh_can_be_off_only() {
    let platform = TestPlatform::start().await;
    let manager = platform.as_user("manager", &[RoleKind::SpaceManager]).await;
    let auditor = platform.as_user("auditor", &[RoleKind::SpaceAuditor]).await;
    let path = format!("/v3/spaces/{}/features/ssh", platform.space);

    assert_eq!(auditor.get(&path).await.expect(200)["enabled"], false);
    manager.patch(&path, json!({ "enabled": false })).await.expect(200);
    assert!(manager.patch(&path, json!({ "enabled": true })).await.detail(422).contains("SSH"));
    auditor.patch(&path, json!({ "enabled": false })).await.expect(403);
    let unknown = format!("/v3/spaces/{}/features/magic", platform.space);
    assert_eq!(manager.get(&unknown).await.detail(404), "Feature not found");
}
