//! Manifests: applied, compared, written, and refused.

use cupola_domain::roles::RoleKind;
use cupola_testkit::{
    TestPlatform,
    http::{Answer, Client},
};
use http::Method;
use serde_json::{Value, json};

use crate::push::{YAML, app_named, apply, platform};

const WHOLE: &str = "
applications:
- name: shop
  memory: 128M
  disk_quota: 1G
  stack: host
  buildpacks: [binary_buildpack]
  env: {GREETING: hello, COUNT: 2}
  features: {ssh: false}
  routes:
  - route: shop.apps.cupola.test
  - route: shop.apps.cupola.test/api
  metadata:
    labels: {team: web}
  health-check-type: http
  health-check-http-endpoint: /up
  processes:
  - type: worker
    instances: 2
    command: ./work
";

async fn diff(client: &Client<'_>, space: &str, manifest: &str) -> Answer {
    let path = format!("/v3/spaces/{space}/manifest_diff");
    client.send(Method::POST, &path, YAML, manifest.as_bytes().to_vec()).await
}

async fn sent(client: &Client<'_>, space: &str, manifest: &str) -> Answer {
    let path = format!("/v3/spaces/{space}/actions/apply_manifest");
    client.send(Method::POST, &path, YAML, manifest.as_bytes().to_vec()).await
}

#[tokio::test]
async fn app_becomes_what_its_manifest_says() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();

    let job = apply(&admin, &space, WHOLE).await;

    assert_eq!(job.expect(200)["state"], "COMPLETE", "{}", job.text());
    assert_eq!(job.body["warnings"], json!([]));
    let id = app_named(&admin, "shop").await;
    let app = admin.get(&format!("/v3/apps/{id}")).await;
    assert_eq!(app.expect(200)["lifecycle"]["data"]["buildpacks"], json!(["binary_buildpack"]));
    assert_eq!(app.body["metadata"]["labels"], json!({ "team": "web" }));
    let variables = admin.get(&format!("/v3/apps/{id}/environment_variables")).await;
    assert_eq!(variables.expect(200)["var"], json!({ "GREETING": "hello", "COUNT": "2" }));
    let web = admin.get(&format!("/v3/apps/{id}/processes/web")).await;
    assert_eq!(web.expect(200)["memory_in_mb"], 128);
    assert_eq!(web.body["health_check"]["data"]["endpoint"], "/up");
    let worker = admin.get(&format!("/v3/apps/{id}/processes/worker")).await;
    assert_eq!(worker.expect(200)["instances"], 2);
    assert_eq!(worker.body["command"], "./work");
    let routes = admin.get(&format!("/v3/apps/{id}/routes")).await;
    assert_eq!(routes.expect(200)["pagination"]["total_results"], 2);
    let ssh = admin.get(&format!("/v3/apps/{id}/features/ssh")).await;
    assert_eq!(ssh.expect(200)["enabled"], false);
}

#[tokio::test]
async fn applied_manifest_is_no_difference_any_more() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();

    let before = diff(&admin, &space, WHOLE).await;
    apply(&admin, &space, WHOLE).await.expect(200);
    let after = diff(&admin, &space, WHOLE).await;
    let changed = diff(&admin, &space, &WHOLE.replace("128M", "256M")).await;

    assert!(before.expect(201)["diff"].as_array().unwrap().len() > 8);
    assert_eq!(after.expect(201)["diff"], json!([]));
    let memory = json!({ "op": "replace", "path": "/applications/0/memory", "was": "128M", "value": "256M" });
    assert_eq!(changed.expect(201)["diff"], json!([memory]));
}

#[tokio::test]
async fn written_manifest_makes_the_same_app() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    apply(&admin, &space, WHOLE).await.expect(200);
    let path = format!("/v3/apps/{}/manifest", app_named(&admin, "shop").await);

    let written = admin.get(&path).await.text();
    let job = apply(&admin, &space, &written).await;

    assert!(written.starts_with("---\napplications:\n- name: shop\n"), "{written}");
    assert_eq!(job.expect(200)["state"], "COMPLETE", "{}", job.text());
    assert_eq!(diff(&admin, &space, &written).await.expect(201)["diff"], json!([]));
    assert_eq!(admin.get(&path).await.text(), written);
}

#[tokio::test]
async fn default_and_random_routes_are_for_apps_without_one() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    let manifest =
        |name: &str, key: &str| format!("applications:\n- name: {name}\n  {key}: true\n");
    let urls = async |name: &str| {
        let app = app_named(&admin, name).await;
        let routes = admin.get(&format!("/v3/apps/{app}/routes")).await;
        let all = routes.expect(200)["resources"].as_array().unwrap().clone();
        all.iter().map(|route| route["url"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    for _ in 0..2 {
        apply(&admin, &space, &manifest("shop", "default-route")).await.expect(200);
        apply(&admin, &space, &manifest("any", "random-route")).await.expect(200);
    }

    assert_eq!(urls("shop").await, ["shop.apps.cupola.test"]);
    let random = urls("any").await;
    assert_eq!(random.len(), 1);
    assert!(random[0].starts_with("any-") && random[0].ends_with(".apps.cupola.test"));
    apply(&admin, &space, &manifest("shop", "no-route")).await.expect(200);
    assert_eq!(urls("shop").await, [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_in_this_space_is_the_outcome_of_the_job_and_changes_nothing() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    let with = |keys: &str| format!("applications:\n- name: first\n- name: shop\n  {keys}\n");

    for (keys, detail) in [
        ("buildpacks: [wut]", "Specified unknown buildpack name: \"wut\""),
        ("stack: other", "Stack must be an existing stack. There is only 'host'."),
        (
            "routes: [{route: shop.nowhere.example}]",
            "For route 'shop.nowhere.example': No domains exist for route shop.nowhere.example",
        ),
        ("memory: 1T", "Memory in mb must be at most 8192 on this platform"),
        (
            "health-check-http-endpoint: /up",
            "Health check type must be \"http\" to set a health check HTTP endpoint",
        ),
    ] {
        let job = apply(&admin, &space, &with(keys)).await;
        assert_eq!(job.expect(200)["state"], "FAILED", "{keys}");
        let error = &job.body["errors"][0];
        assert_eq!(error["detail"], format!("For application 'shop': {detail}"));
        assert_eq!(error["title"], "CF-UnprocessableEntity");
    }
    assert_eq!(admin.get("/v3/apps").await.names(), [""; 0]);
}

#[tokio::test]
async fn manifest_that_cannot_be_read_starts_no_job() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();

    let broken = sent(&admin, &space, "applications: [").await;
    let anchors = sent(&admin, &space, "applications:\n- name: &x shop\n").await;
    let empty = sent(&admin, &space, "applications: []").await;
    let services = sent(&admin, &space, "applications:\n- name: shop\n  services: db\n").await;
    let path = format!("/v3/spaces/{space}/actions/apply_manifest");
    let json = admin.post(&path, json!({ "applications": [] })).await;

    assert!(broken.detail(400).starts_with("Request invalid due to parse error"));
    assert_eq!(anchors.detail(400), "Bad request: Manifest does not support Anchors and Aliases");
    assert_eq!(empty.detail(422), "Manifest must have at least one application");
    assert!(services.detail(422).starts_with("For application 'shop': Services must be a list"));
    assert_eq!(json.detail(400), "Bad request: Content-Type must be yaml");
}

#[tokio::test]
async fn route_of_another_space_is_not_taken_over() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let organization = json!({ "data": { "guid": platform.org.to_string() } });
    let body = json!({ "name": "other", "relationships": { "organization": organization } });
    let other = admin.post("/v3/spaces", body).await.guid();
    apply(&admin, &other, "applications:\n- name: shop\n  default-route: true\n").await.expect(200);
    let developer = platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;

    let job = apply(
        &developer,
        &platform.space.to_string(),
        "applications:\n- name: mine\n  routes: [{route: shop.apps.cupola.test}]\n",
    )
    .await;

    let detail = job.expect(200)["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("Routes cannot be mapped to destinations in different spaces"));
}

#[tokio::test]
async fn keys_that_mean_nothing_are_warnings_of_the_job() {
    let platform = platform().await;
    let admin = platform.as_admin().await;

    let manifest = "applications:\n- name: shop\n  memroy: 1G\n";
    let job = apply(&admin, &platform.space.to_string(), manifest).await;

    let detail = "The key 'memroy' of application 'shop' is not known and was ignored.";
    assert_eq!(job.expect(200)["warnings"], json!([{ "detail": detail }]) as Value);
}
