//! Organisations.

use cupola_domain::{
    apps::{App, AppState},
    ids::OrgId,
    roles::{RoleKind, RoleScope},
};
use cupola_ports::store::{self, Store};
use cupola_testkit::TestPlatform;
use insta::assert_snapshot;
use serde_json::json;

#[tokio::test]
async fn organisation_is_written_as_upstream_does() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let body = json!({ "name": "acme", "metadata": { "labels": { "tier": "gold" } } });

    let created = admin.post("/v3/organizations", body).await;

    created.expect(201);
    assert_snapshot!(created.pretty(&[(&created.guid(), "GUID")]), @r#"
    {
      "created_at": "2028-02-29T12:00:00Z",
      "guid": "GUID",
      "links": {
        "default_domain": {
          "href": "https://api.cupola.test/v3/organizations/GUID/domains/default"
        },
        "domains": {
          "href": "https://api.cupola.test/v3/organizations/GUID/domains"
        },
        "quota": {
          "href": "https://api.cupola.test/v3/organization_quotas/00000000-0000-4000-8000-00000000c0de"
        },
        "self": {
          "href": "https://api.cupola.test/v3/organizations/GUID"
        }
      },
      "metadata": {
        "annotations": {},
        "labels": {
          "tier": "gold"
        }
      },
      "name": "acme",
      "relationships": {
        "quota": {
          "data": {
            "guid": "00000000-0000-4000-8000-00000000c0de"
          }
        }
      },
      "suspended": false,
      "updated_at": "2028-02-29T12:00:00Z"
    }
    "#);
    let path = format!("/v3/organizations/{}", created.guid());
    assert_eq!(admin.get(&path).await.expect(200), &created.body);
}

#[tokio::test]
async fn name_is_taken_without_regard_to_case() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;

    let taken = admin.post("/v3/organizations", json!({ "name": "DEFAULT" })).await;

    assert_eq!(taken.detail(422), "Organization 'DEFAULT' already exists.");
}

#[tokio::test]
async fn names_that_cannot_be_names_are_refused() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;

    for name in ["", " ", "a\nb", &"x".repeat(256)] {
        let refused = admin.post("/v3/organizations", json!({ "name": name })).await;
        assert!(refused.detail(422).starts_with("Name "));
    }
}

#[tokio::test]
async fn only_administrators_create_organisations_until_the_flag_is_on() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let ada = platform.as_user("ada", &[]).await;
    let new = json!({ "name": "acme" });

    let refused = ada.post("/v3/organizations", new.clone()).await;
    assert_eq!(refused.detail(403), "Feature Disabled: user_org_creation");
    let flag = "/v3/feature_flags/user_org_creation";
    admin.patch(flag, json!({ "enabled": true })).await.expect(200);
    let org = ada.post("/v3/organizations", new).await.guid();

    // The creator manages it, others do not see it.
    let change = json!({ "name": "acme2" });
    ada.patch(&format!("/v3/organizations/{org}"), change).await.expect(200);
    let eve = platform.as_user("eve", &[]).await;
    let unseen = eve.get(&format!("/v3/organizations/{org}")).await;
    assert_eq!(unseen.detail(404), "Organization not found");
    assert_eq!(eve.get("/v3/organizations").await.names(), [""; 0]);
}

#[tokio::test]
async fn managers_change_an_organisation_and_auditors_do_not() {
    let platform = TestPlatform::start().await;
    let path = format!("/v3/organizations/{}", platform.org);
    let manager = platform.as_user("manager", &[RoleKind::OrganizationManager]).await;
    let auditor = platform.as_user("auditor", &[RoleKind::OrganizationAuditor]).await;

    let change = json!({ "name": "renamed", "metadata": { "labels": { "a": "1", "b": "2" } } });
    manager.patch(&path, change.clone()).await.expect(200);
    let remove = json!({ "metadata": { "labels": { "a": null } } });
    let changed = manager.patch(&path, remove).await;
    assert_eq!(changed.expect(200)["metadata"]["labels"], json!({ "b": "2" }));

    auditor.patch(&path, change).await.expect(403);
    auditor.delete(&path).await.expect(403);
    manager.delete(&path).await.expect(403);
    manager.patch(&path, json!({ "suspended": true })).await.expect(403);
}

#[tokio::test]
async fn deleting_an_organisation_deletes_what_is_in_it() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let developer = platform.as_user("developer", &[RoleKind::SpaceDeveloper]).await;
    let path = format!("/v3/organizations/{}", platform.org);

    // The `cf` CLI sends it with a slash at the end.
    let accepted = admin.delete(&format!("{path}/")).await;
    let job = admin.finish(&accepted).await;

    assert_eq!(job.expect(200)["state"], "COMPLETE");
    assert_eq!(job.body["operation"], "organization.delete");
    admin.get(&path).await.expect(404);
    admin.get(&format!("/v3/spaces/{}", platform.space)).await.expect(404);
    assert_eq!(admin.get("/v3/roles").await.expect(200)["pagination"]["total_results"], 0);
    assert_eq!(developer.get("/v3/spaces").await.names(), [""; 0]);
    let events = admin.get("/v3/audit_events?types=audit.organization.delete-request").await;
    assert_eq!(events.expect(200)["resources"][0]["target"]["name"], "default");
}

#[tokio::test]
async fn a_job_that_was_done_twice_ends_in_the_same_state() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let path = format!("/v3/organizations/{}", platform.org);
    let (first, second) = (admin.delete(&path).await, admin.delete(&path).await);

    assert_eq!(admin.finish(&first).await.expect(200)["state"], "COMPLETE");
    assert_eq!(admin.finish(&second).await.expect(200)["state"], "COMPLETE");
}

#[tokio::test]
async fn users_of_an_organisation_are_those_with_a_role_in_it() {
    let platform = TestPlatform::start().await;
    let manager = platform.as_user("manager", &[RoleKind::OrganizationManager]).await;
    platform.as_user("developer", &[RoleKind::SpaceDeveloper]).await;
    platform.as_user("stranger", &[]).await;

    let users = manager.get(&format!("/v3/organizations/{}/users", platform.org)).await;

    let names: Vec<&str> = users.expect(200)["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["username"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["manager", "developer"]);
}

#[tokio::test]
async fn there_are_no_isolation_segments_to_choose() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let own = format!("/v3/organizations/{}", platform.org);
    let path = format!("{own}/relationships/default_isolation_segment");

    assert!(admin.get(&path).await.expect(200)["data"].is_null());
    admin.patch(&path, json!({ "data": null })).await.expect(200);
    let wanted = json!({ "data": { "guid": OrgId::random().to_string() } });
    admin.patch(&path, wanted).await.expect(422);
}

#[tokio::test]
async fn events_of_other_organisations_are_not_seen() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let org: OrgId =
        admin.post("/v3/organizations", json!({ "name": "acme" })).await.guid().parse().unwrap();
    let roles = [(RoleKind::OrganizationManager, RoleScope::Org(org))];
    let theirs = platform.as_user_with("theirs", &roles).await;
    let ours = platform.as_user("ours", &[RoleKind::OrganizationManager]).await;

    let path = format!("/v3/audit_events?target_guids={org}&order_by=-created_at");
    let seen = theirs.get(&path).await;
    assert_eq!(seen.expect(200)["resources"][0]["type"], "audit.organization.create");
    let event = seen.body["resources"][0]["guid"].as_str().unwrap();
    theirs.get(&format!("/v3/audit_events/{event}")).await.expect(200);
    assert_eq!(ours.get(&path).await.expect(200)["pagination"]["total_results"], 0);
    let unseen = ours.get(&format!("/v3/audit_events/{event}")).await;
    assert_eq!(unseen.detail(404), "Event not found");
}

#[tokio::test]
async fn usage_counts_what_is_started() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let space = json!({ "data": { "guid": platform.space.to_string() } });
    let new = json!({ "name": "web", "relationships": { "space": space } });
    let app = admin.post("/v3/apps", new).await.guid();
    let scale = format!("/v3/apps/{app}/processes/web/actions/scale");
    admin.post(&scale, json!({ "instances": 3, "memory_in_mb": 128 })).await.expect(202);
    let org = format!("/v3/organizations/{}/usage_summary", platform.org);
    let space = format!("/v3/spaces/{}/usage_summary", platform.space);

    let stopped = admin.get(&org).await;
    assert_eq!(stopped.expect(200)["usage_summary"]["started_instances"], 0);
    let mut tx = platform.store.write(None).await.unwrap();
    let mut row = store::get::<App>(&mut *tx, &app).await.unwrap().unwrap();
    row.desired = AppState::Started;
    store::update(&mut *tx, &row).await.unwrap();
    tx.commit().await.unwrap();

    for path in [org, space] {
        let started = admin.get(&path).await;
        assert_eq!(started.expect(200)["usage_summary"]["started_instances"], 3);
        assert_eq!(started.body["usage_summary"]["memory_in_mb"], 384);
    }
}
