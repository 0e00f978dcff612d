//! Spaces.

use cupola_domain::{ids::OrgId, roles::RoleKind};
use cupola_testkit::TestPlatform;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::push::to;

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

#[tokio::test]
async fn what_is_made_while_a_space_is_deleted_does_not_outlive_it() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    let app = |name: &str| json!({ "name": name, "relationships": { "space": to(&space) } });
    admin.post("/v3/apps", app("first")).await.expect(201);
    let domain = admin.get("/v3/domains").await.body["resources"][0]["guid"].to_string();
    let (domain, place) = (to(domain.trim_matches('"')), to(&space));
    let relationships = json!({ "domain": domain, "space": place });
    let route = json!({ "host": "late", "relationships": relationships });
    platform.stager.hold_forgetting(true);
    admin.delete(&format!("/v3/spaces/{space}")).await.expect(202);

    // The job stands in the middle of its work.
    let meanwhile = async {
        platform.stager.asked_to_forget().await;
        admin.post("/v3/apps", app("late")).await;
        admin.post("/v3/routes", route).await;
        platform.stager.hold_forgetting(false);
    };
    tokio::join!(platform.run_jobs(), meanwhile);

    admin.get(&format!("/v3/spaces/{space}")).await.expect(404);
    assert_eq!(admin.get("/v3/apps").await.names(), [""; 0]);
    let routes = admin.get("/v3/routes").await;
    assert_eq!(routes.expect(200)["pagination"]["total_results"], 0);
}

#[tokio::test]
async fn in_a_suspended_organisation_only_administrators_change_anything() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let manager = platform.as_user("manager", &[RoleKind::OrganizationManager]).await;
    let user = platform.as_user("ada", &[RoleKind::SpaceAuditor]).await.user_id();
    let (org, space) = (platform.org.to_string(), platform.space.to_string());
    let org_path = format!("/v3/organizations/{org}");
    let space_path = format!("/v3/spaces/{space}");
    let role = |kind: &str, place: &str, id: &str| json!({ "type": kind, "relationships": { "user": to(&user), place: to(id) } });
    let domain = json!({ "name": "acme.example", "relationships": { "organization": to(&org) } });
    let domain = manager.post("/v3/domains", domain).await.guid();
    let domain_path = format!("/v3/domains/{domain}");
    let auditor = admin.get("/v3/roles?types=space_auditor").await;
    let auditor = auditor.body["resources"][0]["guid"].as_str().unwrap().to_owned();
    admin.patch(&org_path, json!({ "suspended": true })).await.expect(200);

    manager.get(&space_path).await.expect(200);
    let refused = [
        manager.post("/v3/spaces", new_space("more", platform.org)).await,
        manager.patch(&space_path, json!({ "name": "other" })).await,
        manager.delete(&space_path).await,
        manager.patch(&org_path, json!({ "name": "other" })).await,
        manager.post("/v3/roles", role("organization_auditor", "organization", &org)).await,
        manager.post("/v3/roles", role("space_developer", "space", &space)).await,
        manager.delete(&format!("/v3/roles/{auditor}")).await,
        manager.patch(&domain_path, json!({ "metadata": { "labels": { "a": "b" } } })).await,
        manager.delete(&domain_path).await,
        manager.patch(&format!("{space_path}/features/ssh"), json!({ "enabled": false })).await,
    ];
    for answer in refused {
        answer.expect(403);
    }
    admin.post("/v3/spaces", new_space("more", platform.org)).await.expect(201);
    admin.patch(&org_path, json!({ "suspended": false })).await.expect(200);
    manager.patch(&space_path, json!({ "name": "other" })).await.expect(200);
}
